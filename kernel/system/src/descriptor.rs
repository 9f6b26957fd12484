//! The process descriptor: everything of a body that is not page contents.
//!
//! Law: fixed layout, little endian, no pointers, reserved bytes zero, and nothing that takes time: who
//! encodes and decodes it keeps a process waiting. [`decode`] trusts nothing: it checks all of it, and
//! only then makes a body that is worth no more than a fresh one until home has confirmed it.
//!
//! ```text
//! Head                         identity, limits, clocks, and how many there are of what follows
//! thread_count times           ThreadRecord, then fpu_bytes of extended state (XSAVE, standard format,
//!                              a multiple of 8)
//! filter_words words           filters of seccomp(2)
//! action_count ActionRecords   the signals for which something else is done than by default
//! timer_count TimerRecords     timers by CPU time
//! ring_count RingRecords       contexts of asynchronous I/O
//! up to the end                memory: what has changed since the outline in the draft, or a whole
//!                              outline
//! ```

use crate::body::{Actions, Body, Effects, LIMITS, SignalAction};
use crate::cpu_timers::{CPU_TIMERS_MAX, CpuTime, CpuTimer, CpuTimers, Setting};
use crate::credentials::{self, Ids};
use crate::hand_over::Frozen;
use crate::memory::record::{take, take_many};
use crate::memory::{MemoryPolicy, RingRecord, Rings, Space, outline_sum};
use crate::placement;
use crate::seccomp::{self, Packed};
use crate::signals::{INFO_BYTES, SignalInfo};
use crate::thread::{AltStack, Due, Restart, Thread};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use machine::{FpuState, Registers, USER_END};
use wire::Pid;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: [u8; 8] = *b"DUNLINP1";
/// Changes with every change of the layout; only equal versions understand each other.
const VERSION: u32 = 11;
/// No process with more threads moves: its descriptor would not fit into a message.
pub(crate) const THREADS_MAX: usize = 1024;
/// Bits of RFLAGS that a program may choose: arithmetic flags, TF, DF, AC, ID.
const RFLAGS_USER: u64 = 0x24_0dd5;
/// `Head::flags`: stopped by a signal.
const STOPPED: u32 = 1;
/// `Head::flags`: where the kinds of memory barriers begin, 8 bits.
const BARRIERS: u32 = 8;
// Bits of `ThreadRecord::flags`.
/// The thread is at a call that was wound back.
const REWOUND: u32 = 1;
const BEGUN: u32 = 2;
const SAVED_MASK: u32 = 4;
const FORCED: u32 = 8;
const GRANTED: u32 = 16;
const THREAD_FLAGS: u32 = REWOUND | BEGUN | SAVED_MASK | FORCED | GRANTED;

#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct Head {
    magic: [u8; 8],
    version: u32,
    flags: u32,
    pid: u32,
    fpu_bytes: u32,
    thread_count: u32,
    /// How many words the filters of seccomp(2) take behind the threads.
    filter_words: u32,
    action_count: u32,
    timer_count: u32,
    ring_count: u32,
    reserved: u32,
    leader_status: u32,
    /// Who decides where it runs, see [`placement::word_of`].
    policy: u32,
    /// The sum of the outline that the changes at the end are made to; 0: a whole outline is there.
    outline: u64,
    clock_ns: u64,
    wall_offset_ns: u64,
    user_ns: u64,
    system_ns: u64,
    limits: [[u64; 2]; LIMITS],
    peak_pages: u64,
    faults: u64,
    /// `ITIMER_VIRTUAL` and `ITIMER_PROF`: when, interval.
    interval_timers: [[u64; 2]; 2],
}

#[cfg(test)]
pub(crate) const HEAD_BYTES: usize = size_of::<Head>();

/// What is done for a signal.
#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct ActionRecord {
    /// Its number, from 1.
    signal: u64,
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

/// A timer by CPU time.
#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct TimerRecord {
    id: u32,
    /// Whose time, or 0 for that of the process.
    thread: u32,
    at_ns: u64,
    interval_ns: u64,
}

