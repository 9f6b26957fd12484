//! One literal trace per operation.

use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use abi::Errno;
use machine::{Access, Frame, FrameKind, fake::set_total_frames, frame_counts};

use super::super::limits::{LOWEST_ADDRESS, PAGE};
use super::super::{
    AreaFlags, Backing, FetchStop, MapHow, MapStop, NoFiles, SharedObject, SharedPages, Space,
    SpaceLimits, StringStop, Trouble,
};
use super::{Files, RW, check, file, pattern};

const BASE: u64 = 0x10_0000;
const MAY_MOVE: u64 = 1;
const MOVE_FIXED: u64 = 3;

fn space() -> Space {
    Space::new().expect("memory")
}

fn map(space: &mut Space, page: u64, pages: u64, access: Access) {
    let at = BASE + page * PAGE;
    let mapped = space.map(at, pages * PAGE, access, Backing::Anonymous, MapHow::Fixed);
    assert_eq!(mapped, Ok(at));
}

/// The areas as `page-page rights`, pages counted from `BASE`.
fn show(space: &Space) -> String {
    let letter = |area: &super::Area, right, letter| {
        if area.access.contains(right) {
            letter
        } else {
            '-'
        }
    };
    let lines: Vec<String> = space
        .areas()
        .map(|area| {
            std::format!(
                "{}-{}{}{}{}",
                (area.start - BASE) / PAGE,
                (area.end - BASE) / PAGE,
                letter(area, Access::READ, 'r'),
                letter(area, Access::WRITE, 'w'),
                letter(area, Access::EXECUTE, 'x'),
            )
        })
        .collect();
    check(space);
    lines.join(" ")
}

fn byte(space: &mut Space, page: u64) -> Result<u8, Trouble> {
    let mut byte = [0];
    space.read(BASE + page * PAGE, &mut byte, &mut NoFiles)?;
    Ok(byte[0])
}

fn set(space: &mut Space, page: u64, value: u8) -> Result<(), Trouble> {
    space.write(BASE + page * PAGE, &[value], &mut NoFiles)
}

#[test]
fn mappings_are_cut_and_joined() {
    let mut space = space();
    map(&mut space, 0, 10, RW);
    map(&mut space, 10, 5, RW);
    assert_eq!(show(&space), "0-15rw-");
    assert_eq!(
        space.protect(BASE + 3 * PAGE, 2 * PAGE, Access::READ),
        Ok(())
    );
    assert_eq!(show(&space), "0-3rw- 3-5r-- 5-15rw-");
    assert_eq!(space.unmap(BASE + 4 * PAGE, 3 * PAGE), Ok(()));
    assert_eq!(show(&space), "0-3rw- 3-4r-- 7-15rw-");
    let hole = space.protect(BASE, 15 * PAGE, Access::READ);
    assert_eq!(hole, Err(Errno::ENOMEM));
    assert_eq!(show(&space), "0-4r-- 7-15rw-");
    assert_eq!(space.protect(BASE, 3 * PAGE, RW), Ok(()));
    assert_eq!(space.protect(BASE + 3 * PAGE, 1, RW), Ok(()));
    map(&mut space, 4, 3, RW);
    assert_eq!(show(&space), "0-15rw-");
    assert_eq!(space.unmap(BASE, 100 * PAGE), Ok(()));
    assert_eq!(show(&space), "");
}

