//! What may be lent of files, and what comes of what was done elsewhere.

use super::*;
use crate::files::{Behind, Inode};
use machine::{Frame, FrameKind, PAGE_SIZE};

fn version(node: &Node, fd: u64) -> Option<u64> {
    let file = node.state.get(fd as u32).expect("it is open");
    Inode::version(file.inode())
}

#[test]
fn every_change_of_the_contents_is_another_version() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", 0o102);
    let mut last = version(&node, fd).expect("an ordinary file");
    let mut changed = |node: &Node| {
        let now = version(node, fd).expect("an ordinary file");
        core::mem::replace(&mut last, now) != now
    };
    node.write(fd, b"some bytes").ok();
    assert!(changed(&node));
    node.call(calls::ftruncate, &[N(fd), N(4)]).ok();
    assert!(changed(&node));
    node.call(calls::fallocate, &[N(fd), N(3), N(0), N(2)]).ok();
    assert!(changed(&node), "a hole is punched");
    node.call(calls::lseek, &[N(fd), N(0), N(0)]).ok();
    node.read(fd, 4).ok();
    node.call(calls::fsync, &[N(fd)]).ok();
    assert!(!changed(&node), "reading changes nothing");
    let file = node.state.get(fd as u32).expect("it is open");
    file.inode().page_for_write(0).expect("there is a page");
    assert_eq!(version(&node, fd), None, "a program may write to the page");
    assert!(node.state.lend_to_read(fd as u32, false).is_none());
}

#[test]
fn a_cursor_of_two_is_not_lent() {
    let mut node = Node::new(&[]);
    node.put_file("/f", b"some bytes");
    let fd = node.open("/f", 2);
    assert!(node.state.lend_to_read(fd as u32, false).is_some());
    let child = node.state.clone();
    assert!(node.state.lend_to_read(fd as u32, false).is_none());
    assert!(
        node.state.lend_to_read(fd as u32, true).is_some(),
        "whose reads are placed may have it"
    );
    assert!(node.state.lend_to_write(fd as u32).is_some());
    drop(child);
    assert!(node.state.lend_to_read(fd as u32, false).is_some());
    let again = node.call(calls::dup, &[N(fd)]).ok();
    assert!(node.state.lend_to_read(fd as u32, false).is_none());
    node.call(calls::close, &[N(again)]).ok();
    node.state.read_elsewhere(fd as u32, 5, Default::default());
    assert_eq!(node.read(fd, 10).bytes(1), b"bytes");
    node.state.largest_file = 1 << 30;
    assert!(node.state.lend_to_write(fd as u32).is_none());
    let reader = node.open("/f", 0);
    assert!(node.state.lend_to_write(reader as u32).is_none());
}

fn pages(bytes: &[u8]) -> Vec<Frame> {
    let page = |piece: &[u8]| {
        let frame = Frame::zeroed(FrameKind::Network).expect("there is memory");
        frame.write(0, piece);
        frame
    };
    bytes.chunks(PAGE_SIZE).map(page).collect()
}

/// Pages that fall on pages of the file and such that do not, beyond the end and over what is there.
#[test]
fn what_is_written_elsewhere_is_as_if_written_here() {
    let bytes: Vec<u8> = (0..20_000_u32).map(|at| (at / 7) as u8 | 1).collect();
    for (start, length) in [
        (0, 20_000),
        (0, 8192),
        (4096, 8192),
        (100, 9000),
        (30_000, 5000),
    ] {
        for cursor in [false, true] {
            let mut node = Node::new(&[]);
            node.put_file("/here", &[9; 12_345]);
            node.put_file("/there", &[9; 12_345]);
            let (here, there) = (node.open("/here", 2), node.open("/there", 2));
            for fd in [here, there] {
                node.call(calls::lseek, &[N(fd), N(start), N(0)]).ok();
            }
            let piece = &bytes[..length];
            let args = [N(here), In(piece), N(length as u64), N(start)];
            node.call(calls::pwrite64, &args).ok();
            let what = Behind {
                at: (!cursor).then_some(start),
                pages: pages(piece),
                length,
                bytes: &[],
            };
            let done = (Default::default(), true);
            let spare = &mut Vec::new();
            let written = node
                .state
                .written_elsewhere(there as u32, what, spare, done);
            assert_eq!(written, Ok(length));
            assert_eq!(node.get_file("/there"), node.get_file("/here"));
            let offset = node.call(calls::lseek, &[N(there), N(0), N(1)]).ok();
            assert_eq!(offset, start + if cursor { length as u64 } else { 0 });
        }
    }
}

