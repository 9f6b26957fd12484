//! Shared memory: one process's own until a child has it too; of a file, where the file is.
//!
//! Law: whoever writes, everybody who maps it or reads the file sees it.

use std::fs::{File, OpenOptions, remove_file};
use std::os::unix::fs::FileExt;

use rt::memory::PAGE;
use rt::process::{Ended, start, wait_for};
use rt::shared::Shared;
use rt::system::proc_path;

use crate::memory::{check, fill};
use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill(&mut bytes, seed, 0);
    bytes
}

/// Anonymous shared memory moves as long as one process has it, before the child and after it.
pub(crate) fn memory(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 64 * PAGE;
    let memory = Shared::anonymous(SIZE).doing("map")?;
    while moves.more() {
        let seed = moves.round() * 10;
        memory.write(0, &pattern(SIZE / 2, seed));
        moves.point()?;
        check(&memory.read(0, SIZE / 2), seed, 0)?;
        let child = start(|| {
            let work = || {
                check(&memory.read(0, SIZE / 2), seed, 0)?;
                memory.write(SIZE / 2, &pattern(SIZE / 2, seed + 1));
                memory.write(0, &pattern(PAGE, seed + 2));
                map_file_too()
            };
            tell(work())
        })
        .doing("fork")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
        for _ in 0..2 {
            check(&memory.read(0, PAGE), seed + 2, 0)?;
            check(&memory.read(SIZE / 2, SIZE / 2), seed + 1, 0)?;
            moves.point()?;
        }
    }
    Ok(())
}

/// Processes that share memory are moved one by one: all see what each writes, in one order, also in the page that
/// all of them count in, and what one has written is there when it has ended.
pub(crate) fn apart(moves: &mut Moves) -> Verdict {
    const CHILDREN: usize = 3;
    const COUNTS: u32 = 300;
    const PART: usize = 2 * PAGE;
    let memory = Shared::anonymous((CHILDREN + 1) * PART).doing("map")?;
    while moves.more() {
        let seed = moves.round() * 10;
        let before = memory.add(0, 0);
        memory.write(4, &pattern(PART - 4, seed));
        let mut children = Vec::new();
        for child in 1..=CHILDREN {
            let node = moves.take();
            let work = || {
                go(node.as_deref())?;
                check(&memory.read(4, PART - 4), seed, 0)?;
                for _ in 0..COUNTS {
                    memory.add(0, 1);
                }
                memory.write(child * PART, &pattern(PART, seed + child as u64));
                Ok(())
            };
            children.push(start(|| tell(work())).doing("fork")?);
        }
        moves.point()?;
        for _ in 0..COUNTS {
            memory.add(0, 1);
        }
        for (child, pid) in (1..).zip(children) {
            let ended = wait_for(pid).doing("wait")?;
            ensure!(
                ended == Ended::Exited(0),
                "child {child} ended with {ended:?}"
            );
            check(&memory.read(child * PART, PART), seed + child as u64, 0)?;
        }
        let counted = memory.add(0, 0) - before;
        let expected = COUNTS * (CHILDREN as u32 + 1);
        ensure!(counted == expected, "{counted} of {expected} were counted");
    }
    Ok(())
}

/// Shares a file as well: that is possible where the file is, and who does that stays there.
fn map_file_too() -> Verdict {
    let path = std::env::temp_dir().join(format!("probe-both-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    let file = options.open(&path).doing("create")?;
    remove_file(&path).doing("remove")?;
    file.set_len(PAGE as u64).doing("set the length")?;
    let memory = Shared::file(&file, PAGE).doing("map a file too")?;
    memory.write(0, &pattern(PAGE, 7));
    let mut read = vec![0; PAGE];
    file.read_exact_at(&mut read, 0).doing("read")?;
    check(&read, 7, 0)?;
    stay()
}

/// Who may write to a file through memory is told that it does not move, also by its own wish.
fn stay() -> Verdict {
    // A pid names its home; on the host there is nowhere to go.
    let home = std::process::id() >> 16;
    let elsewhere = if home == 2 { "1" } else { "2" };
    match std::fs::write(proc_path("self/goto"), elsewhere) {
        Ok(()) => Err("it moved away from the file that it maps".to_owned()),
        Err(_) => Ok(()),
    }
}

/// A file mapped shared: read(2), write(2) and the memory are one; where the process was before it
/// mapped the file does not matter.
pub(crate) fn file(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 6 * PAGE;
    let path = std::env::temp_dir().join(format!("probe-shared-{}", std::process::id()));
    let open = || -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(&path)
    };
    while moves.more() {
        let seed = moves.round() * 10;
        let file = open().doing("open")?;
        file.set_len(SIZE as u64).doing("set the length")?;
        moves.point()?;
        let memory = Shared::file(&file, SIZE).doing("map")?;
        memory.write(PAGE, &pattern(2 * PAGE, seed));
        let mut read = vec![0; 2 * PAGE];
        file.read_exact_at(&mut read, PAGE as u64).doing("read")?;
        check(&read, seed, 0)?;
        file.write_all_at(&pattern(PAGE, seed + 1), 4 * PAGE as u64)
            .doing("write")?;
        check(&memory.read(4 * PAGE, PAGE), seed + 1, 0)?;
        // Within one page of the file, which is the page that is mapped, too.
        for (at, offset) in [(4 * PAGE + 2048, 4 * PAGE), (5 * PAGE, 4 * PAGE)] {
            let read = memory
                .fill_from(at, &file, offset as i64, 64)
                .doing("read into itself")?;
            ensure!(read == 64, "{read} of 64 bytes");
            check(&memory.read(at, 64), seed + 1, 0)?;
        }
        let child = start(|| {
            memory.write(0, &pattern(PAGE, seed + 2));
            0
        })
        .doing("fork")?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
        check(&memory.read(0, PAGE), seed + 2, 0)?;
        drop(memory);
        moves.point()?;
        let mut read = vec![0; PAGE];
        file.read_exact_at(&mut read, 0).doing("read again")?;
        check(&read, seed + 2, 0)?;
        file.read_exact_at(&mut read, PAGE as u64)
            .doing("read again")?;
        check(&read, seed, 0)?;
    }
    remove_file(&path).doing("remove")
}
