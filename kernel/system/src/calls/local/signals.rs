//! What a process blocks, the stack its handlers run on, and waiting for any signal.
//!
//! Law: a mask that a call puts in place for its own time is saved in the signal state, travels with
//! the body, and comes back when the call ends or in the frame of the handler that ends it.

use crate::dispatch::LocalCall;
use crate::thread::{AltStack, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK};
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;

/// `sizeof(sigset_t)` in the kernel.
pub(crate) const SET_BYTES: u64 = 8;

/// rt_sigprocmask(2).
pub fn rt_sigprocmask(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [how, new, old, set_bytes, ..] = call.args;
    if set_bytes != SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let set = if new == 0 {
        None
    } else {
        Some(call.read_u64(new)?)
    };
    let before = call.thread().signals.mask;
    if let Some(set) = set {
        let mask = match u64::from(how as u32) {
            0 => before | set,
            1 => before & !set,
            2 => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        call.thread().change_mask(mask);
    }
    // Told last: not at all if the call fails before, and too late to take it back if it cannot be told.
    if old != 0 {
        call.write(old, &before.to_le_bytes())?;
    }
    Ok(0)
}

/// sigaltstack(2).
pub fn sigaltstack(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [new, old, ..] = call.args;
    let stack = if new == 0 {
        None
    } else {
        let bytes = call.read(new, 24)?;
        let word =
            |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[at * 8 + byte]));
        let (base, flags, size) = (word(0), word(1) as u32, word(2));
        // The last is a bit on top of the mode.
        if !matches!(flags & !SS_AUTODISARM, 0 | SS_ONSTACK | SS_DISABLE) {
            return Err(Errno::EINVAL.into());
        }
        let off = flags & SS_DISABLE != 0;
        if !off && size < 2048 {
            return Err(Errno::ENOMEM.into());
        }
        Some(AltStack {
            base: if off { 0 } else { base },
            size: if off { 0 } else { size },
            flags: flags & !SS_ONSTACK,
        })
    };
    if old != 0 {
        let rsp = call.thread().registers.rsp;
        let now = call.thread().signals.alt_stack;
        let flags = now.flags | u32::from(now.holds(rsp));
        let words = [now.base, u64::from(flags), now.size];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        call.write(old, &bytes)?;
    }
    if let Some(stack) = stack {
        let rsp = call.thread().registers.rsp;
        if call.thread().signals.alt_stack.holds(rsp) {
            return Err(Errno::EPERM.into());
        }
        call.thread().signals.alt_stack = stack;
    }
    Ok(0)
}

/// rt_sigreturn(2).
pub fn rt_sigreturn(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    crate::signal_frame::leave(call)
}

impl LocalCall<'_> {
    /// Blocks other signals for the time of this call. The first time the call begins anew, so that a
    /// signal that is free now comes first.
    ///
    /// # Errors
    /// `Wait`, once.
    pub(crate) fn mask_for_now(&mut self, mask: u64) -> Result<(), Stop> {
        let tid = self.tid;
        let thread = self.thread();
        if thread.signals.saved_mask.is_some() {
            return Ok(());
        }
        thread.signals.saved_mask = Some(thread.signals.mask);
        thread.change_mask(mask);
        thread.restart.begun = true;
        self.system.wakes.push(tid);
        Err(Stop::Wait)
    }
}

/// rt_sigsuspend(2).
pub fn rt_sigsuspend(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [set, set_bytes, ..] = call.args;
    if set_bytes != SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    if call.thread().signals.saved_mask.is_none() {
        let mask = call.read_u64(set)?;
        call.mask_for_now(mask)?;
    }
    Err(Stop::Wait)
}

/// pause(2).
pub fn pause(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.thread().restart.begun = true;
    Err(Stop::Wait)
}
