//! Which processes leave this node by its own decision, and what it tells the others of itself.
//!
//! Law: `placement::decide` decides; here are its figures and nothing else. What is decided is advice to the
//! process's home, which moves it as if a user had asked, or does not. Figures of others are as old as the
//! gossip that brought them, so what this node has sent to one counts there until it has told that itself.

use crate::body::{Body, Effects};
use crate::dispatch::wire_pid;
use crate::home::INIT;
use crate::system::System;
use crate::thread::Run;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;
use node::PeerState;
use placement::{Average, Candidate, Here, Ledger, Move, Start, Stay, There};
use wire::{BootId, Load, Message, MoveError, NodeId, NodeState, Order, Pid, Policy, Terms};

/// Between two decisions, and two loads that are told, ns.
const PERIOD_NS: u64 = 1_000_000_000;
/// As long as memory is short, ns.
const HURRY_NS: u64 = 100_000_000;
/// Whoever needs a page looks for one so often, and for so long, while others may leave, ns.
const STARVED_AGAIN_NS: u64 = 10_000_000;
const STARVED_NS: u64 = 10_000_000_000;
/// Moves that a node begins in a period, and that it has under way.
const MOVES_MAX: usize = 16;
/// A process that could not move is let alone for so long, ns.
const REFUSED_NS: u64 = 30_000_000_000;
/// What a move is believed to bring across in a second until one has shown it, bytes.
const FIRST_RATE: u64 = 50 << 20;
/// An owner who has typed nothing for so long is away, ns.
const OWNER_NS: u64 = 60_000_000_000;
/// Page frames that a program is believed to want as it starts.
const START_FRAMES: u32 = 256;
/// Shorter moves tell nothing about that, bytes.
const RATE_BYTES: u64 = 1 << 20;

/// What this node knows of a process that runs here.
#[derive(Clone, Copy)]
struct Watched {
    /// When it was first seen here, ns.
    since_ns: u64,
    /// It is not tried before, ns.
    not_before_ns: u64,
    /// Calls that its home had answered when the period began, and in a second of the period before.
    calls: u64,
    calls_per_s: u32,
}

/// What a node decides by.
pub(crate) struct Placement {
    policy: Policy,
    /// Somebody has set it since the node booted.
    policy_is_set: bool,
    draining: bool,
    /// Whether the owner is there, if somebody has said so; else by what was typed last, ns.
    owner: Option<bool>,
    typed_ns: Option<u64>,
    owner_present: bool,
    /// When this period is over.
    next_ns: u64,
    /// Threads that want a processor in this period.
    average: Average,
    /// The average of the last period, in thousandths.
    runnable_milli: u32,
    watched: BTreeMap<u32, Watched>,
    /// Threads for which there was no memory: when first, and when last, ns.
    starved: BTreeMap<u32, (u64, u64)>,
    ledger: Ledger,
    bytes_per_s: u64,
    /// Programs that began elsewhere.
    starts: u64,
    /// What was decided last, for whoever wants to know why.
    last: Result<Move, Stay>,
}

impl Placement {
    /// As a node boots; its command line may name a policy.
    pub(crate) fn new(command_line: &str) -> Placement {
        let words = command_line.split_ascii_whitespace();
        let mut named = words.filter_map(|word| word.strip_prefix("policy="));
        Placement {
            policy: named.find_map(Policy::of_name).unwrap_or_default(),
            policy_is_set: false,
            draining: false,
            owner: None,
            typed_ns: None,
            owner_present: false,
            next_ns: 0,
            average: Average::default(),
            runnable_milli: 0,
            watched: BTreeMap::new(),
            starved: BTreeMap::new(),
            ledger: Ledger::default(),
            bytes_per_s: FIRST_RATE,
            starts: 0,
            last: Err(Stay::NoCandidate),
        }
    }

    /// The policy of the node.
    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    /// Whether processes of other homes may come.
    pub(crate) fn takes_guests(&self) -> bool {
        !self.draining && !self.owner_present
    }

    /// Finds out whether the owner is there. Who types on a node whose processors nobody else should have
    /// while he works, by its policy, is its owner.
    fn look_for_owner(&mut self, now: u64) {
        let by_typing = matches!(self.policy, Policy::Exec | Policy::Scavenge);
        let typed = |at: u64| now.saturating_sub(at) < OWNER_NS;
        let is_typing = by_typing && self.typed_ns.is_some_and(typed);
        self.owner_present = self.owner.unwrap_or(is_typing);
    }

