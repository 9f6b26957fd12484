//! Mounts: what is seen where, what is refused, and what is left when one goes.

mod sharing;

use super::*;

const BIND: u64 = 0x1000;
const REMOUNT: u64 = 0x20;
const MOVE: u64 = 0x2000;
const RECURSIVE: u64 = 0x4000;
const DETACH: u64 = 2;
const EXPIRE: u64 = 4;

impl Node {
    fn mount(
        &mut self,
        (source, target): (&str, &str),
        kind: &str,
        flags: u64,
        data: &str,
    ) -> Reply {
        let args = [
            In(source.as_bytes()),
            In(target.as_bytes()),
            In(kind.as_bytes()),
            N(flags),
            In(data.as_bytes()),
        ];
        self.call(calls::mount, &args)
    }

    #[track_caller]
    fn tmpfs(&mut self, target: &str) {
        self.mount(("none", target), "tmpfs", 0, "").ok();
    }

    fn bind(&mut self, source: &str, target: &str) -> Reply {
        self.mount((source, target), "", BIND, "")
    }

    fn unmount(&mut self, target: &str, flags: u64) -> Reply {
        self.call(calls::umount2, &[In(target.as_bytes()), N(flags)])
    }

    #[track_caller]
    fn make(&mut self, directories: &[&str]) {
        for path in directories {
            self.path_call(calls::mkdir, path).ok();
        }
    }

    #[track_caller]
    fn text(&mut self, path: &str) -> String {
        let fd = self.open(path, 0);
        let bytes = self.read(fd, 60_000).bytes(1);
        self.close(fd);
        String::from_utf8(bytes).expect("text")
    }

    #[track_caller]
    fn device(&mut self, path: &str) -> u64 {
        let reply = self.call(calls::lstat, &[In(path.as_bytes()), Out(144)]);
        u64::from_le_bytes(reply.bytes(1)[..8].try_into().expect("8"))
    }

    fn cwd(&mut self) -> String {
        let bytes = self.call(calls::getcwd, &[Out(4096), N(4096)]).bytes(0);
        String::from_utf8(bytes).expect("text")
    }
}

#[test]
fn a_tmpfs_covers_a_directory_and_uncovers_it_again() {
    let mut node = Node::new(&[]);
    node.make(&["/m", "/m/below", "/n"]);
    let live = node.fs.counts.live();
    node.tmpfs("/m");
    assert_eq!(node.try_open("/m/below", 0).errno(), Errno::ENOENT);
    node.put_file("/m/file", b"in memory");
    node.make(&["/m/d"]);
    node.tmpfs("/n");
    // Each is a file system of its own.
    let devices = ["/", "/m", "/n"].map(|path| node.device(path));
    assert_eq!(devices, [20, 23, 24]);
    assert_eq!(
        node.two_paths(calls::rename, "/m/file", "/file").errno(),
        Errno::EXDEV
    );
    assert_eq!(
        node.two_paths(calls::link, "/m/file", "/file").errno(),
        Errno::EXDEV
    );
    assert_eq!(node.path_call(calls::rmdir, "/m").errno(), Errno::EBUSY);
    assert_eq!(
        node.two_paths(calls::rename, "/m", "/o").errno(),
        Errno::EBUSY
    );
    // The way up leads out of it, and the path goes through.
    node.path_call(calls::chdir, "/m/d").ok();
    assert_eq!(node.cwd(), "/m/d\0");
    assert_eq!(node.lstat("../..").inode, node.lstat("/").inode);
    assert_eq!(node.unmount("/m", 0).errno(), Errno::EBUSY);
    node.path_call(calls::chdir, "/").ok();
    let fd = node.open("/m/file", 0);
    assert_eq!(node.unmount("/m", 0).errno(), Errno::EBUSY);
    node.close(fd);
    node.unmount("/m", 0).ok();
    node.unmount("/n", 0).ok();
    node.open("/m/below", 0);
    assert_eq!(node.fs.counts.live(), live);
    assert_eq!(node.unmount("/m", 0).errno(), Errno::EINVAL);
    node.tmpfs("/m");
    assert_eq!(node.device("/m"), 23, "the number is free again");
}

