//! Guests whose home boots again, with a journal and without.

use super::{Cluster, DATA};
use crate::body::Effects;
use crate::home::{INIT, Life};
use crate::keeper::Orphans;
use crate::thread::{Forward, Purpose, Run};
use machine::Exit;
use wire::{BootId, Message, MoveError, NodeId, Pid, Whereabouts};

const PRCTL: u64 = 157;
const PR_SET_PDEATHSIG: u64 = 1;
const READ: u64 = 0;
const WRITE: u64 = 1;
const OPEN: u64 = 2;
const CLOSE: u64 = 3;
const DUP: u64 = 32;
const GETPPID: u64 = 110;
const EXIT: u64 = 231;
const WAIT4: u64 = 61;
const KILL: u64 = 62;
const SIGUSR1: u32 = 10;
const WNOHANG: u64 = 1;
const WUNTRACED: u64 = 2;
const WCONTINUED: u64 = 8;
const PIPE: u64 = 22;
const EIO: i64 = -5;
const EBADF: i64 = -9;
/// More than the grace, ns.
const GRACE_NS: u64 = 301_000_000_000;

/// A guest of node 2 from node 1, which has a disk.
fn guest() -> (Cluster, u32) {
    let mut cluster = Cluster::with_a_disk(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    (cluster, pid)
}

fn epoch(cluster: &Cluster, pid: u32) -> u64 {
    cluster.nodes[0].homes[&pid].record.gate().epoch()
}

impl Cluster {
    /// Home boots again, and the nodes find each other.
    fn reboot_home(&mut self) {
        self.reboot(0);
        self.settle();
        self.settle();
    }

    /// A call whose answer does not come: it is executed, the disk has it, and home dies before anybody hears of that.
    fn call_into_death(&mut self, pid: u32, number: u64, args: &[u64]) {
        self.arrives = |header| header.source() == NodeId(2);
        self.begin_call(1, pid, number, args);
        for _ in 0..20 {
            self.pass(1_000_000);
        }
        self.arrives = |_| true;
        self.reboot_home();
    }

    /// Whether the disk of home does nothing for now.
    fn stall(&mut self, stalls: bool) {
        self.disks[0].as_mut().expect("it has one").stalls = stalls;
    }

    /// Whether home has the process, and it lives.
    fn lives(&self, pid: u32) -> bool {
        let home = self.nodes[0].homes.get(&pid);
        home.is_some_and(crate::home::Home::lives)
    }

    fn answer(&self, pid: u32) -> Option<i64> {
        let thread = &self.nodes[1].threads[&pid];
        thread.call.is_none().then_some(thread.registers.rax as i64)
    }

    fn descriptors(&self, pid: u32) -> Vec<u32> {
        let files = self.nodes[0].homes[&pid].files.as_ref();
        files.expect("no call has them").open_descriptors()
    }
}

#[test]
fn a_guest_is_adopted_by_the_next_boot_of_its_home() {
    let (mut cluster, pid) = guest();
    let before = epoch(&cluster, pid);
    cluster.reboot_home();
    assert_eq!(epoch(&cluster, pid), before);
    assert!(!cluster.nodes[1].body(pid).orphan);
    assert!(cluster.nodes[0].keeper.awaited.is_empty());
    cluster.poke(1, pid, DATA, b"hello");
    assert_eq!(cluster.call(1, pid, WRITE, &[1, DATA, 5]), 5);
    assert!(cluster.nodes[0].take_output().ends_with(b"hello"));
    assert_eq!(cluster.call(1, pid, GETPPID, &[]), i64::from(INIT));
    // It moves on, and home, as ever.
    cluster.move_to(pid, 1);
    assert_eq!(cluster.call(0, pid, GETPPID, &[]), i64::from(INIT));
    cluster.begin_call(0, pid, EXIT, &[7]);
    cluster.settle();
    assert!(!cluster.lives(pid));
}

#[test]
fn it_is_adopted_again_and_again() {
    let (mut cluster, pid) = guest();
    for _ in 0..4 {
        cluster.reboot_home();
        assert_eq!(cluster.call(1, pid, GETPPID, &[]), i64::from(INIT));
    }
}

#[test]
fn without_a_journal_it_ends_with_its_home() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.reboot_home();
    assert!(!cluster.nodes[1].bodies.contains_key(&pid));
    assert!(!cluster.nodes[0].homes.contains_key(&pid));
}

#[test]
fn a_journal_that_does_not_know_it_ends_it() {
    let (mut cluster, pid) = guest();
    // Another disk is put in.
    cluster.disks[0] = Some(super::Disk {
        flushed: vec![0; 1 << 20],
        ..super::Disk::default()
    });
    cluster.reboot_home();
    assert!(!cluster.nodes[1].bodies.contains_key(&pid));
}

