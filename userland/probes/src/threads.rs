//! Threads: that they share memory and meet each other, wherever their process is.
//!
//! Law: what threads agree on through memory alone (mutexes, condition variables, channels, joins)
//! holds across moves; the process moves as a whole, whichever of its threads asks for it.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock};
use std::thread::{scope, spawn};
use std::time::{Duration, Instant};

use rt::system::membarrier;

use crate::moves::{Moves, go};
use crate::{Doing, Verdict, ensure};

const THREADS: u64 = 4;

thread_local! {
    static OWN: Cell<u64> = const { Cell::new(0) };
}

/// A step of a sum that depends on all steps before it.
fn stir(sum: u64, word: u64) -> u64 {
    (sum ^ word)
        .wrapping_mul(0x0000_0100_0000_01b3)
        .rotate_left(9)
}

/// Threads add under one mutex while the process moves.
pub(crate) fn mutex(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let counter = Mutex::new(0_u64);
        let steps = 2_000;
        scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..steps {
                        *counter.lock().expect("nobody panics") += 1;
                    }
                });
            }
            moves.point()
        })?;
        let sum = *counter.lock().expect("nobody panics");
        ensure!(sum == THREADS * steps, "{THREADS} threads counted to {sum}");
    }
    Ok(())
}

/// One of two threads that announce themselves and look for the other makes a barrier for both: at least one
/// sees the other. The process stays registered for it.
pub(crate) fn barriers(moves: &mut Moves) -> Verdict {
    const EXPEDITED: i32 = 8;
    const REGISTER: i32 = 16;
    const EPERM: i32 = 1;
    ensure!(membarrier(EXPEDITED) == EPERM, "a barrier unregistered");
    ensure!(membarrier(REGISTER) == 0, "cannot register");
    while moves.more() {
        for round in 0..100 {
            let (one, other) = (AtomicBool::new(false), AtomicBool::new(false));
            let seen = scope(|scope| {
                let quick = scope.spawn(|| {
                    one.store(true, Ordering::Relaxed);
                    compiler_fence(Ordering::SeqCst);
                    other.load(Ordering::Relaxed)
                });
                other.store(true, Ordering::Relaxed);
                let done = membarrier(EXPEDITED);
                let sees = one.load(Ordering::Relaxed);
                (done, sees, quick.join().expect("it does not panic"))
            });
            ensure!(seen.0 == 0, "round {round}: error {}", seen.0);
            ensure!(seen.1 || seen.2, "round {round}: neither sees the other");
        }
        moves.point()?;
    }
    Ok(())
}

/// Two threads hand a turn to each other by a condition variable.
pub(crate) fn condition(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let turn = (Mutex::new(0_u64), Condvar::new());
        let rounds = 300;
        let play = |mine: u64| {
            for round in 0..rounds {
                let mut now = turn.0.lock().expect("nobody panics");
                while *now != 2 * round + mine {
                    now = turn.1.wait(now).expect("nobody panics");
                }
                *now += 1;
                turn.1.notify_all();
            }
        };
        scope(|scope| {
            scope.spawn(|| play(0));
            scope.spawn(|| play(1));
            moves.point()
        })?;
        let turns = *turn.0.lock().expect("nobody panics");
        ensure!(turns == 2 * rounds, "{turns} turns were taken");
    }
    Ok(())
}

/// Threads compute, each with memory of its own, while another moves the process.
pub(crate) fn compute(moves: &mut Moves) -> Verdict {
    let work = |seed: u64| {
        OWN.set(seed);
        let mut own: Vec<u64> = (0..4096).map(|word| stir(seed, word)).collect();
        for round in 0..40_u64 {
            for word in &mut own {
                *word = stir(*word, round ^ OWN.get());
            }
        }
        own.iter().fold(0, |sum, word| stir(sum, *word))
    };
    let wanted: Vec<u64> = (0..THREADS).map(work).collect();
    while moves.more() {
        let node = moves.take();
        let (found, moved) = scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|seed| scope.spawn(move || work(seed)))
                .collect();
            let mover = scope.spawn(|| go(node.as_deref()));
            let found: Vec<u64> = workers
                .into_iter()
                .map(|worker| worker.join().expect("nobody panics"))
                .collect();
            (found, mover.join().expect("nobody panics"))
        });
        moved?;
        ensure!(
            found == wanted,
            "threads computed {found:x?}, not {wanted:x?}"
        );
    }
    Ok(())
}

/// Threads come and go on every node; each has a number and a name of its own.
pub(crate) fn come_and_go(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let before = spawn(|| 1);
        moves.point()?;
        let mut sum = before.join().map_err(|_| "a thread panicked")?;
        let mut names = HashSet::new();
        for number in 2..=10 {
            let thread = std::thread::Builder::new()
                .name(format!("t{number}"))
                .spawn(|| std::thread::current().name().map(str::to_owned))
                .doing("a thread")?;
            names.insert(thread.join().map_err(|_| "a thread panicked")?);
            sum += number;
        }
        ensure!(sum == 55 && names.len() == 9, "threads gave {sum}");
        let alone = rt::process::threads();
        ensure!(
            alone.is_none_or(|alone| alone == 1),
            "{alone:?} threads are left"
        );
    }
    Ok(())
}

