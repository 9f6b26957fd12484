//! Tests of who a thread is, beside the others of its process.
//!
//! Law: as in `hostile_tests`, whose cluster this uses: a program is the calls that the test makes.

use crate::files::{ProcEntry, ProcView, ProcessFile, ThreadFile};
use crate::hostile_tests::Cluster;
use crate::wait::Stop;

const FORK: u64 = 57;
const CLONE: u64 = 56;
const EXECVE: u64 = 59;
const EXIT: u64 = 60;
const KILL: u64 = 62;
const GETUID: u64 = 102;
const SETGROUPS: u64 = 116;
const GETGROUPS: u64 = 115;
const SETRESUID: u64 = 117;
const CAPGET: u64 = 125;
const CAPSET: u64 = 126;
const SETFSUID: u64 = 122;
const PRCTL: u64 = 157;
const TKILL: u64 = 200;
const OPENAT: u64 = 257;
const GET_NO_NEW_PRIVS: u64 = 39;
const SET_NO_NEW_PRIVS: u64 = 38;
const DATA: u64 = 0x60_0000;
const USER: u64 = 1000;
const EPERM: i64 = -1;
const EACCES: i64 = -13;

/// A thread of the caller's process.
fn thread(cluster: &mut Cluster, node: usize, tid: u32) -> u32 {
    // CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM.
    const FLAGS: u64 = 0x5_0f00;
    let new = cluster.call(node, tid, CLONE, &[FLAGS, DATA + 0x1000]);
    assert!(new > 0, "clone gave {new}");
    new as u32
}

fn becomes_user(cluster: &mut Cluster, node: usize, tid: u32) {
    assert_eq!(cluster.call(node, tid, SETRESUID, &[USER; 3]), 0);
}

/// Opens a file, which is made if it is not there.
fn open(cluster: &mut Cluster, node: usize, (pid, tid): (u32, u32), path: &str) -> i64 {
    cluster.poke(node, pid, DATA, path.as_bytes());
    let args = [-100_i64 as u64, DATA, 0o102, 0o600];
    cluster.call(node, tid, OPENAT, &args)
}

/// A line of a file that tells of who somebody is.
fn line(cluster: &mut Cluster, entry: ProcEntry, reader: u32, name: &str) -> String {
    let bytes = loop {
        match cluster.nodes[0].read(entry, reader) {
            Err(Stop::Wait) => cluster.settle(),
            told => break told.expect("it is there"),
        }
    };
    let text = String::from_utf8(bytes).expect("text");
    let mut lines = text.lines().filter(|line| line.starts_with(name));
    lines.next().expect("such a line").to_owned()
}

