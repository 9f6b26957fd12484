//! The driver of Intel's cards against a card made of software.

mod model;
#[path = "../packets/mod.rs"]
mod packets;

use drivers::platform::{Page, Platform};
use drivers::{Card, Full, HEADER_LEN, Intel, Outgoing, PAYLOAD_MAX, ProbeError};
use model::{Faults, MAC, Memory, World};
use packets::{Dice, header, packet};

const I82574: u16 = 0x10d3;
const I82540: u16 = 0x100e;

fn world(device: u16) -> World {
    World::new(Faults::of(device))
}

fn spoiled(device: u16, spoil: impl Fn(&mut Faults)) -> World {
    let mut faults = Faults::of(device);
    spoil(&mut faults);
    World::new(faults)
}

fn card(world: &World) -> Intel<World> {
    Intel::probe_on(world).expect("a good card")
}

fn error(world: &World) -> ProbeError {
    match Intel::probe_on(world) {
        Ok(_) => panic!("a card that must not be used"),
        Err(error) => error,
    }
}

#[test]
fn probing_switches_on_what_is_wanted_and_no_more() {
    for (device, interrupts, name) in [(I82574, true, "82574L"), (I82540, false, "82540EM")] {
        let world = world(device);
        let card = card(&world);
        assert_eq!((card.mac(), card.mtu()), (MAC, 8192 - 14));
        assert_eq!((card.has_interrupts(), card.name()), (interrupts, name));
        assert!(card.link_up() && world.bus_master());
        assert_eq!(world.buffers(), 127);
        assert!(world.fetch().is_none());
        assert_eq!(world.register(0xd0), 0, "nothing interrupts yet");
        assert_eq!(world.register(0) & 0x60, 0x60, "the link may come up");
        assert_eq!(
            world.register(0x5008) & 1 << 15,
            0,
            "no extended descriptors"
        );
    }
}

#[test]
fn the_first_usable_card_is_taken_whatever_its_kind() {
    let world = world(I82574);
    world.add_useless_card();
    let mut card = Card::probe_on(&world).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((card.name(), card.mac()), ("82574L", MAC));
    assert!(world.deliver(&packet(1, 5)));
    assert_eq!(card.receive().expect("delivered").length, 5);
    let none = spoiled(I82574, |faults| faults.device = 0x10d4);
    assert_eq!(Card::probe_on(&none).err(), Some(ProbeError::NoCard));
}

#[test]
fn what_is_wrong_is_said() {
    type Spoil = fn(&mut Faults);
    let cases: [(Spoil, ProbeError); 5] = [
        (|faults| faults.stuck_reset = true, ProbeError::Reset),
        (|faults| faults.stuck_master = true, ProbeError::Reset),
        (|faults| faults.bar = 0, ProbeError::Window),
        (|faults| faults.bar |= 1, ProbeError::Window),
        (|faults| faults.bar_length = 0x4000, ProbeError::Window),
    ];
    for (spoil, expected) in cases {
        let world = spoiled(I82574, spoil);
        assert_eq!(error(&world), expected);
        assert!(!world.bus_master() && !expected.to_string().is_empty());
        assert_eq!(world.live_areas(), 0);
    }
    // The older card does not know how to say so.
    card(&spoiled(I82540, |faults| faults.stuck_master = true));
}

#[test]
fn the_address_comes_from_where_there_is_one() {
    for device in [I82574, I82540] {
        let read = spoiled(device, |faults| faults.address_loaded = false);
        assert_eq!(card(&read).mac(), MAC);
        let local = [0xee, 0xcd, 0xab, 0x89, 0x67, 0x45];
        for eeprom in [None, Some([0; 6]), Some([0x01, 0, 0x5e, 0, 0, 1])] {
            let none = spoiled(device, |faults| {
                faults.address_loaded = eeprom.is_some();
                faults.eeprom = eeprom;
            });
            let card = card(&none);
            assert_eq!(card.mac(), local);
            // What the card filters by.
            assert_eq!(none.register(0x5400).to_le_bytes(), local[..4]);
            assert_eq!(none.register(0x5404), 0x8000_4567);
        }
    }
}