    /// Ends a period; how long it was.
    fn conclude(&mut self, now: u64) -> u64 {
        let span = now.saturating_sub(self.average.began_ns()).max(1);
        self.runnable_milli = self.average.conclude(now);
        self.next_ns = now + PERIOD_NS;
        span
    }

    /// A move has ended: how fast was it, or when may the process be tried again, and its target be asked?
    pub(crate) fn learn(&mut self, now: u64, pid: u32, result: Result<(u64, u64), &MoveError>) {
        match result {
            Ok((bytes, ns)) => {
                self.ledger.took(now, Pid(pid));
                self.learn_rate(bytes, ns);
            }
            Err(error) => self.learn_failure(now, pid, error),
        }
    }

    /// A move has failed. One that somebody has asked for says nothing of what this node would do.
    fn learn_failure(&mut self, now: u64, pid: u32, error: &MoveError) {
        use MoveError::{Crowded, Features, NodeDead, NodeFull, TimedOut};
        let Some(target) = self.ledger.failed(Pid(pid)) else {
            return;
        };
        match error {
            // Another node may take it in the next period.
            Crowded => self.ledger.crowded(now, target),
            NodeDead | NodeFull => self.ledger.refused(now, target),
            Features | TimedOut => {
                self.ledger.refused(now, target);
                self.refused(now, pid);
            }
            _ => self.refused(now, pid),
        }
    }

    /// So many bytes have left in so many ns.
    fn learn_rate(&mut self, bytes: u64, ns: u64) {
        if bytes >= RATE_BYTES && ns > 0 {
            let rate = u128::from(bytes) * 1_000_000_000 / u128::from(ns);
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            self.bytes_per_s = (self.bytes_per_s / 4 * 3).saturating_add(rate / 4).max(1);
        }
    }

    /// On which terms a process goes to a node: nobody's but this node's own decisions have any.
    pub(crate) fn terms(&self, pid: u32, target: NodeId) -> Terms {
        self.ledger.terms(Pid(pid), target)
    }

    /// A process cannot move now.
    fn refused(&mut self, now: u64, pid: u32) {
        if let Some(watched) = self.watched.get_mut(&pid) {
            watched.not_before_ns = now + REFUSED_NS;
        }
    }

    /// Whether a process is let alone, as it could not move.
    fn rests(&self, now: u64, pid: u32) -> bool {
        let watched = self.watched.get(&pid);
        watched.is_some_and(|watched| now < watched.not_before_ns)
    }
}

impl System {
    /// Notes who wants to run, and decides when a period is over.
    pub(crate) fn place(&mut self) {
        let wanting = self.running();
        let now = self.now;
        self.placement.average.note(now, 1000 * wanting);
        let hurries = now >= self.placement.average.began_ns() + HURRY_NS
            && self.placement.policy != Policy::Manual
            && self.is_short_of_memory();
        if now < self.placement.next_ns && !hurries {
            return;
        }
        let span = self.placement.conclude(now);
        self.placement.look_for_owner(now);
        self.watch(span);
        let (membership, ledger) = (self.net.membership(), &mut self.placement.ledger);
        ledger.forgive(|node| membership.get(now, node)?.told(now));
        let load = self.own_load();
        self.net.set_load(now, load);
        self.send_away(self.load_to_come(load));
        self.queue_jobs();
    }

    /// A process is about to leave by a move.
    pub(crate) fn note_going(&mut self, body: &Body) {
        let milli = 1000 * self.demand(body) as u64;
        self.placement.average.went(self.now, milli);
    }

    /// A process has come by a move, or is here again after one that came to nothing.
    pub(crate) fn note_coming(&mut self, pid: u32) {
        let demand = self.bodies.get(&pid).map_or(0, |body| self.demand(body));
        self.placement.average.came(self.now, 1000 * demand as u64);
    }

    /// Whether a process may come on its terms.
    pub(crate) fn meets(&self, terms: &Terms) -> bool {
        let incoming = self.incoming.values();
        let coming = incoming
            .filter(|incoming| incoming.waits_for_image())
            .count() as u64;
        let average = &self.placement.average;
        let lately_milli = u64::from(average.of_last(self.now, PERIOD_NS)) + 1000 * coming;
        let now_milli = 1000 * (self.running() + coming);
        placement::are_met(terms, &self.own_load(), now_milli, lately_milli)
    }