#[test]
fn no_decision_leaves_before_the_disk_has_it() {
    let mut cluster = Cluster::with_a_disk(2);
    let pid = cluster.fork(0);
    cluster.stall(true);
    cluster.start_move(pid, 2);
    cluster.settle();
    assert_eq!(cluster.nodes[1].body(pid).effects, Effects::Gated);
    cluster.stall(false);
    cluster.settle();
    assert_eq!(cluster.nodes[1].body(pid).effects, Effects::Open);
}

#[test]
fn pages_of_memory_do_not_wait_for_the_disk_of_their_home() {
    let (mut cluster, other) = guest();
    let pid = cluster.fork(0);
    for page in 0..20 {
        cluster.poke(0, pid, DATA + 4096 * page, b"full");
    }
    // A page each 10 ms.
    cluster.order_move_by(pid, "2 mode=pre-copy bandwidth=409600");
    for _ in 0..4 {
        cluster.pass(10_000_000);
    }
    assert!(cluster.nodes[0].outgoing.contains_key(&pid));
    cluster.stall(true);
    cluster.begin_call(1, other, DUP, &[1]);
    cluster.settle();
    cluster.stall(false);
    cluster.settle();
    assert!(cluster.nodes[1].bodies.contains_key(&pid), "it is there");
    assert!(cluster.nodes[0].outgoing.is_empty());
}

/// A process of node 1 that has moved from node 2 to node 3, as home has decided, while node 2 is cut off.
fn with_a_source_away(cluster: &mut Cluster) -> u32 {
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.start_move(pid, 3);
    while cluster.nodes[0].homes[&pid].record.gate().owner() != NodeId(3) {
        cluster.round();
    }
    cluster.cut.push(1);
    for _ in 0..20 {
        cluster.pass(1_000_000);
    }
    pid
}

#[test]
fn a_source_that_was_away_is_released_when_it_is_there_again() {
    let mut cluster = Cluster::with_a_disk(3);
    // The word that its source may drop it is given, and lost with home.
    let pid = with_a_source_away(&mut cluster);
    assert!(cluster.nodes[0].homes[&pid].record.previous().is_none());
    assert!(cluster.nodes[1].outgoing.contains_key(&pid));
    cluster.reboot_home();
    assert!(!cluster.nodes[2].body(pid).orphan, "it is adopted");
    cluster.cut.clear();
    cluster.settle();
    cluster.settle();
    assert!(cluster.nodes[1].outgoing.is_empty());
}

#[test]
fn a_source_is_released_by_the_end_of_a_process_that_it_was_not_there_to_hear_of() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = with_a_source_away(&mut cluster);
    cluster.reboot_home();
    cluster.begin_call(2, pid, EXIT, &[7]);
    cluster.settle();
    assert!(!cluster.lives(pid) && cluster.nodes[1].outgoing.contains_key(&pid));
    cluster.cut.clear();
    cluster.settle();
    cluster.settle();
    assert!(cluster.nodes[1].outgoing.is_empty());
}

#[test]
fn nothing_is_given_back_to_a_boot_of_home_that_is_over() {
    let mut cluster = Cluster::with_a_disk(2);
    let pid = cluster.fork(0);
    cluster.start_move(pid, 2);
    while cluster.nodes[0].homes[&pid].record.gate().owner() != NodeId(2) {
        cluster.round();
    }
    // No effect is accepted before both are gone.
    cluster.arrives = |header| header.source() != NodeId(2);
    for _ in 0..20 {
        cluster.pass(1_000_000);
    }
    cluster.arrives = |_| true;
    cluster.reboot(1);
    cluster.reboot(0);
    for _ in 0..6 {
        cluster.settle();
    }
    assert!(!cluster.lives(pid));
}

#[test]
fn one_that_ended_while_its_home_was_being_told_of_it_is_told_of_again() {
    let (mut cluster, pid) = guest();
    cluster.reboot(0);
    // Home is there, and what its guests say does not get through.
    cluster.arrives = |header| header.source() != NodeId(2) || header.kind() != wire::Kind::Data;
    for _ in 0..GRACE_NS / 100_000_000 {
        cluster.pass(100_000_000);
    }
    assert!(!cluster.nodes[1].bodies.contains_key(&pid));
    assert!(cluster.lives(pid));
    cluster.arrives = |_| true;
    cluster.settle();
    cluster.settle();
    assert!(!cluster.lives(pid));
}

