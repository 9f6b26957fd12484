//! ptrace(2): what a tracer asks for.
//!
//! Law: everything but the beginning concerns a tracee that is here, as the caller is. What is read of the caller's memory
//! is read before anything is changed; what is written there comes last, so that a call that waits can be run again.

use super::super::local::SET_BYTES;
use crate::body::Effects;
use crate::dispatch::{CALL_TRACE, LocalCall};
use crate::home::{Home, Life};
use crate::ptrace::layout::{self, BYTES, DEBUG_AT, DEBUG_STATUS, USER_BYTES};
use crate::ptrace::{Kind, OPTIONS, Resumed, Tracee};
use crate::signals::SignalInfo;
use crate::system::System;
use crate::thread::Thread;
use crate::wait::Stop;
use abi::{Errno, signal};
use alloc::vec::Vec;
use machine::FpuState;

/// How long a call waits for a move to be over before it looks again.
const PATIENCE_NS: u64 = 1_000_000;

const TRACEME: u64 = 0;
const PEEK_TEXT: u64 = 1;
const PEEK_DATA: u64 = 2;
const PEEK_USER: u64 = 3;
const POKE_TEXT: u64 = 4;
const POKE_DATA: u64 = 5;
const POKE_USER: u64 = 6;
const CONTINUE: u64 = 7;
const KILL: u64 = 8;
const SINGLE_STEP: u64 = 9;
const GET_REGISTERS: u64 = 12;
const SET_REGISTERS: u64 = 13;
const GET_FP_REGISTERS: u64 = 14;
const SET_FP_REGISTERS: u64 = 15;
const ATTACH: u64 = 16;
const DETACH: u64 = 17;
const SYSCALL: u64 = 24;
const SET_OPTIONS: u64 = 0x4200;
const GET_EVENT_MESSAGE: u64 = 0x4201;
const GET_SIGNAL_INFO: u64 = 0x4202;
const SET_SIGNAL_INFO: u64 = 0x4203;
const GET_REGISTER_SET: u64 = 0x4204;
const SET_REGISTER_SET: u64 = 0x4205;
const SEIZE: u64 = 0x4206;
const INTERRUPT: u64 = 0x4207;
const LISTEN: u64 = 0x4208;
const GET_SIGNAL_MASK: u64 = 0x420a;
const SET_SIGNAL_MASK: u64 = 0x420b;
const GET_SYSCALL_INFO: u64 = 0x420e;

/// Bytes of the FXSAVE area, which is `struct user_fpregs_struct`.
const FXSAVE: usize = 512;
/// Bytes of it that are software's, of which the first word says which components there are.
const SOFTWARE: core::ops::Range<usize> = 464..512;
/// Which components are in a state: x87 and SSE.
const LEGACY: u64 = 3;

/// Sets of registers by their notes in core files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    /// `NT_PRSTATUS`.
    General,
    /// `NT_PRFPREG`.
    Fxsave,
    /// `NT_X86_XSTATE`.
    Extended,
}

impl Set {
    fn of_note(note: u64) -> Option<Set> {
        match note {
            1 => Some(Set::General),
            2 => Some(Set::Fxsave),
            0x202 => Some(Set::Extended),
            _ => None,
        }
    }
}

