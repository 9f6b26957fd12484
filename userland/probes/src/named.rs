//! Message queues of POSIX, extended attributes, and openat2(2).
//!
//! Law: all of it is at home, and answers from everywhere as from there.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rt::process::{Ended, start, wait_for};
use rt::raw::{DESK, Desk, libc};
use rt::signals::{Mask, mask, take};

use crate::files::Scratch;
use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure, must};

/// Where on the desk things are.
const NAME: u64 = 0;
const OTHER: u64 = 4096;
const VALUE: u64 = 8192;
const BUFFER: u64 = 16_384;

fn refused(
    desk: &mut Desk,
    what: &str,
    (number, words): (libc::c_long, [u64; 6]),
    error: i32,
) -> Verdict {
    let value = desk.call(number, words);
    ensure!(value == -i64::from(error), "{what} gave {value}");
    Ok(())
}

fn put_path(desk: &mut Desk, at: u64, path: &Path) -> Verdict {
    let path = CString::new(path.as_os_str().as_bytes()).doing("path")?;
    desk.put(at, path.as_bytes_with_nul());
    Ok(())
}

fn put_words(desk: &mut Desk, at: u64, words: &[u64]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    desk.put(at, &bytes);
}

fn send(desk: &mut Desk, queue: u64, text: &[u8], priority: u64) -> Verdict {
    desk.put(BUFFER, text);
    let words = [queue, DESK + BUFFER, text.len() as u64, priority, 0, 0];
    must(desk, "mq_timedsend", libc::SYS_mq_timedsend, words).map(drop)
}

fn receive(desk: &mut Desk, queue: u64) -> Result<(Vec<u8>, u64), String> {
    desk.put(VALUE, &[0; 8]);
    let words = [queue, DESK + BUFFER, 64, DESK + VALUE, 0, 0];
    let length = must(desk, "mq_timedreceive", libc::SYS_mq_timedreceive, words)?;
    Ok((desk.get(BUFFER, length as usize), desk.word(VALUE)))
}

fn success(child: i32) -> Verdict {
    let ended = wait_for(child).doing("wait")?;
    ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    Ok(())
}

/// Messages come by their priorities; who waits for one, or wants to hear of one, has it wherever it is.
pub(crate) fn message_queue(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    mask(Mask::Block, &[libc::SIGUSR1]).doing("block SIGUSR1")?;
    let name = CString::new(format!("probe-{}", std::process::id())).doing("name")?;
    desk.put(NAME, name.as_bytes_with_nul());
    put_words(&mut desk, OTHER, &[0, 4, 64, 0, 0, 0, 0, 0]);
    let flags = (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) as u64;
    let words = [DESK + NAME, flags, 0o600, DESK + OTHER, 0, 0];
    let queue = must(&mut desk, "mq_open", libc::SYS_mq_open, words)?;
    while moves.more() {
        for (text, priority) in [("low", 1), ("high", 5), ("also low", 1)] {
            send(&mut desk, queue, text.as_bytes(), priority)?;
        }
        moves.point()?;
        for (text, priority) in [("high", 5), ("low", 1), ("also low", 1)] {
            let found = receive(&mut desk, queue)?;
            ensure!(found == (text.into(), priority), "{found:?} came");
        }
        // sigev_value, then the signal and SIGEV_SIGNAL.
        put_words(
            &mut desk,
            VALUE,
            &[7, libc::SIGUSR1 as u64, 0, 0, 0, 0, 0, 0],
        );
        let words = [queue, DESK + VALUE, 0, 0, 0, 0];
        must(&mut desk, "mq_notify", libc::SYS_mq_notify, words)?;
        moves.point()?;
        send(&mut desk, queue, b"told", 0)?;
        let told = take(&[libc::SIGUSR1], Duration::from_secs(20)).doing("wait for the signal")?;
        // SI_MESGQ
        ensure!(told == Some((libc::SIGUSR1, -3)), "the notice is {told:?}");
        let found = receive(&mut desk, queue)?;
        ensure!(found == (b"told".into(), 0), "{found:?} came");
        let node = moves.take();
        let child = start(|| {
            let mut work = || {
                go(node.as_deref())?;
                std::thread::sleep(Duration::from_millis(30));
                send(&mut desk, queue, b"at last", 2)
            };
            tell(work())
        })
        .doing("fork")?;
        let found = receive(&mut desk, queue)?;
        ensure!(found == (b"at last".into(), 2), "{found:?} came");
        success(child)?;
    }
    let words = [DESK + NAME, 0, 0, 0, 0, 0];
    must(&mut desk, "mq_unlink", libc::SYS_mq_unlink, words).map(drop)
}

