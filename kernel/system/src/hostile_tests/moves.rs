//! Events in an unlucky order around a move.

use super::{CODE, Cluster, DATA};
use crate::body::HANDLER_DEFAULT;
use crate::body::Hold;
use crate::home::Life;
use crate::thread::{Forward, Restart, Run};
use abi::signal::{self, bit};
use machine::fake::touch;
use machine::{Access, Exit};
use wire::{Header, Kind, Lane, Message, MoveError, MoveHow, NodeId, PayloadKind, Pid};

const READ: u64 = 0;
const NANOSLEEP: u64 = 35;
const GETPID: u64 = 39;
const RT_SIGPROCMASK: u64 = 14;
const SIGUSR1: u32 = 10;
const HANDLER: u64 = CODE + 0x100;
const RESTORER: u64 = CODE + 0x200;

impl Cluster {
    /// Catches a signal.
    fn catch(&mut self, node: usize, pid: u32, signal: u32) {
        let body = self.nodes[node].body(pid);
        let action = &mut body.actions.0[signal as usize - 1];
        action.handler = HANDLER;
        action.flags = 0x0400_0000;
        action.restorer = RESTORER;
    }

    fn signal(&mut self, pid: u32, signal: u32) {
        let home = usize::from(Pid(pid).home().0) - 1;
        self.nodes[home].signal(pid, signal);
        self.nodes[home].settle();
    }

    fn alive(&self, node: usize, pid: u32) -> bool {
        self.nodes[node]
            .homes
            .get(&pid)
            .is_some_and(crate::home::Home::lives)
    }

    /// Lets the bodies and the time run.
    pub(super) fn live(&mut self) {
        for _ in 0..10 {
            for node in 0..self.nodes.len() {
                self.idle_round(node);
            }
            self.pass(10_000_000);
        }
    }
}

