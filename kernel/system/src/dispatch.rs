//! From a number to the code: the table expanded, and the generic forwarder.
//!
//! Law: the place of a row is the module of its code. `Local` and `Split` rows see the body
//! ([`LocalCall`]), `Home` rows the home part ([`HomeCall`]), `File` and `Stream` rows the files
//! (`FileCall`); none can reach what belongs to another place. In-buffers are copied and out-buffers
//! made writable before anything happens. What memory does not give or take is marked in the request, and
//! becomes EFAULT when the call needs it, in Linux' order: behind a bad descriptor, and never if there is
//! nothing to copy.

use crate::body::Body;
use crate::buffers::Buffers;
use crate::calls::{home as home_calls, local, split};
use crate::files::{FileCall, Job, calls as file_calls};
use crate::home::{Home, HomeThread, Request};
use crate::memory::StringStop;
use crate::system::{Flow, System};
use crate::terminals::GOES_ON;
use crate::thread::{Answer, Forward, Pending, Purpose, Thread};
use crate::wait::Stop;
use abi::layout::MSG_NOSIGNAL;
use abi::table::{self, Arg, Call, Length, Place};
use abi::{Errno, for_each_call};
use alloc::vec::Vec;
use machine::{Access, USER_END};
use wire::Pid;

/// Length of the `syscall` instruction.
pub const SYSCALL_BYTES: u64 = 2;
/// Numbers from here on are the kernel's own and cannot be called by programs.
pub const PSEUDO: u32 = wire::CALL_ARRIVED;
/// The number in `rax` as far as it can be one of a program's: those of the kernel's own calls and
/// all above them become one that nobody has.
pub(crate) fn user_number(rax: u64) -> u32 {
    rax.min(u64::from(PSEUDO - 1)) as u32
}
/// The process ends with a wait status: `(status, cpu_ns, peak_pages, faults)`.
pub const CALL_END: u32 = PSEUDO + 1;
/// A child is to be: `(flags)`; the value is its pid.
pub const CALL_FORK: u32 = PSEUDO + 2;
/// Opens a program for execve: path in buffer 0.
pub const CALL_EXEC_OPEN: u32 = PSEUDO + 3;
/// The new program runs: name and command line in buffers 0 and 1.
pub const CALL_EXEC_COMMIT: u32 = PSEUDO + 4;
/// A page of a mapped file: `(handle, offset)`.
pub const CALL_PAGE_IN: u32 = PSEUDO + 5;
/// A descriptor is to be mapped: `(fd, shared and writable)`.
pub const CALL_MAP_FILE: u32 = PSEUDO + 6;
/// The next signal that is not in the mask: `(mask)`.
pub const CALL_TAKE_SIGNAL: u32 = PSEUDO + 7;
/// The process stopped: `(signal)`.
pub const CALL_STOPPED: u32 = PSEUDO + 8;
/// The program's name changes: name in buffer 0.
pub const CALL_RENAME: u32 = PSEUDO + 9;
/// Takes a signal of a set, which is waited for: `(set, whether to wait)`.
pub const CALL_WAIT_SIGNAL: u32 = PSEUDO + 10;
/// What is pending: the value is the set.
pub const CALL_PENDING: u32 = PSEUDO + 11;
/// Who the process is: three ids for users, three for groups.
pub const CALL_SET_IDS: u32 = PSEUDO + 12;
/// Whether the process does not want to wait for its children, and not to hear of their stops:
/// `(0 or 1, 0 or 1)`.
pub const CALL_DISOWN: u32 = PSEUDO + 13;
/// A thread is to be; the value is its number.
pub const CALL_THREAD: u32 = PSEUDO + 14;
/// The calling thread is over, and others go on.
pub const CALL_THREAD_END: u32 = PSEUDO + 15;
/// Bytes of a file that execve has opened: `(handle, offset, length)`; in buffer 1 of the answer.
pub const CALL_EXEC_READ: u32 = PSEUDO + 40;
/// prctl(2) but for the name: `(option, value, ...)`.
pub const CALL_OPTION: u32 = PSEUDO + 41;
/// Sets a timer: `(id, never, first by the monotonic clock, first by real time, interval)`.
pub const CALL_SET_TIMER: u32 = PSEUDO + 50;
/// Operations on semaphores: `(id, whether to wait, how many)`, operations in buffer 1.
pub const CALL_SEM_OPERATE: u32 = PSEUDO + 51;
/// semctl(2): `(id, number, command, value)`, what is pointed to in buffer 4.
pub const CALL_SEM_CONTROL: u32 = PSEUDO + 52;
/// msgsnd(2): `(id, type, flags)`, text in buffer 1.
pub const CALL_MSG_SEND: u32 = PSEUDO + 53;
/// msgrcv(2): `(id, most bytes, type, flags)`.
pub const CALL_MSG_RECEIVE: u32 = PSEUDO + 54;
/// msgctl(2): `(id, command)`, what is pointed to in buffer 2.
pub const CALL_MSG_CONTROL: u32 = PSEUDO + 55;
/// A segment of shared memory is to be attached: `(id, flags)`; the value is its size.
pub const CALL_SHM_ATTACH: u32 = PSEUDO + 56;
/// shmctl(2): `(id, command)`, what is pointed to in buffer 2.
pub const CALL_SHM_CONTROL: u32 = PSEUDO + 57;

