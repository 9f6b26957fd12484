//! Sockets: what is gathered from memory and scattered there, and how long a call may wait.
//!
//! Law: everything that a call writes to is made writable before home does anything. Bytes that were
//! sent or received already are the progress of the call; a limit of time is fixed when it begins to wait.

use super::super::local::timespec;
use super::pieces;
use crate::bpf::{INSTRUCTION, LENGTH_MAX, read_program};
use crate::dispatch::{CHUNK, FdUse, LIMIT, LocalCall, check_of, result_of};
use crate::files::calls::MESSAGE;
use crate::home::Request;
use crate::thread::Answer;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, MSG_WAITFORONE};
use alloc::vec::Vec;
use machine::Access;

const SENDMSG: u32 = 46;
const RECVMSG: u32 = 47;
const GETSOCKNAME: u32 = 51;
const GETPEERNAME: u32 = 52;
const SETSOCKOPT: u32 = 54;
const GETSOCKOPT: u32 = 55;
const ACCEPT4: u32 = 288;
/// In which argument of a message home is told what is wrong with its bytes.
const NO_BYTES: usize = 4;
const SOL_SOCKET: u32 = 1;
/// `SO_GET_FILTER` too.
const SO_ATTACH_FILTER: u32 = 26;
/// The longest address (`struct sockaddr_storage`).
const NAME_MAX: usize = 128;
/// The most pieces of a message.
const PIECES_MAX: u64 = 1024;
/// The most messages of one call.
const MESSAGES_MAX: u64 = 1024;
/// The most bytes of control messages (`net.core.optmem_max` and more).
const CONTROL_MAX: usize = 32 << 10;
/// The longest message: as much as a buffer can be set to hold (twice `net.core.wmem_max`).
const MESSAGE_MAX: u64 = 425_984;
/// Bytes of a `struct msghdr`, and of a `struct mmsghdr`.
const HEADER: usize = 56;
const HEADER_WITH_LENGTH: u64 = 64;

impl LocalCall<'_> {
    /// Asks home for something that may wait only so long as the open file says. Home says how long
    /// when it has to wait; the time is kept here, and home is told when it is over.
    pub(crate) fn home_limited(
        &mut self,
        question: u32,
        make: impl Fn(&mut Self) -> Result<Request, Stop>,
    ) -> Result<Answer, Stop> {
        loop {
            let deadline = self.thread().restart.deadline_ns;
            let over = deadline != 0 && self.clock() >= deadline;
            let answer = self.home(question, |call| {
                let mut request = make(call)?;
                request.rooms[LIMIT] = 8;
                if deadline != 0 {
                    request.inputs.set(LIMIT, alloc::vec![u8::from(over)]);
                }
                Ok(request)
            });
            let answer = match answer {
                Err(Stop::Wait) if deadline != 0 && !over => {
                    return Err(self.wait_until(deadline));
                }
                other => other?,
            };
            let limit = answer.buffers.get(LIMIT).and_then(|ns| ns.try_into().ok());
            let Some(limit) = limit.map(u64::from_le_bytes).filter(|_| deadline == 0) else {
                return Ok(answer);
            };
            let now = self.clock();
            self.thread().restart.deadline_ns = now.saturating_add(limit).max(1);
        }
    }

    /// What is wrong with the arguments is told behind what is wrong with the socket.
    fn behind_socket<T>(&mut self, found: Result<T, Stop>) -> Result<T, Stop> {
        let fd = self.args[0];
        self.behind_descriptor((fd, FdUse::Socket), found)
    }

    /// A request of the caller's socket, or the question about the socket behind which the error is told.
    fn of_socket(&self, made: Result<Request, Stop>) -> Result<Request, Stop> {
        match made {
            Err(Stop::Errno(error)) => Ok(check_of((self.args[0], FdUse::Socket), error)),
            other => other,
        }
    }

    /// How much of a message one call to home carries. Most are not longer than a piece, and streams are cut: so what is longer is tried
    /// first as far as a piece goes, which home refuses of what is to be whole.
    fn carried(&mut self) -> u64 {
        match self.thread().restart.whole {
            true => MESSAGE_MAX,
            false => CHUNK,
        }
    }

    /// Whether home has refused a piece of something longer, so that all of it is carried from now on.
    fn carries_whole(&mut self, answer: &Result<u64, Stop>, left: u64) -> bool {
        let restart = &mut self.thread().restart;
        let more = *answer == Err(Stop::Errno(Errno::EMSGSIZE)) && left > CHUNK && !restart.whole;
        restart.whole |= more;
        more
    }

    /// Reads a little-endian `int`.
    fn read_int(&mut self, address: u64) -> Result<i32, Stop> {
        let mut bytes = [0; 4];
        self.read_into(address, &mut bytes)?;
        Ok(i32::from_le_bytes(bytes))
    }

    /// How much of a name there is room for, of which the length must be writable.
    fn name_size(&mut self, address: u64, length: u64) -> Result<usize, Stop> {
        if address == 0 {
            return Ok(0);
        }
        let room = usize::try_from(self.read_int(length)?).map_err(|_| Errno::EINVAL)?;
        self.make_writable(length, 4)?;
        Ok(room.min(NAME_MAX))
    }

    /// How much of a name there is room for, which must be writable.
    fn name_room(&mut self, address: u64, length: u64) -> Result<usize, Stop> {
        let room = self.name_size(address, length)?;
        self.make_writable(address, room)?;
        Ok(room)
    }

    /// Writes a name as far as there is room, and its whole length.
    fn put_name(
        &mut self,
        address: u64,
        length: u64,
        room: usize,
        name: &[u8],
    ) -> Result<(), Stop> {
        if address == 0 {
            return Ok(());
        }
        if !name.is_empty() {
            self.write(address, &name[..name.len().min(room)])?;
        }
        self.write(length, &(name.len() as u32).to_le_bytes())
    }
}

