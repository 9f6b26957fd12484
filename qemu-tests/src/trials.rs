//! Random programs of system calls, hostile and tame: `trials` in the guests.
//!
//! Law: the seed is in the script and on the console. Hostile programs must leave nothing behind on any
//! node; tame ones must print, moved between any two calls, what they print unmoved.

use crate::cases::frames_back;
use crate::lab::{Lab, LabError, Spec};
use crate::scenario::{SEED, Scenario};
use crate::verdict::{between, counted};

/// Tame programs in the test command, and in the long run.
const PROGRAMS: u64 = 150;
const PROGRAMS_LONG: u64 = 3000;
/// Those of which is recorded what they are on Linux.
const RECORDED: usize = 300;

/// Hostile children and malformed images on one node.
pub(crate) fn hostile(name: &'static str, processors: u32, children: u64) -> Scenario {
    let script = format!(
        "trials images {SEED} 300 && echo PASS images || echo FAIL images: see above
trials hostile {SEED} {children} && echo PASS hostile || echo FAIL hostile: see above
true
"
    );
    let expected = ["images", "hostile"].map(str::to_owned).to_vec();
    let spec = Spec::new(name, 1)
        .smp(processors)
        .script(script)
        .timeout_s(120 + children / 10);
    Scenario::new(spec, move |outcome| counted(outcome, &expected))
}

/// Hostile children that are moved between three nodes while they do harm.
pub(crate) fn hostile_moved(name: &'static str, processors: u32, children: u64) -> Scenario {
    let script = format!(
        "trials hostile {SEED} {children} 2 3 1 && echo PASS hostile || echo FAIL hostile: see above
sleep 1
echo frames before; nodes; echo frames end
trials hostile {SEED} {children} 2 3 1 && echo PASS again || echo FAIL again: see above
sleep 1
echo frames after; nodes; echo frames end
"
    );
    let expected = ["hostile", "again"].map(str::to_owned).to_vec();
    let spec = Spec::new(name, 3)
        .smp(processors)
        .script(script)
        .timeout_s(120 + children / 2);
    Scenario::new(spec, move |outcome| {
        let mut verdict = counted(outcome, &expected);
        let result = frames_back(
            between(outcome, "frames before", "frames end"),
            between(outcome, "frames after", "frames end"),
            HEAP_GROWTH,
        );
        verdict.check("frames", result);
        verdict
    })
}

/// Frames by which the heap of a node may still grow when the same programs run once more: it keeps
/// what it once took, and they do not end in the same order.
const HEAP_GROWTH: u64 = 1024;

/// How tame programs are moved, and what that is called.
const WAYS: [(&str, &str); 2] = [
    ("moved-by-themselves", "--self '2 3 1'"),
    ("moved-by-others", "--others '2 3 1'"),
];

/// Tame programs, unmoved and moved.
pub(crate) fn trace(name: &'static str, programs: u64) -> Scenario {
    let mut script = format!("trials trace {SEED} 0 {programs} > /tmp/unmoved\n");
    for (way, options) in WAYS {
        script.push_str(&format!(
            "trials trace {SEED} 0 {programs} {options} --expect /tmp/unmoved > /tmp/moved \
             && echo PASS {way} || echo FAIL {way}: see above
busybox tail -n 400 /tmp/moved
"
        ));
    }
    script.push_str("true\n");
    let expected: Vec<String> = WAYS.map(|(way, _)| way.to_owned()).to_vec();
    let spec = Spec::new(name, 3).script(script).timeout_s(120 + programs);
    Scenario::new(spec, move |outcome| {
        let mut verdict = counted(outcome, &expected);
        let moves = outcome.lines().filter_map(moves_told).collect::<Vec<_>>();
        verdict.check("moves", enough_moves(&moves, programs));
        verdict
    })
}

/// The moves in `traced 300 programs, 2137 moves, 0 differ`.
fn moves_told(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("traced ")?;
    let (_, rest) = rest.split_once(" programs, ")?;
    rest.split_once(" moves")?.0.parse().ok()
}

/// Programs that were hardly moved have shown nothing.
fn enough_moves(moves: &[u64], programs: u64) -> Result<(), String> {
    match moves {
        [own, others] if *own >= 5 * programs && *others >= programs => Ok(()),
        _ => Err(format!("{moves:?} moves of {programs} programs")),
    }
}

/// What the first programs of seed 1 are on Linux 6.18. The host's Linux may be another, in which
/// other things are tried first.
const ON_LINUX: &str = include_str!("../suites/trace-on-linux.txt");

/// Tame programs as they were on Linux.
pub(crate) fn trace_as_recorded(name: &'static str) -> Scenario {
    as_linux(name, ON_LINUX, ON_LINUX.lines().count() as u64)
}

/// Tame programs as the host's Linux runs them, which should not be older than 6.17; with
/// `DUNLIN_RECORD=1` the first of them are recorded.
pub(crate) fn trace_as_linux(
    name: &'static str,
    lab: &dyn Lab,
    programs: u64,
) -> Result<Scenario, LabError> {
    let count = programs.to_string();
    let on_linux = lab.trials_on_host(&["trace", "1", "0", &count])?;
    if std::env::var_os("DUNLIN_RECORD").is_some() {
        let first: String = on_linux.split_inclusive('\n').take(RECORDED).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/suites/trace-on-linux.txt");
        std::fs::write(path, first)
            .map_err(|error| LabError::Failed(format!("{path}: {error}")))?;
    }
    Ok(as_linux(name, &on_linux, programs))
}

fn as_linux(name: &'static str, on_linux: &str, programs: u64) -> Scenario {
    // However it is started: on the host it may be by nohup(1), or with a niceness.
    let script = format!(
        "trap '' HUP; busybox renice -n 5 -p $$ > /dev/null; trials trace 1 0 {programs} --expect /data/linux && echo PASS as-linux \
         || echo FAIL as-linux: see above\ntrue\n"
    );
    let expected = vec!["as-linux".to_owned()];
    let spec = Spec::new(name, 1)
        .script(script)
        .text("/data/linux", on_linux)
        .timeout_s(120 + programs);
    Scenario::new(spec, move |outcome| counted(outcome, &expected))
}

/// The short ones of the test command.
pub(crate) fn short(name: &'static str) -> Scenario {
    trace(name, PROGRAMS)
}

/// The long one.
pub(crate) fn long(name: &'static str) -> Scenario {
    trace(name, PROGRAMS_LONG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::PaperLab;

    #[test]
    fn programs_that_were_not_moved_show_nothing() {
        let console = "traced 150 programs, 1600 moves, 0 differ\nPASS moved-by-themselves\n\
            traced 150 programs, 300 moves, 0 differ\nPASS moved-by-others\n";
        let report = short("x").run(&PaperLab::new(console));
        assert_eq!(report.verdict.failures, Vec::<String>::new());
        let report = short("x").run(&PaperLab::new(&console.replace("1600", "16")));
        assert_eq!(report.verdict.failures.len(), 1);
    }
}
