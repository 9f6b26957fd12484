//! What home keeps on its disk of processes that are away, so that its next boot is their home again.
//!
//! Law: **nothing leaves that rests on what is not on the disk.** What home knows of a process that is away is compared
//! with what its journal has before anything is sent; if that differs it is noted, and all that is sent from then on
//! waits in its order until the disk has it. So whoever has heard of an owner, an epoch, a descriptor or a
//! pid has heard of what the next boot will find. A node whose disk fails stops.
//!
//! Without a disk there is no journal, and nothing of this is done.
//!
//! Kept are processes that are away (`record`): owner, epoch, who they are, their signals, and of their files what is not only in memory; the answer to
//! the call that changed any of this last, by thread, so that it is not executed again when it is asked again; pids
//! that were given out, by blocks; and boots. How a process is found again is in `orphans`.
//!
//! Not here: files in memory, pipes, sockets, timers, children that have ended: they are lost with home's memory.

mod orphans;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use orphans::Orphans;

use crate::files::Cursors;
use crate::home::INIT;
use crate::system::System;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use journal::{Journal, Mark, Op};
use machine::Frame;
use node::{Lane, PageTag};
pub(crate) use record::Kept;
use serde::de::DeserializeOwned;
use wire::{BootId, Message, NodeId, Pid, Reply};

/// Under which number the journal has what is known of the node itself; below are pids. That is laid out so for ever.
const NODE: u64 = 1 << 32;
/// And the layout of its records, an u32; nothing if that is of before layouts had numbers.
pub(crate) const RECORDS: u64 = NODE + 1;
/// The layout of the records that this system writes, and the only one that it reads. It is raised with any change of what a
/// record's bytes are or mean (`tests.rs` has them).
pub(crate) const LAYOUT: u32 = 4;
/// So many pids are given out before the disk is told again.
const SERIALS: u16 = 256;
/// The number of the boot begins at this bit of its id.
const BOOT_SHIFT: u32 = 40;
/// Longer answers are not kept: what such calls do can be done again.
const ANSWER_MAX: usize = 4096;

/// What waits until the disk has what it rests on.
enum Held {
    Message(NodeId, Message),
    Page(NodeId, Lane, PageTag, Frame),
}

/// What the journal has of a process: itself, and the answers to the last calls of its threads that changed something.
type Record = (Kept, Vec<(Pid, Reply)>);

/// What is in the journal of a process, beside what the journal has itself.
#[derive(Default)]
struct Known {
    kept: Option<Kept>,
    cursors: Cursors,
    /// The answers to the last calls of its threads that changed something.
    answers: BTreeMap<u32, Reply>,
}

/// The journal of a node with a disk, and what waits for it.
#[derive(Default)]
pub(crate) struct Keeper {
    journal: Option<Journal>,
    /// This boot is on the disk when this is.
    begun: Mark,
    /// Pids up to this serial number may have been given out.
    serials: u16,
    touched: BTreeSet<u32>,
    known: BTreeMap<u32, Known>,
    held: VecDeque<(Mark, Held)>,
    /// Found in the journal, and not claimed by their owners yet.
    pub(super) awaited: BTreeSet<u32>,
    /// There is no room for them on the disk: they end with their home, which was said.
    pub(super) unkept: BTreeSet<u32>,
    /// Found again: nobody of their parents is there to see their ends.
    pub(super) adopted: BTreeSet<u32>,
}