#[test]
fn places() {
    let mut space = space();
    let top = space.layout().map_top;
    let mut anywhere = |hint, length, how| space.map(hint, length, RW, Backing::Anonymous, how);
    assert_eq!(anywhere(0, PAGE, MapHow::Anywhere), Ok(top - PAGE));
    assert_eq!(anywhere(0, 1, MapHow::Anywhere), Ok(top - 2 * PAGE));
    assert_eq!(anywhere(BASE - 1, PAGE, MapHow::Anywhere), Ok(BASE));
    assert_eq!(anywhere(BASE, PAGE, MapHow::Anywhere), Ok(top - 3 * PAGE));
    assert_eq!(
        anywhere(BASE, PAGE, MapHow::FixedNoReplace),
        Err(Errno::EEXIST)
    );
    assert_eq!(anywhere(BASE, PAGE, MapHow::Fixed), Ok(BASE));
    assert_eq!(anywhere(BASE + 1, PAGE, MapHow::Fixed), Err(Errno::EINVAL));
    assert_eq!(anywhere(0, PAGE, MapHow::Fixed), Err(Errno::EPERM));
    assert_eq!(
        anywhere(LOWEST_ADDRESS, 0, MapHow::Fixed),
        Err(Errno::EINVAL)
    );
    assert_eq!(anywhere(0, 1 << 47, MapHow::Anywhere), Err(Errno::ENOMEM));
    assert_eq!(anywhere(0, u64::MAX, MapHow::Anywhere), Err(Errno::ENOMEM));
    assert_eq!(
        anywhere(u64::MAX, PAGE, MapHow::Anywhere),
        Ok(top - 4 * PAGE)
    );
    assert_eq!(space.unmap(top - 2 * PAGE, PAGE), Ok(()));
    let again = space.map(0, PAGE, RW, Backing::Anonymous, MapHow::Anywhere);
    assert_eq!(again, Ok(top - 2 * PAGE));
    assert_eq!(space.unmap(BASE, 0), Err(Errno::EINVAL));
    assert_eq!(space.unmap(1, PAGE), Err(Errno::EINVAL));
    assert_eq!(space.unmap(BASE, u64::MAX), Err(Errno::EINVAL));
    check(&space);
}

#[test]
fn zeros_are_shared_until_written() {
    let before = frame_counts();
    let mut space = space();
    map(&mut space, 0, 1000, RW);
    for page in 0..1000 {
        assert_eq!(byte(&mut space, page), Ok(0));
    }
    let user = |counts: machine::FrameCounts| counts.by_kind[FrameKind::User as usize];
    assert_eq!(user(frame_counts()), user(before));
    assert_eq!(set(&mut space, 7, 9), Ok(()));
    assert_eq!((byte(&mut space, 6), byte(&mut space, 7)), (Ok(0), Ok(9)));
    assert_eq!(user(frame_counts()), user(before) + 1);
    let usage = space.usage();
    assert_eq!((usage.resident_pages, usage.private_pages), (1000, 1));
    check(&space);
    drop(space);
    assert_eq!(frame_counts(), before);
}

#[test]
fn rights_are_kept() {
    let mut space = space();
    map(&mut space, 0, 1, Access::READ);
    map(&mut space, 1, 1, Access::empty());
    map(&mut space, 2, 1, Access::WRITE);
    let mut fault = |page, access| space.fault(BASE + page * PAGE, access, &mut NoFiles);
    assert_eq!(fault(0, Access::READ), Ok(()));
    assert_eq!(fault(0, Access::WRITE), Err(Trouble::Segv));
    assert_eq!(fault(0, Access::EXECUTE), Err(Trouble::Segv));
    assert_eq!(fault(1, Access::READ), Err(Trouble::Segv));
    assert_eq!(fault(2, Access::READ), Ok(()));
    assert_eq!(fault(3, Access::READ), Err(Trouble::Segv));
    let nowhere = space.fault(u64::MAX, Access::READ, &mut NoFiles);
    assert_eq!(nowhere, Err(Trouble::Segv));
    assert_eq!(set(&mut space, 2, 5), Ok(()));
    for access in [Access::empty(), RW, Access::READ, RW] {
        assert_eq!(space.protect(BASE + 2 * PAGE, PAGE, access), Ok(()));
        check(&space);
        let wanted = if access.is_empty() {
            Err(Trouble::Segv)
        } else {
            Ok(5)
        };
        assert_eq!(byte(&mut space, 2), wanted);
    }
    assert_eq!(set(&mut space, 2, 6), Ok(()));
    assert!(space.is_mapped(BASE, 3 * PAGE) && !space.is_mapped(BASE, 3 * PAGE + 1));
}

