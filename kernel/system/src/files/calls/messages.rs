//! Sending and receiving, as home sees it: messages with what goes along.
//!
//! Law: as in `sockets.rs`, whose waits have the same limits.

use super::super::open::OpenFile;
use super::super::socket::{
    Credentials, Family, Given, Header, Kind, Limit, Message, Name, Part, Received, Socket,
    UDP_MAX, UDP_SEGMENT, Wanted, socket_of,
};
use super::sockets::{find, limited};
use super::{CallResult, FileCall, usable};
use crate::credentials::SYS_ADMIN;
use crate::dispatch::CHUNK;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{
    MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_ERRQUEUE, MSG_MORE, MSG_OOB, MSG_PEEK, MSG_TRUNC,
};
use alloc::sync::Arc;
use alloc::vec::Vec;

const SOL_SOCKET: u32 = 1;
/// Datagrams that what is sent at once is cut into at most (`UDP_MAX_SEGMENTS`).
const SEGMENTS_MAX: usize = 64;
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Most descriptors in one message (`SCM_MAX_FD`).
const RIGHTS_MAX: usize = 253;
/// Bytes of a `struct cmsghdr`.
const HEADER: usize = 16;

/// Beside the flags of what was received: it was a message, which no more bytes belong to.
pub(crate) const MESSAGE: u32 = 1 << 31;

/// What a message carries beside its bytes.
struct Cargo {
    files: Vec<Arc<OpenFile>>,
    sender: Option<Credentials>,
    /// What a datagram of the internet says of its header.
    header: Header,
    /// It goes in datagrams of so many bytes (`UDP_SEGMENT`), if not as the socket says.
    segment: Option<usize>,
}

impl Cargo {
    /// Nothing beside the bytes.
    fn none() -> Cargo {
        Cargo {
            files: Vec::new(),
            sender: None,
            header: Header::default(),
            segment: None,
        }
    }
}

