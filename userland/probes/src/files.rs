//! Files: contents, offsets and names are at home and look the same from everywhere.
//!
//! Law: every probe uses a file of its own, named by its pid, and removes it.

use std::fs::{File, OpenOptions, metadata, read, remove_file, write};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rt::process::{Ended, start, wait_for};
use rt::shared::Shared;

use crate::memory::{check, fill};
use crate::moves::{Moves, go, tell};
use crate::{Doing, Verdict, ensure};

/// A file name that goes away with its owner.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// In `/tmp` if there is one, else in `/`.
    pub(crate) fn new(name: &str) -> Scratch {
        let folder = if Path::new("/tmp").is_dir() {
            "/tmp"
        } else {
            "/"
        };
        Scratch(Path::new(folder).join(format!("probe-{name}-{}", std::process::id())))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Opens the file anew for reading and writing, empty.
    pub(crate) fn create(&self) -> Result<File, String> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.0)
            .doing("create a file")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may have been removed by the probe already.
        let _gone = remove_file(&self.0);
    }
}

fn position(file: &mut File) -> Result<u64, String> {
    file.stream_position().doing("ask for the offset")
}

/// Parent and child share one offset, wherever each of them is.
pub(crate) fn offset(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("offset");
    while moves.more() {
        let mut file = scratch.create()?;
        file.write_all(b"0123456789").doing("write")?;
        moves.point()?;
        ensure!(
            position(&mut file)? == 10,
            "the offset is {}",
            position(&mut file)?
        );
        file.seek(SeekFrom::Start(2)).doing("seek")?;
        let node = moves.take();
        let child = start(|| {
            let mut work = || {
                go(node.as_deref())?;
                let mut two = [0; 2];
                file.read_exact(&mut two).doing("read in the child")?;
                ensure!(&two == b"23", "the child read {two:?}");
                file.write_all(b"XY").doing("write in the child")
            };
            tell(work())
        })
        .doing("fork")?;
        moves.point()?;
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
        ensure!(
            position(&mut file)? == 6,
            "after the child the offset is not 6"
        );
        let mut rest = String::new();
        file.read_to_string(&mut rest).doing("read")?;
        ensure!(rest == "6789", "the rest is {rest}");
        file.seek(SeekFrom::End(-10)).doing("seek from the end")?;
        rest.clear();
        file.read_to_string(&mut rest).doing("read all")?;
        ensure!(rest == "0123XY6789", "the file is {rest}");
    }
    Ok(())
}

/// What many append is all there, each piece whole.
pub(crate) fn append(moves: &mut Moves) -> Verdict {
    const LINES: u32 = 20;
    let scratch = Scratch::new("append");
    while moves.more() {
        drop(scratch.create()?);
        let mut file = OpenOptions::new()
            .append(true)
            .open(&scratch.0)
            .doing("open to append")?;
        let flags = rt::files::status_flags(std::os::fd::AsFd::as_fd(&file)).doing("F_GETFL")?;
        let node = moves.take();
        let child = start(|| {
            let mut work = || {
                for line in 0..LINES {
                    file.write_all(format!("child {line}\n").as_bytes())
                        .doing("append in the child")?;
                    if line == LINES / 2 {
                        go(node.as_deref())?;
                    }
                }
                Ok(())
            };
            tell(work())
        })
        .doing("fork")?;
        for line in 0..LINES {
            file.write_all(format!("parent {line}\n").as_bytes())
                .doing("append")?;
            if line == LINES / 3 {
                moves.point()?;
            }
        }
        let ended = wait_for(child).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
        let now = rt::files::status_flags(std::os::fd::AsFd::as_fd(&file)).doing("F_GETFL")?;
        ensure!(
            now == flags,
            "the flags of the file went from {flags:#x} to {now:#x}"
        );
        let text = String::from_utf8(read(&scratch.0).doing("read")?).doing("read")?;
        for who in ["parent", "child"] {
            let found: Vec<&str> = text.lines().filter(|line| line.starts_with(who)).collect();
            let expected: Vec<String> = (0..LINES).map(|line| format!("{who} {line}")).collect();
            ensure!(found == expected, "the lines of the {who} are {found:?}");
        }
        ensure!(
            text.lines().count() == 2 * LINES as usize,
            "there are other lines: {text}"
        );
    }
    Ok(())
}

