//! From a number to the code: the table expanded, and the generic forwarder.
//!
//! Law: the place of a row is the module of its code. `Local` and `Split` rows see the body
//! ([`LocalCall`]), `Home` rows the home part ([`HomeCall`]), `File` and `Stream` rows the files
//! (`FileCall`); none can reach what belongs to another place. In-buffers are copied and out-buffers
//! made writable before anything happens. What memory does not give or take is marked in the request, and
//! becomes EFAULT when the call needs it, in Linux' order: behind a bad descriptor, and never if there is
//! nothing to copy.

use crate::buffers::Buffers;
use crate::calls::{home as home_calls, local, split};
use crate::credentials::{Credentials, Ids, SYS_ADMIN};
use crate::files::{FileCall, Job, RWF_APPEND, RWF_NOWAIT, calls as file_calls};
use crate::home::{Home, HomeThread, Request, Transfers};
pub use crate::local_call::LocalCall;
use crate::local_call::{SHIELD_TTIN, SHIELD_TTOU, SHIELDS};
use crate::system::{Flow, System};
use crate::thread::{Answer, Pending};
use crate::wait::Stop;
use abi::layout::MSG_NOSIGNAL;
use abi::table::{self, Arg, Place};
use abi::{Errno, for_each_call};
use alloc::sync::Arc;
use wire::{CALL_ARRIVED, Pid};

