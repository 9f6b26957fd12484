//! The System: events go in, packets and the next thread come out.
//!
//! Law: nothing here blocks or sleeps. Every event (an exit from user mode, a packet, the time) is
//! handled to its end, including every wake it causes, before the next is looked at.

use crate::body::{Body, Effects};
use crate::files::{FileSystem, PageError};
use crate::hand_over::{Incoming, Outgoing};
use crate::home::Home;
use crate::memory::{FetchStop, FileBacking, PageSource, Space, Trouble};
use crate::schedule::Processor;
use crate::spaces::Spaces;
use crate::thread::{Forward, Purpose, Run, Thread};
use crate::wait::{Stop, Wakes};
use abi::Errno;
use abi::layout::Timespec;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::Frame;
use node::{Config, Event, Lane, Node, NodeInfo, Packing, PageTag};
use wire::{BootId, Message, NodeId};

/// How often what a node tells of itself is brought up to date, ns.
const INFO_NS: u64 = 200_000_000;
/// The word of the command line that says that the other side of the console tells its window.
const TELLS_WINDOWS: &str = "naws";
/// How many processes a node remembers to have held.
const TOMBSTONES: usize = 65_536;

/// A page frame as the network sees it.
#[derive(Clone)]
pub struct NetPage(pub Frame);

impl node::Page for NetPage {
    fn read(&self, offset: usize, into: &mut [u8]) {
        self.0.read(offset, into);
    }

    fn copy_from(&mut self, offset: usize, source: &NetPage, length: usize) {
        self.0.copy_from(offset, &source.0, 0, length);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.0.write(offset, bytes);
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
    /// Bytes behind an Ethernet header that its card carries.
    pub mtu: u16,
    /// Drawn at random: the id of this boot, of which a journal replaces the upper part by the number of the boot.
    pub drawn: BootId,
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
    /// How many processors the node has, at least one.
    pub processors: usize,
    /// The journal on its disk, if it has one.
    pub journal: Option<journal::Journal>,
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
    pub(crate) ipc: crate::sysv::Ipc,
    pub(crate) bodies: BTreeMap<u32, Box<Body>>,
    /// The threads of the bodies, by tid.
    pub(crate) threads: BTreeMap<u32, Box<Thread>>,
    pub(crate) spaces: Spaces,
    /// Processes of threads other than the first, at their home.
    pub(crate) process_of: BTreeMap<u32, u32>,
    /// Forks under way of threads that are over: the child that comes of one ends at once.
    pub(crate) abandoned: BTreeMap<u32, Abandoned>,
    pub(crate) futexes: crate::futex::Futexes,
    /// Who is traced, and by whom.
    pub(crate) tracing: crate::ptrace::Tracing,
    pub(crate) processors: Vec<Processor>,
    /// Processors to interrupt, a bit each.
    pub(crate) kicks: u64,
    /// The thread whose call is being dealt with, and its processor.
    pub(crate) calling: Option<(u32, usize)>,
    pub(crate) alarms: BTreeSet<(u64, u32)>,
    /// When the next SIGALRM of a process is due, at its home.
    pub(crate) timers: BTreeSet<(u64, u32)>,
    pub(crate) alarm_of: BTreeMap<u32, u64>,
    pub(crate) outgoing: BTreeMap<u32, Outgoing>,
    pub(crate) incoming: BTreeMap<u32, Incoming>,
    pub(crate) tombstones: migrate::Tombstones,
    /// Processes of this home whose owners are lost, and which somebody else may have.
    pub(crate) bereft: BTreeSet<u32>,
    /// What is kept on a disk.
    pub(crate) keeper: crate::keeper::Keeper,
    /// Checkpoints that are being taken, read and written.
    pub(crate) checkpoints: crate::checkpoint::Checkpoints,
    /// Guests whose homes are away.
    pub(crate) orphans: crate::keeper::Orphans,
    /// What it has kept of processes that have left.
    pub(crate) keepsakes: crate::hand_over::Keepsakes,
    /// The last try of this node to move a process.
    pub(crate) attempt: wire::Attempt,
    pub(crate) observer: crate::observe::Observer,
    /// What is lent to bodies elsewhere, by process whose home this is.
    pub(crate) lent: BTreeMap<u32, crate::ahead::Lent>,
    /// The number of the last window that was lent.
    pub(crate) last_window: u32,
    /// How many changes of files were looked at.
    pub(crate) changes_seen: u64,
    /// When bytes that bodies have written leave for their homes.
    pub(crate) tails: BTreeSet<(u64, u32)>,
    /// What is due for pages of shared memory.
    pub(crate) errands: BTreeSet<crate::shared::Errand>,
    /// Who waits for such pages to come home, in no order.
    pub(crate) await_shared: Vec<u32>,
    /// The number of the call that is being executed for a body elsewhere.
    pub(crate) serving: Option<u64>,
    /// Reads of terminals that are limited in time, by waiter.
    pub(crate) timed_reads: BTreeMap<u32, crate::terminals::TimedRead>,
    pub(crate) last_serial: u16,
    pub(crate) last_request: u64,
    pub(crate) settings: Settings,
    /// What settings below /proc/sys were set to.
    pub(crate) kept_settings: crate::files::settings::Kept,
    /// What this node is called.
    pub(crate) names: crate::calls::home::Names,
    /// Those whose move has to wait for something.
    pub(crate) wishing: BTreeSet<u32>,
    /// A guest has arrived and has not run yet.
    pub(crate) arrived: bool,
    pub(crate) load: crate::load::Load,
    /// Which processes leave, and what the others are told of this node.
    pub(crate) placement: crate::placement::Placement,
    /// What was logged before this byte is not shown any more.
    pub(crate) journal_cleared: u64,
    pub(crate) card: crate::view::Card,
    /// What has happened here in moves.
    pub(crate) timeline: crate::timeline::Timeline,
    power_off: Option<u8>,
    /// When the others are next told how this node is doing.
    info_at: u64,
    /// A bug that a test has switched on.
    #[cfg(feature = "canary")]
    pub(crate) canary: Option<crate::inside::Canary>,
    /// False claims that this node has made: of which process, out of which epoch, to which boot of its home.
    #[cfg(feature = "canary")]
    pub(crate) lies: BTreeSet<(wire::Pid, u64, BootId)>,
}

/// A fork that was under way when its thread ended.
pub(crate) struct Abandoned {
    pub(crate) home: NodeId,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

/// Where file pages come from on this node: by content from the boot image, else from home's files.
pub(crate) struct Pages<'a> {
    fs: &'a FileSystem,
    home: Option<&'a Home>,
    now: u64,
}

impl<'a> Pages<'a> {
    /// For a process whose home, if that is here, is this.
    pub(crate) fn new(fs: &'a FileSystem, home: Option<&'a Home>, now: u64) -> Pages<'a> {
        Pages { fs, home, now }
    }

