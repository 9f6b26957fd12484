//! Who runs next: a queue of ready threads for each processor.
//!
//! Law: the thread that has had the least goes first. A thread's *turn* is the CPU time it has used;
//! who wakes after a long sleep is brought up to the others of its queue, so that it goes first for a
//! moment and not for as long as it slept. A processor without work takes some from the others. Every
//! thread is in one queue at most; what is in a queue and not ready any more is passed over.

use crate::cpu_timers::CpuTime;
use crate::system::System;
use crate::thread::{Run, Thread};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// How long a thread runs before another that is ready has its turn, ns.
pub const SLICE_NS: u64 = 10_000_000;
/// How far ahead of the others a thread is put that wakes from a sleep, ns.
const HEAD_START_NS: u64 = 5_000_000;
/// A ready thread takes the processor from another that is so far behind it in its turn, ns.
const PREEMPT_NS: u64 = 1_000_000;
/// So long a thread goes on beside one that it has woken itself, however far behind that one is, ns:
/// it may have more to say. A pipe that is written byte by byte is not read byte by byte.
pub const SPARED_NS: u64 = 1_000_000;
/// Who waits so soon after having woken another hands its processor over to it, ns.
pub(crate) const HAND_OVER_NS: u64 = 200_000;

/// A thread has made another ready in a call of its own.
#[derive(Clone, Copy)]
struct Woke {
    waker: u32,
    at: u64,
    /// The woken thread waits for the waker's processor, though another one sleeps.
    held: bool,
}

impl Woke {
    /// Whether the waker may still hand over.
    fn is_recent(&self, now: u64) -> bool {
        now < self.at.saturating_add(HAND_OVER_NS)
    }
}

/// What the System knows of one processor.
#[derive(Default)]
pub(crate) struct Processor {
    /// The thread that is in user mode there.
    pub(crate) running: Option<u32>,
    /// Who was in user mode last, and when its last instruction was, ns.
    pub(crate) left: (u32, u64),
    /// Whose extended state its registers hold.
    fpu_owner: Option<u32>,
    /// The thread has been in user mode since: its own copy is stale.
    fpu_newer: bool,
    /// Ready threads by turn.
    queue: BTreeSet<(u64, u32)>,
    /// Goes before all others, this once.
    first: Option<u32>,
    /// No turn in the queue was below this when it was last looked at, ns.
    floor_ns: u64,
    /// CPU time since the thread in `left` was chosen, ns.
    stint_ns: u64,
    /// The thread in `left` goes on until then beside one that it has woken, ns.
    spared_until: Option<u64>,
    /// Who has last woken another here, until it is known whether that was to hand over.
    woke: Option<Woke>,
    /// Who came from user mode last, if the processor has not slept since, and when, ns: what the
    /// kernel has done here since it has done for that thread.
    serves: Option<(u32, u64)>,
    /// Time in user mode, in the kernel for somebody, and asleep, ns.
    pub(crate) ran_ns: u64,
    pub(crate) system_ns: u64,
    pub(crate) idle_ns: u64,
}

impl Processor {
    fn is_idle(&self) -> bool {
        self.running.is_none() && self.queue.is_empty()
    }

    /// The turn of a thread that comes from elsewhere, ns.
    pub(crate) fn turn_now(&self) -> u64 {
        self.floor_ns
    }

    /// Whether the kernel works for this thread there, as far as it was accounted for.
    pub(crate) fn serves(&self, tid: u32) -> bool {
        self.serves.is_some_and(|(served, _)| served == tid)
    }

    /// How many threads are ready there.
    pub(crate) fn ready(&self) -> usize {
        self.queue.len()
    }
}

