//! Names: making, moving and removing them, links, and the current directory.

use super::super::access::{EXECUTE, WRITE};
use super::super::change::Target;
use super::super::inode::{DEVICES, Node};
use super::super::objects::notify::{IN_ATTRIB, IN_DELETE, directory_bit};
use super::super::pipe::Pipe;
use super::super::walk::Follow;
use super::super::{MAX_PATH, walk::Found};
use super::{Base, CallResult, FileCall, change, existing, file, now, walk, walker};
use crate::credentials::{DAC_READ_SEARCH, MKNOD, SYS_CHROOT};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{
    AT_EMPTY_PATH, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, S_IFBLK, S_IFCHR, S_IFDIR,
    S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, device_number,
};

/// `AT_EACCESS` of `faccessat2`.
const AT_EACCESS: u32 = 0x200;
/// `RENAME_NOREPLACE` of `renameat2`.
const RENAME_NOREPLACE: u32 = 1;
/// `RENAME_EXCHANGE` likewise.
const RENAME_EXCHANGE: u32 = 2;
/// `RENAME_WHITEOUT` likewise.
const RENAME_WHITEOUT: u32 = 4;

/// The real ids are asked for, all the way, unless the flags say otherwise.
fn access_at(call: &mut FileCall, base: Base, path: usize, wanted: u32, flags: u32) -> CallResult {
    if wanted > 7 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let follow = match flags & AT_SYMLINK_NOFOLLOW {
        0 => Follow::Always,
        _ => Follow::IfSlash,
    };
    if flags & AT_EACCESS == 0 {
        call.who = call.who.really();
    }
    let place = existing(call, base, path, flags, follow)?;
    let file = place.is_file();
    if file && wanted & EXECUTE != 0 && place.is_not_executed() {
        return Err(Errno::EACCES.into());
    }
    call.who.check(&place, wanted)?;
    let kind = place.mode() & S_IFMT;
    if wanted & WRITE != 0 && matches!(kind, S_IFREG | S_IFDIR | S_IFLNK) {
        place.check_writable()?;
    }
    Ok(0)
}

/// `access(path, mode)`.
pub fn access(call: &mut FileCall) -> CallResult {
    access_at(call, Base::Current, 0, call.args[1] as u32, 0)
}

/// `faccessat(dirfd, path, mode)`.
pub fn faccessat(call: &mut FileCall) -> CallResult {
    access_at(call, Base::Argument(0), 1, call.args[2] as u32, 0)
}

/// `faccessat2(dirfd, path, mode, flags)`.
pub fn faccessat2(call: &mut FileCall) -> CallResult {
    let (wanted, flags) = (call.args[2] as u32, call.args[3] as u32);
    access_at(call, Base::Argument(0), 1, wanted, flags)
}

