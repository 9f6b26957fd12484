//! `bench-samples`: the raw samples of a benchmark, one line each, for `cargo xtask bench` to make figures of.
//!
//! Law: what is compared takes turns: in each round every size and mode has its turn, and beside each sample the raw link
//! was measured in the same moment. Nothing is left out but the rounds that warm up, and these are marked; what fails
//! ends the benchmark.
//!
//! Every line begins with a kind and has pairs `name=value` behind it, between tabs. The process that is measured is
//! the only one that runs: the others are stopped.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rt::process::{kill, start, wait_for};

use crate::bench::{Contents, subject};
use crate::migrate::MODES;
use crate::proc::{Link, migstat_lines, ping_sized, reason, send};
use crate::{Done, Failure, print};

const USAGE: Failure = Failure::Usage(
    "bench-samples migrate|link|forward|drain [--sizes N,N...] [--modes MODE,MODE...] [--text] [--repeat R] \
     [--warmup W]",
);
/// The other end of the link that is measured.
const NODE: &str = "2";
/// Round trips measured beside each sample.
const PINGS: u32 = 100;
/// How long a process may run before it is moved.
const RUN_UP: Duration = Duration::from_millis(30);
/// Calls of which the times are told together.
const CALLS: usize = 20;
/// How often that is done with nothing else on the link.
const IDLE_BATCHES: usize = 10;
/// Asks for the times of calls.
const CALL: u8 = b'c';
/// Threads that call at the same time.
const THREADS: [usize; 4] = [1, 2, 4, 8];
/// How long they do.
const CALLING: Duration = Duration::from_millis(300);
/// What a small process has besides its memory that has to come along.
#[derive(Clone, Copy)]
struct Load {
    /// As the records have it; nothing for a process of nothing but memory.
    name: &'static str,
    /// Threads that compute, beside its first.
    threads: usize,
    /// Open files, each with a descriptor and an offset of its own.
    files: usize,
}

const PLAIN: Load = Load {
    name: "",
    threads: 0,
    files: 0,
};
/// Processes that are measured beside those of each size, of the least of these.
const LOADS: [Load; 2] = [
    Load {
        name: "8 threads",
        threads: 7,
        files: 0,
    },
    Load {
        name: "256 descriptors",
        threads: 0,
        files: 253,
    },
];
/// MiB that are pushed while calls are measured.
const PUSHED_MIB: usize = 128;
/// Processes that leave a node together.
const CROWD: usize = 8;

struct Plan {
    sizes: Vec<usize>,
    modes: Vec<&'static str>,
    contents: Contents,
    repeat: usize,
    warmup: usize,
}

impl Plan {
    fn parse(words: &[String], sizes: &[usize]) -> Result<Plan, Failure> {
        let mut plan = Plan {
            sizes: sizes.to_vec(),
            modes: MODES.to_vec(),
            contents: Contents::Noise,
            repeat: 10,
            warmup: 1,
        };
        let number = |word: Option<&String>| word.and_then(|word| word.parse::<usize>().ok());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--repeat" => {
                    plan.repeat = number(words.next()).filter(|n| *n > 0).ok_or(USAGE)?;
                }
                "--warmup" => plan.warmup = number(words.next()).ok_or(USAGE)?,
                "--sizes" => {
                    let sizes = words.next().ok_or(USAGE)?.split(',');
                    let parse = |size: &str| size.parse().ok().filter(|size| *size <= 4096);
                    plan.sizes = sizes.map(parse).collect::<Option<_>>().ok_or(USAGE)?;
                }
                "--text" => plan.contents = Contents::Text,
                "--modes" => {
                    let modes = words.next().ok_or(USAGE)?.split(',');
                    let find = |mode: &str| MODES.into_iter().find(|known| *known == mode);
                    plan.modes = modes.map(find).collect::<Option<_>>().ok_or_else(|| {
                        Failure::Problem(format!("modes are: {}", MODES.join(", ")))
                    })?;
                }
                _ => return Err(USAGE),
            }
        }
        Ok(plan)
    }

    /// The rounds with what each line says of them.
    fn rounds(&self) -> impl Iterator<Item = String> {
        let (warmup, all) = (self.warmup, self.warmup + self.repeat);
        (0..all).map(move |round| format!("round={round}\twarmup={}", u8::from(round < warmup)))
    }

    fn progress(&self, done: &mut usize, in_round: usize) -> Done {
        *done += 1;
        let all = (self.warmup + self.repeat) * in_round;
        print(format!("progress\tdone={done}\tof={all}\n").as_bytes())
    }
}

