//! What is known of a file beside its contents: asking and changing.

use super::super::access::WRITE;
use super::super::inode::Node;
use super::super::mounts::Place;
use super::super::objects::notify::{IN_ACCESS, IN_ATTRIB, IN_MODIFY};
use super::super::storage::F_SEAL_EXEC;
use super::super::walk::Follow;
use super::{Base, CallResult, FileCall, existing, file, now, usable, walk};
use crate::credentials::CHOWN;
use abi::Errno;
use abi::layout::{
    AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, S_IFDIR, S_IFLNK, S_IFMT,
    Timespec,
};

/// `AT_STATX_FORCE_SYNC` and `AT_STATX_DONT_SYNC`: nothing is ever out of date here.
const AT_STATX_SYNC: u32 = 0x6000;
/// "Now" as the nanoseconds of a time for `utimensat` (`linux/stat.h`).
const UTIME_NOW: i64 = (1 << 30) - 1;
/// "Leave it" likewise.
const UTIME_OMIT: i64 = (1 << 30) - 2;

fn follow(flags: u32) -> Follow {
    match flags & AT_SYMLINK_NOFOLLOW {
        0 => Follow::Always,
        _ => Follow::IfSlash,
    }
}

/// `stat(path, buf)`.
pub fn stat(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    call.output(1, &inode.status().to_bytes());
    Ok(0)
}

/// `lstat(path, buf)`.
pub fn lstat(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Current, 0, Follow::IfSlash)?.existing()?;
    call.output(1, &inode.status().to_bytes());
    Ok(0)
}

/// `fstat(fd, buf)`.
pub fn fstat(call: &mut FileCall) -> CallResult {
    let status = file(call, 0)?.place().status();
    call.output(1, &status.to_bytes());
    Ok(0)
}

/// `newfstatat(dirfd, path, buf, flags)`.
pub fn newfstatat(call: &mut FileCall) -> CallResult {
    let flags = call.args[3] as u32;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let inode = existing(call, Base::Argument(0), 1, flags, follow(flags))?;
    call.output(2, &inode.status().to_bytes());
    Ok(0)
}

/// `statx(dirfd, path, flags, mask, buf)`: always the basic fields.
pub fn statx(call: &mut FileCall) -> CallResult {
    let flags = call.args[2] as u32;
    let known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC;
    // The top bit of the mask is reserved and refused.
    if flags & !known != 0 || flags & AT_STATX_SYNC == AT_STATX_SYNC || call.args[3] as i32 <= -1 {
        return Err(Errno::EINVAL.into());
    }
    let inode = existing(call, Base::Argument(0), 1, flags, follow(flags))?;
    call.output(4, &inode.status().to_statx_bytes());
    Ok(0)
}

/// `statfs(path, buf)`.
pub fn statfs(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    call.output(1, &call.fs.statistics(&inode).to_bytes());
    Ok(0)
}

/// `fstatfs(fd, buf)`.
pub fn fstatfs(call: &mut FileCall) -> CallResult {
    let inode = file(call, 0)?.place().clone();
    call.output(1, &call.fs.statistics(&inode).to_bytes());
    Ok(0)
}

fn check_changeable(inode: &Place) -> Result<(), Errno> {
    inode.check_writable()?;
    match inode.node() {
        Node::Proc(_) => Err(Errno::EPERM),
        _ => Ok(()),
    }
}

fn change_mode(call: &FileCall, inode: &Place, mode: u32) -> CallResult {
    check_changeable(inode)?;
    if inode.mode() & S_IFMT == S_IFLNK {
        return Err(Errno::EOPNOTSUPP.into());
    }
    call.who.check_owner(inode)?;
    let seals = inode.data().map_or(0, |data| data.seals());
    if seals & F_SEAL_EXEC != 0 && (inode.mode() ^ mode) & 0o111 != 0 {
        return Err(Errno::EPERM.into());
    }
    inode.change(|held| {
        let stays = match call.who.keeps_group_bit(held) {
            true => 0o7777,
            false => 0o5777,
        };
        held.mode = held.mode & S_IFMT | mode & stays;
        held.changed = now(call);
    });
    inode.tell(IN_ATTRIB);
    Ok(0)
}