#[test]
fn one_whose_pages_were_under_way_when_the_grace_was_over_is_given_up_later() {
    const GRACE_S: u64 = 10;
    let mut cluster = Cluster::new(3);
    cluster.nodes[2].orphans = Orphans::new(&format!("orphan_grace={GRACE_S}"));
    let wait = |cluster: &mut Cluster| {
        for _ in 0..(GRACE_S + 5) * 10 {
            cluster.pass(100_000_000);
        }
    };
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    for page in 0..20 {
        cluster.poke(1, pid, DATA + 4096 * page, b"full");
    }
    cluster.start_move(pid, 3);
    let there = |cluster: &Cluster| cluster.nodes[2].bodies.contains_key(&pid);
    cluster.until(Cluster::round, there);
    // Its pages come late, and then home goes for ever.
    fn is_page(header: &wire::Header) -> bool {
        let ends = (header.source(), header.target());
        ends == (NodeId(2), NodeId(3)) && header.kind() == wire::Kind::Data
    }
    fn is_homes(header: &wire::Header) -> bool {
        [header.source(), header.target()].contains(&NodeId(1))
    }
    cluster.arrives = |header| !is_page(header);
    let pushes = |cluster: &Cluster| {
        let out = cluster.nodes[1].outgoing.get(&pid);
        cluster.nodes[2].bodies[&pid].effects == Effects::Open
            && out.is_some_and(|out| out.state_in_words().contains("pushing (true, true,"))
    };
    cluster.until(Cluster::round, pushes);
    cluster.arrives = |header| !is_page(header) && !is_homes(header);
    wait(&mut cluster);
    assert!(there(&cluster) && cluster.nodes[2].incoming.contains_key(&pid));
    cluster.arrives = |header| !is_homes(header);
    let whole = |cluster: &Cluster| cluster.nodes[2].incoming.is_empty();
    cluster.until(|cluster| cluster.pass(10_000_000), whole);
    assert!(there(&cluster));
    wait(&mut cluster);
    assert!(!there(&cluster), "nobody would ever end it");
}

#[test]
fn nobody_waits_for_the_move_of_one_whose_owner_does_not_know_this_boot() {
    let (mut cluster, pid) = guest();
    cluster.cut.push(1);
    cluster.reboot(0);
    cluster.pass(1_000_000);
    let goto = crate::files::ProcEntry::Process(pid, crate::files::ProcessFile::Goto);
    let asked = crate::files::ProcView::write(&mut cluster.nodes[0], goto, INIT, b"home");
    assert_eq!(asked, Err(crate::wait::Stop::Errno(abi::Errno::EBUSY)));
}

#[test]
fn a_home_that_is_silent_again_is_waited_for_anew() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.cut.push(0);
    cluster.settle();
    cluster.settle();
    cluster.settle();
    // It is there again, in another boot, and has another guest here.
    cluster.cut.clear();
    cluster.reboot_home();
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    for _ in 0..GRACE_NS / 100_000_000 - 80 {
        cluster.pass(100_000_000);
    }
    cluster.cut.push(0);
    for _ in 0..100 {
        cluster.pass(100_000_000);
    }
    assert!(cluster.nodes[1].bodies.contains_key(&pid));
}

#[test]
fn a_decision_that_nobody_heard_is_asked_for_again() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    // Home hears of the image, decides, and dies before the target has heard of it.
    cluster.arrives = |header| {
        (header.source(), header.target()) != (NodeId(1), NodeId(3))
            || header.kind() != wire::Kind::Data
    };
    cluster.start_move(pid, 3);
    for _ in 0..30 {
        cluster.pass(1_000_000);
    }
    assert_eq!(
        cluster.nodes[0].homes[&pid].record.gate().owner(),
        NodeId(3)
    );
    assert_eq!(cluster.nodes[2].body(pid).effects, Effects::Gated);
    cluster.arrives = |_| true;
    cluster.reboot_home();
    cluster.settle();
    assert_eq!(cluster.nodes[2].body(pid).effects, Effects::Open);
    assert!(
        cluster.nodes[1].outgoing.is_empty(),
        "the source is released"
    );
    assert_eq!(cluster.call(2, pid, GETPPID, &[]), i64::from(INIT));
}

#[test]
fn a_decision_that_is_not_on_the_disk_was_never_made() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.stall(true);
    cluster.start_move(pid, 3);
    cluster.settle();
    assert_eq!(
        cluster.nodes[0].homes[&pid].record.gate().owner(),
        NodeId(3)
    );
    cluster.stall(false);
    cluster.reboot(0);
    for _ in 0..4 {
        cluster.settle();
    }
    assert_eq!(
        cluster.nodes[0].homes[&pid].record.gate().owner(),
        NodeId(2)
    );
    assert!(!cluster.nodes[2].bodies.contains_key(&pid));
    assert!(cluster.nodes[1].outgoing.is_empty() && cluster.nodes[2].incoming.is_empty());
    assert_eq!(cluster.call(1, pid, GETPPID, &[]), i64::from(INIT));
}