#[test]
fn packets_land_in_pages_of_their_own_round_the_ring() {
    for device in [I82574, I82540] {
        let world = world(device);
        let mut card = card(&world);
        world.take_tail_writes(0);
        let mut dice = Dice(7);
        let (mut total, mut bytes) = (0, 0);
        for _ in 0..100 {
            let burst: Vec<_> = (0..dice.below(90))
                .map(|seed| {
                    let payload = [0, 1, dice.below(4096), 4096][dice.below(4) as usize];
                    packet(seed as u8, payload as usize)
                })
                .collect();
            assert!(!card.pending() && card.receive().is_none());
            for packet in &burst {
                assert!(world.deliver(packet));
            }
            assert_eq!(card.pending(), !burst.is_empty());
            for sent in &burst {
                let got = card.receive().expect("delivered");
                assert_eq!(got.header, sent[..HEADER_LEN]);
                assert_eq!(got.length, sent.len() - HEADER_LEN);
                assert_eq!(got.page.bytes()[..got.length], sent[HEADER_LEN..]);
                let spare = usize::from(got.length < PAYLOAD_MAX);
                assert!(got.page.handles() <= 1 + spare);
            }
            assert!(world.buffers() > 127 - 32, "told in time");
            total += burst.len() as u64;
            bytes += burst.iter().map(|packet| packet.len() as u64).sum::<u64>();
        }
        let counters = card.counters();
        assert_eq!((counters.received, counters.received_bytes), (total, bytes));
        assert_eq!(counters.refill_kicks, total / 32, "32 buffers at a time");
        assert_eq!(u64::from(world.take_tail_writes(0)), counters.refill_kicks);
    }
}

#[test]
fn pages_of_small_packets_are_filled_again_only_when_let_go() {
    let world = world(I82574);
    let mut card = card(&world);
    let mut kept = Vec::new();
    for seed in 0..100 {
        assert!(world.deliver(&packet(seed, 700)));
        kept.push(card.receive().expect("delivered"));
    }
    for (seed, got) in (0..100).zip(&kept) {
        assert_eq!(got.page.bytes()[..700], packet(seed, 700)[HEADER_LEN..]);
    }
    kept.clear();
    world.set_pages_left(0);
    for seed in 0..200 {
        assert!(world.deliver(&packet(seed, 3)));
        let got = card.receive().expect("a page that was used before");
        assert_eq!(got.length, 3);
    }
    let whole = packet(1, PAYLOAD_MAX);
    let mut pages = Vec::new();
    for _ in 0..40 {
        assert!(world.deliver(&whole));
        pages.extend(card.receive());
    }
    assert_eq!((pages.len(), card.counters().no_memory), (32, 8));
    assert!(pages.iter().all(|got| got.page.handles() == 1));
}

#[test]
fn unusable_packets_are_dropped_and_counted() {
    for device in [I82574, I82540] {
        let world = world(device);
        let mut card = card(&world);
        let good = packet(5, 50);
        let deliver = |bytes: &[u8]| assert!(world.deliver(bytes));
        deliver(&good[..HEADER_LEN - 1]);
        deliver(&good[..60]);
        deliver(&packet(1, PAYLOAD_MAX + 1));
        // Longer than a buffer: three pieces, of which the last would pass for a packet.
        deliver(&packet(2, 2 * 8192 + 200));
        for (length, status, errors) in [
            (186, 3, 0x01),
            (186, 3, 0x80),
            (0, 3, 0),
            (8193, 3, 0),
            (0xffff, 3, 0),
            (0xffff, 1, 0),
            (186, 3, 0),
        ] {
            assert!(world.write_back(&good, length, status, errors));
        }
        deliver(&good);
        let got = card.receive().expect("the only good one");
        assert_eq!((got.header, got.length), (header(5), 50));
        assert!(card.receive().is_none());
        let counters = card.counters();
        assert_eq!((counters.short, counters.damaged), (3, 2));
        // Too long, two of several pieces, and two impossible claims.
        assert_eq!((counters.bad_length, counters.received), (5, 1));
        // Errors in checksums of other protocols are none.
        assert!(world.write_back(&good, 186, 3, 0x60));
        assert!(card.receive().is_some());
    }
}