/// Makes room for what a socket tells, of which the caller says the length. What is wrong with the length
/// and with the room are two errors, which home tells when Linux would find them; 0 is none.
fn socket_room(
    call: &mut LocalCall<'_>,
    (address, most): (u64, usize),
    length: u64,
) -> Result<[u64; 2], Stop> {
    let room = call.read_int(length).and_then(|room| {
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
        call.make_writable(length, 4).map(|()| room)
    });
    let room = match room {
        Err(Stop::Errno(error)) => return Ok([error.0 as u64, 0]),
        other => other?,
    };
    match call.make_writable(address, room.min(most)) {
        Err(Stop::Errno(error)) => Ok([0, error.0 as u64]),
        other => other.map(|()| [0, 0]),
    }
}

/// A name that home tells.
fn name(call: &mut LocalCall<'_>, number: u32) -> Result<u64, Stop> {
    let [fd, address, length, ..] = call.args;
    let answer = call.home(number, |call| {
        let [length, room] = socket_room(call, (address, NAME_MAX), length)?;
        let mut request = Request::plain(number, [fd, 0, 0, 0, length, room]);
        request.rooms[1] = NAME_MAX as u32;
        Ok(request)
    })?;
    let value = result_of(answer.value)?;
    let room = usize::try_from(call.read_int(length)?).unwrap_or(0);
    let name = answer.buffers.get(1).unwrap_or(&[]);
    call.write(address, &name[..name.len().min(room)])?;
    call.write(length, &(name.len() as u32).to_le_bytes())?;
    Ok(value)
}

/// getsockname(2).
pub fn getsockname(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    name(call, GETSOCKNAME)
}

/// getpeername(2).
pub fn getpeername(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    name(call, GETPEERNAME)
}

/// bind(2): an address of a length that none has is refused here.
pub fn bind(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    if call.args[2] as u32 as usize > NAME_MAX {
        return call.behind_socket(Err(Errno::EINVAL.into()));
    }
    let mut args = call.args;
    args[2] = u64::from(args[2] as u32);
    call.forwarded(args)
}

/// connect(2).
pub fn connect(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const CONNECT: u32 = 42;
    let [fd, address, length, ..] = call.args;
    let length = length as u32 as usize;
    if length > NAME_MAX {
        return call.behind_socket(Err(Errno::EINVAL.into()));
    }
    let answer = call.home_limited(CONNECT, |call| {
        let name = match call.read(address, length) {
            Err(Stop::Errno(error)) => return Ok(check_of((fd, FdUse::Any), error)),
            name => name?,
        };
        let mut request = Request::plain(CONNECT, [fd, 0, length as u64, 0, 0, 0]);
        request.inputs.set(1, name);
        Ok(request)
    })?;
    result_of(answer.value)
}

