//! What /proc shows, and what writing there does.
//!
//! Law: home answers for its processes wherever they are; what only the body's node knows is asked
//! for there. Formats are those of proc(5) where Linux has the file.

mod bodies;
mod cluster;
mod configuration;
mod extent;
mod memory;
mod moving;
mod node;
mod process;
mod sys;

use crate::credentials::AUDIT_CONTROL;
use crate::files::{
    ClusterFile, GlobalFile, InodeRef, MemoryPart, OpenFile, Place, ProcEntry, ProcView,
    ProcessFile, Sockets, ThreadFile,
};
use crate::home::Home;
use crate::system::System;
use crate::thread::Run;
use crate::wait::Stop;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
pub(crate) use bodies::cpu_of;
pub(crate) use cluster::Card;
pub(crate) use memory::AT_ONCE;
use wire::NodeId;

/// Clock ticks per second in proc(5).
const TICK_NS: u64 = 10_000_000;
const NS_PER_S: u64 = 1_000_000_000;

impl ProcView for System {
    fn pids(&self) -> Vec<u32> {
        self.homes.keys().copied().collect()
    }

    fn session_of_group(&self, group: u32) -> Option<u32> {
        let mut homes = self.homes.values();
        let member = homes.find(|home| home.group == group)?;
        Some(member.session)
    }

    fn is_orphaned(&self, group: u32) -> bool {
        self.is_orphaned_group(group)
    }

    fn leave_terminal(&mut self, pid: u32) {
        if let Some(home) = self.homes.get_mut(&pid) {
            home.detached = true;
        }
    }

    fn exists(&self, pid: u32) -> bool {
        self.homes.contains_key(&pid)
    }

    fn traced(&self) -> Vec<u16> {
        System::traced(self)
    }

    fn threads(&self, pid: u32) -> Vec<u32> {
        let home = self.homes.get(&pid);
        home.map(|home| home.threads.keys().copied().collect())
            .unwrap_or_default()
    }

    fn process_of(&self, tid: u32) -> Option<u32> {
        let pid = self.process_at_home(tid);
        let home = self.homes.get(&pid)?;
        home.threads.contains_key(&tid).then_some(pid)
    }

    fn owner(&self, pid: u32) -> (u32, u32) {
        let ids = self.homes.get(&pid).map(Home::ids);
        ids.map_or((0, 0), |ids| (ids.euid, ids.egid))
    }

    fn maps_writable(&self, file: &InodeRef) -> bool {
        self.spaces.iter().any(|space| space.may_write_to(file))
    }

    fn may_look(&self, caller: u32, other: u32) -> Result<(), Errno> {
        self.may_look_into(caller, other)
    }

    fn file_of(
        &self,
        caller: u32,
        other: u32,
        fd: Result<u32, Errno>,
    ) -> Result<Arc<OpenFile>, Errno> {
        self.may_look_into(caller, other)?;
        let home = self.homes.get(&other).ok_or(Errno::ESRCH)?;
        // One that has ended has none (`__pidfd_fget` of Linux).
        let files = home.files.as_ref().ok_or(Errno::ESRCH)?;
        files.get(fd?)
    }

    fn limit(&self, pid: u32, which: usize) -> u64 {
        self.homes
            .get(&pid)
            .map_or(u64::MAX, |home| home.limits[which].0)
    }

    fn is_in_call(&self, waiter: u32, number: u32) -> bool {
        let home = self.homes.get(&self.process_at_home(waiter));
        let remote = home.and_then(|home| home.threads.get(&waiter)?.remote.as_ref());
        let here = self
            .threads
            .get(&waiter)
            .filter(|thread| thread.run == Run::Blocked && home.is_some());
        remote.is_some_and(|remote| remote.request.number == number)
            || here.is_some_and(|thread| thread.call.is_some_and(|call| call.number == number))
    }

    fn read(&mut self, entry: ProcEntry, reader: u32) -> Result<Vec<u8>, Stop> {
        Ok(match entry {
            ProcEntry::Global(file @ GlobalFile::Config) => {
                configuration::packed(self.global(file).as_bytes())
            }
            ProcEntry::Global(file) => self.global(file).into_bytes(),
            ProcEntry::Cluster(file) => self.cluster(file).into_bytes(),
            ProcEntry::Trace(node) => self.trace(NodeId(node), reader)?,
            ProcEntry::Process(pid, file) => self.process_file(pid, file, reader)?,
            ProcEntry::Thread(pid, tid, file) => self.thread_file((pid, tid), file, reader)?,
        })
    }

