//! Plain programs to be moved by others: `churn` and `spin`.
//!
//! Law: they know nothing of nodes, and what they print depends on their arguments only.

use std::time::{Duration, Instant};

/// xorshift64*: fast, and every state but zero occurs (Vigna 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Mixes `mib` MiB of numbers `rounds` times; gives a checksum of all of them.
fn mix(mib: usize, rounds: u64) -> u64 {
    let mut random = Random(0x6475_6e6c_696e);
    let count = mib * (1 << 20) / 8;
    let mut data: Vec<u64> = (0..count).map(|_| random.next()).collect();
    for _ in 0..rounds {
        for index in 0..count {
            // Which partner depends on the data, so one wrong byte changes everything after it.
            let draw = random.next() ^ data[index];
            let partner = usize::try_from(draw % count as u64).unwrap_or(0);
            data.swap(index, partner);
            data[index] = data[index].rotate_left(7) ^ data[partner].wrapping_add(draw);
        }
    }
    data.iter()
        .fold(0, |sum: u64, value| sum.rotate_left(5).wrapping_add(*value))
}

/// `churn MIB ROUNDS`: live data that changes everywhere all the time.
pub(crate) fn churn(arguments: &[String]) -> i32 {
    let numbers = match arguments {
        [mib, rounds] => mib.parse::<usize>().ok().zip(rounds.parse::<u64>().ok()),
        _ => None,
    };
    match numbers {
        Some((mib, rounds)) if (1..=1 << 16).contains(&mib) => {
            println!("churn {mib} {rounds} checksum {:016x}", mix(mib, rounds));
            0
        }
        _ => {
            eprintln!("usage: churn MIB ROUNDS");
            2
        }
    }
}

/// `spin SECONDS`: uses the processor so long.
pub(crate) fn spin(arguments: &[String]) -> i32 {
    let seconds = match arguments {
        [seconds] => seconds.parse::<u64>().ok(),
        _ => None,
    };
    let Some(seconds) = seconds else {
        eprintln!("usage: spin SECONDS");
        return 2;
    };
    let mut random = Random(1);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..10_000 {
            std::hint::black_box(random.next());
        }
    }
    println!("spin {seconds} done");
    0
}

#[cfg(test)]
mod tests {
    use super::mix;

    #[test]
    fn checksums_repeat_and_differ() {
        assert_eq!(mix(1, 2), mix(1, 2));
        assert_ne!(mix(1, 2), mix(1, 3));
        assert_ne!(mix(1, 2), mix(2, 2));
    }
}
