//! A small cluster around the shipped machines: hosts, ordered lanes, reboots, one process.
//!
//! Law: what a real node guarantees is guaranteed here (lanes are ordered per pair of boots, the loss
//! of a boot is told before anything of the next one), and nothing more. Duplicates are an extra.

use super::broken::Rule;
use super::std::println;
use crate::{HomeRecord, Source, Target, Tombstones};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use wire::{BootId, Message, NodeId, Pid};

/// Hosts; the first is the home of the process.
pub(super) const HOSTS: usize = 3;
pub(super) const HOME: usize = 0;
pub(super) const PID: Pid = Pid::new(NodeId(1), 7);
/// The number of the call by which the process ends.
pub(super) const EXIT: u32 = 60;
/// The number of every other call; its first argument counts the effects before it.
pub(super) const WRITE: u32 = 1;

pub(super) type Place = (NodeId, BootId);

/// What a lane carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Message(Message),
    /// The sender has booted again: its former boot.
    Lost(BootId),
    /// Everything copied for that epoch has been acknowledged.
    CopyAck(u64),
    /// Everything pushed in that epoch has been acknowledged.
    PushAck(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Packet {
    pub(super) from_boot: BootId,
    pub(super) to_boot: BootId,
    pub(super) item: Item,
}

/// From, to, lane (0 urgent, 1 bulk).
pub(super) type Lane = (usize, usize, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    Running,
    /// To be frozen once its call has been answered.
    Draining,
    /// Its image is out.
    Frozen,
    /// Computes without effects.
    Speculating,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct InFlight {
    pub(super) seq: u64,
    pub(super) number: u32,
}

/// A copy of the process. Its memory is one number: the effects it has seen done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Body {
    pub(super) epoch: u64,
    pub(super) mode: Mode,
    pub(super) done: u64,
    pub(super) next_seq: u64,
    pub(super) call: Option<InFlight>,
    /// Home has answered its first, empty call.
    pub(super) arrived: bool,
    /// Absent pages are with this source.
    pub(super) pages_at: Option<Place>,
    /// It is to end because its pages died.
    pub(super) doomed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub(super) boot: BootId,
    /// The boots of the others as it knows them.
    pub(super) known: Vec<BootId>,
    pub(super) record: Option<HomeRecord>,
    /// The call that home is executing: number and first argument.
    pub(super) executing: Option<(u64, u32, u64)>,
    pub(super) body: Option<Body>,
    pub(super) source: Option<Source>,
    pub(super) target: Option<Target>,
    pub(super) tombstones: Tombstones,
}

/// What only an all-seeing observer knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Observer {
    /// Effects the world has seen.
    pub(super) log: u64,
    /// Who owned each epoch.
    pub(super) owners: BTreeMap<u64, Place>,
    /// No effect yet since the last change of hands to a target.
    pub(super) unseen: bool,
    /// The process is over, and rightly so.
    pub(super) over: bool,
    pub(super) violation: Option<String>,
    /// Finished moves: done, failed.
    pub(super) moves: (u32, u32),
    pub(super) handed_back: u32,
    pub(super) pages_lost: u32,
    pub(super) fenced: u32,
    pub(super) ended: u32,
    pub(super) aborted: u32,
}

/// When the others hear of a new boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Word {
    /// Behind what the old boot had sent.
    InOrder,
    /// Before it: what is still under way counts no more.
    Overtakes,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) lanes: BTreeMap<Lane, VecDeque<Packet>>,
    /// Delivered packets that may come once more.
    pub(super) old: Vec<(Lane, Packet)>,
    pub(super) replays: bool,
    /// Print what happens.
    pub(super) trace: bool,
    pub(super) broken: Rule,
    /// A previous owner that the broken home remembers against the rules.
    pub(super) grudge: Option<Place>,
    pub(super) observer: Observer,
}

impl Observer {
    /// Drops what only counts, so that it does not tell states apart.
    pub(super) fn forget_counts(&mut self) {
        *self = Observer {
            log: self.log,
            owners: core::mem::take(&mut self.owners),
            unseen: self.unseen,
            over: self.over,
            violation: self.violation.take(),
            ..Observer::default()
        };
    }
}

pub(super) fn node(host: usize) -> NodeId {
    NodeId(host as u16 + 1)
}

pub(super) fn host_of(node: NodeId) -> usize {
    usize::from(node.0) - 1
}

impl Host {
    fn new(boot: BootId, known: Vec<BootId>) -> Host {
        Host {
            boot,
            known,
            record: None,
            executing: None,
            body: None,
            source: None,
            target: None,
            tombstones: Tombstones::new(16),
        }
    }
}

