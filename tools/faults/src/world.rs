//! A whole cluster on virtual time: nodes as `kernel/image` drives them, and what is done to them.
//!
//! Law: everything that happens follows from the seed, and is noted in the trace. A node is driven
//! exactly as by the loop of the image: time, packets in, packets out, keys, then one thread. Who
//! decides what is done to it is elsewhere: [`crate::storm`] by chance, [`crate::cells`] by a table.

use crate::assembler;
use crate::check::{Checker, Failure};
use crate::disk::Disk;
use crate::network::{Faults, Network, Packet, address};
use crate::processor::{Panel, plug_in};
use crate::programs::{self, Programs, Work};
use crate::random::Random;
use crate::telling::Event;
use crate::{Canary, Summary};
use machine::fake::{self, Computer};
use machine::{Exit, Frame, FrameKind, PAGE_SIZE};
use node::{OwnerKey, Suite};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use system::hand_over::Outgoing;
use system::home::{Home, INIT};
use system::inside::{Forgery, Step};
use system::schedule::SLICE_NS;
use system::turn::{After, Turn};
use system::{Settings, System};
use wire::{BootId, Features, HEADER_LEN, NodeId, Pid};

pub(crate) const MS: u64 = 1_000_000;
/// What one instruction takes.
const INSTRUCTION_NS: u64 = 100;
const RECEIVE_BURST: usize = 256;
const NAP_NS: u64 = 1_000_000_000;
/// How fast a clock goes that is right: in thousandths.
pub(crate) const RIGHT_PACE: u64 = 1000;
/// What may be out: memory of processes, its tables, room for packets, or the next of any of these.
const FAILING: [&[FrameKind]; 4] = [
    &[FrameKind::User],
    &[FrameKind::PageTable],
    &[FrameKind::Network],
    &[FrameKind::User, FrameKind::PageTable, FrameKind::Network],
];

/// AVX2, in what leaf 7 of CPUID has in EBX.
const OFTEN_MISSING: u32 = 1 << 5;
/// Words in the reasons of checks that compare how much was transferred.
const TRANSFERS: [&str; 6] = ["write", "written", "read", "piece", "record", "word"];
/// A check whose reason begins so is of one who is told of a reboot of its home, and is prepared for it.
pub(crate) const PREPARED: &str = "guest: ";
/// One of so many who are asked to take a process claims it before it has come.
const CLAIMS: u64 = 4;
/// With one of so many steps of moves the liar speaks, once or a few times.
const LIES: u64 = 3;
const LIES_AT_ONCE: u64 = 4;
/// The key of who owns a cluster with keys.
const OWNER: [u8; 32] = [0x5e; 32];
/// The last request that may fail is the one of this power of two.
const FRAMES_BITS: u64 = 10;

/// As [`fake::fail_frame`] takes it.
type Shortage = (u64, &'static [FrameKind]);

pub(crate) struct Machine {
    pub(crate) computer: Computer,
    pub(crate) system: Option<System>,
    pub(crate) boot: BootId,
    /// The first boot of those that know of each other by their disk; without one this boot.
    pub(crate) line: BootId,
    pub(crate) disk: Option<Disk>,
    /// What its card carries behind an Ethernet header.
    mtu: u16,
    panel: Rc<Panel>,
    /// The world's time at which its clock was zero, and how fast it goes, in thousandths.
    zero: u64,
    pace: u64,
    /// When it has to be looked at.
    due: u64,
    busy_until: u64,
    pub(crate) still_until: u64,
    pub(crate) on_at: u64,
    inbox: VecDeque<Packet>,
    keys: VecDeque<u8>,
    /// Somebody types on its console when it has booted, so that its programs start.
    pub(crate) used: bool,
    /// The pace that its clock has, if not one by chance.
    pub(crate) wrong_pace: Option<u64>,
    /// It lacks a feature of its processor that the others have.
    pub(crate) old: bool,
    more: bool,
    /// How many steps of its timeline were seen.
    seen: u64,
    /// Requests for frames to be granted before one is not.
    pub(crate) failing: Option<Shortage>,
}

impl Machine {
    pub(crate) fn clock(&self, now: u64) -> u64 {
        now.saturating_sub(self.zero) * self.pace / RIGHT_PACE
    }

    /// The world's time at which its clock is this.
    fn time_of(&self, clock: u64) -> u64 {
        let passed = u128::from(clock) * u128::from(RIGHT_PACE);
        self.zero.saturating_add(
            u64::try_from(passed.div_ceil(u128::from(self.pace))).unwrap_or(u64::MAX),
        )
    }
}

/// Something that will be done to the network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// All cuts are over.
    Heal,
    /// A direction holds its packets.
    Clog(usize, usize),
    /// And does not any more.
    Unclog(usize, usize),
}

