//! The /proc tree.

use super::*;

#[test]
fn the_tree_lists_what_exists() {
    let mut node = Node::new(&[]);
    let root = node.list("/proc", 200);
    assert_eq!(root[..4], [".", "..", "self", "cluster"]);
    assert_eq!(root[root.len() - 2..], ["7", "300"]);
    let process = node.list("/proc/300", 10_000);
    for name in &process[2..] {
        node.path_call(calls::lstat, &format!("/proc/300/{name}"))
            .ok();
    }
    assert!(process.contains(&"goto".to_string()));
    assert_eq!(node.list("/proc/cluster", 10_000).len(), 12);
    // Nodes are the system's to know.
    assert_eq!(node.list("/proc/cluster/trace", 10_000), [".", ".."]);
    node.view.pids.pop();
    assert_eq!(
        node.path_call(calls::lstat, "/proc/300").errno(),
        Errno::ENOENT
    );
    for path in ["/proc/007", "/proc/99999999999", "/proc/-1", "/proc/7/none"] {
        assert_eq!(
            node.path_call(calls::lstat, path).errno(),
            Errno::ENOENT,
            "{path}"
        );
    }
}

#[test]
fn a_file_of_proc_can_be_cut_without_effect() {
    let mut node = Node::new(&[]);
    let fd = node.open("/proc/7/goto", 2);
    node.call(calls::ftruncate, &[N(fd), N(0)]).ok();
    node.call(calls::ftruncate, &[N(fd), N(5)]).ok();
    let read = node.open("/proc/self/stat", 0);
    let cut = node.call(calls::ftruncate, &[N(read), N(0)]);
    assert_eq!(cut.errno(), Errno::EINVAL);
}

#[test]
fn modes_and_refusals() {
    let mut node = Node::new(&[]);
    assert_eq!(node.lstat("/proc").mode, 0o040_555);
    assert_eq!(node.lstat("/proc/self").mode, 0o120_777);
    assert_eq!(node.lstat("/proc/self/stat").mode, 0o100_444);
    assert_eq!(node.lstat("/proc/7/goto").mode, 0o100_644);
    let setting = node.try_open("/proc/sys/kernel/ostype", 1);
    assert_eq!(setting.errno(), Errno::EACCES);
    for path in crate::files::settings::FREE {
        let setting = node.lstat(&format!("/proc/sys/{path}"));
        assert_eq!(setting.mode, 0o100_644, "{path}");
    }
    node.try_open("/proc/7/where", 1).ok();
    // A name that is not there cannot be made: it is not there.
    assert_eq!(node.try_open("/proc/new", 0o101).errno(), Errno::ENOENT);
    assert_eq!(
        node.path_call(calls::unlink, "/proc/stat").errno(),
        Errno::EPERM
    );
    assert_eq!(
        node.path_call(calls::mkdir, "/proc/x").errno(),
        Errno::ENOENT
    );
    assert_eq!(
        node.path_call(calls::chmod, "/proc/stat").errno(),
        Errno::EPERM
    );
    node.path_call(calls::chdir, "/proc/7/fd").ok();
    let args = [Out(99), N(99)];
    assert_eq!(node.call(calls::getcwd, &args).bytes(0), b"/proc/7/fd\0");
    node.path_call(calls::chdir, "../../..").ok();
    assert_eq!(node.call(calls::getcwd, &args).bytes(0), b"/\0");
}

