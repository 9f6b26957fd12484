//! What the kernel has logged, kept for `dmesg`.
//!
//! Law: bounded, without a heap, and never waited for: a line that comes while another is being kept
//! (from an interrupt, or from a panic in here) is on the console only.

use core::fmt::{self, Write};
use spin::Mutex;

/// Bytes kept.
pub const JOURNAL_BYTES: usize = 64 << 10;

struct Journal {
    bytes: [u8; JOURNAL_BYTES],
    /// Bytes ever written; the last [`JOURNAL_BYTES`] of them are here.
    end: u64,
}

static JOURNAL: Mutex<Journal> = Mutex::new(Journal {
    bytes: [0; JOURNAL_BYTES],
    end: 0,
});

impl Write for Journal {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let at = (self.end % JOURNAL_BYTES as u64) as usize;
            self.bytes[at] = byte;
            self.end += 1;
        }
        Ok(())
    }
}

/// Logs one line: what [`crate::log!`] calls.
pub fn log(text: fmt::Arguments<'_>) {
    if let Some(mut journal) = JOURNAL.try_lock() {
        let micros = crate::now_ns() / 1000;
        // A `Display` that fails loses its own text only.
        let _ = writeln!(
            journal,
            "<6>[{:5}.{:06}] {text}",
            micros / 1_000_000,
            micros % 1_000_000
        );
    }
    crate::log_line(text);
}

/// How many bytes were ever logged.
pub fn journal_end() -> u64 {
    JOURNAL.lock().end
}

/// Whole lines from the byte `from` on, at most `length` bytes and then the newest ones.
pub fn journal_lines(from: u64, length: usize, mut each: impl FnMut(u8)) {
    let journal = JOURNAL.lock();
    let kept = journal.end.min(JOURNAL_BYTES as u64);
    let first = from
        .max(journal.end - kept)
        .max(journal.end.saturating_sub(length as u64));
    let byte = |at: u64| journal.bytes[(at % JOURNAL_BYTES as u64) as usize];
    let starts_line = first == 0 || (first > journal.end - kept && byte(first - 1) == b'\n');
    let mut inside = starts_line || first == from;
    for at in first..journal.end {
        if inside {
            each(byte(at));
        }
        inside |= byte(at) == b'\n';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_lines_are_given() {
        let before = journal_end();
        for number in 0..5000 {
            crate::log!("line {number} of many");
        }
        let mut text = Vec::new();
        journal_lines(before, 200, |byte| text.push(byte));
        let text = String::from_utf8(text).expect("lines are text");
        assert!(text.len() <= 200 && text.starts_with("<6>["), "{text}");
        assert!(text.ends_with("line 4999 of many\n"), "{text}");
        let mut all = 0;
        journal_lines(0, usize::MAX, |_| all += 1);
        assert!(all > JOURNAL_BYTES - 100 && all <= JOURNAL_BYTES, "{all}");
    }
}
