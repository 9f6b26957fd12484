//! The life of a node: one loop per processor between the card, the System and user mode.
//!
//! Law: the System and the card are touched under their one lock only, and the lock is never held
//! while user code runs or a processor sleeps. A processor that is in the kernel waits for the lock
//! with interrupts off and sees everything that happened before it had it; only one that is in user
//! mode or asleep has to be kicked to see what is new. Whoever has the lock serves the card. Of the
//! processors outside of the kernel one at least has its timer set for what the System does next.

use crate::disk::JournalDisk;
use alloc::string::String;
use alloc::vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use drivers::{Card, Outgoing, Received};
use machine::{BootInfo, Exit, MAX_CPUS};
use net_node::{Credentials, Inbox, KEY_FILE_MAX, Payload, Suite};
use spin::{Mutex, MutexGuard};
use system::schedule::SLICE_NS;
use system::turn::{After, Turn};
use system::{Settings, System};
use wire::{BootId, Features, NodeId};

/// What the processors share.
struct Node {
    system: System,
    card: Option<Card>,
    disk: Option<JournalDisk>,
    /// What has come and waits for its turn.
    inbox: Inbox<Received>,
    /// When a packet came last.
    heard: u64,
    /// When the timer of each processor fires that is in user mode or asleep, [`NEVER`] if it does
    /// not.
    timers: [u64; MAX_CPUS],
}

const NEVER: u64 = u64::MAX;

/// The node.
static NODE: Mutex<Option<Node>> = Mutex::new(None);
type Guard = MutexGuard<'static, Option<Node>>;
/// The processors that sleep until somebody gives the lock back, a bit each.
static WAITING: AtomicU64 = AtomicU64::new(0);
/// How often a processor tries to get the lock before it sleeps. Who has it may be one that the host
/// has taken its processor away from, and waiting for that one takes it away for longer.
const TRIES: u32 = 300;
/// The node is there, and the other processors may begin.
static READY: AtomicBool = AtomicBool::new(false);
/// The processors in user mode or asleep, a bit each.
static AWAY: AtomicU64 = AtomicU64::new(0);
/// Packets taken from the card before the System's own work has its turn.
const RECEIVE_BURST: usize = 256;
/// How long a process runs while packets wait for it to have had its turn, ns.
const SHORT_SLICE_NS: u64 = 200_000;
/// Packets queued between two notifications of the card.
const KICK_EVERY: u32 = 4;
/// A program that was given the processor has it for so long at least, unless a device calls, ns.
const SLICE_MIN_NS: u64 = 50_000;
/// How often in a row a program waits for packets that came in the meantime.
const PASSED_OVER_MAX: u32 = 16;
/// The longest the processor sleeps without looking around, ns.
const NAP_NS: u64 = 1_000_000_000;

/// The file of QEMU's fw_cfg that has this node's keys.
const KEY_FILE: &str = "opt/dunlin/key";

/// How often a card without interrupts is looked at: at most, and at least, ns.
const POLL_NS: (u64, u64) = (50_000, 2_000_000);

/// What the command line says, by `name=value`.
fn setting<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_ascii_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn features() -> Features {
    let cpu = machine::cpu_features();
    Features {
        xcr0: cpu.xcr0,
        leaf1_ecx: cpu.leaf1_ecx,
        leaf1_edx: cpu.leaf1_edx,
        leaf7_ebx: cpu.leaf7_ebx,
        leaf7_ecx: cpu.leaf7_ecx,
    }
}

/// The keys of this node, if any were given, and a secret to draw others from. A node that has some and cannot use them
/// does not come up without.
fn credentials(node: NodeId) -> Option<(Credentials, [u8; 32])> {
    let mut bytes = vec![0; KEY_FILE_MAX];
    let file = machine::firmware_file(KEY_FILE, &mut bytes)?;
    let credentials = match Credentials::parse(file) {
        Ok(credentials) => credentials,
        Err(why) => panic!("{KEY_FILE}: no file for a node, {why}: `cargo xtask key` makes them"),
    };
    if credentials.node() != node {
        let (has, is) = (credentials.node().0, node.0);
        panic!("{KEY_FILE}: these are the keys of node {has}, and this is node {is}");
    }
    let Some(secret) = machine::random_secret() else {
        panic!("{KEY_FILE}: no use of a key without a source of randomness (RDRAND)");
    };
    bytes.fill(0);
    Some((credentials, secret))
}

