//! The line discipline: from bytes that come in to lines, echoes and signals.
//!
//! Law: a plain value without clock, readers or screen. One byte goes in, and what it brought about
//! is in [`Effects`]; what is ready comes out of [`Line::take`]. Behaviour is that of POSIX chapter 11
//! and of Linux' discipline 0 seen from outside, its limits included: 4095 bytes, and of a line that
//! is longer the last byte is replaced until its end comes.

use super::modes::{
    ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ECHOPRT, EXTPROC, ICANON, ICRNL, IEXTEN, IGNCR,
    INLCR, ISIG, ISTRIP, IUCLC, IXANY, IXON, Modes, NOFLSH, PARMRK, VEOF, VEOL, VEOL2, VERASE,
    VINTR, VKILL, VLNEXT, VMIN, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VTIME, VWERASE,
};
use super::printer::{Printer, TabBehind, is_control};
use abi::signal::{SIGINT, SIGQUIT, SIGTSTP};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most bytes that wait for a reader, the end of an overlong line included.
const CAPACITY: usize = 4096;

/// What a byte brought about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Effects {
    /// To the screen, behind what is there.
    pub(super) echo: Vec<u8>,
    /// To the foreground group.
    pub(super) signal: Option<u32>,
    /// Input and output that wait were thrown away, before the echo.
    pub(super) flushed: bool,
    /// The user stops (`Some(true)`) or starts the output.
    pub(super) stops: Option<bool>,
}

/// One byte of input. An end of file is the byte 0 that ends a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Typed {
    byte: u8,
    ends: bool,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    modes: Modes,
    queue: VecDeque<Typed>,
    /// How much of the queue is whole lines; 0 in raw mode, where everything is ready.
    whole: usize,
    literal_next: bool,
    /// Between `\` and `/` of `ECHOPRT`.
    erasing: bool,
    pub(super) printer: Printer,
    stopped: bool,
}

impl Line {
    pub(super) fn new(modes: Modes) -> Line {
        Line {
            modes,
            queue: VecDeque::new(),
            whole: 0,
            literal_next: false,
            erasing: false,
            printer: Printer::default(),
            stopped: false,
        }
    }

    pub(super) fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Whether the user has stopped the output by `VSTOP`.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Sets the modes. What was typed becomes readable when canonical mode begins or ends.
    pub(super) fn set_modes(&mut self, modes: Modes) {
        let changed = self.modes.termios.local ^ modes.termios.local;
        if changed & (ICANON | EXTPROC) != 0 {
            for typed in &mut self.queue {
                typed.ends = false;
            }
            self.whole = 0;
            if modes.local(ICANON)
                && let Some(last) = self.queue.back_mut()
            {
                last.ends = true;
                self.whole = self.queue.len();
            }
            self.erasing = false;
            self.literal_next = false;
        }
        self.modes = modes;
        if !self.modes.input(IXON) {
            self.stopped = false;
        }
    }

    /// Forgets what was typed and not read.
    pub(super) fn flush(&mut self) {
        self.queue.clear();
        self.whole = 0;
        self.literal_next = false;
        self.erasing = false;
    }

    // ---- what readers get --------------------------------------------------------------------

    /// Bytes that a reader could have now.
    pub(super) fn available(&self) -> usize {
        if !self.modes.canonical() {
            return self.queue.len();
        }
        let ends = |typed: &&Typed| typed.ends && typed.byte == 0;
        self.whole - self.queue.iter().take(self.whole).filter(ends).count()
    }

    /// Whether a read would give something, an end of file included.
    pub(super) fn has_input(&self) -> bool {
        if self.modes.canonical() {
            self.whole > 0
        } else {
            !self.queue.is_empty()
        }
    }

    /// Whether `poll` says so: in raw mode without `VTIME` there must be `VMIN` bytes.
    pub(super) fn is_readable(&self) -> bool {
        if self.modes.canonical() {
            return self.whole > 0;
        }
        let characters = &self.modes.termios.characters;
        let least = match characters[VTIME] {
            0 => usize::from(characters[VMIN]).max(1),
            _ => 1,
        };
        self.queue.len() >= least
    }

