//! The System: events go in, packets and the next thread come out.
//!
//! Law: nothing here blocks or sleeps. Every event (an exit from user mode, a packet, the time) is
//! handled to its end, including every wake it causes, before the next is looked at.

use crate::body::{Body, Effects, Forward, Pending, Purpose, Restart, Run};
use crate::files::{FileSystem, PageError};
use crate::hand_over::{Incoming, Outgoing};
use crate::home::Home;
use crate::memory::{FetchStop, FileBacking, PageSource, Space, Trouble};
use crate::signals::SI_KERNEL;
use crate::wait::{Stop, Wakes};
use abi::{Errno, signal};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::{Access, Exit, Frame};
use node::{Config, Event, Lane, Node, NodeInfo};
use wire::{BootId, Message, NodeId, Pid};

/// `si_code` of SIGSEGV: nothing is there, or it does not allow that.
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;

/// How long a thread runs before another has its turn, ns.
pub const SLICE_NS: u64 = 10_000_000;

/// How often what a node tells of itself is brought up to date, ns.
const INFO_NS: u64 = 200_000_000;
/// How many processes a node remembers to have held.
const TOMBSTONES: usize = 65_536;

/// A page frame as the network sees it.
#[derive(Clone)]
pub struct NetPage(pub Frame);

impl node::Page for NetPage {
    fn read(&self, offset: usize, into: &mut [u8]) {
        self.0.read(offset, into);
    }

    fn zeroed() -> Option<NetPage> {
        Frame::zeroed(machine::FrameKind::Network).ok().map(NetPage)
    }
}

/// What a node is told at boot.
pub struct Settings {
    /// Its number.
    pub node: NodeId,
    /// The hardware address of its link.
    pub mac: [u8; 6],
    /// Drawn at random at every boot.
    pub boot: BootId,
    /// For everything that wants randomness.
    pub seed: u64,
    /// The kernel command line.
    pub command_line: String,
    /// The root archive.
    pub archive: &'static [u8],
    /// Realtime at node time 0, ns since 1970.
    pub boot_unix_ns: u64,
    /// What the CPU offers to user programs.
    pub features: wire::Features,
}

/// One node.
pub struct System {
    pub(crate) me: NodeId,
    pub(crate) boot: BootId,
    pub(crate) now: u64,
    pub(crate) net: Node<NetPage>,
    pub(crate) fs: Arc<FileSystem>,
    pub(crate) wakes: Wakes,
    pub(crate) homes: BTreeMap<u32, Home>,
    pub(crate) bodies: BTreeMap<u32, Box<Body>>,
    pub(crate) ready: VecDeque<u32>,
    pub(crate) alarms: BTreeSet<(u64, u32)>,
    /// When the next SIGALRM of a process is due, at its home.
    pub(crate) timers: BTreeSet<(u64, u32)>,
    pub(crate) alarm_of: BTreeMap<u32, u64>,
    pub(crate) outgoing: BTreeMap<u32, Outgoing>,
    pub(crate) incoming: BTreeMap<u32, Incoming>,
    pub(crate) tombstones: migrate::Tombstones,
    pub(crate) observer: crate::observe::Observer,
    /// Reads of terminals that are limited in time, by waiter.
    pub(crate) timed_reads: BTreeMap<u32, crate::terminals::TimedRead>,
    pub(crate) last_serial: u16,
    pub(crate) last_request: u64,
    pub(crate) settings: Settings,
    pub(crate) idle_ns: u64,
    pub(crate) ran_ns: u64,
    /// Those whose move has to wait for something.
    pub(crate) wishing: BTreeSet<u32>,
    /// Who was in user mode last, and when its last instruction was.
    pub(crate) left: (u32, u64),
    /// A guest has arrived and has not run yet.
    pub(crate) arrived: bool,
    power_off: Option<u8>,
    /// When the others are next told how this node is doing.
    info_at: u64,
    /// Whose extended state the CPU holds.
    fpu_owner: Option<u32>,
    /// A bug that a test has switched on.
    #[cfg(test)]
    pub(crate) canary: Option<crate::cluster_tests::Canary>,
}

