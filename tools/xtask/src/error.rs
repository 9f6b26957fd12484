//! What can go wrong in the entry tool, one variant for each cause.
//!
//! Law: a message says what happened and what to do; the exit status tells scripts which it was.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Exit status of a cluster that the watchdog ended, as `timeout(1)` has it.
pub(crate) const STATUS_TIMED_OUT: u8 = 124;

/// A failure of the entry tool.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// Something must be installed, and this process may not.
    #[error("{what} is missing and cannot be installed from here ({why}). Type:\n    {command}")]
    Missing {
        what: String,
        why: String,
        command: String,
    },
    /// A program that was started ended badly.
    #[error("{what} failed ({status}){detail}")]
    Program {
        what: String,
        status: String,
        detail: String,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },
    /// A file could not be read or written.
    #[error("cannot {verb} {path}: {source}")]
    File {
        verb: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The source of a test suite cannot be fetched: from nowhere, or not from where this machine looks.
    #[error("the source of {name} cannot be fetched: {why}")]
    Unavailable { name: String, why: String },
    /// The archive cannot hold what it was given.
    #[error("{path} cannot be put into the root file system: {why}")]
    Archive { path: String, why: String },
    /// What the user asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The switch did not start.
    #[error(transparent)]
    Switch(#[from] switch::ServiceError),
    /// The terminal or a socket refused.
    #[error("{what}: {source}")]
    System {
        what: &'static str,
        source: io::Error,
    },
    /// A check of the demo or of the bench was not met.
    #[error("{0}")]
    Unmet(String),
}

impl Error {
    /// For `map_err` on an operation that `verb`s `path`.
    pub(crate) fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { verb, path, source }
    }
}

/// What a command of the entry tool returns: an exit status or a failure.
pub(crate) type Outcome = Result<u8, Error>;
