//! The messages of calls and of the hand-over, and how they become bytes.
//!
//! Law: a message is data, never a promise: sender, boot and epoch are checked by whoever acts on
//! it. Encoding is postcard; byte strings are copied whole, and decoding allocates no more than the
//! bytes that are really there justify. HANDOFF.md names the sender and the moment of each message.

use crate::{Attempt, BootId, Features, Invalid, NodeId, Pid};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The longest encoded message in bytes.
pub const MESSAGE_MAX: usize = 4 << 20;

/// The number of the empty call by which a process that arrived shows itself at home. Above all
/// numbers of Linux.
pub const CALL_ARRIVED: u32 = 0x4000_0000;

/// A system call on its way home.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Call {
    /// The caller.
    pub pid: Pid,
    /// Which thread of it.
    pub thread: Pid,
    /// The epoch in which it calls.
    pub epoch: u64,
    /// Counts the calls of the thread, from 1.
    pub seq: u64,
    /// The number of the call (Linux x86-64), or [`CALL_ARRIVED`].
    pub number: u32,
    /// Its arguments as the program gave them.
    pub args: [u64; 6],
    /// How many bytes the out-buffer of each argument takes.
    pub rooms: [u32; 6],
    /// The in-buffers, each named by its argument.
    #[serde(with = "bytes")]
    pub data: Vec<u8>,
}

/// What became of a call.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Executed: the result as Linux returns it, errors as negative errno.
    Value(i64),
    /// Ended without effect because it was cancelled; its number may be used again.
    Interrupted,
    /// Not executed: the caller does not own the process.
    Refused {
        /// The epoch that holds.
        epoch: u64,
        /// Who owns the process in it.
        owner: NodeId,
        /// In which boot.
        owner_boot: BootId,
    },
}

/// The answer of home to a [`Call`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reply {
    /// The caller.
    pub pid: Pid,
    /// Which thread of it.
    pub thread: Pid,
    /// The epoch of the call.
    pub epoch: u64,
    /// The number of the call.
    pub seq: u64,
    /// The result.
    pub outcome: Outcome,
    /// Signals are pending at home.
    pub poke: bool,
    /// The out-buffers, one behind the other.
    #[serde(with = "bytes")]
    pub data: Vec<u8>,
}

/// The source's word to home that it gives a process away: a code over the [`Passage`], which only those two can make.
/// Zeros in a cluster without keys.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ticket(pub [u8; 16]);

/// What a ticket is for: out of this epoch a process goes from that boot of a node to that one of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Passage {
    /// The process.
    pub pid: Pid,
    /// The epoch in which it has run at the source.
    pub old_epoch: u64,
    /// From there.
    pub source: (NodeId, BootId),
    /// To there.
    pub target: (NodeId, BootId),
}

impl Passage {
    /// Bytes of a passage.
    pub const LEN: usize = 32;

    /// The passage as bytes, little endian; every passage has others.
    pub fn to_bytes(&self) -> [u8; Passage::LEN] {
        let mut bytes = [0; Passage::LEN];
        bytes[..4].copy_from_slice(&self.pid.0.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.source.0.0.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.target.0.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.old_epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.source.1.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.target.1.0.to_le_bytes());
        bytes
    }
}

/// On which terms a process is offered. What others are believed to have to do is seconds old; the target knows.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Terms {
    /// It has to leave, or somebody wants it there.
    #[default]
    Anyhow,
    /// If its threads have processors to themselves there.
    Idle {
        /// Thousandths of threads that want a processor.
        demand_milli: u32,
    },
    /// If its work takes less time there than here.
    Faster {
        /// Thousandths of threads that want a processor.
        demand_milli: u32,
        /// What a second of work takes here, in millionths of what it takes alone on a processor of speed 1000.
        stretch: u64,
    },
}

/// What the source asks the target to make room for.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Offer {
    /// The process.
    pub pid: Pid,
    /// The epoch it would have at the target: the present one plus one.
    pub epoch: u64,
    /// Which try it is.
    pub attempt: Attempt,
    /// Its home.
    pub home: NodeId,
    /// Pages of memory it may need.
    pub pages: u64,
    /// CPU features it may have seen.
    pub features: Features,
    /// What has to be true at the target for it to come.
    pub terms: Terms,
    /// Whether pages come before the image.
    pub copies: bool,
    /// Whether the source keeps the pages that it sends, in case the process comes back.
    pub keeps: bool,
    /// A descriptor of it as it is now, from which the target makes its memory ready; empty: what it
    /// is comes with the image.
    #[serde(with = "bytes")]
    pub draft: Vec<u8>,
}

