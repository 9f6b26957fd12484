//! Calls that home executes: processes, children, signals, and the kernel's own requests.
//!
//! Law: nothing here sees memory or registers; a body may be anywhere.

use crate::dispatch::{HomeCall, PATH_MAX};
use crate::files::FileState;
use crate::home::{Home, Life};
use crate::system::System;
use crate::wait::{Stop, WaitQueue};
use abi::{Errno, signal};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use migrate::HomeRecord;
use wire::{Message, Pid};

const WNOHANG: u64 = 1;
const WUNTRACED: u64 = 2;
const WCONTINUED: u64 = 8;
/// `__WALL`, `__WCLONE` and `__WNOTHREAD` make no difference among single-threaded processes.
const WAIT_FLAGS: u64 = WNOHANG | WUNTRACED | WCONTINUED | 0xe000_0000;
const NS_PER_S: u64 = 1_000_000_000;
/// Processes of one home at most (Linux' default `pid_max`), and the least memory for each.
const PROCESSES_MAX: usize = 32_768;
const FRAMES_PER_PROCESS: u64 = 16;

/// wait4(2).
pub fn wait4(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [which, _, options, _, _, _] = call.args;
    if options & !WAIT_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (me, group) = (call.pid, call.home().group);
    let wanted = |child: &Home| match which as i32 {
        -1 => true,
        0 => child.group == group,
        pid if pid > 0 => child.pid == pid as u32,
        other => child.group == other.unsigned_abs(),
    };
    let mut any = false;
    let mut found = None;
    for child in call
        .system
        .homes
        .values()
        .filter(|child| child.parent == me && wanted(child))
    {
        any = true;
        match child.life {
            Life::Zombie(status) => found = Some((child.pid, status)),
            Life::Stopped {
                signal,
                told: false,
            } if options & WUNTRACED != 0 => {
                found = Some((child.pid, (signal << 8) | 0x7f));
            }
            _ => continue,
        }
        break;
    }
    let Some((pid, status)) = found else {
        if !any {
            return Err(Errno::ECHILD.into());
        }
        if options & WNOHANG != 0 {
            return Ok(0);
        }
        call.home().children_changed.wait(me);
        return Err(Stop::Wait);
    };
    let Some(child) = call.system.homes.get_mut(&pid) else {
        return Err(Errno::ECHILD.into());
    };
    let cpu_ns = child.cpu_ns.saturating_add(child.children_cpu_ns);
    if let Life::Stopped { told, .. } = &mut child.life {
        *told = true;
    } else {
        call.system.homes.remove(&pid);
        let parent = call.home();
        parent.children_cpu_ns = parent.children_cpu_ns.saturating_add(cpu_ns);
    }
    call.outputs.set(1, status.to_le_bytes().to_vec());
    call.outputs.set(3, rusage(cpu_ns));
    Ok(u64::from(pid))
}

/// `struct rusage` with the CPU time as user time.
fn rusage(cpu_ns: u64) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 144];
    bytes[..8].copy_from_slice(&(cpu_ns / NS_PER_S).to_le_bytes());
    bytes[8..16].copy_from_slice(&(cpu_ns % NS_PER_S / 1000).to_le_bytes());
    bytes
}

/// getrusage(2).
pub fn getrusage(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.pid;
    let own = call.system.bodies.get(&pid).map(|body| body.cpu_ns);
    let who = call.args[0] as i32;
    let home = call.home();
    let cpu_ns = match who {
        0 | 1 => own.unwrap_or(home.cpu_ns),
        -1 => home.children_cpu_ns,
        _ => return Err(Errno::EINVAL.into()),
    };
    call.outputs.set(1, rusage(cpu_ns));
    Ok(0)
}

/// sysinfo(2): of the home node.
pub fn sysinfo(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let frames = machine::frame_counts();
    let mut bytes = alloc::vec![0; 112];
    bytes[..8].copy_from_slice(&(call.system.now / NS_PER_S).to_le_bytes());
    bytes[32..40].copy_from_slice(&(frames.total * PAGE_SIZE as u64).to_le_bytes());
    bytes[40..48].copy_from_slice(&(frames.free * PAGE_SIZE as u64).to_le_bytes());
    let processes = call.system.homes.len().min(usize::from(u16::MAX)) as u16;
    bytes[80..82].copy_from_slice(&processes.to_le_bytes());
    bytes[104..108].copy_from_slice(&1_u32.to_le_bytes());
    call.outputs.set(0, bytes);
    Ok(0)
}

