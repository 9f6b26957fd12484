//! Who may do what, through the calls.

use super::*;

/// The same node used by somebody who is not root.
fn as_user<T>(node: &mut Node, uid: u32, act: impl FnOnce(&mut Node) -> T) -> T {
    let before = std::mem::replace(
        &mut node.who,
        Who {
            uid,
            gid: uid,
            real_uid: uid,
            real_gid: uid,
            groups: vec![50],
            capabilities: 0,
            permitted: 0,
        },
    );
    let result = act(node);
    node.who = before;
    result
}

#[test]
fn directories_on_the_way_must_let_through() {
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/closed").ok();
    node.put_file("/closed/f", b"x");
    node.call(calls::chmod, &[In(b"/closed"), N(0o744)]).ok();
    as_user(&mut node, 7, |node| {
        assert_eq!(node.try_open("/closed/f", 0).errno(), Errno::EACCES);
        assert_eq!(node.try_open("/closed/none", 0).errno(), Errno::EACCES);
        assert!(node.list("/closed", 1000).contains(&"f".to_owned()));
        assert_eq!(
            node.path_call(calls::chdir, "/closed").errno(),
            Errno::EACCES
        );
        assert_eq!(node.path_call(calls::mkdir, "/mine").errno(), Errno::EACCES);
        // What is there is told before what is not allowed.
        assert_eq!(
            node.path_call(calls::mkdir, "/closed").errno(),
            Errno::EEXIST
        );
        node.path_call(calls::mkdir, "/tmp/mine").ok();
        assert_eq!(node.lstat("/tmp/mine").uid, 7);
    });
}

#[test]
fn of_others_files_in_a_sticky_directory_nothing_is_removed() {
    let mut node = Node::new(&[]);
    as_user(&mut node, 7, |node| node.put_file("/tmp/f", b"x"));
    as_user(&mut node, 8, |node| {
        node.put_file("/tmp/mine", b"y");
        assert_eq!(
            node.path_call(calls::unlink, "/tmp/f").errno(),
            Errno::EPERM
        );
        let moved = node.two_paths(calls::rename, "/tmp/f", "/tmp/g");
        assert_eq!(moved.errno(), Errno::EPERM);
        let replaced = node.two_paths(calls::rename, "/tmp/mine", "/tmp/f");
        assert_eq!(replaced.errno(), Errno::EPERM);
        node.path_call(calls::unlink, "/tmp/mine").ok();
    });
    as_user(&mut node, 7, |node| {
        node.path_call(calls::unlink, "/tmp/f").ok()
    });
}

#[test]
fn only_owners_change_attributes() {
    let mut node = Node::new(&[]);
    as_user(&mut node, 7, |node| node.put_file("/tmp/f", b"x"));
    let times = [0u8; 32];
    as_user(&mut node, 8, |node| {
        let chmod = node.call(calls::chmod, &[In(b"/tmp/f"), N(0o777)]);
        assert_eq!(chmod.errno(), Errno::EPERM);
        let args = [N(-100i64 as u64), In(b"/tmp/f"), In(&times), N(0)];
        assert_eq!(node.call(calls::utimensat, &args).errno(), Errno::EPERM);
        let args = [N(-100i64 as u64), In(b"/tmp/f"), Null, N(0)];
        assert_eq!(node.call(calls::utimensat, &args).errno(), Errno::EACCES);
    });
    as_user(&mut node, 7, |node| {
        let chown = |node: &mut Node, uid: u64, gid: u64| {
            node.call(calls::chown, &[In(b"/tmp/f"), N(uid), N(gid)])
        };
        assert_eq!(chown(node, 8, u64::MAX).errno(), Errno::EPERM);
        assert_eq!(chown(node, u64::MAX, 51).errno(), Errno::EPERM);
        chown(node, 7, 50).ok();
        node.call(calls::chmod, &[In(b"/tmp/f"), N(0o6755)]).ok();
        assert_eq!(node.lstat("/tmp/f").mode, 0o106_755);
        // Writing makes it an ordinary program.
        let fd = node.open("/tmp/f", 1);
        node.write(fd, b"z").ok();
        assert_eq!(node.lstat("/tmp/f").mode, 0o100_755);
    });
}

#[test]
fn a_group_is_passed_on_by_its_directory() {
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/d").ok();
    node.call(calls::chown, &[In(b"/d"), N(0), N(99)]).ok();
    node.call(calls::chmod, &[In(b"/d"), N(0o2777)]).ok();
    as_user(&mut node, 7, |node| {
        node.put_file("/d/f", b"");
        node.path_call(calls::mkdir, "/d/e").ok();
        assert_eq!(node.lstat("/d/f").gid, 99);
        assert_eq!(
            (node.lstat("/d/e").gid, node.lstat("/d/e").mode),
            (99, 0o042_755)
        );
    });
}

#[test]
fn access_asks_for_the_real_ids() {
    let mut node = Node::new(&[]);
    node.put_file("/f", b"");
    node.call(calls::chmod, &[In(b"/f"), N(0o600)]).ok();
    node.who.real_uid = 7;
    node.who.real_gid = 7;
    let access = |node: &mut Node, flags: u64| {
        let args = [N(-100i64 as u64), In(b"/f"), N(4), N(flags)];
        node.call(calls::faccessat2, &args)
    };
    assert_eq!(access(&mut node, 0).errno(), Errno::EACCES);
    access(&mut node, 0x200).ok();
}

#[test]
fn nothing_is_written_behind_the_limit() {
    let mut node = Node::new(&[]);
    let fd = node.open("/f", RDWR_CREAT);
    node.state.largest_file = 10;
    assert_eq!(node.write(fd, &[1; 30]).ok(), 10);
    assert_eq!(node.write(fd, &[1; 30]).errno(), Errno::EFBIG);
    assert_eq!(node.raised, Some(abi::signal::SIGXFSZ));
    let cut = |node: &mut Node, size: u64| node.call(calls::ftruncate, &[N(fd), N(size)]);
    assert_eq!(cut(&mut node, 11).errno(), Errno::EFBIG);
    cut(&mut node, 10).ok();
}

#[test]
fn a_changed_root_is_not_left() {
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/jail").ok();
    node.put_file("/jail/f", b"inside");
    node.put_file("/f", b"outside");
    as_user(&mut node, 7, |node| {
        assert_eq!(node.path_call(calls::chroot, "/tmp").errno(), Errno::EPERM);
    });
    node.path_call(calls::chroot, "/jail").ok();
    node.path_call(calls::chdir, "/").ok();
    let fd = node.open("../../f", 0);
    assert_eq!(node.read(fd, 9).bytes(1), b"inside");
    let cwd = node.call(calls::getcwd, &[Out(9), N(9)]).bytes(0);
    assert_eq!(cwd, b"/\0");
}
