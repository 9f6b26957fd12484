//! Trace events as Perfetto and Chrome read them (the "Trace Event Format", JSON).
//!
//! Law: a node is a process there, and a process of the cluster has four threads on each node: what the node does as the
//! source, the target and the home of its moves, and all steps. Times are microseconds of the reference's clock from the
//! first event on; `args.error_us` says how wrong.
//!
//! Process 0 is the cluster: where each process runs, and when it stands still. An arrow leads from a step to the
//! step that it caused. A step takes no time; it is drawn a microsecond wide, or up to the next one.

use crate::flows::{Step, Timeline};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What a node is in a move, and in the last place everything it has done: a thread each.
const PARTS: [&str; 4] = ["leaves", "arrives", "at home", "steps"];
/// The thread of steps.
const STEPS: usize = 3;

/// Phases on one node: part, name, first event, last event. Within a part each begins where the one before it has ended.
const PHASES: [(usize, &str, &str, &str); 14] = [
    (0, "wait for an earlier move", "wished", "offered"),
    (0, "offer", "offered", "admitted"),
    (0, "copy while it runs", "admitted", "freezes"),
    (0, "drain and capture", "freezes", "image-out"),
    (0, "wait for home's release", "image-out", "released"),
    (0, "push", "released", "push-over"),
    (0, "last acknowledgement", "push-over", "moved"),
    (1, "wait for the image", "admits", "image-in"),
    (1, "install", "image-in", "installed"),
    (1, "start", "installed", "started"),
    (1, "compute without effects", "started", "opened"),
    (1, "pages come", "opened", "complete"),
    (2, "decide", "asked", "committed"),
    (2, "first effect", "committed", "releases"),
];

/// How wide a step is drawn, ns.
const STEP_NS: i128 = 1000;

fn us(ns: i128) -> f64 {
    ns as f64 / 1000.0
}

/// The thread that shows a part of what a node does for a process.
fn thread(pid: u32, part: usize) -> u64 {
    u64::from(pid) * PARTS.len() as u64 + part as u64
}

impl Timeline {
    /// The whole as one JSON object.
    pub fn perfetto(&self) -> Value {
        let origin = self.steps.iter().map(|step| step.ns).min().unwrap_or(0);
        let mut events = self.names();
        events.extend(self.phases(origin));
        events.extend(self.points(origin));
        events.extend(self.arrows(origin));
        events.extend(self.places(origin));
        events.extend(self.stalls(origin));
        json!({
            "displayTimeUnit": "ns",
            "otherData": {
                "moves": self.moves().len(),
                "steps_forgotten_by_the_nodes": self.overwritten,
                "pages_forgotten_by_the_nodes": self.pages_overwritten,
                "clock": "microseconds of the lowest node's clock, from the first event on",
            },
            "traceEvents": events,
        })
    }

    /// What processes and threads are called.
    fn names(&self) -> Vec<Value> {
        let name = |what: &str, node: u16, thread: u64, name: String| json!({ "ph": "M", "name": what, "pid": node, "tid": thread, "args": { "name": name } });
        let mut events = vec![name("process_name", 0, 0, "cluster".to_owned())];
        let tracks: BTreeSet<(u16, u32)> = self
            .steps
            .iter()
            .map(|step| (step.node, step.event.pid))
            .collect();
        for node in tracks.iter().map(|track| track.0).collect::<BTreeSet<_>>() {
            events.push(name("process_name", node, 0, format!("node {node}")));
        }
        for pid in tracks.iter().map(|track| track.1).collect::<BTreeSet<_>>() {
            let title = format!("process {pid} runs");
            events.push(name("thread_name", 0, u64::from(pid), title));
        }
        for (node, pid) in tracks {
            for (part, what) in PARTS.iter().enumerate() {
                let title = format!("process {pid} {what}");
                events.push(name("thread_name", node, thread(pid, part), title));
            }
        }
        events
    }

    /// Slices from one event of a move to another on the same node.
    fn phases(&self, origin: i128) -> Vec<Value> {
        let mut events = Vec::new();
        for of in self.moves() {
            for (part, name, first, last) in PHASES {
                let ends = self.step(of, first).zip(self.step(of, last));
                let Some((first, last)) = ends.filter(|(a, b)| a.node == b.node && a.ns <= b.ns)
                else {
                    continue;
                };
                events.push(json!({
                    "ph": "X", "name": name, "cat": "phase",
                    "pid": first.node, "tid": thread(of.0, part),
                    "ts": us(first.ns - origin), "dur": us(last.ns - first.ns),
                    "args": { "epoch": of.1, "error_us": us(first.error_ns.into()) },
                }));
            }
        }
        events
    }

    /// Every step, for arrows to begin and end at.
    fn points(&self, origin: i128) -> Vec<Value> {
        let mut tracks: BTreeMap<(u16, u32), Vec<&Step>> = BTreeMap::new();
        for step in &self.steps {
            let track = (step.node, step.event.pid);
            tracks.entry(track).or_default().push(step);
        }
        let mut events = Vec::new();
        for steps in tracks.values_mut() {
            steps.sort_by_key(|step| step.ns);
            for (index, step) in steps.iter().enumerate() {
                let next = steps.get(index + 1).map_or(i128::MAX, |next| next.ns);
                let event = &step.event;
                let value = i64::try_from(event.value).unwrap_or(i64::MAX);
                events.push(json!({
                    "ph": "X", "name": event.name, "cat": "step",
                    "pid": step.node, "tid": thread(event.pid, STEPS),
                    "ts": us(step.ns - origin), "dur": us((next - step.ns).min(STEP_NS)),
                    "args": {
                        "epoch": event.epoch, "peer": event.peer, "value": value,
                        "node_clock_ns": event.at_ns, "error_us": us(step.error_ns.into()),
                    },
                }));
            }
        }
        events
    }