/// Extended attributes stay with their file, and are found by path and by descriptor.
pub(crate) fn attributes(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    let scratch = Scratch::new("xattr");
    while moves.more() {
        let file = scratch.create()?;
        let fd = u64::from(file.as_raw_fd().cast_unsigned());
        put_path(&mut desk, NAME, scratch.path())?;
        desk.put(OTHER, b"user.probe\0");
        let value = moves.round().to_le_bytes();
        desk.put(VALUE, &value);
        let set = [DESK + NAME, DESK + OTHER, DESK + VALUE, 8, 0, 0];
        must(&mut desk, "setxattr", libc::SYS_setxattr, set)?;
        moves.point()?;
        let again = [
            fd,
            DESK + OTHER,
            DESK + VALUE,
            8,
            libc::XATTR_CREATE as u64,
            0,
        ];
        let again = (libc::SYS_fsetxattr, again);
        refused(&mut desk, "a second creation", again, libc::EEXIST)?;
        let get = [fd, DESK + OTHER, DESK + BUFFER, 64, 0, 0];
        let length = must(&mut desk, "fgetxattr", libc::SYS_fgetxattr, get)?;
        let found = desk.get(BUFFER, length as usize);
        ensure!(found == value, "the attribute is {found:?}");
        let short = (
            libc::SYS_fgetxattr,
            [fd, DESK + OTHER, DESK + BUFFER, 4, 0, 0],
        );
        refused(&mut desk, "too little room", short, libc::ERANGE)?;
        let list = [DESK + NAME, DESK + BUFFER, 64, 0, 0, 0];
        let length = must(&mut desk, "listxattr", libc::SYS_listxattr, list)?;
        let names = desk.get(BUFFER, length as usize);
        ensure!(names == b"user.probe\0", "the names are {names:?}");
        moves.point()?;
        let remove = [DESK + NAME, DESK + OTHER, 0, 0, 0, 0];
        must(&mut desk, "removexattr", libc::SYS_removexattr, remove)?;
        let gone = (libc::SYS_fgetxattr, get);
        refused(&mut desk, "an attribute that is gone", gone, libc::ENODATA)?;
        std::fs::remove_file(scratch.path()).doing("unlink")?;
    }
    Ok(())
}

/// openat2(2) keeps a walk inside of a directory.
pub(crate) fn beneath(moves: &mut Moves) -> Verdict {
    const BENEATH: u64 = 8;
    const IN_ROOT: u64 = 16;
    const NO_SYMLINKS: u64 = 4;
    let mut desk = Desk::map().ok_or("no desk")?;
    let scratch = Scratch::new("openat2");
    let place = scratch.path().with_extension("d");
    std::fs::create_dir(&place).doing("mkdir")?;
    std::fs::write(place.join("in"), b"inside").doing("write")?;
    std::os::unix::fs::symlink("/in", place.join("link")).doing("symlink")?;
    let directory = std::fs::File::open(&place).doing("open a directory")?;
    let directory = (directory.as_raw_fd().cast_unsigned(), directory);
    let open = |desk: &mut Desk, path: &str, resolve: u64| {
        desk.put(NAME, path.as_bytes());
        desk.put(NAME + path.len() as u64, &[0]);
        put_words(desk, VALUE, &[0, 0, resolve]);
        let words = [directory.0.into(), DESK + NAME, DESK + VALUE, 24, 0, 0];
        desk.call(libc::SYS_openat2, words)
    };
    while moves.more() {
        moves.point()?;
        for (path, resolve, expected) in [
            ("in", BENEATH, 0),
            ("link", BENEATH, libc::EXDEV),
            ("link", IN_ROOT, 0),
            ("link", NO_SYMLINKS, libc::ELOOP),
            ("../..", BENEATH, libc::EXDEV),
            ("../../in", IN_ROOT, 0),
            ("in", 1 << 40, libc::EINVAL),
        ] {
            let fd = open(&mut desk, path, resolve);
            if let Ok(fd) = u64::try_from(fd) {
                ensure!(expected == 0, "{path} with {resolve} was opened");
                let words = [fd, DESK + BUFFER, 64, 0, 0, 0];
                let length = must(&mut desk, "read", libc::SYS_read, words)?;
                let text = desk.get(BUFFER, length as usize);
                ensure!(text == b"inside", "{path} is {text:?}");
                must(&mut desk, "close", libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
            } else {
                ensure!(fd == -i64::from(expected), "{path} with {resolve}: {fd}");
            }
        }
    }
    std::fs::remove_dir_all(&place).doing("remove")
}
