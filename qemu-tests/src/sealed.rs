//! Clusters with a key, a node that has another one, and somebody who says again what was said.
//!
//! Law: the cluster does what it does without a key, and its nodes count what they refuse. The one with the other key is
//! told of once, by each side, and is nobody's peer. No console shows a key.

use crate::lab::{Action, Key, Outcome, Spec, Suite};
use crate::scenario::Scenario;
use crate::verdict::counted;
use std::time::Duration;

/// Nodes of the cluster; one more has another key.
const NODES: usize = 3;
const STRANGER: usize = NODES + 1;
/// Probes of everything that crosses the link.
const PROBES: [&str; 4] = ["file-stream", "fork-tree", "order", "pages"];
/// What the script looks at itself.
const CHECKS: [&str; 4] = ["sessions", "refuses", "replays", "stranger"];

pub(crate) fn sealed(name: &'static str) -> Scenario {
    let mut script = String::from(
        "count() { grep \"^$1 \" /proc/cluster/self | cut -d ' ' -f 2; }
above() { # NAME COUNTER NUMBER: it gets there
  tries=0
  until test $(count $2) -gt $3 || test $tries -gt 100; do tries=$((tries + 1)); sleep 0.1; done
  if test $tries -le 100; then echo PASS $1; else echo FAIL $1: $(grep seal /proc/cluster/self); fi
}
above sessions seal_sessions 1
above refuses seal_refused_tag 1
echo lab: bombard
",
    );
    for probe in PROBES {
        script += &format!(
            "DUNLIN_MOVES=6 DUNLIN_NODES=\"2 3 1\" /probes/{probe} || echo {probe} ended with status $?\n"
        );
    }
    script += &format!(
        "above replays seal_refused_replay 20
sleep 60 &
if nodes | grep -q ^{STRANGER}; then echo FAIL stranger: it is known
elif migrate $! {STRANGER} 2> /dev/null; then echo FAIL stranger: it took a process
elif migrate $! 2; then echo PASS stranger
else echo FAIL stranger: and nobody else takes one; fi
kill -9 $!; wait $!
true
"
    );
    let spec = Spec::new(name, STRANGER)
        .key(Key::Fresh)
        .stranger(STRANGER)
        .script(script)
        .timeout_s(120)
        .when("lab: bombard", Action::Bombard(1, Duration::from_secs(4)));
    let expected = [PROBES, CHECKS].concat();
    let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
    Scenario::new(spec, move |outcome| {
        let mut verdict = counted(outcome, &expected);
        verdict.check("told of once", told(outcome));
        verdict.check("no key is shown", hidden(outcome));
        verdict
    })
}

/// Authenticated only, on links that carry no whole page: each piece has a tag of its own.
pub(crate) fn pieces(name: &'static str) -> Scenario {
    let probes = ["file-stream", "pages"];
    let mut script = String::new();
    for probe in probes {
        script += &format!(
            "DUNLIN_MOVES=4 DUNLIN_NODES=\"2 1\" /probes/{probe} || echo {probe} ended with status $?\n"
        );
    }
    script += "if grep -q 'pages pieces' /proc/cluster/self && grep -q '^seal_sessions [1-9]' /proc/cluster/self
then echo PASS in-pieces; else echo FAIL in-pieces: $(grep -E 'pages|seal_sessions' /proc/cluster/self); fi
";
    let spec = Spec::new(name, 2)
        .key(Key::Fresh)
        .suite(Suite::SipHash)
        .mtus(&[1500])
        .script(script)
        .timeout_s(120);
    let expected: Vec<String> = probes
        .into_iter()
        .chain(["in-pieces"])
        .map(str::to_owned)
        .collect();
    Scenario::new(spec, move |outcome| {
        let mut verdict = counted(outcome, &expected);
        let says = log(outcome, 2).map(|text| text.contains("and not encrypted (suite siphash)"));
        let says = says.and_then(|says| match says {
            true => Ok(()),
            false => Err("node 2 does not say that it is not encrypted".to_owned()),
        });
        verdict.check("the suite is told", says);
        verdict
    })
}

fn log(outcome: &Outcome, number: usize) -> Result<String, String> {
    let path = outcome.logs.get(number - 1).ok_or("no log")?;
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The nodes of the cluster and the other one tell of each other, once.
fn told(outcome: &Outcome) -> Result<(), String> {
    let refused = |text: &str, node: usize| {
        let line = format!("] node {node} at ");
        let lines = text.lines().filter(|text| text.contains(&line));
        lines.filter(|text| text.contains(" is refused: ")).count()
    };
    for number in 1..=STRANGER {
        let text = log(outcome, number)?;
        if !text
            .contains("frames are authenticated by the cluster's key and encrypted (suite chacha)")
        {
            return Err(format!("node {number} does not say that it has a key"));
        }
        for other in (1..=STRANGER).filter(|other| *other != number) {
            let apart = number == STRANGER || other == STRANGER;
            let is_up = text.contains(&format!("] node {other} is up"));
            if (refused(&text, other), is_up) != (usize::from(apart), !apart) {
                return Err(format!(
                    "node {number} has said something else of node {other}"
                ));
            }
        }
    }
    Ok(())
}

/// The owner's key lies beside the logs and what the nodes were given is gone. On no console is anything that is as long as a key.
fn hidden(outcome: &Outcome) -> Result<(), String> {
    let folder = outcome.logs.first().and_then(|log| log.parent());
    let folder = folder.ok_or("no log")?;
    let path = folder.join("cluster.key");
    let key = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let is_key = |word: &str| word.len() >= 64;
    if !is_key(key.trim()) {
        return Err(format!("{} is no key", path.display()));
    }
    for number in 1..=STRANGER {
        let text = log(outcome, number)?;
        if text.split(|c: char| !c.is_ascii_hexdigit()).any(is_key) {
            return Err(format!("the console of node {number} shows a key"));
        }
        if folder.join(format!("node-{number}.key")).exists() {
            return Err(format!("what node {number} was given still lies there"));
        }
    }
    Ok(())
}