/// A frozen process without its memory.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Image {
    /// The process.
    pub pid: Pid,
    /// Its epoch at the target.
    pub epoch: u64,
    /// That of the offer.
    pub attempt: Attempt,
    /// The boot of the source.
    pub source_boot: BootId,
    /// The source's word, for home.
    pub ticket: Ticket,
    /// When the last user instruction had run, source's clock, ns.
    pub frozen_at_ns: u64,
    /// The process descriptor: pages of fixed layout.
    #[serde(with = "bytes")]
    pub descriptor: Vec<u8>,
    /// Which of its pages came before; empty: none.
    #[serde(with = "bytes")]
    pub copied: Vec<u8>,
}

/// When the pages of a process travel: before it stands still, while, or after.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MoveMode {
    /// After: it runs at the target at once, and its pages follow.
    #[default]
    PostCopy,
    /// Before, again and again what has changed meanwhile; the rest while it stands still.
    PreCopy,
    /// While it stands still.
    StopAndCopy,
    /// Once before; what has changed meanwhile follows after.
    Hybrid,
}

impl MoveMode {
    /// All of them.
    pub const ALL: [MoveMode; 4] = [
        MoveMode::PostCopy,
        MoveMode::PreCopy,
        MoveMode::StopAndCopy,
        MoveMode::Hybrid,
    ];

    /// Whether pages travel while the process still runs.
    pub fn copies_first(self) -> bool {
        matches!(self, MoveMode::PreCopy | MoveMode::Hybrid)
    }

    /// Whether the process starts only when all of its pages are there.
    pub fn starts_whole(self) -> bool {
        matches!(self, MoveMode::PreCopy | MoveMode::StopAndCopy)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            MoveMode::PostCopy => "post-copy",
            MoveMode::PreCopy => "pre-copy",
            MoveMode::StopAndCopy => "stop-and-copy",
            MoveMode::Hybrid => "hybrid",
        }
    }

    /// The mode of that name.
    pub fn of_name(name: &str) -> Option<MoveMode> {
        MoveMode::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// Who decides that processes move.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Policy {
    /// Users.
    #[default]
    Manual,
    /// The nodes, as programs start and all the time, by load and memory, as MOSIX does.
    Balance,
    /// The nodes, when a program starts, and again when an owner is back, as Sprite does.
    Exec,
    /// The nodes, to those whose owner is away and that are idle, as Condor does.
    Scavenge,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 4] = [
        Policy::Manual,
        Policy::Balance,
        Policy::Exec,
        Policy::Scavenge,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Manual => "manual",
            Policy::Balance => "balance",
            Policy::Exec => "exec",
            Policy::Scavenge => "scavenge",
        }
    }

    /// The policy of that name.
    pub fn of_name(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// What a node is told to do from now on.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// Decide so.
    Policy(Policy),
    /// Send all guests away and take no more, or do again.
    Drain(bool),
    /// The owner works there, or has gone; else by what is typed.
    Owner(Option<bool>),
}

/// How a process is to move, and within which bounds. Zero: without that bound.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct MoveHow {
    /// When its pages travel.
    pub mode: MoveMode,
    /// It stands still at the source no longer than this, or runs on there, ns.
    pub max_freeze_ns: u64,
    /// It has left by then, or runs on where it is, ns from the request.
    pub timeout_ns: u64,
    /// Its pages take no more of the link than this, bytes per second.
    pub bandwidth: u64,
}

/// What only the node of the body knows of a process.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct BodyFacts {
    /// As in proc(5): `R`, `S` or `T`.
    pub state: u8,
    /// CPU time in user mode, ns.
    pub user_ns: u64,
    /// CPU time in the kernel, ns.
    pub system_ns: u64,
    /// Bytes in all areas.
    pub virtual_bytes: u64,
    /// Pages that are in memory.
    pub resident_pages: u64,
    /// Why it cannot move; empty if it can.
    pub obstacle: String,
    /// What its node would do with it: the text of `/proc/PID/placement`.
    pub placement: String,
    /// The text of `/proc/PID/maps`.
    pub maps: String,
    /// How many threads it has.
    pub threads: u32,
    /// The most pages that were in memory at once.
    pub peak_pages: u64,
    /// Page faults that were served.
    pub faults: u64,
    /// Signals that it ignores, a bit each.
    pub ignored: u64,
    /// Signals that it has handlers for.
    pub caught: u64,
}

