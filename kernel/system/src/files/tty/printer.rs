//! What becomes of a byte on its way to the screen.
//!
//! Law: `OPOST` and its friends as termios(3) has them; the column is kept, because tabs and the
//! erasing of tabs depend on it. Bounded: one byte becomes at most eight.

use super::modes::{Modes, OCRNL, OLCUC, ONLCR, ONLRET, ONOCR, OPOST, TAB3, TABDLY};
use alloc::vec::Vec;

/// Most bytes that one byte becomes: a tab of eight blanks.
pub(super) const WIDEST: usize = 8;

/// Where the cursor is, as far as a terminal can know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Printer {
    column: usize,
    /// Where the line being typed began.
    pub(super) line_column: usize,
}

/// A control character in the sense of the terminal: it takes no place.
pub(super) fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

impl Printer {
    /// Notes that a line is begun here.
    pub(super) fn begin_line(&mut self) {
        self.line_column = self.column;
    }

    /// One byte through the output modes.
    pub(super) fn put(&mut self, modes: &Modes, byte: u8, into: &mut Vec<u8>) {
        if !modes.output(OPOST) {
            into.push(byte);
            return;
        }
        match byte {
            b'\n' => {
                if modes.output(ONLRET) {
                    self.column = 0;
                }
                if modes.output(ONLCR) {
                    self.column = 0;
                    into.push(b'\r');
                }
                self.line_column = self.column;
                into.push(b'\n');
            }
            b'\r' => {
                if modes.output(ONOCR) && self.column == 0 {
                    return;
                }
                let newline = modes.output(OCRNL);
                if !newline || modes.output(ONLRET) {
                    self.column = 0;
                    self.line_column = 0;
                }
                into.push(if newline { b'\n' } else { b'\r' });
            }
            b'\t' => {
                let blanks = 8 - self.column % 8;
                self.column += blanks;
                if modes.termios.output & TABDLY == TAB3 {
                    into.extend_from_slice(&b"        "[..blanks]);
                } else {
                    into.push(b'\t');
                }
            }
            0x08 => {
                self.column = self.column.saturating_sub(1);
                into.push(0x08);
            }
            _ => {
                if !is_control(byte) && !modes.continues(byte) {
                    self.column += 1;
                }
                into.push(if modes.output(OLCUC) {
                    byte.to_ascii_uppercase()
                } else {
                    byte
                });
            }
        }
    }

    /// A control character shown as `^X`.
    pub(super) fn put_caret(&mut self, byte: u8, into: &mut Vec<u8>) {
        into.extend_from_slice(&[b'^', byte ^ 0x40]);
        self.column += 2;
    }

    /// Takes a tab off the screen, which moved from `typed` columns behind the line's beginning, or
    /// behind the tab before it.
    pub(super) fn erase_tab(&mut self, typed: usize, behind: TabBehind, into: &mut Vec<u8>) {
        let from = match behind {
            TabBehind::Line => self.line_column + typed,
            TabBehind::Tab => typed,
        };
        for _ in 0..8 - from % 8 {
            into.push(0x08);
            self.column = self.column.saturating_sub(1);
        }
    }
}

/// What is before a tab that is erased.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TabBehind {
    /// The beginning of the line.
    Line,
    /// Another tab, so that columns count from a multiple of eight.
    Tab,
}
