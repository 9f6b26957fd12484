//! Names: directories, links, renaming, listing, the current directory.

use super::*;

/// `AT_FDCWD`.
const HERE: u64 = -100i64 as u64;

#[test]
fn directories_come_and_go() {
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/a").ok();
    node.path_call(calls::mkdir, "/a/b/").ok();
    assert_eq!(node.path_call(calls::mkdir, "/a").errno(), Errno::EEXIST);
    assert_eq!(node.path_call(calls::mkdir, "/").errno(), Errno::EEXIST);
    assert_eq!(node.path_call(calls::mkdir, "/x/y").errno(), Errno::ENOENT);
    assert_eq!(node.lstat("/a").links, 3);
    assert_eq!(node.lstat("/a").mode, 0o040_755);
    assert_eq!(node.path_call(calls::rmdir, "/a").errno(), Errno::ENOTEMPTY);
    assert_eq!(node.path_call(calls::rmdir, "/a/.").errno(), Errno::EINVAL);
    assert_eq!(node.path_call(calls::rmdir, "/").errno(), Errno::EBUSY);
    assert_eq!(node.path_call(calls::rmdir, "/proc").errno(), Errno::EBUSY);
    assert_eq!(node.path_call(calls::unlink, "/a").errno(), Errno::EISDIR);
    node.put_file("/a/f", b"");
    assert_eq!(node.path_call(calls::rmdir, "/a/f").errno(), Errno::ENOTDIR);
    assert_eq!(
        node.path_call(calls::unlink, "/a/f/").errno(),
        Errno::ENOTDIR
    );
    let remove = |node: &mut Node, path: &str, flags: u64| {
        let args = [N(-100i64 as u64), In(path.as_bytes()), N(flags)];
        node.call(calls::unlinkat, &args)
    };
    assert_eq!(remove(&mut node, "/a/f", 1).errno(), Errno::EINVAL);
    remove(&mut node, "/a/f", 0).ok();
    remove(&mut node, "/a/b", 0x200).ok();
    assert_eq!(node.lstat("/a").links, 2);
    node.path_call(calls::rmdir, "/a").ok();
    assert_eq!(node.path_call(calls::stat, "/a").errno(), Errno::ENOENT);
}

#[test]
fn the_current_directory() {
    let mut node = Node::new(&[]);
    let getcwd =
        |node: &mut Node, size: usize| node.call(calls::getcwd, &[Out(size), N(size as u64)]);
    assert_eq!(getcwd(&mut node, 2).bytes(0), b"/\0");
    node.path_call(calls::mkdir, "/a").ok();
    node.path_call(calls::mkdir, "/a/b").ok();
    node.path_call(calls::chdir, "a/./b/../b").ok();
    assert_eq!(getcwd(&mut node, 9).bytes(0), b"/a/b\0");
    assert_eq!(getcwd(&mut node, 4).errno(), Errno::ERANGE);
    node.put_file("f", b"relative");
    assert_eq!(node.get_file("/a/b/f"), b"relative");
    assert_eq!(node.path_call(calls::chdir, "f").errno(), Errno::ENOTDIR);
    node.two_paths(calls::rename, "/a", "/c").ok();
    assert_eq!(getcwd(&mut node, 9).bytes(0), b"/c/b\0");
    let fd = node.open("..", 0o200_000);
    node.call(calls::fchdir, &[N(fd)]).ok();
    assert_eq!(getcwd(&mut node, 9).bytes(0), b"/c\0");
    node.path_call(calls::unlink, "b/f").ok();
    node.path_call(calls::chdir, "b").ok();
    node.path_call(calls::rmdir, "/c/b").ok();
    assert_eq!(getcwd(&mut node, 9).errno(), Errno::ENOENT);
    assert_eq!(node.try_open("f", 0o101).errno(), Errno::ENOENT);
    // Relative to a descriptor, and an absolute path does not care.
    let args = [N(fd), In(b"x"), N(0o101), N(0o644)];
    node.call(calls::openat, &args).ok();
    assert_eq!(node.lstat("/c/x").mode, 0o100_644);
    let args = [N(77), In(b"/c/x"), N(0), N(0)];
    node.call(calls::openat, &args).ok();
    let args = [N(77), In(b"c/x"), N(0), N(0)];
    assert_eq!(node.call(calls::openat, &args).errno(), Errno::EBADF);
}

