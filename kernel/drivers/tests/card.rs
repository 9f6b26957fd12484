//! The network card driver against a card made of software.

mod model;
mod packets;

use drivers::{Full, HEADER_LEN, Outgoing, PAYLOAD_MAX, ProbeError, VirtioNet};
use model::{EVENT_INDEX, Faults, MAC, World};
use packets::{Dice, header, packet};

fn card(world: &World) -> VirtioNet<World> {
    VirtioNet::probe_on(world).expect("a good card")
}

fn error(world: &World) -> ProbeError {
    match VirtioNet::probe_on(world) {
        Ok(_) => panic!("a card that must not be used"),
        Err(error) => error,
    }
}

#[test]
fn probing_agrees_on_what_is_wanted_and_no_more() {
    let world = World::new(Faults::default());
    let card = card(&world);
    assert_eq!((card.mac(), card.mtu()), (MAC, 9000));
    assert!(card.has_interrupts() && card.link_up());
    assert_eq!(
        world.features(),
        1 << 32 | EVENT_INDEX | 1 << 16 | 1 << 5 | 1 << 3
    );
    assert_eq!(world.status(), 0x0f);
    assert_eq!(world.available(0), 128);
    assert_eq!(world.available(1), 0);
    assert!(world.bus_master());
}

#[test]
fn what_is_wrong_is_said() {
    type Spoil = fn(&mut Faults);
    let cases: [(Spoil, ProbeError); 8] = [
        (|faults| faults.offered &= !(1 << 32), ProbeError::Version),
        (
            |faults| faults.refuse_features = true,
            ProbeError::FeaturesRefused,
        ),
        (|faults| faults.stuck_reset = true, ProbeError::Reset),
        (|faults| faults.queue_max = 0, ProbeError::Queue(0)),
        (|faults| faults.queue_max = 1, ProbeError::Queue(0)),
        (
            |faults| faults.mtu = wire::MTU_LEAST - 1,
            ProbeError::MtuTooSmall {
                mtu: wire::MTU_LEAST - 1,
                needed: wire::MTU_LEAST,
            },
        ),
        (
            |faults| faults.notify_offset = 0x100,
            ProbeError::Registers("notification"),
        ),
        (
            |faults| faults.restless_config = true,
            ProbeError::Registers("configuration"),
        ),
    ];
    for (spoil, expected) in cases {
        let mut faults = Faults::default();
        spoil(&mut faults);
        let world = World::new(faults);
        assert_eq!(error(&world), expected);
        assert!(!world.bus_master());
        assert!(!expected.to_string().is_empty());
    }
    let world = World::new(Faults::default());
    world.remove_card();
    assert_eq!(error(&world), ProbeError::NoCard);
}

#[test]
fn registers_outside_of_their_block_are_refused() {
    let common = ProbeError::Registers("common");
    for (offset, value) in [
        (0x58, 0x4000),      // begins behind the end
        (0x58, 0xffff_ffff), // wraps in 32 bits
        (0x5c, 0x37),        // too short
        (0x5c, 0xffff_ffff), // longer than the block
        (0x54, 1),           // in the upper half of a wide register
        (0x54, 7),           // in no base address register
        (0x50, 0x010f_6409), // capability too short
        (0x34, 0),           // no capabilities
        (0x04, 0),           // no capability list at all
        (0x10, 1),           // an I/O base address
    ] {
        let world = World::new(Faults::default());
        world.poke_config(offset, value);
        assert_eq!(error(&world), common, "{offset:#x} = {value:#x}");
        assert!(!world.bus_master());
    }
    let world = World::new(Faults {
        bar_assigned: false,
        ..Faults::default()
    });
    assert_eq!(error(&world), common);
}

#[test]
fn a_page_lands_in_a_page_of_its_own() {
    let world = World::new(Faults::default());
    let mut card = card(&world);
    assert!(!card.pending() && card.receive().is_none());
    let (one, two) = (packet(1, PAYLOAD_MAX), packet(2, PAYLOAD_MAX));
    assert!(world.deliver(&one) && world.deliver(&two));
    assert!(card.pending());
    let first = card.receive().expect("delivered");
    let second = card.receive().expect("delivered");
    assert!(card.receive().is_none());
    for (got, sent) in [(first, one), (second, two)] {
        assert_eq!(got.header, sent[..HEADER_LEN]);
        assert_eq!(got.length, PAYLOAD_MAX);
        assert_eq!(got.page.bytes(), sent[HEADER_LEN..]);
        assert_eq!(got.page.handles(), 1);
    }
    assert_eq!(world.available(0), 128, "both slots have new pages");
    assert_eq!(card.counters().received, 2);
    assert_eq!(
        card.counters().received_bytes,
        2 * (HEADER_LEN + 4096) as u64
    );
}

