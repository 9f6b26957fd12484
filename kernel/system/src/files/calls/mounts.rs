//! Mounting and unmounting: mount(2), umount2(2).
//!
//! Law: everything is checked before a mount is made, changed or taken away.

use super::super::inode::{Attributes, MAX_INODES};
use super::super::mounts::{
    Kind, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_RDONLY,
    MS_RELATIME, MS_STRICTATIME, Shown,
};
use super::super::volume::Tree;
use super::super::walk::{Follow, Found, RESOLVE_ONLY_LOOKS};
use super::super::{Place, storage::share};
use super::{Base, CallResult, FileCall, now, walk, walk_to};
use crate::credentials::SYS_ADMIN;
use abi::Errno;
use abi::layout::S_IFDIR;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

const MS_REMOUNT: u32 = 0x20;
const MS_BIND: u32 = 0x1000;
const MS_MOVE: u32 = 0x2000;
const MS_REC: u32 = 0x4000;
const MS_SILENT: u32 = 0x8000;
const MS_UNBINDABLE: u32 = 0x2_0000;
const MS_PRIVATE: u32 = 0x4_0000;
const MS_SLAVE: u32 = 0x8_0000;
const MS_SHARED: u32 = 0x10_0000;
const MS_NOUSER: u32 = 0x8000_0000;
/// The upper half of flags of old programs, which means nothing.
const MS_MGC_VAL: u32 = 0xc0ed_0000;
/// Flags that a mount keeps.
const KEPT: u32 = MS_RDONLY
    | MS_NOSUID
    | MS_NODEV
    | MS_NOEXEC
    | MS_NOSYMFOLLOW
    | MS_NOATIME
    | MS_NODIRATIME
    | MS_RELATIME
    | MS_STRICTATIME;
/// Those about times of access.
const ATIME: u32 = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;

const MNT_FORCE: u64 = 1;
const MNT_DETACH: u64 = 2;
const MNT_EXPIRE: u64 = 4;
const UMOUNT_NOFOLLOW: u64 = 8;

