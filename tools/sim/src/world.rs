//! The world of one seed: machines, their clocks, stops and reboots, the network and the work.
//!
//! Law: one loop over virtual time. After every call into a stack, all its frames and events are
//! taken out, in the order its documentation asks for.

use crate::check::{Checker, Failure, Item};
use crate::network::{Faults, Frame, Network};
use crate::random::Random;
use node::{Canary, Config, Lane, Load, Node, NodeInfo, NodeState, Packing, PeerState};
use wire::{BootId, NodeId};

const MS: u64 = 1_000_000;
/// How long the world is bad, ns, and how long it may take to settle after that.
const STORM_NS: u64 = 5_000 * MS;
const SETTLE_NS: u64 = 60_000 * MS;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed: everything follows from it.
    pub seed: u64,
    /// How many nodes; 0 lets the seed choose 2 to 6.
    pub nodes: usize,
    /// A bug to switch on in every node.
    pub canary: Option<Canary>,
}

/// What happened in a run that went well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Hash of all frames and events and their times.
    pub trace: u64,
    /// Messages and pages that came out.
    pub delivered: u64,
    /// Frames on the cables.
    pub frames: u64,
    /// Reboots of nodes.
    pub reboots: u64,
}

/// A computer, on or off.
struct Machine {
    stack: Option<Node<Frame>>,
    boot: BootId,
    /// Virtual time at which its clock was zero.
    epoch: u64,
    /// When it is switched on, while it is off.
    on_at: u64,
    deadline: Option<u64>,
    /// Until when it stands still, clock included.
    still_until: u64,
}

struct World {
    plan: Plan,
    now: u64,
    random: Random,
    network: Network,
    machines: Vec<Machine>,
    checker: Checker,
    trace: u64,
    reboots: u64,
    /// Some clock stood still: offsets measured before are wrong.
    clocks_stopped: bool,
    work_at: u64,
    mischief_at: u64,
    heal_at: u64,
    /// How restless this seed is: ns between two pieces of work, and two pieces of mischief.
    work_ns: u64,
    mischief_ns: u64,
}

/// Runs the world of a seed to its end.
///
/// # Errors
/// What went wrong and when.
pub fn run(plan: Plan) -> Result<Summary, Failure> {
    let mut world = World::new(plan);
    world
        .storm()
        .and_then(|()| world.settle())
        .map_err(|failure| format!("at {:.6} s: {failure}", world.now as f64 / 1e9))?;
    Ok(Summary {
        trace: world.trace,
        delivered: world.checker.delivered,
        frames: world.network.frames,
        reboots: world.reboots,
    })
}

impl World {
    fn new(plan: Plan) -> World {
        let mut random = Random::new(plan.seed);
        let count = match plan.nodes {
            0 => random.between(2, 6) as usize,
            nodes => nodes,
        };
        let faults = Faults::random(&mut random);
        let network = Network::new(count, faults, Random::new(random.bits()));
        let machines = (0..count)
            .map(|_| Machine {
                stack: None,
                boot: BootId::NONE,
                epoch: 0,
                on_at: 1 + random.below(500 * MS),
                deadline: None,
                still_until: 0,
            })
            .collect();
        World {
            plan,
            now: 0,
            network,
            machines,
            checker: Checker::default(),
            trace: 0xcbf2_9ce4_8422_2325,
            reboots: 0,
            clocks_stopped: false,
            work_at: 0,
            mischief_at: random.below(1000 * MS),
            heal_at: u64::MAX,
            work_ns: random.between(5 * MS, 60 * MS),
            mischief_ns: random.between(100 * MS, 3000 * MS),
            random,
        }
    }