#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct ThreadRecord {
    tid: u32,
    flags: u32,
    next_seq: u64,
    registers: [u64; 20],
    mask: u64,
    held_back: u64,
    saved_mask: u64,
    alt_base: u64,
    alt_size: u64,
    alt_flags: u32,
    /// Which calls it may make: see [`Packed`].
    seccomp: u32,
    ids: [u64; credentials::WORDS],
    /// The record of a signal that is due; all zero for none.
    due: [u8; INFO_BYTES],
    progress: u64,
    deadline_ns: u64,
    user_ns: u64,
    system_ns: u64,
    clear_tid: u64,
    robust_head: u64,
    robust_length: u64,
    name: [u8; 16],
    processors: u64,
    /// Mode and flags of its [`MemoryPolicy`].
    memory_policy: u32,
    reserved: u32,
    memory_nodes: u64,
}

fn registers_to_words(r: &Registers) -> [u64; 20] {
    [
        r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15, r.rip, r.rflags, r.fs_base, r.gs_base,
    ]
}

fn words_to_registers(w: &[u64; 20]) -> Registers {
    let [
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        rsp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        flags,
        fs,
        gs,
    ] = *w;
    Registers {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        rsp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags: (flags & RFLAGS_USER) | 0x202,
        fs_base: fs,
        gs_base: gs,
    }
}

const SHORT: &str = "descriptor is too short";
/// No clock shows more, ns: some 73 years in a node's own time beyond 1970's.
const NS_MAX: u64 = i64::MAX as u64 / 2;
/// No process makes so many calls.
const COUNT_MAX: u64 = u64::MAX / 2;

fn flags(thread: &Thread) -> u32 {
    let forced = thread.signals.due.is_some_and(|due| due.forced);
    let at = thread.rewound_at;
    [
        (at != 0 && at == thread.registers.rip, REWOUND),
        (thread.restart.begun, BEGUN),
        (thread.signals.saved_mask.is_some(), SAVED_MASK),
        (forced, FORCED),
        (thread.restart.granted, GRANTED),
    ]
    .into_iter()
    .map(|(set, flag)| if set { flag } else { 0 })
    .sum()
}

impl ThreadRecord {
    fn of(thread: &Thread, seccomp: u32) -> ThreadRecord {
        let due = thread.signals.due.map(|due| due.info).unwrap_or_default();
        let (memory_policy, memory_nodes) = thread.memory_policy.told();
        ThreadRecord {
            tid: thread.tid,
            flags: flags(thread),
            next_seq: thread.next_seq,
            registers: registers_to_words(&thread.registers),
            mask: thread.signals.mask,
            held_back: thread.held_back,
            saved_mask: thread.signals.saved_mask.unwrap_or(0),
            alt_base: thread.signals.alt_stack.base,
            alt_size: thread.signals.alt_stack.size,
            alt_flags: thread.signals.alt_stack.flags,
            seccomp,
            ids: thread.ids.to_words(),
            due: due.to_bytes(),
            progress: thread.restart.progress,
            deadline_ns: thread.restart.deadline_ns,
            user_ns: thread.cpu.user_ns,
            system_ns: thread.cpu.system_ns,
            clear_tid: thread.clear_tid,
            robust_head: thread.robust_list.0,
            robust_length: thread.robust_list.1,
            name: thread.name,
            processors: thread.processors,
            memory_policy,
            reserved: 0,
            memory_nodes,
        }
    }

    /// The thread, waiting to be looked at.
    fn to_thread(&self, pid: u32, fpu: FpuState) -> Result<Thread, &'static str> {
        if self.flags & !THREAD_FLAGS != 0 || self.reserved != 0 {
            return Err("reserved bits of a thread are set");
        }
        let due = SignalInfo::from_bytes(&self.due);
        if due.is_none() && self.due != [0; INFO_BYTES] {
            return Err("a signal that does not exist");
        }
        if Pid(self.tid).home() != Pid(pid).home() {
            return Err("a thread of another home");
        }
        let registers = words_to_registers(&self.registers);
        let in_user = [
            registers.rip,
            registers.rsp,
            registers.fs_base,
            registers.gs_base,
        ];
        if in_user.iter().any(|address| *address > USER_END) {
            return Err("a register points outside of user space");
        }
        // What counts up must be able to go on doing so.
        if [self.next_seq, self.user_ns, self.system_ns]
            .iter()
            .any(|count| *count > COUNT_MAX)
        {
            return Err("a count out of range");
        }
        let mut thread = Thread::new(self.tid, pid);
        thread.next_seq = self.next_seq;
        thread.registers = registers;
        *thread.fpu = fpu;
        thread.signals.set_mask(self.mask);
        thread.held_back = self.held_back;
        thread.ids = Ids::from_words(self.ids);
        thread.signals.alt_stack = AltStack {
            base: self.alt_base,
            size: self.alt_size,
            flags: self.alt_flags,
        };
        thread.signals.saved_mask = (self.flags & SAVED_MASK != 0).then_some(self.saved_mask);
        thread.signals.due = due.map(|info| Due {
            info,
            forced: self.flags & FORCED != 0,
        });
        thread.restart = Restart {
            progress: self.progress,
            deadline_ns: self.deadline_ns,
            begun: self.flags & BEGUN != 0,
            granted: self.flags & GRANTED != 0,
            whole: false,
        };
        if self.flags & REWOUND != 0 {
            thread.rewound_at = registers.rip;
        }
        thread.cpu = CpuTime {
            user_ns: self.user_ns,
            system_ns: self.system_ns,
        };
        thread.clear_tid = self.clear_tid;
        thread.robust_list = (self.robust_head, self.robust_length);
        thread.name = self.name;
        thread.processors = self.processors;
        thread.memory_policy = MemoryPolicy::from_told(self.memory_policy, self.memory_nodes)
            .ok_or("no such policy of memory")?;
        Ok(thread)
    }
}

