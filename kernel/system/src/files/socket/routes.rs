//! Routes and rules of this network, as rtnetlink(7) tells them: what leads to the loopback, and nothing else.
//!
//! Law: they are those of a Linux whose only interface is its loopback. All lie in the table `local`; the table
//! `main` is empty, so that there is no way to any other address.

use super::interfaces::LOOPBACK_INDEX;
use super::names::{Family, LOOPBACK};
use super::netlink::{attribute, find};
use abi::Errno;
use alloc::vec::Vec;

// `linux/rtnetlink.h`.
const TABLE_DEFAULT: u8 = 253;
const TABLE_MAIN: u8 = 254;
const TABLE_LOCAL: u8 = 255;
const BY_KERNEL: u8 = 2;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
const LOCAL: u8 = 2;
const BROADCAST: u8 = 3;
/// What was looked up, and is not itself in a table.
const CLONED: u32 = 0x200;
const IS_LOCAL: u32 = 0x8000_0000;
const IS_BROADCAST: u32 = 0x1000_0000;
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const PRIORITY: u16 = 6;
const SOURCE: u16 = 7;
const CACHE: u16 = 12;
const TABLE: u16 = 15;
const PREFERENCE: u16 = 20;
const USER: u16 = 25;
/// Bytes of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
/// Bytes of `struct rta_cacheinfo`.
const CACHE_BYTES: usize = 32;
const OWN: [u8; 4] = [127, 0, 0, 1];

/// `struct rtmsg` and what it has in common with every other.
fn route(family: Family, prefix: u8, kind: [u8; 4], flags: u32) -> Vec<u8> {
    let [table, ..] = kind;
    let mut body = alloc::vec![family.number() as u8, prefix, 0, 0];
    body.extend_from_slice(&kind);
    body.extend_from_slice(&flags.to_le_bytes());
    attribute(&mut body, TABLE, &u32::from(table).to_le_bytes());
    body
}

/// The routes of a family.
fn routes_of(family: Family) -> Vec<Vec<u8>> {
    if family == Family::Inet6 {
        return alloc::vec![to_itself()];
    }
    let rows: [(u8, [u8; 4], u8, u8); 3] = [
        (8, [127, 0, 0, 0], SCOPE_HOST, LOCAL),
        (32, OWN, SCOPE_HOST, LOCAL),
        (32, [127, 255, 255, 255], SCOPE_LINK, BROADCAST),
    ];
    let one = |(prefix, destination, scope, kind): (u8, [u8; 4], u8, u8)| {
        let mut body = route(family, prefix, [TABLE_LOCAL, BY_KERNEL, scope, kind], 0);
        attribute(&mut body, DESTINATION, &destination);
        attribute(&mut body, SOURCE, &OWN);
        attribute(&mut body, INTERFACE, &LOOPBACK_INDEX.to_le_bytes());
        body
    };
    rows.map(one).into()
}

/// The route to `::1`.
fn to_itself() -> Vec<u8> {
    let mut body = route(Family::Inet6, 128, [TABLE_LOCAL, BY_KERNEL, 0, LOCAL], 0);
    attribute(&mut body, DESTINATION, &LOOPBACK);
    attribute(&mut body, PRIORITY, &[0; 4]);
    attribute(&mut body, INTERFACE, &LOOPBACK_INDEX.to_le_bytes());
    attribute(&mut body, CACHE, &[0; CACHE_BYTES]);
    attribute(&mut body, PREFERENCE, &[0]);
    body
}

/// What of both families is wanted by this number; with 0 it is all.
pub(super) fn families(wanted: u8) -> impl Iterator<Item = Family> {
    let all = [Family::Inet, Family::Inet6].into_iter();
    all.filter(move |of| wanted == 0 || u16::from(wanted) == of.number())
}

/// All routes of a family, or with 0 of both.
pub(super) fn routes(family: u8) -> Vec<Vec<u8>> {
    families(family).flat_map(routes_of).collect()
}

/// The rules that say which table is asked first.
pub(super) fn rules(family: u8) -> Vec<Vec<u8>> {
    const TO_TABLE: u8 = 1;
    const RULE_PROTOCOL: u16 = 21;
    const SUPPRESSED: u16 = 14;
    const ROWS: [(u8, u32); 3] = [
        (TABLE_LOCAL, 0),
        (TABLE_MAIN, 32_766),
        (TABLE_DEFAULT, 32_767),
    ];
    let rule = |family: Family, (table, priority): (u8, u32)| {
        let mut body = alloc::vec![family.number() as u8, 0, 0, 0, table, 0, 0, TO_TABLE];
        body.extend_from_slice(&[0; 4]);
        attribute(&mut body, TABLE, &u32::from(table).to_le_bytes());
        attribute(&mut body, SUPPRESSED, &u32::MAX.to_le_bytes());
        if priority != 0 {
            attribute(&mut body, PRIORITY, &priority.to_le_bytes());
        }
        attribute(&mut body, RULE_PROTOCOL, &[BY_KERNEL]);
        body
    };
    let of = |family: Family| {
        // IPv6 has no table `default`.
        let rows = if family == Family::Inet { 3 } else { 2 };
        ROWS[..rows].iter().map(move |row| rule(family, *row))
    };
    families(family).flat_map(of).collect()
}

/// The way to the address that a `struct rtmsg` and its attributes ask about, for a user.
pub(super) fn way(body: &[u8], user: u32) -> Result<Vec<u8>, Errno> {
    let family = body.first().copied().unwrap_or(0);
    let address = find(body.get(ROUTE_HEADER..).unwrap_or(&[]), DESTINATION);
    if u16::from(family) == Family::Inet6.number() {
        return match address {
            Some(bytes) if bytes == LOOPBACK => {
                let mut found = to_itself();
                attribute(&mut found, SOURCE, &LOOPBACK);
                Ok(found)
            }
            Some(bytes) if bytes.len() < LOOPBACK.len() => Err(Errno::EINVAL),
            _ => Err(Errno::ENETUNREACH),
        };
    }
    if u16::from(family) != Family::Inet.number() {
        return Err(Errno::EOPNOTSUPP);
    }
    // Who asks for no address asks for 0.0.0.0, which is this machine.
    let to: [u8; 4] = match address {
        None => [0; 4],
        Some(bytes) => bytes.try_into().map_err(|_| Errno::EINVAL)?,
    };
    let (kind, flags) = match to {
        [127, 255, 255, 255] => (BROADCAST, IS_LOCAL | IS_BROADCAST),
        [127, ..] | [0, 0, 0, 0] => (LOCAL, IS_LOCAL),
        _ => return Err(Errno::ENETUNREACH),
    };
    let to = if to == [0; 4] { OWN } else { to };
    let mut found = route(Family::Inet, 32, [TABLE_MAIN, 0, 0, kind], flags | CLONED);
    attribute(&mut found, DESTINATION, &to);
    attribute(&mut found, INTERFACE, &LOOPBACK_INDEX.to_le_bytes());
    attribute(&mut found, SOURCE, &OWN);
    attribute(&mut found, USER, &user.to_le_bytes());
    attribute(&mut found, CACHE, &[0; CACHE_BYTES]);
    Ok(found)
}