/// Whether a descriptor is one that can be used so: `(fd, [`FdUse`], the error if it is)`.
pub const CALL_CHECK_FD: u32 = PSEUDO + 61;

/// What was read ahead is told, and more is asked for: see `crate::ahead`.
pub const CALL_AHEAD: u32 = PSEUDO + 70;
/// What was written behind.
pub const CALL_BEHIND: u32 = PSEUDO + 71;

/// A limit of the process changes: `(which, soft, hard)`.
pub const CALL_LIMIT: u32 = PSEUDO + 60;

/// Something has expired by CPU time: `(0, signal)`, or of timer_create(2) `(1, timer, how often)`.
pub const CALL_EXPIRED: u32 = PSEUDO + 65;
/// The CPU time of another process: `(pid)`; in buffer 0 of the answer, ns.
pub const CALL_CPU_TIME: u32 = PSEUDO + 66;

/// The processors of a thread: `(thread, whether they change, which)`; else which in buffer 0.
pub const CALL_AFFINITY: u32 = PSEUDO + 67;

/// The most bytes that one call carries; longer transfers are cut.
pub const CHUNK: u64 = 64 << 10;
/// The longest path, with its NUL (`PATH_MAX`).
pub const PATH_MAX: usize = 4096;

/// What a descriptor has to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdUse {
    /// For anything but `O_PATH`.
    Any,
    /// For reading.
    Read,
    /// For writing.
    Write,
    /// It is a socket.
    Socket,
    /// It is there at all.
    Named,
}

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

/// A call that concerns the home part, at the home node.
pub struct HomeCall<'a> {
    /// The home node.
    pub system: &'a mut System,
    /// The process.
    pub pid: u32,
    /// The calling thread, which is the one to wait.
    pub tid: u32,
    /// Arguments.
    pub args: [u64; 6],
    /// In-buffers.
    pub inputs: &'a Buffers,
    /// Out-buffers.
    pub outputs: Buffers,
}

impl HomeCall<'_> {
    /// The caller's home part.
    pub fn home(&mut self) -> &mut Home {
        self.system
            .homes
            .get_mut(&self.pid)
            .expect("a call is executed only for a process that is here")
    }

    /// What home keeps of the calling thread.
    pub fn thread(&mut self) -> &mut HomeThread {
        let tid = self.tid;
        let thread = self.home().threads.get_mut(&tid);
        thread.expect("a call is executed only for a thread that is here")
    }

    /// An in-buffer, empty if it was not given.
    pub fn input(&self, arg: usize) -> &[u8] {
        self.inputs.get(arg).unwrap_or(&[])
    }

    /// Checks that an in-buffer could be read, before something is done.
    pub fn check_input(&self, arg: usize) -> Result<(), Errno> {
        if self.inputs.is_unread(arg) {
            return Err(Errno::EFAULT);
        }
        Ok(())
    }

    /// Checks that an out-buffer takes what it has to, before something is done that cannot be undone.
    pub fn check_output(&self, arg: usize) -> Result<(), Errno> {
        if self.inputs.is_narrow(arg) {
            return Err(Errno::EFAULT);
        }
        Ok(())
    }
}

