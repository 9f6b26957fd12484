//! Extended attributes, xattr(7), kept in memory with the inode.
//!
//! Law: `user.` attributes are for files and directories and follow their permission bits; `trusted.` ones are
//! root's alone, and `security.` ones root's to change. Other namespaces are not there.

use super::super::access::{READ, WRITE};
use super::super::inode::{InodeRef, Node};
use super::super::mounts::Place;
use super::super::objects::notify::IN_ATTRIB;
use super::super::walk::Follow;
use super::{Base, CallResult, FileCall, now, usable, walk};
use crate::credentials::SYS_ADMIN;
use abi::Errno;
use abi::layout::{S_IFDIR, S_IFMT, S_IFREG};
use alloc::vec::Vec;

/// The longest name and value (`XATTR_NAME_MAX`, `XATTR_SIZE_MAX`), and what one inode keeps.
const NAME_MAX: usize = 255;
const SIZE_MAX: u64 = 65_536;
const ALL_MAX: usize = 131_072;
const XATTR_CREATE: u32 = 1;
const XATTR_REPLACE: u32 = 2;
const S_ISVTX: u32 = 0o1000;

/// The file that is meant by argument 0.
#[derive(Clone, Copy)]
enum Meant {
    Path(Follow),
    Descriptor,
}

fn meant(call: &FileCall, meant: Meant) -> Result<Place, Errno> {
    match meant {
        Meant::Path(follow) => walk(call, Base::Current, 0, follow)?.existing(),
        Meant::Descriptor => Ok(usable(call, 0)?.place().clone()),
    }
}

/// The name of an attribute in argument 1.
fn name<'c>(call: &FileCall<'c>) -> Result<&'c [u8], Errno> {
    match call.input(1) {
        name if name.is_empty() || name.len() > NAME_MAX => Err(Errno::ERANGE),
        name => Ok(name),
    }
}

/// Checks that the caller may use an attribute so.
fn check(call: &FileCall, inode: &InodeRef, name: &[u8], wanted: u32) -> Result<(), Errno> {
    let writes = wanted == WRITE;
    let (space, rest) = match name.iter().position(|byte| *byte == b'.') {
        Some(at) => name.split_at(at + 1),
        None => return Err(Errno::EOPNOTSUPP),
    };
    let has_contents = matches!(inode.mode() & S_IFMT, S_IFREG | S_IFDIR);
    if space == b"user." && !rest.is_empty() && !has_contents {
        return Err(if writes { Errno::EPERM } else { Errno::ENODATA });
    }
    if matches!(inode.node(), Node::Proc(_) | Node::Object(_)) {
        return Err(Errno::EOPNOTSUPP);
    }
    match space {
        b"user." | b"trusted." | b"security." if rest.is_empty() => return Err(Errno::EINVAL),
        b"security." if writes && !call.who.has(SYS_ADMIN) => return Err(Errno::EPERM),
        b"security." => return Ok(()),
        b"trusted." if call.who.has(SYS_ADMIN) => return Ok(()),
        b"trusted." => return Err(if writes { Errno::EPERM } else { Errno::ENODATA }),
        b"user." => {}
        _ => return Err(Errno::EOPNOTSUPP),
    }
    if writes && inode.is_directory() && inode.mode() & S_ISVTX != 0 {
        call.who.check_owner(inode)?;
    }
    call.who.check(inode, wanted)
}

fn set(call: &mut FileCall, which: Meant) -> CallResult {
    let flags = call.args[4] as u32;
    let both = XATTR_CREATE | XATTR_REPLACE;
    if flags & !both != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = name(call)?;
    if call.args[3] > SIZE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let value = call.input(2);
    if call.missed.get() || (call.inputs[2].is_none() && call.args[3] > 0) {
        return Err(Errno::EFAULT.into());
    }
    let inode = meant(call, which)?;
    inode.check_writable()?;
    check(call, &inode, name, WRITE)?;
    let mut attributes = inode.extended();
    let known = attributes.contains_key(name);
    if known && flags & XATTR_CREATE != 0 {
        return Err(Errno::EEXIST.into());
    }
    if !known && flags & XATTR_REPLACE != 0 {
        return Err(Errno::ENODATA.into());
    }
    let others = attributes.iter().filter(|held| held.0 != name);
    let kept: usize = others.map(|held| held.0.len() + held.1.len()).sum();
    if kept + name.len() + value.len() > ALL_MAX {
        return Err(Errno::ENOSPC.into());
    }
    attributes.insert(name.to_vec(), value.to_vec());
    drop(attributes);
    changed(call, &inode);
    Ok(0)
}

fn changed(call: &FileCall, inode: &InodeRef) {
    inode.change(|held| held.changed = now(call));
    inode.tell(IN_ATTRIB);
}

/// Gives bytes to a buffer of the caller's length; without room only their length.
fn give(call: &mut FileCall, arg: usize, bytes: &[u8]) -> CallResult {
    let room = call.args[arg + 1];
    if room > 0 {
        if bytes.len() as u64 > room {
            return Err(Errno::ERANGE.into());
        }
        call.output(arg, bytes);
    }
    Ok(bytes.len() as u64)
}

fn get(call: &mut FileCall, which: Meant) -> CallResult {
    let name = name(call)?;
    let inode = meant(call, which)?;
    check(call, &inode, name, READ)?;
    let value = inode.extended().get(name).cloned().ok_or(Errno::ENODATA)?;
    give(call, 2, &value)
}

fn list(call: &mut FileCall, which: Meant) -> CallResult {
    let inode = meant(call, which)?;
    let hidden = |name: &[u8]| name.starts_with(b"trusted.") && !call.who.has(SYS_ADMIN);
    let mut names = Vec::new();
    for name in inode.extended().keys().filter(|name| !hidden(name)) {
        names.extend_from_slice(name);
        names.push(0);
    }
    give(call, 1, &names)
}

fn remove(call: &mut FileCall, which: Meant) -> CallResult {
    let name = name(call)?;
    let inode = meant(call, which)?;
    inode.check_writable()?;
    check(call, &inode, name, WRITE)?;
    inode.extended().remove(name).ok_or(Errno::ENODATA)?;
    changed(call, &inode);
    Ok(0)
}

macro_rules! calls {
    ($($name:ident $act:ident $meant:expr;)*) => {
        $(
            #[doc = concat!(stringify!($name), "(2).")]
            pub fn $name(call: &mut FileCall) -> CallResult {
                $act(call, $meant)
            }
        )*
    };
}

calls! {
    setxattr set Meant::Path(Follow::Always);
    lsetxattr set Meant::Path(Follow::IfSlash);
    fsetxattr set Meant::Descriptor;
    getxattr get Meant::Path(Follow::Always);
    lgetxattr get Meant::Path(Follow::IfSlash);
    fgetxattr get Meant::Descriptor;
    listxattr list Meant::Path(Follow::Always);
    llistxattr list Meant::Path(Follow::IfSlash);
    flistxattr list Meant::Descriptor;
    removexattr remove Meant::Path(Follow::Always);
    lremovexattr remove Meant::Path(Follow::IfSlash);
    fremovexattr remove Meant::Descriptor;
}
