//! A whole cluster on virtual time: nodes as `kernel/image` drives them, faults, and the end.
//!
//! Law: everything that happens follows from the seed, and is noted in the trace. A node is driven
//! exactly as by the loop of the image: time, packets in, packets out, keys, then one thread.

use super::check::{Checker, Failure};
use super::network::{Faults, Network, Packet, address};
use super::processor::{Panel, plug_in};
use super::programs::{Deaths, Programs, Work, write};
use super::random::Random;
use super::{Canary, assembler};
use crate::home::{INIT, Life};
use crate::schedule::SLICE_NS;
use crate::{Settings, System};
use abi::signal;
use machine::fake::{self, Computer};
use machine::{Frame, FrameKind, PAGE_SIZE};
use std::collections::VecDeque;
use std::rc::Rc;
use wire::{BootId, Features, HEADER_LEN, NodeId};

const MS: u64 = 1_000_000;
/// How long the world is bad, how long work may take after that, how long the peace at the end is.
const STORM_NS: u64 = 6_000 * MS;
const PATIENCE_NS: u64 = 150_000 * MS;
const PEACE_NS: u64 = 10_000 * MS;
/// What one instruction takes.
const INSTRUCTION_NS: u64 = 100;
const RECEIVE_BURST: usize = 256;
const NAP_NS: u64 = 1_000_000_000;

/// Which faults a world has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Weather {
    /// Packets are lost, doubled, late and out of order.
    Packets,
    /// And links are cut, also in one direction, and machines are stopped for a while.
    Cuts,
    /// And machines die and boot again.
    Deaths,
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) canary: Option<Canary>,
}

/// What happened in a world that went well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Summary {
    pub(super) trace: u64,
    pub(super) packets: u64,
    pub(super) moves: u64,
    pub(super) deaths: u64,
    pub(super) lost: u64,
    pub(super) records: u64,
}

pub(super) struct Machine {
    pub(super) computer: Computer,
    pub(super) system: Option<System>,
    pub(super) boot: BootId,
    panel: Rc<Panel>,
    /// Virtual time at which its clock was zero.
    zero: u64,
    /// When it has to be looked at.
    due: u64,
    busy_until: u64,
    still_until: u64,
    on_at: u64,
    inbox: VecDeque<Packet>,
    keys: VecDeque<u8>,
    more: bool,
}

pub(super) struct World {
    pub(super) now: u64,
    random: Random,
    network: Network,
    pub(super) machines: Vec<Machine>,
    checker: Checker,
    archive: &'static [u8],
    reasons: Vec<String>,
    plan: Plan,
    weather: Weather,
    summary: Summary,
    trouble_at: u64,
    trouble_ns: u64,
    heal_at: u64,
}

pub(super) fn id(index: usize) -> NodeId {
    NodeId(index as u16 + 1)
}

/// Runs the world of a seed to its end.
pub(super) fn run(plan: Plan) -> Result<Summary, Failure> {
    let mut world = World::new(plan);
    let result = world
        .storm()
        .and_then(|()| world.work_to_the_end())
        .and_then(|()| world.peace());
    let at = world.now as f64 / 1e9;
    let result = result
        .map(|()| world.summary)
        .map_err(|failure| format!("{:?}, at {at:.6} s: {failure}", world.weather));
    // The archive lives as long as the systems do, and no test is rid of those before it ends.
    for machine in &mut world.machines {
        machine.computer.enter();
        machine.system = None;
    }
    result
}