/// What a move cost. Times in ns.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MoveStats {
    /// The source.
    pub from: NodeId,
    /// The target.
    pub to: NodeId,
    /// Pages that travelled.
    pub pages_sent: u64,
    /// Pages of zeros, named only.
    pub pages_zero: u64,
    /// Pages that the target did not need.
    pub pages_present: u64,
    /// Pages that the target had kept from when it was the source, named only.
    pub pages_kept: u64,
    /// Bytes sent: the pages, the descriptor, and whatever the link had to send again meanwhile.
    pub bytes: u64,
    /// From the last user instruction at the source to the first at the target, by the two clocks
    /// and their estimated offset.
    pub freeze_ns: u64,
    /// The same as an observer's one clock saw it; 0 where nobody observed.
    pub observer_ns: u64,
    /// From the request to the last page.
    pub total_ns: u64,
    /// The round trip of the link as the frame with the admission saw it: without the time that
    /// either node held a frame.
    pub rtt_ns: u64,
    /// When its pages travelled.
    pub mode: MoveMode,
    /// How often what had changed was sent while it ran.
    pub rounds: u32,
    /// Where the time went.
    pub phases: MovePhases,
    /// The epoch at the target; with the pid it names the move.
    pub epoch: u64,
    /// When the move was asked for, source's clock.
    pub began_ns: u64,
    /// How wrong the offset of the clocks may have been that `freeze_ns` rests on; `u64::MAX`: any.
    pub clock_error_ns: u64,
    /// Frames that the link to the target sent again between the admission and the end.
    pub frames_again: u64,
    /// Pages that travelled to the target packed meanwhile.
    pub packed: u64,
    /// What the pages that travelled were sent for.
    pub sent_for: PagesSent,
    /// How the target waited for pages; `None` as long as it has not said so.
    pub stalls: Option<Stalls>,
}

/// Pages that travelled, by why they did.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PagesSent {
    /// In front of the image: where the threads are.
    pub first: u64,
    /// Behind the image: used last.
    pub used: u64,
    /// Somebody waited for them.
    pub faulted: u64,
    /// Everything else.
    pub pushed: u64,
    /// Before the image: while it ran, or while it stood still for them.
    pub copied: u64,
    /// Those of them that travelled once more because they had changed.
    pub copied_again: u64,
}

/// How a process that has moved waited for its pages.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Stalls {
    /// Pages that were not there yet when the first instruction had run.
    pub absent: u64,
    /// Pages that were asked for because somebody touched them.
    pub faults: u64,
    /// How often a thread stood still until a page came.
    pub count: u64,
    /// For how long altogether, ns.
    pub sum_ns: u64,
    /// For how long at worst, ns.
    pub worst_ns: u64,
}

/// The parts of a move in their order, ns. By the source's clock, but `start_ns`: by the target's.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct MovePhases {
    /// From the request to the offer: an earlier move had to end.
    pub wait_ns: u64,
    /// From the offer to the admission.
    pub admit_ns: u64,
    /// From the admission until it is stopped: pages travel while it runs.
    pub copy_ns: u64,
    /// From then to the last user instruction; 0 if the process stood still anyway.
    pub drain_ns: u64,
    /// From the last user instruction until the image is on the lane.
    pub capture_ns: u64,
    /// Until the whole image has arrived, by the estimated offset of the clocks.
    pub flight_ns: u64,
    /// Until the first user instruction at the target.
    pub start_ns: u64,
    /// From the last user instruction until home's release came.
    pub release_ns: u64,
    /// From then until the target has all pages.
    pub push_ns: u64,
}

/// Why a process did not move. It runs on where it was.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Hash, Debug)]
pub enum MoveError {
    /// No such node is known.
    UnknownNode,
    /// The node does not answer, or came up anew in between.
    NodeDead,
    /// The target has no room.
    NodeFull,
    /// The target has more to do by now than its terms allow.
    Crowded,
    /// The target's CPU lacks something the process may use.
    Features,
    /// The process holds something that binds it; the reason in words.
    CantMove(String),
    /// Another move of it is under way.
    Busy,
    /// The process ended.
    Gone,
    /// A step took too long.
    TimedOut,
    /// It was called off.
    Aborted,
    /// A bound that was set for it could not be kept; which, in words.
    Bound(String),
}

