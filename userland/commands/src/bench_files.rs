//! `bench-files`: files of the home node read and written in order from another node.
//!
//! Law: the measure is the page stream of the very move that took the process there, over the same
//! link in the same round. What is read is compared, and what is written is there when the time is
//! taken: fsync asks home. Nothing is left out: what fails ends the benchmark.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::time::Instant;

use rt::process::{kill, start, wait_for};

use crate::bench::{MIB, PAGE, PUSH, RELEASE, median, rate, ratio};
use crate::proc::{last_move, reason, send};
use crate::{Done, Failure, print};

const USAGE: Failure =
    Failure::Usage("bench-files [--rounds R] [--size MIB] [--blocks BYTES,BYTES...] [NODE]");
const SOURCE: &str = "/tmp/bench-source";
const TARGET: &str = "/tmp/bench-target";

struct Plan {
    rounds: usize,
    size: usize,
    blocks: Vec<usize>,
    node: String,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Plan, Failure> {
        let mut plan = Plan {
            rounds: 5,
            size: 64,
            blocks: vec![4096, 65536, 1 << 20],
            node: "2".to_owned(),
        };
        let number = |word: Option<&String>, most: usize| {
            let number = word.and_then(|word| word.parse().ok());
            number.filter(|&number| (1..=most).contains(&number))
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rounds" => plan.rounds = number(words.next(), 1000).ok_or(USAGE)?,
                "--size" => plan.size = number(words.next(), 1024).ok_or(USAGE)?,
                "--blocks" => {
                    let blocks = words.next().ok_or(USAGE)?.split(',');
                    let parse = |block: &str| block.parse().ok().filter(|&block| block > 0);
                    plan.blocks = blocks.map(parse).collect::<Option<_>>().ok_or(USAGE)?;
                }
                option if option.starts_with('-') => return Err(USAGE),
                node => plan.node = node.to_owned(),
            }
        }
        Ok(plan)
    }
}

/// Runs the benchmark.
pub(crate) fn run(arguments: &[String]) -> Done {
    let plan = Plan::parse(arguments)?;
    let bytes = random(plan.size * MIB);
    std::fs::write(SOURCE, &bytes).map_err(|error| Failure::io("cannot write a file", &error))?;
    let pipe = || std::io::pipe().map_err(|error| Failure::io("cannot make a pipe", &error));
    let ((mut told, tell), (mut heard, hear)) = (pipe()?, pipe()?);
    let child = start(|| subject(&bytes, &plan.blocks, (&mut told, &hear)))
        .map_err(|error| Failure::io("cannot start the subject", &error))?;
    drop((bytes, told, hear));
    let measured = measure(&plan, child, &tell, &mut heard);
    // Either it is there and dies, or it is gone: both are an end.
    let _gone = kill(child, rt::SIGKILL);
    wait_for(child).map_err(|error| Failure::io("lost the subject", &error))?;
    for path in [SOURCE, TARGET] {
        let _ = std::fs::remove_file(path);
    }
    print(
        b"what\tblock\trounds\tbytes_per_s\tpage_stream_bytes_per_s\tshare_p50\tshare_min\tshare_max\n",
    )?;
    for row in measured? {
        print(row.line(plan.size * MIB).as_bytes())?;
    }
    Ok(())
}

/// One way to use a file: microseconds of each round, and the page stream of that round.
struct Row {
    what: &'static str,
    block: usize,
    times: Vec<u64>,
    streams: Vec<u64>,
}

impl Row {
    fn line(&self, bytes: usize) -> String {
        let rates = self.times.iter().map(|&time| rate(bytes as u64, time));
        let rates: Vec<u64> = rates.collect();
        let shares = rates.iter().zip(&self.streams);
        // In thousandths, to be sorted.
        let mut shares: Vec<u64> = shares
            .map(|(rate, stream)| rate * 1000 / (*stream).max(1))
            .collect();
        shares.sort_unstable();
        let share = |value: Option<&u64>| ratio(value.copied().unwrap_or(0), 1000);
        [
            self.what.to_owned(),
            self.block.to_string(),
            self.times.len().to_string(),
            median(rates).to_string(),
            median(self.streams.clone()).to_string(),
            ratio(median(shares.clone()), 1000),
            share(shares.first()),
            share(shares.last()),
        ]
        .join("\t")
            + "\n"
    }
}

fn measure(
    plan: &Plan,
    child: i32,
    tell: &PipeWriter,
    heard: &mut PipeReader,
) -> Result<Vec<Row>, Failure> {
    let pipe = |error| Failure::io("the subject is gone", &error);
    let mut rows = Vec::new();
    for &block in &plan.blocks {
        for what in ["read", "write"] {
            rows.push(Row {
                what,
                block,
                times: Vec::new(),
                streams: Vec::new(),
            });
        }
    }
    let mut tell = tell;
    for _ in 0..plan.rounds {
        // There and back with all its memory, every page of which has to travel.
        let go = |node: &str| {
            send(child, node).map_err(|error| {
                format!("the move to {node} failed: {}", reason(child, node, &error))
            })
        };
        go(&plan.node)?;
        let last = last_move(child)
            .map_err(|error| Failure::io("cannot read the figures of a move", &error))?;
        let streaming = last.phases[RELEASE] + last.phases[PUSH];
        let stream = rate(last.pages_sent * PAGE as u64, streaming);
        tell.write_all(b"g").map_err(pipe)?;
        for row in &mut rows {
            let mut time = [0; 8];
            heard.read_exact(&mut time).map_err(pipe)?;
            row.times.push(u64::from_le_bytes(time));
            row.streams.push(stream);
        }
        go("home")?;
    }
    Ok(rows)
}

/// Reads and writes whenever it is told to, and tells how many microseconds each took.
fn subject(bytes: &[u8], blocks: &[usize], (told, tell): (&mut PipeReader, &PipeWriter)) -> i32 {
    let mut memory = bytes.to_vec();
    let mut tell = tell;
    while told.read_exact(&mut [0]).is_ok() {
        for &block in blocks {
            for work in [read, write] {
                let Ok(time) = work(bytes, &mut memory, block) else {
                    return 1;
                };
                if tell.write_all(&time.to_le_bytes()).is_err() {
                    return 1;
                }
            }
        }
        // Not two moves with the same contents.
        for page in memory.chunks_mut(PAGE) {
            page[0] = page[0].wrapping_add(1);
        }
    }
    0
}

fn read(bytes: &[u8], memory: &mut [u8], block: usize) -> std::io::Result<u64> {
    let start = Instant::now();
    let mut file = File::open(SOURCE)?;
    for chunk in memory.chunks_mut(block) {
        file.read_exact(chunk)?;
    }
    let time = start.elapsed().as_micros() as u64;
    match memory == bytes && file.read(&mut [0])? == 0 {
        true => Ok(time),
        false => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

fn write(bytes: &[u8], memory: &mut [u8], block: usize) -> std::io::Result<u64> {
    let start = Instant::now();
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(TARGET)?;
    for chunk in bytes.chunks(block) {
        file.write_all(chunk)?;
    }
    file.sync_all()?;
    let time = start.elapsed().as_micros() as u64;
    std::io::Seek::rewind(&mut file)?;
    memory.fill(0);
    file.read_exact(memory)?;
    match memory == bytes && file.read(&mut [0])? == 0 {
        true => Ok(time),
        false => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// Bytes of which no page is like another.
fn random(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ u64::from(std::process::id());
    let mut bytes = vec![0u8; length];
    for chunk in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}