/// Where file pages come from on this node: by content from the boot image, else from home's files.
pub(crate) struct Pages<'a> {
    fs: &'a FileSystem,
    home: Option<&'a Home>,
}

impl PageSource for Pages<'_> {
    fn file_page(&mut self, backing: &FileBacking, offset: u64) -> Result<Frame, FetchStop> {
        let by_hash = (backing.hash != [0; 32])
            .then(|| self.fs.by_hash(&backing.hash))
            .flatten();
        let inode = match by_hash {
            Some(inode) => inode,
            None => {
                let mapped = &self.home.ok_or(FetchStop::Missing)?.mapped;
                mapped
                    .get(u64::from(backing.home_file))
                    .ok_or(FetchStop::Bus)?
            }
        };
        inode
            .page(offset / machine::PAGE_SIZE as u64)
            .map_err(|error| match error {
                PageError::NoMemory => FetchStop::NoMemory,
                _ => FetchStop::Bus,
            })
    }
}

impl System {
    /// A node without processes; [`System::spawn_init`] gives it its first.
    pub fn new(settings: Settings, now: u64) -> System {
        let wakes = Wakes::new();
        let fs = Arc::new(FileSystem::new(
            settings.archive,
            wakes.clone(),
            settings.boot_unix_ns,
        ));
        let config = Config {
            node: settings.node,
            boot: settings.boot,
            mac: settings.mac,
            cluster: 1,
            seed: settings.seed,
            info: NodeInfo::default(),
        };
        let mut system = System {
            me: settings.node,
            boot: settings.boot,
            now,
            net: Node::new(config, now),
            fs,
            wakes,
            homes: BTreeMap::new(),
            bodies: BTreeMap::new(),
            ready: VecDeque::new(),
            alarms: BTreeSet::new(),
            timers: BTreeSet::new(),
            alarm_of: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            tombstones: migrate::Tombstones::new(TOMBSTONES),
            observer: crate::observe::Observer::default(),
            timed_reads: BTreeMap::new(),
            last_serial: 0,
            last_request: 0,
            settings,
            idle_ns: 0,
            ran_ns: 0,
            wishing: BTreeSet::new(),
            left: (0, 0),
            arrived: false,
            power_off: None,
            info_at: 0,
            fpu_owner: None,
            #[cfg(test)]
            canary: None,
        };
        system.refresh_info();
        system.net.handle_timeout(now);
        system
    }

    /// Tells the other nodes, with the next greeting, how this one is doing.
    fn refresh_info(&mut self) {
        self.info_at = self.now + INFO_NS;
        let frames = machine::frame_counts();
        self.net.set_info(NodeInfo {
            memory_frames: frames.total,
            free_frames: frames.free,
            features: self.settings.features,
            processes: self.bodies.len() as u32,
            ..NodeInfo::default()
        });
    }

    // ---- events ------------------------------------------------------------------------------

