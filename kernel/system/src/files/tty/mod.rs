//! Terminals: the serial console and pseudo-terminals, which are one thing with two kinds of wires.
//!
//! Law: a [`Tty`] is a [`line::Line`] between its programs and its other side, which is the serial
//! line of the node or the master of a pty. It stays at home; what it has to say to processes it
//! leaves with the [`Post`], and whoever called into the files delivers that afterwards. An [`End`] is
//! counted: the last line end that goes tells the master, and the master's going hangs the line up.
//!
//! Who may use a terminal is decided by the calls, with `Job`. Not here: baud rates and modem lines,
//! which change nothing.

mod ends;
mod line;
mod modes;
mod post;
mod printer;
mod registry;
mod state;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use ends::{End, Side};
pub(super) use modes::Form;
pub use post::Notice;
pub use registry::Terminals;

use super::inode::{Device, InodeRef};
use super::pipe::Patience;
use crate::wait::{Stop, WaitQueue};
use abi::Errno;
use abi::layout::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use abi::signal::{SIGCONT, SIGHUP};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use modes::{HangsUp, Modes, TOSTOP, VMIN, VTIME};
use post::Post;
use spin::Mutex;
use state::{OUTPUT_MAX, Packet, State};

/// `POLLPRI`: a pty master in packet mode has something to say.
const POLLPRI: i16 = 2;
/// What `poll` says of a terminal that has hung up.
const HUNG_UP: i16 = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;
const NS_PER_TENTH: u64 = 100_000_000;

/// What is on the other side of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The serial line of the node.
    Console,
    /// The master of the pseudo-terminal of this number.
    Pty(u32),
}

/// The time of a read with `VTIME`: now, and when the wait ends, kept between its tries.
pub(super) struct ReadClock<'c> {
    pub(super) now_ns: u64,
    pub(super) deadline_ns: &'c mut Option<u64>,
}

/// A terminal. See the module.
pub struct Tty {
    kind: Kind,
    state: Mutex<State>,
    readable: WaitQueue,
    writable: WaitQueue,
    master_readable: WaitQueue,
    master_writable: WaitQueue,
    post: Arc<Post>,
    /// Where the name of a pty is taken away when its master goes.
    directory: Weak<super::Inode>,
}

impl Tty {
    fn new(kind: Kind, post: &Arc<Post>, directory: Weak<super::Inode>) -> Tty {
        let hangs_up = match kind {
            Kind::Console => HangsUp::OnClose,
            Kind::Pty(_) => HangsUp::Never,
        };
        Tty {
            kind,
            state: Mutex::new(State::new(kind, Modes::new(hangs_up))),
            readable: WaitQueue::new(&post.wakes),
            writable: WaitQueue::new(&post.wakes),
            master_readable: WaitQueue::new(&post.wakes),
            master_writable: WaitQueue::new(&post.wakes),
            post: post.clone(),
            directory,
        }
    }

