//! What a call has at the body: the memory of its process, and a way to ask home.
//!
//! Law: in-buffers are copied and out-buffers made writable before home is asked, so that an answer can
//! always be given. What is done stands in the restart record, and the call can be run again.

use crate::body::Body;
use crate::calls::split;
use crate::dispatch::{
    CALL_CHECK_FD, CALL_IOCTL, CALL_PREAD, CALL_PWRITE, CALL_READ, CALL_WRITE, CHUNK, FdUse,
    PATH_MAX, check_of, result_of,
};
use crate::home::Request;
use crate::memory::StringStop;
use crate::system::System;
use crate::terminals::GOES_ON;
use crate::thread::{Answer, Forward, Purpose, Thread};
use crate::wait::Stop;
use abi::Errno;
use abi::table::{Arg, Call, Length, Place};
use alloc::vec::Vec;
use machine::{Access, USER_END};

/// In which argument of read(2), write(2) and ioctl(2) the body tells which signals of job control it blocks or
/// ignores: an argument that those calls do not have.
pub(crate) const SHIELDS: usize = 4;
pub(crate) const SHIELD_TTIN: u64 = 1;
pub(crate) const SHIELD_TTOU: u64 = 2;
/// How late a thread that waits for a time may be woken.
const SLACK_NS: u64 = 50_000;

/// A call that concerns the body, at the node where it is.
pub struct LocalCall<'a> {
    /// The node.
    pub system: &'a mut System,
    /// The process.
    pub pid: u32,
    /// The calling thread.
    pub tid: u32,
    /// The row, if it is a call of Linux.
    pub row: Option<&'static Call>,
    /// Arguments.
    pub args: [u64; 6],
}

