//! Calls that home executes: processes, children, signals, and the kernel's own requests.
//!
//! Law: nothing here sees memory or registers; a body may be anywhere.

mod ids;
mod jobs;
mod signals;
mod timers;
mod waiting;

pub use ids::*;
pub use jobs::*;
pub use signals::*;
pub use timers::*;
pub use waiting::*;

use crate::body::{Ids, padded_name};
use crate::dispatch::{HomeCall, PATH_MAX};
use crate::files::FileState;
use crate::home::{Home, Life};
use crate::signals::{CLD_EXITED, CLD_KILLED, CLD_STOPPED};
use crate::system::System;
use crate::wait::{Stop, WaitQueue};
use abi::{Errno, signal};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use migrate::HomeRecord;
use wire::{Message, Pid};

const NS_PER_S: u64 = 1_000_000_000;
/// Processes of one home at most (Linux' default `pid_max`), and the least memory for each.
const PROCESSES_MAX: usize = 32_768;
const FRAMES_PER_PROCESS: u64 = 16;

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
    let (pid, group) = (call.pid, call.home().group);
    // Nobody could continue a group that no shell knows; only SIGSTOP stops it.
    let orphaned = signal != signal::SIGSTOP && call.system.is_orphaned(group);
    let home = call.home();
    if orphaned || home.pending & signal::bit(signal::SIGCONT) != 0 {
        return Ok(1);
    }
    home.life = Life::Stopped {
        signal,
        told: false,
    };
    home.continued = false;
    let parent = home.parent;
    call.system.child_changed(parent, pid, CLD_STOPPED, signal);
    Ok(0)
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
        disowns: parent.disowns,
        ids: parent.ids,
        nice: parent.nice,
        groups: parent.groups.clone(),
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
    let located = fs.open_program(&files, call.system, pid, &path)?;
    let inode = located.inode;
    let home = call.home();
    home.opening = located.path;
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

/// The new program is about to run: name and command line in buffers 0 and 1.
pub fn exec_commit(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let handle = call.args[0];
    let (name, line) = (call.input(0).to_vec(), call.input(1).to_vec());
    let home = call.home();
    home.mapped.get(handle).ok_or(Errno::EIO)?;
    home.name = padded_name(&name);
    home.command_line = line;
    home.command_line.truncate(PATH_MAX);
    home.program = core::mem::take(&mut home.opening);
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
    home.name = padded_name(&name);
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
            queue: VecDeque::new(),
            blocked: 0,
            held_back: 0,
            continued: false,
            disowns: false,
            ids: Ids::default(),
            nice: 0,
            groups: Vec::new(),
            timer: (0, 0),
            children_changed: WaitQueue::new(wakes),
            remote: None,
            name: [0; 16],
            command_line: Vec::new(),
            opening: Vec::new(),
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
        home.forget_signals(u64::MAX);
        home.timer = (0, 0);
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
        self.left_terminal(pid);
        let (code, status) = match status & 0x7f {
            0 => (CLD_EXITED, status >> 8),
            signal => (CLD_KILLED, signal),
        };
        self.child_changed(parent, pid, code, status);
        if self
            .homes
            .get(&parent)
            .is_none_or(|home| !home.lives() || home.disowns)
        {
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
