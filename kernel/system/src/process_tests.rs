//! Tests of what processes are to each other: parents, groups, sessions, times.
//!
//! Law: as in `hostile_tests`, whose cluster this uses: a program is the calls that the test makes.

use crate::files::{ProcEntry, ProcView, ThreadFile};
use crate::home::{INIT, Life};
use crate::hostile_tests::Cluster;

const FORK: u64 = 57;
const KILL: u64 = 62;
const SETPGID: u64 = 109;
const SETSID: u64 = 112;
const EXIT_GROUP: u64 = 231;
const SETITIMER: u64 = 38;
const SETRLIMIT: u64 = 160;
const TIMER_CREATE: u64 = 222;
const TIMER_SETTIME: u64 = 223;
const TIMER_GETOVERRUN: u64 = 225;
const RT_SIGPROCMASK: u64 = 14;
const RT_SIGTIMEDWAIT: u64 = 128;
const CLONE: u64 = 56;
const WAIT4: u64 = 61;
const DATA: u64 = 0x60_0000;
const SIGHUP: u32 = 1;
const SIGSTOP: u64 = 19;

/// A stopped job on a node, and the shell that could continue it.
fn stopped_job(cluster: &mut Cluster, node: u16) -> (u32, u32) {
    let shell = cluster.fork(0);
    cluster.call(0, shell, SETSID, &[]);
    let job = cluster.call(0, shell, FORK, &[]) as u32;
    cluster.call(0, job, SETPGID, &[0, 0]);
    if node != 1 {
        cluster.move_to(job, node);
    }
    let at = usize::from(node) - 1;
    cluster.begin_call(at, job, KILL, &[job.into(), SIGSTOP]);
    cluster.settle();
    let life = cluster.nodes[0].homes[&job].life;
    assert!(matches!(life, Life::Stopped { .. }), "{life:?}");
    (shell, job)
}

#[test]
fn a_stopped_group_whose_shell_ends_is_hung_up() {
    for node in [1, 2] {
        let mut cluster = Cluster::new(2);
        let (shell, job) = stopped_job(&mut cluster, node);
        cluster.begin_call(0, shell, EXIT_GROUP, &[0]);
        cluster.settle();
        let life = cluster.nodes[0].homes.get(&job).map(|home| home.life);
        assert_eq!(life, Some(Life::Zombie(SIGHUP)), "on node {node}");
    }
}