/// The descriptor of a frozen process. Empty if its memory cannot be described, which the caller has
/// ruled out by asking for obstacles.
pub(crate) fn encode(frozen: &Frozen, now: u64) -> Vec<u8> {
    let Frozen {
        body,
        threads,
        space,
    } = frozen;
    let changes = space.changes();
    let rings = space.rings.records();
    let whole = || Some((0, space.to_outline().ok()?));
    let Some((outline, memory)) = changes.or_else(whole) else {
        return Vec::new();
    };
    let threads: Vec<&Thread> = threads.iter().collect();
    encode_parts(body, &threads, &rings, (outline, &memory), now)
}

/// The descriptor of a process that still runs. Of this the target learns whether it can take the
/// process at all, and makes its memory. Empty as for [`encode`].
pub(crate) fn draft(body: &Body, threads: &[&Thread], space: &mut Space, now: u64) -> Vec<u8> {
    let outline = space.outline();
    let rings = space.rings.records();
    outline.map_or_else(
        |_| Vec::new(),
        |memory| encode_parts(body, threads, &rings, (0, &memory), now),
    )
}

fn encode_parts(
    body: &Body,
    threads: &[&Thread],
    rings: &[RingRecord],
    (outline, memory): (u64, &[u8]),
    now: u64,
) -> Vec<u8> {
    let mut filters = Packed::default();
    let numbers: Vec<u32> = threads
        .iter()
        .map(|thread| filters.add(&thread.seccomp))
        .collect();
    let actions = action_records(&body.actions);
    let timers = timer_records(&body.cpu_timers);
    let head = Head {
        magic: MAGIC,
        version: VERSION,
        flags: if body.stopped { STOPPED } else { 0 } | u32::from(body.barriers) << BARRIERS,
        pid: body.pid,
        fpu_bytes: FpuState::size() as u32,
        thread_count: threads.len() as u32,
        filter_words: filters.words.len() as u32,
        action_count: actions.len() as u32,
        timer_count: timers.len() as u32,
        ring_count: rings.len() as u32,
        reserved: 0,
        leader_status: body.leader_status,
        policy: placement::word_of(body.policy),
        outline,
        clock_ns: body.clock_ns(now),
        wall_offset_ns: body.wall_offset_ns,
        user_ns: body.cpu.user_ns,
        system_ns: body.cpu.system_ns,
        limits: body.limits.map(|(soft, hard)| [soft, hard]),
        peak_pages: body.peak_pages,
        faults: body.faults,
        interval_timers: body
            .cpu_timers
            .interval
            .map(|setting| [setting.at_ns, setting.interval_ns]),
    };
    let thread_bytes = size_of::<ThreadRecord>() + FpuState::size();
    let length = size_of::<Head>()
        + threads.len() * thread_bytes
        + size_of_val(&filters.words[..])
        + size_of_val(&actions[..])
        + size_of_val(&timers[..])
        + size_of_val(rings)
        + memory.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(head.as_bytes());
    for (thread, seccomp) in threads.iter().zip(numbers) {
        bytes.extend_from_slice(ThreadRecord::of(thread, seccomp).as_bytes());
        bytes.extend_from_slice(thread.fpu.bytes());
    }
    bytes.extend_from_slice(filters.words.as_bytes());
    bytes.extend_from_slice(actions.as_bytes());
    bytes.extend_from_slice(timers.as_bytes());
    bytes.extend_from_slice(rings.as_bytes());
    bytes.extend_from_slice(memory);
    bytes
}

