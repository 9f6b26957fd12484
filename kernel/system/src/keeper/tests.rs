//! How records lie on a disk.
//!
//! Law: **who changes one of the bytes here, or what they mean, raises [`LAYOUT`]**, and gives the new bytes beside the new
//! number. A home whose system was replaced would otherwise take its guests for others.

use super::{LAYOUT, Record, understood};
use wire::{Outcome, Policy};

const HASH: [u8; 32] = [0xab; 32];

/// Every number of it is another one, so that nothing can change its place unnoticed.
fn record() -> Vec<u8> {
    let text = |text: &[u8]| [&[text.len() as u8], text].concat();
    [
        &[5, 2, 0x11, 1, 3, 0x12, 1, 4, 0x13][..], // epoch, owner, previous, last source
        &[0x14, 17, 0x15, 0x16, 1, 0, 1, 0, 1],    // parent, signal, group, session, flags
        &[0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27], // users and groups
        &[0x28, 0x29, 0x2a, 0x2b, 2, 0x30, 0x31, 0x37, 0x14, 0], // capabilities, groups, what it may come to be
        &[1, 0x32, 0x33, 1, 2, 5, 14, 0x34], // limits, policy, nice, out of memory, login
        &[9, 1, 0, 1, 0x35, 0x36, 0x38],     // options
        b"worker\0\0\0\0\0\0\0\0\0\0",
        &text(b"worker 1"),
        &text(b"/worker"),
        &[1, 0x39], // threads
        b"thread\0\0\0\0\0\0\0\0\0\0",
        &[1, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57], // who it is itself
        &[0x58, 0x59, 0x5a, 0x5b, 1, 0x5c, 0x5d, 4, 1],
        &[1, 2, 1, 3, 4, 0x3a, 0x3b, 0x3c, 2], // scheduling, seccomp
        &[0x47, 1, 0x22, 1, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d], // its signals
        &[4, 0, 0x3d, 1],                      // files: console, device, image, lost
        &text(b"/dev/null"),
        &[0x3e, 2],
        &HASH,
        &[0x3f, 0x40, 3],
        &[1, 0x41, 2, 1], // descriptors
        &text(b"/tmp"),
        &text(b"/root"),
        &[0x12, 1, 0x42], // umask, mapped files
        &HASH,
        &text(b"/lib"),
        &[1, 19, 0, 1],                            // stopped, continued
        &[0x4e, 1, 10, 0, 0x4f, 0x5e, 0, 0, 0, 0], // its signals
        &[0, 1],                                   // timers, shared memory
        &[3, 0x39],                                // answers: a value, interrupted, refused
        &[0x43, 0x39, 5, 0x44, 0, 0x0d, 1],
        &text(b"data"),
        &[0x3a, 0x43, 0x3a, 5, 0x45, 1, 0],
        &text(b""),
        &[0x3b, 0x43, 0x3b, 5, 0x46, 2, 6, 3, 0x12, 0],
        &text(b""),
    ]
    .concat()
}

/// The same with names; `HASH` is that of a file.
const AS_READ: &str = "\
    (Kept { epoch: 5, owner: (NodeId(2), BootId(17)), previous: Some((NodeId(3), BootId(18))), last_source: \
    Some((NodeId(4), BootId(19))), parent: 20, exit_signal: 17, group: 21, session: 22, detached: true, executed: \
    false, disowns: true, ignores_children: false, deaf_to_stops: true, credentials: Credentials { ids: Ids { uid: \
    32, euid: 33, suid: 34, fsuid: 35, gid: 36, egid: 37, sgid: 38, fsgid: 39, effective: 40, permitted: 41, \
    inheritable: 42, ambient: 43 }, groups: [48, 49], bounding: 55, secure: 20, gains_nothing: false \
    }, limits: [(50, 51)], policy: Some(Exec), nice: -3, oom_score_adj: 7, login: 52, options: Options { \
    death_signal: 9, subreaper: true, dumpable: false, huge_pages_off: true, timer_slack_ns: 53, personality: 54, \
    dumped: 56 }, name: [119, 111, 114, 107, 101, 114, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], command_line: [119, 111, \
    114, 107, 101, 114, 32, 49], program: [47, 119, 111, 114, 107, 101, 114], threads: [KeptThread { tid: 57, \
    name: [116, 104, 114, 101, 97, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], credentials: Some(Credentials { ids: Ids { \
    uid: 80, euid: 81, suid: 82, fsuid: 83, gid: 84, egid: 85, sgid: 86, fsgid: 87, effective: 88, permitted: 89, \
    inheritable: 90, ambient: 91 }, groups: [92], bounding: 93, secure: 4, gains_nothing: true }), \
    scheduling: Scheduling { policy: 1, priority: 2, resets: true, processors: 3, io: 4, times: [58, 59, 60] }, \
    seccomp: 2, pending: PendingSignals { set: 71, queue: [SignalInfo { signal: 34, code: -1, words: [72, 73], rest: \
    InfoRest { errno: 74, gap: 75, tail: [76, 77] } }] } }], files: KeptFiles { files: [Console(61), Device([47, 100, 101, 118, 47, 110, 117, 108, 108], \
    62), Image(HASH, 63, 64), Lost], rows: [(65, 2, true)], directory: [47, 116, 109, 112], root: [47, 114, 111, \
    111, 116], umask: 18 }, mapped: [(66, HASH, [47, 108, 105, 98])], stopped: Some((19, false)), continued: true, \
    pending: PendingSignals { set: 78, queue: [SignalInfo { signal: 10, code: 0, words: [79, 94], rest: InfoRest { \
    errno: 0, gap: 0, tail: [0, 0] } }] }, timers: false, shares: true }, [(Pid(57), Reply { pid: Pid(67), thread: Pid(57), epoch: 5, seq: 68, outcome: Value(-7), \
    poke: true, data: [100, 97, 116, 97] }), (Pid(58), Reply { pid: Pid(67), thread: Pid(58), epoch: 5, seq: 69, \
    outcome: Interrupted, poke: false, data: [] }), (Pid(59), Reply { pid: Pid(67), thread: Pid(59), epoch: 5, \
    seq: 70, outcome: Refused { epoch: 6, owner: NodeId(3), owner_boot: BootId(18) }, poke: false, data: [] })])";

#[test]
fn a_record_of_this_layout() {
    assert_eq!(LAYOUT, 4, "the bytes below are of this layout");
    let bytes = record();
    let read: Record = understood(&bytes).expect("it is understood");
    let expected = AS_READ.replace("HASH", &format!("{HASH:?}"));
    assert_eq!(format!("{read:?}"), expected);
    assert_eq!(postcard::to_allocvec(&read).expect("it fits"), bytes);
    let policies = Policy::ALL.map(|policy| postcard::to_allocvec(&policy).expect("it fits"));
    assert_eq!(policies, [[0], [1], [2], [3]]);
    assert!(matches!(read.1[2].1.outcome, Outcome::Refused { .. }));
}

#[test]
fn what_is_longer_or_shorter_is_not_understood() {
    let mut bytes = record();
    for length in 0..bytes.len() {
        assert!(understood::<Record>(&bytes[..length]).is_none(), "{length}");
    }
    bytes.push(0);
    assert!(understood::<Record>(&bytes).is_none());
}
