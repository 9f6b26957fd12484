//! The console terminal: line discipline between the serial line and its readers.
//!
//! Law: bytes from the line go through [`Console::input`], bytes of programs and echoes collect in the
//! output that the caller fetches and prints; signals are events that the caller delivers. Behaviour
//! follows POSIX chapter 11 and Linux' `drivers/tty/n_tty.c` as seen from outside.
//!
//! Not here: several terminals. Who may use the terminal is decided by the calls, with `Job`.

use super::pipe::Patience;
use crate::wait::{Stop, WaitQueue, Wakes};
use abi::layout::{POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, Termios};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use spin::Mutex;

/// Most bytes of input that wait for a reader; what comes after is dropped.
const MAX_INPUT: usize = 4096;

// Bits of `asm-generic/termbits.h`, by the name they have there.
const ISTRIP: u32 = 0o40;
const INLCR: u32 = 0o100;
const IGNCR: u32 = 0o200;
const ICRNL: u32 = 0o400;
const IXON: u32 = 0o2000;
const IXANY: u32 = 0o4000;
const IMAXBEL: u32 = 0o20_000;
const IUTF8: u32 = 0o40_000;
const OPOST: u32 = 0o1;
const ONLCR: u32 = 0o4;
const OCRNL: u32 = 0o10;
const ISIG: u32 = 0o1;
const ICANON: u32 = 0o2;
const ECHO: u32 = 0o10;
const ECHOE: u32 = 0o20;
const ECHOK: u32 = 0o40;
const ECHONL: u32 = 0o100;
const NOFLSH: u32 = 0o200;
const ECHOCTL: u32 = 0o1000;
const ECHOKE: u32 = 0o4000;
const IEXTEN: u32 = 0o100_000;
/// 38400 baud, 8 bits, receiver on, hang up on last close: what Linux starts with.
const DEFAULT_CONTROL: u32 = 0o2277;

const VINTR: usize = 0;
const VQUIT: usize = 1;
const VERASE: usize = 2;
const VKILL: usize = 3;
const VEOF: usize = 4;
const VTIME: usize = 5;
const VMIN: usize = 6;
const VSTART: usize = 8;
const VSTOP: usize = 9;
const VSUSP: usize = 10;
const VEOL: usize = 11;
const VREPRINT: usize = 12;
const VWERASE: usize = 14;
const VLNEXT: usize = 15;
const VEOL2: usize = 16;

/// What the caller has to tell the processes of the foreground group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsoleEvent {
    /// `SIGINT`.
    Interrupt,
    /// `SIGQUIT`.
    Quit,
    /// `SIGTSTP`.
    Suspend,
    /// `SIGWINCH`.
    WindowChanged,
}

struct Tty {
    termios: Termios,
    /// Rows, columns, width and height in pixels: `struct winsize`.
    window: [u8; 8],
    foreground: u32,
    session: u32,
    /// What readers may have: in canonical mode one line each, an empty one for end of file.
    lines: VecDeque<Vec<u8>>,
    /// The line being typed; in raw mode more of what readers may have.
    editing: Vec<u8>,
    literal_next: bool,
    stopped: bool,
    output: Vec<u8>,
    events: Vec<ConsoleEvent>,
    column: usize,
    /// Column where the line being typed began.
    line_column: usize,
}

/// The terminal of a node. See the module.
pub struct Console {
    tty: Mutex<Tty>,
    readable: WaitQueue,
    writable: WaitQueue,
}

impl Console {
    /// A terminal of 24 rows and 80 columns in canonical mode.
    pub fn new(wakes: &Wakes) -> Console {
        Console {
            tty: Mutex::new(Tty {
                termios: Termios {
                    input: ICRNL | IXON,
                    output: OPOST | ONLCR,
                    control: DEFAULT_CONTROL,
                    local: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
                    line: 0,
                    characters:
                        *b"\x03\x1c\x7f\x15\x04\0\x01\0\x11\x13\x1a\0\x12\x0f\x17\x16\0\0\0",
                },
                window: [24, 0, 80, 0, 0, 0, 0, 0],
                foreground: 0,
                session: 0,
                lines: VecDeque::new(),
                editing: Vec::new(),
                literal_next: false,
                stopped: false,
                output: Vec::new(),
                events: Vec::new(),
                column: 0,
                line_column: 0,
            }),
            readable: WaitQueue::new(wakes),
            writable: WaitQueue::new(wakes),
        }
    }

