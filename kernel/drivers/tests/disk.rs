//! The disk driver against a disk made of software.

// The card of the same model has more.
#[allow(dead_code, reason = "shared with the tests of the network card")]
mod model;

use drivers::{Disk, DiskError, Done, PATIENCE_NS, ProbeError, SECTOR, TRANSFER_MAX, Ticket};
use model::{EVENT_INDEX, Faults, World};

const SECTORS: u64 = 200;
const READ_ONLY: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;

fn world(features: u64) -> World {
    World::new(Faults {
        // VERSION_1, INDIRECT_DESC, SEG_MAX, BLK_SIZE and those.
        offered: 1 << 32 | 1 << 28 | 1 << 2 | 1 << 6 | features,
        disk: Some(SECTORS),
        ..Faults::default()
    })
}

fn disk(world: &World) -> Disk<World> {
    Disk::probe_on(world).expect("a good disk")
}

/// What the device has heard.
#[derive(Debug)]
struct Heard {
    head: u16,
    kind: u32,
    sector: u64,
    data: Vec<u8>,
    /// Where it may write: address and bytes, the status last.
    room: (u64, usize),
}

/// Takes the next request (virtio 1.2, 5.2.6).
fn hear(world: &World) -> Option<Heard> {
    let chain = world.pop(0)?;
    let mut bytes = Vec::new();
    for (address, length) in chain.readable {
        bytes.extend(world.read_memory(address, length as usize));
    }
    assert_eq!(&bytes[4..8], &[0; 4], "reserved");
    let [(address, length)] = chain.writable[..] else {
        panic!("one piece");
    };
    Some(Heard {
        head: chain.head,
        kind: u32::from_le_bytes(bytes[..4].try_into().expect("4")),
        sector: u64::from_le_bytes(bytes[8..16].try_into().expect("8")),
        data: bytes[16..].to_vec(),
        room: (address, length as usize),
    })
}

/// Answers with what was read and a status.
fn answer(world: &World, heard: &Heard, read: &[u8], status: u8) {
    let (address, length) = heard.room;
    assert_eq!(read.len() + 1, length);
    world.write_memory(address, read);
    world.write_memory(address + read.len() as u64, &[status]);
    world.push(0, u32::from(heard.head), length as u32);
}

/// Serves all requests from these bytes, the last first.
fn serve(world: &World, contents: &mut [u8]) {
    let mut all: Vec<Heard> = std::iter::from_fn(|| hear(world)).collect();
    all.reverse();
    for heard in all {
        let at = heard.sector as usize * SECTOR;
        match heard.kind {
            0 => {
                let bytes = heard.room.1 - 1;
                answer(world, &heard, &contents[at..at + bytes].to_vec(), 0);
            }
            1 => {
                contents[at..at + heard.data.len()].copy_from_slice(&heard.data);
                answer(world, &heard, &[], 0);
            }
            4 => answer(world, &heard, &[], 0),
            other => panic!("request {other}"),
        }
    }
}

fn done(ticket: Ticket, result: Result<Vec<u8>, DiskError>) -> Option<Done> {
    Some(Done { ticket, result })
}

#[test]
fn what_is_written_is_read_in_whatever_order_the_device_answers() {
    for features in [FLUSH, FLUSH | EVENT_INDEX] {
        let world = world(features);
        let mut disk = disk(&world);
        assert_eq!(world.features(), 1 << 32 | features);
        assert_eq!((disk.sectors(), disk.is_read_only()), (SECTORS, false));
        assert!(disk.has_interrupts());
        let mut contents = vec![0; SECTORS as usize * SECTOR];
        let one = vec![1; SECTOR];
        let two = vec![2; TRANSFER_MAX];
        let first = disk.write(0, 0, &one).expect("room");
        let second = disk.write(0, SECTORS - 128, &two).expect("room");
        assert!(world.take_notified(0));
        assert_eq!((disk.poll(0), disk.under_way()), (None, 2));
        serve(&world, &mut contents);
        assert_eq!(disk.poll(0), done(second, Ok(Vec::new())));
        assert_eq!(disk.poll(0), done(first, Ok(Vec::new())));
        let flush = disk.flush(0).expect("room");
        serve(&world, &mut contents);
        assert_eq!(disk.poll(0), done(flush, Ok(Vec::new())));
        let read = disk.read(0, SECTORS - 129, 2).expect("room");
        serve(&world, &mut contents);
        let mut expected = vec![0; SECTOR];
        expected.extend(vec![2; SECTOR]);
        assert_eq!(disk.poll(0), done(read, Ok(expected)));
        assert_eq!((disk.poll(0), disk.under_way()), (None, 0));
    }
}