fn action_records(actions: &Actions) -> Vec<ActionRecord> {
    let numbered = (1..).zip(&actions.0);
    numbered
        .filter(|(_, action)| **action != SignalAction::default())
        .map(|(signal, action)| ActionRecord {
            signal,
            handler: action.handler,
            flags: action.flags,
            restorer: action.restorer,
            mask: action.mask,
        })
        .collect()
}

fn timer_records(timers: &CpuTimers) -> Vec<TimerRecord> {
    let timers = timers.timers.iter();
    timers
        .map(|(id, timer)| TimerRecord {
            id: *id,
            thread: timer.thread,
            at_ns: timer.setting.at_ns,
            interval_ns: timer.setting.interval_ns,
        })
        .collect()
}

/// The threads behind the head. The bytes of each are there before it is made.
fn threads(rest: &mut &[u8], head: &Head) -> Result<Vec<Thread>, &'static str> {
    let count = head.thread_count as usize;
    if count == 0 || count > THREADS_MAX {
        return Err("no threads, or too many");
    }
    if head.fpu_bytes as usize != FpuState::size() {
        return Err("extended state does not fit this processor");
    }
    let mut threads: Vec<Thread> = Vec::new();
    let mut states = Vec::new();
    for _ in 0..count {
        let record: ThreadRecord = take(rest).ok_or(SHORT)?;
        let (fpu, behind) = rest
            .split_at_checked(head.fpu_bytes as usize)
            .ok_or(SHORT)?;
        *rest = behind;
        let fpu = FpuState::from_bytes(fpu).ok_or("extended state does not fit this processor")?;
        let thread = record.to_thread(head.pid, fpu)?;
        if threads.last().is_some_and(|last| last.tid >= thread.tid) {
            return Err("threads out of order");
        }
        threads.push(thread);
        states.push(record.seccomp);
    }
    let words: Vec<u64> = take_many(rest, head.filter_words).ok_or(SHORT)?;
    let filters = seccomp::unpack(&words).ok_or("a filter that may not be")?;
    for (thread, state) in threads.iter_mut().zip(states) {
        thread.seccomp = seccomp::unpacked(state, &filters).ok_or("a filter that is not there")?;
    }
    Ok(threads)
}

/// What a descriptor says, but for the memory.
struct Parts<'a> {
    body: Box<Body>,
    threads: Vec<Thread>,
    rings: Rings,
    /// See [`Head::outline`].
    outline: u64,
    memory: &'a [u8],
}

fn decode_parts(bytes: &[u8], pid: u32, now: u64, elapsed: u64) -> Result<Parts<'_>, &'static str> {
    let mut rest = bytes;
    let head: Head = take(&mut rest).ok_or(SHORT)?;
    if head.magic != MAGIC || head.version != VERSION {
        return Err("descriptor of another version");
    }
    if head.pid != pid {
        return Err("descriptor of another process");
    }
    if head.flags & !(STOPPED | 0xff << BARRIERS) != 0 || head.reserved != 0 {
        return Err("reserved bits of the descriptor are set");
    }
    let threads = threads(&mut rest, &head)?;
    let mut body = body(&head, &threads, now, elapsed)?;
    let actions: Vec<ActionRecord> = take_many(&mut rest, head.action_count).ok_or(SHORT)?;
    set_actions(&mut body.actions, &actions)?;
    body.cpu_timers.timers = cpu_timers(&take_many(&mut rest, head.timer_count).ok_or(SHORT)?)?;
    body.watch_cpu();
    let rings: Vec<RingRecord> = take_many(&mut rest, head.ring_count).ok_or(SHORT)?;
    Ok(Parts {
        body,
        threads,
        rings: Rings::from_records(&rings)?,
        outline: head.outline,
        memory: rest,
    })
}

/// A process from a descriptor, arrived at node time `now` after it stood still for `elapsed` ns.
///
/// # Errors
/// What is wrong, in words. Nothing was made then.
pub(crate) fn decode(
    bytes: &[u8],
    pid: u32,
    now: u64,
    elapsed: u64,
    prepared: Option<Prepared>,
) -> Result<Frozen, &'static str> {
    let parts = decode_parts(bytes, pid, now, elapsed)?;
    let mut space = match prepared {
        _ if parts.outline == 0 => Space::from_outline(parts.memory)?,
        Some(Prepared { sum, mut space }) if sum == parts.outline => {
            space.apply_changes(parts.memory)?;
            space
        }
        Some(_) => return Err("changes to other memory than was outlined"),
        None => return Err("changes to memory that was not outlined"),
    };
    space.rings = parts.rings;
    Ok(Frozen {
        body: parts.body,
        threads: parts.threads,
        space,
    })
}

