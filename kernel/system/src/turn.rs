//! A stay in user mode: who goes there, and what is done about why it came back.
//!
//! Law: between [`System::begin`] and [`System::end`] the thread is its processor's, and the System knows it
//! as running there. A turn that is given back without having been in user mode may have been there
//! before: its registers are newer than those of its thread.

use crate::memory::Trouble;
use crate::signals::{SI_KERNEL, Trap};
use crate::spaces::SpaceId;
use crate::system::{Flow, System};
use crate::thread::{Pending, Restart, Run};
use crate::wait::Stop;
use abi::{Errno, signal};
use machine::{Access, Exit, Registers, TableHandle};

/// `si_code` of SIGSEGV: nothing is there, or it does not allow that.
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;

/// What a turn that has ended leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// It goes on, in user mode or to [`System::put_back`], and nothing is to be done that was not before.
    Unchanged,
    /// It goes on; what it did may be somebody's business.
    Same,
    /// It is over: the processor is free.
    Over,
}

/// A stay of a thread in user mode: it is taken along outside of the System's lock.
pub struct Turn {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) registers: Registers,
    space: SpaceId,
    table: TableHandle,
    /// No call of it is answered before the System has looked at it.
    watched: bool,
    /// Time in user mode that nobody has accounted for yet, ns.
    ran_ns: u64,
}

impl Turn {
    /// Runs the thread in user mode until it needs the System.
    pub fn run(&mut self) -> Exit {
        loop {
            let exit = machine::run_user(&mut self.registers, &self.table);
            if exit != Exit::Syscall || !self.answer() {
                return exit;
            }
        }
    }

    /// Answers a call at once that asks for no more than what the turn carries. Whoever wants the
    /// thread to look around has interrupted its processor, and that comes first in user mode.
    fn answer(&mut self) -> bool {
        if self.watched {
            return false;
        }
        let value = match self.registers.rax {
            CALL_GETPID => self.pid,
            CALL_GETTID => self.tid,
            _ => return false,
        };
        self.registers.rax = u64::from(value);
        true
    }
}

const CALL_GETPID: u64 = 39;
const CALL_GETTID: u64 = 186;

impl System {
    /// The thread that this processor is to run next.
    pub fn begin(&mut self, cpu: usize) -> Option<Turn> {
        self.arrived = false;
        while let Some(tid) = self.choose(cpu) {
            let Some((space, table)) = self.table_of(tid) else {
                continue;
            };
            let pid = self.thread(tid).pid;
            let traced = self.thread(tid).traced.on;
            let body = self.body(pid);
            if body.freezing || body.stopped && !traced || body.waits() {
                // It is woken when that is over.
                continue;
            }
            let registers = self.give_processor(cpu, tid);
            let watched = self.is_watched(tid);
            return Some(Turn {
                pid,
                tid,
                registers,
                space,
                table,
                watched,
                ran_ns: 0,
            });
        }
        None
    }

    /// The thread is this processor's from here on, which gets its extended state and these registers.
    fn give_processor(&mut self, cpu: usize, tid: u32) -> Registers {
        self.load_fpu(cpu, tid);
        self.processors[cpu].running = Some(tid);
        let thread = self.thread(tid);
        thread.run = Run::Running(cpu);
        thread.registers
    }

    fn table_of(&self, tid: u32) -> Option<(SpaceId, TableHandle)> {
        let body = self.bodies.get(&self.threads.get(&tid)?.pid)?;
        let space = self.spaces.get(body.space)?;
        Some((body.space, space.table().handle()))
    }

    /// Takes a thread back that is not to go to user mode after all.
    pub fn put_back(&mut self, cpu: usize, turn: &mut Turn) {
        self.account(cpu, turn);
        self.processors[cpu].running = None;
        self.leave_fpu(cpu);
        if self.is_stale(turn) {
            return;
        }
        let thread = self.thread(turn.tid);
        thread.registers = turn.registers;
        thread.run = Run::Ready;
        self.advance(turn.tid);
    }

