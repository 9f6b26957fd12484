//! Tracing: what a tracer sees and changes of a child, and that neither of them moves meanwhile.
//!
//! Law: whoever was elsewhere before it traces or is traced finds the same as one who was not.

use std::io::{Read, Write, pipe};

use rt::process::{Ended, start, wait_for};
use rt::raw::{DESK, Desk, libc};
use rt::system::proc_path;

use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure, must};

/// Where on the desk a word lies that is peeked and poked, and where answers go.
const THERE: u64 = 0x100;
const STATUS: u64 = 0x200;
const REGISTERS: u64 = 0x300;
/// Offsets in `struct user_regs_struct`.
const RAX: u64 = 80;
const ORIG_RAX: u64 = 120;
const RIP: u64 = 128;
const BEFORE: u64 = 0x1122_3344_5566_7788;
const AFTER: u64 = 0x8877_6655_4433_2211;
/// A result that getppid(2) never has.
const MADE_UP: u64 = 0x7654_3210;

/// A request about a child.
fn ask(desk: &mut Desk, what: u32, (child, at, data): (u64, u64, u64)) -> Verdict {
    let words = [what.into(), child, at, data, 0, 0];
    must(desk, "ptrace", libc::SYS_ptrace, words).map(drop)
}

/// Waits for the next stop of a child: the signal, with what is told beside it.
fn stop(desk: &mut Desk, child: u64) -> Result<u64, String> {
    let all = u64::from(libc::__WALL.cast_unsigned());
    let words = [child, DESK + STATUS, all, 0, 0, 0];
    let who = must(desk, "wait4", libc::SYS_wait4, words)?;
    let status = desk.word(STATUS) & 0xffff_ffff;
    ensure!(who == child, "{who} instead of {child} has changed");
    ensure!(status & 0xff == 0x7f, "it did not stop: {status:#x}");
    Ok(status >> 8)
}

/// A register of a child that stands.
fn register(desk: &mut Desk, child: u64, which: u64) -> Result<u64, String> {
    ask(desk, libc::PTRACE_GETREGS, (child, 0, DESK + REGISTERS))?;
    Ok(desk.word(REGISTERS + which))
}

/// Who traces, or is traced, does not move; on the host there is nowhere to go.
fn stays(pid: u64) -> Verdict {
    let elsewhere = if pid >> 16 == 2 { "1" } else { "2" };
    match std::fs::write(proc_path(&format!("{pid}/goto")), elsewhere) {
        Ok(()) => Err(format!("{pid} has moved away from tracing")),
        Err(_) => Ok(()),
    }
}

fn signal_of(number: i32) -> u64 {
    u64::from(number.cast_unsigned())
}

/// The child: it asks to be traced, stops, and makes a call whose result the tracer has made up.
fn asks(desk: &mut Desk, node: Option<&str>) -> Verdict {
    desk.put(THERE, &BEFORE.to_le_bytes());
    go(node)?;
    ask(desk, libc::PTRACE_TRACEME, (0, 0, 0))?;
    let me = u64::from(std::process::id());
    let own = [me, signal_of(libc::SIGUSR1), 0, 0, 0, 0];
    must(desk, "kill", libc::SYS_kill, own)?;
    let parent = desk.call(libc::SYS_getppid, [0; 6]);
    ensure!(parent == MADE_UP.cast_signed(), "getppid gave {parent}");
    let word = desk.word(THERE);
    ensure!(word == AFTER, "the word is {word:#x}");
    Ok(())
}

/// A child that asks to be traced: its signal, its memory, and a call that never takes place.
pub(crate) fn asked(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    while moves.more() {
        moves.point()?;
        let node = moves.take();
        let child = start(|| tell(asks(&mut desk, node.as_deref()))).doing("fork")?;
        let pid = u64::from(child.cast_unsigned());
        let shown = stop(&mut desk, pid)?;
        ensure!(
            shown == signal_of(libc::SIGUSR1),
            "it stopped for {shown:#x}"
        );
        stays(std::process::id().into())?;
        stays(pid)?;
        ask(&mut desk, libc::PTRACE_SETOPTIONS, (pid, 0, 1))?;
        ask(
            &mut desk,
            libc::PTRACE_PEEKDATA,
            (pid, DESK + THERE, DESK + STATUS),
        )?;
        let word = desk.word(STATUS);
        ensure!(word == BEFORE, "the word is {word:#x}");
        ask(&mut desk, libc::PTRACE_POKEDATA, (pid, DESK + THERE, AFTER))?;
        // Without the signal, which would end it.
        let calls = signal_of(libc::SIGTRAP) | 0x80;
        loop {
            ask(&mut desk, libc::PTRACE_SYSCALL, (pid, 0, 0))?;
            let shown = stop(&mut desk, pid)?;
            ensure!(shown == calls, "it stopped for {shown:#x}");
            if register(&mut desk, pid, ORIG_RAX)? == libc::SYS_getppid.cast_unsigned() {
                break;
            }
        }
        let result = register(&mut desk, pid, RAX)?;
        ensure!(result == (-38_i64).cast_unsigned(), "rax is {result:#x}");
        ask(&mut desk, libc::PTRACE_POKEUSER, (pid, ORIG_RAX, u64::MAX))?;
        ask(&mut desk, libc::PTRACE_SYSCALL, (pid, 0, 0))?;
        let shown = stop(&mut desk, pid)?;
        ensure!(shown == calls, "it stopped for {shown:#x}");
        ask(&mut desk, libc::PTRACE_POKEUSER, (pid, RAX, MADE_UP))?;
        ask(&mut desk, libc::PTRACE_DETACH, (pid, 0, 0))?;
        moves.point()?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    }
    Ok(())
}

/// A child that is seized while it waits: interrupted in its call, which it then goes on with, and led on by single
/// steps when that is over.
pub(crate) fn seized(moves: &mut Moves) -> Verdict {
    const STEPS: u32 = 20;
    let mut desk = Desk::map().ok_or("no desk")?;
    while moves.more() {
        let (mut told, mut tells) = pipe().doing("pipe")?;
        let (mut goes, mut lets) = pipe().doing("pipe")?;
        let node = moves.take();
        let child = start(|| {
            let mut work = || {
                go(node.as_deref())?;
                tells.write_all(b".").doing("write")?;
                goes.read_exact(&mut [0]).doing("read")
            };
            tell(work())
        })
        .doing("fork")?;
        let pid = u64::from(child.cast_unsigned());
        told.read_exact(&mut [0]).doing("read")?;
        moves.point()?;
        ask(&mut desk, libc::PTRACE_SEIZE, (pid, 0, 1))?;
        ask(&mut desk, libc::PTRACE_INTERRUPT, (pid, 0, 0))?;
        let event = u64::from(libc::PTRACE_EVENT_STOP.cast_unsigned()) << 8;
        let shown = stop(&mut desk, pid)?;
        let wanted = signal_of(libc::SIGTRAP) | event;
        ensure!(shown == wanted, "it stopped for {shown:#x}");
        stays(pid)?;
        lets.write_all(b".").doing("write")?;
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..STEPS {
            ask(&mut desk, libc::PTRACE_SINGLESTEP, (pid, 0, 0))?;
            let shown = stop(&mut desk, pid)?;
            ensure!(shown == signal_of(libc::SIGTRAP), "a step: {shown:#x}");
            places.insert(register(&mut desk, pid, RIP)?);
        }
        ensure!(places.len() > 2, "it stood at {} places", places.len());
        ask(&mut desk, libc::PTRACE_DETACH, (pid, 0, 0))?;
        moves.point()?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    }
    Ok(())
}
