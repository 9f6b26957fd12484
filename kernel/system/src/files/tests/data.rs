//! Contents of files: reading, writing, seeking, sizes, attributes, descriptors.

use super::*;
use crate::files::storage::Piece;
use machine::FrameKind;

#[test]
fn open_flags() {
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/d").ok();
    assert_eq!(node.try_open("/f", 0).errno(), Errno::ENOENT);
    assert_eq!(node.open("/f", 0o301), 0);
    assert_eq!(node.try_open("/f", 0o301).errno(), Errno::EEXIST);
    assert_eq!(node.try_open("/f/x", 0o101).errno(), Errno::ENOTDIR);
    assert_eq!(node.try_open("/new/", 0o101).errno(), Errno::EISDIR);
    assert_eq!(node.try_open("/f", 0o200_000).errno(), Errno::ENOTDIR);
    assert_eq!(node.try_open("/d", 1).errno(), Errno::EISDIR);
    // A file without a name, which gets one.
    assert_eq!(node.try_open("/d", 0o20_200_000).errno(), Errno::EINVAL);
    let nameless = node.open("/d", 0o20_200_002);
    assert_eq!(node.write(nameless, b"late").ok(), 4);
    assert_eq!(node.list("/d", 100), [".", ".."]);
    let args = [
        N(nameless),
        In(b""),
        N(-100i64 as u64),
        In(b"/d/named"),
        N(0x1000),
    ];
    node.call(calls::linkat, &args).ok();
    assert_eq!(node.get_file("/d/named"), b"late");
    assert_eq!(node.lstat("/d/named").links, 1);
    assert_eq!(node.try_open("", 0).errno(), Errno::ENOENT);
    let path = "x".repeat(256);
    assert_eq!(node.try_open(&path, 0o101).errno(), Errno::ENAMETOOLONG);
    let path = "/d/".repeat(2000);
    assert_eq!(node.try_open(&path, 0).errno(), Errno::ENAMETOOLONG);
    // The mode goes through the umask.
    assert_eq!(node.call(calls::umask, &[N(0o077)]).ok(), 0o022);
    node.open("/private", 0o101);
    assert_eq!(node.lstat("/private").mode, 0o100_600);
    // Links: followed, made through, or refused.
    node.two_paths(calls::symlink, "target", "/l").ok();
    assert_eq!(node.try_open("/l", 0o400_000).errno(), Errno::ELOOP);
    assert_eq!(node.try_open("/l", 0o301).errno(), Errno::EEXIST);
    node.open("/l", 0o101);
    assert_eq!(node.lstat("/target").size, 0);
    node.two_paths(calls::symlink, "loop", "/loop").ok();
    assert_eq!(node.try_open("/loop", 0).errno(), Errno::ELOOP);
    // Truncation.
    node.put_file("/f", b"something");
    node.put_file("/f", b"less");
    assert_eq!(node.get_file("/f"), b"less");
}

#[test]
fn reads_and_writes_follow_the_access_mode() {
    let mut node = Node::new(&[]);
    let write = node.open("/f", 0o101);
    let read = node.open("/f", 0);
    assert_eq!(node.read(write, 1).errno(), Errno::EBADF);
    assert_eq!(node.write(read, b"x").errno(), Errno::EBADF);
    assert_eq!(node.read(99, 1).errno(), Errno::EBADF);
    assert_eq!(node.read(u64::MAX, 1).errno(), Errno::EBADF);
    assert_eq!(node.write(write, b"hello").ok(), 5);
    assert_eq!(node.read(read, 3).bytes(1), b"hel");
    assert_eq!(node.read(read, 30).bytes(1), b"lo");
    assert_eq!(node.read(read, 30).bytes(1), b"");
    let directory = node.open("/", 0);
    assert_eq!(node.read(directory, 3).errno(), Errno::EISDIR);
    let handle = node.open("/f", 0o10_000_000);
    assert_eq!(node.read(handle, 3).errno(), Errno::EBADF);
}