    /// Changes the state, delivers what that brings about and wakes whoever may go on.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        self.post.add(state.take_notices());
        if state.line.has_input() {
            self.readable.wake();
        }
        if state.output_room() > 0 {
            self.writable.wake();
        }
        if state.master_has_news() {
            self.master_readable.wake();
        }
        if state.incoming_room() > 0 {
            self.master_writable.wake();
        }
        result
    }

    // ---- the serial line's side --------------------------------------------------------------

    /// Takes bytes from the serial line; what there is no room for is lost, as on the wire.
    pub fn input(&self, bytes: &[u8], now_ns: u64) {
        self.change(|state| state.receive(bytes, now_ns));
    }

    /// Takes the bytes for the serial line.
    pub fn take_output(&self) -> Vec<u8> {
        if self.state.lock().output.is_empty() {
            return Vec::new();
        }
        self.change(|state| state.output.drain(..).collect())
    }

    /// Whether [`Tty::take_output`] has something to give.
    pub fn has_output(&self) -> bool {
        !self.state.lock().output.is_empty()
    }

    // ---- job control -------------------------------------------------------------------------

    /// The process group in the foreground; 0 before anybody set one.
    pub fn foreground(&self) -> u32 {
        self.state.lock().foreground
    }

    /// Puts a process group into the foreground.
    pub fn set_foreground(&self, group: u32) {
        self.state.lock().foreground = group;
    }

    /// The session whose controlling terminal this is; 0 if it is nobody's.
    pub fn session(&self) -> u32 {
        self.state.lock().session
    }

    /// Gives the terminal to a session, with a group of it in the foreground; to nobody with 0 and 0.
    pub fn set_session(&self, session: u32, foreground: u32) {
        let mut state = self.state.lock();
        state.session = session;
        state.foreground = foreground;
    }

    /// Whether background processes may not write (`TOSTOP`).
    pub(super) fn stops_writers(&self) -> bool {
        self.state.lock().line.modes().local(TOSTOP)
    }

    /// The line is gone: its session leader learns it, and whoever has it open has nothing any more.
    pub(super) fn hang_up(&self) {
        self.change(State::hang_up);
        for queue in [&self.readable, &self.writable] {
            queue.wake();
        }
    }

    // ---- modes and such ----------------------------------------------------------------------

    pub(super) fn modes(&self) -> Modes {
        *self.state.lock().line.modes()
    }

    pub(super) fn set_modes(&self, modes: Modes) {
        self.change(|state| state.set_modes(modes));
        self.readable.wake();
        self.writable.wake();
    }

    /// `struct winsize`: rows, columns, width and height in pixels, 16 bits each.
    pub fn window(&self) -> [u8; 8] {
        self.state.lock().window
    }

    /// Sets the window; the foreground group learns of a change.
    pub fn set_window(&self, window: [u8; 8]) {
        self.change(|state| state.set_window(window));
    }

    /// Bytes that a reader of the line could have now.
    pub fn available(&self) -> usize {
        self.state.lock().line.available()
    }

    /// Bytes that are on their way to the serial line, or that a pty's master could have now.
    pub(super) fn unsent(&self) -> usize {
        self.state.lock().output.len()
    }

    /// Forgets what was typed and not read.
    pub(super) fn flush_input(&self) {
        self.change(|state| {
            state.line.flush();
            state.incoming.clear();
            state.note(Packet::FLUSH_READ);
        });
    }

    /// Forgets what was written and has not left.
    pub(super) fn flush_output(&self) {
        self.change(|state| {
            state.output.clear();
            state.note(Packet::FLUSH_WRITE);
        });
    }

    /// The number of a pty.
    pub(super) fn number(&self) -> Option<u32> {
        match self.kind {
            Kind::Pty(number) => Some(number),
            Kind::Console => None,
        }
    }

    /// The device that its line is.
    pub(super) fn device(&self) -> Device {
        match self.kind {
            Kind::Pty(number) => Device::Pts(number),
            Kind::Console => Device::Serial,
        }
    }

    /// The number of that device, as `/proc/PID/stat` has it.
    pub fn device_number(&self) -> u64 {
        self.device().number()
    }

    /// Its session gives it up; the foreground group learns it as by a hang-up.
    pub fn leave(&self) {
        self.change(|state| {
            state.signal(SIGHUP);
            state.signal(SIGCONT);
            state.session = 0;
            state.foreground = 0;
        });
    }

    /// Stops or starts the output by order of a program.
    pub(super) fn suspend_output(&self, suspended: bool) {
        self.change(|state| state.suspend(suspended));
    }

    /// As if the byte had been typed.
    pub(super) fn simulate(&self, byte: u8, now_ns: u64) {
        self.change(|state| state.receive(&[byte], now_ns));
    }

    /// Sends one byte to the other side, past all modes; `VSTART` and `VSTOP` of `TCXONC`.
    pub(super) fn send_raw(&self, character: Flow) {
        self.change(|state| {
            let modes = state.line.modes().termios;
            let byte = match character {
                Flow::Start => modes.characters[modes::VSTART],
                Flow::Stop => modes.characters[modes::VSTOP],
            };
            if byte != 0 {
                state.print(&[byte]);
            }
        });
    }

    /// Only root may open it from now on, or everybody again.
    pub(super) fn set_exclusive(&self, exclusive: bool) {
        self.state.lock().exclusive = exclusive;
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.state.lock().exclusive
    }

    // ---- the line's side ---------------------------------------------------------------------

    fn line_ready(&self, generation: u32) -> i16 {
        let state = self.state.lock();
        if state.generation != generation {
            return HUNG_UP;
        }
        let read = match state.line.is_readable() {
            true => POLLIN | POLLRDNORM,
            false => 0,
        };
        let write = match state.output_room() {
            0 => 0,
            _ => POLLOUT | POLLWRNORM,
        };
        read | write
    }

    fn line_write(&self, bytes: &[u8], patience: Patience) -> Result<usize, Stop> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match self.change(|state| state.write(bytes)) {
            0 => Err(patience.stop(&self.writable)),
            written => Ok(written),
        }
    }

    /// A line, or in raw mode what `VMIN` and `VTIME` say: `VMIN` bytes, or what is there when no more
    /// has come for `VTIME` since the last byte; without `VMIN`, since the start.
    fn line_read(
        &self,
        count: usize,
        patience: Patience,
        clock: ReadClock<'_>,
    ) -> Result<Vec<u8>, Stop> {
        let state = self.state.lock();
        let modes = *state.line.modes();
        let (now, available, last) = (clock.now_ns, state.line.available(), state.last_input_ns);
        let has_input = state.line.has_input();
        drop(state);
        if count == 0 {
            return Ok(Vec::new());
        }
        if modes.canonical() {
            return match has_input {
                true => Ok(self.line_take(count)),
                false => Err(patience.stop(&self.readable)),
            };
        }
        let least = usize::from(modes.termios.characters[VMIN]);
        let tenths = u64::from(modes.termios.characters[VTIME]);
        if available > 0 && (available >= least.min(count) || patience == Patience::Never) {
            return Ok(self.line_take(count));
        }
        let timed = tenths > 0 && (least == 0 || available > 0);
        if timed {
            let span = tenths * NS_PER_TENTH;
            let mut deadline = *clock.deadline_ns.get_or_insert(now.saturating_add(span));
            if least > 0 {
                deadline = deadline.max(last.saturating_add(span));
            }
            if now >= deadline {
                return Ok(self.line_take(count));
            }
            *clock.deadline_ns = Some(deadline);
            let stop = patience.stop(&self.readable);
            if let Patience::Wait(waiter) = patience {
                self.post.wake_at(deadline, waiter);
            }
            return Err(stop);
        }
        if least == 0 {
            return Ok(Vec::new());
        }
        Err(patience.stop(&self.readable))
    }

    fn line_take(&self, count: usize) -> Vec<u8> {
        self.change(|state| {
            let bytes = state.line.take(count);
            // There may be room now for what the other side has sent.
            state.pump();
            bytes
        })
    }

    fn line_queues(&self) -> [&WaitQueue; 2] {
        [&self.readable, &self.writable]
    }

    // ---- the master's side -------------------------------------------------------------------

    fn master_ready(&self) -> i16 {
        let state = self.state.lock();
        let read = match state.output.is_empty() && !state.has_status() {
            true => 0,
            false => POLLIN | POLLRDNORM,
        };
        let urgent = match state.has_status() {
            true => POLLPRI,
            false => 0,
        };
        let closed = match state.line_closed {
            true => POLLHUP,
            false => 0,
        };
        let write = match state.incoming_room() {
            0 => 0,
            _ => POLLOUT | POLLWRNORM,
        };
        read | urgent | closed | write
    }

    fn master_write(&self, bytes: &[u8], patience: Patience, now_ns: u64) -> Result<usize, Stop> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match self.change(|state| state.receive(bytes, now_ns)) {
            0 => Err(patience.stop(&self.master_writable)),
            taken => Ok(taken),
        }
    }

    fn master_read(&self, count: usize, patience: Patience) -> Result<Vec<u8>, Stop> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if !self.state.lock().master_has_news() {
            return Err(patience.stop(&self.master_readable));
        }
        match self.change(|state| state.read_as_master(count)) {
            Some(bytes) => Ok(bytes),
            None => Err(Errno::EIO.into()),
        }
    }

    fn master_queues(&self) -> [&WaitQueue; 2] {
        [&self.master_readable, &self.master_writable]
    }

    /// Whether the line of a pty may not be opened yet.
    pub(super) fn is_locked(&self) -> bool {
        self.state.lock().locked
    }

    pub(super) fn set_locked(&self, locked: bool) {
        self.state.lock().locked = locked;
    }

    pub(super) fn is_packet(&self) -> bool {
        self.state.lock().packet.is_some()
    }

    pub(super) fn set_packet(&self, packet: bool) {
        let mut state = self.state.lock();
        state.packet = match (packet, state.packet) {
            (true, before) => Some(before.unwrap_or(0)),
            (false, _) => None,
        };
    }

    /// A signal to the foreground group (`TIOCSIG`).
    pub(super) fn signal(&self, signal: u32) {
        self.change(|state| state.signal(signal));
    }

    /// The inode under /dev/pts and its name, while the master is open.
    pub(super) fn name(&self) -> Option<(InodeRef, Vec<u8>)> {
        let Kind::Pty(number) = self.kind else {
            return None;
        };
        Some((self.directory.upgrade()?, pty_name(number)))
    }
}

/// The name of a pty in /dev/pts.
fn pty_name(number: u32) -> Vec<u8> {
    alloc::format!("{number}").into_bytes()
}

/// A character of flow control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    Start,
    Stop,
}

const _: () = assert!(OUTPUT_MAX > printer::WIDEST);