#[test]
fn any_claims_of_the_card_do_no_harm() {
    let mut dice = Dice(0x5eed);
    for _ in 0..300 {
        let world = world(I82574);
        let mut card = card(&world);
        let mut kept: Vec<Memory> = Vec::new();
        for _ in 0..60 {
            for _ in 0..dice.below(40) {
                let status = [3, 3, 3, 1, dice.below(256)][dice.below(5) as usize] as u8;
                let length = [dice.below(1 << 16), dice.below(4300)][dice.below(2) as usize];
                let errors = [0, dice.below(256)][dice.below(2) as usize];
                world.write_back(b"anything", length as u16, status, errors as u8);
            }
            match dice.below(4) {
                0 => {
                    let _ = card.transmit(&header(1), Outgoing::None);
                }
                // The card is done with what it may not even have.
                1 => world.finish(dice.below(256) as u32),
                2 => card.kick(),
                _ => {
                    card.arm_interrupts();
                }
            }
            while let Some(got) = card.receive() {
                assert!(got.length <= PAYLOAD_MAX);
                let same = |page: &Memory| page.physical() == got.page.physical();
                assert!(!kept.iter().any(same), "one page twice");
                kept.push(got.page);
            }
            assert!(card.transmit_room() <= 127);
        }
    }
}

#[test]
fn packets_are_gathered_as_they_are_and_told_of_at_once() {
    for device in [I82574, I82540] {
        let world = world(device);
        let mut card = card(&world);
        world.take_tail_writes(1);
        let page = world.page().expect("memory");
        let bytes = packet(9, PAYLOAD_MAX)[HEADER_LEN..].to_vec();
        page.fill(&bytes);
        let lengths = [0, 1, 100, 4095, 4096];
        for length in lengths {
            let payload = Outgoing::Bytes(&bytes[..length]);
            card.transmit(&header(9), payload).expect("room");
        }
        card.transmit(&header(9), Outgoing::None).expect("room");
        card.transmit(&header(9), Outgoing::Page(page.clone(), 0..PAYLOAD_MAX))
            .expect("room");
        card.transmit(&header(9), Outgoing::Page(page.clone(), 2752..4096))
            .expect("room");
        assert!(world.fetch().is_none(), "not told yet");
        card.kick();
        card.kick();
        assert_eq!((world.take_tail_writes(1), card.counters().kicks), (1, 1));
        for length in lengths.into_iter().chain([0]) {
            let sent = world.fetch().expect("queued");
            assert_eq!(sent.bytes, packet(9, length), "{length}");
            assert_eq!(sent.pieces.len(), 1, "{length}");
            world.finish(sent.last);
        }
        let sent = world.fetch().expect("queued");
        assert_eq!(sent.bytes, packet(9, PAYLOAD_MAX));
        assert_eq!(sent.pieces[1], (page.physical(), 4096), "read in place");
        card.kick();
        assert_eq!(page.handles(), 3, "kept while the card reads");
        world.finish(sent.last);
        let sent = world.fetch().expect("queued");
        assert_eq!(sent.bytes[HEADER_LEN..], bytes[2752..], "a piece of it");
        world.finish(sent.last);
        card.kick();
        assert_eq!(page.handles(), 1, "let go when the card is done");
        let wire = lengths.iter().sum::<usize>() + 4096 + 1344 + 8 * HEADER_LEN;
        assert_eq!(card.counters().sent_bytes, wire as u64);
    }
}