/// What one thread becomes the others are not, and what it makes is as itself.
#[test]
fn a_thread_becomes_another_alone_wherever_it_is() {
    for away in [false, true] {
        let mut cluster = Cluster::new(2);
        let (pid, other) = (cluster.fork(0), cluster.fork(0));
        let tid = thread(&mut cluster, 0, pid);
        let node = usize::from(away);
        if away {
            cluster.move_to(pid, 2);
        }
        cluster.poke(node, pid, DATA, &[3, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(cluster.call(node, pid, SETGROUPS, &[2, DATA]), 0);
        assert_eq!(cluster.call(node, tid, PRCTL, &[SET_NO_NEW_PRIVS, 1]), 0);
        assert!(open(&mut cluster, node, (pid, pid), "/mine\0") >= 0);
        becomes_user(&mut cluster, node, tid);
        let third = thread(&mut cluster, node, tid);
        let children = [tid, pid].map(|tid| cluster.call(node, tid, FORK, &[]) as u32);
        let told = [tid, pid, third, children[0], children[1]]
            .map(|tid| cluster.call(node, tid, GETUID, &[]));
        assert_eq!(told, [1000, 0, 1000, 1000, 0], "away: {away}");
        for (tid, result) in [(tid, EPERM), (third, EPERM), (pid, 0)] {
            assert_eq!(cluster.call(node, tid, KILL, &[other.into(), 0]), result);
        }
        // Who may do it to the one may not to the other of the same process.
        let user = children[0];
        assert_eq!(cluster.call(node, user, TKILL, &[tid.into(), 0]), 0);
        assert_eq!(cluster.call(node, user, TKILL, &[pid.into(), 0]), EPERM);
        assert_eq!(open(&mut cluster, node, (pid, tid), "/mine\0"), EACCES);
        assert!(open(&mut cluster, node, (pid, pid), "/mine\0") >= 0);
        let groups = [pid, tid].map(|tid| cluster.call(node, tid, GETGROUPS, &[0, 0]));
        assert_eq!(groups, [2, 0]);
        // What another may, and only oneself gives up.
        for (of, low) in [(pid, u32::MAX), (tid, 0), (0, 0)] {
            let header = [0x2008_0522, of];
            let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
            cluster.poke(node, pid, DATA, &bytes);
            assert_eq!(cluster.call(node, tid, CAPGET, &[DATA, DATA + 8]), 0);
            assert_eq!(cluster.peek_words(node, pid, DATA + 8, 1)[0] as u32, low);
            let gives = cluster.call(node, tid, CAPSET, &[DATA, DATA + 64]);
            assert_eq!(gives, if of == pid { EPERM } else { 0 });
        }
        let gains = [pid, tid].map(|tid| cluster.call(node, tid, PRCTL, &[GET_NO_NEW_PRIVS]));
        assert_eq!(gains, [0, 1]);
        assert_eq!(cluster.call(node, pid, SETFSUID, &[7]), 0);
        let entry = ProcEntry::Thread(pid, tid, ThreadFile::Status);
        let uid = line(&mut cluster, entry, tid, "Uid:");
        assert_eq!(uid, "Uid:\t1000\t1000\t1000\t1000");
        let entry = ProcEntry::Process(pid, ProcessFile::Status);
        let uid = line(&mut cluster, entry, pid, "Uid:");
        assert_eq!(uid, "Uid:\t0\t0\t0\t7");
        cluster.move_to(pid, if away { 1 } else { 2 });
        let node = 1 - node;
        let told = [tid, pid, third].map(|tid| cluster.call(node, tid, GETUID, &[]));
        assert_eq!(told, [1000, 0, 1000]);
        assert_eq!(cluster.call(node, pid, SETFSUID, &[0]), 7);
        assert_eq!(cluster.call(node, tid, SETFSUID, &[0]), 1000);
    }
}

/// The program that a thread becomes is who the thread was.
#[test]
fn the_thread_that_executes_makes_the_process_what_it_is() {
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    let tid = thread(&mut cluster, 0, pid);
    becomes_user(&mut cluster, 0, tid);
    cluster.poke(0, pid, DATA, b"/tool\0");
    cluster.poke(0, pid, DATA + 0x100, &[0; 8]);
    cluster.begin_call(0, tid, EXECVE, &[DATA, DATA + 0x100, DATA + 0x100]);
    cluster.settle();
    assert_eq!(cluster.nodes[0].process_of(tid), None);
    assert_eq!(cluster.call(0, pid, GETUID, &[]), USER as i64);
    let entry = ProcEntry::Process(pid, ProcessFile::Status);
    let uid = line(&mut cluster, entry, pid, "Uid:");
    assert_eq!(uid, "Uid:\t1000\t1000\t1000\t1000");
}

/// For others a process is who its first thread is, also when that is over.
#[test]
fn a_process_is_for_others_who_its_first_thread_was() {
    let mut cluster = Cluster::new(1);
    let (pid, user) = (cluster.fork(0), cluster.fork(0));
    let tid = thread(&mut cluster, 0, pid);
    becomes_user(&mut cluster, 0, tid);
    becomes_user(&mut cluster, 0, user);
    for ends in [false, true] {
        if ends {
            cluster.begin_call(0, pid, EXIT, &[0]);
            cluster.settle();
        }
        assert_eq!(cluster.call(0, user, KILL, &[pid.into(), 0]), EPERM);
        assert_eq!(cluster.call(0, user, TKILL, &[tid.into(), 0]), 0);
    }
}

/// Home knows its threads apart when it has booted again.
#[test]
fn what_a_thread_became_is_kept() {
    let mut cluster = Cluster::with_a_disk(2);
    let pid = cluster.fork(0);
    let tid = thread(&mut cluster, 0, pid);
    cluster.move_to(pid, 2);
    becomes_user(&mut cluster, 1, tid);
    cluster.settle();
    cluster.reboot(0);
    cluster.settle();
    cluster.settle();
    let other = cluster.fork(0);
    for (tid, result) in [(tid, EPERM), (pid, 0)] {
        assert_eq!(cluster.call(1, tid, KILL, &[other.into(), 0]), result);
    }
    let entry = ProcEntry::Thread(pid, tid, ThreadFile::Status);
    let uid = line(&mut cluster, entry, tid, "Uid:");
    assert_eq!(uid, "Uid:\t1000\t1000\t1000\t1000");
}

/// What is not done for user 0, a thread has said for itself, wherever it is, and its children with it.
#[test]
fn securebits_are_a_threads_own() {
    const GET_SECUREBITS: u64 = 27;
    const SET_SECUREBITS: u64 = 28;
    const SET_KEEPCAPS: u64 = 8;
    // `SECBIT_NO_SETUID_FIXUP` and `SECBIT_KEEP_CAPS_LOCKED`.
    const BITS: u64 = 1 << 2 | 1 << 5;
    let mut cluster = Cluster::new(2);
    let (pid, other) = (cluster.fork(0), cluster.fork(0));
    let tid = thread(&mut cluster, 0, pid);
    cluster.move_to(pid, 2);
    let mut ask = |tid: u32, args: &[u64]| cluster.call(1, tid, PRCTL, args);
    assert_eq!(ask(tid, &[SET_SECUREBITS, 1 << 8]), EPERM);
    assert_eq!(ask(tid, &[SET_SECUREBITS, BITS]), 0);
    assert_eq!(ask(tid, &[SET_KEEPCAPS, 1]), EPERM);
    assert_eq!(ask(tid, &[SET_SECUREBITS, 0]), EPERM);
    let child = cluster.call(1, tid, FORK, &[]) as u32;
    for (tid, bits) in [(tid, BITS), (child, BITS), (pid, 0)] {
        let told = cluster.call(1, tid, PRCTL, &[GET_SECUREBITS]);
        assert_eq!(told, bits as i64);
    }
    // As another user they may do what they could before, and the other thread may not.
    for (tid, result) in [(tid, 0), (child, 0), (pid, EPERM)] {
        becomes_user(&mut cluster, 1, tid);
        assert_eq!(cluster.call(1, tid, KILL, &[other.into(), 0]), result);
    }
}

/// A user's signals that wait are counted for all of its processes.
#[test]
fn queued_signals_are_told() {
    const RT_SIGPROCMASK: u64 = 14;
    let mut cluster = Cluster::new(1);
    let (pid, other) = (cluster.fork(0), cluster.fork(0));
    cluster.poke(0, pid, DATA, &(1_u64 << 9).to_le_bytes());
    assert_eq!(cluster.call(0, pid, RT_SIGPROCMASK, &[0, DATA, 0, 8]), 0);
    let entry = ProcEntry::Process(other, ProcessFile::Status);
    assert_eq!(line(&mut cluster, entry, other, "SigQ:"), "SigQ:\t0/1024");
    assert_eq!(cluster.call(0, other, KILL, &[pid.into(), 10]), 0);
    assert_eq!(line(&mut cluster, entry, other, "SigQ:"), "SigQ:\t1/1024");
    becomes_user(&mut cluster, 0, pid);
    assert_eq!(line(&mut cluster, entry, other, "SigQ:"), "SigQ:\t0/1024");
}