#[test]
fn proc_tells_of_mounts() {
    let mut node = Node::new(&[]);
    node.make(&["/a b", "/m", "/m/in"]);
    let flags = 2 | 4 | 8 | 1024;
    node.mount(
        ("a b", "/a b"),
        "tmpfs",
        flags,
        "size=64k,mode=700,nr_inodes=9",
    )
    .ok();
    node.mount(("/m/in", "/m"), "", BIND, "").ok();
    node.mount(("none", "/m"), "", BIND | REMOUNT | 1, "").ok();
    assert_eq!(
        node.text("/proc/self/mounts"),
        "root / tmpfs rw,relatime 0 0\n\
         proc /proc proc rw,relatime 0 0\n\
         sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime 0 0\n\
         a\\040b /a\\040b tmpfs rw,nosuid,nodev,noexec,noatime,size=64k,nr_inodes=9,mode=700 0 0\n\
         root /m tmpfs ro,relatime 0 0\n"
    );
    assert_eq!(
        node.text("/proc/self/mountinfo"),
        "20 1 0:20 / / rw,relatime - tmpfs root rw\n\
         21 20 0:21 / /proc rw,relatime - proc proc rw\n\
         22 20 0:22 / /sys rw,nosuid,nodev,noexec,relatime - sysfs sysfs ro\n\
         23 20 0:23 / /a\\040b rw,nosuid,nodev,noexec,noatime - tmpfs a\\040b rw,size=64k,nr_inodes=9,mode=700\n\
         24 20 0:20 /m/in /m ro,relatime - tmpfs root rw\n"
    );
    // Who has another root sees what is below it.
    node.path_call(calls::chroot, "/a b").ok();
    node.make(&["/proc"]);
    node.mount(("p", "/proc"), "proc", 0, "").ok();
    let seen = node.text("/proc/self/mounts");
    let places: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(places, ["/", "/proc"]);
}

#[test]
fn what_is_bound_is_the_same_file_seen_by_another_mount() {
    let mut node = Node::new(&[]);
    node.make(&["/a", "/a/d", "/b", "/c"]);
    node.put_file("/a/f", b"one");
    node.put_file("/g", b"other");
    node.bind("/a", "/b").ok();
    assert_eq!(node.lstat("/b/f").inode, node.lstat("/a/f").inode);
    assert_eq!(node.device("/b"), node.device("/"));
    // Between two mounts of one file system nothing is moved.
    assert_eq!(
        node.two_paths(calls::rename, "/b/f", "/a/h").errno(),
        Errno::EXDEV
    );
    node.path_call(calls::chdir, "/b/d").ok();
    assert_eq!(node.cwd(), "/b/d\0");
    assert_eq!(node.lstat("../..").inode, node.lstat("/").inode);
    // A file on a file, by one of its names.
    node.two_paths(calls::link, "/g", "/g2").ok();
    node.bind("/a/f", "/g").ok();
    assert_eq!(node.get_file("/g"), b"one");
    assert_eq!(node.get_file("/g2"), b"other");
    assert_eq!(node.path_call(calls::unlink, "/g").errno(), Errno::EBUSY);
    node.path_call(calls::unlink, "/g2").ok();
    assert_eq!(node.bind("/a", "/g").errno(), Errno::ENOTDIR);
    assert_eq!(node.bind("/g", "/a").errno(), Errno::ENOTDIR);
    assert_eq!(node.bind("/nothing", "/a").errno(), Errno::ENOENT);
    let fd = node.open("/g", 0);
    let link = node.call(
        calls::readlink,
        &[In(format!("/proc/self/fd/{fd}").as_bytes()), Out(99), N(99)],
    );
    assert_eq!(link.bytes(1), b"/g");
    node.close(fd);
    node.unmount("/g", 0).ok();
    assert_eq!(node.get_file("/g"), b"other");
    // The mount point of one is none in the other, but no name that could go.
    node.tmpfs("/a/d");
    assert_eq!(node.device("/b/d"), 20);
    assert_eq!(node.path_call(calls::rmdir, "/b/d").errno(), Errno::EBUSY);
    node.mount(("/a", "/c"), "", BIND | RECURSIVE, "").ok();
    assert_eq!(node.device("/c/d"), node.device("/a/d"));
    assert_eq!(node.unmount("/c", 0).errno(), Errno::EBUSY);
    node.unmount("/c", DETACH).ok();
    assert_eq!(node.device("/c"), 20);
    assert!(!node.text("/proc/self/mounts").contains(" /c"));
}

#[test]
fn nothing_leads_out_of_what_a_mount_shows() {
    let mut node = Node::new(&[]);
    node.make(&["/a", "/a/d", "/out", "/b"]);
    node.bind("/a", "/b").ok();
    node.path_call(calls::chdir, "/b/d").ok();
    // Moved out of what /b shows, it has nothing above it.
    node.two_paths(calls::rename, "/a/d", "/out/d").ok();
    assert_eq!(node.try_open("..", 0).errno(), Errno::ENOENT);
}