#[test]
fn pages_of_small_packets_are_filled_again_only_when_let_go() {
    let world = World::new(Faults::default());
    let mut card = card(&world);
    world.set_pages_left(200);
    let mut kept = Vec::new();
    for seed in 0..100 {
        assert!(world.deliver(&packet(seed, 700)));
        kept.push(card.receive().expect("delivered"));
    }
    for (seed, got) in (0..100).zip(&kept) {
        assert_eq!(got.header, header(seed));
        assert_eq!(got.page.bytes()[..700], packet(seed, 700)[HEADER_LEN..]);
    }
    kept.clear();
    // From now on packets let go of at once take no new memory at all.
    world.set_pages_left(0);
    for seed in 0..200 {
        assert!(world.deliver(&packet(seed, 3)));
        let got = card.receive().expect("a page that was used before");
        assert_eq!(got.length, 3);
    }
    assert_eq!(card.counters().no_memory, 0);
}

#[test]
fn unusable_packets_are_dropped_and_counted() {
    let world = World::new(Faults::default());
    let mut card = card(&world);
    assert!(world.deliver(&packet(0, 0)[..HEADER_LEN - 1]));
    assert!(world.deliver(&[]));
    assert!(world.deliver(&packet(3, 0)));
    let got = card.receive().expect("the third");
    assert_eq!((got.header, got.length), (header(3), 0));
    for claim in [0, 11, u32::MAX, (12 + HEADER_LEN + 4097) as u32] {
        let chain = world.pop(0).expect("buffers");
        world.push(0, u32::from(chain.head), claim);
    }
    assert!(card.receive().is_none());
    assert_eq!(card.counters().short, 4);
    assert_eq!(card.counters().bad_length, 2);
    assert_eq!(world.available(0), 128);
    assert!(world.deliver(&packet(4, 9)));
    assert_eq!(card.receive().expect("still works").length, 9);
}

#[test]
fn without_memory_packets_are_dropped_and_pages_kept() {
    let world = World::new(Faults::default());
    let mut card = card(&world);
    world.set_pages_left(1);
    for seed in 0..3 {
        assert!(world.deliver(&packet(seed, PAYLOAD_MAX)));
    }
    assert_eq!(card.receive().expect("the last page").header, header(0));
    assert!(card.receive().is_none());
    assert_eq!(card.counters().no_memory, 2);
    world.set_pages_left(9);
    assert!(world.deliver(&packet(7, PAYLOAD_MAX)));
    assert_eq!(card.receive().expect("memory again").header, header(7));
}

#[test]
fn a_card_that_tells_no_mtu_has_the_usual_one() {
    let mut faults = Faults::default();
    faults.offered &= !8;
    assert_eq!(card(&World::new(faults)).mtu(), 1500);
}

#[test]
fn packets_are_sent_as_they_are() {
    let world = World::new(Faults::default());
    let mut card = card(&world);
    let page = drivers::platform::Platform::page(&world).expect("memory");
    page.fill(&packet(9, PAYLOAD_MAX)[HEADER_LEN..]);
    let bytes = packet(9, PAYLOAD_MAX)[HEADER_LEN..].to_vec();
    card.transmit(&header(9), Outgoing::None).expect("room");
    // Around the longest payload that shares a descriptor with its header, and at the ends.
    let lengths = [0, 1].into_iter().chain(300..=400).chain([4095, 4096]);
    for length in lengths.clone() {
        card.transmit(&header(9), Outgoing::Bytes(&bytes[..length]))
            .expect("room");
    }
    card.transmit(&header(9), Outgoing::Page(page.clone(), 0..PAYLOAD_MAX))
        .expect("room");
    assert_eq!(page.handles(), 2, "kept while the device reads");
    card.transmit(&header(9), Outgoing::Page(page.clone(), 1376..2752))
        .expect("room");
    card.kick();
    assert!(world.take_notified(1));
    for length in [0].into_iter().chain(lengths).chain([4096]) {
        let (head, sent) = world.fetch().expect("queued");
        assert_eq!(sent, packet(9, length), "{length}");
        world.push(1, u32::from(head), 0);
    }
    let (head, sent) = world.fetch().expect("queued");
    assert_eq!(sent[..HEADER_LEN], header(9));
    assert_eq!(sent[HEADER_LEN..], bytes[1376..2752], "a piece, in place");
    world.push(1, u32::from(head), 0);
    assert!(world.fetch().is_none());
    assert_eq!(page.handles(), 3);
    card.kick();
    assert_eq!(page.handles(), 1, "let go when the device is done");
    assert_eq!(card.counters().sent, 108);
    assert_eq!(card.counters().kicks, 1);
}