/// What becomes of the packets that a machine had sent when it dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LastWords {
    /// They lay in its card.
    Lost,
    /// They were under way.
    Arrive,
}

/// How long frames may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wires {
    /// A page fits.
    Wide,
    /// It does not.
    Narrow,
    /// It fits between some machines.
    Mixed,
    /// Cards would carry it, and what is between them does not.
    NarrowSwitch,
}

impl Wires {
    pub(crate) const ALL: [Wires; 4] = [
        Wires::Wide,
        Wires::Narrow,
        Wires::Mixed,
        Wires::NarrowSwitch,
    ];
}

pub(crate) struct World<'a> {
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) machines: Vec<Machine>,
    pub(crate) checker: Checker,
    pub(crate) summary: Summary,
    /// How fast clocks may go: the slowest and the fastest.
    pub(crate) paces: (u64, u64),
    /// What the timelines have noted since the last look.
    pub(crate) fresh: Vec<(usize, Step)>,
    agenda: BTreeMap<(u64, u64), Deed>,
    /// How long guests wait for their homes, s; 0: as the kernel has it.
    pub(crate) grace_s: u64,
    /// Pages travel packed, whatever that costs.
    pub(crate) packs: bool,
    /// The nodes have keys, and seal what they send so.
    pub(crate) suite: Option<Suite>,
    /// A node to which a process is to be moved may claim it before it has it, if this die says so.
    pub(crate) claims: Option<Random>,
    /// The key of this node was taken over: it says of others' processes what is not its to say. It takes no guests, as what becomes of
    /// those is its own.
    pub(crate) liar: Option<(usize, Random)>,
    archive: &'static [u8],
    reasons: Vec<String>,
    canary: Option<Canary>,
    tell: &'a mut dyn FnMut(&Event),
}

pub(crate) fn id(index: usize) -> NodeId {
    NodeId(index as u16 + 1)
}

impl<'a> World<'a> {
    /// Machines that are off, with these programs for all of them.
    pub(crate) fn new(
        mut random: Random,
        (work, programs): (Work, Programs),
        canary: Option<Canary>,
        tell: &'a mut dyn FnMut(&Event),
    ) -> World<'a> {
        let Programs { files, reasons } = programs;
        let manifest: String = files
            .iter()
            .enumerate()
            .map(|(number, (name, _))| format!("{:064x} {name}\n", number + 1))
            .collect();
        let mut entries: Vec<(&str, &[u8])> = Vec::new();
        // What is mapped of a file without a hash is lost with its home.
        if random.below(3) > 0 || work.disks {
            entries.push((".dunlin/manifest", manifest.as_bytes()));
        }
        entries.extend(files.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
        let archive = Box::leak(assembler::archive(&entries).into_boxed_slice());
        let transfers: BTreeSet<u32> = (0..)
            .zip(&reasons)
            .filter(|(_, reason)| TRANSFERS.iter().any(|word| reason.contains(word)))
            .map(|(number, _)| number)
            .collect();
        let prepared: BTreeSet<u32> = (0..)
            .zip(&reasons)
            .filter(|(_, reason)| reason.starts_with(PREPARED))
            .map(|(number, _)| number)
            .collect();
        let count = work.nodes as usize;
        let network = Network::new(count, Faults::none(), random.bits());
        let machines = (0..count)
            .map(|_| Machine {
                computer: Computer::default(),
                system: None,
                boot: BootId::NONE,
                line: BootId::NONE,
                disk: None,
                mtu: 9000,
                panel: Rc::new(Panel {
                    transfers: RefCell::new(transfers.clone()),
                    prepared: RefCell::new(prepared.clone()),
                    ..Panel::default()
                }),
                zero: 0,
                pace: RIGHT_PACE,
                due: 0,
                busy_until: 0,
                still_until: 0,
                on_at: 1 + random.below(200 * MS),
                inbox: VecDeque::new(),
                keys: VecDeque::new(),
                used: true,
                wrong_pace: None,
                old: false,
                more: false,
                seen: 0,
                failing: None,
            })
            .collect();
        World {
            now: 0,
            random,
            network,
            machines,
            checker: Checker::new(work, &files),
            summary: Summary::new(),
            paces: (RIGHT_PACE, RIGHT_PACE),
            fresh: Vec::new(),
            agenda: BTreeMap::new(),
            grace_s: 0,
            packs: false,
            suite: None,
            claims: None,
            liar: None,
            archive,
            reasons,
            canary,
            tell,
        }
    }

