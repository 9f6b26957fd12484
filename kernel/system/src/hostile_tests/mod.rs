//! Tests of what a node survives: its own reboot, lying nodes, hostile programs, and events in the wrong order.
//!
//! Law: the nodes here are whole Systems joined by a cable; a program is a list of registers that
//! the test makes up, since what a node must survive does not depend on code that means well.

mod adoption;
mod aio;
mod answers;
mod checkpoints;
mod express;
mod files;
mod forgeries;
mod full_disk;
mod kept;
mod layouts;
mod looking;
mod mapping;
mod moves;
mod network;
mod numa;
mod pipes;
mod placement;
mod shared;
mod tickets;
mod timeline;
mod turns;
mod users;
mod waits;
mod wire_trace;

use crate::home::INIT;
use crate::turn::{After, Turn};
use crate::{Settings, System};
use machine::{Exit, Frame, FrameKind};
use wire::{BootId, Header, Message, NodeId, Pid};

/// Where the test program has its code.
pub(crate) const CODE: u64 = 0x40_1000;
/// Memory of the test program to read and write.
pub(crate) const DATA: u64 = 0x60_0000;
const DATA_BYTES: u64 = 0x2_0000;
/// Every turn in user mode takes so long that others come first then, ns.
const TURN_NS: u64 = 20_000_000;