#[test]
fn links() {
    let mut node = Node::new(&[]);
    node.put_file("/f", b"contents");
    node.two_paths(calls::link, "/f", "/g").ok();
    assert_eq!(node.lstat("/f"), node.lstat("/g"));
    assert_eq!(node.lstat("/f").links, 2);
    assert_eq!(
        node.two_paths(calls::link, "/f", "/g").errno(),
        Errno::EEXIST
    );
    assert_eq!(
        node.two_paths(calls::link, "/tmp", "/t").errno(),
        Errno::EPERM
    );
    assert_eq!(
        node.two_paths(calls::link, "/proc/stat", "/t").errno(),
        Errno::EXDEV
    );
    node.path_call(calls::unlink, "/f").ok();
    assert_eq!(node.get_file("/g"), b"contents");
    assert_eq!(node.lstat("/g").links, 1);

    node.two_paths(calls::symlink, "../g", "/tmp/s").ok();
    assert_eq!(node.get_file("/tmp/s"), b"contents");
    let readlink = |node: &mut Node, path: &str, size: usize| {
        let args = [In(path.as_bytes()), Out(size), N(size as u64)];
        node.call(calls::readlink, &args)
    };
    assert_eq!(readlink(&mut node, "/tmp/s", 100).bytes(1), b"../g");
    assert_eq!(readlink(&mut node, "/tmp/s", 3).bytes(1), b"../");
    assert_eq!(readlink(&mut node, "/g", 3).errno(), Errno::EINVAL);
    assert_eq!(readlink(&mut node, "/tmp/s", 0).errno(), Errno::EINVAL);
    node.two_paths(calls::symlink, "/tmp", "/t").ok();
    assert_eq!(node.get_file("/t/s"), b"contents");
    assert_eq!(node.lstat("/t").mode, 0o120_777);
    assert_eq!(node.lstat("/t/").mode, 0o041_777);
    assert_eq!(node.path_call(calls::rmdir, "/t/").errno(), Errno::ENOTDIR);
    assert_eq!(
        node.two_paths(calls::symlink, "", "/e").errno(),
        Errno::ENOENT
    );
    // Forty links are followed, one more is not.
    for at in 0..41 {
        let target = match at {
            0 => "/g".to_string(),
            at => format!("/l{}", at - 1),
        };
        node.two_paths(calls::symlink, &target, &format!("/l{at}"))
            .ok();
    }
    node.path_call(calls::stat, "/l39").ok();
    assert_eq!(node.path_call(calls::stat, "/l40").errno(), Errno::ELOOP);
}