/// kill(2).
pub fn kill(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [which, signal, ..] = call.args;
    if signal > u64::from(signal::SIGNAL_MAX) {
        return Err(Errno::EINVAL.into());
    }
    let (me, group) = (call.pid, call.home().group);
    let init = Pid::new(call.system.me, 1).0;
    let wanted = |home: &Home| match which as i32 {
        -1 => home.pid != me && home.pid != init,
        0 => home.group == group,
        pid if pid > 0 => home.pid == pid as u32,
        other => home.group == other.unsigned_abs(),
    };
    let targets: Vec<u32> = call
        .system
        .homes
        .values()
        .filter(|home| wanted(home))
        .map(|home| home.pid)
        .collect();
    if targets.is_empty() {
        return Err(Errno::ESRCH.into());
    }
    for pid in targets {
        // The first process of a node has no default actions: its end would be the node's.
        let spared = pid == init && signal == u64::from(signal::SIGKILL);
        if signal != 0 && !spared {
            call.system.signal(pid, signal as u32);
        }
    }
    Ok(0)
}

/// tkill(2): threads and processes are the same here.
pub fn tkill(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    if call.args[0] as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    kill(call)
}

/// tgkill(2).
pub fn tgkill(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [group, thread, signal, ..] = call.args;
    if group as i32 <= 0 || thread as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if group != thread {
        return Err(Errno::ESRCH.into());
    }
    call.args = [thread, signal, 0, 0, 0, 0];
    kill(call)
}

/// getppid(2).
pub fn getppid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.home().parent))
}

/// getpgrp(2).
pub fn getpgrp(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    Ok(u64::from(call.home().group))
}

/// The process that an argument names, 0 being the caller.
fn named<'a>(call: &'a mut HomeCall<'_>, pid: u64) -> Result<&'a mut Home, Stop> {
    let pid = if pid as i32 == 0 {
        call.pid
    } else {
        pid as u32
    };
    call.system
        .homes
        .get_mut(&pid)
        .ok_or(Stop::Errno(Errno::ESRCH))
}

/// getpgid(2).
pub fn getpgid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.args[0];
    Ok(u64::from(named(call, pid)?.group))
}

/// getsid(2).
pub fn getsid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.args[0];
    Ok(u64::from(named(call, pid)?.session))
}

/// setpgid(2).
pub fn setpgid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [pid, group, ..] = call.args;
    if (group as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let me = call.pid;
    let session = call.home().session;
    let target = named(call, pid)?;
    if target.pid != me && target.parent != me {
        return Err(Errno::ESRCH.into());
    }
    if target.session != session || target.pid == target.session {
        return Err(Errno::EPERM.into());
    }
    let target = target.pid;
    let group = if group as i32 == 0 {
        target
    } else {
        group as u32
    };
    let exists = call
        .system
        .homes
        .values()
        .any(|home| home.group == group && home.session == session);
    if group != target && !exists {
        return Err(Errno::EPERM.into());
    }
    if let Some(home) = call.system.homes.get_mut(&target) {
        home.group = group;
    }
    Ok(0)
}

/// setsid(2).
pub fn setsid(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let pid = call.pid;
    if call.system.homes.values().any(|home| home.group == pid) {
        return Err(Errno::EPERM.into());
    }
    let home = call.home();
    home.group = pid;
    home.session = pid;
    Ok(u64::from(pid))
}

// ---- the kernel's own requests -------------------------------------------------------------------

/// The process ends: `(wait status, cpu_ns)`.
pub fn end(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [status, cpu_ns, ..] = call.args;
    call.home().cpu_ns = cpu_ns;
    call.system.ended(call.pid, status as u32);
    Ok(0)
}

/// The process stopped: the parent is told, and a SIGCONT that came meanwhile is not lost.
pub fn stopped(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let signal = call.args[0] as u32;
    let home = call.home();
    home.life = Life::Stopped {
        signal,
        told: false,
    };
    let parent = home.parent;
    call.system.signal(parent, signal::SIGCHLD);
    call.system.children_changed(parent);
    Ok(0)
}

/// The next signal for the body, given what it blocks; buffer 0 is the set that stays pending.
pub fn take_signal(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let mask = call.args[0];
    let home = call.home();
    let signal = home.take_signal(mask);
    let held_back = home.held_back;
    #[cfg(test)]
    if signal != 0 && call.system.canary == Some(crate::cluster_tests::Canary::SignalsTwice) {
        let bit = signal::bit(signal);
        call.home().pending |= bit;
    }
    call.outputs.set(0, held_back.to_le_bytes().to_vec());
    Ok(u64::from(signal))
}