/// `chmod(path, mode)`.
pub fn chmod(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    change_mode(call, &inode, call.args[1] as u32)
}

/// `fchmod(fd, mode)`.
pub fn fchmod(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    change_mode(call, file.place(), call.args[1] as u32)
}

/// `fchmodat(dirfd, path, mode)`.
pub fn fchmodat(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Argument(0), 1, Follow::Always)?.existing()?;
    change_mode(call, &inode, call.args[2] as u32)
}

/// `fchmodat2(dirfd, path, mode, flags)`.
pub fn fchmodat2(call: &mut FileCall) -> CallResult {
    let flags = call.args[3] as u32;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let inode = existing(call, Base::Argument(0), 1, flags, follow(flags))?;
    change_mode(call, &inode, call.args[2] as u32)
}

fn change_owner(call: &FileCall, inode: &Place, uid: u32, gid: u32) -> CallResult {
    check_changeable(inode)?;
    let held = inode.attributes();
    let mine = held.uid == call.who.uid;
    let uid_stays = uid == u32::MAX || (mine && uid == held.uid);
    let gid_stays = gid == u32::MAX || (mine && (call.who.is_in(gid) || gid == held.gid));
    if !(call.who.has(CHOWN) || uid_stays && gid_stays) {
        return Err(Errno::EPERM.into());
    }
    let keeps_group_bit = call.who.keeps_group_bit(&held);
    inode.change(|held| {
        // -1 leaves an id as it is.
        if uid != u32::MAX {
            held.uid = uid;
        }
        if gid != u32::MAX {
            held.gid = gid;
        }
        // A program must not become somebody else's with its set-id bits (chown(2)).
        if held.mode & S_IFMT != S_IFDIR {
            held.mode &= !0o4000;
            if held.mode & 0o010 != 0 || !keeps_group_bit {
                held.mode &= !0o2000;
            }
        }
        held.changed = now(call);
    });
    inode.tell(IN_ATTRIB);
    Ok(0)
}

/// `chown(path, uid, gid)`.
pub fn chown(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    change_owner(call, &inode, call.args[1] as u32, call.args[2] as u32)
}

/// `lchown(path, uid, gid)`.
pub fn lchown(call: &mut FileCall) -> CallResult {
    let inode = walk(call, Base::Current, 0, Follow::IfSlash)?.existing()?;
    change_owner(call, &inode, call.args[1] as u32, call.args[2] as u32)
}

/// `fchown(fd, uid, gid)`.
pub fn fchown(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    change_owner(call, file.place(), call.args[1] as u32, call.args[2] as u32)
}

/// `fchownat(dirfd, path, uid, gid, flags)`.
pub fn fchownat(call: &mut FileCall) -> CallResult {
    let flags = call.args[4] as u32;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let inode = existing(call, Base::Argument(0), 1, flags, follow(flags))?;
    change_owner(call, &inode, call.args[2] as u32, call.args[3] as u32)
}

/// One time of `utimensat`: what to set, or `None` to leave it.
fn chosen(time: Timespec, now: Timespec) -> Result<Option<Timespec>, Errno> {
    match time.nanoseconds {
        UTIME_NOW => Ok(Some(now)),
        UTIME_OMIT => Ok(None),
        0..1_000_000_000 => Ok(Some(time)),
        _ => Err(Errno::EINVAL),
    }
}

/// `utimensat(dirfd, path, times, flags)`; without a path the descriptor itself, without times now.
pub fn utimensat(call: &mut FileCall) -> CallResult {
    let flags = call.args[3] as u32;
    let both = match call.inputs[2] {
        None => None,
        Some(bytes) => Some(
            Timespec::from_bytes(bytes)
                .zip(bytes.get(16..).and_then(Timespec::from_bytes))
                .ok_or(Errno::EFAULT)?,
        ),
    };
    let omits =
        |both: (Timespec, Timespec)| [both.0.nanoseconds, both.1.nanoseconds] == [UTIME_OMIT; 2];
    if both.is_some_and(omits) {
        // Nothing is to be done: neither the path nor the flags are looked at.
        return Ok(0);
    }
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let inode = match call.inputs[1] {
        None if call.args[0] as i32 == AT_FDCWD => return Err(Errno::EFAULT.into()),
        None if flags & AT_SYMLINK_NOFOLLOW != 0 => return Err(Errno::EINVAL.into()),
        None => usable(call, 0)?.place().clone(),
        Some(_) => existing(call, Base::Argument(0), 1, flags, follow(flags))?,
    };
    set_times(call, &inode, both)
}

