//! The machine itself: what is believed, what is told, and when.
//!
//! Law: whoever speaks of itself in its boot is believed that it is there; of what others say the higher
//! incarnation counts, then the worse news. A node is silent until it has told its own load, but it answers.

use crate::news::News;
use crate::probe::{Probe, Watch};
use crate::random::Random;
use crate::roster::{Member, Roster};
use crate::window::{Sample, Window, is_newer};
use crate::{
    Change, Config, Counters, EVENTS_MAX, Event, LETTERS_MAX, LOAD_FANOUT, NEWS_FANOUT,
    NEWS_PER_FRAME, Seen,
};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use wire::{BootId, Gossip, Load, NodeId, NodeState, Purpose, RECORDS_MAX, Record};

/// What this node says of itself.
#[derive(Clone, Copy, Debug)]
struct Own {
    incarnation: u32,
    version: u32,
    told: Option<(Load, u64)>,
    left: bool,
}

/// A frame that is to be written: its records are put in when it leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Letter {
    pub(crate) to: NodeId,
    pub(crate) purpose: Purpose,
    pub(crate) seq: u32,
    pub(crate) subject: NodeId,
    /// Whether it is filled with loads.
    pub(crate) full: bool,
}

impl Letter {
    pub(crate) fn new(to: NodeId, purpose: Purpose, seq: u32, subject: NodeId) -> Letter {
        Letter {
            to,
            purpose,
            seq,
            subject,
            full: false,
        }
    }

    fn news(to: NodeId) -> Letter {
        Letter::new(to, Purpose::News, 0, NodeId::ALL)
    }
}

/// What one node believes of all.
#[derive(Clone, Debug)]
pub struct Membership {
    pub(crate) config: Config,
    pub(crate) random: Random,
    own: Own,
    pub(crate) roster: Roster,
    window: Window,
    news: News,
    letters: VecDeque<Letter>,
    events: VecDeque<Event>,
    /// Who was taken for dead or has left, and when.
    gone: BTreeMap<NodeId, u64>,
    pub(crate) probe: Option<Probe>,
    /// Whether one is to be asked in turn yet in this round.
    pub(crate) has_turn: bool,
    pub(crate) watches: Vec<Watch>,
    pub(crate) seq: u32,
    /// Doubts about oneself, 0 to [`crate::probe::DOUBTS_MAX`].
    pub(crate) doubts: u32,
    /// When the next round is; `None` as long as this node is silent.
    next_round: Option<u64>,
    next_news: u64,
    pub(crate) counters: Counters,
}

impl Membership {
    /// A node that knows nobody yet. `now` is its clock, ns; it never goes back.
    pub fn new(config: Config, now: u64) -> Membership {
        let node = u64::from(config.node.0);
        Membership {
            random: Random(config.seed ^ config.boot.0 ^ node << 32),
            own: Own {
                incarnation: 0,
                version: 0,
                told: None,
                left: false,
            },
            roster: Roster::default(),
            window: Window::default(),
            news: News::default(),
            letters: VecDeque::new(),
            events: VecDeque::new(),
            gone: BTreeMap::new(),
            probe: None,
            has_turn: false,
            watches: Vec::new(),
            seq: 0,
            doubts: 0,
            next_round: None,
            next_news: now,
            counters: Counters::default(),
            config,
        }
    }

    /// A node that knows whom another one knows, and that one. It shares what memory it can with it, so that
    /// a simulation begins with thousands that all know each other.
    pub fn introduced(config: Config, now: u64, by: &Membership) -> Membership {
        let mut membership = Membership::new(config, now);
        membership.roster = by.roster.clone();
        membership.roster.remove(config.node);
        if by.config.node != config.node {
            let member = Member {
                boot: by.config.boot,
                over: BootId::NONE,
                since: now,
                incarnation: by.own.incarnation,
                state: by.state(),
                direct: true,
            };
            membership.roster.set(by.config.node, member);
        }
        membership
    }

    // --- what this node is

