//! Signal handlers: the frame on the user stack that a handler runs on and returns from.
//!
//! Law: the frame is Linux' `struct rt_sigframe` for x86-64, byte for byte, with the XSAVE area and
//! its magic numbers (`arch/x86/include/uapi/asm/sigcontext.h`), because programs look into it. What
//! comes back from it is user input and checked like any.

use crate::body::{HANDLER_DEFAULT, SignalAction};
use crate::calls::split::{IO_SUBMIT, submitted};
use crate::dispatch::{LocalCall, SYSCALL_BYTES};
use crate::signals::{PAGE_FAULT, SignalInfo, Trap};
use crate::system::System;
use crate::thread::{AltStack, Due, Restart, SS_AUTODISARM, SS_DISABLE, Thread};
use crate::wait::Stop;
use abi::{Errno, signal};
use alloc::vec::Vec;
use machine::{FpuState, Registers, USER_END};

const SA_ONSTACK: u64 = 0x0800_0000;
const SA_RESTART: u64 = 0x1000_0000;
const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESETHAND: u64 = 0x8000_0000;
const SA_RESTORER: u64 = 0x0400_0000;
const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Where the software-reserved bytes of the FXSAVE area are.
const SW_RESERVED: usize = 464;
const RED_ZONE: u64 = 128;
/// Return address, ucontext (with its 8-byte mask), siginfo.
const FRAME: usize = 8 + UCONTEXT + 128;
const UCONTEXT: usize = 40 + 256 + 8;
const USER_CS: u64 = 0x33;
const USER_SS: u64 = 0x2b;
/// Bits of RFLAGS a handler may bring back: CF PF AF ZF SF TF DF OF AC (`FIX_EFLAGS`).
const RFLAGS_RESTORED: u64 = 0x4_0dd5;
const SELECT: u64 = 23;
const NANOSLEEP: u64 = 35;
const MOVE_PAGES: u64 = 279;
const FUTEX: u64 = 202;
const CLOCK_NANOSLEEP: u64 = 230;
const PSELECT6: u64 = 270;
const PPOLL: u64 = 271;
const TIMER_ABSTIME: u64 = 1;
const NS_PER_S: u64 = 1_000_000_000;

/// Bytes of a frame with the whole processor state (`AT_MINSIGSTKSZ`).
pub(crate) fn frame_bytes() -> usize {
    FRAME + FpuState::size() + 4 + 64 + RED_ZONE as usize
}

/// Calls that a handler with SA_RESTART lets go on; others end with EINTR (signal(7)).
fn restartable(number: u64, state: &Restart) -> bool {
    // A wait with a time limit, of a futex or a socket, goes on after a stop only.
    let socket = matches!(number, 0 | 1 | 19 | 20 | 42..=47 | 288 | 299 | 307);
    if (number == FUTEX || socket) && state.deadline_ns != 0 {
        return false;
    }
    // read write open ioctl pread64 pwrite64 readv writev sendfile wait4 fcntl flock futex waitid
    // openat creat splice tee preadv pwritev preadv2 pwritev2 copy_file_range getrandom
    matches!(
        number,
        0 | 1
            | 2
            | 16..=20
            | 40
            | 42..=47
            | 61
            | 72
            | 73
            | 85
            | 202
            | 247
            | 257
            | 275
            | 288
            | 299
            | 307
            | 276
            | 295
            | 296
            | 318
            | 326..=328
    )
}

/// Whether it waits for a futex that has an owner: that goes on whatever comes in between.
fn is_lock(number: u64, registers: &Registers) -> bool {
    const LOCK_PI: u64 = 6;
    const LOCK_PI2: u64 = 13;
    let locks = matches!(registers.rsi & 0x7f, LOCK_PI | LOCK_PI2);
    number == FUTEX && locks || is_requeued(number, registers)
}

/// Whether it waits to be given a futex that has an owner by way of another one. What it notes is no result.
fn is_requeued(number: u64, registers: &Registers) -> bool {
    const WAIT_REQUEUE_PI: u64 = 11;
    number == FUTEX && registers.rsi & 0x7f == WAIT_REQUEUE_PI
}