fn readlink_at(call: &mut FileCall, base: Base, path: usize) -> CallResult {
    let Ok(capacity @ 1..) = usize::try_from(call.args[path + 2] as i32) else {
        return Err(Errno::EINVAL.into());
    };
    let inode = existing(call, base, path, AT_EMPTY_PATH, Follow::IfSlash)?;
    let text = match inode.mode() & S_IFMT {
        S_IFLNK => walker(call).link_text(&inode)?,
        _ if call.input(path).is_empty() => return Err(Errno::ENOENT.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    let text = &text[..text.len().min(capacity)];
    inode.was_read(now(call));
    call.output(path + 1, text);
    Ok(text.len() as u64)
}

/// `readlink(path, buf, size)`.
pub fn readlink(call: &mut FileCall) -> CallResult {
    if call.args[2] as i32 > 0 && call.input(0).is_empty() {
        return Err(Errno::ENOENT.into());
    }
    readlink_at(call, Base::Current, 0)
}

/// `readlinkat(dirfd, path, buf, size)`; an empty path names the descriptor itself.
pub fn readlinkat(call: &mut FileCall) -> CallResult {
    readlink_at(call, Base::Argument(0), 1)
}

fn mkdir_at(call: &FileCall, base: Base, path: usize, mode: u32) -> CallResult {
    let found = walk(call, base, path, Follow::Never)?;
    // Only the permission and sticky bits count (mkdir(2)).
    let mode = mode & 0o1777 & !call.state.umask();
    call.fs.make_directory(&found, mode, change(call))?;
    Ok(0)
}

/// `mkdir(path, mode)`.
pub fn mkdir(call: &mut FileCall) -> CallResult {
    mkdir_at(call, Base::Current, 0, call.args[1] as u32)
}

/// `mkdirat(dirfd, path, mode)`.
pub fn mkdirat(call: &mut FileCall) -> CallResult {
    mkdir_at(call, Base::Argument(0), 1, call.args[2] as u32)
}

/// Makes a node of a kind and permission bits (mknod(2)).
fn mknod_at(call: &FileCall, base: Base, path: usize, mode: u32, number: u64) -> CallResult {
    let kind = match mode & S_IFMT {
        0 => S_IFREG,
        kind => kind,
    };
    match kind {
        S_IFREG | S_IFIFO | S_IFCHR | S_IFBLK | S_IFSOCK => {}
        S_IFDIR => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    let found = new_name(call, base, path)?;
    let mode = mode & 0o7777 & !call.state.umask();
    let number = number & u64::from(u32::MAX);
    let node = match kind {
        S_IFREG => {
            call.fs.make_file(&found, mode, change(call))?;
            return Ok(0);
        }
        S_IFIFO => Node::Pipe(Pipe::fifo(call.fs.wakes())),
        S_IFSOCK => Node::Special(0),
        // Number 0 of character devices is nothing but a name that hides another one: everybody may make it.
        S_IFCHR if number == 0 => Node::Special(0),
        _ if !call.who.has(MKNOD) => {
            call.who.check_create(&found)?;
            return Err(Errno::EPERM.into());
        }
        _ => {
            let driven = |row: &&(_, _, u32, u32, _)| device_number(row.2, row.3) == number;
            match DEVICES.iter().find(driven) {
                Some(row) if kind == S_IFCHR => Node::Device(row.1),
                _ => Node::Special(number),
            }
        }
    };
    call.fs.make_node(&found, node, kind | mode, change(call))?;
    Ok(0)
}

/// `mknod(path, mode, dev)`.
pub fn mknod(call: &mut FileCall) -> CallResult {
    let (mode, number) = (call.args[1] as u32, call.args[2]);
    mknod_at(call, Base::Current, 0, mode, number)
}

/// `mknodat(dirfd, path, mode, dev)`.
pub fn mknodat(call: &mut FileCall) -> CallResult {
    let (mode, number) = (call.args[2] as u32, call.args[3]);
    mknod_at(call, Base::Argument(0), 1, mode, number)
}

fn unlink_at(call: &FileCall, base: Base, path: usize, flags: u32) -> CallResult {
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut found = walk(call, base, path, Follow::Never)?;
    match flags {
        0 => call.fs.remove_name(&found, change(call))?,
        _ => call.fs.remove_directory(&found, change(call))?,
    }
    if let Some(inode) = found.inode.take() {
        if flags == 0 {
            inode.tell_itself(IN_ATTRIB);
        }
        let event = IN_DELETE | directory_bit(&inode);
        // Who watches the file hears of its end, if this is it, before who watches the directory.
        drop(inode);
        call.fs.tell_name(&found, event);
    }
    Ok(0)
}

/// `unlink(path)`.
pub fn unlink(call: &mut FileCall) -> CallResult {
    unlink_at(call, Base::Current, 0, 0)
}

/// `rmdir(path)`.
pub fn rmdir(call: &mut FileCall) -> CallResult {
    unlink_at(call, Base::Current, 0, AT_REMOVEDIR)
}

/// `unlinkat(dirfd, path, flags)`.
pub fn unlinkat(call: &mut FileCall) -> CallResult {
    unlink_at(call, Base::Argument(0), 1, call.args[2] as u32)
}

fn rename_at(call: &FileCall, from: (Base, usize), to: (Base, usize), flags: u32) -> CallResult {
    let target = match flags & !RENAME_WHITEOUT {
        0 => Target::Replaced,
        RENAME_NOREPLACE => Target::Absent,
        RENAME_EXCHANGE if flags == RENAME_EXCHANGE => Target::Exchanged,
        _ => return Err(Errno::EINVAL.into()),
    };
    let leaves_white = flags & RENAME_WHITEOUT != 0;
    if leaves_white && !call.who.has(MKNOD) {
        return Err(Errno::EPERM.into());
    }
    let old_name = from;
    let from = walk(call, from.0, from.1, Follow::Later)?;
    let to = walk(call, to.0, to.1, Follow::Later)?;
    call.fs.rename(&from, &to, target, change(call))?;
    let same = |(from, to): (&super::Place, &super::Place)| from.is_same(to);
    if !from.inode.as_ref().zip(to.inode.as_ref()).is_some_and(same) {
        call.fs.tell_move(&from, &to);
        if target == Target::Exchanged {
            call.fs.tell_move(&to, &from);
        }
        if leaves_white {
            // As union file systems want it: a device of number 0 hides what is below (rename(2)).
            let gone = walk(call, old_name.0, old_name.1, Follow::Never)?;
            call.fs
                .make_node(&gone, Node::Special(0), S_IFCHR, change(call))?;
        }
    }
    Ok(0)
}

/// `rename(old, new)`.
pub fn rename(call: &mut FileCall) -> CallResult {
    rename_at(call, (Base::Current, 0), (Base::Current, 1), 0)
}

/// `renameat(olddirfd, old, newdirfd, new)`.
pub fn renameat(call: &mut FileCall) -> CallResult {
    rename_at(call, (Base::Argument(0), 1), (Base::Argument(2), 3), 0)
}

/// `renameat2(olddirfd, old, newdirfd, new, flags)`.
pub fn renameat2(call: &mut FileCall) -> CallResult {
    let flags = call.args[4] as u32;
    rename_at(call, (Base::Argument(0), 1), (Base::Argument(2), 3), flags)
}

/// Where a new name goes; a slash behind it would make it a directory.
fn new_name(call: &FileCall, base: Base, path: usize) -> Result<Found, Errno> {
    let found = walk(call, base, path, Follow::Never)?;
    if found.slash && found.inode.is_none() {
        return Err(Errno::ENOENT);
    }
    Ok(found)
}

fn link_at(call: &FileCall, from: (Base, usize), to: (Base, usize), flags: u32) -> CallResult {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let follow = match flags & AT_SYMLINK_FOLLOW {
        0 => Follow::IfSlash,
        _ => Follow::Always,
    };
    if flags & AT_EMPTY_PATH != 0 && call.input(from.1).is_empty() && !call.who.has(DAC_READ_SEARCH)
    {
        return Err(Errno::ENOENT.into());
    }
    let inode = existing(call, from.0, from.1, flags, follow)?;
    let found = new_name(call, to.0, to.1)?;
    call.fs.add_name(&found, inode, change(call))?;
    Ok(0)
}

/// `link(old, new)`.
pub fn link(call: &mut FileCall) -> CallResult {
    link_at(call, (Base::Current, 0), (Base::Current, 1), 0)
}

/// `linkat(olddirfd, old, newdirfd, new, flags)`.
pub fn linkat(call: &mut FileCall) -> CallResult {
    let flags = call.args[4] as u32;
    link_at(call, (Base::Argument(0), 1), (Base::Argument(2), 3), flags)
}

fn symlink_at(call: &FileCall, base: Base, path: usize) -> CallResult {
    let text = call.input(0);
    match text.len() {
        0 => return Err(Errno::ENOENT.into()),
        1..=MAX_PATH => {}
        _ => return Err(Errno::ENAMETOOLONG.into()),
    }
    let found = new_name(call, base, path)?;
    call.fs.make_link(&found, text, change(call))?;
    Ok(0)
}

/// `symlink(target, path)`.
pub fn symlink(call: &mut FileCall) -> CallResult {
    symlink_at(call, Base::Current, 1)
}

/// `symlinkat(target, newdirfd, path)`.
pub fn symlinkat(call: &mut FileCall) -> CallResult {
    symlink_at(call, Base::Argument(1), 2)
}

/// `chdir(path)`.
pub fn chdir(call: &mut FileCall) -> CallResult {
    let place = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    enter(call, place)
}

/// `fchdir(fd)`.
pub fn fchdir(call: &mut FileCall) -> CallResult {
    let place = file(call, 0)?.place().clone();
    enter(call, place)
}

fn enter(call: &mut FileCall, place: super::Place) -> CallResult {
    if !place.is_directory() {
        return Err(Errno::ENOTDIR.into());
    }
    call.who.check(&place, EXECUTE)?;
    call.state.set_cwd(place);
    Ok(0)
}

/// `chroot(path)`.
pub fn chroot(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    if !inode.is_directory() {
        return Err(Errno::ENOTDIR.into());
    }
    call.who.check(&inode, EXECUTE)?;
    if !call.who.has(SYS_CHROOT) {
        return Err(Errno::EPERM.into());
    }
    call.state.set_root(inode);
    Ok(0)
}

/// `getcwd(buf, size)`: the path with its NUL; returns its length with the NUL, as the kernel does.
pub fn getcwd(call: &mut FileCall) -> CallResult {
    let process = call.state.cwd().process();
    if process.is_some_and(|pid| !call.view.exists(pid)) {
        return Err(Errno::ENOENT.into());
    }
    let mut path = call.state.directory_from_root()?;
    path.push(0);
    if path.len() as u64 > call.args[1] {
        return Err(Stop::Errno(Errno::ERANGE));
    }
    call.output(0, &path);
    Ok(path.len() as u64)
}
