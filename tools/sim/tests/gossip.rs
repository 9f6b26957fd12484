//! Gossip on virtual time: the recorded figures, and the goals that they have to keep.

use sim::gossip::{SHORT, table};

#[test]
fn gossip_is_as_recorded_and_keeps_its_goals() {
    let expected = include_str!("gossip.txt");
    let (actual, missed) = table(SHORT);
    assert_eq!(missed, [] as [&str; 0], "{actual}");
    assert!(
        actual == expected,
        "the figures changed; if that is meant, record them with\n\
         cargo run --release -p sim -- --gossip short > tools/sim/tests/gossip.txt\n\
         recorded:\n{expected}\nnow:\n{actual}"
    );
}
