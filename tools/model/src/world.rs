//! A small cluster around the shipped machines: hosts, lanes, reboots, one process of two threads.
//!
//! Law: what a real node guarantees is guaranteed here (lanes are ordered per pair of boots, the loss
//! of a boot is told before anything of the next one), and nothing more. A run may ask for a network
//! that is worse: then messages are lost, overtake each other, or come again at any later time.

use crate::adoption::Disk;
use crate::mutant::Mutant;
use migrate::{HomeRecord, Source, Target, Tombstones};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use wire::{BootId, Message, NodeId, Pid};

/// Hosts; the first is the home of the process.
pub const HOSTS: usize = 3;
/// The home.
pub const HOME: usize = 0;
/// The host that claims the process in runs in which one does; nobody moves it there.
pub const LIAR: usize = HOSTS - 1;
/// Where a process is born in runs in which one is.
pub(crate) const PARENT: usize = 1;
/// Threads of the process.
pub const THREADS: usize = 2;
/// Its first thread, and its own number.
pub(crate) const PID: Pid = Pid::new(NodeId(1), 7);
/// The number of the call by which the process ends.
pub const EXIT: u32 = 60;
/// The number of a call with an effect; its first argument counts the effects of the thread before it.
pub const WRITE: u32 = 1;
/// The number of the call that fetches a pending signal.
pub(crate) const TAKE: u32 = 2;
/// The number of a call that changes what home's journal keeps; else as [`WRITE`].
pub(crate) const KEEP: u32 = 32;
pub(crate) const ARRIVED: u32 = wire::CALL_ARRIVED;

pub(crate) type Place = (NodeId, BootId);

/// What a lane carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Message(Message),
    /// The sender has booted again: its former boot.
    Lost(BootId),
    /// Everything copied for that epoch has been acknowledged.
    CopyAck(u64),
    /// Everything pushed in that epoch has been acknowledged.
    PushAck(u64),
    /// The sender and the new boot of its home have met.
    Up,
    /// The sender is heard again that was silent.
    Back,
    /// Home has made the process as a child, which begins with what its parent is told.
    Born,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Packet {
    pub(crate) from_boot: BootId,
    pub(crate) to_boot: BootId,
    pub(crate) item: Item,
}

/// From, to, lane (0 urgent, 1 bulk).
pub type Lane = (usize, usize, u8);

impl Packet {
    /// Whether it is that call.
    pub(crate) fn is_call(&self, thread: Pid, seq: u64) -> bool {
        let call = match &self.item {
            Item::Message(Message::Call(call)) => Some((call.thread, call.seq)),
            _ => None,
        };
        call == Some((thread, seq))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    Running,
    /// To be frozen once its calls have been answered.
    Draining,
    /// Its image is out.
    Frozen,
    /// Computes without effects.
    Speculating,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InFlight {
    pub(crate) seq: u64,
    pub(crate) number: u32,
}

/// One thread of a copy. Its memory is one number: its effects that it has seen done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Thread {
    pub(crate) done: u8,
    pub(crate) next_seq: u64,
    pub(crate) call: Option<InFlight>,
    /// It has come to a call while effects wait, and stands before it.
    pub(crate) held: Option<u32>,
    /// Home has died over that call: it is made again under its number.
    pub(crate) again: Option<u32>,
}

/// A copy of the process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Body {
    pub(crate) epoch: u64,
    pub(crate) mode: Mode,
    pub(crate) threads: [Thread; THREADS],
    /// Home has answered its first, empty call.
    pub(crate) arrived: bool,
    /// A signal is pending at home.
    pub(crate) poked: bool,
    /// Signals that it has got.
    pub(crate) took: u8,
    /// Absent pages are with this source.
    pub(crate) pages_at: Option<Place>,
    /// It is to end because its pages died.
    pub(crate) doomed: bool,
    /// Its home has booted again, and has not said that it knows it.
    pub(crate) orphan: bool,
}

