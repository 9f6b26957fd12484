//! What has happened in moves, on one clock, and which event has caused which on another node.
//!
//! Law: an arrow has two ends. An event whose other end was forgotten, or never was (a copy that came to
//! nothing), has no arrow.

use crate::clock::{Clocks, Time};
use crate::read::{Event, NodeTrace};
use std::collections::{BTreeMap, BTreeSet};

/// Causes and effects: what one node did, and what another did when it had heard of that.
const CAUSES: [(&str, &str); 13] = [
    ("asked", "wished"),
    ("offered", "admits"),
    ("admits", "admitted"),
    ("image-out", "image-in"),
    ("installed", "committed"),
    ("committed", "opened"),
    ("committed", "decided"),
    ("opened", "releases"),
    ("releases", "released"),
    ("page-asked", "page-out"),
    ("page-out", "page-in"),
    ("push-over", "complete"),
    ("moved", "told"),
];

/// What a node does in a move, one after the other; not every move has all of them.
const ORDERS: [&[&str]; 3] = [
    &[
        "wished",
        "offered",
        "admitted",
        "freezes",
        "image-out",
        "decided",
        "released",
        "push-over",
        "moved",
    ],
    &["admits", "image-in", "installed", "started", "complete"],
    &["asked", "committed", "releases", "told"],
];

/// What every move has that came to its end, where it is told of whole. (Who waits or is stopped need not start.)
const WHOLE: [&str; 9] = [
    "offered",
    "admits",
    "admitted",
    "freezes",
    "stopped",
    "image-out",
    "image-in",
    "installed",
    "moved",
];

/// An event on the clock of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub node: u16,
    /// What, and when by the node's own clock.
    pub event: Event,
    /// When, ns of the reference's clock.
    pub ns: i128,
    /// How wrong that may be, ns.
    pub error_ns: u64,
}

/// An event and what came of it, by their places in [`Timeline::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The cause.
    pub from: usize,
    /// The effect.
    pub to: usize,
}

/// All that was told.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Node by node, each in its own order.
    pub steps: Vec<Step>,
    /// Who has told whom.
    pub flows: Vec<Flow>,
    /// Steps of moves that the nodes have forgotten.
    pub overwritten: u64,
    /// Pages waited for that they have forgotten.
    pub pages_overwritten: u64,
}

impl Timeline {
    /// Brings what the nodes tell together.
    ///
    /// # Errors
    /// A node whose clock nobody knows.
    pub fn new(nodes: &BTreeMap<u16, NodeTrace>) -> Result<Timeline, String> {
        let Some(clocks) = Clocks::new(nodes) else {
            return Ok(Timeline::default());
        };
        let mut timeline = Timeline::default();
        for (&node, trace) in nodes {
            timeline.overwritten = timeline.overwritten.saturating_add(trace.overwritten);
            let pages = trace.pages_overwritten;
            timeline.pages_overwritten = timeline.pages_overwritten.saturating_add(pages);
            for event in trace.events.iter().filter(|event| event.name != "clock") {
                let Time { ns, error_ns } = clocks
                    .time(node, event.at_ns)
                    .ok_or_else(|| format!("nobody knows the clock of node {node}"))?;
                timeline.steps.push(Step {
                    node,
                    event: event.clone(),
                    ns,
                    error_ns,
                });
            }
        }
        timeline.flows = timeline.find_flows();
        Ok(timeline)
    }

    /// The moves told of: process and epoch.
    pub fn moves(&self) -> BTreeSet<(u32, u64)> {
        let steps = self.steps.iter();
        steps
            .map(|step| (step.event.pid, step.event.epoch))
            .collect()
    }

