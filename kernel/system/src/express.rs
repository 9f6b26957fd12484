//! Calls that are over before anybody could have noticed: answered where the thread stands.
//!
//! Law: a short cut and no second meaning. What is answered here waits for nothing, wakes nobody and
//! raises no signal; the moment anything is out of the ordinary nothing has been done, and the call
//! takes the usual way ([`System::advance`]) from its beginning. The thread keeps its processor: it is
//! in no queue in between, and whoever wants it to look around has interrupted that processor. What a
//! transfer away from home has to send leaves in the round that comes before the next turn.

use crate::body::{Body, Effects};
use crate::dispatch::{CHUNK, LocalCall};
use crate::files::calls::{read_plain, write_plain};
use crate::home::{Home, Transfers};
use crate::memory::Space;
use crate::system::{Pages, System};
use crate::thread::{Forward, Thread};
use crate::turn::{After, Turn};
use crate::wait::Stop;
use abi::table;
use machine::{PAGE_SIZE, Registers};

const CALL_READ: u64 = 0;
const CALL_WRITE: u64 = 1;
const CALL_PREAD: u64 = 17;
const CALL_PWRITE: u64 = 18;
const CALL_CLOCK: u64 = 228;
const CALL_RESOLUTION: u64 = 229;
/// Local rows that only tell something: gettimeofday, getuid, getgid, geteuid, getegid, time,
/// clock_gettime, clock_getres, getcpu.
const TELLING: [u64; 9] = [96, 102, 104, 107, 108, 201, 228, 229, 309];
/// Longer transfers gain nothing.
const BYTES: usize = 512;
/// So much is written so often that clearing the space for more would be felt.
const WORDS: usize = 64;

impl System {
    /// Answers the call that a thread has come with, if that is all there is to do.
    pub(crate) fn express(&mut self, cpu: usize, turn: &mut Turn) -> Option<After> {
        let number = turn.registers.rax;
        // The CPU time of another process is at its home.
        let foreign =
            matches!(number, CALL_CLOCK | CALL_RESOLUTION) && (turn.registers.rdi as i32) < 0;
        // Whose CPU time has a limit or a timer is looked at with each call: the interrupt that ends its turn may be late.
        let looks = || {
            self.bodies
                .get(&turn.pid)
                .is_some_and(|body| body.watches_cpu)
        };
        let tells = TELLING.contains(&number) && !foreign && !looks();
        let value = match number {
            CALL_READ | CALL_PREAD => self.read_at_once(turn),
            CALL_WRITE | CALL_PWRITE if turn.registers.rdx <= WORDS as u64 => {
                self.write_at_once::<WORDS>(turn)
            }
            CALL_WRITE | CALL_PWRITE => self.write_at_once::<BYTES>(turn),
            _ if tells && self.is_undisturbed(turn.pid, turn.tid) => {
                // CPU time is among what it may tell.
                self.account(cpu, turn);
                self.tell(turn)
            }
            _ => None,
        };
        if let Some(value) = value {
            turn.registers.rax = value;
            return Some(After::Unchanged);
        }
        let due = self.tails.first().copied();
        turn.registers.rax = self.transfer_away(turn)?;
        // Of bytes that wait to leave somebody has to know when they do.
        Some(match self.tails.first() == due.as_ref() {
            true => After::Unchanged,
            false => After::Same,
        })
    }

    /// Whether nothing but its next instruction is expected of a thread.
    pub(crate) fn is_undisturbed(&self, pid: u32, tid: u32) -> bool {
        let (Some(thread), Some(body)) = (self.threads.get(&tid), self.bodies.get(&pid)) else {
            return false;
        };
        let home = self.homes.get(&pid);
        let quiet = || home.is_some_and(|home| is_unsignalled(home, thread));
        is_free(thread, body) && (body.home != self.me || quiet())
    }

    /// What a thread needs that works on files, if it is at home and [undisturbed](Self::is_undisturbed).
    fn undisturbed_at_home(&mut self, turn: &Turn) -> Option<(&Home, &mut Space, Pages<'_>)> {
        let thread = self.threads.get(&turn.tid)?;
        let body = self.bodies.get(&turn.pid)?;
        let home = self.homes.get(&turn.pid)?;
        let undisturbed =
            body.home == self.me && is_free(thread, body) && is_unsignalled(home, thread);
        let space = undisturbed.then(|| self.spaces.get_mut(body.space))??;
        let pages = Pages::new(&self.fs, Some(home), self.now);
        Some((home, space, pages))
    }

