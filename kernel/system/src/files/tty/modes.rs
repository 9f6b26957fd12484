//! Modes of a terminal: the bits, and the forms in which programs get and set them.
//!
//! Law: names and values are those of `asm-generic/termbits.h`; the three user forms are `struct
//! termios` (36 bytes), `struct termios2` (44 bytes, with speeds) and `struct termio` (18 bytes, of
//! System V). What a form cannot say stays as it was.

use abi::Errno;
use abi::layout::{TERMIOS_SIZE, Termios};
use alloc::vec::Vec;

pub(super) const ISTRIP: u32 = 0o40;
pub(super) const INLCR: u32 = 0o100;
pub(super) const IGNCR: u32 = 0o200;
pub(super) const ICRNL: u32 = 0o400;
pub(super) const IUCLC: u32 = 0o1000;
pub(super) const IXON: u32 = 0o2000;
pub(super) const IXANY: u32 = 0o4000;
pub(super) const IUTF8: u32 = 0o40_000;
pub(super) const PARMRK: u32 = 0o10;

pub(super) const OPOST: u32 = 0o1;
pub(super) const OLCUC: u32 = 0o2;
pub(super) const ONLCR: u32 = 0o4;
pub(super) const OCRNL: u32 = 0o10;
pub(super) const ONOCR: u32 = 0o20;
pub(super) const ONLRET: u32 = 0o40;
pub(super) const TABDLY: u32 = 0o14_000;
/// Tabs become blanks (`XTABS`, the same value as `TABDLY`).
pub(super) const TAB3: u32 = 0o14_000;

pub(super) const ISIG: u32 = 0o1;
pub(super) const ICANON: u32 = 0o2;
pub(super) const ECHO: u32 = 0o10;
pub(super) const ECHOE: u32 = 0o20;
pub(super) const ECHOK: u32 = 0o40;
pub(super) const ECHONL: u32 = 0o100;
pub(super) const NOFLSH: u32 = 0o200;
pub(super) const TOSTOP: u32 = 0o400;
pub(super) const ECHOCTL: u32 = 0o1000;
pub(super) const ECHOPRT: u32 = 0o2000;
pub(super) const ECHOKE: u32 = 0o4000;
pub(super) const IEXTEN: u32 = 0o100_000;
pub(super) const EXTPROC: u32 = 0o200_000;

const CBAUD: u32 = 0o10_017;
const CBAUDEX: u32 = 0o10_000;
const BOTHER: u32 = 0o10_000;
const B38400: u32 = 0o17;
const CSIZE: u32 = 0o60;
const CS8: u32 = 0o60;
const CREAD: u32 = 0o200;
const PARENB: u32 = 0o400;
const HUPCL: u32 = 0o2000;

pub(super) const VINTR: usize = 0;
pub(super) const VQUIT: usize = 1;
pub(super) const VERASE: usize = 2;
pub(super) const VKILL: usize = 3;
pub(super) const VEOF: usize = 4;
pub(super) const VTIME: usize = 5;
pub(super) const VMIN: usize = 6;
pub(super) const VSTART: usize = 8;
pub(super) const VSTOP: usize = 9;
pub(super) const VSUSP: usize = 10;
pub(super) const VEOL: usize = 11;
pub(super) const VREPRINT: usize = 12;
pub(super) const VWERASE: usize = 14;
pub(super) const VLNEXT: usize = 15;
pub(super) const VEOL2: usize = 16;

/// Speeds by the bits of `CBAUD`: the first 16, then those with `CBAUDEX` from 1 on.
const SPEEDS: [u32; 16] = [
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19_200, 38_400,
];
const FAST_SPEEDS: [u32; 15] = [
    57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000,
    2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000,
];

/// Size of the kernel's `struct termios2`.
const TERMIOS2_SIZE: usize = 44;
/// Size of `struct termio`.
const TERMIO_SIZE: usize = 18;

/// A form in which programs speak of modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Form {
    /// `struct termio`.
    Old,
    /// `struct termios`.
    Usual,
    /// `struct termios2`.
    WithSpeeds,
}

impl Form {
    /// How many bytes it takes.
    pub(in super::super) fn size(self) -> usize {
        match self {
            Form::Old => TERMIO_SIZE,
            Form::Usual => TERMIOS_SIZE,
            Form::WithSpeeds => TERMIOS2_SIZE,
        }
    }
}

/// All modes of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Modes {
    /// What `struct termios` says.
    pub(super) termios: Termios,
    /// Bits per second, in and out.
    pub(super) speeds: [u32; 2],
}

fn speed_of(control: u32) -> u32 {
    let index = (control & CBAUD & !CBAUDEX) as usize;
    if control & CBAUDEX == 0 {
        return SPEEDS[index];
    }
    let fast = index.checked_sub(1).and_then(|at| FAST_SPEEDS.get(at));
    fast.copied().unwrap_or(0)
}

