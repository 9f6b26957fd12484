//! Registers: everything the processor holds for a program comes along.
//!
//! Law: the move happens while the registers are live, by a system call inside the assembly, or
//! by others during the loops around it.

use std::os::fd::AsFd;

use rt::cpu::{Floats, Write, hold_floats, hold_registers};

use crate::moves::{Moves, is_on, own_goto};
use crate::{Verdict, ensure};

/// Turns of the loops around the call; with a timer in between.
const SPINS: u64 = 3_000_000;

/// Runs `hold` with the write that makes the next move, if one is left, and checks that it did.
fn held<T>(
    moves: &mut Moves,
    hold: impl FnOnce(Option<Write<'_>>) -> (T, i64),
) -> Result<T, String> {
    let Some(node) = moves.take() else {
        return Ok(hold(None).0);
    };
    let goto = own_goto()?;
    let text = format!("{node}\n");
    let (value, result) = hold(Some(Write {
        fd: goto.as_fd(),
        bytes: text.as_bytes(),
    }));
    ensure!(
        usize::try_from(result) == Ok(text.len()),
        "moving to {node} gave {result} instead of {}",
        text.len()
    );
    is_on(&node)?;
    Ok(value)
}

/// x87, SSE and AVX registers with their control words.
pub(crate) fn floats(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let expected = Floats::pattern(moves.round());
        let found = held(moves, |call| hold_floats(&expected, call, SPINS))?;
        ensure!(found.mxcsr == expected.mxcsr, "mxcsr is {:#x}", found.mxcsr);
        ensure!(
            found.control == expected.control,
            "the x87 control word is {:#x}",
            found.control
        );
        for (index, (found, expected)) in found.vectors.iter().zip(&expected.vectors).enumerate() {
            ensure!(
                found == expected,
                "ymm{index} is {found:x?} instead of {expected:x?}"
            );
        }
        for (index, (found, expected)) in found.stack.iter().zip(&expected.stack).enumerate() {
            ensure!(
                found == expected,
                "st{index} is {found:x?} instead of {expected:x?}"
            );
        }
    }
    Ok(())
}

/// General registers and flags.
pub(crate) fn registers(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let seed = moves.round();
        let (expected, found) = held(moves, |call| {
            let (expected, found, result) = hold_registers(seed, call, SPINS);
            ((expected, found), result)
        })?;
        ensure!(
            found.values == expected.values,
            "the registers are {:x?} instead of {:x?}",
            found.values,
            expected.values
        );
        ensure!(
            found.flags == expected.flags,
            "the flags are {:#x} instead of {:#x}",
            found.flags,
            expected.flags
        );
    }
    Ok(())
}
