//! What a random program works on: the desk, its folder, its random numbers, and its trace.
//!
//! Law: the trace depends on the seed and on what the kernel answers, and on nothing else: no pid, no
//! inode number, no address and no time gets into it. Moves are decided by random numbers of their own, so
//! that the same program is made with and without them.

use std::fmt::Write;

use rt::raw::{DESK, Desk, came, libc};

use crate::random::Random;

/// Where things lie on the desk.
pub(crate) const PATH: u64 = 0;
pub(crate) const OTHER_PATH: u64 = 0x1000;
pub(crate) const STRUCT: u64 = 0x2000;
pub(crate) const BUFFER: u64 = 0x10000;
pub(crate) const BUFFER_LENGTH: u64 = 0x10000;
pub(crate) const SIGNAL_STACK: u64 = 0x40000;
const OUT: u64 = 0x80000;
const GOTO: u64 = 0x7f000;

/// Descriptors that a program does not touch: its `goto`, and where its trace goes.
pub(crate) const GOTO_FD: u64 = 100;
pub(crate) const TRACE_FD: u64 = 101;
/// Bytes of trace that are kept before they are written.
const KEPT_TEXT: usize = 2000;
/// An address at which nothing is ever mapped.
pub(crate) const BAD: u64 = DESK + 0xf0_0000;

/// One program under way.
pub(crate) struct World {
    pub(crate) desk: Desk,
    pub(crate) random: Random,
    /// How many forks lie between this process and the program.
    pub(crate) depth: u32,
    /// The folder that the program plays in, which no trace names.
    pub(crate) base: String,
    pub(crate) play: super::memory::Play,
    pub(crate) signals: super::signals::Known,
    moves: Moves,
    text: String,
}

/// Moves that a program makes by itself.
#[derive(Debug, Clone)]
pub(crate) struct Moves {
    nodes: Vec<String>,
    random: Random,
    made: u64,
}

impl Moves {
    pub(crate) fn new(nodes: &[String], random: Random) -> Moves {
        Moves {
            nodes: nodes.to_vec(),
            random,
            made: 0,
        }
    }
}

impl World {
    pub(crate) fn new(desk: Desk, random: Random, base: &str, moves: Moves) -> World {
        World {
            desk,
            random,
            depth: 0,
            base: base.to_owned(),
            play: super::memory::Play::default(),
            signals: super::signals::Known::default(),
            moves,
            text: String::new(),
        }
    }

    /// Makes a call; missing arguments are zero.
    pub(crate) fn call<const N: usize>(&mut self, number: libc::c_long, words: [u64; N]) -> i64 {
        let mut all = [0; 6];
        all[..N].copy_from_slice(&words);
        self.desk.call(number, all)
    }

    /// Puts a string on the desk and gives its address.
    pub(crate) fn string(&mut self, at: u64, text: &str) -> u64 {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.desk.put(at, &bytes);
        DESK + at
    }

    /// Puts numbers on the desk and gives their address.
    pub(crate) fn words(&mut self, at: u64, words: &[u64]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.desk.put(at, &bytes);
        DESK + at
    }

    /// A 32-bit number on the desk.
    pub(crate) fn half(&self, at: u64) -> u32 {
        let bytes = self.desk.get(at, 4);
        bytes
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// A line of the trace, with the signals that came since the last.
    pub(crate) fn line(&mut self, text: &str) {
        let shown = text.replace(&self.base, "$BASE");
        let depth = self.depth;
        let _ = write!(self.text, "{depth} {shown}");
        for came in came() {
            let value = if came.code == libc::SI_QUEUE {
                came.value
            } else {
                0
            };
            let _ = write!(self.text, " [signal {} {} {value}]", came.signal, came.code);
        }
        self.text.push('\n');
        if self.text.len() > KEPT_TEXT {
            self.flush();
        }
    }

    /// Writes what there is of the trace.
    pub(crate) fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        for part in text.as_bytes().chunks(BUFFER_LENGTH as usize) {
            self.desk.put(OUT, part);
            self.call(libc::SYS_write, [TRACE_FD, DESK + OUT, part.len() as u64]);
        }
    }

    /// Between two calls: perhaps to another node.
    pub(crate) fn perhaps_move(&mut self) {
        if self.moves.nodes.is_empty() || !self.moves.random.one_in(3) {
            return;
        }
        let count = self.moves.nodes.len() as u64;
        let node = &self.moves.nodes[self.moves.random.below(count) as usize];
        let length = node.len() as u64;
        let bytes = node.clone().into_bytes();
        self.desk.put(GOTO, &bytes);
        if self.call(libc::SYS_write, [GOTO_FD, DESK + GOTO, length]) > 0 {
            self.moves.made += 1;
        }
    }

    /// How often it has moved itself.
    pub(crate) fn moved(&self) -> u64 {
        self.moves.made
    }

    /// Opens this process's own `goto`, where there is one and the program moves itself.
    pub(crate) fn open_goto(&mut self) {
        if self.moves.nodes.is_empty() {
            return;
        }
        let path = self.string(GOTO, "/proc/self/goto");
        let fd = self.call(libc::SYS_open, [path, 1]);
        if let Ok(fd) = u64::try_from(fd) {
            self.call(libc::SYS_dup3, [fd, GOTO_FD, libc::O_CLOEXEC as u64]);
            self.call(libc::SYS_close, [fd]);
        }
    }

    /// This process is a child now: its own moves, and random numbers that its parent does not use.
    pub(crate) fn become_child(&mut self) {
        self.depth += 1;
        self.random = Random::of(self.random.next(), 1);
        self.moves.random = Random::of(self.moves.random.next(), 1);
        self.moves.made = 0;
        self.open_goto();
    }
}

/// A short stand-in for bytes that were read.
pub(crate) fn digest(bytes: &[u8]) -> u32 {
    // FNV-1a.
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