/// Messages go from thread to thread in order.
pub(crate) fn channels(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (first, last) = {
            let (first, mut end) = channel::<u64>();
            for _ in 0..THREADS {
                let (next, receiver) = channel();
                let source = std::mem::replace(&mut end, receiver);
                spawn(move || {
                    for word in source {
                        if next.send(word + 1).is_err() {
                            return;
                        }
                    }
                });
            }
            (first, end)
        };
        for word in 0..100 {
            first.send(word).doing("send")?;
        }
        moves.point()?;
        for word in 100..200 {
            first.send(word).doing("send")?;
        }
        drop(first);
        let found: Vec<u64> = last.iter().collect();
        let wanted: Vec<u64> = (THREADS..200 + THREADS).collect();
        ensure!(found == wanted, "the messages are {found:?}");
    }
    Ok(())
}

/// Waits with a limit end by the limit, not before it and not for ever.
pub(crate) fn timeouts(moves: &mut Moves) -> Verdict {
    let limit = Duration::from_millis(60);
    while moves.more() {
        let (keep, receiver) = channel::<()>();
        let (ended, waited) = scope(|scope| {
            let waiter = scope.spawn(move || {
                let begun = Instant::now();
                (receiver.recv_timeout(limit), begun.elapsed())
            });
            moves.point()?;
            waiter.join().map_err(|_| "a thread panicked".to_owned())
        })?;
        drop(keep);
        ensure!(
            ended == Err(RecvTimeoutError::Timeout) && waited >= limit,
            "a wait of {limit:?} ended after {waited:?} with {ended:?}"
        );
    }
    Ok(())
}

/// Threads wait in calls (a sleep, a read, a lock) while the process moves, and find what comes.
pub(crate) fn blocked(moves: &mut Moves) -> Verdict {
    use std::io::{Read, Write};
    while moves.more() {
        let (mut reader, mut writer) = std::io::pipe().doing("pipe")?;
        let gate = Arc::new(Barrier::new(3));
        let lock = RwLock::new(0);
        let (text, slept) = scope(|scope| {
            let write = lock.write().expect("nobody panics");
            let reads = scope.spawn(move || {
                let mut text = String::new();
                reader.read_to_string(&mut text).map(|_| text)
            });
            let sleeps = scope.spawn(|| {
                let begun = Instant::now();
                std::thread::sleep(Duration::from_millis(40));
                begun.elapsed()
            });
            let locks = scope.spawn(|| *lock.read().expect("nobody panics"));
            let meets = [gate.clone(), gate.clone()].map(|gate| {
                scope.spawn(move || {
                    gate.wait();
                })
            });
            moves.point()?;
            *{ write } = 7;
            gate.wait();
            writer.write_all(b"through the pipe").doing("write")?;
            drop(writer);
            for thread in meets {
                thread.join().map_err(|_| "a thread panicked")?;
            }
            let seen = locks.join().map_err(|_| "a thread panicked")?;
            ensure!(seen == 7, "a thread behind a lock saw {seen}");
            let text = reads.join().map_err(|_| "a thread panicked")?;
            let slept = sleeps.join().map_err(|_| "a thread panicked")?;
            Ok((text.doing("read")?, slept))
        })?;
        ensure!(text == "through the pipe", "read {text:?}");
        ensure!(slept >= Duration::from_millis(40), "slept {slept:?}");
    }
    Ok(())
}

/// A thread that spins sees what another writes, on one processor or several.
pub(crate) fn spinning(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (flag, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !flag.load(Ordering::Acquire) {
                        std::hint::spin_loop();
                    }
                    seen.fetch_add(1, Ordering::AcqRel);
                });
            }
            let moved = moves.point();
            flag.store(true, Ordering::Release);
            moved
        })?;
        let seen = seen.load(Ordering::Acquire);
        ensure!(seen == 2, "{seen} threads saw the flag");
    }
    Ok(())
}

/// Children are started while other threads work (posix_spawn, that is vfork in a thread).
pub(crate) fn spawns(moves: &mut Moves) -> Verdict {
    let own = std::env::current_exe().doing("own name")?;
    while moves.more() {
        let stop = AtomicBool::new(false);
        scope(|scope| {
            let worker = scope.spawn(|| {
                let mut rounds = 0_u64;
                while !stop.load(Ordering::Acquire) {
                    rounds += 1;
                    std::thread::yield_now();
                }
                rounds
            });
            let result = (|| {
                for _ in 0..3 {
                    let output = std::process::Command::new(&own)
                        .arg("--list")
                        .output()
                        .doing("start a child")?;
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    ensure!(
                        output.status.success() && text.contains("thread-spawns"),
                        "the child ended with {:?}",
                        output.status
                    );
                }
                moves.point()
            })();
            stop.store(true, Ordering::Release);
            let rounds = worker.join().map_err(|_| "a thread panicked")?;
            ensure!(rounds > 0, "the other thread stood still");
            result
        })?;
    }
    Ok(())
}
