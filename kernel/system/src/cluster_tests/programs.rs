//! The programs of a seed: init, workers that check all they see, and movers.
//!
//! Law: a worker knows at every step what every call must answer and what its memory must hold, and
//! fails if it is otherwise; what it tells the console is numbered, so that a record lost or doubled
//! is seen. In a world where nodes die only what a death explains is forgiven.

use super::assembler::Value::{In, Is};
use super::assembler::*;
use super::processor::op;
use super::random::Random;
use std::collections::BTreeMap;
use wire::MoveMode;

const AT_FDCWD: u64 = -100_i64 as u64;
const STATUS: u64 = ZEROED;
const PIPE: u64 = ZEROED + 16;
const CLOCK: u64 = ZEROED + 32;
const COUNTER: u64 = ZEROED + 64;
const BUFFER: u64 = ZEROED + 0x1000;
/// Where files are mapped.
const MAPPED: u64 = 0x5000_0000_0000;
const PAGES: u64 = ZEROED + 0x10_0000;
const PAGE_COUNT: u64 = 60;
const SIGUSR1: u64 = 10;
const EINTR: u64 = -4_i64 as u64;
const ECHILD: u64 = -10_i64 as u64;

/// What the programs may take for granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deaths {
    /// No node dies: everything ends as it should.
    None,
    /// Nodes die: children and the other ends of pipes may be lost.
    Some,
}

/// How much the programs do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) nodes: u64,
    pub(super) workers: usize,
    pub(super) steps: u64,
    pub(super) movers: u64,
    pub(super) moves: u64,
    pub(super) deaths: Deaths,
}

/// The programs, assembled.
pub(super) struct Programs {
    pub(super) files: Vec<(&'static str, Vec<u8>)>,
    pub(super) reasons: Vec<String>,
}

struct Author<'a> {
    asm: Assembler,
    random: &'a mut Random,
    work: Work,
    handler: Label,
    restorer: Label,
}

/// What a process is and knows at a place in its code.
struct Role {
    name: String,
    told: u64,
    logged: Vec<u8>,
    memory: BTreeMap<u64, u64>,
    depth: u32,
    children: u64,
}

/// Writes the programs of a seed.
pub(super) fn write(work: Work, random: &mut Random) -> Programs {
    let mut asm = Assembler::default();
    let start = asm.label();
    asm.jump(start);
    let restorer = asm.here();
    asm.call(15, &[]);
    asm.fail(RAX, "rt_sigreturn came back");
    let handler = asm.here();
    asm.set(RSI, COUNTER);
    asm.load(RDI, RSI);
    asm.add(RDI, 1);
    asm.store(RDI, RSI);
    asm.ret();
    let mut author = Author {
        asm,
        random,
        work,
        handler,
        restorer,
    };
    author.asm.place(start);
    author.init();
    let (program, reasons) = author.asm.finish();
    let mut other = Assembler::default();
    let text = other.bytes(b"another program\n");
    other.call(1, &[Is(1), Is(text), Is(16)]);
    other.call(231, &[Is(77)]);
    let (other, _) = other.finish();
    Programs {
        files: vec![("init", program), ("other", other)],
        reasons,
    }
}

