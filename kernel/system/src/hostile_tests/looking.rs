//! What processes see of themselves and each other in /proc, at home and away.

use super::{Cluster, DATA};

const READ: u64 = 0;
const OPEN: u64 = 2;
const PREAD: u64 = 17;
const PWRITE: u64 = 18;
const MMAP: u64 = 9;
const SETRESUID: u64 = 117;
const EACCES: i64 = -13;
const EINVAL: i64 = -22;
const EIO: i64 = -5;
/// Where the tests read to.
const INTO: u64 = DATA + 0x1000;

impl Cluster {
    fn open(&mut self, node: usize, pid: u32, name: &str, flags: u64) -> i64 {
        self.poke(node, pid, DATA, format!("{name}\0").as_bytes());
        self.call(node, pid, OPEN, &[DATA, flags, 0])
    }

    fn text_of(&mut self, node: usize, pid: u32, name: &str) -> String {
        let fd = self.open(node, pid, name, 0);
        assert!(fd >= 0, "{name}: {fd}");
        let read = self.call(node, pid, READ, &[fd as u64, INTO, 4000]);
        assert!(read >= 0, "{name}: {read}");
        let bytes: Vec<u8> = (0..read as u64)
            .map(|at| self.byte(node, pid, INTO + at))
            .collect();
        String::from_utf8(bytes).expect("text")
    }
}

/// Where a process is, wherever that is by now.
fn node_of(cluster: &Cluster, pid: u32) -> usize {
    let has = |node: &crate::System| node.bodies.contains_key(&pid);
    cluster.nodes.iter().position(has).expect("a body")
}

/// A call of one that may come home for it.
fn call(cluster: &mut Cluster, pid: u32, number: u64, args: &[u64]) -> i64 {
    let node = node_of(cluster, pid);
    cluster.begin_call(node, pid, number, args);
    cluster.settle();
    cluster.live();
    let node = node_of(cluster, pid);
    let thread = cluster.nodes[node].threads.get(&pid).expect("a thread");
    assert!(thread.call.is_none());
    match thread.registers.rax as i64 {
        // It has come home before it was done, and does it there.
        result if result == number as i64 => cluster.call(node, pid, number, args),
        result => result,
    }
}

#[test]
fn memory_is_read_and_written_by_its_file() {
    for node in [0, 1] {
        let mut cluster = Cluster::new(2);
        let pid = cluster.fork(0);
        if node == 1 {
            cluster.move_to(pid, 2);
        }
        let fd = cluster.open(node, pid, "/proc/self/mem", 2) as u64;
        cluster.poke(node, pid, DATA + 0x20, b"there");
        assert_eq!(
            call(&mut cluster, pid, PREAD, &[fd, INTO, 5, DATA + 0x20]),
            5
        );
        let at = node_of(&cluster, pid);
        assert_eq!(cluster.byte(at, pid, INTO + 4), b'e');
        assert_eq!(
            call(&mut cluster, pid, PWRITE, &[fd, INTO, 5, DATA + 0x40]),
            5
        );
        let at = node_of(&cluster, pid);
        assert_eq!(cluster.byte(at, pid, DATA + 0x40), b't');
        for number in [PREAD, PWRITE] {
            assert_eq!(call(&mut cluster, pid, number, &[fd, INTO, 5, 0]), EIO);
        }
    }
}

#[test]
fn the_map_of_pages_says_which_are_there() {
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    let fresh = cluster.call(0, pid, MMAP, &[0, 0x2000, 3, 0x22, u64::MAX, 0]) as u64;
    cluster.poke(0, pid, fresh + 0x1000, b"x");
    let fd = cluster.open(0, pid, "/proc/self/pagemap", 0) as u64;
    let read = cluster.call(0, pid, PREAD, &[fd, INTO, 16, fresh / 0x1000 * 8]);
    assert_eq!(read, 16);
    let highest = |cluster: &mut Cluster, entry: u64| cluster.byte(0, pid, INTO + 8 * entry + 7);
    assert_eq!(highest(&mut cluster, 0) & 0x80, 0);
    assert_eq!(highest(&mut cluster, 1) & 0x80, 0x80);
    assert_eq!(cluster.call(0, pid, PREAD, &[fd, INTO, 16, 4]), EINVAL);
    let beyond = machine::USER_END / 0x1000 * 8;
    assert_eq!(cluster.call(0, pid, PREAD, &[fd, INTO, 16, beyond]), 0);
}