    fn file(&self, backing: &FileBacking) -> Result<crate::files::InodeRef, FetchStop> {
        // At home the file itself, whatever it holds by now.
        let file = u64::from(backing.home_file);
        let by_handle = self.home.and_then(|home| home.mapped.get(file));
        if let Some(inode) = by_handle {
            return Ok(inode);
        }
        let by_hash = (backing.hash != [0; 32])
            .then(|| self.fs.by_hash(&backing.hash))
            .flatten();
        by_hash.ok_or(match self.home {
            Some(_) => FetchStop::Bus,
            None => FetchStop::Missing,
        })
    }
}

impl PageSource for Pages<'_> {
    fn time(&self) -> Timespec {
        self.fs.time(self.now)
    }

    fn file_page(&mut self, backing: &FileBacking, offset: u64) -> Result<Frame, FetchStop> {
        self.file(backing)?
            .page(offset / machine::PAGE_SIZE as u64)
            .map_err(|error| match error {
                PageError::NoMemory => FetchStop::NoMemory,
                _ => FetchStop::Bus,
            })
    }

    fn pages_there(
        &mut self,
        backing: &FileBacking,
        from: u64,
        to: u64,
        take: &mut dyn FnMut(u64, Frame),
    ) {
        const PAGE: u64 = machine::PAGE_SIZE as u64;
        if let Ok(inode) = self.file(backing) {
            inode.pages_there(from / PAGE, to / PAGE, &mut |index, frame| {
                take(index * PAGE, frame);
            });
        }
    }
}