#[test]
fn a_call_that_was_executed_unheard_is_answered_and_not_done_again() {
    let (mut cluster, pid) = guest();
    let next = cluster.descriptors(pid).len() as i64;
    cluster.call_into_death(pid, DUP, &[1]);
    assert_eq!(cluster.answer(pid), Some(next));
    assert_eq!(cluster.descriptors(pid).len() as i64, next + 1);
    cluster.call_into_death(pid, CLOSE, &[next as u64]);
    assert_eq!(cluster.answer(pid), Some(0));
    assert_eq!(cluster.call(1, pid, CLOSE, &[next as u64]), EBADF);
}

#[test]
fn a_child_that_was_made_unheard_was_never_there() {
    let (mut cluster, pid) = guest();
    cluster.call_into_death(pid, 57, &[]);
    assert_eq!(cluster.answer(pid), Some(EIO));
    let others = |home: &&crate::home::Home| home.pid != INIT && home.pid != pid;
    assert_eq!(cluster.nodes[0].homes.values().filter(others).count(), 0);
    let child = cluster.call(1, pid, 57, &[]) as u32;
    assert_eq!(cluster.call(1, child, GETPPID, &[]), i64::from(pid));
    // One of which the answer came is adopted like its parent, and is its child.
    cluster.reboot_home();
    assert_eq!(cluster.call(1, child, GETPPID, &[]), i64::from(pid));
    cluster.begin_call(1, child, EXIT, &[3]);
    assert_eq!(
        cluster.call(1, pid, WAIT4, &[u64::from(child), DATA, 0, 0]),
        i64::from(child)
    );
}

/// A guest with a child that a signal has stopped.
fn with_a_stopped_child() -> (Cluster, u32, u32) {
    let (mut cluster, pid) = guest();
    let child = cluster.call(1, pid, 57, &[]) as u32;
    let stop = u64::from(abi::signal::SIGSTOP);
    assert_eq!(cluster.call(1, pid, KILL, &[u64::from(child), stop]), 0);
    let stopped = |cluster: &Cluster| cluster.nodes[1].bodies[&child].stopped;
    cluster.until(
        |cluster| {
            cluster.pass(1_000_000);
            cluster.idle_round(1);
        },
        stopped,
    );
    cluster.settle();
    (cluster, pid, child)
}

impl Cluster {
    /// What a guest is told of a child that has stopped, gone on or ended, if anything.
    fn change_of_child(&mut self, pid: u32, child: u32) -> i64 {
        let options = WUNTRACED | WCONTINUED | WNOHANG;
        self.call(1, pid, WAIT4, &[child.into(), DATA, options, 0])
    }
}

#[test]
fn that_a_child_has_stopped_is_told_once_though_its_home_dies_before_that() {
    let (mut cluster, pid, child) = with_a_stopped_child();
    cluster.reboot_home();
    assert_eq!(cluster.change_of_child(pid, child), i64::from(child));
    assert_eq!(cluster.byte(1, pid, DATA), 0x7f);
    assert_eq!(cluster.change_of_child(pid, child), 0, "it is told once");
    cluster.reboot_home();
    assert_eq!(cluster.change_of_child(pid, child), 0, "and never again");
}

#[test]
fn that_a_child_has_stopped_is_told_once_though_its_home_dies_while_it_is_told() {
    let (mut cluster, pid, child) = with_a_stopped_child();
    cluster.call_into_death(pid, WAIT4, &[child.into(), DATA, WUNTRACED, 0]);
    assert_eq!(cluster.answer(pid), Some(i64::from(child)));
    assert_eq!(cluster.change_of_child(pid, child), 0);
}

/// The same, and it goes on again.
fn with_a_child_that_goes_on() -> (Cluster, u32, u32) {
    let (mut cluster, pid, child) = with_a_stopped_child();
    assert_eq!(cluster.change_of_child(pid, child), i64::from(child));
    let go_on = u64::from(abi::signal::SIGCONT);
    assert_eq!(cluster.call(1, pid, KILL, &[u64::from(child), go_on]), 0);
    cluster.settle();
    (cluster, pid, child)
}

#[test]
fn that_a_child_goes_on_is_told_once_though_its_home_dies_before_that() {
    let (mut cluster, pid, child) = with_a_child_that_goes_on();
    cluster.reboot_home();
    assert_eq!(cluster.change_of_child(pid, child), i64::from(child));
    assert_eq!(cluster.byte(1, pid, DATA), 0xff);
    assert_eq!(cluster.change_of_child(pid, child), 0, "it is told once");
    cluster.reboot_home();
    assert_eq!(cluster.change_of_child(pid, child), 0, "and never again");
}

