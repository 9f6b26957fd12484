//! Moves as the nodes tell them: on one clock, checked, for people to look at.
//!
//! Law: every time keeps the bound of its error. What the nodes have forgotten (their rings are bounded) is
//! left out and counted, never made up.
//!
//! [`read`] takes the texts of `/proc/cluster/trace/NODE`, [`Timeline::new`] brings them to one clock
//! and finds who has told whom, [`Timeline::violations`] says what cannot have been so, and
//! [`Timeline::perfetto`] writes the trace events that Perfetto and Chrome show.

mod clock;
mod flows;
mod perfetto;
mod read;

pub use flows::{Flow, Step, Timeline};
pub use read::{Event, NodeTrace, read};