#[test]
fn copies_cross_pages_wholly_or_not_at_all() {
    let mut space = space();
    map(&mut space, 0, 3, RW);
    map(&mut space, 3, 1, Access::READ);
    let bytes = pattern(2 * PAGE as usize);
    let at = BASE + 100;
    assert_eq!(space.write(at, &bytes, &mut NoFiles), Ok(()));
    let mut back = std::vec![0; bytes.len()];
    assert_eq!(space.read(at, &mut back, &mut NoFiles), Ok(()));
    assert_eq!(back, bytes);
    let long = std::vec![0xee; 3 * PAGE as usize];
    assert_eq!(space.write(at, &long, &mut NoFiles), Err(Trouble::Segv));
    assert_eq!(space.read(at, &mut back, &mut NoFiles), Ok(()));
    assert_eq!(back, bytes, "nothing was written");
    let wrap = space.write(u64::MAX - 2, &[0; 8], &mut NoFiles);
    assert_eq!(wrap, Err(Trouble::Segv));
    assert_eq!(space.read(u64::MAX, &mut [], &mut NoFiles), Ok(()));
    check(&space);
}

#[test]
fn strings() {
    let mut space = space();
    map(&mut space, 0, 2, RW);
    let end = BASE + 2 * PAGE;
    let write = space.write(BASE + PAGE - 3, b"a longer name\0x", &mut NoFiles);
    assert_eq!(write, Ok(()));
    let mut read = |address, max| space.read_string(address, max, &mut NoFiles);
    assert_eq!(read(BASE + PAGE - 3, 4096), Ok(b"a longer name".to_vec()));
    assert_eq!(read(BASE + PAGE - 3, 14), Ok(b"a longer name".to_vec()));
    assert_eq!(read(BASE + PAGE - 3, 13), Err(StringStop::TooLong));
    assert_eq!(read(end, 10), Err(Trouble::Segv.into()));
    assert_eq!(read(u64::MAX, 10), Err(Trouble::Segv.into()));
    assert_eq!(space.write(end - 2, b"zz", &mut NoFiles), Ok(()));
    let open = space.read_string(end - 2, 10, &mut NoFiles);
    assert_eq!(open, Err(Trouble::Segv.into()));
}

#[test]
fn fork_copies_when_written() {
    let before = frame_counts();
    let mut parent = space();
    map(&mut parent, 0, 4, RW);
    assert_eq!(
        (set(&mut parent, 0, 1), set(&mut parent, 1, 2)),
        (Ok(()), Ok(()))
    );
    let mut child = parent.fork().expect("memory");
    let used = frame_counts().by_kind[FrameKind::User as usize];
    assert_eq!(used, before.by_kind[FrameKind::User as usize] + 2);
    assert_eq!(set(&mut child, 0, 10), Ok(()));
    assert_eq!((byte(&mut parent, 0), byte(&mut child, 0)), (Ok(1), Ok(10)));
    assert_eq!(set(&mut parent, 1, 20), Ok(()));
    assert_eq!((byte(&mut parent, 1), byte(&mut child, 1)), (Ok(20), Ok(2)));
    // Left alone with a frame, the writer keeps it.
    let frame = |space: &Space| {
        space
            .table()
            .get(BASE)
            .map(|mapping| mapping.frame.number())
    };
    let kept = frame(&parent);
    assert_eq!(set(&mut parent, 0, 3), Ok(()));
    assert_eq!(frame(&parent), kept);
    check(&parent);
    check(&child);
    drop((parent, child));
    assert_eq!(frame_counts(), before);
}