#[test]
fn that_a_child_goes_on_is_told_once_though_its_home_dies_while_it_is_told() {
    let (mut cluster, pid, child) = with_a_child_that_goes_on();
    cluster.call_into_death(pid, WAIT4, &[child.into(), DATA, WCONTINUED, 0]);
    assert_eq!(cluster.answer(pid), Some(i64::from(child)));
    assert_eq!(cluster.change_of_child(pid, child), 0);
}

#[test]
fn who_is_to_go_on_does_though_its_home_dies_before_it_hears_of_that() {
    let (mut cluster, _, child) = with_a_stopped_child();
    cluster.arrives = |header| header.source() == NodeId(2);
    cluster.nodes[0].signal(child, abi::signal::SIGCONT);
    for _ in 0..20 {
        cluster.pass(1_000_000);
    }
    cluster.arrives = |_| true;
    cluster.reboot_home();
    cluster.settle();
    assert!(!cluster.nodes[1].bodies[&child].stopped);
    // Nor does its home take it for a stopped one, which would hear of no signal.
    assert_eq!(cluster.nodes[0].homes[&child].life, Life::Alive);
}

/// Signals, from which a program that does not expect them ends.
const FATAL: [u32; 3] = [abi::signal::SIGKILL, SIGUSR1, 34];

#[test]
fn a_signal_that_was_promised_comes_though_home_dies_before_anybody_hears_of_it() {
    for signal in FATAL {
        let (mut cluster, pid) = guest();
        cluster.arrives = |header| header.source() == NodeId(2);
        cluster.nodes[0].signal(pid, signal);
        for _ in 0..20 {
            cluster.pass(1_000_000);
        }
        cluster.arrives = |_| true;
        cluster.reboot_home();
        cluster.settle();
        assert!(!cluster.lives(pid), "signal {signal}");
        assert!(!cluster.nodes[1].bodies.contains_key(&pid));
    }
}

#[test]
fn a_signal_for_one_thread_is_not_lost_with_home_either() {
    let (mut cluster, pid) = guest();
    cluster.arrives = |header| header.source() == NodeId(2);
    let info = crate::signals::SignalInfo::kernel(SIGUSR1);
    cluster.nodes[0].signal_thread(pid, pid, info);
    for _ in 0..20 {
        cluster.pass(1_000_000);
    }
    cluster.arrives = |_| true;
    cluster.reboot_home();
    cluster.settle();
    assert!(!cluster.lives(pid));
}

#[test]
fn a_signal_that_was_taken_unheard_is_taken_once() {
    for signal in FATAL {
        let (mut cluster, pid) = guest();
        cluster.nodes[0].signal(pid, signal);
        let taken = |cluster: &Cluster| !cluster.nodes[0].homes[&pid].has_signals();
        cluster.until(Cluster::round, taken);
        // The disk has that, and the answer is lost with home.
        cluster.arrives = |header| header.source() == NodeId(2);
        for _ in 0..20 {
            cluster.pass(1_000_000);
        }
        assert!(cluster.nodes[1].bodies.contains_key(&pid));
        cluster.arrives = |_| true;
        cluster.reboot_home();
        cluster.settle();
        assert!(!cluster.lives(pid), "signal {signal}");
    }
}

#[test]
fn who_has_sent_itself_a_signal_does_not_run_on_without_it_while_its_home_is_gone() {
    let (mut cluster, pid) = guest();
    let signal = u64::from(SIGUSR1);
    cluster.begin_call(1, pid, KILL, &[u64::from(pid), signal]);
    // It hears that the signal was sent, asks for it, and is not answered.
    let asks = |cluster: &Cluster| {
        let forward = &cluster.nodes[1].threads[&pid].forward;
        matches!(forward, Forward::Sent { purpose, .. } if *purpose == Purpose::Signal)
    };
    cluster.until(Cluster::round, asks);
    cluster.arrives = |_| false;
    cluster.reboot(0);
    // Nor does home hear of its guests at first.
    cluster.arrives = |header| header.source() != NodeId(2) || header.kind() != wire::Kind::Data;
    cluster.settle();
    assert!(cluster.nodes[1].body(pid).orphan);
    assert_eq!(cluster.nodes[1].threads[&pid].run, Run::Blocked);
    cluster.arrives = |_| true;
    cluster.settle();
    cluster.settle();
    assert!(!cluster.lives(pid));
}

#[test]
fn who_wants_a_signal_when_its_parent_ends_gets_it_when_that_has_died_with_home() {
    let mut cluster = Cluster::with_a_disk(2);
    let parent = cluster.fork(0);
    let child = cluster.call(0, parent, 57, &[]) as u32;
    let kill = u64::from(abi::signal::SIGKILL);
    assert_eq!(cluster.call(0, child, PRCTL, &[PR_SET_PDEATHSIG, kill]), 0);
    cluster.move_to(child, 2);
    cluster.reboot_home();
    cluster.settle();
    assert!(!cluster.lives(child));
    assert!(!cluster.nodes[1].bodies.contains_key(&child));
}

