//! Opening terminals, their `ioctl`s, and who may use them.
//!
//! Law: a terminal belongs to one session, and of that to one group in the foreground (POSIX, "Job
//! Control"; ioctl_tty(2)). Background use stops the group; where that could not help it is `EIO`.
//! What a pty's master is asked concerns the line, except where it says otherwise.

use super::super::inode::{Attributes, Device, Inode};
use super::super::open::OpenFile;
use super::super::tty::{End, Flow, Form, Side, Tty};
use super::control::fixed;
use super::{CallResult, FileCall, now};
use crate::credentials::SYS_TTY_CONFIG;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{
    O_ACCMODE, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_PATH, O_WRONLY, S_IFCHR, TERMIOS_SIZE,
};
use abi::signal::{SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU};
use alloc::sync::Arc;

// `asm-generic/ioctls.h`.
const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCGETA: u32 = 0x5405;
const TCSETA: u32 = 0x5406;
const TCSETAW: u32 = 0x5407;
const TCSETAF: u32 = 0x5408;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCEXCL: u32 = 0x540c;
const TIOCNXCL: u32 = 0x540d;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCSTI: u32 = 0x5412;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCPKT: u32 = 0x5420;
const TIOCNOTTY: u32 = 0x5422;
const TIOCSETD: u32 = 0x5423;
const TIOCGETD: u32 = 0x5424;
const TCSBRKP: u32 = 0x5425;
const TIOCSBRK: u32 = 0x5427;
const TIOCCBRK: u32 = 0x5428;
const TIOCGSID: u32 = 0x5429;
const TCGETS2: u32 = 0x802c_542a;
const TCSETS2: u32 = 0x402c_542b;
const TCSETSW2: u32 = 0x402c_542c;
const TCSETSF2: u32 = 0x402c_542d;
const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;
const TIOCGDEV: u32 = 0x8004_5432;
const TIOCSIG: u32 = 0x4004_5436;
const TIOCVHANGUP: u32 = 0x5437;
const TIOCGPKT: u32 = 0x8004_5438;
const TIOCGPTLCK: u32 = 0x8004_5439;
const TIOCGEXCL: u32 = 0x8004_5440;
const TIOCGPTPEER: u32 = 0x5441;

/// Which way argument 2 of a terminal's `ioctl` goes, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument {
    /// It is a number, or not used.
    Value,
    /// Read by the kernel.
    In(u16),
    /// Written by the kernel.
    Out(u16),
    /// Both.
    InOut(u16),
}

/// `vhangup()`: the terminal of the caller's session hangs up.
pub fn vhangup(call: &mut FileCall) -> CallResult {
    if !call.who.has(SYS_TTY_CONFIG) {
        return Err(Errno::EPERM.into());
    }
    if let Some(tty) = controlling(call) {
        tty.hang_up();
    }
    Ok(0)
}

