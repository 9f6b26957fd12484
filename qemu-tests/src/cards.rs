//! A small cluster on another network card than the usual one.
//!
//! Law: the kernel itself says which card it drives and whether it is called by it or looks at it;
//! a cluster on the wrong card is a failure.

use crate::lab::{Net, Spec};
use crate::scenario::Scenario;
use crate::verdict::counted;

/// Probes of everything that crosses the link: pages, calls with much data, windows of files and order.
const PROBES: [&str; 10] = [
    "big-io",
    "file-image",
    "file-mapped",
    "file-stream",
    "fork-tree",
    "order",
    "pages",
    "pipe-halves",
    "shared-memory",
    "thread-compute",
];

/// Probes that move around three nodes, and what the kernel says of its card.
pub(crate) fn cluster(name: &'static str, net: Net, card: &'static str) -> Scenario {
    let mut script = String::new();
    for probe in PROBES {
        script += "DUNLIN_MOVES=6 DUNLIN_NODES=\"2 3 1\" ";
        script += &format!("/probes/{probe} || echo {probe} ended with status $?\n");
    }
    script += "true\n";
    let spec = Spec::new(name, 3).net(net).script(script).timeout_s(120);
    let expected = PROBES.map(str::to_owned).to_vec();
    Scenario::new(spec, move |outcome| {
        let mut verdict = counted(outcome, &expected);
        let said = format!("network: {card}");
        let drives = outcome.console.lines().any(|line| line.ends_with(&said));
        let result = drives.then_some(());
        verdict.check(
            name,
            result.ok_or(format!("the kernel did not say `{said}`")),
        );
        verdict
    })
}