#[test]
fn append_and_positions() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT | 0o2000);
    node.write(fd, b"one").ok();
    let seek = |node: &mut Node, by: i64, whence: u64| {
        node.call(calls::lseek, &[N(fd), N(by as u64), N(whence)])
    };
    assert_eq!(seek(&mut node, 0, 0).ok(), 0);
    node.write(fd, b"two").ok();
    assert_eq!(node.get_file("/f"), b"onetwo");
    assert_eq!(seek(&mut node, 0, 1).ok(), 6);
    assert_eq!(seek(&mut node, -2, 2).ok(), 4);
    assert_eq!(node.read(fd, 9).bytes(1), b"wo");
    assert_eq!(seek(&mut node, -1, 0).errno(), Errno::EINVAL);
    assert_eq!(seek(&mut node, i64::MAX, 1).errno(), Errno::EINVAL);
    assert_eq!(seek(&mut node, 0, 9).errno(), Errno::EINVAL);
    assert_eq!(seek(&mut node, 2, 3).ok(), 2);
    assert_eq!(seek(&mut node, 2, 4).ok(), 6);
    assert_eq!(seek(&mut node, 6, 3).errno(), Errno::ENXIO);
    let args = [N(fd), Out(3), N(3), N(2)];
    assert_eq!(node.call(calls::pread64, &args).bytes(1), b"etw");
    let args = [N(fd), Out(3), N(3), N(u64::MAX)];
    assert_eq!(node.call(calls::pread64, &args).errno(), Errno::EINVAL);
}

#[test]
fn sparse_files_hold_only_what_was_written() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    let before = machine::frame_counts().by_kind[FrameKind::Cache as usize];
    let far = 1u64 << 40;
    node.call(calls::pwrite64, &[N(fd), In(b"end"), N(3), N(far)])
        .ok();
    let status = node.lstat("/f");
    assert_eq!((status.size, status.blocks), (far + 3, 8));
    let args = [N(fd), Out(6), N(6), N(far - 3)];
    assert_eq!(node.call(calls::pread64, &args).bytes(1), b"\0\0\0end");
    node.call(calls::ftruncate, &[N(fd), N(far + 1)]).ok();
    node.call(calls::ftruncate, &[N(fd), N(far + 3)]).ok();
    let args = [N(fd), Out(6), N(6), N(far)];
    assert_eq!(node.call(calls::pread64, &args).bytes(1), b"e\0\0");
    node.call(calls::ftruncate, &[N(fd), N(0)]).ok();
    let after = machine::frame_counts().by_kind[FrameKind::Cache as usize];
    assert_eq!((node.lstat("/f").blocks, after), (0, before));
    let args = [N(fd), In(b"x"), N(1), N(i64::MAX as u64)];
    assert_eq!(node.call(calls::pwrite64, &args).errno(), Errno::EINVAL);
    let args = [N(fd), Out(1), N(1), N(i64::MAX as u64)];
    assert_eq!(node.call(calls::pread64, &args).errno(), Errno::EINVAL);
    assert_eq!(
        node.call(calls::ftruncate, &[N(fd), N(u64::MAX)]).errno(),
        Errno::EINVAL
    );
}

#[test]
fn files_may_have_half_of_memory() {
    machine::fake::set_total_frames(20);
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    assert_eq!(node.write(fd, &[1; 60_000]).ok(), 40_960);
    assert_eq!(node.write(fd, &[1; 10]).errno(), Errno::ENOSPC);
    node.path_call(calls::unlink, "/f").ok();
    assert_eq!(node.write(fd, &[1; 10]).errno(), Errno::ENOSPC);
    node.close(fd);
    node.put_file("/g", &[1; 40_000]);
}