    /// The first step of this name in a move.
    pub fn step(&self, (pid, epoch): (u32, u64), name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| {
            let event = &step.event;
            (event.pid, event.epoch, event.name.as_str()) == (pid, epoch, name)
        })
    }

    /// The n-th cause of a name belongs to the n-th effect: what nodes tell each other comes once and in order.
    /// Where one of both has been forgotten there is no telling, and no arrow.
    fn find_flows(&self) -> Vec<Flow> {
        type Key<'a> = (u32, u64, &'a str, i128);
        let mut places: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
        for (place, Step { event, .. }) in self.steps.iter().enumerate() {
            let page = if event.name.starts_with("page-") {
                event.value
            } else {
                0
            };
            let key = (event.pid, event.epoch, event.name.as_str(), page);
            places.entry(key).or_default().push(place);
        }
        let mut flows = Vec::new();
        for (&(pid, epoch, name, page), causes) in &places {
            for (_, effect) in CAUSES.iter().filter(|(cause, _)| *cause == name) {
                let Some(effects) = places.get(&(pid, epoch, *effect, page)) else {
                    continue;
                };
                if causes.len() != effects.len() {
                    continue;
                }
                let pairs = causes.iter().zip(effects);
                flows.extend(pairs.map(|(&from, &to)| Flow { from, to }));
            }
        }
        flows
    }

    /// What cannot have been so: effects before their causes by more than the clocks may be wrong, steps of a node in the
    /// wrong order, moves that came to their end without having been under way.
    pub fn violations(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for flow in &self.flows {
            let (Some(from), Some(to)) = (self.steps.get(flow.from), self.steps.get(flow.to))
            else {
                wrong.push(format!("an arrow without an end: {flow:?}"));
                continue;
            };
            let slack = i128::from(from.error_ns) + i128::from(to.error_ns);
            if from.ns > to.ns + slack {
                wrong.push(format!(
                    "process {} epoch {}: {} on node {} is {} ns before {} on node {}, and the clocks are known to {slack} ns",
                    from.event.pid,
                    from.event.epoch,
                    to.event.name,
                    to.node,
                    from.ns - to.ns,
                    from.event.name,
                    from.node
                ));
            }
        }
        for of in self.moves() {
            for order in ORDERS {
                let steps: Vec<&Step> = order
                    .iter()
                    .filter_map(|name| self.step(of, name))
                    .collect();
                for pair in steps.windows(2) {
                    if pair[0].node == pair[1].node && pair[0].event.at_ns > pair[1].event.at_ns {
                        wrong.push(format!(
                            "{of:?}: {} before {}",
                            pair[1].event.name, pair[0].event.name
                        ));
                    }
                }
            }
            if self.overwritten == 0 && self.step(of, "moved").is_some() {
                let missing = WHOLE.iter().filter(|name| self.step(of, name).is_none());
                wrong.extend(missing.map(|name| format!("{of:?} has moved without `{name}`")));
            }
        }
        wrong
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::read::read;

    /// A move from node 1 to node 2, whose clock is 1 ms ahead, give or take 100 us.
    pub(crate) const MOVE: &str = "# node\t1\n\
        100000\t0\tclock\t0\t100000\t2\t1000000\n\
        100000\t1\tasked\t65538\t2\t1\t2\n\
        101000\t2\twished\t65538\t2\t2\t0\n\
        102000\t3\toffered\t65538\t2\t2\t150\n\
        300000\t4\tadmitted\t65538\t2\t2\t0\n\
        300500\t15\tfreezes\t65538\t2\t2\t140\n\
        290000\t5\tstopped\t65538\t2\t2\t0\n\
        330000\t6\timage-out\t65538\t2\t2\t4000\n\
        600000\t7\tcommitted\t65538\t2\t2\t0\n\
        620000\t8\tdecided\t65538\t2\t2\t0\n\
        900000\t9\treleases\t65538\t2\t1\t0\n\
        900500\t10\treleased\t65538\t2\t2\t0\n\
        950000\t11\tpage-out\t65538\t2\t2\t4096\n\
        960000\t12\tpush-over\t65538\t2\t2\t30\n\
        1200000\t13\tmoved\t65538\t2\t2\t1100000\n\
        1200500\t14\ttold\t65538\t2\t1\t1100000\n\
        # node\t2\n\
        1200000\t0\tadmits\t65538\t2\t1\t150\n\
        1450000\t1\timage-in\t65538\t2\t1\t4000\n\
        1460000\t2\tinstalled\t65538\t2\t1\t140\n\
        1470000\t3\tstarted\t65538\t2\t1\t140\n\
        1480000\t4\tpage-asked\t65538\t2\t1\t4096\n\
        1750000\t5\topened\t65538\t2\t1\t0\n\
        2100000\t6\tpage-in\t65538\t2\t1\t4096\n\
        2150000\t7\tcomplete\t65538\t2\t1\t1\n";

    pub(crate) fn timeline(text: &str) -> Timeline {
        let nodes = read(text.lines().map(str::trim)).expect("it is right");
        Timeline::new(&nodes).expect("the clocks are known")
    }

    #[test]
    fn a_move_as_it_was() {
        let timeline = timeline(MOVE);
        assert_eq!(timeline.violations(), Vec::<String>::new());
        assert_eq!(
            timeline.moves().into_iter().collect::<Vec<_>>(),
            [(65538, 2)]
        );
        assert_eq!(timeline.flows.len(), CAUSES.len());
        let image = timeline.step((65538, 2), "image-in").expect("told");
        assert_eq!(image.ns, 450_000);
        assert!((100_000..101_000).contains(&image.error_ns));
    }

    #[test]
    fn what_cannot_be_is_found() {
        // Earlier than the image by more than the clocks may be wrong.
        let early = MOVE.replace("1450000\t1\timage-in", "1210000\t1\timage-in");
        let early = timeline(&early).violations();
        assert_eq!(early.len(), 1, "{early:?}");
        assert!(early[0].contains("image-in on node 2 is 120000 ns before image-out"));
        let late = MOVE.replace("620000\t8\tdecided", "970000\t8\tdecided");
        assert_eq!(
            timeline(&late).violations(),
            ["(65538, 2): released before decided"]
        );
        let lost: String = MOVE
            .lines()
            .filter(|line| !line.contains("installed"))
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(
            timeline(&lost).violations(),
            ["(65538, 2) has moved without `installed`"]
        );
        let forgotten = lost.replace("# node\t2", "# node\t2\n# steps\t9\toverwritten\t1");
        assert_eq!(timeline(&forgotten).violations(), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_has_two_ends() {
        let text: String = MOVE
            .lines()
            .filter(|line| !line.contains("page-out"))
            .collect::<Vec<_>>()
            .join("\n");
        let timeline = timeline(&text);
        assert_eq!(timeline.flows.len(), CAUSES.len() - 2);
    }

    #[test]
    fn a_clock_that_nobody_knows_is_said() {
        let nodes =
            read("# node\t1\n# node\t2\n5\t0\tadmits\t9\t2\t1\t0".lines()).expect("it is right");
        assert_eq!(
            Timeline::new(&nodes).err().as_deref(),
            Some("nobody knows the clock of node 2")
        );
    }
}