/// ptrace(2).
pub fn ptrace(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [request, who, address, data, ..] = call.args;
    match request {
        TRACEME => return begin(call, 0, (false, 0)),
        ATTACH => return begin(call, who, (false, 0)),
        SEIZE if address != 0 || data & !OPTIONS != 0 => return Err(Errno::EIO.into()),
        SEIZE => return begin(call, who, (true, data)),
        _ => {}
    }
    let (tid, tracer) = (who as u32, call.tid);
    let tracee = call.system.tracing.of(tid, tracer).ok_or(Errno::ESRCH)?;
    if tracee.dead.is_some() || !call.system.threads.contains_key(&tid) {
        return Err(Errno::ESRCH.into());
    }
    match request {
        KILL => {
            let pid = call.system.thread(tid).pid;
            call.system.signal(pid, signal::SIGKILL);
            return Ok(0);
        }
        INTERRUPT if call.tracee(tid)?.seized => {
            call.system.interrupt(tid);
            return Ok(0);
        }
        INTERRUPT => return Err(Errno::EIO.into()),
        _ => {}
    }
    let tracee = call.tracee(tid)?;
    let halt = tracee.halt.filter(|_| !tracee.listens);
    let halt = halt.ok_or(Errno::ESRCH)?;
    match request {
        CONTINUE | SYSCALL | SINGLE_STEP | DETACH => resume(call, tid, (request, data)),
        LISTEN if tracee.seized && halt.may_listen() => {
            call.system.listen(tid);
            Ok(0)
        }
        LISTEN => Err(Errno::EIO.into()),
        PEEK_TEXT | PEEK_DATA => peek(call, tid, (address, data)),
        POKE_TEXT | POKE_DATA => poke(call, tid, (address, data)),
        PEEK_USER => {
            let word = user_word(call, tid, address)?;
            call.write(data, &word.to_le_bytes())?;
            Ok(0)
        }
        POKE_USER => set_user_word(call, tid, (address, data)),
        GET_REGISTERS => give(call, (tid, Set::General), data),
        GET_FP_REGISTERS => give(call, (tid, Set::Fxsave), data),
        SET_REGISTERS => {
            let bytes = call.read(data, BYTES)?;
            set(call, (tid, Set::General), &bytes)
        }
        SET_FP_REGISTERS => {
            let bytes = call.read(data, FXSAVE)?;
            set(call, (tid, Set::Fxsave), &bytes)
        }
        GET_REGISTER_SET | SET_REGISTER_SET => register_set(call, tid),
        SET_OPTIONS if data & !OPTIONS != 0 => Err(Errno::EINVAL.into()),
        SET_OPTIONS => {
            call.tracee(tid)?.options = data;
            Ok(0)
        }
        GET_EVENT_MESSAGE => {
            let message = tracee.message;
            call.write(data, &message.to_le_bytes())?;
            Ok(0)
        }
        GET_SIGNAL_INFO => {
            let info = halt.info.ok_or(Errno::EINVAL)?;
            call.write(data, &info.to_user())?;
            Ok(0)
        }
        SET_SIGNAL_INFO => set_signal_info(call, tid, data),
        GET_SIGNAL_MASK | SET_SIGNAL_MASK if address != SET_BYTES => Err(Errno::EINVAL.into()),
        GET_SIGNAL_MASK => {
            let signals = call.system.thread(tid).signals;
            let mask = signals.saved_mask.unwrap_or(signals.mask);
            call.write(data, &mask.to_le_bytes())?;
            Ok(0)
        }
        SET_SIGNAL_MASK => {
            let mask = call.read_u64(data)?;
            call.system.thread(tid).change_mask(mask);
            Ok(0)
        }
        GET_SYSCALL_INFO => syscall_info(call, (tid, halt.kind)),
        _ => Err(Errno::EIO.into()),
    }
}

impl LocalCall<'_> {
    /// What is known of a tracee of the caller.
    fn tracee(&mut self, tid: u32) -> Result<&mut Tracee, Errno> {
        let tracer = self.tid;
        self.system.tracing.of(tid, tracer).ok_or(Errno::ESRCH)
    }
}

impl System {
    /// Whether a process of this home is here with all its memory, and no move of it is under way.
    fn is_settled(&self, pid: u32) -> bool {
        let body = self.bodies.get(&pid);
        let whole = self
            .space_of(pid)
            .is_some_and(|space| space.next_absent(0).is_none());
        body.is_some_and(|body| body.home == self.me && body.effects == Effects::Open)
            && whole
            && !self.outgoing.contains_key(&pid)
            && !self.incoming.contains_key(&pid)
    }
}

