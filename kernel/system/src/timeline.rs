//! What has happened here in moves, for instruments: rings of fixed size that are read as text.
//!
//! Law: to note something is a few stores; nothing is allocated, formatted or sent for it, and nobody who
//! reads takes anything out. Who reads the ring of another node asks that node, and every reader gets an
//! answer of his own time.
//!
//! The text has a line for each event, oldest first, between tabs: time (this node's clock, ns), number,
//! event, pid, epoch at the target, the other node, value. A line `clock` is what this node believes of the clock
//! of the other: epoch is the error bound and value the other's clock minus this one's, ns. Lines that begin
//! with `#` say how much of each ring has been overwritten.

use crate::hand_over::errno_of;
use crate::system::System;
use crate::wait::{Stop, WaitQueue};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use wire::{Message, NodeId};

/// Events that each ring holds.
const RING: usize = 1024;
/// The longest text that is taken from another node: longer than any two rings make.
const TEXT_MAX: usize = 512 << 10;
/// An answer that nobody has fetched for so long is of another time, ns.
const FRESH_NS: u64 = 1_000_000_000;

/// What happened: at the source (S), the target (D) or the home (H) of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// H: the owner was asked to move it; value: the target.
    Asked,
    /// S: the wish is there.
    Wished,
    /// S: the target is asked; value: pages that are in memory.
    Offered,
    /// D: room is reserved; value: pages.
    Admits,
    /// D: it cannot come.
    Refuses,
    /// S: the target has room.
    Admitted,
    /// S: the threads are brought to the user boundary; value: pages that are not at the target.
    Freezes,
    /// S: the last user instruction has run.
    Stopped,
    /// S: the image is on its way; value: its bytes.
    ImageOut,
    /// S: the pages that were used last are on their way; value: how many.
    UsedOut,
    /// D: the whole image is here; value: its bytes.
    ImageIn,
    /// D: the body is made; value: pages that are still at the source.
    Installed,
    /// D: the first user instruction is run.
    Started,
    /// H: the target is the owner now.
    Committed,
    /// S: home has said so.
    Decided,
    /// D: home has said so, effects may leave.
    Opened,
    /// H: the first effect is here, the source may drop the pages.
    Releases,
    /// S: it may.
    Released,
    /// S: the last page is on its way; value: pages that have travelled.
    PushOver,
    /// D: the last page is here; value: pages that were asked for.
    Complete,
    /// S: the move is over; value: its time, ns.
    Moved,
    /// S: there is no move.
    Failed,
    /// S: it runs here again.
    Resumed,
    /// D: the copy is dropped.
    Discarded,
    /// H: it was told of the move.
    Told,
    /// What is believed of a clock.
    Clock,
    /// D: a thread waits for the page with this address.
    PageAsked,
    /// S: that page is on its way.
    PageOut,
    /// D: it is here.
    PageIn,
    /// The owner: home has booted again, and is asked whether it knows it.
    Orphaned,
    /// H and the owner: it does.
    Adopted,
    /// S: why there is no move; value: the number of the error.
    Because,
    /// H, after a boot: it is in the journal, and its owner is asked.
    Restored,
    /// The owner: home was away for too long, it is ended; H: its owner has done so.
    GivenUp,
    /// H: its owner is lost, and gives back to the last source.
    HandsBack,
    /// H: it is lost with its owner.
    Lost,
    /// D: the source is lost, and pages with it.
    PagesLost,
    /// The owner: home's boot is over, and the next one does not know it.
    HomeOver,
    /// The owner: home says that it is not here any more.
    Dropped,
}

