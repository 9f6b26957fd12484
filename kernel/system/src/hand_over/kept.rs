//! A process that comes back to where it was: what that node has kept of it.
//!
//! Law: no move depends on what is kept. The target says what it has before it says that there is room (`Kept`);
//! behind the image the source names the pages that are still as they were (`PagesKept`), and all others travel as
//! ever. The epoch in which they went says that both mean the same pages. What a move counts on belongs to that
//! move; all else is given up when memory becomes scarce, when the owner has no use for it any more (`LetGo`), and
//! with the owner's boot.

use super::source::{Frozen, Outgoing};
use super::target::Incoming;
use crate::dispatch::wire_pid;
use crate::memory::Kept;
use crate::system::System;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use machine::{FrameCounts, FrameKind};
use wire::{Attempt, BootId, Message, MoveMode, NodeId, Offer};

/// Processes of which a node keeps pages.
const PROCESSES_MAX: usize = 64;
/// The part of a node's memory that stays free of what is kept.
const FREE_PART: u64 = 4;
/// Runs of pages that are named in one message, and altogether: what is more scattered travels.
const RUNS: usize = 256;
const RUNS_MAX: usize = 16 * RUNS;
/// Pages that are given back to a process in one go when nobody waits for them.
const AT_ONCE: usize = 128;
/// The word of the kernel's command line by which nothing is kept.
const KEEPS_NOTHING: &str = "keep_pages=no";

/// Who has the pages of a process that are still as they came from there, and in which epoch they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    pub(crate) epoch: u64,
}

/// What is kept of one process.
pub(crate) struct Keepsake {
    pub(crate) kept: Kept,
    to: (NodeId, BootId),
    epoch: u64,
    number: u64,
}

/// What a node keeps of processes that have left it.
pub(crate) struct Keepsakes {
    of: BTreeMap<u32, Keepsake>,
    last: u64,
    never: bool,
}

impl Keepsakes {
    pub(crate) fn new(command_line: &str) -> Keepsakes {
        let mut words = command_line.split_ascii_whitespace();
        Keepsakes {
            of: BTreeMap::new(),
            last: 0,
            never: words.any(|word| word == KEEPS_NOTHING),
        }
    }

    /// How many pages they are.
    pub(crate) fn pages(&self) -> u64 {
        self.of.values().map(|keepsake| keepsake.kept.count()).sum()
    }

    /// Gives up the one that is the oldest.
    fn forget_oldest(&mut self) {
        let oldest = self.of.iter().min_by_key(|(_, keepsake)| keepsake.number);
        if let Some(pid) = oldest.map(|(pid, _)| *pid) {
            self.of.remove(&pid);
        }
    }
}

impl System {
    /// How frames are used. What is kept is given up when somebody wants it, which is as good as free.
    pub(crate) fn frames(&self) -> FrameCounts {
        let (mut frames, kept) = (machine::frame_counts(), self.keepsakes.pages());
        let users = &mut frames.by_kind[FrameKind::User as usize];
        *users = users.saturating_sub(kept);
        frames.free += kept;
        frames
    }

    /// Whether pages that are sent now are kept.
    pub(super) fn keeps_pages(&self) -> bool {
        let frames = machine::frame_counts();
        !self.keepsakes.never && frames.free > frames.total / FREE_PART
    }

    /// Gives up what is kept, the oldest first, as far as memory is scarce.
    pub(crate) fn give_up_kept(&mut self) {
        while !self.keepsakes.of.is_empty()
            && (!self.keeps_pages() || self.keepsakes.of.len() > PROCESSES_MAX)
        {
            self.keepsakes.forget_oldest();
        }
    }

    /// A boot of a node is over, and with it the processes of which something is kept for it.
    pub(super) fn forget_kept_for(&mut self, node: NodeId, boot: BootId) {
        let of = &mut self.keepsakes.of;
        of.retain(|_, keepsake| keepsake.to != (node, boot));
    }

    // ---- the node that a process has left ----------------------------------------------------

