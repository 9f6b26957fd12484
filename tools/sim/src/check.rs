//! What was really sent and who really lives, against what comes out.
//!
//! Law: the checker knows the truth from the outside and never asks a stack what it thinks.

use crate::network::Frame;
use node::{Event, Lane, PageTag};
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use wire::{BootId, Message, NodeId, Pid};

/// Why a run failed.
pub type Failure = String;

/// One thing that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Item {
    /// A short message.
    Short(u64),
    /// A message with so many runs.
    Long(u64, u32),
    /// A page of memory.
    Page(u64),
    /// A page of a file.
    FilePage(u64),
}

impl Item {
    /// The message, unless it is a page.
    pub fn message(self, pid: Pid) -> Option<Message> {
        match self {
            Item::Short(epoch) => Some(Message::Poke {
                pid,
                thread: Pid(0),
                epoch,
            }),
            Item::Long(epoch, runs) => {
                let runs = (0..runs).map(|run| (epoch ^ u64::from(run), run)).collect();
                Some(Message::PagesZero { pid, epoch, runs })
            }
            Item::Page(_) | Item::FilePage(_) => None,
        }
    }

    /// The page with its tag, if it is one.
    pub fn page(self, pid: Pid) -> Option<(PageTag, Frame)> {
        let (id, file) = match self {
            Item::Page(id) => (id, 0),
            Item::FilePage(id) => (id, 1 << 63),
            _ => return None,
        };
        let mut bytes = [id as u8; 4096];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        bytes[4088..].copy_from_slice(&(!id).to_le_bytes());
        let tag = PageTag {
            pid,
            epoch: id,
            page: (id * 4096) | file,
        };
        Some((tag, Arc::new(bytes)))
    }
}

impl Item {
    /// Whether it comes out in the order of its lane, and not when it is there.
    fn is_ordered(self, lane: Lane) -> bool {
        match (self, lane) {
            (Item::Page(_), _) | (Item::Short(_), Lane::Bulk) => false,
            (Item::FilePage(_), _) | (_, Lane::Urgent) => true,
            (Item::Long(..), Lane::Bulk) => {
                let message = self.message(Checker::pid(NodeId(1), lane));
                message.is_some_and(|message| message.encode().len() > wire::PAYLOAD_MAX)
            }
        }
    }
}

/// One direction of one lane between two boots.
#[derive(Debug, Default)]
struct Stream {
    /// What has an order, and how much of it has come out.
    ordered: Vec<Item>,
    delivered: usize,
    /// What has none and has not come out.
    free: HashSet<Item>,
}

impl Stream {
    fn missing(&self) -> usize {
        self.ordered.len() - self.delivered + self.free.len()
    }
}

/// Source boot, target boot, lane.
type Key = (BootId, BootId, Lane);

/// The judge.
#[derive(Debug, Default)]
pub struct Checker {
    streams: HashMap<Key, Stream>,
    /// The boot of each node that lives now.
    living: HashMap<NodeId, BootId>,
    /// What each receiving boot takes for the present boot of a node.
    views: HashMap<(BootId, NodeId), BootId>,
    /// Boots declared lost, per observing boot.
    lost: HashSet<(BootId, BootId)>,
    next_id: u64,
    /// Items that came out.
    pub delivered: u64,
}

impl Checker {
    /// A node boots; its boot before is dead.
    pub fn booted(&mut self, id: NodeId, boot: BootId) {
        self.living.insert(id, boot);
    }

    /// An id for the next item.
    pub fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The mark by which the lane of an item is told: the serial number of its pid.
    pub fn pid(from: NodeId, lane: Lane) -> Pid {
        Pid::new(from, 1 + lane as u16)
    }

    /// An item was handed to the stack of `source`, whose peer was in boot `target`.
    pub fn sent(&mut self, source: BootId, target: BootId, lane: Lane, item: Item) {
        let stream = self.streams.entry((source, target, lane)).or_default();
        match item.is_ordered(lane) {
            true => stream.ordered.push(item),
            false => {
                stream.free.insert(item);
            }
        }
    }

