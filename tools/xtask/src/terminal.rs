//! The user's terminal as the console of node 1.
//!
//! Law: the terminal's settings are put back, also when we end in an error. Ctrl-A is the escape:
//! Ctrl-A X leaves, Ctrl-A Ctrl-A is one Ctrl-A.

use crate::error::Error;
use crate::node::Event;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::Read;
use std::sync::mpsc::Sender;
use std::time::Duration;

const CTRL_A: u8 = 1;

/// A terminal in raw mode until this is dropped.
pub(crate) struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    /// Makes standard input raw when it is a terminal: every key goes to node 1, Ctrl-C too.
    pub(crate) fn enter() -> Result<RawMode, Error> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return Ok(RawMode { before: None });
        }
        let failed = |error: rustix::io::Errno| Error::System {
            what: "setting up the terminal",
            source: error.into(),
        };
        let before = tcgetattr(stdin).map_err(failed)?;
        let mut raw = before.clone();
        // The node's terminal does all there is to do; programs that draw rely on that.
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Now, &raw).map_err(failed)?;
        Ok(RawMode {
            before: Some(before),
        })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

/// How often the size of the window is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Tells `events` how large the window is, and when that changes.
pub(crate) fn watch_window(events: Sender<Event>) {
    std::thread::spawn(move || {
        let mut told = None;
        loop {
            let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) else {
                return;
            };
            let window = [size.ws_row, size.ws_col];
            if told != Some(window) && window != [0, 0] {
                told = Some(window);
                if events.send(Event::Window(window)).is_err() {
                    return;
                }
            }
            std::thread::sleep(LOOK);
        }
    });
}

/// Sends what is typed to `events` until the user leaves or standard input ends.
pub(crate) fn listen(events: Sender<Event>) {
    std::thread::spawn(move || {
        let mut keys = Keys::default();
        let mut buffer = [0; 256];
        while let Ok(length @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            let (typed, quit) = keys.take(&buffer[..length]);
            if !typed.is_empty() && events.send(Event::Typed(typed)).is_err() {
                return;
            }
            if quit {
                let _ = events.send(Event::Quit);
                return;
            }
        }
    });
}

/// Finds the escape sequences in what is typed.
#[derive(Debug, Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    /// What goes to the node, and whether the user wants to leave.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut typed = Vec::new();
        for &byte in bytes {
            if !self.escaped && byte == CTRL_A {
                self.escaped = true;
                continue;
            }
            if std::mem::take(&mut self.escaped) {
                match byte {
                    b'x' | b'X' => return (typed, true),
                    CTRL_A => typed.push(CTRL_A),
                    _ => typed.extend([CTRL_A, byte]),
                }
                continue;
            }
            typed.push(byte);
        }
        (typed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_is_ctrl_a() {
        let mut keys = Keys::default();
        assert_eq!(keys.take(b"ls\r\x03"), (b"ls\r\x03".to_vec(), false));
        assert_eq!(keys.take(b"a\x01\x01b"), (b"a\x01b".to_vec(), false));
        assert_eq!(keys.take(b"\x01"), (Vec::new(), false));
        assert_eq!(keys.take(b"z"), (b"\x01z".to_vec(), false));
        assert_eq!(keys.take(b"q\x01xrest"), (b"q".to_vec(), true));
    }
}