    /// Tells how loaded this node is. The first time it begins to take part. Its age counts from here, so it is to be
    /// told again every period.
    pub fn set_load(&mut self, now: u64, load: Load) {
        self.own.told = Some((load.within_reason(), now));
        self.own.version = self.own.version.wrapping_add(1);
        if self.next_round.is_none() {
            self.next_round = Some(now + self.random.below(self.config.period_ns));
        }
    }

    /// Goes over to other times between two rounds, ns. All nodes of a cluster should have the same.
    pub fn set_period(&mut self, period_ns: u64) {
        self.config.period_ns = period_ns.max(1000);
    }

    /// Says goodbye: the others shall not ask for this node any more.
    pub fn leave(&mut self, now: u64) {
        self.own.left = true;
        self.own.incarnation = self.own.incarnation.wrapping_add(1);
        self.announce(now, self.config.node);
    }

    /// How many nodes are not taken for dead, this one included.
    pub fn size(&self) -> usize {
        self.roster.present() + 1
    }

    /// What is older is neither told nor shown, ns: three periods times log2 of the size, rounded down.
    pub fn age_limit(&self) -> u64 {
        3 * self.config.period_ns * u64::from(self.size().max(2).ilog2())
    }

    /// How often something is passed on while it is news.
    fn news_times(&self) -> u32 {
        2 * (self.size() as u64 + 1).next_power_of_two().ilog2()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    // --- what others are

    /// What is believed of all others, in the order of their numbers.
    pub fn view(&self, now: u64) -> impl Iterator<Item = Seen> {
        let limit = self.age_limit();
        self.roster.iter().map(move |(node, member)| Seen {
            node,
            boot: member.boot,
            state: member.state,
            load: self.trusted(now, limit, node, member),
        })
    }

    /// What is believed of those of whom a load is known, in the order of their numbers. In a large cluster that are
    /// few.
    pub fn loads(&self, now: u64) -> impl Iterator<Item = Seen> {
        let nodes = self.window.nodes();
        let seen = nodes.filter_map(move |node| self.get(now, node));
        seen.filter(|seen| seen.load.is_some())
    }

    /// What is believed of one.
    pub fn get(&self, now: u64, node: NodeId) -> Option<Seen> {
        let member = self.roster.get(node)?;
        Some(Seen {
            node,
            boot: member.boot,
            state: member.state,
            load: self.trusted(now, self.age_limit(), node, member),
        })
    }

    fn trusted(&self, now: u64, limit: u64, node: NodeId, member: &Member) -> Option<(Load, u64)> {
        let sample = self.window.get(node)?;
        let age_ns = sample.age_ns(now);
        (sample.boot == member.boot && age_ns <= limit).then_some((sample.load, age_ns))
    }

    /// Something was heard from a node itself: it is there, in this boot, and can be spoken to.
    pub fn peer_heard(&mut self, now: u64, node: NodeId, boot: BootId) {
        self.notice_sleep(now);
        self.present(now, node, boot);
        self.contradict_to(node);
    }

    /// Takes a frame from a node in its present boot.
    pub fn handle(&mut self, now: u64, from: NodeId, boot: BootId, gossip: &Gossip) {
        if from == self.config.node || !from.is_valid() {
            return;
        }
        self.notice_sleep(now);
        self.present(now, from, boot);
        for record in gossip.records.iter().take(RECORDS_MAX) {
            // Of itself it can only speak in the boot in which it does.
            if record.node != from || record.boot == boot {
                self.record(now, record);
            }
        }
        self.contradict_to(from);
        self.answer(now, from, gossip);
    }

    /// A node is there, in this boot; whatever else was believed of its boots is over.
    fn present(&mut self, now: u64, node: NodeId, boot: BootId) {
        if node == self.config.node || !node.is_valid() {
            return;
        }
        let known = self.roster.get(node).copied();
        match known {
            Some(member) if member.boot == boot => {
                if !member.direct {
                    let direct = true;
                    self.roster.set(node, Member { direct, ..member });
                }
                self.heard(now, node);
            }
            _ => {
                self.join(now, node, boot, (0, NodeState::Alive), true);
                self.heard(now, node);
            }
        }
    }

    /// A node, or a new boot of one, that was not known.
    fn join(
        &mut self,
        now: u64,
        node: NodeId,
        boot: BootId,
        (incarnation, state): (u32, NodeState),
        direct: bool,
    ) {
        let mut over = BootId::NONE;
        if let Some(member) = self.roster.get(node).copied() {
            over = member.boot;
            self.unwatch(node);
            self.window.remove(node);
            self.gone.remove(&node);
            if member.is_present() {
                self.event(node, member.boot, Change::Died);
            }
        }
        let member = Member {
            boot,
            over,
            since: now,
            incarnation,
            state,
            direct,
        };
        self.roster.set(node, member);
        self.event(node, boot, Change::Joined);
        if state == NodeState::Suspect {
            self.event(node, boot, Change::Suspected);
        }
        self.announce(now, node);
    }

    /// What somebody says of somebody.
    fn record(&mut self, now: u64, record: &Record) {
        if record.node == self.config.node {
            return self.about_me(now, record);
        }
        if !record.node.is_valid() || record.boot == BootId::NONE {
            return;
        }
        if !self.is_fresh(record) {
            self.counters.stale += 1;
            return;
        }
        let (node, boot) = (record.node, record.boot);
        let belief = (record.incarnation, record.state);
        let present = matches!(record.state, NodeState::Alive | NodeState::Suspect);
        match self.roster.get(node).copied() {
            None if present => self.join(now, node, boot, belief, false),
            None => return,
            Some(member) if member.boot == boot => self.believe(now, node, member, belief),
            // Which of two boots is the later one only the node itself can show, unless nobody is there
            // who could contradict.
            Some(member) => {
                let vacant = !member.direct || !member.is_present();
                if !present || !vacant || member.over == boot {
                    return;
                }
                self.join(now, node, boot, belief, false);
            }
        }
        let present = self.roster.get(node).is_some_and(Member::is_present);
        if let Some(told) = record.told.filter(|_| present) {
            let age_ns = u64::from(told.age_ms) * 1_000_000;
            self.window.put(Sample {
                node,
                boot,
                version: told.version,
                born: now as i64 - age_ns as i64,
                load: told.load,
            });
        }
    }

    fn is_fresh(&self, record: &Record) -> bool {
        let age_ns = |ms: u32| u64::from(ms) * 1_000_000;
        record
            .told
            .is_none_or(|told| age_ns(told.age_ms) <= self.age_limit())
    }

    /// What somebody says of a boot that is known.
    fn believe(&mut self, now: u64, node: NodeId, member: Member, belief: (u32, NodeState)) {
        let (incarnation, state) = belief;
        let stronger = match incarnation == member.incarnation {
            true => state > member.state,
            false => is_newer(incarnation, member.incarnation),
        };
        if stronger {
            self.change(now, node, member, belief);
        }
    }

    /// Believes something else of a boot that is known.
    pub(crate) fn change(
        &mut self,
        now: u64,
        node: NodeId,
        member: Member,
        (incarnation, state): (u32, NodeState),
    ) {
        let since = match state == member.state {
            true => member.since,
            false => now,
        };
        self.roster.set(
            node,
            Member {
                since,
                incarnation,
                state,
                ..member
            },
        );
        self.announce(now, node);
        let (was, boot) = (member.state, member.boot);
        if state != NodeState::Suspect || was != NodeState::Suspect {
            self.unwatch(node);
        }
        if state == was {
            return;
        }
        if !member.is_present() && state < NodeState::Dead {
            self.gone.remove(&node);
            self.event(node, boot, Change::Joined);
        }
        match state {
            NodeState::Alive if was == NodeState::Suspect => {
                self.event(node, boot, Change::Refuted);
            }
            NodeState::Alive => {}
            NodeState::Suspect => self.event(node, boot, Change::Suspected),
            NodeState::Dead | NodeState::Left => {
                let died = state == NodeState::Dead;
                let change = if died { Change::Died } else { Change::Left };
                self.event(node, boot, change);
                self.window.remove(node);
                self.gone.insert(node, now);
            }
        }
    }

    /// What somebody says of this node. Unless it is what it says itself, it contradicts.
    fn about_me(&mut self, now: u64, record: &Record) {
        if record.boot != self.config.boot {
            return;
        }
        if let Some(told) = record.told
            && is_newer(told.version, self.own.version)
        {
            self.own.version = told.version.wrapping_add(1);
        }
        let own = (self.own.incarnation, self.state());
        let (incarnation, state) = (record.incarnation, record.state);
        let wrong = match incarnation == own.0 {
            true => state > own.1,
            false => is_newer(incarnation, own.0),
        };
        if wrong {
            self.own.incarnation = incarnation.wrapping_add(1);
            self.counters.contradicted += 1;
            self.doubt();
            self.announce(now, self.config.node);
            self.next_news = now;
        }
    }

    /// Whoever is suspected and speaks is to know it, so that it can contradict.
    fn contradict_to(&mut self, node: NodeId) {
        let member = self.roster.get(node);
        let suspected = |m: &Member| matches!(m.state, NodeState::Suspect | NodeState::Dead);
        let letter = Letter::news(node);
        if member.is_some_and(suspected) && !self.letters.contains(&letter) {
            self.post(letter);
        }
    }

    // --- time

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: u64) {
        self.notice_sleep(now);
        let Some(next_round) = self.next_round else {
            return;
        };
        self.handle_probe(now);
        self.handle_watches(now);
        if next_round <= now {
            // A tenth more or less, so that nodes that began together do not stay together.
            let period = self.config.period_ns;
            let gap = period - period / 10 + self.random.below(period / 5);
            self.next_round = Some(now + gap);
            self.round(now);
        }
        if !self.news.is_empty() && self.next_news <= now {
            self.next_news = now + self.config.period_ns / 10;
            self.spread();
        }
    }