/// Runs the benchmark.
pub(crate) fn run(arguments: &[String]) -> Done {
    let (what, words) = arguments.split_first().ok_or(USAGE)?;
    match what.as_str() {
        "migrate" => migrate(&Plan::parse(words, &[1, 16, 64, 256])?),
        "link" => link(&Plan::parse(words, &[0, 64, 256, 1024, 2048, 4096])?),
        "forward" => forward(&Plan::parse(words, &[PUSHED_MIB])?),
        "drain" => drain(&Plan::parse(words, &[8])?),
        _ => Err(USAGE),
    }
}

/// The raw link now.
fn measured(payload: Option<usize>) -> Result<Link, Failure> {
    ping_sized(NODE, PINGS, payload)
        .map_err(|error| Failure::io(format!("cannot measure the link to {NODE}"), &error))
}

/// The raw link, beside a sample.
fn raw(round: &str, payload: Option<usize>) -> Done {
    let raw = measured(payload)?;
    let payload = payload.map_or("-".to_owned(), |bytes| bytes.to_string());
    let line = format!(
        "link\t{round}\tpayload={payload}\trtt_p50_us={}\trtt_p99_us={}\trtt_min_us={}\tblast_bytes_per_s={}\n",
        raw.rtt_p50_us, raw.rtt_p99_us, raw.rtt_min_us, raw.blast_bytes_per_s
    );
    print(line.as_bytes())
}

/// Goodput and round trip by the size of packets.
fn link(plan: &Plan) -> Done {
    let mut done = 0;
    for round in plan.rounds() {
        for &size in &plan.sizes {
            raw(&round, Some(size))?;
            plan.progress(&mut done, plan.sizes.len())?;
        }
    }
    Ok(())
}

/// A child that has so much memory, and stands still unless it is wanted.
struct Subject(i32);

impl Subject {
    fn start(mib: usize, contents: Contents, load: Load) -> Result<Subject, Failure> {
        let (mut ready, writer) =
            std::io::pipe().map_err(|error| Failure::io("cannot make a pipe", &error))?;
        let child = start(|| loaded(mib, contents, load, &writer))
            .map_err(|error| Failure::io("cannot start the subject", &error))?;
        drop(writer);
        let subject = Subject(child);
        let told = ready.read_exact(&mut [0]);
        told.map_err(|error| {
            Failure::io(format!("the subject of {mib} MiB did not start"), &error)
        })?;
        subject.signal(rt::SIGSTOP)?;
        Ok(subject)
    }

    fn signal(&self, signal: i32) -> Done {
        let pid = self.0;
        kill(pid, signal).map_err(|error| Failure::io(format!("cannot signal {pid}"), &error))
    }

    fn go(&self, place: &str) -> Done {
        let pid = self.0;
        send(pid, place).map_err(|error| {
            format!("the move to {place} failed: {}", reason(pid, place, &error)).into()
        })
    }

