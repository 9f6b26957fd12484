//! Trials: random programs of system calls from a seed, and how long calls take.
//!
//! Law: what is tried follows from the arguments alone, so that a failure is repeated by typing the
//! same line again. Each trial prints what it found; status 0 is nothing wrong, 1 something, 2 wrong use.
//!
//! `trials hostile SEED CHILDREN [NODE...]`: children that make random calls with hostile arguments; nothing
//! of them may be left. `trials images SEED COUNT`: malformed program images. `trials trace SEED FIRST
//! COUNT ...`: tame random programs whose trace of results must be the same everywhere. `trials calls LABEL
//! [NODE]`: how long calls take. `trials herd EVERY_MS NODES COMMAND...`: a command all of whose processes are
//! moved all the while. `trials soak NODES SEED SLOTS`: programs all the time, of a node in `cargo xtask soak`.
//! `trials link` and `trials work`: what a link gives Linux and what CRIU makes of a process, in `cargo xtask bench linux`.

mod calls;
mod herd;
mod hostile;
mod images;
mod left;
mod link;
mod random;
mod soak;
mod trace;
mod work;

use std::io::Write;

/// What a trial found: nothing wrong, or what.
type Verdict = Result<(), String>;

/// Says what was being done when an error came.
trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, String>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

const USAGE: &str = "usage: trials hostile SEED CHILDREN [NODE...]
       trials images SEED COUNT
       trials trace SEED FIRST COUNT [--full] [--self NODES] [--others NODES] [--expect FILE] [--show N]
       trials calls LABEL [NODE]
       trials herd EVERY_MS NODES COMMAND [ARGUMENT]...
       trials soak NODES SEED SLOTS
       trials link echo|ping COUNT|sink|pour ADDRESS MIB
       trials work MIB";

fn main() {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let verdict = match words.split_first() {
        Some((name, rest)) => match name.as_str() {
            "hostile" => hostile::run(rest),
            "images" => images::run(rest),
            "trace" => trace::run(rest),
            "calls" => calls::run(rest),
            "herd" => herd::run(rest),
            "soak" => soak::run(rest),
            "link" => link::run(rest),
            "work" => work::run(rest),
            "nothing" => Ok(()),
            "report" => trace::report(rest),
            _ => Err(USAGE.to_owned()),
        },
        // The first process of a Linux machine that is there for this only.
        None if std::process::id() == 1 => calls::run(&[]),
        None => Err(USAGE.to_owned()),
    };
    let _ = std::io::stdout().flush();
    if let Err(why) = verdict {
        eprintln!("trials: {why}");
        std::process::exit(if why == USAGE { 2 } else { 1 });
    }
}

/// The numbers that `words` begins with.
fn numbers<const N: usize>(words: &[String]) -> Result<([u64; N], &[String]), String> {
    let mut numbers = [0; N];
    for (at, number) in numbers.iter_mut().enumerate() {
        let word = words.get(at).ok_or(USAGE)?;
        *number = word.parse().doing(word)?;
    }
    Ok((numbers, &words[N..]))
}