impl System {
    /// Puts a thread into a run queue.
    pub(crate) fn make_ready(&mut self, tid: u32) {
        let last = self.processors.len() - 1;
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let from = &mut self.processors[thread.processor.min(last)];
        if core::mem::replace(&mut thread.run, Run::Ready) == Run::Blocked && from.left.0 == tid {
            from.left.0 = 0;
        }
        if thread.queued.is_some() {
            return;
        }
        let ahead = from.floor_ns.saturating_sub(HEAD_START_NS);
        thread.turn_ns = thread.turn_ns.max(ahead);
        thread.woken_by = self.calling.map(|(waker, _)| waker);
        let (to, call) = self.processor_for(tid);
        self.enqueue(tid, to);
        if call {
            self.call_processor(to, tid);
        }
    }

    /// The processor for a thread that becomes ready, and whether that one is to look for it. It is where
    /// the thread was or an idle one; but who is woken by somebody who is used to wait right after goes
    /// behind that one: to wake a processor takes longer than that.
    fn processor_for(&mut self, tid: u32) -> (usize, bool) {
        let allowed = self.allowed(tid);
        let may = |cpu: &usize| allowed >> cpu & 1 != 0;
        let from = self.threads.get(&tid).map_or(0, |thread| thread.processor);
        let from = from.min(self.processors.len() - 1);
        let all = 0..self.processors.len();
        // Who wakes another has its processor, though it is in the kernel just now.
        let waker = self.calling.filter(|(waker, _)| *waker != tid);
        let taken = waker.filter(|(waker, _)| !self.waits(*waker));
        let is_idle = |cpu: &usize| {
            may(cpu) && self.processors[*cpu].is_idle() && taken.is_none_or(|(_, own)| own != *cpu)
        };
        let own = Some(from).filter(is_idle);
        let Some(idle) = own.or_else(|| all.clone().find(is_idle)) else {
            let fewest = || (all.filter(may)).min_by_key(|cpu| self.processors[*cpu].ready());
            let to = Some(from).filter(may).or_else(fewest);
            return (to.unwrap_or(0), true);
        };
        // It goes on where it has left somebody waiting itself.
        let now = self.now;
        let woke = self.processors[from].woke;
        if woke.is_some_and(|woke| woke.waker == tid && woke.held && woke.is_recent(now)) {
            return (from, false);
        }
        let Some((waker, here)) = waker else {
            return (idle, true);
        };
        let hands_over = (self.threads.get(&waker)).is_none_or(|waker| waker.hands_over);
        let held =
            (hands_over || taken.is_none()) && may(&here) && self.processors[here].queue.is_empty();
        let at = now;
        self.processors[here].woke = Some(Woke { waker, at, held });
        if held { (here, false) } else { (idle, true) }
    }

    /// Learns from whom a processor runs next whether who has woken another there did so to hand over,
    /// and lets others take what it does not get to.
    fn learn_hand_over(&mut self, cpu: usize, chosen: Option<u32>) {
        let Some(woke) = self.processors[cpu].woke else {
            return;
        };
        let soon = woke.is_recent(self.now);
        if soon && chosen == Some(woke.waker) {
            return;
        }
        self.processors[cpu].woke = None;
        let waits = self.waits(woke.waker);
        if let Some(waker) = self.threads.get_mut(&woke.waker) {
            waker.hands_over = soon && waits;
        }
        if woke.held && self.processors[cpu].ready() > 0 {
            let idle = self.processors.iter().position(Processor::is_idle);
            idle.into_iter().for_each(|idle| self.kick(idle));
        }
    }

    /// Whether a thread needs no processor.
    fn waits(&self, tid: u32) -> bool {
        (self.threads.get(&tid)).is_none_or(|thread| thread.run == Run::Blocked)
    }

    /// The processors that a thread may run on here, a bit each: all if none of its own is here.
    fn allowed(&self, tid: u32) -> u64 {
        let there = self.processor_set();
        let own = self.threads.get(&tid).map_or(0, |thread| thread.processors);
        if own & there == 0 { there } else { own & there }
    }