#[test]
fn advice_about_forks_and_contents() {
    let mut parent = space();
    map(&mut parent, 0, 4, RW);
    for page in 0..4 {
        assert_eq!(set(&mut parent, page, 5), Ok(()));
    }
    let mut advise = |page, advice| parent.advise(BASE + page * PAGE, PAGE, advice);
    assert_eq!(advise(0, 10), Ok(()));
    assert_eq!(advise(1, 18), Ok(()));
    assert_eq!(advise(2, 4), Ok(()));
    assert_eq!(advise(3, 3), Ok(()));
    assert_eq!(advise(3, 9), Err(Errno::EINVAL));
    assert_eq!(advise(3, 1000), Err(Errno::EINVAL));
    assert_eq!(advise(4, 4), Err(Errno::ENOMEM));
    assert_eq!(parent.advise(BASE + 1, PAGE, 4), Err(Errno::EINVAL));
    let mut child = parent.fork().expect("memory");
    let contents = |space: &mut Space| [0, 1, 2, 3].map(|page| byte(space, page));
    assert_eq!(contents(&mut parent), [Ok(5), Ok(5), Ok(0), Ok(5)]);
    assert_eq!(
        contents(&mut child),
        [Err(Trouble::Segv), Ok(0), Ok(0), Ok(5)]
    );
    assert_eq!(parent.advise(BASE, 2 * PAGE, 11), Ok(()));
    assert_eq!(parent.advise(BASE, 2 * PAGE, 19), Ok(()));
    assert_eq!(show(&parent), "0-4rw-");
    check(&child);
}

#[test]
fn files_are_shown_lazily() {
    let mut files = Files::default();
    let bytes = pattern(3 * PAGE as usize + 100);
    let name = files.add(&bytes);
    let mut space = space();
    let length = 4 * PAGE;
    // Offset one page, visible 1.5 pages, then zeros.
    let backing = Backing::File(file(name, PAGE, PAGE + PAGE / 2));
    let mapped = space.map(BASE, length, RW, backing, MapHow::Fixed);
    assert_eq!(mapped, Ok(BASE));
    let mut seen = std::vec![0xff; length as usize];
    assert_eq!(space.read(BASE, &mut seen, &mut files), Ok(()));
    let (page, half) = (PAGE as usize, PAGE as usize / 2);
    assert_eq!(seen[..page + half], bytes[page..2 * page + half]);
    assert!(seen[page + half..].iter().all(|&byte| byte == 0));
    assert_eq!(space.usage().private_pages, 1, "only the page cut in two");
    assert_eq!(space.write(BASE, b"mine", &mut files), Ok(()));
    let mut other = Space::new().expect("memory");
    let whole = Backing::File(file(name, 0, 8 * PAGE));
    assert_eq!(
        other.map(BASE, 8 * PAGE, RW, whole, MapHow::Fixed),
        Ok(BASE)
    );
    let mut start = [0; 4];
    assert_eq!(other.read(BASE + PAGE, &mut start, &mut files), Ok(()));
    assert_eq!(start, bytes[page..page + 4], "the file did not change");
    let behind = other.read(BASE + 4 * PAGE, &mut start, &mut files);
    assert_eq!(behind, Err(Trouble::Bus));
    // Throwing the private copy away shows the file again.
    assert_eq!(space.advise(BASE, PAGE, 4), Ok(()));
    assert_eq!(space.read(BASE, &mut start, &mut files), Ok(()));
    assert_eq!(start, bytes[page..page + 4]);
    check(&space);
    check(&other);
}

