//! `model`: explores the hand-over until a promise breaks, and takes its rules away one by one.
//!
//! Law: what broke is printed with the way there, and the status is 1; so it is when the lack of a
//! rule was not noticed.

use model::{Found, HUNTS, LONG, Mutant, Run, SHORT, Seen, capture, explore, random_run};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: model [--states N | --seconds S] [--threads T] | --mutants | --seeds N [--first-seed S]\n\
    Explores the runs that the tests explore, each to its end.\n\
    --states N  and then longer ones, until there were N different states (whole runs only)\n\
    --seconds S and then longer ones, until so much time has passed\n\
    --threads T on so many processors (1)\n\
    --mutants   takes each rule away instead, which must be noticed\n\
    --seeds N   plays N long random runs instead";

struct Wanted {
    states: usize,
    seconds: u64,
    threads: usize,
    mutants: bool,
    seeds: u64,
    first_seed: u64,
}

fn wanted(mut words: impl Iterator<Item = String>) -> Option<Wanted> {
    let mut wanted = Wanted {
        states: 0,
        seconds: 0,
        threads: 1,
        mutants: false,
        seeds: 0,
        first_seed: 0,
    };
    while let Some(word) = words.next() {
        if word == "--mutants" {
            wanted.mutants = true;
            continue;
        }
        let number = words.next()?.parse::<u64>().ok()?;
        match word.as_str() {
            "--states" => wanted.states = usize::try_from(number).ok()?,
            "--seeds" => wanted.seeds = number,
            "--first-seed" => wanted.first_seed = number,
            "--seconds" => wanted.seconds = number,
            "--threads" => wanted.threads = usize::try_from(number).ok().filter(|n| *n > 0)?,
            _ => return None,
        }
    }
    (wanted.states == 0 || wanted.seconds == 0).then_some(wanted)
}

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let well = if wanted.mutants {
        mutants()
    } else if wanted.seeds > 0 {
        seeds(&wanted)
    } else {
        promises(&wanted)
    };
    match well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Explores run after run.
fn promises(wanted: &Wanted) -> bool {
    let begun = Instant::now();
    let (mut states, mut made, mut runs) = (0usize, 0usize, 0usize);
    let mut seen: Vec<Seen> = Vec::new();
    let mut changed = false;
    println!(
        "{:>11} {:>12} {:>5} {:>7}  run",
        "states", "made", "depth", "s"
    );
    for (index, run) in SHORT.iter().chain(&LONG).enumerate() {
        let limit = Duration::from_secs(wanted.seconds);
        let more = states < wanted.states || begun.elapsed() < limit;
        if index >= SHORT.len() && !more {
            break;
        }
        let left = limit
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero());
        let left = left.filter(|_| index >= SHORT.len());
        let found = explore(run.budget, wanted.threads, left);
        if !judged(run, &found) {
            return false;
        }
        if left.is_none() && found.states != run.states {
            println!("the run had {} states when it was written down", run.states);
            changed = true;
        }
        states += found.states;
        made += found.made;
        runs += 1;
        seen.extend(found.seen);
    }
    let unseen = Seen::ALL.into_iter().filter(|what| !seen.contains(what));
    let unseen: Vec<&str> = unseen.map(Seen::name).collect();
    println!(
        "model: {runs} runs, {states} different states ({made} made), {:.0} s: all promises hold",
        begun.elapsed().as_secs_f32()
    );
    if !unseen.is_empty() {
        println!("but it was never seen that {}", unseen.join(", that "));
    }
    unseen.is_empty() && !changed && states >= wanted.states
}

/// Prints what became of a run, and whether all promises held.
fn judged(run: &Run, found: &Found) -> bool {
    let (states, made, depth) = (found.states, found.made, found.depth);
    let seconds = found.time.as_secs_f32();
    println!(
        "{states:>11} {made:>12} {depth:>5} {seconds:>7.1}  {}",
        run.name
    );
    if let Some((promise, how, path)) = &found.broken {
        println!("broken: {}: {how}", promise.name());
        path.iter().for_each(|step| println!("  {step:?}"));
        return false;
    }
    true
}

/// Takes away rule after rule.
fn mutants() -> bool {
    let (mut caught, mut fences, mut survivors) = (0, 0, Vec::new());
    println!(
        "{:>8} {:>6}  what does not hold: what has noticed it",
        "states", "steps"
    );
    for mutant in Mutant::all() {
        let (states, found) = capture(mutant, &HUNTS);
        match (found, mutant.covered_by()) {
            (Some((promise, how, path)), _) => {
                let steps = path.len();
                println!(
                    "{states:>8} {steps:>6}  {mutant}: {}: {how}",
                    promise.name()
                );
                caught += 1;
            }
            (None, Some(cover)) => {
                println!(
                    "{states:>8} {:>6}  {mutant}: a second fence behind: {cover}",
                    "-"
                );
                fences += 1;
            }
            (None, None) => {
                println!("{states:>8} {:>6}  {mutant}: NOBODY HAS NOTICED", "-");
                survivors.push(mutant);
            }
        }
    }
    println!(
        "model: {caught} mutants caught, {} survived; {fences} rules are second fences",
        survivors.len()
    );
    survivors.is_empty()
}

/// Plays long random runs.
fn seeds(wanted: &Wanted) -> bool {
    let begun = Instant::now();
    let mut counts = [0u64; Seen::ALL.len()];
    let end = wanted.first_seed.saturating_add(wanted.seeds);
    for seed in wanted.first_seed..end {
        let (world, way) = random_run(seed, Mutant::None);
        if let Some((promise, how)) = world.observer.violation {
            println!("seed {seed}: broken: {}: {how}", promise.name());
            way.iter().for_each(|step| println!("  {step:?}"));
            return false;
        }
        for (count, what) in counts.iter_mut().zip(Seen::ALL) {
            *count += u64::from(world.observer.seen.have(what));
        }
    }
    for (count, what) in counts.iter().zip(Seen::ALL) {
        println!("{count:>11} runs in which {}", what.name());
    }
    let (seeds, first) = (wanted.seeds, wanted.first_seed);
    println!(
        "model: {seeds} seeds from {first}, {:.0} s: all promises hold",
        begun.elapsed().as_secs_f32()
    );
    true
}
