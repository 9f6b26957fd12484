//! The process descriptor: everything of a body that is not page contents, as pages of bytes.
//!
//! Law: fixed layout, little endian, no pointers, reserved bytes zero. The same bytes go over the
//! wire and into a checkpoint. [`decode`] trusts nothing: it checks all of it, and only then makes a
//! body that is worth no more than a fresh one until home has confirmed it.
//!
//! ```text
//! page 0    Head: identity, registers, signal actions, limits, clocks
//! page 1    extended processor state (XSAVE, standard format), zero padded
//! page 2..  LayoutRecord, then area_count AreaRecords, then run_count RunRecords, zero padded
//! ```

use crate::body::{AltStack, Body, Due, Effects, Forward, Ids, LIMITS, Restart, Run, SignalAction};
use crate::memory::{AreaRecord, Invalid, LayoutRecord, RunRecord, Space};
use crate::signals::SignalInfo;
use alloc::boxed::Box;
use alloc::vec::Vec;
use machine::{FpuState, PAGE_SIZE, Registers, USER_END};
use wire::Pid;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: [u8; 8] = *b"DUNLINP1";
/// Changes with every change of the layout; only equal versions understand each other.
const VERSION: u32 = 2;
/// Bits of RFLAGS that a program may choose: arithmetic flags, TF, DF, AC, ID.
const RFLAGS_USER: u64 = 0x24_0dd5;
// Bits of `Head::flags`.
const STOPPED: u32 = 1;
/// The process is at a call that was wound back.
const REWOUND: u32 = 2;
const BEGUN: u32 = 4;
const SAVED_MASK: u32 = 8;
const FORCED: u32 = 16;
const FLAGS: u32 = STOPPED | REWOUND | BEGUN | SAVED_MASK | FORCED;

#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct Head {
    magic: [u8; 8],
    version: u32,
    flags: u32,
    pid: u32,
    fpu_bytes: u32,
    area_count: u32,
    run_count: u32,
    next_seq: u64,
    registers: [u64; 20],
    mask: u64,
    held_back: u64,
    alt_base: u64,
    alt_size: u64,
    alt_flags: u32,
    ids: [u32; 6],
    due_signal: u32,
    due_code: i32,
    reserved: u32,
    due_words: [u64; 2],
    saved_mask: u64,
    progress: u64,
    deadline_ns: u64,
    clock_ns: u64,
    wall_offset_ns: u64,
    cpu_ns: u64,
    clear_tid: u64,
    robust_head: u64,
    robust_length: u64,
    name: [u8; 16],
    limits: [[u64; 2]; LIMITS],
    actions: [[u64; 4]; 64],
    reserved_end: [u8; 1416],
}

const _: () = assert!(size_of::<Head>() == PAGE_SIZE);

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

/// No clock shows more, ns: some 73 years in a node's own time beyond 1970's.
const NS_MAX: u64 = i64::MAX as u64 / 2;
/// No process makes so many calls.
const COUNT_MAX: u64 = u64::MAX / 2;

fn flags(body: &Body) -> u32 {
    let forced = body.signals.due.is_some_and(|due| due.forced);
    let at = body.rewound_at;
    [
        (body.run == Run::Stopped, STOPPED),
        (at != 0 && at == body.registers.rip, REWOUND),
        (body.restart.begun, BEGUN),
        (body.signals.saved_mask.is_some(), SAVED_MASK),
        (forced, FORCED),
    ]
    .into_iter()
    .map(|(set, flag)| if set { flag } else { 0 })
    .sum()
}

