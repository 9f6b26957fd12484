//! What is kept of one process, and the home part that it becomes again.
//!
//! Law: who a process is and what it may comes from here alone; its owner only says that it is there.

use crate::calls::home::{Options, Scheduling};
use crate::credentials::Credentials;
use crate::files::{FileSystem, KeptFiles};
use crate::home::{Home, HomeThread, Life, Mapped};
use crate::signals::PendingSignals;
use crate::wait::Wakes;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use migrate::HomeRecord;
use rpc::Gate;
use serde::{Deserialize, Serialize};
use wire::{BootId, NodeId, Pid, Policy, Reply};

/// Of a command line so much is kept.
const COMMAND_LINE: usize = 1024;

/// What is kept of one thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptThread {
    tid: u32,
    name: [u8; 16],
    /// Who it is, if that is not who the process is.
    credentials: Option<Credentials>,
    scheduling: Scheduling,
    seccomp: u8,
    /// Signals for it alone.
    pending: PendingSignals,
}

/// What is kept of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    epoch: u64,
    owner: (NodeId, BootId),
    previous: Option<(NodeId, BootId)>,
    last_source: Option<(NodeId, BootId)>,
    parent: u32,
    exit_signal: u32,
    group: u32,
    session: u32,
    detached: bool,
    executed: bool,
    disowns: bool,
    ignores_children: bool,
    deaf_to_stops: bool,
    credentials: Credentials,
    limits: Vec<(u64, u64)>,
    policy: Option<Policy>,
    nice: i32,
    oom_score_adj: i32,
    login: u32,
    options: Options,
    name: [u8; 16],
    command_line: Vec<u8>,
    program: Vec<u8>,
    threads: Vec<KeptThread>,
    files: KeptFiles,
    mapped: Vec<(u32, [u8; 32], Vec<u8>)>,
    /// By which signal it is stopped, and whether its parent was told, if it is.
    stopped: Option<(u32, bool)>,
    /// It goes on after a stop, and its parent was not told.
    continued: bool,
    /// Signals that no thread has taken.
    pending: PendingSignals,
    /// It has set timers, which are not kept.
    timers: bool,
    /// It shares memory, which is not kept.
    shares: bool,
}

impl Kept {
    /// What is to be kept, and this of its files.
    pub(crate) fn of(home: &Home, files: KeptFiles) -> Kept {
        let gate = home.record.gate();
        let threads = home.threads.iter().map(|(tid, thread)| KeptThread {
            tid: *tid,
            name: thread.name,
            credentials: (thread.credentials != *home.credentials())
                .then(|| (*thread.credentials).clone()),
            scheduling: thread.scheduling,
            seccomp: thread.seccomp,
            pending: thread.pending.clone(),
        });
        let command_line = &home.command_line;
        Kept {
            epoch: gate.epoch(),
            owner: (gate.owner(), gate.owner_boot()),
            previous: home.record.previous(),
            last_source: home.record.last_source(),
            parent: home.parent,
            exit_signal: home.exit_signal,
            group: home.group,
            session: home.session,
            detached: home.detached,
            executed: home.executed,
            disowns: home.disowns,
            ignores_children: home.ignores_children,
            deaf_to_stops: home.deaf_to_stops,
            credentials: (**home.credentials()).clone(),
            limits: home.limits.to_vec(),
            policy: home.policy,
            nice: home.nice,
            oom_score_adj: home.oom_score_adj,
            login: home.login,
            options: home.options,
            name: home.name,
            command_line: command_line[..command_line.len().min(COMMAND_LINE)].to_vec(),
            program: home.program.clone(),
            threads: threads.collect(),
            files,
            mapped: home.mapped.to_be_kept(),
            stopped: match home.life {
                Life::Stopped { signal, told } => Some((signal, told)),
                _ => None,
            },
            continued: home.continued,
            pending: home.pending.clone(),
            timers: home.timer.0 != 0 || !home.timers.is_empty(),
            shares: home.shares_memory(),
        }
    }