#[test]
fn room_is_told_and_kept() {
    let world = World::new(Faults::default());
    let mut card = card(&world);
    let mut heads = Vec::new();
    for sent in 0..128 {
        assert_eq!(card.transmit_room(), 128 - sent);
        card.transmit(&header(0), Outgoing::None).expect("room");
    }
    assert_eq!(card.transmit_room(), 0);
    assert_eq!(card.transmit(&header(0), Outgoing::None), Err(Full));
    card.kick();
    while let Some((head, _)) = world.fetch() {
        heads.push(u32::from(head));
    }
    assert!(!card.arm_interrupts());
    for (count, head) in heads.iter().enumerate() {
        world.push(1, *head, 0);
        world.signal(1);
        assert_eq!(world.take_interrupts(1), u32::from(count == 63), "{count}");
        assert_eq!(card.transmit_room(), count + 1);
    }
    assert!(card.pending());
    card.transmit(&header(0), Outgoing::None).expect("room");
    assert_eq!(card.transmit_room(), 127);
    assert!(!card.arm_interrupts() && !card.pending());
}

#[test]
fn a_lying_device_is_not_believed() {
    type Lie = fn(&World, usize);
    let lies: [Lie; 5] = [
        |world, queue| world.move_used(queue, 200),
        |world, queue| world.move_used(queue, 0xffff),
        |world, queue| world.push(queue, 1, 0),
        |world, queue| world.push(queue, 256, 0),
        |world, queue| world.push(queue, u32::MAX, 0),
    ];
    for lie in lies {
        for queue in [0, 1] {
            let world = World::new(Faults::default());
            let mut card = card(&world);
            card.transmit(&header(0), Outgoing::None).expect("room");
            lie(&world, queue);
            assert!(card.receive().is_none());
            card.kick();
            assert_eq!(card.counters().broken_queues, 1);
            // The other queue works on.
            if queue == 0 {
                card.transmit(&header(0), Outgoing::None).expect("room");
            } else {
                assert_eq!(card.transmit_room(), 0);
                assert_eq!(card.transmit(&header(0), Outgoing::None), Err(Full));
                assert!(world.deliver(&packet(5, 5)));
                assert_eq!(card.receive().expect("delivered").length, 5);
            }
            assert!(!card.arm_interrupts());
        }
    }
}

#[test]
fn any_bytes_in_the_used_ring_do_no_harm() {
    let mut dice = Dice(0x5eed);
    for _ in 0..2000 {
        let world = World::new(Faults::default());
        let mut card = card(&world);
        let mut kept: Vec<model::Memory> = Vec::new();
        for _ in 0..40 {
            let queue = dice.below(2) as usize;
            let head = match dice.below(8) {
                0 => dice.below(1 << 32) as u32,
                1 => dice.below(600) as u32,
                _ => dice.below(128) as u32 * 2,
            };
            match dice.below(20) {
                0 => world.move_used(queue, dice.below(1 << 16) as u16),
                1 => {
                    let _ = card.transmit(&header(1), Outgoing::None);
                }
                _ => world.push(queue, head, dice.below(4400) as u32),
            }
            while let Some(got) = card.receive() {
                assert!(got.length <= PAYLOAD_MAX);
                let twice = |page: &&model::Memory| {
                    drivers::platform::Page::physical(*page)
                        == drivers::platform::Page::physical(&got.page)
                };
                assert!(!kept.iter().any(|page| twice(&page)), "one page twice");
                kept.push(got.page);
            }
            card.kick();
            assert!(card.transmit_room() <= 128);
        }
    }
}