#[test]
fn missing_files_are_asked_for() {
    let mut files = Files::default();
    let name = files.add(&pattern(2 * PAGE as usize));
    files.lose();
    let mut space = space();
    let backing = file(name, PAGE, 100);
    let mapped = space.map(BASE, PAGE, RW, Backing::File(backing), MapHow::Fixed);
    assert_eq!(mapped, Ok(BASE));
    let trouble = Trouble::FileMissing {
        page: BASE,
        backing,
        offset: PAGE,
    };
    let mut bytes = [0; 101];
    assert_eq!(space.read(BASE, &mut bytes, &mut files), Err(trouble));
    let frame = Frame::zeroed(FrameKind::Network).expect("memory");
    frame.write(0, &[7; 4096]);
    let again = frame.clone();
    use super::super::Installed;
    let part = (backing.home_file, PAGE);
    for other in [(backing.home_file + 1, PAGE), (backing.home_file, 0)] {
        let installed = space.install_file(BASE, other, frame.clone());
        assert_eq!(installed, Installed::NotWanted, "another part of a file");
    }
    assert_eq!(space.install_file(BASE, part, frame), Installed::Yes);
    assert_eq!(space.install_file(BASE, part, again), Installed::NotWanted);
    assert_eq!(space.read(BASE, &mut bytes, &mut files), Ok(()));
    assert_eq!((bytes[99], bytes[100]), (7, 0));
    check(&space);
}

#[test]
fn shared_memory_is_shared() {
    let before = frame_counts();
    let mut parent = space();
    let shared = Backing::SharedAnonymous {
        object: SharedObject::new(),
        first_page: 0,
    };
    let mapped = parent.map(BASE, 4 * PAGE, RW, shared, MapHow::Fixed);
    assert_eq!(mapped, Ok(BASE));
    assert_eq!(set(&mut parent, 1, 1), Ok(()));
    let mut child = parent.fork().expect("memory");
    assert_eq!(set(&mut child, 1, 2), Ok(()));
    assert_eq!(set(&mut child, 2, 3), Ok(()));
    assert_eq!((byte(&mut parent, 1), byte(&mut parent, 2)), (Ok(2), Ok(3)));
    assert_eq!(parent.advise(BASE, 4 * PAGE, 4), Ok(()));
    assert_eq!(parent.unmap(BASE, PAGE), Ok(()));
    assert_eq!((byte(&mut parent, 1), byte(&mut parent, 2)), (Ok(2), Ok(3)));
    assert_eq!(
        parent.obstacle(),
        Some("it shares more memory than home can name")
    );
    assert!(parent.export().is_err());
    // A second view of the same memory.
    let twin = parent
        .remap(BASE + 2 * PAGE, 0, PAGE, MAY_MOVE, 0)
        .expect("room");
    assert_eq!(parent.write(twin, &[8], &mut NoFiles), Ok(()));
    assert_eq!(byte(&mut child, 2), Ok(8));
    check(&parent);
    check(&child);
    // When the others are gone it is memory of this space, and moves.
    drop(child);
    assert_eq!(parent.unmap(twin, PAGE), Ok(()));
    assert_eq!(parent.prepare_to_move(), None);
    assert_eq!((byte(&mut parent, 1), byte(&mut parent, 2)), (Ok(2), Ok(8)));
    check(&parent);
    assert_eq!(parent.export().expect("movable").runs.len(), 1);
    // And shared again with the next child.
    let mut child = parent.fork().expect("memory");
    assert_eq!(set(&mut child, 3, 7), Ok(()));
    assert_eq!((byte(&mut parent, 1), byte(&mut parent, 3)), (Ok(2), Ok(7)));
    check(&child);
    drop((parent, child));
    assert_eq!(frame_counts(), before);
}

#[test]
fn shared_memory_of_one_space_is_its_own() {
    let mut space = space();
    let how = (MapHow::Fixed, AreaFlags::SHARED);
    let mapped = space.map_flagged(BASE, 4 * PAGE, RW, Backing::Anonymous, how);
    assert_eq!(mapped, Ok(BASE));
    assert_eq!(set(&mut space, 1, 1), Ok(()));
    assert_eq!(byte(&mut space, 2), Ok(0));
    assert_eq!(space.advise(BASE, 4 * PAGE, 4), Ok(()), "MADV_DONTNEED");
    assert_eq!(
        byte(&mut space, 1),
        Ok(1),
        "shared memory keeps its contents"
    );
    assert_eq!(space.obstacle(), None);
    let mut child = space.fork().expect("memory");
    assert_eq!(set(&mut child, 2, 5), Ok(()));
    assert_eq!(set(&mut space, 1, 6), Ok(()));
    assert_eq!((byte(&mut space, 2), byte(&mut child, 1)), (Ok(5), Ok(6)));
    assert!(space.obstacle().is_some());
    check(&space);
    check(&child);
}