    /// From causes to effects.
    fn arrows(&self, origin: i128) -> Vec<Value> {
        let end = |phase: &str, id: usize, step: &Step, name: &str| {
            let mut event = json!({
                "ph": phase, "id": id, "name": name, "cat": "flow",
                "pid": step.node, "tid": thread(step.event.pid, STEPS),
                "ts": us(step.ns - origin),
            });
            if phase == "f" {
                event["bp"] = json!("e");
            }
            event
        };
        let flows = self.flows.iter().enumerate();
        flows
            .flat_map(|(id, flow)| {
                let (from, to) = (&self.steps[flow.from], &self.steps[flow.to]);
                let name = format!("{} to {}", from.event.name, to.event.name);
                [end("s", id, from, &name), end("f", id, to, &name)]
            })
            .collect()
    }

    /// Where each process runs, as far as its moves tell.
    fn places(&self, origin: i128) -> Vec<Value> {
        let mut events = Vec::new();
        let mut slice = |pid: u32, name: String, from: i128, to: i128, error: u64| {
            if from <= to {
                events.push(json!({
                    "ph": "X", "name": name, "cat": "place", "pid": 0, "tid": pid,
                    "ts": us(from - origin), "dur": us(to - from),
                    "args": { "error_us": us(error.into()) },
                }));
            }
        };
        let mut since: BTreeMap<u32, (u16, i128)> = BTreeMap::new();
        for of in self.moves() {
            let ends = self.step(of, "stopped").zip(self.step(of, "started"));
            let Some((stopped, started)) = ends else {
                continue;
            };
            if let Some((node, from)) = since.insert(of.0, (started.node, started.ns)) {
                slice(
                    of.0,
                    format!("on node {node}"),
                    from,
                    stopped.ns,
                    stopped.error_ns,
                );
            }
            let error = stopped.error_ns.saturating_add(started.error_ns);
            let name = format!("frozen, {} to {}", stopped.node, started.node);
            // By clocks that are not exactly known it may seem to start before it stopped.
            slice(of.0, name, stopped.ns, started.ns.max(stopped.ns), error);
        }
        events
    }

    /// From when a page is asked for to when it is there: several at once, so not as slices of a thread.
    fn stalls(&self, origin: i128) -> Vec<Value> {
        let mut asked: BTreeMap<(u16, u32, u64, i128), &Step> = BTreeMap::new();
        let mut events = Vec::new();
        for step in &self.steps {
            let event = &step.event;
            let key = (step.node, event.pid, event.epoch, event.value);
            match event.name.as_str() {
                "page-asked" => {
                    asked.insert(key, step);
                }
                "page-in" => {
                    let Some(since) = asked.remove(&key) else {
                        continue;
                    };
                    let id = events.len();
                    for (phase, at) in [("b", since.ns), ("e", step.ns.max(since.ns))] {
                        events.push(json!({
                            "ph": phase, "id": id, "cat": "stall",
                            "name": format!("page {:#x} awaited", event.value),
                            "pid": step.node, "tid": thread(event.pid, STEPS), "ts": us(at - origin),
                        }));
                    }
                }
                _ => {}
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use crate::flows::tests::{MOVE, timeline};
    use serde_json::Value;

    fn count(events: &[Value], phase: &str) -> usize {
        events.iter().filter(|event| event["ph"] == phase).count()
    }

    #[test]
    fn what_is_written_can_be_read() {
        let timeline = timeline(MOVE);
        let text = timeline.perfetto().to_string();
        let read: Value = serde_json::from_str(&text).expect("it is JSON");
        let events = read["traceEvents"].as_array().expect("a list");
        assert_eq!(count(events, "s"), timeline.flows.len());
        assert_eq!(count(events, "f"), timeline.flows.len());
        assert_eq!((count(events, "b"), count(events, "e")), (1, 1));
        for event in events.iter().filter(|event| event["ph"] != "M") {
            assert!(event["ts"].as_f64().is_some_and(|ts| ts >= 0.0), "{event}");
            assert!(event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
        }
        let frozen = events.iter().find(|event| event["cat"] == "place");
        let frozen = frozen.expect("it stood still");
        assert_eq!(
            (&frozen["ts"], &frozen["dur"]),
            (&190.0.into(), &180.0.into())
        );
    }

    #[test]
    fn slices_of_a_thread_nest() {
        let read = timeline(MOVE).perfetto();
        let events = read["traceEvents"].as_array().expect("a list");
        let number = |event: &Value, name: &str| event[name].as_f64().expect("a number");
        let slices: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
        for one in &slices {
            for other in &slices {
                let same = one["pid"] == other["pid"] && one["tid"] == other["tid"];
                let (a, b) = (number(one, "ts"), number(other, "ts"));
                let (a_end, b_end) = (a + number(one, "dur"), b + number(other, "dur"));
                assert!(
                    !same || a >= b || a_end <= b + 1e-6 || a_end >= b_end - 1e-6,
                    "{one} {other}"
                );
            }
        }
    }

    #[test]
    fn every_arrow_ends_in_a_step() {
        let read = timeline(MOVE).perfetto();
        let events = read["traceEvents"].as_array().expect("a list");
        let arrows = events.iter().filter(|event| event["cat"] == "flow");
        for arrow in arrows {
            let at = |event: &&Value| {
                ["pid", "tid", "ts"]
                    .iter()
                    .all(|name| event[name] == arrow[name])
                    && event["cat"] == "step"
            };
            assert!(events.iter().any(|event| at(&event)), "{arrow}");
        }
    }
}