/// A small generator for randomised tests (xorshift64).
pub(super) struct Dice(u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A program with a page of code and some zeroed data.
fn program() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(62_u16.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    for word in [CODE, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([0; 4]);
    for half in [64_u16, 56, 2, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for (flags, address, file_bytes, memory_bytes) in [
        (5_u32, CODE - 0x1000, 0x2000_u64, 0x2000),
        (6, DATA, 0, DATA_BYTES),
    ] {
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        for word in [0, address, address, file_bytes, memory_bytes, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.resize(0x2000, 0x90);
    bytes
}

fn archive() -> &'static [u8] {
    let mut archive = Vec::new();
    for (name, contents) in [
        ("init", program()),
        ("tool", program()),
        ("bad", b"\x7fELF nonsense".to_vec()),
        ("script", b"#!/nowhere\n".to_vec()),
    ] {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000755");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000001234");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(contents);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive.leak()
}

/// Gives a node that boots the keys of its cluster.
fn seal(system: &mut System) {
    const KEY: [u8; 32] = [0x5e; 32];
    let owner = node::OwnerKey::new(KEY);
    let roster = (1..=9).map(NodeId);
    let credentials = owner.credentials(system.me, roster, node::Suite::default());
    let mut entropy = [0; 32];
    entropy[..2].copy_from_slice(&system.me.0.to_le_bytes());
    entropy[2..10].copy_from_slice(&system.boot.0.to_le_bytes());
    system.seal(credentials, entropy);
}

/// Nodes 1, 2, ... on one cable without loss, unless it is cut.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<System>,
    pub(super) now: u64,
    /// Nodes (by index) whose packets are lost.
    pub(super) cut: Vec<usize>,
    /// What of that which is sent arrives.
    pub(super) arrives: fn(&Header) -> bool,
    /// What was sent, in a line each, if it can be read.
    pub(super) wire: Vec<String>,
    /// The disk of each node that has one: what is flushed, and what is not.
    pub(super) disks: Vec<Option<Disk>>,
    /// Whether the cluster has keys.
    sealed: bool,
}

/// A disk that forgets what was not flushed when its node dies.
#[derive(Default)]
pub(super) struct Disk {
    flushed: Vec<u8>,
    written: Vec<(u64, Vec<u8>)>,
    /// It takes nothing for now.
    pub(super) stalls: bool,
}

impl Disk {
    fn perform(&mut self, op: journal::Op) {
        match op {
            journal::Op::Write { sector, bytes } => self.written.push((sector, bytes)),
            journal::Op::Flush => {
                for (sector, bytes) in self.written.drain(..) {
                    let at = sector as usize * journal::SECTOR;
                    self.flushed[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
    }

    fn open(&self, node: usize) -> journal::Journal {
        let node = node as u64 + 1;
        journal::Journal::open(node, node as u32, &self.flushed).expect("its journal")
    }
}

impl Cluster {
    pub(crate) fn new(count: u16) -> Cluster {
        let nodes = (1..=count).map(|number| Cluster::boot(number, 0));
        Cluster::of(nodes.collect())
    }

    /// One node with two processors.
    fn of_two_processors() -> Cluster {
        let mut settings = Cluster::settings(1, 0);
        settings.processors = 2;
        Cluster::of(vec![Cluster::boot_with(settings, 0)])
    }

    fn of(nodes: Vec<System>) -> Cluster {
        Cluster::joined(nodes).join()
    }

    fn joined(nodes: Vec<System>) -> Cluster {
        Cluster {
            nodes,
            now: 1,
            cut: Vec::new(),
            arrives: |_| true,
            wire: Vec::new(),
            disks: Vec::new(),
            sealed: false,
        }
    }

    /// Lets the nodes find each other.
    fn join(mut self) -> Cluster {
        for _ in 0..300 {
            self.pass(10_000_000);
        }
        self
    }

    /// A node that boots, for the first time or again.
    fn boot(number: u16, now: u64) -> System {
        Cluster::boot_with(Cluster::settings(number, now), now)
    }

    fn boot_with(settings: Settings, now: u64) -> System {
        let mut system = System::new(settings, now);
        system.spawn_init(b"/init").expect("init starts");
        system
    }

    fn settings(number: u16, now: u64) -> Settings {
        Settings {
            node: NodeId(number),
            mac: [2, 0, 0, 0, 0, number as u8],
            mtu: 9000,
            drawn: BootId(0x1000 + u64::from(number) + now),
            seed: u64::from(number) * 77,
            command_line: String::new(),
            archive: archive(),
            boot_unix_ns: 1_700_000_000_000_000_000,
            features: wire::Features::default(),
            processors: 1,
            journal: None,
        }
    }

    /// A node loses everything and boots again.
    pub(crate) fn reboot(&mut self, node: usize) {
        let mut settings = Cluster::settings(node as u16 + 1, self.now);
        if let Some(Some(disk)) = self.disks.get_mut(node) {
            disk.written.clear();
            settings.journal = Some(disk.open(node));
        }
        self.nodes[node] = Cluster::boot_with(settings, self.now);
        if self.sealed {
            seal(&mut self.nodes[node]);
        }
    }

    /// Nodes of a cluster with keys.
    pub(crate) fn sealed(count: u16) -> Cluster {
        let nodes = (1..=count).map(|number| Cluster::boot(number, 0));
        Cluster::joined(nodes.collect()).sealing().join()
    }

    fn sealing(mut self) -> Cluster {
        self.nodes.iter_mut().for_each(seal);
        self.sealed = true;
        self
    }

    /// Nodes of which the first has a disk.
    pub(crate) fn with_a_disk(count: u16) -> Cluster {
        Cluster::with_a_disk_of(count, 1 << 20)
    }

    /// The same with so many bytes.
    pub(crate) fn with_a_disk_of(count: u16, bytes: usize) -> Cluster {
        Cluster::with_a_disk_apart(count, bytes).join()
    }

    /// The same in a cluster with keys.
    pub(crate) fn sealed_with_a_disk(count: u16) -> Cluster {
        Cluster::with_a_disk_apart(count, 1 << 20).sealing().join()
    }

    fn with_a_disk_apart(count: u16, bytes: usize) -> Cluster {
        let disk = Disk {
            flushed: vec![0; bytes],
            ..Disk::default()
        };
        let mut settings = Cluster::settings(1, 0);
        settings.journal = Some(disk.open(0));
        let mut nodes = vec![Cluster::boot_with(settings, 0)];
        nodes.extend((2..=count).map(|number| Cluster::boot(number, 0)));
        let mut cluster = Cluster::joined(nodes);
        cluster.disks.push(Some(disk));
        cluster
    }

    /// Lets time go on and carries what the nodes say.
    pub(crate) fn pass(&mut self, ns: u64) {
        self.now += ns;
        machine::fake::set_now_ns(self.now);
        for _ in 0..4 {
            self.round();
        }
    }

    /// Every node in turn sends what it has to send.
    pub(crate) fn round(&mut self) {
        for from in 0..self.nodes.len() {
            self.nodes[from].tick(self.now);
            self.serve_disk(from);
            while let Some(packet) = self.nodes[from].poll_transmit(self.now) {
                let mut header = packet.header;
                match self.sealed {
                    // Number and tag.
                    true => header[wire::HEADER_LEN - 20..].fill(0),
                    false => self.wire.extend(wire_trace::line(&packet)),
                }
                let header = Header::parse(&header).expect("nodes send valid frames");
                if !self.cut.contains(&from) && (self.arrives)(header) {
                    self.carry(from, &packet);
                }
            }
        }
    }

    /// Lets the disk of a node do what it is asked for.
    fn serve_disk(&mut self, node: usize) {
        let Some(Some(disk)) = self.disks.get_mut(node) else {
            return;
        };
        while !disk.stalls
            && let Some(op) = self.nodes[node].poll_disk()
        {
            disk.perform(op);
            self.nodes[node].disk_done(true);
        }
    }

    /// Lets it do what was noted until now, and nothing that comes of that.
    pub(crate) fn flush_once(&mut self, node: usize) {
        let disk = self.disks[node].as_mut().expect("it has one");
        let mut flushed = false;
        while !flushed && let Some(op) = self.nodes[node].poll_disk() {
            flushed = matches!(op, journal::Op::Flush);
            disk.perform(op);
            self.nodes[node].disk_done(true);
        }
        assert!(flushed, "nothing was noted");
    }

    fn carry(&mut self, from: usize, packet: &node::Transmit<crate::system::NetPage>) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            if self.cut.contains(&to) {
                continue;
            }
            let frame = Frame::zeroed(FrameKind::Network).expect("frames");
            let length = packet.payload.len();
            match &packet.payload {
                node::Payload::None => {}
                node::Payload::Bytes(bytes, range) => frame.write(0, &bytes[range.clone()]),
                node::Payload::Page(page, range) => {
                    let mut bytes = [0; machine::PAGE_SIZE];
                    page.0.read(range.start, &mut bytes[..length]);
                    frame.write(0, &bytes[..length]);
                }
            }
            let mac = &packet.header[..6];
            if mac == [0xff; 6] || mac == [2, 0, 0, 0, 0, to as u8 + 1] {
                self.nodes[to].packet(self.now, &packet.header, frame, length);
                self.nodes[to].packets_over();
            }
        }
    }

    /// Goes on step by step until something is so.
    #[track_caller]
    pub(crate) fn until(&mut self, step: fn(&mut Cluster), what: impl Fn(&Cluster) -> bool) {
        for _ in 0..3000 {
            if what(self) {
                return;
            }
            step(self);
        }
        panic!("it does not come to that");
    }

    /// Lets a second pass in small steps.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            self.pass(10_000_000);
        }
    }

    /// Takes the first thread of a process that may run to user mode and brings it back as `act`
    /// says.
    pub(crate) fn run(&mut self, node: usize, pid: u32, act: impl FnOnce(&mut Turn) -> Exit) {
        let mut others = Vec::new();
        let mut act = Some(act);
        let count = self.nodes[node].processors.len();
        let next = |system: &mut System, turns: usize| {
            let mut cpus = (turns..turns + count).map(|cpu| cpu % count);
            cpus.find_map(|cpu| Some((cpu, system.begin(cpu)?)))
        };
        while let Some((cpu, mut turn)) = next(&mut self.nodes[node], others.len()) {
            let mine = turn.tid == pid;
            let exit = match act.take_if(|_| mine) {
                Some(act) => act(&mut turn),
                None => Exit::Interrupt,
            };
            let now = self.now;
            if self.nodes[node].end(cpu, &mut turn, exit, TURN_NS, now) != After::Over {
                self.nodes[node].put_back(cpu, &mut turn);
            }
            // Until the next one the processor sleeps.
            self.nodes[node].idled(cpu, now, 0);
            others.push(pid);
            if mine || others.len() > 200 {
                break;
            }
        }
        let system = &self.nodes[node];
        let state = system.bodies.get(&pid).zip(system.threads.get(&pid));
        let state = state.map(|(body, thread)| {
            let wants = (body.freezing, body.held, body.effects, thread.queued);
            (thread.run, thread.call, thread.forward.clone(), wants)
        });
        assert!(
            act.is_none(),
            "process {pid:#x} does not run on node {}: {state:x?}",
            node + 1
        );
    }

    /// Gives every process of a node that may run a turn in which it does nothing.
    pub(crate) fn idle_round(&mut self, node: usize) {
        for _ in 0..self.nodes[node].bodies.len() {
            if let Some(turn) = self.nodes[node].begin(0) {
                let now = self.now;
                self.nodes[node].end_turn(turn, Exit::Interrupt, TURN_NS, now);
            }
        }
    }

    /// Begins a system call.
    pub(crate) fn begin_call(&mut self, node: usize, pid: u32, number: u64, args: &[u64]) {
        let args: Vec<u64> = args.to_vec();
        self.run(node, pid, move |turn| {
            let word = |index: usize| args.get(index).copied().unwrap_or(0);
            let r = &mut turn.registers;
            r.rax = number;
            [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] =
                [word(0), word(1), word(2), word(3), word(4), word(5)];
            r.rip = CODE + 2;
            Exit::Syscall
        });
    }

    /// Makes a system call and waits for its end.
    pub(crate) fn call(&mut self, node: usize, pid: u32, number: u64, args: &[u64]) -> i64 {
        self.begin_call(node, pid, number, args);
        for _ in 0..1000 {
            match self.nodes[node].threads.get(&pid) {
                Some(thread) if thread.call.is_none() => return thread.registers.rax as i64,
                _ => self.pass(1_000_000),
            }
        }
        panic!("call {number} does not end");
    }

    /// Writes into the memory of a process.
    pub(crate) fn poke(&mut self, node: usize, pid: u32, address: u64, bytes: &[u8]) {
        self.nodes[node]
            .with_space(pid, |space, pages| space.write(address, bytes, pages))
            .expect("test memory");
    }

    /// A byte of a process.
    pub(crate) fn byte(&mut self, node: usize, pid: u32, address: u64) -> u8 {
        let mut byte = [0];
        self.nodes[node]
            .with_space(pid, |space, pages| space.read(address, &mut byte, pages))
            .expect("test memory");
        byte[0]
    }

    /// A child of init of a node.
    pub(crate) fn fork(&mut self, node: usize) -> u32 {
        self.call(node, INIT, 57, &[]) as u32
    }

    /// Asks for a move without waiting for it.
    pub(crate) fn start_move(&mut self, pid: u32, target: u16) {
        self.order_move_by(pid, &target.to_string());
    }

    /// Asks for a move in the words of `goto`.
    pub(crate) fn order_move_by(&mut self, pid: u32, text: &str) {
        self.order_move_as(INIT, pid, text);
    }

    /// The same for who asks.
    pub(crate) fn order_move_as(&mut self, asker: u32, pid: u32, text: &str) {
        // The first process is one on every node; node 1's will do.
        let home = usize::from(Pid(pid).home().0.max(1)) - 1;
        let _ = crate::files::ProcView::write(
            &mut self.nodes[home],
            crate::files::ProcEntry::Process(pid, crate::files::ProcessFile::Goto),
            asker,
            text.as_bytes(),
        );
    }

    /// Moves a process and waits until it is there.
    pub(crate) fn move_to(&mut self, pid: u32, target: u16) {
        self.start_move(pid, target);
        self.settle();
        let at = usize::from(target) - 1;
        assert!(self.nodes[at].bodies.contains_key(&pid), "it is there");
        for node in &self.nodes {
            assert!(node.outgoing.is_empty() && node.incoming.is_empty());
        }
    }

    /// A message as if it came from a node, without the cable.
    pub(crate) fn say(&mut self, to: usize, from: u16, message: Message) {
        let boot = BootId(0x1000 + u64::from(from));
        self.nodes[to].message(NodeId(from), boot, message);
        self.nodes[to].settle();
    }
}
