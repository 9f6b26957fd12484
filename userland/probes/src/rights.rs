//! What a process may: capabilities, the filters of its calls; and what it was told by a signal.
//!
//! Law: these are kept where the process is, where its home is, or both, and say the same everywhere.

use rt::raw::{DESK, Desk, libc};

use crate::moves::Moves;
use crate::{Doing, Verdict, ensure};

/// A place on the desk for each thing that is passed.
const HEADER: u64 = 0x1000;
const DATA: u64 = 0x2000;
const PROGRAM: u64 = 0x3000;
const INFO: u64 = 0x4000;

fn desk() -> Result<Desk, String> {
    Desk::map().ok_or_else(|| "no desk".to_owned())
}

/// `struct __user_cap_data_struct[2]`: effective, permitted and inheritable, low words first.
fn capabilities_now(desk: &mut Desk) -> Result<Vec<u8>, String> {
    const VERSION: u64 = 0x2008_0522;
    desk.put(HEADER, &VERSION.to_le_bytes());
    let words = [DESK + HEADER, DESK + DATA, 0, 0, 0, 0];
    let told = desk.call(libc::SYS_capget, words);
    ensure_zero(told, "capget")?;
    Ok(desk.get(DATA, 24))
}

fn ensure_zero(told: i64, what: &str) -> Verdict {
    ensure!(told == 0, "{what} gave {told}");
    Ok(())
}

/// The lines of `/proc/self/status` about credentials.
fn status() -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(rt::system::proc_path("self/status")).doing("status")?;
    let wanted = ["Uid:", "Gid:", "Cap", "NoNewPrivs:"];
    let lines = text
        .lines()
        .filter(|line| wanted.iter().any(|wanted| line.starts_with(wanted)));
    Ok(lines.map(str::to_owned).collect())
}

/// Capabilities that were given up stay so, and the others count.
pub(crate) fn capabilities(moves: &mut Moves) -> Verdict {
    const CHOWN: u8 = 1;
    const FOWNER: u64 = 3;
    const SYS_TIME: u64 = 25;
    const RAISE: u64 = 2;
    const IS_SET: u64 = 1;
    const PR_CAP_AMBIENT: u64 = 47;
    const PR_CAPBSET_READ: u64 = 23;
    const PR_CAPBSET_DROP: u64 = 24;
    let mut desk = desk()?;
    let prctl = |desk: &mut Desk, words: [u64; 3]| {
        let [option, second, third] = words;
        desk.call(libc::SYS_prctl, [option, second, third, 0, 0, 0])
    };
    ensure_zero(prctl(&mut desk, [PR_CAPBSET_DROP, SYS_TIME, 0]), "dropping")?;
    let mut data = capabilities_now(&mut desk)?;
    // Given up for good; and another one to be inherited.
    data[0] &= !CHOWN;
    data[4] &= !CHOWN;
    data[8] |= 1 << FOWNER;
    desk.put(DATA, &data);
    let words = [DESK + HEADER, DESK + DATA, 0, 0, 0, 0];
    ensure_zero(desk.call(libc::SYS_capset, words), "capset")?;
    ensure_zero(prctl(&mut desk, [PR_CAP_AMBIENT, RAISE, FOWNER]), "raising")?;
    desk.put(PROGRAM, b"/tmp/capabilities\0");
    std::fs::write("/tmp/capabilities", "").doing("a file")?;
    let before = (capabilities_now(&mut desk)?, status()?);
    ensure!(before.0 == data, "capset was not what it seemed");
    while moves.more() {
        moves.point()?;
        let now = (capabilities_now(&mut desk)?, status()?);
        ensure!(now == before, "{before:?} became {now:?}");
        let chown = desk.call(libc::SYS_chown, [DESK + PROGRAM, 5, 5, 0, 0, 0]);
        ensure!(chown == -i64::from(libc::EPERM), "chown gave {chown}");
        let ambient = prctl(&mut desk, [PR_CAP_AMBIENT, IS_SET, FOWNER]);
        let bound = prctl(&mut desk, [PR_CAPBSET_READ, SYS_TIME, 0]);
        ensure!(
            (ambient, bound) == (1, 0),
            "ambient {ambient}, bound {bound}"
        );
        // Whose files they are to be, for a moment: the capabilities for files go and come back.
        let user = desk.call(libc::SYS_setfsuid, [7, 0, 0, 0, 0, 0]);
        let back = desk.call(libc::SYS_setfsuid, [0; 6]);
        ensure!((user, back) == (0, 7), "setfsuid gave {user} and {back}");
    }
    std::fs::remove_file("/tmp/capabilities").doing("removing the file")
}

