//! Progress for people, on standard error; standard output belongs to what the user asked for.

use std::fmt::Display;

/// One line about what is being done.
pub(crate) fn step(text: impl Display) {
    eprintln!("xtask: {text}");
}

/// One line about something that went wrong and was survived.
pub(crate) fn warning(text: impl Display) {
    eprintln!("xtask: warning: {text}");
}
