//! Opening files by path.

use super::super::inode::Node;
use super::super::open::OpenFile;
use super::super::walk::Follow;
use super::{Base, CallResult, FileCall, now, walk};
use abi::Errno;
use abi::layout::{
    O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY,
    O_TMPFILE_BIT, O_TRUNC, O_WRONLY, S_IFLNK, S_IFMT,
};

/// `open(path, flags, mode)`.
pub fn open(call: &mut FileCall) -> CallResult {
    let (flags, mode) = (call.args[1] as u32, call.args[2] as u32);
    open_at(call, Base::Current, 0, flags, mode)
}

/// `openat(dirfd, path, flags, mode)`.
pub fn openat(call: &mut FileCall) -> CallResult {
    let (flags, mode) = (call.args[2] as u32, call.args[3] as u32);
    open_at(call, Base::Argument(0), 1, flags, mode)
}

/// `creat(path, mode)`.
pub fn creat(call: &mut FileCall) -> CallResult {
    let mode = call.args[1] as u32;
    open_at(call, Base::Current, 0, O_CREAT | O_WRONLY | O_TRUNC, mode)
}

fn open_at(call: &mut FileCall, base: Base, path: usize, flags: u32, mode: u32) -> CallResult {
    if flags & O_TMPFILE_BIT != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let flags = match flags & O_PATH {
        0 => flags,
        _ => flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
    };
    if flags & O_CREAT != 0 && flags & O_DIRECTORY != 0 {
        return Err(Errno::EINVAL.into());
    }
    let exclusive = flags & O_CREAT != 0 && flags & O_EXCL != 0;
    let follow = match (exclusive, flags & O_NOFOLLOW) {
        (true, _) => Follow::Never,
        (false, 0) => Follow::Always,
        _ => Follow::IfSlash,
    };
    let fd = call.state.free_descriptor(0)?;
    let found = walk(call, base, path, follow)?;
    let inode = match &found.inode {
        Some(_) if exclusive => return Err(Errno::EEXIST.into()),
        Some(inode) => {
            check_open(inode, flags)?;
            if flags & O_TRUNC != 0
                && let Some(mut data) = inode.data()
            {
                data.resize(0)?;
                drop(data);
                inode.touch(now(call));
            }
            inode.clone()
        }
        None if flags & O_CREAT == 0 => return Err(Errno::ENOENT.into()),
        None if found.slash => return Err(Errno::EISDIR.into()),
        None => call
            .fs
            .make_file(&found, mode & !call.state.umask, now(call))?,
    };
    let terminal = super::terminals::open(call, &inode, flags)?;
    let place = Some((found.parent, found.name));
    let file = OpenFile::with_terminal(inode, flags, place, terminal);
    call.state.put(fd, file, flags & O_CLOEXEC != 0);
    Ok(u64::from(fd))
}

/// Whether an existing file may be opened like this.
fn check_open(inode: &super::super::Inode, flags: u32) -> Result<(), Errno> {
    let is_directory = inode.is_directory();
    let writes = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0;
    if flags & O_DIRECTORY != 0 && !is_directory {
        return Err(Errno::ENOTDIR);
    }
    if flags & O_PATH != 0 {
        return Ok(());
    }
    if inode.mode() & S_IFMT == S_IFLNK {
        return Err(Errno::ELOOP);
    }
    if is_directory && (writes || flags & O_CREAT != 0) {
        return Err(Errno::EISDIR);
    }
    if writes && inode.is_executing() {
        return Err(Errno::ETXTBSY);
    }
    if matches!(inode.node(), Node::Proc(_)) && writes && inode.mode() & 0o222 == 0 {
        return Err(Errno::EACCES);
    }
    Ok(())
}