impl Keeper {
    /// Takes a journal into use: this is one boot more. The id of the boot grows with it; `drawn` is random.
    pub(crate) fn new(journal: Option<Journal>, drawn: BootId) -> (Keeper, BootId, u16) {
        let Some(mut journal) = journal else {
            return (Keeper::default(), drawn, 0);
        };
        let node = journal.get(NODE).map(understood::<(u64, u16)>);
        let Some((boots, serials)) = node.unwrap_or(Some((0, 0))) else {
            machine::log!("what the journal has of this node is not understood: it is not used");
            return (Keeper::default(), drawn, 0);
        };
        forget_other_layouts(&mut journal);
        let boots = boots + 1;
        let low = drawn.0 & ((1 << BOOT_SHIFT) - 1) | 1;
        let mut keeper = Keeper {
            serials: serials.wrapping_add(SERIALS),
            ..Keeper::default()
        };
        note_node(&mut journal, boots, keeper.serials);
        keeper.begun = journal.noted();
        keeper.journal = Some(journal);
        (keeper, BootId(boots << BOOT_SHIFT | low), serials)
    }

    /// Whether there is a journal.
    pub(crate) fn keeps(&self) -> bool {
        self.journal.is_some()
    }

    /// Whether a process was found in the journal, and its owner has not said that it is there.
    pub(crate) fn awaits(&self, pid: u32) -> bool {
        self.awaited.contains(&pid)
    }

    /// Whether this boot is not on the disk yet: nobody is to hear of it.
    pub(crate) fn is_beginning(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| journal.flushed() < self.begun)
    }

    /// The mark that everything which is sent now has to wait for, if it has to.
    fn waits_for(&self) -> Option<Mark> {
        let journal = self.journal.as_ref()?;
        (journal.flushed() < journal.noted()).then(|| journal.noted())
    }

    /// Whether there is nothing for the disk to do, and nothing that waits for it.
    pub(crate) fn is_idle(&self) -> bool {
        self.touched.is_empty() && self.held.is_empty() && self.waits_for().is_none()
    }

    /// The owner of a process speaks for it; whether that is news.
    pub(crate) fn found(&mut self, pid: u32) -> bool {
        self.awaited.remove(&pid) && self.adopted.insert(pid)
    }

    /// What it has to remember, beside the node itself.
    #[cfg(feature = "canary")]
    pub(crate) fn count(&self) -> usize {
        let records = self.records().len();
        let found = self.awaited.len() + self.adopted.len();
        records + found + self.touched.len() + self.known.len() + self.held.len()
    }

    /// A pid with this serial number is given out.
    pub(crate) fn note_serial(&mut self, serial: u16) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        // All before this one and no farther away than the block.
        let left = self.serials.wrapping_sub(serial);
        if left == 0 || left > SERIALS {
            let node = journal.get(NODE);
            let node = node.and_then(understood::<(u64, u16)>);
            self.serials = serial.wrapping_add(SERIALS);
            note_node(journal, node.map_or(1, |(boots, _)| boots), self.serials);
        }
    }

    /// A boot of a node is over: what was to be sent to that is not for the next one.
    pub(crate) fn let_go(&mut self, node: NodeId) {
        self.held.retain(|(_, held)| match held {
            Held::Message(to, _) | Held::Page(to, ..) => *to != node,
        });
    }

    /// Messages that wait for the disk.
    #[cfg(test)]
    pub(crate) fn held(&self) -> impl Iterator<Item = &Message> {
        self.held.iter().filter_map(|(_, held)| match held {
            Held::Message(_, message) => Some(message),
            Held::Page(..) => None,
        })
    }

    /// What home knows of a process may have changed.
    pub(crate) fn touch(&mut self, pid: u32) {
        if self.journal.is_some() {
            self.touched.insert(pid);
        }
    }

    /// What the journal says of processes.
    fn records(&self) -> Vec<(u32, Vec<u8>)> {
        self.journal.as_ref().map_or_else(Vec::new, records)
    }

    /// A process has ended; whether it was adopted.
    pub(crate) fn ended(&mut self, pid: u32) -> bool {
        self.touch(pid);
        self.adopted.remove(&pid)
    }

    fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
        self.awaited.remove(&pid);
        self.unkept.remove(&pid);
        if let Some(journal) = &mut self.journal {
            let before = journal.noted();
            if journal.remove(u64::from(pid)) != before {
                // There is more room now.
                self.touched.extend(&self.unkept);
            }
        }
    }
}