#[test]
fn mounts_lie_on_each_other_and_move() {
    let mut node = Node::new(&[]);
    node.make(&["/m", "/n"]);
    node.tmpfs("/m");
    node.put_file("/m/lower", b"");
    node.tmpfs("/m");
    assert_eq!(node.list("/m", 400), [".", ".."]);
    node.make(&["/m/sub"]);
    node.tmpfs("/m/sub");
    assert_eq!(
        node.mount(("/m", "/m/sub"), "", MOVE, "").errno(),
        Errno::ELOOP
    );
    assert_eq!(
        node.mount(("/n", "/m"), "", MOVE, "").errno(),
        Errno::EINVAL
    );
    node.mount(("/m", "/n"), "", MOVE, "").ok();
    assert_eq!(node.list("/m", 400), [".", "..", "lower"]);
    assert_eq!(node.list("/n", 400), [".", "..", "sub"]);
    assert_eq!(node.device("/n/sub"), 25);
    assert_eq!(
        node.mount(("none", "/proc"), "proc", 0, "").errno(),
        Errno::EBUSY
    );
    assert_eq!(node.unmount("/", 0).errno(), Errno::EBUSY);
    assert_eq!(node.unmount("/", DETACH).errno(), Errno::EINVAL);
}

#[test]
fn what_is_detached_lives_as_long_as_it_is_used() {
    let mut node = Node::new(&[]);
    node.make(&["/m"]);
    let live = node.fs.counts.live();
    node.tmpfs("/m");
    node.make(&["/m/d"]);
    let deep = "d/".repeat(1500);
    node.path_call(calls::chdir, "/m").ok();
    for _ in 0..3000 {
        let _ = node.path_call(calls::mkdir, "d");
        node.path_call(calls::chdir, "d").ok();
    }
    node.path_call(calls::chdir, "/m/d").ok();
    let file = node.open("/m/f", RDWR_CREAT);
    node.unmount("/m", DETACH).ok();
    assert_eq!(node.try_open("/m/f", 0).errno(), Errno::ENOENT);
    node.write(file, b"still").ok();
    node.open("d", 0);
    assert_eq!(node.try_open(&deep, 0).ok(), 2);
    // It has become a world of its own.
    node.path_call(calls::chdir, "../../..").ok();
    assert_eq!(node.list(".", 400), [".", "..", "d", "f"]);
    assert_eq!(node.cwd(), "(unreachable)/\0");
    assert_eq!(
        node.mount(("none", "."), "tmpfs", 0, "").errno(),
        Errno::EINVAL
    );
    for fd in [file, 1, 2] {
        node.close(fd);
    }
    node.path_call(calls::chdir, "/").ok();
    assert_eq!(node.fs.counts.live(), live, "all of it is gone");
}

#[test]
fn what_is_not_used_expires_at_the_second_call() {
    let mut node = Node::new(&[]);
    node.make(&["/m"]);
    node.tmpfs("/m");
    assert_eq!(node.unmount("/m", EXPIRE).errno(), Errno::EAGAIN);
    node.lstat("/m");
    assert_eq!(node.unmount("/m", EXPIRE).errno(), Errno::EAGAIN);
    node.unmount("/m", EXPIRE).ok();
    node.tmpfs("/m");
    let fd = node.open("/m", 0o200_000);
    assert_eq!(node.unmount("/m", EXPIRE).errno(), Errno::EBUSY);
    node.close(fd);
    assert_eq!(node.unmount("/m", EXPIRE | DETACH).errno(), Errno::EINVAL);
    // A link to a mount point is not followed if that is not wanted.
    node.two_paths(calls::symlink, "/m", "/l").ok();
    assert_eq!(node.unmount("/l", 8).errno(), Errno::EINVAL);
    assert_eq!(node.unmount("/m", 16).errno(), Errno::EINVAL);
    node.unmount("/l", 0).ok();
}