/// setsockopt(2).
pub fn setsockopt(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let mut args = call.args;
    args[4] = u64::from(args[4] as u32);
    if (args[4] as i32) < 0 {
        return call.behind_socket(Err(Errno::EINVAL.into()));
    }
    let named = (call.args[1] as u32, call.args[2] as u32);
    if named == (SOL_SOCKET, SO_ATTACH_FILTER) {
        return attach_filter(call);
    }
    // No option is as long as a page.
    args[4] = args[4].min(machine::PAGE_SIZE as u64);
    call.forwarded(args)
}

/// `SO_ATTACH_FILTER`: a `struct sock_fprog` says where the instructions are, which go home instead of it.
fn attach_filter(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const PROGRAM: usize = 16;
    let [fd, level, option, address, length, _] = call.args;
    let answer = call.home(SETSOCKOPT, |call| {
        let mut load = || {
            if length as u32 as usize != PROGRAM {
                return Err(Stop::Errno(Errno::EINVAL));
            }
            read_program(call, address)
        };
        let made = load().map(|bytes| {
            let count = bytes.len() as u64;
            let mut request = Request::plain(SETSOCKOPT, [fd, level, option, 0, count, 0]);
            request.inputs.set(3, bytes);
            request
        });
        call.of_socket(made)
    })?;
    result_of(answer.value)
}

/// `SO_GET_FILTER`: lengths are counted in instructions, and 0 only asks how many there are.
fn filter(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [fd, level, option, address, length, _] = call.args;
    let answer = call.home(GETSOCKOPT, |call| {
        let made = call.read_int(length).map(|_| {
            let mut request = Request::plain(GETSOCKOPT, [fd, level, option, 0, 0, 0]);
            request.rooms[3] = (LENGTH_MAX * INSTRUCTION) as u32;
            request
        });
        call.of_socket(made)
    })?;
    let done = result_of(answer.value)?;
    let program = answer.buffers.get(3).unwrap_or(&[]);
    let count = program.len() / INSTRUCTION;
    let room = usize::try_from(call.read_int(length)?).map_err(|_| Errno::EINVAL)?;
    if room != 0 {
        if room < count {
            return Err(Errno::EINVAL.into());
        }
        call.write(address, program)?;
    }
    call.write(length, &(count as u32).to_le_bytes())?;
    Ok(done)
}

/// getsockopt(2).
pub fn getsockopt(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const VALUE_MAX: usize = 256;
    let [fd, level, option, address, length, _] = call.args;
    if (level as u32, option as u32) == (SOL_SOCKET, SO_ATTACH_FILTER) {
        return filter(call);
    }
    let answer = call.home(GETSOCKOPT, |call| {
        let most = call.read_int(length).map_or(0, i32::unsigned_abs);
        let [length, room] = socket_room(call, (address, VALUE_MAX), length)?;
        let args = [fd, level, option, most.into(), length, room];
        let mut request = Request::plain(GETSOCKOPT, args);
        request.rooms[3] = VALUE_MAX as u32;
        Ok(request)
    })?;
    let done = result_of(answer.value)?;
    let room = usize::try_from(call.read_int(length)?).unwrap_or(0);
    let value = answer.buffers.get(3).unwrap_or(&[]);
    let value = &value[..value.len().min(room)];
    call.write(address, value)?;
    call.write(length, &(value.len() as u32).to_le_bytes())?;
    Ok(done)
}

/// accept(2).
pub fn accept(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    call.args[3] = 0;
    accept4(call)
}

/// accept4(2).
pub fn accept4(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [fd, address, length, flags, ..] = call.args;
    let answer = call.home_limited(ACCEPT4, |call| {
        // A bad place for the name is told only when there is one.
        let nowhere = match call.name_room(address, length) {
            Err(Stop::Errno(error)) => error.0 as u64,
            other => other.map(|_| 0)?,
        };
        let mut request = Request::plain(ACCEPT4, [fd, 0, 0, flags, 0, nowhere]);
        request.rooms[1] = NAME_MAX as u32;
        Ok(request)
    })?;
    let fd = result_of(answer.value)?;
    if address != 0 {
        let room = usize::try_from(call.read_int(length)?).unwrap_or(0);
        let name = answer.buffers.get(1).unwrap_or(&[]);
        call.put_name(address, length, room, name)?;
    }
    Ok(fd)
}

// ---- messages ------------------------------------------------------------------------------------

