//! What a Linux machine makes of a link, beside what nodes make of it: `cargo xtask bench linux`.
//!
//! Law: a round trip is that of the smallest frame between two programs, with nothing but packet(7) between them
//! and the card. The answer carries the other machine's clock: the shortest trip bounds how wrong the offset is.

use crate::{Doing, USAGE, Verdict, numbers};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const CARD: &str = "eth0";
/// For experiments within one network: IEEE 802, 9.2.4.
const ETHER_TYPE: u16 = 0x88b5;
const FRAME: usize = 60;
/// Behind the addresses and the type: whether it is an answer, and the answering clock.
const ANSWER: usize = 14;
const CLOCK: usize = 15;
const PORT: u16 = 7000;
const PATIENCE_MS: i32 = 2000;
const PIECE: usize = 64 << 10;

/// `link echo`, `link ping COUNT`, `link sink`, `link pour ADDRESS MIB`
pub(crate) fn run(words: &[String]) -> Verdict {
    let (what, rest) = words.split_first().ok_or(USAGE)?;
    match (what.as_str(), rest) {
        ("echo", []) => echo(),
        ("ping", rest) => ping(numbers::<1>(rest)?.0[0]),
        ("sink", []) => sink(),
        ("pour", [address, mib]) => pour(address, mib.parse().doing(mib)?),
        _ => Err(USAGE.to_owned()),
    }
}

/// This machine's clock, in ns since 1970.
pub(crate) fn clock_ns() -> Result<u64, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.doing("the clock")?.as_nanos() as u64)
}

/// The Ethernet address of the card.
fn address() -> Result<[u8; 6], String> {
    let path = format!("/sys/class/net/{CARD}/address");
    let text = std::fs::read_to_string(&path).doing(&path)?;
    let bytes = text
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().doing(&path)?;
    bytes.try_into().map_err(|_| format!("{path}: {text}"))
}

/// Answers each frame until it is killed.
fn echo() -> Verdict {
    let mut card = rt::link::frames(CARD, ETHER_TYPE).doing(CARD)?;
    let own = address()?;
    let mut frame = [0; FRAME];
    loop {
        let length = card.read(&mut frame).doing("receive")?;
        if length < FRAME || frame[ANSWER] != 0 {
            continue;
        }
        let (to, from) = frame[..12].split_at_mut(6);
        to.swap_with_slice(from);
        frame[6..12].copy_from_slice(&own);
        frame[ANSWER] = 1;
        frame[CLOCK..CLOCK + 8].copy_from_slice(&clock_ns()?.to_le_bytes());
        card.write_all(&frame).doing("send")?;
    }
}

/// Prints what `count` round trips took and where the other clock is.
fn ping(count: u64) -> Verdict {
    let mut card = rt::link::frames(CARD, ETHER_TYPE).doing(CARD)?;
    let own = address()?;
    let mut trips = Vec::new();
    for _ in 0..count.clamp(1, 1 << 20) {
        // To whoever is there: the other machine is the only one.
        let mut frame = [0; FRAME];
        frame[..6].fill(0xff);
        frame[6..12].copy_from_slice(&own);
        frame[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
        let (start, left) = (clock_ns()?, Instant::now());
        card.write_all(&frame).doing("send")?;
        while frame[ANSWER] != 1 {
            let come = rt::files::poll_input(card.as_fd(), PATIENCE_MS).doing("wait")?;
            come.ok_or("nobody answers")?;
            card.read_exact(&mut frame).doing("receive")?;
        }
        let trip = left.elapsed().as_nanos() as u64;
        let clock = u64::from_le_bytes(*frame[CLOCK..].first_chunk().ok_or("a short frame")?);
        trips.push((trip, clock.cast_signed() - (start + trip / 2).cast_signed()));
    }
    trips.sort_unstable();
    let us = |at: usize| trips[at.min(trips.len() - 1)].0 as f64 / 1000.0;
    println!(
        "link\trtt_p50_us={}\trtt_p99_us={}\trtt_min_us={}\tclock_offset_us={}\tclock_error_us={}",
        us(trips.len() / 2),
        us(trips.len() * 99 / 100),
        us(0),
        trips[0].1 as f64 / 1000.0,
        us(0) / 2.0
    );
    Ok(())
}

/// Takes what comes over TCP until it is killed; at the end of each stream it says so.
fn sink() -> Verdict {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).doing("listen")?;
    let mut buffer = vec![0; PIECE];
    loop {
        let (mut stream, _) = listener.accept().doing("accept")?;
        while stream.read(&mut buffer).doing("receive")? > 0 {}
        stream.write_all(&[1]).doing("answer")?;
    }
}

/// Prints how fast TCP carries so much, until the other side has all of it.
fn pour(address: &str, mib: u64) -> Verdict {
    let mut stream = TcpStream::connect((address, PORT)).doing(address)?;
    let piece = vec![0x55; PIECE];
    let start = Instant::now();
    let bytes = mib << 20;
    for _ in 0..bytes / PIECE as u64 {
        stream.write_all(&piece).doing("send")?;
    }
    stream.shutdown(std::net::Shutdown::Write).doing("end")?;
    stream.read_exact(&mut [0]).doing("hear of the end")?;
    let rate = bytes as f64 / start.elapsed().as_secs_f64();
    println!("tcp\tbytes_per_s={rate:.0}");
    Ok(())
}