/// A thread is traced from now on, or the caller by its parent (0). Who is away comes home for that.
fn begin(call: &mut LocalCall<'_>, who: u64, (seized, options): (bool, u64)) -> Result<u64, Stop> {
    let who = who as u32;
    if who == 0 && call.args[0] != TRACEME {
        return Err(Errno::ESRCH.into());
    }
    let tracer = call.ask_home(CALL_TRACE, [who.into(), 0, 0, 0, 0, 0])? as u32;
    let (tid, by) = match who {
        0 => (call.tid, call.system.maker_of(call.pid, tracer)),
        who => (who, call.tid),
    };
    let pid = call.system.process_at_home(tid);
    let settled = |pid: u32| call.system.is_settled(pid);
    if !(settled(pid) && settled(tracer)) {
        // Nothing has happened, and it looks again when the move may be over.
        let then = call.clock().saturating_add(PATIENCE_NS);
        call.system.set_alarm(call.tid, then);
        return Err(Stop::Wait);
    }
    let home = call.system.homes.get(&pid);
    let alive = home.is_some_and(Home::lives)
        && call
            .system
            .bodies
            .get(&pid)
            .is_some_and(|body| !body.ending);
    if !alive || !call.system.threads.contains_key(&tid) {
        return Err(Errno::ESRCH.into());
    }
    call.system.attach(tid, (tracer, by), (seized, options));
    if who != 0 && !seized {
        let stopped = call
            .system
            .homes
            .get(&pid)
            .is_some_and(|home| matches!(home.life, Life::Stopped { .. }));
        if !stopped {
            call.system
                .signal_thread(pid, tid, SignalInfo::kernel(signal::SIGSTOP));
        }
    }
    Ok(0)
}

fn resume(call: &mut LocalCall<'_>, tid: u32, (request, signal): (u64, u64)) -> Result<u64, Stop> {
    if signal > u64::from(signal::SIGNAL_MAX) {
        return Err(Errno::EIO.into());
    }
    let signal = signal as u32;
    match request {
        DETACH => call.system.detach(tid, signal),
        SYSCALL => call.system.resume_tracee(tid, Resumed::Calls, signal),
        SINGLE_STEP => call.system.resume_tracee(tid, Resumed::Steps, signal),
        _ => call.system.resume_tracee(tid, Resumed::Runs, signal),
    }
    Ok(0)
}

// ---- memory --------------------------------------------------------------------------------------

/// What is wrong with the memory of a tracee is EIO.
fn of_tracee(stop: Stop) -> Stop {
    match stop {
        Stop::Errno(Errno::EFAULT) => Errno::EIO.into(),
        stop => stop,
    }
}

fn peek(call: &mut LocalCall<'_>, tid: u32, (from, to): (u64, u64)) -> Result<u64, Stop> {
    let pid = call.system.thread(tid).pid;
    let mut word = [0; 8];
    let read = call.system.with_space(pid, |space, pages| {
        space.read_by_force(from, &mut word, pages)
    });
    read.map_err(|trouble| of_tracee(call.system.trouble(call.tid, trouble)))?;
    call.write(to, &word)?;
    Ok(0)
}

fn poke(call: &mut LocalCall<'_>, tid: u32, (to, word): (u64, u64)) -> Result<u64, Stop> {
    let pid = call.system.thread(tid).pid;
    let written = call.system.with_space(pid, |space, pages| {
        space.write_by_force(to, &word.to_le_bytes(), pages)
    });
    written.map_err(|trouble| of_tracee(call.system.trouble(call.tid, trouble)))?;
    Ok(0)
}

// ---- registers -----------------------------------------------------------------------------------