macro_rules! perform_row {
    (Local $name:ident $call:ident) => {
        local::$name($call)
    };
    (Split $name:ident $call:ident) => {
        split::$name($call)
    };
    (Stream $name:ident $call:ident) => {
        $call.streamed()
    };
    ($place:ident $name:ident $call:ident) => {
        $call.forwarded($call.args)
    };
}

macro_rules! perform_home_row {
    (Home $name:ident $call:ident) => {
        home_calls::$name($call)
    };
    (Split getitimer $call:ident) => {
        home_calls::getitimer($call)
    };
    (Split setitimer $call:ident) => {
        home_calls::setitimer($call)
    };
    (Split getrusage $call:ident) => {
        home_calls::getrusage($call)
    };
    (Split times $call:ident) => {
        home_calls::times($call)
    };
    (Split timer_create $call:ident) => {
        home_calls::timer_create($call)
    };
    (Split timer_gettime $call:ident) => {
        home_calls::timer_gettime($call)
    };
    (Split timer_delete $call:ident) => {
        home_calls::timer_delete($call)
    };
    ($place:ident $name:ident $call:ident) => {
        Err(Stop::Errno(Errno::ENOSYS))
    };
}

macro_rules! perform_file_row {
    (File $name:ident $call:ident) => {
        file_calls::$name($call)
    };
    (Stream $name:ident $call:ident) => {
        file_calls::$name($call)
    };
    (Split poll $call:ident) => {
        file_calls::poll($call)
    };
    (Split epoll_ctl $call:ident) => {
        file_calls::epoll_ctl($call)
    };
    (Split epoll_wait $call:ident) => {
        file_calls::epoll_wait($call)
    };
    (Split timerfd_settime $call:ident) => {
        file_calls::timerfd_settime($call)
    };
    (Split connect $call:ident) => {
        file_calls::connect($call)
    };
    (Split bind $call:ident) => {
        file_calls::bind($call)
    };
    (Split setsockopt $call:ident) => {
        file_calls::setsockopt($call)
    };
    (Split getsockopt $call:ident) => {
        file_calls::getsockopt($call)
    };
    (Split getsockname $call:ident) => {
        file_calls::getsockname($call)
    };
    (Split getpeername $call:ident) => {
        file_calls::getpeername($call)
    };
    (Split accept4 $call:ident) => {
        file_calls::accept4($call)
    };
    (Split sendmsg $call:ident) => {
        file_calls::sendmsg($call)
    };
    (Split recvmsg $call:ident) => {
        file_calls::recvmsg($call)
    };
    (Split mq_timedsend $call:ident) => {
        file_calls::mq_timedsend($call)
    };
    (Split mq_timedreceive $call:ident) => {
        file_calls::mq_timedreceive($call)
    };
    (Split ioctl $call:ident) => {
        file_calls::ioctl($call)
    };
    (Split fcntl $call:ident) => {
        file_calls::fcntl($call)
    };
    (Split sendfile $call:ident) => {
        file_calls::sendfile($call)
    };
    (Split copy_file_range $call:ident) => {
        file_calls::copy_file_range($call)
    };
    ($place:ident $name:ident $call:ident) => {
        Err(Stop::Errno(Errno::ENOSYS))
    };
}