/// How a call ends that a handler comes in between of.
struct Interrupted {
    registers: Registers,
    /// What is left of a wait with a time limit, if that is to be told.
    rest: Option<Rest>,
}

/// The time that is left of a wait.
struct Rest {
    /// Where it is to be written, and as what: `struct timespec` or `struct timeval`.
    at: u64,
    unit_ns: u64,
    left_ns: u64,
    /// Whether the call fails if it cannot be written.
    must: bool,
}

/// The registers behind, or again before, the call that the body is in.
///
/// A call that has not begun to wait comes after the handler (it was not tried, as home was not to be asked
/// yet). One that has ends, with what it has done or with EINTR, or begins anew after the handler; the same holds when a move has wound the
/// registers back to before it.
fn interrupted(thread: &Thread, clock: u64, used: u64, restart: bool) -> Interrupted {
    let mut registers = thread.registers;
    let (number, at) = match thread.call {
        Some(call) => (
            u64::from(call.number),
            registers.rip.wrapping_sub(SYSCALL_BYTES),
        ),
        None if thread.rewound_at != 0 && thread.rewound_at == registers.rip => {
            (registers.rax, registers.rip)
        }
        None => {
            return Interrupted {
                registers,
                rest: None,
            };
        }
    };
    let state = thread.restart;
    let mut rest = None;
    let done = match number {
        IO_SUBMIT => submitted(state.progress),
        // What they note is how far they are, which is no result: they begin anew.
        MOVE_PAGES => 0,
        number if is_requeued(number, &registers) => 0,
        _ => state.progress,
    };
    if done > 0 {
        registers.rip = at.wrapping_add(SYSCALL_BYTES);
        registers.rax = done;
    } else if state.granted {
        registers.rip = at.wrapping_add(SYSCALL_BYTES);
        registers.rax = 0;
    } else if !state.begun
        || is_lock(number, &registers)
        || (restart && restartable(number, &state))
    {
        registers.rip = at;
        registers.rax = number;
    } else {
        registers.rip = at.wrapping_add(SYSCALL_BYTES);
        registers.rax = -i64::from(Errno::EINTR.0) as u64;
        let (at, unit_ns, must) = match number {
            NANOSLEEP => (registers.rsi, 1, true),
            CLOCK_NANOSLEEP if registers.rsi & TIMER_ABSTIME == 0 => (registers.r10, 1, true),
            SELECT => (registers.r8, 1000, false),
            PSELECT6 => (registers.r8, 1, false),
            PPOLL => (registers.rdx, 1, false),
            _ => (0, 1, false),
        };
        let by_use = number == CLOCK_NANOSLEEP && {
            let clock = registers.rdi as i32;
            clock == 2 || clock < 0
        };
        let now = if by_use { used } else { clock };
        let left_ns = state.deadline_ns.saturating_sub(now);
        rest = (at != 0).then_some(Rest {
            at,
            unit_ns,
            left_ns,
            must,
        });
    }
    Interrupted { registers, rest }
}