/// Where there is no memory at all, spare frames serve.
#[test]
fn what_was_promised_fits() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", 0o102);
    let spare = |_| Frame::zeroed(FrameKind::Cache).expect("there is memory");
    let mut spare: Vec<Frame> = (0..4).map(spare).collect();
    let frames = pages(&[7; 3 * PAGE_SIZE]);
    machine::fake::set_total_frames(0);
    let what = Behind {
        at: Some(1000),
        pages: frames,
        length: 3 * PAGE_SIZE,
        bytes: &[],
    };
    let done = (Default::default(), true);
    let written = node
        .state
        .written_elsewhere(fd as u32, what, &mut spare, done);
    assert_eq!(written, Ok(3 * PAGE_SIZE));
    machine::fake::set_total_frames(1 << 16);
    let file = node.get_file("/f");
    assert!(file[..1000].iter().all(|&byte| byte == 0));
    assert!(file[1000..].iter().all(|&byte| byte == 7) && file.len() == 1000 + 3 * PAGE_SIZE);
}

/// Somebody who watches files is told of every read and write, also of those elsewhere.
#[test]
fn nothing_is_lent_while_files_are_watched() {
    let mut node = Node::new(&[]);
    node.put_file("/f", b"some bytes");
    let fd = node.open("/f", 2);
    assert!(node.state.lend_to_read(fd as u32, false).is_some());
    let before = crate::files::changes();
    let watcher = node.call(calls::inotify_init1, &[N(0o4000)]).ok();
    let args = [N(watcher), In(b"/f"), N(3)];
    node.call(calls::inotify_add_watch, &args).ok();
    assert!(
        crate::files::changes() > before,
        "lent windows are looked at"
    );
    assert_eq!(version(&node, fd), None);
    assert!(node.state.lend_to_read(fd as u32, false).is_none());
    assert!(node.state.lend_to_write(fd as u32).is_none());
    assert_eq!(node.read(watcher, 100).errno(), Errno::EAGAIN);
    node.state.read_elsewhere(fd as u32, 5, Default::default());
    assert_eq!(node.read(watcher, 100).bytes(1)[4..8], [1, 0, 0, 0]);
}

/// Pages go without a copy, and whatever then becomes of the file, who got them has what it was.
#[test]
fn a_page_that_is_lent_stays_what_it_was() {
    const LENGTH: u64 = 3 * PAGE_SIZE as u64;
    let byte = |frame: &Frame, at: usize| {
        let mut byte = [0];
        frame.read(at, &mut byte);
        byte[0]
    };
    let mut node = Node::new(&[]);
    let fd = node.open("/f", 0o102);
    node.write(fd, &[1; LENGTH as usize]).ok();
    let file = node.state.get(fd as u32).expect("it is open");
    let inode = file.inode();
    let lend = |index| inode.lend_page(index).expect("there is memory");
    let put = |node: &mut Node, value: u8, at: u64| {
        let args = [N(fd), In(&[value]), N(1), N(at)];
        node.call(calls::pwrite64, &args).ok();
    };

    let lent = lend(0);
    assert_eq!(lent, lend(0), "no copy");
    put(&mut node, 2, 5);
    assert_eq!((byte(&lent, 5), node.get_file("/f")[5]), (1, 2));
    let (old, number) = (lent, lend(0).number());
    put(&mut node, 3, 5);
    assert_eq!(lend(0).number(), number, "nobody has it any more");
    assert_eq!((byte(&old, 5), byte(&lend(0), 5)), (1, 3));

    let mapped = inode.page(1).expect("there is memory");
    let lent = lend(1);
    put(&mut node, 4, 4096);
    assert_eq!((byte(&lent, 0), byte(&mapped, 0)), (1, 4), "mapped first");
    let lent = lend(2);
    let mapped = inode.page(2).expect("there is memory");
    put(&mut node, 5, 2 * 4096);
    assert_eq!((byte(&lent, 0), byte(&mapped, 0)), (1, 5), "lent first");
    drop(mapped);

    let lent = lend(2);
    for (at, length) in [(2 * 4096, 10), (2 * 4096, 4096)] {
        node.call(calls::fallocate, &[N(fd), N(3), N(at), N(length)])
            .ok();
        assert_eq!((byte(&lent, 0), byte(&lent, 20)), (5, 1), "punched");
    }
    assert_eq!(byte(&lend(2), 20), 0);
    put(&mut node, 6, 2 * 4096 + 7);
    let lent = lend(2);
    node.call(calls::ftruncate, &[N(fd), N(2 * 4096 + 3)]).ok();
    node.call(calls::ftruncate, &[N(fd), N(LENGTH)]).ok();
    assert_eq!((byte(&lent, 7), byte(&lend(2), 7)), (6, 0), "cut");
}