/// The descriptor of a frozen body. Empty if its memory cannot be described, which the caller has
/// ruled out by asking for obstacles.
pub(crate) fn encode(body: &Body, now: u64) -> Vec<u8> {
    let Some(Ok(records)) = body.space.as_ref().map(Space::export) else {
        return Vec::new();
    };
    let fpu = body.fpu.bytes();
    let due = body.signals.due.map(|due| due.info).unwrap_or_default();
    let head = Head {
        magic: MAGIC,
        version: VERSION,
        flags: flags(body),
        pid: body.pid,
        fpu_bytes: fpu.len() as u32,
        area_count: records.areas.len() as u32,
        run_count: records.runs.len() as u32,
        next_seq: body.next_seq,
        registers: registers_to_words(&body.registers),
        mask: body.signals.mask,
        held_back: body.held_back,
        alt_base: body.signals.alt_stack.base,
        alt_size: body.signals.alt_stack.size,
        alt_flags: body.signals.alt_stack.flags,
        ids: [
            body.ids.uid,
            body.ids.euid,
            body.ids.suid,
            body.ids.gid,
            body.ids.egid,
            body.ids.sgid,
        ],
        due_signal: due.signal,
        due_code: due.code,
        reserved: 0,
        due_words: due.words,
        saved_mask: body.signals.saved_mask.unwrap_or(0),
        progress: body.restart.progress,
        deadline_ns: body.restart.deadline_ns,
        clock_ns: body.clock_ns(now),
        wall_offset_ns: body.wall_offset_ns,
        cpu_ns: body.cpu_ns,
        clear_tid: body.clear_tid,
        robust_head: body.robust_list.0,
        robust_length: body.robust_list.1,
        name: body.name,
        limits: body.limits.map(|(soft, hard)| [soft, hard]),
        actions: body
            .signals
            .actions
            .map(|a| [a.handler, a.flags, a.restorer, a.mask]),
        reserved_end: [0; 1416],
    };
    // Room for all but the most scattered memory: what grows is copied.
    let mut bytes = Vec::with_capacity(4 * PAGE_SIZE);
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(fpu);
    bytes.resize(2 * PAGE_SIZE, 0);
    bytes.extend_from_slice(records.layout.as_bytes());
    bytes.extend_from_slice(records.areas.as_bytes());
    bytes.extend_from_slice(records.runs.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(PAGE_SIZE), 0);
    bytes
}

/// Whether all bytes are zero, a word at a time.
fn all_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder().iter().all(|byte| *byte == 0);
    rest && words.fold(0, |all, word| {
        all | word.try_into().map_or(u64::MAX, u64::from_le_bytes)
    }) == 0
}

/// Takes a record off the front.
fn take<'a, T: FromBytes + KnownLayout + Immutable + 'a>(bytes: &mut &'a [u8]) -> Option<T> {
    let (value, rest) = T::read_from_prefix(bytes).ok()?;
    *bytes = rest;
    Some(value)
}