#[test]
fn stacks_grow_as_far_as_they_may() {
    let mut space = space();
    let how = (MapHow::Fixed, AreaFlags::GROWS_DOWN);
    let top = BASE + (4 << 20);
    let mapped = space.map_flagged(top - PAGE, PAGE, RW, Backing::Anonymous, how);
    assert_eq!(mapped, Ok(top - PAGE));
    space.set_limits(SpaceLimits {
        stack: 2 << 20,
        ..SpaceLimits::default()
    });
    let touch = |space: &mut Space, down: u64| space.write(top - down, &[1], &mut NoFiles);
    assert_eq!(touch(&mut space, 10 * PAGE), Ok(()));
    assert_eq!(space.areas().count(), 1);
    assert_eq!(touch(&mut space, 2 << 20), Ok(()));
    assert_eq!(touch(&mut space, (2 << 20) + 1), Err(Trouble::Segv));
    // A gap stays to what is below.
    space.set_limits(SpaceLimits {
        stack: 64 << 20,
        ..SpaceLimits::default()
    });
    assert_eq!(
        space.map(BASE, PAGE, RW, Backing::Anonymous, MapHow::Fixed),
        Ok(BASE)
    );
    assert_eq!(touch(&mut space, (3 << 20) + PAGE), Err(Trouble::Segv));
    assert_eq!(touch(&mut space, (3 << 20) - PAGE), Ok(()));
    assert_eq!(space.protect(BASE, PAGE, Access::empty()), Ok(()));
    assert_eq!(touch(&mut space, (3 << 20) + PAGE), Ok(()));
    check(&space);
}

#[test]
fn limits_refuse_growth_only() {
    let mut space = space();
    map(&mut space, 0, 4, RW);
    space.set_limits(SpaceLimits {
        address_space: 6 * PAGE,
        data: 5 * PAGE,
        ..SpaceLimits::default()
    });
    let mut more = |place: u64, pages: u64, access| {
        let place = BASE + place * PAGE;
        space.map(
            place,
            pages * PAGE,
            access,
            Backing::Anonymous,
            MapHow::Fixed,
        )
    };
    assert_eq!(more(10, 2, RW), Err(Errno::ENOMEM), "RLIMIT_DATA");
    assert!(more(10, 2, Access::READ).is_ok());
    assert_eq!(more(20, 1, Access::READ), Err(Errno::ENOMEM), "RLIMIT_AS");
    assert!(more(10, 2, Access::READ).is_ok(), "in the place of as much");
    let grown = space.remap(BASE, 4 * PAGE, 5 * PAGE, 0, 0);
    assert_eq!(grown, Err(MapStop::Errno(Errno::ENOMEM)));
}

#[test]
fn locked_memory_is_counted() {
    let mut space = space();
    map(&mut space, 0, 8, RW);
    space.set_limits(SpaceLimits {
        locked: 4 * PAGE,
        ..SpaceLimits::default()
    });
    assert_eq!(space.lock(BASE + 1, 4 * PAGE, true), Err(Errno::ENOMEM));
    assert_eq!(space.lock(BASE + 1, 3 * PAGE, true), Ok(()));
    assert_eq!(space.usage().locked_bytes, 4 * PAGE);
    assert_eq!(space.lock(BASE, 4 * PAGE, true), Ok(()), "locked already");
    assert_eq!(space.lock(BASE + 4 * PAGE, 1, true), Err(Errno::ENOMEM));
    assert_eq!(space.advise(BASE, PAGE, 4), Err(Errno::EINVAL));
    assert_eq!(space.lock(BASE, 2 * PAGE, false), Ok(()));
    assert_eq!(space.usage().locked_bytes, 2 * PAGE);
    assert_eq!(
        space.lock(BASE, 9 * PAGE, false),
        Err(Errno::ENOMEM),
        "a hole"
    );
    assert_eq!(space.lock_all(2), Ok(()));
    let next = space.map(0, 3 * PAGE, RW, Backing::Anonymous, MapHow::Anywhere);
    assert_eq!(next, Err(Errno::EAGAIN));
    assert_eq!(space.lock_all(0), Ok(()));
    assert_eq!(space.usage().locked_bytes, 0);
    check(&space);
}

