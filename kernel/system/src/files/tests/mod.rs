//! Tests of the file system through its calls, as a process makes them.

mod archive;
mod connections;
mod console;

mod data;
mod echo;
mod fifos;
mod headers;
mod lending;
mod locking;
mod mounts;
mod names;
mod objects;
mod order;
mod pipes;
mod proc;
mod ptys;
mod queues;
mod rights;
mod sockets;

use super::*;
use crate::wait::{WaitQueue, Wakes};
use abi::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Wall clock at boot in these tests: 1000 s after 1970.
const BOOT: u64 = 1_000_000_000_000;

/// An argument of a call.
enum Arg<'a> {
    /// A number.
    N(u64),
    /// An in-buffer or path.
    In(&'a [u8]),
    /// An in-buffer where no memory is.
    Gone,
    /// An out-buffer of so many bytes.
    Out(usize),
    /// Both.
    InOut(&'a [u8]),
    /// No buffer.
    Null,
}
use Arg::{Gone, In, InOut, N, Null, Out};

/// What came back.
#[derive(Debug)]
struct Reply {
    result: CallResult,
    outputs: [Vec<u8>; 6],
}

impl Reply {
    #[track_caller]
    fn ok(self) -> u64 {
        self.result.expect("the call succeeds")
    }

    #[track_caller]
    fn errno(self) -> Errno {
        match self.result {
            Err(Stop::Errno(errno)) => errno,
            other => panic!("expected an errno, got {other:?}"),
        }
    }

    #[track_caller]
    fn bytes(mut self, arg: usize) -> Vec<u8> {
        self.result.expect("the call succeeds");
        std::mem::take(&mut self.outputs[arg])
    }
}

/// The rest of the system: some processes, and files that tell their name.
#[derive(Default)]
struct View {
    pids: Vec<u32>,
    written: Vec<(ProcEntry, u32, Vec<u8>)>,
    links: BTreeMap<u32, Vec<u8>>,
    orphaned: bool,
    /// Who waits in an opening.
    opening: std::collections::BTreeSet<u32>,
    pending: Vec<crate::signals::SignalInfo>,
    signals: Option<Arc<WaitQueue>>,
}

impl Peers for View {
    fn pending(&self, _pid: u32) -> u64 {
        self.pending.iter().map(|info| 1 << (info.signal - 1)).sum()
    }
    fn take_pending(&mut self, _pid: u32, set: u64) -> Option<crate::signals::SignalInfo> {
        let wanted = |info: &crate::signals::SignalInfo| set & (1 << (info.signal - 1)) != 0;
        let at = self.pending.iter().position(wanted)?;
        Some(self.pending.remove(at))
    }
    fn signal_queue(&self, _pid: u32) -> Option<Arc<WaitQueue>> {
        self.signals.clone()
    }
}

impl ProcView for View {
    fn pids(&self) -> Vec<u32> {
        self.pids.clone()
    }
    fn exists(&self, pid: u32) -> bool {
        self.pids.contains(&pid)
    }
    fn is_in_call(&self, waiter: u32, number: u32) -> bool {
        number == 2 && self.opening.contains(&waiter)
    }
    fn read(&mut self, entry: ProcEntry, _reader: u32) -> Result<Vec<u8>, Stop> {
        Ok(format!("{entry:?} {}\n", self.written.len()).into_bytes())
    }
    fn write(&mut self, entry: ProcEntry, writer: u32, bytes: &[u8]) -> Result<usize, Stop> {
        self.written.push((entry, writer, bytes.to_vec()));
        Ok(bytes.len())
    }
    fn link(&self, entry: ProcEntry) -> Result<Vec<u8>, Errno> {
        match entry {
            ProcEntry::Process(pid, _) => self.links.get(&pid).cloned().ok_or(Errno::ENOENT),
            _ => Err(Errno::ENOENT),
        }
    }
    fn is_orphaned(&self, _group: u32) -> bool {
        self.orphaned
    }
    fn random(&mut self, into: &mut [u8]) {
        into.fill(0x55);
    }
}

/// A node with one process, pid 7, that has only what it opens.
struct Node {
    fs: FileSystem,
    state: FileState,
    view: View,
    wakes: Wakes,
    now_ns: u64,
    deadline_ns: Option<u64>,
    job: Job,
    /// The signal of job control that a call sent to its group.
    stopped_by: Option<u32>,
    pid: u32,
    who: Who,
    raised: Option<u32>,
}

const PID: u32 = 7;
/// `O_RDWR | O_CREAT`.
const RDWR_CREAT: u32 = 0o102;

impl Node {
    fn new(archive: &'static [u8]) -> Node {
        let wakes = Wakes::new();
        let fs = FileSystem::new(archive, wakes.clone(), BOOT);
        Node {
            state: FileState::new(&fs),
            fs,
            view: View {
                pids: vec![PID, 300],
                ..View::default()
            },
            wakes,
            now_ns: 0,
            deadline_ns: None,
            job: Job::default(),
            stopped_by: None,
            pid: PID,
            who: Who::default(),
            raised: None,
        }
    }

    fn call(&mut self, function: fn(&mut FileCall) -> CallResult, args: &[Arg]) -> Reply {
        self.call_how(0, function, args)
    }

    /// A call with flags of preadv2(2).
    fn call_how(
        &mut self,
        how: u64,
        function: fn(&mut FileCall) -> CallResult,
        args: &[Arg],
    ) -> Reply {
        let mut call = FileCall::new(
            &mut self.state,
            &self.fs,
            &mut self.view,
            self.pid,
            self.now_ns,
            [0; 6],
        );
        call.how = how;
        call.deadline_ns = self.deadline_ns;
        call.job = self.job;
        call.who = self.who.clone();
        for (at, arg) in args.iter().enumerate() {
            let (number, input, capacity) = match arg {
                N(number) => (*number, None, 0),
                In(bytes) => (0x1000, Some(*bytes), 0),
                Gone => (0x1000, Some(&[][..]), 0),
                Out(capacity) => (0x1000, None, *capacity),
                InOut(bytes) => (0x1000, Some(*bytes), bytes.len()),
                Null => (0, None, 0),
            };
            call.args[at] = number;
            call.cut[at] = matches!(arg, Gone);
            call.inputs[at] = input;
            call.capacities[at] = capacity;
        }
        let result = function(&mut call);
        let outputs = std::mem::take(&mut call.outputs);
        self.deadline_ns = call.deadline_ns;
        self.stopped_by = call.job.signal.or(self.stopped_by);
        self.raised = call.raised;
        Reply { result, outputs }
    }

    #[track_caller]
    fn open(&mut self, path: &str, flags: u32) -> u64 {
        self.try_open(path, flags).ok()
    }

    fn try_open(&mut self, path: &str, flags: u32) -> Reply {
        let flags = N(u64::from(flags));
        self.call(calls::open, &[In(path.as_bytes()), flags, N(0o666)])
    }

    fn read(&mut self, fd: u64, count: usize) -> Reply {
        self.call(calls::read, &[N(fd), Out(count), N(count as u64)])
    }

    fn write(&mut self, fd: u64, bytes: &[u8]) -> Reply {
        self.call(calls::write, &[N(fd), In(bytes), N(bytes.len() as u64)])
    }

    fn close(&mut self, fd: u64) {
        self.call(calls::close, &[N(fd)]).ok();
    }

    #[track_caller]
    fn put_file(&mut self, path: &str, bytes: &[u8]) {
        let fd = self.open(path, 0o1101);
        assert_eq!(self.write(fd, bytes).ok(), bytes.len() as u64);
        self.close(fd);
    }

    #[track_caller]
    fn get_file(&mut self, path: &str) -> Vec<u8> {
        self.fs.read_file(path.as_bytes(), 1 << 24).expect(path)
    }

    fn path_call(&mut self, function: fn(&mut FileCall) -> CallResult, path: &str) -> Reply {
        self.call(function, &[In(path.as_bytes()), N(0o777)])
    }

    fn two_paths(
        &mut self,
        function: fn(&mut FileCall) -> CallResult,
        one: &str,
        two: &str,
    ) -> Reply {
        self.call(function, &[In(one.as_bytes()), In(two.as_bytes())])
    }

    #[track_caller]
    fn lstat(&mut self, path: &str) -> Stat {
        let reply = self.call(calls::lstat, &[In(path.as_bytes()), Out(144)]);
        Stat::parse(&reply.bytes(1))
    }

    /// The names that a directory lists, with `capacity` bytes for each call.
    #[track_caller]
    fn list(&mut self, path: &str, capacity: usize) -> Vec<String> {
        let fd = self.open(path, 0o200_000);
        let mut names = Vec::new();
        loop {
            let args = [N(fd), Out(capacity), N(capacity as u64)];
            let bytes = self.call(calls::getdents64, &args).bytes(1);
            if bytes.is_empty() {
                break;
            }
            let mut at = 0;
            while at < bytes.len() {
                let length = usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
                let name = bytes[at + 19..at + length].split(|&byte| byte == 0);
                let name = name.into_iter().next().expect("a name");
                names.push(String::from_utf8(name.to_vec()).expect("text"));
                at += length;
            }
        }
        self.close(fd);
        names
    }
}

/// `struct stat` as a user program picks it apart.
#[derive(Debug, PartialEq)]
struct Stat {
    inode: u64,
    links: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    special: u64,
    size: u64,
    blocks: u64,
    modified: (u64, u64),
}

impl Stat {
    fn parse(bytes: &[u8]) -> Stat {
        assert_eq!(bytes.len(), 144);
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8"));
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4"));
        Stat {
            inode: long(8),
            links: long(16),
            mode: word(24),
            uid: word(28),
            gid: word(32),
            special: long(40),
            size: long(48),
            blocks: long(64),
            modified: (long(88), long(96)),
        }
    }
}

/// The ends of a new pipe.
fn pipe(node: &mut Node, flags: u64) -> (u64, u64) {
    let fds = node.call(calls::pipe2, &[Out(8), N(flags)]).bytes(0);
    let fd = |at: usize| u64::from(u32::from_le_bytes(fds[at..at + 4].try_into().expect("4")));
    (fd(0), fd(4))
}

/// One entry of an archive for tests: type, name, contents or link target.
fn tar(entries: &[(u8, &str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for &(kind, name, contents) in entries {
        let is_link = matches!(kind, b'1' | b'2');
        let (target, body) = if is_link {
            (contents, &[][..])
        } else {
            (&[][..], contents)
        };
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000755");
        header[108..115].copy_from_slice(b"0001750");
        header[116..123].copy_from_slice(b"0000144");
        header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000001234");
        header[156] = kind;
        header[157..157 + target.len()].copy_from_slice(target);
        header[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut header);
        archive.extend_from_slice(&header);
        archive.extend_from_slice(body);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive
}

/// Sets the checksum of a header.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn leak(archive: Vec<u8>) -> &'static [u8] {
    Box::leak(archive.into_boxed_slice())
}

/// A small generator for randomised tests (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