/// A call that home is executing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Work {
    pub(crate) thread: usize,
    pub(crate) seq: u64,
    pub(crate) number: u32,
    pub(crate) argument: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    pub(crate) boot: BootId,
    /// The boots of the others as it knows them.
    pub(crate) known: [BootId; HOSTS],
    pub(crate) record: Option<HomeRecord>,
    pub(crate) executing: Vec<Work>,
    /// At home: a signal waits for the process.
    pub(crate) pending: bool,
    pub(crate) body: Option<Body>,
    pub(crate) source: Option<Source>,
    /// The source pushes pages.
    pub(crate) pushing: bool,
    /// The source has sent its last page.
    pub(crate) end_sent: bool,
    pub(crate) target: Option<Target>,
    pub(crate) tombstones: Tombstones,
    /// Copies of these epochs have ended here as home was away, of which home has not been told.
    pub(crate) given_up: Vec<u64>,
}

/// A promise, by HANDOFF.md's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are what `name` says in words")]
pub enum Promise {
    OneCopy,
    Decision,
    Stale,
    Once,
    Signals,
    FailedMove,
    NotLost,
    Bystanders,
    Suspicion,
    Rest,
}

impl Promise {
    /// All of them.
    pub const ALL: [Promise; 10] = [
        Promise::OneCopy,
        Promise::Decision,
        Promise::Stale,
        Promise::Once,
        Promise::Signals,
        Promise::FailedMove,
        Promise::NotLost,
        Promise::Bystanders,
        Promise::Suspicion,
        Promise::Rest,
    ];

    /// The number and what is promised.
    pub fn name(self) -> &'static str {
        match self {
            Promise::OneCopy => "1: one copy has effects",
            Promise::Decision => "2: one owner per epoch, and effects need its decision",
            Promise::Stale => "3: a stale copy has no effect and stops",
            Promise::Once => "4: each call takes effect once, in order",
            Promise::Signals => "5: signals and the end come once, to every copy",
            Promise::FailedMove => "6: a failed move leaves the process at the source",
            Promise::NotLost => "7: before its first effect nothing is lost",
            Promise::Bystanders => "8: pages are where they are needed",
            Promise::Suspicion => "12: suspicion alone ends nothing",
            Promise::Rest => "26: at rest the process gets on and nothing is left over",
        }
    }
}

/// What a run should have shown at least once: a checker that saw none of it has checked nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are what `name` says in words")]
pub enum Seen {
    Moved,
    Failed,
    Aborted,
    HandedBack,
    Fenced,
    PagesLost,
    Ended,
    Repeated,
    HeldBack,
    SpeculationDropped,
    SignalTaken,
    Cancelled,
    Adopted,
    Inherited,
    ClaimedInVain,
    GivenUp,
    Unborn,
}

impl Seen {
    /// All of them.
    pub const ALL: [Seen; 17] = [
        Seen::Moved,
        Seen::Failed,
        Seen::Aborted,
        Seen::HandedBack,
        Seen::Fenced,
        Seen::PagesLost,
        Seen::Ended,
        Seen::Repeated,
        Seen::HeldBack,
        Seen::SpeculationDropped,
        Seen::SignalTaken,
        Seen::Cancelled,
        Seen::Adopted,
        Seen::Inherited,
        Seen::ClaimedInVain,
        Seen::GivenUp,
        Seen::Unborn,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Seen::Moved => "a move succeeds",
            Seen::Failed => "a move fails",
            Seen::Aborted => "home grants an abort",
            Seen::HandedBack => "home gives a process back",
            Seen::Fenced => "a stale copy is fenced",
            Seen::PagesLost => "pages are lost with their source",
            Seen::Ended => "a process ends with its node",
            Seen::Repeated => "a call comes again and is only answered",
            Seen::HeldBack => "a call waits for the decision",
            Seen::SpeculationDropped => "a copy that has computed is dropped",
            Seen::SignalTaken => "a signal is taken",
            Seen::Cancelled => "a call is cancelled for a freeze",
            Seen::Adopted => "a process is adopted by the next boot of its home",
            Seen::Inherited => "a target gets what its lost source had sent",
            Seen::ClaimedInVain => "a node claims the process without having been given it",
            Seen::GivenUp => "home hears that its process was given up",
            Seen::Unborn => "a child of which nobody heard was never there",
        }
    }
}