macro_rules! dispatchers {
    ($($number:literal $name:ident $place:ident $args:tt;)*) => {
        pub(crate) fn perform_local(number: u32, call: &mut LocalCall<'_>) -> Result<u64, Stop> {
            match number {
                $($number => perform_row!($place $name call),)*
                CALL_END => split::end(call),
                CALL_STOPPED => split::stopped(call),
                CALL_THREAD_END => split::thread_end(call),
                CALL_EXPIRED => split::expired(call),
                _ => local::missing(call, number),
            }
        }

        fn perform_home(number: u32, call: &mut HomeCall<'_>) -> Result<u64, Stop> {
            match number {
                $($number => perform_home_row!($place $name call),)*
                wire::CALL_ARRIVED => Ok(0),
                CALL_END => home_calls::end(call),
                CALL_FORK => home_calls::fork(call),
                CALL_EXEC_OPEN => home_calls::exec_open(call),
                CALL_EXEC_COMMIT => home_calls::exec_commit(call),
                CALL_EXEC_READ => home_calls::exec_read(call),
                CALL_OPTION => home_calls::option(call),
                CALL_PAGE_IN => home_calls::page_in(call),
                CALL_MAP_FILE => home_calls::map_file(call),
                CALL_TAKE_SIGNAL => home_calls::take_signal(call),
                CALL_STOPPED => home_calls::stopped(call),
                CALL_RENAME => home_calls::rename(call),
                CALL_WAIT_SIGNAL => home_calls::wait_signal(call),
                CALL_PENDING => home_calls::pending(call),
                CALL_SET_IDS => home_calls::set_ids(call),
                CALL_DISOWN => home_calls::disown(call),
                CALL_SET_TIMER => home_calls::set_timer(call),
                CALL_LIMIT => home_calls::limit(call),
                CALL_CHECK_FD => home_calls::check_descriptor(call),
                CALL_EXPIRED => home_calls::expired(call),
                CALL_AFFINITY => home_calls::affinity(call),
                CALL_CPU_TIME => home_calls::cpu_time(call),
                CALL_AHEAD => crate::ahead::ahead(call),
                CALL_BEHIND => crate::ahead::behind(call),
                CALL_THREAD => home_calls::thread(call),
                CALL_THREAD_END => home_calls::thread_end(call),
                CALL_SEM_OPERATE => home_calls::sem_operate(call),
                CALL_SEM_CONTROL => home_calls::sem_control(call),
                CALL_MSG_SEND => home_calls::message_send(call),
                CALL_MSG_RECEIVE => home_calls::message_receive(call),
                CALL_MSG_CONTROL => home_calls::message_control(call),
                CALL_SHM_ATTACH => home_calls::segment_attach(call),
                CALL_SHM_CONTROL => home_calls::segment_control(call),
                _ => Err(Stop::Errno(Errno::ENOSYS)),
            }
        }

        fn perform_file(number: u32, call: &mut FileCall<'_>) -> Result<u64, Stop> {
            match number {
                $($number => perform_file_row!($place $name call),)*
                _ => Err(Stop::Errno(Errno::ENOSYS)),
            }
        }
    };
}

for_each_call!(dispatchers);

/// Split calls whose part at home is one on files.
const FILE_PARTS: [&str; 19] = [
    "mq_timedsend",
    "mq_timedreceive",
    "connect",
    "bind",
    "setsockopt",
    "getsockopt",
    "getsockname",
    "getpeername",
    "accept4",
    "sendmsg",
    "recvmsg",
    "poll",
    "ioctl",
    "fcntl",
    "sendfile",
    "copy_file_range",
    "epoll_ctl",
    "epoll_wait",
    "timerfd_settime",
];

/// Whether the file part serves a call.
fn served_by_files(number: u32) -> bool {
    let row = table::call(u64::from(number));
    row.is_some_and(|row| {
        matches!(row.place, Place::File | Place::Stream) || FILE_PARTS.contains(&row.name)
    })
}