/// The word of the command line for whether pages are packed: `pack=never`, `pack=always`, or as it is measured.
fn packing(command_line: &str) -> Packing {
    let mut words = command_line.split_ascii_whitespace();
    match words.find_map(|word| word.strip_prefix("pack=")) {
        Some("never") => Packing::Never,
        Some("always") => Packing::Always,
        _ => Packing::Measured,
    }
}

impl System {
    /// A node without processes; [`System::spawn_init`] gives it its first.
    pub fn new(mut settings: Settings, now: u64) -> System {
        let journal = settings.journal.take();
        let (keeper, boot, last_serial) = crate::keeper::Keeper::new(journal, settings.drawn);
        let wakes = Wakes::new();
        let fs = Arc::new(FileSystem::new(
            settings.archive,
            wakes.clone(),
            settings.boot_unix_ns,
        ));
        let mut words = settings.command_line.split_ascii_whitespace();
        if words.any(|word| word == TELLS_WINDOWS) {
            fs.terminals().expect_windows();
        }
        let config = Config {
            node: settings.node,
            boot,
            mac: settings.mac,
            mtu: settings.mtu,
            cluster: 1,
            seed: settings.seed,
            info: NodeInfo {
                features: settings.features,
                journal: keeper.keeps(),
                ..NodeInfo::default()
            },
            packing: packing(&settings.command_line),
        };
        let mut system = System {
            me: settings.node,
            boot,
            now,
            net: Node::new(config, now),
            fs,
            wakes,
            homes: BTreeMap::new(),
            ipc: crate::sysv::Ipc::default(),
            bodies: BTreeMap::new(),
            threads: BTreeMap::new(),
            spaces: Spaces::default(),
            process_of: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            futexes: crate::futex::Futexes::default(),
            tracing: crate::ptrace::Tracing::default(),
            processors: (0..settings.processors.max(1))
                .map(|_| Processor::default())
                .collect(),
            kicks: 0,
            calling: None,
            alarms: BTreeSet::new(),
            timers: BTreeSet::new(),
            alarm_of: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            tombstones: migrate::Tombstones::new(TOMBSTONES),
            checkpoints: crate::checkpoint::Checkpoints::default(),
            bereft: BTreeSet::new(),
            keeper,
            orphans: crate::keeper::Orphans::new(&settings.command_line),
            attempt: wire::Attempt::default(),
            keepsakes: crate::hand_over::Keepsakes::new(&settings.command_line),
            observer: crate::observe::Observer::default(),
            lent: BTreeMap::new(),
            last_window: 0,
            changes_seen: 0,
            tails: BTreeSet::new(),
            errands: BTreeSet::new(),
            await_shared: Vec::new(),
            serving: None,
            timed_reads: BTreeMap::new(),
            last_serial,
            last_request: boot.0,
            placement: crate::placement::Placement::new(&settings.command_line),
            settings,
            kept_settings: crate::files::settings::Kept::default(),
            names: crate::calls::home::Names::default(),
            wishing: BTreeSet::new(),
            arrived: false,
            load: crate::load::Load::default(),
            journal_cleared: 0,
            card: crate::view::Card::default(),
            timeline: crate::timeline::Timeline::new(),
            power_off: None,
            info_at: 0,
            #[cfg(feature = "canary")]
            canary: None,
            #[cfg(feature = "canary")]
            lies: BTreeSet::new(),
        };
        system.restore();
        system.refresh_info();
        system.net.handle_timeout(now);
        system
    }