    /// A process has left with all of its pages.
    pub(super) fn keep_pages(&mut self, pid: u32, frozen: Frozen) {
        let Some(out) = self.outgoing.get(&pid) else {
            return;
        };
        // Home may not have heard yet that this boot is over, which was told here once.
        let peer = self.net.peer(out.source.target());
        let lives = |boot: &BootId| peer.is_some_and(|peer| peer.boot == *boot);
        let Some(boot) = out
            .source
            .target_boot()
            .filter(|boot| out.keeps && out.end_sent && lives(boot))
        else {
            return;
        };
        self.keepsakes.last += 1;
        let keepsake = Keepsake {
            to: (out.source.target(), boot),
            epoch: out.source.target_epoch(),
            number: self.keepsakes.last,
            kept: frozen.space.into_kept(),
        };
        self.keepsakes.of.insert(pid, keepsake);
        self.give_up_kept();
    }

    /// The owner has no use any more for what came to it in this epoch.
    pub(super) fn kept_in_vain(&mut self, from: NodeId, boot: BootId, pid: u32, epoch: u64) {
        let keepsake = self.keepsakes.of.get(&pid);
        if keepsake.is_some_and(|it| (it.to, it.epoch) == ((from, boot), epoch)) {
            self.keepsakes.of.remove(&pid);
        }
        if let Some(out) = self.outgoing.get_mut(&pid)
            && (out.source.target(), out.source.target_epoch()) == (from, epoch)
        {
            out.keeps = false;
        }
    }

    /// A process is to come here: what is kept of it for whoever offers it, who is told so. Nothing else that was
    /// kept of it is of use.
    pub(super) fn take_kept(
        &mut self,
        from: NodeId,
        boot: BootId,
        offer: &Offer,
    ) -> Option<Keepsake> {
        let pid = offer.pid.0;
        let earlier = self.incoming.get_mut(&pid);
        let earlier = earlier.and_then(|incoming| incoming.kept.take());
        let keepsake = earlier.or_else(|| self.keepsakes.of.remove(&pid))?;
        if keepsake.to != (from, boot) || offer.copies {
            return None;
        }
        let kept = Message::Kept {
            pid: offer.pid,
            epoch: offer.epoch,
            attempt: offer.attempt,
            since: keepsake.epoch,
        };
        self.send(from, kept);
        Some(keepsake)
    }

