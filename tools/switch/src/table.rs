//! Which port an Ethernet address was last seen on.
//!
//! Law: bounded memory; a full table forgets its oldest address, and a frame to an address that is
//! not known goes to every port, so forgetting costs bandwidth and never a frame.

use std::collections::HashMap;

/// Addresses remembered at most.
pub const ADDRESSES_MAX: usize = 1024;

/// An Ethernet address as it is on the wire.
pub type Address = [u8; 6];

/// True for broadcast and multicast: the group bit, IEEE 802.3 3.2.3.
pub fn is_group(address: Address) -> bool {
    address[0] & 1 != 0
}

/// The learned addresses.
#[derive(Debug, Default)]
pub struct Table {
    ports: HashMap<Address, Entry>,
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    port: usize,
    seen: u64,
}

impl Table {
    /// Remembers that `source` is behind `port`. Group addresses are never a source.
    pub fn learn(&mut self, source: Address, port: usize) {
        if is_group(source) {
            return;
        }
        self.clock += 1;
        let seen = self.clock;
        if self.ports.len() >= ADDRESSES_MAX && !self.ports.contains_key(&source) {
            self.forget_oldest();
        }
        self.ports.insert(source, Entry { port, seen });
    }

    /// The port behind which `destination` was last seen; `None` means "send to all".
    pub fn lookup(&self, destination: Address) -> Option<usize> {
        if is_group(destination) {
            return None;
        }
        self.ports.get(&destination).map(|entry| entry.port)
    }

    /// Forgets every address behind `port`, because its node has gone.
    pub fn forget_port(&mut self, port: usize) {
        self.ports.retain(|_, entry| entry.port != port);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.ports.iter().min_by_key(|(_, entry)| entry.seen);
        if let Some(address) = oldest.map(|(address, _)| *address) {
            self.ports.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = [0x52, 0x54, 0, 0, 0, 1];
    const B: Address = [0x52, 0x54, 0, 0, 0, 2];

    #[test]
    fn an_address_is_where_it_was_last_seen() {
        let mut table = Table::default();
        assert_eq!(table.lookup(A), None);
        table.learn(A, 3);
        assert_eq!(table.lookup(A), Some(3));
        table.learn(A, 1);
        assert_eq!(table.lookup(A), Some(1));
        assert_eq!(table.lookup(B), None);
    }

    #[test]
    fn group_addresses_are_not_learned() {
        let mut table = Table::default();
        table.learn([0xff; 6], 2);
        table.learn([1, 0, 0x5e, 0, 0, 1], 2);
        assert_eq!(table.lookup([0xff; 6]), None);
        assert_eq!(table.lookup([1, 0, 0x5e, 0, 0, 1]), None);
    }

    #[test]
    fn a_full_table_forgets_the_oldest() {
        let mut table = Table::default();
        for n in 0..=ADDRESSES_MAX as u16 {
            let [high, low] = n.to_be_bytes();
            table.learn([0x52, 0x54, 0, 1, high, low], 0);
        }
        assert_eq!(table.lookup([0x52, 0x54, 0, 1, 0, 0]), None);
        assert_eq!(table.lookup([0x52, 0x54, 0, 1, 0, 1]), Some(0));
        assert_eq!(table.lookup([0x52, 0x54, 0, 1, 4, 0]), Some(0));
    }

    #[test]
    fn a_gone_port_is_forgotten() {
        let mut table = Table::default();
        table.learn(A, 0);
        table.learn(B, 1);
        table.forget_port(0);
        assert_eq!(table.lookup(A), None);
        assert_eq!(table.lookup(B), Some(1));
    }
}