/// A message as its caller describes it: `struct msghdr`, or the arguments of sendto(2).
#[derive(Clone)]
struct Envelope {
    name: u64,
    name_length: usize,
    /// (address, length).
    pieces: Vec<(u64, u64)>,
    control: u64,
    control_length: usize,
}

impl Envelope {
    /// Reads a `struct msghdr`.
    fn read(call: &mut LocalCall<'_>, address: u64) -> Result<Envelope, Stop> {
        let bytes = call.read(address, HEADER)?;
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
        let (vector, count) = (word(16), word(24));
        if count > PIECES_MAX {
            return Err(Errno::EMSGSIZE.into());
        }
        let name_length = usize::try_from(word(8) as u32 as i32).map_err(|_| Errno::EINVAL)?;
        let pieces = pieces::vector(call, vector, count)?;
        let (control, control_length) = (word(32), word(40));
        Ok(Envelope {
            name: word(0),
            name_length: if word(0) == 0 { 0 } else { name_length },
            pieces,
            control,
            control_length: if control == 0 {
                0
            } else {
                usize::try_from(control_length).unwrap_or(usize::MAX)
            },
        })
    }

    fn total(&self) -> u64 {
        pieces::total(&self.pieces)
    }
}

/// Puts a message into a request, behind its first `done` bytes.
fn load(
    call: &mut LocalCall<'_>,
    envelope: &Envelope,
    done: u64,
    mut request: Request,
) -> Result<Request, Stop> {
    let most = call.carried();
    match pieces::gather(call, &pieces::rest(&envelope.pieces, done, most)) {
        // Found only when the bytes are needed: behind a connection that is broken, or full.
        Err(Stop::Errno(error)) => request.args[NO_BYTES] = error.0 as u64,
        bytes => request.inputs.set(1, bytes?),
    }
    if envelope.name != 0 {
        let name = call.read(envelope.name, envelope.name_length)?;
        request.inputs.set(2, name);
    }
    if envelope.control_length > 0 && done == 0 {
        let control = call.read(envelope.control, envelope.control_length)?;
        request.inputs.set(3, control);
    }
    Ok(request)
}

/// Sends as much as one call to home takes, behind the first `done` bytes.
fn send_some(
    call: &mut LocalCall<'_>,
    envelope: &Envelope,
    flags: u64,
    done: u64,
) -> Result<u64, Stop> {
    let fd = call.args[0];
    if envelope.name_length > NAME_MAX {
        return Err(Errno::EINVAL.into());
    }
    if envelope.control_length > CONTROL_MAX {
        return Err(Errno::ENOBUFS.into());
    }
    let left = envelope.total() - done.min(envelope.total());
    loop {
        let answer = call.home_limited(SENDMSG, |call| {
            let request = Request::plain(SENDMSG, [fd, left, flags, 0, 0, done]);
            let made = load(call, envelope, done, request);
            call.of_socket(made)
        })?;
        let sent = result_of(answer.value);
        if !call.carries_whole(&sent, left) {
            return sent;
        }
    }
}

/// Sends all of it, unless it is not to wait.
fn send_all(call: &mut LocalCall<'_>, envelope: &Envelope, flags: u64) -> Result<u64, Stop> {
    let total = envelope.total();
    loop {
        let done = call.thread().restart.progress;
        match send_some(call, envelope, flags, done) {
            Ok(sent) => {
                let done = done + sent;
                call.thread().restart.progress = done;
                if done >= total || sent == 0 {
                    return Ok(done);
                }
            }
            Err(Stop::Errno(_)) if done > 0 => return Ok(done),
            Err(stop) => return Err(stop),
        }
    }
}

/// sendto(2).
pub fn sendto(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [_, address, length, flags, name, name_length] = call.args;
    let found = usize::try_from(name_length as i32).map_err(|_| Errno::EINVAL.into());
    let name_length = call.behind_socket(found)?;
    let envelope = Envelope {
        name,
        name_length,
        pieces: alloc::vec![(address, length.min(i32::MAX as u64))],
        control: 0,
        control_length: 0,
    };
    send_all(call, &envelope, flags)
}

/// sendmsg(2).
pub fn sendmsg(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [_, message, flags, ..] = call.args;
    let found = Envelope::read(call, message);
    let done = call.thread().restart.progress;
    if matches!(found, Err(Stop::Errno(_))) && done > 0 {
        // What said that there is more has gone since.
        return Ok(done);
    }
    let envelope = call.behind_socket(found)?;
    send_all(call, &envelope, flags)
}