    /// Takes one byte from the line.
    pub fn input(&self, byte: u8) {
        let mut tty = self.tty.lock();
        let was_stopped = tty.stopped;
        tty.input(byte);
        if was_stopped && !tty.stopped {
            self.writable.wake();
        }
        if tty.readable() {
            self.readable.wake();
        }
    }

    /// Takes the bytes to print.
    pub fn take_output(&self) -> Vec<u8> {
        core::mem::take(&mut self.tty.lock().output)
    }

    /// Takes the events to deliver to [`Console::foreground`].
    pub fn take_events(&self) -> Vec<ConsoleEvent> {
        core::mem::take(&mut self.tty.lock().events)
    }

    /// The process group in the foreground; 0 before anybody set one.
    pub fn foreground(&self) -> u32 {
        self.tty.lock().foreground
    }

    /// Puts a process group into the foreground.
    pub fn set_foreground(&self, group: u32) {
        self.tty.lock().foreground = group;
    }

    /// The session whose controlling terminal this is; 0 if it is nobody's.
    pub fn session(&self) -> u32 {
        self.tty.lock().session
    }

    /// Gives the terminal to a session.
    pub fn set_session(&self, session: u32) {
        self.tty.lock().session = session;
    }

    /// `struct winsize`: rows, columns, width and height in pixels, 16 bits each.
    pub fn window(&self) -> [u8; 8] {
        self.tty.lock().window
    }

    /// Sets the window; a change is an event.
    pub fn set_window(&self, window: [u8; 8]) {
        let mut tty = self.tty.lock();
        if tty.window != window {
            tty.window = window;
            tty.events.push(ConsoleEvent::WindowChanged);
        }
    }

    /// The modes.
    pub fn termios(&self) -> Termios {
        self.tty.lock().termios
    }

    /// Sets the modes. What was typed so far becomes readable when canonical mode changes.
    pub fn set_termios(&self, termios: Termios) {
        let mut tty = self.tty.lock();
        if (tty.termios.local ^ termios.local) & ICANON != 0 {
            if !tty.editing.is_empty() {
                let typed = core::mem::take(&mut tty.editing);
                tty.lines.push_back(typed);
            }
            tty.lines.retain(|line| !line.is_empty());
        }
        tty.termios = termios;
        if tty.termios.input & IXON == 0 {
            tty.stopped = false;
        }
        self.readable.wake();
        self.writable.wake();
    }

    /// Forgets what was typed and not read.
    pub fn flush_input(&self) {
        let mut tty = self.tty.lock();
        tty.lines.clear();
        tty.editing.clear();
    }

    /// Bytes that a reader could have now.
    pub fn available(&self) -> usize {
        self.tty.lock().available()
    }

    /// What `poll` says.
    pub(super) fn ready(&self) -> i16 {
        let tty = self.tty.lock();
        let read = if tty.readable() {
            POLLIN | POLLRDNORM
        } else {
            0
        };
        let write = if tty.stopped { 0 } else { POLLOUT | POLLWRNORM };
        read | write
    }

    /// Registers for every change.
    pub(super) fn watch(&self, waiter: u32) {
        self.readable.wait(waiter);
        self.writable.wait(waiter);
    }

    /// Prints bytes of a program.
    pub(super) fn write(&self, bytes: &[u8], patience: Patience) -> Result<usize, Stop> {
        let mut tty = self.tty.lock();
        if tty.stopped {
            return Err(patience.stop(&self.writable));
        }
        for &byte in bytes {
            tty.put(byte);
        }
        Ok(bytes.len())
    }

    /// Gives a line, or in raw mode what `VMIN` and `VTIME` say. `deadline_ns` is set when the wait
    /// is limited, and expected again.
    pub(super) fn read(
        &self,
        count: usize,
        patience: Patience,
        now_ns: u64,
        deadline_ns: &mut Option<u64>,
    ) -> Result<Vec<u8>, Stop> {
        let mut tty = self.tty.lock();
        if count == 0 {
            return Ok(Vec::new());
        }
        if tty.is(ICANON) {
            return match tty.take_line(count) {
                Some(bytes) => Ok(bytes),
                None => Err(patience.stop(&self.readable)),
            };
        }
        let least = usize::from(tty.termios.characters[VMIN]);
        let tenths = u64::from(tty.termios.characters[VTIME]);
        let available = tty.available();
        if available > 0 && available >= least.min(count) {
            return Ok(tty.take_raw(count));
        }
        // The clock runs from the start of the read without VMIN, else from the first byte.
        if tenths > 0 && (least == 0 || available > 0) {
            let deadline = *deadline_ns.get_or_insert(now_ns + tenths * 100_000_000);
            if now_ns >= deadline {
                return Ok(tty.take_raw(count));
            }
        } else if least == 0 {
            return Ok(Vec::new());
        }
        Err(patience.stop(&self.readable))
    }
}