/// Takes `count` records off the front. The bytes are there before anything is allocated.
fn take_many<T: FromBytes + KnownLayout + Immutable + Clone>(
    bytes: &mut &[u8],
    count: u32,
) -> Option<Vec<T>> {
    let length = (count as usize).checked_mul(size_of::<T>())?;
    let (mine, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    mine.chunks_exact(size_of::<T>())
        .map(|chunk| T::read_from_bytes(chunk).ok())
        .collect()
}

/// A body from a descriptor, arrived at node time `now` after it stood still for `elapsed` ns.
///
/// # Errors
/// What is wrong, in words. Nothing was made then.
pub(crate) fn decode(
    bytes: &[u8],
    pid: u32,
    now: u64,
    elapsed: u64,
) -> Result<Box<Body>, &'static str> {
    let mut rest = bytes;
    let head: Head = take(&mut rest).ok_or("descriptor is too short")?;
    if head.magic != MAGIC || head.version != VERSION {
        return Err("descriptor of another version");
    }
    if head.pid != pid {
        return Err("descriptor of another process");
    }
    let reserved_zero = head.reserved == 0 && all_zero(&head.reserved_end);
    if !reserved_zero || head.flags & !FLAGS != 0 {
        return Err("reserved bits of the descriptor are set");
    }
    if head.due_signal > abi::signal::SIGNAL_MAX {
        return Err("a signal that does not exist");
    }
    let registers = words_to_registers(&head.registers);
    let in_user = [
        registers.rip,
        registers.rsp,
        registers.fs_base,
        registers.gs_base,
    ];
    if in_user.iter().any(|address| *address > USER_END) {
        return Err("a register points outside of user space");
    }
    let (fpu, memory) = rest
        .split_at_checked(PAGE_SIZE)
        .ok_or("descriptor is too short")?;
    let fpu = fpu
        .get(..head.fpu_bytes as usize)
        .ok_or("extended state is too long")?;
    let fpu = FpuState::from_bytes(fpu).ok_or("extended state does not fit this processor")?;
    let mut memory = memory;
    let layout: LayoutRecord = take(&mut memory).ok_or("descriptor is too short")?;
    let areas: Vec<AreaRecord> =
        take_many(&mut memory, head.area_count).ok_or("descriptor is too short")?;
    let runs: Vec<RunRecord> =
        take_many(&mut memory, head.run_count).ok_or("descriptor is too short")?;
    if memory.len() >= PAGE_SIZE || !all_zero(memory) {
        return Err("bytes behind the descriptor");
    }
    let space = Space::import(&areas, &runs, &layout).map_err(Invalid::reason)?;

    let mut body = Body::new(pid, Pid(pid).home());
    body.effects = Effects::Gated;
    body.forward = Forward::Idle;
    body.arriving = true;
    body.next_seq = head.next_seq;
    body.space = Some(space);
    body.registers = registers;
    body.fpu = Box::new(fpu);
    body.signals.set_mask(head.mask);
    body.held_back = head.held_back;
    body.signals.alt_stack = AltStack {
        base: head.alt_base,
        size: head.alt_size,
        flags: head.alt_flags,
    };
    body.signals.actions = head
        .actions
        .map(|[handler, flags, restorer, mask]| SignalAction {
            handler,
            flags,
            restorer,
            mask,
        });
    let [uid, euid, suid, gid, egid, sgid] = head.ids;
    body.ids = Ids {
        uid,
        euid,
        suid,
        gid,
        egid,
        sgid,
    };
    body.signals.saved_mask = (head.flags & SAVED_MASK != 0).then_some(head.saved_mask);
    body.signals.due = (head.due_signal != 0).then_some(Due {
        info: SignalInfo {
            signal: head.due_signal,
            code: head.due_code,
            words: head.due_words,
        },
        forced: head.flags & FORCED != 0,
    });
    body.limits = head.limits.map(|[soft, hard]| (soft, hard));
    body.restart = Restart {
        progress: head.progress,
        deadline_ns: head.deadline_ns,
        begun: head.flags & BEGUN != 0,
    };
    if head.flags & REWOUND != 0 {
        body.rewound_at = registers.rip;
    }
    let sane = [head.clock_ns, head.cpu_ns, head.wall_offset_ns, elapsed];
    if sane.iter().any(|ns| *ns > NS_MAX) || head.next_seq > COUNT_MAX {
        return Err("clock out of range");
    }
    let clock = head.clock_ns.saturating_add(elapsed);
    body.clock_offset_ns =
        i64::try_from(i128::from(clock) - i128::from(now)).map_err(|_| "clock out of range")?;
    body.wall_offset_ns = head.wall_offset_ns;
    body.cpu_ns = head.cpu_ns;
    body.clear_tid = head.clear_tid;
    body.robust_list = (head.robust_head, head.robust_length);
    body.name = head.name;
    body.run = if head.flags & STOPPED != 0 {
        Run::Stopped
    } else {
        Run::Blocked
    };
    Ok(Box::new(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUE: Due = Due {
        info: SignalInfo {
            signal: 14,
            code: -1,
            words: [5, 6],
        },
        forced: true,
    };

    fn body() -> Body {
        let mut body = Body::new(0x0001_0007, wire::NodeId(1));
        body.space = Some(Space::new().expect("frames"));
        body.registers.rip = 0x40_1000;
        body.registers.rsp = 0x7fff_0000;
        body.registers.rflags = 0x246;
        body.next_seq = 9;
        body.signals.actions[9].handler = 0x40_2000;
        body.restart.progress = 77;
        body.restart.begun = true;
        body.rewound_at = 0x40_1000;
        body.signals.saved_mask = Some(0);
        body.signals.due = Some(DUE);
        body.name[..3].copy_from_slice(b"abc");
        body
    }

    #[test]
    fn a_body_survives_its_descriptor() {
        let bytes = encode(&body(), 1_000);
        assert_eq!(bytes.len() % PAGE_SIZE, 0);
        let back = decode(&bytes, 0x0001_0007, 5_000_000, 10).expect("valid");
        assert_eq!(back.registers, body().registers);
        assert_eq!(back.signals.actions[9].handler, 0x40_2000);
        assert_eq!((back.next_seq, back.restart.progress), (9, 77));
        assert_eq!(back.restart, body().restart);
        assert_eq!(back.signals.saved_mask, Some(0));
        assert_eq!(back.signals.due, Some(DUE));
        assert_eq!(back.clock_ns(5_000_000), 1_010);
        assert_eq!(back.short_name(), b"abc");
    }

    #[test]
    fn every_truncation_and_the_wrong_process_are_refused() {
        let bytes = encode(&body(), 0);
        for length in (0..bytes.len()).step_by(61) {
            assert!(
                decode(&bytes[..length], 0x0001_0007, 0, 0).is_err() || length > 2 * PAGE_SIZE + 64
            );
        }
        assert!(decode(&bytes, 0x0001_0008, 0, 0).is_err());
        let mut kernel = bytes.clone();
        kernel[40 + 16 * 8 + 7] = 0xff;
        assert_eq!(
            decode(&kernel, 0x0001_0007, 0, 0).err(),
            Some("a register points outside of user space")
        );
    }
}
