//! A journal on a disk of memory. What crashes and lies leave of it is shown in `tools/fuzz`.

use super::*;
use alloc::vec;

const SIZE: usize = 2 * AREA_MIN as usize * SECTOR;

/// Lets the disk do all that there is to do.
fn work(journal: &mut Journal, disk: &mut [u8]) -> usize {
    let mut writes = 0;
    while let Some(op) = journal.poll() {
        if let Op::Write { sector, bytes } = op {
            let at = sector as usize * SECTOR;
            disk[at..at + bytes.len()].copy_from_slice(&bytes);
            writes += 1;
        }
        journal.done(true);
    }
    writes
}

fn values(journal: &Journal) -> Vec<(u64, Vec<u8>)> {
    journal
        .iter()
        .map(|(key, value)| (key, value.to_vec()))
        .collect()
}

#[test]
fn what_was_flushed_is_there_after_a_reboot() {
    let mut disk = vec![0; SIZE];
    let mut journal = Journal::open(1, 7, &disk).expect("blank");
    let mark = journal.put(5, b"five").expect("room");
    journal.put(6, b"six").expect("room");
    journal.remove(6);
    assert_eq!((mark, journal.flushed()), (1, 0));
    work(&mut journal, &mut disk);
    assert_eq!((journal.flushed(), journal.noted()), (3, 3));
    let again = Journal::open(1, 8, &disk).expect("its own");
    assert_eq!(values(&again), [(5, b"five".to_vec())]);
    assert_eq!(again.get(5), Some(&b"five"[..]));
}

#[test]
fn what_is_noted_while_the_disk_works_is_written_together() {
    let mut disk = vec![0; SIZE];
    let mut journal = Journal::open(1, 7, &disk).expect("blank");
    work(&mut journal, &mut disk);
    for key in 0..100 {
        journal.put(key, &[key as u8; 20]).expect("room");
    }
    assert_eq!(work(&mut journal, &mut disk), 1);
    assert_eq!(journal.flushed(), 100);
}

#[test]
fn a_full_area_is_left_for_the_other_one_as_often_as_there_is_need() {
    let mut disk = vec![0; SIZE];
    let mut journal = Journal::open(1, 7, &disk).expect("blank");
    for round in 0..500u32 {
        journal.put(1, &round.to_le_bytes()).expect("room");
        journal.put(2, &[round as u8; 5000]).expect("room");
        work(&mut journal, &mut disk);
        let again = Journal::open(1, round, &disk).expect("its own");
        assert_eq!(values(&again), values(&journal));
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut disk = vec![0; SIZE];
    let mut journal = Journal::open(1, 7, &disk).expect("blank");
    assert_eq!(journal.put(1, &vec![0; VALUE_MAX + 1]), Err(Full));
    journal.put(1, &vec![1; VALUE_MAX]).expect("room");
    assert_eq!(journal.put(2, &vec![2; VALUE_MAX]), Err(Full));
    assert_eq!(journal.put(1, &vec![3; VALUE_MAX]), Ok(2));
    work(&mut journal, &mut disk);
    let again = Journal::open(1, 8, &disk).expect("its own");
    assert_eq!(values(&again), [(1, vec![3; VALUE_MAX])]);
}

#[test]
fn a_disk_that_fails_is_not_asked_again() {
    let disk = vec![0; SIZE];
    let mut journal = Journal::open(1, 7, &disk).expect("blank");
    assert!(journal.poll().is_some() && journal.poll().is_none());
    journal.done(false);
    assert!(journal.has_failed() && journal.poll().is_none());
    journal.put(1, b"x").expect("room");
    assert_eq!((journal.poll(), journal.flushed()), (None, 0));
}

#[test]
fn disks_that_are_not_its_own_are_refused() {
    let open = |disk: &[u8]| Journal::open(1, 7, disk).map(|_| ());
    assert_eq!(open(&vec![0; SIZE / 2]), Err(Refused::TooSmall));
    let mut disk = vec![0; SIZE];
    disk[SIZE / 3] = 1;
    assert_eq!(open(&disk), Err(Refused::Foreign));
    let mut disk = vec![0; SIZE];
    let mut other = Journal::open(2, 7, &disk).expect("blank");
    work(&mut other, &mut disk);
    assert_eq!(open(&disk), Err(Refused::OfNode(2)));
    let mut smaller = vec![0; SIZE];
    let mut mine = Journal::open(1, 7, &smaller).expect("blank");
    work(&mut mine, &mut smaller);
    smaller.resize(2 * SIZE, 0);
    assert!(matches!(open(&smaller), Err(Refused::Damaged(_))));
}

/// As a blank disk's first journal is laid out. Whoever changes these bytes raises the version, the last byte of both magics.
#[test]
fn the_bytes_of_headers_and_frames() {
    let mut disk = vec![0; SIZE];
    let mut journal = Journal::open(1, 7, &disk).expect("blank");
    work(&mut journal, &mut disk);
    journal.put(5, b"five").expect("room");
    journal.remove(5);
    work(&mut journal, &mut disk);
    let header = [
        &[0; 8][..],
        b"DunlinJ1",
        &[7, 0, 0, 0, 1, 0, 0, 0], // generation: 7 was drawn, this is the first
        &[1, 0, 0, 0, 0, 0, 0, 0], // node
        &[128, 0, 0, 0, 0, 0, 0, 0], // sectors of an area
        &[0, 0, 0, 0, 0, 0, 0, 0], // frames that it began with
        &[0, 0, 0, 0, 0, 0, 0, 0], // the sector where the area begins
    ]
    .concat();
    let frame = [
        &[0; 8][..],
        b"DunlinF1",
        &[7, 0, 0, 0, 1, 0, 0, 0],             // generation
        &[0, 0, 0, 0, 0, 0, 0, 0],             // number in it
        &[2, 0, 0, 0, 0, 0, 0, 0],             // the sector where it begins
        &[76, 0, 0, 0, 0, 0, 0, 0],            // bytes
        &[5, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0], // number and length of a value
        b"five",
        &[5, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255], // that it is gone
    ]
    .concat();
    // CRC-64/XZ of all that follows.
    let sum_of_header = [181, 145, 182, 167, 26, 172, 29, 231];
    let sum_of_frame = [173, 163, 182, 164, 38, 2, 72, 102];
    let sectors = [
        (&header, sum_of_header),
        (&header, sum_of_header),
        (&frame, sum_of_frame),
    ];
    for (at, (bytes, sum)) in sectors.into_iter().enumerate() {
        let mut bytes = bytes.clone();
        bytes[..8].copy_from_slice(&sum);
        bytes.resize(SECTOR, 0);
        assert!(disk[at * SECTOR..][..SECTOR] == bytes, "sector {at}");
    }
}

#[test]
fn another_version_is_told_and_left_as_it_is() {
    let mut disk = vec![0; SIZE];
    let mut journal = Journal::open(1, 7, &disk).expect("blank");
    work(&mut journal, &mut disk);
    for copy in 0..2 {
        disk[copy * SECTOR + 15] = b'2';
    }
    let refused = Journal::open(1, 8, &disk).expect_err("version 2");
    assert_eq!(refused, Refused::OfVersion('2'));
    let said = alloc::format!("{refused}");
    assert_eq!(
        said,
        "its journal is of version 2, which this system does not read"
    );
    for copy in 0..2 {
        disk[copy * SECTOR + 14] = b'K';
    }
    assert_eq!(Journal::open(1, 8, &disk).err(), Some(Refused::Foreign));
}
