//! `bench-migrate`: what a move costs, by size of the process.
//!
//! Law: times are what the kernels measured themselves (`migstat`), ratios are taken inside this
//! run: against the round trips of the same moves, and against the raw frame blaster on the same
//! links. Nothing is left out: a move that fails ends the benchmark.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rt::process::{kill, start, wait_for};

use crate::proc::{Link, Move, PHASES, last_move, ping, reason, send};
use crate::{Done, Failure, print};

const USAGE: Failure = Failure::Usage("bench-migrate [--repeat R] [--sizes MIB,MIB...] [NODE...]");
pub(crate) const MIB: usize = 1 << 20;
pub(crate) const PAGE: usize = 4096;
/// Pages the subject touches again and again.
const WORKING_SET: usize = 16;
/// A subject whose parent is gone ends itself after this time.
const LIFE: Duration = Duration::from_secs(600);
/// Round trips in the measurement of a link.
const PINGS: u32 = 200;
/// Places in [`PHASES`].
pub(crate) const RELEASE: usize = 5;
pub(crate) const PUSH: usize = 6;

struct Plan {
    /// Rounds per size; `None` for 20, or 5 from 256 MiB up.
    repeat: Option<u64>,
    sizes: Vec<usize>,
    nodes: Vec<String>,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Plan, Failure> {
        let mut plan = Plan {
            repeat: None,
            sizes: vec![1, 16, 64, 256],
            nodes: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--repeat" => {
                    let count = words.next().and_then(|word| word.parse().ok());
                    plan.repeat = Some(count.filter(|&count| count > 0).ok_or(USAGE)?);
                }
                "--sizes" => {
                    let sizes = words.next().ok_or(USAGE)?.split(',');
                    let parse =
                        |size: &str| size.parse().ok().filter(|size| (1..=4096).contains(size));
                    plan.sizes = sizes.map(parse).collect::<Option<_>>().ok_or(USAGE)?;
                }
                option if option.starts_with('-') => return Err(USAGE),
                node => plan.nodes.push(node.to_owned()),
            }
        }
        if plan.nodes.is_empty() {
            plan.nodes = vec!["2".to_owned(), "3".to_owned()];
        }
        plan.nodes.dedup();
        // A move to where the process is would be none: from home it goes, and to one node and back.
        if plan.nodes[0] == "home" {
            plan.nodes.rotate_left(1);
        }
        match plan.nodes.as_slice() {
            [only] if only == "home" => return Err(USAGE),
            [_] => plan.nodes.push("home".to_owned()),
            _ => {}
        }
        Ok(plan)
    }

    fn rounds(&self, size: usize) -> u64 {
        self.repeat.unwrap_or(if size >= 256 { 5 } else { 20 })
    }
}

/// Runs the benchmark.
pub(crate) fn run(arguments: &[String]) -> Done {
    let plan = Plan::parse(arguments)?;
    print(b"link\trtt_p50_us\trtt_min_us\tblast_bytes_per_s\n")?;
    let mut links = Vec::new();
    for node in plan.nodes.iter().filter(|node| *node != "home") {
        let link = ping(node, PINGS)
            .map_err(|error| Failure::io(format!("cannot measure the link to {node}"), &error))?;
        let Link {
            node,
            rtt_p50_us,
            rtt_min_us,
            blast_bytes_per_s,
            ..
        } = &link;
        print(format!("{node}\t{rtt_p50_us}\t{rtt_min_us}\t{blast_bytes_per_s}\n").as_bytes())?;
        links.push(link);
    }
    let blast = median(links.iter().map(|link| link.blast_bytes_per_s).collect());
    let rtt = median(links.iter().map(|link| link.rtt_p50_us).collect());
    let mut measured = Vec::new();
    print(b"\n")?;
    print(
        b"size_mib\tmoves\tfreeze_p50_us\tfreeze_p99_us\tfreeze_p50_rtt\tfreeze_p99_rtt\t\
          observer_p50_us\tobserver_p99_us\tobserver_p50_rtt\tobserver_p99_rtt\tmove_rtt_p50_us\n",
    )?;
    for &size in &plan.sizes {
        let moves = measure(size, plan.rounds(size), &plan.nodes)?;
        print(freeze_row(size, &moves, rtt).as_bytes())?;
        measured.push((size, moves));
    }
    print(
        b"\nsize_mib\ttotal_p50_us\tgoodput_bytes_per_s\tgoodput_share\tbytes\tpages_sent\t\
          pages_of_data\tbytes_per_byte_of_pages\tpages_per_page_of_data\n",
    )?;
    for (size, moves) in &measured {
        print(stream_row(*size, moves, blast).as_bytes())?;
    }
    let names: Vec<String> = PHASES.iter().map(|name| format!("{name}_p50_us")).collect();
    print(format!("\nsize_mib\t{}\n", names.join("\t")).as_bytes())?;
    for (size, moves) in &measured {
        print(phases_row(*size, moves).as_bytes())?;
    }
    Ok(())
}