/// What was seen on the way; it does not tell states apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sights(u32);

impl Sights {
    /// Whether that was seen.
    pub fn have(self, seen: Seen) -> bool {
        self.0 & (1 << seen as u16) != 0
    }
}

impl PartialEq for Sights {
    fn eq(&self, _: &Sights) -> bool {
        true
    }
}

impl Eq for Sights {}

impl Hash for Sights {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What only an all-seeing observer knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Observer {
    /// Effects of each thread that the world has seen.
    pub log: [u8; THREADS],
    /// Who owned each epoch, from 1.
    pub(crate) owners: Vec<Place>,
    /// No effect yet since the last change of hands to a target.
    pub(crate) unseen: bool,
    /// Signals that home has handed out.
    pub(crate) taken: u8,
    /// Home has booted again and had its journal: signals of before may be lost.
    pub(crate) rebooted: bool,
    /// The process is over, and rightly so.
    pub over: bool,
    /// Its owner has given it up in this epoch.
    pub(crate) given_up: Option<u64>,
    /// Something was lost that nobody asks for again: the process need not get on.
    pub(crate) stuck: bool,
    /// The first promise that was broken.
    pub violation: Option<(Promise, &'static str)>,
    /// What has happened.
    pub seen: Sights,
}

/// When the others hear of a new boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Behind what the old boot had sent.
    InOrder,
    /// Before it: what is still under way counts no more.
    Overtakes,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) now: u64,
    pub(crate) hosts: [Host; HOSTS],
    pub(crate) lanes: BTreeMap<Lane, VecDeque<Packet>>,
    /// Copies of delivered packets that may come once more, whenever that is.
    pub(crate) strays: Vec<(Lane, Packet)>,
    /// Home's, if it has one.
    pub(crate) disk: Option<Disk>,
    /// Whether the cluster has keys, and so tickets.
    pub(crate) keys: bool,
    pub(crate) mutant: Mutant,
    /// What has been seen.
    pub observer: Observer,
}

pub(crate) fn node(host: usize) -> NodeId {
    NodeId(host as u16 + 1)
}

pub(crate) fn host_of(node: NodeId) -> usize {
    usize::from(node.0) - 1
}

/// The number of a thread.
pub(crate) fn tid(thread: usize) -> Pid {
    Pid(PID.0 + thread as u32)
}

pub(crate) fn thread_of(tid: Pid) -> usize {
    (tid.0 - PID.0) as usize
}

impl Host {
    fn new(boot: BootId, known: [BootId; HOSTS], mutant: Mutant) -> Host {
        Host {
            boot,
            known,
            record: None,
            executing: Vec::new(),
            pending: false,
            body: None,
            source: None,
            pushing: false,
            end_sent: false,
            target: None,
            tombstones: Tombstones::new(16).bound_by(mutant.rules()),
            given_up: Vec::new(),
        }
    }
}

impl Thread {
    fn new() -> Thread {
        Thread {
            done: 0,
            next_seq: 1,
            call: None,
            held: None,
            again: None,
        }
    }
}

impl World {
    /// A process in epoch 1: it runs at home and nothing is under way; or it is about to be the child of somebody at
    /// [`PARENT`], who has not heard of that.
    pub fn new(mutant: Mutant, disk: bool, keys: bool, birth: bool) -> World {
        let boots: [BootId; HOSTS] = std::array::from_fn(|i| BootId(1000 * (i as u64 + 1)));
        let mut hosts = boots.map(|boot| Host::new(boot, boots, mutant));
        let owner = if birth { PARENT } else { HOME };
        let mut record = HomeRecord::new(PID, node(owner), boots[owner]).bound_by(mutant.rules());
        for thread in 1..THREADS {
            record.gate_mut().open_lane(tid(thread), 1);
        }
        hosts[HOME].record = Some(record);
        let mut world = World {
            now: 0,
            hosts,
            lanes: BTreeMap::new(),
            strays: Vec::new(),
            disk: disk.then(Disk::default),
            keys,
            mutant,
            observer: Observer::default(),
        };
        world.note_owner();
        match birth {
            true => world.put((HOME, PARENT, 0), Item::Born),
            false => world.born(HOME),
        }
        world
    }