impl What {
    /// As the text has it.
    fn name(self) -> &'static str {
        match self {
            What::Asked => "asked",
            What::Wished => "wished",
            What::Offered => "offered",
            What::Admits => "admits",
            What::Refuses => "refuses",
            What::Admitted => "admitted",
            What::Freezes => "freezes",
            What::Stopped => "stopped",
            What::ImageOut => "image-out",
            What::UsedOut => "used-out",
            What::ImageIn => "image-in",
            What::Installed => "installed",
            What::Started => "started",
            What::Committed => "committed",
            What::Decided => "decided",
            What::Opened => "opened",
            What::Releases => "releases",
            What::Released => "released",
            What::PushOver => "push-over",
            What::Complete => "complete",
            What::Moved => "moved",
            What::Failed => "failed",
            What::Resumed => "resumed",
            What::Discarded => "discarded",
            What::Told => "told",
            What::Clock => "clock",
            What::PageAsked => "page-asked",
            What::PageOut => "page-out",
            What::PageIn => "page-in",
            What::Orphaned => "orphaned",
            What::Adopted => "adopted",
            What::Because => "because",
            What::Restored => "restored",
            What::GivenUp => "given-up",
            What::HandsBack => "hands-back",
            What::Lost => "lost",
            What::PagesLost => "pages-lost",
            What::HomeOver => "home-over",
            What::Dropped => "dropped",
        }
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
struct Event {
    at_ns: u64,
    epoch: u64,
    value: u64,
    number: u32,
    pid: u32,
    peer: NodeId,
    what: What,
}

/// The last events of a kind.
struct Ring {
    events: Vec<Event>,
    /// How many were noted since the boot.
    noted: u64,
}

impl Ring {
    fn new() -> Ring {
        Ring {
            events: Vec::with_capacity(RING),
            noted: 0,
        }
    }

    fn note(&mut self, event: Event) {
        if self.events.len() < RING {
            self.events.push(event);
        } else {
            self.events[self.noted as usize % RING] = event;
        }
        self.noted += 1;
    }

    fn overwritten(&self) -> u64 {
        self.noted - self.events.len() as u64
    }
}

/// What was asked of another node.
struct Asked {
    answer: Option<(u64, Vec<u8>)>,
    waiting: WaitQueue,
}

/// What has happened on this node, and what others have told.
pub(crate) struct Timeline {
    /// The steps of moves.
    steps: Ring,
    /// Pages that somebody waited for: in a ring of their own, as they come by the thousand.
    pages: Ring,
    number: u32,
    asked: BTreeMap<NodeId, Asked>,
}

impl Timeline {
    /// Two empty rings, which grow no more.
    pub(crate) fn new() -> Timeline {
        Timeline {
            steps: Ring::new(),
            pages: Ring::new(),
            number: 0,
            asked: BTreeMap::new(),
        }
    }

    /// Notes what happens just now in the move of a process to an epoch.
    pub(crate) fn note(&mut self, what: What, (pid, epoch): (u32, u64), peer: NodeId, value: u64) {
        self.note_at(machine::now_ns(), what, (pid, epoch), peer, value);
    }

    /// Notes what happened at a time.
    pub(crate) fn note_at(
        &mut self,
        at_ns: u64,
        what: What,
        (pid, epoch): (u32, u64),
        peer: NodeId,
        value: u64,
    ) {
        let ring = match what {
            What::PageAsked | What::PageOut | What::PageIn => &mut self.pages,
            _ => &mut self.steps,
        };
        ring.note(Event {
            at_ns,
            epoch,
            value,
            number: self.number,
            pid,
            peer,
            what,
        });
        self.number = self.number.wrapping_add(1);
    }

    /// The steps behind the first `seen` since the boot, and how many there are now.
    #[cfg(feature = "canary")]
    pub(crate) fn steps_behind(&self, seen: u64) -> (Vec<crate::inside::Step>, u64) {
        let noted = self.steps.noted;
        let from = seen.max(self.steps.overwritten());
        let steps = (from..noted).map(|index| {
            let event = &self.steps.events[index as usize % RING];
            crate::inside::Step {
                what: event.what.name(),
                pid: event.pid,
                epoch: event.epoch,
                peer: event.peer,
            }
        });
        (steps.collect(), noted)
    }

