//! Credentials: who a process is, and what it may do to others, wherever either of them runs.
//!
//! Law: whoever changes its rights is a child made for it, and it stays user 0 enough to be moved.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread::scope;

use rt::process::{Ended, start, wait_for};
use rt::raw::{DESK, Desk, libc};
use rt::system::{proc_path, uname};

use crate::moves::{Moves, go, is_on, own_goto, tell};
use crate::{Doing, Verdict, ensure};

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;
const CAP_CHOWN: u64 = 1;
const CAP_KILL: u64 = 1 << 5;
/// Where on the desk is what: the header and the sets of capget(2), arrays of pieces, bytes.
const HEADER: u64 = 0;
const SETS: u64 = 0x10;
const OWN: u64 = 0x100;
const OTHER: u64 = 0x200;
const HERE: u64 = 0x1000;
const THERE: u64 = 0x2000;
const SECRET: &[u8] = b"what the other has";

/// Effective, permitted and inheritable capabilities.
fn capabilities(desk: &mut Desk) -> [u64; 3] {
    desk.put(HEADER, &u64::from(VERSION).to_le_bytes());
    let done = desk.call(libc::SYS_capget, [DESK + HEADER, DESK + SETS, 0, 0, 0, 0]);
    let words = desk.get(SETS, 24);
    let word = |at: usize| {
        u64::from(u32::from_le_bytes(std::array::from_fn(|i| {
            words[4 * at + i]
        })))
    };
    std::array::from_fn(|set| {
        if done == 0 {
            word(set) | word(set + 3) << 32
        } else {
            0
        }
    })
}

/// capset(2) with the same effective and permitted ones.
fn set_capabilities(desk: &mut Desk, set: u64) -> i64 {
    let halves = [
        set as u32,
        set as u32,
        0,
        (set >> 32) as u32,
        (set >> 32) as u32,
        0,
    ];
    let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
    desk.put(SETS, &bytes);
    desk.call(libc::SYS_capset, [DESK + HEADER, DESK + SETS, 0, 0, 0, 0])
}

fn one(desk: &mut Desk, number: libc::c_long, argument: u64) -> i64 {
    desk.call(number, [argument, 0, 0, 0, 0, 0])
}

/// `ADDR_NO_RANDOMIZE`, and `PER_LINUX32`: a machine with another name.
const PERSONA: u64 = 0x4_0008;

/// Another user of files, fewer capabilities, and a personality with the machine it names stay what they are.
pub(crate) fn credentials(moves: &mut Moves) -> Verdict {
    fn change(nodes: [Option<String>; 2]) -> Verdict {
        let mut desk = Desk::map().ok_or("no desk")?;
        let all = capabilities(&mut desk)[1];
        ensure!(all & CAP_KILL != 0, "user 0 has {all:#x}");
        // As another user of files it could not open this.
        let mut goto = nodes[0].as_ref().map(|_| own_goto()).transpose()?;
        one(&mut desk, libc::SYS_setfsuid, 1000);
        one(&mut desk, libc::SYS_personality, PERSONA);
        if let (Some(node), Some(goto)) = (&nodes[0], &mut goto) {
            goto.write_all(node.as_bytes()).doing("write to goto")?;
            is_on(node)?;
        }
        let user = one(&mut desk, libc::SYS_setfsuid, u32::MAX.into());
        ensure!(user == 1000, "files are those of {user}");
        let [effective, permitted, _] = capabilities(&mut desk);
        ensure!(
            effective & CAP_CHOWN == 0,
            "as a user it has {effective:#x}"
        );
        ensure!(permitted == all, "it may have {permitted:#x}");
        one(&mut desk, libc::SYS_setfsuid, 0);
        let less = all & !CAP_KILL;
        ensure!(
            set_capabilities(&mut desk, less) == 0,
            "it cannot have less"
        );
        go(nodes[1].as_deref())?;
        let [effective, permitted, _] = capabilities(&mut desk);
        ensure!(
            (effective, permitted) == (less, less),
            "it has {effective:#x}"
        );
        let more = set_capabilities(&mut desk, all);
        ensure!(more == -i64::from(libc::EPERM), "more gave {more}");
        let persona = one(&mut desk, libc::SYS_personality, u32::MAX.into());
        ensure!(persona.cast_unsigned() == PERSONA, "it is {persona:#x}");
        let machine = uname().doing("uname")?.machine;
        ensure!(machine == "i686", "the machine is {machine}");
        Ok(())
    }
    while moves.more() {
        let nodes = [moves.take(), moves.take()];
        let child = start(|| tell(change(nodes))).doing("fork")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    }
    Ok(())
}