/// Reads control messages.
fn cargo(
    call: &FileCall,
    mut control: &[u8],
    socket: &Socket,
    given: Option<&Given>,
) -> Result<Cargo, Errno> {
    let mut cargo = Cargo::none();
    let is_inet = matches!(socket.family, Family::Inet | Family::Inet6);
    let is_datagram = is_inet && socket.kind == Kind::Datagram;
    let remote = socket.default_target();
    let v4 = match given.or(remote.as_ref()) {
        Some(Given::Name(Name::Endpoint(endpoint))) => endpoint.is_v4(),
        _ => socket.family == Family::Inet,
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
            // Those of the internet do not look at them (`__sock_cmsg_send`).
            (SOL_SOCKET, SCM_RIGHTS | SCM_CREDENTIALS) => {}
            (SOL_SOCKET, _) => return Err(Errno::EINVAL),
            UDP_SEGMENT if is_datagram && !socket.speaks_icmp() => {
                let size = data.try_into().map_err(|_| Errno::EINVAL)?;
                cargo.segment = Some(u16::from_le_bytes(size).into());
            }
            kind if is_datagram => cargo.header.take(kind, data, v4)?,
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
    let [uid, euid, gid, egid] = call.view.ids(call.tid);
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

fn own_credentials(call: &FileCall) -> Credentials {
    let [uid, _, gid, _] = call.view.ids(call.tid);
    Credentials {
        pid: call.pid,
        uid,
        gid,
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
        let [uid, ..] = call.view.ids(call.tid);
        return match given {
            None | Some(Given::Name(Name::Netlink(0))) => {
                Ok(socket.ask_kernel(bytes, (call.pid, uid)))
            }
            _ => Err(Errno::ECONNREFUSED.into()),
        };
    }
    if socket.speaks_icmp() {
        if let Some(error) = call.no_bytes {
            return Err(error.into());
        }
        let given = given.or_else(|| socket.default_target());
        let at = call.fs.time(call.now_ns);
        if socket.is_raw() {
            return Ok(socket.send_raw(bytes, given.as_ref(), cargo.header, at)?);
        }
        return Ok(socket.ask_for_echo(bytes, given.as_ref(), cargo.header, at)?);
    }
    let is_udp = socket.family != Family::Unix && socket.kind == Kind::Datagram;
    if is_udp && call.no_bytes.is_none() {
        let more = flags & MSG_MORE != 0;
        match socket.part_of_datagram(bytes, given.as_ref(), more)? {
            Part::Held => return Ok(bytes.len()),
            Part::Last(whole, given) => {
                return send_in_segments(call, file, &whole, cargo, given, flags)
                    .map(|sent| sent.min(bytes.len()));
            }
            Part::Whole => {}
        }
        return send_in_segments(call, file, bytes, cargo, given, flags);
    }
    send_whole(call, file, bytes, cargo, given, flags)
}

/// Sends what of a socket was held back, which nothing holds back any more.
pub(super) fn let_go(call: &mut FileCall, file: &OpenFile) -> Result<(), Stop> {
    match socket_of(file)?.kind {
        Kind::Datagram => send(call, file, &[], Cargo::none(), None, 0).map(drop),
        _ => {
            socket_of(file)?.let_go();
            Ok(())
        }
    }
}

/// Sends the bytes of a socket of UDP: as one datagram, or as several of the length that was asked for (`UDP_SEGMENT`).
/// What becomes of one is nothing to the others.
fn send_in_segments(
    call: &mut FileCall,
    file: &OpenFile,
    bytes: &[u8],
    cargo: Cargo,
    given: Option<Given>,
    flags: u32,
) -> Result<usize, Stop> {
    let socket = socket_of(file)?.clone();
    let segment = cargo.segment.unwrap_or_else(|| socket.segment());
    if segment == 0 || bytes.len() <= segment {
        return send_whole(call, file, bytes, cargo, given, flags);
    }
    if bytes.len() > UDP_MAX {
        return Err(Errno::EMSGSIZE.into());
    }
    if bytes.len() > segment * SEGMENTS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let header = cargo.header;
    for (number, part) in bytes.chunks(segment).enumerate() {
        // Nobody is there: that is told once.
        if number > 0 && socket.has_error() {
            break;
        }
        let cargo = Cargo {
            header,
            ..Cargo::none()
        };
        send_whole(call, file, part, cargo, given.clone(), flags)?;
    }
    Ok(bytes.len())
}

/// Sends bytes of which nothing is held back here: of a datagram all of it.
fn send_whole(
    call: &mut FileCall,
    file: &OpenFile,
    bytes: &[u8],
    cargo: Cargo,
    given: Option<Given>,
    flags: u32,
) -> Result<usize, Stop> {
    let socket = socket_of(file)?.clone();
    let (mut to, mut target) = (None, None);
    if socket.kind == Kind::Datagram {
        if socket.family != Family::Unix && bytes.len() > UDP_MAX {
            return Err(Errno::EMSGSIZE.into());
        }
        if let Some(given) = given.or_else(|| socket.default_target()) {
            if let Given::Name(Name::Endpoint(group)) = &given
                && group.is_group()
                && call.no_bytes.is_none()
            {
                let own = (own_credentials(call), cargo.header);
                let at = call.fs.time(call.now_ns);
                return socket.send_to_group(group, (bytes, at), own, call.waiting(file, flags));
            }
            if let Given::Name(Name::Endpoint(endpoint)) = &given {
                target = Some(*endpoint);
            }
            to = socket.addressee(&given, |path| find(call, path))?;
            if socket.family != Family::Unix && socket.sends_not() {
                return Err(Errno::EPIPE.into());
            }
            if to.is_none() && socket.family != Family::Unix {
                if let Some(error) = socket.take_error() {
                    return Err(error.into());
                }
                socket.unreachable(target, bytes);
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
    let own = own_credentials(call);
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
        more: flags & MSG_MORE != 0,
        header: cargo.header,
        target,
        at: call.fs.time(call.now_ns),
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
    let is_udp = is_inet && socket.kind == Kind::Datagram && !socket.speaks_icmp();
    if is_udp && total > UDP_MAX as u64 {
        return Err(Errno::EMSGSIZE.into());
    }
    let given = match call.inputs[2] {
        Some(_) if socket.family == Family::Unix && socket.kind == Kind::Stream => {
            return Err(match socket.is_connected() {
                true => Errno::EISCONN.into(),
                false => Errno::EOPNOTSUPP.into(),
            });
        }
        // A packet goes to the other side, whatever name comes with it.
        Some(_) if socket.family == Family::Unix && socket.kind == Kind::Packet => None,
        Some(address) => Some(Given::parse(address, socket.family)?),
        None => None,
    };
    let cargo = cargo(call, call.input(3), socket, given.as_ref())?;
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
    send(call, file, bytes, Cargo::none(), None, 0)
}

/// Refuses to cut a message for which the caller has `room`, but one piece of a call has not: the body asks for all of it then.
fn check_carried(room: u64, socket: &Socket, wanted: Wanted) -> Result<(), Errno> {
    let piece = wanted.most as u64 == CHUNK && room > CHUNK;
    match piece && socket.next_message(wanted) > wanted.most {
        true => Err(Errno::EMSGSIZE),
        false => Ok(()),
    }
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
    check_carried(call.args[4] >> 8, socket, wanted)?;
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
    let from_failures = flags & MSG_ERRQUEUE;
    let asks_failures = from_failures != 0 && socket.family != Family::Unix;
    if flags & MSG_OOB != 0 && socket.knows_urgency() && !asks_failures {
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
    let wanted = Wanted {
        most: call.capacity(1),
        peeks: flags & MSG_PEEK != 0,
    };
    let waiting = call.waiting(&file, flags);
    if from_failures == 0 {
        check_carried(call.args[1], socket, wanted)?;
    }
    // Only with datagrams comes a name, for which the caller's memory has to be good then.
    if socket.kind == Kind::Datagram && call.narrow[2] {
        return Err(Errno::EFAULT.into());
    }
    let received = match from_failures {
        0 => socket.receive(wanted, waiting),
        _ => Ok(socket.take_failure(wanted.most)?),
    };
    let received = limited(call, socket, Limit::Receiving, received)?;
    call.output(1, &received.bytes);
    let name = match &received.from {
        Some(Name::Unnamed) if socket.family == Family::Unix => Vec::new(),
        Some(name) => name.to_bytes(socket.family),
        None => Vec::new(),
    };
    call.output(2, &name);
    let mut told = flags & MSG_CMSG_CLOEXEC | from_failures;
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

/// Puts a control message behind others, as far as there is room (`put_cmsg` of Linux). Whether something of it did
/// not fit.
fn put(control: &mut Vec<u8>, room: usize, (level, kind): (u32, u32), data: &[u8]) -> bool {
    let left = room.saturating_sub(control.len());
    if left < HEADER {
        return true;
    }
    let whole = HEADER + data.len();
    let length = whole.min(left);
    control.extend_from_slice(&(length as u64).to_le_bytes());
    control.extend_from_slice(&level.to_le_bytes());
    control.extend_from_slice(&kind.to_le_bytes());
    control.extend_from_slice(&data[..length - HEADER]);
    let padded = control.len().next_multiple_of(8).min(room);
    control.resize(padded, 0);
    length < whole
}

/// The control messages for what was received, and whether some did not fit. Descriptors are opened.
fn control(call: &mut FileCall, received: Received, close_on_exec: bool) -> (Vec<u8>, bool) {
    let room = call.capacity(3);
    let mut control = Vec::new();
    let mut lost = false;
    for (level, kind, data) in &received.told {
        lost |= put(&mut control, room, (*level, *kind), data);
    }
    if let Some(sender) = received.sender {
        let words = [sender.pid, sender.uid, sender.gid];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        lost |= put(&mut control, room, (SOL_SOCKET, SCM_CREDENTIALS), &bytes);
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
        put(&mut control, room, (SOL_SOCKET, SCM_RIGHTS), &bytes);
    }
    (control, lost)
}