#[test]
fn nothing_is_written_where_a_mount_is_read_only() {
    let mut node = Node::new(&[]);
    node.make(&["/m", "/b"]);
    node.tmpfs("/m");
    node.put_file("/m/f", b"text");
    node.bind("/m", "/b").ok();
    let fd = node.open("/m/f", 1);
    assert_eq!(
        node.mount(("none", "/m"), "", REMOUNT | 1, "").errno(),
        Errno::EBUSY
    );
    // By the other mount nothing is open for writing.
    node.mount(("none", "/b"), "", REMOUNT | BIND | 1, "").ok();
    node.close(fd);
    let refused = |node: &mut Node, at: &str| {
        let path = |name: &str| format!("{at}/{name}");
        for flags in [1, 2, 0o1000] {
            assert_eq!(node.try_open(&path("f"), flags).errno(), Errno::EROFS);
        }
        assert_eq!(
            node.try_open(&path("new"), RDWR_CREAT).errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.path_call(calls::mkdir, &path("new")).errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.path_call(calls::mkdir, &path("f")).errno(),
            Errno::EEXIST
        );
        assert_eq!(
            node.path_call(calls::unlink, &path("f")).errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.path_call(calls::chmod, &path("f")).errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.call(calls::access, &[In(path("f").as_bytes()), N(2)])
                .errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.call(calls::truncate, &[In(path("f").as_bytes()), N(0)])
                .errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.call(
                calls::utimensat,
                &[N(-100_i64 as u64), In(path("f").as_bytes()), Null, N(0)]
            )
            .errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.call(
                calls::setxattr,
                &[
                    In(path("f").as_bytes()),
                    In(b"user.a"),
                    In(b"b"),
                    N(1),
                    N(0)
                ]
            )
            .errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.two_paths(calls::symlink, "x", &path("l")).errno(),
            Errno::EROFS
        );
        assert_eq!(
            node.two_paths(calls::rename, &path("f"), &path("g"))
                .errno(),
            Errno::EROFS
        );
        node.open(&path("f"), 0);
    };
    refused(&mut node, "/b");
    node.put_file("/m/f", b"other");
    node.mount(("none", "/m"), "", REMOUNT | 1, "").ok();
    refused(&mut node, "/m");
    // The file system is, and so all that show it are.
    node.mount(("none", "/b"), "", REMOUNT | BIND, "").ok();
    refused(&mut node, "/b");
    node.mount(("none", "/m"), "", REMOUNT, "").ok();
    node.put_file("/b/f", b"again");
}

#[test]
fn a_tmpfs_holds_what_it_was_made_for() {
    let mut node = Node::new(&[]);
    node.make(&["/m"]);
    node.mount(("none", "/m"), "tmpfs", 0, "size=8k,nr_inodes=3")
        .ok();
    let fd = node.open("/m/a", RDWR_CREAT);
    assert_eq!(node.write(fd, &[1; 9000]).ok(), 8192);
    assert_eq!(node.write(fd, b"x").errno(), Errno::ENOSPC);
    let told = node.call(calls::fstatfs, &[N(fd), Out(120)]).bytes(1);
    let word = |at: usize| u64::from_le_bytes(told[at..at + 8].try_into().expect("8"));
    assert_eq!([16, 24, 40, 48].map(word), [2, 0, 3, 1]);
    node.put_file("/m/b", b"");
    assert_eq!(node.try_open("/m/c", RDWR_CREAT).errno(), Errno::ENOSPC);
    let remount = |node: &mut Node, data| node.mount(("none", "/m"), "", REMOUNT, data);
    assert_eq!(remount(&mut node, "size=4k").errno(), Errno::EINVAL);
    assert_eq!(remount(&mut node, "nr_inodes=2").errno(), Errno::EINVAL);
    remount(&mut node, "size=12k").ok();
    assert_eq!(node.write(fd, &[1; 9000]).ok(), 4096);
    // What is cut off, or removed, makes room.
    node.call(calls::ftruncate, &[N(fd), N(4096)]).ok();
    let other = node.open("/m/b", 2);
    assert_eq!(node.write(other, &[1; 9000]).ok(), 8192);
    node.path_call(calls::unlink, "/m/b").ok();
    node.close(other);
    assert_eq!(node.write(fd, &[1; 4096]).ok(), 4096);
}

