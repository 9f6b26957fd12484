//! Throughput on simulated links: a snapshot, because virtual time does not jitter.

#[test]
fn figures_are_as_recorded() {
    let expected = include_str!("figures.txt");
    let actual = sim::figures::table();
    assert!(
        actual == expected,
        "the figures changed; if that is meant, record them with\n\
         cargo run --release -p sim -- --figures > tools/sim/tests/figures.txt\n\
         recorded:\n{expected}\nnow:\n{actual}"
    );
}