    /// How loaded this node is, for the others.
    fn own_load(&self) -> Load {
        let frames = self.frames();
        let frames_of = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let guests = self.bodies.values().filter(|body| body.home != self.me);
        Load {
            runnable_milli: self.placement.runnable_milli,
            processors: self.processors.len() as u16,
            // All nodes are taken for equally fast: nobody has measured it yet.
            speed: 1000,
            frames_total: frames_of(frames.total),
            frames_free: frames_of(frames.free),
            frames_reserved: frames_of(self.frames_promised()),
            guests: u16::try_from(guests.count()).unwrap_or(u16::MAX),
            owner_present: self.placement.owner_present,
            draining: self.placement.draining,
            accepts_guests: self.placement.takes_guests(),
        }
    }

    fn is_short_of_memory(&self) -> bool {
        let frames = self.frames();
        placement::is_scarce(frames.free, frames.total)
    }

    /// The load that this node will have. The average of the last period has those in it who have left
    /// since and who are leaving: by it too many would be sent away.
    fn load_to_come(&self, load: Load) -> Load {
        let bodies = self.bodies.values();
        let leaving = bodies.filter(|body| {
            let goes = body.wish.is_some() || self.outgoing.contains_key(&body.pid);
            goes && !body.queued
        });
        let leaving: usize = leaving.map(|body| self.demand(body)).sum();
        let wanting = 1000 * self.running().saturating_sub(leaving as u64);
        let wanting = u32::try_from(wanting).unwrap_or(u32::MAX);
        Load {
            runnable_milli: load.runnable_milli.min(wanting),
            ..load
        }
    }

    /// Notes who is here, after a period of so many ns.
    fn watch(&mut self, span: u64) {
        let now = self.now;
        let (bodies, watched) = (&self.bodies, &mut self.placement.watched);
        watched.retain(|pid, _| bodies.contains_key(pid));
        for (pid, body) in bodies {
            let known = watched.entry(*pid).or_insert(Watched {
                since_ns: now,
                not_before_ns: 0,
                calls: body.calls,
                calls_per_s: 0,
            });
            let calls = u128::from(body.calls.saturating_sub(known.calls));
            known.calls = body.calls;
            let per_s = calls * 1_000_000_000 / u128::from(span);
            known.calls_per_s = u32::try_from(per_s).unwrap_or(u32::MAX);
        }
    }

    /// The policy that a process lives by.
    fn policy_of(&self, body: &Body) -> Policy {
        body.policy.unwrap_or(self.placement.policy)
    }

    /// This node for `placement`.
    fn here(&self, load: Load, policy: Policy) -> Here {
        Here {
            load,
            policy,
            bytes_per_s: self.placement.bytes_per_s,
            salt: u64::from(self.me.0),
        }
    }

    /// Begins the moves that are advised, one after the other: for the processes of each policy.
    fn send_away(&mut self, mut load: Load) {
        let own = self.placement.policy;
        let mut bodies = self.bodies.values();
        let by_hand = bodies.all(|body| self.policy_of(body) == Policy::Manual);
        self.placement.last = Err(match own {
            Policy::Manual => Stay::Manual,
            _ => Stay::NoCandidate,
        });
        if by_hand && self.placement.takes_guests() {
            return;
        }
        let mut candidates = self.candidates();
        let mut others: Vec<There> = self.others().collect();
        let mut room = MOVES_MAX.saturating_sub(self.outgoing.len());
        for policy in Policy::ALL {
            while room > 0 {
                let here = self.here(load, policy);
                let group = candidates.iter().filter(|(of, _)| *of == policy);
                let group = group.map(|(_, candidate)| *candidate);
                let advice = placement::decide(&here, others.iter().copied(), group);
                if policy == own || advice.is_ok() {
                    self.placement.last = advice;
                }
                let Ok(advice) = advice else { break };
                let is_it = |one: &(Policy, Candidate)| one.1.pid == advice.pid;
                let Some(index) = candidates.iter().position(is_it) else {
                    break;
                };
                let (_, gone) = candidates.swap_remove(index);
                load.runnable_milli = load.runnable_milli.saturating_sub(gone.demand_milli);
                load.frames_free = load.frames_free.saturating_add(gone.frames);
                if let Some(there) = others.iter_mut().find(|there| there.node == advice.target) {
                    there.coming += 1;
                    there.coming_frames = there.coming_frames.saturating_add(gone.frames);
                }
                let Move {
                    pid,
                    target,
                    reason,
                    terms,
                } = advice;
                machine::log!("process {pid}: to node {}: {reason}", target.0);
                self.advise(pid, target, gone.frames, terms);
                room -= 1;
            }
        }
    }

