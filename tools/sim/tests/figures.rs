//! Throughput and waiting on simulated links: a snapshot, because virtual time does not jitter, and
//! the goals that it has to keep.

use sim::figures::{CROWDS, Crowd, Fared, LINKS, PORTS, fare, table};

#[test]
fn figures_are_as_recorded() {
    let expected = include_str!("figures.txt");
    let actual = table();
    assert!(
        actual == expected,
        "the figures changed; if that is meant, record them with\n\
         cargo run --release -p sim -- --figures > tools/sim/tests/figures.txt\n\
         recorded:\n{expected}\nnow:\n{actual}"
    );
}

/// Whoever sends to one node gets an equal share, and all together what the cable carries.
fn shares(name: &str, crowd: &Crowd, fared: &Fared) {
    let goal = if crowd.loss > 0 { 0.9 } else { 0.95 };
    assert!(fared.total() >= goal, "{name}: {} of W", fared.total());
    let (least, most) = fared.shares();
    if crowd.is_to_one() {
        assert!(least >= 0.85 && most <= 1.15, "{name}: {least} to {most}");
    }
}

/// A page that is being sent on a cable cannot be overtaken: there are two cables, a page that keeps
/// the port busy, and one of each sender that comes at the same moment. Beyond that an urgent packet
/// waits a fifth of a round trip.
fn waits(name: &str, crowd: &Crowd, fared: &Fared) {
    if crowd.loss > 0 || !crowd.is_to_one() {
        return;
    }
    let pages = 3.0 + fared.traffic.rates.len() as f64;
    let most = 0.2 + pages * fared.page_ns / fared.rtt_ns;
    for wait in fared.waits() {
        assert!(wait <= most, "{name}: waits {wait} round trips, not {most}");
    }
}

#[test]
fn every_crowd_on_every_link_fares_well() {
    for port_frames in PORTS {
        for link in LINKS {
            for crowd in &CROWDS {
                let name = format!("{}, {}, ports of {port_frames}", link.0, crowd.name);
                let fared = fare(link, crowd, port_frames);
                shares(&name, crowd, &fared);
                waits(&name, crowd, &fared);
            }
        }
    }
}