    /// The same for a process that begins again here, in an epoch that it has never had, as a child of `parent`.
    pub(crate) fn begun_again(self, epoch: u64, me: (NodeId, BootId), parent: &Home) -> Kept {
        Kept {
            epoch,
            owner: me,
            previous: None,
            last_source: None,
            parent: parent.pid,
            exit_signal: abi::signal::SIGCHLD,
            // Whoever has it now has it in the foreground or in the background, as any program it starts.
            group: parent.group,
            session: parent.session,
            detached: false,
            ..self
        }
    }

    /// Its threads.
    pub(crate) fn tids(&self) -> impl Iterator<Item = u32> {
        self.threads.iter().map(|thread| thread.tid)
    }

    /// Its epoch.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether all is there that it had open and mapped by name.
    pub(crate) fn finds_its_files(&self, fs: &FileSystem) -> bool {
        let mapped = self
            .mapped
            .iter()
            .all(|(_, hash, _)| fs.by_hash(hash).is_some());
        mapped && fs.has_directories_of(&self.files)
    }

    /// What of it cannot be had again, and without which it cannot go on.
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        self.shares
            .then_some("the memory that it shared was its home's")
    }

    /// The home part again, with what of it is lost in words (empty: nothing).
    pub(crate) fn again(
        &self,
        pid: u32,
        answers: Vec<(Pid, Reply)>,
        (fs, wakes, now): (&FileSystem, &Wakes, u64),
    ) -> (Home, String) {
        let (mut files, lost) = fs.open_again(&self.files);
        let gate = Gate::restored(self.epoch, self.owner, answers.into_iter());
        let mapped = self
            .mapped
            .iter()
            .filter_map(|(handle, hash, path)| Some((*handle, fs.by_hash(hash)?, &path[..])));
        let credentials = Arc::new(self.credentials.clone());
        let thread = |thread: &KeptThread| {
            let own = thread.credentials.clone().map(Arc::new);
            let kept = HomeThread {
                name: thread.name,
                credentials: own.unwrap_or_else(|| credentials.clone()),
                scheduling: thread.scheduling,
                seccomp: thread.seccomp,
                pending: PendingSignals::again(&thread.pending),
                ..HomeThread::default()
            };
            (thread.tid, kept)
        };
        let blank = Home::blank(pid, now, wakes);
        let mut limits = blank.limits;
        for (limit, kept) in limits.iter_mut().zip(&self.limits) {
            *limit = *kept;
        }
        let [_, fsize, .., nofile] = [0, 1, crate::body::NOFILE].map(|which| limits[which].0);
        files.largest_file = fsize;
        files.set_limit(u32::try_from(nofile).unwrap_or(u32::MAX));
        let home = Home {
            parent: self.parent,
            // Which of its threads it was is not kept.
            maker: self.parent,
            exit_signal: self.exit_signal,
            group: self.group,
            session: self.session,
            detached: self.detached,
            executed: self.executed,
            record: HomeRecord::restored(Pid(pid), gate, self.previous, self.last_source),
            files: Some(files),
            mapped: Mapped::again(mapped),
            life: match self.stopped {
                None => Life::Alive,
                Some((signal, told)) => Life::Stopped { signal, told },
            },
            continued: self.continued,
            pending: PendingSignals::again(&self.pending),
            threads: self.threads.iter().map(thread).collect(),
            disowns: self.disowns,
            ignores_children: self.ignores_children,
            deaf_to_stops: self.deaf_to_stops,
            left: credentials.clone(),
            limits,
            policy: self.policy,
            nice: self.nice,
            oom_score_adj: self.oom_score_adj,
            login: self.login,
            name: self.name,
            command_line: self.command_line.clone(),
            program: self.program.clone(),
            options: self.options,
            ..blank
        };
        (home, lost_in_words(&lost, self.timers))
    }
}

fn lost_in_words(descriptors: &[u32], timers: bool) -> String {
    let mut text = String::new();
    for (index, fd) in descriptors.iter().enumerate() {
        let lead = if index == 0 { "descriptors " } else { ", " };
        text.push_str(lead);
        text.push_str(&alloc::format!("{fd}"));
        if index == 15 {
            text.push_str(" and more");
            break;
        }
    }
    if timers {
        text.push_str(if text.is_empty() {
            "timers"
        } else {
            ", timers"
        });
    }
    text
}