    /// The process begins at a host.
    pub(crate) fn born(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        host.body = Some(Body {
            epoch: 1,
            mode: Mode::Running,
            threads: std::array::from_fn(|_| Thread::new()),
            arrived: true,
            poked: false,
            took: 0,
            pages_at: None,
            doomed: false,
            orphan: false,
        });
        host.tombstones.record(PID, 1);
    }

    pub(crate) fn fail(&mut self, promise: Promise, what: &'static str) {
        self.observer.violation.get_or_insert((promise, what));
    }

    pub(crate) fn saw(&mut self, seen: Seen) {
        self.observer.seen.0 |= 1 << seen as u16;
    }

    pub(crate) fn me(&self, host: usize) -> Place {
        (node(host), self.hosts[host].boot)
    }

    pub(crate) fn put(&mut self, lane: Lane, item: Item) {
        let packet = Packet {
            from_boot: self.hosts[lane.0].boot,
            to_boot: self.hosts[lane.0].known[lane.1],
            item,
        };
        if !self.held(lane, &packet) {
            self.lanes.entry(lane).or_default().push_back(packet);
        }
    }

    pub(crate) fn send(&mut self, from: usize, to: NodeId, message: Message) {
        self.put((from, host_of(to), 0), Item::Message(message));
    }

    /// Lanes on which something waits, and how much.
    pub fn busy_lanes(&self) -> impl Iterator<Item = (Lane, usize)> + '_ {
        self.lanes.iter().map(|(lane, queue)| (*lane, queue.len()))
    }

    /// Calls that home is executing.
    pub fn executing(&self) -> usize {
        self.hosts[HOME].executing.len()
    }

    /// Whether a move leaves from there.
    pub fn is_source(&self, host: usize) -> bool {
        self.hosts[host].source.is_some()
    }

    /// Whether silence of others means anything there.
    pub fn judges(&self, host: usize) -> bool {
        self.is_source(host) || self.hosts[host].record.is_some()
    }

    /// Whether the process has its outside.
    pub fn has_record(&self) -> bool {
        self.hosts[HOME].record.is_some()
    }

    /// Whether pages are still to be sent from there.
    pub fn pushes(&self, host: usize) -> bool {
        self.hosts[host].pushing
    }

    /// Nothing is under way and nothing is being executed.
    pub fn is_quiet(&self) -> bool {
        let idle = self.lanes.is_empty() && self.executing() == 0 && !self.may_flush();
        idle && !self.hosts.iter().any(|host| host.pushing)
    }

    /// Packets that may come once more.
    pub fn strays(&self) -> usize {
        self.strays.len()
    }

    fn take(&mut self, lane: Lane, index: usize) -> Option<Packet> {
        let queue = self.lanes.get_mut(&lane)?;
        let packet = queue.remove(index);
        if queue.is_empty() {
            self.lanes.remove(&lane);
        }
        packet
    }

    /// Delivers a packet of a lane: the first if it keeps its order.
    pub fn deliver(&mut self, lane: Lane, index: usize) {
        if let Some(packet) = self.take(lane, index) {
            self.arrive(lane, packet);
        }
    }

    /// Whether a packet of a lane may be lost, overtaken or doubled: what the link itself says may not.
    pub fn is_message(&self, lane: Lane, index: usize) -> bool {
        let packet = self.lanes.get(&lane).and_then(|queue| queue.get(index));
        packet.is_some_and(|packet| matches!(packet.item, Item::Message(_)))
    }

    /// Whether a packet may come before those that were sent before it. The word of a signal may not: a
    /// node ignores it until it knows of the epoch, and the decision was sent without it.
    pub fn may_overtake(&self, lane: Lane, index: usize) -> bool {
        let packet = self.lanes.get(&lane).and_then(|queue| queue.get(index));
        packet.is_some_and(|packet| !matches!(packet.item, Item::Message(Message::Poke { .. })))
    }

    /// Delivers a packet, which may come once more later.
    pub fn deliver_twice(&mut self, lane: Lane) {
        if let Some(packet) = self.take(lane, 0) {
            self.strays.push((lane, packet.clone()));
            self.arrive(lane, packet);
        }
    }

    /// Whether the first packet of a lane may come once more. The word that a call was cancelled may
    /// not: its number is free for the next call, for which the word would be taken.
    pub fn may_double(&self, lane: Lane) -> bool {
        use wire::Outcome::Interrupted;
        let packet = self.lanes.get(&lane).and_then(VecDeque::front);
        packet.is_some_and(|packet| match &packet.item {
            Item::Message(Message::Reply(reply)) => reply.outcome != Interrupted,
            Item::Message(_) => true,
            _ => false,
        })
    }

    /// A packet comes once more.
    pub fn deliver_stray(&mut self, index: usize) {
        let (lane, packet) = self.strays.remove(index);
        self.arrive(lane, packet);
    }

    /// The first packet of a lane is lost.
    pub fn lose(&mut self, lane: Lane) {
        if let Some(packet) = self.take(lane, 0) {
            self.observer.stuck |= self.is_vital(lane.1, &packet);
        }
    }

    /// Whether nobody would ever ask again for what that packet says.
    fn is_vital(&self, to: usize, packet: &Packet) -> bool {
        let Item::Message(message) = &packet.item else {
            return true;
        };
        match message {
            Message::Offer(_)
            | Message::Admit { .. }
            | Message::Refuse { .. }
            | Message::Discarded { .. }
            | Message::Image(_)
            | Message::CommitRequest { .. }
            | Message::AbortRequest { .. } => false,
            // Who waits for a decision asks again; who has one already does not.
            Message::Decision { .. } => {
                use migrate::{SourceState, TargetState};
                let host = &self.hosts[to];
                let source = host.source.as_ref().map(Source::state);
                let target = host.target.as_ref().map(Target::state);
                !matches!(source, Some(SourceState::Frozen | SourceState::Aborting))
                    && target != Some(TargetState::Waiting)
            }
            _ => true,
        }
    }

    fn arrive(&mut self, (from, to, _): Lane, mut packet: Packet) {
        if let Item::Lost(former) = packet.item {
            if packet.to_boot == self.hosts[to].boot {
                self.hosts[to].known[from] = packet.from_boot;
                self.peer_lost(to, node(from), former);
                if to == HOME {
                    self.owner_up(node(from), packet.from_boot);
                }
            }
            return;
        }
        if self.mutant == Mutant::AnyBootIsBelieved {
            packet.from_boot = self.hosts[to].known[from];
            packet.to_boot = self.hosts[to].boot;
        }
        let known = self.hosts[to].known[from];
        if packet.to_boot != self.hosts[to].boot || packet.from_boot != known {
            return;
        }
        match packet.item {
            Item::Message(message) => self.handle(to, node(from), packet.from_boot, &message),
            Item::CopyAck(epoch) => self.copy_acknowledged(to, epoch),
            Item::PushAck(epoch) => self.push_acknowledged(to, epoch),
            Item::Up => self.owner_up(node(from), packet.from_boot),
            Item::Back => self.home_back(to),
            Item::Born => self.born(to),
            Item::Lost(_) => {}
        }
        self.check_now();
    }

    /// Power off and on again. Of what it had sent, the first `keep` packets of each lane get out.
    pub fn reboot(&mut self, host: usize, keep: usize, word: Word) {
        let former = self.hosts[host].boot;
        let mut boots: [BootId; HOSTS] = std::array::from_fn(|i| self.hosts[i].boot);
        let outlives = host == HOME && self.outlives_home();
        if host == HOME {
            self.observer.over = true;
        }
        let boot = BootId(former.0 + 1);
        boots[host] = boot;
        self.hosts[host] = Host::new(boot, boots, self.mutant);
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
                from_boot: boot,
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
        if host == HOME {
            self.restore();
        }
        if outlives && self.observer.over {
            self.fail(
                Promise::NotLost,
                "a process on its way home was lost with home before its first effect",
            );
        }
        self.check_now();
    }
}