/// A word of `struct user`: registers, and debug registers, of which none is ever in use.
fn user_word(call: &mut LocalCall<'_>, tid: u32, at: u64) -> Result<u64, Stop> {
    const STATUS: u64 = DEBUG_AT + 6 * 8;
    if !at.is_multiple_of(8) || at >= USER_BYTES {
        return Err(Errno::EIO.into());
    }
    let number = call.tracee(tid)?.number;
    let words = layout::words(&call.system.thread(tid).registers, number);
    Ok(match words.get((at / 8) as usize) {
        Some(word) => *word,
        None if at == STATUS => DEBUG_STATUS,
        None => 0,
    })
}

fn set_user_word(call: &mut LocalCall<'_>, tid: u32, (at, value): (u64, u64)) -> Result<u64, Stop> {
    const CONTROL: u64 = DEBUG_AT + 7 * 8;
    if !at.is_multiple_of(8) || at >= USER_BYTES {
        return Err(Errno::EIO.into());
    }
    let number = call.tracee(tid)?.number;
    let mut words = layout::words(&call.system.thread(tid).registers, number);
    match words.get_mut((at / 8) as usize) {
        Some(word) => {
            *word = value;
            set_general(call, tid, &words)
        }
        // Breakpoints of the processor are not given to anybody: none can be switched on.
        None if at == CONTROL && value & 0xff != 0 => Err(Errno::EIO.into()),
        None if (DEBUG_AT..=CONTROL).contains(&at) => Ok(0),
        None => Err(Errno::EIO.into()),
    }
}

/// The general registers change. A call that the thread is in is given up if it is not in it any more then.
fn set_general(call: &mut LocalCall<'_>, tid: u32, words: &[u64; 27]) -> Result<u64, Stop> {
    let before = call.system.thread(tid).registers;
    let (registers, number) = layout::registers(words, &before)?;
    let tracee = call.tracee(tid)?;
    let same =
        tracee.number == number && before.rip == registers.rip && before.rax == registers.rax;
    tracee.number = number;
    tracee.changed = true;
    let thread: &mut Thread = call.system.thread(tid);
    thread.registers = registers;
    if !same && thread.call.is_some() {
        thread.finish_call(registers.rax as i64);
        thread.traced.restarts = false;
    }
    Ok(0)
}

/// Registers of a tracee as bytes.
fn bytes_of(call: &mut LocalCall<'_>, (tid, set): (u32, Set)) -> Result<Vec<u8>, Stop> {
    let number = call.tracee(tid)?.number;
    call.system.save_fpu();
    let thread = call.system.thread(tid);
    let mut bytes = match set {
        Set::General => return Ok(layout::bytes(&layout::words(&thread.registers, number)).into()),
        Set::Fxsave => thread.fpu.bytes()[..FXSAVE].to_vec(),
        Set::Extended => thread.fpu.bytes().to_vec(),
    };
    bytes[SOFTWARE].fill(0);
    if set == Set::Extended {
        let features = machine::cpu_features().xcr0.to_le_bytes();
        bytes[SOFTWARE.start..SOFTWARE.start + 8].copy_from_slice(&features);
    }
    Ok(bytes)
}

fn give(call: &mut LocalCall<'_>, what: (u32, Set), to: u64) -> Result<u64, Stop> {
    let bytes = bytes_of(call, what)?;
    call.write(to, &bytes)?;
    Ok(0)
}