#[test]
fn what_waits_for_the_disk_does_not_reach_the_next_boot_of_who_it_was_for() {
    let (mut cluster, pid) = guest();
    cluster.stall(true);
    cluster.begin_call(1, pid, DUP, &[1]);
    for _ in 0..20 {
        cluster.pass(1_000_000);
    }
    let answers = |cluster: &Cluster| {
        let held = cluster.nodes[0].keeper.held();
        held.filter(|message| matches!(message, Message::Reply(_)))
            .count()
    };
    assert_eq!(answers(&cluster), 1);
    cluster.reboot(1);
    cluster.settle();
    assert_eq!(answers(&cluster), 0);
}

#[test]
fn a_late_word_of_who_was_where_does_not_end_the_source_of_a_move() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.reboot_home();
    let before = epoch(&cluster, pid);
    cluster.poke(1, pid, DATA, b"x");
    cluster.start_move(pid, 3);
    cluster.until(Cluster::round, |cluster| {
        cluster.nodes[2].bodies.contains_key(&pid)
    });
    // What is not at the target stays at the source for a while.
    cluster.arrives = |header| header.source() != NodeId(2);
    cluster.until(Cluster::round, |cluster| epoch(cluster, pid) > before);
    // It was said for the second time before the process left, and was lost on the way at first.
    let orphans = vec![(Pid(pid), before, Whereabouts::Here)];
    let boot: BootId = cluster.nodes[1].boot;
    cluster.nodes[0].message(NodeId(2), boot, Message::Orphans { orphans });
    cluster.nodes[0].settle();
    cluster.arrives = |_| true;
    cluster.settle();
    assert!(!cluster.nodes[2].lacks_pages(pid));
    assert_eq!(cluster.byte(2, pid, DATA), b'x');
    assert!(cluster.nodes[1].outgoing.is_empty() && cluster.nodes[2].incoming.is_empty());
    assert_eq!(cluster.call(2, pid, GETPPID, &[]), i64::from(INIT));
}

#[test]
fn what_may_have_been_seen_by_others_fails_if_nobody_knows_whether_it_was_done() {
    let (mut cluster, pid) = guest();
    cluster.poke(1, pid, DATA, b"once");
    cluster.call_into_death(pid, WRITE, &[1, DATA, 4]);
    assert_eq!(cluster.answer(pid), Some(EIO));
    assert_eq!(cluster.call(1, pid, WRITE, &[1, DATA, 4]), 4);
}

#[test]
fn what_was_in_memory_of_home_is_lost_and_says_so() {
    let (mut cluster, pid) = guest();
    cluster.poke(1, pid, DATA, b"/tmp/x\0");
    // O_CREAT | O_RDWR
    let file = cluster.call(1, pid, OPEN, &[DATA, 0o102, 0o600]) as u64;
    assert_eq!(cluster.call(1, pid, WRITE, &[file, DATA, 4]), 4);
    assert_eq!(cluster.call(1, pid, PIPE, &[DATA + 64]), 0);
    cluster.reboot_home();
    for fd in [file, file + 1, file + 2] {
        assert_eq!(cluster.call(1, pid, READ, &[fd, DATA, 4]), EIO);
        assert_eq!(cluster.call(1, pid, CLOSE, &[fd]), 0);
        assert_eq!(cluster.call(1, pid, CLOSE, &[fd]), EBADF);
    }
    assert_eq!(cluster.call(1, pid, DUP, &[0]), file as i64);
}

#[test]
fn a_guest_computes_while_home_is_gone_and_stands_still_at_its_first_call() {
    let (mut cluster, pid) = guest();
    cluster.reboot(0);
    // Home is up, but the guest does not hear of its adoption yet.
    cluster.stall(true);
    cluster.settle();
    cluster.run(1, pid, |_| Exit::Interrupt);
    cluster.begin_call(1, pid, GETPPID, &[]);
    cluster.settle();
    assert_eq!(cluster.nodes[1].thread(pid).run, Run::Blocked);
    cluster.stall(false);
    cluster.settle();
    cluster.settle();
    assert_eq!(cluster.answer(pid), Some(i64::from(INIT)));
}

#[test]
fn past_the_grace_it_ends_and_its_home_is_told_once() {
    let (mut cluster, pid) = guest();
    cluster.cut.push(0);
    cluster.settle();
    cluster.settle();
    cluster.settle();
    assert!(cluster.nodes[1].bodies.contains_key(&pid));
    cluster.pass(GRACE_NS);
    assert!(!cluster.nodes[1].bodies.contains_key(&pid));
    assert!(cluster.nodes[0].homes[&pid].lives());
    cluster.cut.clear();
    cluster.settle();
    cluster.settle();
    assert!(!cluster.lives(pid));
}