    /// Puts cards into the machines, and cables between them.
    pub(crate) fn wire(&mut self, wires: Wires) {
        for index in 0..self.machines.len() {
            let wide = self.random.below(2) == 0;
            let (card, cable) = match wires {
                Wires::Wide => (9000, 9000),
                Wires::Narrow => (1500, 1500),
                Wires::Mixed if wide => (9000, 9000),
                Wires::Mixed => (1500, 1500),
                Wires::NarrowSwitch => (9000, 1500),
            };
            self.machines[index].mtu = card;
            self.network.mtus[index] = cable;
        }
    }

    /// The archive lives as long as the systems do, and nobody is rid of those before the world ends.
    pub(crate) fn switch_off(&mut self) {
        for machine in &mut self.machines {
            machine.computer.enter();
            machine.system = None;
        }
    }

    /// FNV-1a over 64-bit words.
    fn note(&mut self, word: u64) {
        self.summary.trace = (self.summary.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }

    /// Tells that something has happened.
    pub(crate) fn tell(&mut self, what: &'static str, node: usize, text: String) {
        self.tell_event(Event {
            at_ns: self.now,
            node: id(node),
            what,
            pid: 0,
            epoch: 0,
            peer: NodeId(0),
            text,
        });
    }

    pub(crate) fn tell_event(&mut self, event: Event) {
        self.note(event.hash());
        self.summary.events += 1;
        (self.tell)(&event);
    }

    // ---- time --------------------------------------------------------------------------------

    /// Something will be done at a time.
    pub(crate) fn plan(&mut self, at: u64, deed: Deed) {
        let serial = self.agenda.len() as u64;
        let mut key = (at, serial);
        while self.agenda.contains_key(&key) {
            key.1 += 1;
        }
        self.agenda.insert(key, deed);
    }

    /// Forgets what was planned, and lets everything through that still waits.
    pub(crate) fn clear_sky(&mut self) {
        self.network.heal();
        self.network.faults = Faults::none();
        self.network.turned = 0;
        for deed in std::mem::take(&mut self.agenda).into_values() {
            if let Deed::Unclog(from, to) = deed {
                self.network.unclog(self.now, from, to);
            }
        }
        for machine in &mut self.machines {
            machine.failing = None;
        }
        self.tell("peace", 0, String::new());
    }

    fn next_at(&self) -> u64 {
        let machines = self.machines.iter().map(|machine| match machine.system {
            Some(_) => machine.due.max(machine.still_until),
            None => machine.on_at,
        });
        machines
            .chain(self.network.next_at())
            .chain(self.agenda.keys().next().map(|key| key.0))
            .min()
            .expect("there are machines")
    }

    /// Goes on to the next thing that happens, but not beyond a time.
    pub(crate) fn step(&mut self, until: u64) -> Result<(), Failure> {
        self.now = self.now.max(self.next_at()).min(until);
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Deed::Heal => {
                    self.network.heal();
                    self.tell("healed", 0, String::new());
                }
                Deed::Clog(from, to) => {
                    self.network.clog(from, to);
                    self.tell("clogged", from, format!("to node {}", to + 1));
                }
                Deed::Unclog(from, to) => {
                    self.network.unclog(self.now, from, to);
                    self.tell("unclogged", from, format!("to node {}", to + 1));
                }
            }
        }
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

    // ---- one node ----------------------------------------------------------------------------

