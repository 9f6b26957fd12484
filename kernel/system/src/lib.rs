//! The System: everything of the kernel that is not the machine, as one value without `unsafe`.
//!
//! Law: events go in (a system call, a fault, a packet, the time), packets and the next thread come
//! out; nothing blocks. Read `system` first, then `dispatch` and `deputy` for the way of a call, and
//! `hand_over` for the way of a migration.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod ahead;
pub mod body;
mod bpf;
pub mod buffers;
pub mod calls;
mod checkpoint;
pub mod cpu_timers;
#[cfg(test)]
mod credential_tests;
pub mod credentials;
mod cuts;
pub mod deputy;
pub mod descriptor;
pub mod dispatch;
pub mod exec;
mod express;
pub mod files;
#[cfg(any(test, feature = "canary"))]
mod forgeries;
pub mod futex;
pub mod hand_over;
pub mod home;
#[cfg(feature = "canary")]
pub mod inside;
mod keeper;
pub mod life;
mod load;
pub mod local_call;
pub mod memory;
pub mod observe;
mod owners;
mod peers;
mod placement;
#[cfg(test)]
mod process_tests;
pub mod ptrace;
pub mod schedule;
pub mod seccomp;
pub mod shared;
pub mod signal_frame;
pub mod signals;
pub mod spaces;
pub mod system;
mod sysv;
mod terminals;
pub mod thread;
mod timeline;
pub mod timers;
pub mod turn;
pub mod view;
pub mod wait;

#[cfg(test)]
pub(crate) mod hostile_tests;

pub use system::{Settings, System};