struct OnePage(Frame);

impl SharedPages for OnePage {
    fn page(&self, index: u64) -> Result<Frame, FetchStop> {
        (index == 0).then(|| self.0.clone()).ok_or(FetchStop::Bus)
    }
}

#[test]
fn a_shared_file_is_written_in_place() {
    let storage = Frame::zeroed(FrameKind::Cache).expect("memory");
    let backing = |writable| Backing::SharedFile {
        pages: Arc::new(OnePage(storage.clone())),
        first_page: 0,
        home_file: 3,
        writable,
    };
    let mut space = space();
    let refused = space.map(BASE, PAGE, RW, backing(false), MapHow::Fixed);
    assert_eq!(refused, Err(Errno::EACCES));
    let mapped = space.map(BASE, PAGE, Access::READ, backing(false), MapHow::Fixed);
    assert_eq!(mapped, Ok(BASE));
    assert_eq!(space.protect(BASE, PAGE, RW), Err(Errno::EACCES));
    let mapped = space.map(BASE, 2 * PAGE, RW, backing(true), MapHow::Fixed);
    assert_eq!(mapped, Ok(BASE));
    assert_eq!(set(&mut space, 0, 4), Ok(()));
    assert_eq!(set(&mut space, 1, 4), Err(Trouble::Bus));
    let mut first = [0];
    storage.read(0, &mut first);
    assert_eq!(first, [4]);
}

#[test]
fn the_break() {
    let mut space = space();
    let start = space.set_break(0);
    assert_eq!(start, LOWEST_ADDRESS);
    assert_eq!(space.set_break(start + 5000), start + 5000);
    assert_eq!(space.write(start + 4999, &[1], &mut NoFiles), Ok(()));
    assert_eq!(
        space.areas().next().and_then(|area| area.label()),
        Some("[heap]")
    );
    let high = start + 100 * PAGE;
    let other = space.map(high, PAGE, RW, Backing::Anonymous, MapHow::Fixed);
    assert_eq!(other, Ok(high));
    assert_eq!(
        space.set_break(high + 1),
        start + 5000,
        "something is in the way"
    );
    assert_eq!(space.set_break(u64::MAX), start + 5000);
    assert_eq!(space.set_break(start - 1), start + 5000);
    assert_eq!(space.set_break(start + 10), start + 10);
    assert_eq!(space.set_break(start + 5000), start + 5000);
    let mut byte = [9];
    assert_eq!(space.read(start + 4999, &mut byte, &mut NoFiles), Ok(()));
    assert_eq!(byte, [0], "what was given back comes back empty");
    check(&space);
}

#[test]
fn several_mappings_move_at_once() {
    let mut space = space();
    for (page, access) in [(0, RW), (1, Access::READ), (3, RW)] {
        map(&mut space, page, 1, access);
    }
    map(&mut space, 11, 3, RW);
    let at = |page: u64| BASE + page * PAGE;
    let moved = space.remap(at(0), 4 * PAGE, 4 * PAGE, MOVE_FIXED, at(10));
    assert_eq!(moved, Ok(at(10)));
    // In the gap stays what was there.
    assert_eq!(show(&space), "10-11rw- 11-12r-- 12-14rw-");
    let less = space.remap(at(10), 9 * PAGE, PAGE, MOVE_FIXED, at(20));
    assert_eq!(less, Ok(at(20)));
    assert_eq!(show(&space), "20-21rw-");
}

