//! The calls on sockets, as home sees them: names as they were given, connections, options.
//!
//! Law: a call that waits too long for the limit of its socket says how long it may wait, once, in
//! buffer 5, and is made again by the body, which keeps the time; with a 1 in buffer 5 the time is over.

use super::super::inode::Node;
use super::super::open::OpenFile;
use super::super::pipe::Patience;
use super::super::socket::{
    Credentials, Family, GENERIC, Given, ICMP, ICMPV6, Kind, Limit, Name, Socket, Target, UEVENT,
    Waiting, socket_of,
};
use super::super::walk::Follow;
use super::{CallResult, FileCall, change, usable, walker};
use crate::credentials::{NET_BIND_SERVICE, NET_RAW};
use crate::dispatch::LIMIT;
use crate::files::objects::Object;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{MSG_DONTWAIT, O_CLOEXEC, O_NONBLOCK, O_RDWR, S_IFSOCK};
use alloc::sync::Arc;

const SOL_SOCKET: u32 = 1;
/// Asks for the name of the other side, and for a number of the socket's own (`SO_COOKIE`).
const PEERNAME: u32 = 28;
const COOKIE: u32 = 57;
/// `IPPROTO_UDPLITE`.
const UDPLITE: i32 = 136;
const SOCK_RAW: u32 = 3;
/// Ports below are those of the system's services (`net.ipv4.ip_unprivileged_port_start`).
const FIRST_FREE_PORT: u16 = 1024;

impl FileCall<'_> {
    /// Whether the call waits for this socket.
    pub(super) fn waiting(&self, file: &OpenFile, flags: u32) -> Waiting {
        let over = self.input(LIMIT) == [1];
        let patience = if over || flags & MSG_DONTWAIT != 0 {
            Patience::Never
        } else {
            self.patience(file)
        };
        Waiting { patience }
    }

    pub(super) fn credentials(&self) -> Credentials {
        let [_, uid, _, gid] = self.view.ids(self.tid);
        Credentials {
            pid: self.pid,
            uid,
            gid,
        }
    }
}

/// Lets the body keep the time of a wait that has a limit.
pub(super) fn limited<T>(
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
        return match (kind, protocol) {
            (2 | 3, 0 | UEVENT | GENERIC) => Ok((family, Kind::Datagram)),
            (2 | 3, _) => Err(Errno::EPROTONOSUPPORT),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        };
    }
    match (kind, protocol) {
        (1, 0 | 6) => Ok((family, Kind::Stream)),
        (2, 0 | 17 | UDPLITE) => Ok((family, Kind::Datagram)),
        (2, _) if asks_for_echo(family, protocol) => match call.fs.network().may_ask(&call.who) {
            true => Ok((family, Kind::Datagram)),
            false => Err(Errno::EACCES),
        },
        (3, _) if asks_for_echo(family, protocol) && call.who.has(NET_RAW) => {
            Ok((family, Kind::Datagram))
        }
        // Of other protocols nobody may make raw ones.
        (3, 1..) => Err(Errno::EPERM),
        (1..=3, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// Whether this is the protocol of questions whether somebody is there.
fn asks_for_echo(family: Family, protocol: i32) -> bool {
    let asks = match family {
        Family::Inet => Some(ICMP),
        Family::Inet6 => Some(ICMPV6),
        _ => None,
    };
    asks.map(i32::from) == Some(protocol)
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
    let made = make(call, family, kind);
    match call.args[2] as i32 {
        UDPLITE if family != Family::Unix => made.become_lite(),
        protocol if asks_for_echo(family, protocol) && flags & 0xf == SOCK_RAW => {
            made.become_raw()?;
        }
        protocol if asks_for_echo(family, protocol) => made.become_echo(),
        protocol if family == Family::Netlink => made.asks_by(protocol, (flags & 0xf) as i32),
        _ => {}
    }
    let file = open(call, made, flags)?;
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
        Some(b'/') => call.state.root(),
        Some(_) => call.state.cwd(),
    };
    walker(call).walk(&start, path, follow)
}

/// The socket at a path.
pub(super) fn find(call: &FileCall, path: &[u8]) -> Result<Arc<Socket>, Errno> {
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
            if socket.is_raw() {
                socket.bind_raw(Some(endpoint.address))?;
                return Ok(0);
            }
            let is_service = (1..FIRST_FREE_PORT).contains(&endpoint.port);
            if is_service && !socket.speaks_icmp() && !call.who.has(NET_BIND_SERVICE) {
                return Err(Errno::EACCES.into());
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
            let groups = call
                .input(1)
                .get(8..12)
                .and_then(|word| word.try_into().ok());
            let address = if address == 0 { call.pid } else { address };
            socket.bind_netlink(address, groups.map_or(0, u32::from_le_bytes));
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

/// `accept4(fd, name, _, flags)`: the name goes to buffer 1. Argument 5 is what is wrong with the place
/// for it, which is found out when there is a connection; that stays.
pub fn accept4(call: &mut FileCall) -> CallResult {
    let flags = call.args[3] as u32;
    if flags & !(O_NONBLOCK | O_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = usable(call, 0)?;
    let fd = call.state.free_descriptor(0)?;
    let socket = socket_of(&file)?;
    let waiting = call.waiting(&file, 0);
    if call.args[5] != 0 {
        let there = socket.has_connection(waiting);
        limited(call, socket, Limit::Receiving, there)?;
        return Err(Errno(call.args[5] as i32).into());
    }
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
    let uncorks = socket.uncorks((level, name), value);
    socket.set_option(level, name, value)?;
    if uncorks {
        super::messages::let_go(call, &file)?;
    }
    Ok(0)
}

/// `getsockopt(fd, level, name, room)`: all of the value goes to buffer 3, which the body cuts. A bad
/// length comes behind a bad level, a bad room behind a bad option.
pub fn getsockopt(call: &mut FileCall) -> CallResult {
    let file = usable(call, 0)?;
    let socket = socket_of(&file)?;
    let (level, name) = (call.args[1] as u32, call.args[2] as u32);
    socket.check_level(level)?;
    if call.args[4] != 0 {
        return Err(Errno(call.args[4] as i32).into());
    }
    let value = match (level, name) {
        // A number that no other socket has, as its inode.
        (SOL_SOCKET, COOKIE) => file.inode().number().to_le_bytes().to_vec(),
        _ => socket.option(level, name)?,
    };
    let room = call.args[3];
    let fits = match (level, name) {
        (SOL_SOCKET, COOKIE) => room >= value.len() as u64,
        (SOL_SOCKET, PEERNAME) => room <= value.len() as u64,
        _ => true,
    };
    if !fits {
        return Err(Errno::EINVAL.into());
    }
    late(call)?;
    call.output(3, &value);
    Ok(0)
}