    /// Notes what is believed of the clock of another node.
    pub(crate) fn note_clock(&mut self, peer: NodeId, offset: Option<(i64, u64)>) {
        if let Some((offset_ns, error_ns)) = offset {
            self.note(What::Clock, (0, error_ns), peer, offset_ns as u64);
        }
    }

    /// The lines of both rings.
    fn lines(&self, text: &mut String) {
        for (name, ring) in [("steps", &self.steps), ("pages", &self.pages)] {
            let (noted, overwritten) = (ring.noted, ring.overwritten());
            let _ = writeln!(text, "# {name}\t{noted}\toverwritten\t{overwritten}");
        }
        let rings = [&self.steps, &self.pages];
        let mut all: Vec<&Event> = rings.iter().flat_map(|ring| &ring.events).collect();
        // By how long ago they were noted: the number may have begun anew.
        all.sort_unstable_by_key(|event| {
            core::cmp::Reverse(self.number.wrapping_sub(event.number))
        });
        for event in all {
            event_line(text, event);
        }
    }
}

fn event_line(text: &mut String, event: &Event) {
    let Event {
        at_ns,
        epoch,
        value,
        number,
        pid,
        peer,
        what,
    } = *event;
    let _ = write!(
        text,
        "{at_ns}\t{number}\t{}\t{pid}\t{epoch}\t{}\t",
        what.name(),
        peer.0
    );
    let _ = match what {
        What::Clock => writeln!(text, "{}", value as i64),
        _ => writeln!(text, "{value}"),
    };
}

/// What the events of moves and recoveries are in words, as far as they belong to the story of a process: what has happened,
/// and what is safe. Times of single phases and pages do not.
fn in_words(what: What) -> Option<&'static str> {
    Some(match what {
        What::Asked => "the node that has it is asked to move it; it runs on meanwhile",
        What::Offered => "the node is asked to take it; it runs on here",
        What::Admits => "there is room for it here; it runs on where it is",
        What::Refuses => "it cannot come here; it runs on where it is",
        What::ImageOut => {
            "its image is on the way to the node; the copy here stands still until home decides"
        }
        What::Installed => {
            "its image is here; it computes, and nothing that others see leaves before home decides"
        }
        What::Committed => "home gives it to the node, whatever becomes of the one before",
        What::Decided => {
            "home has given it to the node; the copy here is kept until its first effect there"
        }
        What::Opened => "home has given it to this node; what it does is seen from now on",
        What::Releases => "its first effect from there is here; the copy on the node may go",
        What::Released => "the copy here is not needed any more; its pages follow",
        What::Complete => "all of its memory is here; the node is not needed any more",
        What::Moved => "the move is over; nothing of it is left here",
        What::Because => "there is no move, and it runs on where it was",
        What::Resumed => "home has given it back; it runs on here with all that it had",
        What::Discarded => "the copy here is dropped; whoever home names has it",
        What::Orphaned => {
            "its home has booted again and is asked for it; it computes, and its calls wait"
        }
        What::Restored => {
            "it is in the journal of this home, on the node; that is asked whether it has it"
        }
        What::Adopted => "home and owner agree again; its calls go on, each done once",
        What::GivenUp => {
            "its home was away for longer than the grace; it is ended, and home is told once"
        }
        What::HandsBack => {
            "the node that had it is lost or silent; its last source runs it on, nothing was seen of it there"
        }
        What::Lost => "it is lost with the node; its parent is told once, and no copy runs",
        What::PagesLost => "the node is lost with pages of it; it is ended, and its parent is told",
        What::HomeOver => "its home is over and the next boot does not know it; it is ended here",
        What::Dropped => {
            "home says that it is over here; the copy is dropped, and whoever home names has it"
        }
        _ => return None,
    })
}

