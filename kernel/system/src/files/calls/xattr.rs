//! Extended attributes, as a file system of Linux answers that keeps none.
//!
//! Law (`fs/xattr.c`): arguments are checked before the file system is asked, so that programs see
//! `EOPNOTSUPP`, which they know, and not a call that is missing, which they take for an error.

use super::super::inode::InodeRef;
use super::super::walk::Follow;
use super::{Base, CallResult, FileCall, usable, walk};
use abi::Errno;

/// The longest name.
const NAME: usize = 255;
/// The longest value.
const SIZE: u64 = 65_536;
/// `XATTR_CREATE | XATTR_REPLACE`.
const FLAGS: u64 = 3;

/// Whose attributes are meant.
enum Of {
    /// Of the file at a path.
    Path,
    /// Likewise, of a link itself.
    Link,
    /// Of an open file.
    Open,
}

fn inode(call: &FileCall, of: &Of) -> Result<InodeRef, Errno> {
    match of {
        Of::Path => walk(call, Base::Current, 0, Follow::Always)?.existing(),
        Of::Link => walk(call, Base::Current, 0, Follow::IfSlash)?.existing(),
        Of::Open => Ok(usable(call, 0)?.inode().clone()),
    }
}

fn check_name(call: &FileCall) -> Result<(), Errno> {
    match call.input(1).len() {
        1..=NAME => Ok(()),
        _ => Err(Errno::ERANGE),
    }
}

fn set(call: &FileCall, of: &Of) -> CallResult {
    if call.args[4] & !FLAGS & 0xffff_ffff != 0 {
        return Err(Errno::EINVAL.into());
    }
    inode(call, of)?;
    check_name(call)?;
    if call.args[3] > SIZE {
        return Err(Errno::E2BIG.into());
    }
    Err(Errno::EOPNOTSUPP.into())
}

fn refuse(call: &FileCall, of: &Of) -> CallResult {
    inode(call, of)?;
    check_name(call)?;
    Err(Errno::EOPNOTSUPP.into())
}

fn list(call: &FileCall, of: &Of) -> CallResult {
    inode(call, of)?;
    Ok(0)
}

/// `setxattr(path, name, value, size, flags)`.
pub fn setxattr(call: &mut FileCall) -> CallResult {
    set(call, &Of::Path)
}

/// `lsetxattr(path, name, value, size, flags)`.
pub fn lsetxattr(call: &mut FileCall) -> CallResult {
    set(call, &Of::Link)
}

/// `fsetxattr(fd, name, value, size, flags)`.
pub fn fsetxattr(call: &mut FileCall) -> CallResult {
    set(call, &Of::Open)
}

/// `getxattr(path, name, value, size)`.
pub fn getxattr(call: &mut FileCall) -> CallResult {
    refuse(call, &Of::Path)
}

/// `lgetxattr(path, name, value, size)`.
pub fn lgetxattr(call: &mut FileCall) -> CallResult {
    refuse(call, &Of::Link)
}

/// `fgetxattr(fd, name, value, size)`.
pub fn fgetxattr(call: &mut FileCall) -> CallResult {
    refuse(call, &Of::Open)
}

/// `listxattr(path, list, size)`.
pub fn listxattr(call: &mut FileCall) -> CallResult {
    list(call, &Of::Path)
}

/// `llistxattr(path, list, size)`.
pub fn llistxattr(call: &mut FileCall) -> CallResult {
    list(call, &Of::Link)
}

/// `flistxattr(fd, list, size)`.
pub fn flistxattr(call: &mut FileCall) -> CallResult {
    list(call, &Of::Open)
}

/// `removexattr(path, name)`.
pub fn removexattr(call: &mut FileCall) -> CallResult {
    refuse(call, &Of::Path)
}

/// `lremovexattr(path, name)`.
pub fn lremovexattr(call: &mut FileCall) -> CallResult {
    refuse(call, &Of::Link)
}

/// `fremovexattr(fd, name)`.
pub fn fremovexattr(call: &mut FileCall) -> CallResult {
    refuse(call, &Of::Open)
}