    /// Up to `count` bytes: of one line, or in raw mode of all there is. An end of file ends a line
    /// and is not given.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        if !self.modes.canonical() {
            let count = count.min(self.queue.len());
            self.whole = 0;
            return self.queue.drain(..count).map(|typed| typed.byte).collect();
        }
        let mut bytes = Vec::new();
        while self.whole > 0 {
            let next = self.queue[0];
            let end_of_file = next.ends && next.byte == 0;
            if bytes.len() == count && !end_of_file {
                break;
            }
            self.queue.pop_front();
            self.whole -= 1;
            if !end_of_file {
                bytes.push(next.byte);
            }
            if next.ends {
                break;
            }
        }
        bytes
    }

    // ---- what comes in -----------------------------------------------------------------------

    /// Whether a byte is taken in now. A line without an end always takes one more, so that it can be
    /// edited and ended.
    pub(super) fn has_room(&self) -> bool {
        let each = if self.modes.input(PARMRK) { 3 } else { 1 };
        self.queue.len() + each < CAPACITY || (self.modes.canonical() && self.whole == 0)
    }

    fn push(&mut self, byte: u8, ends: bool) {
        if self.queue.len() >= CAPACITY {
            self.queue.pop_back();
        }
        self.queue.push_back(Typed { byte, ends });
        if ends {
            self.whole = self.queue.len();
        }
    }

    /// Takes in one byte, for which there is room.
    pub(super) fn receive(&mut self, byte: u8) -> Effects {
        let mut effects = Effects::default();
        if core::mem::take(&mut self.literal_next) {
            let byte = self.stripped(byte);
            self.plain(byte, &mut effects);
            return effects;
        }
        let byte = self.stripped(byte);
        if self.modes.local(EXTPROC) {
            self.push(byte, false);
            return effects;
        }
        if self.flow(byte, &mut effects) || self.interrupt(byte, &mut effects) {
            return effects;
        }
        let Some(translated) = self.translated(byte) else {
            return effects;
        };
        let edits = self.modes.local(ICANON) && self.edit(translated, &mut effects);
        if !edits && byte == b'\r' && translated == b'\n' {
            // The return key shows as a new line; a typed Ctrl-J is a control character.
            if self.modes.local(ECHO) {
                self.put(b'\n', &mut effects);
            }
            self.push(b'\n', false);
        } else if !edits {
            self.plain(translated, &mut effects);
        }
        effects
    }

    fn stripped(&self, byte: u8) -> u8 {
        let byte = if self.modes.input(ISTRIP) {
            byte & 0x7f
        } else {
            byte
        };
        if self.modes.input(IUCLC) && self.modes.local(IEXTEN) {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    }

    /// Flow control. Returns whether that was all.
    fn flow(&mut self, byte: u8, effects: &mut Effects) -> bool {
        if !self.modes.input(IXON) {
            return false;
        }
        if self.modes.is_control(VSTART, byte) {
            self.start(effects);
            return true;
        }
        if self.modes.is_control(VSTOP, byte) {
            self.stopped = true;
            effects.stops = Some(true);
            return true;
        }
        let signals = self.modes.local(ISIG)
            && [VINTR, VQUIT, VSUSP]
                .iter()
                .any(|index| self.modes.is_control(*index, byte));
        if self.modes.input(IXANY) && !signals {
            self.start(effects);
        }
        false
    }

    fn start(&mut self, effects: &mut Effects) {
        if core::mem::take(&mut self.stopped) {
            effects.stops = Some(false);
        }
    }

    /// Keys that are signals. Returns whether it was one.
    fn interrupt(&mut self, byte: u8, effects: &mut Effects) -> bool {
        if !self.modes.local(ISIG) {
            return false;
        }
        let keys = [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)];
        let key = keys.iter().find(|key| self.modes.is_control(key.0, byte));
        let Some((_, signal)) = key else {
            return false;
        };
        effects.signal = Some(*signal);
        if !self.modes.local(NOFLSH) {
            self.flush();
            effects.flushed = true;
        }
        if self.modes.input(IXON) {
            self.start(effects);
        }
        if self.modes.local(ECHO) {
            self.echo(byte, effects);
        }
        true
    }

    fn translated(&self, byte: u8) -> Option<u8> {
        match byte {
            b'\r' if self.modes.input(IGNCR) => None,
            b'\r' if self.modes.input(ICRNL) => Some(b'\n'),
            b'\n' if self.modes.input(INLCR) => Some(b'\r'),
            byte => Some(byte),
        }
    }

    /// Canonical mode: keys that edit and ends of lines. Returns whether it was one.
    fn edit(&mut self, byte: u8, effects: &mut Effects) -> bool {
        let extended = self.modes.local(IEXTEN);
        let is = |index| self.modes.is_control(index, byte);
        let erases = [
            (VERASE, Erase::Character, true),
            (VKILL, Erase::Line, true),
            (VWERASE, Erase::Word, extended),
        ];
        if let Some((_, what, _)) = erases.iter().find(|row| row.2 && is(row.0)) {
            self.erase(*what, effects);
        } else if extended && is(VLNEXT) {
            self.literal_next = true;
            if self.modes.local(ECHO) {
                self.finish_erasing(effects);
                if self.modes.local(ECHOCTL) {
                    self.put_all(b"^\x08", effects);
                }
            }
        } else if extended && is(VREPRINT) && self.modes.local(ECHO) {
            self.finish_erasing(effects);
            self.echo(byte, effects);
            self.put(b'\n', effects);
            let typed: Vec<u8> = self.queue.range(self.whole..).map(|key| key.byte).collect();
            for byte in typed {
                self.echo(byte, effects);
            }
        } else if byte == b'\n' {
            if self.modes.local(ECHO | ECHONL) {
                self.put(b'\n', effects);
            }
            self.push(byte, true);
        } else if is(VEOF) {
            self.push(0, true);
        } else if is(VEOL) || (extended && is(VEOL2)) {
            if self.modes.local(ECHO) {
                self.note_column();
                self.echo(byte, effects);
            }
            self.push(byte, true);
        } else {
            return false;
        }
        true
    }

    /// A byte of data.
    fn plain(&mut self, byte: u8, effects: &mut Effects) {
        if self.modes.local(ECHO) {
            self.finish_erasing(effects);
            self.note_column();
            self.echo(byte, effects);
        }
        // A byte that looks like the mark of an error is doubled.
        if byte == 0xff && self.modes.input(PARMRK) && !self.modes.input(ISTRIP) {
            self.push(byte, false);
        }
        self.push(byte, false);
    }

    fn note_column(&mut self) {
        if self.queue.len() == self.whole {
            self.printer.begin_line();
        }
    }

    // ---- erasing -----------------------------------------------------------------------------

    fn erase(&mut self, what: Erase, effects: &mut Effects) {
        if self.queue.len() == self.whole {
            return;
        }
        if what == Erase::Line {
            let wipes =
                self.modes.local(ECHOK) && self.modes.local(ECHOKE) && self.modes.local(ECHOE);
            if !self.modes.local(ECHO) || !wipes {
                self.queue.truncate(self.whole);
                if self.modes.local(ECHO) {
                    self.finish_erasing(effects);
                    self.echo(self.modes.termios.characters[VKILL], effects);
                    if self.modes.local(ECHOK) {
                        self.put(b'\n', effects);
                    }
                }
                return;
            }
        }
        let mut seen_letters = false;
        while self.queue.len() > self.whole {
            let mut at = self.queue.len() - 1;
            while self.modes.continues(self.queue[at].byte) && at > self.whole {
                at -= 1;
            }
            let first = self.queue[at].byte;
            // Half a character is not erased.
            if self.modes.continues(first) {
                break;
            }
            if what == Erase::Word {
                let letter = is_letter(first);
                if seen_letters && !letter {
                    break;
                }
                seen_letters |= letter;
            }
            let gone: Vec<u8> = self.queue.drain(at..).map(|typed| typed.byte).collect();
            if self.modes.local(ECHO) {
                self.show_erased(&gone, what, effects);
            }
            if what == Erase::Character {
                break;
            }
        }
        if self.queue.len() == self.whole && self.modes.local(ECHO) {
            self.finish_erasing(effects);
        }
    }

    fn show_erased(&mut self, gone: &[u8], what: Erase, effects: &mut Effects) {
        let first = gone[0];
        if self.modes.local(ECHOPRT) {
            if !self.erasing {
                self.put(b'\\', effects);
                self.erasing = true;
            }
            self.echo(first, effects);
            for &byte in &gone[1..] {
                self.put(byte, effects);
            }
        } else if what == Erase::Character && !self.modes.local(ECHOE) {
            self.echo(self.modes.termios.characters[VERASE], effects);
        } else if first == b'\t' {
            let (mut columns, mut behind) = (0, TabBehind::Line);
            for typed in self.queue.range(self.whole..).rev() {
                match typed.byte {
                    b'\t' => {
                        behind = TabBehind::Tab;
                        break;
                    }
                    byte if is_control(byte) => {
                        columns += if self.modes.local(ECHOCTL) { 2 } else { 0 };
                    }
                    byte if self.modes.continues(byte) => {}
                    _ => columns += 1,
                }
            }
            self.printer.erase_tab(columns, behind, &mut effects.echo);
        } else {
            let places = match (is_control(first), self.modes.local(ECHOCTL)) {
                (true, true) => 2,
                (true, false) => 0,
                _ => 1,
            };
            for _ in 0..places {
                self.put_all(b"\x08 \x08", effects);
            }
        }
    }

    fn finish_erasing(&mut self, effects: &mut Effects) {
        if core::mem::take(&mut self.erasing) {
            self.put(b'/', effects);
        }
    }

    // ---- to the screen -----------------------------------------------------------------------

    fn echo(&mut self, byte: u8, effects: &mut Effects) {
        if is_control(byte) && byte != b'\t' && self.modes.local(ECHOCTL) {
            self.printer.put_caret(byte, &mut effects.echo);
        } else {
            self.put(byte, effects);
        }
    }

    fn put(&mut self, byte: u8, effects: &mut Effects) {
        self.printer.put(&self.modes, byte, &mut effects.echo);
    }

    fn put_all(&mut self, bytes: &[u8], effects: &mut Effects) {
        for &byte in bytes {
            self.put(byte, effects);
        }
    }
}

/// What one key takes away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Erase {
    Character,
    Word,
    Line,
}

/// What belongs to a word: letters and digits, those of Latin-1 too, and `_`.
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}