    /// A thread that may run elsewhere only leaves the processor where it is.
    pub(crate) fn leave_forbidden(&mut self, tid: u32) {
        let allowed = self.allowed(tid);
        let Some(thread) = self.threads.get(&tid) else {
            return;
        };
        match (thread.run, thread.queued) {
            (Run::Running(cpu), _) => self.kick(cpu),
            (_, Some(cpu)) if allowed >> cpu & 1 == 0 => {
                let entry = (thread.turn_ns, tid);
                self.processors[cpu].queue.remove(&entry);
                self.thread(tid).queued = None;
                self.make_ready(tid);
            }
            _ => {}
        }
    }

    /// Puts a thread that is in no queue into this one, as far in front as it was in its last.
    fn enqueue(&mut self, tid: u32, to: usize) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let from = thread.processor.min(self.processors.len() - 1);
        let lead = i128::from(thread.turn_ns) - i128::from(self.processors[from].floor_ns);
        let turn = i128::from(self.processors[to].floor_ns) + lead;
        thread.turn_ns = u64::try_from(turn).unwrap_or(0);
        thread.processor = to;
        thread.queued = Some(to);
        self.processors[to].queue.insert((thread.turn_ns, tid));
    }

    /// Wakes a processor that sleeps, or makes it leave a thread that has had more than this one.
    fn call_processor(&mut self, cpu: usize, tid: u32) {
        let turn = self.threads.get(&tid).map_or(0, |thread| thread.turn_ns);
        let call = match self.processors[cpu].running {
            None => true,
            Some(other) => self
                .threads
                .get(&other)
                .is_none_or(|other| turn.saturating_add(PREEMPT_NS) < other.turn_ns),
        };
        if call {
            self.kick(cpu);
        }
    }

    /// Asks for a processor to come into the kernel and look around.
    pub(crate) fn kick(&mut self, cpu: usize) {
        self.kicks |= 1 << cpu;
    }

    /// Until when at most this processor leaves its thread beside one that was woken by it and has had
    /// less, or for which another processor is free, node's clock, ns.
    pub fn spared_until(&self, cpu: usize) -> Option<u64> {
        let processor = &self.processors[cpu];
        let held = processor.woke.filter(|woke| woke.held);
        let held = held.map(|woke| woke.at.saturating_add(HAND_OVER_NS));
        held.into_iter().chain(processor.spared_until).min()
    }

    /// The processors, a bit each, that are to be interrupted as soon as the System is left. The
    /// caller's own may be among them.
    pub fn take_kicks(&mut self) -> u64 {
        core::mem::take(&mut self.kicks)
    }

    /// Puts a thread in front of the others, this once.
    pub(crate) fn hurry(&mut self, tid: u32) {
        let queued = self.threads.get(&tid).and_then(|thread| thread.queued);
        if let Some(cpu) = queued {
            self.processors[cpu].first = Some(tid);
            self.arrived = true;
        }
    }

    /// Puts a thread behind all that are ready where it runs (sched_yield(2)).
    pub(crate) fn yield_turn(&mut self, tid: u32) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let processor = &mut self.processors[thread.processor];
        if let Some((last, _)) = processor.queue.last() {
            thread.turn_ns = thread.turn_ns.max(last + 1);
            processor.stint_ns = SLICE_NS;
        }
    }

    /// Takes the thread out of the queues that this processor is to run.
    pub(crate) fn choose(&mut self, cpu: usize) -> Option<u32> {
        let chosen = self.next_ready(cpu);
        self.learn_hand_over(cpu, chosen);
        chosen
    }

    fn next_ready(&mut self, cpu: usize) -> Option<u32> {
        loop {
            let tid = self.candidate(cpu)?;
            let processor = &mut self.processors[cpu];
            if processor.left.0 != tid {
                processor.stint_ns = 0;
                processor.spared_until = None;
            }
            let Some(thread) = self.threads.get_mut(&tid) else {
                continue;
            };
            thread.queued = None;
            processor.floor_ns = processor.floor_ns.max(thread.turn_ns);
            if thread.run == Run::Ready {
                return Some(tid);
            }
        }
    }

    /// Whether a thread that has just been on this processor, and is in no queue, may go on there: its
    /// time is not up, and nobody who is ready has had much less.
    pub(crate) fn keeps_processor(&mut self, cpu: usize, tid: u32) -> bool {
        if self.allowed(tid) >> cpu & 1 == 0 {
            return false;
        }
        let Some(thread) = self.threads.get(&tid) else {
            return false;
        };
        let processor = &mut self.processors[cpu];
        let first = processor.queue.first();
        let fair = first.is_none_or(|first| {
            processor.stint_ns < SLICE_NS && thread.turn_ns <= first.0.saturating_add(PREEMPT_NS)
        });
        let keeps = fair
            && thread.queued.is_none()
            && processor.first.is_none()
            && self.kicks & 1 << cpu == 0;
        if keeps {
            processor.floor_ns = processor.floor_ns.max(thread.turn_ns);
        }
        keeps
    }

    fn candidate(&mut self, cpu: usize) -> Option<u32> {
        let processor = &mut self.processors[cpu];
        if let Some(tid) = processor.first.take()
            && let Some(entry) = processor.queue.iter().find(|entry| entry.1 == tid).copied()
        {
            processor.queue.remove(&entry);
            return Some(tid);
        }
        if processor.queue.is_empty() {
            return self.steal(cpu);
        }
        // Who was here goes on, unless its time is up or somebody has had much less.
        let last = self
            .threads
            .get(&processor.left.0)
            .map(|thread| (thread.turn_ns, thread.tid));
        let first = processor.queue.first().copied()?;
        let first_woken_by = self.threads.get(&first.1).and_then(|first| first.woken_by);
        let goes_on = last.filter(|last| {
            let fair = last.0 <= first.0.saturating_add(PREEMPT_NS);
            let mut is_spared = || {
                let until = *(processor.spared_until).get_or_insert(self.now + SPARED_NS);
                first_woken_by == Some(last.1) && self.now < until
            };
            processor.stint_ns < SLICE_NS && processor.queue.contains(last) && (fair || is_spared())
        });
        if goes_on.is_none() {
            processor.stint_ns = 0;
            processor.spared_until = None;
        }
        let entry = goes_on.unwrap_or(first);
        processor.queue.remove(&entry);
        Some(entry.1)
    }

    /// A thread that waits for a processor which has something else to do.
    fn steal(&mut self, cpu: usize) -> Option<u32> {
        let busy = |processor: &Processor| processor.running.is_some() || processor.ready() > 1;
        let victim = (0..self.processors.len())
            .filter(|other| *other != cpu && busy(&self.processors[*other]))
            .max_by_key(|other| self.processors[*other].ready())?;
        // The last in turn that may run here: it would wait longest there.
        let queue = &self.processors[victim].queue;
        let may = |entry: &&(u64, u32)| self.allowed(entry.1) >> cpu & 1 != 0;
        let entry = queue.iter().rev().find(may).copied()?;
        self.processors[victim].queue.remove(&entry);
        let tid = entry.1;
        self.enqueue(tid, cpu);
        let turn = self.threads.get(&tid).map_or(0, |thread| thread.turn_ns);
        self.processors[cpu].queue.remove(&(turn, tid));
        Some(tid)
    }

    /// Accounts for a stay in user mode that has just ended, and for what the kernel did before it.
    pub(crate) fn charge(&mut self, cpu: usize, tid: u32, ran_ns: u64, now: u64) {
        let processor = &mut self.processors[cpu];
        processor.stint_ns += ran_ns;
        processor.ran_ns += ran_ns;
        let served = processor.serves.replace((tid, now));
        let mut used = CpuTime::user(ran_ns);
        if let Some((served, since)) = served {
            let system_ns = now.saturating_sub(ran_ns).saturating_sub(since);
            self.processors[cpu].system_ns += system_ns;
            if served == tid {
                used.system_ns = system_ns;
            } else {
                self.use_time(served, CpuTime::system(system_ns));
            }
        }
        self.use_time(tid, used);
    }

    /// Accounts for a sleep that began at `from`: what came before it was still for somebody.
    pub fn idled(&mut self, cpu: usize, from: u64, ns: u64) {
        let processor = &mut self.processors[cpu];
        processor.idle_ns += ns;
        if let Some((served, since)) = processor.serves.take() {
            let system_ns = from.saturating_sub(since);
            processor.system_ns += system_ns;
            self.use_time(served, CpuTime::system(system_ns));
        }
    }

    fn use_time(&mut self, tid: u32, used: CpuTime) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        thread.cpu.add(used);
        thread.turn_ns = thread.turn_ns.saturating_add(used.user_ns);
        if let Some(body) = self.bodies.get_mut(&thread.pid) {
            body.cpu.add(used);
        }
    }

    // ---- extended state ----------------------------------------------------------------------

    /// Gives this processor a thread's extended state.
    ///
    /// The kernel does not touch it. So it stays in the registers until another thread needs them,
    /// somebody wants to see it ([`System::save_fpu`]), or, as the thread may go on elsewhere, until
    /// this processor gives the System to others ([`System::let_go`]).
    pub(crate) fn load_fpu(&mut self, cpu: usize, tid: u32) {
        if self.processors[cpu].fpu_owner != Some(tid) {
            self.save_fpu();
            self.forget_fpu(tid);
            let Some(thread) = self.threads.get(&tid) else {
                return;
            };
            thread.fpu.load();
            self.processors[cpu].fpu_owner = Some(tid);
        }
        self.processors[cpu].fpu_newer = false;
    }

    /// The thread whose extended state this processor holds has left user mode.
    pub(crate) fn leave_fpu(&mut self, cpu: usize) {
        self.processors[cpu].fpu_newer = true;
    }

    /// Brings the extended state that only this processor holds into its thread. The others hold
    /// nothing of that kind: they have let go of the System.
    pub(crate) fn save_fpu(&mut self) {
        for processor in &mut self.processors {
            if core::mem::take(&mut processor.fpu_newer)
                && let Some(tid) = processor.fpu_owner
                && let Some(thread) = self.threads.get_mut(&tid)
            {
                thread.fpu.save();
            }
        }
    }

    /// Forgets what processors hold of a thread that is gone or gets a new state.
    pub(crate) fn forget_fpu(&mut self, tid: u32) {
        for processor in &mut self.processors {
            if processor.fpu_owner == Some(tid) {
                processor.fpu_owner = None;
                processor.fpu_newer = false;
            }
        }
    }

    /// The System is given to other processors, if there are any.
    pub fn let_go(&mut self) {
        if self.processors.len() > 1 {
            self.save_fpu();
        }
    }

    /// When the last instruction of a process ran, if it has only been interrupted since.
    pub(crate) fn last_ran(&self, threads: &[&Thread]) -> Option<u64> {
        let left = self.processors.iter().map(|processor| processor.left);
        let mine: Vec<u64> = left
            .filter(|(tid, _)| {
                let of = |thread: &&&Thread| thread.tid == *tid && thread.run == Run::Ready;
                threads.iter().any(|thread| of(&thread))
            })
            .map(|(_, at)| at)
            .collect();
        mine.into_iter().max()
    }

    /// All processors, a bit each.
    pub(crate) fn processor_set(&self) -> u64 {
        u64::MAX >> (64 - self.processors.len().clamp(1, 64))
    }

    /// Threads in all run queues.
    pub(crate) fn ready_count(&self) -> usize {
        self.processors.iter().map(Processor::ready).sum()
    }
}