#[test]
fn remapping() {
    let mut space = space();
    map(&mut space, 0, 4, RW);
    for page in 0..4 {
        assert_eq!(set(&mut space, page, page as u8 + 1), Ok(()));
    }
    let at = |page: u64| BASE + page * PAGE;
    let frame = space.table().get(at(3)).expect("mapped").frame.number();
    let mut remap =
        |old, from, to, flags, place| space.remap(at(old), from * PAGE, to * PAGE, flags, place);
    let error = |errno| Err(MapStop::Errno(errno));
    assert_eq!(remap(0, 4, 6, 0, 0), Ok(at(0)));
    assert_eq!(remap(0, 6, 5, 0, 0), Ok(at(0)));
    assert_eq!(remap(4, 2, 3, MAY_MOVE, 0), error(Errno::EFAULT));
    assert_eq!(remap(9, 1, 2, MAY_MOVE, 0), error(Errno::EFAULT));
    assert_eq!(remap(0, 1, 0, 0, 0), error(Errno::EINVAL));
    assert_eq!(remap(0, 0, 1, MAY_MOVE, 0), error(Errno::EINVAL));
    assert_eq!(remap(0, 1, 1, 2, at(20)), error(Errno::EINVAL));
    assert_eq!(remap(0, 1, 1, 15, at(20)), error(Errno::EINVAL));
    assert_eq!(remap(0, 1, 2, 5, 0), error(Errno::EINVAL));
    assert_eq!(remap(0, 1, 2, 0, 0), error(Errno::ENOMEM));
    assert_eq!(remap(0, 2, 2, MOVE_FIXED, at(1)), error(Errno::EINVAL));
    assert_eq!(remap(9, 2, 2, MOVE_FIXED, at(8)), error(Errno::EINVAL));
    assert_eq!(remap(0, 2, 2, MOVE_FIXED, 0), error(Errno::EPERM));
    assert_eq!(remap(2, 2, 3, MOVE_FIXED, at(10)), Ok(at(10)));
    assert_eq!(show(&space), "0-2rw- 4-5rw- 10-13rw-");
    assert_eq!((byte(&mut space, 10), byte(&mut space, 11)), (Ok(3), Ok(4)));
    let moved = space.table().get(at(11)).expect("mapped").frame.number();
    assert_eq!(moved, frame, "the frame moved, not its contents");
    let place = space
        .remap(at(0), 2 * PAGE, 8 * PAGE, MAY_MOVE, 0)
        .expect("room");
    assert_eq!(place, space.layout().map_top - 8 * PAGE);
    assert_eq!(byte(&mut space, 0), Err(Trouble::Segv));
    let mut second = [0];
    assert_eq!(space.read(place + PAGE, &mut second, &mut NoFiles), Ok(()));
    assert_eq!(second, [2]);
    check(&space);
}

#[test]
fn without_memory_nothing_changes() {
    let mut parent = space();
    map(&mut parent, 0, 4, RW);
    assert_eq!(set(&mut parent, 0, 1), Ok(()));
    set_total_frames(0);
    assert_eq!(set(&mut parent, 1, 1), Err(Trouble::NoMemory));
    assert_eq!(byte(&mut parent, 1), Ok(0));
    set_total_frames(65_536);
    let mut child = parent.fork().expect("memory");
    set_total_frames(0);
    assert_eq!(set(&mut child, 0, 2), Err(Trouble::NoMemory));
    assert_eq!((byte(&mut parent, 0), byte(&mut child, 0)), (Ok(1), Ok(1)));
    drop(parent);
    assert_eq!(set(&mut child, 0, 2), Ok(()), "alone, no copy is needed");
    check(&child);
    set_total_frames(65_536);
}