#[test]
fn renaming() {
    let mut node = Node::new(&[]);
    let rename = |node: &mut Node, from: &str, to: &str| node.two_paths(calls::rename, from, to);
    for path in ["/d", "/d/e", "/empty"] {
        node.path_call(calls::mkdir, path).ok();
    }
    node.put_file("/f", b"f");
    node.put_file("/g", b"g");
    rename(&mut node, "/f", "/g").ok();
    assert_eq!(node.get_file("/g"), b"f");
    assert_eq!(rename(&mut node, "/f", "/g").errno(), Errno::ENOENT);
    assert_eq!(rename(&mut node, "/g", "/d").errno(), Errno::EISDIR);
    assert_eq!(rename(&mut node, "/d", "/g").errno(), Errno::ENOTDIR);
    assert_eq!(rename(&mut node, "/empty", "/d").errno(), Errno::ENOTEMPTY);
    assert_eq!(rename(&mut node, "/d", "/d/e/x").errno(), Errno::EINVAL);
    assert_eq!(rename(&mut node, "/d/e", "/d").errno(), Errno::ENOTEMPTY);
    assert_eq!(rename(&mut node, "/d/.", "/x").errno(), Errno::EBUSY);
    assert_eq!(rename(&mut node, "/proc", "/x").errno(), Errno::EBUSY);
    assert_eq!(rename(&mut node, "/g", "/proc/x").errno(), Errno::EXDEV);
    assert_eq!(rename(&mut node, "/g", "/x/").errno(), Errno::ENOTDIR);
    rename(&mut node, "/d", "/empty").ok();
    assert_eq!(node.lstat("/empty/e").mode, 0o040_755);
    assert_eq!((node.lstat("/empty").links, node.lstat("/").links), (3, 7));
    rename(&mut node, "/empty/e", "/e").ok();
    assert_eq!((node.lstat("/empty").links, node.lstat("/").links), (2, 8));
    node.path_call(calls::chdir, "/e/..").ok();
    assert_eq!(node.state.cwd().path().as_deref(), Ok(&b"/"[..]));
    // Two names of one file stay.
    node.two_paths(calls::link, "/g", "/h").ok();
    rename(&mut node, "/g", "/h").ok();
    assert_eq!(node.lstat("/g").links, 2);
    let args = [N(HERE), In(b"/g"), N(0), In(b"/h"), N(1)];
    assert_eq!(node.call(calls::renameat2, &args).errno(), Errno::EEXIST);
    let args = [N(0), In(b"/g"), N(0), In(b"/h"), N(3)];
    assert_eq!(node.call(calls::renameat2, &args).errno(), Errno::EINVAL);
    node.put_file("/other", b"other");
    let args = [N(HERE), In(b"/g"), N(HERE), In(b"/other"), N(2)];
    node.call(calls::renameat2, &args).ok();
    assert_eq!(node.get_file("/g"), b"other");
    assert_eq!(node.get_file("/other"), b"f");
    let args = [N(HERE), In(b"/g"), N(HERE), In(b"/none"), N(2)];
    assert_eq!(node.call(calls::renameat2, &args).errno(), Errno::ENOENT);
}

#[test]
fn a_whiteout_stays_where_a_file_was() {
    let mut node = Node::new(&[]);
    node.put_file("/old", b"text");
    let rename = |node: &mut Node, flags| {
        let args = [N(HERE), In(b"/old"), N(HERE), In(b"/new"), N(flags)];
        node.call(calls::renameat2, &args)
    };
    assert_eq!(rename(&mut node, 4 | 2).errno(), Errno::EINVAL);
    rename(&mut node, 4 | 1).ok();
    assert_eq!(node.get_file("/new"), b"text");
    let left = node.lstat("/old");
    assert_eq!((left.mode, left.special), (0o020_000, 0));
    assert_eq!(rename(&mut node, 4 | 1).errno(), Errno::EEXIST);
    rename(&mut node, 4).ok();
    assert_eq!(node.lstat("/new").mode, 0o020_000);
    node.who.capabilities = 0;
    assert_eq!(rename(&mut node, 4).errno(), Errno::EPERM);
}

#[test]
fn a_listing_survives_changes() {
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/d").ok();
    for at in 0..100 {
        node.put_file(&format!("/d/{at}"), b"");
    }
    let all = node.list("/d", 100);
    assert_eq!(all.len(), 102);
    assert_eq!(all[..3], [".", "..", "0"]);
    assert_eq!(all, node.list("/d", 10_000));
    // Removing what was listed, as `rm -r` does, loses none.
    let fd = node.open("/d", 0);
    let mut seen = 0;
    loop {
        let bytes = node
            .call(calls::getdents64, &[N(fd), Out(120), N(120)])
            .bytes(1);
        if bytes.is_empty() {
            break;
        }
        let mut at = 0;
        while at < bytes.len() {
            let length = usize::from(bytes[at + 16]);
            let name = bytes[at + 19..at + length]
                .split(|&b| b == 0)
                .next()
                .expect("name");
            let name = std::str::from_utf8(name).expect("text");
            if !name.starts_with('.') {
                node.path_call(calls::unlink, &format!("/d/{name}")).ok();
                seen += 1;
            }
            at += length;
        }
    }
    assert_eq!(seen, 100);
    node.path_call(calls::rmdir, "/d").ok();
    let removed = node.call(calls::getdents64, &[N(fd), Out(120), N(120)]);
    assert_eq!(removed.errno(), Errno::ENOENT);
    let fd = node.open("/", 0);
    let small = node.call(calls::getdents64, &[N(fd), Out(23), N(23)]);
    assert_eq!(small.errno(), Errno::EINVAL);
    let fd = node.open("/dev/null", 0);
    let none = node.call(calls::getdents64, &[N(fd), Out(99), N(99)]);
    assert_eq!(none.errno(), Errno::ENOTDIR);
}