    fn tell(&mut self, turn: &Turn) -> Option<u64> {
        let (pid, tid, registers) = (turn.pid, turn.tid, &turn.registers);
        let row = table::call(registers.rax)?;
        let mut call = LocalCall {
            system: self,
            pid,
            tid,
            row: Some(row),
            args: arguments(registers),
        };
        match crate::dispatch::perform_local(row.number, &mut call) {
            Ok(value) => Some(value),
            Err(Stop::Errno(errno)) => Some(-i64::from(errno.0) as u64),
            Err(Stop::Wait) => None,
        }
    }

    fn read_at_once(&mut self, turn: &Turn) -> Option<u64> {
        let registers = &turn.registers;
        let (length, offset) = transfer(registers, BYTES)?;
        let (fd, address) = (registers.rdi, registers.rsi);
        // Within one page it is delivered wholly or not at all.
        if length > PAGE_SIZE - address as usize % PAGE_SIZE {
            return None;
        }
        let time = self.fs.time(self.now);
        let (home, space, mut pages) = self.undisturbed_at_home(turn)?;
        let (what, target) = ((fd, offset), (space, address, length));
        let read = read_plain(home.files.as_ref()?, what, target, &mut pages, time)? as u64;
        Transfers::count(&home.transfers.read, read);
        Some(read)
    }

    fn write_at_once<const N: usize>(&mut self, turn: &Turn) -> Option<u64> {
        let registers = &turn.registers;
        let (length, offset) = transfer(registers, BYTES)?;
        let (fd, address) = (registers.rdi, registers.rsi);
        let mut bytes = [0; N];
        let bytes = bytes.get_mut(..length)?;
        let time = self.fs.time(self.now);
        let (home, space, mut pages) = self.undisturbed_at_home(turn)?;
        space.read(address, bytes, &mut pages).ok()?;
        let written = write_plain(home.files.as_ref()?, (fd, offset), bytes, time)? as u64;
        Transfers::count(&home.transfers.written, written);
        Some(written)
    }

    /// A transfer away from home, as far as home has lent what it takes and all of that is here.
    fn transfer_away(&mut self, turn: &Turn) -> Option<u64> {
        let (pid, tid, registers) = (turn.pid, turn.tid, &turn.registers);
        let reads = match registers.rax {
            CALL_READ | CALL_PREAD => true,
            CALL_WRITE | CALL_PWRITE => false,
            _ => return None,
        };
        let body = self.bodies.get(&pid).filter(|body| body.home != self.me)?;
        let (length, offset) = transfer(registers, CHUNK as usize)?;
        let (fd, length) = (registers.rdi, length as u64);
        let at_hand = body.ahead.has_at_hand(reads, fd as u32, offset, length);
        if !at_hand || !self.is_undisturbed(pid, tid) {
            return None;
        }
        let memory = [(registers.rsi, length)];
        let mut call = LocalCall {
            system: self,
            pid,
            tid,
            row: None,
            args: arguments(registers),
        };
        let moved = match reads {
            true => call.read_ahead(fd, offset, &memory),
            false => call.write_behind(fd, offset, &memory),
        };
        match moved {
            Ok(moved) => moved,
            Err(Stop::Errno(errno)) => Some(-i64::from(errno.0) as u64),
            // The usual way finds the same, and waits.
            Err(Stop::Wait) => None,
        }
    }
}

/// Whether nothing keeps a thread from its next instruction but, maybe, signals at home.
fn is_free(thread: &Thread, body: &Body) -> bool {
    // A call that begins anew where one was wound back may be that one.
    thread.forward == Forward::Idle
        && thread.rewound_at == 0
        && !thread.poked
        && thread.signals.due.is_none()
        && thread.vfork_child.is_none()
        && !thread.signal_due()
        // Its tracer may have asked it to stop.
        && !thread.traced.on
        && body.effects == Effects::Open
        && !(body.freezing || body.stopped || body.waits() || body.arriving)
}

/// Whether home has no signal for a thread, and knows what it blocks.
fn is_unsignalled(home: &Home, thread: &Thread) -> bool {
    let mask = thread.mask_now();
    let own = home.threads.get(&thread.tid);
    own.is_some_and(|own| {
        own.blocked == mask && (own.pending.set() | home.pending.set()) & !mask == 0
    })
}

/// Length and offset of a transfer of at most so many bytes; no offset is that of the open file.
fn transfer(registers: &Registers, most: usize) -> Option<(usize, Option<u64>)> {
    let length = usize::try_from(registers.rdx).ok()?;
    let placed = matches!(registers.rax, CALL_PREAD | CALL_PWRITE);
    let usual = (1..=most).contains(&length) && registers.rsi != 0;
    usual.then_some((length, placed.then_some(registers.r10)))
}

/// The arguments of a call in the order of Linux (System V ABI, AMD64, section A.2.1).
pub(crate) fn arguments(registers: &Registers) -> [u64; 6] {
    let Registers {
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..
    } = *registers;
    [rdi, rsi, rdx, r10, r8, r9]
}