#[test]
fn room_is_told_and_kept_round_the_ring() {
    let world = world(I82574);
    let mut card = card(&world);
    let page = world.page().expect("memory");
    for _ in 0..20 {
        for sent in 0..127 {
            assert_eq!(card.transmit_room(), 127 - sent);
            let payload = Outgoing::Page(page.clone(), 0..PAYLOAD_MAX);
            card.transmit(&header(sent as u8), payload).expect("room");
        }
        assert_eq!(card.transmit_room(), 0);
        assert_eq!(card.transmit(&header(0), Outgoing::None), Err(Full));
        card.kick();
        assert!(!card.arm_interrupts() && !card.pending());
        world.take_interrupts();
        let sent: Vec<_> = std::iter::from_fn(|| world.fetch()).collect();
        assert_eq!(sent.len(), 127);
        for (number, sent) in sent.iter().enumerate() {
            assert_eq!(sent.bytes[..HEADER_LEN], header(number as u8));
            world.finish(sent.last);
        }
        assert_eq!(world.take_interrupts(), (0, 1), "one, for the first");
        assert!(card.pending() && card.transmit_room() > 0);
        card.kick();
        assert!(!card.pending() && !card.arm_interrupts());
        assert_eq!(page.handles(), 1);
    }
    assert_eq!(card.counters().full, 20);
}

#[test]
fn one_interrupt_comes_for_what_was_asked_for() {
    let world = world(I82574);
    let mut card = card(&world);
    assert!(world.deliver(&packet(0, 0)));
    assert_eq!(world.take_interrupts(), (0, 0), "not asked for");
    assert!(card.arm_interrupts(), "it is here already");
    assert!(card.receive().is_some() && card.receive().is_none());
    world.take_interrupts();
    assert!(!card.arm_interrupts());
    assert_eq!(world.take_interrupts(), (0, 0), "nothing old interrupts");
    for _ in 0..10 {
        assert!(world.deliver(&packet(0, 0)));
    }
    assert_eq!(world.take_interrupts(), (1, 0), "one for all");
    while card.receive().is_some() {}
    let armed = card.counters().armed;
    assert!(!card.arm_interrupts() && !card.arm_interrupts());
    assert_eq!(card.counters().armed, armed + 1, "asked for once");
    assert_eq!(world.take_interrupts(), (0, 0));
}

#[test]
fn a_message_later_than_its_packet_leaves_nobody_deaf() {
    let world = world(I82574);
    let mut card = card(&world);
    assert!(!card.arm_interrupts());
    for _ in 0..3 {
        // The packet is seen, and the next asked for, before the card says that it came.
        assert!(world.write_silently(&packet(1, 0), HEADER_LEN as u16, 3, 0));
        assert!(card.receive().is_some() && !card.arm_interrupts());
        world.raise(model::RECEIVED);
        assert_eq!(world.take_interrupts(), (1, 0));
        assert!(!card.arm_interrupts());
        assert!(world.deliver(&packet(2, 0)));
        assert_eq!(world.take_interrupts(), (1, 0), "the next one is heard");
        assert!(card.receive().is_some() && !card.arm_interrupts());
    }
}