/// A child with a copy of everything at home; it belongs to the caller's node.
pub fn fork(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    if call.system.homes.len() >= call.system.processes_max() {
        return Err(Errno::EAGAIN.into());
    }
    let child = call.system.new_pid().ok_or(Errno::EAGAIN)?;
    let (now, wakes) = (call.system.now, call.system.wakes.clone());
    let parent = call.home();
    let gate = parent.record.gate();
    let record = HomeRecord::new(Pid(child), gate.owner(), gate.owner_boot());
    let home = Home {
        pid: child,
        parent: parent.pid,
        group: parent.group,
        session: parent.session,
        record,
        files: parent.files.clone(),
        mapped: parent.mapped.clone(),
        program: parent.program.clone(),
        command_line: parent.command_line.clone(),
        name: parent.name,
        ..Home::blank(child, now, &wakes)
    };
    call.system.homes.insert(child, home);
    Ok(u64::from(child))
}

/// Opens a program: path in buffer 0. Buffer 0 of the answer is the [`ExecFile`] record, buffer 1
/// its first page.
pub fn exec_open(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let path = call.input(0).to_vec();
    let (fs, pid) = (call.system.fs.clone(), call.pid);
    let files = call.home().files.clone().ok_or(Errno::ESRCH)?;
    let inode = fs.open_program(&files, call.system, pid, &path)?.inode;
    let home = call.home();
    let mut first = alloc::vec![0; PAGE_SIZE];
    let length = inode.read_at(0, &mut first)?;
    first.truncate(length);
    let record = ExecFile {
        hash: inode.content_hash().unwrap_or([0; 32]),
        home_file: home.mapped.add(&inode).ok_or(Errno::ENOMEM)?,
        size: inode.size(),
    };
    call.outputs.set(0, record.to_bytes());
    call.outputs.set(1, first);
    Ok(0)
}

/// The new program is about to run: name, command line and path in buffers 0 to 2.
pub fn exec_commit(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let handle = call.args[0];
    let (name, line, program) = (
        call.input(0).to_vec(),
        call.input(1).to_vec(),
        call.input(2).to_vec(),
    );
    let home = call.home();
    let mapped = home.mapped.get(handle).ok_or(Errno::EIO)?;
    home.name = [0; 16];
    let length = name.len().min(15);
    home.name[..length].copy_from_slice(&name[..length]);
    home.command_line = line;
    home.command_line.truncate(PATH_MAX);
    home.program = mapped.path().unwrap_or(program);
    home.program.truncate(PATH_MAX);
    // The files of the old program are held no longer; the handle of the new one stays.
    home.mapped.keep_only(handle);
    if let Some(files) = home.files.as_mut() {
        files.close_on_exec();
    }
    Ok(0)
}

/// prctl(PR_SET_NAME): the name in buffer 0.
pub fn rename(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let name = call.input(0).to_vec();
    let home = call.home();
    home.name = [0; 16];
    let length = name.len().min(15);
    home.name[..length].copy_from_slice(&name[..length]);
    Ok(0)
}

/// A page of a mapped file: `(handle, offset)`; buffer 0 of the answer is the page.
pub fn page_in(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [handle, offset, ..] = call.args;
    let inode = call.home().mapped.get(handle).ok_or(Errno::EFAULT)?;
    let frame = inode
        .page(offset / PAGE_SIZE as u64)
        .map_err(|_| Errno::EFAULT)?;
    let mut bytes = alloc::vec![0; PAGE_SIZE];
    frame.read(0, &mut bytes);
    call.outputs.set(0, bytes);
    Ok(0)
}

/// A descriptor is to be mapped: `(fd, needs writing)`. Buffer 0 of the answer is an [`ExecFile`].
pub fn map_file(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [fd, writes, ..] = call.args;
    let home = call.home();
    let files = home.files.as_ref().ok_or(Errno::ESRCH)?;
    let (inode, readable, writable) = files.inode(fd as u32)?;
    if !readable || (writes != 0 && !writable) {
        return Err(Errno::EACCES.into());
    }
    if !inode.is_file() {
        return Err(Errno::ENODEV.into());
    }
    let record = ExecFile {
        hash: inode.content_hash().unwrap_or([0; 32]),
        home_file: home.mapped.add(&inode).ok_or(Errno::ENOMEM)?,
        size: inode.size(),
    };
    call.outputs.set(0, record.to_bytes());
    Ok(0)
}