#[test]
fn mounts_are_for_who_may_and_there_is_an_end() {
    let mut node = Node::new(&[]);
    node.make(&["/m", "/n"]);
    for kind in ["ext4", ""] {
        assert_eq!(
            node.mount(("none", "/m"), kind, 0, "").errno(),
            Errno::ENODEV
        );
    }
    assert_eq!(
        node.mount(("none", "/no"), "tmpfs", 0, "").errno(),
        Errno::ENOENT
    );
    assert_eq!(
        node.mount(("none", "/m"), "tmpfs", 0, "nonsense").errno(),
        Errno::EINVAL
    );
    assert_eq!(
        node.mount(("none", "/m"), "", REMOUNT, "").errno(),
        Errno::EINVAL
    );
    node.tmpfs("/m");
    let pass = |node: &mut Node, flags: u64| node.mount(("none", "/m"), "", flags, "");
    let two = (1 << 20) | (1 << 18);
    assert_eq!(pass(&mut node, two).errno(), Errno::EINVAL);
    assert_eq!(pass(&mut node, (1 << 20) | 2).errno(), Errno::EINVAL);
    for flags in [1 << 20, 1 << 18, 1 << 19, 1 << 17] {
        pass(&mut node, flags | RECURSIVE).ok();
    }
    assert_eq!(node.bind("/m", "/n").errno(), Errno::EINVAL, "unbindable");
    pass(&mut node, 1 << 18).ok();
    node.bind("/m", "/n").ok();
    let made = (0..2000)
        .take_while(|_| node.bind("/m", "/n").result.is_ok())
        .count();
    assert_eq!(made, 1019);
    assert_eq!(node.bind("/m", "/n").errno(), Errno::ENOSPC);
    node.unmount("/n", DETACH).ok();
    node.bind("/m", "/n").ok();
    node.who = Who {
        uid: 5,
        capabilities: 0,
        permitted: 0,
        ..Who::default()
    };
    assert_eq!(
        node.mount(("none", "/m"), "tmpfs", 0, "").errno(),
        Errno::EPERM
    );
    assert_eq!(node.unmount("/m", 0).errno(), Errno::EPERM);
}

#[test]
fn devices_links_and_programs_of_a_mount_are_what_it_allows() {
    let mut node = Node::new(&[]);
    node.make(&["/m"]);
    node.mount(("none", "/m"), "tmpfs", 4 | 8 | 0x100, "").ok();
    node.call(calls::mknod, &[In(b"/m/null"), N(0o020_666), N(0x103)])
        .ok();
    assert_eq!(node.try_open("/m/null", 0).errno(), Errno::EACCES);
    node.put_file("/m/p", b"#!/bin/sh");
    node.call(calls::chmod, &[In(b"/m/p"), N(0o755)]).ok();
    assert_eq!(
        node.call(calls::access, &[In(b"/m/p"), N(1)]).errno(),
        Errno::EACCES
    );
    let run = node
        .fs
        .open_program(&node.state, &node.view, PID, &node.who, b"/m/p");
    assert_eq!(run.err(), Some(Errno::EACCES));
    node.two_paths(calls::symlink, "p", "/m/l").ok();
    assert_eq!(node.try_open("/m/l", 0).errno(), Errno::ELOOP);
    node.mount(("none", "/m"), "", REMOUNT | BIND, "").ok();
    node.open("/m/null", 0);
    node.open("/m/l", 0);
    assert!(
        node.fs
            .open_program(&node.state, &node.view, PID, &node.who, b"/m/p")
            .is_ok()
    );
}

#[test]
fn devices_are_found_in_sys_by_links_and_nothing_is_written_there() {
    let mut node = Node::new(&[]);
    let lo = "INTERFACE=lo\nIFINDEX=1\n";
    let null = "MAJOR=1\nMINOR=3\nDEVNAME=null\nDEVMODE=0666\n";
    for (path, text) in [
        ("/sys/class/net/lo/uevent", lo),
        ("/sys/class/net/lo/subsystem/lo/uevent", lo),
        ("/sys/dev/char/1:3/uevent", null),
        ("/sys/class/mem/null/subsystem/null/uevent", null),
        ("/sys/bus/cpu/devices/cpu0/topology/core_id", "0\n"),
        ("/sys/devices/system/node/node0/cpu0/node0/distance", "10\n"),
    ] {
        assert_eq!(node.text(path), text, "{path}");
    }
    let args = [In(b"/sys/class/net/lo"), Out(64), N(64)];
    assert_eq!(
        node.call(calls::readlink, &args).bytes(1),
        b"../../devices/virtual/net/lo"
    );
    let statfs = node.call(calls::statfs, &[In(b"/sys/class"), Out(120)]);
    assert_eq!(statfs.bytes(1)[..8], 0x6265_6572_u64.to_le_bytes());
    let refused = node.try_open("/sys/class/net/lo/mtu", 1).errno();
    assert_eq!(refused, Errno::EROFS);
    let refused = node.path_call(calls::unlink, "/sys/class/net/lo/mtu");
    assert_eq!(refused.errno(), Errno::EROFS);
    // Elsewhere it is the same one, however it is mounted.
    node.make(&["/s"]);
    node.mount(("sys", "/s"), "sysfs", 0, "").ok();
    node.mount(("sys", "/s"), "", REMOUNT, "").ok();
    assert_eq!(node.text("/s/class/net/lo/ifindex"), "1\n");
    assert_eq!(node.try_open("/s/class/new", 0o101).errno(), Errno::EROFS);
    let again = node.mount(("sys", "/s"), "sysfs", 0, "");
    assert_eq!(again.errno(), Errno::EBUSY);
}