/// The reason of a move that did not come about, by the number of its error.
fn reason(errno: u64) -> &'static str {
    let is = |of: Errno| u64::try_from(of.0) == Ok(errno);
    match errno {
        _ if is(Errno::ENXIO) => "no such node",
        _ if is(Errno::EHOSTDOWN) => "the node does not answer",
        _ if is(Errno::ENOMEM) => "the node has no room",
        _ if is(Errno::EOPNOTSUPP) => "the node's processor lacks something",
        _ if is(Errno::EBUSY) => "something binds it here, or another move",
        _ if is(Errno::ESRCH) => "it has ended",
        _ if is(Errno::ETIMEDOUT) => "it took too long",
        _ => "it was called off",
    }
}

impl System {
    /// `/proc/cluster/events`: what has become of the moves and recoveries that this node had a part in, in words, the last ones.
    pub(crate) fn events(&self) -> String {
        let ring = &self.timeline.steps;
        let mut text =
            String::from("      time_s      pid  epoch  node  event       what is safe\n");
        let first = ring.overwritten();
        if first > 0 {
            let _ = writeln!(text, "# {first} older ones are overwritten");
        }
        for index in first..ring.noted {
            let event = &ring.events[index as usize % RING];
            let Some(words) = in_words(event.what) else {
                continue;
            };
            let (s, us) = (event.at_ns / 1_000_000_000, event.at_ns / 1000 % 1_000_000);
            let _ = write!(
                text,
                "{s:>5}.{us:06} {:>8} {:>6} {:>5}  {:<10}  {words}",
                event.pid,
                event.epoch,
                event.peer.0,
                event.what.name(),
            );
            match event.what {
                What::Because => {
                    let _ = write!(text, " ({})", reason(event.value));
                }
                What::Asked => {
                    let _ = write!(text, " (to node {})", event.value);
                }
                _ => {}
            }
            text.push('\n');
        }
        text
    }

    /// What has happened here, as text.
    fn own_trace(&self) -> String {
        let now = machine::now_ns();
        let mut text = format!("# node\t{}\tboot\t{}\tnow\t{now}\n", self.me.0, self.boot);
        self.timeline.lines(&mut text);
        for peer in self.net.peers() {
            if let Some((offset_ns, error_ns)) = peer.clock_offset {
                let (what, number) = (What::Clock, self.timeline.number);
                let clock = Event {
                    at_ns: now,
                    epoch: error_ns,
                    value: offset_ns as u64,
                    number,
                    pid: 0,
                    peer: peer.id,
                    what,
                };
                event_line(&mut text, &clock);
            }
        }
        text
    }

    /// `/proc/cluster/trace/NODE`: what has happened there.
    pub(crate) fn trace(&mut self, node: NodeId, reader: u32) -> Result<Vec<u8>, Stop> {
        if node == self.me {
            return Ok(self.own_trace().into_bytes());
        }
        self.reachable(node).map_err(|error| errno_of(&error))?;
        let (now, wakes) = (self.now, self.wakes.clone());
        let asked = &mut self.timeline.asked;
        let answer = asked.get_mut(&node).and_then(|asked| asked.answer.take());
        if let Some((at, text)) = answer {
            asked.remove(&node);
            if now.saturating_sub(at) < FRESH_NS {
                return Ok(text);
            }
        }
        let mut new = false;
        let asked = asked.entry(node).or_insert_with(|| {
            new = true;
            Asked {
                answer: None,
                waiting: WaitQueue::new(&wakes),
            }
        });
        asked.waiting.wait(reader);
        if new {
            self.send(node, Message::TraceWanted);
        }
        Err(Stop::Wait)
    }

    /// Another node wants to know what has happened here.
    pub(crate) fn trace_wanted(&mut self, from: NodeId) {
        let text = self.own_trace().into_bytes();
        self.send(from, Message::Trace { text });
    }

    /// Another node has told what happened there.
    pub(crate) fn trace_told(&mut self, from: NodeId, text: Vec<u8>) {
        if let Some(asked) = self.timeline.asked.get_mut(&from)
            && text.len() <= TEXT_MAX
        {
            asked.answer = Some((self.now, text));
            asked.waiting.wake();
        }
    }