/// Sets the times of a file: the last access and the last change, or both to now.
fn set_times(call: &FileCall, inode: &Place, both: Option<(Timespec, Timespec)>) -> CallResult {
    let time = now(call);
    let (accessed, modified) = match both {
        None => (Some(time), Some(time)),
        Some(both) => (chosen(both.0, time)?, chosen(both.1, time)?),
    };
    let explicit =
        both.is_some_and(|both| [both.0.nanoseconds, both.1.nanoseconds] != [UTIME_NOW; 2]);
    check_changeable(inode)?;
    if let Err(error) = call.who.check_owner(inode) {
        // Whoever may write may say that it was now.
        if explicit {
            return Err(error.into());
        }
        call.who.check(inode, WRITE)?;
    }
    inode.change(|held| {
        held.accessed = accessed.unwrap_or(held.accessed);
        held.modified = modified.unwrap_or(held.modified);
        held.changed = time;
    });
    inode.tell(match (accessed, modified) {
        (Some(_), None) => IN_ACCESS,
        (None, Some(_)) => IN_MODIFY,
        _ => IN_ATTRIB,
    });
    Ok(0)
}

/// Two `struct timeval` in a buffer.
fn timevals(call: &FileCall, arg: usize) -> Result<Option<(Timespec, Timespec)>, Errno> {
    let Some(bytes) = call.inputs[arg] else {
        return Ok(None);
    };
    let one = |at: usize| {
        let time = bytes
            .get(at..)
            .and_then(Timespec::from_bytes)
            .ok_or(Errno::EFAULT)?;
        if !(0..1_000_000).contains(&time.nanoseconds) {
            return Err(Errno::EINVAL);
        }
        Ok(Timespec {
            seconds: time.seconds,
            nanoseconds: time.nanoseconds * 1000,
        })
    };
    Ok(Some((one(0)?, one(16)?)))
}

/// `utime(path, times)`: two numbers of seconds.
pub fn utime(call: &mut FileCall) -> CallResult {
    let both = match call.inputs[1] {
        None => None,
        Some(bytes) => {
            let one = |at: usize| {
                let bytes = bytes
                    .get(at..at + 8)
                    .and_then(|bytes| bytes.try_into().ok());
                let seconds = i64::from_le_bytes(bytes.ok_or(Errno::EFAULT)?);
                Ok::<_, Errno>(Timespec {
                    seconds,
                    nanoseconds: 0,
                })
            };
            Some((one(0)?, one(8)?))
        }
    };
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    set_times(call, &inode, both)
}

/// `utimes(path, times)`.
pub fn utimes(call: &mut FileCall) -> CallResult {
    let both = timevals(call, 1)?;
    let inode = walk(call, Base::Current, 0, Follow::Always)?.existing()?;
    set_times(call, &inode, both)
}

/// `futimesat(dirfd, path, times)`.
pub fn futimesat(call: &mut FileCall) -> CallResult {
    let both = timevals(call, 2)?;
    let inode = match call.inputs[1] {
        None if call.args[0] as i32 == AT_FDCWD => return Err(Errno::EFAULT.into()),
        None => usable(call, 0)?.place().clone(),
        Some(_) => walk(call, Base::Argument(0), 1, Follow::Always)?.existing()?,
    };
    set_times(call, &inode, both)
}

/// `umask(mask)`: the one before.
pub fn umask(call: &mut FileCall) -> CallResult {
    let mask = call.args[0] as u32 & 0o777;
    Ok(u64::from(call.state.set_umask(mask)))
}
