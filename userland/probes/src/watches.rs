//! inotify(7): events wait for their reader, wherever it is when they happen and when it reads.
//!
//! Law: the descriptor, the watches and what was not read yet move along.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use rt::raw::{DESK, Desk, libc};

use crate::files::Scratch;
use crate::moves::Moves;
use crate::{Doing, Verdict, ensure, must};

const BUFFER: u64 = DESK + 8192;
const IN_MODIFY: u64 = 2;
const IN_DELETE: u64 = 0x200;
const IN_CREATE: u64 = 0x100;
const IN_MOVED: u64 = 0xc0;

/// The events that are there: mask, whether there is a cookie, and name.
fn events(desk: &mut Desk, fd: u64) -> Result<Vec<(u32, bool, String)>, String> {
    let got = must(desk, "read", libc::SYS_read, [fd, BUFFER, 4096, 0, 0, 0])?;
    let bytes = desk.get(BUFFER - DESK, got as usize);
    let mut rest = bytes.as_slice();
    let mut all = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<16>() {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let (name, next) = behind
            .split_at_checked(word(12) as usize)
            .ok_or("an event is cut")?;
        let end = name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..end]).into_owned();
        all.push((word(4), word(8) != 0, name));
        rest = next;
    }
    Ok(all)
}

/// A directory is watched; between what happens in it and the reading of it the process moves.
pub(crate) fn inotify(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    let scratch = Scratch::new("inotify");
    let place = scratch.path().with_extension("d");
    std::fs::create_dir(&place).doing("mkdir")?;
    let name = CString::new(place.as_os_str().as_bytes()).doing("name")?;
    desk.put(0, name.as_bytes_with_nul());
    let nonblock = libc::O_NONBLOCK as u64;
    let fd = must(
        &mut desk,
        "inotify_init1",
        libc::SYS_inotify_init1,
        [nonblock, 0, 0, 0, 0, 0],
    )?;
    let mask = IN_MODIFY | IN_DELETE | IN_CREATE | IN_MOVED;
    let words = [fd, DESK, mask, 0, 0, 0];
    must(
        &mut desk,
        "inotify_add_watch",
        libc::SYS_inotify_add_watch,
        words,
    )?;
    while moves.more() {
        std::fs::write(place.join("one"), b"text").doing("write")?;
        moves.point()?;
        std::fs::rename(place.join("one"), place.join("two")).doing("rename")?;
        std::fs::remove_file(place.join("two")).doing("remove")?;
        moves.point()?;
        let found = events(&mut desk, fd)?;
        let expected = [
            (0x100, false, "one"),
            (2, false, "one"),
            (0x40, true, "one"),
            (0x80, true, "two"),
            (0x200, false, "two"),
        ];
        let expected = expected.map(|(mask, cookie, name)| (mask, cookie, name.to_owned()));
        ensure!(found == expected, "the events are {found:?}");
        let none = desk.call(libc::SYS_read, [fd, BUFFER, 4096, 0, 0, 0]);
        ensure!(
            none == -i64::from(libc::EAGAIN),
            "one more read gave {none}"
        );
    }
    std::fs::remove_dir(&place).doing("rmdir")
}