/// A file cut off and stretched.
pub(crate) fn truncate(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 10_000;
    let scratch = Scratch::new("truncate");
    while moves.more() {
        let seed = moves.round();
        let mut file = scratch.create()?;
        let mut bytes = vec![0; SIZE];
        fill(&mut bytes, seed, 0);
        file.write_all(&bytes).doing("write")?;
        moves.point()?;
        file.set_len(5000).doing("cut off")?;
        ensure!(
            file.metadata().doing("fstat")?.len() == 5000,
            "fstat does not see the cut"
        );
        ensure!(
            metadata(&scratch.0).doing("stat")?.len() == 5000,
            "stat does not see the cut"
        );
        file.set_len(SIZE as u64).doing("stretch")?;
        moves.point()?;
        let found = read(&scratch.0).doing("read")?;
        ensure!(found.len() == SIZE, "the file has {} bytes", found.len());
        check(&found[..5000], seed, 0)?;
        ensure!(
            found[5000..].iter().all(|&byte| byte == 0),
            "old bytes came back"
        );
        ensure!(
            position(&mut file)? == SIZE as u64,
            "cutting moved the offset"
        );
    }
    Ok(())
}

/// A file without a name lives as long as somebody has it open.
pub(crate) fn unlinked(moves: &mut Moves) -> Verdict {
    let scratch = Scratch::new("unlinked");
    while moves.more() {
        let seed = moves.round();
        let mut file = scratch.create()?;
        let mut bytes = vec![0; 20_000];
        fill(&mut bytes, seed, 0);
        file.write_all(&bytes[..12_345]).doing("write")?;
        remove_file(&scratch.0).doing("unlink")?;
        moves.point()?;
        ensure!(!scratch.0.exists(), "the name is still there");
        file.write_all(&bytes[12_345..])
            .doing("write to a file without a name")?;
        moves.point()?;
        file.seek(SeekFrom::Start(0)).doing("seek")?;
        let mut found = Vec::new();
        file.read_to_end(&mut found).doing("read")?;
        ensure!(
            found.len() == bytes.len(),
            "the file has {} bytes",
            found.len()
        );
        check(&found, seed, 0)?;
    }
    Ok(())
}

/// A megabyte in one call each way, from and to odd places in memory and file.
pub(crate) fn big_io(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 1 << 20;
    let scratch = Scratch::new("big-io");
    let mut memory = vec![0; SIZE + 123];
    while moves.more() {
        let seed = moves.round();
        let mut file = scratch.create()?;
        file.write_all(b"odd").doing("write")?;
        fill(&mut memory[123..], seed, 0);
        moves.point()?;
        let count = file.write(&memory[123..]).doing("write a megabyte")?;
        ensure!(count == SIZE, "one write wrote {count} bytes");
        memory.fill(0);
        moves.point()?;
        file.seek(SeekFrom::Start(3)).doing("seek")?;
        let count = file
            .read(&mut memory[77..77 + SIZE])
            .doing("read a megabyte")?;
        ensure!(count == SIZE, "one read read {count} bytes");
        check(&memory[77..77 + SIZE], seed, 0)?;
        ensure!(
            memory[..77].iter().all(|&byte| byte == 0),
            "the read wrote before its buffer"
        );
        ensure!(
            memory[77 + SIZE..].iter().all(|&byte| byte == 0),
            "the read wrote behind it"
        );
    }
    Ok(())
}

