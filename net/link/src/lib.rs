//! Two reliable, ordered lanes between one boot of one node and one boot of another.
#![no_std]

extern crate alloc;

mod payload;

pub use payload::{Page, Payload};
