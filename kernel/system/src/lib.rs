//! The System: everything of the kernel that is not the machine, as one value without `unsafe`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod memory;
pub mod wait;