    /// Tells the other nodes, with the next greeting, how this one is doing.
    fn refresh_info(&mut self) {
        self.info_at = self.now + INFO_NS;
        let running = self.running();
        self.load.sample(self.now, running);
        let frames = self.frames();
        self.net.set_info(NodeInfo {
            memory_frames: frames.total,
            free_frames: frames.free,
            features: self.settings.features,
            processes: self.bodies.len() as u32,
            journal: self.keeper.keeps(),
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
        while let Some((at, tid)) = self.alarms.first().copied() {
            if at > self.now {
                break;
            }
            self.cancel_alarm(tid);
            self.alarm(tid, at);
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
        self.tails_due();
        self.errands_due();
        self.hand_over_timeouts();
        self.give_up_kept();
        self.orphans_due();
        if self.info_at <= self.now {
            self.refresh_info();
        }
        self.place();
        self.settle();
    }

    /// The cluster has a key: from now on, which is before the first packet, nothing is heard but what is sealed with it.
    /// `secret` is from a true source of randomness and used for nothing else.
    pub fn seal(&mut self, credentials: node::Credentials, secret: [u8; 32]) {
        self.net.seal(credentials, secret);
    }

    /// Takes in one of the packets that have come; [`System::packets_over`] follows the last of them.
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
        // A page that nobody waits for is the most common of packets: nothing follows from it yet. And
        // what follows from an arrival comes when the guest has run.
        let pages_only = self.take_events();
        if (!pages_only || !self.wakes.is_empty()) && !self.arrived {
            self.settle();
        }
    }

    /// No packet is left for now.
    pub fn packets_over(&mut self) {
        self.settle();
    }

    /// Takes in what was typed.
    pub fn typed(&mut self, byte: u8) {
        self.fs.terminals().typed(byte, self.now);
        self.owner_types();
        self.settle();
    }

    /// What is to appear on the console.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.fs.console().take_output()
    }

    /// The next packet to send, which leaves at `now`: the times in its header are as good as this.
    pub fn poll_transmit(&mut self, now: u64) -> Option<node::Transmit<NetPage>> {
        self.now = self.now.max(now);
        if self.keeper.is_beginning() {
            // Nobody hears of a boot that is not on the disk.
            return None;
        }
        self.net.poll_transmit(self.now)
    }

    /// Whether a packet waits that is to leave before anything else is done.
    pub fn is_urgent(&self) -> bool {
        self.net.is_urgent()
    }

    /// When [`System::tick`] is next due, node's clock.
    pub fn poll_timeout(&self) -> Option<u64> {
        node::earliest([
            self.net.poll_timeout(),
            self.next_alarm(),
            self.hand_over_timeout(),
            self.next_orphan_ends(),
        ])
    }

    /// The status with which the node is to be powered off, once somebody asked for it.
    pub fn power_off(&self) -> Option<u8> {
        self.power_off
    }

    /// Asks for the end of the node.
    pub(crate) fn request_power_off(&mut self, status: u8) {
        self.power_off = Some(status);
    }

    /// Whether what a processor has just done for a thread leaves nothing to do before a thread has
    /// its next turn there: nothing to send, to show or to move.
    pub fn is_quiet(&self) -> bool {
        self.power_off.is_none()
            && !self.arrived
            && self.outgoing.is_empty()
            && self.incoming.is_empty()
            && self.wishing.is_empty()
            && !self.owes_word()
            && self.net.is_quiet()
            && self.keeper.is_idle()
            && !self.has_events()
            && !self.fs.console().has_output()
    }

    /// When the first thread or terminal wants to be woken, node's clock: the part of
    /// [`System::poll_timeout`] that calls change which send nothing.
    pub fn next_alarm(&self) -> Option<u64> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let timer = self.timers.first().map(|(at, _)| *at);
        let tail = self.tails.first().map(|(at, _)| *at);
        let errand = self.errands.first().map(|(at, ..)| *at);
        let (terminals, files) = (self.fs.terminals(), self.fs.alarms());
        let (terminals, files) = (terminals.next_alarm(), files.next());
        node::earliest([alarm, timer, tail, errand, terminals, files])
    }

    /// Whether a guest has just arrived: until it runs it stands still, and everything else can wait.
    pub fn has_arrival(&self) -> bool {
        self.arrived
    }

    /// Whether something of the network waits for [`System::tick`] because a guest arrived before it.
    pub fn has_events(&self) -> bool {
        self.net.has_events()
    }

    /// Handles what has come by the network, but nothing behind the arrival of a guest before it has run.
    /// Returns whether it was nothing but pages.
    fn take_events(&mut self) -> bool {
        let known = self.arrived;
        let mut pages_only = true;
        while self.arrived == known
            && let Some(event) = self.net.poll_event()
        {
            pages_only &= matches!(event, Event::Page { .. });
            self.event(event);
        }
        pages_only
    }