/// read(2) or write(2) of a message that is longer than one call to home carries.
pub(crate) fn message(
    call: &mut LocalCall<'_>,
    pieces: &[pieces::Piece],
    writes: bool,
) -> Result<u64, Stop> {
    let envelope = Envelope {
        name: 0,
        name_length: 0,
        pieces: pieces.to_vec(),
        control: 0,
        control_length: 0,
    };
    match writes {
        true => send_some(call, &envelope, 0, 0),
        false => receive_some(call, &envelope, 0, 0).map(|arrived| arrived.length),
    }
}

/// sendmmsg(2): how many were sent.
pub fn sendmmsg(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [_, messages, count, flags, ..] = call.args;
    let count = u64::from(count as u32).min(MESSAGES_MAX);
    loop {
        let done = call.thread().restart.progress;
        if done >= count {
            return Ok(done);
        }
        let at = messages.wrapping_add(done * HEADER_WITH_LENGTH);
        let mut step = || {
            let envelope = Envelope::read(call, at)?;
            call.make_writable(at.wrapping_add(HEADER as u64), 4)?;
            let sent = send_some(call, &envelope, flags, 0)?;
            call.write(at.wrapping_add(HEADER as u64), &(sent as u32).to_le_bytes())
        };
        match step() {
            Ok(()) => call.thread().restart.progress = done + 1,
            Err(Stop::Errno(_)) if done > 0 => return Ok(done),
            Err(stop) => return Err(stop),
        }
    }
}

/// What home gave for a message.
struct Arrived {
    length: u64,
    answer: Answer,
}

/// Makes everything writable that a message is received into. Whether a name can be told, too: if not, that is found when there is one.
fn room_for(
    call: &mut LocalCall<'_>,
    envelope: &Envelope,
    pieces: &[pieces::Piece],
    control: usize,
) -> Result<bool, Stop> {
    pieces::make_writable(call, pieces)?;
    if control > 0 {
        call.make_writable(envelope.control, control)?;
    }
    if envelope.name == 0 {
        return Ok(true);
    }
    let length = envelope.name_length.min(NAME_MAX);
    Ok(call.fit_for(envelope.name, length, Access::WRITE)? == length)
}

/// Receives into the room behind the first `done` bytes, and scatters it.
fn receive_some(
    call: &mut LocalCall<'_>,
    envelope: &Envelope,
    flags: u64,
    done: u64,
) -> Result<Arrived, Stop> {
    let fd = call.args[0];
    let left = envelope.total().saturating_sub(done);
    let control = envelope.control_length.min(CONTROL_MAX);
    loop {
        let most = call.carried();
        let pieces = pieces::rest(&envelope.pieces, done, most);
        let room: u64 = pieces::total(&pieces);
        let answer = call.home_limited(RECVMSG, |call| {
            let named = match room_for(call, envelope, &pieces, control) {
                Err(stop) => return call.of_socket(Err(stop)),
                Ok(named) => named,
            };
            let mut request = Request::plain(RECVMSG, [fd, left, flags, 0, 0, done]);
            request.rooms[1] = room as u32;
            request.rooms[2] = NAME_MAX as u32;
            request.rooms[3] = control as u32;
            request.rooms[4] = 8;
            if !named {
                request.inputs.mark_narrow(2);
            }
            Ok(request)
        })?;
        let length = result_of(answer.value);
        if call.carries_whole(&length, left) {
            continue;
        }
        let length = length?;
        pieces::scatter(call, &pieces, answer.buffers.get(1).unwrap_or(&[]))?;
        return Ok(Arrived { length, answer });
    }
}

/// Receives; goes on until everything is there if `MSG_WAITALL` says so.
fn receive_all(call: &mut LocalCall<'_>, envelope: &Envelope, flags: u64) -> Result<Arrived, Stop> {
    let total = envelope.total();
    let all =
        flags & u64::from(MSG_WAITALL) != 0 && flags & u64::from(MSG_PEEK | MSG_DONTWAIT) == 0;
    loop {
        let done = call.thread().restart.progress;
        let mut arrived = match receive_some(call, envelope, flags, done) {
            Err(Stop::Errno(_)) if done > 0 => Arrived {
                length: 0,
                answer: crate::home::plain(0),
            },
            other => other?,
        };
        let got = arrived.length;
        arrived.length += done;
        let control = arrived
            .answer
            .buffers
            .get(3)
            .is_some_and(|bytes| !bytes.is_empty());
        if !all || got == 0 || arrived.length >= total || control || arrived.is_message() {
            return Ok(arrived);
        }
        call.thread().restart.progress = arrived.length;
    }
}

