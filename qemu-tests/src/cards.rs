//! A small cluster on another network card than the usual one.
//!
//! Law: the kernel itself says which card it drives and whether it is called by it or looks at it;
//! a cluster on the wrong card is a failure.

use crate::lab::{MTU, Net, Spec};
use crate::scenario::Scenario;
use crate::verdict::{between, counted};

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
pub(crate) fn cluster(name: &'static str, net: Net, mtus: &[u16], card: &'static str) -> Scenario {
    let mut script = String::new();
    for probe in PROBES {
        script += "DUNLIN_MOVES=6 DUNLIN_NODES=\"2 3 1\" ";
        script += &format!("/probes/{probe} || echo {probe} ended with status $?\n");
    }
    script += "echo counters; cat /proc/cluster/self; echo counted\n";
    let spec = Spec::new(name, 3)
        .net(net)
        .mtus(mtus)
        .script(script)
        .timeout_s(120);
    let pages = mtus.iter().map(|mtu| *mtu == MTU).collect::<Vec<_>>();
    let expected = PROBES.map(str::to_owned).to_vec();
    Scenario::new(spec, move |outcome| {
        let mut verdict = counted(outcome, &expected);
        let said = format!("network: {card}");
        let drives = outcome.console.lines().any(|line| line.ends_with(&said));
        let drives = drives.then_some(());
        verdict.check(
            name,
            drives.ok_or(format!("the kernel did not say `{said}`")),
        );
        let lines = between(outcome, "counters", "counted").unwrap_or_default();
        verdict.check("counters", good_counters(&lines));
        verdict.check("pages of links", good_links(&lines, &pages));
        verdict
    })
}

/// Pages go whole from node 1 to those to which both ends of the way carry them, and in pieces to the others.
fn good_links(lines: &[&str], whole: &[bool]) -> Result<(), String> {
    for node in 2..=whole.len() {
        let wanted = match whole[0] && whole[node - 1] {
            true => " pages whole",
            false => " pages pieces",
        };
        let link = format!("link {node} ");
        let mut found = lines.iter().filter(|line| line.starts_with(&link));
        if !found.any(|line| line.ends_with(wanted)) {
            return Err(format!("no line `{link}...{wanted}`"));
        }
    }
    Ok(())
}

/// Packets have come and gone, and none of them was other than it should be.
fn good_counters(lines: &[&str]) -> Result<(), String> {
    let count = |name: &str| {
        let mut found = lines.iter().filter_map(|line| line.strip_prefix(name));
        found.find_map(|rest| rest.trim().parse::<u64>().ok())
    };
    let some = ["card_received", "card_sent", "card_kicks"];
    let none = [
        "card_short",
        "card_bad_length",
        "card_damaged",
        "card_no_memory",
        "card_broken_queues",
    ];
    let good = |name: &&str, least| count(name).is_some_and(|now| (now > 0) == least);
    let bad_some = some.iter().filter(|name| !good(name, true));
    let bad_none = none.iter().filter(|name| !good(name, false));
    let bad: Vec<_> = bad_some.chain(bad_none).copied().collect();
    if bad.is_empty() {
        Ok(())
    } else {
        Err(format!("as they should not be: {}", bad.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_held_to_what_they_carry() {
        let lines = ["link 2 sent 1 pages whole", "link 3 sent 1 pages pieces"];
        assert_eq!(good_links(&lines, &[true, true, false]), Ok(()));
        assert!(good_links(&lines, &[true, true, true]).is_err());
        assert!(good_links(&lines, &[false, true, false]).is_err());
        assert!(good_links(&lines[..1], &[true, true, false]).is_err());
    }

    #[test]
    fn counters_are_held_to_what_they_should_be() {
        let text = "card_received 5\ncard_sent 5\ncard_kicks 1\ncard_short 0\ncard_bad_length 0
card_damaged 0\ncard_no_memory 0\ncard_broken_queues 0";
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(good_counters(&lines), Ok(()));
        for (good, bad) in [
            ("_short 0", "_short 1"),
            ("_sent 5", "_sent 0"),
            ("card_damaged 0", "x"),
        ] {
            let text = text.replace(good, bad);
            let lines: Vec<_> = text.lines().collect();
            assert!(good_counters(&lines).is_err(), "{bad}");
        }
    }
}