impl LocalCall<'_> {
    /// The caller's body.
    pub fn body(&mut self) -> &mut Body {
        self.system.body(self.pid)
    }

    /// The calling thread.
    pub fn thread(&mut self) -> &mut Thread {
        self.system.thread(self.tid)
    }

    /// Copies from user memory.
    ///
    /// # Errors
    /// EFAULT for memory that cannot be read; `Wait` for a page that is on its way.
    pub fn read(&mut self, address: u64, length: usize) -> Result<Vec<u8>, Stop> {
        let mut bytes = alloc::vec![0; length];
        self.read_into(address, &mut bytes)?;
        Ok(bytes)
    }

    /// As [`LocalCall::read`], into a buffer that is there.
    pub fn read_into(&mut self, address: u64, into: &mut [u8]) -> Result<(), Stop> {
        let done = self
            .system
            .with_space(self.pid, |space, pages| space.read(address, into, pages));
        done.map_err(|trouble| self.system.trouble(self.tid, trouble))
    }

    /// Copies to user memory, all or nothing.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Stop> {
        let done = self
            .system
            .with_space(self.pid, |space, pages| space.write(address, bytes, pages));
        done.map_err(|trouble| self.system.trouble(self.tid, trouble))
    }

    /// Makes sure that [`LocalCall::write`] will succeed.
    pub fn make_writable(&mut self, address: u64, length: usize) -> Result<(), Stop> {
        let done = self.system.with_space(self.pid, |space, pages| {
            space.make_writable(address, length, pages)
        });
        done.map_err(|trouble| self.system.trouble(self.tid, trouble))
    }

    /// The same, and whether it is so, for who does without.
    pub fn is_writable(&mut self, address: u64, length: usize) -> Result<bool, Stop> {
        match self.make_writable(address, length) {
            Err(Stop::Errno(_)) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// How many of the first bytes of a range can be touched so.
    pub fn fit_for(&mut self, address: u64, length: usize, access: Access) -> Result<usize, Stop> {
        let fit = self.system.with_space(self.pid, |space, pages| {
            space.fit_for(address, length, access, pages)
        });
        fit.map_err(|trouble| self.system.trouble(self.tid, trouble))
    }

    /// What is wrong with memory is told behind what is wrong with a descriptor, which home knows.
    pub fn behind_descriptor<T>(
        &mut self,
        (fd, use_of): (u64, FdUse),
        found: Result<T, Stop>,
    ) -> Result<T, Stop> {
        if let Err(Stop::Errno(error)) = found {
            let answer = self.home(CALL_CHECK_FD, |_| Ok(check_of((fd, use_of), error)))?;
            result_of(answer.value)?;
        }
        found
    }

    /// A NUL-terminated string of less than `max` bytes.
    ///
    /// # Errors
    /// ENAMETOOLONG if there is no NUL within `max` bytes.
    pub fn string(&mut self, address: u64, max: usize) -> Result<Vec<u8>, Stop> {
        let mut read = Err(StringStop::TooLong);
        let _ = self.system.with_space(self.pid, |space, pages| {
            read = space.read_string(address, max, pages);
            Ok(())
        });
        match read {
            Ok(string) => Ok(string),
            Err(StringStop::TooLong) => Err(Stop::Errno(Errno::ENAMETOOLONG)),
            Err(StringStop::Trouble(trouble)) => Err(self.system.trouble(self.tid, trouble)),
        }
    }

    /// Reads a little-endian u64 of user memory.
    pub fn read_u64(&mut self, address: u64) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        self.read_into(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Waits until the process's clock shows this, or until something else wakes it. As in Linux the
    /// time may be late by the slack (`PR_SET_TIMERSLACK`): a wait of a few microseconds would
    /// otherwise be over before anybody else could run and end it.
    pub fn wait_until(&mut self, deadline_ns: u64) -> Stop {
        let restart = &mut self.thread().restart;
        restart.deadline_ns = deadline_ns;
        restart.begun = true;
        self.system
            .set_alarm(self.tid, deadline_ns.saturating_add(SLACK_NS));
        Stop::Wait
    }

    /// Asks home, which may be here or a network trip away.
    ///
    /// Away, the first time sends what `make` makes and waits; when the caller is run again with
    /// the reply there, that is returned and `make` is not called. What the caller read from memory may have changed
    /// by then, and with it what it wants to know: an answer to another `question` is none to this one.
    pub fn home(
        &mut self,
        question: u32,
        make: impl FnOnce(&mut Self) -> Result<Request, Stop>,
    ) -> Result<Answer, Stop> {
        if matches!(self.thread().forward, Forward::Sent { .. }) {
            return Err(Stop::Wait);
        }
        if let Some(answer) = self.thread().forward.answer_to(question) {
            return Ok(answer);
        }
        self.system.drop_answer(self.tid);
        let request = make(self)?;
        let obeys = self.thread().obeys_kernel() || self.thread().repeats();
        let drains = self.body().freezing && !obeys;
        if !self.system.effects_open(self.pid) || drains {
            return Err(Stop::Wait);
        }
        let me = self.system.me;
        self.body().calls += 1;
        if self.body().home == me {
            return match self.system.execute(self.pid, self.tid, &request) {
                Err(Stop::Errno(errno)) => Ok(crate::home::plain(-i64::from(errno.0))),
                Err(Stop::Wait) => {
                    self.thread().restart.begun = true;
                    Err(Stop::Wait)
                }
                done => done,
            };
        }
        self.system
            .forward(self.tid, Purpose::Call(question), request);
        Err(Stop::Wait)
    }

    /// As [`LocalCall::home`] for a request without buffers; errors come back as errors.
    pub fn ask_home(&mut self, number: u32, args: [u64; 6]) -> Result<u64, Stop> {
        let answer = self.home(number, |_| Ok(Request::plain(number, args)))?;
        result_of(answer.value)
    }

    /// Executes the row at home as it stands: buffers over, result and buffers back.
    pub fn forwarded(&mut self, args: [u64; 6]) -> Result<u64, Stop> {
        let row = self.row.ok_or(Errno::ENOSYS)?;
        self.forwarded_row(row, args)
    }

    /// See [`SHIELDS`].
    pub(crate) fn shields(&mut self) -> u64 {
        let signals = self.thread().signals;
        let actions = &self.body().actions;
        let shield = |signal, shield| {
            let shielded = actions.ignore(signal) || !signals.lets_through(signal);
            if shielded { shield } else { 0 }
        };
        shield(abi::signal::SIGTTIN, SHIELD_TTIN) | shield(abi::signal::SIGTTOU, SHIELD_TTOU)
    }

    /// As [`LocalCall::forwarded`] for a row other than the caller's own.
    pub fn forwarded_row(&mut self, row: &'static Call, mut args: [u64; 6]) -> Result<u64, Stop> {
        if matches!(row.number, CALL_READ | CALL_WRITE | CALL_IOCTL) {
            let total = if row.number == CALL_IOCTL {
                0
            } else {
                args[SHIELDS] & !0xff
            };
            args[SHIELDS] = self.shields() | total;
        }
        if row.number == CALL_READ {
            args[GOES_ON] = u64::from(self.thread().restart.begun);
        }
        let make = |call: &mut Self| call.gather(row, args);
        let answer = match row.number {
            CALL_READ | CALL_WRITE => self.home_limited(row.number, make)?,
            _ => self.home(row.number, make)?,
        };
        for (arg, bytes) in answer.buffers.iter() {
            // Home is believed about contents, not about lengths.
            if let Some(room) = out_length(row, &args, arg) {
                self.write(args[arg], &bytes[..bytes.len().min(room)])?;
            }
        }
        result_of(answer.value)
    }

    /// Copies the in-buffers and makes the out-buffers writable, as far as memory is there.
    fn gather(&mut self, row: &'static Call, args: [u64; 6]) -> Result<Request, Stop> {
        let mut request = Request::plain(row.number, args);
        for (index, arg) in row.args.iter().enumerate() {
            let address = args[index];
            match *arg {
                Arg::Value => {}
                Arg::MaybePath | Arg::MaybeIn(_) | Arg::MaybeOut(_) | Arg::MaybeInOut(_)
                    if address == 0 => {}
                Arg::Path | Arg::MaybePath => match self.string(address, PATH_MAX) {
                    Err(Stop::Errno(Errno::EFAULT)) => request.inputs.mark_unread(index),
                    path => request.inputs.set(index, path?),
                },
                Arg::In(length) | Arg::MaybeIn(length) => {
                    let length = bytes_of(length, &args)?;
                    self.gather_input(row, &mut request, index, length)?;
                }
                Arg::Out(length) | Arg::MaybeOut(length) => {
                    let length = room_of(length, &args)?;
                    self.gather_room(&mut request, index, length)?;
                }
                Arg::InOut(length) | Arg::MaybeInOut(length) => {
                    let length = bytes_of(length, &args)?;
                    self.gather_room(&mut request, index, length)?;
                    self.gather_input(row, &mut request, index, length)?;
                }
            }
        }
        Ok(request)
    }

    /// Copies an in-buffer. Of what is written to a file, the beginning is enough.
    fn gather_input(
        &mut self,
        row: &Call,
        request: &mut Request,
        index: usize,
        length: usize,
    ) -> Result<(), Stop> {
        let address = request.args[index];
        match self.read(address, length) {
            Err(Stop::Errno(Errno::EFAULT)) => request.inputs.mark_unread(index),
            bytes => {
                request.inputs.set(index, bytes?);
                return Ok(());
            }
        }
        if row.place == Place::Stream {
            let there = self.fit_for(address, length, Access::READ)?;
            let bytes = self.read(address, there)?;
            request.inputs.set(index, bytes);
        }
        Ok(())
    }

    /// Makes an out-buffer writable.
    fn gather_room(
        &mut self,
        request: &mut Request,
        index: usize,
        length: usize,
    ) -> Result<(), Stop> {
        let room = self.fit_for(request.args[index], length, Access::WRITE)?;
        request.rooms[index] = room as u32;
        if room < length {
            request.inputs.mark_narrow(index);
        }
        Ok(())
    }

    /// A read or write of any length, piece by piece; what is done is in the restart record.
    pub fn streamed(&mut self) -> Result<u64, Stop> {
        let row = self.row.ok_or(Errno::ENOSYS)?;
        let args = self.args;
        self.stream_row(row, args)
    }

    /// A piece of a transfer away from home, as far as home has lent what it takes.
    fn without_asking(&mut self, number: u32, step: &[u64; 6]) -> Result<Option<u64>, Stop> {
        let [fd, address, piece, offset, ..] = *step;
        match number {
            CALL_READ => self.read_ahead(fd, None, &[(address, piece)]),
            CALL_PREAD => self.read_ahead(fd, Some(offset), &[(address, piece)]),
            CALL_WRITE => self.write_behind(fd, None, &[(address, piece)]),
            CALL_PWRITE => self.write_behind(fd, Some(offset), &[(address, piece)]),
            _ => Ok(None),
        }
    }

    fn stream_row(&mut self, row: &'static Call, args: [u64; 6]) -> Result<u64, Stop> {
        // Memory that no program can have is refused whole, before the file is looked at.
        if args[1]
            .checked_add(args[2])
            .is_none_or(|end| end > USER_END)
        {
            let writes = matches!(row.args[1], Arg::In(_));
            let use_of = if writes { FdUse::Write } else { FdUse::Read };
            return self.behind_descriptor((args[0], use_of), Err(Errno::EFAULT.into()));
        }
        let total = args[2].min(i32::MAX as u64 & !0xfff);
        let writes = matches!(row.args[1], Arg::In(_));
        if self.thread().restart.whole {
            return split::message(self, &[(args[1], total)], writes);
        }
        loop {
            let done = self.thread().restart.progress;
            let piece = (total - done.min(total)).min(CHUNK);
            let offset = if args[3] as i64 >= 0 {
                args[3].saturating_add(done)
            } else {
                args[3]
            };
            // Of a message, all must be known; shields go beside it.
            let all = match row.number {
                CALL_READ | CALL_WRITE => (total - done.min(total)) << 8,
                _ => 0,
            };
            let step = [
                args[0],
                args[1].wrapping_add(done),
                piece,
                offset,
                all,
                done,
            ];
            let moved = match self.without_asking(row.number, &step) {
                Ok(Some(moved)) => Ok(moved),
                Ok(None) => self.forwarded_row(row, step),
                Err(stop) => Err(stop),
            };
            match moved {
                Ok(moved) => {
                    let done = done + moved.min(piece);
                    self.thread().restart.progress = done;
                    // A write goes on until it is told to wait; a short read is all there is.
                    let short = moved == 0 || (moved < piece && !writes);
                    if short || done >= total {
                        return Ok(done);
                    }
                }
                Err(Stop::Errno(_)) if done > 0 => return Ok(done),
                Err(Stop::Errno(Errno::EMSGSIZE)) if total > CHUNK => {
                    self.thread().restart.whole = true;
                    return split::message(self, &[(args[1], total)], writes);
                }
                Err(stop) => return Err(stop),
            }
        }
    }
}

/// An in- or out-length in bytes, at most [`CHUNK`].
fn bytes_of(length: Length, args: &[u64; 6]) -> Result<usize, Stop> {
    let bytes = match length {
        Length::Fixed(bytes) => u64::from(bytes),
        Length::Given(arg) => args[usize::from(arg)].min(CHUNK),
        Length::Items(arg, size) => {
            let bytes = args[usize::from(arg)].saturating_mul(u64::from(size));
            if bytes > CHUNK {
                return Err(Stop::Errno(Errno::EINVAL));
            }
            bytes
        }
    };
    Ok(bytes as usize)
}

/// How much room there is for what comes back: of more than is ever carried, as much as is.
fn room_of(length: Length, args: &[u64; 6]) -> Result<usize, Stop> {
    match length {
        Length::Items(arg, size) => {
            let size = u64::from(size);
            let items = args[usize::from(arg)].min(CHUNK / size);
            Ok((items * size) as usize)
        }
        length => bytes_of(length, args),
    }
}

/// How much an out-argument takes; `None` if the argument is not an out-buffer, or one not given.
fn out_length(row: &Call, args: &[u64; 6], arg: usize) -> Option<usize> {
    match row.args.get(arg)? {
        Arg::MaybeOut(_) | Arg::MaybeInOut(_) if args[arg] == 0 => None,
        Arg::Out(length) | Arg::MaybeOut(length) => room_of(*length, args).ok(),
        Arg::InOut(length) | Arg::MaybeInOut(length) => bytes_of(*length, args).ok(),
        _ => None,
    }
}
