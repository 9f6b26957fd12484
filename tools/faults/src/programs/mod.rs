//! The programs of a seed: init, workers that check all they see, and movers.
//!
//! Law: a worker knows at every step what every call must answer and what its memory must hold, and
//! fails if it is otherwise; what it tells the console is numbered, so that a record lost or doubled
//! is seen. In a world where nodes die only what a death explains is forgiven.

mod cargo;
mod children;
mod files;
mod guests;
mod shared;

pub(crate) use cargo::write_cargo;

use crate::assembler::Value::{In, Is};
use crate::assembler::*;
use crate::processor::op;
use crate::random::Random;
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
const SIGKILL: u64 = 9;
const EINTR: u64 = -4_i64 as u64;
const ECHILD: u64 = -10_i64 as u64;

/// What the programs may take for granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deaths {
    /// No node dies: everything ends as it should.
    None,
    /// Nodes die: children and the other ends of pipes may be lost.
    Some,
}

/// How much the programs do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) nodes: u64,
    pub(crate) workers: usize,
    pub(crate) steps: u64,
    pub(crate) movers: u64,
    pub(crate) moves: u64,
    pub(crate) deaths: Deaths,
    /// Homes may boot again and know who was away.
    pub(crate) disks: bool,
}

/// The programs, assembled.
pub(crate) struct Programs {
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    pub(crate) reasons: Vec<String>,
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

impl Role {
    fn new(name: &str) -> Role {
        Role {
            name: name.to_owned(),
            told: 0,
            logged: Vec::new(),
            memory: BTreeMap::new(),
            depth: 0,
            children: 0,
        }
    }

    /// Its next child, which has its memory.
    fn child(&self) -> Role {
        Role {
            memory: self.memory.clone(),
            depth: self.depth + 1,
            ..Role::new(&format!("{}.{}", self.name, self.children))
        }
    }
}

/// The address of a page that a worker writes to.
pub(crate) fn page(die: &mut Random) -> u64 {
    PAGES + 4096 * die.below(PAGE_COUNT)
}

/// Writes the programs of a seed.
pub(crate) fn write(work: Work, random: &mut Random) -> Programs {
    write_with(work, random, |author| author.init())
}

fn write_with(work: Work, random: &mut Random, init: impl FnOnce(&mut Author<'_>)) -> Programs {
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
    init(&mut author);
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
        if self.work.disks && self.random.below(3) > 0 {
            return self.guest(name);
        }
        let mut role = Role::new(name);
        let title = self.asm.path(name);
        self.asm
            .call(157, &[Is(15), Is(title), Is(0), Is(0), Is(0)]);
        self.asm.expect(RAX, 0, "prctl(PR_SET_NAME)");
        self.life(&mut role, self.work.steps, 0);
    }

    /// All of a process, from its first record to its exit.
    fn life(&mut self, role: &mut Role, steps: u64, status: u64) {
        let path = self.asm.path(&format!("/log-{}", role.name));
        let appends = if self.random.below(2) == 0 { 0o2000 } else { 0 };
        // One of this name may have been lost, whose home did not die: what it has left is cut off.
        let cuts = if self.work.disks { 0o1000 } else { 0 };
        let flags = 0o102 | appends | cuts;
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
        let most = if role.depth < 2 { 21 } else { 12 };
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
            19 => self.memory_of_two(),
            _ => self.borrowing_child(),
        }
    }

    /// A numbered record on the console.
    fn tell(&mut self, role: &mut Role, word: &str) {
        let text = format!("<{} {} {word}>\n", role.name, role.told);
        role.told += 1;
        if !self.work.disks {
            return self.say(&text);
        }
        let record = format!("{} {}", role.name, role.told - 1);
        self.say_once(&record, &text);
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
        self.handle_signal();
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

    /// SIGUSR1 is counted, from zero.
    fn handle_signal(&mut self) {
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
}
