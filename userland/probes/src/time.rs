//! Time: it never runs backwards, and a sleep is never too short.
//!
//! Law: upper bounds are generous (somebody else may use the machine), lower bounds exact.

use std::time::{Duration, Instant, SystemTime};

use crate::moves::Moves;
use crate::{Doing, Verdict, ensure};

/// More than any move or any busy machine should add.
const GENEROUS: Duration = Duration::from_secs(10);

/// The clocks across moves.
pub(crate) fn clock(moves: &mut Moves) -> Verdict {
    let (begin, wall) = (Instant::now(), SystemTime::now());
    let mut last = begin;
    while moves.more() {
        for _ in 0..500 {
            let now = Instant::now();
            ensure!(now >= last, "the clock went back by {:?}", last - now);
            last = now;
        }
        moves.point()?;
        let now = Instant::now();
        ensure!(
            now >= last,
            "the clock went back by {:?} in a move",
            last - now
        );
        ensure!(
            now - last < GENEROUS,
            "the clock jumped by {:?} in a move",
            now - last
        );
        last = now;
    }
    let (passed, wall) = (
        begin.elapsed(),
        wall.elapsed().doing("the wall clock went back")?,
    );
    let difference = passed.abs_diff(wall);
    ensure!(
        difference < Duration::from_secs(1),
        "the clocks differ by {difference:?}"
    );
    Ok(())
}

/// A process is moved while it sleeps, by both of the calls for sleeping.
pub(crate) fn sleep(moves: &mut Moves) -> Verdict {
    const LONG: Duration = Duration::from_millis(200);
    while moves.more() {
        let begin = Instant::now();
        let left = moves.while_blocked(|| rt::process::nanosleep(LONG), || Ok(()))?;
        let passed = begin.elapsed();
        ensure!(
            left.is_zero(),
            "nanosleep was interrupted with {left:?} left"
        );
        ensure!(passed >= LONG, "nanosleep of {LONG:?} took {passed:?}");
        ensure!(
            passed < LONG + GENEROUS,
            "nanosleep of {LONG:?} took {passed:?}"
        );
        let begin = Instant::now();
        moves.while_blocked(|| std::thread::sleep(LONG), || Ok(()))?;
        let passed = begin.elapsed();
        ensure!(
            passed >= LONG,
            "clock_nanosleep of {LONG:?} took {passed:?}"
        );
        ensure!(
            passed < LONG + GENEROUS,
            "clock_nanosleep of {LONG:?} took {passed:?}"
        );
    }
    Ok(())
}
