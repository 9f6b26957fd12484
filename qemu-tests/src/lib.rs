//! Scenarios: what is booted, what happens to it, and what counts as passed.
//!
//! Law: a scenario cannot pass without having run. It is a value that panics when it is dropped
//! unused, its verdict comes from lines counted on the console and from the exit status of the
//! guest, and a line that was expected and did not come is a failure.
//!
//! Not here: how nodes are started. A [`Lab`] does that; `cargo xtask` has one made of QEMU, the
//! unit tests one that answers from a text.

mod adopted;
mod cards;
pub mod cases;
mod cells;
mod compared;
pub mod conductor;
pub mod demo;
mod dynamic;
mod foreign;
mod interactive;
pub mod lab;
mod long;
pub mod moves;
mod placement;
mod programs;
mod reboot;
pub mod scenario;
mod sealed;
pub mod soak;
mod suites;
mod trials;
pub mod verdict;
mod zdtm;

pub use cases::{Case, all};
pub use compared::{GO_PACKAGES, SELFTESTS};
pub use conductor::Conductor;
pub use lab::{
    Action, Add, Disks, Ended, Key, Lab, LabError, MTU, Net, NoSuchCard, Outcome, Set, Spec, Suite,
    Trigger, Turn, Zdtm,
};
pub use long::long;
pub use scenario::{Report, Scenario};