    /// The figures of its last move as pairs. What the target tells comes a moment after the move.
    fn last_move(&self) -> Result<String, Failure> {
        let mut pairs = String::new();
        for _ in 0..20 {
            let (header, lines) = migstat_lines(self.0)
                .map_err(|error| Failure::io("cannot read the figures of a move", &error))?;
            let line = lines.last().map_or("", String::as_str);
            let both = header.split('\t').zip(line.split('\t'));
            pairs = both
                .map(|(name, value)| format!("\t{name}={value}"))
                .collect();
            if !line.ends_with('-') {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(pairs)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Either it is there and dies, or it is gone: both are an end.
        let _gone = kill(self.0, rt::SIGKILL);
        let _gone = wait_for(self.0);
    }
}

/// The life of a process with that load.
fn loaded(mib: usize, contents: Contents, load: Load, ready: &std::io::PipeWriter) -> i32 {
    let files: Result<Vec<_>, _> = (0..load.files)
        .map(|_| std::fs::File::open("/etc/passwd"))
        .collect();
    for _ in 0..load.threads {
        std::thread::spawn(|| {
            let mut sum = 0u64;
            loop {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
        });
    }
    match files {
        Ok(_open) => subject(mib, contents, ready),
        Err(_) => 1,
    }
}

/// Moves processes of each size, and some with more than memory, there and back.
fn migrate(plan: &Plan) -> Done {
    let mut subjects = Vec::new();
    let plain = plan.sizes.iter().map(|&size| (size, PLAIN));
    let least = plan.sizes.iter().min().copied().unwrap_or(1);
    for (size, load) in plain.chain(LOADS.map(|load| (least, load))) {
        subjects.push((size, load.name, Subject::start(size, plan.contents, load)?));
    }
    let mut done = 0;
    for round in plan.rounds() {
        for (size, load, subject) in &subjects {
            for mode in &plan.modes {
                for place in [NODE, "home"] {
                    raw(&round, None)?;
                    subject.signal(rt::SIGCONT)?;
                    std::thread::sleep(RUN_UP);
                    subject.go(&format!("{place} mode={mode}"))?;
                    // It computes there now, as it did while its pages came.
                    let busy = match place == NODE {
                        true => format!("\tbusy_bytes_per_s={}", measured(None)?.blast_bytes_per_s),
                        false => String::new(),
                    };
                    subject.signal(rt::SIGSTOP)?;
                    let figures = subject.last_move()?;
                    let line = format!(
                        "move\t{round}\tsize_mib={size}\tload={load}\twanted={mode}{busy}{figures}\n"
                    );
                    print(line.as_bytes())?;
                }
                plan.progress(&mut done, subjects.len() * plan.modes.len())?;
            }
        }
    }
    Ok(())
}

/// All processes of a node leave it at the same time.
fn drain(plan: &Plan) -> Done {
    let mut done = 0;
    for &size in &plan.sizes {
        let crowd: Vec<Subject> = (0..CROWD)
            .map(|_| Subject::start(size, plan.contents, PLAIN))
            .collect::<Result<_, _>>()?;
        for round in plan.rounds() {
            for subject in &crowd {
                subject.go(NODE)?;
            }
            raw(&round, None)?;
            for subject in &crowd {
                subject.signal(rt::SIGCONT)?;
            }
            let began = Instant::now();
            let results: Vec<Done> = std::thread::scope(|scope| {
                let moves: Vec<_> = crowd
                    .iter()
                    .map(|subject| scope.spawn(|| subject.go("home")))
                    .collect();
                let lost = || Failure::from("a thread is lost".to_owned());
                moves
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|_| Err(lost())))
                    .collect()
            });
            let total_us = began.elapsed().as_micros();
            for result in results {
                result?;
            }
            for subject in &crowd {
                subject.signal(rt::SIGSTOP)?;
            }
            for subject in &crowd {
                let figures = subject.last_move()?;
                let line = format!("move\t{round}\tsize_mib={size}\twanted=drain{figures}\n");
                print(line.as_bytes())?;
            }
            let line = format!(
                "drain\t{round}\tprocesses={CROWD}\tsize_mib={size}\ttotal_us={total_us}\n"
            );
            print(line.as_bytes())?;
            plan.progress(&mut done, plan.sizes.len())?;
        }
    }
    Ok(())
}

/// Calls of a process that is away: alone, while memory is pushed over the same link, and by several threads.
fn forward(plan: &Plan) -> Done {
    let pipe = || std::io::pipe().map_err(|error| Failure::io("cannot make a pipe", &error));
    let ((mut told, mut tell), (mut heard, hear)) = (pipe()?, pipe()?);
    let child = start(|| caller(&mut told, &hear))
        .map_err(|error| Failure::io("cannot start the caller", &error))?;
    drop((told, hear));
    let caller = Subject(child);
    caller.go(NODE)?;
    let mut ask = |what: u8| -> Result<[u32; CALLS], Failure> {
        let mut answer = [0; CALLS * 4];
        let asked = tell.write_all(&[what]);
        let asked = asked.and_then(|()| heard.read_exact(&mut answer));
        asked.map_err(|error| Failure::io("the caller does not answer", &error))?;
        let word = |at: usize| {
            answer[at * 4..][..4]
                .try_into()
                .map_or(0, u32::from_le_bytes)
        };
        Ok(std::array::from_fn(word))
    };
    let line = |round: &str, state: &str, times: [u32; CALLS]| {
        let times: Vec<String> = times.iter().map(u32::to_string).collect();
        print(format!("call\t{round}\tstate={state}\tus={}\n", times.join(",")).as_bytes())
    };
    let pushed = Subject::start(*plan.sizes.first().ok_or(USAGE)?, plan.contents, PLAIN)?;
    let mut done = 0;
    for round in plan.rounds() {
        raw(&round, None)?;
        for _ in 0..IDLE_BATCHES {
            line(&round, "idle", ask(CALL)?)?;
        }
        // The same way as the answers go.
        let batches = during_push(&pushed, || ask(CALL))?;
        if batches.is_empty() {
            print(format!("short\t{round}\n").as_bytes())?;
        }
        for times in batches {
            line(&round, "push", times)?;
        }
        pushed.go("home")?;
        for (place, threads) in THREADS.iter().enumerate() {
            let [rate, ..] = ask(place as u8)?;
            let line = format!("rate\t{round}\tthreads={threads}\tcalls_per_s={rate}\n");
            print(line.as_bytes())?;
        }
        plan.progress(&mut done, 1)?;
    }
    Ok(())
}

/// What `act` gives again and again while the process is pushed to the other node; the last time is left out, as
/// the push ended in it.
fn during_push<T>(
    pushed: &Subject,
    mut act: impl FnMut() -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let gone = pushed.go(NODE);
            over.store(true, Ordering::SeqCst);
            gone
        });
        std::thread::sleep(RUN_UP);
        let mut all = Vec::new();
        loop {
            let given = act();
            if over.load(Ordering::SeqCst) {
                break;
            }
            all.push(given?);
        }
        let lost = || Failure::from("a thread is lost".to_owned());
        mover.join().unwrap_or_else(|_| Err(lost()))?;
        Ok(all)
    })
}