    fn round(&mut self, now: u64) {
        self.forget(now);
        if self.own.left {
            return;
        }
        self.begin_turn(now);
        let random = &mut self.random;
        for to in self.roster.choose(random, LOAD_FANOUT, NodeId::ALL) {
            self.post(Letter {
                full: true,
                ..Letter::news(to)
            });
        }
    }

    fn spread(&mut self) {
        let random = &mut self.random;
        let chosen = self.roster.choose(random, NEWS_FANOUT, NodeId::ALL);
        if chosen.is_empty() {
            self.news.clear();
        }
        chosen
            .into_iter()
            .for_each(|to| self.post(Letter::news(to)));
    }

    /// Forgets loads that are too old, and those who are gone, but not before everything about them is too old.
    fn forget(&mut self, now: u64) {
        let limit = self.age_limit();
        self.window.prune(now as i64 - limit as i64);
        let keep = 60 * self.config.period_ns + 2 * limit;
        let roster = &mut self.roster;
        self.gone.retain(|&node, since| {
            if *since + keep > now {
                return true;
            }
            if roster.get(node).is_some_and(|m| !m.is_present()) {
                roster.remove(node);
            }
            false
        });
    }

    /// If nobody has called for a while although something was due, it was this node that slept, and what others
    /// should have said meanwhile it has not heard yet.
    fn notice_sleep(&mut self, now: u64) {
        let Some(due) = self.poll_timeout() else {
            return;
        };
        let late = now.saturating_sub(due);
        if late < self.config.period_ns / 2 {
            return;
        }
        self.counters.overslept += 1;
        self.doubt();
        self.probe = None;
        self.watches.iter_mut().for_each(|w| w.deadline += late);
        self.next_round = Some(now);
        self.next_news = now;
    }

