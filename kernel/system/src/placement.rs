//! Which processes leave this node by its own decision, and what it tells the others of itself.
//!
//! Law: `placement::decide` decides; here are its figures and nothing else. What is decided is advice to the
//! process's home, which moves it as if a user had asked, or does not. Figures of others are as old as the
//! gossip that brought them, so what this node has sent to one counts there until it has told that itself.

use crate::body::Effects;
use crate::dispatch::wire_pid;
use crate::home::INIT;
use crate::system::System;
use crate::thread::Run;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use node::PeerState;
use placement::{Candidate, Here, Move, Stay, There};
use wire::{BootId, Load, Message, MoveError, NodeId, NodeState, Order, Pid, Policy};

/// Between two decisions, and two loads that are told, ns.
const PERIOD_NS: u64 = 1_000_000_000;
/// Moves that a node begins in a period, and that it has under way.
const MOVES_MAX: usize = 16;
/// A process that could not move is let alone for so long, ns.
const REFUSED_NS: u64 = 30_000_000_000;
/// What a move is believed to bring across in a second until one has shown it, bytes.
const FIRST_RATE: u64 = 50 << 20;
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

/// A move that was begun.
struct Sent {
    to: NodeId,
    at_ns: u64,
    frames: u32,
}

/// What a node decides by.
pub(crate) struct Placement {
    policy: Policy,
    draining: bool,
    owner_present: bool,
    /// When this period began, and when it is over.
    began_ns: u64,
    next_ns: u64,
    /// Threads that want a processor, since when, and what that adds up to in this period.
    wanting: u64,
    noted_ns: u64,
    wanted_ns: u64,
    /// The average of the last period, in thousandths.
    runnable_milli: u32,
    watched: BTreeMap<u32, Watched>,
    sent: Vec<Sent>,
    bytes_per_s: u64,
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
            draining: false,
            owner_present: false,
            began_ns: 0,
            next_ns: 0,
            wanting: 0,
            noted_ns: 0,
            wanted_ns: 0,
            runnable_milli: 0,
            watched: BTreeMap::new(),
            sent: Vec::new(),
            bytes_per_s: FIRST_RATE,
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

    /// Notes how many threads want a processor from now on.
    fn note(&mut self, now: u64, wanting: u64) {
        let span = now.saturating_sub(self.noted_ns);
        self.wanted_ns = self
            .wanted_ns
            .saturating_add(span.saturating_mul(self.wanting));
        (self.noted_ns, self.wanting) = (now, wanting);
    }

    /// Ends a period; how long it was.
    fn conclude(&mut self, now: u64) -> u64 {
        let span = now.saturating_sub(self.began_ns).max(1);
        let wanted = core::mem::take(&mut self.wanted_ns);
        let milli = u128::from(wanted) * 1000 / u128::from(span);
        self.runnable_milli = u32::try_from(milli).unwrap_or(u32::MAX);
        (self.began_ns, self.next_ns) = (now, now + PERIOD_NS);
        span
    }

    /// A move has ended: how fast was it, or when may the process be tried again?
    pub(crate) fn learn(&mut self, now: u64, pid: u32, result: Result<(u64, u64), &MoveError>) {
        match result {
            Ok((bytes, ns)) if bytes >= RATE_BYTES && ns > 0 => {
                let rate = u128::from(bytes) * 1_000_000_000 / u128::from(ns);
                let rate = u64::try_from(rate).unwrap_or(u64::MAX);
                self.bytes_per_s = (self.bytes_per_s / 4 * 3).saturating_add(rate / 4).max(1);
            }
            Ok(_) => {}
            Err(_) => self.refused(now, pid),
        }
    }

    /// A process cannot move now.
    fn refused(&mut self, now: u64, pid: u32) {
        if let Some(watched) = self.watched.get_mut(&pid) {
            watched.not_before_ns = now + REFUSED_NS;
        }
    }
}

impl System {
    /// Notes who wants to run, and decides when a period is over.
    pub(crate) fn place(&mut self) {
        let wanting = self.running();
        let now = self.now;
        self.placement.note(now, wanting);
        if now < self.placement.next_ns {
            return;
        }
        let span = self.placement.conclude(now);
        self.watch(span);
        let load = self.own_load();
        self.net.set_load(now, load);
        self.send_away(load);
    }

    /// How loaded this node is, for the others.
    fn own_load(&self) -> Load {
        let frames = machine::frame_counts();
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
        self.placement
            .sent
            .retain(|sent| now < sent.at_ns + 8 * PERIOD_NS);
    }