#[test]
fn a_process_that_died_with_its_node_while_home_was_gone_is_lost() {
    let (mut cluster, pid) = guest();
    cluster.cut.push(0);
    cluster.reboot(1);
    cluster.reboot(0);
    cluster.settle();
    cluster.cut.clear();
    // It might have been on its way to another node, whose word is waited for.
    for _ in 0..6 {
        cluster.settle();
    }
    assert!(!cluster.lives(pid));
    assert!(!cluster.nodes[1].bodies.contains_key(&pid));
}

#[test]
fn pids_are_not_given_out_again_and_boots_grow() {
    let mut cluster = Cluster::with_a_disk(2);
    let mut pids = vec![cluster.fork(0)];
    let mut boots = vec![cluster.nodes[0].boot];
    for _ in 0..3 {
        cluster.reboot_home();
        pids.push(cluster.fork(0));
        boots.push(cluster.nodes[0].boot);
    }
    assert!(pids.is_sorted_by(|one, other| one < other), "{pids:x?}");
    assert!(boots.is_sorted_by(|one, other| one < other), "{boots:x?}");
}

#[test]
fn a_node_whose_disk_fails_stops() {
    let (mut cluster, pid) = guest();
    assert_eq!(cluster.nodes[0].power_off(), None);
    cluster.stall(true);
    cluster.begin_call(1, pid, DUP, &[1]);
    cluster.settle();
    assert!(cluster.nodes[0].poll_disk().is_some());
    cluster.nodes[0].disk_done(false);
    cluster.settle();
    assert_eq!(cluster.nodes[0].power_off(), Some(1));
    assert_eq!(cluster.answer(pid), None);
}

/// Waits for something, for a while.
fn until(cluster: &mut Cluster, what: impl Fn(&Cluster) -> bool) {
    cluster.until(|cluster| cluster.pass(1_000_000), what);
}

/// Whether home has given a process to a node.
fn owned(cluster: &Cluster, pid: u32, node: u16) -> bool {
    cluster.nodes[0].homes[&pid].record.gate().owner() == NodeId(node)
}

/// A guest that its home, node 1, has decided to take back, of which the disk has nothing yet.
fn on_its_way_home(cluster: &mut Cluster, pid: u32) {
    cluster.stall(true);
    cluster.start_move(pid, 1);
    until(cluster, |cluster| owned(cluster, pid, 1));
}

#[test]
fn one_whose_move_was_under_way_as_home_died_moves_again() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.arrives = |header| header.target() != NodeId(1);
    cluster.start_move(pid, 3);
    until(&mut cluster, |cluster| {
        cluster.nodes[2].bodies.contains_key(&pid)
    });
    cluster.reboot(0);
    cluster.arrives = |_| true;
    for _ in 0..4 {
        cluster.settle();
    }
    // Both ask the next boot of home, and one of them has it.
    let (at, other) = if owned(&cluster, pid, 3) {
        (2, 2)
    } else {
        (1, 3)
    };
    assert_eq!(cluster.call(at, pid, GETPPID, &[]), i64::from(INIT));
    cluster.move_to(pid, other);
    assert_eq!(
        cluster.call(usize::from(other) - 1, pid, GETPPID, &[]),
        i64::from(INIT)
    );
}