impl System {
    /// Lets a handler run.
    ///
    /// # Errors
    /// `Wait`, without an effect, for memory that is on its way; EFAULT if the stack does not take the frame.
    pub(crate) fn deliver(
        &mut self,
        tid: u32,
        mut info: SignalInfo,
        action: SignalAction,
    ) -> Result<(), Stop> {
        self.save_fpu();
        let (now, pid) = (self.now, self.thread(tid).pid);
        let body = self.body(pid);
        let (clock, used) = (body.clock_ns(now), body.cpu.total_ns());
        let thread = self.thread(tid);
        let Interrupted {
            mut registers,
            rest,
        } = interrupted(thread, clock, used, action.flags & SA_RESTART != 0);
        if let Some(rest) = rest {
            let left = rest.left_ns;
            let pair = [left / NS_PER_S, left % NS_PER_S / rest.unit_ns];
            let bytes: Vec<u8> = pair.iter().flat_map(|word| word.to_le_bytes()).collect();
            match self.put(tid, rest.at, &bytes) {
                Err(Stop::Wait) => return Err(Stop::Wait),
                // A bad address is what a sleep has ended with; the handler runs all the same.
                Err(Stop::Errno(error)) if rest.must => {
                    registers.rax = -i64::from(error.0) as u64;
                }
                Err(Stop::Errno(_)) | Ok(()) => {}
            }
        }
        let thread = self.thread(tid);
        let stack = thread.signals.alt_stack;
        let on_alternate = stack.holds(registers.rsp);
        let switches =
            action.flags & SA_ONSTACK != 0 && stack.flags & SS_DISABLE == 0 && !on_alternate;
        let top = if switches {
            stack.base.wrapping_add(stack.size)
        } else {
            registers.rsp.wrapping_sub(RED_ZONE)
        };
        let area = xsave_area(thread.fpu.bytes());
        let fpu_at = top.wrapping_sub(area.len() as u64) & !63;
        // The handler is entered as by a call: 16-byte aligned before the return address.
        let frame_at = (fpu_at.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);
        let mask = thread.signals.mask;
        let mask_after = thread.signals.saved_mask.unwrap_or(mask);
        // Of a record that somebody else has made the gap is his.
        let trap = match thread.signals.due {
            Some(Due { forced: true, .. }) => Trap::take_from(&mut info),
            _ => Trap::default(),
        };
        let frame = frame(
            &registers,
            action.restorer,
            mask_after,
            fpu_at,
            (info, trap),
            stack,
        );
        if action.flags & SA_RESTORER == 0 {
            return Err(Errno::EFAULT.into());
        }
        self.put(tid, fpu_at, &area)?;
        self.put(tid, frame_at, &frame)?;
        self.forget_fpu(tid);
        self.futexes.forget_thread(tid);
        let thread = self.thread(tid);
        if stack.flags & SS_AUTODISARM != 0 {
            thread.signals.alt_stack = AltStack::default();
        }
        thread.registers = Registers {
            rip: action.handler,
            rsp: frame_at,
            rdi: u64::from(info.signal),
            rsi: frame_at + 8 + UCONTEXT as u64,
            rdx: frame_at + 8,
            rax: 0,
            rflags: registers.rflags & !0x1_0500,
            ..registers
        };
        *thread.fpu = FpuState::initial();
        thread.call = None;
        thread.restart = Restart::default();
        thread.rewound_at = 0;
        thread.alarm_ns = 0;
        thread.opened.clear();
        thread.loaded = None;
        let own = if action.flags & SA_NODEFER != 0 {
            0
        } else {
            signal::bit(info.signal)
        };
        thread.signals.due = None;
        thread.signals.saved_mask = None;
        thread.signals.set_mask(mask | action.mask | own);
        if action.flags & SA_RESETHAND != 0 {
            let mut reset = action;
            reset.handler = HANDLER_DEFAULT;
            self.set_action(pid, info.signal as usize - 1, reset);
        }
        Ok(())
    }

    fn put(&mut self, tid: u32, address: u64, bytes: &[u8]) -> Result<(), Stop> {
        let pid = self.thread(tid).pid;
        self.with_space(pid, |space, pages| space.write(address, bytes, pages))
            .map_err(|trouble| self.trouble(tid, trouble))
    }
}

/// The extended state with what tells a reader where it ends.
fn xsave_area(fpu: &[u8]) -> Vec<u8> {
    let mut area = fpu.to_vec();
    let size = area.len() as u32;
    let features = machine::cpu_features().xcr0;
    let mut software = Vec::with_capacity(24);
    software.extend_from_slice(&FP_XSTATE_MAGIC1.to_le_bytes());
    software.extend_from_slice(&(size + 4).to_le_bytes());
    software.extend_from_slice(&features.to_le_bytes());
    software.extend_from_slice(&size.to_le_bytes());
    area[SW_RESERVED..SW_RESERVED + software.len()].copy_from_slice(&software);
    area.extend_from_slice(&FP_XSTATE_MAGIC2.to_le_bytes());
    area
}