#[test]
fn contents_are_one_snapshot_until_the_start_is_read_again() {
    let mut node = Node::new(&[]);
    let fd = node.open("/proc/self/goto", 2);
    assert_eq!(node.read(fd, 10).bytes(1), b"Process(7,");
    assert_eq!(node.write(fd, b"3\n").ok(), 2);
    let goto = ProcEntry::Process(7, ProcessFile::Goto);
    assert_eq!(node.view.written, [(goto, PID, b"3\n".to_vec())]);
    assert_eq!(node.read(fd, 100).bytes(1), b" Goto) 0\n");
    assert_eq!(node.read(fd, 100).bytes(1), b"");
    assert_eq!(node.call(calls::lseek, &[N(fd), N(0), N(0)]).ok(), 0);
    assert_eq!(node.read(fd, 100).bytes(1), b"Process(7, Goto) 1\n");
    let fd = node.open("/proc/cluster/self", 0);
    assert_eq!(node.read(fd, 100).bytes(1), b"Cluster(SelfNode) 1\n");
    let statfs = node.call(calls::fstatfs, &[N(fd), Out(120)]).bytes(1);
    assert_eq!(statfs[..2], [0xa0, 0x9f]);
}

#[test]
fn links_of_processes() {
    let mut node = Node::new(&[]);
    let directory = node.open("/proc/self", 0o200_000);
    let process = |node: &Node, fd: u64| {
        let file = node.state.get(fd as u32).expect("it is open");
        file.process_directory()
    };
    assert_eq!(process(&node, directory), Some(7));
    let other = node.open("/proc", 0o200_000);
    assert_eq!(process(&node, other), None);
    node.close(other);
    node.close(directory);
    let readlink = |node: &mut Node, path: &str| {
        let args = [In(path.as_bytes()), Out(99), N(99)];
        node.call(calls::readlink, &args)
    };
    assert_eq!(readlink(&mut node, "/proc/self").bytes(1), b"7");
    let thread = readlink(&mut node, "/proc/thread-self");
    assert_eq!(thread.bytes(1), b"7/task/7");
    assert_eq!(readlink(&mut node, "/proc/self/exe").errno(), Errno::ENOENT);
    node.view.links.insert(7, b"/tmp/program".to_vec());
    assert_eq!(
        readlink(&mut node, "/proc/self/exe").bytes(1),
        b"/tmp/program"
    );
    node.put_file("/tmp/program", b"code");
    let fd = node.open("/proc/7/exe", 0);
    assert_eq!(node.read(fd, 9).bytes(1), b"code");
    let link = format!("/proc/self/fd/{fd}");
    assert_eq!(readlink(&mut node, &link).bytes(1), b"/tmp/program");
    assert_eq!(node.list("/proc/self/fd", 999).len(), 4);
    // What it is open for, as lsof(8) and fuser(1) look there.
    for (flags, rights) in [(0, 0o500), (1, 0o300), (2, 0o700), (0o10_000_000, 0)] {
        let fd = node.open("/dev/null", flags);
        let link = node.lstat(&format!("/proc/self/fd/{fd}"));
        assert_eq!(link.mode, 0o120_000 | rights, "{flags:o}");
        node.close(fd);
    }
    // The file itself, also when it has no name any more.
    node.path_call(calls::unlink, "/tmp/program").ok();
    let again = node.open(&link, 0);
    assert_eq!(node.read(again, 9).bytes(1), b"code");
    assert_eq!(readlink(&mut node, "/proc/300/fd/0").errno(), Errno::ENOENT);
    // A directory, there and removed.
    node.path_call(calls::mkdir, "/tmp/folder").ok();
    let folder = node.open("/tmp/folder", 0o200_000);
    let link = format!("/proc/self/fd/{folder}");
    assert_eq!(readlink(&mut node, &link).bytes(1), b"/tmp/folder");
    node.path_call(calls::rmdir, "/tmp/folder").ok();
    let shown = readlink(&mut node, &link);
    assert_eq!(shown.bytes(1), b"/tmp/folder (deleted)");
}