#[test]
fn the_next_boot_of_home_gives_a_process_to_a_target_whose_image_its_former_boot_had_not_heard_of()
{
    let mut cluster = Cluster::with_a_disk(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.arrives = |header| (header.source(), header.target()) != (NodeId(3), NodeId(1));
    cluster.order_move_by(pid, "3 mode=stop-and-copy");
    until(&mut cluster, |cluster| {
        cluster.nodes[2].bodies.contains_key(&pid)
    });
    // The source is down, and does not come back.
    cluster.cut.push(1);
    cluster.arrives = |_| true;
    cluster.reboot(0);
    for _ in 0..8 {
        cluster.settle();
    }
    assert!(owned(&cluster, pid, 3) && cluster.lives(pid));
    assert_eq!(cluster.call(2, pid, GETPPID, &[]), i64::from(INIT));
}

#[test]
fn one_that_was_coming_home_is_given_back_if_home_dies_before_its_first_effect() {
    let (mut cluster, pid) = guest();
    on_its_way_home(&mut cluster, pid);
    cluster.flush_once(0);
    cluster.reboot(0);
    cluster.stall(false);
    for _ in 0..4 {
        cluster.settle();
    }
    assert!(cluster.lives(pid));
    assert_eq!(cluster.nodes[1].body(pid).effects, Effects::Open);
    assert!(cluster.nodes[1].outgoing.is_empty());
    assert_eq!(cluster.call(1, pid, GETPPID, &[]), i64::from(INIT));
    cluster.move_to(pid, 1);
}

#[test]
fn one_that_has_come_home_has_no_effect_while_the_disk_may_still_give_it_back() {
    let (mut cluster, pid) = guest();
    cluster.poke(1, pid, DATA, b"once");
    on_its_way_home(&mut cluster, pid);
    cluster.flush_once(0);
    cluster.nodes[0].take_output();
    cluster.begin_call(0, pid, WRITE, &[1, DATA, 4]);
    for _ in 0..20 {
        cluster.pass(1_000_000);
    }
    let early = cluster.nodes[0].take_output();
    assert!(!early.ends_with(b"once"), "its source may have it again");
    cluster.stall(false);
    cluster.settle();
    assert!(cluster.nodes[0].take_output().ends_with(b"once"));
}

#[test]
fn a_process_does_not_leave_before_the_next_boot_of_its_home_knows_it() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    // The offer is not answered before home is gone.
    cluster.arrives = |header| header.source() != NodeId(3);
    cluster.start_move(pid, 3);
    until(&mut cluster, |cluster| {
        cluster.nodes[1].outgoing.contains_key(&pid)
    });
    cluster.reboot(0);
    cluster.arrives = |_| true;
    until(&mut cluster, |cluster| {
        cluster.nodes[1]
            .net
            .peer(NodeId(1))
            .is_some_and(|peer| peer.boot == cluster.nodes[0].boot)
    });
    assert!(
        cluster.nodes[1].bodies.contains_key(&pid),
        "it has not left"
    );
    cluster.settle();
    assert!(
        cluster.nodes[1].outgoing.is_empty(),
        "its move is called off"
    );
    assert_eq!(cluster.call(1, pid, GETPPID, &[]), i64::from(INIT));
    cluster.move_to(pid, 3);
}

/// A process of node 1 that has been given from node 2 to node 3, which does not hear of it.
fn given_to_the_deaf(cluster: &mut Cluster) -> u32 {
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.arrives = |header| (header.source(), header.target()) != (NodeId(1), NodeId(3));
    cluster.start_move(pid, 3);
    until(cluster, |cluster| owned(cluster, pid, 3));
    assert_eq!(cluster.nodes[2].body(pid).effects, Effects::Gated);
    pid
}

#[test]
fn a_source_asks_again_when_home_has_died_with_the_word_that_gave_a_process_back() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = given_to_the_deaf(&mut cluster);
    for _ in 0..20 {
        cluster.pass(1_000_000);
    }
    // Nobody hears any more of what home says.
    cluster.arrives = |header| header.source() != NodeId(1);
    cluster.reboot(2);
    until(&mut cluster, |cluster| owned(cluster, pid, 2));
    cluster.serve_disk(0);
    cluster.reboot(0);
    cluster.arrives = |_| true;
    for _ in 0..4 {
        cluster.settle();
    }
    assert!(cluster.lives(pid));
    assert!(cluster.nodes[1].outgoing.is_empty());
    assert_eq!(cluster.call(1, pid, GETPPID, &[]), i64::from(INIT));
}

#[test]
fn the_next_boot_of_home_gives_a_process_back_to_its_source() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = given_to_the_deaf(&mut cluster);
    cluster.cut = vec![2];
    cluster.reboot(0);
    cluster.arrives = |_| true;
    cluster.settle();
    cluster.reboot(2);
    cluster.cut.clear();
    for _ in 0..4 {
        cluster.settle();
    }
    assert!(cluster.lives(pid));
    assert!(cluster.nodes[1].outgoing.is_empty());
    assert_eq!(cluster.call(1, pid, GETPPID, &[]), i64::from(INIT));
}

#[test]
fn a_result_for_the_former_boot_is_not_taken_for_one_of_this() {
    let mut cluster = Cluster::with_a_disk(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    let request = |cluster: &Cluster| {
        let request = cluster.nodes[0].homes[&pid].request.as_ref();
        request.filter(|it| it.result.is_none()).map(|it| it.id)
    };
    cluster.arrives = |header| header.source() != NodeId(3);
    cluster.start_move(pid, 3);
    let first = request(&cluster).expect("it is asked for");
    cluster.arrives = |_| true;
    cluster.reboot_home();
    cluster.arrives = |header| header.source() != NodeId(3);
    // As many moves as the former boot had asked for.
    let other = cluster.fork(0);
    cluster.start_move(other, 3);
    cluster.start_move(pid, 3);
    assert!(request(&cluster).is_some());
    for request in first.saturating_sub(1)..=first + 1 {
        let (pid, result) = (Pid(pid), Err(MoveError::Aborted));
        let result = Message::MoveResult {
            pid,
            request,
            result,
        };
        cluster.say(0, 2, result);
    }
    assert!(request(&cluster).is_some());
}