/// Moves a process of `size` MiB through the nodes, at last home.
fn measure(size: usize, rounds: u64, nodes: &[String]) -> Result<Vec<Move>, Failure> {
    let (mut ready, writer) =
        std::io::pipe().map_err(|error| Failure::io("cannot make a pipe", &error))?;
    let child = start(|| subject(size, Contents::Noise, &writer))
        .map_err(|error| Failure::io("cannot start the subject", &error))?;
    drop(writer);
    let moves = match ready.read_exact(&mut [0]) {
        Ok(()) => move_around(child, rounds, nodes),
        Err(error) => Err(Failure::io(
            format!("the subject of {size} MiB did not start"),
            &error,
        )),
    };
    // Either it is there and dies, or it is gone: both are an end.
    let _gone = kill(child, rt::SIGKILL);
    wait_for(child).map_err(|error| Failure::io("lost the subject", &error))?;
    moves
}

fn move_around(child: i32, rounds: u64, nodes: &[String]) -> Result<Vec<Move>, Failure> {
    let mut moves = Vec::new();
    // There and back at least.
    let away = usize::try_from(rounds - 1).unwrap_or(usize::MAX).max(1);
    let home = "home".to_owned();
    let mut way: Vec<&String> = nodes.iter().cycle().take(away).chain([&home]).collect();
    way.dedup();
    for node in way {
        send(child, node).map_err(|error| {
            format!("the move to {node} failed: {}", reason(child, node, &error))
        })?;
        let last = last_move(child)
            .map_err(|error| Failure::io("cannot read the figures of a move", &error))?;
        moves.push(last);
    }
    Ok(moves)
}

/// What the memory of a subject holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contents {
    /// What nothing makes shorter.
    Noise,
    /// Words of eight bytes, each one of 64: LZ4 makes less than half of it.
    Text,
}

/// Holds `size` MiB of random bytes and keeps changing a few pages of them.
pub(crate) fn subject(size: usize, contents: Contents, ready: &std::io::PipeWriter) -> i32 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ u64::from(std::process::id());
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let vocabulary: [u64; 64] = std::array::from_fn(|_| noise());
    let mut memory = vec![0u8; size * MIB];
    for chunk in memory.chunks_exact_mut(8) {
        let word = match contents {
            Contents::Noise => noise(),
            Contents::Text => vocabulary[noise() as usize % vocabulary.len()],
        };
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let mut ready = ready;
    if ready.write_all(&[1]).is_err() {
        return 1;
    }
    let start = Instant::now();
    while start.elapsed() < LIFE {
        for round in 0..1000usize {
            let page = round % WORKING_SET * (memory.len() / WORKING_SET / PAGE) * PAGE;
            memory[page] = memory[page].wrapping_add(1);
        }
        std::hint::black_box(&mut memory);
    }
    0
}

/// The value in the middle of sorted values; 0 of none.
pub(crate) fn median(values: Vec<u64>) -> u64 {
    percentile(values, 50)
}

