//! What a terminal holds: the line, what is on its way in either direction, and whose it is.
//!
//! Law: a plain value behind the lock of its [`super::Tty`]. Everything is bounded: input beyond the
//! line's room waits in `incoming`, output of a pty in `output`, and who finds no room waits.

use super::Kind;
use super::line::{Effects, Line};
use super::modes::Modes;
use super::post::Notice;
use super::printer::WIDEST;
use abi::signal::SIGWINCH;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most bytes of output that a pty's master has not read.
pub(super) const OUTPUT_MAX: usize = 12 << 10;
/// Most bytes of echo beyond that; an echo cannot wait.
const ECHO_MAX: usize = 4 << 10;
/// Most bytes of input that wait until the line has room: of a pty's master, and of the console,
/// whose other side does not wait.
const PTY_INCOMING_MAX: usize = 8 << 10;
const CONSOLE_INCOMING_MAX: usize = 64 << 10;

/// What a master in packet mode reads when something else than data happened (ioctl_tty(2)).
pub(super) struct Packet;

impl Packet {
    pub(super) const FLUSH_READ: u8 = 1;
    pub(super) const FLUSH_WRITE: u8 = 2;
    pub(super) const STOP: u8 = 4;
    pub(super) const START: u8 = 8;
    pub(super) const NO_STOP: u8 = 16;
    pub(super) const DO_STOP: u8 = 32;
    pub(super) const IOCTL: u8 = 64;
}

pub(super) struct State {
    kind: Kind,
    pub(super) line: Line,
    /// For the serial line, or the master.
    pub(super) output: VecDeque<u8>,
    /// Echoes while the output is stopped.
    held: Vec<u8>,
    /// From the other side, for the line.
    pub(super) incoming: VecDeque<u8>,
    pub(super) last_input_ns: u64,
    /// Stopped by a program (`TCXONC`).
    suspended: bool,
    pub(super) window: [u8; 8],
    pub(super) foreground: u32,
    pub(super) session: u32,
    pub(super) exclusive: bool,
    /// Counts hang-ups: who opened before one has nothing any more.
    pub(super) generation: u32,
    /// How many ends of the line are open.
    pub(super) opens: u32,
    /// The last end of a pty's line has gone, and none has come since.
    pub(super) line_closed: bool,
    pub(super) master_open: bool,
    pub(super) locked: bool,
    /// What happened since the master looked, in packet mode.
    pub(super) packet: Option<u8>,
    notices: Vec<Notice>,
}

