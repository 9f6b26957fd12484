//! What the nodes tell of moves: fetched from all of them by the script, and held to what can have been.
//!
//! Law: a move that the script has made is in the trace, whole, and on one clock nothing comes before its cause.

use crate::lab::{Outcome, Spec};
use crate::scenario::Scenario;
use crate::verdict::{Verdict, between, ended_well};
use timeline::Timeline;

/// The line behind which the traces stand.
pub const BEGIN: &str = "trace begins";
const END: &str = "trace ends";
/// Moves that the scenario makes.
const MOVES: usize = 6;
/// Memory of the program that is moved: enough that pages are asked for while others are pushed.
const MIB: usize = 16;

/// A script that ends as the given one does, but has every node's trace printed first.
pub fn with_trace(script: &str) -> String {
    format!(
        "(\n{script}\n)\nstatus=$?\necho\necho {BEGIN}\n\
         for node in /proc/cluster/trace/*; do cat $node; done\necho {END}\nexit $status\n"
    )
}

/// What the nodes have told at the end of such a script.
///
/// # Errors
/// There is no trace, or one that is not understood.
pub fn told(outcome: &Outcome) -> Result<Timeline, String> {
    let lines = between(outcome, BEGIN, END).ok_or("the nodes have told nothing")?;
    let nodes = timeline::read(lines.iter().copied().filter(|line| !line.is_empty()))?;
    Timeline::new(&nodes)
}

/// Moves a program that uses its memory between three nodes, and looks at what they tell.
pub(crate) fn moves() -> Scenario {
    let script = format!(
        "bench-migrate --sizes {MIB} --repeat {MOVES} 2 3 > /tmp/figures || {{ cat /tmp/figures; exit 1; }}"
    );
    let spec = Spec::new("timeline", 3)
        .script(with_trace(&script))
        .timeout_s(120);
    Scenario::new(spec, |outcome| {
        let mut verdict = Verdict {
            passed: Vec::new(),
            failures: ended_well(outcome),
        };
        verdict.check(
            "timeline",
            told(outcome).and_then(|timeline| whole(&timeline)),
        );
        verdict
    })
}

fn whole(timeline: &Timeline) -> Result<(), String> {
    let wrong = timeline.violations();
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    let moved = timeline.moves().into_iter();
    let moved = moved.filter(|of| timeline.step(*of, "moved").is_some());
    let moved = moved.count();
    if moved < MOVES {
        return Err(format!("{MOVES} moves were made, {moved} are told of"));
    }
    for name in [
        "asked",
        "offered",
        "admits",
        "image-out",
        "committed",
        "opened",
    ] {
        let from = |place: usize| timeline.steps[place].event.name == name;
        let arrows = timeline.flows.iter().filter(|flow| from(flow.from)).count();
        if arrows < MOVES {
            return Err(format!("{arrows} arrows from `{name}` in {MOVES} moves"));
        }
    }
    let text = timeline.perfetto().to_string();
    if !text.contains("\"traceEvents\"") {
        return Err("no trace events".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Ended;

    fn outcome(console: String) -> Outcome {
        Outcome {
            ended: Ended::Status(0),
            console,
            died: Vec::new(),
            logs: Vec::new(),
        }
    }

    #[test]
    fn no_trace_is_a_failure() {
        let none = told(&outcome("hello\n".to_owned())).err();
        assert_eq!(none.as_deref(), Some("the nodes have told nothing"));
        let empty = format!("{BEGIN}\n{END}\n");
        let empty = told(&outcome(empty)).expect("a trace of nobody");
        assert!(whole(&empty).is_err_and(|why| why.starts_with("6 moves")));
        let odd = format!("{BEGIN}\ncat: no such file\n{END}\n");
        assert!(told(&outcome(odd)).is_err());
    }
}