#[test]
fn protocols_say_what_they_have_counted() {
    let mut node = Node::new(&[]);
    for (name, begins) in [
        ("snmp", "Ip: Forwarding DefaultTTL "),
        ("netstat", "TcpExt: SyncookiesSent "),
        ("snmp6", "Ip6InReceives                   \t0\n"),
    ] {
        let fd = node.open(&format!("/proc/self/net/{name}"), 0);
        let text = node.read(fd, 9999).bytes(1).to_vec();
        let text = String::from_utf8(text).expect("it is text");
        assert!(text.starts_with(begins), "{text}");
        // A value for each name.
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks(2).filter(|_| name != "snmp6") {
            let [names, values] = pair else {
                panic!("{name}")
            };
            assert_eq!(names.split(' ').count(), values.split(' ').count());
        }
    }
}

#[test]
fn a_walk_through_the_threads_comes_to_an_end() {
    let mut node = Node::new(&[]);
    let has = |names: Vec<String>, name: &str| names.iter().any(|known| known == name);
    assert!(has(node.list("/proc/7", 9999), "task"));
    assert!(!has(node.list("/proc/7/task/7", 9999), "task"));
    assert!(has(node.list("/proc/7/task/7", 9999), "status"));
    let inside = node.path_call(calls::stat, "/proc/7/task/7/task").errno();
    assert_eq!(inside, Errno::ENOENT);
    assert_ne!(
        node.lstat("/proc/7").inode,
        node.lstat("/proc/7/task/7").inode
    );
    node.path_call(calls::chdir, "/proc/7/task/7/..").ok();
    let there = node.call(calls::getcwd, &[Out(99), N(99)]).bytes(0);
    assert_eq!(there, b"/proc/7/task\0");
}

#[test]
fn every_name_of_the_tree_leads_somewhere_and_has_a_number_of_its_own() {
    let mut node = Node::new(&[]);
    let mut numbers = std::collections::BTreeMap::new();
    let mut folders = vec!["/proc".to_string()];
    while let Some(folder) = folders.pop() {
        for name in node.list(&folder, 20_000) {
            let path = format!("{folder}/{name}");
            // Links, and processes like any other.
            if [".", "..", "self", "thread-self", "300"].contains(&name.as_str()) {
                continue;
            }
            let found = node.lstat(&path);
            if found.mode & 0o170_000 == 0o040_000 && !path.contains("/fd") {
                folders.push(path.clone());
            }
            // What a thread shows is its process's.
            if !path.contains("/task/") && !path.contains("gid_map") && !path.contains("projid_map")
            {
                assert_eq!(numbers.insert(found.inode, path.clone()), None, "{path}");
            }
        }
    }
    assert!(numbers.len() > 250, "{}", numbers.len());
}

#[test]
fn contents_are_made_for_who_begins_in_the_middle_too() {
    let mut node = Node::new(&[]);
    let fd = node.open("/proc/cluster/self", 0);
    let args = [N(fd), Out(100), N(100), N(8)];
    assert_eq!(node.call(calls::pread64, &args).bytes(1), b"SelfNode) 0\n");
}

#[test]
fn who_opens_a_file_by_its_descriptor_has_opened_it_by_its_name() {
    const PATH: u64 = 0o10_000_000;
    let mut node = Node::new(&[]);
    node.path_call(calls::mkdir, "/d").ok();
    node.put_file("/d/f", b"x");
    let fd = node.open("/d/f", PATH as u32);
    let by_it = node.open(&format!("/proc/self/fd/{fd}"), 0);
    let again = node.open(&format!("/proc/self/fd/{by_it}"), 0);
    let mut shown = |fd: u64| {
        let link = format!("/proc/self/fd/{fd}");
        let args = [In(link.as_bytes()), Out(64), N(64)];
        node.call(calls::readlink, &args).bytes(1)
    };
    for fd in [fd, by_it, again] {
        assert_eq!(shown(fd), b"/d/f");
    }
    node.path_call(calls::unlink, "/d/f").ok();
    let gone = node.open(&format!("/proc/self/fd/{again}"), 0);
    let link = format!("/proc/self/fd/{gone}");
    let args = [In(link.as_bytes()), Out(64), N(64)];
    assert_eq!(
        node.call(calls::readlink, &args).bytes(1),
        b"/d/f (deleted)"
    );
}