/// Length of the `syscall` instruction.
pub const SYSCALL_BYTES: u64 = 2;
/// Numbers from here on are the kernel's own and cannot be called by programs.
pub const PSEUDO: u32 = CALL_ARRIVED;
/// The number in `rax`, whose upper half does not count, as far as it can be one of a program's: those of the kernel's own calls and
/// all above them become one that nobody has.
pub(crate) fn user_number(rax: u64) -> u32 {
    (rax as u32).min(PSEUDO - 1)
}
/// The process ends with a wait status: `(status, user_ns, peak_pages, faults, system_ns)`.
pub const CALL_END: u32 = PSEUDO + 1;
/// A child is to be: whether as a file, too, without handlers, and as a sibling; the value is its pid, and above 32
/// bits its descriptor.
pub const CALL_FORK: u32 = PSEUDO + 2;
/// Opens a program for execve: path in buffer 0.
pub const CALL_EXEC_OPEN: u32 = PSEUDO + 3;
/// The new program runs: name and command line in buffers 0 and 1.
pub const CALL_EXEC_COMMIT: u32 = PSEUDO + 4;
/// A page of a mapped file: `(handle, offset)`.
pub const CALL_PAGE_IN: u32 = PSEUDO + 5;
/// Pages of memory that the process shares: `(object, page)`.
pub const CALL_LEND: u32 = PSEUDO + 72;
/// The process is to be at home.
pub const CALL_COME_HOME: u32 = PSEUDO + 73;
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
/// `(0 or 1, 0 or 1)`; and pending signals that it ignores from now on, as a set.
pub const CALL_DISOWN: u32 = PSEUDO + 13;
/// Pending signals that the process ignores from now on: `(set)`.
pub const CALL_FORGET: u32 = PSEUDO + 16;
/// A thread is to be; the value is its number.
pub const CALL_THREAD: u32 = PSEUDO + 14;
/// The calling thread is over, and others go on.
pub const CALL_THREAD_END: u32 = PSEUDO + 15;
/// Bytes of a file that execve has opened: `(handle, offset, length)`; in buffer 1 of the answer.
pub const CALL_EXEC_READ: u32 = PSEUDO + 40;
/// prctl(2) but for the name: `(option, value, ...)`.
pub const CALL_OPTION: u32 = PSEUDO + 41;
/// The credentials of any process.
pub const CALL_CAPABILITIES: u32 = PSEUDO + 42;
/// Limits of another process.
pub const CALL_LIMIT_OF: u32 = PSEUDO + 43;
/// The caller and another process are to be at home: `(pid, whether it is only asked if that may be)`.
pub const CALL_MEET: u32 = PSEUDO + 44;
/// A process is to be traced, and comes home with its tracer for that: `(thread, or 0 for the caller by its parent)`; the
/// value is the tracer.
pub const CALL_TRACE: u32 = PSEUDO + 45;
/// Calls are to be looked at before they are made, by seccomp(2): `(mode, whether those of all threads)`.
pub const CALL_WATCHED: u32 = PSEUDO + 46;
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
/// The most an out-buffer takes in one call: those of poll(2) and epoll_wait(2), with an entry for every
/// descriptor that a process can have.
pub const ROOM_MAX: u64 = 1 << 20;
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
    /// It is an eventfd(2).
    Event,
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

    /// Who calls.
    pub fn ids(&mut self) -> Ids {
        self.thread().credentials.ids
    }

    /// Who calls, to become another.
    pub fn credentials(&mut self) -> &mut Credentials {
        Arc::make_mut(&mut self.thread().credentials)
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
    (Split mq_notify $call:ident) => {
        file_calls::mq_notify($call)
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
    (Split vmsplice $call:ident) => {
        file_calls::vmsplice($call)
    };
    ($place:ident $name:ident $call:ident) => {
        Err(Stop::Errno(Errno::ENOSYS))
    };
}

/// What [`abi::Call::again`] is for a program's call, for any.
pub(crate) fn can_be_asked_again(number: u32) -> bool {
    match number {
        CALL_ARRIVED | CALL_END | CALL_PAGE_IN | CALL_MAP_FILE | CALL_TAKE_SIGNAL => true,
        CALL_WAIT_SIGNAL | CALL_PENDING | CALL_STOPPED | CALL_RENAME | CALL_THREAD => true,
        CALL_EXEC_OPEN | CALL_EXEC_READ | CALL_EXEC_COMMIT | CALL_CHECK_FD | CALL_OPTION => true,
        CALL_LIMIT | CALL_SET_IDS | CALL_CPU_TIME => true,
        PSEUDO.. => false,
        program => abi::table::call(u64::from(program)).is_some_and(|row| row.again),
    }
}

macro_rules! dispatchers {
    ($($number:literal $name:ident $place:ident $args:tt $($again:ident)?;)*) => {
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
                CALL_ARRIVED => Ok(0),
                CALL_END => home_calls::end(call),
                CALL_FORK => home_calls::fork(call),
                CALL_EXEC_OPEN => home_calls::exec_open(call),
                CALL_EXEC_COMMIT => home_calls::exec_commit(call),
                CALL_EXEC_READ => home_calls::exec_read(call),
                CALL_OPTION => home_calls::option(call),
                CALL_WATCHED => crate::seccomp::watched(call),
                CALL_PAGE_IN => crate::ahead::page_in(call),
                CALL_LEND => crate::shared::lend(call),
                CALL_COME_HOME => crate::shared::come_home(call),
                CALL_MAP_FILE => home_calls::map_file(call),
                CALL_TAKE_SIGNAL => home_calls::take_signal(call),
                CALL_STOPPED => home_calls::stopped(call),
                CALL_RENAME => home_calls::rename(call),
                CALL_WAIT_SIGNAL => home_calls::wait_signal(call),
                CALL_PENDING => home_calls::pending(call),
                CALL_SET_IDS => home_calls::set_ids(call),
                CALL_CAPABILITIES => home_calls::capabilities(call),
                CALL_LIMIT_OF => home_calls::limit_of(call),
                CALL_MEET => home_calls::meet(call),
                CALL_TRACE => home_calls::trace(call),
                CALL_FORGET => home_calls::forget(call),
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
const FILE_PARTS: [&str; 21] = [
    "vmsplice",
    "mq_timedsend",
    "mq_timedreceive",
    "mq_notify",
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
    pub(crate) fn perform(&mut self, mut tid: u32, pending: Pending) -> Flow {
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
        let before = core::mem::replace(&mut tid, call.tid);
        if !self.threads.contains_key(&tid) {
            return Flow::Over;
        }
        let value = match result {
            Ok(value) => value as i64,
            Err(Stop::Errno(errno)) => -i64::from(errno.0),
            Err(Stop::Wait) => return Flow::Wait,
        };
        // It may have ended without the answer to what it asked: memory that it reads again can be gone by then.
        self.drop_answer(tid);
        let thread = self.thread(tid);
        // execve and rt_sigreturn replace the registers and end the call themselves.
        if thread.call.is_some_and(|call| call.number < PSEUDO) {
            thread.finish_call(value);
        } else {
            thread.call = None;
        }
        if tid != before {
            self.advance(tid);
            return Flow::Over;
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
    fn job(&self, pid: u32, ids: Ids, request: &Request) -> Job {
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
            privileged: ids.has(SYS_ADMIN),
            user: ids.euid,
            shielded_from_ttin: shields & SHIELD_TTIN != 0,
            shielded_from_ttou: shields & SHIELD_TTOU != 0,
            signal: None,
        }
    }

    fn execute_file(&mut self, pid: u32, tid: u32, request: &Request) -> Result<Answer, Stop> {
        let read_until = self.read_deadline(tid, request);
        let home = self.homes.get(&pid).ok_or(Errno::ESRCH)?;
        let credentials = home.credentials_of(tid);
        let who = credentials.who();
        let job = self.job(pid, credentials.ids, request);
        let home = self.homes.get_mut(&pid).ok_or(Errno::ESRCH)?;
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
        if let CALL_READ | CALL_WRITE | CALL_PREAD | CALL_PWRITE = request.number {
            call.how = request.args[SHIELDS] & (RWF_NOWAIT | RWF_APPEND);
        }
        let mut result = perform_file(request.number, &mut call);
        if call.missed.get() {
            result = Err(Errno::EFAULT.into());
        }
        let (job, deadline, raised) = (call.job, call.deadline_ns, call.raised);
        let quiet = call.quiet;
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
        self.file_notices();
        if let (Ok(bytes), Some(home)) = (&result, self.homes.get(&pid)) {
            match request.number {
                CALL_READ | CALL_PREAD => Transfers::count(&home.transfers.read, *bytes),
                CALL_WRITE | CALL_PWRITE => Transfers::count(&home.transfers.written, *bytes),
                _ => (),
            }
        }
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
                    CALL_WRITE | CALL_SENDFILE => !quiet,
                    CALL_SENDMSG => !quiet && !silent,
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

pub(crate) const CALL_IOCTL: u32 = 16;
const CALL_SENDMSG: u32 = 46;
/// close, dup2, dup3, close_range: the last handle of a socket may be gone.
const CLOSES: [u32; 4] = [3, 33, 292, 436];
/// In which buffer home tells how long a call may wait, and the body that the time is over.
pub(crate) const LIMIT: usize = 5;
pub(crate) const CALL_READ: u32 = 0;
pub(crate) const CALL_WRITE: u32 = 1;
const CALL_POLL: u32 = 7;
const CALL_SENDFILE: u32 = 40;
pub(crate) const CALL_PREAD: u32 = 17;
pub(crate) const CALL_PWRITE: u32 = 18;

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
