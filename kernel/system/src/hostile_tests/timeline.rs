//! What nodes tell about moves: steps on every node that takes part, and figures that add up.
//!
//! Law: the texts are read as programs read them, through /proc; nobody is believed who was not asked.

use super::{Cluster, DATA};
use crate::files::{ClusterFile, ProcEntry, ProcView, ProcessFile};
use crate::home::INIT;
use crate::wait::Stop;
use abi::Errno;
use wire::{Message, NodeId, Stalls};

/// Pages that the process has written to: more than go ahead of the push.
const PAGES: u64 = 30;

impl Cluster {
    /// The text of a file in /proc of node 1; what has to be asked for elsewhere is waited for.
    pub(super) fn text(&mut self, entry: ProcEntry) -> Result<String, Errno> {
        for _ in 0..1000 {
            match self.nodes[0].read(entry, INIT) {
                Ok(text) => return Ok(String::from_utf8(text).expect("text")),
                Err(Stop::Errno(errno)) => return Err(errno),
                Err(Stop::Wait) => self.pass(1_000_000),
            }
        }
        panic!("nobody answers");
    }

    /// The names of the steps of a move on a node, in their order.
    fn steps(&mut self, node: u16, pid: u32, epoch: u64) -> Vec<String> {
        let text = self.text(ProcEntry::Trace(node)).expect("it is told");
        let (pid, epoch) = (pid.to_string(), epoch.to_string());
        let fields = text
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>());
        fields
            .filter(|fields| fields.len() == 7 && fields[3] == pid && fields[4] == epoch)
            .map(|fields| fields[2].to_owned())
            .collect()
    }

    /// The last line of `migstat`, by the names of its columns.
    fn figure(&mut self, pid: u32, name: &str) -> String {
        let text = self.text(ProcEntry::Process(pid, ProcessFile::Migstat));
        let text = text.expect("it is at home here");
        let header = text.lines().next().expect("a header");
        let line = text.lines().last().expect("a line");
        assert_eq!(header.split('\t').count(), line.split('\t').count());
        let at = header.split('\t').position(|column| column == name);
        let at = at.expect("there is such a column");
        line.split('\t').nth(at).expect("counted").to_owned()
    }

    fn number(&mut self, pid: u32, name: &str) -> u64 {
        self.figure(pid, name).parse().expect("a number")
    }

    /// Every node in turn sends one frame.
    fn frame_by_frame(&mut self) {
        self.now += 10_000;
        machine::fake::set_now_ns(self.now);
        for from in 0..self.nodes.len() {
            self.nodes[from].tick(self.now);
            if let Some(packet) = self.nodes[from].poll_transmit(self.now) {
                self.carry(from, &packet);
            }
        }
    }

    /// A process with pages of its own that has come to node 2.
    fn moved_with_pages(&mut self) -> u32 {
        let pid = self.fork(0);
        for page in 0..PAGES {
            self.poke(0, pid, DATA + page * 4096, b"not zero");
        }
        self.move_to(pid, 2);
        self.idle_round(1);
        pid
    }
}

#[test]
fn a_move_leaves_its_steps_on_every_node() {
    let mut cluster = Cluster::new(3);
    let pid = cluster.moved_with_pages();
    cluster.start_move(pid, 3);
    for _ in 0..400 {
        cluster.frame_by_frame();
        cluster.idle_round(2);
    }
    assert!(cluster.nodes[2].bodies.contains_key(&pid));
    let home = cluster.steps(1, pid, 3);
    assert_eq!(home, ["asked", "committed", "releases", "told"]);
    let source = cluster.steps(2, pid, 3);
    let expected = "wished offered admitted freezes stopped image-out used-out decided released push-over moved";
    assert_eq!(source.join(" "), expected);
    let target = cluster.steps(3, pid, 3);
    for step in [
        "admits",
        "image-in",
        "installed",
        "started",
        "opened",
        "complete",
    ] {
        assert!(target.iter().any(|one| one == step), "{step} in {target:?}");
    }
    // Who has read has taken nothing out.
    assert_eq!(cluster.steps(2, pid, 3), source);
    assert_eq!(cluster.text(ProcEntry::Trace(9)), Err(Errno::ENXIO));
}