#[test]
fn contents_against_a_model() {
    let base = vec![3u8; 9000];
    let mut node = Node::new(leak(tar(&[(b'0', "f", &base)])));
    let mut model = base;
    let fd = node.open("/f", 2);
    let mut dice = Dice(42);
    for _ in 0..3000 {
        let offset = dice.below(20_000);
        let length = dice.below(6000) as usize;
        match dice.below(5) {
            0 => {
                node.call(calls::ftruncate, &[N(fd), N(offset)]).ok();
                model.resize(offset as usize, 0);
            }
            1 | 2 => {
                let bytes = vec![dice.below(256) as u8; length];
                let args = [N(fd), In(&bytes), N(length as u64), N(offset)];
                assert_eq!(node.call(calls::pwrite64, &args).ok(), length as u64);
                let end = offset as usize + length;
                if length > 0 {
                    model.resize(model.len().max(end), 0);
                    model[offset as usize..end].copy_from_slice(&bytes);
                }
            }
            _ => {
                let args = [N(fd), Out(length), N(length as u64), N(offset)];
                let start = model.len().min(offset as usize);
                let end = model.len().min(start + length);
                assert_eq!(
                    node.call(calls::pread64, &args).bytes(1),
                    &model[start..end]
                );
            }
        }
        assert_eq!(node.lstat("/f").size, model.len() as u64);
        // The short way gives all of what is asked for, or nothing.
        let (offset, length) = (dice.below(20_000), dice.below(600) as usize);
        let start = model.len().min(offset as usize);
        let expected = &model[start..model.len().min(start + length)];
        let file = node.state.get(fd as u32).expect("open");
        let data = file.inode().data().expect("a file");
        match data.piece(offset, length) {
            Some(Piece::Page(frame, within, length)) => {
                let mut bytes = vec![0; length];
                frame.read(within, &mut bytes);
                assert_eq!(bytes, expected);
            }
            Some(Piece::Image(bytes)) => assert_eq!(bytes, expected),
            None => {}
        }
    }
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    node.path_call(calls::unlink, "/f").ok();
    node.write(fd, b"still").ok();
    let args = [N(fd), Out(9), N(9), N(0)];
    assert_eq!(node.call(calls::pread64, &args).bytes(1), b"still");
    let status = Stat::parse(&node.call(calls::fstat, &[N(fd), Out(144)]).bytes(1));
    assert_eq!((status.links, status.size), (0, 5));
    assert_eq!(
        node.state.describe(fd as u32).as_deref(),
        Ok(&b"/f (deleted)"[..])
    );
    let frames = || machine::frame_counts().by_kind[FrameKind::Cache as usize];
    assert_eq!(frames(), 1);
    node.close(fd);
    assert_eq!(frames(), 0);
}

#[test]
fn devices() {
    let mut node = Node::new(&[]);
    let expected: [(&str, &[u8]); 4] = [
        ("/dev/null", b""),
        ("/dev/zero", &[0; 4]),
        ("/dev/full", &[0; 4]),
        ("/dev/urandom", &[0x55; 4]),
    ];
    for (path, contents) in expected {
        let fd = node.open(path, 2);
        assert_eq!(node.read(fd, 4).bytes(1), contents, "{path}");
        let written = node.write(fd, b"abc").result;
        match path {
            "/dev/full" => assert_eq!(written, Err(Errno::ENOSPC.into())),
            _ => assert_eq!(written, Ok(3)),
        }
        assert_eq!(node.call(calls::lseek, &[N(fd), N(5), N(0)]).ok(), 0);
        let status = node.call(calls::ioctl, &[N(fd), N(0x5401), Out(36)]);
        assert_eq!(status.errno(), Errno::ENOTTY);
    }
    let null = node.lstat("/dev/null");
    assert_eq!((null.mode, null.special), (0o020_666, 0x103));
}