    /// When [`Membership::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        let round = self.next_round?;
        let news = (!self.news.is_empty()).then_some(self.next_news);
        let probe = self.probe.as_ref().map(|probe| probe.deadline);
        let watches = self.watches.iter().map(|watch| watch.deadline).min();
        let all = [Some(round), news, probe, watches];
        all.into_iter().flatten().min()
    }

    // --- what goes out

    /// Somebody is news from now on.
    pub(crate) fn announce(&mut self, now: u64, node: NodeId) {
        if self.news.is_empty() {
            let tick = self.config.period_ns / 10;
            self.next_news = self.next_news.max(now + self.random.below(tick));
        }
        self.news.push(node);
    }

    /// The next frame is due now.
    pub(crate) fn hurry(&mut self, now: u64) {
        self.next_news = now;
    }

    /// How many frames wait.
    pub(crate) fn waiting(&self) -> usize {
        self.letters.len()
    }

    /// Puts a frame among those that wait.
    pub(crate) fn post(&mut self, letter: Letter) {
        if self.letters.len() < LETTERS_MAX {
            self.letters.push_back(letter);
        } else {
            self.counters.dropped += 1;
        }
    }

    fn event(&mut self, node: NodeId, boot: BootId, change: Change) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event { node, boot, change });
    }

    /// Whether [`Membership::poll_transmit`] has nothing to give now.
    pub fn is_quiet(&self) -> bool {
        self.letters.is_empty()
    }

    /// The next frame and for whom it is.
    pub fn poll_transmit(&mut self, now: u64) -> Option<(NodeId, Gossip)> {
        let letter = self.letters.pop_front()?;
        self.counters.sent += 1;
        let records = self.records(now, letter);
        let gossip = Gossip {
            purpose: letter.purpose,
            seq: letter.seq,
            subject: letter.subject,
            records,
        };
        Some((letter.to, gossip))
    }

    /// What happened next. Of a node that is silent still nobody wants to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.next_round?;
        self.events.pop_front()
    }

    /// Whether [`Membership::poll_event`] would return something.
    pub fn has_events(&self) -> bool {
        self.next_round.is_some() && !self.events.is_empty()
    }

    fn state(&self) -> NodeState {
        match self.own.left {
            true => NodeState::Left,
            false => NodeState::Alive,
        }
    }

    /// This node, what its reader has to contradict, news, and loads if there shall be any.
    fn records(&mut self, now: u64, letter: Letter) -> Vec<Record> {
        let limit = self.age_limit();
        let told = |(load, born)| Sample {
            node: self.config.node,
            boot: self.config.boot,
            version: self.own.version,
            born: born as i64,
            load,
        };
        let mut records = vec![Record {
            node: self.config.node,
            boot: self.config.boot,
            incarnation: self.own.incarnation,
            state: self.state(),
            told: self.own.told.map(|own| told(own).told(now)),
        }];
        let reader = self.roster.get(letter.to);
        let reader = reader.filter(|member| member.state != NodeState::Alive);
        let times = self.news_times();
        let news = self.news.take(NEWS_PER_FRAME, times);
        let loads = self
            .window
            .freshest(if letter.full { RECORDS_MAX } else { 0 });
        let names = reader.map(|_| letter.to).into_iter().chain(news);
        for node in names.chain(loads.iter().map(|sample| sample.node)) {
            if records.len() == RECORDS_MAX {
                break;
            }
            if records.iter().all(|record| record.node != node) {
                records.extend(self.record_of(now, limit, node, letter.full));
            }
        }
        records
    }

    /// What is believed of another, and its load in a frame that is filled with loads: news travel in many
    /// frames, and a load is half of a record.
    fn record_of(&self, now: u64, limit: u64, node: NodeId, loaded: bool) -> Option<Record> {
        let member = self.roster.get(node)?;
        let sample = self.window.get(node).filter(|_| loaded);
        let fresh = sample.filter(|s| s.boot == member.boot && s.age_ns(now) <= limit);
        Some(Record {
            node,
            boot: member.boot,
            incarnation: member.incarnation,
            state: member.state,
            told: fresh.map(|sample| sample.told(now)),
        })
    }
}

#[cfg(test)]
mod tests;