    /// The source has said which pages are as they were.
    pub(super) fn kept_named(
        &mut self,
        from: NodeId,
        (pid, epoch): (u32, u64),
        runs: &[(u64, u32)],
        last: bool,
    ) {
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return;
        };
        let of = (incoming.target.source().0, incoming.target.epoch());
        if of != (from, epoch) || incoming.waits_for_image() {
            return;
        }
        let kept = incoming.kept.as_mut().map(|keepsake| &mut keepsake.kept);
        let here = match kept {
            Some(kept) => {
                let here = runs.iter().all(|(page, count)| kept.name(*page, *count));
                if last {
                    kept.forget_others();
                }
                here
            }
            None => runs.is_empty(),
        };
        if !here {
            machine::log!("process {pid}: its last source has named pages that are not here");
            return self.die(pid, abi::signal::SIGKILL);
        }
        let awaited: Vec<u64> = incoming.awaited.keys().copied().collect();
        for page in awaited {
            self.install_kept(pid, page);
        }
    }

    /// Gives a process a page that was named. False if it was not.
    pub(super) fn install_kept(&mut self, pid: u32, page: u64) -> bool {
        let Some(incoming) = self.incoming.get_mut(&pid) else {
            return false;
        };
        let kept = incoming.kept.as_mut();
        let Some(frame) = kept.and_then(|keepsake| keepsake.kept.take(page)) else {
            return false;
        };
        self.install_page(pid, page, frame);
        true
    }

    /// Gives processes pages that were named and that nobody waits for.
    pub(super) fn install_named(&mut self, pid: u32, most: usize) {
        for _ in 0..most {
            let named = self.incoming.get(&pid).and_then(Incoming::next_named);
            let Some(page) = named else { return };
            self.install_kept(pid, page);
        }
    }

    /// The processes for which pages lie here that they have not been given.
    pub(super) fn install_some(&mut self) {
        let incoming = self.incoming.iter();
        let waiting: Vec<u32> = incoming
            .filter(|(_, incoming)| incoming.next_named().is_some())
            .map(|(pid, _)| *pid)
            .collect();
        for pid in waiting {
            self.install_named(pid, AT_ONCE);
        }
    }

    // ---- the node that a process leaves ------------------------------------------------------

    /// A process is offered to this target: what others have kept of it is of no use.
    pub(super) fn look_who_keeps(&mut self, pid: u32, target: NodeId, mode: MoveMode) {
        let body = self.bodies.get(&pid);
        let holder = body.and_then(|body| body.holder);
        let fits = |holder: Holder| holder.node == target && mode == MoveMode::PostCopy;
        if !holder.is_some_and(fits) {
            if let Some(space) = self.space_mut(pid) {
                space.forget_copied();
            }
            self.nobody_keeps(pid);
        }
    }

    /// Nothing of this process that others have is of use any more, and they are told.
    pub(crate) fn nobody_keeps(&mut self, pid: u32) {
        let body = self.bodies.get_mut(&pid);
        let Some(Holder { node, epoch, .. }) = body.and_then(|body| body.holder.take()) else {
            return;
        };
        if let Some(space) = self.space_mut(pid) {
            space.forget_copied();
        }
        let pid = wire_pid(pid);
        self.send(node, Message::LetGo { pid, epoch });
    }

    /// The target says that it has pages of an earlier epoch.
    pub(super) fn kept_there(
        &mut self,
        (from, boot): (NodeId, BootId),
        (pid, epoch, attempt): (u32, u64, Attempt),
        since: u64,
    ) {
        let body = self.bodies.get(&pid);
        let holder = body.and_then(|body| body.holder);
        if let Some(out) = self.outgoing.get_mut(&pid)
            && out.source.target() == from
            && (out.source.target_epoch(), out.source.attempt()) == (epoch, attempt)
        {
            let told = Holder {
                node: from,
                boot,
                epoch: since,
            };
            out.there = match holder == Some(told) && out.how.mode == MoveMode::PostCopy {
                true => There::Kept,
                false => There::Useless,
            };
        }
    }

    /// Tells the target, behind the image, which of the pages that it has kept are as they were.
    pub(super) fn name_kept(&mut self, pid: u32) {
        let Some(out) = self.outgoing.get_mut(&pid) else {
            return;
        };
        let (target, epoch) = (out.source.target(), out.source.target_epoch());
        let runs = match core::mem::replace(&mut out.there, There::Nothing) {
            There::Nothing => return,
            There::Useless => Vec::new(),
            There::Kept => out.runs_kept(),
        };
        let mut parts = runs.chunks(RUNS).peekable();
        loop {
            let runs = parts.next().unwrap_or_default().to_vec();
            let last = parts.peek().is_none();
            let pid = wire_pid(pid);
            let named = Message::PagesKept {
                pid,
                epoch,
                runs,
                last,
            };
            self.send(target, named);
            if last {
                return;
            }
        }
    }
}

/// What a target has of a process that is offered to it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum There {
    /// Nothing, or it has been named.
    #[default]
    Nothing,
    /// Pages of which nobody here knows whether they are as they were.
    Useless,
    /// All that came from there.
    Kept,
}

impl Outgoing {
    /// The pages that the target has as they are, and which need not be sent: those that have been sent already
    /// are none of them.
    fn runs_kept(&mut self) -> Vec<(u64, u32)> {
        let Some(Frozen { space, .. }) = self.frozen.as_mut() else {
            return Vec::new();
        };
        for page in &self.early {
            space.forget_copied_page(*page);
        }
        let mut runs = Vec::new();
        let mut from = 0;
        while let Some((page, count)) = space.next_copied(from) {
            if runs.len() == RUNS_MAX {
                space.forget_copied_from(page);
                break;
            }
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            from = page + u64::from(count) * machine::PAGE_SIZE as u64;
            self.stats.pages_kept += u64::from(count);
            runs.push((page, count));
        }
        runs
    }
}

impl Incoming {
    /// A page that was named and that the process has not been given.
    pub(crate) fn next_named(&self) -> Option<u64> {
        self.kept.as_ref()?.kept.next_named()
    }
}
