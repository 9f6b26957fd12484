//! Names: making, moving and removing them, links, and the current directory.

use super::super::walk::Follow;
use super::super::{MAX_PATH, walk::Found};
use super::{Base, CallResult, FileCall, existing, file, now, walk, walker};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{
    AT_EMPTY_PATH, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, S_IFLNK, S_IFMT,
};

/// `AT_EACCESS` of `faccessat2`.
const AT_EACCESS: u32 = 0x200;
/// `RENAME_NOREPLACE` of `renameat2`.
const RENAME_NOREPLACE: u32 = 1;

/// Root may read and write everything; it may execute what somebody may execute.
fn access_at(call: &FileCall, base: Base, path: usize, wanted: u32, flags: u32) -> CallResult {
    if wanted > 7 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let follow = match flags & AT_SYMLINK_NOFOLLOW {
        0 => Follow::Always,
        _ => Follow::IfSlash,
    };
    let inode = existing(call, base, path, flags, follow)?;
    if wanted & 1 != 0 && !inode.is_directory() && inode.mode() & 0o111 == 0 {
        return Err(Errno::EACCES.into());
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
    let capacity = call.capacity(path + 1).min(call.args[path + 2] as usize);
    if capacity == 0 || call.args[path + 2] as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let inode = existing(call, base, path, AT_EMPTY_PATH, Follow::IfSlash)?;
    let text = match inode.mode() & S_IFMT {
        S_IFLNK => walker(call).link_text(&inode)?,
        _ if call.input(path).is_empty() => return Err(Errno::ENOENT.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    let text = &text[..text.len().min(capacity)];
    call.output(path + 1, text);
    Ok(text.len() as u64)
}

/// `readlink(path, buf, size)`.
pub fn readlink(call: &mut FileCall) -> CallResult {
    if call.input(0).is_empty() {
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
    let mode = mode & 0o1777 & !call.state.umask;
    call.fs.make_directory(&found, mode, now(call))?;
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

fn unlink_at(call: &FileCall, base: Base, path: usize, flags: u32) -> CallResult {
    let found = walk(call, base, path, Follow::Never)?;
    match flags {
        0 => call.fs.remove_name(&found, now(call))?,
        AT_REMOVEDIR => call.fs.remove_directory(&found, now(call))?,
        _ => return Err(Errno::EINVAL.into()),
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
    if flags & !RENAME_NOREPLACE != 0 {
        return Err(Errno::EINVAL.into());
    }
    let from = walk(call, from.0, from.1, Follow::Never)?;
    let to = walk(call, to.0, to.1, Follow::Never)?;
    if flags & RENAME_NOREPLACE != 0 && from.inode.is_some() && to.inode.is_some() {
        return Err(Errno::EEXIST.into());
    }
    call.fs.rename(&from, &to, now(call))?;
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

/// `renameat2(olddirfd, old, newdirfd, new, flags)`; of the flags `RENAME_NOREPLACE` only.
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
    let inode = existing(call, from.0, from.1, flags, follow)?;
    let found = new_name(call, to.0, to.1)?;
    call.fs.add_name(&found, inode, now(call))?;
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
    call.fs.make_link(&found, text, now(call))?;
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
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    enter(call, inode)
}

/// `fchdir(fd)`.
pub fn fchdir(call: &mut FileCall) -> CallResult {
    let inode = file(call, 0)?.inode().clone();
    enter(call, inode)
}

fn enter(call: &mut FileCall, inode: super::InodeRef) -> CallResult {
    if !inode.is_directory() {
        return Err(Errno::ENOTDIR.into());
    }
    call.state.cwd = inode;
    Ok(0)
}

/// `getcwd(buf, size)`: the path with its NUL; returns its length with the NUL, as the kernel does.
pub fn getcwd(call: &mut FileCall) -> CallResult {
    let mut path = call.state.cwd.path()?;
    path.push(0);
    if path.len() as u64 > call.args[1] || path.len() > call.capacity(0) {
        return Err(Stop::Errno(Errno::ERANGE));
    }
    call.output(0, &path);
    Ok(path.len() as u64)
}