impl core::fmt::Display for MoveError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            MoveError::UnknownNode => f.write_str("no such node"),
            MoveError::NodeDead => f.write_str("the node does not answer"),
            MoveError::NodeFull => f.write_str("the node has no room"),
            MoveError::Crowded => f.write_str("the node has more to do than it had told"),
            MoveError::Features => f.write_str("the node's CPU lacks a feature in use"),
            MoveError::CantMove(reason) | MoveError::Bound(reason) => f.write_str(reason),
            MoveError::Busy => f.write_str("a move is under way"),
            MoveError::Gone => f.write_str("the process has ended"),
            MoveError::TimedOut => f.write_str("a step took too long"),
            MoveError::Aborted => f.write_str("the move was called off"),
        }
    }
}

impl core::error::Error for MoveError {}

/// What a node knows of a process whose home has booted again.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Whereabouts {
    /// It runs here, in this epoch.
    Here,
    /// A move of it is under way, and asks for itself.
    Moving,
    /// It was here, and was ended because its home was away for too long.
    Ended,
}

/// Everything nodes say to each other over the lanes. H is the home of the process, S the source
/// and D the target of a move.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Hash, Debug)]
#[expect(
    missing_docs,
    reason = "fields are named as in the structures above: pid, epoch, attempt, seq"
)]
pub enum Message {
    /// Owner to H.
    Call(Call),
    /// H to owner.
    Reply(Reply),
    /// Owner to H: end the blocked call without effect, or give its result if it is too late.
    Cancel {
        pid: Pid,
        thread: Pid,
        epoch: u64,
        seq: u64,
    },
    /// H to owner: signals are pending for a thread, or for any of them (0), look.
    Poke { pid: Pid, thread: Pid, epoch: u64 },
    /// H to owner: move it there. `asker` is the thread that has asked for it: if it is one of the
    /// process's own, the process does not run on before it is there or cannot go.
    MoveRequest {
        pid: Pid,
        epoch: u64,
        request: u64,
        target: NodeId,
        asker: Pid,
        how: MoveHow,
    },
    /// H to owner: that move is not wanted any more, if it is not too late.
    MoveCancel { pid: Pid, request: u64 },
    /// Owner to H: what became of the request.
    MoveResult {
        pid: Pid,
        request: u64,
        result: Result<Box<MoveStats>, MoveError>,
    },
    /// S to D.
    Offer(Offer),
    /// D to S: room is reserved.
    Admit {
        pid: Pid,
        epoch: u64,
        attempt: Attempt,
        boot: BootId,
    },
    /// D to S: no. S to D: never mind.
    Refuse {
        pid: Pid,
        epoch: u64,
        attempt: Attempt,
        reason: MoveError,
    },
    /// S to D.
    Image(Image),
    /// D to H: I have the image.
    CommitRequest {
        pid: Pid,
        old_epoch: u64,
        source: NodeId,
        source_boot: BootId,
        ticket: Ticket,
    },
    /// H to D and S: this is the owner.
    Decision {
        pid: Pid,
        epoch: u64,
        owner: NodeId,
        owner_boot: BootId,
        poke: bool,
    },
    /// S to H: let me keep it.
    AbortRequest { pid: Pid, old_epoch: u64 },
    /// H to S after the first accepted effect in `epoch`: your copy is not needed any more.
    Release { pid: Pid, epoch: u64 },
    /// D to S, for statistics: target's clock when the image came and at the first instruction,
    /// pages it did not need.
    Running {
        pid: Pid,
        epoch: u64,
        image_ns: u64,
        first_run_ns: u64,
        present: u64,
    },
    /// D to S: a thread waits for the page with this user address.
    PageRequest { pid: Pid, epoch: u64, page: u64 },
    /// S to D: runs of (page address, count) that are all zeros.
    PagesZero {
        pid: Pid,
        epoch: u64,
        #[serde(deserialize_with = "runs")]
        runs: Vec<(u64, u32)>,
    },
    /// D to S, in front of the admission: what went from D to S in the epoch `since` has been kept here.
    Kept {
        pid: Pid,
        epoch: u64,
        attempt: Attempt,
        since: u64,
    },
    /// S to D behind the image: runs of (page address, count) that are as D has kept them. Behind the `last` such
    /// message D need not keep anything else.
    PagesKept {
        pid: Pid,
        epoch: u64,
        #[serde(deserialize_with = "runs")]
        runs: Vec<(u64, u32)>,
        last: bool,
    },
    /// The owner to whom it came from in `epoch`: nothing that was kept of it is of use any more.
    LetGo { pid: Pid, epoch: u64 },
    /// S to D on the bulk lane behind the last page.
    PushEnd { pid: Pid, epoch: u64 },
    /// D to S: dropped a staged copy.
    Discarded {
        pid: Pid,
        epoch: u64,
        attempt: Attempt,
    },
    /// H to whoever holds a copy: this process is over.
    Lost { pid: Pid, epoch: u64 },
    /// H to owner: what `/proc/PID` needs to know of the body.
    Query { pid: Pid, epoch: u64 },
    /// Owner to H: the answer.
    Told { pid: Pid, facts: BodyFacts },
    /// A third node to S: how long the process stood still, by one clock.
    Observed { pid: Pid, epoch: u64, ns: u64 },
    /// H to owner: a file that it may map, by its handle, holds something else now and has so many
    /// bytes. What comes behind this message on the lane may tell the process so.
    Cut {
        pid: Pid,
        epoch: u64,
        file: u32,
        size: u64,
    },
    /// H to owner: what was sent ahead under this number is not what the file holds any more. What
    /// comes behind this message on the lane may tell the process so.
    Stale { pid: Pid, epoch: u64, window: u32 },
    /// H to owner: a page of memory that the process shares is wanted back. It comes as a page.
    Recall {
        pid: Pid,
        epoch: u64,
        object: u32,
        page: u64,
    },
    /// Owner to H: it has not got that page.
    NotLent {
        pid: Pid,
        epoch: u64,
        object: u32,
        page: u64,
    },
    /// D to S, and S to H if S has told already: all pages are at `target`, which waited so for them.
    Settled {
        pid: Pid,
        epoch: u64,
        target: NodeId,
        stalls: Stalls,
    },
    /// Any node to any other: what has happened there?
    TraceWanted,
    /// The answer, as `/proc/cluster/trace` shows it.
    Trace {
        #[serde(with = "bytes")]
        text: Vec<u8>,
    },
    /// Owner to H: the process would be better off at `target`.
    Advice {
        pid: Pid,
        epoch: u64,
        target: NodeId,
    },
    /// Any node to any other, because somebody there has said so.
    Order { order: Order },
    /// A node to H that has booted again, or is heard again: these of its processes are here, or were.
    Orphans {
        #[serde(deserialize_with = "orphans")]
        orphans: Vec<(Pid, u64, Whereabouts)>,
    },
    /// H to owner: it knows the process, and serves its calls from now on.
    Adopted { pid: Pid, epoch: u64 },
}

