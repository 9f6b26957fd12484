//! The life of a node: one loop between the card, the System and user mode.
//!
//! Law: the System is touched under its lock only, and the lock is never held while user code runs
//! or the processor sleeps.

use alloc::string::String;
use drivers::{Outgoing, VirtioNet};
use machine::BootInfo;
use net_node::Payload;
use spin::Mutex;
use system::system::SLICE_NS;
use system::{Settings, System};
use wire::{BootId, Features, NodeId};

/// The node, shared by all processors of the machine.
static SYSTEM: Mutex<Option<System>> = Mutex::new(None);
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

/// Brings the node up and runs it until somebody powers it off.
pub(crate) fn run(info: &BootInfo) -> ! {
    let number = setting(info.command_line, "node")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    if number == 0 || number > 0x7fff {
        panic!("node={number}: a node has a number from 1 to 32767");
    }
    machine::start_cpus(join);
    let card = match VirtioNet::probe() {
        Ok(card) => Some(card),
        Err(reason) => {
            machine::log!("no network: {reason}; this node stays alone");
            None
        }
    };
    let settings = Settings {
        node: NodeId(number),
        mac: card.as_ref().map_or([2, 0, 0, 0, 0, 0], VirtioNet::mac),
        boot: BootId(machine::random_u64() | 1),
        seed: machine::random_u64(),
        command_line: String::from(info.command_line),
        archive: info.archive,
        boot_unix_ns: machine::boot_unix_ns(),
        features: features(),
        processors: 1,
    };
    let mut system = System::new(settings, machine::now_ns());
    if let Err(errno) = system.spawn_init(b"/init") {
        panic!("no first process: /init in the archive: {errno:?}");
    }
    machine::log!("node {number} ready");
    *SYSTEM.lock() = Some(system);
    serve(card)
}

/// Another processor of this node.
fn join(cpu: usize) -> ! {
    if let Err(broken) = machine::self_test() {
        panic!("processor {cpu} does not protect itself: {broken}");
    }
    loop {
        machine::idle();
    }
}

/// The loop of one processor. It leaves only by powering off.
fn serve(mut card: Option<VirtioNet>) -> ! {
    let mut passed_over = 0;
    loop {
        let mut guard = SYSTEM.lock();
        let system = guard.as_mut().expect("the node is up before its loop runs");
        system.tick(machine::now_ns());
        // Before the exchange: what a key causes on another node is to leave now.
        while let Some(byte) = machine::console_read() {
            system.typed(byte);
        }
        let more = card.as_mut().is_some_and(|card| exchange(card, system));
        let output = system.take_output();
        if !output.is_empty() {
            machine::console_write(&output);
        }
        if let Some(status) = system.power_off() {
            drop(guard);
            flush(card);
            machine::log!("power off: status {status}");
            machine::power_off(status);
        }
        if let Some(mut turn) = system.begin(0) {
            // Nobody knows how long it will run.
            if let Some(card) = card.as_mut()
                && system.is_urgent()
            {
                transmit(card, system);
            }
            // Packets that came while interrupts were awaited are taken after one more round; in a
            // flood of them, or to let a guest begin, the process has a short turn first.
            let waiting = card.as_mut().is_some_and(VirtioNet::arm_interrupts);
            if waiting && !more && passed_over < PASSED_OVER_MAX {
                passed_over += 1;
                system.put_back(0, turn);
                continue;
            }
            passed_over = 0;
            let slice = if waiting { SHORT_SLICE_NS } else { SLICE_NS };
            // However many timers are due, a program gets on.
            let now = machine::now_ns();
            let (first, slice) = (now + SLICE_MIN_NS, now + slice);
            machine::set_timer(Some(
                system
                    .poll_timeout()
                    .map_or(slice, |at| at.clamp(first, slice)),
            ));
            drop(guard);
            let now = machine::now_ns();
            let exit = turn.run();
            let then = machine::now_ns();
            if let Some(system) = SYSTEM.lock().as_mut() {
                system.end(0, turn, exit, then.saturating_sub(now), then);
            }
            continue;
        }
        let wake = system.poll_timeout();
        drop(guard);
        if more || card.as_mut().is_some_and(VirtioNet::arm_interrupts) {
            continue;
        }
        let now = machine::now_ns();
        let until = wake.map_or(now + NAP_NS, |at| at.min(now + NAP_NS));
        if until > now {
            machine::set_timer(Some(until));
            machine::idle();
            if let Some(system) = SYSTEM.lock().as_mut() {
                system.idled(machine::now_ns().saturating_sub(now));
            }
        }
    }
}

/// Takes packets in and hands packets out. Returns whether there is more to do at once.
fn exchange(card: &mut VirtioNet, system: &mut System) -> bool {
    let mut received = 0;
    while received < RECEIVE_BURST
        && !system.has_arrival()
        && let Some(packet) = card.receive()
    {
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
    transmit(card, system);
    received == RECEIVE_BURST || system.has_arrival()
}

fn transmit(card: &mut VirtioNet, system: &mut System) {
    let mut queued = 0u32;
    while card.transmit_room() > 0
        && let Some(packet) = system.poll_transmit(machine::now_ns())
    {
        let payload = match &packet.payload {
            Payload::None => Outgoing::None,
            Payload::Bytes(bytes, range) => Outgoing::Bytes(&bytes[range.clone()]),
            Payload::Page(page) => Outgoing::Page(page.0.clone()),
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

/// Lets the card send what it has before the machine goes.
fn flush(card: Option<VirtioNet>) {
    if let Some(mut card) = card
        && let Some(system) = SYSTEM.lock().as_mut()
    {
        transmit(&mut card, system);
    }
}