    /// FNV-1a over 64-bit words.
    fn note(&mut self, word: u64) {
        self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn id(machine: usize) -> NodeId {
        NodeId(machine as u16 + 1)
    }

    /// The bad time: work, cuts, reboots.
    fn storm(&mut self) -> Result<(), Failure> {
        while self.now < STORM_NS {
            let next = self.next_at().min(self.work_at).min(self.mischief_at);
            self.now = self.now.max(next.min(self.heal_at)).min(STORM_NS);
            self.step()?;
            if self.now >= self.work_at {
                self.work()?;
                self.work_at = self.now + self.random.below(2 * self.work_ns);
            }
            if self.now >= self.mischief_at {
                self.mischief();
                self.mischief_at = self.now + self.random.below(2 * self.mischief_ns);
            }
            if self.now >= self.heal_at {
                self.network.heal();
                self.heal_at = u64::MAX;
            }
        }
        Ok(())
    }

    /// The good time: no new faults; everything that can come must come.
    fn settle(&mut self) -> Result<(), Failure> {
        self.network.heal();
        let delay_ns = self.network.faults.delay_ns;
        self.network.faults = Faults::none(delay_ns, self.network.faults.byte_ps);
        let end = self.now + SETTLE_NS;
        let mut look_at = self.now + 4_000 * MS;
        loop {
            self.now = self.now.max(self.next_at().min(look_at));
            self.step()?;
            if self.now < look_at {
                continue;
            }
            let result = self.checker.finish().and_then(|()| self.check_peers());
            if result.is_ok() || self.now >= end {
                return result;
            }
            look_at = self.now + 500 * MS;
        }
    }

    fn next_at(&self) -> u64 {
        let machines = self.machines.iter().map(|machine| match machine.stack {
            Some(_) => {
                let deadline = machine.deadline.unwrap_or(u64::MAX);
                deadline.max(machine.still_until)
            }
            None => machine.on_at,
        });
        let frame = self.network.next_at();
        machines.chain(frame).min().expect("there are machines")
    }

    /// Everything that is due now.
    fn step(&mut self) -> Result<(), Failure> {
        let gossips = self.gossips();
        for index in 0..self.machines.len() {
            let machine = &mut self.machines[index];
            match &mut machine.stack {
                None if machine.on_at <= self.now => self.switch_on(index)?,
                Some(_) if machine.still_until > self.now => {}
                Some(stack) if machine.deadline.is_some_and(|at| at <= self.now) => {
                    let clock = self.now - machine.epoch;
                    if gossips {
                        stack.set_load(clock, World::load(index));
                    }
                    stack.handle_timeout(clock);
                    self.drain(index)?;
                }
                _ => {}
            }
        }
        while let Some(arrival) = self.network.pop(self.now) {
            let machine = &mut self.machines[arrival.to];
            if machine.still_until > self.now {
                self.network.postpone(arrival, machine.still_until);
                continue;
            }
            if let Some(stack) = &mut machine.stack {
                let clock = self.now - machine.epoch;
                stack.handle_frame(clock, &arrival.header, arrival.payload, arrival.length);
                self.drain(arrival.to)?;
            }
        }
        Ok(())
    }

    /// Half of the worlds do, so that there are still some without.
    fn gossips(&self) -> bool {
        self.plan.seed % 2 == 1
    }

    fn load(machine: usize) -> Load {
        Load {
            runnable_milli: machine as u32,
            ..Load::default()
        }
        .within_reason()
    }

    fn switch_on(&mut self, index: usize) -> Result<(), Failure> {
        let boot = BootId(self.random.bits() | 1);
        let config = Config {
            node: World::id(index),
            boot,
            mac: Network::mac(index),
            // Cards carry whole pages or pieces of them, as the seed has it.
            mtu: if self.random.bits() & 1 == 0 {
                9000
            } else {
                1500
            },
            cluster: 7,
            seed: self.random.bits(),
            info: NodeInfo {
                processes: index as u32,
                ..NodeInfo::default()
            },
            packing: match self.random.bits() & 1 {
                0 => Packing::Measured,
                _ => Packing::Always,
            },
        };
        let machine = &mut self.machines[index];
        // A clock starts with the machine; firmware took some time before.
        machine.epoch = self.now.saturating_sub(self.random.below(2_000 * MS));
        machine.boot = boot;
        machine.still_until = 0;
        let mut stack = Node::new(config, self.now - machine.epoch);
        if let Some(canary) = self.plan.canary {
            stack.release(canary);
        }
        machine.stack = Some(stack);
        self.checker.booted(World::id(index), boot);
        self.drain(index)
    }

    /// Takes out everything a stack has to say.
    fn drain(&mut self, index: usize) -> Result<(), Failure> {
        let clock = self.now - self.machines[index].epoch;
        loop {
            let machine = &mut self.machines[index];
            let stack = machine.stack.as_mut().expect("only living stacks speak");
            if let Some(transmit) = stack.poll_transmit(clock) {
                let words = transmit.header.chunks(8);
                let word = |word: &[u8]| word.iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
                let hash = words.fold(self.now, |hash, bytes| {
                    (hash.rotate_left(5) ^ word(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                });
                self.note(hash);
                self.network.transmit(self.now, index, transmit);
                continue;
            }
            let Some(event) = stack.poll_event() else {
                machine.deadline = stack.poll_timeout().map(|at| at + machine.epoch);
                return Ok(());
            };
            let boot = machine.boot;
            self.note(self.now ^ boot.0);
            self.checker.event(boot, &event)?;
        }
    }

    /// Some node sends something to some other.
    fn work(&mut self) -> Result<(), Failure> {
        let count = self.machines.len() as u64;
        let from = self.random.below(count) as usize;
        let to = (from + 1 + self.random.below(count - 1) as usize) % count as usize;
        let lane = Lane::ALL[self.random.below(2) as usize];
        let burst = match self.random.below(8) {
            0 => self.random.between(1, 80),
            _ => self.random.between(1, 4),
        };
        for _ in 0..burst {
            let id = self.checker.next_id();
            let item = match self.random.below(20) {
                0 => Item::Long(id, self.random.below(8000) as u32),
                1..=8 => Item::Short(id),
                9..=12 => Item::FilePage(id),
                _ => Item::Page(id),
            };
            self.send(from, to, lane, item)?;
        }
        Ok(())
    }

    fn send(&mut self, from: usize, to: usize, lane: Lane, item: Item) -> Result<(), Failure> {
        let machine = &mut self.machines[from];
        let Some(stack) = &mut machine.stack else {
            return Ok(());
        };
        if machine.still_until > self.now {
            return Ok(());
        }
        let (clock, target) = (self.now - machine.epoch, World::id(to));
        let pid = Checker::pid(World::id(from), lane);
        let boot = stack.peer(target).map(|peer| peer.boot);
        let result = match (item.message(pid), item.page(pid), lane) {
            (Some(message), _, Lane::Urgent) => stack.send(clock, target, message),
            (Some(message), _, Lane::Bulk) => stack.send_bulk(clock, target, message),
            (None, Some((tag, page)), _) => stack.send_page(clock, target, lane, tag, page),
            (None, None, _) => return Err(String::from("an item is a message or a page")),
        };
        match (result, boot) {
            (Ok(()), Some(boot)) => self.checker.sent(machine.boot, boot, lane, item),
            (Err(_), None) => {}
            other => return Err(format!("send: {other:?}")),
        }
        self.drain(from)
    }

    /// Something bad happens.
    fn mischief(&mut self) {
        let index = self.random.below(self.machines.len() as u64) as usize;
        match self.random.below(4) {
            0 => {
                let sides = (0..self.machines.len())
                    .map(|_| self.random.below(2) as u8)
                    .collect();
                self.network.cut(sides);
                self.heal_at = self.now + self.random.between(10 * MS, 3_000 * MS);
            }
            1 if self.machines[index].stack.is_some() => {
                let off_ns = match self.random.below(2) {
                    0 => self.random.below(5 * MS),
                    _ => self.random.below(3_000 * MS),
                };
                let machine = &mut self.machines[index];
                machine.stack = None;
                machine.on_at = self.now + 1 + off_ns;
                self.reboots += 1;
            }
            2 if self.machines[index].still_until <= self.now => {
                // A virtual machine that is stopped: its clock stands still too.
                let still_ns = self.random.between(MS, 4_000 * MS);
                let machine = &mut self.machines[index];
                machine.still_until = self.now + still_ns;
                machine.epoch += still_ns;
                machine.deadline = machine.deadline.map(|at| at + still_ns);
                self.clocks_stopped = true;
            }
            _ => self.network.faults = Faults::random(&mut self.random),
        }
    }

    /// Everybody is seen alive, all lanes are at rest, clock offsets are as true as they say.
    fn check_peers(&self) -> Result<(), Failure> {
        for machine in &self.machines {
            let Some(stack) = &machine.stack else {
                return Err(String::from("a machine is off at the end"));
            };
            let me = stack.id();
            for peer in stack.peers() {
                let id = peer.id;
                if peer.state != PeerState::Alive {
                    return Err(format!("node {me}: node {id} is silent"));
                }
                if !stack.bulk_idle(id) {
                    return Err(format!("node {me}: bulk lane to {id} is not idle"));
                }
                let other = &self.machines[usize::from(id.0) - 1];
                let truth = machine.epoch as i64 - other.epoch as i64;
                match peer.clock_offset {
                    _ if self.clocks_stopped => {}
                    Some((offset, error)) if offset.abs_diff(truth) <= error + 1 => {}
                    wrong => {
                        return Err(format!(
                            "node {me}: clock of {id} is off by {truth} ns, estimate {wrong:?}"
                        ));
                    }
                }
                let seen = stack.membership().get(self.now - machine.epoch, id);
                let believed = seen.map(|seen| (seen.boot, seen.state, seen.load.map(|l| l.0)));
                let load = World::load(usize::from(id.0) - 1);
                let true_of_it = (other.boot, NodeState::Alive, Some(load));
                if self.gossips() && believed != Some(true_of_it) {
                    return Err(format!("node {me}: of node {id} it believes {seen:?}"));
                }
                if peer.info.processes != u32::from(id.0) - 1 {
                    return Err(format!("node {me}: wrong information about {id}"));
                }
            }
        }
        Ok(())
    }
}