impl Author<'_> {
    /// Waits for a line on the console, starts everybody, waits for everybody, and again.
    fn init(&mut self) {
        self.asm.set(RSI, STATUS);
        self.asm.store(RSI, RSI);
        self.asm.set(RSI, BUFFER);
        self.asm.store(RSI, RSI);
        let again = self.asm.here();
        self.say("ready\n");
        self.asm.call(0, &[Is(0), Is(BUFFER), Is(64)]);
        self.asm.expect(RAX, 2, "init reads its line");
        let mut starts = Vec::new();
        let count = self.work.workers + self.work.movers as usize;
        for _ in 0..count {
            let begin = self.asm.label();
            self.asm.call(57, &[]);
            self.asm.set(R9, 0);
            self.asm.jump_equal(RAX, R9, begin);
            self.no_error("init forks");
            starts.push(begin);
        }
        let (wait, done) = (self.asm.here(), self.asm.label());
        self.asm.call(61, &[Is(u64::MAX), Is(STATUS), Is(0), Is(0)]);
        self.asm.set(R9, EINTR);
        self.asm.jump_equal(RAX, R9, wait);
        self.asm.set(R9, ECHILD);
        self.asm.jump_equal(RAX, R9, done);
        self.no_error("init waits");
        self.asm.set(RSI, STATUS);
        self.asm.load_word(RDX, RSI, 0);
        if self.work.deaths == Deaths::None {
            self.asm.expect(RDX, 0, "a worker ended badly");
        }
        self.asm.jump(wait);
        self.asm.place(done);
        self.say("end\n");
        self.asm.jump(again);
        for (index, begin) in starts.into_iter().enumerate() {
            self.asm.place(begin);
            if index < self.work.workers {
                self.worker(&format!("w{index}"));
            } else {
                self.mover();
            }
        }
    }

    fn say(&mut self, text: &str) {
        let at = self.asm.bytes(text.as_bytes());
        let length = text.len() as u64;
        self.asm.call(1, &[Is(1), Is(at), Is(length)]);
        self.asm
            .expect(RAX, length, "the console takes the whole line");
    }

    fn no_error(&mut self, reason: &str) {
        let (bad, good) = (self.asm.label(), self.asm.label());
        self.asm.jump_negative(RAX, bad);
        self.asm.jump(good);
        self.asm.place(bad);
        self.asm.fail(RAX, reason);
        self.asm.place(good);
    }

    fn sleep(&mut self, ns: u64) {
        let span = self.asm.longs(&[ns / 1_000_000_000, ns % 1_000_000_000]);
        self.asm.call(35, &[Is(span), Is(0)]);
        self.asm.expect(RAX, 0, "nanosleep");
    }

    /// Writes to the goto of one process after the other.
    fn mover(&mut self) {
        let Work { nodes, .. } = self.work;
        let serials = 3 * self.work.workers as u64 + self.work.movers;
        let names: Vec<String> = (1..=nodes)
            .flat_map(|node| (0..serials).map(move |serial| (node << 16) + serial + 2))
            .map(|pid| format!("/proc/{pid}/goto"))
            .collect();
        let mut paths = Vec::new();
        for name in &names {
            let mut bytes = name.clone().into_bytes();
            bytes.resize(32, 0);
            paths.extend(bytes);
        }
        let paths = self.asm.bytes(&paths);
        let mut orders = Vec::new();
        for node in 1..=nodes {
            for mode in MoveMode::ALL {
                let order = format!("{node} mode={}", mode.name());
                orders.extend(format!("{order:<31}\n").into_bytes());
            }
        }
        let orders = self.asm.bytes(&orders);
        let gap = self.random.between(1_000_000, 60_000_000);
        self.asm.set(RBX, self.random.bits());
        self.asm.set(R12, self.work.moves);
        let again = self.asm.here();
        let (closed, over) = (self.asm.label(), self.asm.label());
        self.asm.set(R9, 6_364_136_223_846_793_005);
        self.asm.two(op::MUL, RBX, R9);
        self.asm.add(RBX, 1_442_695_040_888_963_407);
        // The home node is found in the own pid: only its processes are in its /proc.
        self.asm.call(39, &[]);
        self.asm.shift_right(RAX, 16);
        self.asm.add(RAX, u64::MAX);
        self.asm.set(R9, serials);
        self.asm.two(op::MUL, RAX, R9);
        self.asm.two(op::MOV, R15, RAX);
        self.asm.two(op::MOV, R13, RBX);
        self.asm.shift_right(R13, 33);
        self.asm.two(op::MOD, R13, R9);
        self.asm.two(op::ADD, R13, R15);
        self.asm.set(R9, 32);
        self.asm.two(op::MUL, R13, R9);
        self.asm.add(R13, paths);
        self.asm.two(op::MOV, R15, RBX);
        self.asm.shift_right(R15, 47);
        self.asm.set(R9, nodes * MoveMode::ALL.len() as u64);
        self.asm.two(op::MOD, R15, R9);
        self.asm.set(R9, 32);
        self.asm.two(op::MUL, R15, R9);
        self.asm.add(R15, orders);
        self.asm.call(257, &[Is(AT_FDCWD), In(R13), Is(1), Is(0)]);
        self.asm.jump_negative(RAX, closed);
        self.asm.two(op::MOV, R14, RAX);
        self.asm.call(1, &[In(R14), In(R15), Is(32)]);
        self.asm.call(3, &[In(R14)]);
        self.asm.expect(RAX, 0, "a mover closes");
        self.asm.place(closed);
        self.sleep(gap);
        self.asm.add(R12, u64::MAX);
        self.asm.set(R9, 0);
        self.asm.jump_equal(R12, R9, over);
        self.asm.jump(again);
        self.asm.place(over);
        self.asm.call(231, &[Is(0)]);
    }

    fn worker(&mut self, name: &str) {
        let mut role = Role {
            name: name.to_owned(),
            told: 0,
            logged: Vec::new(),
            memory: BTreeMap::new(),
            depth: 0,
            children: 0,
        };
        let title = self.asm.path(name);
        self.asm
            .call(157, &[Is(15), Is(title), Is(0), Is(0), Is(0)]);
        self.asm.expect(RAX, 0, "prctl(PR_SET_NAME)");
        self.life(&mut role, self.work.steps, 0);
    }

    /// All of a process, from its first record to its exit.
    fn life(&mut self, role: &mut Role, steps: u64, status: u64) {
        let path = self.asm.path(&format!("/log-{}", role.name));
        let flags = 0o102 | if self.random.below(2) == 0 { 0o2000 } else { 0 };
        self.asm
            .call(257, &[Is(AT_FDCWD), Is(path), Is(flags), Is(0o644)]);
        self.no_error("the log is opened");
        self.asm.two(op::MOV, R14, RAX);
        self.asm.call(39, &[]);
        self.asm.two(op::MOV, R15, RAX);
        for _ in 0..steps {
            self.step(role);
            self.asm.call(39, &[]);
            let same = self.asm.label();
            self.asm.jump_equal(RAX, R15, same);
            self.asm.fail(RAX, "getpid");
            self.asm.place(same);
        }
        self.check_memory(role);
        self.check_log(role);
        self.asm.call(87, &[Is(path)]);
        self.asm.expect(RAX, 0, "the log is unlinked");
        self.tell(role, "end");
        self.asm.call(231, &[Is(status)]);
        self.asm.fail(RAX, "exit came back");
    }

    fn step(&mut self, role: &mut Role) {
        let most = if role.depth < 2 { 20 } else { 12 };
        match self.random.below(most) {
            0 | 1 => self.tell(role, ""),
            2 | 3 => self.log(role),
            4 => self.touch(role),
            5 => self.check_memory(role),
            6 => self.nap(),
            7 => self.own_pipe(),
            8 => self.signal_myself(),
            9 => self.go_myself(),
            10 | 11 => self.own_file(role),
            12 | 13 => self.child(role),
            14 => self.pipe_from_child(role),
            15 => self.killed_child(),
            16 => self.stopped_child(),
            17 => self.other_program(),
            18 => self.file_of_two(role),
            _ => self.borrowing_child(),
        }
    }

    /// A numbered record on the console.
    fn tell(&mut self, role: &mut Role, word: &str) {
        let text = format!("<{} {} {word}>\n", role.name, role.told);
        role.told += 1;
        self.say(&text);
    }

    fn log(&mut self, role: &mut Role) {
        for _ in 0..self.random.between(1, 6) {
            let text = format!("{}:{};", role.name, role.logged.len());
            role.logged.extend(text.bytes());
            let at = self.asm.bytes(text.as_bytes());
            let length = text.len() as u64;
            self.asm.call(1, &[In(R14), Is(at), Is(length)]);
            self.asm.expect(RAX, length, "a record in the log");
        }
    }

    /// The log holds every record once and in order.
    fn check_log(&mut self, role: &Role) {
        let mut padded = role.logged.clone();
        padded.resize(padded.len().next_multiple_of(8), 0);
        let wanted = self.asm.bytes(&padded);
        let length = role.logged.len() as u64;
        self.asm.call(8, &[In(R14), Is(0), Is(0)]);
        self.asm.expect(RAX, 0, "lseek in the log");
        self.wipe(padded.len() as u64);
        self.asm.call(0, &[In(R14), Is(BUFFER), Is(0x8000)]);
        self.asm.expect(RAX, length, "the length of the log");
        self.compare(wanted, padded.len() as u64, "the contents of the log");
    }

    fn wipe(&mut self, length: u64) {
        self.asm.set(RSI, BUFFER);
        self.asm.set(RDI, BUFFER + length);
        self.asm.set(RDX, 0);
        let (again, over) = (self.asm.here(), self.asm.label());
        self.asm.jump_equal(RSI, RDI, over);
        self.asm.store(RDX, RSI);
        self.asm.add(RSI, 8);
        self.asm.jump(again);
        self.asm.place(over);
    }

    /// The buffer holds what is at `wanted`.
    fn compare(&mut self, wanted: u64, length: u64, reason: &str) {
        self.asm.set(RSI, BUFFER);
        self.asm.set(RDI, BUFFER + length);
        self.asm.set(RDX, wanted);
        let (again, over, same) = (self.asm.here(), self.asm.label(), self.asm.label());
        self.asm.jump_equal(RSI, RDI, over);
        self.asm.load(R8, RSI);
        self.asm.load(R9, RDX);
        self.asm.jump_equal(R8, R9, same);
        self.asm.fail(RSI, reason);
        self.asm.place(same);
        self.asm.add(RSI, 8);
        self.asm.add(RDX, 8);
        self.asm.jump(again);
        self.asm.place(over);
    }

    /// New values on some pages.
    fn touch(&mut self, role: &mut Role) {
        for _ in 0..self.random.between(1, 20) {
            let place = PAGES + 4096 * self.random.below(PAGE_COUNT) + 8 * self.random.below(512);
            let value = self.random.bits();
            self.asm.set(RSI, place);
            self.asm.set(RDI, value);
            self.asm.store(RDI, RSI);
            role.memory.insert(place, value);
        }
    }

    fn check_memory(&mut self, role: &Role) {
        for (&place, &value) in &role.memory {
            self.asm.set(RSI, place);
            self.asm.load(RDI, RSI);
            self.asm.expect(RDI, value, "memory is what it was");
        }
    }

    /// Sleeps, and finds that at least that time has passed.
    fn nap(&mut self) {
        let ns = self.random.between(100_000, 300_000_000);
        self.clock();
        self.asm.two(op::MOV, R12, RBP);
        self.sleep(ns);
        self.clock();
        self.asm.two(op::SUB, RBP, R12);
        self.asm.set(R8, ns);
        let bad = self.asm.label();
        let good = self.asm.label();
        self.asm.jump_less(RBP, R8, bad);
        self.asm.jump(good);
        self.asm.place(bad);
        self.asm
            .fail(RBP, "a sleep was too short, or a clock went back");
        self.asm.place(good);
    }

    /// The monotonic clock in RBP, ns.
    fn clock(&mut self) {
        self.asm.call(228, &[Is(1), Is(CLOCK)]);
        self.asm.expect(RAX, 0, "clock_gettime");
        self.asm.set(RSI, CLOCK);
        self.asm.load(RBP, RSI);
        self.asm.set(R9, 1_000_000_000);
        self.asm.two(op::MUL, RBP, R9);
        self.asm.set(RSI, CLOCK + 8);
        self.asm.load(RDI, RSI);
        self.asm.two(op::ADD, RBP, RDI);
    }

    /// A pipe; its ends in R12 (for reading) and R13.
    fn pipe(&mut self) {
        self.asm.call(293, &[Is(PIPE), Is(0)]);
        self.asm.expect(RAX, 0, "pipe2");
        self.asm.set(RSI, PIPE);
        self.asm.load_word(R12, RSI, 0);
        self.asm.load_word(R13, RSI, 4);
    }

    fn close(&mut self, descriptor: Reg) {
        self.asm.call(3, &[In(descriptor)]);
        self.asm.expect(RAX, 0, "close");
    }

    fn own_pipe(&mut self) {
        self.pipe();
        let text: Vec<u8> = (0..8 * self.random.between(1, 40))
            .map(|_| self.random.bits() as u8)
            .collect();
        let (at, length) = (self.asm.bytes(&text), text.len() as u64);
        self.asm.call(1, &[In(R13), Is(at), Is(length)]);
        self.asm.expect(RAX, length, "a write to the own pipe");
        self.close(R13);
        self.asm.call(0, &[In(R12), Is(BUFFER), Is(4096)]);
        self.asm.expect(RAX, length, "a read from the own pipe");
        self.compare(at, length, "the contents of the own pipe");
        self.asm.call(0, &[In(R12), Is(BUFFER), Is(4096)]);
        self.asm.expect(RAX, 0, "the end of the own pipe");
        self.close(R12);
    }

    /// A handler runs once per signal, at once or when the signal is let through.
    fn signal_myself(&mut self) {
        let (handler, restorer) = (RSI, RDI);
        let action = self.asm.longs(&[0, 0x0400_0000, 0, 0]);
        self.asm.set_label(handler, self.handler);
        self.asm.set(R8, action);
        self.asm.store(handler, R8);
        self.asm.set_label(restorer, self.restorer);
        self.asm.set(R8, action + 16);
        self.asm.store(restorer, R8);
        self.asm.call(13, &[Is(SIGUSR1), Is(action), Is(0), Is(8)]);
        self.asm.expect(RAX, 0, "rt_sigaction");
        self.count_is(0, true);
        let blocks = self.random.below(2) == 0;
        let set = self.asm.longs(&[1 << (SIGUSR1 - 1)]);
        if blocks {
            self.asm.call(14, &[Is(0), Is(set), Is(0), Is(8)]);
            self.asm.expect(RAX, 0, "a signal is blocked");
        }
        self.asm.call(62, &[In(R15), Is(SIGUSR1)]);
        self.asm.expect(RAX, 0, "kill(myself)");
        if blocks {
            self.count_is(0, false);
            self.asm.call(14, &[Is(1), Is(set), Is(0), Is(8)]);
            self.asm.expect(RAX, 0, "a signal is let through");
        }
        self.count_is(1, false);
    }

    fn count_is(&mut self, count: u64, set: bool) {
        self.asm.set(RSI, COUNTER);
        if set {
            self.asm.set(RDI, count);
            self.asm.store(RDI, RSI);
        } else {
            self.asm.load(RDI, RSI);
            self.asm.expect(RDI, count, "how often the handler has run");
        }
    }

    /// Moves by its own will; it may fail, but it goes on.
    fn go_myself(&mut self) {
        let path = self.asm.path("/proc/self/goto");
        let node = self.random.between(1, self.work.nodes);
        let text = match self.random.below(3) {
            0 => self.asm.bytes(format!("{:<31}\n", "home").as_bytes()),
            _ => {
                let mode = self.random.below(MoveMode::ALL.len() as u64) as usize;
                let order = format!("{node} mode={}", MoveMode::ALL[mode].name());
                self.asm.bytes(format!("{order:<31}\n").as_bytes())
            }
        };
        self.asm.call(257, &[Is(AT_FDCWD), Is(path), Is(1), Is(0)]);
        self.no_error("the own goto is opened");
        self.asm.two(op::MOV, R12, RAX);
        self.asm.call(1, &[In(R12), Is(text), Is(32)]);
        self.close(R12);
        let path = self.asm.path("/proc/self/stat");
        self.asm.call(257, &[Is(AT_FDCWD), Is(path), Is(0), Is(0)]);
        self.no_error("the own stat is opened");
        self.asm.two(op::MOV, R12, RAX);
        self.asm.call(0, &[In(R12), Is(BUFFER), Is(1024)]);
        self.no_error("the own stat is read");
        self.close(R12);
    }

    // ---- files in order ----------------------------------------------------------------------

    /// Makes a file of numbers, piece by piece, and begins it anew; it is in RBP.
    fn file_of_numbers(&mut self, role: &Role, count: u64) -> u64 {
        let path = self.asm.path(&format!("/file-{}", role.name));
        self.asm
            .call(257, &[Is(AT_FDCWD), Is(path), Is(0o1102), Is(0o600)]);
        self.no_error("a file is made");
        self.asm.two(op::MOV, RBP, RAX);
        self.number_the_buffer(count);
        let mut done = 0;
        while done < 8 * count {
            let piece = self.random.between(1, 12_000).min(8 * count - done);
            self.asm.call(1, &[In(RBP), Is(BUFFER + done), Is(piece)]);
            self.asm.expect(RAX, piece, "a piece is written");
            done += piece;
            self.pause();
        }
        self.asm.call(8, &[In(RBP), Is(0), Is(0)]);
        self.asm.expect(RAX, 0, "lseek to the beginning");
        self.wipe(8 * count);
        path
    }

    /// Now and then time for a move, in the middle of a file.
    fn pause(&mut self) {
        if self.random.below(4) == 0 {
            let ns = self.random.between(1_000, 30_000_000);
            self.sleep(ns);
        }
    }

    /// Reads the file in RBP on, from one place to the other; `placed` by offsets.
    fn read_on(&mut self, from: u64, to: u64, placed: bool) {
        let number = if placed { 17 } else { 0 };
        let mut done = from;
        while done < to {
            let piece = self.random.between(1, 9_000).min(to - done);
            let args = [In(RBP), Is(BUFFER + done), Is(piece), Is(done)];
            self.asm.call(number, &args);
            self.asm.expect(RAX, piece, "a piece is read");
            done += piece;
            self.pause();
        }
    }

    /// The buffer holds the numbers, but for some.
    fn check_numbers(&mut self, count: u64, but: &BTreeMap<u64, u64>) {
        for (index, value) in but {
            self.asm.set(RSI, BUFFER + 8 * index);
            self.asm.load(RDX, RSI);
            self.asm.expect(RDX, *value, "a number that was changed");
            self.asm.set(RDX, 7 * index);
            self.asm.store(RDX, RSI);
        }
        self.asm.set(RSI, BUFFER);
        self.asm.set(RDI, BUFFER + 8 * count);
        self.asm.set(R8, 0);
        let (again, over, same) = (self.asm.here(), self.asm.label(), self.asm.label());
        self.asm.jump_equal(RSI, RDI, over);
        self.asm.load(RDX, RSI);
        self.asm.jump_equal(RDX, R8, same);
        self.asm.fail(RDX, "the numbers of a file");
        self.asm.place(same);
        self.asm.add(RSI, 8);
        self.asm.add(R8, 7);
        self.asm.jump(again);
        self.asm.place(over);
    }

    /// Writes new numbers over those at some places behind `from`, through the descriptor in R13.
    fn change_numbers(&mut self, from: u64, count: u64) -> BTreeMap<u64, u64> {
        let mut changed = BTreeMap::new();
        for _ in 0..self.random.between(1, 4) {
            let (index, value) = (self.random.between(from, count - 1), self.random.bits());
            let at = self.asm.longs(&[value]);
            self.asm.call(18, &[In(R13), Is(at), Is(8), Is(8 * index)]);
            self.asm.expect(RAX, 8, "a number is changed");
            changed.insert(index, value);
        }
        changed
    }

    /// Written and read in order; what is changed behind the reader's place is seen by it.
    fn own_file(&mut self, role: &Role) {
        let count = self.random.between(16, 3_800);
        let path = self.file_of_numbers(role, count);
        self.asm.call(257, &[Is(AT_FDCWD), Is(path), Is(2), Is(0)]);
        self.no_error("the file is opened again");
        self.asm.two(op::MOV, R13, RAX);
        let half = 8 * (count / 2);
        let placed = self.random.below(2) == 0;
        self.read_on(0, half, placed);
        let changed = self.change_numbers(count / 2, count);
        self.read_on(half, 8 * count, placed);
        let (number, end) = if placed { (17, 8 * count) } else { (0, 0) };
        self.asm
            .call(number, &[In(RBP), Is(BUFFER), Is(8), Is(end)]);
        self.asm.expect(RAX, 0, "the end of the file");
        self.check_numbers(count, &changed);
        self.close(RBP);
        self.close(R13);
        self.asm.call(87, &[Is(path)]);
        self.asm.expect(RAX, 0, "the file is unlinked");
    }

    /// Maps the file in RBP, and looks at every page.
    fn map_file(&mut self, count: u64) {
        let length = 8 * count;
        let args = [Is(MAPPED), Is(length), Is(1), Is(0x12), In(RBP), Is(0)];
        self.asm.call(9, &args);
        self.asm.expect(RAX, MAPPED, "mmap");
        for place in (0..length).step_by(4096) {
            self.asm.set(RSI, MAPPED + place);
            self.asm.load(RDX, RSI);
            self.asm
                .expect(RDX, 7 * (place / 8), "a number that is mapped");
        }
    }

    /// What is mapped shows what was changed.
    fn check_mapped(&mut self, changed: &BTreeMap<u64, u64>) {
        for (index, value) in changed {
            self.asm.set(RSI, MAPPED + 8 * index);
            self.asm.load(RDX, RSI);
            self.asm
                .expect(RDX, *value, "a number that was changed is mapped");
        }
    }

    /// A child changes what its parent is about to read, and says so.
    fn file_of_two(&mut self, role: &Role) {
        let count = self.random.between(600, 3_800);
        let path = self.file_of_numbers(role, count);
        let quarter = 8 * (count / 4);
        let placed = self.random.below(2) == 0;
        self.read_on(0, quarter, placed);
        let mapped = self.random.below(2) == 0;
        if mapped {
            self.map_file(count);
        }
        self.pipe();
        let child = self.fork();
        let ns = self.random.between(1_000, 30_000_000);
        let mut changed = BTreeMap::new();
        self.aside(child, |author| {
            // Its parent's place in the file is its parent's alone from here on.
            author.close(RBP);
            author.asm.two(op::MOV, RBP, R13);
            author
                .asm
                .call(257, &[Is(AT_FDCWD), Is(path), Is(2), Is(0)]);
            author.no_error("the child opens the file");
            author.asm.two(op::MOV, R13, RAX);
            author.sleep(ns);
            changed = author.change_numbers(count / 2, count);
            author.asm.call(1, &[In(RBP), Is(BUFFER), Is(8)]);
            author.asm.call(231, &[Is(4)]);
        });
        self.close(R13);
        let pause = self.random.between(1_000, 20_000_000);
        self.sleep(pause);
        self.read_on(quarter, 2 * quarter, placed);
        let over = self.asm.label();
        self.asm.call(0, &[In(R12), Is(BUFFER + 8 * count), Is(8)]);
        if self.work.deaths == Deaths::Some {
            self.asm.set(R9, 0);
            self.asm.jump_equal(RAX, R9, over);
        }
        self.asm.expect(RAX, 8, "the child's word");
        if mapped {
            self.check_mapped(&changed);
        }
        self.read_on(2 * quarter, 8 * count, placed);
        self.check_numbers(count, &changed);
        self.asm.place(over);
        if mapped {
            self.asm.call(11, &[Is(MAPPED), Is(8 * count)]);
            self.asm.expect(RAX, 0, "munmap");
        }
        self.close(R12);
        self.close(RBP);
        self.wait(0, 4 << 8);
        self.asm.call(87, &[Is(path)]);
        self.asm.expect(RAX, 0, "the file is unlinked");
    }

    // ---- children ----------------------------------------------------------------------------

    /// Forks; the parent's code goes on with the child's pid in RBX and the child's at the label.
    fn fork(&mut self) -> Label {
        let child = self.asm.label();
        self.asm.call(57, &[]);
        self.asm.set(R9, 0);
        self.asm.jump_equal(RAX, R9, child);
        self.no_error("fork");
        self.asm.two(op::MOV, RBX, RAX);
        child
    }

    /// Waits for the child in RBX, which ends with this status, or by the death of a node.
    fn wait(&mut self, options: u64, status: u64) {
        self.asm
            .call(61, &[In(RBX), Is(STATUS), Is(options), Is(0)]);
        let same = self.asm.label();
        self.asm.jump_equal(RAX, RBX, same);
        self.asm.fail(RAX, "wait4 gives the child");
        self.asm.place(same);
        self.asm.set(RSI, STATUS);
        self.asm.load_word(RDX, RSI, 0);
        let good = self.asm.label();
        self.asm.set(R9, status);
        self.asm.jump_equal(RDX, R9, good);
        if self.work.deaths == Deaths::Some {
            self.asm.set(R9, 9);
            self.asm.jump_equal(RDX, R9, good);
        }
        self.asm
            .fail(RDX, &format!("the child's status is {status:#x}"));
        self.asm.place(good);
    }

    /// Writes the code of a child behind the code of its parent.
    fn aside(&mut self, child: Label, write: impl FnOnce(&mut Self)) {
        let behind = self.asm.label();
        self.asm.jump(behind);
        self.asm.place(child);
        write(self);
        self.asm.place(behind);
    }

    fn child(&mut self, role: &mut Role) {
        let status = self.random.below(120);
        let steps = self.random.between(1, 6);
        let child = self.fork();
        role.children += 1;
        let mut other = Role {
            name: format!("{}.{}", role.name, role.children),
            told: 0,
            logged: Vec::new(),
            memory: role.memory.clone(),
            depth: role.depth + 1,
            children: 0,
        };
        self.aside(child, |author| {
            author.close(R14);
            author.life(&mut other, steps, status);
        });
        if self.random.below(2) == 0 {
            self.tell(role, "");
            self.touch(role);
        }
        self.wait(0, status << 8);
    }

    /// A child fills a pipe with numbers; the parent finds each once and in order.
    fn pipe_from_child(&mut self, role: &Role) {
        let _ = role;
        let count = match self.random.below(3) {
            0 => self.random.between(1, 100),
            1 => self.random.between(100, 4000),
            _ => self.random.between(9000, 24_000),
        };
        let piece = 8 * self.random.between(1, count.min(12_000));
        self.pipe();
        let child = self.fork();
        self.aside(child, |author| {
            author.close(R12);
            author.number_the_buffer(count);
            author.asm.set(RBP, BUFFER);
            author.asm.set(R12, BUFFER + 8 * count);
            author.asm.set(R15, 0);
            let (again, over, fits) = (author.asm.here(), author.asm.label(), author.asm.label());
            author.asm.jump_equal(RBP, R12, over);
            author.asm.two(op::MOV, RBX, R12);
            author.asm.two(op::SUB, RBX, RBP);
            author.asm.set(R9, piece);
            author.asm.jump_less(RBX, R9, fits);
            author.asm.two(op::MOV, RBX, R9);
            author.asm.place(fits);
            author.asm.call(1, &[In(R13), In(RBP), In(RBX)]);
            author.no_error("the child writes to the pipe");
            author.asm.two(op::ADD, RBP, RAX);
            author.asm.jump(again);
            author.asm.place(over);
            author.asm.call(231, &[Is(3)]);
        });
        self.close(R13);
        self.read_numbers(count);
        self.close(R12);
        self.wait(0, 3 << 8);
    }

    fn number_the_buffer(&mut self, count: u64) {
        self.asm.set(RSI, BUFFER);
        self.asm.set(RDI, BUFFER + 8 * count);
        self.asm.set(RDX, 0);
        let (again, over) = (self.asm.here(), self.asm.label());
        self.asm.jump_equal(RSI, RDI, over);
        self.asm.store(RDX, RSI);
        self.asm.add(RSI, 8);
        self.asm.add(RDX, 7);
        self.asm.jump(again);
        self.asm.place(over);
    }

    fn read_numbers(&mut self, count: u64) {
        self.asm.set(RBP, BUFFER);
        let (more, ended) = (self.asm.here(), self.asm.label());
        self.asm.call(0, &[In(R12), In(RBP), Is(0x1_0000)]);
        self.no_error("a read from the child's pipe");
        self.asm.two(op::ADD, RBP, RAX);
        self.asm.set(R9, 0);
        self.asm.jump_equal(RAX, R9, ended);
        self.asm.jump(more);
        self.asm.place(ended);
        if self.work.deaths == Deaths::None {
            self.asm
                .expect(RBP, BUFFER + 8 * count, "all of the child's numbers");
        } else {
            // Whole numbers are checked; the last may be cut where the child was lost.
            self.asm.set(R9, 8);
            self.asm.two(op::MOV, RDX, RBP);
            self.asm.two(op::MOD, RDX, R9);
            self.asm.two(op::SUB, RBP, RDX);
        }
        self.asm.set(RSI, BUFFER);
        self.asm.set(R8, 0);
        let (again, over, same) = (self.asm.here(), self.asm.label(), self.asm.label());
        self.asm.jump_equal(RSI, RBP, over);
        self.asm.load(RDX, RSI);
        self.asm.jump_equal(RDX, R8, same);
        self.asm.fail(RDX, "the child's numbers in order");
        self.asm.place(same);
        self.asm.add(RSI, 8);
        self.asm.add(R8, 7);
        self.asm.jump(again);
        self.asm.place(over);
    }

    /// A child that waits for its parent does not outlive it: the parent may be lost with a node.
    fn end_with_parent(&mut self) {
        self.asm.call(157, &[Is(1), Is(9)]);
        self.asm.expect(RAX, 0, "prctl(PR_SET_PDEATHSIG)");
        self.asm.call(110, &[]);
        self.asm.set(R9, 1);
        let (orphan, child) = (self.asm.label(), self.asm.label());
        self.asm.jump_equal(RAX, R9, orphan);
        self.asm.jump(child);
        self.asm.place(orphan);
        self.asm.call(231, &[Is(0)]);
        self.asm.place(child);
    }

    /// A child that never ends by itself.
    fn killed_child(&mut self) {
        let how = self.random.below(3);
        if how == 2 {
            self.pipe();
        }
        let child = self.fork();
        self.aside(child, |author| {
            author.end_with_parent();
            let forever = author.asm.here();
            match how {
                0 => {}
                1 => author.sleep(50_000_000_000),
                _ => author.asm.call(0, &[In(R12), Is(BUFFER), Is(8)]),
            }
            author.asm.jump(forever);
        });
        let ns = self.random.between(1_000, 80_000_000);
        self.sleep(ns);
        self.asm.call(62, &[In(RBX), Is(9)]);
        self.asm.expect(RAX, 0, "kill(child, SIGKILL)");
        self.wait(0, 9);
        if how == 2 {
            self.close(R12);
            self.close(R13);
        }
    }

    /// A child that is stopped in the middle of a read, goes on, and ends when it has read.
    fn stopped_child(&mut self) {
        self.pipe();
        let child = self.fork();
        self.aside(child, |author| {
            author.end_with_parent();
            author.asm.call(0, &[In(R12), Is(BUFFER), Is(8)]);
            author.asm.expect(RAX, 8, "a read that was stopped");
            author.asm.call(231, &[Is(5)]);
        });
        self.asm.call(62, &[In(RBX), Is(19)]);
        self.asm.expect(RAX, 0, "kill(child, SIGSTOP)");
        self.wait(2, 19 << 8 | 0x7f);
        let over = self.asm.label();
        if self.work.deaths == Deaths::Some {
            self.asm.set(R9, 9);
            self.asm.jump_equal(RDX, R9, over);
        }
        let ns = self.random.between(1_000, 80_000_000);
        self.sleep(ns);
        self.asm.call(62, &[In(RBX), Is(18)]);
        self.asm.expect(RAX, 0, "kill(child, SIGCONT)");
        self.asm.call(1, &[In(R13), Is(BUFFER), Is(8)]);
        self.asm.expect(RAX, 8, "a write to a child that goes on");
        self.wait(0, 5 << 8);
        self.asm.place(over);
        self.close(R12);
        self.close(R13);
    }

    fn execute_other(&mut self) {
        let path = self.asm.path("/other");
        let arguments = self.asm.longs(&[path, 0]);
        self.asm.call(59, &[Is(path), Is(arguments), Is(0)]);
        self.asm.fail(RAX, "execve came back");
    }

    fn other_program(&mut self) {
        let child = self.fork();
        self.aside(child, Self::execute_other);
        self.wait(0, 77 << 8);
    }

    /// A vfork child, which has its parent's memory until it ends or begins another program.
    fn borrowing_child(&mut self) {
        let child = self.asm.label();
        let executes = self.random.below(2) == 0;
        let ns = self.random.between(1_000, 20_000_000);
        self.count_is(0, true);
        self.asm.call(58, &[]);
        self.asm.set(R9, 0);
        self.asm.jump_equal(RAX, R9, child);
        self.no_error("vfork");
        self.asm.two(op::MOV, RBX, RAX);
        self.aside(child, |author| {
            author.sleep(ns);
            author.count_is(41, true);
            if executes {
                author.execute_other();
            }
            author.asm.call(231, &[Is(77)]);
        });
        if self.work.deaths == Deaths::None {
            self.count_is(41, false);
        }
        self.wait(0, 77 << 8);
    }
}
