//! Opening files by path, and files without one.
//!
//! Law: permission is asked for at the opening only; what an open file may do later is in its flags.

use super::super::access::{EXECUTE, READ, WRITE};
use super::super::inode::{InodeRef, Node};
use super::super::leases::break_leases;
use super::super::mounts::{MS_NODEV, Place};
use super::super::objects::notify::{IN_MODIFY, IN_OPEN};
use super::super::open::OpenFile;
use super::super::pipe::{Patience, Side};
use super::super::storage::{F_SEAL_EXEC, F_SEAL_SEAL, FileData};
use super::super::walk::{Follow, RESOLVE_BENEATH, RESOLVE_CACHED, RESOLVE_IN_ROOT, RESOLVE_KNOWN};
use super::io::lose_set_ids;
use super::{Base, CallResult, FileCall, change, now, walk, walk_to};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{
    O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_PATH,
    O_RDONLY, O_RDWR, O_TMPFILE_BIT, O_TRUNC, O_WRONLY, S_IFBLK, S_IFCHR, S_IFLNK, S_IFMT, S_IFREG,
};
use alloc::vec::Vec;
use spin::Mutex;

/// The calls in which a pipe with a name is waited for.
const OPENINGS: [u32; 3] = [2, 85, 257];

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

/// `openat2(dirfd, path, how, size)`.
pub fn openat2(call: &mut FileCall) -> CallResult {
    const HOW: usize = 24;
    const FLAGS: u64 = 0o37_777_703;
    const PATH_FLAGS: u32 = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    let size = call.args[3] as usize;
    if size < HOW {
        return Err(Errno::EINVAL.into());
    }
    if size > machine::PAGE_SIZE {
        return Err(Errno::E2BIG.into());
    }
    let how = call.input(2);
    let word = |at: usize| {
        let bytes = how.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_le_bytes).ok_or(Errno::EFAULT)
    };
    let (flags, mode, resolve) = (word(0)?, word(8)?, word(16)?);
    if how[HOW..].iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG.into());
    }
    let makes = flags as u32 & (O_CREAT | O_TMPFILE_BIT) != 0;
    let inside = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
    let path_only = flags as u32 & O_PATH != 0;
    if flags & !FLAGS != 0
        || resolve & !RESOLVE_KNOWN != 0
        || resolve & inside == inside
        || mode & !0o7777 != 0
        || (mode != 0 && !makes)
        || (path_only && flags as u32 & !PATH_FLAGS != 0)
    {
        return Err(Errno::EINVAL.into());
    }
    // What makes or cuts a file is nothing to be done from memory alone (`build_open_flags`).
    if resolve & RESOLVE_CACHED != 0 && (makes || flags as u32 & O_TRUNC != 0) {
        return Err(Errno::EAGAIN.into());
    }
    call.resolve = resolve;
    open_at(call, Base::Argument(0), 1, flags as u32, mode as u32)
}

/// `creat(path, mode)`.
pub fn creat(call: &mut FileCall) -> CallResult {
    let mode = call.args[1] as u32;
    open_at(call, Base::Current, 0, O_CREAT | O_WRONLY | O_TRUNC, mode)
}