impl World {
    /// The process runs at home in epoch 1; nothing is under way.
    pub(super) fn new(broken: Rule) -> World {
        let boots: Vec<BootId> = (0..HOSTS).map(|i| BootId(1000 * (i as u64 + 1))).collect();
        let mut hosts: Vec<Host> = boots
            .iter()
            .map(|boot| Host::new(*boot, boots.clone()))
            .collect();
        hosts[HOME].record = Some(HomeRecord::new(PID, node(HOME), boots[HOME]));
        hosts[HOME].body = Some(Body {
            epoch: 1,
            mode: Mode::Running,
            done: 0,
            next_seq: 1,
            call: None,
            arrived: true,
            pages_at: None,
            doomed: false,
        });
        hosts[HOME].tombstones.record(PID, 1);
        let mut world = World {
            now: 0,
            hosts,
            lanes: BTreeMap::new(),
            old: Vec::new(),
            replays: false,
            trace: false,
            broken,
            grudge: None,
            observer: Observer::default(),
        };
        world.note_owner();
        world
    }

    pub(super) fn fail(&mut self, what: impl Into<String>) {
        if self.observer.violation.is_none() {
            self.observer.violation = Some(what.into());
        }
    }

    pub(super) fn me(&self, host: usize) -> Place {
        (node(host), self.hosts[host].boot)
    }

    pub(super) fn put(&mut self, lane: Lane, item: Item) {
        let packet = Packet {
            from_boot: self.hosts[lane.0].boot,
            to_boot: self.hosts[lane.0].known[lane.1],
            item,
        };
        self.lanes.entry(lane).or_default().push_back(packet);
    }

    pub(super) fn send(&mut self, from: usize, to: NodeId, message: Message) {
        self.put((from, host_of(to), 0), Item::Message(message));
    }

    /// Lanes on which something waits.
    pub(super) fn busy_lanes(&self) -> Vec<Lane> {
        self.lanes.keys().copied().collect()
    }

    /// Delivers the next packet of a lane.
    pub(super) fn deliver(&mut self, lane: Lane) {
        let Some(queue) = self.lanes.get_mut(&lane) else {
            return;
        };
        let packet = queue.pop_front();
        if queue.is_empty() {
            self.lanes.remove(&lane);
        }
        if let Some(packet) = packet {
            if self.replays {
                self.old.push((lane, packet.clone()));
            }
            self.arrive(lane, packet);
        }
    }

    /// Delivers an old packet once more.
    pub(super) fn replay(&mut self, index: usize) {
        let (lane, packet) = self.old[index].clone();
        if !matches!(packet.item, Item::Lost(_)) {
            self.arrive(lane, packet);
        }
    }

    fn arrive(&mut self, (from, to, _): Lane, mut packet: Packet) {
        if let Item::Lost(former) = packet.item {
            if self.trace {
                println!("  {} learns that {} lost {former}", to + 1, from + 1);
            }
            if packet.to_boot == self.hosts[to].boot {
                self.hosts[to].known[from] = packet.from_boot;
                self.peer_lost(to, node(from), former);
            }
            return;
        }
        if self.broken == Rule::Boots {
            packet.from_boot = self.hosts[to].known[from];
            packet.to_boot = self.hosts[to].boot;
        }
        let known = self.hosts[to].known[from];
        if packet.to_boot != self.hosts[to].boot || packet.from_boot != known {
            return;
        }
        if self.trace {
            println!("  {} -> {}: {:?}", from + 1, to + 1, packet.item);
        }
        match packet.item {
            Item::Message(message) => self.handle(to, node(from), packet.from_boot, &message),
            Item::CopyAck(epoch) => self.copy_acknowledged(to, epoch),
            Item::PushAck(epoch) => self.push_acknowledged(to, epoch),
            Item::Lost(_) => {}
        }
        self.check_now();
    }

    /// Power off and on again. Of what it had sent, the first `keep` packets of each lane get out.
    pub(super) fn reboot(&mut self, host: usize, keep: usize, word: Word) {
        let former = self.hosts[host].boot;
        if self.trace {
            println!("  {} reboots", host + 1);
        }
        let boots: Vec<BootId> = self.hosts.iter().map(|h| h.boot).collect();
        if host == HOME {
            self.observer.over = true;
        }
        self.hosts[host] = Host::new(BootId(former.0 + 1), boots);
        self.hosts[host].known[host] = BootId(former.0 + 1);
        for (lane, queue) in &mut self.lanes {
            if lane.0 == host {
                let kept = if lane.1 == host { 0 } else { keep };
                // What tells of an earlier boot is not lost: it is told again and again.
                let mut index = 0;
                queue.retain(|packet| {
                    index += 1;
                    index <= kept || (lane.1 != host && matches!(packet.item, Item::Lost(_)))
                });
            }
        }
        self.lanes.retain(|_, queue| !queue.is_empty());
        for other in (0..HOSTS).filter(|other| *other != host) {
            // It hears of the new boot whatever it knew of the old one, if it is still the same.
            let packet = Packet {
                from_boot: self.hosts[host].boot,
                to_boot: self.hosts[other].boot,
                item: Item::Lost(former),
            };
            let queue = self.lanes.entry((host, other, 0)).or_default();
            // The news may overtake what the old boot had sent, but not older news.
            let news = queue.iter().rposition(|p| matches!(p.item, Item::Lost(_)));
            let at = match word {
                Word::Overtakes => news.map_or(0, |at| at + 1),
                Word::InOrder => queue.len(),
            };
            queue.insert(at, packet);
        }
        self.check_now();
    }
}
