//! How much memory a decoder takes for bytes that lie about their lengths.
//!
//! Law: no more than the bytes that are there justify. One test alone in its process, as all of it is counted.

use fuzz::{Choices, any_message, mutate};
use peak_alloc::PeakAlloc;
use wire::{Gossip, Message, NodeInfo};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most bytes that were taken while `decode` ran, and what it gave.
fn taken<T>(decode: impl FnOnce() -> T) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = decode();
    let most = MEMORY.peak_usage().saturating_sub(before);
    drop(result);
    most
}

#[test]
fn lies_about_lengths_take_no_memory() {
    let mut random = Choices::of_seed(5);
    let mut worst = [0; 3];
    for _ in 0..40_000 {
        let mut bytes = any_message(&mut random).encode();
        mutate(&mut random, &mut bytes, 4096);
        let most = [
            taken(|| Message::decode(&bytes)),
            taken(|| Gossip::decode(&bytes)),
            taken(|| NodeInfo::decode(&bytes)),
        ];
        // A run of pages is 16 bytes and at least two on the wire, a vector may be twice too long,
        // and the figures of a move lie in a box.
        assert!(most[0] <= 1024 + 32 * bytes.len(), "{most:?} for {bytes:?}");
        for (worst, most) in worst.iter_mut().zip(most) {
            *worst = most.max(*worst);
        }
    }
    println!(
        "most bytes: message {}, gossip {}, info {}",
        worst[0], worst[1], worst[2]
    );
    // A list of records is believed as far as a frame can be long.
    assert!(worst[1] <= 64 << 10, "gossip took {} bytes", worst[1]);
    assert_eq!(worst[2], 0, "information takes no memory");
}