/// Steps of driver and device in any order: whoever waits was told, or has nothing to wait for.
fn nobody_waits_in_vain(offered: u64, seed: u64) {
    let world = World::new(Faults {
        offered,
        ..Faults::default()
    });
    let mut card = card(&world);
    let mut dice = Dice(seed);
    let (mut sleeping, mut armed) = ([false, true], false);
    let (mut sent, mut fetched, mut delivered, mut received) = (0u32, 0u32, 0u32, 0u32);
    world.sleep(1);
    for step in 0..400_000 {
        match dice.below(6) {
            0 => {
                for _ in 0..dice.below(20) {
                    let tag = sent.to_le_bytes();
                    if card.transmit(&header(0), Outgoing::Bytes(&tag)).is_ok() {
                        sent += 1;
                    }
                }
                card.kick();
                let notified = world.take_notified(1);
                if sleeping[1] && world.available(1) > 0 {
                    assert!(notified, "step {step}: the device sleeps over packets");
                    sleeping[1] = false;
                }
            }
            1 => {
                for _ in 0..dice.below(30) {
                    let Some((head, bytes)) = world.fetch() else {
                        break;
                    };
                    assert_eq!(bytes[HEADER_LEN..], fetched.to_le_bytes());
                    fetched += 1;
                    world.push(1, u32::from(head), 0);
                    sleeping[1] = false;
                    world.wake(1);
                }
                world.signal(1);
                world.take_interrupts(1);
            }
            2 => {
                sleeping[1] = !world.sleep(1);
                world.take_notified(1);
                if !sleeping[1] {
                    world.wake(1);
                }
            }
            3 => {
                let mut any = false;
                for _ in 0..dice.below(40) {
                    let mut bytes = packet(0, 4);
                    bytes[HEADER_LEN..].copy_from_slice(&delivered.to_le_bytes());
                    if !world.deliver(&bytes) {
                        // Out of buffers: asks to be told of new ones.
                        sleeping[0] = !world.sleep(0);
                        world.take_notified(0);
                        break;
                    }
                    delivered += 1;
                    any = true;
                    sleeping[0] = false;
                    world.wake(0);
                }
                world.signal(0);
                let interrupts = world.take_interrupts(0);
                if armed && any {
                    assert!(interrupts > 0, "step {step}: the driver waits for ever");
                    armed = false;
                }
            }
            4 => {
                while let Some(got) = card.receive() {
                    let tag = received.to_le_bytes();
                    assert_eq!(got.page.bytes()[..got.length], tag);
                    received += 1;
                }
                assert_eq!(received, delivered);
                let notified = world.take_notified(0);
                if sleeping[0] && world.available(0) > 0 {
                    assert!(notified, "step {step}: no word of buffers");
                    sleeping[0] = false;
                }
                armed = !card.arm_interrupts();
                assert!(armed, "nothing is left");
            }
            _ => {
                if card.arm_interrupts() {
                    assert!(card.pending());
                } else {
                    armed = true;
                }
            }
        }
    }
    assert!(sent > 200_000 && received > 200_000, "{sent} {received}");
    let counters = card.counters();
    assert_eq!(u64::from(sent), counters.sent);
    assert_eq!(u64::from(received), counters.received);
    assert!(counters.kicks_saved > 0 && counters.broken_queues == 0);
}

#[test]
fn nobody_waits_in_vain_with_event_indices() {
    nobody_waits_in_vain(Faults::default().offered, 1);
}

#[test]
fn nobody_waits_in_vain_with_flags() {
    nobody_waits_in_vain(Faults::default().offered & !EVENT_INDEX, 2);
}

#[test]
fn without_vectors_the_card_is_polled() {
    for (vectors, exhausted) in [(0, false), (1, false), (3, true)] {
        if exhausted {
            model::exhaust_vectors();
        }
        let world = World::new(Faults {
            vectors,
            ..Faults::default()
        });
        let mut card = card(&world);
        assert!(!card.has_interrupts());
        assert!(!card.arm_interrupts());
        assert!(world.deliver(&packet(1, 1)));
        assert!(card.arm_interrupts());
        assert!(card.receive().is_some());
    }
}

#[test]
fn a_dropped_card_is_silent_first() {
    let world = World::new(Faults::default());
    let mut card = card(&world);
    card.transmit(&header(0), Outgoing::None).expect("room");
    assert!(world.live_areas() > 256);
    drop(card);
    assert_eq!(world.status(), 0);
    assert!(!world.bus_master());
    assert_eq!(world.live_areas(), 0);
}

#[test]
fn memory_of_a_card_that_is_not_silent_is_never_given_back() {
    let world = World::new(Faults::default());
    let card = card(&world);
    let areas = world.live_areas();
    world.get_stuck();
    drop(card);
    assert!(!world.bus_master());
    assert_eq!(world.live_areas(), areas);
}