impl World {
    fn new(plan: Plan) -> World {
        let mut random = Random(plan.seed);
        let count = random.between(2, 4) as usize;
        let weather = match plan.seed % 4 {
            0 => Weather::Packets,
            1 => Weather::Cuts,
            _ => Weather::Deaths,
        };
        let deaths = match weather {
            Weather::Deaths => Deaths::Some,
            _ => Deaths::None,
        };
        let work = Work {
            nodes: count as u64,
            workers: random.between(1, 3) as usize,
            steps: random.between(5, 20),
            movers: random.between(1, 2),
            moves: random.between(10, 60),
            deaths,
        };
        let Programs { files, reasons } = write(work, &mut random);
        let manifest: String = files
            .iter()
            .enumerate()
            .map(|(number, (name, _))| format!("{:064x} {name}\n", number + 1))
            .collect();
        let mut entries: Vec<(&str, &[u8])> = Vec::new();
        if random.below(3) > 0 {
            entries.push((".dunlin/manifest", manifest.as_bytes()));
        }
        entries.extend(files.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
        let archive = Box::leak(assembler::archive(&entries).into_boxed_slice());
        let faults = Faults::random(&mut random);
        let network = Network::new(count, faults, random.bits());
        let machines = (0..count)
            .map(|_| Machine {
                computer: Computer::default(),
                system: None,
                boot: BootId::NONE,
                panel: Rc::default(),
                zero: 0,
                due: 0,
                busy_until: 0,
                still_until: 0,
                on_at: 1 + random.below(200 * MS),
                inbox: VecDeque::new(),
                keys: VecDeque::new(),
                more: false,
            })
            .collect();
        World {
            now: 0,
            network,
            machines,
            checker: Checker::new(work, &files),
            archive,
            reasons,
            plan,
            weather,
            summary: Summary {
                trace: 0xcbf2_9ce4_8422_2325,
                ..Summary::default()
            },
            trouble_at: random.between(300 * MS, 1000 * MS),
            trouble_ns: random.between(100 * MS, 1500 * MS),
            heal_at: u64::MAX,
            random,
        }
    }

    /// FNV-1a over 64-bit words.
    fn note(&mut self, word: u64) {
        self.summary.trace = (self.summary.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }

    // ---- the ages of the world ---------------------------------------------------------------

    fn storm(&mut self) -> Result<(), Failure> {
        while self.now < STORM_NS {
            let next = self.next_at().min(self.trouble_at).min(self.heal_at);
            self.now = self.now.max(next).min(STORM_NS);
            self.step()?;
            if self.now >= self.trouble_at {
                self.trouble()?;
                self.trouble_at = self.now + 1 + self.random.below(2 * self.trouble_ns);
            }
            if self.now >= self.heal_at {
                self.network.heal();
                self.heal_at = u64::MAX;
            }
        }
        self.network.heal();
        self.network.faults = Faults::none();
        Ok(())
    }

    /// No new faults: all work comes to its end.
    fn work_to_the_end(&mut self) -> Result<(), Failure> {
        let end = self.now + PATIENCE_NS;
        while !self.checker.all_ended(&self.machines) {
            if self.now > end {
                return Err(self.checker.what_hangs(&self.machines));
            }
            self.now = self.now.max(self.next_at());
            self.step()?;
            self.kill_the_forgotten();
        }
        Ok(())
    }

    /// Whom a parent has stopped that a death then took stays stopped, on every Unix: its group had
    /// no guardian before either. The user would kill it, and so does the world.
    fn kill_the_forgotten(&mut self) {
        if self.weather != Weather::Deaths {
            return;
        }
        for machine in &mut self.machines {
            let Some(system) = machine.system.as_mut() else {
                continue;
            };
            let forgotten: Vec<u32> = (system.homes.values())
                .filter(|home| matches!(home.life, Life::Stopped { .. }) && home.parent == INIT)
                .filter(|home| home.pending.set() & signal::bit(signal::SIGKILL) == 0)
                .map(|home| home.pid)
                .collect();
            machine.computer.enter();
            for pid in forgotten {
                system.signal(pid, signal::SIGKILL);
                machine.due = machine.due.min(self.now);
            }
        }
    }

    /// Nobody has anything to do: what is left now is left for ever.
    fn peace(&mut self) -> Result<(), Failure> {
        let end = self.now + PEACE_NS;
        while self.now < end {
            self.now = self.now.max(self.next_at()).min(end);
            self.step()?;
        }
        let (records, lost) = self.checker.finish(&mut self.machines)?;
        self.summary.records = records;
        self.summary.lost = lost;
        Ok(())
    }

    // ---- one step ----------------------------------------------------------------------------

    fn next_at(&self) -> u64 {
        let machines = self.machines.iter().map(|machine| match machine.system {
            Some(_) => machine.due.max(machine.still_until),
            None => machine.on_at,
        });
        machines
            .chain(self.network.next_at())
            .min()
            .expect("there are machines")
    }

    fn step(&mut self) -> Result<(), Failure> {
        while let Some(packet) = self.network.take(self.now) {
            let machine = &mut self.machines[packet.to];
            if machine.system.is_some() {
                machine.due = machine.due.min(machine.busy_until.max(self.now));
                machine.inbox.push_back(packet);
            }
        }
        for index in 0..self.machines.len() {
            let machine = &self.machines[index];
            if machine.system.is_none() && machine.on_at <= self.now {
                self.switch_on(index)?;
            } else if machine.system.is_some() && machine.due.max(machine.still_until) <= self.now {
                self.turn(index)?;
            }
        }
        Ok(())
    }

    fn switch_on(&mut self, index: usize) -> Result<(), Failure> {
        let boot = BootId(self.random.bits() | 1);
        let zero = self.now.saturating_sub(self.random.below(2_000 * MS));
        let (seed, random) = (self.random.bits(), self.random.bits());
        let machine = &mut self.machines[index];
        machine.computer = Computer::default();
        machine.computer.enter();
        machine.boot = boot;
        machine.zero = zero;
        machine.busy_until = self.now;
        machine.due = self.now;
        machine.inbox.clear();
        machine.keys = VecDeque::from(b"g\n".to_vec());
        fake::seed_random(random);
        fake::set_now_ns(self.now - zero);
        plug_in(&machine.panel);
        let cpu = machine::cpu_features();
        let settings = Settings {
            node: id(index),
            mac: address(index),
            mtu: 9000,
            boot,
            seed,
            command_line: String::new(),
            archive: self.archive,
            boot_unix_ns: 1_700_000_000_000_000_000,
            features: Features {
                xcr0: cpu.xcr0,
                leaf1_ecx: cpu.leaf1_ecx,
                leaf1_edx: cpu.leaf1_edx,
                leaf7_ebx: cpu.leaf7_ebx,
                leaf7_ecx: cpu.leaf7_ecx,
            },
            processors: 1,
        };
        let mut system = System::new(settings, self.now - zero);
        system.canary = self.plan.canary;
        system
            .spawn_init(b"/init")
            .map_err(|errno| format!("no init: {errno:?}"))?;
        machine.system = Some(system);
        Ok(())
    }

    /// One round of a node's loop, as in `kernel/image`.
    fn turn(&mut self, index: usize) -> Result<(), Failure> {
        let now = self.now;
        let budget = self.random.between(1, 3000);
        let machine = &mut self.machines[index];
        machine.computer.enter();
        let clock = now - machine.zero;
        fake::set_now_ns(clock);
        let mut system = machine
            .system
            .take()
            .expect("only nodes that are on have a turn");
        system.tick(clock);
        let mut received = 0;
        while received < RECEIVE_BURST
            && let Some(packet) = machine.inbox.pop_front()
        {
            let page = Frame::zeroed(FrameKind::Network).map_err(|_| "no frame for a packet")?;
            page.write(0, &packet.payload);
            system.packet(clock, &packet.header, page, packet.payload.len());
            system.packets_over();
            received += 1;
        }
        machine.more = received == RECEIVE_BURST;
        let mut words = Vec::new();
        while let Some(transmit) = system.poll_transmit(clock) {
            words.push(fingerprint(&transmit.header) ^ now);
            self.network.transmit(now, index, &transmit);
        }
        if let Some(byte) = machine.keys.pop_front() {
            system.typed(byte);
        }
        let output = system.take_output();
        let mut then = clock;
        let turn = system.begin(0);
        let ran = turn.is_some();
        if let Some(mut turn) = turn {
            machine
                .panel
                .budget
                .set(budget.min(SLICE_NS / INSTRUCTION_NS));
            let exit = turn.run();
            then = clock + (machine.panel.used.get().max(1)) * INSTRUCTION_NS;
            fake::set_now_ns(then);
            words.push(turn.registers.rip ^ u64::from(turn.tid) << 32);
            system.end_turn(turn, exit, then - clock, then);
        }
        machine.busy_until = now + (then - clock);
        machine.due = if ran || machine.more || !machine.keys.is_empty() {
            machine.busy_until
        } else {
            let wake = system.poll_timeout().unwrap_or(u64::MAX);
            let wake = wake.min(clock + NAP_NS).max(clock + 1);
            machine.zero + wake
        };
        if let Some(status) = system.power_off() {
            return Err(format!("node {} powers itself off: {status}", index + 1));
        }
        let failure = machine.panel.failure.borrow_mut().take();
        self.summary.packets += words.len() as u64;
        let log = fake::take_console();
        self.checker.output(id(index), machine.boot, &output)?;
        self.checker.state(&system)?;
        machine.system = Some(system);
        for word in words {
            self.note(word);
        }
        if let Some((reason, value)) = failure {
            let reason = &self.reasons[reason as usize];
            let log = String::from_utf8_lossy(&log).into_owned();
            return Err(format!("a program: {reason}: {value:#x}; {log}"));
        }
        self.checker.log(id(index), &log)?;
        self.summary.moves += self.checker.owners(&self.machines)?;
        Ok(())
    }

    // ---- faults ------------------------------------------------------------------------------

    fn trouble(&mut self) -> Result<(), Failure> {
        let index = self.random.below(self.machines.len() as u64) as usize;
        let most = match self.weather {
            Weather::Packets => 1,
            Weather::Cuts => 5,
            Weather::Deaths => 8,
        };
        match self.random.below(most) {
            0 => self.network.faults = Faults::random(&mut self.random),
            1 | 2 => {
                let count = self.machines.len();
                let sides: Vec<u64> = (0..count).map(|_| self.random.below(2)).collect();
                let both = self.random.below(2) == 0;
                for from in 0..count {
                    for to in 0..count {
                        let crosses = sides[from] != sides[to];
                        self.network.cut[from][to] = crosses && (both || sides[from] == 0);
                    }
                }
                self.heal_at = self.now + self.random.between(10 * MS, 4_000 * MS);
            }
            3 | 4 => {
                // A virtual machine that is stopped: its clock stands still, too.
                let still_ns = self.random.between(MS, 4_000 * MS);
                let machine = &mut self.machines[index];
                if machine.still_until <= self.now && machine.system.is_some() {
                    machine.still_until = self.now + still_ns;
                    machine.zero += still_ns;
                    machine.due += still_ns;
                    machine.busy_until += still_ns;
                }
            }
            _ if self.machines[index].system.is_some() => self.kill(index)?,
            _ => {}
        }
        Ok(())
    }

    fn kill(&mut self, index: usize) -> Result<(), Failure> {
        self.summary.deaths += 1;
        self.checker.dies(index, &self.machines);
        self.network.forget(index);
        for machine in &mut self.machines {
            machine.inbox.retain(|packet| packet.from != index);
        }
        let off_ns = match self.random.below(2) {
            0 => self.random.below(5 * MS),
            _ => self.random.below(3_000 * MS),
        };
        let machine = &mut self.machines[index];
        machine.inbox.clear();
        machine.still_until = 0;
        machine.on_at = self.now + 1 + off_ns;
        machine.computer.enter();
        machine.system = None;
        let counts = machine::frame_counts();
        if counts.by_kind.iter().any(|&count| count != 0) {
            return Err(format!(
                "node {} is gone and has frames left: {:?}",
                index + 1,
                counts.by_kind
            ));
        }
        Ok(())
    }
}

fn fingerprint(header: &[u8; HEADER_LEN]) -> u64 {
    header.chunks(8).fold(0_u64, |hash, bytes| {
        let word = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// Pages of all files of the archive.
pub(super) fn pages_of(files: &[(&str, Vec<u8>)]) -> u64 {
    files
        .iter()
        .map(|(_, bytes)| bytes.len().div_ceil(PAGE_SIZE) as u64)
        .sum()
}
