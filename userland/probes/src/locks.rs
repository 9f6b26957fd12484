//! Locks, pipes with names, permissions and holes: all of it stays at home and holds from everywhere.
//!
//! Law: as in `files`.

use std::fs::{File, OpenOptions, Permissions, create_dir, read_to_string, remove_dir_all};
use std::io::{ErrorKind, Read, Write, pipe};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use rt::locks::{Kind, Seek, become_user, holder, make_fifo, punch, seek, set, wait};
use rt::process::{Ended, start, wait_for};

use crate::files::Scratch;
use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

fn ended_well(child: i32) -> Verdict {
    let ended = wait_for(child).doing("wait")?;
    ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    Ok(())
}

/// Records stay with their process, wherever it is; a child has none of them.
pub(crate) fn records(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("records");
    while moves.more() {
        let file = scratch.create()?;
        let me = i32::try_from(std::process::id()).doing("my pid")?;
        set(file.as_fd(), Kind::Exclusive, 10, 10).doing("lock")?;
        moves.point()?;
        set(file.as_fd(), Kind::Free, 14, 2).doing("unlock the middle")?;
        let node = moves.take();
        let child = start(|| {
            let work = || {
                go(node.as_deref())?;
                let found = holder(file.as_fd(), 0, 0).doing("ask")?;
                ensure!(found == Some((me, 10, 4)), "the first record is {found:?}");
                let found = holder(file.as_fd(), 14, 0).doing("ask")?;
                ensure!(found == Some((me, 16, 4)), "the second record is {found:?}");
                let refused = set(file.as_fd(), Kind::Shared, 19, 1);
                ensure!(refused.is_err(), "a locked byte could be locked");
                set(file.as_fd(), Kind::Exclusive, 14, 2).doing("lock the gap")
            };
            tell(work())
        })
        .doing("fork")?;
        moves.point()?;
        ended_well(child)?;
        // The child's lock went with it; closing any descriptor of the file frees all of them.
        set(file.as_fd(), Kind::Exclusive, 0, 0).doing("lock all")?;
        drop(File::open(scratch.path()).doing("open again")?);
        let child = start(|| {
            tell(set(file.as_fd(), Kind::Exclusive, 0, 0).doing("lock what was freed by a close"))
        })
        .doing("fork")?;
        ended_well(child)?;
    }
    Ok(())
}

/// Who waits for a record gets it, also when moved while it waits.
pub(crate) fn record_wait(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("record-wait");
    while moves.more() {
        let file = scratch.create()?;
        let (mut locked, says_locked) = pipe().doing("pipe")?;
        let (may_free, mut free) = pipe().doing("pipe")?;
        let node = moves.take();
        let child = start(|| {
            let work = || {
                set(file.as_fd(), Kind::Exclusive, 5, 1).doing("lock in the child")?;
                go(node.as_deref())?;
                (&says_locked).write_all(b"l").doing("tell")?;
                (&may_free).read_exact(&mut [0]).doing("wait to be told")?;
                set(file.as_fd(), Kind::Free, 0, 0).doing("free in the child")
            };
            tell(work())
        })
        .doing("fork")?;
        locked.read_exact(&mut [0]).doing("wait for the child")?;
        let refused = set(file.as_fd(), Kind::Shared, 0, 0);
        ensure!(
            refused.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "the child's lock does not hold"
        );
        let waited = moves.while_blocked(
            || wait(file.as_fd(), Kind::Exclusive, 0, 10).doing("wait for the lock"),
            || free.write_all(b"f").doing("let the child free it"),
        )?;
        waited?;
        ended_well(child)?;
        let child = start(|| {
            let found = holder(file.as_fd(), 0, 0).doing("ask");
            tell(found.and_then(|found| {
                ensure!(
                    found.is_some_and(|found| (found.1, found.2) == (0, 10)),
                    "the record is {found:?}"
                );
                Ok(())
            }))
        })
        .doing("fork")?;
        ended_well(child)?;
    }
    Ok(())
}

/// A lock of flock(2) belongs to the open file: children have it too, and free it for all.
pub(crate) fn whole_file(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("flock");
    while moves.more() {
        let file = scratch.create()?;
        let other = File::open(scratch.path()).doing("open again")?;
        file.lock().doing("lock")?;
        moves.point()?;
        ensure!(other.try_lock_shared().is_err(), "two have the file");
        let waited = moves.while_blocked(
            || other.lock_shared().doing("wait for the file"),
            || file.unlock().doing("free it in the helper"),
        )?;
        waited?;
        moves.point()?;
        file.lock_shared().doing("share")?;
        ensure!(file.try_lock().is_err(), "a shared file was taken");
        drop(other);
        file.try_lock().doing("take what is free")?;
    }
    Ok(())
}