/// Brings the node up and runs it until somebody powers it off.
pub(crate) fn run(info: &BootInfo) -> ! {
    let number = setting(info.command_line, "node")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    if number == 0 || number > 0x7fff {
        panic!("node={number}: a node has a number from 1 to 32767");
    }
    machine::start_cpus(join);
    let card = match Card::probe() {
        Ok(card) => {
            let calls = if card.has_interrupts() {
                "interrupts"
            } else {
                "polled"
            };
            machine::log!("network: {}, {calls}, MTU {}", card.name(), card.mtu());
            Some(card)
        }
        Err(reason) => {
            machine::log!("no network: {reason}; this node stays alone");
            None
        }
    };
    let (disk, journal) = JournalDisk::open(number).unzip();
    let settings = Settings {
        node: NodeId(number),
        mac: card.as_ref().map_or([2, 0, 0, 0, 0, 0], Card::mac),
        mtu: card.as_ref().map_or(wire::MTU_LEAST, Card::mtu),
        drawn: BootId(machine::random_u64() | 1),
        seed: machine::random_u64(),
        command_line: String::from(info.command_line),
        archive: info.archive,
        boot_unix_ns: machine::boot_unix_ns(),
        features: features(),
        processors: machine::cpu_count(),
        journal,
    };
    let mut system = System::new(settings, machine::now_ns());
    match credentials(NodeId(number)) {
        Some((credentials, secret)) => {
            let (nodes, suite) = (credentials.nodes(), credentials.suite());
            system.seal(credentials, secret);
            let hidden = match suite {
                Suite::SipHash => "not encrypted",
                Suite::ChaCha => "encrypted",
            };
            machine::log!(
                "frames are authenticated by the cluster's key and {hidden} (suite {}); its roster has {nodes} nodes",
                suite.name()
            );
        }
        None => machine::log!("frames are not authenticated: no key was given"),
    }
    if let Err(errno) = system.spawn_init(b"/init") {
        panic!("no first process: /init in the archive: {errno:?}");
    }
    machine::log!("node {number} ready");
    *NODE.lock() = Some(Node {
        system,
        card,
        disk,
        inbox: Inbox::default(),
        heard: machine::now_ns(),
        timers: [NEVER; MAX_CPUS],
    });
    READY.store(true, Ordering::Release);
    (1..machine::cpu_count()).for_each(machine::kick);
    serve(0)
}

/// The life of another processor.
fn join(cpu: usize) -> ! {
    if let Err(broken) = machine::self_test() {
        panic!("processor {cpu} does not protect itself: {broken}");
    }
    while !READY.load(Ordering::Acquire) {
        machine::idle();
    }
    serve(cpu)
}

/// What a processor does after its round.
enum Next {
    Again,
    Run(Turn),
    Sleep,
}

/// The loop of one processor. It leaves only by powering off.
fn serve(cpu: usize) -> ! {
    let mut passed_over = 0;
    let (mut guard, _) = lock(cpu);
    loop {
        let node = guard.as_mut().expect("the node is up before its loops run");
        let more = node.round();
        if let Some(status) = node.system.power_off() {
            node.transmit();
            machine::log!("power off: status {status}");
            machine::power_off(status);
        }
        guard = match node.next(cpu, more, &mut passed_over) {
            Next::Again => {
                leave(guard, cpu);
                lock(cpu).0
            }
            Next::Run(turn) => in_user_mode(guard, cpu, turn),
            Next::Sleep => asleep(guard, cpu),
        };
    }
}

/// How a processor got the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Awake,
    /// It has slept, and served interrupts meanwhile: its timer may not be armed any more.
    Napped,
}

/// Waits for the lock. It is not fair, as who is to be next may not be running; but no processor
/// has it without pause, as it is given back for every stay in user mode.
fn lock(cpu: usize) -> (Guard, Wait) {
    let mut wait = Wait::Awake;
    loop {
        for _ in 0..TRIES {
            if let Some(guard) = NODE.try_lock() {
                return (guard, wait);
            }
            core::hint::spin_loop();
        }
        WAITING.fetch_or(1 << cpu, Ordering::SeqCst);
        let guard = NODE.try_lock();
        if guard.is_none() {
            machine::nap();
            wait = Wait::Napped;
        }
        WAITING.fetch_and(!(1 << cpu), Ordering::SeqCst);
        if let Some(guard) = guard {
            return (guard, wait);
        }
    }
}

/// Gives the lock back, wakes one who waits for it, and kicks who has something new to see.
fn leave(mut guard: Guard, cpu: usize) {
    let kicks = guard.as_mut().map_or(0, |node| {
        node.system.let_go();
        node.system.take_kicks() & !(1 << cpu)
    });
    drop(guard);
    machine::fence();
    let waiting = WAITING.load(Ordering::SeqCst);
    if waiting != 0 {
        // Each in turn.
        let behind = waiting & u64::MAX << cpu << 1;
        let next = if behind != 0 { behind } else { waiting };
        let next = next.trailing_zeros();
        WAITING.fetch_and(!(1 << next), Ordering::SeqCst);
        machine::kick(next as usize);
    }
    if kicks != 0 {
        let away = kicks & AWAY.load(Ordering::SeqCst);
        (0..machine::cpu_count())
            .filter(|other| away & 1 << other != 0)
            .for_each(machine::kick);
    }
}