/// `mount(source, target, type, flags, data)`.
pub fn mount(call: &mut FileCall) -> CallResult {
    let mut flags = call.args[3] as u32;
    if flags & 0xffff_0000 == MS_MGC_VAL {
        flags &= 0xffff;
    }
    let found = walk(call, Base::Current, 1, Follow::Always)?;
    let target = found.inode.clone().ok_or(Errno::ENOENT)?;
    if !call.who.has(SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    if flags & MS_NOUSER != 0 {
        return Err(Errno::EINVAL.into());
    }
    let passing = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
    if flags & MS_REMOUNT != 0 {
        remount(call, &target, flags)?;
    } else if flags & MS_BIND != 0 {
        drop(target);
        bind(call, found, flags & MS_REC != 0)?;
    } else if flags & passing != 0 {
        pass_on(call, &target, flags)?;
    } else if flags & MS_MOVE != 0 {
        drop(target);
        let source = source_of(call)?.existing()?;
        if !source.is_mount_root() {
            return Err(Errno::EINVAL.into());
        }
        call.fs.mounts.shift(&source.mount, found)?;
    } else {
        new(call, found, &target, flags)?;
    }
    Ok(0)
}

/// The flags that a mount gets: `relatime`, if nothing else is said of times.
fn kept(flags: u32) -> u32 {
    let mut kept = flags & KEPT;
    if kept & MS_NOATIME == 0 {
        kept |= MS_RELATIME;
    }
    match kept & MS_STRICTATIME {
        0 => kept,
        _ => kept & !(MS_RELATIME | MS_NOATIME),
    }
}

/// A mount is used otherwise from here on, and without `MS_BIND` its file system, too.
fn remount(call: &FileCall, target: &Place, flags: u32) -> Result<(), Errno> {
    let mount = &target.mount;
    if !target.is_mount_root() || !call.fs.mounts.has(mount) {
        return Err(Errno::EINVAL);
    }
    let mut new = kept(flags);
    if flags & ATIME == 0 {
        new = new & !ATIME | mount.flags() & ATIME;
    }
    if flags & MS_BIND != 0 {
        return mount.set_flags(new);
    }
    let tree = &mount.tree;
    let options = Options::read(tree.kind, call.input(4))?;
    // Nobody may ever write to /sys.
    let read_only = flags & MS_RDONLY != 0 || Arc::ptr_eq(tree, &call.fs.sys);
    if read_only && tree.writers.load(Ordering::Relaxed) > 0 {
        return Err(Errno::EBUSY);
    }
    if let Some(volume) = &tree.volume {
        volume.limit(options.pages, options.inodes)?;
    }
    mount.set_flags(new)?;
    tree.read_only.store(read_only, Ordering::Relaxed);
    Ok(())
}

/// Where the source of a bind or a move is.
fn source_of(call: &FileCall) -> Result<Found, Errno> {
    match call.input(0) {
        [] => Err(Errno::EINVAL),
        path => walk_to(call, Base::Current, path, Follow::Always),
    }
}

/// What is at one place is seen at another, too.
fn bind(call: &FileCall, found: Found, all: bool) -> Result<(), Errno> {
    let source = source_of(call)?;
    let name = source.named();
    let place = source.existing()?;
    call.fs.mounts.bind(found, (&place, name), all)
}

/// Who is told from here on what is mounted on a mount, and of whom it is told.
fn pass_on(call: &FileCall, target: &Place, flags: u32) -> Result<(), Errno> {
    let kinds = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
    if flags & !(kinds | MS_REC | MS_SILENT) != 0 {
        return Err(Errno::EINVAL);
    }
    let kind = match flags & kinds {
        MS_SHARED => Kind::Shared,
        MS_SLAVE => Kind::Slave,
        MS_PRIVATE => Kind::Private,
        MS_UNBINDABLE => Kind::Unbindable,
        _ => return Err(Errno::EINVAL),
    };
    let mounts = &call.fs.mounts;
    if !target.is_mount_root() || !mounts.has(&target.mount) {
        return Err(Errno::EINVAL);
    }
    mounts.share(&target.mount, kind, flags & MS_REC != 0);
    Ok(())
}

/// A file system that was not there before; /proc and /sys are the same everywhere.
fn new(call: &FileCall, found: Found, target: &Place, flags: u32) -> Result<(), Errno> {
    if call.inputs[2].is_none() {
        return Err(Errno::EINVAL);
    }
    let tree = match call.input(2) {
        b"tmpfs" => {
            let options = Options::read("tmpfs", call.input(4))?;
            let pages = options.pages.unwrap_or(u64::MAX);
            let inodes = options.inodes.unwrap_or(MAX_INODES);
            let volume = call.fs.volume.another(pages, inodes);
            let attributes = Attributes {
                uid: options.uid.unwrap_or(call.who.uid),
                gid: options.gid.unwrap_or(call.who.gid),
                ..Attributes::new(S_IFDIR | options.mode.unwrap_or(0o1777), now(call))
            };
            Tree::make(&volume, attributes)?
        }
        b"proc" => {
            Options::read("proc", call.input(4))?;
            if target.is_mount_root() && Arc::ptr_eq(&target.mount.tree, &call.fs.proc) {
                return Err(Errno::EBUSY);
            }
            call.fs.proc.clone()
        }
        b"sysfs" => {
            Options::read("sysfs", call.input(4))?;
            if target.is_mount_root() && Arc::ptr_eq(&target.mount.tree, &call.fs.sys) {
                return Err(Errno::EBUSY);
            }
            call.fs.sys.clone()
        }
        _ => return Err(Errno::ENODEV),
    };
    if flags & MS_RDONLY != 0 && call.input(2) == b"tmpfs" {
        tree.read_only.store(true, Ordering::Relaxed);
    }
    let shown = Shown::whole(tree, call.input(0), kept(flags));
    call.fs.mounts.attach(found, shown)
}

/// What a file system is mounted with (tmpfs(5)).
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// `u64::MAX` is no limit.
    pages: Option<u64>,
    inodes: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Options {
    fn read(kind: &str, text: &[u8]) -> Result<Options, Errno> {
        let mut options = Options::default();
        let words = text.split(|byte| *byte == b',');
        for word in words.filter(|word| !word.is_empty()) {
            let word = core::str::from_utf8(word).map_err(|_| Errno::EINVAL)?;
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let id = || value.parse().map(Some).map_err(|_| Errno::EINVAL);
            match (kind, name) {
                ("tmpfs", "size") => {
                    let bytes = size(value, Some(share().0.saturating_mul(2 * PAGE)))?;
                    options.pages = Some(limit(bytes.div_ceil(PAGE)));
                }
                ("tmpfs", "nr_blocks") => options.pages = Some(limit(size(value, None)?)),
                ("tmpfs", "nr_inodes") => {
                    let inodes = limit(size(value, None)?);
                    options.inodes = Some(inodes.min(MAX_INODES));
                }
                ("tmpfs", "mode") => {
                    let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                    options.mode = Some(mode & 0o7777);
                }
                ("tmpfs", "uid") => options.uid = id()?,
                ("tmpfs", "gid") => options.gid = id()?,
                ("tmpfs", "inode32" | "inode64" | "noswap") if value.is_empty() => {}
                ("tmpfs", "huge") if value == "never" => {}
                ("tmpfs", "mpol") if value == "default" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

const PAGE: u64 = machine::PAGE_SIZE as u64;

/// Zero is no limit.
fn limit(number: u64) -> u64 {
    match number {
        0 => u64::MAX,
        number => number,
    }
}

/// A number with `k`, `m`, `g` or `t` behind it, or of hundredths of `whole`.
fn size(text: &str, whole: Option<u64>) -> Result<u64, Errno> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    let shift = match (text[digits.len()..].to_ascii_lowercase().as_str(), whole) {
        ("", _) => 0,
        ("k", _) => 10,
        ("m", _) => 20,
        ("g", _) => 30,
        ("t", _) => 40,
        ("%", Some(whole)) => return Ok((whole / 100).saturating_mul(number)),
        _ => return Err(Errno::EINVAL),
    };
    number.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

/// `umount2(target, flags)`.
pub fn umount2(call: &mut FileCall) -> CallResult {
    let flags = u64::from(call.args[1] as u32);
    if flags & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let follow = match flags & UMOUNT_NOFOLLOW {
        0 => Follow::Always,
        _ => Follow::IfSlash,
    };
    call.resolve |= RESOLVE_ONLY_LOOKS;
    let target = walk(call, Base::Current, 0, follow)?.existing()?;
    if !call.who.has(SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let mounts = &call.fs.mounts;
    if !target.is_mount_root() || !mounts.has(&target.mount) {
        return Err(Errno::EINVAL.into());
    }
    if flags & MNT_EXPIRE != 0 && flags & (MNT_FORCE | MNT_DETACH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    // The handle of its root goes, so that this is the only one.
    let mount = target.mount;
    drop(target.inode);
    if flags & MNT_DETACH != 0 {
        // Nothing is left without the root.
        if mount.is_of_all() {
            return Err(Errno::EINVAL.into());
        }
        mounts.detach_all(&mount);
        return Ok(0);
    }
    if flags & MNT_EXPIRE != 0 {
        mounts.check_unused(&mount)?;
        if !mount.expiring.swap(true, Ordering::Relaxed) {
            return Err(Errno::EAGAIN.into());
        }
    }
    mounts.detach(&mount)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_tmpfs() {
        let read = |text: &str| Options::read("tmpfs", text.as_bytes());
        let pages = |text| read(text).map(|options| options.pages);
        assert_eq!(pages("size=10k,,inode64"), Ok(Some(3)));
        assert_eq!(pages("size=0"), Ok(Some(u64::MAX)));
        assert_eq!(pages("nr_blocks=2M"), Ok(Some(2 << 20)));
        assert_eq!(pages("size=99999999t"), Err(Errno::EINVAL));
        for wrong in [
            "size=",
            "size=k",
            "size=1x",
            "nr_inodes=5%",
            "mode=9",
            "uid=-1",
            "what",
        ] {
            assert_eq!(read(wrong), Err(Errno::EINVAL), "{wrong}");
        }
        let options = read("mode=750,uid=5,gid=6,nr_inodes=1k").expect("it is right");
        let ids = (options.mode, options.uid, options.gid, options.inodes);
        assert_eq!(ids, (Some(0o750), Some(5), Some(6), Some(1024)));
        assert_eq!(Options::read("proc", b"size=1"), Err(Errno::EINVAL));
    }
}