impl System {
    /// Runs the call a thread is in, from its beginning or from where its restart record says.
    pub(crate) fn perform(&mut self, tid: u32, pending: Pending) -> Flow {
        let row = table::call(u64::from(pending.number));
        let pid = self.thread(tid).pid;
        let mut call = LocalCall {
            system: self,
            pid,
            tid,
            row,
            args: pending.args,
        };
        let result = perform_local(pending.number, &mut call);
        // A thread that has taken over its process is called by another number now.
        let tid = call.tid;
        let Some(thread) = self.threads.get_mut(&tid) else {
            return Flow::Over;
        };
        let value = match result {
            Ok(value) => value as i64,
            Err(Stop::Errno(errno)) => -i64::from(errno.0),
            Err(Stop::Wait) => return Flow::Wait,
        };
        // execve and rt_sigreturn replace the registers and end the call themselves.
        if thread.call.is_some_and(|call| call.number < PSEUDO) {
            thread.finish_call(value);
        } else {
            thread.call = None;
        }
        Flow::Again
    }

    /// Executes a call at home, for a thread here or elsewhere.
    pub(crate) fn execute(
        &mut self,
        pid: u32,
        tid: u32,
        request: &Request,
    ) -> Result<Answer, Stop> {
        let home = self.homes.get(&pid);
        if home.is_none_or(|home| !home.threads.contains_key(&tid)) {
            return Err(Stop::Errno(Errno::ESRCH));
        }
        if !(CALL_SEM_OPERATE..=CALL_SHM_CONTROL).contains(&request.number) {
            self.ipc.forget_waiter(tid);
        }
        if served_by_files(request.number) {
            return self.execute_file(pid, tid, request);
        }
        let mut call = HomeCall {
            system: self,
            pid,
            tid,
            args: request.args,
            inputs: &request.inputs,
            outputs: Buffers::new(),
        };
        let value = perform_home(request.number, &mut call)?;
        let outputs = call.outputs;
        let missed = |(arg, bytes): (usize, &[u8])| {
            request.inputs.is_narrow(arg) && bytes.len() > request.room(arg)
        };
        if outputs.iter().any(missed) {
            return Err(Errno::EFAULT.into());
        }
        Ok(Answer {
            value: value as i64,
            buffers: outputs,
        })
    }

    /// The caller's place in job control.
    fn job(&self, pid: u32, request: &Request) -> Job {
        let Some(home) = self.homes.get(&pid) else {
            return Job::default();
        };
        let shields = match request.number {
            CALL_READ | CALL_WRITE | CALL_IOCTL => request.args[SHIELDS],
            _ => 0,
        };
        Job {
            group: home.group,
            session: home.session,
            detached: home.detached,
            privileged: home.ids.euid == 0,
            user: home.ids.euid,
            shielded_from_ttin: shields & SHIELD_TTIN != 0,
            shielded_from_ttou: shields & SHIELD_TTOU != 0,
            signal: None,
        }
    }

    /// Counts what was read or written for `/proc/PID/io`.
    pub(crate) fn count_transfer(&mut self, pid: u32, number: u32, result: &Result<u64, Stop>) {
        let writes = match number {
            CALL_READ | CALL_PREAD => 0,
            CALL_WRITE | CALL_PWRITE => 1,
            _ => return,
        };
        if let (Ok(bytes), Some(home)) = (result, self.homes.get_mut(&pid)) {
            home.transfers[writes] += bytes;
            home.transfers[2 + writes] += 1;
        }
    }

