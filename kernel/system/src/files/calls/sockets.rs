//! The calls on sockets, as home sees them: names as they were given, messages with what goes along.
//!
//! Law: a call that waits too long for the limit of its socket says how long it may wait, once, in
//! buffer 5, and is made again by the body, which keeps the time; with a 1 in buffer 5 the time is over.

use super::super::inode::Node;
use super::super::open::OpenFile;
use super::super::pipe::Patience;
use super::super::socket::{
    Credentials, Family, Given, Kind, Limit, Message, Name, Received, Socket, Target, UDP_MAX,
    Waiting, Wanted, socket_of,
};
use super::super::walk::Follow;
use super::{CallResult, FileCall, change, usable, walker};
use crate::credentials::SYS_ADMIN;
use crate::dispatch::LIMIT;
use crate::files::objects::Object;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{
    MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, MSG_TRUNC,
    O_CLOEXEC, O_NONBLOCK, O_RDWR, S_IFSOCK,
};
use alloc::sync::Arc;
use alloc::vec::Vec;

const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Most descriptors in one message (`SCM_MAX_FD`).
const RIGHTS_MAX: usize = 253;
/// Bytes of a `struct cmsghdr`.
const HEADER: usize = 16;

/// Beside the flags of what was received: it was a message, which no more bytes belong to.
pub(crate) const MESSAGE: u32 = 1 << 31;

impl FileCall<'_> {
    /// Whether the call waits for this socket.
    fn waiting(&self, file: &OpenFile, flags: u32) -> Waiting {
        let over = self.input(LIMIT) == [1];
        let patience = if over || flags & MSG_DONTWAIT != 0 {
            Patience::Never
        } else {
            self.patience(file)
        };
        Waiting { patience }
    }

    fn credentials(&self) -> Credentials {
        let [_, uid, _, gid] = self.view.ids(self.pid);
        Credentials {
            pid: self.pid,
            uid,
            gid,
        }
    }
}

/// Lets the body keep the time of a wait that has a limit.
fn limited<T>(
    call: &mut FileCall,
    socket: &Socket,
    which: Limit,
    result: Result<T, Stop>,
) -> Result<T, Stop> {
    if matches!(result, Err(Stop::Wait)) && call.inputs[LIMIT].is_none() {
        call.limit_ns = socket.limit(which);
    }
    result
}

// ---- making --------------------------------------------------------------------------------------

