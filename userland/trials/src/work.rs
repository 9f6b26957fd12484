//! A process that notices when it has been moved: `cargo xtask bench linux` moves it by CRIU.
//!
//! Law: it computes on its memory and holds no descriptors but 0, 1 and 2. It asks for the machine's name between
//! any two looks at the clock: where the name has changed, it stood still between the look before and the look behind.
//! All its memory must then be as it was.

use crate::link::clock_ns;
use crate::{Doing, Verdict, numbers};
use rt::system::uname;

/// Where it tells that it computes, and at last what it has found.
const READY: &str = "/work.pid";
const FOUND: &str = "/work.found";
const WORD: usize = size_of::<u64>();

/// What stands in a word of the memory.
fn word(at: usize) -> u64 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// `work MIB`
pub(crate) fn run(words: &[String]) -> Verdict {
    let ([mib], _) = numbers(words)?;
    let count = usize::try_from(mib << 20).doing("a size")? / WORD;
    let memory: Vec<u64> = (0..count).map(word).collect();
    let home = uname().doing("the machine's name")?.host;
    std::fs::write(READY, std::process::id().to_string()).doing(READY)?;
    let (mut before, mut at) = (clock_ns()?, 0);
    loop {
        let now = clock_ns()?;
        if uname().doing("the machine's name")?.host != home {
            break;
        }
        before = now;
        // Pages in no order, as a program with much of its memory in use.
        at = (at + 0x9e37_79b1) % count.max(1);
        if memory.get(at).is_some_and(|value| *value != word(at)) {
            return Err(format!("word {at} has changed"));
        }
    }
    let after = clock_ns()?;
    let wrong = (0..count).filter(|at| memory[*at] != word(*at)).count();
    let all = clock_ns()?;
    let found = format!("left_ns={before}\tarrived_ns={after}\tall_ns={all}\twrong={wrong}");
    std::fs::write(FOUND, found).doing(FOUND)
}