    /// Whether the thread of a turn has ended while it was in user mode. The first thread of a process has, too,
    /// when another has started a program, which then goes by its number, in memory of its own.
    fn is_stale(&self, turn: &Turn) -> bool {
        let thread = self.threads.get(&turn.tid);
        let body = thread.and_then(|thread| self.bodies.get(&thread.pid));
        body.is_none_or(|body| body.space != turn.space)
    }

    /// Deals with why a thread came back from user mode, and takes it back if it does not go on at once.
    #[must_use]
    pub fn end(&mut self, cpu: usize, turn: &mut Turn, exit: Exit, ran_ns: u64, now: u64) -> After {
        self.now = self.now.max(now);
        self.fs.alarms().set_now(self.now);
        let tid = turn.tid;
        turn.ran_ns += ran_ns;
        if self.is_stale(turn) {
            self.account(cpu, turn);
            self.processors[cpu].running = None;
            self.settle();
            return After::Over;
        }
        self.processors[cpu].left = (tid, now);
        // What the kernel did before the thread had this processor was not for it.
        if !self.processors[cpu].serves(tid) {
            self.account(cpu, turn);
        }
        if exit == Exit::Syscall
            && !turn.watched
            && let Some(after) = self.express(cpu, turn)
        {
            return after;
        }
        self.account(cpu, turn);
        self.processors[cpu].running = None;
        self.leave_fpu(cpu);
        let thread = self.thread(tid);
        let pid = thread.pid;
        thread.registers = turn.registers;
        thread.run = Run::Ready;
        if core::mem::replace(&mut self.body(pid).arriving, false) {
            self.first_run(pid, now.saturating_sub(ran_ns));
        }
        if self.body(pid).watches_cpu && self.expires(tid, &exit) {
            self.advance(tid);
            self.settle();
            return After::Over;
        }
        match exit {
            // Its process ends, whatever it wanted.
            _ if self.thread(tid).obeys_kernel() => self.advance(tid),
            Exit::Interrupt => self.advance(tid),
            Exit::Syscall => {
                self.calling = Some((tid, cpu));
                let after = self.called(cpu, turn);
                self.calling = None;
                return after;
            }
            Exit::PageFault {
                address,
                write,
                execute,
                protection,
            } => {
                let access = if write {
                    Access::WRITE
                } else if execute {
                    Access::EXECUTE
                } else {
                    Access::READ
                };
                self.fault(tid, address, access, Trap::page_fault(access, protection));
            }
            Exit::Exception {
                vector,
                code,
                address,
            } => {
                let error = code as u16;
                self.exception(tid, Trap { vector, error }, address);
            }
        }
        self.settle();
        After::Over
    }

    /// Accounts for what a turn has used since it was last accounted for: calls that are answered at
    /// once are so together.
    pub(crate) fn account(&mut self, cpu: usize, turn: &mut Turn) {
        self.charge(cpu, turn.tid, core::mem::take(&mut turn.ran_ns), self.now);
    }

    /// Whether something has expired by the CPU time that a thread has just used: home is told first,
    /// and whatever it came for comes again.
    fn expires(&mut self, tid: u32, exit: &Exit) -> bool {
        let again = match exit {
            Exit::Syscall => crate::dispatch::SYSCALL_BYTES,
            Exit::Interrupt | Exit::PageFault { .. } => 0,
            // An exception would be lost.
            Exit::Exception { .. } => return false,
        };
        if self.thread(tid).obeys_kernel() {
            return false;
        }
        let Some(call) = self.cpu_expired(tid) else {
            return false;
        };
        let thread = self.thread(tid);
        thread.registers.rip = thread.registers.rip.wrapping_sub(again);
        thread.call = Some(call);
        true
    }

    /// As [`System::end`], for a processor that always has a round between two turns.
    #[cfg(test)]
    pub(crate) fn end_turn(&mut self, mut turn: Turn, exit: Exit, ran_ns: u64, now: u64) {
        if self.end(0, &mut turn, exit, ran_ns, now) != After::Over {
            self.put_back(0, &mut turn);
        }
    }