    fn switch_on(&mut self, index: usize) -> Result<(), Failure> {
        let drawn = BootId(self.random.bits() | 1);
        let zero = self.now.saturating_sub(self.random.below(2_000 * MS));
        let pace = self.random.between(self.paces.0, self.paces.1);
        let (seed, random) = (self.random.bits(), self.random.bits());
        let journal = match &self.machines[index].disk {
            Some(disk) => {
                let salt = self.random.bits() as u32;
                let journal = disk.open(u64::from(id(index).0), salt);
                Some(journal.map_err(|why| format!("node {}: its disk: {why}", index + 1))?)
            }
            None => None,
        };
        let mut command_line = String::new();
        if self.grace_s > 0 {
            command_line += &format!("orphan_grace={} ", self.grace_s);
        }
        if self.packs {
            command_line += "pack=always";
        }
        let machine = &mut self.machines[index];
        machine.computer = Computer::default();
        machine.computer.enter();
        machine.zero = zero;
        let pace = machine.wrong_pace.unwrap_or(pace);
        machine.pace = pace;
        machine.busy_until = self.now;
        machine.due = self.now;
        machine.inbox.clear();
        machine.seen = 0;
        machine.failing = None;
        machine.keys.clear();
        let clock = machine.clock(self.now);
        fake::seed_random(random);
        fake::set_now_ns(clock);
        plug_in(&machine.panel);
        let cpu = machine::cpu_features();
        let settings = Settings {
            node: id(index),
            mac: address(index),
            mtu: machine.mtu,
            drawn,
            seed,
            command_line,
            archive: self.archive,
            boot_unix_ns: 1_700_000_000_000_000_000,
            features: Features {
                xcr0: cpu.xcr0,
                leaf1_ecx: cpu.leaf1_ecx,
                leaf1_edx: cpu.leaf1_edx,
                leaf7_ebx: match machine.old {
                    true => 0,
                    false => cpu.leaf7_ebx | OFTEN_MISSING,
                },
                leaf7_ecx: cpu.leaf7_ecx,
            },
            processors: 1,
            journal,
        };
        let mut system = System::new(settings, clock);
        machine.boot = system.boot();
        // Who has guests again has enough to do.
        let carried = !system.inside().homes.is_empty();
        if !carried {
            machine.line = machine.boot;
        }
        self.checker.lines.insert(machine.boot, machine.line);
        if machine.used && !carried {
            machine.keys.extend(b"g\n");
        }
        if let Some(canary) = self.canary {
            system.switch_on(canary);
        }
        let sealed = self.suite.map(|suite| self.seal(index, &mut system, suite));
        let machine = &mut self.machines[index];
        system
            .spawn_init(b"/init")
            .map_err(|errno| format!("no init: {errno:?}"))?;
        if self.liar.as_ref().is_some_and(|(liar, _)| *liar == index) {
            system.order_node(b"drain");
        }
        machine.system = Some(system);
        let used = machine.used;
        match carried {
            true => self.checker.carried(id(index), &self.machines[index])?,
            false => self.begins(index, used),
        }
        let log = fake::take_console();
        let sealed = sealed.map_or(String::new(), |suite| format!(", keys for {suite}"));
        let text = format!("clock at {pace} thousandths{sealed}");
        self.tell("boots", index, text);
        self.tell_log(index, &log)
    }

