//! signalfd(2): pending signals of the reader, as records.
//!
//! Law: a signal that is read is taken, as by a handler; what is not in the set is never touched. Who
//! asks sees its own signals, whoever made the file.

use super::super::FileCall;
use super::super::pipe::Patience;
use super::Asker;
use crate::signals::SignalInfo;
use crate::wait::Stop;
use abi::Errno;
use abi::layout::POLLIN;
use abi::signal::UNBLOCKABLE;
use alloc::vec::Vec;
use spin::Mutex;

/// `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// A set of signals.
pub(in super::super) struct SignalFile(Mutex<u64>);

impl SignalFile {
    pub(in super::super) fn new(set: u64) -> SignalFile {
        SignalFile(Mutex::new(set & !UNBLOCKABLE))
    }

    pub(in super::super) fn change(&self, set: u64) {
        *self.0.lock() = set & !UNBLOCKABLE;
    }

    /// The signals that are read from it.
    pub(in super::super) fn set(&self) -> u64 {
        *self.0.lock()
    }

    pub(super) fn read(
        &self,
        call: &mut FileCall,
        room: usize,
        patience: Patience,
    ) -> Result<Vec<u8>, Stop> {
        if room < RECORD {
            return Err(Errno::EINVAL.into());
        }
        let mut bytes = Vec::new();
        while bytes.len() + RECORD <= room {
            let Some(info) = call.view.take_pending(call.tid, self.set()) else {
                break;
            };
            bytes.extend_from_slice(&record(info));
        }
        if bytes.is_empty() {
            return Err(match call.view.signal_queue(call.pid) {
                Some(queue) => patience.stop(&queue),
                None => Errno::EAGAIN.into(),
            });
        }
        Ok(bytes)
    }

    pub(super) fn ready(&self, asker: &Asker) -> i16 {
        if asker.view.pending(asker.tid) & self.set() != 0 {
            POLLIN
        } else {
            0
        }
    }
}

/// `struct signalfd_siginfo` (`linux/signalfd.h`). Which fields mean something depends on the code;
/// those that do not are filled all the same, from where `siginfo_t` has them.
fn record(info: SignalInfo) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let [first, second] = info.words;
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &info.signal.to_le_bytes());
    put(4, &info.rest.errno.to_le_bytes());
    put(8, &info.code.to_le_bytes());
    let (low, high) = ((first as u32).to_le_bytes(), (first >> 32) as u32);
    let value = second as u32;
    match info.code {
        // SI_TIMER: the timer and how often it was missed.
        -2 => {
            put(24, &low);
            put(32, &high.to_le_bytes());
            put(44, &value.to_le_bytes());
            put(48, &second.to_le_bytes());
        }
        // A fault: where.
        1.. if [4, 5, 7, 8, 11].contains(&info.signal) => put(72, &first.to_le_bytes()),
        _ => {
            put(12, &low);
            put(16, &high.to_le_bytes());
            if info.signal == abi::signal::SIGCHLD && info.code > 0 {
                put(40, &value.to_le_bytes());
            } else if info.code < 0 {
                put(44, &value.to_le_bytes());
                put(48, &second.to_le_bytes());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_header_says() {
        let info = SignalInfo {
            signal: 34,
            code: -1,
            words: [7 | 8 << 32, 0x1_0000_0009],
            ..SignalInfo::default()
        };
        let bytes = record(info);
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
        assert_eq!([word(0), word(12), word(16), word(44)], [34, 7, 8, 9]);
        assert_eq!(word(52), 1);
    }
}
