//! Memory that has an object behind it: segments of System V, and files that get shorter.
//!
//! Law: calls are made by number on the desk, because everything here is mapped where it is asked for.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use rt::raw::{DESK, Desk, KEPT, libc};

use crate::files::Scratch;
use crate::moves::Moves;
use crate::{Doing, Verdict, ensure, must};

const PAGE: u64 = 4096;
/// Where things are mapped: behind the part of the desk that stays.
const PLACE: u64 = DESK + KEPT + 16 * PAGE;
const PRIVATE: u64 = 0;

/// How many have attached a segment, as `IPC_STAT` says.
fn attachments(desk: &mut Desk, id: u64) -> Result<u64, String> {
    const IPC_STAT: u64 = 2;
    must(
        desk,
        "shmctl",
        libc::SYS_shmctl,
        [id, IPC_STAT, DESK, 0, 0, 0],
    )?;
    Ok(desk.word(88))
}

/// A segment keeps its bytes while nobody has it attached, wherever the process was; one that was removed
/// moves with the process that has it alone.
pub(crate) fn segment(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    let words = [PRIVATE, 3 * PAGE, 0o1600, 0, 0, 0];
    let id = must(&mut desk, "shmget", libc::SYS_shmget, words)?;
    let mut last = 0;
    while moves.more() {
        let round = moves.round() as u8;
        moves.point()?;
        // Attached for a while, which is only possible at home.
        must(&mut desk, "shmat", libc::SYS_shmat, [id, PLACE, 0, 0, 0, 0])?;
        let found = desk.load(PLACE + PAGE);
        ensure!(found == last, "the segment has {found} instead of {last}");
        last = round.wrapping_mul(3);
        desk.store(PLACE + PAGE, last);
        let count = attachments(&mut desk, id)?;
        ensure!(count == 1, "{count} attachments instead of one");
        must(&mut desk, "shmdt", libc::SYS_shmdt, [PLACE, 0, 0, 0, 0, 0])?;
        removed(&mut desk, moves, round)?;
    }
    must(&mut desk, "shmctl", libc::SYS_shmctl, [id, 0, 0, 0, 0, 0])?;
    Ok(())
}

fn removed(desk: &mut Desk, moves: &mut Moves, round: u8) -> Verdict {
    let words = [PRIVATE, 2 * PAGE, 0o1600, 0, 0, 0];
    let id = must(desk, "shmget", libc::SYS_shmget, words)?;
    must(desk, "shmat", libc::SYS_shmat, [id, PLACE, 0, 0, 0, 0])?;
    desk.store(PLACE, round);
    must(desk, "shmctl", libc::SYS_shmctl, [id, 0, 0, 0, 0, 0])?;
    moves.point()?;
    let found = desk.load(PLACE);
    ensure!(
        found == round,
        "after the move it has {found} instead of {round}"
    );
    desk.store(PLACE + PAGE, round);
    must(desk, "shmdt", libc::SYS_shmdt, [PLACE, 0, 0, 0, 0, 0])?;
    let again = desk.call(libc::SYS_shmdt, [PLACE, 0, 0, 0, 0, 0]);
    ensure!(again == -i64::from(libc::EINVAL), "detached twice: {again}");
    let gone = desk.call(libc::SYS_shmat, [id, PLACE, 0, 0, 0, 0]);
    ensure!(
        gone == -i64::from(libc::EINVAL),
        "attached what was removed: {gone}"
    );
    Ok(())
}

/// Whether a byte can be read by the kernel, which is refused what is behind the end of a file.
fn readable(desk: &mut Desk, fd: u64, address: u64) -> Result<bool, String> {
    match desk.call(libc::SYS_pwrite64, [fd, address, 1, 0, 0, 0]) {
        1 => Ok(true),
        value if value == -i64::from(libc::EFAULT) => Ok(false),
        value => Err(format!("pwrite gave {value}")),
    }
}

/// A file that is mapped gets shorter and longer again: what was behind its end is gone.
pub(crate) fn cut(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    let scratch = Scratch::new("file-cut");
    let sink = Scratch::new("file-cut-sink");
    let _sink = sink.create()?;
    let path = CString::new(sink.path().as_os_str().as_bytes()).doing("name")?;
    desk.put(0, path.as_bytes_with_nul());
    let words = [DESK, libc::O_WRONLY as u64, 0, 0, 0, 0];
    let sink_fd = must(&mut desk, "open", libc::SYS_open, words)?;
    while moves.more() {
        let file = scratch.create()?;
        let fd = u64::from(std::os::fd::AsRawFd::as_raw_fd(&file).cast_unsigned());
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; 3 * PAGE as usize], 0)
            .doing("write")?;
        moves.point()?;
        let words = [PLACE, 3 * PAGE, 1, 0x12, fd, 0];
        must(&mut desk, "mmap", libc::SYS_mmap, words)?;
        for page in 0..3 {
            ensure!(
                desk.load(PLACE + page * PAGE) == 7,
                "page {page} is not the file's"
            );
        }
        let size = PAGE + 10;
        must(
            &mut desk,
            "ftruncate",
            libc::SYS_ftruncate,
            [fd, size, 0, 0, 0, 0],
        )?;
        ensure!(
            desk.load(PLACE + PAGE) == 7,
            "what is left of the file is not there"
        );
        ensure!(
            desk.load(PLACE + PAGE + 10) == 0,
            "behind the end of the file there is something"
        );
        ensure!(
            readable(&mut desk, sink_fd, PLACE + PAGE + 10)?,
            "the last page is gone"
        );
        ensure!(
            !readable(&mut desk, sink_fd, PLACE + 2 * PAGE)?,
            "a page behind the end is there"
        );
        moves.point()?;
        ensure!(
            !readable(&mut desk, sink_fd, PLACE + 2 * PAGE)?,
            "it is there after a move"
        );
        must(
            &mut desk,
            "ftruncate",
            libc::SYS_ftruncate,
            [fd, 3 * PAGE, 0, 0, 0, 0],
        )?;
        let found = desk.load(PLACE + 2 * PAGE);
        ensure!(found == 0, "the file has grown with {found} in it");
        must(
            &mut desk,
            "munmap",
            libc::SYS_munmap,
            [PLACE, 3 * PAGE, 0, 0, 0, 0],
        )?;
    }
    Ok(())
}