    /// A program begins in a process: it has little more than its arguments yet, and goes elsewhere for the
    /// least now.
    pub(crate) fn place_start(&mut self, pid: u32) {
        let Some(body) = self.bodies.get(&pid) else {
            return;
        };
        let policy = self.policy_of(body);
        if policy == Policy::Manual || self.obstacle(body).is_some() {
            return;
        }
        let start = Start {
            home: body.home,
            at_home: body.home == self.me,
            frames: START_FRAMES,
        };
        if let Ok((target, terms)) = self.start_of(&start, policy) {
            self.placement.starts += 1;
            self.advise(pid, target, START_FRAMES, terms);
        }
    }

    /// Where a program of this node would best begin now.
    pub(crate) fn best_start(&self) -> NodeId {
        let start = Start {
            home: self.me,
            at_home: true,
            frames: START_FRAMES,
        };
        let best = self.start_of(&start, Policy::Exec);
        best.map_or(self.me, |(target, _)| target)
    }

    /// The node where a program should begin.
    fn start_of(&self, start: &Start, policy: Policy) -> Result<(NodeId, Terms), Stay> {
        // Who starts it is in the kernel, and not among those who want a processor.
        let mut load = self.own_load();
        load.runnable_milli = u32::try_from(self.running() * 1000).unwrap_or(u32::MAX);
        let here = self.here(load, policy);
        placement::place(&here, self.others(), start, machine::random_u64())
    }

    /// Tells a process's home that it would be better off elsewhere.
    fn advise(&mut self, pid: u32, target: NodeId, frames: u32, terms: Terms) {
        let Some(body) = self.bodies.get(&pid) else {
            return;
        };
        let (home, epoch) = (body.home, body.epoch);
        let ledger = &mut self.placement.ledger;
        ledger.sent(self.now, Pid(pid), target, frames, terms);
        if home == self.me {
            // What stands in its way stands in /proc/PID/cantmove.
            if self.send_off(pid, target).is_err() {
                self.placement.ledger.failed(Pid(pid));
                self.placement.refused(self.now, pid);
            }
        } else {
            let pid = wire_pid(pid);
            self.send(home, Message::Advice { pid, epoch, target });
        }
    }

    /// The owner of a process would rather have it elsewhere.
    pub(crate) fn advised(
        &mut self,
        from: (NodeId, BootId),
        (pid, epoch): (Pid, u64),
        target: NodeId,
    ) {
        let home = self.homes.get(&pid.0).filter(|home| home.lives());
        if home.is_some_and(|home| home.record.gate().is_owner(from.0, from.1, epoch)) {
            // The owner finds out that it is still there.
            let _ = self.send_off(pid.0, target);
        }
    }

    /// Those who might leave, and the policy of each.
    fn candidates(&self) -> Vec<(Policy, Candidate)> {
        let bodies = self.bodies.values();
        bodies
            .filter_map(|body| Some((self.policy_of(body), self.mover(body).ok()?)))
            .collect()
    }