/// Leaves the kernel to do something else.
fn go_away(guard: Guard, cpu: usize) {
    AWAY.fetch_or(1 << cpu, Ordering::SeqCst);
    leave(guard, cpu);
}

/// In the kernel again.
fn come_back(cpu: usize) -> (Guard, Wait) {
    AWAY.fetch_and(!(1 << cpu), Ordering::SeqCst);
    lock(cpu)
}

/// Runs threads in user mode, one turn after the other, until there is something for a round.
fn in_user_mode(mut guard: Guard, cpu: usize, mut turn: Turn) -> Guard {
    loop {
        go_away(guard, cpu);
        let now = machine::now_ns();
        let exit = turn.run();
        let then = machine::now_ns();
        let wait;
        (guard, wait) = come_back(cpu);
        let node = guard.as_mut().expect("the node is up before its loops run");
        let ran_ns = then.saturating_sub(now);
        let after = node.system.end(cpu, &mut turn, exit, ran_ns, then);
        // What was served in a nap is for a round, as if it had come in user mode: nobody else looks at the
        // clock while all rely on this processor's timer.
        let last = match wait {
            Wait::Awake => exit,
            Wait::Napped => Exit::Interrupt,
        };
        if !node.goes_on(cpu, last, after, &mut turn) {
            node.timers[cpu] = NEVER;
            return guard;
        }
    }
}

/// Sleeps until something happens.
fn asleep(guard: Guard, cpu: usize) -> Guard {
    go_away(guard, cpu);
    let now = machine::now_ns();
    machine::idle();
    let slept_ns = machine::now_ns().saturating_sub(now);
    let (mut guard, _) = come_back(cpu);
    if let Some(node) = guard.as_mut() {
        node.timers[cpu] = NEVER;
        node.system.idled(cpu, now, slept_ns);
    }
    guard
}

impl Node {
    /// Lets the System know the time and what came, and lets out what it has to say. Returns whether
    /// there is more to do at once.
    fn round(&mut self) -> bool {
        self.system.tick(machine::now_ns());
        // Before packets leave: what a key causes on another node is to leave now.
        while let Some(byte) = machine::console_read() {
            self.system.typed(byte);
        }
        let more = self.receive();
        // What came may have to be written down before it is answered, and what has been written
        // down lets answers out.
        self.serve_disk();
        self.transmit();
        let output = self.system.take_output();
        if !output.is_empty() {
            machine::console_write(&output);
        }
        more
    }