impl Modes {
    /// What Linux gives a new terminal; the serial console hangs up on its last close.
    pub(super) fn new(hangs_up: HangsUp) -> Modes {
        let control = B38400 | CS8 | CREAD;
        Modes {
            termios: Termios {
                input: ICRNL | IXON,
                output: OPOST | ONLCR,
                control: match hangs_up {
                    HangsUp::OnClose => control | HUPCL,
                    HangsUp::Never => control,
                },
                local: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
                line: 0,
                characters: *b"\x03\x1c\x7f\x15\x04\0\x01\0\x11\x13\x1a\0\x12\x0f\x17\x16\0\0\0",
            },
            speeds: [38_400; 2],
        }
    }

    pub(super) fn input(&self, bits: u32) -> bool {
        self.termios.input & bits != 0
    }

    pub(super) fn output(&self, bits: u32) -> bool {
        self.termios.output & bits != 0
    }

    pub(super) fn local(&self, bits: u32) -> bool {
        self.termios.local & bits != 0
    }

    /// Whether lines are edited here, and not by the other side.
    pub(super) fn canonical(&self) -> bool {
        self.local(ICANON) && !self.local(EXTPROC)
    }

    /// Whether `byte` is the control character at `index`; 0 switches one off.
    pub(super) fn is_control(&self, index: usize, byte: u8) -> bool {
        byte != 0 && self.termios.characters[index] == byte
    }

    /// Whether `byte` belongs to the character before it.
    pub(super) fn continues(&self, byte: u8) -> bool {
        self.input(IUTF8) && byte & 0xc0 == 0x80
    }

    /// Whether the other side of a packet-mode terminal may do flow control by Ctrl-S and Ctrl-Q.
    pub(super) fn usual_flow(&self) -> bool {
        self.input(IXON) && self.is_control(VSTOP, 0o23) && self.is_control(VSTART, 0o21)
    }

    /// The bytes of a form.
    pub(in super::super) fn to_bytes(self, form: Form) -> Vec<u8> {
        let termios = &self.termios;
        match form {
            Form::Usual => termios.to_bytes().to_vec(),
            Form::WithSpeeds => {
                let mut bytes = termios.to_bytes().to_vec();
                for speed in self.speeds {
                    bytes.extend_from_slice(&speed.to_le_bytes());
                }
                bytes
            }
            Form::Old => {
                let words = [
                    termios.input,
                    termios.output,
                    termios.control,
                    termios.local,
                ];
                let mut bytes: Vec<u8> = words
                    .iter()
                    .flat_map(|word| (*word as u16).to_le_bytes())
                    .collect();
                bytes.push(termios.line);
                bytes.extend_from_slice(&termios.characters[..8]);
                bytes.push(0);
                bytes
            }
        }
    }

    /// These modes changed to what a form says.
    pub(in super::super) fn changed(mut self, form: Form, bytes: &[u8]) -> Result<Modes, Errno> {
        let line = self.termios.line;
        match form {
            Form::Usual | Form::WithSpeeds => {
                let usual = bytes.first_chunk().ok_or(Errno::EFAULT)?;
                self.termios = Termios::from_bytes(usual);
            }
            Form::Old => {
                let bytes = bytes.first_chunk::<TERMIO_SIZE>().ok_or(Errno::EFAULT)?;
                let low = |word: u32, at: usize| {
                    word & 0xffff_0000 | u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
                };
                let termios = &mut self.termios;
                termios.input = low(termios.input, 0);
                termios.output = low(termios.output, 2);
                termios.control = low(termios.control, 4);
                termios.local = low(termios.local, 6);
                termios.characters[..8].copy_from_slice(&bytes[9..17]);
            }
        }
        // Another line discipline is set by TIOCSETD only.
        self.termios.line = line;
        let speeds = bytes.get(TERMIOS_SIZE..).and_then(<[u8]>::first_chunk::<8>);
        let speed = speed_of(self.termios.control);
        self.speeds = match speeds {
            Some(&[a, b, c, d, e, f, g, h]) if self.termios.control & CBAUD == BOTHER => {
                [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes)
            }
            _ if self.termios.control & CBAUD == BOTHER => self.speeds,
            _ => [speed; 2],
        };
        Ok(self)
    }

    /// A line that has no wires has eight bits and no parity whatever is asked for.
    pub(super) fn without_wires(mut self) -> Modes {
        let control = self.termios.control & !(CSIZE | PARENB);
        self.termios.control = control | CS8 | CREAD;
        self
    }
}

/// Whether a terminal's line goes down with its last user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HangsUp {
    OnClose,
    Never,
}
