//! Signal handlers: the frame on the user stack that a handler runs on and returns from.
//!
//! Law: the frame is Linux' `struct rt_sigframe` for x86-64, byte for byte, with the XSAVE area and
//! its magic numbers (`arch/x86/include/uapi/asm/sigcontext.h`), because programs look into it. What
//! comes back from it is user input and checked like any.

use crate::body::{HANDLER_DEFAULT, Restart, SS_DISABLE, SignalAction};
use crate::dispatch::LocalCall;
use crate::system::System;
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
const SI_USER: i32 = 0;
const SEGV_MAPERR: i32 = 1;

/// Bytes of a frame with the whole processor state (`AT_MINSIGSTKSZ`).
pub(crate) fn frame_bytes() -> usize {
    FRAME + FpuState::size() + 4 + 64 + RED_ZONE as usize
}

/// Calls that a handler with SA_RESTART lets go on; others end with EINTR (signal(7)).
fn restartable(number: u32) -> bool {
    // read write readv writev wait4 ioctl futex open openat
    matches!(number, 0 | 1 | 2 | 16 | 19 | 20 | 61 | 202 | 257)
}

impl System {
    /// Runs a handler for a signal that came from outside.
    pub(crate) fn deliver(&mut self, pid: u32, signal: u32) {
        let action = self.body(pid).signals.action(signal);
        self.interrupt_call(pid, action.flags & SA_RESTART != 0);
        self.enter(pid, signal, action, SI_USER, 0);
    }

    /// Runs a handler for what the process has just done itself.
    pub(crate) fn deliver_fault(&mut self, pid: u32, signal: u32, address: u64) {
        let action = self.body(pid).signals.action(signal);
        self.enter(pid, signal, action, SEGV_MAPERR, address);
    }

    /// Ends or winds back the call that the signal interrupts.
    fn interrupt_call(&mut self, pid: u32, restart: bool) {
        let body = self.body(pid);
        body.unwind_call();
        let Some(call) = body.call else { return };
        let progress = body.restart.progress;
        if progress > 0 {
            body.finish_call(progress as i64);
        } else if restart && restartable(call.number) {
            body.rewind_call();
            body.restart = Restart::default();
        } else {
            body.finish_call(-i64::from(Errno::EINTR.0));
        }
        body.opened.clear();
        body.loaded = None;
    }

    fn enter(&mut self, pid: u32, signal: u32, action: SignalAction, code: i32, address: u64) {
        self.save_fpu();
        let body = self.body(pid);
        let registers = body.registers;
        let stack = body.signals.alt_stack;
        let on_alternate =
            stack.flags & SS_DISABLE == 0 && registers.rsp.wrapping_sub(stack.base) < stack.size;
        let switches =
            action.flags & SA_ONSTACK != 0 && stack.flags & SS_DISABLE == 0 && !on_alternate;
        let top = if switches {
            stack.base.wrapping_add(stack.size)
        } else {
            registers.rsp.wrapping_sub(RED_ZONE)
        };
        let fpu = body.fpu.bytes().to_vec();
        let fpu_at = top.wrapping_sub(fpu.len() as u64 + 4) & !63;
        // The handler is entered as by a call: 16-byte aligned before the return address.
        let frame_at = (fpu_at.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);
        let mask = body.signals.mask;
        let frame = frame(
            &registers,
            action.restorer,
            mask,
            fpu_at,
            (signal, code, address),
            stack,
        );
        let area = xsave_area(&fpu);
        let fits = action.flags & SA_RESTORER != 0
            && self
                .with_space(pid, |space, pages| space.write(fpu_at, &area, pages))
                .is_ok()
            && self
                .with_space(pid, |space, pages| space.write(frame_at, &frame, pages))
                .is_ok();
        if !fits {
            // As Linux: a stack that cannot take the frame is a SIGSEGV that cannot be caught.
            let body = self.body(pid);
            body.signals.actions[signal::SIGSEGV as usize - 1].handler = HANDLER_DEFAULT;
            self.die(pid, signal::SIGSEGV);
            return;
        }
        let body = self.body(pid);
        body.registers = Registers {
            rip: action.handler,
            rsp: frame_at,
            rdi: u64::from(signal),
            rsi: frame_at + 8 + UCONTEXT as u64,
            rdx: frame_at + 8,
            rax: 0,
            rflags: registers.rflags & !0x1_0500,
            ..registers
        };
        *body.fpu = FpuState::initial();
        let own = if action.flags & SA_NODEFER != 0 {
            0
        } else {
            signal::bit(signal)
        };
        body.signals.set_mask(mask | action.mask | own);
        if action.flags & SA_RESETHAND != 0 {
            body.signals.actions[signal as usize - 1].handler = HANDLER_DEFAULT;
        }
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
    (signal, code, address): (u32, i32, u64),
    stack: crate::body::AltStack,
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
        0,
        0,
        mask,
        address,
        fpu_at,
    ]);
    words.extend([0; 8]);
    words.push(mask);
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend_from_slice(&signal.to_le_bytes());
    bytes.extend_from_slice(&0_i32.to_le_bytes());
    bytes.extend_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(&0_i32.to_le_bytes());
    bytes.extend_from_slice(&address.to_le_bytes());
    bytes.resize(FRAME, 0);
    bytes
}

/// rt_sigreturn(2): back to where the signal came in between.
pub(crate) fn leave(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    // The restorer was entered by `ret`, which took the return address off.
    let at = call.body().registers.rsp;
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
        fs_base: call.body().registers.fs_base,
        gs_base: call.body().registers.gs_base,
    };
    let fpu_at = context(23);
    let mask = word(37);
    let fpu = if fpu_at == 0 {
        FpuState::initial()
    } else {
        let mut bytes = call.read(fpu_at, FpuState::size())?;
        // The kernel's own note in the area is not part of the state.
        bytes[SW_RESERVED..512].fill(0);
        FpuState::from_bytes(&bytes).ok_or(Errno::EFAULT)?
    };
    if registers.rip >= USER_END || registers.rsp > USER_END {
        return Err(Errno::EFAULT.into());
    }
    let pid = call.pid;
    call.system.forget_fpu(pid);
    let body = call.body();
    body.registers = registers;
    *body.fpu = fpu;
    body.signals.set_mask(mask);
    body.poked |= body.signal_due();
    body.call = None;
    body.restart = Restart::default();
    Ok(0)
}