    fn serve_disk(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.serve(&mut self.system);
        }
    }

    /// Chooses what a processor does next, and sets its timer for that.
    fn next(&mut self, cpu: usize, more: bool, passed_over: &mut u32) -> Next {
        let Some(mut turn) = self.system.begin(cpu) else {
            return self.sleep(cpu, more);
        };
        // Packets that came while interrupts were awaited are taken after one more round; in a
        // flood of them, or to let a guest begin, the process has a short turn first.
        let waiting = self.arm_interrupts() || self.system.has_events();
        if waiting && !more && *passed_over < PASSED_OVER_MAX {
            *passed_over += 1;
            self.system.put_back(cpu, &mut turn);
            return Next::Again;
        }
        *passed_over = 0;
        let slice = if waiting { SHORT_SLICE_NS } else { SLICE_NS };
        // However many timers are due, a program gets on.
        let now = machine::now_ns();
        let first = now + SLICE_MIN_NS;
        let spared = self.system.spared_until(cpu).unwrap_or(NEVER);
        let slice = self.look_again(now).min(now + slice).min(spared).max(first);
        let wake = self.system.poll_timeout().unwrap_or(NEVER);
        let until = if self.is_awaited(wake) {
            slice
        } else {
            wake.clamp(first, slice)
        };
        self.timers[cpu] = until;
        machine::set_timer(Some(until));
        Next::Run(turn)
    }

    /// Whether a processor that has just ended a turn has the next one at once, the same or another, as
    /// a round in between would find nothing to do. Its timer and the card's interrupt are armed as they
    /// were, so that whatever comes next ends that turn, and then there is a round.
    fn goes_on(&mut self, cpu: usize, exit: Exit, after: After, turn: &mut Turn) -> bool {
        let alarm = || self.system.next_alarm();
        let quiet = exit != Exit::Interrupt
            && self.system.is_quiet()
            && (after == After::Unchanged || alarm().is_none_or(|at| self.is_awaited(at)))
            && self.inbox.is_empty()
            && !self.card.as_mut().is_some_and(Card::pending);
        let goes_on = match after {
            After::Unchanged | After::Same => {
                if quiet {
                    self.come_back_by(cpu, self.system.spared_until(cpu).unwrap_or(NEVER));
                }
                quiet
            }
            After::Over if quiet => match self.system.begin(cpu) {
                Some(next) => {
                    *turn = next;
                    self.come_back_by(cpu, self.system.spared_until(cpu).unwrap_or(NEVER));
                    true
                }
                None => false,
            },
            After::Over => false,
        };
        if !goes_on && after != After::Over {
            self.system.put_back(cpu, turn);
        }
        if goes_on && self.system.is_urgent() {
            self.transmit();
        }
        goes_on
    }

    /// Makes a processor that goes on come into the kernel by then at the latest.
    fn come_back_by(&mut self, cpu: usize, at: u64) {
        if at < self.timers[cpu] {
            self.timers[cpu] = at;
            machine::set_timer(Some(at));
        }
    }

    /// Whether a processor comes into the kernel by this time anyway.
    fn is_awaited(&self, at: u64) -> bool {
        self.timers[..machine::cpu_count()]
            .iter()
            .any(|&timer| timer <= at && timer != NEVER)
    }

    /// Prepares a processor without work for its sleep, if it may.
    fn sleep(&mut self, cpu: usize, more: bool) -> Next {
        if more || self.arm_interrupts() || self.system.has_events() {
            return Next::Again;
        }
        let now = machine::now_ns();
        let nap = self.look_again(now).min(now + NAP_NS);
        let until = self.system.poll_timeout().map_or(nap, |at| at.min(nap));
        if until <= now {
            return Next::Again;
        }
        if self.is_awaited(until) {
            machine::set_timer(None);
        } else {
            self.timers[cpu] = until;
            machine::set_timer(Some(until));
        }
        Next::Sleep
    }

    /// When somebody has to look at card or disk, as it does not call: soon while packets come, and the
    /// later the longer none has come.
    fn look_again(&self, now: u64) -> u64 {
        match &self.card {
            _ if self.disk.as_ref().is_some_and(JournalDisk::is_polled) => now + POLL_NS.0,
            Some(card) if !card.has_interrupts() => {
                let silence = now.saturating_sub(self.heard);
                now + (silence / 8).clamp(POLL_NS.0, POLL_NS.1)
            }
            _ => NEVER,
        }
    }

    /// Whether there are packets; if not, there will be an interrupt at the next.
    fn arm_interrupts(&mut self) -> bool {
        let disk = self.disk.as_mut().is_some_and(JournalDisk::arm_interrupt);
        disk || !self.inbox.is_empty() || self.card.as_mut().is_some_and(Card::arm_interrupts)
    }

    /// Takes packets in. Returns whether there is more to do at once.
    fn receive(&mut self) -> bool {
        let Node {
            system,
            card: Some(card),
            inbox,
            heard,
            ..
        } = self
        else {
            return false;
        };
        let mut received = 0;
        while received < RECEIVE_BURST && !system.has_arrival() {
            // What comes meanwhile may go before what waits.
            while inbox.has_room()
                && let Some(packet) = card.receive()
            {
                inbox.push(packet, |packet| &packet.header);
            }
            let Some(packet) = inbox.pop() else { break };
            system.packet(
                machine::now_ns(),
                &packet.header,
                packet.page,
                packet.length,
            );
            received += 1;
            // An answer does not wait until a burst of pages is over.
            if system.is_urgent() {
                transmit(card, system);
            }
        }
        if received > 0 {
            *heard = machine::now_ns();
        }
        if received > 0 && !system.has_arrival() {
            system.packets_over();
            system.note_card(card.name(), &card.counters().named());
        }
        !inbox.is_empty() || system.has_arrival()
    }

    fn transmit(&mut self) {
        if let Some(card) = &mut self.card {
            transmit(card, &mut self.system);
        }
    }
}

fn transmit(card: &mut Card, system: &mut System) {
    let mut queued = 0u32;
    while card.transmit_room() > 0
        && let Some(packet) = system.poll_transmit(machine::now_ns())
    {
        let payload = match &packet.payload {
            Payload::None => Outgoing::None,
            Payload::Bytes(bytes, range) => Outgoing::Bytes(&bytes[range.clone()]),
            Payload::Page(page, range) => Outgoing::Page(page.0.clone(), range.clone()),
        };
        if card.transmit(&packet.header, payload).is_err() {
            // There was room: the card is broken. The link sends it again.
            machine::log!("the card takes no packet");
            break;
        }
        // The card works on the first packets of an image while the others are queued.
        queued += 1;
        if queued.is_multiple_of(KICK_EVERY) {
            card.kick();
        }
    }
    card.kick();
}