/// Answers a byte with numbers: [`CALL`] with the times of calls, the place of a count of threads with calls per second.
fn caller(told: &mut std::io::PipeReader, hear: &std::io::PipeWriter) -> i32 {
    let mut what = [0];
    let mut hear = hear;
    while told.read_exact(&mut what).is_ok() {
        let answer = match what[0] {
            CALL => call_times(),
            place => [call_rate(usize::from(place)); CALLS],
        };
        let bytes: Vec<u8> = answer.iter().flat_map(|word| word.to_le_bytes()).collect();
        if hear.write_all(&bytes).is_err() {
            return 1;
        }
    }
    0
}

/// A call that home has to answer and that needs nothing else.
fn call_home() {
    std::hint::black_box(std::os::unix::process::parent_id());
}

/// Microseconds of each call.
fn call_times() -> [u32; CALLS] {
    std::array::from_fn(|_| {
        let began = Instant::now();
        call_home();
        u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX)
    })
}

/// Calls per second of several threads together.
fn call_rate(place: usize) -> u32 {
    let threads = THREADS.get(place).copied().unwrap_or(1);
    let calls: u64 = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let began = Instant::now();
                    let mut calls = 0;
                    while began.elapsed() < CALLING {
                        call_home();
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        let counts = all.into_iter().filter_map(|thread| thread.join().ok());
        counts.sum::<u64>()
    });
    let rate = u128::from(calls) * 1_000_000 / CALLING.as_micros();
    u32::try_from(rate).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn plans_are_read_strictly() {
        let plan = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            Plan::parse(&words, &[1])
                .map(|plan| (plan.sizes, plan.repeat, plan.warmup))
                .ok()
        };
        assert_eq!(plan(""), Some((vec![1], 10, 1)));
        assert_eq!(
            plan("--sizes 1,16 --repeat 3 --warmup 0"),
            Some((vec![1, 16], 3, 0))
        );
        assert!(plan("--modes pre-copy,hybrid").is_some());
        for bad in [
            "--repeat 0",
            "--sizes 1,x",
            "--sizes 5000",
            "--modes fast",
            "2",
        ] {
            assert_eq!(plan(bad), None, "{bad}");
        }
    }

    #[test]
    fn rounds_that_warm_up_are_marked() {
        let plan = Plan::parse(&["--repeat".to_owned(), "2".to_owned()], &[1]).ok();
        let rounds: Vec<String> = plan.expect("a plan").rounds().collect();
        assert_eq!(
            rounds,
            [
                "round=0\twarmup=1",
                "round=1\twarmup=0",
                "round=2\twarmup=0"
            ]
        );
    }
}