    fn execute_file(&mut self, pid: u32, tid: u32, request: &Request) -> Result<Answer, Stop> {
        let job = self.job(pid, request);
        let read_until = self.read_deadline(tid, request);
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
        let who = home.who();
        let mut files = home.files.take().ok_or(Errno::ESRCH)?;
        let fs = self.fs.clone();
        let now = self.now;
        let mut call = FileCall::new(&mut files, &fs, self, pid, now, request.args);
        call.tid = tid;
        for (arg, bytes) in request.inputs.iter() {
            call.inputs[arg] = Some(bytes);
        }
        for arg in 0..6 {
            call.capacities[arg] = request.room(arg);
            call.narrow[arg] = request.inputs.is_narrow(arg);
            // Of what is written to a file the beginning does.
            call.cut[arg] = request.inputs.is_unread(arg);
            if call.cut[arg] && call.inputs[arg].is_none_or(<[u8]>::is_empty) {
                call.unread[arg] = true;
                call.inputs[arg] = Some(stand_in(request.number, arg));
            }
        }
        call.deadline_ns = match request.number {
            CALL_POLL if request.args[2] == 0 => Some(now),
            _ => read_until,
        };
        call.job = job;
        call.who = who;
        call.goes_on = request.args[5] != 0 && matches!(request.number, CALL_WRITE | CALL_PWRITE);
        let mut result = perform_file(request.number, &mut call);
        if call.missed.get() {
            result = Err(Errno::EFAULT.into());
        }
        let (job, deadline, raised) = (call.job, call.deadline_ns, call.raised);
        let notices = core::mem::take(&mut call.notices);
        let limit = call.limit_ns;
        let mut buffers = Buffers::new();
        for (arg, bytes) in core::mem::take(&mut call.outputs).into_iter().enumerate() {
            if !bytes.is_empty() {
                buffers.set(arg, bytes);
            }
        }
        if let Some(home) = self.homes.get_mut(&pid) {
            home.files = Some(files);
        }
        if CLOSES.contains(&request.number) {
            fs.collect_sockets();
        }
        self.settle_cuts();
        if let Some(limit) = limit
            && result == Err(Stop::Wait)
            && request.room(LIMIT) >= 8
        {
            // The body keeps the time, and asks again.
            let mut answer = crate::home::plain(0);
            answer.buffers.set(LIMIT, limit.to_le_bytes().to_vec());
            return Ok(answer);
        }
        if request.number == CALL_READ {
            self.keep_read_deadline(tid, result == Err(Stop::Wait), deadline);
        }
        if let Some(signal) = raised {
            self.signal(pid, signal);
        }
        for (told, info) in notices {
            self.signal_with(told, info);
        }
        if let Some(signal) = job.signal {
            self.signal_group(job.group, signal);
        }
        self.terminal_notices();
        self.count_transfer(pid, request.number, &result);
        // A read that has already got something does not wait for more.
        let has_some = request.args[5] != 0 && matches!(request.number, CALL_READ | CALL_PREAD);
        match result {
            Ok(value) => Ok(Answer {
                value: value as i64,
                buffers,
            }),
            Err(Stop::Wait) if has_some => Ok(crate::home::plain(0)),
            Err(stop) => {
                let silent = request.args[2] & u64::from(MSG_NOSIGNAL) != 0 || request.args[5] != 0;
                let breaks = match request.number {
                    CALL_WRITE | CALL_SENDFILE => true,
                    CALL_SENDMSG => !silent,
                    _ => false,
                };
                if stop == Stop::Errno(Errno::EPIPE) && breaks {
                    self.signal(pid, abi::signal::SIGPIPE);
                }
                Err(stop)
            }
        }
    }
}

/// In which argument of read(2), write(2) and ioctl(2) the body tells which signals of job control it blocks or
/// ignores: an argument that those calls do not have.
const SHIELDS: usize = 4;
const SHIELD_TTIN: u64 = 1;
const SHIELD_TTOU: u64 = 2;