/// The smallest value that `percent` per cent of the values do not exceed; 0 of none.
fn percentile(mut values: Vec<u64>, percent: usize) -> u64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// `numerator / denominator` with two or more digits behind the point; `-` without a base.
pub(crate) fn ratio(numerator: u64, denominator: u64) -> String {
    if denominator == 0 {
        return "-".to_owned();
    }
    let thousandths = u128::from(numerator) * 1000 / u128::from(denominator);
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// Bytes per second; 0 if no time passed.
pub(crate) fn rate(bytes: u64, microseconds: u64) -> u64 {
    let rate = (u128::from(bytes) * 1_000_000).checked_div(u128::from(microseconds));
    u64::try_from(rate.unwrap_or(0)).unwrap_or(u64::MAX)
}

/// The freeze by the clocks of source and target, and by the one clock of a third node.
fn freeze_row(size: usize, moves: &[Move], rtt: u64) -> String {
    let all = |field: fn(&Move) -> u64| moves.iter().map(field).collect::<Vec<_>>();
    let freezes = all(|one| one.freeze_us);
    let observed: Vec<u64> = all(|one| one.observer_us)
        .into_iter()
        .filter(|&us| us > 0)
        .collect();
    let mut cells = vec![size.to_string(), moves.len().to_string()];
    for values in [freezes, observed] {
        let (p50, p99) = (median(values.clone()), percentile(values, 99));
        cells.extend([p50, p99].map(|us| us.to_string()));
        cells.extend([p50, p99].map(|us| ratio(us, rtt)));
    }
    cells.push(median(all(|one| one.rtt_us)).to_string());
    cells.join("\t") + "\n"
}

/// The pages, from the freeze until the last of them had arrived.
fn stream_row(size: usize, moves: &[Move], blast: u64) -> String {
    let all = |field: fn(&Move) -> u64| moves.iter().map(field).collect::<Vec<_>>();
    let streaming = |one: &Move| one.phases[RELEASE] + one.phases[PUSH];
    let goodput = median(
        moves
            .iter()
            .map(|one| rate(one.pages_sent * PAGE as u64, streaming(one)))
            .collect(),
    );
    let sent: u64 = all(|one| one.bytes).iter().sum();
    let pages: u64 = all(|one| one.pages_sent).iter().sum();
    // The data of the subject is random: non-zero, and no page is like another. What a move
    // sends beyond it is the program's own stack and heap, or waste.
    let data = (size * MIB / PAGE) as u64 * moves.len() as u64;
    [
        size.to_string(),
        median(all(|one| one.total_us)).to_string(),
        goodput.to_string(),
        ratio(goodput, blast),
        sent.to_string(),
        pages.to_string(),
        data.to_string(),
        ratio(sent, pages * PAGE as u64),
        ratio(pages, data),
    ]
    .join("\t")
        + "\n"
}

/// Where the time of the moves went.
fn phases_row(size: usize, moves: &[Move]) -> String {
    let mut cells = vec![size.to_string()];
    for phase in 0..PHASES.len() {
        let times = moves.iter().map(|one| one.phases[phase]).collect();
        cells.push(median(times).to_string());
    }
    cells.join("\t") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{Plan, percentile, rate, ratio};

    #[test]
    fn every_move_goes_somewhere() {
        let nodes = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Plan::parse(&words).map(|plan| plan.nodes.join(" ")).ok()
        };
        assert_eq!(nodes(&[]).as_deref(), Some("2 3"));
        assert_eq!(nodes(&["2"]).as_deref(), Some("2 home"));
        assert_eq!(nodes(&["home", "3"]).as_deref(), Some("3 home"));
        assert_eq!(nodes(&["home"]), None);
        assert_eq!(nodes(&["--repeat", "0"]), None);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(values.clone(), 50), 50);
        assert_eq!(percentile(values, 99), 99);
        assert_eq!(percentile(vec![7], 99), 7);
        assert_eq!(percentile(vec![3, 1, 2], 50), 2);
        assert_eq!(percentile(Vec::new(), 50), 0);
    }

    #[test]
    fn ratios_survive_any_number() {
        assert_eq!(ratio(3, 2), "1.500");
        assert_eq!(ratio(1, 0), "-");
        assert_eq!(ratio(u64::MAX, 1), "18446744073709551615.000");
        assert_eq!(rate(1_000_000, 500_000), 2_000_000);
        assert_eq!(rate(5, 0), 0);
        assert_eq!(rate(u64::MAX, 1), u64::MAX);
    }
}