/// Memory that was made from the outline in a draft.
pub(crate) struct Prepared {
    sum: u64,
    space: Space,
}

impl Prepared {
    /// Makes it. All of the draft is looked at, so that what cannot be taken is refused before the
    /// process is frozen.
    ///
    /// # Errors
    /// What is wrong with the draft, in words.
    pub(crate) fn new(draft: &[u8], pid: u32, now: u64) -> Result<Prepared, &'static str> {
        let parts = decode_parts(draft, pid, now, 0)?;
        if parts.outline != 0 {
            return Err("a draft without an outline");
        }
        Ok(Prepared {
            sum: outline_sum(parts.memory),
            space: Space::from_outline(parts.memory)?,
        })
    }

    /// The memory, without a page.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }
}

/// What is done for signals.
fn set_actions(actions: &mut Actions, records: &[ActionRecord]) -> Result<(), &'static str> {
    for record in records {
        let index =
            usize::try_from(record.signal).map_or(usize::MAX, |signal| signal.wrapping_sub(1));
        let action = actions
            .0
            .get_mut(index)
            .ok_or("a signal that does not exist")?;
        *action = SignalAction {
            handler: record.handler,
            flags: record.flags,
            restorer: record.restorer,
            mask: record.mask,
        };
    }
    Ok(())
}

/// The timers by CPU time.
fn cpu_timers(records: &[TimerRecord]) -> Result<BTreeMap<u32, CpuTimer>, &'static str> {
    if records.len() > CPU_TIMERS_MAX {
        return Err("too many timers");
    }
    let timer = |record: &TimerRecord| {
        let setting = Setting {
            at_ns: record.at_ns,
            interval_ns: record.interval_ns,
        };
        let thread = record.thread;
        (record.id, CpuTimer { thread, setting })
    };
    Ok(records.iter().map(timer).collect())
}