/// What is mapped of a file and was not written to shows what others write to it.
pub(crate) fn mapped(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 100_000;
    let scratch = Scratch::new("mapped");
    let mut bytes = vec![0; SIZE];
    fill(&mut bytes, 0, 0);
    scratch.create()?.write_all(&bytes).doing("write")?;
    let reader = File::open(scratch.path()).doing("open")?;
    let map = |private| Shared::seen(&reader, SIZE, private).doing("map a file");
    let maps = [map(false)?, map(true)?];
    while moves.more() {
        let at = moves.round() as usize * 7_919 % (SIZE - 5_000);
        moves.point()?;
        for map in &maps {
            ensure!(map.read(0, SIZE) == bytes, "the mapping is not the file");
        }
        for byte in &mut bytes[at..at + 5_000] {
            *byte = byte.wrapping_add(1);
        }
        let writer = start(|| {
            let file = OpenOptions::new().write(true).open(scratch.path());
            let news = &bytes[at..at + 5_000];
            i32::from(
                file.and_then(|file| file.write_all_at(news, at as u64))
                    .is_err(),
            )
        });
        let writer = writer.doing("fork")?;
        let ended = wait_for(writer).doing("wait")?;
        ensure!(ended == Ended::Exited(0), "the writer ended with {ended:?}");
        for map in &maps {
            ensure!(
                map.read(0, SIZE) == bytes,
                "the mapping does not show what was written"
            );
        }
    }
    Ok(())
}

/// A file of the boot image, which every node may have: it is home's that counts.
pub(crate) fn image_file(moves: &mut Moves) -> Verdict {
    const SCRIPT: &str = "/etc/shrc";
    const NEWS: &[u8] = b"\n# A comment\n";
    let program_path = std::env::current_exe().doing("find a program")?;
    let mut script_path = PathBuf::from(SCRIPT);
    if !script_path.exists() {
        // Not on a node: there is no image, and a file of anybody's is not written to.
        let name = format!("probe-image-{}", std::process::id());
        script_path = std::env::temp_dir().join(name);
        write(&script_path, "# A script\n").doing("write a script")?;
    }
    let program = read(&program_path).doing("read a program")?;
    let script = read(&script_path).doing("read a script")?;
    while moves.more() {
        let mut file = File::open(&program_path).doing("open")?;
        moves.point()?;
        let mut found = vec![0; program.len()];
        for piece in found.chunks_mut(50_001) {
            file.read_exact(piece).doing("read on")?;
        }
        ensure!(found == program, "another program was read");
        moves.point()?;
        found.fill(0);
        for (index, piece) in found.chunks_mut(50_001).enumerate() {
            let at = index as u64 * 50_001;
            file.read_exact_at(piece, at).doing("read at an offset")?;
        }
        ensure!(found == program, "another program was read at offsets");
        let mut file = File::open(&script_path).doing("open a script")?;
        let mut found = Vec::new();
        file.read_to_end(&mut found).doing("read to the end")?;
        ensure!(found == script, "another script was read");
        let writer = OpenOptions::new().append(true).open(&script_path);
        let mut writer = writer.doing("open a script for writing")?;
        moves.point()?;
        writer.write_all(NEWS).doing("append")?;
        found.clear();
        file.read_to_end(&mut found)
            .doing("read what was appended")?;
        writer.set_len(script.len() as u64).doing("cut off")?;
        ensure!(found == NEWS, "what was appended is not read");
        found.clear();
        file.rewind().doing("rewind")?;
        file.read_to_end(&mut found).doing("read again")?;
        ensure!(found == script, "the script is not what it was");
    }
    if script_path != Path::new(SCRIPT) {
        remove_file(&script_path).doing("remove the script")?;
    }
    Ok(())
}

/// The current directory stays, and names are looked up from it.
pub(crate) fn cwd(moves: &mut Moves) -> Verdict {
    while moves.more() {
        for (folder, name) in [("/", "proc/self/stat"), ("/proc", "self/stat")] {
            std::env::set_current_dir(folder).doing("chdir")?;
            moves.point()?;
            let found = std::env::current_dir().doing("getcwd")?;
            ensure!(
                found == Path::new(folder),
                "the directory is {}",
                found.display()
            );
            let text = std::fs::read_to_string(name).doing("read by a relative name")?;
            let pid = format!("{} (", std::process::id());
            ensure!(text.starts_with(&pid), "{name} does not begin with {pid}");
        }
        let gone = std::env::set_current_dir("/nowhere/at/all");
        ensure!(
            gone.is_err(),
            "a directory that does not exist could be entered"
        );
        ensure!(
            std::env::current_dir().doing("getcwd")? == Path::new("/proc"),
            "it was left"
        );
    }
    Ok(())
}