    /// An event came out of the stack of boot `at`.
    ///
    /// # Errors
    /// What must not be.
    pub fn event(&mut self, at: BootId, event: &Event<Frame>) -> Result<(), Failure> {
        match event {
            Event::PeerUp { id, boot } => {
                if self.lost.contains(&(at, *boot)) {
                    return Err(format!("{at}: lost boot {boot} of node {id} came back"));
                }
                if let Some(old) = self.views.insert((at, *id), *boot) {
                    return Err(format!(
                        "{at}: node {id} up as {boot} without loss of {old}"
                    ));
                }
            }
            Event::PeerLost { id, boot } => {
                if self.living.get(id) == Some(boot) {
                    return Err(format!(
                        "{at}: living boot {boot} of node {id} declared lost"
                    ));
                }
                self.lost.insert((at, *boot));
                if self.views.remove(&(at, *id)) != Some(*boot) {
                    return Err(format!("{at}: {boot} of node {id} lost but was not up"));
                }
            }
            Event::PeerSilent { id, boot } | Event::PeerBack { id, boot } => {
                self.is_present(at, *id, *boot)?;
            }
            Event::StoodStill => {}
            Event::Message {
                from,
                boot,
                message,
            } => {
                let (pid, item) = match &**message {
                    Message::Poke { pid, epoch, .. } => (*pid, Item::Short(*epoch)),
                    Message::PagesZero { pid, epoch, runs } => {
                        (*pid, Item::Long(*epoch, runs.len() as u32))
                    }
                    _ => return Err(format!("{at}: nobody sent {message:?}")),
                };
                let whole = item.message(pid).as_ref() == Some(&**message);
                self.came(at, *from, *boot, pid, item, whole)?;
            }
            Event::Page {
                from,
                boot,
                tag,
                page,
            } => {
                let item = match tag.is_file() {
                    true => Item::FilePage(tag.epoch),
                    false => Item::Page(tag.epoch),
                };
                let meant = item.page(tag.pid);
                let whole = meant.is_some_and(|(t, contents)| t == *tag && contents == *page);
                self.came(at, *from, *boot, tag.pid, item, whole)?;
            }
            Event::Measured { .. } | Event::Beacon { .. } | Event::Member(_) => {}
            Event::Claimed { .. } | Event::Refused { .. } | Event::Stranger { .. } => {
                return Err(format!("{at}: two nodes with one number: {event:?}"));
            }
        }
        Ok(())
    }

    fn is_present(&self, at: BootId, id: NodeId, boot: BootId) -> Result<(), Failure> {
        match self.views.get(&(at, id)) {
            Some(present) if *present == boot => Ok(()),
            other => Err(format!(
                "{at}: event of boot {boot} of node {id}, present is {other:?}"
            )),
        }
    }

    fn came(
        &mut self,
        at: BootId,
        from: NodeId,
        boot: BootId,
        pid: Pid,
        item: Item,
        whole: bool,
    ) -> Result<(), Failure> {
        self.is_present(at, from, boot)?;
        let lane = lane_of(pid);
        if !whole || pid.home() != from {
            return Err(format!("{at}: {item:?} from {boot} is not what was sent"));
        }
        let Some(stream) = self.streams.get_mut(&(boot, at, lane)) else {
            return Err(format!("{at}: nothing was sent from {boot} on {lane:?}"));
        };
        self.delivered += 1;
        if stream.free.remove(&item) {
            return Ok(());
        }
        let place = stream.delivered;
        let expected = stream.ordered.get(place);
        if expected == Some(&item) {
            stream.delivered += 1;
            return Ok(());
        }
        let really = stream.ordered.iter().position(|other| *other == item);
        Err(format!(
            "{at}: from {boot} on {lane:?} place {place} expected {expected:?}, \
             got {item:?}, sent at place {really:?}"
        ))
    }

    /// After the storm: everything between living boots has come out, everybody is seen.
    ///
    /// # Errors
    /// What is missing.
    pub fn finish(&self) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for (&me, &boot) in &self.living {
            for (&other, &present) in &self.living {
                if me != other && self.views.get(&(boot, other)) != Some(&present) {
                    missing.push(format!("node {me} does not see node {other}"));
                }
                for lane in Lane::ALL {
                    let stream = self.streams.get(&(boot, present, lane));
                    let lacking = stream.map_or(0, Stream::missing);
                    if lacking > 0 {
                        missing.push(format!("{me} to {other} on {lane:?}: {lacking} missing"));
                    }
                }
            }
        }
        missing.sort();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(missing.join("; ")),
        }
    }
}

fn lane_of(pid: Pid) -> Lane {
    match pid.serial() {
        1 => Lane::Urgent,
        _ => Lane::Bulk,
    }
}