/// Opening a pipe with a name waits for the other side.
pub(crate) fn fifo(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("fifo");
    while moves.more() {
        make_fifo(scratch.path()).doing("mkfifo")?;
        let opened = moves.while_blocked(
            || File::open(scratch.path()).doing("open to read"),
            || {
                let mut write = OpenOptions::new()
                    .write(true)
                    .open(scratch.path())
                    .doing("open to write")?;
                write.write_all(b"through the pipe").doing("write")
            },
        )?;
        let mut read = opened?;
        moves.point()?;
        let mut text = String::new();
        read.read_to_string(&mut text).doing("read")?;
        ensure!(text == "through the pipe", "the pipe gave {text:?}");
        drop(read);
        let written = moves.while_blocked(
            || {
                let opened = OpenOptions::new().write(true).open(scratch.path());
                opened
                    .doing("open to write")?
                    .write_all(b"back")
                    .doing("write")
            },
            || {
                let text = read_to_string(scratch.path()).doing("read all")?;
                ensure!(text == "back", "the helper read {text:?}");
                Ok(())
            },
        )?;
        written?;
        std::fs::remove_file(scratch.path()).doing("unlink")?;
    }
    Ok(())
}

/// Somebody who is not root is nowhere root.
pub(crate) fn permissions(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("permissions");
    let path = scratch.path();
    let mode = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).doing("chmod")
    };
    while moves.more() {
        create_dir(path).doing("mkdir")?;
        mode(path, 0o1777)?;
        for (name, bits) in [("open", 0o644), ("secret", 0o600), ("closed/in", 0o644)] {
            let file = path.join(name);
            if let Some(folder) = file.parent().filter(|folder| *folder != path) {
                create_dir(folder).doing("mkdir")?;
                std::fs::write(&file, name).doing("write")?;
                mode(folder, 0o700)?;
            } else {
                std::fs::write(&file, name).doing("write")?;
                mode(&file, bits)?;
            }
        }
        let node = moves.take();
        let child = start(|| tell(as_somebody(path, node.as_deref()))).doing("fork")?;
        moves.point()?;
        ended_well(child)?;
        let mine = path.join("mine").metadata().doing("stat")?;
        ensure!(
            (mine.uid(), mine.gid()) == (1000, 1001),
            "the file is {mine:?}"
        );
        remove_dir_all(path).doing("remove all")?;
    }
    Ok(())
}

fn as_somebody(path: &std::path::Path, node: Option<&str>) -> Verdict {
    let refused = |what: &str, result: std::io::Result<()>| {
        ensure!(
            result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied),
            "{what} was not refused"
        );
        Ok(())
    };
    // Before it gives up the right to move itself.
    go(node)?;
    become_user(1000, 1001).doing("become somebody")?;
    let read = |name: &str| read_to_string(path.join(name)).map(drop);
    read("open").doing("read what all may read")?;
    refused("reading a secret", read("secret"))?;
    refused("a closed folder", read("closed/in"))?;
    refused("writing", std::fs::write(path.join("open"), "x"))?;
    refused(
        "removing others' files from a sticky folder",
        std::fs::remove_file(path.join("open")),
    )?;
    refused(
        "chmod",
        std::fs::set_permissions(path.join("open"), Permissions::from_mode(0o777)),
    )?;
    std::fs::write(path.join("mine"), "x").doing("write a file of one's own")
}

/// Holes are where they were left, and cost nothing.
pub(crate) fn holes(moves: &mut Moves) -> Verdict {
    const FAR: u64 = 1 << 30;
    const PAGE: u64 = 4096;
    let scratch = Scratch::new("holes");
    while moves.more() {
        let file = scratch.create()?;
        file.write_all_at(&[7; 3 * PAGE as usize], FAR)
            .doing("write far out")?;
        moves.point()?;
        let status = file.metadata().doing("fstat")?;
        ensure!(
            (status.len(), status.blocks()) == (FAR + 3 * PAGE, 24),
            "the file has {} bytes in {} blocks",
            status.len(),
            status.blocks()
        );
        let found = seek(file.as_fd(), 0, Seek::Data).doing("seek data")?;
        ensure!(found == FAR as i64, "the data begins at {found}");
        punch(file.as_fd(), (FAR + PAGE) as i64, PAGE as i64).doing("punch")?;
        moves.point()?;
        let found = seek(file.as_fd(), FAR as i64, Seek::Hole).doing("seek hole")?;
        ensure!(found == (FAR + PAGE) as i64, "the hole begins at {found}");
        let mut bytes = [1; 3 * PAGE as usize];
        file.read_exact_at(&mut bytes, FAR).doing("read")?;
        let pieces = bytes.chunks(PAGE as usize);
        let firsts: Vec<u8> = pieces.map(|piece| piece[0]).collect();
        ensure!(firsts == [7, 0, 7], "the pages begin with {firsts:?}");
        let blocks = file.metadata().doing("fstat")?.blocks();
        ensure!(blocks == 16, "there are {blocks} blocks");
    }
    Ok(())
}