fn body(
    head: &Head,
    threads: &[Thread],
    now: u64,
    elapsed: u64,
) -> Result<Box<Body>, &'static str> {
    let mut body = Box::new(Body::new(head.pid, Pid(head.pid).home()));
    body.threads = threads.iter().map(|thread| thread.tid).collect();
    body.effects = Effects::Gated;
    body.arriving = true;
    body.leader_status = head.leader_status;
    body.stopped = head.flags & STOPPED != 0;
    body.barriers = (head.flags >> BARRIERS) as u8;
    body.policy = placement::of_word(head.policy).ok_or("no such policy")?;
    body.limits = head.limits.map(|[soft, hard]| (soft, hard));
    if [head.user_ns, head.system_ns, head.faults]
        .iter()
        .any(|count| *count > COUNT_MAX)
    {
        return Err("a count out of range");
    }
    if head.clock_ns > NS_MAX || head.wall_offset_ns > NS_MAX || elapsed > NS_MAX {
        return Err("clock out of range");
    }
    let clock = head.clock_ns.saturating_add(elapsed);
    body.clock_offset_ns =
        i64::try_from(i128::from(clock) - i128::from(now)).map_err(|_| "clock out of range")?;
    body.wall_offset_ns = head.wall_offset_ns;
    body.cpu = CpuTime {
        user_ns: head.user_ns,
        system_ns: head.system_ns,
    };
    body.peak_pages = head.peak_pages;
    body.faults = head.faults;
    body.cpu_timers.interval = head
        .interval_timers
        .map(|[at_ns, interval_ns]| Setting { at_ns, interval_ns });
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u32 = 0x0001_0007;
    const DUE: Due = Due {
        info: SignalInfo {
            signal: 14,
            code: -1,
            words: [5, 6],
            rest: crate::signals::InfoRest {
                errno: 7,
                gap: 8,
                tail: [9, 10],
            },
        },
        forced: true,
    };

    /// A process of two threads.
    fn frozen() -> Frozen {
        let mut body = Body::new(PID, wire::NodeId(1));
        body.actions.0[9].handler = 0x40_2000;
        body.cpu_timers.interval[1] = Setting::after(0, 5, 6);
        let setting = Setting::after(1, 2, 3);
        let timer = CpuTimer {
            thread: PID,
            setting,
        };
        body.cpu_timers.timers.insert(0, timer);
        body.barriers = 0x50;
        let mut first = Thread::new(PID, PID);
        first.registers.rip = 0x40_1000;
        first.registers.rsp = 0x7fff_0000;
        first.registers.rflags = 0x246;
        first.next_seq = 9;
        first.restart.progress = 77;
        first.restart.begun = true;
        first.rewound_at = 0x40_1000;
        first.signals.saved_mask = Some(0);
        first.signals.due = Some(DUE);
        first.name[..3].copy_from_slice(b"abc");
        first.memory_policy = MemoryPolicy::from_told(2, 1).expect("bound to node 0");
        let mut second = first.child(PID + 1, PID);
        second.registers.rsp = 0x7000_0000;
        second.next_seq = 3;
        second.restart.granted = true;
        second.seccomp = crate::seccomp::Seccomp::Strict;
        body.threads.insert(PID + 1);
        Frozen {
            body: Box::new(body),
            threads: alloc::vec![first, second],
            space: Space::new().expect("frames"),
        }
    }

    #[test]
    fn a_process_survives_its_descriptor() {
        let was = frozen();
        let bytes = encode(&was, 1_000);
        let back = decode(&bytes, PID, 5_000_000, 10, None).expect("valid");
        assert_eq!(back.body.actions, was.body.actions);
        assert_eq!(back.body.threads, was.body.threads);
        assert_eq!(back.body.cpu_timers, was.body.cpu_timers);
        assert!(back.body.watches_cpu);
        assert_eq!((back.body.barriers, back.body.stopped), (0x50, false));
        assert_eq!(back.body.clock_ns(5_000_000), 1_010);
        for (back, was) in back.threads.iter().zip(&was.threads) {
            assert_eq!((back.tid, back.pid), (was.tid, PID));
            assert_eq!(back.registers, was.registers);
            assert_eq!(back.restart, was.restart);
            assert_eq!(back.signals, was.signals);
            assert_eq!(back.next_seq, was.next_seq);
            assert_eq!(back.short_name(), b"abc");
            assert_eq!(back.memory_policy.told(), (2, 1));
            assert_eq!(back.is_watched(), was.is_watched());
        }
    }

    #[test]
    fn every_truncation_and_the_wrong_process_are_refused() {
        let bytes = encode(&frozen(), 0);
        for length in (0..bytes.len()).step_by(61) {
            assert!(decode(&bytes[..length], PID, 0, 0, None).is_err());
        }
        assert!(decode(&bytes, PID + 1, 0, 0, None).is_err());
        let first = size_of::<Head>();
        let rip = first + 16 + 16 * 8;
        for (at, byte, reason) in [
            (rip + 7, 0xff, "a register points outside of user space"),
            (first + 5, 1, "reserved bits of a thread are set"),
            (24, 0, "no threads, or too many"),
        ] {
            let mut bad = bytes.clone();
            bad[at] = byte;
            assert_eq!(decode(&bad, PID, 0, 0, None).err(), Some(reason));
        }
        let mut twice = bytes.clone();
        let second = first + size_of::<ThreadRecord>() + FpuState::size();
        twice[second] = twice[first];
        let out_of_order = Some("threads out of order");
        assert_eq!(decode(&twice, PID, 0, 0, None).err(), out_of_order);
    }

    #[test]
    fn changes_are_made_to_the_memory_that_was_outlined_and_to_no_other() {
        let mut was = frozen();
        let threads: Vec<&Thread> = was.threads.iter().collect();
        let draft = draft(&was.body, &threads, &mut was.space, 0);
        let bytes = encode(&was, 0);
        let prepared = || Prepared::new(&draft, PID, 0).ok();
        assert!(decode(&bytes, PID, 0, 0, prepared()).is_ok());
        let none = Some("changes to memory that was not outlined");
        assert_eq!(decode(&bytes, PID, 0, 0, None).err(), none);
        let mut other = prepared().expect("our own");
        other.sum ^= 2;
        let other = decode(&bytes, PID, 0, 0, Some(other));
        assert_eq!(
            other.err(),
            Some("changes to other memory than was outlined")
        );
        for length in (bytes.len() - 64)..bytes.len() {
            assert!(decode(&bytes[..length], PID, 0, 0, prepared()).is_err());
        }
    }
}