#[test]
fn the_pages_of_a_move_are_counted_by_why_they_travelled() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for page in 0..PAGES {
        cluster.poke(0, pid, DATA + page * 4096, b"not zero");
    }
    cluster.start_move(pid, 2);
    let last = DATA + (PAGES - 1) * 4096;
    while !cluster.nodes[1].bodies.contains_key(&pid) {
        cluster.frame_by_frame();
    }
    assert!(
        cluster.nodes[1]
            .space_of(pid)
            .is_some_and(|space| space.is_absent(last))
    );
    cluster.nodes[1].request_page(pid, last);
    cluster.settle();
    assert!(!cluster.nodes[1].lacks_pages(pid));
    let number = |cluster: &mut Cluster, name| cluster.number(pid, name);
    let kinds = ["first", "used", "faulted", "pushed"];
    let sum: u64 = kinds.map(|name| number(&mut cluster, name)).iter().sum();
    assert_eq!(sum, number(&mut cluster, "pages_sent"));
    assert_eq!(number(&mut cluster, "faulted"), 1);
    assert_eq!(number(&mut cluster, "faults"), 1);
    assert_eq!(number(&mut cluster, "stalls"), 1);
    assert_eq!(number(&mut cluster, "epoch"), 2);
    let worst = cluster.figure(pid, "stall_worst_us");
    assert_eq!(worst, cluster.figure(pid, "stall_sum_us"));
}

#[test]
fn what_the_target_says_too_late_still_reaches_home() {
    let mut cluster = Cluster::new(3);
    let pid = cluster.moved_with_pages();
    let moves = &mut cluster.nodes[0].homes.get_mut(&pid).expect("home").moves;
    moves.back_mut().expect("it has moved").1.stalls = None;
    assert_eq!(cluster.figure(pid, "faults"), "-");
    let settled = |target, epoch| Message::Settled {
        pid: wire::Pid(pid),
        epoch,
        target: NodeId(target),
        stalls: Stalls {
            faults: 5,
            ..Stalls::default()
        },
    };
    // A stranger, and another move.
    cluster.say(0, 3, settled(2, 2));
    cluster.say(0, 2, settled(2, 7));
    cluster.say(0, 2, settled(3, 2));
    assert_eq!(cluster.figure(pid, "faults"), "-");
    cluster.say(0, 2, settled(2, 2));
    assert_eq!(cluster.figure(pid, "faults"), "5");
    // It is said once.
    cluster.say(
        0,
        2,
        Message::Settled {
            pid: wire::Pid(pid),
            epoch: 2,
            target: NodeId(2),
            stalls: Stalls::default(),
        },
    );
    assert_eq!(cluster.figure(pid, "faults"), "5");
}

#[test]
fn a_trace_that_nobody_asked_for_is_not_kept() {
    let mut cluster = Cluster::new(2);
    let lie = |bytes| Message::Trace {
        text: vec![b'x'; bytes],
    };
    cluster.say(0, 2, lie(100));
    let told = cluster.text(ProcEntry::Trace(2)).expect("it is told");
    assert!(told.starts_with("# node\t2\t"), "{told}");
    assert!(cluster.nodes[0].read(ProcEntry::Trace(2), INIT).is_err());
    cluster.say(0, 2, lie(600 << 10));
    let told = cluster.text(ProcEntry::Trace(2)).expect("it is told");
    assert!(told.starts_with("# node\t2\t"), "{told}");
    // An answer that nobody has fetched is old after a while.
    assert!(cluster.nodes[0].read(ProcEntry::Trace(2), INIT).is_err());
    cluster.say(0, 2, lie(100));
    cluster.settle();
    cluster.settle();
    let told = cluster.text(ProcEntry::Trace(2)).expect("it is told");
    assert!(told.starts_with("# node\t2\t"), "{told}");
}

#[test]
fn nobody_waits_for_a_node_that_is_silent() {
    let mut cluster = Cluster::new(2);
    cluster.cut = vec![1];
    assert!(cluster.nodes[0].read(ProcEntry::Trace(2), INIT).is_err());
    for _ in 0..4 {
        cluster.settle();
    }
    let answer = cluster.nodes[0].read(ProcEntry::Trace(2), INIT);
    assert_eq!(answer, Err(Stop::Errno(Errno::EHOSTDOWN)));
    cluster.cut.clear();
    cluster.settle();
    assert!(cluster.text(ProcEntry::Trace(2)).is_ok());
}