#[test]
fn duplicates_share_the_offset_and_not_the_flag() {
    let mut node = Node::new(&[]);
    node.put_file("/f", b"abcdef");
    let fd = node.open("/f", 0o2_000_000);
    let copy = node.call(calls::dup, &[N(fd)]).ok();
    assert_eq!(node.read(fd, 2).bytes(1), b"ab");
    assert_eq!(node.read(copy, 2).bytes(1), b"cd");
    let child = node.state.clone();
    assert_eq!(child.get(fd as u32).expect("open").offset(), 4);
    let fcntl = |node: &mut Node, fd: u64, command: u64, argument: u64| {
        node.call(calls::fcntl, &[N(fd), N(command), N(argument)])
    };
    assert_eq!(fcntl(&mut node, fd, 1, 0).ok(), 1);
    assert_eq!(fcntl(&mut node, copy, 1, 0).ok(), 0);
    assert_eq!(fcntl(&mut node, fd, 1030, 10).ok(), 10);
    assert_eq!(fcntl(&mut node, fd, 0, 10).ok(), 11);
    assert_eq!(fcntl(&mut node, fd, 0, 1024).errno(), Errno::EINVAL);
    assert_eq!(fcntl(&mut node, fd, 4, 0o6000).ok(), 0);
    assert_eq!(fcntl(&mut node, copy, 3, 0).ok(), 0o106_000);
    assert_eq!(fcntl(&mut node, fd, 1032, 0).errno(), Errno::EBADF);
    assert_eq!(node.call(calls::dup2, &[N(fd), N(fd)]).ok(), fd);
    assert_eq!(
        node.call(calls::dup2, &[N(50), N(50)]).errno(),
        Errno::EBADF
    );
    assert_eq!(
        node.call(calls::dup2, &[N(fd), N(1024)]).errno(),
        Errno::EBADF
    );
    assert_eq!(node.call(calls::dup2, &[N(fd), N(50)]).ok(), 50);
    let same = node.call(calls::dup3, &[N(fd), N(fd), N(0)]);
    assert_eq!(same.errno(), Errno::EINVAL);
    node.call(calls::dup3, &[N(fd), N(51), N(0o2_000_000)]).ok();
    node.state.close_on_exec();
    assert_eq!(node.state.open_descriptors(), [copy as u32, 11, 50]);
    node.state.set_limit(12);
    for _ in 0..10 {
        node.call(calls::dup, &[N(copy)]).ok();
    }
    assert_eq!(node.call(calls::dup, &[N(copy)]).errno(), Errno::EMFILE);
    assert_eq!(node.try_open("/f", 0).errno(), Errno::EMFILE);
    assert_eq!(node.call(calls::pipe, &[Out(8)]).errno(), Errno::EMFILE);
}