    /// Gives a node that boots its keys; returns the name of what it seals with.
    fn seal(&mut self, index: usize, system: &mut System, suite: Suite) -> &'static str {
        let roster = (0..self.machines.len()).map(id);
        let credentials = OwnerKey::new(OWNER).credentials(id(index), roster, suite);
        let mut entropy = [0; 32];
        for bytes in entropy.chunks_exact_mut(8) {
            bytes.copy_from_slice(&self.random.bits().to_le_bytes());
        }
        system.seal(credentials, entropy);
        suite.name()
    }

    /// One round of a node's loop, as in `kernel/image`.
    fn turn(&mut self, index: usize) -> Result<(), Failure> {
        let now = self.now;
        let budget = self.random.between(1, 3000);
        let count = self.machines.len();
        let machine = &mut self.machines[index];
        machine.computer.enter();
        let clock = machine.clock(now);
        fake::set_now_ns(clock);
        let mut system = machine
            .system
            .take()
            .expect("only nodes that are on have a turn");
        let knew = (0..count).map(|other| system.known_boot(id(other)));
        self.checker.knew.insert(id(index), knew.collect());
        fake::fail_frame(machine.failing);
        system.tick(clock);
        let mut received = 0;
        while received < RECEIVE_BURST
            && let Some(packet) = machine.inbox.pop_front()
        {
            received += 1;
            // Without a frame the card has no room, and the packet is lost.
            if let Ok(page) = Frame::zeroed(FrameKind::Network) {
                page.write(0, &packet.payload);
                system.packet(clock, &packet.header, page, packet.payload.len());
                system.packets_over();
            }
        }
        machine.more = received == RECEIVE_BURST;
        if let Some(disk) = &mut machine.disk {
            disk.serve(now, &mut system, &mut self.random);
        }
        let mut words = Vec::new();
        let mut sent = Ok(());
        while let Some(transmit) = system.poll_transmit(clock) {
            words.push(fingerprint(&transmit.header) ^ now);
            self.network.transmit(now, index, &transmit);
            sent = sent.and_then(|()| crate::check::sent(id(index), &transmit));
        }
        if let Some(byte) = machine.keys.pop_front() {
            system.typed(byte);
        }
        let output = system.take_output();
        let mut then = clock;
        let turn = system.begin(0);
        let ran = turn.is_some();
        let (mut excused, mut ran_pid) = (None, None);
        if let Some(turn) = turn {
            let pid = turn.process();
            ran_pid = Some(pid);
            machine
                .panel
                .budget
                .set(budget.min(SLICE_NS / INSTRUCTION_NS));
            // Refused on the way here: the program may learn of it in this very turn.
            let order = fake::fail_frame(None);
            if machine.failing.is_some() && order.is_none() {
                machine.panel.forgives.set(true);
            }
            fake::fail_frame(order);
            machine.panel.home.set(Pid(pid).home().0);
            let (used, rip) = user_turn(&mut system, turn, clock, &machine.panel);
            then = clock + used * INSTRUCTION_NS;
            words.push(rip ^ used << 48);
            excused = machine.panel.excused.get().map(|why| (pid, why));
        }
        let failing = fake::fail_frame(None);
        let failed = machine.failing.is_some() && failing.is_none();
        machine.failing = failing;
        machine.busy_until = now.max(machine.time_of(then));
        machine.due = if ran || machine.more || !machine.keys.is_empty() {
            machine.busy_until
        } else {
            let wake = system.poll_timeout().unwrap_or(u64::MAX);
            let wake = wake.min(clock + NAP_NS).max(clock + 1);
            machine.time_of(wake)
        };
        if let Some(disk) = &mut machine.disk {
            disk.serve(now, &mut system, &mut self.random);
            machine.due = machine.due.min(disk.next_at().unwrap_or(u64::MAX));
        }
        let broken = machine.disk.as_ref().is_some_and(|disk| disk.has_failed);
        if let Some(status) = system.power_off().filter(|_| !broken) {
            return Err(format!("node {} powers itself off: {status}", index + 1));
        }
        let failure = machine.panel.failure.borrow_mut().take();
        self.summary.packets += words.len() as u64;
        let log = fake::take_console();
        let (steps, seen) = system.steps_behind(machine.seen);
        machine.seen = seen;
        let line = machine.line;
        let unsure = machine.panel.unsure.take();
        sent?;
        let told = self.checker.output(id(index), line, &output)?;
        self.checker.state(&system, clock)?;
        self.machines[index].system = Some(system);
        words.into_iter().for_each(|word| self.note(word));
        for reason in unsure {
            let reason = &self.reasons[reason as usize];
            let pid = ran_pid.unwrap_or(INIT);
            self.checker.unsure(pid, reason)?;
            self.tell("unsure", index, format!("process {pid}: {reason}"));
        }
        if failed {
            self.is_short_of_memory();
            self.tell("no-frame", index, String::new());
        }
        if let Some((pid, (reason, value))) = excused {
            self.checker.excuse(pid, &self.machines);
            let reason = &self.reasons[reason as usize];
            let text = format!("process {pid} was told {}: {reason}", value as i64);
            self.tell("excused", index, text);
        }
        self.tell_steps(index, &steps);
        told.into_iter()
            .for_each(|line| self.tell("says", index, line));
        self.judge(index, failure, &log)?;
        self.start_anew(index);
        if broken {
            let off_ns = self.random.below(1_000 * MS);
            return self.kill(index, off_ns, LastWords::Arrive);
        }
        Ok(())
    }

    /// A request for a frame has failed: from now on a program may be told so.
    pub(crate) fn is_short_of_memory(&mut self) {
        self.checker.short_of_memory();
        for machine in &self.machines {
            machine.panel.forgives.set(true);
        }
    }

    fn tell_steps(&mut self, index: usize, steps: &[Step]) {
        // What is believed of clocks is noted with every move.
        for step in steps.iter().filter(|step| step.what != "clock") {
            self.tell_event(Event {
                at_ns: self.now,
                node: id(index),
                what: step.what,
                pid: step.pid,
                epoch: step.epoch,
                peer: step.peer,
                text: String::new(),
            });
            self.fresh.push((index, *step));
        }
    }

    /// What a turn has shown.
    fn judge(
        &mut self,
        index: usize,
        failure: Option<(u32, u64)>,
        log: &[u8],
    ) -> Result<(), Failure> {
        if let Some((reason, value)) = failure {
            let reason = &self.reasons[reason as usize];
            let log = String::from_utf8_lossy(log).into_owned();
            return Err(format!("a program: {reason}: {value:#x}; {log}"));
        }
        self.tell_log(index, log)?;
        let moves = self.checker.owners(&self.machines)?;
        self.summary.moves += moves;
        self.summary.sealed += moves * u64::from(self.suite.is_some());
        Ok(())
    }

    /// All whom a boot has found again are over: its first process is told to begin, as in every other boot.
    fn start_anew(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let Some(system) = machine.system.as_ref() else {
            return;
        };
        if !machine.used || !self.checker.is_carried(machine.line) {
            return;
        }
        let mut homes = system.inside().homes.values();
        if !homes.any(|home| home.pid != INIT && home.lives()) {
            machine.keys.extend(b"g\n");
            machine.due = machine.due.min(machine.busy_until);
            self.begins(index, true);
        }
    }

    fn begins(&mut self, index: usize, used: bool) {
        self.checker
            .begins(id(index), self.machines[index].line, used);
        for machine in &self.machines {
            machine.panel.rebooted.borrow_mut().remove(&id(index).0);
        }
    }

    fn tell_log(&mut self, index: usize, log: &[u8]) -> Result<(), Failure> {
        for line in String::from_utf8_lossy(log).lines() {
            self.summary.adopted += u64::from(line.contains("adopted from node"));
            self.tell("logs", index, line.to_owned());
        }
        self.checker.log(id(index), &self.machines, log)
    }

    // ---- faults ------------------------------------------------------------------------------

    /// A machine stands still, and with it its clock: a virtual machine that is stopped.
    pub(crate) fn pause(&mut self, index: usize, ns: u64) {
        let machine = &mut self.machines[index];
        if machine.still_until <= self.now && machine.system.is_some() {
            machine.still_until = self.now + ns;
            machine.zero += ns;
            machine.due += ns;
            machine.busy_until += ns;
            self.tell("stands", index, format!("for {} ms", ns / MS));
        }
    }

    /// One of the next requests for a frame will not be granted.
    pub(crate) fn fail_frame(&mut self, index: usize) {
        let kinds = FAILING[self.random.below(FAILING.len() as u64) as usize];
        // All magnitudes alike: there are thousands of some kinds and few of others.
        let most = 1 << self.random.below(FRAMES_BITS);
        let after = self.random.below(most);
        self.machines[index].failing = Some((after, kinds));
        self.tell("short", index, format!("of {kinds:?} after {after}"));
    }

    /// A machine dies and boots again after a while.
    pub(crate) fn kill(
        &mut self,
        index: usize,
        off_ns: u64,
        last: LastWords,
    ) -> Result<(), Failure> {
        self.summary.deaths += 1;
        self.checker.dies(index, &self.machines, last);
        if last == LastWords::Lost {
            self.network.forget(index);
            for machine in &mut self.machines {
                machine.inbox.retain(|packet| packet.from != index);
            }
        }
        let machine = &mut self.machines[index];
        machine.inbox.clear();
        machine.still_until = 0;
        machine.on_at = self.now + 1 + off_ns;
        machine.computer.enter();
        machine.system = None;
        if let Some(disk) = &mut machine.disk {
            disk.crash(&mut self.random);
            // Who comes from here may have lost what home had.
            for machine in &self.machines {
                machine.panel.rebooted.borrow_mut().insert(id(index).0);
            }
        }
        let counts = machine::frame_counts();
        if counts.by_kind.iter().any(|&count| count != 0) {
            return Err(format!(
                "node {} is gone and has frames left: {:?}",
                index + 1,
                counts.by_kind
            ));
        }
        let text = format!("boots in {} ms, its last words: {last:?}", off_ns / MS);
        self.tell("dies", index, text);
        Ok(())
    }

    /// In a cluster with keys: some of those who are asked to take a process claim it at once, with no ticket or one of their own.
    pub(crate) fn claim(&mut self) {
        let Some(mut die) = self.claims.take() else {
            return;
        };
        for (index, step) in std::mem::take(&mut self.fresh) {
            if step.what != "offered" || die.below(CLAIMS) != 0 {
                continue;
            }
            let (source, forges) = ((id(index), self.machines[index].boot), die.below(2) == 0);
            let target = usize::from(step.peer.0) - 1;
            let claimed = self.command(target, |system| {
                system.claim(step.pid, step.epoch - 1, source, forges)
            });
            if claimed.is_some() {
                let text = format!("process {} from node {}", step.pid, index + 1);
                self.tell("claims", target, text);
            }
        }
        self.claims = Some(die);
    }

    /// A node that was taken over says of the processes that move what would have an effect if it came from their home, their owner, or the other
    /// end of their move. It knows what these know.
    pub(crate) fn forge(&mut self) {
        let Some((liar, mut die)) = self.liar.take() else {
            return;
        };
        for at in 0..self.fresh.len() {
            let (_, step) = self.fresh[at];
            let (pid, home) = (step.pid, Pid(step.pid).home());
            if die.below(LIES) != 0 || pid == INIT || home == id(liar) {
                continue;
            }
            for _ in 0..die.between(1, LIES_AT_ONCE) {
                let to = die.below(self.machines.len() as u64) as usize;
                if to == liar {
                    continue;
                }
                let of = self.found_out(pid, &mut die);
                let which = die.bits();
                let said = self.command(liar, |system| system.forge(id(to), of, which));
                if let Some(word) = said {
                    let text = format!("to node {}, of {of:?}: {word}", to + 1);
                    self.tell("forges", liar, text);
                }
            }
        }
        self.liar = Some((liar, die));
    }

    /// What a liar speaks of so that it might be believed.
    fn found_out(&self, pid: u32, die: &mut Random) -> Forgery {
        let systems = || self.machines.iter().filter_map(|it| it.system.as_ref());
        let homes = systems().filter(|system| system.node() == Pid(pid).home());
        let home = homes.filter_map(|system| system.inside().homes.get(&pid));
        let (seq, epoch) = home.map(Home::place).next().unwrap_or((1, 1));
        let out = systems().filter_map(|system| system.inside().outgoing.get(&pid));
        let attempt = out.map(Outgoing::attempt).next().unwrap_or_default();
        Forgery {
            pid,
            epoch: (epoch + die.below(4)).saturating_sub(1),
            attempt,
            seq: (seq + die.below(2)).saturating_sub(1),
            page: programs::page(die),
        }
    }

    /// Does something to a node that no process of it does.
    pub(crate) fn command<T>(
        &mut self,
        index: usize,
        command: impl FnOnce(&mut System) -> T,
    ) -> Option<T> {
        let machine = &mut self.machines[index];
        let system = machine.system.as_mut()?;
        machine.computer.enter();
        machine.due = machine.due.min(self.now);
        Some(command(system))
    }

    /// Sends a signal that no process has sent.
    pub(crate) fn signal(&mut self, index: usize, pid: u32, signal: u32) {
        self.command(index, |system| system.send_signal(pid, signal));
    }
}

/// A stay in user mode; returns how many instructions it took and where it ended. Requests for frames of the first process are always
/// granted: without it there is no node.
fn user_turn(system: &mut System, mut turn: Turn, clock: u64, panel: &Panel) -> (u64, u64) {
    let order = fake::fail_frame(None);
    if turn.process() != INIT {
        fake::fail_frame(order);
    }
    let exit: Exit = turn.run();
    let used = panel.used.get().max(1);
    let ran_ns = used * INSTRUCTION_NS;
    fake::set_now_ns(clock + ran_ns);
    let after = system.end(0, &mut turn, exit, ran_ns, clock + ran_ns);
    if after != After::Over {
        system.put_back(0, &mut turn);
    }
    if turn.process() == INIT {
        fake::fail_frame(order);
    }
    (used, panel.rip.get())
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
pub(crate) fn pages_of(files: &[(&str, Vec<u8>)]) -> u64 {
    files
        .iter()
        .map(|(_, bytes)| bytes.len().div_ceil(PAGE_SIZE) as u64)
        .sum()
}