    /// A node does not answer: nobody waits for it.
    pub(crate) fn trace_given_up(&mut self, node: NodeId) {
        if let Some(asked) = self.timeline.asked.remove(&node) {
            asked.waiting.wake();
        }
    }

    /// The nodes whose events can be asked for, ascending.
    pub(crate) fn traced(&self) -> Vec<u16> {
        let peers = self.net.peers().map(|peer| peer.id.0);
        let mut nodes: Vec<u16> = peers.chain([self.me.0]).collect();
        nodes.sort_unstable();
        nodes
    }

    /// `/proc/cluster/clocks`: what this node believes of the clocks of the others, and why.
    pub(crate) fn clocks(&self) -> String {
        let mut text = String::from("node\toffset_us\terror_us\trtt_min_us\trtt_us\n");
        let us = |ns: u64| ns as f64 / 1000.0;
        let mut peers: Vec<_> = self.net.peers().collect();
        peers.sort_unstable_by_key(|peer| peer.id);
        for peer in peers {
            let Some((offset_ns, error_ns)) = peer.clock_offset else {
                continue;
            };
            let _ = writeln!(
                text,
                "{}\t{:.1}\t{:.1}\t{:.1}\t{:.1}",
                peer.id.0,
                offset_ns as f64 / 1000.0,
                us(error_ns),
                us(peer.rtt_min_ns.unwrap_or(0)),
                us(peer.rtt_smoothed_ns.unwrap_or(0)),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVE: (u32, u64) = (65_537, 2);

    fn fields(timeline: &Timeline) -> Vec<String> {
        let mut text = String::new();
        timeline.lines(&mut text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split('\t').skip(2).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn pages_do_not_push_steps_out() {
        let mut timeline = Timeline::new();
        timeline.note(What::Offered, MOVE, NodeId(2), 7);
        for page in 0..3 * RING as u64 {
            timeline.note(What::PageAsked, MOVE, NodeId(2), page);
        }
        timeline.note(What::Moved, MOVE, NodeId(2), 9);
        let lines = fields(&timeline);
        assert_eq!(lines.len(), RING + 2);
        assert_eq!(lines[0], "offered 65537 2 2 7");
        assert_eq!(lines[1], format!("page-asked 65537 2 2 {}", 2 * RING));
        assert_eq!(lines[RING + 1], "moved 65537 2 2 9");
    }

    #[test]
    fn nothing_is_allocated_for_an_event() {
        let mut timeline = Timeline::new();
        let at = (
            timeline.steps.events.as_ptr(),
            timeline.pages.events.as_ptr(),
        );
        for value in 0..10 * RING as u64 {
            timeline.note(What::Wished, MOVE, NodeId(1), value);
            timeline.note(What::PageIn, MOVE, NodeId(1), value);
        }
        let then = (
            timeline.steps.events.as_ptr(),
            timeline.pages.events.as_ptr(),
        );
        assert_eq!(at, then);
        assert_eq!(timeline.steps.overwritten(), 9 * RING as u64);
    }

    #[test]
    fn numbers_may_begin_anew() {
        let mut timeline = Timeline::new();
        timeline.number = u32::MAX - 1;
        for value in 0..4 {
            timeline.note(What::Wished, MOVE, NodeId(1), value);
        }
        let lines = fields(&timeline);
        let values: Vec<_> = lines.iter().map(|line| &line[line.len() - 1..]).collect();
        assert_eq!(values, ["0", "1", "2", "3"]);
    }

    #[test]
    fn clocks_may_be_behind() {
        let mut timeline = Timeline::new();
        timeline.note_clock(NodeId(3), Some((-12, 5)));
        timeline.note_clock(NodeId(4), None);
        assert_eq!(fields(&timeline), ["clock 0 5 3 -12"]);
    }
}