    /// Why a process is not moved by its node, whatever that would gain.
    fn obstacle(&self, body: &Body) -> Option<&'static str> {
        if body.pid == INIT {
            Some("the first process of a node stays there")
        } else if let Some(reason) = self.tracing.holds(body.pid) {
            Some(reason)
        } else if self.spaces.users(body.space) != 1 {
            Some("it shares its memory with another process")
        } else if body.effects != Effects::Open
            || body.freezing
            || body.wish.is_some()
            || self.outgoing.contains_key(&body.pid)
        {
            Some("a move of it is under way")
        } else {
            None
        }
    }

    /// Lets jobs stand still that are in their owner's way and that nobody takes, and those go on that are not.
    fn queue_jobs(&mut self) {
        let bodies = self.bodies.values().map(|body| &**body);
        let may_wait = |body: &&Body| body.queued || body.policy == Some(Policy::Scavenge);
        let mut jobs = bodies.filter(may_wait).peekable();
        if jobs.peek().is_none() {
            return;
        }
        let here = self.here(self.own_load(), Policy::Scavenge);
        let others: Vec<There> = self.others().collect();
        let jobs = jobs.filter_map(|body| {
            let waits = match self.may_leave(body) {
                Ok(job) if job.demand_milli > 0 => {
                    // Nobody takes who could not leave.
                    let others = others
                        .iter()
                        .filter(|_| !self.placement.rests(self.now, body.pid));
                    placement::is_queued(&here, others.copied(), &job)
                }
                // It is as it was while it tries to leave, or sleeps.
                _ => body.queued && self.placement.owner_present && self.is_job(body),
            };
            (waits != body.queued).then_some((body.pid, waits))
        });
        for (pid, waits) in jobs.collect::<Vec<(u32, bool)>>() {
            self.body(pid).queued = waits;
            if waits {
                machine::log!("process {pid}: waits for its owner to leave, or for an idle node");
            } else {
                self.wake_threads(pid);
            }
        }
    }

    /// Whether somebody has said of a process that it is to use only what no owner uses. What runs in the foreground of
    /// a terminal is what somebody waits for who is there.
    fn is_job(&self, body: &Body) -> bool {
        let home = self.homes.get(&body.pid).filter(|_| body.home == self.me);
        home.is_some_and(|home| {
            let (_, foreground) = self.terminal_of(home);
            body.policy == Some(Policy::Scavenge) && foreground != i64::from(home.group)
        })
    }

    /// How many threads of a process want a processor at this moment.
    fn demand(&self, body: &Body) -> usize {
        let wants = |tid: &&u32| {
            let thread = self.threads.get(tid);
            thread.is_some_and(|thread| match thread.run {
                Run::Ready | Run::Running(_) => true,
                Run::Blocked => body.queued && thread.call.is_none(),
            })
        };
        body.threads.iter().filter(wants).count()
    }

    /// A process as one who might leave now, or why it is none.
    fn mover(&self, body: &Body) -> Result<Candidate, &'static str> {
        let candidate = self.may_leave(body)?;
        let leaves = !self.placement.takes_guests() && !candidate.at_home;
        if self.placement.rests(self.now, body.pid) {
            Err("it could not move a moment ago")
        } else if candidate.demand_milli == 0 && !leaves && !self.is_short_of_memory() {
            Err("it sleeps, and is in nobody's way")
        } else {
            Ok(candidate)
        }
    }

    /// What is known of a process that nothing keeps from moving, or what does.
    fn may_leave(&self, body: &Body) -> Result<Candidate, &'static str> {
        self.obstacle(body).map_or(Ok(()), Err)?;
        let watched = self.placement.watched.get(&body.pid);
        let watched = watched.ok_or("it has just come")?;
        let space = self.spaces.get(body.space).ok_or("it ends")?;
        Ok(Candidate {
            pid: body.pid,
            home: body.home,
            at_home: body.home == self.me,
            demand_milli: self.demand(body) as u32 * 1000,
            cpu_ns: body.cpu.user_ns.saturating_add(body.cpu.system_ns),
            here_ns: self.now.saturating_sub(watched.since_ns),
            frames: u32::try_from(space.usage().resident_pages).unwrap_or(u32::MAX),
            calls_per_s: watched.calls_per_s,
            is_job: self.is_job(body),
        })
    }

    /// `/proc/PID/placement`: what this node would do with a process now, and by what.
    pub(crate) fn explain_placement(&self, body: &Body) -> String {
        let policy = self.policy_of(body);
        let whose = match body.policy {
            Some(_) => "its own",
            None => "the node's",
        };
        let candidate = self.mover(body);
        let decision = match &candidate {
            Err(reason) => format!("stays: {reason}"),
            Ok(candidate) => {
                let here = self.here(self.own_load(), policy);
                let others: Vec<There> = self.others().collect();
                let one = core::iter::once(*candidate);
                match placement::decide(&here, others.into_iter(), one) {
                    Ok(advice) => format!("to node {}: {}", advice.target.0, advice.reason),
                    Err(_) if body.queued => {
                        "queued: its owner is here, and no idle node is known".to_string()
                    }
                    Err(stay) => format!("stays: {stay}"),
                }
            }
        };
        let mut text = format!("policy\t{} ({whose})\n", policy.name());
        if let Ok(known) = candidate {
            let _ = writeln!(
                text,
                "demand_milli\t{}\ncpu_ms\t{}\nhere_ms\t{}\nframes\t{}\ncalls_per_s\t{}",
                known.demand_milli,
                known.cpu_ns / 1_000_000,
                known.here_ns / 1_000_000,
                known.frames,
                known.calls_per_s,
            );
        }
        let _ = writeln!(text, "decision\t{decision}");
        text
    }

    /// The other nodes, as they are believed to be.
    fn others(&self) -> impl Iterator<Item = There> {
        let now = self.now;
        let alive = self
            .net
            .view(now)
            .filter(|seen| seen.state == NodeState::Alive);
        let there = move |seen: node::Seen| {
            let (load, told_of) = seen.told(now)?;
            let peer = self.net.peer(seen.node)?;
            let ledger = &self.placement.ledger;
            let is_over = |pid: Pid| self.is_over(pid.0);
            let (coming, coming_frames) = ledger.coming(now, (seen.node, told_of), is_over);
            let usable =
                peer.state == PeerState::Alive && !ledger.is_avoided(now, seen.node, told_of);
            usable.then_some(There {
                node: seen.node,
                load,
                coming,
                coming_frames,
                rtt_ns: peer.rtt_smoothed_ns.unwrap_or(1_000_000),
            })
        };
        alive.filter_map(there)
    }

    /// No page is free for a thread. Where processes leave by themselves, or one is leaving, there may be one
    /// soon: whether it looks again then, or has waited for long enough.
    pub(crate) fn waits_for_memory(&mut self, tid: u32) -> bool {
        let by_hand = self.placement.policy == Policy::Manual && self.outgoing.is_empty();
        let pid = self.thread(tid).pid;
        let (now, threads) = (self.now, &self.threads);
        let starved = &mut self.placement.starved;
        starved.retain(|tid, _| threads.contains_key(tid));
        let (first, last) = starved.entry(tid).or_insert((now, now));
        if now > *last + STARVED_AGAIN_NS * 100 {
            *first = now;
        }
        *last = now;
        if by_hand || now - *first > STARVED_NS {
            starved.remove(&tid);
            return false;
        }
        let at = self.body(pid).clock_ns(now + STARVED_AGAIN_NS);
        self.set_alarm(tid, at);
        true
    }

    /// Whether a process has ended, as far as this node would know.
    fn is_over(&self, pid: u32) -> bool {
        let home = self.homes.get(&pid);
        Pid(pid).home() == self.me && !home.is_some_and(crate::home::Home::lives)
    }

    // ---- orders --------------------------------------------------------------------------------

    /// `/proc/cluster/policy`: all nodes decide so from now on.
    pub(crate) fn set_policy(&mut self, text: &str) -> Result<(), Errno> {
        let policy = Policy::of_name(text).ok_or(Errno::EINVAL)?;
        let order = Order::Policy(policy);
        let peers: Vec<NodeId> = self.net.peers().map(|peer| peer.id).collect();
        for peer in peers {
            self.send(peer, Message::Order { order });
        }
        self.instructed(order);
        Ok(())
    }

    /// A node that boots has the policy of its command line until it hears of another.
    pub(crate) fn tell_policy(&mut self, node: NodeId) {
        if self.placement.policy_is_set {
            let order = Order::Policy(self.placement.policy);
            self.send(node, Message::Order { order });
        }
    }

    /// `/proc/PID/policy`: who decides where a process and its children run.
    pub(crate) fn set_policy_of(&mut self, pid: u32, text: &str) -> Result<(), Errno> {
        let policy = match text {
            "default" => None,
            name => Some(Policy::of_name(name).ok_or(Errno::EINVAL)?),
        };
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
        (home.policy, home.ordered) = (policy, true);
        self.order((pid, pid));
        Ok(())
    }

    /// A key was pressed on the console of this node.
    pub(crate) fn owner_types(&mut self) {
        self.placement.typed_ns = Some(self.now);
        let was = self.placement.owner_present;
        self.placement.look_for_owner(self.now);
        if self.placement.owner_present != was {
            self.placement.next_ns = self.placement.next_ns.min(self.now);
        }
    }

    /// What somebody has said that a node is to do.
    pub(crate) fn instruct(&mut self, node: NodeId, order: Order) -> Result<(), Errno> {
        if node == self.me {
            self.instructed(order);
            return Ok(());
        }
        match self.net.peer(node) {
            None => Err(Errno::ENXIO),
            Some(peer) if peer.state == PeerState::Silent => Err(Errno::EHOSTDOWN),
            Some(_) => {
                self.send(node, Message::Order { order });
                Ok(())
            }
        }
    }

    /// Does as it was told.
    pub(crate) fn instructed(&mut self, order: Order) {
        match order {
            Order::Policy(policy) => {
                (self.placement.policy, self.placement.policy_is_set) = (policy, true);
            }
            Order::Drain(on) => self.placement.draining = on,
            Order::Owner(present) => self.placement.owner = present,
        }
        self.placement.look_for_owner(self.now);
        // The others hear of it, and guests leave, before the period is over.
        self.placement.next_ns = self.placement.next_ns.min(self.now);
    }

    /// What was decided last, and by what.
    pub(crate) fn describe_placement(&self) -> String {
        let last = match &self.placement.last {
            Ok(advice) => format!(
                "process {} to node {}: {}",
                advice.pid, advice.target.0, advice.reason
            ),
            Err(stay) => stay.to_string(),
        };
        let Placement {
            policy,
            runnable_milli,
            bytes_per_s,
            starts,
            ..
        } = &self.placement;
        format!(
            "policy {}\nrunnable_milli {runnable_milli}\nmove_bytes_per_s {bytes_per_s}\nstarts_elsewhere {starts}\ndecided {last}\n",
            policy.name()
        )
    }

    /// `/proc/cluster/nodes`: what is believed of a node's load, in columns; dashes if nothing is.
    pub(crate) fn load_columns(&self, node: NodeId) -> String {
        let (load, age_ns) = if node == self.me {
            (Some(self.own_load()), 0)
        } else {
            let seen = self.net.membership().get(self.now, node);
            let load = seen.and_then(|seen| seen.load);
            (load.map(|(load, _)| load), load.map_or(0, |(_, age)| age))
        };
        let Some(load) = load else {
            return "\t-\t-\t-\t-\t-".to_string();
        };
        let state = match (load.draining, load.owner_present) {
            (true, _) => "drained",
            (_, true) => "owner",
            _ => "open",
        };
        format!(
            "\t{}\t{}\t{}\t{state}\t{}",
            load.runnable_milli,
            load.processors,
            load.guests,
            age_ns / 1_000_000
        )
    }
}

