//! The Linux ABI as data: call table, error numbers, limits and user-visible layouts.
//!
//! Law: depends on nothing and does nothing; it only names what user programs can see.
#![no_std]

mod errno;
pub mod layout;
mod names;
mod notes;
pub mod signal;
pub mod table;

pub use errno::Errno;
pub use names::{all_names, call_name};
pub use notes::{NOTES, note};