    fn write(&mut self, entry: ProcEntry, writer: u32, bytes: &[u8]) -> Result<usize, Stop> {
        // Files of the system take nothing (`proc_reg_write` of Linux); those of processes say EINVAL.
        if let ProcEntry::Global(file) = entry
            && !matches!(file, GlobalFile::Sys(_))
        {
            return Err(Errno::EIO.into());
        }
        // As a string of C: who writes more than the text ends it by NUL.
        let string = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let text = core::str::from_utf8(string)
            .map_err(|_| Errno::EINVAL)?
            .trim();
        match entry {
            ProcEntry::Process(pid, ProcessFile::Goto) => self.go(pid, text, writer)?,
            ProcEntry::Global(GlobalFile::Sys(name)) => self.set(name, text)?,
            ProcEntry::Cluster(ClusterFile::Ping) => self.measure(writer, text)?,
            ProcEntry::Cluster(ClusterFile::Control) => self.control(text)?,
            ProcEntry::Cluster(ClusterFile::Policy) => self.set_policy(text)?,
            ProcEntry::Process(pid, ProcessFile::Policy) => self.set_policy_of(pid, text)?,
            ProcEntry::Process(pid, ProcessFile::OomScoreAdj | ProcessFile::OomAdj) => {
                let value: i32 = text.parse().map_err(|_| Errno::EINVAL)?;
                let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
                home.oom_score_adj = match entry {
                    ProcEntry::Process(_, ProcessFile::OomAdj) => process::from_oom_adj(value)?,
                    _ if (-1000..=1000).contains(&value) => value,
                    _ => return Err(Errno::EINVAL.into()),
                };
            }
            ProcEntry::Process(pid, ProcessFile::TimerslackNs) => {
                let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
                let ns = process::number(text).ok_or(Errno::EINVAL)?;
                home.options.set_timer_slack(ns);
            }
            ProcEntry::Process(pid, ProcessFile::CoredumpFilter) => {
                let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
                let what = process::number(text).ok_or(Errno::EINVAL)?;
                home.options.set_dumped(what as u32);
            }
            // Which pages were used is not kept, so there is nothing to clear.
            ProcEntry::Process(_, ProcessFile::ClearRefs)
                if matches!(text, "1" | "2" | "3" | "4" | "5") => {}
            // There are no namespaces of users in which it could be forbidden.
            ProcEntry::Process(_, ProcessFile::Setgroups) => return Err(Errno::EPERM.into()),
            ProcEntry::Process(pid, ProcessFile::Loginuid) => {
                // Only of oneself (proc_loginuid_write in Linux).
                if self.process_at_home(writer) != pid {
                    return Err(Errno::EPERM.into());
                }
                let user: u32 = text.parse().map_err(|_| Errno::EINVAL)?;
                let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
                let own = home.credentials_of(writer).ids;
                if home.login != u32::MAX && !own.has(AUDIT_CONTROL) {
                    return Err(Errno::EPERM.into());
                }
                home.login = user;
            }
            ProcEntry::Process(pid, ProcessFile::Comm) => {
                self.name_thread((pid, pid), bytes, writer)?
            }
            ProcEntry::Thread(pid, tid, ThreadFile::Comm) => {
                self.name_thread((pid, tid), bytes, writer)?;
            }
            _ => return Err(Errno::EINVAL.into()),
        }
        Ok(bytes.len())
    }

    fn memory(&mut self, part: MemoryPart, reader: u32, count: usize) -> Result<Vec<u8>, Stop> {
        match part {
            MemoryPart::Bytes(pid, at) => self.bytes_of(pid, reader, at, count),
            MemoryPart::Pages(pid, at) => self.pages_of(pid, reader, at, count),
            MemoryPart::Checkpoint(pid, at) => self.read_checkpoint(pid, reader, at, count),
        }
    }

    fn restart(
        &mut self,
        writer: u32,
        bytes: &[u8],
        standard: Vec<(u32, Arc<OpenFile>)>,
    ) -> Result<usize, Stop> {
        self.write_checkpoint(writer, bytes, standard)
    }

    fn set_memory(&mut self, pid: u32, writer: u32, at: u64, bytes: &[u8]) -> Result<usize, Stop> {
        self.set_bytes_of(pid, writer, at, bytes)
    }

    fn link(&self, entry: ProcEntry) -> Result<Vec<u8>, Errno> {
        match entry {
            ProcEntry::Process(pid, ProcessFile::Exe) => {
                let home = self.homes.get(&pid).filter(|home| home.lives());
                Ok(home.ok_or(Errno::ENOENT)?.program.clone())
            }
            ProcEntry::Process(pid, ProcessFile::Fd(fd)) => {
                let files = self.homes.get(&pid).and_then(|home| home.files.as_ref());
                files.ok_or(Errno::ENOENT)?.describe(fd)
            }
            ProcEntry::Process(pid, ProcessFile::Root) => {
                let files = self.homes.get(&pid).and_then(|home| home.files.as_ref());
                files.ok_or(Errno::ENOENT)?.root().path()
            }
            ProcEntry::Process(pid, ProcessFile::Cwd) => {
                let files = self.homes.get(&pid).and_then(|home| home.files.as_ref());
                files.ok_or(Errno::ENOENT)?.directory()
            }
            _ => Err(Errno::ENOENT),
        }
    }

    fn file(&self, entry: ProcEntry) -> Option<Place> {
        let ProcEntry::Process(pid, file) = entry else {
            return None;
        };
        let home = self.homes.get(&pid)?;
        let files = home.files.as_ref();
        match file {
            ProcessFile::Exe => Some(home.executing.as_ref()?.place().clone()),
            ProcessFile::Fd(fd) => Some(files?.get(fd).ok()?.place().clone()),
            ProcessFile::Cwd => Some(files?.cwd()),
            ProcessFile::Root => Some(files?.root()),
            _ => None,
        }
    }

    fn link_rights(&self, pid: u32, fd: u32) -> Option<u32> {
        let files = self.homes.get(&pid)?.files.as_ref()?;
        Some(files.get(fd).ok()?.link_rights())
    }

    fn descriptors(&self, pid: u32) -> Vec<u32> {
        let files = self.homes.get(&pid).and_then(|home| home.files.as_ref());
        files
            .map(crate::files::FileState::open_descriptors)
            .unwrap_or_default()
    }

    fn sockets(&self, known: &mut Sockets) {
        for files in (self.homes.values()).filter_map(|home| home.files.as_ref()) {
            files.add_sockets(known);
        }
    }

    fn random(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            chunk.copy_from_slice(&machine::random_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}