    /// A system call of user mode. After one that is over at once, as most are, the turn goes on.
    fn called(&mut self, cpu: usize, turn: &mut Turn) -> After {
        let Turn { pid, tid, .. } = *turn;
        let thread = self.thread(tid);
        let registers = &thread.registers;
        let args = crate::express::arguments(registers);
        let number = crate::dispatch::user_number(registers.rax);
        let begun = registers.rip.wrapping_sub(crate::dispatch::SYSCALL_BYTES);
        if core::mem::take(&mut thread.rewound_at) != begun {
            thread.restart = Restart::default();
        }
        if self.is_watched(tid) && (self.shows_entry(tid) || !self.permits(tid, &args)) {
            self.settle();
            return After::Over;
        }
        let call = Pending { number, args };
        self.thread(tid).call = Some(call);
        if !self.is_undisturbed(pid, tid) {
            self.advance(tid);
            self.settle();
            return After::Over;
        }
        let flow = self.perform(tid, call);
        if flow == Flow::Wait {
            self.advance_or_block(tid);
        }
        self.settle();
        if flow == Flow::Again {
            if self.stays(cpu, turn) {
                return After::Same;
            }
            self.advance(tid);
            self.settle();
        }
        After::Over
    }

    /// Lets the turn of a thread whose call is over go on, if nothing comes before that.
    fn stays(&mut self, cpu: usize, turn: &mut Turn) -> bool {
        let Turn {
            pid, tid, space, ..
        } = *turn;
        let ready = (self.threads.get(&tid))
            .is_some_and(|thread| thread.run == Run::Ready && thread.call.is_none());
        let there = (self.bodies.get(&pid)).is_some_and(|body| body.space == space);
        let stays =
            ready && there && self.is_undisturbed(pid, tid) && self.keeps_processor(cpu, tid);
        if stays {
            turn.registers = self.give_processor(cpu, tid);
            turn.watched = self.is_watched(tid);
        }
        stays
    }

    /// A page fault of user mode.
    fn fault(&mut self, tid: u32, address: u64, access: Access, trap: Trap) {
        let pid = self.thread(tid).pid;
        self.body(pid).faults += 1;
        match self.with_space(pid, |space, pages| space.fault(address, access, pages)) {
            Ok(()) => self.advance(tid),
            Err(Trouble::Bus) => {
                let told = (crate::deputy::BUS_ADRERR, address);
                self.force_signal(tid, signal::SIGBUS, told, trap);
            }
            Err(trouble) => match self.trouble(tid, trouble) {
                Stop::Wait => self.advance_or_block(tid),
                Stop::Errno(Errno::ENOMEM) if self.waits_for_memory(tid) => {
                    self.advance_or_block(tid);
                }
                Stop::Errno(Errno::ENOMEM) => {
                    self.out_of_memory(pid);
                    self.advance(tid);
                }
                Stop::Errno(_) => {
                    let space = self.space_of(pid);
                    let mapped = space.is_some_and(|space| space.is_mapped(address, 1));
                    let code = if mapped { SEGV_ACCERR } else { SEGV_MAPERR };
                    self.force_signal(tid, signal::SIGSEGV, (code, address), trap);
                }
            },
        }
    }

    /// No frame is free for what a process needs: it is killed, and the node goes on.
    pub(crate) fn out_of_memory(&mut self, pid: u32) {
        machine::log!("out of memory: process {pid} is killed");
        self.die(pid, signal::SIGKILL);
    }

    /// An exception of user mode other than a page fault becomes the signal that Linux makes of it.
    fn exception(&mut self, tid: u32, trap: Trap, address: u64) {
        let rip = self.thread(tid).registers.rip;
        // `si_code` by sigaction(2): FPE_INTDIV, TRAP_TRACE, ILL_ILLOPN, BUS_ADRALN.
        let (signal, code, address) = match trap.vector {
            0 => (signal::SIGFPE, 1, rip),
            16 | 19 => (signal::SIGFPE, 0, rip),
            1 => (signal::SIGTRAP, 2, rip),
            3 => (signal::SIGTRAP, SI_KERNEL, 0),
            6 => (signal::SIGILL, 2, rip),
            17 => (signal::SIGBUS, 1, address),
            _ => (signal::SIGSEGV, SI_KERNEL, 0),
        };
        self.force_signal(tid, signal, (code, address), trap);
    }
}