    /// Notes the time and does what is due.
    pub fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
        if self.net.poll_timeout().is_some_and(|at| at <= self.now) {
            self.net.handle_timeout(self.now);
        }
        while let Some((at, pid)) = self.alarms.first().copied() {
            if at > self.now {
                break;
            }
            self.cancel_alarm(pid);
            self.alarm(pid, at);
        }
        while let Some((at, pid)) = self.timers.first().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            self.timer(pid, at);
        }
        self.fs.terminals().ring(self.now);
        let fs = self.fs.clone();
        fs.alarms().ring(self.now);
        self.process_timers();
        self.hand_over_timeouts();
        if self.info_at <= self.now {
            self.refresh_info();
        }
        self.settle();
    }

    /// Takes in one packet.
    pub fn packet(
        &mut self,
        now: u64,
        header: &[u8; wire::HEADER_LEN],
        page: Frame,
        length: usize,
    ) {
        self.now = self.now.max(now);
        self.net
            .handle_frame(self.now, header, NetPage(page), length);
        self.settle();
    }

    /// Takes in what was typed.
    pub fn typed(&mut self, byte: u8) {
        self.fs.console().input(&[byte], self.now);
        self.settle();
    }

    /// What is to appear on the console.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.fs.console().take_output()
    }

    /// The next packet to send, which leaves at `now`: the times in its header are as good as this.
    pub fn poll_transmit(&mut self, now: u64) -> Option<node::Transmit<NetPage>> {
        self.now = self.now.max(now);
        self.net.poll_transmit(self.now)
    }

    /// Whether a packet waits that is to leave before anything else is done.
    pub fn is_urgent(&self) -> bool {
        self.net.is_urgent()
    }

    /// When [`System::tick`] is next due, node's clock.
    pub fn poll_timeout(&self) -> Option<u64> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let timer = self.timers.first().map(|(at, _)| *at);
        [
            self.net.poll_timeout(),
            alarm,
            timer,
            self.fs.terminals().next_alarm(),
            self.fs.alarms().next(),
            self.hand_over_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The status with which the node is to be powered off, once somebody asked for it.
    pub fn power_off(&self) -> Option<u8> {
        self.power_off
    }

    /// Asks for the end of the node.
    pub(crate) fn request_power_off(&mut self, status: u8) {
        self.power_off = Some(status);
    }

    /// Accounts for time without work.
    pub fn idled(&mut self, ns: u64) {
        self.idle_ns += ns;
    }

    /// Whether a guest has just arrived: until it runs it stands still, and everything else can wait.
    pub fn has_arrival(&self) -> bool {
        self.arrived
    }

    /// Whether another body waits for the CPU.
    pub fn crowded(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Handles events of the network, wakes and pushes until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        loop {
            while let Some(event) = self.net.poll_event() {
                self.event(event);
            }
            let noticed = self.terminal_notices();
            let woken = self.wakes.take();
            if woken.is_empty() && !noticed {
                break;
            }
            for pid in woken {
                self.woken(pid);
            }
        }
        self.try_moves();
        self.push();
        self.conclude_pushes();
    }

    fn event(&mut self, event: Event<NetPage>) {
        match event {
            Event::PeerUp { id, boot } => machine::log!("node {} is up (boot {:x})", id.0, boot.0),
            Event::PeerSilent { id, boot } => {
                machine::log!("node {} is silent", id.0);
                self.peer_silent(id, boot);
            }
            Event::PeerBack { id, .. } => machine::log!("node {} is back", id.0),
            Event::PeerLost { id, boot } => {
                machine::log!("node {} is lost (boot {:x} is over)", id.0, boot.0);
                self.peer_lost(id, boot);
            }
            Event::Message {
                from,
                boot,
                message,
            } => self.message(from, boot, message),
            Event::Page {
                from,
                boot,
                tag,
                page,
            } => self.page(from, boot, tag, page.0),
            Event::Measured { .. } | Event::Beacon { .. } => self.observe(event),
            _ => {}
        }
    }

    pub(crate) fn message(&mut self, from: NodeId, boot: BootId, message: Message) {
        match message {
            Message::Call(call) => self.remote_call(from, boot, call),
            Message::Reply(reply) => self.reply(from, reply),
            Message::Cancel { pid, epoch, seq } => self.remote_cancel(from, boot, pid, epoch, seq),
            Message::Poke { pid, epoch } => self.poked(from, pid, epoch),
            Message::Query { pid, epoch } => self.query(from, pid, epoch),
            Message::Told { pid, facts } => self.told(from, pid, facts),
            Message::Observed { pid, epoch, ns } => self.observed(pid, epoch, ns),
            other => self.hand_over_message(from, boot, other),
        }
    }

    fn alarm(&mut self, pid: u32, at: u64) {
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        if body.alarm_ns != at {
            return;
        }
        body.alarm_ns = 0;
        match body.forward {
            Forward::Sent {
                seq,
                purpose: Purpose::Call,
            } => self.send_cancel(pid, seq),
            _ => self.wakes.push(pid),
        }
    }

    // ---- running -----------------------------------------------------------------------------

    /// The body to run next, taken out of the System while it is in user mode.
    pub fn begin(&mut self) -> Option<Box<Body>> {
        self.arrived = false;
        while let Some(pid) = self.ready.pop_front() {
            let Some(body) = self.bodies.get_mut(&pid) else {
                continue;
            };
            body.queued = false;
            if body.run != Run::Ready || body.space.is_none() {
                continue;
            }
            self.load_fpu(pid);
            let body = self.bodies.remove(&pid)?;
            if body.arriving {
                self.about_to_run(pid);
            }
            return Some(body);
        }
        None
    }

    /// Takes a body back that was not in user mode after all.
    pub fn put_back(&mut self, body: Box<Body>) {
        let pid = body.pid;
        self.bodies.insert(pid, body);
        self.advance(pid);
    }

    /// Takes a body back from user mode and deals with why it came.
    pub fn end(&mut self, mut body: Box<Body>, exit: Exit, ran_ns: u64, now: u64) {
        self.now = self.now.max(now);
        self.fs.alarms().set_now(self.now);
        body.cpu_ns = body.cpu_ns.saturating_add(ran_ns);
        self.ran_ns += ran_ns;
        let pid = body.pid;
        let registers = body.registers;
        let first = core::mem::replace(&mut body.arriving, false);
        self.left = (pid, now);
        self.bodies.insert(pid, body);
        if first {
            self.first_run(pid, now.saturating_sub(ran_ns));
        }
        match exit {
            Exit::Interrupt => self.advance(pid),
            Exit::Syscall => {
                let args = [
                    registers.rdi,
                    registers.rsi,
                    registers.rdx,
                    registers.r10,
                    registers.r8,
                    registers.r9,
                ];
                let number = crate::dispatch::user_number(registers.rax);
                let body = self.body(pid);
                let begun = registers.rip.wrapping_sub(crate::dispatch::SYSCALL_BYTES);
                if core::mem::take(&mut body.rewound_at) != begun {
                    body.restart = Restart::default();
                }
                body.call = Some(Pending { number, args });
                self.advance(pid);
            }
            Exit::PageFault {
                address,
                write,
                execute,
                ..
            } => {
                let access = if write {
                    Access::WRITE
                } else if execute {
                    Access::EXECUTE
                } else {
                    Access::READ
                };
                self.fault(pid, address, access);
            }
            Exit::Exception {
                vector, address, ..
            } => self.exception(pid, vector, address),
        }
        self.settle();
    }

    /// A page fault of user mode.
    fn fault(&mut self, pid: u32, address: u64, access: Access) {
        match self.with_space(pid, |space, pages| space.fault(address, access, pages)) {
            Ok(()) => self.advance(pid),
            Err(Trouble::Bus) => {
                self.force_signal(pid, signal::SIGBUS, crate::deputy::BUS_ADRERR, address);
            }
            Err(trouble) => match self.trouble(pid, trouble) {
                Stop::Wait => self.advance_or_block(pid),
                Stop::Errno(Errno::ENOMEM) => {
                    self.out_of_memory(pid);
                    self.advance(pid);
                }
                Stop::Errno(_) => {
                    let space = self.bodies.get(&pid).and_then(|body| body.space.as_ref());
                    let mapped = space.is_some_and(|space| space.is_mapped(address, 1));
                    let code = if mapped { SEGV_ACCERR } else { SEGV_MAPERR };
                    self.force_signal(pid, signal::SIGSEGV, code, address);
                }
            },
        }
    }

    /// No frame is free for what a process needs: it is killed, and the node goes on.
    pub(crate) fn out_of_memory(&mut self, pid: u32) {
        machine::log!("out of memory: process {pid} is killed");
        self.die(pid, signal::SIGKILL);
    }

    /// An exception of user mode other than a page fault becomes the signal that Linux makes of it.
    fn exception(&mut self, pid: u32, vector: u8, address: u64) {
        let rip = self.body(pid).registers.rip;
        // `si_code` by sigaction(2): FPE_INTDIV, TRAP_TRACE, ILL_ILLOPN, BUS_ADRALN.
        let (signal, code, address) = match vector {
            0 => (signal::SIGFPE, 1, rip),
            16 | 19 => (signal::SIGFPE, 0, rip),
            1 => (signal::SIGTRAP, 2, rip),
            3 => (signal::SIGTRAP, SI_KERNEL, 0),
            6 => (signal::SIGILL, 2, rip),
            17 => (signal::SIGBUS, 1, address),
            _ => (signal::SIGSEGV, SI_KERNEL, 0),
        };
        self.force_signal(pid, signal, code, address);
    }

    /// What is to be done about an access that did not succeed at once.
    pub(crate) fn trouble(&mut self, pid: u32, trouble: Trouble) -> Stop {
        match trouble {
            Trouble::Segv | Trouble::Bus => Stop::Errno(Errno::EFAULT),
            Trouble::NoMemory => Stop::Errno(Errno::ENOMEM),
            Trouble::Absent { page } => {
                self.request_page(pid, page);
                Stop::Wait
            }
            Trouble::FileMissing {
                page,
                backing,
                offset,
            } => self.request_file_page(pid, page, &backing, offset),
        }
    }

    /// Calls `act` with a body's memory and the source of its file pages.
    ///
    /// Memory that is lent to a vfork child is not touched by its owner, who waits.
    pub(crate) fn with_space<T>(
        &mut self,
        pid: u32,
        act: impl FnOnce(&mut Space, &mut dyn PageSource) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let System {
            bodies, homes, fs, ..
        } = self;
        let space = bodies
            .get_mut(&pid)
            .and_then(|body| body.space.as_mut())
            .ok_or(Trouble::Segv)?;
        let mut pages = Pages {
            fs,
            home: homes.get(&pid),
        };
        act(space, &mut pages)
    }

    /// The body of a process that is here.
    ///
    /// # Panics
    /// If it is not: only for callers that have just seen it.
    pub(crate) fn body(&mut self, pid: u32) -> &mut Body {
        self.bodies
            .get_mut(&pid)
            .expect("the caller has seen this body")
    }

    /// Brings a body as far as it gets: to the run queue, or to the next thing it waits for.
    ///
    /// The order is the order of precedence: a message to home first ends; then the final image is
    /// taken if one is wanted; then signals; then the call it is in; and only then user mode.
    pub(crate) fn advance(&mut self, pid: u32) {
        loop {
            let Some(body) = self.bodies.get_mut(&pid) else {
                return;
            };
            // Only to end needs no memory.
            if body.space.is_none() && !body.obeys_kernel() {
                return;
            }
            if let Forward::Sent { purpose, .. } = body.forward
                && (purpose != Purpose::Arrived || body.freezing)
            {
                body.block();
                return;
            }
            if body.freezing && body.forward == Forward::Idle && !body.obeys_kernel() {
                self.capture(pid);
                return;
            }
            if body.forward == Forward::Idle && !self.take_signals(pid) {
                return;
            }
            let body = self.body(pid);
            if body.run == Run::Stopped {
                return;
            }
            let Some(call) = body.call else {
                if body.held || body.signal_due() {
                    body.run = Run::Blocked;
                } else {
                    self.make_ready(pid);
                }
                return;
            };
            match self.perform(pid, call) {
                Flow::Again => {}
                Flow::Wait => {
                    let Some(body) = self.bodies.get_mut(&pid) else {
                        return;
                    };
                    body.block();
                    let captured = body.freezing && body.forward == Forward::Idle;
                    if !captured || body.obeys_kernel() {
                        return;
                    }
                }
                Flow::Over => return,
            }
        }
    }

    /// After a wait was registered outside of a call: block, unless a freeze was waiting for this.
    fn advance_or_block(&mut self, pid: u32) {
        let Some(body) = self.bodies.get_mut(&pid) else {
            return;
        };
        body.run = Run::Blocked;
        if body.freezing {
            self.advance(pid);
        }
    }

    pub(crate) fn make_ready(&mut self, pid: u32) {
        let body = self.body(pid);
        let ran = core::mem::replace(&mut body.run, Run::Ready) == Run::Ready;
        if !body.queued {
            body.queued = true;
            self.ready.push_back(pid);
        }
        if !ran && self.left.0 == pid {
            self.left.0 = 0;
        }
    }

    /// Something this process waited for may have happened.
    pub(crate) fn woken(&mut self, pid: u32) {
        if self
            .homes
            .get(&pid)
            .is_some_and(|home| home.remote.is_some())
        {
            self.run_remote(pid);
        }
        if self
            .bodies
            .get(&pid)
            .is_some_and(|body| matches!(body.run, Run::Blocked | Run::Stopped))
        {
            self.advance(pid);
        }
    }

    /// Wakes a body at a time of its own clock.
    pub(crate) fn set_alarm(&mut self, pid: u32, deadline_ns: u64) {
        let body = self.body(pid);
        let at = body.node_time_ns(deadline_ns).max(1);
        body.alarm_ns = at;
        self.cancel_alarm(pid);
        self.alarm_of.insert(pid, at);
        self.alarms.insert((at, pid));
    }

    /// A process has one alarm at most, so that interrupted sleeps leave nothing behind.
    pub(crate) fn cancel_alarm(&mut self, pid: u32) {
        if let Some(at) = self.alarm_of.remove(&pid) {
            self.alarms.remove(&(at, pid));
        }
    }

    // ---- extended state ----------------------------------------------------------------------

    /// The kernel does not touch the FPU, so the state stays in the CPU until somebody else needs it.
    fn load_fpu(&mut self, pid: u32) {
        if self.fpu_owner == Some(pid) {
            return;
        }
        self.save_fpu();
        self.body(pid).fpu.load();
        self.fpu_owner = Some(pid);
    }

    /// Brings the extended state that the CPU holds into its body.
    pub(crate) fn save_fpu(&mut self) {
        let owner = self.fpu_owner.take();
        if let Some(body) = owner.and_then(|pid| self.bodies.get_mut(&pid)) {
            body.fpu.save();
        }
    }

    /// Forgets the CPU's state of a body that is gone or gets a new one.
    pub(crate) fn forget_fpu(&mut self, pid: u32) {
        if self.fpu_owner == Some(pid) {
            self.fpu_owner = None;
        }
    }

    // ---- small helpers -----------------------------------------------------------------------

    /// Sends a message; a node that is not there any more cannot be told, and every protocol here
    /// lives with that.
    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        if self.net.send(self.now, to, message).is_err() {
            machine::log!("no way to node {}", to.0);
        }
    }

    /// Sends a page behind everything that is already on the urgent lane.
    pub(crate) fn send_page(
        &mut self,
        to: NodeId,
        lane: Lane,
        pid: u32,
        epoch: u64,
        page: u64,
        frame: Frame,
    ) {
        let tag = node::PageTag {
            pid: Pid(pid),
            epoch,
            page,
        };
        if self
            .net
            .send_page(self.now, to, lane, tag, NetPage(frame))
            .is_err()
        {
            machine::log!("no way to node {}", to.0);
        }
    }

    /// Whether effects of the body may leave.
    pub(crate) fn effects_open(&self, pid: u32) -> bool {
        self.bodies
            .get(&pid)
            .is_some_and(|body| body.effects == Effects::Open)
    }
}

/// What [`System::perform`] leaves to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// The call ended; look again.
    Again,
    /// It waits.
    Wait,
    /// The body is gone.
    Over,
}