/// A policy of a process's own as a number; 0 is none.
pub(crate) fn word_of(policy: Option<Policy>) -> u32 {
    let at = policy.and_then(|own| Policy::ALL.iter().position(|policy| *policy == own));
    at.map_or(0, |at| at as u32 + 1)
}

/// The policy behind a number of [`word_of`], if it is one.
pub(crate) fn of_word(word: u32) -> Option<Option<Policy>> {
    match word.checked_sub(1) {
        None => Some(None),
        Some(at) => Policy::ALL.get(at as usize).map(|policy| Some(*policy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_node_that_was_busy_looks_later() {
        let mut placement = Placement::new("node=1 policy=balance naws");
        assert_eq!(placement.policy(), Policy::Balance);
        assert_eq!(Placement::new("policy=nonsense").policy(), Policy::Manual);
        placement.average.note(0, 5000);
        assert_eq!(placement.conclude(SECOND), SECOND);
        assert_eq!(placement.runnable_milli, 5000);
        placement.average.note(SECOND, 0);
        assert_eq!(placement.conclude(4 * SECOND), 3 * SECOND);
        assert_eq!(
            (placement.runnable_milli, placement.next_ns),
            (0, 5 * SECOND)
        );
    }

    #[test]
    fn moves_tell_how_fast_the_link_is() {
        let mut placement = Placement::new("");
        placement.learn(0, 7, Ok((1000, 1)));
        assert_eq!(placement.bytes_per_s, FIRST_RATE, "too short to tell");
        for _ in 0..40 {
            placement.learn(0, 7, Ok((200 << 20, SECOND)));
        }
        assert!(placement.bytes_per_s > 190 << 20);
        placement.learn(0, 7, Ok((u64::MAX, 1)));
        placement.learn(0, 7, Err(&MoveError::Busy));
    }
}