fn frame(
    r: &Registers,
    restorer: u64,
    mask: u64,
    fpu_at: u64,
    (info, trap): (SignalInfo, Trap),
    stack: AltStack,
) -> Vec<u8> {
    let mut words: Vec<u64> = alloc::vec![
        restorer,
        UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
        0,
        stack.base,
        u64::from(stack.flags),
        stack.size,
    ];
    words.extend([
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx,
    ]);
    words.extend([
        r.rax,
        r.rcx,
        r.rsp,
        r.rip,
        r.rflags,
        USER_CS | (USER_SS << 48),
        u64::from(trap.error),
        u64::from(trap.vector),
        mask,
        // CR2.
        if trap.vector == PAGE_FAULT {
            info.words[0]
        } else {
            0
        },
        fpu_at,
    ]);
    words.extend([0; 8]);
    words.push(mask);
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend_from_slice(&info.to_user());
    bytes
}

/// rt_sigreturn(2): back to where the signal came in between. A frame that cannot be is a SIGSEGV.
pub(crate) fn leave(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    match restore(call) {
        Err(Stop::Errno(_)) => {
            let thread = call.thread();
            thread.signals.due = Some(Due {
                info: SignalInfo::kernel(signal::SIGSEGV),
                forced: true,
            });
            thread.call = None;
            thread.restart = Restart::default();
            Ok(0)
        }
        other => other,
    }
}

fn restore(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    // The restorer was entered by `ret`, which took the return address off.
    let at = call.thread().registers.rsp;
    let bytes = call.read(at, UCONTEXT)?;
    let word =
        |index: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[index * 8 + byte]));
    // ucontext: flags, link, stack (3 words), sigcontext (32 words), mask.
    let context = |index: usize| word(5 + index);
    let registers = Registers {
        r8: context(0),
        r9: context(1),
        r10: context(2),
        r11: context(3),
        r12: context(4),
        r13: context(5),
        r14: context(6),
        r15: context(7),
        rdi: context(8),
        rsi: context(9),
        rbp: context(10),
        rbx: context(11),
        rdx: context(12),
        rax: context(13),
        rcx: context(14),
        rsp: context(15),
        rip: context(16),
        rflags: (context(17) & RFLAGS_RESTORED) | 0x202,
        fs_base: call.thread().registers.fs_base,
        gs_base: call.thread().registers.gs_base,
    };
    let fpu_at = context(23);
    let (stack_base, stack_flags, stack_size) = (word(2), word(3) as u32, word(4));
    let mask = word(37);
    let fpu = match fpu_at {
        0 => Some(FpuState::initial()),
        _ => fpu_state(call, fpu_at)?,
    };
    let tid = call.tid;
    call.system.forget_fpu(tid);
    let thread = call.thread();
    thread.registers = registers;
    if stack_flags & !(SS_DISABLE | SS_AUTODISARM) == 0 {
        thread.signals.alt_stack = AltStack {
            base: stack_base,
            size: stack_size,
            flags: stack_flags,
        };
    }
    thread.change_mask(mask);
    *thread.fpu = fpu.ok_or(Errno::EFAULT)?;
    if registers.rip >= USER_END || registers.rsp > USER_END {
        return Err(Errno::EFAULT.into());
    }
    thread.call = None;
    thread.restart = Restart::default();
    Ok(0)
}

/// The processor state in a frame; `None` if it cannot be read or is none.
fn fpu_state(call: &mut LocalCall<'_>, at: u64) -> Result<Option<FpuState>, Stop> {
    let mut bytes = match call.read(at, FpuState::size()) {
        Err(Stop::Errno(_)) => return Ok(None),
        other => other?,
    };
    // The kernel's own note in the area is not part of the state.
    bytes[SW_RESERVED..512].fill(0);
    Ok(FpuState::from_bytes(&bytes))
}
