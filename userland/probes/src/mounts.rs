//! mount(2) and umount2(2): what is mounted is home's, and seen from everywhere.
//!
//! Law: where others have namespaces of mounts the probe has one of its own; what it mounts it unmounts.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rt::raw::{DESK, Desk, libc};

use crate::moves::Moves;
use crate::{Doing, Verdict, ensure, must};

const SOURCE: u64 = 0;
const TARGET: u64 = 4096;
const KIND: u64 = 8192;
const OPTIONS: u64 = 12_288;

const MS_RDONLY: u64 = 1;
const MS_REMOUNT: u64 = 0x20;
const MS_BIND: u64 = 0x1000;
const MS_REC: u64 = 0x4000;
const MS_PRIVATE: u64 = 1 << 18;
const MNT_DETACH: u64 = 2;

fn put(desk: &mut Desk, at: u64, text: &str) {
    desk.put(at, text.as_bytes());
    desk.put(at + text.len() as u64, &[0]);
}

fn mount(desk: &mut Desk, [source, target]: [&str; 2], flags: u64, options: &str) -> i64 {
    put(desk, SOURCE, source);
    put(desk, TARGET, target);
    put(desk, KIND, "tmpfs");
    put(desk, OPTIONS, options);
    let [source, target, kind, options] = [SOURCE, TARGET, KIND, OPTIONS].map(|at| DESK + at);
    desk.call(libc::SYS_mount, [source, target, kind, flags, options, 0])
}

fn unmount(desk: &mut Desk, target: &str, flags: u64) -> i64 {
    put(desk, TARGET, target);
    desk.call(libc::SYS_umount2, [DESK + TARGET, flags, 0, 0, 0, 0])
}

/// Takes everything away again, whatever went wrong.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = std::env::set_current_dir("/");
        if let Some(mut desk) = Desk::map() {
            for name in ["bound", "mem"] {
                let _gone = unmount(&mut desk, &self.name(name), MNT_DETACH);
            }
        }
        let _gone = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn name(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

/// A file system in memory and a part of it bound elsewhere: files, ways up and refusals are the same from everywhere.
pub(crate) fn mounts(moves: &mut Moves) -> Verdict {
    let mut desk = Desk::map().ok_or("no desk")?;
    if desk.call(libc::SYS_unshare, [libc::CLONE_NEWNS as u64, 0, 0, 0, 0, 0]) == 0 {
        let told = mount(&mut desk, ["none", "/"], MS_REC | MS_PRIVATE, "");
        ensure!(told == 0, "making mounts private gave {told}");
    }
    let folder = Folder(Path::new("/tmp").join(format!("probe-mounts-{}", std::process::id())));
    let (mem, bound) = (folder.name("mem"), folder.name("bound"));
    for path in [&folder.name(""), &mem, &bound] {
        fs::create_dir_all(path).doing("make a directory")?;
    }
    while moves.more() {
        let told = mount(&mut desk, ["probe", &mem], 0, "size=64k,mode=755");
        ensure!(told == 0, "mount gave {told}");
        moves.point()?;
        fs::create_dir(folder.name("mem/part")).doing("make a directory in it")?;
        fs::write(folder.name("mem/part/file"), b"in memory").doing("write a file in it")?;
        let told = mount(&mut desk, [&folder.name("mem/part"), &bound], MS_BIND, "");
        ensure!(told == 0, "binding gave {told}");
        moves.point()?;
        let held = fs::read(folder.name("bound/file")).doing("read what is bound")?;
        ensure!(held == b"in memory", "it has {held:?}");
        let device = |path: &str| fs::metadata(path).map(|held| held.dev()).doing("stat");
        let devices = [device(&mem)?, device(&bound)?, device(&folder.name(""))?];
        ensure!(
            devices[0] == devices[1] && devices[1] != devices[2],
            "the devices are {devices:?}"
        );
        let moved = fs::rename(folder.name("bound/file"), folder.name("mem/file"));
        let refused = moved.map_err(|error| error.kind());
        ensure!(
            refused == Err(ErrorKind::CrossesDevices),
            "renaming gave {refused:?}"
        );
        std::env::set_current_dir(&bound).doing("go into it")?;
        moves.point()?;
        let here = std::env::current_dir().doing("getcwd")?;
        ensure!(here == Path::new(&bound), "the directory is {here:?}");
        ensure!(device("..")? == devices[2], "the way up stays in the mount");
        let mut file = fs::File::open("file").doing("open from there")?;
        let told = unmount(&mut desk, &bound, 0);
        ensure!(told == -i64::from(libc::EBUSY), "unmounting it gave {told}");
        std::env::set_current_dir("/").doing("go out")?;
        let told = mount(
            &mut desk,
            ["none", &bound],
            MS_REMOUNT | MS_BIND | MS_RDONLY,
            "",
        );
        ensure!(told == 0, "remounting gave {told}");
        moves.point()?;
        let written = fs::write(folder.name("bound/new"), b"").map_err(|error| error.kind());
        ensure!(
            written == Err(ErrorKind::ReadOnlyFilesystem),
            "writing gave {written:?}"
        );
        let full = fs::write(folder.name("mem/big"), [0; 100_000]).map_err(|error| error.kind());
        ensure!(full == Err(ErrorKind::StorageFull), "much gave {full:?}");
        let told = unmount(&mut desk, &bound, MNT_DETACH);
        ensure!(told == 0, "detaching it gave {told}");
        moves.point()?;
        let mut text = String::new();
        file.read_to_string(&mut text)
            .doing("read what is detached")?;
        ensure!(text == "in memory", "it has {text:?}");
        drop(file);
        let words = [DESK + TARGET, 0, 0, 0, 0, 0];
        put(&mut desk, TARGET, &mem);
        must(&mut desk, "umount2", libc::SYS_umount2, words)?;
        let left = fs::read_dir(&mem).doing("list what is left")?.count();
        ensure!(left == 0, "{left} files are left");
    }
    Ok(())
}