impl Tty {
    fn is(&self, local: u32) -> bool {
        self.termios.local & local != 0
    }

    fn has(&self, input: u32) -> bool {
        self.termios.input & input != 0
    }

    /// Whether `byte` is the control character at `index`; 0 switches one off.
    fn control(&self, index: usize, byte: u8) -> bool {
        byte != 0 && self.termios.characters[index] == byte
    }

    fn available(&self) -> usize {
        let complete: usize = self.lines.iter().map(Vec::len).sum();
        complete
            + if self.is(ICANON) {
                0
            } else {
                self.editing.len()
            }
    }

    fn readable(&self) -> bool {
        if self.is(ICANON) {
            return !self.lines.is_empty();
        }
        let least = usize::from(self.termios.characters[VMIN]);
        let timed = self.termios.characters[VTIME] > 0;
        self.available() >= if timed { 1 } else { least.max(1) }
    }

    fn take_line(&mut self, count: usize) -> Option<Vec<u8>> {
        let line = self.lines.front_mut()?;
        let rest = line.split_off(count.min(line.len()));
        let bytes = core::mem::replace(line, rest);
        if line.is_empty() {
            self.lines.pop_front();
        }
        Some(bytes)
    }

    fn take_raw(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            match self.take_line(count - bytes.len()) {
                Some(more) => bytes.extend(more),
                None => break,
            }
        }
        let more = (count - bytes.len()).min(self.editing.len());
        bytes.extend(self.editing.drain(..more));
        bytes
    }

    /// One byte from the line: first what holds in both modes.
    fn input(&mut self, byte: u8) {
        let mut byte = if self.has(ISTRIP) { byte & 0x7f } else { byte };
        if core::mem::take(&mut self.literal_next) {
            return self.append(byte);
        }
        if self.has(IXON) {
            if self.control(VSTART, byte) {
                self.stopped = false;
                return;
            }
            if self.control(VSTOP, byte) {
                self.stopped = true;
                return;
            }
            if self.has(IXANY) {
                self.stopped = false;
            }
        }
        if self.is(ISIG) {
            let events = [
                (VINTR, ConsoleEvent::Interrupt),
                (VQUIT, ConsoleEvent::Quit),
                (VSUSP, ConsoleEvent::Suspend),
            ];
            let event = events.iter().find(|row| self.control(row.0, byte));
            if let Some(&(_, event)) = event {
                return self.signal(event, byte);
            }
        }
        match byte {
            b'\r' if self.has(IGNCR) => return,
            b'\r' if self.has(ICRNL) => byte = b'\n',
            b'\n' if self.has(INLCR) => byte = b'\r',
            _ => {}
        }
        if self.is(ICANON) {
            self.edit(byte);
        } else {
            self.append(byte);
        }
    }

    fn signal(&mut self, event: ConsoleEvent, byte: u8) {
        self.events.push(event);
        self.stopped = false;
        if !self.is(NOFLSH) {
            self.lines.clear();
            self.editing.clear();
        }
        self.echo(byte);
    }

    /// Canonical mode: editing characters and ends of lines.
    fn edit(&mut self, byte: u8) {
        if self.control(VERASE, byte) {
            return self.erase_to(self.last_character(), byte);
        }
        if self.control(VKILL, byte) {
            if self.is(ECHOKE) && self.is(ECHOE) {
                return self.erase_to(0, byte);
            }
            self.editing.clear();
            self.echo(byte);
            if self.is(ECHOK) && self.is(ECHO) {
                self.put(b'\n');
            }
            return;
        }
        if self.is(IEXTEN) {
            if self.control(VWERASE, byte) {
                return self.erase_to(self.last_word(), byte);
            }
            if self.control(VLNEXT, byte) {
                self.literal_next = true;
                if self.is(ECHO) && self.is(ECHOCTL) {
                    self.put_all(b"^\x08");
                }
                return;
            }
            if self.control(VREPRINT, byte) {
                self.echo(byte);
                self.echo(b'\n');
                for byte in self.editing.clone() {
                    self.echo(byte);
                }
                return;
            }
        }
        if self.control(VEOF, byte) {
            if self.has_room(MAX_INPUT) {
                self.end_line();
            }
            return;
        }
        let ends = byte == b'\n' || self.control(VEOL, byte) || self.control(VEOL2, byte);
        if ends {
            if !self.has_room(MAX_INPUT) {
                return;
            }
            if self.is(ECHO) || (byte == b'\n' && self.is(ECHONL)) {
                self.echo_always(byte);
            }
            self.editing.push(byte);
            return self.end_line();
        }
        self.append(byte);
    }

    fn end_line(&mut self) {
        let line = core::mem::take(&mut self.editing);
        self.lines.push_back(line);
    }

    /// Whether fewer than `limit` bytes wait; an end of file counts as one.
    fn has_room(&self, limit: usize) -> bool {
        let held: usize = self.lines.iter().map(|line| line.len().max(1)).sum();
        held + self.editing.len() < limit
    }

    /// Adds one byte of data and echoes it, if there is room; one place is kept for the line's end.
    fn append(&mut self, byte: u8) {
        if !self.has_room(MAX_INPUT - 1) {
            if self.has(IMAXBEL) {
                self.put(0x07);
            }
            return;
        }
        if self.editing.is_empty() {
            self.line_column = self.column;
        }
        self.echo(byte);
        self.editing.push(byte);
    }

    /// Index of the last character of the line being typed.
    fn last_character(&self) -> usize {
        let mut at = self.editing.len().saturating_sub(1);
        while self.has(IUTF8) && at > 0 && self.editing[at] & 0xc0 == 0x80 {
            at -= 1;
        }
        at
    }

    /// Index of the last word of the line being typed, blanks behind it included.
    fn last_word(&self) -> usize {
        let is_blank = |byte: &&u8| byte.is_ascii_whitespace();
        let mut reversed = self.editing.iter().rev();
        let blanks = reversed.by_ref().take_while(is_blank).count();
        let all = self.editing.iter().rev().skip(blanks);
        let letters = all.take_while(|byte| !is_blank(byte)).count();
        self.editing.len() - blanks - letters
    }

    /// Cuts the line being typed, and wipes it from the screen. `with` is the key that did it.
    fn erase_to(&mut self, at: usize, with: u8) {
        if self.editing.is_empty() {
            return;
        }
        let before = self.end_column(&self.editing);
        self.editing.truncate(at);
        if !self.is(ECHO) {
            return;
        }
        if !self.is(ECHOE) {
            return self.echo(with);
        }
        for _ in self.end_column(&self.editing)..before {
            self.put_all(b"\x08 \x08");
        }
    }

    /// The column behind typed text as it was echoed.
    fn end_column(&self, typed: &[u8]) -> usize {
        let mut column = self.line_column;
        for &byte in typed {
            column = match byte {
                b'\t' => (column | 7) + 1,
                0..0x20 | 0x7f if self.is(ECHOCTL) => column + 2,
                0..0x20 | 0x7f => column,
                0x80..0xc0 if self.has(IUTF8) => column,
                _ => column + 1,
            };
        }
        column
    }

    fn echo(&mut self, byte: u8) {
        if self.is(ECHO) {
            self.echo_always(byte);
        }
    }

    fn echo_always(&mut self, byte: u8) {
        let control = (byte < 0x20 && byte != b'\n' && byte != b'\t') || byte == 0x7f;
        if control && self.is(ECHOCTL) {
            self.put_all(&[b'^', byte ^ 0x40]);
        } else {
            self.put(byte);
        }
    }

    fn put_all(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.put(byte);
        }
    }

    /// One byte to the screen through the output modes.
    fn put(&mut self, byte: u8) {
        let modes = self.termios.output;
        let byte = match byte {
            b'\r' if modes & OPOST != 0 && modes & OCRNL != 0 => b'\n',
            byte => byte,
        };
        if byte == b'\n' && modes & OPOST != 0 && modes & ONLCR != 0 {
            self.output.push(b'\r');
            self.column = 0;
        }
        self.output.push(byte);
        self.column = match byte {
            b'\r' => 0,
            0x08 => self.column.saturating_sub(1),
            b'\t' => (self.column | 7) + 1,
            0..0x20 | 0x7f => self.column,
            0x80..0xc0 if self.has(IUTF8) => self.column,
            _ => self.column + 1,
        };
    }
}
