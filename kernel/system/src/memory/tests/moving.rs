//! A space moves: equal contents afterwards, and records from strangers.

use std::vec::Vec;

use machine::{Access, Frame, FrameKind, fake::touch, frame_counts};
use zerocopy::{FromBytes, IntoBytes};

use super::super::limits::PAGE;
use super::super::{
    AreaRecord, Backing, Copies, Installed, Invalid, LayoutRecord, MapHow, NoFiles, RunRecord,
    Sent, Space, Trouble,
};
use super::{Files, RW, check, file, pattern};

const BASE: u64 = 0x20_0000;

/// Anonymous pages 0..600 with some written, a file at 1000..1004 with its second page changed.
fn moving_space(files: &mut Files) -> Space {
    let name = files.add(&pattern(4 * PAGE as usize));
    let mut space = Space::new().expect("memory");
    let anonymous = space.map(BASE, 600 * PAGE, RW, Backing::Anonymous, MapHow::Fixed);
    assert_eq!(anonymous, Ok(BASE));
    let at = BASE + 1000 * PAGE;
    let backing = Backing::File(file(name, 0, 4 * PAGE));
    assert_eq!(space.map(at, 4 * PAGE, RW, backing, MapHow::Fixed), Ok(at));
    let mut byte = [0];
    for page in (0..20).chain(510..514).chain([599]) {
        let write = space.write(BASE + page * PAGE + 5, &[page as u8 | 1], files);
        assert_eq!(write, Ok(()));
    }
    assert_eq!(space.read(BASE + 300 * PAGE, &mut byte, files), Ok(()));
    assert_eq!(space.read(at, &mut byte, files), Ok(()));
    assert_eq!(space.write(at + PAGE, &[0; PAGE as usize], files), Ok(()));
    space
}

fn runs(space: &Space) -> Vec<(u64, u64)> {
    let runs = space.export().expect("movable").runs;
    runs.iter()
        .map(|run| ((run.page - BASE) / PAGE, run.count))
        .collect()
}

fn contents(space: &mut Space, files: &mut Files) -> Vec<u8> {
    let mut bytes = std::vec![0; 604 * PAGE as usize];
    let (low, high) = bytes.split_at_mut(600 * PAGE as usize);
    assert_eq!(space.read(BASE, low, files), Ok(()));
    assert_eq!(space.read(BASE + 1000 * PAGE, high, files), Ok(()));
    bytes
}

#[test]
fn everything_arrives() {
    let before = frame_counts();
    let mut files = Files::default();
    let mut source = moving_space(&mut files);
    assert_eq!(runs(&source), [(0, 20), (510, 4), (599, 1), (1001, 1)]);
    let records = source.export().expect("movable");
    let bytes = records.areas.as_bytes().to_vec();
    let areas = <[AreaRecord]>::ref_from_bytes(&bytes)
        .map_or_else(|_| records.areas.clone(), <[AreaRecord]>::to_vec);
    let mut target = Space::import(&areas, &records.runs, &records.layout).expect("ours");
    assert_eq!(target.absent_count(), 26);
    check(&target);

    let mut byte = [0];
    let absent = Trouble::Absent { page: BASE };
    assert_eq!(target.read(BASE + 5, &mut byte, &mut files), Err(absent));
    assert_eq!(
        target.read(BASE + 300 * PAGE, &mut byte, &mut files),
        Ok(())
    );

    // Thrown away by the program before they arrive.
    assert_eq!(target.advise(BASE + 2 * PAGE, PAGE, 4), Ok(()));
    assert_eq!(source.advise(BASE + 2 * PAGE, PAGE, 4), Ok(()));
    let late = Frame::zeroed(FrameKind::Network).expect("memory");
    assert_eq!(target.install(BASE + 2 * PAGE, late), Installed::NotWanted);

    // The page of the file that was overwritten with zeros must not show the file again.
    assert_eq!(target.install_zero(BASE + 1001 * PAGE, 1), Ok(1));
    let wanted = contents(&mut source, &mut files);
    let mut sent = 0;
    while let Some(page) = source.next_present(0) {
        let frame = source.take(page).expect("present");
        frame.set_kind(FrameKind::Network);
        sent += u32::from(target.install(page, frame) == Installed::Yes);
    }
    assert_eq!((sent, target.absent_count()), (24, 0));
    assert_eq!(source.present_count(), 0);
    assert!(contents(&mut target, &mut files) == wanted);
    check(&target);
    assert_eq!(target.layout(), source.layout());
    drop((source, target, files));
    assert_eq!(frame_counts(), before);
}