/// The records of processes.
fn records(journal: &Journal) -> Vec<(u32, Vec<u8>)> {
    let pids = journal.iter();
    let pids = pids.filter_map(|(key, value)| Some((u32::try_from(key).ok()?, value.to_vec())));
    pids.collect()
}

/// What was noted, if all of it is understood.
pub(crate) fn understood<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

/// Records that another system has laid out are not guessed at. Boots and pids go on as they were.
fn forget_other_layouts(journal: &mut Journal) {
    let layout = journal.get(RECORDS).map(understood::<u32>);
    if layout == Some(Some(LAYOUT)) {
        return;
    }
    let records = records(journal);
    if !records.is_empty() {
        let of = match layout.flatten() {
            Some(layout) => alloc::format!("{layout}"),
            None => String::from("of before layouts had numbers"),
        };
        machine::log!(
            "the journal has {} processes in layout {of}, and this system reads layout {LAYOUT}: they end where they are. \
             Who replaces the system of a node brings its processes home first",
            records.len()
        );
    }
    // Before the number: who boots in the middle of this finds the old one.
    for (pid, _) in records {
        journal.remove(u64::from(pid));
    }
    let value = postcard::to_allocvec(&LAYOUT).unwrap_or_default();
    if journal.put(RECORDS, &value).is_err() {
        // There is always room for a few bytes when nothing else is there.
        machine::log!("the journal takes no word of the layout of its records");
    }
}

fn note_node(journal: &mut Journal, boots: u64, serials: u16) {
    let value = postcard::to_allocvec(&(boots, serials)).unwrap_or_default();
    if journal.put(NODE, &value).is_err() {
        // The map is half full at most, and this replaces what is there.
        machine::log!("the journal takes no word of this boot");
    }
}

impl System {
    /// What the disk is to do next; [`System::disk_done`] follows before the next.
    pub fn poll_disk(&mut self) -> Option<Op> {
        // What nothing is sent about is written down, too: a process that has ended is not to be found again.
        self.keep_touched();
        self.keeper.journal.as_mut()?.poll()
    }

    /// How that ended.
    pub fn disk_done(&mut self, succeeded: bool) {
        let Some(journal) = &mut self.keeper.journal else {
            return;
        };
        journal.done(succeeded);
        if !succeeded {
            machine::log!(
                "the disk does not keep the journal: this node stops, as its word would not hold"
            );
            return self.request_power_off(1);
        }
        let flushed = journal.flushed();
        while let Some((mark, _)) = self.keeper.held.front()
            && *mark <= flushed
            && let Some((_, held)) = self.keeper.held.pop_front()
        {
            self.let_out(held);
        }
        self.settle();
    }

    fn let_out(&mut self, held: Held) {
        let now = self.now;
        let (to, done) = match held {
            Held::Message(to, message) => (to, self.net.send(now, to, message)),
            Held::Page(to, lane, tag, frame) => {
                let page = crate::system::NetPage(frame);
                (to, self.net.send_page(now, to, lane, tag, page))
            }
        };
        if done.is_err() {
            machine::log!("no way to node {}", to.0);
        }
    }

    /// Sends a message behind everything that waits for the disk.
    pub(crate) fn send_kept(&mut self, to: NodeId, message: Message) {
        self.hold(Held::Message(to, message));
    }

    /// The same for a page of a file. One of memory does not wait: the copy that gets it does nothing that anybody sees before a
    /// decision, which waits; and whether such pages have arrived is asked of the link, which does not know what is held here.
    pub(crate) fn send_page_kept(&mut self, to: NodeId, lane: Lane, tag: PageTag, frame: Frame) {
        let page = Held::Page(to, lane, tag, frame);
        match tag.is_file() {
            true => self.hold(page),
            false => self.let_out(page),
        }
    }