#[test]
fn only_who_may_looks_into_another() {
    let mut cluster = Cluster::new(1);
    let other = cluster.fork(0);
    let pid = cluster.fork(0);
    let name = format!("/proc/{other}/mem");
    let fd = cluster.open(0, pid, &name, 2);
    assert!(fd >= 0);
    cluster.poke(0, other, DATA + 0x60, b"secret");
    let args = [fd as u64, INTO, 6, DATA + 0x60];
    assert_eq!(cluster.call(0, pid, PREAD, &args), 6);
    cluster.call(0, pid, SETRESUID, &[5, 5, 5]);
    for (name, flags) in [
        ("mem", 0),
        ("pagemap", 0),
        ("environ", 0),
        ("clear_refs", 1),
    ] {
        let name = format!("/proc/{other}/{name}");
        assert_eq!(cluster.open(0, pid, &name, flags), EACCES, "{name}");
    }
}

#[test]
fn a_call_shows_what_it_is_and_with_what() {
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    let text = cluster.text_of(0, pid, "/proc/self/syscall");
    let mut words = text.split(' ');
    assert_eq!(words.next(), Some("0"));
    assert_eq!(words.nth(1), Some(format!("{INTO:#x}").as_str()), "{text}");
}

#[test]
fn what_is_written_to_settings_of_a_process_is_read_from_them() {
    const WRITE: u64 = 1;
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    for (name, first, written, then) in [
        ("timerslack_ns", "50000\n", "1000", "1000\n"),
        ("timerslack_ns", "1000\n", "0", "50000\n"),
        ("coredump_filter", "00000033\n", "0x7f", "0000007f\n"),
        ("oom_adj", "0\n", "15", "15\n"),
        ("oom_score_adj", "1000\n", "-500", "-500\n"),
        ("oom_adj", "-8\n", "-17", "-17\n"),
        ("setgroups", "allow\n", "", "allow\n"),
    ] {
        let name = format!("/proc/self/{name}");
        assert_eq!(cluster.text_of(0, pid, &name), first, "{name}");
        if !written.is_empty() {
            let fd = cluster.open(0, pid, &name, 1) as u64;
            cluster.poke(0, pid, INTO, written.as_bytes());
            let length = written.len() as u64;
            let result = cluster.call(0, pid, WRITE, &[fd, INTO, length]);
            assert_eq!(result, length as i64, "{name}");
        }
        assert_eq!(cluster.text_of(0, pid, &name), then, "{name}");
    }
    let child = cluster.call(0, pid, 57, &[]);
    let children = format!("/proc/self/task/{pid}/children");
    assert_eq!(cluster.text_of(0, pid, &children), format!("{child} "));
}

#[test]
fn the_links_of_others_lead_nowhere() {
    const READLINK: u64 = 89;
    let mut cluster = Cluster::new(1);
    let (root, user) = (cluster.fork(0), cluster.fork(0));
    assert_eq!(cluster.call(0, user, SETRESUID, &[5, 5, 5]), 0);
    let text = |cluster: &mut Cluster, pid, name: &str| {
        cluster.poke(0, pid, DATA, format!("{name}\0").as_bytes());
        cluster.call(0, pid, READLINK, &[DATA, INTO, 100])
    };
    for name in ["cwd", "root"] {
        let links = [root, user].map(|pid| format!("/proc/{pid}/{name}"));
        assert_eq!(text(&mut cluster, user, &links[0]), EACCES);
        assert_eq!(text(&mut cluster, user, &links[1]), 1);
        assert_eq!(text(&mut cluster, root, &links[1]), 1);
        let below = format!("{}/proc", links[0]);
        assert_eq!(cluster.open(0, user, &below, 0), EACCES);
        assert!(cluster.open(0, root, &below, 0) >= 0);
    }
}
