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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// A short message.
    Short(u64),
    /// A message with so many runs.
    Long(u64, u32),
    /// A page.
    Page(u64),
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
            Item::Page(_) => None,
        }
    }

    /// The page with its tag, if it is one.
    pub fn page(self, pid: Pid) -> Option<(PageTag, Frame)> {
        let Item::Page(id) = self else { return None };
        let mut bytes = [id as u8; 4096];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        bytes[4088..].copy_from_slice(&(!id).to_le_bytes());
        let tag = PageTag {
            pid,
            epoch: id,
            page: id * 4096,
        };
        Some((tag, Arc::new(bytes)))
    }
}

/// One direction of one lane between two boots.
#[derive(Debug, Default)]
struct Stream {
    sent: Vec<Item>,
    delivered: usize,
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
        stream.sent.push(item);
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
            Event::Message {
                from,
                boot,
                message,
            } => {
                let lane = match message {
                    Message::Poke { pid, .. } | Message::PagesZero { pid, .. } => lane_of(*pid),
                    _ => return Err(format!("{at}: nobody sent {message:?}")),
                };
                self.came(at, *from, *boot, lane, |item, pid| {
                    item.message(pid).as_ref() == Some(message)
                })?;
            }
            Event::Page {
                from,
                boot,
                tag,
                page,
            } => {
                self.came(at, *from, *boot, lane_of(tag.pid), |item, pid| {
                    item.page(pid)
                        .is_some_and(|(t, contents)| t == *tag && contents == *page)
                })?;
            }
            Event::Measured { .. } | Event::Beacon { .. } => {}
            Event::Claimed { .. } | Event::Refused { .. } => {
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
        lane: Lane,
        is: impl Fn(Item, Pid) -> bool,
    ) -> Result<(), Failure> {
        self.is_present(at, from, boot)?;
        let Some(stream) = self.streams.get_mut(&(boot, at, lane)) else {
            return Err(format!("{at}: nothing was sent from {boot} on {lane:?}"));
        };
        let pid = Checker::pid(from, lane);
        let place = stream.delivered;
        match stream.sent.get(place) {
            Some(item) if is(*item, pid) => {
                stream.delivered += 1;
                self.delivered += 1;
                Ok(())
            }
            expected => {
                let really = stream.sent.iter().position(|item| is(*item, pid));
                Err(format!(
                    "{at}: from {boot} on {lane:?} place {place} expected {expected:?}, \
                     got what was sent at place {really:?}"
                ))
            }
        }
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
                    if let Some(stream) = self.streams.get(&(boot, present, lane))
                        && stream.delivered != stream.sent.len()
                    {
                        let (sent, came) = (stream.sent.len(), stream.delivered);
                        missing.push(format!("{me} to {other} on {lane:?}: {came} of {sent}"));
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
