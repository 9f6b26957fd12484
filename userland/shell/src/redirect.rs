//! Redirections of the standard streams.
//!
//! Law: what runs in the shell itself gets its streams back on every way out; a file that cannot
//! be opened keeps the command from running, and the message names the file.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rt::files::{Stream, redirect, restore, stash};

use crate::run::{Jump, Shell};
use crate::syntax::{Redirect, RedirectTo};

/// A redirected stream and what it was.
pub(crate) type Saved = Vec<(Stream, Option<OwnedFd>)>;

impl Shell {
    /// Runs `work` with redirections, and undoes them.
    pub(crate) fn redirected(
        &mut self,
        redirects: &[Redirect],
        line: u32,
        work: impl FnOnce(&mut Shell) -> Result<i32, Jump>,
    ) -> Result<i32, Jump> {
        let mut saved = Saved::new();
        let result = match self.redirect_all(redirects, line, Some(&mut saved))? {
            Ok(()) => work(self),
            Err(status) => Ok(status),
        };
        for (stream, old) in saved.iter().rev() {
            if let Err(error) = restore(old.as_ref(), *stream) {
                return Err(self.abort(line, &format!("cannot undo a redirection: {error}")));
            }
        }
        result
    }

    /// Redirects; notes in `saved` what was. The inner error is the status if a file could not
    /// be opened.
    pub(crate) fn redirect_all(
        &mut self,
        redirects: &[Redirect],
        line: u32,
        mut saved: Option<&mut Saved>,
    ) -> Result<Result<(), i32>, Jump> {
        for Redirect { stream, to } in redirects {
            if let Some(saved) = saved.as_deref_mut() {
                match stash(*stream) {
                    Ok(old) => saved.push((*stream, old)),
                    Err(error) => {
                        return Ok(Err(self.complain(
                            line,
                            &format!("redirection: {error}"),
                            1,
                        )));
                    }
                }
            }
            let mut options = OpenOptions::new();
            let (options, word) = match to {
                RedirectTo::Read(word) => (options.read(true), word),
                RedirectTo::Truncate(word) => {
                    (options.write(true).create(true).truncate(true), word)
                }
                RedirectTo::Append(word) => (options.append(true).create(true), word),
                RedirectTo::Same(other) => {
                    let result = stash(*other).and_then(|other| match other {
                        Some(other) => redirect(other.as_fd(), *stream),
                        None => Err(io::Error::other("the stream is closed")),
                    });
                    if let Err(error) = result {
                        return Ok(Err(self.complain(
                            line,
                            &format!("redirection: {error}"),
                            1,
                        )));
                    }
                    continue;
                }
            };
            let path = self.expand_one(word, line)?;
            let result = options
                .open(std::ffi::OsStr::from_bytes(&path))
                .and_then(|file| redirect(file.as_fd(), *stream));
            if let Err(error) = result {
                let path = String::from_utf8_lossy(&path);
                return Ok(Err(self.complain(
                    line,
                    &format!("cannot open {path}: {error}"),
                    1,
                )));
            }
        }
        Ok(Ok(()))
    }
}