#[test]
fn zeros_become_untouched_memory() {
    let area = record(BASE, BASE + 100 * PAGE);
    let run = RunRecord {
        page: BASE,
        count: 100,
    };
    let mut space = Space::import(&[area], &[run], &layout()).expect("valid");
    assert_eq!(space.install_zero(BASE + 90 * PAGE, 20), Ok(10));
    assert_eq!(space.install_zero(BASE, u32::MAX), Ok(90));
    assert_eq!(space.install_zero(BASE, u32::MAX), Ok(0));
    assert_eq!(space.usage().resident_pages, 0);
    check(&space);
}

#[test]
fn a_mapping_that_is_kept_is_moved_to_where_it_is_said_if_that_is_free() {
    const MAYMOVE_DONTUNMAP: u64 = 1 | 4;
    let area = record(BASE, BASE + PAGE);
    let mut space = Space::import(&[area], &[], &layout()).expect("valid");
    let mut remap = |place| space.remap(BASE, PAGE, PAGE, MAYMOVE_DONTUNMAP, place);
    let place = BASE + 50 * PAGE;
    assert_eq!(remap(place), Ok(place));
    assert!(remap(place).is_ok_and(|other| other != place));
    assert!(remap(0).is_ok());
    // There it cannot be, but as a second one.
    assert_eq!(remap(BASE), Err(abi::Errno::EINVAL.into()));
}

#[test]
fn a_mapping_waits_for_its_pages_before_it_moves() {
    let run = RunRecord {
        page: BASE + PAGE,
        count: 1,
    };
    let area = record(BASE, BASE + 4 * PAGE);
    let mut space = Space::import(&[area], &[run], &layout()).expect("valid");
    let absent = super::super::MapStop::Absent { page: BASE + PAGE };
    let stopped = space.remap(BASE, 2 * PAGE, 2 * PAGE, 3, BASE + 50 * PAGE);
    assert_eq!(stopped, Err(absent));
    assert_eq!(space.areas().count(), 1);
    let moved = space.remap(BASE + 2 * PAGE, 2 * PAGE, 2 * PAGE, 3, BASE + 50 * PAGE);
    assert_eq!(moved, Ok(BASE + 50 * PAGE));
    assert_eq!(space.obstacle(), Some("its memory is still arriving"));
    assert_eq!(space.unmap(BASE, 4 * PAGE), Ok(()));
    assert_eq!((space.absent_count(), space.obstacle()), (0, None));
}

#[test]
fn the_most_useful_pages_come_first() {
    let mut space = Space::new().expect("memory");
    let mapped = space.map(BASE, 50 * PAGE, RW, Backing::Anonymous, MapHow::Fixed);
    assert_eq!(mapped, Ok(BASE));
    let all = pattern(50 * PAGE as usize);
    assert_eq!(space.write(BASE, &all, &mut NoFiles), Ok(()));
    for page in [3, 9, 30] {
        touch(&space.table.handle(), BASE + page * PAGE, Access::READ);
    }
    let number = |page: u64| (page - BASE) / PAGE;
    let at = space.pages_at(BASE + 9 * PAGE + 1, BASE + 40 * PAGE + 8);
    assert_eq!(at.map(number).collect::<Vec<u64>>(), [40, 9, 41, 39]);
    assert_eq!(space.pages_at(0, u64::MAX).count(), 0);
    let used = |limit| -> Vec<u64> {
        let used = space.used_pages(limit);
        used.into_iter().map(number).collect()
    };
    assert_eq!(used(10), [3, 9, 30]);
    assert_eq!(used(2), [3, 9]);
    space.forget_accesses();
    assert!(space.used_pages(10).is_empty());
}