#[test]
fn how_long_contents_will_be_of_use_is_kept_for_all_who_open_the_file() {
    const GET: u64 = 1035;
    const SET: u64 = 1036;
    let mut node = Node::new(&[]);
    node.put_file("/f", b"");
    let (fd, other) = (node.open("/f", 0), node.open("/f", 2));
    let set = |node: &mut Node, hint: u64| {
        let hint = hint.to_le_bytes();
        node.call(calls::fcntl, &[N(fd), N(SET), In(&hint)])
    };
    let get = |node: &mut Node| {
        let told = node.call(calls::fcntl, &[N(other), N(GET), Out(8)]);
        told.bytes(2).to_vec()
    };
    assert_eq!(get(&mut node), [0; 8]);
    set(&mut node, 3).ok();
    assert_eq!(get(&mut node), [3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(set(&mut node, 6).errno(), Errno::EINVAL);
    // Those of an open file are gone from Linux.
    for gone in [1037, 1038] {
        let none = node.call(calls::fcntl, &[N(fd), N(gone), N(0)]);
        assert_eq!(none.errno(), Errno::EINVAL);
    }
}

#[test]
fn copies_inside_the_kernel() {
    let mut node = Node::new(&[]);
    node.put_file("/from", b"0123456789");
    let from = node.open("/from", 2);
    let to = node.open("/to", RDWR_CREAT);
    node.read(from, 2).ok();
    let args = [N(to), N(from), Null, N(3)];
    assert_eq!(node.call(calls::sendfile, &args).ok(), 3);
    let offset = 7u64.to_le_bytes();
    let args = [N(to), N(from), InOut(&offset), N(100)];
    assert_eq!(
        node.call(calls::sendfile, &args).bytes(2),
        10u64.to_le_bytes()
    );
    assert_eq!(node.read(from, 2).bytes(1), b"56");
    assert_eq!(node.get_file("/to"), b"234789");
    let args = [N(from), InOut(&[0; 8]), N(to), Null, N(2), N(0)];
    assert_eq!(
        node.call(calls::copy_file_range, &args).bytes(1),
        2u64.to_le_bytes()
    );
    assert_eq!(node.get_file("/to"), b"23478901");
    let args = [N(from), InOut(&[0; 8]), N(from), InOut(&[0; 8]), N(2), N(0)];
    assert_eq!(
        node.call(calls::copy_file_range, &args).errno(),
        Errno::EINVAL
    );
    let args = [N(to), N(99), Null, N(3)];
    assert_eq!(node.call(calls::sendfile, &args).errno(), Errno::EBADF);
    let (read, _) = pipe(&mut node, 0);
    let args = [N(to), N(read), InOut(&[0; 8]), N(3)];
    assert_eq!(node.call(calls::sendfile, &args).errno(), Errno::ESPIPE);
    let args = [N(from), N(0), N(8), N(8)];
    assert_eq!(node.call(calls::fallocate, &args).ok(), 0);
    assert_eq!(node.get_file("/from"), b"0123456789\0\0\0\0\0\0");
    let args = [N(from), N(1), N(8), N(80)];
    node.call(calls::fallocate, &args).ok();
    assert_eq!(node.lstat("/from").size, 16);
    let args = [N(from), N(2), N(8), N(8)];
    assert_eq!(
        node.call(calls::fallocate, &args).errno(),
        Errno::EOPNOTSUPP
    );
}

#[test]
fn the_last_page_of_a_file_can_be_a_hole_too() {
    const PAGE: u64 = 4096;
    let mut node = Node::new(&[]);
    let fd = node.open("/f", 0o102);
    node.write(fd, &[7; PAGE as usize + 1]).ok();
    assert_eq!(node.lstat("/f").blocks, 16);
    let args = [N(fd), N(3), N(PAGE), N(PAGE)];
    node.call(calls::fallocate, &args).ok();
    let held = node.lstat("/f");
    assert_eq!((held.blocks, held.size), (8, PAGE + 1));
}

#[test]
fn how_much_of_a_file_is_in_memory_is_told() {
    const PAGE: u64 = 4096;
    let mut node = Node::new(&[]);
    let fd = node.open("/f", 0o102);
    let ask = |node: &mut Node, fd: u64, offset: u64, length: u64| {
        let range = [offset.to_le_bytes(), length.to_le_bytes()].concat();
        let args = [N(fd), In(&range), Out(40), N(0)];
        let told = node.call(calls::cachestat, &args).bytes(2).to_vec();
        assert_eq!(told[8..], [0; 32]);
        u64::from_le_bytes(told[..8].try_into().expect("a word"))
    };
    assert_eq!(ask(&mut node, fd, 0, 0), 0);
    // Two pages, a hole of two, one page.
    for at in [10, PAGE + 1, 4 * PAGE] {
        let args = [N(fd), In(b"x"), N(1), N(at)];
        assert_eq!(node.call(calls::pwrite64, &args).ok(), 1);
    }
    assert_eq!(ask(&mut node, fd, 0, 0), 3);
    assert_eq!(ask(&mut node, fd, PAGE - 1, 1), 1);
    assert_eq!(ask(&mut node, fd, PAGE - 1, 2), 2);
    assert_eq!(ask(&mut node, fd, 2 * PAGE, 2 * PAGE), 0);
    assert_eq!(ask(&mut node, fd, 2 * PAGE, u64::MAX), 1);
    assert_eq!(ask(&mut node, fd, u64::MAX, u64::MAX), 0);
    let flags = [N(fd), In(&[0; 16]), Out(40), N(1)];
    assert_eq!(node.call(calls::cachestat, &flags).errno(), Errno::EINVAL);
    let path = node.open("/f", 0o10_000_000);
    let args = [N(path), In(&[0; 16]), Out(40), N(0)];
    assert_eq!(node.call(calls::cachestat, &args).errno(), Errno::EBADF);
    // What lies in the boot archive is in memory too.
    let long = [7; PAGE as usize + 1];
    let mut node = Node::new(leak(tar(&[(b'0', "old", &long)])));
    let fd = node.open("/old", 2);
    assert_eq!(ask(&mut node, fd, 0, 0), 2);
    let args = [N(fd), In(b"x"), N(1), N(2 * PAGE)];
    assert_eq!(node.call(calls::pwrite64, &args).ok(), 1);
    assert_eq!(ask(&mut node, fd, 0, 0), 3);
    assert_eq!(ask(&mut node, fd, PAGE, 0), 2);
}

#[test]
fn attributes() {
    let mut node = Node::new(&[]);
    node.now_ns = 5_000_000_001;
    node.put_file("/f", b"x");
    assert_eq!(node.lstat("/f").modified, (1005, 1));
    node.call(calls::chmod, &[In(b"/f"), N(0o6755)]).ok();
    assert_eq!(node.lstat("/f").mode, 0o106_755);
    node.call(calls::chown, &[In(b"/f"), N(5), N(u64::MAX)])
        .ok();
    let status = node.lstat("/f");
    assert_eq!((status.mode, status.uid, status.gid), (0o100_755, 5, 0));
    let mut times = [0u8; 32];
    times[..8].copy_from_slice(&11u64.to_le_bytes());
    times[16..24].copy_from_slice(&22u64.to_le_bytes());
    times[24..].copy_from_slice(&33u64.to_le_bytes());
    let args = [N(-100i64 as u64), In(b"/f"), In(&times), N(0)];
    node.call(calls::utimensat, &args).ok();
    assert_eq!(node.lstat("/f").modified, (22, 33));
    times[24..].copy_from_slice(&1_000_000_000u64.to_le_bytes());
    let args = [N(-100i64 as u64), In(b"/f"), In(&times), N(0)];
    assert_eq!(node.call(calls::utimensat, &args).errno(), Errno::EINVAL);
    let fd = node.open("/f", 0);
    node.call(calls::utimensat, &[N(fd), Null, Null, N(0)]).ok();
    assert_eq!(node.lstat("/f").modified, (1005, 1));
    // The other ways to ask.
    let empty = [N(fd), In(b""), Out(144), N(0x1000)];
    let status = Stat::parse(&node.call(calls::newfstatat, &empty).bytes(2));
    assert_eq!(status, node.lstat("/f"));
    let empty = [N(fd), In(b""), Out(144), N(0)];
    assert_eq!(node.call(calls::newfstatat, &empty).errno(), Errno::ENOENT);
    let args = [N(fd), In(b""), N(0x1000), N(0x7ff), Out(256)];
    let statx = node.call(calls::statx, &args).bytes(4);
    assert_eq!(statx[28..30], 0o100_755u16.to_le_bytes());
    assert_eq!(statx[40..48], 1u64.to_le_bytes());
    assert_eq!(statx[140..144], 20u32.to_le_bytes());
    // The time of birth, which nobody can set, and the mount.
    assert_eq!(statx[..4], 0x1fff_u32.to_le_bytes());
    assert_eq!(statx[80..88], 1005_u64.to_le_bytes());
    assert_eq!(statx[144..152], 20_u64.to_le_bytes());
    // What it is besides, of what is known: nothing; but the root is that of a mount.
    assert_eq!(statx[8..16], 0_u64.to_le_bytes());
    assert_eq!(statx[56..64], 0x20_3000_u64.to_le_bytes());
    let args = [Null, In(b"/"), N(0), N(0x7ff), Out(256)];
    let root = node.call(calls::statx, &args).bytes(4);
    assert_eq!(root[8..16], 0x2000_u64.to_le_bytes());
    let statfs = node.call(calls::statfs, &[In(b"/f"), Out(120)]).bytes(1);
    assert_eq!(statfs[..8], 0x0102_1994u64.to_le_bytes());
    assert_eq!(statfs[16..24], 32_768u64.to_le_bytes());
    assert_eq!(
        node.call(calls::fstat, &[N(88), Out(144)]).errno(),
        Errno::EBADF
    );
    let args = [In(b"/none"), Out(144)];
    assert_eq!(node.call(calls::stat, &args).errno(), Errno::ENOENT);
}

#[test]
fn a_transfer_may_not_wait_or_goes_to_the_end() {
    const NOWAIT: u64 = 8;
    const APPEND: u64 = 16;
    let mut node = Node::new(&[]);
    node.put_file("/f", b"0123456789");
    let fd = node.open("/f", 2);
    let write = |node: &mut Node, fd, how, at: Option<u64>| {
        let args = [N(fd), In(b"ab"), N(2), N(at.unwrap_or(0))];
        let function = match at {
            Some(_) => calls::pwrite64,
            None => calls::write,
        };
        node.call_how(how, function, &args)
    };
    write(&mut node, fd, APPEND, Some(3)).ok();
    assert_eq!(node.get_file("/f"), b"0123456789ab");
    // The cursor moves when it was used, and only then.
    assert_eq!(node.read(fd, 1).bytes(1), b"0");
    write(&mut node, fd, APPEND, None).ok();
    assert_eq!(node.read(fd, 1).bytes(1), b"");
    assert_eq!(write(&mut node, fd, 0, Some(1)).ok(), 2);
    assert_eq!(node.get_file("/f"), b"0ab3456789abab");
    // Files in memory cannot say whether they would wait.
    let refused = write(&mut node, fd, NOWAIT, Some(0));
    assert_eq!(refused.errno(), Errno::EOPNOTSUPP);
    let (read, to) = pipe(&mut node, 0);
    let args = [N(read), Out(9), N(9)];
    let empty = node.call_how(NOWAIT, calls::read, &args);
    assert_eq!(empty.errno(), Errno::EAGAIN);
    write(&mut node, to, NOWAIT, None).ok();
    let full = node.call_how(NOWAIT, calls::read, &args);
    assert_eq!(full.bytes(1), b"ab");
    let counter = node.call(calls::eventfd2, &[N(0), N(0)]).ok();
    let args = [N(counter), Out(8), N(8)];
    let zero = node.call_how(NOWAIT, calls::read, &args);
    assert_eq!(zero.errno(), Errno::EAGAIN);
}

#[test]
fn files_tell_their_blocks_and_share_none() {
    let mut node = Node::new(&[]);
    node.put_file("/f", &[1; 5000]);
    node.path_call(calls::mkdir, "/d").ok();
    let (fd, folder) = (node.open("/f", 2), node.open("/d", 0));
    let (read, _) = pipe(&mut node, 0);
    let ask = |node: &mut Node, fd, request, room| {
        let args = [N(fd), N(request), Out(room)];
        node.call(calls::ioctl, &args)
    };
    assert_eq!(ask(&mut node, fd, 2, 4).bytes(2), 4096_u32.to_le_bytes());
    assert_eq!(
        ask(&mut node, fd, 0x5460, 8).bytes(2),
        5000_u64.to_le_bytes()
    );
    assert_eq!(ask(&mut node, read, 0x5460, 8).errno(), Errno::ENOTTY);
    let clone = |fd| [N(fd), N(0x4004_9409), N(fd)];
    let refused = node.call(calls::ioctl, &clone(fd));
    assert_eq!(refused.errno(), Errno::EOPNOTSUPP);
    let refused = node.call(calls::ioctl, &clone(folder));
    assert_eq!(refused.errno(), Errno::EISDIR);
    for fd in [fd, folder] {
        let refused = node.call(calls::ioctl, &[N(fd), N(0xc020_660b)]);
        assert_eq!(refused.errno(), Errno::EOPNOTSUPP);
    }
    let own = [N(fd), N(0x5452), In(&[1, 0, 0, 0])];
    assert_eq!(node.call(calls::ioctl, &own).errno(), Errno::ENOTTY);
}