#[test]
fn every_node_has_its_own_first_process_of_number_one() {
    const GETPPID: u64 = 110;
    let mut cluster = Cluster::new(2);
    for node in [0, 1] {
        let child = cluster.fork(node);
        assert_eq!(cluster.call(node, child, GETPPID, &[]), INIT.into());
        let there = 2 - node;
        cluster.move_to(child, there as u16);
        let grandchild = cluster.call(1 - node, child, FORK, &[]) as u32;
        // It asks its home, where the other node's first process is not seen.
        assert_eq!(cluster.call(1 - node, child, GETPPID, &[]), INIT.into());
        assert_eq!(cluster.call(1 - node, child, KILL, &[INIT.into(), 9]), 0);
        cluster.begin_call(1 - node, child, EXIT_GROUP, &[0]);
        cluster.settle();
        assert_eq!(cluster.nodes[node].homes[&grandchild].parent, INIT);
        assert!(cluster.nodes[0].homes[&INIT].lives() && cluster.nodes[1].homes[&INIT].lives());
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Makes a call, again where a timer has come before it: a program would go on there by itself.
fn call(cluster: &mut Cluster, node: usize, pid: u32, number: u64, args: &[u64]) -> i64 {
    loop {
        let result = cluster.call(node, pid, number, args);
        if result != number as i64 {
            return result;
        }
    }
}

/// Lets a process use its processor for some turns of 20 ms; how many it had before it ended.
fn burn(cluster: &mut Cluster, node: usize, pid: u32, turns: u32) -> u32 {
    for turn in 0..turns {
        for _ in 0..100 {
            let thread = cluster.nodes[node].threads.get(&pid);
            if thread.is_none_or(|thread| thread.call.is_none() && thread.queued.is_some()) {
                break;
            }
            cluster.pass(1_000_000);
        }
        if !cluster.nodes[node].threads.contains_key(&pid) {
            return turn;
        }
        cluster.run(node, pid, |_| machine::Exit::Interrupt);
    }
    cluster.settle();
    turns
}

#[test]
fn a_virtual_timer_fires_by_cpu_time_wherever_that_was_used() {
    for away in [false, true] {
        let mut cluster = Cluster::new(2);
        let child = cluster.fork(0);
        // In 90 ms, and never again.
        cluster.poke(0, child, DATA, &words(&[0, 0, 0, 90_000]));
        assert_eq!(cluster.call(0, child, SETITIMER, &[1, DATA, 0]), 0);
        assert_eq!(burn(&mut cluster, 0, child, 2), 2);
        let node = usize::from(away);
        if away {
            cluster.move_to(child, 2);
        }
        let last = burn(&mut cluster, node, child, 20);
        assert!((1..=4).contains(&last), "it ended after {last} turns more");
        let life = cluster.nodes[0].homes[&child].life;
        assert_eq!(life, Life::Zombie(26), "away: {away}");
    }
}

/// What the kernel does after a thread has left user mode is done for it, until the processor sleeps.
#[test]
fn time_in_the_kernel_is_that_of_the_thread_it_works_for() {
    let mut cluster = Cluster::new(1);
    let init = crate::home::INIT;
    let now = cluster.now;
    let mut turn = |at: u64| {
        let system = &mut cluster.nodes[0];
        let turn = system.begin(0).expect("init runs");
        assert_eq!(turn.tid, init);
        system.end_turn(turn, machine::Exit::Interrupt, 1_000, now + at);
        if at == 11_000 {
            system.idled(0, now + 13_000, 50_000);
        }
        let cpu = system.bodies[&init].cpu;
        (cpu.user_ns, cpu.system_ns)
    };
    let (user, system) = turn(1_000);
    assert_eq!(turn(11_000), (user + 1_000, system + 9_000 + 2_000));
    assert_eq!(turn(90_000), (user + 2_000, system + 11_000));
}

#[test]
fn a_timer_by_cpu_time_tells_once_and_counts_the_rest() {
    const SIGNAL: u64 = 34;
    for node in [1_u16, 2] {
        let mut cluster = Cluster::new(2);
        let child = cluster.fork(0);
        let at = usize::from(node) - 1;
        let event = [7, SIGNAL, 0, 0, 0, 0, 0, 0];
        cluster.poke(0, child, DATA, &words(&event));
        cluster.poke(0, child, DATA + 0x100, &words(&[1 << (SIGNAL - 1)]));
        cluster.poke(
            0,
            child,
            DATA + 0x200,
            &words(&[0, 30_000_000, 0, 30_000_000]),
        );
        cluster.poke(0, child, DATA + 0x300, &words(&[0, 0]));
        cluster.call(0, child, RT_SIGPROCMASK, &[0, DATA + 0x100, 0, 8]);
        assert_eq!(
            cluster.call(0, child, TIMER_CREATE, &[2, DATA, DATA + 0x400]),
            0
        );
        assert_eq!(
            cluster.call(0, child, TIMER_SETTIME, &[0, 0, DATA + 0x200, 0]),
            0
        );
        if node == 2 {
            cluster.move_to(child, 2);
        }
        burn(&mut cluster, at, child, 12);
        let wait = [DATA + 0x100, DATA + 0x500, DATA + 0x300, 8];
        assert_eq!(
            call(&mut cluster, at, child, RT_SIGTIMEDWAIT, &wait),
            SIGNAL as i64
        );
        let overrun = call(&mut cluster, at, child, TIMER_GETOVERRUN, &[0]);
        assert!(
            (5..=9).contains(&overrun),
            "{overrun} expirations were missed"
        );
    }
}

#[test]
fn the_limit_of_cpu_time_holds_across_a_move() {
    let mut cluster = Cluster::new(2);
    let child = cluster.fork(0);
    cluster.poke(0, child, DATA, &words(&[2, 2]));
    assert_eq!(cluster.call(0, child, SETRLIMIT, &[0, DATA]), 0);
    assert_eq!(burn(&mut cluster, 0, child, 50), 50);
    cluster.move_to(child, 2);
    let last = burn(&mut cluster, 1, child, 100);
    assert!(
        (40..=51).contains(&last),
        "it ended after {last} turns more"
    );
    assert_eq!(cluster.nodes[0].homes[&child].life, Life::Zombie(9));
}

#[test]
fn a_thread_has_a_name_of_its_own_wherever_it_is_named() {
    const PRCTL: u64 = 157;
    const PR_SET_NAME: u64 = 15;
    // CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM.
    const FLAGS: u64 = 0x5_0f00;
    let mut cluster = Cluster::new(2);
    let child = cluster.fork(0);
    let tid = cluster.call(0, child, CLONE, &[FLAGS, DATA + 0x1000]) as u32;
    cluster.poke(0, child, DATA, b"worker\0");
    assert_eq!(cluster.call(0, tid, PRCTL, &[PR_SET_NAME, DATA]), 0);
    let comm = |cluster: &mut Cluster, tid| {
        let entry = ProcEntry::Thread(child, tid, ThreadFile::Comm);
        let bytes = cluster.nodes[0].read(entry, child).expect("it is there");
        String::from_utf8(bytes).expect("text")
    };
    assert_eq!(comm(&mut cluster, tid), "worker\n");
    assert_eq!(comm(&mut cluster, child), "init\n");
    cluster.move_to(child, 2);
    let entry = ProcEntry::Thread(child, tid, ThreadFile::Comm);
    let node = &mut cluster.nodes[0];
    assert!(node.write(entry, INIT, b"stranger").is_err());
    assert_eq!(node.write(entry, child, b"renamed\n"), Ok(8));
    assert_eq!(comm(&mut cluster, tid), "renamed\n");
    cluster.settle();
    assert_eq!(cluster.nodes[1].threads[&tid].short_name(), b"renamed");
}

#[test]
fn processes_may_have_what_they_do_about_signals_in_common() {
    const SIGACTION: u64 = 13;
    const SIGCHLD: u64 = 17;
    // CLONE_VM and CLONE_SIGHAND.
    const VM: u64 = 0x100;
    const SIGHAND: u64 = 0x800;
    let mut cluster = Cluster::new(2);
    let parent = cluster.fork(0);
    assert_eq!(cluster.call(0, parent, CLONE, &[SIGHAND | SIGCHLD]), -22);
    let flags = VM | SIGHAND | SIGCHLD;
    let child = cluster.call(0, parent, CLONE, &[flags, DATA + 0x1000]) as u32;
    let alone = cluster.call(0, parent, FORK, &[]) as u32;
    let handler = 0x40_1000;
    cluster.poke(0, child, DATA, &words(&[handler, 0, 0, 0]));
    assert_eq!(cluster.call(0, child, SIGACTION, &[10, DATA, 0, 8]), 0);
    // Children that nobody waits for.
    cluster.poke(0, child, DATA, &words(&[1, 0, 0, 0]));
    assert_eq!(cluster.call(0, child, SIGACTION, &[SIGCHLD, DATA, 0, 8]), 0);
    for (pid, has, disowns) in [
        (parent, handler, true),
        (child, handler, true),
        (alone, 0, false),
    ] {
        assert_eq!(cluster.nodes[0].bodies[&pid].actions.0[9].handler, has);
        assert_eq!(cluster.nodes[0].homes[&pid].disowns, disowns);
    }
    // The end of one is no change for the other, which is free to move then.
    cluster.begin_call(0, child, EXIT_GROUP, &[0]);
    cluster.settle();
    cluster.move_to(parent, 2);
    assert_eq!(
        cluster.nodes[1].bodies[&parent].actions.0[9].handler,
        handler
    );
}

#[test]
fn what_is_asked_of_the_scheduler_is_kept_and_told_to_everybody() {
    const SETSCHEDULER: u64 = 144;
    const GETSCHEDULER: u64 = 145;
    const SETAFFINITY: u64 = 203;
    const GETAFFINITY: u64 = 204;
    const RR: u64 = 2;
    let mut cluster = Cluster::new(2);
    let (child, other) = (cluster.fork(0), cluster.fork(0));
    cluster.move_to(child, 2);
    for (pid, at) in [(child, 1), (other, 0)] {
        cluster.poke(at, pid, DATA, &words(&[7]));
        let mut call = |number, args: &[u64]| cluster.call(at, pid, number, args);
        let child = u64::from(child);
        assert_eq!(call(SETSCHEDULER, &[child, 0, DATA]), -22);
        assert_eq!(call(SETSCHEDULER, &[child, RR, DATA]), 0);
        assert_eq!(call(GETSCHEDULER, &[child]), RR as i64);
        assert_eq!(call(GETSCHEDULER, &[99]), -3);
        // There is one processor; to be on others only is impossible.
        cluster.poke(at, pid, DATA, &words(&[0b101]));
        let mut call = |number, args: &[u64]| cluster.call(at, pid, number, args);
        assert_eq!(call(SETAFFINITY, &[child, 8, DATA]), 0);
        assert_eq!(call(GETAFFINITY, &[child, 8, DATA + 8]), 8);
        cluster.poke(at, pid, DATA, &words(&[0b100]));
        let mut call = |number, args: &[u64]| cluster.call(at, pid, number, args);
        assert_eq!(call(SETAFFINITY, &[child, 8, DATA]), -22);
        assert_eq!(call(SETAFFINITY, &[99, 8, DATA]), -3);
    }
    cluster.settle();
    assert_eq!(cluster.nodes[1].threads[&child].processors, 0b101);
}

/// A child that ends with another signal than SIGCHLD is waited for only by who asks for such, and its parent
/// gets that signal.
#[test]
fn a_child_of_clone_tells_its_end_by_the_signal_it_was_made_with() {
    const WALL: u64 = 0x4000_0000;
    const WCLONE: u64 = 0x8000_0000;
    const NOHANG: u64 = 1;
    const USR1: u64 = 10;
    const ECHILD: i64 = -10;
    for away in [false, true] {
        let mut cluster = Cluster::new(2);
        let parent = cluster.fork(0);
        let node = usize::from(away);
        if away {
            cluster.move_to(parent, 2);
        }
        let wait = |cluster: &mut Cluster, child: u32, options: u64| {
            cluster.call(node, parent, WAIT4, &[child.into(), 0, options | NOHANG])
        };
        cluster.poke(node, parent, DATA, &words(&[1 << (USR1 - 1)]));
        assert_eq!(
            cluster.call(node, parent, RT_SIGPROCMASK, &[0, DATA, 0, 8]),
            0
        );
        let usual = cluster.call(node, parent, FORK, &[]) as u32;
        assert_eq!(wait(&mut cluster, usual, WCLONE), ECHILD);
        assert_eq!(wait(&mut cluster, usual, 0), 0);
        for signal in [0, USR1] {
            let child = cluster.call(node, parent, CLONE, &[signal]) as u32;
            cluster.begin_call(node, child, EXIT_GROUP, &[0]);
            cluster.settle();
            assert_eq!(wait(&mut cluster, child, 0), ECHILD, "by signal {signal}");
            assert_eq!(wait(&mut cluster, child, WCLONE), child.into());
            let set = cluster.nodes[0].homes[&parent].pending.set();
            assert_eq!(set, if signal == 0 { 0 } else { 1 << (signal - 1) });
            let child = cluster.call(node, parent, CLONE, &[signal]) as u32;
            cluster.begin_call(node, child, EXIT_GROUP, &[0]);
            cluster.settle();
            assert_eq!(wait(&mut cluster, child, WALL), child.into());
        }
    }
}

#[test]
fn a_signal_that_is_ignored_from_now_on_is_not_pending_any_more() {
    const RT_SIGACTION: u64 = 13;
    const RT_SIGPENDING: u64 = 127;
    const USR1: u64 = 10;
    const CHLD: u64 = 17;
    for away in [false, true] {
        let mut cluster = Cluster::new(2);
        let child = cluster.fork(0);
        let node = usize::from(away);
        if away {
            cluster.move_to(child, 2);
        }
        for (signal, handler, remains) in [(USR1, 1, 0), (CHLD, 0, 0), (USR1, 0, 1 << (USR1 - 1))] {
            let both = 1 << (USR1 - 1) | 1 << (CHLD - 1);
            cluster.poke(node, child, DATA, &words(&[both, handler, 0, 0, 0]));
            let mut call = |number, args: &[u64]| cluster.call(node, child, number, args);
            assert_eq!(call(RT_SIGPROCMASK, &[0, DATA, 0, 8]), 0);
            assert_eq!(call(KILL, &[child.into(), signal]), 0);
            assert_eq!(call(RT_SIGACTION, &[signal, DATA + 8, 0, 8]), 0);
            assert_eq!(call(RT_SIGPENDING, &[DATA + 0x100, 8]), 0);
            let set = cluster.nodes[0].homes[&child].pending.set();
            assert_eq!(
                set, remains,
                "signal {signal}, handler {handler}, away: {away}"
            );
        }
    }
}

#[test]
fn unshare_parts_descriptors_and_directories() {
    const CLONE_FILES: u64 = 0x400;
    const SIGCHLD: u64 = 17;
    const DUP: u64 = 32;
    const CLOSE: u64 = 3;
    const UNSHARE: u64 = 272;
    let mut cluster = Cluster::new(2);
    let parent = cluster.fork(0);
    cluster.move_to(parent, 2);
    let child = cluster.call(1, parent, CLONE, &[CLONE_FILES | SIGCHLD]) as u32;
    let fd = cluster.call(1, parent, DUP, &[0]) as u64;
    assert_eq!(cluster.call(1, child, CLOSE, &[fd]), 0);
    assert_eq!(cluster.call(1, child, UNSHARE, &[CLONE_FILES]), 0);
    let fd = cluster.call(1, parent, DUP, &[0]) as u64;
    assert_eq!(cluster.call(1, child, CLOSE, &[fd]), -9);
    assert_eq!(cluster.call(1, child, UNSHARE, &[0x2_0000]), -1);
    assert_eq!(cluster.call(1, child, UNSHARE, &[1]), -22);
}

#[test]
fn a_signal_for_everybody_is_for_those_who_may_be_sent_it() {
    const SETUID: u64 = 105;
    let mut cluster = Cluster::new(1);
    let (user, other) = (cluster.fork(0), cluster.fork(0));
    assert_eq!(cluster.call(0, user, SETUID, &[1000]), 0);
    assert_eq!(cluster.call(0, user, KILL, &[-1_i64 as u64, 15]), 0);
    assert!(cluster.nodes[0].homes[&other].lives());
    assert_eq!(cluster.call(0, user, KILL, &[other.into(), 15]), -1);
}

#[test]
fn any_thread_stands_for_its_process_wherever_that_is() {
    const FLAGS: u64 = 0x5_0f00;
    const GETPGID: u64 = 121;
    const GETSID: u64 = 124;
    const SIGTERM: u64 = 15;
    let mut cluster = Cluster::new(2);
    let child = cluster.fork(0);
    let tid = cluster.call(0, child, CLONE, &[FLAGS, DATA + 0x1000]) as u32;
    assert_ne!(tid, child);
    let other = cluster.fork(0);
    for node in [1, 2] {
        if node != 1 {
            cluster.move_to(child, node);
        }
        let ask = |cluster: &mut Cluster, number, who: u32| {
            cluster.call(0, other, number, &[who.into(), 0])
        };
        assert_eq!(ask(&mut cluster, KILL, tid), 0);
        for number in [GETPGID, GETSID] {
            let group = ask(&mut cluster, number, child);
            assert_eq!(ask(&mut cluster, number, tid), group);
        }
        assert_eq!(cluster.nodes[0].process_of(tid), Some(child));
    }
    cluster.call(0, other, KILL, &[tid.into(), SIGTERM]);
    cluster.settle();
    let life = cluster.nodes[0].homes[&child].life;
    assert_eq!(life, Life::Zombie(SIGTERM as u32));
}

/// A deadline is kept and told wherever its thread is; what is due at times of its own has no children.
#[test]
fn a_deadline_is_told_away_from_home_and_is_not_divided() {
    const SCHED_RR_GET_INTERVAL: u64 = 148;
    const SCHED_SETATTR: u64 = 314;
    const SCHED_GETATTR: u64 = 315;
    let mut cluster = Cluster::new(2);
    let child = cluster.fork(0);
    let deadline = [48 | 6 << 32, 0, 0, 10_000_000, 30_000_000, 0];
    let wrong = [48 | 6 << 32, 0, 0, 40_000_000, 30_000_000, 0];
    let policy = 8;
    let usual = [48, 0, 0, 0, 0, 0];
    for (node, attributes, result) in [(0, wrong, -22), (0, deadline, 0)] {
        cluster.poke(node, child, DATA, &words(&attributes));
        let args = [0, DATA, 0];
        assert_eq!(cluster.call(node, child, SCHED_SETATTR, &args), result);
    }
    cluster.move_to(child, 2);
    assert_eq!(cluster.call(1, child, SCHED_GETATTR, &[0, DATA, 48, 0]), 0);
    let told = cluster.peek_words(1, child, DATA, 6);
    assert_eq!(told[0], deadline[0]);
    assert_eq!(told[3..], [10_000_000, 30_000_000, 30_000_000]);
    // Who has room for bounds of its use is told that there are none (uclampset(1)).
    cluster.poke(1, child, DATA + 48, &words(&[99, 77]));
    assert_eq!(cluster.call(1, child, SCHED_GETATTR, &[0, DATA, 64, 0]), 0);
    let told = cluster.peek_words(1, child, DATA, 8);
    assert_eq!((told[0] as u32, told[6], told[7]), (56, 0, 77));
    let interval = |cluster: &mut Cluster| {
        let done = cluster.call(1, child, SCHED_RR_GET_INTERVAL, &[0, DATA]);
        (done, cluster.peek_words(1, child, DATA, 2)[1])
    };
    assert_eq!(interval(&mut cluster), (0, 0));
    assert_eq!(cluster.call(1, child, FORK, &[]), -11);
    // What is kept is not looked at, and the usual policy has turns and children.
    cluster.poke(
        1,
        child,
        DATA,
        &words(&[48 | 99 << 32, policy, 0, 20_000_000, 30_000_000, 0]),
    );
    assert_eq!(cluster.call(1, child, SCHED_SETATTR, &[0, DATA, 0]), 0);
    cluster.poke(1, child, DATA, &words(&usual));
    assert_eq!(cluster.call(1, child, SCHED_SETATTR, &[0, DATA, 0]), 0);
    assert!(interval(&mut cluster).1 > 0);
    assert!(cluster.call(1, child, FORK, &[]) > 0);
}

/// What can be refused for two reasons is refused for Linux' one, at home and away.
#[test]
fn refusals_are_those_of_linux_wherever_a_process_is() {
    const PRCTL: u64 = 157;
    const ADJTIMEX: u64 = 159;
    const SETTIMEOFDAY: u64 = 164;
    const REBOOT: u64 = 169;
    const SETUID: u64 = 105;
    const SETGROUPS: u64 = 116;
    const GETGROUPS: u64 = 115;
    const GET_ROBUST_LIST: u64 = 274;
    const CLONE3: u64 = 435;
    const EPERM: i64 = -1;
    const EINVAL: i64 = -22;
    for away in [false, true] {
        let mut cluster = Cluster::new(2);
        let child = cluster.fork(0);
        let other = cluster.fork(0);
        let node = usize::from(away);
        if away {
            cluster.move_to(child, 2);
        }
        let magic = [0xfee1_dead, 672_274_793];
        let mut ask = |number: u64, memory: &[u64], args: &[u64]| {
            cluster.poke(node, child, DATA, &words(memory));
            cluster.call(node, child, number, args)
        };
        // The second has a million microseconds.
        assert_eq!(ask(SETTIMEOFDAY, &[5, 1_000_000], &[DATA, 0]), EINVAL);
        assert_eq!(ask(SETTIMEOFDAY, &[5, 999_999], &[DATA, 0]), EPERM);
        assert_eq!(ask(SETTIMEOFDAY, &[], &[0, 8]), -14);
        let tick = |us: u64| {
            let mut timex = [0; 26];
            (timex[0], timex[11]) = (0x4000, us);
            timex
        };
        assert_eq!(ask(ADJTIMEX, &tick(8_999), &[DATA]), EINVAL);
        assert_eq!(ask(ADJTIMEX, &tick(9_000), &[DATA]), EPERM);
        // Speculation: a kind that there is, one that there is not, and a change.
        assert_eq!(ask(PRCTL, &[], &[52, 0, 0, 0, 0]), 0);
        assert_eq!(ask(PRCTL, &[], &[52, 9, 0, 0, 0]), -19);
        assert_eq!(ask(PRCTL, &[], &[53, 0, 4, 0, 0]), -6);
        // A sibling with a signal of its own; where a cgroup goes does not matter.
        let clone = |flags: u64, cgroup: u64| [flags, 0, 0, 0, 17, 0, 0, 0, 0, 0, cgroup];
        assert_eq!(ask(CLONE3, &clone(0x8000, 0), &[DATA, 88]), EINVAL);
        assert!(ask(CLONE3, &clone(0, 5), &[DATA, 88]) > 0);
        // Groups are told sorted.
        assert_eq!(ask(SETGROUPS, &[9 | 3 << 32], &[2, DATA]), 0);
        assert_eq!(ask(GETGROUPS, &[0], &[2, DATA]), 2);
        assert_eq!(ask(REBOOT, &[], &[0, magic[1], 0]), EINVAL);
        assert_eq!(ask(REBOOT, &[], &[magic[0], magic[1], 77]), EINVAL);
        assert_eq!(ask(REBOOT, &[], &[magic[0], magic[1], 0]), 0);
        let list = [other.into(), DATA, DATA + 8];
        assert_eq!(cluster.peek_words(node, child, DATA, 1)[0], 3 | 9 << 32);
        assert_eq!(cluster.call(node, child, SETUID, &[5]), 0);
        assert_eq!(cluster.call(node, child, REBOOT, &[0, 0, 0]), EPERM);
        assert_eq!(cluster.call(node, child, GET_ROBUST_LIST, &list), EPERM);
    }
}

/// What a call looks at first, and what it does not mind.
#[test]
fn children_stacks_and_locks_are_refused_as_on_linux() {
    const FLOCK: u64 = 73;
    const SIGALTSTACK: u64 = 131;
    const CLONE3: u64 = 435;
    const EFAULT: i64 = -14;
    const EINVAL: i64 = -22;
    const PARENT_SETTID: u64 = 0x10_0000;
    let nowhere = u64::MAX;
    for away in [false, true] {
        let mut cluster = Cluster::new(2);
        let child = cluster.fork(0);
        let node = usize::from(away);
        if away {
            cluster.move_to(child, 2);
        }
        let mut ask = |number: u64, memory: &[u64], args: &[u64]| {
            cluster.poke(node, child, DATA, &words(memory));
            cluster.call(node, child, number, args)
        };
        let with_stack = |stack, length| [0, 0, 0, 0, 17, stack, length, 0];
        let past_the_end = with_stack(0xffff_ffff_ff00_0000, 4096);
        assert_eq!(ask(CLONE3, &past_the_end, &[DATA, 64]), EINVAL);
        assert_eq!(ask(CLONE3, &with_stack(4096, nowhere), &[DATA, 64]), EINVAL);
        // A number that cannot be told is no reason to have no child.
        let untold = [PARENT_SETTID, 0, 0, nowhere, 17, 0, 0, 0];
        assert!(ask(CLONE3, &untold, &[DATA, 64]) > 0);
        // Both modes at once.
        assert_eq!(ask(SIGALTSTACK, &[DATA, 3, 0x1_0000], &[DATA, 0]), EINVAL);
        assert_eq!(ask(SIGALTSTACK, &[DATA, 1, 0x1_0000], &[DATA, 0]), 0);
        // Of two mistakes, that of the set.
        let before_now = [nowhere, 0];
        let both_wrong = [nowhere, 0, DATA, 8];
        assert_eq!(ask(RT_SIGTIMEDWAIT, &before_now, &both_wrong), EFAULT);
        // LOCK_MAND | LOCK_READ.
        assert_eq!(ask(FLOCK, &[], &[nowhere, 0x60]), 0);
    }
}

/// Who may look into another finds its robust futexes, and is brought to where it is.
#[test]
fn the_robust_list_of_another_is_found() {
    const SET_ROBUST_LIST: u64 = 273;
    const GET_ROBUST_LIST: u64 = 274;
    let mut cluster = Cluster::new(2);
    let child = cluster.fork(0);
    let other = cluster.fork(0);
    assert_eq!(cluster.call(0, other, SET_ROBUST_LIST, &[0x1234, 24]), 0);
    cluster.move_to(child, 2);
    let args = [other.into(), DATA, DATA + 8];
    cluster.begin_call(1, child, GET_ROBUST_LIST, &args);
    for _ in 0..100 {
        cluster.settle();
        cluster.pass(10_000_000);
        cluster.idle_round(0);
    }
    // It was wound back to be brought home, and calls again.
    assert_eq!(call(&mut cluster, 0, child, GET_ROBUST_LIST, &args), 0);
    assert_eq!(cluster.peek_words(0, child, DATA, 2), [0x1234, 24]);
    let nobody = [u64::from(other) + 1000, DATA, DATA];
    assert_eq!(cluster.call(0, child, GET_ROBUST_LIST, &nobody), -3);
}

#[test]
fn a_thread_can_be_held_as_a_file_and_sent_signals_by_it() {
    const FLAGS: u64 = 0x5_0f00;
    const PIDFD_OPEN: u64 = 434;
    const SEND: u64 = 424;
    const POLL: u64 = 7;
    const FCNTL: u64 = 72;
    const FSTAT: u64 = 5;
    const GETFL: u64 = 3;
    const EXIT: u64 = 60;
    const THREAD: u64 = 0o200;
    const USR1: u64 = 10;
    for away in [false, true] {
        let mut cluster = Cluster::new(2);
        let child = cluster.fork(0);
        let tid = cluster.call(0, child, CLONE, &[FLAGS, DATA + 0x1000]) as u32;
        let node = usize::from(away);
        if away {
            cluster.move_to(child, 2);
        }
        // Only the first thread stands for its process.
        assert_eq!(cluster.call(node, child, PIDFD_OPEN, &[tid.into(), 0]), -22);
        let open = |cluster: &mut Cluster, number: u32| {
            cluster.call(node, child, PIDFD_OPEN, &[number.into(), THREAD]) as u64
        };
        let (worker, first) = (open(&mut cluster, tid), open(&mut cluster, child));
        let number = |cluster: &mut Cluster, fd: u64| {
            assert_eq!(cluster.call(node, child, FSTAT, &[fd, DATA]), 0);
            cluster.peek_words(node, child, DATA + 8, 1)[0]
        };
        let again = open(&mut cluster, tid);
        let same = number(&mut cluster, worker);
        assert_eq!(number(&mut cluster, again), same);
        assert_ne!(number(&mut cluster, first), same);
        let flags = cluster.call(node, child, FCNTL, &[worker, GETFL]) as u64;
        assert_eq!(flags & THREAD, THREAD);
        let ended = |cluster: &mut Cluster, fd: u64| {
            cluster.poke(node, child, DATA, &words(&[fd | 1 << 32]));
            cluster.call(node, child, POLL, &[DATA, 1, 0])
        };
        let pending = |cluster: &Cluster, tid: u32| {
            let home = &cluster.nodes[0].homes[&child];
            (home.pending.set(), home.threads[&tid].pending.set())
        };
        // Blocked, so that they stay.
        cluster.poke(node, child, DATA, &words(&[1 << (USR1 - 1)]));
        for thread in [child, tid] {
            let block = [0, DATA, 0, 8];
            assert_eq!(cluster.call(node, thread, RT_SIGPROCMASK, &block), 0);
        }
        let send = |cluster: &mut Cluster, fd, flags| {
            cluster.call(node, child, SEND, &[fd, USR1, 0, flags])
        };
        assert_eq!(send(&mut cluster, worker, 3), -22);
        // Its process is not the first of a group.
        assert_eq!(send(&mut cluster, worker, 4), -3);
        assert_eq!(send(&mut cluster, worker, 0), 0);
        assert_eq!(pending(&cluster, tid), (0, 1 << (USR1 - 1)));
        assert_eq!(send(&mut cluster, worker, 2), 0);
        assert_eq!(pending(&cluster, child), (1 << (USR1 - 1), 0));
        assert_eq!(ended(&mut cluster, worker), 0);
        cluster.begin_call(node, tid, EXIT, &[0]);
        cluster.settle();
        assert_eq!(ended(&mut cluster, worker), 1);
        assert_eq!(send(&mut cluster, worker, 0), -3);
        assert_eq!(ended(&mut cluster, first), 0);
        assert_eq!(send(&mut cluster, first, 0), 0);
        assert_eq!(pending(&cluster, child).1, 1 << (USR1 - 1));
    }
}

impl Cluster {
    /// Words of the memory of a process.
    pub(super) fn peek_words(
        &mut self,
        node: usize,
        pid: u32,
        address: u64,
        count: usize,
    ) -> Vec<u64> {
        let mut bytes = vec![0; 8 * count];
        self.nodes[node]
            .with_space(pid, |space, pages| space.read(address, &mut bytes, pages))
            .expect("test memory");
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().map(|word| u64::from_le_bytes(*word)).collect()
    }
}