#[test]
fn what_it_cannot_serve_the_device_does_not_hear_of() {
    let world = world(FLUSH);
    let mut disk = disk(&world);
    let sector = vec![0; SECTOR];
    let cases = [
        (disk.read(0, SECTORS, 1), DiskError::OutOfRange),
        (disk.read(0, SECTORS - 1, 2), DiskError::OutOfRange),
        (disk.read(0, u64::MAX, 1), DiskError::OutOfRange),
        (disk.write(0, SECTORS, &sector), DiskError::OutOfRange),
        (disk.read(0, 0, 0), DiskError::Length),
        (disk.read(0, 0, usize::MAX), DiskError::Length),
        (
            disk.read(0, 0, TRANSFER_MAX / SECTOR + 1),
            DiskError::Length,
        ),
        (disk.write(0, 0, &sector[1..]), DiskError::Length),
        (disk.write(0, 0, &[]), DiskError::Length),
    ];
    for (got, expected) in cases {
        assert_eq!(got, Err(expected));
        assert!(!expected.to_string().is_empty());
    }
    assert_eq!(world.available(0), 0);
    for _ in 0..8 {
        disk.read(0, 0, 1).expect("a slot");
    }
    assert_eq!(disk.read(0, 0, 1), Err(DiskError::Busy));
    assert_eq!(disk.flush(0), Err(DiskError::Busy));
    assert_eq!(world.available(0), 8);
}

#[test]
fn a_disk_that_can_only_be_read_is_only_read() {
    let world = world(READ_ONLY);
    let mut disk = disk(&world);
    assert!(disk.is_read_only());
    assert_eq!(disk.write(0, 0, &[0; SECTOR]), Err(DiskError::ReadOnly));
    assert_eq!(world.available(0), 0);
    let read = disk.read(0, 3, 1).expect("room");
    serve(&world, &mut vec![7; SECTORS as usize * SECTOR]);
    assert_eq!(disk.poll(0), done(read, Ok(vec![7; SECTOR])));
}

#[test]
fn a_device_that_keeps_nothing_for_itself_is_not_told_to_flush() {
    let world = world(0);
    let mut disk = disk(&world);
    let flush = disk.flush(0).expect("room");
    assert_eq!(world.available(0), 0);
    assert!(disk.arm_interrupt(), "it is over already");
    assert_eq!(disk.poll(0), done(flush, Ok(Vec::new())));
}

#[test]
fn what_the_device_could_not_do_is_said() {
    let world = world(FLUSH);
    let mut disk = disk(&world);
    for (status, error) in [
        (1, DiskError::Io),
        (2, DiskError::Unsupported),
        (0xff, DiskError::Io),
    ] {
        let read = disk.read(0, 0, 1).expect("room");
        let heard = hear(&world).expect("asked");
        answer(&world, &heard, &[0; SECTOR], status);
        assert_eq!(disk.poll(0), done(read, Err(error)));
    }
    assert_eq!(disk.under_way(), 0);
}

#[test]
fn a_device_that_does_not_answer_in_time_is_given_up() {
    let world = world(FLUSH);
    let mut disk = disk(&world);
    let mut tickets = vec![disk.write(5, 0, &[1; SECTOR]).expect("room")];
    tickets.push(disk.flush(10).expect("room"));
    assert_eq!(disk.poll(5 + PATIENCE_NS), None);
    let mut over: Vec<Ticket> = Vec::new();
    while let Some(done) = disk.poll(6 + PATIENCE_NS) {
        assert_eq!(done.result, Err(DiskError::TimedOut));
        over.push(done.ticket);
    }
    over.sort_by_key(|ticket| tickets.iter().position(|known| known == ticket));
    assert_eq!(over, tickets);
    assert_eq!(world.status(), 0, "it was reset");
    assert!(!world.bus_master());
    assert_eq!(disk.read(7 + PATIENCE_NS, 0, 1), Err(DiskError::TimedOut));
}

#[test]
fn a_device_that_says_something_impossible_is_given_up() {
    let world = world(FLUSH);
    let mut disk = disk(&world);
    let read = disk.read(0, 0, 1).expect("room");
    world.move_used(0, 5);
    assert_eq!(disk.poll(0), done(read, Err(DiskError::Broken)));
    assert_eq!(disk.poll(0), None);
    assert_eq!(disk.read(0, 0, 1), Err(DiskError::Broken));
}

#[test]
fn no_disk_and_bad_ones_are_told_apart() {
    let error = |world: &World| Disk::probe_on(world).err();
    let card = World::new(Faults::default());
    assert_eq!(error(&card), Some(ProbeError::NoDisk));
    let faults = Faults {
        offered: 0,
        disk: Some(1),
        ..Faults::default()
    };
    let old = World::new(faults.clone());
    assert_eq!(error(&old), Some(ProbeError::Version));
    assert!(!old.bus_master());
    let small = World::new(Faults {
        offered: 1 << 32,
        queue_max: 1,
        ..faults
    });
    assert_eq!(error(&small), Some(ProbeError::Queue(0)));
}

#[test]
fn memory_is_given_back_unless_the_device_may_still_write() {
    let world = world(FLUSH);
    let mut one = disk(&world);
    one.read(0, 0, 1).expect("room");
    drop(one);
    assert_eq!((world.live_areas(), world.status()), (0, 0));
    let mut other = disk(&world);
    other.read(0, 0, 1).expect("room");
    world.get_stuck();
    drop(other);
    assert!(world.live_areas() > 0);
}