const CALL_IOCTL: u32 = 16;
const CALL_SENDMSG: u32 = 46;
/// close, dup2, dup3, close_range: the last handle of a socket may be gone.
const CLOSES: [u32; 4] = [3, 33, 292, 436];
/// In which buffer home tells how long a call may wait, and the body that the time is over.
pub(crate) const LIMIT: usize = 5;
/// How late a thread that waits for a time may be woken.
const SLACK_NS: u64 = 50_000;
const CALL_READ: u32 = 0;
const CALL_WRITE: u32 = 1;
const CALL_POLL: u32 = 7;
const CALL_SENDFILE: u32 = 40;
const CALL_PREAD: u32 = 17;
const CALL_PWRITE: u32 = 18;

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
            let answer = self.home(|_| Ok(check_of((fd, use_of), error)))?;
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
    /// the reply there, that is returned and `make` is not called.
    pub fn home(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<Request, Stop>,
    ) -> Result<Answer, Stop> {
        match core::mem::replace(&mut self.thread().forward, Forward::Idle) {
            Forward::Ready(answer) => return Ok(answer),
            sent @ Forward::Sent { .. } => {
                self.thread().forward = sent;
                return Err(Stop::Wait);
            }
            Forward::Idle => {}
        }
        let request = make(self)?;
        let drains = self.body().freezing && !self.thread().obeys_kernel();
        if !self.system.effects_open(self.pid) || drains {
            return Err(Stop::Wait);
        }
        let me = self.system.me;
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
        self.system.forward(self.tid, Purpose::Call, request);
        Err(Stop::Wait)
    }

    /// As [`LocalCall::home`] for a request without buffers; errors come back as errors.
    pub fn ask_home(&mut self, number: u32, args: [u64; 6]) -> Result<u64, Stop> {
        let answer = self.home(|_| Ok(Request::plain(number, args)))?;
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
            let total = if row.number == CALL_WRITE {
                args[SHIELDS] & !0xff
            } else {
                0
            };
            args[SHIELDS] = self.shields() | total;
        }
        if row.number == CALL_READ {
            args[GOES_ON] = u64::from(self.thread().restart.begun);
        }
        let make = |call: &mut Self| call.gather(row, args);
        let answer = match row.number {
            CALL_READ | CALL_WRITE => self.home_limited(make)?,
            _ => self.home(make)?,
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
                    let length = bytes_of(length, &args)?;
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
            CALL_READ => self.read_ahead(fd, &[(address, piece)]),
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
        loop {
            let done = self.thread().restart.progress;
            let piece = (total - done.min(total)).min(CHUNK);
            let offset = if args[3] as i64 >= 0 {
                args[3].saturating_add(done)
            } else {
                args[3]
            };
            // Of a message, all must be known to be too much; shields go beside it.
            let all = if writes {
                (total - done.min(total)) << 8
            } else {
                0
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

/// How much an out-argument takes; `None` if the argument is not an out-buffer, or one not given.
fn out_length(row: &Call, args: &[u64; 6], arg: usize) -> Option<usize> {
    match row.args.get(arg)? {
        Arg::MaybeOut(_) | Arg::MaybeInOut(_) if args[arg] == 0 => None,
        Arg::Out(length) | Arg::MaybeOut(length) | Arg::InOut(length) | Arg::MaybeInOut(length) => {
            bytes_of(*length, args).ok()
        }
        _ => None,
    }
}

/// The question whether a descriptor is good for something, which is answered by this error if it is.
pub(crate) fn check_of((fd, use_of): (u64, FdUse), error: Errno) -> Request {
    Request::plain(CALL_CHECK_FD, [fd, use_of as u64, error.0 as u64, 0, 0, 0])
}

/// What stands in for an in-buffer that is not there: a path that is too long for any file, or nothing.
fn stand_in(number: u32, arg: usize) -> &'static [u8] {
    static TOO_LONG: [u8; PATH_MAX + 1] = [b'x'; PATH_MAX + 1];
    let row = table::call(u64::from(number));
    match row.and_then(|row| row.args.get(arg)) {
        Some(Arg::Path | Arg::MaybePath) => &TOO_LONG,
        _ => &[],
    }
}

/// Linux' way of returning errors undone.
pub(crate) fn result_of(value: i64) -> Result<u64, Stop> {
    if (-4095..0).contains(&value) {
        Err(Stop::Errno(Errno(-value as i32)))
    } else {
        Ok(value as u64)
    }
}

/// A pid of the table as the wire knows it.
pub(crate) fn wire_pid(pid: u32) -> Pid {
    Pid(pid)
}