/// Steps of driver and card in any order: whoever waits was told, or has nothing to wait for.
#[test]
fn nobody_waits_in_vain() {
    let world = world(I82574);
    let mut card = card(&world);
    let mut dice = Dice(1);
    // What an interrupt was asked for: packets, room.
    let (mut armed, mut for_room) = (false, false);
    let (mut sent, mut fetched, mut delivered, mut received) = (0u32, 0u32, 0u32, 0u32);
    let mut in_card = std::collections::VecDeque::new();
    for step in 0..100_000 {
        match dice.below(5) {
            0 => {
                for _ in 0..dice.below(20) {
                    let tag = sent.to_le_bytes();
                    if card.transmit(&header(0), Outgoing::Bytes(&tag)).is_ok() {
                        sent += 1;
                    }
                }
                card.kick();
            }
            1 => {
                world.take_interrupts();
                while let Some(packet) = world.fetch() {
                    assert_eq!(packet.bytes[HEADER_LEN..], fetched.to_le_bytes());
                    fetched += 1;
                    in_card.push_back(packet.last);
                }
                assert_eq!(fetched, sent, "step {step}: not told");
                let done = dice.below(1 + in_card.len() as u64);
                for last in in_card.drain(..done as usize) {
                    world.finish(last);
                }
                if armed && for_room && done > 0 {
                    assert!(
                        world.take_interrupts().1 > 0,
                        "step {step}: no word of room"
                    );
                    armed = false;
                }
            }
            2 => {
                world.take_interrupts();
                let mut any = false;
                for _ in 0..dice.below(40) {
                    let mut bytes = packet(0, 4);
                    bytes[HEADER_LEN..].copy_from_slice(&delivered.to_le_bytes());
                    if !world.deliver(&bytes) {
                        break;
                    }
                    delivered += 1;
                    any = true;
                }
                if armed && any {
                    assert_eq!(world.take_interrupts().0, 1, "step {step}");
                    armed = false;
                }
            }
            3 => {
                while let Some(got) = card.receive() {
                    assert_eq!(got.page.bytes()[..got.length], received.to_le_bytes());
                    received += 1;
                }
                assert_eq!(received, delivered);
                for_room = card.transmit_room() == 0;
                armed = !card.arm_interrupts();
                assert_eq!(armed, !card.pending());
            }
            _ => {
                for_room = card.transmit_room() == 0;
                if card.arm_interrupts() {
                    assert!(card.pending());
                } else {
                    armed = true;
                }
            }
        }
    }
    assert!(sent > 50_000 && received > 50_000, "{sent} {received}");
    let counters = card.counters();
    assert_eq!(u64::from(sent), counters.sent);
    assert_eq!(u64::from(received), counters.received);
}

#[test]
fn without_messages_the_card_is_polled() {
    let few = spoiled(I82574, |faults| faults.entries = 1);
    let none = spoiled(I82574, |faults| faults.entries = 0);
    for (world, vectors) in [(world(I82540), 9), (few, 9), (none, 9), (world(I82574), 1)] {
        model::leave_vectors(vectors);
        let mut card = card(&world);
        assert!(!card.has_interrupts() && !card.arm_interrupts());
        assert!(world.deliver(&packet(1, 1)));
        assert!(card.arm_interrupts() && card.receive().is_some());
        assert_eq!(world.take_interrupts(), (0, 0));
    }
}

#[test]
fn a_dropped_card_is_silent_first() {
    for device in [I82574, I82540] {
        let world = world(device);
        let mut card = card(&world);
        let page = world.page().expect("memory");
        card.transmit(&header(0), Outgoing::Page(page.clone(), 0..PAYLOAD_MAX))
            .expect("room");
        assert!(world.live_areas() > 4);
        drop(card);
        assert_eq!(world.register(0x100) | world.register(0x400), 0);
        assert!(!world.bus_master());
        assert_eq!((world.live_areas(), page.handles()), (1, 1));
    }
}

#[test]
fn memory_of_a_card_that_is_not_silent_is_never_given_back() {
    let world = world(I82574);
    let mut card = card(&world);
    let page = world.page().expect("memory");
    card.transmit(&header(0), Outgoing::Page(page.clone(), 0..PAYLOAD_MAX))
        .expect("room");
    let areas = world.live_areas();
    world.get_stuck();
    drop(card);
    assert!(!world.bus_master());
    assert_eq!((world.live_areas(), page.handles()), (areas, 2));
}