impl Message {
    /// The message as bytes. Whoever queues it refuses more than [`MESSAGE_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("every message has an encoding")
    }

    /// The same, behind what `buffer` holds already.
    pub fn encode_to(&self, buffer: Vec<u8>) -> Vec<u8> {
        postcard::serialize_with_flavor(self, Buffer(buffer))
            .expect("every message has an encoding")
    }

    /// Reads a message that must fill the bytes exactly.
    ///
    /// # Errors
    /// [`Invalid::MessageSize`], [`Invalid::Message`] or [`Invalid::Trailing`].
    pub fn decode(bytes: &[u8]) -> Result<Message, Invalid> {
        if bytes.len() > MESSAGE_MAX {
            return Err(Invalid::MessageSize);
        }
        match postcard::take_from_bytes(bytes) {
            Ok((message, [])) => Ok(message),
            Ok(_) => Err(Invalid::Trailing),
            Err(_) => Err(Invalid::Message),
        }
    }
}

/// Takes byte strings as one copy; `postcard::to_extend` adds them byte by byte.
struct Buffer(Vec<u8>);

/// Fewer bytes are added one by one.
const SHORT: usize = 6;

impl postcard::ser_flavors::Flavor for Buffer {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most of them are numbers of a few bytes, for which the call alone would cost more.
        match bytes.len() {
            0..SHORT => bytes.iter().for_each(|byte| self.0.push(*byte)),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// Byte strings as one copy instead of an element at a time.
mod bytes {
    use alloc::vec::Vec;
    use core::fmt;
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

/// Runs of pages.
fn runs<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<(u64, u32)>, D::Error> {
    list(from, "runs of pages")
}

fn orphans<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Vec<(Pid, u64, Whereabouts)>, D::Error> {
    list(from, "processes")
}

/// A list that grows with what is read, not with the length that is claimed.
fn list<'de, D, T>(from: D, what: &'static str) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T>(&'static str, core::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for List<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str(self.0)
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = seq.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }
    from.deserialize_seq(List(what, core::marker::PhantomData))
}

#[cfg(test)]
mod tests;