    /// Handles events of the network, wakes and pushes until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        loop {
            self.take_events();
            let noticed = self.terminal_notices() | self.file_notices();
            let woken = self.wakes.take();
            if woken.is_empty() && !noticed {
                break;
            }
            for tid in woken {
                self.woken(tid);
            }
        }
        self.call_back_changed();
        self.try_moves();
        self.push();
        self.conclude_pushes();
    }

    fn event(&mut self, event: Event<NetPage>) {
        match event {
            Event::PeerUp { id, boot } => {
                machine::log!("node {} is up (boot {:x})", id.0, boot.0);
                self.owner_up(id, boot);
                self.tell_policy(id);
            }
            Event::PeerSilent { id, boot } => {
                machine::log!("node {} is silent", id.0);
                self.peer_silent(id, boot);
                self.home_silent(id);
            }
            Event::StoodStill => {
                machine::log!("this node has stood still");
                self.distrust(|_| true);
            }
            Event::PeerBack { id, .. } => {
                machine::log!("node {} is back", id.0);
                self.home_back(id);
            }
            Event::PeerLost { id, boot } => {
                machine::log!("node {} is lost (boot {:x} is over)", id.0, boot.0);
                self.keeper.let_go(id);
                self.peer_lost(id, boot);
            }
            Event::Message {
                from,
                boot,
                message,
            } => self.message(from, boot, *message),
            Event::Page {
                from,
                boot,
                tag,
                page,
            } if tag.is_file() => {
                self.file_page(from, boot, tag, page.0);
            }
            Event::Page {
                from,
                boot,
                tag,
                page,
            } => self.page(from, boot, tag, page.0),
            Event::Measured { .. } | Event::Beacon { .. } => self.observe(event),
            Event::Stranger {
                id,
                mac: [a, b, c, d, e, f],
            } => machine::log!(
                "node {} at {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} is refused: it has another key than this cluster, or none, or is not in its roster",
                id.0
            ),
            _ => {}
        }
    }

    pub(crate) fn message(&mut self, from: NodeId, boot: BootId, message: Message) {
        match message {
            Message::Call(call) => self.remote_call(from, boot, call),
            Message::Reply(reply) => self.reply(from, reply),
            Message::Cancel {
                pid,
                thread,
                epoch,
                seq,
            } => self.remote_cancel(from, boot, (pid, thread), epoch, seq),
            Message::Poke { pid, thread, epoch } => self.poked(from, pid, thread, epoch),
            Message::Stale { pid, epoch, window } => self.stale(from, pid, epoch, window),
            Message::Query { pid, epoch } => self.query(from, pid, epoch),
            Message::Told { pid, facts } => self.told(from, pid, facts),
            Message::Observed { pid, epoch, ns } => self.observed(pid, epoch, ns),
            Message::Cut {
                pid,
                epoch,
                file,
                size,
            } => self.cut_came(from, (pid, epoch), file, size),
            Message::Recall {
                pid,
                epoch,
                object,
                page,
            } => self.recalled(from, (pid, epoch), (object, page)),
            Message::NotLent {
                pid,
                epoch,
                object,
                page,
            } => self.given_back((from, boot), (pid, epoch), (object, page), None),
            Message::Advice { pid, epoch, target } => {
                self.advised((from, boot), (pid, epoch), target);
            }
            Message::Order { order } => self.instructed(order),
            Message::Orphans { orphans } => self.orphans_told((from, boot), &orphans),
            Message::Adopted { pid, epoch } => self.adopted(from, pid, epoch),
            Message::TraceWanted => self.trace_wanted(from),
            Message::Trace { text } => self.trace_told(from, text),
            other => self.hand_over_message(from, boot, other),
        }
    }

    fn alarm(&mut self, tid: u32, at: u64) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        if thread.alarm_ns != at {
            return;
        }
        thread.alarm_ns = 0;
        match thread.forward {
            Forward::Sent {
                seq,
                purpose: Purpose::Call(_),
            } => self.send_cancel(tid, seq),
            _ => self.wakes.push(tid),
        }
    }

    /// What is to be done about an access that did not succeed at once.
    pub(crate) fn trouble(&mut self, tid: u32, trouble: Trouble) -> Stop {
        match trouble {
            Trouble::Segv | Trouble::Bus => Stop::Errno(Errno::EFAULT),
            Trouble::NoMemory => Stop::Errno(Errno::ENOMEM),
            Trouble::Absent { page } => {
                self.request_page(tid, page);
                Stop::Wait
            }
            Trouble::FileMissing {
                page,
                backing,
                offset,
            } => self.request_file_page(tid, page, &backing, offset),
            Trouble::NotLent {
                page,
                object,
                index,
            } => self.request_lent_page(tid, page, (object, index)),
            Trouble::Held(held) => self.recall(tid, held),
        }
    }

    /// Calls `act` with the memory of a process and the source of its file pages.
    pub(crate) fn with_space<T>(
        &mut self,
        pid: u32,
        act: impl FnOnce(&mut Space, &mut dyn PageSource) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let System {
            bodies,
            spaces,
            homes,
            fs,
            now,
            ..
        } = self;
        let space = bodies
            .get(&pid)
            .and_then(|body| spaces.get_mut(body.space))
            .ok_or(Trouble::Segv)?;
        let mut pages = Pages::new(fs, homes.get(&pid), *now);
        act(space, &mut pages)
    }

    /// The memory of a process whose body is here.
    pub(crate) fn space_of(&self, pid: u32) -> Option<&Space> {
        self.spaces.get(self.bodies.get(&pid)?.space)
    }

    /// As [`System::space_of`], to change it.
    pub(crate) fn space_mut(&mut self, pid: u32) -> Option<&mut Space> {
        self.spaces.get_mut(self.bodies.get(&pid)?.space)
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

    /// A thread of a process that is here.
    ///
    /// # Panics
    /// If it is not: only for callers that have just seen it.
    pub(crate) fn thread(&mut self, tid: u32) -> &mut Thread {
        self.threads
            .get_mut(&tid)
            .expect("the caller has seen this thread")
    }

    /// The threads of a process that is here.
    pub(crate) fn tids(&self, pid: u32) -> Vec<u32> {
        let body = self.bodies.get(&pid);
        body.map_or_else(Vec::new, |body| body.threads.iter().copied().collect())
    }

    /// Brings a thread as far as it gets: to a run queue, or to the next thing it waits for.
    ///
    /// The order is the order of precedence: a message to home first ends; then it stands still for
    /// the final image if one is wanted; then signals; then the call it is in; and only then user
    /// mode. But a call that has begun or waited and can end now does, before a signal would interrupt it. One that is in user mode on another processor is called back and looks by itself.
    pub(crate) fn advance(&mut self, tid: u32) {
        loop {
            let Some(thread) = self.threads.get_mut(&tid) else {
                return;
            };
            if let Run::Running(cpu) = thread.run {
                return self.kick(cpu);
            }
            let pid = thread.pid;
            if thread.traced.stopped && !thread.obeys_kernel() && !self.leaves_halt(tid) {
                return self.thread(tid).block();
            }
            let freezing = self.bodies.get(&pid).is_some_and(|body| body.freezing);
            let thread = self.thread(tid);
            if let Forward::Sent { purpose, .. } = thread.forward
                && (purpose != Purpose::Arrived || freezing)
            {
                return thread.block();
            }
            let idle = thread.forward == Forward::Idle && !thread.repeats();
            if freezing && idle && !thread.obeys_kernel() {
                return self.stand_still(tid);
            }
            match self.end_call_if_due(tid) {
                Some(Flow::Again) => continue,
                Some(Flow::Over) => return,
                Some(Flow::Wait) => {
                    let thread = self.thread(tid);
                    if thread.forward == Forward::Idle && !thread.restart.begun {
                        // It waits for what comes in any case, as memory that is on its way.
                        return thread.block();
                    }
                }
                None => {}
            }
            let thread = self.thread(tid);
            if thread.forward == Forward::Idle && !self.take_signals(tid) {
                return;
            }
            let body = self.body(pid);
            let (waits, stopped) = (body.waits(), body.stopped);
            let thread = self.thread(tid);
            // Who is traced stops by what its tracer says.
            let stopped = stopped && !thread.traced.on;
            if (stopped || thread.vfork_child.is_some()) && !thread.obeys_kernel() {
                return thread.block();
            }
            let Some(call) = thread.call else {
                if waits || thread.signal_due() {
                    thread.run = Run::Blocked;
                } else {
                    thread.trap_if_it_steps();
                    self.make_ready(tid);
                }
                return;
            };
            match self.perform(tid, call) {
                Flow::Again => {}
                Flow::Wait => {
                    let Some(thread) = self.threads.get_mut(&tid) else {
                        return;
                    };
                    thread.block();
                    let idle = thread.forward == Forward::Idle;
                    let stands = idle && !thread.obeys_kernel();
                    if !stands || !self.bodies.get(&pid).is_some_and(|body| body.freezing) {
                        return;
                    }
                }
                Flow::Over => return,
            }
        }
    }

    /// Tries the call that a thread is in before a signal is looked at, as Linux looks at signals when a call would
    /// wait or is over: a signal that comes when the call has just begun would otherwise be acted on before it, and
    /// then not end its wait. One that has waited at home is tried once more: what it waited for may be there, and then
    /// its end comes before the signal. (Away, home does the same before it interrupts a call: [`System::run_remote`].)
    fn end_call_if_due(&mut self, tid: u32) -> Option<Flow> {
        let thread = self.threads.get(&tid)?;
        let body = self.bodies.get(&thread.pid)?;
        let begun = thread.restart.begun;
        let mask = thread.mask_now();
        let signal = match self.homes.get(&thread.pid) {
            Some(home) if body.home == self.me => home.pending_for(tid) & !mask != 0,
            _ => !begun && (thread.poked || thread.signal_due()),
        };
        let free = thread.forward == Forward::Idle
            && !thread.asks_for_signals_again()
            && !thread.traced.restarts
            && thread.vfork_child.is_none()
            && thread.signals.due.is_none();
        if !(signal && free && body.effects == Effects::Open) || body.stopped || body.waits() {
            return None;
        }
        let thread = self.thread(tid);
        if !begun {
            thread.resume_call();
        }
        let call = thread.call?;
        (call.number < crate::dispatch::PSEUDO).then(|| self.perform(tid, call))
    }

    /// After a wait was registered outside of a call: block, unless a freeze was waiting for this.
    pub(crate) fn advance_or_block(&mut self, tid: u32) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        thread.run = Run::Blocked;
        let pid = thread.pid;
        if self.body(pid).freezing {
            self.advance(tid);
        }
    }

    /// The process of a thread whose home this is.
    pub(crate) fn process_at_home(&self, tid: u32) -> u32 {
        self.process_of.get(&tid).copied().unwrap_or(tid)
    }

    /// Something this thread waited for may have happened.
    pub(crate) fn woken(&mut self, tid: u32) {
        let pid = self.process_at_home(tid);
        let home = self.homes.get(&pid);
        let thread = home.and_then(|home| home.threads.get(&tid));
        if thread.is_some_and(|thread| thread.remote.is_some()) {
            self.run_remote(pid, tid);
        }
        self.advance(tid);
    }

    /// Wakes a thread at a time of its process's clock.
    pub(crate) fn set_alarm(&mut self, tid: u32, deadline_ns: u64) {
        let pid = self.thread(tid).pid;
        let at = self.body(pid).node_time_ns(deadline_ns).max(1);
        self.thread(tid).alarm_ns = at;
        self.cancel_alarm(tid);
        self.alarm_of.insert(tid, at);
        self.alarms.insert((at, tid));
    }

    /// A thread has one alarm at most, so that interrupted sleeps leave nothing behind.
    pub(crate) fn cancel_alarm(&mut self, tid: u32) {
        if let Some(at) = self.alarm_of.remove(&tid) {
            self.alarms.remove(&(at, tid));
        }
    }

    // ---- small helpers -----------------------------------------------------------------------

    /// Sends a message; a node that is not there any more cannot be told, and every protocol here
    /// lives with that.
    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.call_back_changed();
        self.send_kept(to, message);
    }

    /// Sends a page behind everything that is already on the urgent lane.
    pub(crate) fn send_page(&mut self, to: NodeId, lane: Lane, tag: PageTag, frame: Frame) {
        self.send_page_kept(to, lane, tag, frame);
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