impl State {
    pub(super) fn new(kind: Kind, modes: Modes) -> State {
        State {
            kind,
            line: Line::new(modes),
            output: VecDeque::new(),
            held: Vec::new(),
            incoming: VecDeque::new(),
            last_input_ns: 0,
            suspended: false,
            window: match kind {
                Kind::Console => [24, 0, 80, 0, 0, 0, 0, 0],
                Kind::Pty(_) => [0; 8],
            },
            foreground: 0,
            session: 0,
            exclusive: false,
            generation: 0,
            opens: 0,
            line_closed: false,
            master_open: matches!(kind, Kind::Pty(_)),
            locked: matches!(kind, Kind::Pty(_)),
            packet: None,
            notices: Vec::new(),
        }
    }

    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        core::mem::take(&mut self.notices)
    }

    /// Something for a master in packet mode.
    pub(super) fn note(&mut self, happened: u8) {
        if let Some(packet) = &mut self.packet {
            // Stopping and starting, and the two kinds of flow control, replace each other.
            let replaced = match happened {
                Packet::STOP => Packet::START,
                Packet::START => Packet::STOP,
                Packet::NO_STOP => Packet::DO_STOP,
                Packet::DO_STOP => Packet::NO_STOP,
                _ => 0,
            };
            *packet = *packet & !replaced | happened;
        }
    }

    pub(super) fn has_status(&self) -> bool {
        self.packet.is_some_and(|packet| packet != 0)
    }

    pub(super) fn signal(&mut self, signal: u32) {
        if self.foreground != 0 {
            let group = self.foreground;
            self.notices.push(Notice::Signal { group, signal });
        }
    }

    pub(super) fn set_window(&mut self, window: [u8; 8]) {
        if self.window != window {
            self.window = window;
            self.signal(SIGWINCH);
        }
    }

    pub(super) fn set_modes(&mut self, modes: Modes) {
        let before = *self.line.modes();
        let modes = match self.kind {
            Kind::Pty(_) => modes.without_wires(),
            Kind::Console => modes,
        };
        match (before.usual_flow(), modes.usual_flow()) {
            (false, true) => self.note(Packet::DO_STOP),
            (true, false) => self.note(Packet::NO_STOP),
            _ => {}
        }
        if (before.termios.local | modes.termios.local) & super::modes::EXTPROC != 0 {
            self.note(Packet::IOCTL);
        }
        self.line.set_modes(modes);
        self.release_held();
        self.pump();
    }

    pub(super) fn hang_up(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.session != 0 {
            let (session, group) = (self.session, self.foreground);
            self.notices.push(Notice::HungUp { session, group });
        }
        self.session = 0;
        self.foreground = 0;
        self.line.flush();
        self.incoming.clear();
    }

    // ---- to the other side -------------------------------------------------------------------

    fn is_stopped(&self) -> bool {
        self.suspended || self.line.is_stopped()
    }

    /// How many bytes a program may write now, as far as that is known before they are looked at.
    pub(super) fn output_room(&self) -> usize {
        if self.is_stopped() {
            return 0;
        }
        match self.kind {
            Kind::Console => usize::MAX,
            Kind::Pty(_) => OUTPUT_MAX.saturating_sub(self.output.len() + WIDEST - 1),
        }
    }

    /// Bytes of a program, through the output modes; how many were taken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let modes = *self.line.modes();
        let mut shown = Vec::new();
        for (taken, &byte) in bytes.iter().enumerate() {
            if self.output_room() == 0 {
                return taken;
            }
            self.line.printer.put(&modes, byte, &mut shown);
            self.output.extend(shown.drain(..));
        }
        bytes.len()
    }

    /// Bytes of the terminal's own. They do not wait: who does not look for long loses some.
    pub(super) fn print(&mut self, bytes: &[u8]) {
        if self.is_stopped() {
            let room = ECHO_MAX.saturating_sub(self.held.len());
            self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        } else if self.kind == Kind::Console || self.output.len() < OUTPUT_MAX + ECHO_MAX {
            self.output.extend(bytes);
        }
    }

    fn release_held(&mut self) {
        if !self.is_stopped() {
            let held = core::mem::take(&mut self.held);
            self.output.extend(held);
        }
    }

    pub(super) fn suspend(&mut self, suspended: bool) {
        if self.suspended != suspended {
            self.suspended = suspended;
            self.note(if suspended {
                Packet::STOP
            } else {
                Packet::START
            });
            self.release_held();
        }
    }

    /// What the master reads; `None` if there is nothing and nobody who could write. In packet mode a
    /// byte that tells what it is comes first.
    pub(super) fn read_as_master(&mut self, count: usize) -> Option<Vec<u8>> {
        if let Some(packet) = &mut self.packet
            && *packet != 0
        {
            return Some(alloc::vec![core::mem::take(packet)]);
        }
        if self.output.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        if self.packet.is_some() {
            bytes.push(0);
        }
        let count = (count - bytes.len()).min(self.output.len());
        bytes.extend(self.output.drain(..count));
        Some(bytes)
    }

    /// Whether a read of the master's ends now, be it in an error.
    pub(super) fn master_has_news(&self) -> bool {
        !self.output.is_empty() || self.line_closed || self.has_status()
    }

    // ---- from the other side -----------------------------------------------------------------

    pub(super) fn incoming_room(&self) -> usize {
        let most = match self.kind {
            Kind::Console => CONSOLE_INCOMING_MAX,
            Kind::Pty(_) => PTY_INCOMING_MAX,
        };
        most.saturating_sub(self.incoming.len())
    }

    /// Takes bytes in as far as there is room; how many were taken.
    pub(super) fn receive(&mut self, bytes: &[u8], now_ns: u64) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let room = self.incoming_room().min(bytes.len() - taken);
            if room == 0 {
                break;
            }
            self.incoming.extend(&bytes[taken..taken + room]);
            taken += room;
            self.pump();
        }
        if taken > 0 {
            self.last_input_ns = now_ns;
        }
        taken
    }

    /// Moves bytes into the line as long as it has room.
    pub(super) fn pump(&mut self) {
        while self.line.has_room() {
            let Some(byte) = self.incoming.pop_front() else {
                break;
            };
            let effects = self.line.receive(byte);
            self.apply(effects);
        }
    }

    fn apply(&mut self, effects: Effects) {
        if let Some(signal) = effects.signal {
            self.signal(signal);
        }
        if effects.flushed {
            self.output.clear();
            self.held.clear();
            self.note(Packet::FLUSH_READ | Packet::FLUSH_WRITE);
        }
        match effects.stops {
            Some(true) => self.note(Packet::STOP),
            Some(false) => {
                self.note(Packet::START);
                self.release_held();
            }
            None => {}
        }
        if !effects.echo.is_empty() {
            self.print(&effects.echo);
        }
    }
}