/// The limit on descriptors, which the parent has set.
fn limited(desk: &mut Desk) -> Verdict {
    let args = [libc::RLIMIT_NOFILE.into(), DESK + HERE, 0, 0, 0, 0];
    desk.call(libc::SYS_getrlimit, args);
    let soft = desk.word(HERE);
    ensure!(soft == 77, "the limit is {soft}");
    Ok(())
}

/// A parent compares descriptors with its child, sets a limit of it, and reads and writes its memory.
pub(crate) fn others(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    while moves.more() {
        let (mut told, mut tells) = pipe().doing("pipe")?;
        let (mut goes, mut lets) = pipe().doing("pipe")?;
        let node = moves.take();
        let child = start(|| {
            let mut work = || {
                desk.put(THERE, SECRET);
                go(node.as_deref())?;
                tells.write_all(b".").doing("write")?;
                goes.read_exact(&mut [0]).doing("read")?;
                ensure!(desk.get(THERE, 4) == b"WHAT", "its memory was not written");
                limited(&mut desk)
            };
            tell(work())
        });
        let child = child.doing("fork")?;
        told.read_exact(&mut [0]).doing("read")?;
        moves.point()?;
        let pid = u64::from(child.cast_unsigned());
        let me = u64::from(std::process::id());
        let fds = [told.as_raw_fd(), lets.as_raw_fd()].map(|fd| u64::from(fd.cast_unsigned()));
        let same = desk.call(libc::SYS_kcmp, [me, pid, 0, fds[0], fds[0], 0]);
        let other = desk.call(libc::SYS_kcmp, [me, pid, 0, fds[0], fds[1], 0]);
        ensure!(same == 0 && other > 0, "kcmp gave {same} and {other}");
        let limit = [77_u64.to_le_bytes(), 99_u64.to_le_bytes()].concat();
        desk.put(HERE, &limit);
        let args = [pid, libc::RLIMIT_NOFILE.into(), DESK + HERE, 0, 0, 0];
        let set = desk.call(libc::SYS_prlimit64, args);
        ensure!(set == 0, "prlimit gave {set}");
        let piece =
            |at: u64, length: u64| [(DESK + at).to_le_bytes(), length.to_le_bytes()].concat();
        let length = SECRET.len() as u64;
        desk.put(OWN, &piece(HERE, length));
        desk.put(OTHER, &piece(THERE, length));
        let args = [pid, DESK + OWN, 1, DESK + OTHER, 1, 0];
        let read = desk.call(libc::SYS_process_vm_readv, args);
        let bytes = desk.get(HERE, SECRET.len());
        ensure!(
            read == length.cast_signed() && bytes == SECRET,
            "read {read}: {bytes:?}"
        );
        desk.put(HERE, b"WHAT");
        desk.put(OWN, &piece(HERE, 4));
        let wrote = desk.call(libc::SYS_process_vm_writev, args);
        ensure!(wrote == 4, "wrote {wrote}");
        lets.write_all(b".").doing("write")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    }
    Ok(())
}

/// Who the calling thread is, by its own file and by what it may read: a file of user 0.
fn is_user(user: u64, secret: &Path) -> Verdict {
    let status = fs::read_to_string(proc_path("thread-self/status")).doing("status")?;
    let line = format!("Uid:\t{user}\t{user}\t{user}\t{user}");
    ensure!(
        status.lines().any(|other| other == line),
        "no line {line:?} in {status}"
    );
    let refused = File::open(secret).map_err(|error| error.kind()).err();
    let right = (user != 0).then_some(ErrorKind::PermissionDenied);
    ensure!(refused == right, "user {user} was refused by {refused:?}");
    Ok(())
}

/// A thread becomes another user, and so is whom it makes; the others of its process are who they were.
pub(crate) fn of_thread(moves: &mut Moves) -> Verdict {
    const USER: u64 = 1000;
    let mut desk = Desk::map().ok_or("no desk")?;
    let secret = format!("/tmp/secret-{}", std::process::id());
    let secret = Path::new(&secret);
    fs::write(secret, SECRET).doing("a file")?;
    fs::set_permissions(secret, Permissions::from_mode(0o600)).doing("chmod")?;
    while moves.more() {
        let node = moves.take();
        let steps = Barrier::new(2);
        scope(|scope| {
            let worker = scope.spawn(|| {
                let words = [USER, USER, USER, 0, 0, 0];
                let became = desk.call(libc::SYS_setresuid, words);
                steps.wait();
                steps.wait();
                ensure!(became == 0, "setresuid gave {became}");
                is_user(USER, secret)?;
                let thread = scope.spawn(|| is_user(USER, secret));
                thread.join().expect("it does not panic")
            });
            steps.wait();
            let moved = go(node.as_deref());
            steps.wait();
            let found = worker.join().expect("it does not panic");
            moved.and(found)?;
            is_user(0, secret)
        })?;
    }
    fs::remove_file(secret).doing("remove the file")
}