/// Flags beside the kind of a socket that nobody knows are refused before all else.
fn check_kind(call: &FileCall) -> Result<(), Errno> {
    match call.args[1] as u32 & !(0xf | O_NONBLOCK | O_CLOEXEC) {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// Family and kind of the first three arguments.
fn what(call: &FileCall) -> Result<(Family, Kind), Errno> {
    const KINDS: u32 = 11;
    const FAMILIES: u64 = 46;
    // `IPPROTO_MAX`.
    const PROTOCOLS: i32 = 263;
    check_kind(call)?;
    let [domain, kind, protocol, ..] = call.args;
    let kind = kind as u32;
    if domain & 0xffff_ffff >= FAMILIES {
        return Err(Errno::EAFNOSUPPORT);
    }
    if kind & 0xf >= KINDS {
        return Err(Errno::EINVAL);
    }
    if domain & 0xffff_ffff == 2 && !(0..PROTOCOLS).contains(&(protocol as i32)) {
        return Err(Errno::EINVAL);
    }
    let family = match domain as i32 {
        1 => Family::Unix,
        2 => Family::Inet,
        10 => Family::Inet6,
        16 => Family::Netlink,
        // There is no link that a program could look into.
        17 => return Err(Errno::EPERM),
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let (kind, protocol) = (kind & 0xf, protocol as i32);
    if family == Family::Unix {
        if !matches!(protocol, 0 | 1) {
            return Err(Errno::EPROTONOSUPPORT);
        }
        return match kind {
            1 => Ok((family, Kind::Stream)),
            2 | 3 => Ok((family, Kind::Datagram)),
            5 => Ok((family, Kind::Packet)),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        };
    }
    if family == Family::Netlink {
        // Of its protocols there is `NETLINK_ROUTE`.
        return match (kind, protocol) {
            (2 | 3, 0) => Ok((family, Kind::Datagram)),
            (2 | 3, _) => Err(Errno::EPROTONOSUPPORT),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        };
    }
    match (kind, protocol) {
        (1, 0 | 6) => Ok((family, Kind::Stream)),
        (2, 0 | 17) => Ok((family, Kind::Datagram)),
        (1..=3, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

fn make(call: &FileCall, family: Family, kind: Kind) -> Arc<Socket> {
    let (fs, owner) = (call.fs, call.credentials());
    Socket::new(family, kind, owner, fs.network(), fs.wakes())
}

fn open(call: &FileCall, socket: Arc<Socket>, flags: u32) -> Result<Arc<OpenFile>, Errno> {
    let object = Object::Socket(socket);
    let flags = O_RDWR | flags & O_NONBLOCK;
    let file = call
        .fs
        .new_object(object, S_IFSOCK | 0o777, flags, call.now_ns)?;
    file.inode().change(|attributes| {
        attributes.uid = call.who.uid;
        attributes.gid = call.who.gid;
    });
    Ok(file)
}

/// `socket(domain, type, protocol)`.
pub fn socket(call: &mut FileCall) -> CallResult {
    let (family, kind) = what(call)?;
    let flags = call.args[1] as u32;
    let fd = call.state.free_descriptor(0)?;
    let file = open(call, make(call, family, kind), flags)?;
    call.state.put(fd, file, flags & O_CLOEXEC != 0);
    Ok(u64::from(fd))
}

/// `socketpair(domain, type, protocol, fds)`.
pub fn socketpair(call: &mut FileCall) -> CallResult {
    // In Linux' order: the numbers are written before there are sockets.
    check_kind(call)?;
    let first = call.state.free_descriptor(0)?;
    let second = call.state.free_descriptor(first + 1)?;
    call.check_room(3, 8)?;
    let (family, kind) = what(call)?;
    let flags = call.args[1] as u32;
    if family != Family::Unix {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let (one, other) = (make(call, family, kind), make(call, family, kind));
    Socket::join(&one, &other);
    let files = (open(call, one, flags)?, open(call, other, flags)?);
    let close = flags & O_CLOEXEC != 0;
    call.state.put(first, files.0, close);
    call.state.put(second, files.1, close);
    call.output(3, &first.to_le_bytes());
    call.output(3, &second.to_le_bytes());
    Ok(0)
}

// ---- names ---------------------------------------------------------------------------------------

fn walk_to(
    call: &FileCall,
    path: &[u8],
    follow: Follow,
) -> Result<super::super::walk::Found, Errno> {
    let start = match path.first() {
        None => return Err(Errno::ENOENT),
        Some(b'/') => call.fs.root().clone(),
        Some(_) => call.state.cwd(),
    };
    walker(call).walk(&start, path, follow)
}

/// The socket at a path.
fn find(call: &FileCall, path: &[u8]) -> Result<Arc<Socket>, Errno> {
    let inode = walk_to(call, path, Follow::Always)?.existing()?;
    match inode.node() {
        Node::Name(socket) => socket.upgrade().ok_or(Errno::ECONNREFUSED),
        _ => Err(Errno::ECONNREFUSED),
    }
}

/// Refuses an address of version 4 for a socket of version 6: only messages can be sent to such.
fn check_version(socket: &Socket, address: &[u8]) -> Result<(), Errno> {
    const AF_INET: [u8; 2] = [2, 0];
    const SHORTEST: usize = 24;
    if socket.family == Family::Inet6 && address.starts_with(&AF_INET) {
        let long = address.len() >= SHORTEST;
        return Err(if long {
            Errno::EAFNOSUPPORT
        } else {
            Errno::EINVAL
        });
    }
    Ok(())
}

/// `bind(fd, address, length)`.
pub fn bind(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    check_version(socket, call.input(1))?;
    let mut address = call.input(1).to_vec();
    if let (Family::Inet, [0, 0, _, _, 0, 0, 0, 0, ..]) = (socket.family, &address[..]) {
        // Any address is known without its family (ip(7): for compatibility).
        address[..2].copy_from_slice(&Family::Inet.number().to_le_bytes());
    }
    let given = Given::parse(&address, socket.family)?;
    match given {
        Given::Unspecified if socket.family == Family::Inet => {
            return Err(Errno::EAFNOSUPPORT.into());
        }
        Given::Unspecified => return Err(Errno::EINVAL.into()),
        Given::Name(Name::Endpoint(endpoint)) => {
            if !endpoint.is_local() && !socket.binds_freely() {
                return Err(Errno::EADDRNOTAVAIL.into());
            }
            socket.check_bind()?;
            socket.bind_endpoint(endpoint)?;
        }
        Given::Name(Name::Path(path)) => {
            let found = walk_to(call, &path, Follow::Never)?;
            if found.inode.is_some() {
                return Err(Errno::EADDRINUSE.into());
            }
            socket.check_bind()?;
            let mode = S_IFSOCK | 0o777 & !call.state.umask();
            let node = Node::Name(Arc::downgrade(socket));
            call.fs.make_node(&found, node, mode, change(call))?;
            socket.named_by_path(&path);
        }
        Given::Name(Name::Netlink(address)) => {
            socket.check_bind()?;
            socket.bind_netlink(if address == 0 { call.pid } else { address });
        }
        Given::Name(Name::Abstract(name)) => {
            socket.check_bind()?;
            socket.bind_abstract(Some(&name))?;
        }
        Given::Name(Name::Unnamed) => {
            if socket.check_bind().is_ok() {
                socket.bind_abstract(None)?;
            }
        }
    }
    Ok(0)
}

/// `getsockname(fd, name)`: all of the name goes to buffer 1, which the body cuts.
pub fn getsockname(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    let name = socket.local_name().to_bytes(socket.family);
    late(call)?;
    call.output(1, &name);
    Ok(0)
}

/// What the body has found wrong with the caller's memory: its length in argument 4, its room in argument 5.
fn late(call: &FileCall) -> Result<(), Errno> {
    match (call.args[4], call.args[5]) {
        (0, 0) => Ok(()),
        (0, error) | (error, _) => Err(Errno(error as i32)),
    }
}

/// `getpeername(fd, name)`: as [`getsockname`].
pub fn getpeername(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    let name = socket.remote_name()?.to_bytes(socket.family);
    late(call)?;
    call.output(1, &name);
    Ok(0)
}

// ---- connections ---------------------------------------------------------------------------------

/// `listen(fd, backlog)`.
pub fn listen(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    socket_of(&file)?.listen(call.args[1], call.credentials())?;
    Ok(0)
}

/// `accept4(fd, name, _, flags)`: the name goes to buffer 1. With a 1 in argument 5 there is no place
/// for it, which is found out last.
pub fn accept4(call: &mut FileCall) -> CallResult {
    let flags = call.args[3] as u32;
    if flags & !(O_NONBLOCK | O_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = usable(call, 0)?;
    let fd = call.state.free_descriptor(0)?;
    let socket = socket_of(&file)?;
    if call.args[5] != 0 {
        socket.check_accept()?;
        return Err(Errno::EFAULT.into());
    }
    let waiting = call.waiting(&file, 0);
    let accepted = socket.accept(waiting);
    let (next, name) = limited(call, socket, Limit::Receiving, accepted)?;
    let family = next.family;
    let opened = open(call, next, flags)?;
    call.state.put(fd, opened, flags & O_CLOEXEC != 0);
    call.output(1, &name.to_bytes(family));
    Ok(u64::from(fd))
}

/// `connect(fd, address, length)`.
pub fn connect(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    if socket.kind == Kind::Stream {
        check_version(socket, call.input(1))?;
    }
    let given = Given::parse(call.input(1), socket.family)?;
    let target = match given {
        Given::Unspecified => {
            socket.disconnect()?;
            return Ok(0);
        }
        Given::Name(Name::Endpoint(to)) => Target::Endpoint(to),
        Given::Name(Name::Path(path)) => Target::Local(find(call, &path)?),
        Given::Name(Name::Abstract(name)) => {
            let named = call.fs.network().named(&name);
            let named = named.filter(|named| named.kind == socket.kind);
            Target::Local(named.ok_or(Errno::ECONNREFUSED)?)
        }
        Given::Name(Name::Unnamed) => return Err(Errno::EINVAL.into()),
        // It is asked without a connection, too.
        Given::Name(Name::Netlink(0)) => return Ok(0),
        Given::Name(Name::Netlink(_)) => return Err(Errno::ECONNREFUSED.into()),
    };
    let waiting = call.waiting(&file, 0);
    let connected = socket.connect(&target, call.credentials(), waiting);
    limited(call, socket, Limit::Sending, connected)?;
    Ok(0)
}

/// `shutdown(fd, how)`.
pub fn shutdown(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    socket_of(&file)?.shut_down(call.args[1])?;
    Ok(0)
}

// ---- options -------------------------------------------------------------------------------------

/// `setsockopt(fd, level, name, value, length)`.
pub fn setsockopt(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    let (level, name) = (call.args[1] as u32, call.args[2] as u32);
    let value = call.input(3);
    socket.set_option(level, name, value)?;
    Ok(0)
}

/// `getsockopt(fd, level, name, value)`: all of the value goes to buffer 3, which the body cuts. A bad
/// length comes behind a bad level, a bad room behind a bad option.
pub fn getsockopt(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    let (level, name) = (call.args[1] as u32, call.args[2] as u32);
    socket.check_level(level)?;
    if call.args[4] != 0 {
        return Err(Errno(call.args[4] as i32).into());
    }
    let value = socket.option(level, name)?;
    late(call)?;
    call.output(3, &value);
    Ok(0)
}

// ---- messages ------------------------------------------------------------------------------------

/// What a message carries beside its bytes.
struct Cargo {
    files: Vec<Arc<OpenFile>>,
    sender: Option<Credentials>,
}

/// Reads control messages.
fn cargo(call: &FileCall, mut control: &[u8], socket: &Socket) -> Result<Cargo, Errno> {
    let mut cargo = Cargo {
        files: Vec::new(),
        sender: None,
    };
    while control.len() >= HEADER {
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|byte| control[at + byte]));
        let length = u64::from(word(0)) | u64::from(word(4)) << 32;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let data = control.get(HEADER..length).ok_or(Errno::EINVAL)?;
        match (word(8), word(12)) {
            (SOL_SOCKET, SCM_RIGHTS) if socket.family == Family::Unix => {
                let (numbers, rest) = data.as_chunks::<4>();
                if !rest.is_empty() || cargo.files.len() + numbers.len() > RIGHTS_MAX {
                    return Err(Errno::EINVAL);
                }
                for number in numbers {
                    let fd = u32::try_from(i32::from_le_bytes(*number));
                    let fd = fd.map_err(|_| Errno::EBADF)?;
                    cargo.files.push(call.state.get(fd)?);
                }
            }
            (SOL_SOCKET, SCM_CREDENTIALS) if socket.family == Family::Unix => {
                cargo.sender = Some(claimed(call, data)?);
            }
            (SOL_SOCKET, _) => return Err(Errno::EINVAL),
            _ => {}
        }
        control = control.get(length.next_multiple_of(8)..).unwrap_or(&[]);
    }
    if !call.fs.network().has_air(cargo.files.len()) {
        return Err(Errno::ETOOMANYREFS);
    }
    Ok(cargo)
}

/// Credentials that a process gives of itself, which must be its own unless it may claim any.
fn claimed(call: &FileCall, data: &[u8]) -> Result<Credentials, Errno> {
    let data: &[u8; 12] = data.try_into().map_err(|_| Errno::EINVAL)?;
    let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|byte| data[at + byte]));
    let claimed = Credentials {
        pid: word(0),
        uid: word(4),
        gid: word(8),
    };
    let [uid, euid, gid, egid] = call.view.ids(call.pid);
    let privileged = call.who.has(SYS_ADMIN);
    let own = claimed.pid == call.pid
        && [uid, euid].contains(&claimed.uid)
        && [gid, egid].contains(&claimed.gid);
    if privileged && !call.view.exists(claimed.pid) {
        return Err(Errno::ESRCH);
    }
    if own || privileged {
        Ok(claimed)
    } else {
        Err(Errno::EPERM)
    }
}

/// Sends from a call of any kind.
fn send(
    call: &mut FileCall,
    file: &OpenFile,
    bytes: &[u8],
    cargo: Cargo,
    given: Option<Given>,
    flags: u32,
) -> Result<usize, Stop> {
    let socket = socket_of(file)?.clone();
    // Only a stream that is broken kills.
    call.quiet = socket.kind != Kind::Stream;
    if socket.asks_kernel() {
        if let Some(error) = call.no_bytes {
            return Err(error.into());
        }
        return match given {
            None | Some(Given::Name(Name::Netlink(0))) => Ok(socket.ask_kernel(bytes, call.pid)),
            _ => Err(Errno::ECONNREFUSED.into()),
        };
    }
    let mut to = None;
    if socket.kind == Kind::Datagram {
        if socket.family != Family::Unix && bytes.len() > UDP_MAX {
            return Err(Errno::EMSGSIZE.into());
        }
        if let Some(given) = given.or_else(|| socket.default_target()) {
            to = socket.addressee(&given, |path| find(call, path))?;
            if to.is_none() && socket.family != Family::Unix {
                if let Some(error) = socket.take_error() {
                    return Err(error.into());
                }
                socket.unreachable();
                return Ok(bytes.len());
            }
        }
    } else if given.is_some() && socket.family == Family::Unix {
        return Err(if socket.remote_name().is_ok() {
            Errno::EISCONN
        } else {
            Errno::EOPNOTSUPP
        }
        .into());
    }
    let [uid, _, gid, _] = call.view.ids(call.pid);
    let own = Credentials {
        pid: call.pid,
        uid,
        gid,
    };
    let waiting = call.waiting(file, flags);
    if let Some(error) = call.no_bytes {
        let may = socket.may_send(to.is_some(), waiting);
        limited(call, &socket, Limit::Sending, may)?;
        return Err(error.into());
    }
    let message = Message {
        bytes,
        files: cargo.files,
        sender: cargo.sender.unwrap_or(own),
        to,
        urgent: flags & MSG_OOB != 0,
    };
    let sent = socket.send(message, waiting);
    limited(call, &socket, Limit::Sending, sent)
}

/// `sendmsg(fd, total, flags)` as the body has prepared it: bytes in buffer 1 (of `total` that are to
/// be sent), the address in buffer 2 if there is one, and control messages in buffer 3.
pub fn sendmsg(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    let (total, flags) = (call.args[1], call.args[2] as u32);
    let bytes = call.input(1);
    if call.args[4] != 0 {
        call.no_bytes = Some(Errno(call.args[4] as i32));
    }
    let is_nothing = total == 0 && socket.family == Family::Unix;
    if flags & MSG_OOB != 0 && (is_nothing || !socket.knows_urgency()) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if socket.kind != Kind::Stream && total > bytes.len() as u64 && call.no_bytes.is_none() {
        return Err(Errno::EMSGSIZE.into());
    }
    let is_inet = matches!(socket.family, Family::Inet | Family::Inet6);
    if is_inet && socket.kind == Kind::Datagram && total > UDP_MAX as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let given = match call.inputs[2] {
        Some(_) if socket.family == Family::Unix && socket.kind == Kind::Stream => {
            return Err(match socket.is_connected() {
                true => Errno::EISCONN.into(),
                false => Errno::EOPNOTSUPP.into(),
            });
        }
        Some(address) => Some(Given::parse(address, socket.family)?),
        None => None,
    };
    let cargo = cargo(call, call.input(3), socket)?;
    Ok(send(call, &file, bytes, cargo, given, flags)? as u64)
}

/// write(2) to a socket.
pub(in crate::files) fn write_socket(
    call: &mut FileCall,
    file: &OpenFile,
    bytes: &[u8],
) -> Result<usize, Stop> {
    let socket = socket_of(file)?;
    let cut = call.args[4] >> 8 > bytes.len() as u64;
    if socket.kind != Kind::Stream && cut && call.no_bytes.is_none() {
        return Err(Errno::EMSGSIZE.into());
    }
    let cargo = Cargo {
        files: Vec::new(),
        sender: None,
    };
    send(call, file, bytes, cargo, None, 0)
}

/// read(2) from a socket.
pub(in crate::files) fn read_socket(
    call: &mut FileCall,
    file: &OpenFile,
    count: usize,
) -> Result<Vec<u8>, Stop> {
    let socket = socket_of(file)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let wanted = Wanted {
        most: count,
        peeks: false,
    };
    let received = socket.receive(wanted, call.waiting(file, 0));
    Ok(limited(call, socket, Limit::Receiving, received)?.bytes)
}

/// `recvmsg(fd, _, flags)`: bytes go to buffer 1, the address to buffer 2, control messages to buffer
/// 3, and to buffer 4 the flags and the length of the control messages, two words.
pub fn recvmsg(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    let flags = call.args[2] as u32;
    if flags & MSG_OOB != 0 && socket.family == Family::Unix && !socket.knows_urgency() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if flags & MSG_OOB != 0 && socket.knows_urgency() {
        let mut bytes = socket.receive_urgent(flags & MSG_PEEK != 0)?;
        let cut = if bytes.len() > call.capacity(1) {
            MSG_TRUNC
        } else {
            0
        };
        bytes.truncate(call.capacity(1));
        call.output(1, &bytes);
        call.output(4, &(MSG_OOB | cut).to_le_bytes());
        call.output(4, &0_u32.to_le_bytes());
        return Ok(bytes.len() as u64);
    }
    if flags & MSG_ERRQUEUE != 0 {
        return Err(Errno::EAGAIN.into());
    }
    let wanted = Wanted {
        most: call.capacity(1),
        peeks: flags & MSG_PEEK != 0,
    };
    let waiting = call.waiting(&file, flags);
    let received = socket.receive(wanted, waiting);
    let received = limited(call, socket, Limit::Receiving, received)?;
    call.output(1, &received.bytes);
    let name = match &received.from {
        Some(Name::Unnamed) if socket.family == Family::Unix => Vec::new(),
        Some(name) => name.to_bytes(socket.family),
        None => Vec::new(),
    };
    call.output(2, &name);
    let mut told = flags & MSG_CMSG_CLOEXEC;
    let whole = received.length;
    let cut = whole > received.bytes.len();
    if cut {
        told |= MSG_TRUNC;
    }
    if socket.kind != Kind::Stream {
        told |= MESSAGE;
    }
    let value = if flags & MSG_TRUNC != 0 && socket.kind != Kind::Stream {
        whole
    } else {
        received.bytes.len()
    };
    let (control, lost) = control(call, received, flags & MSG_CMSG_CLOEXEC != 0);
    if lost {
        told |= MSG_CTRUNC;
    }
    call.output(3, &control);
    call.output(4, &told.to_le_bytes());
    call.output(4, &(control.len() as u32).to_le_bytes());
    Ok(value as u64)
}

/// The control messages for what was received, and whether some did not fit. Descriptors are opened.
fn control(call: &mut FileCall, received: Received, close_on_exec: bool) -> (Vec<u8>, bool) {
    let room = call.capacity(3);
    let mut control = Vec::new();
    let mut lost = false;
    let mut put = |kind: u32, data: &[u8]| {
        let left = room.saturating_sub(control.len());
        if left < HEADER + data.len() {
            return false;
        }
        control.extend_from_slice(&((HEADER + data.len()) as u64).to_le_bytes());
        control.extend_from_slice(&SOL_SOCKET.to_le_bytes());
        control.extend_from_slice(&kind.to_le_bytes());
        control.extend_from_slice(data);
        let padded = control.len().next_multiple_of(8).min(room);
        control.resize(padded, 0);
        true
    };
    if let Some(sender) = received.sender {
        let words = [sender.pid, sender.uid, sender.gid];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        lost |= !put(SCM_CREDENTIALS, &bytes);
    }
    if received.files.is_empty() {
        return (control, lost);
    }
    let fits = room.saturating_sub(control.len() + HEADER) / 4;
    let mut numbers = Vec::new();
    let count = received.files.len();
    for file in received.files.into_iter().take(fits) {
        match call.state.install(0, file, close_on_exec) {
            Ok(fd) => numbers.push(fd),
            Err(_) => break,
        }
    }
    lost |= numbers.len() < count;
    if !numbers.is_empty() {
        let bytes: Vec<u8> = numbers.iter().flat_map(|fd| fd.to_le_bytes()).collect();
        let left = room.saturating_sub(control.len());
        if left >= HEADER + bytes.len() {
            control.extend_from_slice(&((HEADER + bytes.len()) as u64).to_le_bytes());
            control.extend_from_slice(&SOL_SOCKET.to_le_bytes());
            control.extend_from_slice(&SCM_RIGHTS.to_le_bytes());
            control.extend_from_slice(&bytes);
            let padded = control.len().next_multiple_of(8).min(room);
            control.resize(padded, 0);
        }
    }
    (control, lost)
}
