//! What every CPU lets the others see: the address space it runs in and the one it has loaded.
//!
//! Law: a CPU writes its own [`Peer`]. It says that it enters user mode *before* it compares
//! the address space's stamp, and who changes an address space gives it a new stamp *before* looking
//! who is in user mode (all of it sequentially consistent): so either the changer sees the CPU and
//! expels it, or the CPU sees the new stamp and flushes. The kernel itself uses no translation of
//! the user's half, so a CPU that is not in user mode needs no interrupt.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{apic, cpu, time};
use crate::MAX_CPUS;

/// A CPU as the others see it, on cache lines of its own.
#[repr(align(128))]
pub(crate) struct Peer {
    /// Top-level table of the address space it runs user mode in; 0 while it is in the kernel.
    active: AtomicU64,
    /// How often it has entered user mode.
    entries: AtomicU64,
    /// Top-level table in its CR3, 0 for the kernel's own, [`SWITCHING`] while that changes.
    loaded: AtomicU64,
    /// The stamp its CR3 was loaded for.
    stamp: AtomicU64,
    /// Who sleeps until it leaves user mode, a bit each: the one field that others set.
    watchers: AtomicU64,
}

const SWITCHING: u64 = u64::MAX;
/// How often a CPU looks whether another has left user mode before it sleeps until then: a host may
/// have taken that one's processor away, to give it to who looks.
const TRIES: u32 = 300;

static PEERS: [Peer; MAX_CPUS] = [const {
    Peer {
        active: AtomicU64::new(0),
        entries: AtomicU64::new(0),
        loaded: AtomicU64::new(0),
        stamp: AtomicU64::new(0),
        watchers: AtomicU64::new(0),
    }
}; MAX_CPUS];
/// How many CPUs there are: those with a lower index have set themselves up.
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// How many processors run.
pub fn cpu_count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// One more CPU has set itself up.
pub(crate) fn set_cpu_count(count: usize) {
    COUNT.store(count, Ordering::Release);
}

/// The number of the processor this runs on: below [`cpu_count`], 0 is the boot processor.
pub fn this_cpu() -> usize {
    cpu::current().index.get()
}

fn this() -> &'static Peer {
    &PEERS[this_cpu()]
}

/// All CPUs but this one.
fn others() -> impl Iterator<Item = (usize, &'static Peer)> {
    let this = this_cpu();
    PEERS[..cpu_count()]
        .iter()
        .enumerate()
        .filter(move |(index, _)| *index != this)
}

/// This CPU is about to be in user mode in an address space.
pub(crate) fn activate(root: u64) {
    let this = this();
    let entries = this.entries.load(Ordering::Relaxed).wrapping_add(1);
    this.entries.store(entries, Ordering::Relaxed);
    this.active.store(root, Ordering::SeqCst);
}

/// This CPU is in the kernel again.
pub(crate) fn deactivate() {
    let this = this();
    this.active.store(0, Ordering::SeqCst);
    if this.watchers.load(Ordering::SeqCst) != 0 {
        let watchers = this.watchers.swap(0, Ordering::SeqCst);
        (0..cpu_count())
            .filter(|cpu| watchers & 1 << cpu != 0)
            .for_each(apic::kick);
    }
}

/// Loads CR3 by `load` and tells the others what is in it then.
pub(crate) fn switch(root: u64, stamp: u64, load: impl FnOnce()) {
    let this = this();
    // The same tables again: until the new stamp is there, the old one says what may be walked. Who
    // expels this CPU again and again would otherwise find it switching each time.
    if this.loaded.load(Ordering::Relaxed) != root {
        this.loaded.store(SWITCHING, Ordering::SeqCst);
    }
    load();
    this.stamp.store(stamp, Ordering::SeqCst);
    this.loaded.store(root, Ordering::SeqCst);
}

/// Whether another CPU may still walk tables that were unlinked from an address space when it got
/// `stamp`. Stamps grow.
pub(crate) fn may_walk(root: u64, stamp: u64) -> bool {
    others().any(|(_, peer)| {
        let before = peer.loaded.load(Ordering::SeqCst);
        let loaded_for = peer.stamp.load(Ordering::SeqCst);
        let after = peer.loaded.load(Ordering::SeqCst);
        // A CPU that loads the address space from here on finds nothing that was unlinked; one that
        // has loaded anything for a later stamp has forgotten it.
        before != after || after == SWITCHING || after == root && loaded_for < stamp
    })
}

/// Makes every other CPU that is in user mode pass through the kernel, which orders all that it has read and
/// written there; when this returns, it has.
pub fn barrier() {
    for (_, peer) in others() {
        match peer.active.load(Ordering::SeqCst) {
            0 => {}
            root => expel(root),
        }
    }
}

/// Makes every other CPU leave user mode that is there in this address space, and waits until it
/// has. The address space has its new stamp: who enters again flushes first.
pub(crate) fn expel(root: u64) {
    for (index, peer) in others() {
        if peer.active.load(Ordering::SeqCst) != root {
            continue;
        }
        let entries = peer.entries.load(Ordering::SeqCst);
        apic::kick(index);
        let has_left = || {
            peer.active.load(Ordering::SeqCst) != root
                || peer.entries.load(Ordering::SeqCst) != entries
        };
        for _ in 0..TRIES {
            if has_left() {
                break;
            }
            core::hint::spin_loop();
        }
        while !has_left() {
            peer.watchers.fetch_or(1 << this_cpu(), Ordering::SeqCst);
            if !has_left() {
                time::nap();
            }
        }
        peer.watchers
            .fetch_and(!(1 << this_cpu()), Ordering::SeqCst);
    }
}