/// A process of node 1 of which node 3 has all, in the image that node 2 has sent; node 2 has booted again before node
/// 3 is heard at home.
fn heir_of_a_lost_source() -> (Cluster, u32) {
    let mut cluster = Cluster::new(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.arrives = |header| (header.source(), header.target()) != (NodeId(3), NodeId(1));
    cluster.order_move_by(pid, "3 mode=stop-and-copy");
    cluster.until(
        |cluster| cluster.pass(1_000_000),
        |cluster| cluster.nodes[2].bodies.contains_key(&pid),
    );
    cluster.reboot(1);
    let boot = cluster.nodes[1].boot;
    cluster.until(
        |cluster| cluster.pass(1_000_000),
        |cluster| {
            let peer = cluster.nodes[0].net.peer(NodeId(2));
            peer.is_some_and(|peer| peer.boot == boot)
        },
    );
    (cluster, pid)
}

#[test]
fn a_process_whose_source_dies_goes_on_at_the_target_that_has_its_image() {
    let (mut cluster, pid) = heir_of_a_lost_source();
    assert!(cluster.alive(0, pid), "its target has not been heard yet");
    cluster.arrives = |_| true;
    for _ in 0..3 {
        cluster.settle();
    }
    let gate = cluster.nodes[0].homes[&pid].record.gate();
    assert_eq!(gate.owner(), NodeId(3));
    assert!(cluster.alive(0, pid) && cluster.nodes[0].bereft.is_empty());
    cluster.move_to(pid, 2);
}

#[test]
fn it_is_lost_and_dropped_if_its_target_is_not_heard() {
    let (mut cluster, pid) = heir_of_a_lost_source();
    for _ in 0..5 {
        cluster.settle();
    }
    assert!(!cluster.alive(0, pid) && cluster.nodes[0].bereft.is_empty());
    cluster.arrives = |_| true;
    for _ in 0..3 {
        cluster.settle();
    }
    assert!(!cluster.nodes[2].bodies.contains_key(&pid));
}

#[test]
fn one_that_nobody_was_to_get_is_lost_at_once() {
    let mut cluster = Cluster::new(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    cluster.reboot(1);
    cluster.settle();
    assert!(!cluster.alive(0, pid) && cluster.nodes[0].bereft.is_empty());
}

fn is_page(header: &Header) -> bool {
    header.kind() == Kind::Data && header.payload_kind() == PayloadKind::Page
}

/// A guest of node 2 from node 1.
fn guest() -> (Cluster, u32) {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    (cluster, pid)
}

#[test]
fn a_kill_taken_in_the_drain_of_a_freeze_is_carried_out() {
    let (mut cluster, pid) = guest();
    // The question for the signal is on its way when the freeze begins.
    cluster.signal(pid, signal::SIGKILL);
    cluster.nodes[1].thread(pid).poked = true;
    cluster.run(1, pid, |_| Exit::Interrupt);
    assert!(matches!(
        cluster.nodes[1].thread(pid).forward,
        Forward::Sent { .. }
    ));
    cluster.start_move(pid, 1);
    cluster.nodes[1].body(pid).freezing = true;
    cluster.settle();
    cluster.live();
    assert!(!cluster.alive(0, pid), "it was killed");
    assert!(
        cluster
            .nodes
            .iter()
            .all(|node| !node.bodies.contains_key(&pid))
    );
    assert!(cluster.nodes[1].outgoing.is_empty());
}

#[test]
fn a_stop_taken_in_the_drain_of_a_freeze_does_not_bend_the_registers() {
    let (mut cluster, pid) = guest();
    cluster.run(1, pid, |turn| {
        turn.registers.rip = CODE + 0x40;
        Exit::Interrupt
    });
    cluster.signal(pid, signal::SIGSTOP);
    cluster.nodes[1].thread(pid).poked = true;
    cluster.run(1, pid, |_| Exit::Interrupt);
    cluster.start_move(pid, 1);
    cluster.nodes[1].body(pid).freezing = true;
    cluster.settle();
    let node = usize::from(cluster.nodes[1].bodies.contains_key(&pid));
    assert!(cluster.nodes[node].body(pid).stopped);
    assert_eq!(cluster.nodes[node].thread(pid).registers.rip, CODE + 0x40);
    assert!(matches!(
        cluster.nodes[0].homes[&pid].life,
        Life::Stopped { .. }
    ));
    cluster.signal(pid, signal::SIGCONT);
    cluster.settle();
    assert_eq!(cluster.nodes[0].homes[&pid].life, Life::Alive);
    let node = usize::from(cluster.nodes[1].bodies.contains_key(&pid));
    assert_eq!(cluster.nodes[node].thread(pid).run, Run::Ready);
}

#[test]
fn a_stopped_guest_stays_stopped_when_another_signal_comes() {
    let (mut cluster, pid) = guest();
    cluster.catch(1, pid, SIGUSR1);
    cluster.signal(pid, signal::SIGSTOP);
    cluster.live();
    assert!(cluster.nodes[1].body(pid).stopped);
    cluster.signal(pid, SIGUSR1);
    cluster.settle();
    assert!(cluster.nodes[1].body(pid).stopped);
    cluster.signal(pid, signal::SIGCONT);
    cluster.settle();
    assert_eq!(cluster.nodes[1].thread(pid).run, Run::Ready);
    assert_eq!(cluster.nodes[1].thread(pid).registers.rip, HANDLER);
}

#[test]
fn a_continue_that_overtakes_the_stop_leaves_a_process_that_runs() {
    let (mut cluster, pid) = guest();
    cluster.signal(pid, signal::SIGSTOP);
    // The body takes the stop; the continue comes home before its report.
    cluster.nodes[1].thread(pid).poked = true;
    cluster.run(1, pid, |_| Exit::Interrupt);
    cluster.pass(1);
    cluster.signal(pid, signal::SIGCONT);
    cluster.live();
    assert_eq!(cluster.nodes[0].homes[&pid].life, Life::Alive);
    assert_eq!(cluster.nodes[1].thread(pid).run, Run::Ready);
}

#[test]
fn a_blocked_signal_is_delivered_when_it_is_unblocked_after_a_move() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.catch(0, pid, SIGUSR1);
    let unblock = |cluster: &mut Cluster| {
        cluster.poke(1, pid, DATA, &bit(SIGUSR1).to_le_bytes());
        cluster.begin_call(1, pid, RT_SIGPROCMASK, &[1, DATA, 0, 8]);
        cluster.settle();
        assert_eq!(cluster.nodes[1].thread(pid).registers.rip, HANDLER);
    };
    // Pending and blocked before the move.
    cluster.nodes[0].thread(pid).signals.mask = bit(SIGUSR1);
    cluster.signal(pid, SIGUSR1);
    cluster.run(0, pid, |_| Exit::Interrupt);
    cluster.move_to(pid, 2);
    unblock(&mut cluster);
    // Blocked as far as home knows when it comes.
    cluster.nodes[1].thread(pid).signals.mask = bit(SIGUSR1);
    cluster.catch(1, pid, signal::SIGCHLD);
    cluster.signal(pid, signal::SIGCHLD);
    cluster.live();
    cluster.signal(pid, SIGUSR1);
    cluster.live();
    cluster.nodes[1].thread(pid).registers.rip = CODE;
    unblock(&mut cluster);
}

#[test]
fn a_signal_behind_a_call_that_was_wound_back_interrupts_it() {
    for (into, error) in [(0, -4), (8, -14)] {
        let mut cluster = Cluster::new(2);
        let pid = cluster.fork(0);
        cluster.catch(0, pid, SIGUSR1);
        cluster.poke(
            0,
            pid,
            DATA,
            &[60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        cluster.begin_call(0, pid, NANOSLEEP, &[DATA, into]);
        cluster.start_move(pid, 2);
        for _ in 0..200 {
            cluster.pass(10_000);
            if cluster.nodes[0].homes[&pid].record.gate().owner() == NodeId(2) {
                break;
            }
        }
        cluster.signal(pid, SIGUSR1);
        cluster.live();
        let thread = cluster.nodes[1].thread(pid);
        assert_eq!(thread.registers.rip, HANDLER);
        assert_eq!(thread.restart, Restart::default());
        // What the handler returns to is behind the call, with EINTR, or EFAULT where the rest cannot be written.
        let frame = thread.registers.rdx + 40;
        let mut context = [0; 18 * 8];
        cluster.nodes[1]
            .with_space(pid, |space, pages| space.read(frame, &mut context, pages))
            .expect("the frame");
        let word = |at: usize| u64::from_le_bytes(context[at * 8..][..8].try_into().expect("8"));
        assert_eq!((word(16), word(13) as i64), (CODE + 2, error));
    }
}

#[test]
fn a_signal_during_a_wait_for_descriptors_leaves_what_is_left_of_its_time() {
    let (select, pselect6, ppoll) = (23, 270, 271);
    let minute = [60u64, 0].map(u64::to_le_bytes).concat();
    for (number, words, unit) in [
        (select, &[0, 0, 0, 0, DATA][..], 1_000_000),
        (pselect6, &[0, 0, 0, 0, DATA, 0], 1_000_000_000),
        (ppoll, &[0, 0, DATA, 0, 0], 1_000_000_000),
    ] {
        let mut cluster = Cluster::new(2);
        let pid = cluster.fork(0);
        cluster.catch(0, pid, SIGUSR1);
        cluster.poke(0, pid, DATA, &minute);
        cluster.begin_call(0, pid, number, words);
        cluster.pass(1_500_000_000);
        cluster.signal(pid, SIGUSR1);
        cluster.live();
        assert_eq!(cluster.nodes[0].thread(pid).registers.rip, HANDLER);
        let mut left = [0; 16];
        cluster.nodes[0]
            .with_space(pid, |space, pages| space.read(DATA, &mut left, pages))
            .expect("the time");
        let (words, _) = left.as_chunks::<8>();
        let [seconds, parts] = [words[0], words[1]].map(u64::from_le_bytes);
        assert!(seconds < 59 && seconds > 50, "{number}: {seconds}");
        assert!(parts < unit, "{number}: {parts}");
    }
}

/// A read of an empty pipe that begins while something comes in between. Where the handler returns to, and with what.
fn read_while(
    cluster: &mut Cluster,
    node: usize,
    pid: u32,
    meanwhile: impl FnOnce(&mut Cluster),
) -> (u64, i64) {
    assert_eq!(cluster.call(node, pid, 22, &[DATA]), 0);
    cluster.catch(node, pid, SIGUSR1);
    let reader = u64::from(cluster.byte(node, pid, DATA));
    let mut turn = loop {
        let turn = cluster.nodes[node].begin(0).expect("it may run");
        if turn.pid == pid {
            break turn;
        }
        let now = cluster.now;
        cluster.nodes[node].end_turn(turn, Exit::Interrupt, super::TURN_NS, now);
    };
    meanwhile(cluster);
    let r = &mut turn.registers;
    [r.rax, r.rdi, r.rsi, r.rdx, r.rip] = [READ, reader, DATA, 1, CODE + 2];
    let now = cluster.now;
    cluster.nodes[node].end_turn(turn, Exit::Syscall, super::TURN_NS, now);
    cluster.live();
    cluster.live();
    let at = (0..2).find(|node| cluster.nodes[*node].bodies.contains_key(&pid));
    let node = &mut cluster.nodes[at.expect("it is somewhere")];
    let registers = node.thread(pid).registers;
    assert_eq!(registers.rip, HANDLER);
    let mut context = [0; 18 * 8];
    node.with_space(pid, |space, pages| {
        space.read(registers.rdx + 40, &mut context, pages)
    })
    .expect("the frame");
    let word = |at: usize| u64::from_le_bytes(context[at * 8..][..8].try_into().expect("8"));
    (word(16), word(13) as i64)
}

/// Acted on before the call, it would not end the wait: `sendall` of a program whose handler only notes the signal would
/// wait for ever.
#[test]
fn a_signal_that_comes_when_a_call_begins_ends_its_wait() {
    let ended = (CODE + 2, -4);
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    let at_home = read_while(&mut cluster, 0, pid, |cluster| {
        cluster.nodes[0].signal(pid, SIGUSR1);
    });
    assert_eq!(at_home, ended, "at home");
    let (mut cluster, pid) = guest();
    let away = read_while(&mut cluster, 1, pid, |cluster| {
        cluster.signal(pid, SIGUSR1);
        cluster.pass(1_000_000);
    });
    assert_eq!(away, ended, "away");
    // The call has begun when the process is frozen, and the signal comes while it is on its way.
    for (source, target) in [(0, 2), (1, 1)] {
        let (mut cluster, pid) = guest();
        if source == 0 {
            cluster.move_to(pid, 1);
        }
        let moved = read_while(&mut cluster, source, pid, |cluster| {
            cluster.start_move(pid, target);
            for _ in 0..200 {
                cluster.pass(10_000);
                if cluster.nodes[source].body(pid).freezing {
                    break;
                }
            }
            assert!(cluster.nodes[source].body(pid).freezing);
            cluster.signal(pid, SIGUSR1);
        });
        assert_eq!(moved, ended, "on the way to node {target}");
    }
}

#[test]
fn a_guest_that_ends_during_the_push_leaves_no_move_behind() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for page in 0..32 {
        cluster.poke(0, pid, DATA + page * 4096, &[1]);
    }
    cluster.start_move(pid, 2);
    for _ in 0..400 {
        cluster.now += 1_000;
        cluster.round();
        if cluster.nodes[1].bodies.contains_key(&pid) {
            break;
        }
    }
    cluster.begin_call(1, pid, 231, &[0]);
    cluster.settle();
    assert!(!cluster.alive(0, pid));
    for node in &cluster.nodes {
        assert!(node.incoming.is_empty() && node.outgoing.is_empty());
        assert!(!node.bodies.contains_key(&pid));
    }
}

#[test]
fn pending_signals_are_told_when_a_process_is_given_back() {
    let mut cluster = Cluster::new(3);
    let pid = cluster.fork(0);
    cluster.catch(0, pid, SIGUSR1);
    cluster.move_to(pid, 2);
    cluster.start_move(pid, 3);
    // Home decides for node 3, which falls silent before its first effect.
    for _ in 0..400 {
        cluster.now += 1_000;
        cluster.round();
        if cluster.nodes[2].bodies.contains_key(&pid) {
            break;
        }
    }
    cluster.cut.push(2);
    cluster.signal(pid, SIGUSR1);
    for _ in 0..5 {
        cluster.settle();
    }
    assert!(cluster.nodes[1].bodies.contains_key(&pid), "given back");
    assert_eq!(cluster.nodes[1].thread(pid).registers.rip, HANDLER);
}

/// wait4(2) of a parent that catches SIGCHLD without SA_RESTART, when its child ends.
fn waits_for_a_child(cluster: &mut Cluster, node: usize, parent: u32) {
    const WAIT4: u64 = 61;
    cluster.catch(node, parent, signal::SIGCHLD);
    let child = cluster.call(node, parent, 57, &[]) as u32;
    cluster.begin_call(node, parent, WAIT4, &[u64::MAX, 0, 0, 0]);
    cluster.settle();
    cluster.begin_call(node, child, 231, &[0]);
    cluster.settle();
    let thread = cluster.nodes[node].thread(parent);
    assert_eq!(thread.registers.rip, HANDLER);
    let frame = thread.registers.rdx + 40;
    let mut context = [0; 14 * 8];
    cluster.nodes[node]
        .with_space(parent, |space, pages| {
            space.read(frame, &mut context, pages)
        })
        .expect("the frame");
    let rax = u64::from_le_bytes(context[13 * 8..].try_into().expect("8"));
    assert_eq!(rax, u64::from(child), "the wait ends before the handler");
}

#[test]
fn a_call_that_can_end_does_before_its_signal_interrupts_it() {
    let mut cluster = Cluster::new(2);
    let parent = cluster.fork(0);
    waits_for_a_child(&mut cluster, 0, parent);
    let parent = cluster.fork(0);
    cluster.move_to(parent, 2);
    waits_for_a_child(&mut cluster, 1, parent);
}

#[test]
fn a_parent_away_that_ignores_its_children_finds_none() {
    const WAIT4: u64 = 61;
    const RT_SIGACTION: u64 = 13;
    let mut cluster = Cluster::new(2);
    let parent = cluster.fork(0);
    cluster.move_to(parent, 2);
    let mut ignore = [0; 32];
    ignore[0] = 1;
    cluster.poke(1, parent, DATA, &ignore);
    let ignored = cluster.call(1, parent, RT_SIGACTION, &[17, DATA, 0, 8]);
    assert_eq!(ignored, 0);
    let child = cluster.call(1, parent, 57, &[]) as u32;
    cluster.begin_call(1, parent, WAIT4, &[u64::MAX, 0, 0, 0]);
    cluster.settle();
    cluster.begin_call(1, child, 231, &[0]);
    cluster.settle();
    let thread = cluster.nodes[1].thread(parent);
    assert_eq!(thread.registers.rax as i64, -10, "no child, ECHILD");
    assert!(!cluster.nodes[0].homes.contains_key(&child));
}

#[test]
fn an_end_that_a_parent_away_waits_for_is_no_loss_of_a_copy() {
    const WAIT4: u64 = 61;
    let mut cluster = Cluster::new(3);
    let parent = cluster.fork(0);
    cluster.move_to(parent, 2);
    for node in [1, 2] {
        let child = cluster.call(1, parent, 57, &[]) as u32;
        cluster.move_to(child, node as u16 + 1);
        cluster.begin_call(1, parent, WAIT4, &[u64::MAX, 0, 0, 0]);
        cluster.settle();
        cluster.begin_call(node, child, 231, &[0]);
        cluster.settle();
        let waited = cluster.nodes[1].thread(parent).registers.rax;
        assert_eq!(waited, u64::from(child));
        assert!(!cluster.nodes[node].bodies.contains_key(&child));
        let story = cluster.nodes[node].events();
        assert!(!story.contains("dropped"), "{story}");
    }
}

#[test]
fn an_unknown_number_above_the_kernel_s_own_is_enosys() {
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    for number in [u64::from(crate::dispatch::PSEUDO), 0x7fff_ffff, u64::MAX] {
        assert_eq!(cluster.call(0, pid, number, &[]), -38);
    }
    assert_eq!(cluster.call(0, pid, GETPID, &[]), i64::from(pid));
    assert_eq!(HANDLER_DEFAULT, 0);
}

#[test]
fn an_exec_that_fails_is_forgotten() {
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    cluster.poke(0, pid, DATA, b"/bad\0");
    cluster.poke(0, pid, DATA + 64, b"/tool\0");
    assert_eq!(cluster.call(0, pid, 59, &[DATA, 0, 0]), -8);
    cluster.begin_call(0, pid, 59, &[DATA + 64, 0, 0]);
    cluster.settle();
    assert_eq!(cluster.nodes[0].thread(pid).registers.rip, CODE);
    assert_eq!(cluster.nodes[0].homes[&pid].program, b"/tool");
}

#[test]
fn interrupted_sleeps_leave_no_alarm() {
    let mut cluster = Cluster::new(1);
    let pid = cluster.fork(0);
    cluster.catch(0, pid, SIGUSR1);
    for seconds in 1..50_u8 {
        cluster.poke(
            0,
            pid,
            DATA,
            &[seconds, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        cluster.begin_call(0, pid, NANOSLEEP, &[DATA, 0]);
        cluster.signal(pid, SIGUSR1);
        cluster.nodes[0].thread(pid).signals.mask = 0;
    }
    assert!(cluster.nodes[0].alarms.len() <= 1);
}

#[test]
fn a_wish_for_a_parent_in_vfork_ends_and_keeps_no_timer_in_the_past() {
    let mut cluster = Cluster::new(2);
    let parent = cluster.fork(0);
    cluster.begin_call(0, parent, 58, &[]);
    cluster.start_move(parent, 2);
    for _ in 0..70 {
        cluster.settle();
    }
    assert!(cluster.nodes[0].body(parent).wish.is_none());
    assert!(
        cluster.nodes[0]
            .poll_timeout()
            .is_none_or(|at| at > cluster.now)
    );
    let request = cluster.nodes[0].homes[&parent].request.as_ref();
    assert!(request.is_none_or(|request| request.result.is_some()));
}

#[test]
fn the_push_ends_when_the_last_page_is_here_and_not_before() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for page in 0..32 {
        cluster.poke(0, pid, DATA + page * 4096, &[1]);
    }
    cluster.start_move(pid, 2);
    for _ in 0..400 {
        cluster.now += 1_000;
        cluster.round();
        if cluster.nodes[1].bodies.contains_key(&pid) {
            break;
        }
    }
    // The end overtakes a page that was asked for.
    let epoch = cluster.nodes[1].body(pid).epoch;
    let pid_on_wire = Pid(pid);
    cluster.say(
        1,
        1,
        Message::PushEnd {
            pid: pid_on_wire,
            epoch,
        },
    );
    assert!(cluster.nodes[1].incoming.contains_key(&pid));
    cluster.settle();
    let space = cluster.nodes[1].space_of(pid).expect("memory");
    assert_eq!(space.absent_count(), 0);
    assert!(cluster.nodes[1].incoming.is_empty());
    assert_eq!(cluster.call(1, pid, READ, &[99, DATA, 1]), -9);
}

/// On a link that loses the image and nothing else: every page that travels with it waits for it.
#[test]
fn pages_that_overtake_the_image_are_kept() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for page in (0..32).map(|number| DATA + number * 4096) {
        cluster.poke(0, pid, page, &[1]);
        let space = cluster.nodes[0].space_of(pid).expect("memory");
        touch(&space.table().handle(), page, Access::WRITE);
    }
    let registers = &mut cluster.nodes[0].thread(pid).registers;
    (registers.rip, registers.rsp) = (DATA + 30 * 4096, DATA + 31 * 4096 + 64);
    cluster.start_move(pid, 2);
    while !cluster.nodes[1].incoming.contains_key(&pid) {
        cluster.now += 1_000;
        cluster.round();
    }
    cluster.arrives = is_page;
    for _ in 0..10 {
        cluster.pass(1_000);
    }
    cluster.arrives = |_| true;
    assert!(cluster.nodes[1].incoming[&pid].waits_for_image());
    cluster.settle();
    let space = cluster.nodes[1].space_of(pid).expect("memory");
    assert_eq!(space.absent_count(), 0);
}

/// All threads but one have stood still for a while when that one ends: the final image is taken then.
#[test]
fn the_end_of_a_thread_is_enough_to_stand_still() {
    const EXIT: u64 = 60;
    const CLONE: u64 = 56;
    const THREAD: u64 = 0x1_0f00;
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    let tid = cluster.call(1, pid, CLONE, &[THREAD]) as u32;
    cluster.run(1, tid, |turn| {
        turn.registers.rax = EXIT;
        turn.registers.rip = CODE + 2;
        Exit::Syscall
    });
    cluster.nodes[1].body(pid).freezing = true;
    cluster.settle();
    assert!(!cluster.nodes[1].threads.contains_key(&tid), "it has ended");
    // There is no move here that would want the image.
    assert!(!cluster.nodes[1].body(pid).freezing, "nobody looked again");
}

#[test]
fn who_waits_for_its_own_move_goes_on_where_it_is_and_not_before() {
    let (mut cluster, guest) = guest();
    let held = |cluster: &Cluster, node: usize| cluster.nodes[node].bodies[&guest].held;
    // To where it is.
    let epoch = cluster.nodes[1].bodies[&guest].epoch;
    cluster.nodes[1].wish(
        guest,
        epoch,
        (1, NodeId(2), MoveHow::default()),
        Hold::Waits(guest),
    );
    assert!(!held(&cluster, 1));
    // A second wish is refused while the first is carried out, and changes nothing for that.
    cluster.nodes[1].wish(
        guest,
        epoch,
        (2, NodeId(1), MoveHow::default()),
        Hold::Waits(guest),
    );
    assert!(held(&cluster, 1));
    cluster.nodes[1].wish(
        guest,
        epoch,
        (3, NodeId(1), MoveHow::default()),
        Hold::Waits(guest),
    );
    assert!(held(&cluster, 1));
    cluster.settle();
    assert!(!held(&cluster, 0));
    assert_eq!(cluster.call(0, guest, 39, &[]), i64::from(guest));
}

#[test]
fn who_has_to_come_home_comes_though_a_move_fails_on_the_way() {
    const READ_WRITE_CREATE: u64 = 0o102;
    const OPENAT: u64 = 257;
    const FTRUNCATE: u64 = 77;
    const MMAP: u64 = 9;
    let (mut cluster, pid) = guest();
    cluster.poke(1, pid, DATA, b"/f\0");
    let open = [-100_i64 as u64, DATA, READ_WRITE_CREATE, 0o600];
    let fd = cluster.call(1, pid, OPENAT, &open) as u64;
    assert_eq!(cluster.call(1, pid, FTRUNCATE, &[fd, 4096]), 0);
    // Shared, and it may be written to: the pages are at home.
    cluster.begin_call(1, pid, MMAP, &[0, 4096, 3, 1, fd, 0]);
    let asked = |cluster: &Cluster| {
        let request = cluster.nodes[0].homes[&pid].request.as_ref()?;
        request.result.is_none().then_some(request.id)
    };
    for error in [MoveError::TimedOut, MoveError::NodeDead, MoveError::Busy] {
        for _ in 0..100 {
            if asked(&cluster).is_some() {
                break;
            }
            cluster.round();
        }
        let request = asked(&cluster).expect("it is sent for, again and again");
        let result = Err(error);
        cluster.say(
            0,
            2,
            Message::MoveResult {
                pid: Pid(pid),
                request,
                result,
            },
        );
    }
    cluster.settle();
    cluster.live();
    let thread = cluster.nodes[0].threads.get(&pid).expect("it is at home");
    let mapped = thread.registers.rax as i64;
    assert!(thread.call.is_none() && mapped > 0, "mmap gave {mapped}");
}

#[test]
fn a_source_is_not_done_while_a_page_is_under_way_on_the_other_lane() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for page in 0..30 {
        cluster.poke(0, pid, DATA + page * 0x1000, &[7; 64]);
    }
    cluster.arrives = |header| !(is_page(header) && header.lane() == Lane::Urgent);
    cluster.start_move(pid, 2);
    cluster.settle();
    assert!(cluster.nodes[1].bodies.contains_key(&pid), "it runs there");
    assert!(cluster.nodes[1].lacks_pages(pid), "without some pages");
    assert!(
        cluster.nodes[0].outgoing.contains_key(&pid),
        "who still has pages must not say that the move is over"
    );
    cluster.arrives = |_| true;
    cluster.settle();
    assert!(!cluster.nodes[1].lacks_pages(pid), "all are there");
    assert!(cluster.nodes[0].outgoing.is_empty() && cluster.nodes[1].incoming.is_empty());
}

#[test]
fn a_move_with_a_bound_of_bandwidth_waits_for_a_silent_target_without_waking_its_node() {
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for page in 0..30 {
        cluster.poke(0, pid, DATA + page * 0x1000, &[7; 64]);
    }
    cluster.order_move_by(pid, "2 mode=pre-copy bandwidth=1000000");
    while !cluster.nodes[1].incoming.contains_key(&pid) {
        cluster.pass(100_000);
    }
    cluster.pass(1_000_000);
    assert!(cluster.nodes[0].outgoing.contains_key(&pid), "it is copied");
    cluster.cut.push(1);
    let mut woken = 0;
    for _ in 0..500 {
        cluster.pass(1_000_000);
        let node = &cluster.nodes[0];
        let copies = node.outgoing.contains_key(&pid);
        woken += usize::from(
            copies
                && node
                    .hand_over_timeout()
                    .is_some_and(|due| due <= cluster.now),
        );
    }
    assert_eq!(woken, 0, "it would be looked at again and again");
}

#[test]
fn the_handler_of_a_fault_finds_what_the_processor_said() {
    const SIGSEGV: u32 = signal::SIGSEGV;
    let page = |write, execute, protection| Exit::PageFault {
        address: 0x10,
        write,
        execute,
        protection,
    };
    let general = Exit::Exception {
        vector: 13,
        code: 0x40a,
        address: 0,
    };
    let cases = [
        (page(true, false, false), [6, 14, 0x10]),
        (page(false, false, true), [5, 14, 0x10]),
        (page(false, true, false), [20, 14, 0x10]),
        (general, [0x40a, 13, 0]),
    ];
    for (exit, expected) in cases {
        let mut cluster = Cluster::new(1);
        let pid = cluster.fork(0);
        cluster.catch(0, pid, SIGSEGV);
        cluster.run(0, pid, |_| exit);
        let registers = cluster.nodes[0].thread(pid).registers;
        assert_eq!(registers.rip, HANDLER);
        let mut read = |at| {
            let mut bytes = [0; 8];
            cluster.nodes[0]
                .with_space(pid, |space, pages| space.read(at, &mut bytes, pages))
                .expect("the frame");
            u64::from_le_bytes(bytes)
        };
        let context = registers.rdx + 40;
        let said = [19, 20, 22].map(|word| read(context + 8 * word));
        assert_eq!(said, expected);
        // Nothing of it is in the record of the signal: errno and code, and no more.
        assert_eq!(read(registers.rsi + 8) >> 32, 0);
    }
}

#[test]
fn a_process_with_more_areas_than_an_offer_has_room_for_moves() {
    const MMAP: u64 = 9;
    let mut cluster = Cluster::new(2);
    let pid = cluster.fork(0);
    for area in 0..3000 {
        // Of different rights, so that none are joined.
        let (at, rights) = (0x10_0000_0000 + area * 0x1000, 1 + area % 2);
        let args = [at, 0x1000, rights, 0x32, u64::MAX, 0];
        assert_eq!(cluster.call(0, pid, MMAP, &args), at as i64);
    }
    cluster.poke(0, pid, 0x10_0000_1000, b"x");
    cluster.move_to(pid, 2);
    assert_eq!(cluster.byte(1, pid, 0x10_0000_1000), b'x');
    cluster.move_to(pid, 1);
}

#[test]
fn who_comes_back_before_it_is_known_that_all_of_him_had_left_is_waited_for() {
    let mut cluster = Cluster::new(3);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 3);
    cluster.order_move_as(pid, pid, "2");
    cluster.until(Cluster::round, |cluster| {
        let out = cluster.nodes[2].outgoing.get(&pid);
        out.is_some_and(|out| out.state_in_words().contains("pushing (true, true, true)"))
    });
    // Node 3 does not hear that node 2 has all of it.
    cluster.arrives = |header| (header.source(), header.target()) != (NodeId(2), NodeId(3));
    cluster.order_move_as(pid, pid, "1");
    cluster.until(
        |cluster| cluster.pass(1_000_000),
        |cluster| cluster.nodes[0].bodies.contains_key(&pid),
    );
    cluster.order_move_as(pid, pid, "3");
    for _ in 0..100 {
        cluster.pass(1_000_000);
    }
    assert!(cluster.nodes[2].incoming.is_empty(), "it is not known yet");
    cluster.arrives = |_| true;
    cluster.settle();
    assert!(cluster.nodes[2].bodies.contains_key(&pid), "it is there");
}
