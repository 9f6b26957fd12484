//! Descriptors in flight: sent and not yet received.
//!
//! Law: a socket that only descriptors in flight hold, and that nothing outside of such sockets can
//! receive, is garbage: its inbox is emptied, which frees it. So a process can make cycles of sockets
//! that hold each other, but not keep them after it has closed its descriptors.

use super::{Network, Socket, socket_of};
use crate::files::open::OpenFile;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use spin::Mutex;

/// Most descriptors in flight at a node.
const FLIGHTS_MAX: usize = 16_384;

#[derive(Default)]
struct Skies {
    /// Open sockets that are in flight, and how often each.
    sockets: BTreeMap<usize, (Weak<OpenFile>, usize)>,
    /// All that are in flight.
    total: usize,
}

/// The flights of a node.
#[derive(Default)]
pub(super) struct Flights(Mutex<Skies>);

/// Descriptors that travel together.
#[derive(Default)]
pub(super) struct Flight {
    files: Vec<Arc<OpenFile>>,
    network: Option<Arc<Network>>,
}

fn key(file: &Arc<OpenFile>) -> usize {
    Arc::as_ptr(file).addr()
}

impl Flight {
    /// Sends these off.
    pub(super) fn new(files: Vec<Arc<OpenFile>>, network: &Arc<Network>) -> Flight {
        if files.is_empty() {
            return Flight::default();
        }
        let mut skies = network.flights.0.lock();
        skies.total += files.len();
        for file in files.iter().filter(|file| socket_of(file).is_ok()) {
            let entry = skies
                .sockets
                .entry(key(file))
                .or_insert((Arc::downgrade(file), 0));
            entry.1 += 1;
        }
        drop(skies);
        Flight {
            files,
            network: Some(network.clone()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn forget(&self) {
        let Some(network) = self.network.as_ref() else {
            return;
        };
        let mut skies = network.flights.0.lock();
        skies.total -= self.files.len();
        for file in self.sockets() {
            if let Some(entry) = skies.sockets.get_mut(&key(file)) {
                entry.1 -= 1;
                if entry.1 == 0 {
                    skies.sockets.remove(&key(file));
                }
            }
        }
    }

    /// They have arrived.
    pub(super) fn land(mut self) -> Vec<Arc<OpenFile>> {
        self.forget();
        self.network = None;
        core::mem::take(&mut self.files)
    }

    /// Handles of their own, while they fly on.
    pub(super) fn copies(&self) -> Vec<Arc<OpenFile>> {
        self.files.clone()
    }

    fn sockets(&self) -> impl Iterator<Item = &Arc<OpenFile>> {
        self.files.iter().filter(|file| socket_of(file).is_ok())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Socket {
    /// The open sockets in its inbox and in those of connections that nobody has accepted.
    fn cargo(&self) -> Vec<Arc<OpenFile>> {
        let inner = self.lock();
        let flights = inner.inbox.iter().map(|segment| segment.files());
        let mut cargo: Vec<_> = flights.flat_map(Flight::sockets).cloned().collect();
        if let super::Link::Listens { waiting, .. } = &inner.link {
            let waiting: Vec<_> = waiting.iter().cloned().collect();
            drop(inner);
            cargo.extend(waiting.iter().flat_map(|socket| socket.cargo()));
        }
        cargo
    }

    /// Empties the inbox.
    fn jettison(&self) {
        let mut inner = self.lock();
        let inbox = core::mem::take(&mut inner.inbox);
        inner.bytes = 0;
        inner.urgent = None;
        drop(inner);
        drop(inbox);
    }
}

impl Network {
    /// Whether so many more descriptors may be sent.
    pub(in super::super) fn has_air(&self, more: usize) -> bool {
        self.flights.0.lock().total + more <= FLIGHTS_MAX
    }

    /// Frees sockets that only each other's inboxes hold. To be called when a descriptor was closed.
    pub(in super::super) fn collect(&self) {
        let flying: Vec<(Arc<OpenFile>, usize)> = {
            let skies = self.flights.0.lock();
            let all = skies.sockets.values();
            all.filter_map(|(file, count)| Some((file.upgrade()?, *count)))
                .collect()
        };
        if flying.is_empty() {
            return;
        }
        // Held by more than its flights and by `flying`, a socket is reachable from outside.
        let mut suspects: BTreeMap<usize, Arc<OpenFile>> = BTreeMap::new();
        let mut reached: Vec<Arc<OpenFile>> = Vec::new();
        for (file, count) in flying {
            if Arc::strong_count(&file) == count + 1 {
                suspects.insert(key(&file), file);
            } else {
                reached.push(file);
            }
        }
        if suspects.is_empty() {
            return;
        }
        // A suspect in the inbox of a socket that is none is reachable too. Sockets that are open and
        // not in flight were not listed: what is in their inboxes has a flight that no suspect holds.
        let mut held_by_suspects: BTreeMap<usize, usize> = BTreeMap::new();
        for file in suspects.values() {
            for cargo in socket_of(file)
                .into_iter()
                .flat_map(|socket| socket.cargo())
            {
                *held_by_suspects.entry(key(&cargo)).or_insert(0) += 1;
            }
        }
        let flights = |file: &Arc<OpenFile>| {
            self.flights
                .0
                .lock()
                .sockets
                .get(&key(file))
                .map_or(0, |entry| entry.1)
        };
        let outside: Vec<usize> = suspects
            .iter()
            .filter(|(key, file)| flights(file) > held_by_suspects.get(key).copied().unwrap_or(0))
            .map(|(key, _)| *key)
            .collect();
        reached.extend(outside.iter().filter_map(|key| suspects.remove(key)));
        while let Some(file) = reached.pop() {
            for cargo in socket_of(&file)
                .into_iter()
                .flat_map(|socket| socket.cargo())
            {
                reached.extend(suspects.remove(&key(&cargo)));
            }
        }
        for file in suspects.values() {
            if let Ok(socket) = socket_of(file) {
                socket.jettison();
            }
        }
    }
}