impl Arrived {
    /// The flags, and how long the control messages are.
    fn told(&self) -> (u32, u32) {
        let words = self.answer.buffers.get(4).unwrap_or(&[]);
        let word = |at: usize| {
            let bytes = words
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        (word(0), word(4))
    }

    /// Whether it is a message of its own, which no more bytes belong to.
    fn is_message(&self) -> bool {
        self.told().0 & MESSAGE != 0
    }

    fn name(&self) -> &[u8] {
        self.answer.buffers.get(2).unwrap_or(&[])
    }

    /// Fills in a `struct msghdr`, which is writable.
    fn report(
        &self,
        call: &mut LocalCall<'_>,
        envelope: &Envelope,
        header: u64,
    ) -> Result<(), Stop> {
        let name = self.name();
        if envelope.name != 0 {
            let fits = name.len().min(envelope.name_length);
            call.write(envelope.name, &name[..fits])?;
            let length = (name.len() as u32).to_le_bytes();
            call.write(header.wrapping_add(8), &length)?;
        }
        let flags = self.told().0 & !MESSAGE;
        let control = self.answer.buffers.get(3).unwrap_or(&[]);
        let control = &control[..control.len().min(envelope.control_length)];
        if !control.is_empty() {
            call.write(envelope.control, control)?;
        }
        call.write(
            header.wrapping_add(40),
            &(control.len() as u64).to_le_bytes(),
        )?;
        call.write(header.wrapping_add(48), &flags.to_le_bytes())
    }
}

/// recvfrom(2).
pub fn recvfrom(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [_, address, length, flags, name, name_length] = call.args;
    let found = call.name_size(name, name_length);
    let room = call.behind_socket(found)?;
    let envelope = Envelope {
        name,
        name_length: room,
        pieces: alloc::vec![(address, length.min(i32::MAX as u64))],
        control: 0,
        control_length: 0,
    };
    let arrived = receive_all(call, &envelope, flags & !u64::from(MSG_CMSG_CLOEXEC))?;
    call.put_name(name, name_length, room, arrived.name())?;
    Ok(arrived.length)
}

/// recvmsg(2).
pub fn recvmsg(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [_, message, flags, ..] = call.args;
    let found = Envelope::read(call, message);
    let envelope = call.behind_socket(found)?;
    call.make_writable(message, HEADER)?;
    let arrived = receive_all(call, &envelope, flags)?;
    arrived.report(call, &envelope, message)?;
    Ok(arrived.length)
}

/// recvmmsg(2): how many were received. The time limit ends a wait, too.
pub fn recvmmsg(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [_, messages, count, flags, timeout, _] = call.args;
    let count = u64::from(count as u32).min(MESSAGES_MAX);
    if timeout != 0 {
        let deadline = call.deadline(timeout, timespec)?;
        call.thread().restart.deadline_ns = deadline;
    }
    loop {
        let done = call.thread().restart.progress;
        if done >= count {
            return Ok(done);
        }
        let at = messages.wrapping_add(done * HEADER_WITH_LENGTH);
        let waits = done == 0 || flags & u64::from(MSG_WAITFORONE) == 0;
        let flags =
            flags & !u64::from(MSG_WAITFORONE) | if waits { 0 } else { u64::from(MSG_DONTWAIT) };
        let mut step = || {
            let envelope = Envelope::read(call, at)?;
            call.make_writable(at, HEADER_WITH_LENGTH as usize)?;
            let arrived = receive_some(call, &envelope, flags, 0)?;
            arrived.report(call, &envelope, at)?;
            let length = (arrived.length as u32).to_le_bytes();
            call.write(at.wrapping_add(HEADER as u64), &length)
        };
        match step() {
            Ok(()) => call.thread().restart.progress = done + 1,
            Err(Stop::Errno(_)) if done > 0 => return Ok(done),
            Err(stop) => return Err(stop),
        }
    }
}