/// A filter of calls stays, for its thread and for its children.
pub(crate) fn filters(moves: &mut Moves) -> Verdict {
    const ERROR: i64 = 77;
    const PR_SET_NO_NEW_PRIVS: u64 = 38;
    const PR_GET_SECCOMP: u64 = 21;
    const FILTER: u64 = 1;
    let mut desk = desk()?;
    // Load the number; if it is that of getpriority fail, else go on.
    let program: [u64; 4] = [
        0x20,
        0x15 | 1 << 24 | (libc::SYS_getpriority.cast_unsigned()) << 32,
        0x06 | (0x0005_0000 | ERROR.cast_unsigned()) << 32,
        0x06 | 0x7fff_0000 << 32,
    ];
    let bytes: Vec<u8> = program.iter().flat_map(|word| word.to_le_bytes()).collect();
    desk.put(PROGRAM, &bytes);
    desk.put(DATA, &4_u64.to_le_bytes());
    desk.put(DATA + 8, &(DESK + PROGRAM).to_le_bytes());
    let quiet = desk.call(libc::SYS_prctl, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0]);
    ensure_zero(quiet, "no new privileges")?;
    let told = desk.call(libc::SYS_seccomp, [FILTER, 0, DESK + DATA, 0, 0, 0]);
    ensure_zero(told, "seccomp")?;
    while moves.more() {
        moves.point()?;
        let refused = desk.call(libc::SYS_getpriority, [0; 6]);
        ensure!(refused == -ERROR, "getpriority gave {refused}");
        let mode = desk.call(libc::SYS_prctl, [PR_GET_SECCOMP, 0, 0, 0, 0, 0]);
        ensure!(mode == 2, "the mode is {mode}");
        let pid = desk.call(libc::SYS_getpid, [0; 6]);
        ensure!(pid == i64::from(std::process::id()), "getpid gave {pid}");
        let child = rt::process::start(|| {
            let refused = desk.call(libc::SYS_getpriority, [0; 6]);
            i32::from(refused != -ERROR)
        })
        .doing("fork")?;
        let ended = rt::process::wait_for(child).doing("wait")?;
        ensure!(ended.shell_status() == 0, "the child has another filter");
    }
    Ok(())
}

/// What a signal says comes whole, wherever it waited.
pub(crate) fn message(moves: &mut Moves) -> Verdict {
    const SIGNAL: u64 = 50;
    const CODE: i32 = -7;
    let mut desk = desk()?;
    desk.put(DATA, &(1_u64 << (SIGNAL - 1)).to_le_bytes());
    let blocked = desk.call(libc::SYS_rt_sigprocmask, [0, DESK + DATA, 0, 8, 0, 0]);
    ensure_zero(blocked, "blocking")?;
    let mut round = 0_u8;
    while moves.more() {
        round = round.wrapping_add(1);
        let mut info: Vec<u8> = (0..48).map(|at| round ^ at).collect();
        info[..4].copy_from_slice(&(SIGNAL as u32).to_le_bytes());
        info[8..12].copy_from_slice(&CODE.to_le_bytes());
        info.resize(128, 0);
        desk.put(INFO, &info);
        let pid = u64::from(std::process::id());
        let words = [pid, SIGNAL, DESK + INFO, 0, 0, 0];
        ensure_zero(desk.call(libc::SYS_rt_sigqueueinfo, words), "queueing")?;
        moves.point()?;
        desk.put(INFO, &[0; 128]);
        let words = [DESK + DATA, DESK + INFO, 0, 8, 0, 0];
        let came = desk.call(libc::SYS_rt_sigtimedwait, words);
        ensure!(came == SIGNAL.cast_signed(), "waiting gave {came}");
        let told = desk.get(INFO, 128);
        ensure!(told == info, "{info:?} became {told:?}");
    }
    Ok(())
}