    /// Begins the moves that are advised, one after the other.
    fn send_away(&mut self, mut load: Load) {
        if self.placement.policy == Policy::Manual && self.placement.takes_guests() {
            self.placement.last = Err(Stay::Manual);
            return;
        }
        let mut candidates = self.candidates();
        let mut others = self.others();
        for _ in self.outgoing.len()..MOVES_MAX {
            let here = Here {
                load,
                policy: self.placement.policy,
                bytes_per_s: self.placement.bytes_per_s,
                salt: u64::from(self.me.0),
            };
            let advice =
                placement::decide(&here, others.iter().copied(), candidates.iter().copied());
            self.placement.last = advice;
            let Ok(advice) = advice else { break };
            let Some(index) = candidates.iter().position(|one| one.pid == advice.pid) else {
                break;
            };
            let gone = candidates.swap_remove(index);
            load.runnable_milli = load.runnable_milli.saturating_sub(gone.demand_milli);
            load.frames_free = load.frames_free.saturating_add(gone.frames);
            if let Some(there) = others.iter_mut().find(|there| there.node == advice.target) {
                there.coming += 1;
                there.coming_frames = there.coming_frames.saturating_add(gone.frames);
            }
            self.advise(&advice, gone.frames);
        }
    }

    fn advise(&mut self, advice: &Move, frames: u32) {
        let Some(body) = self.bodies.get(&advice.pid) else {
            return;
        };
        let (pid, target) = (advice.pid, advice.target);
        machine::log!("process {pid}: to node {}: {}", target.0, advice.reason);
        let (home, epoch) = (body.home, body.epoch);
        self.placement.sent.push(Sent {
            to: target,
            at_ns: self.now,
            frames,
        });
        if home == self.me {
            // What stands in its way stands in /proc/PID/cantmove.
            if self.send_for(pid, &target.0.to_string()).is_err() {
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
            let _ = self.send_for(pid.0, &target.0.to_string());
        }
    }

    /// Those who might leave.
    fn candidates(&self) -> Vec<Candidate> {
        let bodies = self.bodies.values().filter(|body| {
            let usual = body.pid != INIT && body.effects == Effects::Open;
            usual && !body.freezing && body.wish.is_none() && self.spaces.users(body.space) == 1
        });
        let candidate = |body: &crate::body::Body| {
            let watched = self.placement.watched.get(&body.pid)?;
            let wants = |tid: &&u32| {
                let thread = self.threads.get(tid);
                thread.is_some_and(|thread| matches!(thread.run, Run::Ready | Run::Running(_)))
            };
            let demand = body.threads.iter().filter(wants).count();
            let leaves = !self.placement.takes_guests() && body.home != self.me;
            let tried = self.now < watched.not_before_ns;
            // Who sleeps is in nobody's way.
            if tried || demand == 0 && !leaves {
                return None;
            }
            let space = self.spaces.get(body.space)?;
            Some(Candidate {
                pid: body.pid,
                home: body.home,
                at_home: body.home == self.me,
                demand_milli: demand as u32 * 1000,
                cpu_ns: body.cpu.user_ns.saturating_add(body.cpu.system_ns),
                here_ns: self.now.saturating_sub(watched.since_ns),
                frames: u32::try_from(space.usage().resident_pages).unwrap_or(u32::MAX),
                calls_per_s: watched.calls_per_s,
            })
        };
        bodies.filter_map(|body| candidate(body)).collect()
    }

    /// The other nodes, as they are believed to be.
    fn others(&self) -> Vec<There> {
        let now = self.now;
        let alive = self
            .net
            .view(now)
            .filter(|seen| seen.state == NodeState::Alive);
        let there = |seen: node::Seen| {
            let (load, age_ns) = seen.load?;
            let peer = self.net.peer(seen.node)?;
            // What has left in the period that this load is of is not in it, or not wholly.
            let told_of = now.saturating_sub(age_ns).saturating_sub(PERIOD_NS);
            let coming = self.placement.sent.iter();
            let coming = coming.filter(|sent| sent.to == seen.node && sent.at_ns >= told_of);
            let (count, frames) = coming.fold((0, 0_u32), |(count, frames), sent| {
                (count + 1, frames.saturating_add(sent.frames))
            });
            (peer.state == PeerState::Alive).then_some(There {
                node: seen.node,
                load,
                coming: count,
                coming_frames: frames,
                rtt_ns: peer.rtt_smoothed_ns.unwrap_or(1_000_000),
            })
        };
        alive.filter_map(there).collect()
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
            Order::Policy(policy) => self.placement.policy = policy,
            Order::Drain(on) => self.placement.draining = on,
            Order::Owner(present) => self.placement.owner_present = present,
        }
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
            ..
        } = &self.placement;
        format!(
            "policy {}\nrunnable_milli {runnable_milli}\nmove_bytes_per_s {bytes_per_s}\ndecided {last}\n",
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_load_is_the_average_of_the_last_period() {
        let mut placement = Placement::new("node=1 policy=balance naws");
        assert_eq!(placement.policy(), Policy::Balance);
        assert_eq!(Placement::new("policy=nonsense").policy(), Policy::Manual);
        placement.note(0, 2);
        placement.note(SECOND / 4, 6);
        placement.note(SECOND, 0);
        assert_eq!(placement.conclude(SECOND), SECOND);
        assert_eq!(placement.runnable_milli, 5000);
        // A node that was busy looks later.
        placement.note(4 * SECOND, 0);
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