#[test]
fn what_is_not_a_move_leaves_nothing() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.moved_with_pages();
    let lines = |cluster: &mut Cluster| {
        let text = cluster.text(ProcEntry::Trace(1)).expect("its own");
        text.lines()
            .filter(|line| line.contains(&pid.to_string()))
            .count()
    };
    let before = lines(&mut cluster);
    for _ in 0..100 {
        cluster.call(1, pid, 110, &[]);
        cluster.idle_round(0);
        cluster.idle_round(1);
    }
    assert_eq!(lines(&mut cluster), before);
}

#[test]
fn clocks_are_known_with_a_bound() {
    let mut cluster = Cluster::new(3);
    let clocks = cluster.text(ProcEntry::Cluster(ClusterFile::Clocks));
    let clocks = clocks.expect("a text");
    let nodes: Vec<_> = clocks.lines().skip(1).map(|line| &line[..1]).collect();
    assert_eq!(nodes, ["2", "3"]);
    for line in clocks.lines().skip(1) {
        let mut fields = line.split('\t').skip(1).map(str::parse::<f64>);
        let mut field = || fields.next().expect("a field").expect("a number");
        let (offset, error) = (field(), field());
        // All nodes here have one clock.
        assert!(offset.abs() <= error, "{line}");
    }
}

impl Cluster {
    /// The story of a process as node 1 tells it: the events in their order, each with its words.
    fn story(&mut self, pid: u32) -> Vec<(String, String)> {
        let text = self.text(ProcEntry::Cluster(ClusterFile::Events));
        let text = text.expect("it is told at once");
        let pid = pid.to_string();
        let lines = text.lines().skip(1).map(|line| {
            let mut words = line.split_ascii_whitespace();
            let mut word = || words.next().unwrap_or_default().to_owned();
            let [_, of, _, _, event] = [word(), word(), word(), word(), word()];
            (of, event, words.collect::<Vec<_>>().join(" "))
        });
        lines
            .filter(|(of, ..)| *of == pid)
            .map(|(_, event, words)| (event, words))
            .collect()
    }
}

fn events(story: &[(String, String)]) -> Vec<&str> {
    story.iter().map(|(event, _)| &event[..]).collect()
}

#[test]
fn the_events_of_a_move_are_told_in_words() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    let story = cluster.story(pid);
    let [asked, offered, out, committed] = ["asked", "offered", "image-out", "committed"];
    let [decided, releases, released, moved] = ["decided", "releases", "released", "moved"];
    let wanted = [
        asked, offered, out, committed, decided, releases, released, moved,
    ];
    assert_eq!(events(&story), wanted);
    assert!(story.iter().all(|(_, words)| words.len() > 20));
    assert!(story[0].1.ends_with("(to node 2)"));
}

#[test]
fn the_events_of_a_move_that_fails_say_why_and_what_is_safe() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    let drain = wire::Order::Drain(true);
    cluster.nodes[0]
        .instruct(NodeId(2), drain)
        .expect("it is known");
    cluster.settle();
    cluster.start_move(pid, 2);
    cluster.settle();
    let story = cluster.story(pid);
    let last = story.last().map(|(event, words)| (&event[..], &words[..]));
    let words = "there is no move, and it runs on where it was (the node has no room)";
    assert_eq!(last, Some(("because", words)));
}

#[test]
fn the_events_of_a_reboot_of_home_are_told_in_words() {
    let mut cluster = Cluster::with_a_disk(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.reboot(0);
    cluster.settle();
    cluster.settle();
    let story = cluster.story(pid);
    assert_eq!(events(&story), ["restored", "adopted"]);
    assert!(story[1].1.contains("each done once"));
    // And what becomes of one that is lost with its node.
    cluster.reboot(1);
    cluster.settle();
    cluster.settle();
    let story = cluster.story(pid);
    let last = story.last().map(|(event, words)| (&event[..], &words[..]));
    let words = "it is lost with the node; its parent is told once, and no copy runs";
    assert_eq!(last, Some(("lost", words)));
}