#[test]
fn literal_dirent() {
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/d").ok();
    node.put_file("/d/abc", b"");
    let inode = node.lstat("/d/abc").inode;
    let fd = node.open("/d", 0);
    node.call(calls::lseek, &[N(fd), N(2), N(0)]).ok();
    let bytes = node
        .call(calls::getdents64, &[N(fd), Out(99), N(99)])
        .bytes(1);
    let mut expected = inode.to_le_bytes().to_vec();
    expected.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 24, 0, 8]);
    expected.extend_from_slice(b"abc\0\0");
    assert_eq!(bytes, expected);
}

#[test]
fn access_is_roots() {
    let mut node = Node::new(&[]);
    node.put_file("/f", b"");
    let access =
        |node: &mut Node, mode: u64| node.call(calls::access, &[In(b"/f"), N(mode)]).result;
    assert_eq!(access(&mut node, 6), Ok(0));
    assert_eq!(access(&mut node, 1), Err(Errno::EACCES.into()));
    assert_eq!(access(&mut node, 8), Err(Errno::EINVAL.into()));
    node.call(calls::chmod, &[In(b"/f"), N(0o100)]).ok();
    assert_eq!(access(&mut node, 7), Ok(0));
}

#[test]
fn extended_attributes_are_kept_and_checked() {
    let mut node = Node::new(&[]);
    node.put_file("/f", b"");
    let set = |node: &mut Node, path: &str, name: &str, size: u64, flags: u64| {
        let args = [
            In(path.as_bytes()),
            In(name.as_bytes()),
            In(b"v"),
            N(size),
            N(flags),
        ];
        node.call(calls::setxattr, &args)
    };
    set(&mut node, "/f", "user.a", 1, 0).ok();
    assert_eq!(set(&mut node, "/f", "user.a", 1, 1).errno(), Errno::EEXIST);
    assert_eq!(set(&mut node, "/f", "user.b", 1, 2).errno(), Errno::ENODATA);
    assert_eq!(set(&mut node, "/f", "user.a", 1, 4).errno(), Errno::EINVAL);
    assert_eq!(
        set(&mut node, "/f", "user.a", 70_000, 0).errno(),
        Errno::E2BIG
    );
    assert_eq!(set(&mut node, "/f", "", 1, 0).errno(), Errno::ERANGE);
    assert_eq!(
        set(&mut node, "/f", "other.a", 1, 0).errno(),
        Errno::EOPNOTSUPP
    );
    assert_eq!(set(&mut node, "/g", "user.a", 1, 0).errno(), Errno::ENOENT);
    let fd = node.open("/f", 0);
    let get = [N(fd), In(b"user.a"), Null, N(0)];
    assert_eq!(node.call(calls::fgetxattr, &get).ok(), 1);
    assert_eq!(node.call(calls::flistxattr, &[N(fd), Null, N(0)]).ok(), 7);
    node.call(calls::fremovexattr, &[N(fd), In(b"user.a")]).ok();
    assert_eq!(node.call(calls::fgetxattr, &get).errno(), Errno::ENODATA);
    let list = node.call(calls::flistxattr, &[N(99), Null, N(0)]);
    assert_eq!(list.errno(), Errno::EBADF);
}