fn record(start: u64, end: u64) -> AreaRecord {
    AreaRecord {
        start,
        end,
        access: 3,
        kind: 0,
        flags: 0,
        policy: 0,
        hash: [0; 32],
        offset: 0,
        length: 0,
        home_file: 0,
        reserved: 0,
        policy_nodes: 0,
    }
}

fn layout() -> LayoutRecord {
    LayoutRecord {
        break_start: BASE,
        break_end: BASE,
        map_top: 0x7000_0000_0000,
        arguments_start: 0,
        arguments_end: 0,
        environment_end: 0,
        stack_limit: 8 << 20,
        lock_future: 0,
    }
}

fn refused(areas: &[AreaRecord], runs: &[RunRecord]) -> Invalid {
    match Space::import(areas, runs, &layout()) {
        Ok(space) => panic!("accepted {space:?}"),
        Err(invalid) => {
            assert!(!invalid.reason().is_empty());
            invalid
        }
    }
}

#[test]
fn impossible_records_are_refused() {
    let good = record(BASE, BASE + 4 * PAGE);
    let with = |change: fn(&mut AreaRecord)| {
        let mut bad = good;
        change(&mut bad);
        refused(&[bad], &[])
    };
    assert_eq!(with(|area| area.end = area.start), Invalid::AreaBounds);
    assert_eq!(with(|area| area.start += 1), Invalid::AreaBounds);
    assert_eq!(with(|area| area.start = 0), Invalid::AreaBounds);
    assert_eq!(with(|area| area.end = 1 << 47), Invalid::AreaBounds);
    assert_eq!(with(|area| area.access = 2), Invalid::AreaFields);
    assert_eq!(with(|area| area.access = 8), Invalid::AreaFields);
    assert_eq!(with(|area| area.kind = 3), Invalid::AreaFields);
    assert_eq!(with(|area| area.flags = 1 << 31), Invalid::AreaFields);
    assert_eq!(with(|area| area.reserved = 1), Invalid::AreaFields);
    assert_eq!(with(|area| area.policy = 7), Invalid::AreaFields);
    assert_eq!(with(|area| area.policy_nodes = 1), Invalid::AreaFields);
    assert_eq!(with(|area| area.length = 1), Invalid::AreaFields);
    let of_file = |change: fn(&mut AreaRecord)| {
        let mut bad = good;
        bad.kind = 1;
        change(&mut bad);
        refused(&[bad], &[])
    };
    assert_eq!(of_file(|area| area.offset = 1), Invalid::AreaFile);
    assert_eq!(
        of_file(|area| area.offset = u64::MAX - 4095),
        Invalid::AreaFile
    );
    assert_eq!(
        of_file(|area| area.length = 4 * PAGE + 1),
        Invalid::AreaFile
    );
    assert_eq!(refused(&[good, good], &[]), Invalid::AreaOrder);
    let later = record(BASE + 8 * PAGE, BASE + 9 * PAGE);
    assert_eq!(refused(&[later, good], &[]), Invalid::AreaOrder);

    let run = |page, count| RunRecord { page, count };
    let runs = |runs: &[RunRecord]| refused(&[good, later], runs);
    assert_eq!(runs(&[run(BASE, 0)]), Invalid::RunOrder);
    assert_eq!(runs(&[run(BASE + 1, 1)]), Invalid::RunOrder);
    assert_eq!(
        runs(&[run(BASE, 2), run(BASE + PAGE, 1)]),
        Invalid::RunOrder
    );
    assert_eq!(runs(&[run(BASE, 5)]), Invalid::RunOutside);
    assert_eq!(runs(&[run(0, 1)]), Invalid::RunOutside);
    assert_eq!(
        runs(&[run(0u64.wrapping_sub(PAGE), 1)]),
        Invalid::RunOutside
    );
    assert_eq!(runs(&[run(BASE, u64::MAX)]), Invalid::TooManyPages);
    assert_eq!(
        runs(&[run(BASE, 1), run(BASE, u64::MAX)]),
        Invalid::TooManyPages
    );

    let mut bad = layout();
    bad.break_end = 0;
    assert_eq!(bad.check(), Err(Invalid::Layout));
    bad = layout();
    bad.environment_end = u64::MAX;
    assert_eq!(bad.check(), Err(Invalid::Layout));
    bad = layout();
    bad.lock_future = 1;
    assert_eq!(bad.check(), Err(Invalid::Layout));
}