/// What a body has to know of a file to map it: 48 bytes, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecFile {
    /// Content hash, or zero.
    pub hash: [u8; 32],
    /// Handle at home.
    pub home_file: u32,
    /// Bytes.
    pub size: u64,
}

impl ExecFile {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.hash.to_vec();
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&u64::from(self.home_file).to_le_bytes());
        bytes
    }

    /// Reads what [`exec_open`] or [`map_file`] has written.
    pub fn from_bytes(bytes: &[u8]) -> Option<ExecFile> {
        let (hash, rest) = bytes.split_first_chunk::<32>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let home_file = u64::from_le_bytes(rest.try_into().ok()?);
        Some(ExecFile {
            hash: *hash,
            home_file: u32::try_from(home_file).ok()?,
            size: u64::from_le_bytes(*size),
        })
    }
}

impl Home {
    /// A process without anything, owned by nobody's guess: the caller fills in the rest.
    pub fn blank(pid: u32, now: u64, wakes: &crate::wait::Wakes) -> Home {
        Home {
            pid,
            parent: 0,
            group: pid,
            session: pid,
            record: HomeRecord::new(Pid(pid), Pid(pid).home(), wire::BootId(0)),
            files: None,
            mapped: crate::home::Mapped::default(),
            life: Life::Alive,
            pending: 0,
            blocked: 0,
            held_back: 0,
            children_changed: WaitQueue::new(wakes),
            remote: None,
            name: [0; 16],
            command_line: Vec::new(),
            program: Vec::new(),
            started_ns: now,
            children_cpu_ns: 0,
            cpu_ns: 0,
            moves: VecDeque::new(),
            move_count: 0,
            request: None,
            obstacle: None,
            request_done: WaitQueue::new(wakes),
            facts: None,
            facts_asked: false,
            asked: Vec::new(),
        }
    }
}

impl System {
    /// How many processes a node is home of at most: what its memory has room for.
    pub(crate) fn processes_max(&self) -> usize {
        let frames = machine::frame_counts().total / FRAMES_PER_PROCESS;
        usize::try_from(frames).map_or(PROCESSES_MAX, |frames| frames.min(PROCESSES_MAX))
    }

    /// A pid that no process of this node has.
    pub(crate) fn new_pid(&mut self) -> Option<u32> {
        for _ in 0..=u16::MAX {
            self.last_serial = self.last_serial.wrapping_add(1);
            let pid = Pid::new(self.me, self.last_serial).0;
            let in_group = |home: &Home| home.group == pid || home.session == pid;
            if self.last_serial > 1
                && !self.homes.contains_key(&pid)
                && !self.homes.values().any(in_group)
            {
                return Some(pid);
            }
        }
        None
    }

    /// A process is over: it becomes a zombie, its children get a new parent, its parent is told.
    pub(crate) fn ended(&mut self, pid: u32, status: u32) {
        let init = Pid::new(self.me, 1).0;
        let Some(home) = self.homes.get_mut(&pid).filter(|home| home.lives()) else {
            return;
        };
        home.life = Life::Zombie(status);
        home.remote = None;
        home.pending = 0;
        home.mapped = crate::home::Mapped::default();
        let parent = home.parent;
        let files = home.files.take();
        let epoch = home.record.gate().epoch();
        let owner = home.record.gate().owner();
        let copies: Vec<_> = home
            .record
            .copies()
            .map(|(node, _)| node)
            .filter(|node| *node != owner)
            .collect();
        home.request_done.wake();
        drop::<Option<FileState>>(files);
        for node in copies {
            self.send(
                node,
                Message::Lost {
                    pid: Pid(pid),
                    epoch,
                },
            );
        }
        let mut orphans = false;
        for child in self.homes.values_mut().filter(|child| child.parent == pid) {
            child.parent = init;
            orphans |= !child.lives();
        }
        if orphans {
            self.children_changed(init);
        }
        if pid == init {
            machine::log!("init has ended with status {status:#x}");
            self.request_power_off(1);
        }
        self.signal(parent, signal::SIGCHLD);
        self.children_changed(parent);
        if self.homes.get(&parent).is_none_or(|home| !home.lives()) {
            self.homes.remove(&pid);
        }
    }

    /// Wakes a process that waits for its children.
    pub(crate) fn children_changed(&mut self, pid: u32) {
        if let Some(home) = self.homes.get(&pid) {
            home.children_changed.wake();
        }
    }
}