/// Registers of a tracee from bytes; of the general ones it may be the first only.
fn set(call: &mut LocalCall<'_>, (tid, set): (u32, Set), bytes: &[u8]) -> Result<u64, Stop> {
    let mut held = bytes_of(call, (tid, set))?;
    if bytes.len() > held.len() || set == Set::Extended && bytes.len() != held.len() {
        return Err(Errno::EFAULT.into());
    }
    held[..bytes.len()].copy_from_slice(bytes);
    if set == Set::General {
        let mut words = [0; BYTES / 8];
        for (word, bytes) in words.iter_mut().zip(held.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        return set_general(call, tid, &words);
    }
    let thread = call.system.thread(tid);
    let mut state = thread.fpu.bytes().to_vec();
    state[..held.len()].copy_from_slice(&held);
    // The kernel's own note in the area is not part of the state.
    state[SOFTWARE].fill(0);
    if set == Set::Fxsave
        && let Some(components) = state.get_mut(FXSAVE)
    {
        *components |= LEGACY as u8;
    }
    *thread.fpu = FpuState::from_bytes(&state).ok_or(Errno::EINVAL)?;
    call.system.forget_fpu(tid);
    Ok(0)
}

/// `PTRACE_GETREGSET` and `PTRACE_SETREGSET`: by a `struct iovec`, whose length becomes what there was.
fn register_set(call: &mut LocalCall<'_>, tid: u32) -> Result<u64, Stop> {
    let [request, _, note, pieces, ..] = call.args;
    let kind = Set::of_note(note).ok_or(Errno::EINVAL)?;
    let base = call.read_u64(pieces)?;
    let length = call.read_u64(pieces.wrapping_add(8))?;
    if !length.is_multiple_of(8) {
        return Err(Errno::EINVAL.into());
    }
    let held = bytes_of(call, (tid, kind))?;
    let length = (held.len() as u64).min(length);
    call.make_writable(pieces.wrapping_add(8), 8)?;
    if request == GET_REGISTER_SET {
        call.write(base, &held[..length as usize])?;
    } else {
        let bytes = call.read(base, length as usize)?;
        set(call, (tid, kind), &bytes)?;
    }
    call.write(pieces.wrapping_add(8), &length.to_le_bytes())?;
    Ok(0)
}

// ---- signals and calls ---------------------------------------------------------------------------

/// `PTRACE_SETSIGINFO`: of the signal that it is about to get.
fn set_signal_info(call: &mut LocalCall<'_>, tid: u32, from: u64) -> Result<u64, Stop> {
    let bytes = call.read(from, 128)?;
    let kept = bytes.first_chunk().and_then(SignalInfo::from_bytes);
    let info = kept.ok_or(Errno::EINVAL)?;
    let tracee = call.tracee(tid)?;
    let halt = tracee.halt.as_mut().ok_or(Errno::ESRCH)?;
    let held = halt.info.as_mut().ok_or(Errno::EINVAL)?;
    *held = info;
    if halt.kind == Kind::Signal
        && let Some(due) = &mut call.system.thread(tid).signals.due
    {
        // A record of one's own brings no exception with it.
        (due.info, due.forced) = (info, false);
    }
    Ok(0)
}

/// `PTRACE_GET_SYSCALL_INFO`; the value is how many bytes there are to tell.
fn syscall_info(call: &mut LocalCall<'_>, (tid, kind): (u32, Kind)) -> Result<u64, Stop> {
    const ARCH: u32 = 0xc000_003e;
    let [_, _, room, to, ..] = call.args;
    let number = call.tracee(tid)?.number;
    let registers = call.system.thread(tid).registers;
    let operation: u8 = match kind {
        Kind::Entry => 1,
        Kind::Exit => 2,
        Kind::Signal | Kind::Event | Kind::Group => 0,
    };
    let mut bytes = alloc::vec![operation, 0, 0, 0];
    bytes.extend_from_slice(&ARCH.to_le_bytes());
    let mut put = |word: u64| bytes.extend_from_slice(&word.to_le_bytes());
    put(registers.rip);
    put(registers.rsp);
    match kind {
        Kind::Entry => {
            put(number);
            for argument in crate::express::arguments(&registers) {
                put(argument);
            }
        }
        Kind::Exit => {
            put(registers.rax);
            let failed = (-4095..0).contains(&(registers.rax as i64));
            bytes.push(u8::from(failed));
        }
        _ => {}
    }
    let told = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    call.write(to, &bytes[..told])?;
    Ok(bytes.len() as u64)
}