/// See [`Argument`]; a request that is not known is [`Argument::Value`].
pub(super) fn terminal_argument(request: u32) -> Argument {
    match (form(request), request) {
        (Some((form, Direction::Get)), _) => Argument::Out(form.size() as u16),
        (Some((form, Direction::Set)), _) => Argument::In(form.size() as u16),
        (
            _,
            TIOCGPGRP | TIOCGSID | TIOCOUTQ | TIOCGETD | TIOCGPTN | TIOCGDEV | TIOCGPKT
            | TIOCGPTLCK | TIOCGEXCL,
        ) => Argument::Out(4),
        (_, TIOCSPGRP | TIOCPKT | TIOCSETD | TIOCSPTLCK) => Argument::In(4),
        (_, TIOCSTI) => Argument::In(1),
        (_, TIOCGWINSZ) => Argument::Out(8),
        (_, TIOCSWINSZ) => Argument::In(8),
        _ => Argument::Value,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Get,
    Set,
}

/// The form of modes that a request speaks of.
fn form(request: u32) -> Option<(Form, Direction)> {
    Some(match request {
        TCGETS => (Form::Usual, Direction::Get),
        TCSETS | TCSETSW | TCSETSF => (Form::Usual, Direction::Set),
        TCGETS2 => (Form::WithSpeeds, Direction::Get),
        TCSETS2 | TCSETSW2 | TCSETSF2 => (Form::WithSpeeds, Direction::Set),
        TCGETA => (Form::Old, Direction::Get),
        TCSETA | TCSETAW | TCSETAF => (Form::Old, Direction::Set),
        _ => return None,
    })
}

// ---- who may use a terminal ----------------------------------------------------------------------

/// The terminal that controls the caller.
fn controlling(call: &FileCall) -> Option<Arc<Tty>> {
    match call.job.detached {
        true => None,
        false => call.fs.terminals().of_session(call.job.session),
    }
}

/// Whether this is the terminal that controls the caller.
fn controls(call: &FileCall, tty: &Tty) -> bool {
    let job = &call.job;
    job.session != 0 && !job.detached && tty.session() == job.session
}

fn in_background(call: &FileCall, tty: &Tty) -> bool {
    let foreground = tty.foreground();
    controls(call, tty) && foreground != 0 && foreground != call.job.group
}

/// A background process must not read the terminal: its group is stopped, or it gets EIO if that
/// could not help.
pub(super) fn check_reader(call: &mut FileCall, end: &End) -> Result<(), Stop> {
    if end.side() == Side::Master || end.is_hung_up() || !in_background(call, end.tty()) {
        return Ok(());
    }
    if call.job.shielded_from_ttin || call.view.is_orphaned(call.job.group) {
        return Err(Errno::EIO.into());
    }
    call.job.signal = Some(SIGTTIN);
    Err(Stop::Wait)
}

/// Nor write to it, if it is set to forbid that.
pub(super) fn check_writer(call: &mut FileCall, end: &End) -> Result<(), Stop> {
    if end.side() == Side::Line && end.tty().stops_writers() && !end.is_hung_up() {
        check_changer(call, end.tty())?;
    }
    Ok(())
}

/// Nor change it, unless it does not want to hear of that.
fn check_changer(call: &mut FileCall, tty: &Tty) -> Result<(), Stop> {
    if !in_background(call, tty) || call.job.shielded_from_ttou {
        return Ok(());
    }
    if call.view.is_orphaned(call.job.group) {
        return Err(Errno::EIO.into());
    }
    call.job.signal = Some(SIGTTOU);
    Err(Stop::Wait)
}

// ---- opening -------------------------------------------------------------------------------------

/// What opening a device opens: the end of a terminal if it is one. A session leader without a
/// terminal gets a line that it opens, if nobody has it and it does not refuse.
pub(super) fn open(call: &mut FileCall, inode: &Inode, flags: u32) -> Result<Option<End>, Errno> {
    let device = inode.device().filter(|device| device.is_terminal());
    let Some(device) = device.filter(|_| flags & O_PATH == 0) else {
        return Ok(None);
    };
    let terminals = call.fs.terminals();
    let (tty, may_control) = match device {
        Device::Tty => (controlling(call).ok_or(Errno::ENXIO)?, false),
        Device::Console => (terminals.console().clone(), false),
        Device::Pts(number) => (terminals.pty(number).ok_or(Errno::EIO)?, true),
        Device::Ptmx => {
            let pts = call.fs.pts.as_ref().ok_or(Errno::ENODEV)?;
            let attributes = Attributes {
                uid: call.job.user,
                ..Attributes::new(S_IFCHR, now(call))
            };
            return Ok(Some(terminals.open_master(
                pts,
                &call.fs.volume,
                attributes,
            )?));
        }
        _ => (terminals.console().clone(), true),
    };
    let end = End::line(&tty, call.job.privileged)?;
    let readable = flags & O_ACCMODE != O_WRONLY;
    if may_control && readable && flags & O_NOCTTY == 0 && tty.session() == 0 && leads(call) {
        tty.set_session(call.job.session, call.job.group);
    }
    Ok(Some(end))
}

/// Whether the caller leads a session without a terminal.
fn leads(call: &FileCall) -> bool {
    let session = call.job.session;
    session != 0 && session == call.pid && controlling(call).is_none()
}

/// A descriptor of the line that belongs to a master, whatever /dev/pts is.
fn open_peer(call: &mut FileCall, end: &End) -> CallResult {
    let flags = call.args[2] as u32;
    if flags & !(O_ACCMODE | O_NOCTTY | O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let fd = call.state.free_descriptor(0)?;
    let place = end.tty().name().ok_or(Errno::EIO)?;
    let inode = place.0.directory().and_then(|held| held.get(&place.1));
    let line_place = call.fs.root_place().beside(inode.ok_or(Errno::EIO)?);
    // The lock is for those who come by name.
    let locked = end.tty().is_locked();
    end.tty().set_locked(false);
    let line = End::line(end.tty(), call.job.privileged);
    end.tty().set_locked(locked);
    let line = line?;
    let readable = flags & O_ACCMODE != O_WRONLY;
    if readable && flags & O_NOCTTY == 0 && line.tty().session() == 0 && leads(call) {
        line.tty().set_session(call.job.session, call.job.group);
    }
    let file = OpenFile::with_terminal(line_place, flags, Some(place), Some(line));
    call.state.put(fd, file, flags & O_CLOEXEC != 0);
    Ok(u64::from(fd))
}

// ---- ioctl ---------------------------------------------------------------------------------------

fn number(call: &FileCall) -> Result<u32, Errno> {
    Ok(u32::from_le_bytes(fixed(call)?))
}

/// `ioctl` of a terminal.
pub(super) fn ioctl(call: &mut FileCall, file: &OpenFile) -> CallResult {
    let end = file.terminal().ok_or(Errno::ENOTTY)?;
    let request = call.args[1] as u32;
    if end.is_hung_up() {
        let errno = match request {
            TIOCSPGRP => Errno::ENOTTY,
            _ => Errno::EIO,
        };
        return Err(errno.into());
    }
    let tty = end.tty().clone();
    if let Some((form, direction)) = form(request) {
        return match direction {
            Direction::Get => {
                call.output(2, &tty.modes().to_bytes(form));
                Ok(0)
            }
            Direction::Set => set_modes(call, &tty, form, request),
        };
    }
    match request {
        TCSBRK | TCSBRKP | TIOCSBRK | TIOCCBRK | TCXONC | TCFLSH => flow(call, end, request),
        TIOCGPGRP | TIOCSPGRP | TIOCGSID | TIOCSCTTY | TIOCNOTTY => {
            job_control(call, end, file, request)
        }
        _ if end.side() == Side::Master => master(call, end, request),
        _ => common(call, end, request),
    }
}

fn set_modes(call: &mut FileCall, tty: &Tty, form: Form, request: u32) -> CallResult {
    check_changer(call, tty)?;
    let modes = tty.modes().changed(form, call.input(2))?;
    if matches!(request, TCSETSF | TCSETSF2 | TCSETAF) {
        tty.flush_input();
    }
    // Output never waits behind what drains it, so the forms that wait for that do not.
    tty.set_modes(modes);
    Ok(0)
}

/// Breaks, flushing, stopping and starting.
fn flow(call: &mut FileCall, end: &End, request: u32) -> CallResult {
    let tty = end.tty().clone();
    let (argument, is_line) = (call.args[2], end.side() == Side::Line);
    if is_line && request != TIOCCBRK {
        check_changer(call, &tty)?;
    }
    match (request, argument) {
        (TCXONC, 0 | 1) if is_line => tty.suspend_output(argument == 0),
        (TCXONC, 2) if is_line => tty.send_raw(Flow::Stop),
        (TCXONC, 3) if is_line => tty.send_raw(Flow::Start),
        (TCFLSH, 0) if is_line => tty.flush_input(),
        (TCFLSH, 1) if is_line => tty.flush_output(),
        (TCFLSH, 2) if is_line => {
            tty.flush_input();
            tty.flush_output();
        }
        // What the master has not read is its input.
        (TCFLSH, 0 | 2) => tty.flush_output(),
        (TCFLSH, 1) | (TCXONC, 0..=3) => {}
        (TCFLSH | TCXONC, _) => return Err(Errno::EINVAL.into()),
        _ => {}
    }
    Ok(0)
}

fn job_control(call: &mut FileCall, end: &End, file: &OpenFile, request: u32) -> CallResult {
    let tty = end.tty().clone();
    let mine = controls(call, &tty);
    // A master asks for its line, which need not control it.
    let may_ask = mine || end.side() == Side::Master || call.job.session == 0;
    match request {
        TIOCGPGRP | TIOCGSID if !may_ask => Err(Errno::ENOTTY.into()),
        TIOCGPGRP => {
            call.output(2, &tty.foreground().to_le_bytes());
            Ok(0)
        }
        TIOCGSID if tty.session() == 0 && call.job.session != 0 => Err(Errno::ENOTTY.into()),
        TIOCGSID => {
            call.output(2, &tty.session().to_le_bytes());
            Ok(0)
        }
        TIOCSPGRP => set_foreground(call, &tty),
        TIOCSCTTY => take_terminal(call, &tty, file),
        _ if !mine => Err(Errno::ENOTTY.into()),
        _ => {
            if call.job.session == call.pid {
                tty.leave();
            } else {
                call.view.leave_terminal(call.pid);
            }
            Ok(0)
        }
    }
}

/// Puts a group of the caller's session into the foreground.
fn set_foreground(call: &mut FileCall, tty: &Tty) -> CallResult {
    match check_changer(call, tty) {
        Err(Stop::Errno(_)) => return Err(Errno::ENOTTY.into()),
        other => other?,
    }
    let group = i32::from_le_bytes(fixed(call)?);
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    if call.job.session != 0 {
        if !controls(call, tty) {
            return Err(Errno::ENOTTY.into());
        }
        match call.view.session_of_group(group) {
            None => return Err(Errno::ESRCH.into()),
            Some(session) if session != call.job.session => return Err(Errno::EPERM.into()),
            Some(_) => {}
        }
    }
    tty.set_foreground(group);
    Ok(0)
}

/// A session leader without a terminal gets this one, if nobody has it or root wants it all the same.
fn take_terminal(call: &mut FileCall, tty: &Tty, file: &OpenFile) -> CallResult {
    let job = call.job;
    let leader = job.session == call.pid;
    if job.session == 0 || (leader && tty.session() == job.session) {
        return Ok(0);
    }
    if !leader || controlling(call).is_some() {
        return Err(Errno::EPERM.into());
    }
    let steals = call.args[2] == 1 && job.privileged;
    if (tty.session() != 0 && !steals) || (!file.readable() && !job.privileged) {
        return Err(Errno::EPERM.into());
    }
    tty.set_session(job.session, job.group);
    Ok(0)
}

/// What only a master can be asked.
fn master(call: &mut FileCall, end: &End, request: u32) -> CallResult {
    let tty = end.tty().clone();
    let word = match request {
        TIOCGPTN => tty.number().ok_or(Errno::ENOTTY)?,
        TIOCGPTLCK => u32::from(tty.is_locked()),
        TIOCGPKT => u32::from(tty.is_packet()),
        TIOCGDEV => Device::Ptmx.number() as u32,
        TIOCSPTLCK => {
            tty.set_locked(number(call)? != 0);
            return Ok(0);
        }
        TIOCPKT => {
            tty.set_packet(number(call)? != 0);
            return Ok(0);
        }
        TIOCSIG => {
            let signal = call.args[2] as u32;
            if ![SIGINT, SIGQUIT, SIGTSTP].contains(&signal) {
                return Err(Errno::EINVAL.into());
            }
            tty.signal(signal);
            return Ok(0);
        }
        TIOCGPTPEER => return open_peer(call, end),
        _ => return common(call, end, request),
    };
    call.output(2, &word.to_le_bytes());
    Ok(0)
}

/// What both sides can be asked.
fn common(call: &mut FileCall, end: &End, request: u32) -> CallResult {
    let tty = end.tty().clone();
    let word = match request {
        TIOCGWINSZ => {
            call.output(2, &tty.window());
            return Ok(0);
        }
        TIOCSWINSZ => {
            tty.set_window(fixed(call)?);
            return Ok(0);
        }
        TIOCSTI => {
            let [byte] = fixed(call)?;
            if !controls(call, &tty) && !call.job.privileged {
                return Err(Errno::EPERM.into());
            }
            tty.simulate(byte, call.now_ns);
            return Ok(0);
        }
        TIOCEXCL | TIOCNXCL => {
            tty.set_exclusive(request == TIOCEXCL);
            return Ok(0);
        }
        TIOCVHANGUP if !call.job.privileged => return Err(Errno::EPERM.into()),
        TIOCVHANGUP => {
            tty.hang_up();
            return Ok(0);
        }
        // There is one line discipline, number 0.
        TIOCSETD if number(call)? == 0 => return Ok(0),
        TIOCSETD => return Err(Errno::EINVAL.into()),
        TIOCGETD => 0,
        TIOCGEXCL => u32::from(tty.is_exclusive()),
        // What a pty's line has written is at the master already.
        TIOCOUTQ if tty.number().is_some() => 0,
        TIOCOUTQ => tty.unsent().min(i32::MAX as usize) as u32,
        TIOCGDEV => tty.device().number() as u32,
        _ => return Err(Errno::ENOTTY.into()),
    };
    call.output(2, &word.to_le_bytes());
    Ok(0)
}

const _: () = assert!(TERMIOS_SIZE == 36);