#[test]
fn random_records_never_panic() {
    let mut files = Files::default();
    let source = moving_space(&mut files);
    let records = source.export().expect("movable");
    let good = [records.areas.as_bytes(), records.runs.as_bytes()].concat();
    let split = records.areas.as_bytes().len();
    let mut random = 1_u64;
    let mut accepted = 0;
    for _ in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..2 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            let at = (random >> 33) as usize % bytes.len();
            bytes[at] = (random >> 25) as u8;
        }
        let area = |part: &[u8]| AreaRecord::read_from_bytes(part).expect("96 bytes");
        let areas: Vec<AreaRecord> = bytes[..split].chunks(96).map(area).collect();
        let run = |part: &[u8]| RunRecord::read_from_bytes(part).expect("16 bytes");
        let runs: Vec<RunRecord> = bytes[split..].chunks(16).map(run).collect();
        if let Ok(mut space) = Space::import(&areas, &runs, &records.layout) {
            accepted += 1;
            check(&space);
            for record in &areas {
                for address in [record.start, record.end - 1] {
                    let _ = space.fault(address, Access::READ, &mut NoFiles);
                    let _ = space.fault(address, Access::WRITE, &mut NoFiles);
                }
                let _ = space.unmap(record.start, PAGE);
            }
            check(&space);
        }
    }
    assert!(accepted > 0, "some changes are harmless");
}

#[test]
fn records_of_copied_pages_may_say_anything() {
    let mut files = Files::default();
    let mut source = moving_space(&mut files);
    let outline = source.to_outline().expect("movable");
    let mut sent = Sent::default();
    let mut frames = Vec::new();
    for page in (0..10).map(|index| BASE + index * PAGE) {
        frames.push((page, source.copy_out(page).expect("present")));
        sent.insert(page);
    }
    assert_eq!(source.write(BASE, &[1], &mut files), Ok(()));
    assert_eq!(source.unmap(BASE + PAGE, PAGE), Ok(()));
    let good = source.copied_record(&sent);
    let arrived = || {
        let space = Space::from_outline(&outline).expect("our own");
        let mut copies = Copies::new(Some(&space)).expect("memory");
        for (page, frame) in &frames {
            let copy = frame.copy_of(FrameKind::Network).expect("memory");
            assert_eq!(copies.keep(*page, copy), Installed::Yes);
        }
        let nowhere = Frame::zeroed(FrameKind::Network).expect("memory");
        assert_eq!(copies.keep(BASE + 1, nowhere), Installed::NotWanted);
        copies
    };
    let whole = source.to_outline().expect("movable");
    let mut target = Space::from_outline(&whole).expect("our own");
    assert_eq!(target.adopt(arrived(), &good), Ok(()));
    check(&target);
    assert_eq!(target.absent_count(), source.uncopied_count());
    let mut random = 1_u64;
    for length in 0..good.len() {
        let mut target = Space::from_outline(&whole).expect("our own");
        assert!(target.adopt(arrived(), &good[..length]).is_err());
    }
    for _ in 0..300 {
        let mut bytes = good.clone();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        let at = (random >> 33) as usize % bytes.len();
        bytes[at] ^= 1 << (random >> 20 & 7);
        let mut target = Space::from_outline(&whole).expect("our own");
        if target.adopt(arrived(), &bytes).is_ok() {
            check(&target);
        }
    }
}