fn open_at(call: &mut FileCall, base: Base, path: usize, flags: u32, mode: u32) -> CallResult {
    if flags & O_TMPFILE_BIT != 0 && flags & O_PATH == 0 {
        return open_nameless(call, base, path, flags, mode);
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
    if call.input(path).is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let fd = call.state.free_descriptor(0)?;
    if flags & O_CREAT != 0 && call.input(path).ends_with(b"/") {
        // What would be made is no directory; the way there must exist all the same.
        let name = call.input(path);
        let end = name.iter().rposition(|byte| *byte != b'/');
        let bare = &name[..end.map_or(1, |end| end + 1)];
        walk_to(call, base, bare, Follow::Never)?;
        return Err(Errno::EISDIR.into());
    }
    let found = walk(call, base, path, follow)?;
    let mut truncated = false;
    let place = match &found.inode {
        Some(_) if exclusive => return Err(Errno::EEXIST.into()),
        Some(inode) => {
            check_open(call, inode, flags)?;
            if flags & O_PATH == 0 {
                let writes = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0;
                break_leases(call, inode, writes, patience(call, flags))?;
            }
            await_other_side(call, inode, flags)?;
            if flags & O_TRUNC != 0
                && let Some(mut data) = inode.data()
            {
                data.resize(0)?;
                drop(data);
                call.fs.note_cut(inode, 0);
                truncated = true;
                lose_set_ids(call, inode);
                inode.touch(now(call));
            }
            inode.clone()
        }
        None if flags & O_CREAT == 0 => return Err(Errno::ENOENT.into()),
        None => {
            let mode = mode & !call.state.umask();
            let made = call.fs.make_file(&found, mode, change(call))?;
            found.parent.beside(made)
        }
    };
    let terminal = super::terminals::open(call, &place, flags)?;
    let name = Some((found.parent.inode, found.name));
    let file = OpenFile::with_terminal(place, flags, name, terminal);
    if flags & O_PATH == 0 {
        file.inode().tell(IN_OPEN);
        if truncated {
            file.inode().tell(IN_MODIFY);
        }
    }
    call.state.put(fd, file, flags & O_CLOEXEC != 0);
    Ok(u64::from(fd))
}

/// `O_TMPFILE`: a file in a directory, without a name.
fn open_nameless(
    call: &mut FileCall,
    base: Base,
    path: usize,
    flags: u32,
    mode: u32,
) -> CallResult {
    let writes = flags & O_ACCMODE != O_RDONLY;
    if flags & O_DIRECTORY == 0 || flags & O_CREAT != 0 || !writes {
        return Err(Errno::EINVAL.into());
    }
    let fd = call.state.free_descriptor(0)?;
    let directory = walk(call, base, path, Follow::Always)?.existing()?;
    if !directory.is_directory() {
        return Err(Errno::ENOTDIR.into());
    }
    directory.check_writable()?;
    call.who.check(&directory, WRITE | EXECUTE)?;
    if directory.directory().is_none() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let (mode, linkable) = (mode & !call.state.umask(), flags & O_EXCL == 0);
    let inode = call
        .fs
        .make_nameless(&directory, mode, linkable, change(call))?;
    let name = alloc::format!("#{}", inode.number()).into_bytes();
    let place = directory.beside(inode);
    let file = OpenFile::new(place, flags, Some((directory.inode, name)));
    call.state.put(fd, file, flags & O_CLOEXEC != 0);
    Ok(u64::from(fd))
}

/// A pipe with a name waits for its other side (fifo(7)).
fn await_other_side(call: &FileCall, inode: &InodeRef, flags: u32) -> Result<(), Stop> {
    let side = match flags & (O_ACCMODE | O_PATH) {
        O_RDONLY => Side::Read,
        O_WRONLY => Side::Write,
        _ => return Ok(()),
    };
    // One without a name is opened anew through /proc, as `<(command)` does, and waits for nobody.
    let Some(pipe) = inode.pipe().filter(|pipe| pipe.named) else {
        return Ok(());
    };
    let patience = patience(call, flags);
    let opens = |waiter| {
        let mut calls = OPENINGS.iter();
        calls.any(|number| call.view.is_in_call(waiter, *number))
    };
    pipe.may_open(side, patience, opens)
}

/// Whether an opening with these flags waits.
fn patience(call: &FileCall, flags: u32) -> Patience {
    match flags & O_NONBLOCK {
        0 => Patience::Wait(call.tid),
        _ => Patience::Never,
    }
}

/// Whether an existing file may be opened like this.
fn check_open(call: &FileCall, inode: &Place, flags: u32) -> Result<(), Errno> {
    let is_directory = inode.is_directory();
    let access = flags & O_ACCMODE;
    let writes = access != O_RDONLY || flags & O_TRUNC != 0;
    if flags & O_DIRECTORY != 0 && !is_directory {
        return Err(Errno::ENOTDIR);
    }
    if flags & O_PATH != 0 {
        return Ok(());
    }
    if inode.mode() & S_IFMT == S_IFLNK {
        return Err(Errno::ELOOP);
    }
    if matches!(inode.node(), Node::Name(_)) {
        return Err(Errno::ENXIO);
    }
    if is_directory && (writes || flags & O_CREAT != 0) {
        return Err(Errno::EISDIR);
    }
    let device = matches!(inode.node(), Node::Device(_))
        || matches!(inode.mode() & S_IFMT, S_IFCHR | S_IFBLK);
    if device && inode.mount.has(MS_NODEV) {
        return Err(Errno::EACCES);
    }
    if writes && inode.is_file() {
        inode.check_writable()?;
    }
    let reads = access != O_WRONLY;
    let wanted = if reads { READ } else { 0 } | if writes { WRITE } else { 0 };
    call.who.check(inode, wanted)?;
    if writes && inode.is_executing() {
        return Err(Errno::ETXTBSY);
    }
    // Settings are read only for everybody; what else cannot be written is opened by who may anything, and
    // refuses the bytes.
    let setting = matches!(inode.node(), Node::Proc(node) if node.is_setting());
    if setting && writes && inode.mode() & 0o222 == 0 {
        return Err(Errno::EACCES);
    }
    if matches!(inode.node(), Node::Special(_)) {
        return Err(Errno::ENXIO);
    }
    if flags & O_NOATIME != 0 {
        call.who.check_owner(inode)?;
    }
    Ok(())
}

/// `memfd_create(name, flags)`.
pub fn memfd_create(call: &mut FileCall) -> CallResult {
    const MFD_CLOEXEC: u32 = 1;
    const MFD_ALLOW_SEALING: u32 = 2;
    const MFD_NOEXEC_SEAL: u32 = 8;
    const MFD_EXEC: u32 = 0x10;
    /// The longest name.
    const NAME: usize = 249;
    let flags = call.args[1] as u32;
    let known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC;
    let both = MFD_NOEXEC_SEAL | MFD_EXEC;
    if flags & !known != 0 || flags & both == both {
        return Err(Errno::EINVAL.into());
    }
    let name = call.input(0);
    if name.len() > NAME {
        return Err(Errno::EINVAL.into());
    }
    let fd = call.state.free_descriptor(0)?;
    let (mut mode, mut seals) = (0o777, F_SEAL_SEAL);
    if flags & MFD_NOEXEC_SEAL != 0 {
        (mode, seals) = (0o666, F_SEAL_EXEC);
    } else if flags & MFD_ALLOW_SEALING != 0 {
        seals = 0;
    }
    let node = Node::File(Mutex::new(FileData::sealable(seals)));
    let attributes = super::super::Attributes {
        links: 0,
        ..change(call).attributes(call.fs.root(), S_IFREG | mode)
    };
    let inode = call.fs.volume.create(node, attributes)?;
    let mut title = Vec::from(b"/memfd:".as_slice());
    title.extend_from_slice(name);
    title.extend_from_slice(b" (deleted)");
    let file = OpenFile::nameless(call.fs.nowhere(inode), O_RDWR, title);
    call.state.put(fd, file, flags & MFD_CLOEXEC != 0);
    Ok(u64::from(fd))
}