    /// Whether a page of a file or of shared memory that a process has sent to a node may not have been handed on there: something
    /// that comes from elsewhere could overtake it.
    pub(crate) fn is_telling(&self, to: NodeId, pid: Pid) -> bool {
        let is_of = |tag: &PageTag, node: NodeId| tag.pid == pid && tag.is_file() && node == to;
        let mut held = self.keeper.held.iter();
        let is_held =
            held.any(|(_, held)| matches!(held, Held::Page(to, _, tag, _) if is_of(tag, *to)));
        is_held || self.net.is_telling(to, pid)
    }

    fn hold(&mut self, held: Held) {
        if !self.keeper.touched.is_empty() {
            self.keep_touched();
        }
        match self.keeper.waits_for() {
            #[cfg(feature = "canary")]
            Some(_) if self.canary == Some(crate::inside::Canary::WordsUnflushed) => {
                self.let_out(held);
            }
            Some(mark) => self.keeper.held.push_back((mark, held)),
            None => self.let_out(held),
        }
    }

    fn keep_touched(&mut self) {
        for pid in core::mem::take(&mut self.keeper.touched) {
            self.keep(pid, false, None);
        }
    }

    /// Home has decided about a process that stands still: where its cursors are is known.
    pub(crate) fn keep_decided(&mut self, pid: u32) {
        if self.keeper.keeps() {
            self.keep(pid, true, None);
        }
    }

    /// An answer is about to leave: if the call has changed what is kept, the answer is kept with it.
    pub(crate) fn keep_answer(&mut self, pid: u32, tid: u32, reply: &Reply) {
        let Some(journal) = &self.keeper.journal else {
            return;
        };
        let before = journal.noted();
        // Its children, before all.
        self.keeper.touched.remove(&pid);
        self.keep_touched();
        let made = self.keeper.journal.as_ref().map(Journal::noted) != Some(before);
        self.keep(pid, false, Some((tid, reply, made)));
    }

    /// Brings what the journal has of a process up to date.
    fn keep(&mut self, pid: u32, exact: bool, answer: Option<(u32, &Reply, bool)>) {
        let me = self.me;
        let home = self
            .homes
            .get(&pid)
            .filter(|home| home.lives() && pid != INIT && home.record.is_to_be_kept(me));
        let Some(home) = home else {
            return self.keeper.forget(pid);
        };
        let known = self.keeper.known.entry(pid).or_default();
        let Some(files) = home.files.as_ref() else {
            // One of its calls is being executed: the end of that comes here again.
            return;
        };
        let kept = Kept::of(home, files.to_be_kept(exact, &mut known.cursors));
        let made = answer.is_some_and(|(.., made)| made);
        if known.kept.as_ref() == Some(&kept) && !made {
            return;
        }
        if let Some((tid, reply, _)) = answer {
            known.answers.remove(&tid);
            #[cfg(feature = "canary")]
            let forgets = self.canary == Some(crate::inside::Canary::AnswersForgotten);
            #[cfg(not(feature = "canary"))]
            let forgets = false;
            if reply.data.len() <= ANSWER_MAX && !forgets {
                known.answers.insert(tid, reply.clone());
            }
        }
        known
            .answers
            .retain(|tid, _| home.threads.contains_key(tid));
        let answers: Vec<(Pid, &Reply)> = known
            .answers
            .iter()
            .map(|(tid, reply)| (Pid(*tid), reply))
            .collect();
        let value = postcard::to_allocvec(&(&kept, answers)).unwrap_or_default();
        known.kept = Some(kept);
        let Some(journal) = &mut self.keeper.journal else {
            return;
        };
        if journal.put(u64::from(pid), &value).is_ok() {
            if self.keeper.unkept.remove(&pid) {
                machine::log!("process {pid}: there is room in the journal again, it is kept");
            }
            return;
        }
        // What the disk has of it is not true any more. It is tried again when anything of it changes, or there is more room.
        journal.remove(u64::from(pid));
        known.kept = None;
        if self.keeper.unkept.insert(pid) {
            machine::log!("process {pid}: no room in the journal, it ends with its home");
        }
    }
}
