//! The list of all scenarios that boot nodes.
//!
//! Law: every script is written so that each check prints exactly one `PASS name` or `FAIL name: why`
//! line. The lab lets a script begin when all nodes have found each other.

use crate::cards;
use crate::cells;
use crate::demo::{Story, judge_part, story};
use crate::dynamic::dynamic;
use crate::foreign::foreign;
use crate::lab::{Action, Disks, Lab, LabError, MTU, Net, Spec};
use crate::placement;
use crate::programs::{Part, programs};
use crate::scenario::Scenario;
use crate::soak;
use crate::suites::{self, Way};
use crate::trials;
use crate::verdict::{Verdict, between, counted, ended_well};
use crate::zdtm::{self, zdtm};
use std::fmt::Write;
use switch::{Chance, Faults};

/// Migrations one after the other, on links that lose, repeat and reorder, and on those that do not; and in the long tests.
const MANY: u32 = 200;
pub(crate) const MANY_LONG: u32 = 1000;
/// Those before the first count of frames: each node has as large a heap then as it needs on such links.
const FIRST: u32 = 100;
/// Frames of memory by which a node may differ from its baseline after the long scenarios: what the
/// kernel heap and caches legitimately keep.
const FRAMES_TOLERANCE: u64 = 64;
/// How many probes run at a time.
const LANES: usize = 2;
/// Seconds a probe may take before it is killed.
const PROBE_TIMEOUT_S: u32 = 45;
/// Scenarios whose nodes have two processors, unless one is asked for. Everything must pass with any
/// number; to run all of it with each takes twice as long, so that the usual run is half and half.
const ON_TWO_PROCESSORS: [&str; 9] = [
    "shell",
    "probes-unmoved",
    "probes-moved-by-others",
    "dead-node",
    "unreachable",
    "console",
    "foreign",
    "busybox-suite",
    "hostile-moved",
];

/// A scenario by name, made only when it is wanted.
pub struct Case {
    /// What the filter of `cargo xtask test` is held against.
    pub name: &'static str,
    pub(crate) build: fn(&'static str, &dyn Lab) -> Result<Scenario, LabError>,
}

impl Case {
    /// Makes the scenario.
    ///
    /// # Errors
    /// When the lab cannot answer what the scenario asks of it beforehand.
    pub fn scenario(&self, lab: &dyn Lab) -> Result<Scenario, LabError> {
        (self.build)(self.name, lab)
    }

    /// How many processors its nodes have at least.
    pub fn processors(&self) -> u32 {
        if ON_TWO_PROCESSORS.contains(&self.name) {
            2
        } else {
            1
        }
    }
}

/// All scenarios, quick ones first.
pub fn all() -> Vec<Case> {
    vec![
        Case {
            name: "selftest",
            build: |name, _| Ok(selftest(name, 1, ("disktest", Disks::Fresh))),
        },
        Case {
            name: "selftest-processors",
            build: |name, _| Ok(selftest(name, 2, ("disksealed", Disks::ReadOnly))),
        },
        Case {
            name: "shell",
            build: shell,
        },
        Case {
            name: "probes-unmoved",
            build: |name, lab| probes(name, lab, Moved::Not),
        },
        Case {
            name: "probes-moved-once",
            build: |name, lab| probes(name, lab, Moved::Itself(1)),
        },
        Case {
            name: "probes-moved-20",
            build: |name, lab| probes(name, lab, Moved::Itself(20)),
        },
        Case {
            name: "probes-moved-by-others",
            build: |name, lab| probes(name, lab, Moved::ByOthers(20)),
        },
        Case {
            name: "modes",
            build: modes,
        },
        Case {
            name: "balance",
            build: placement::balance,
        },
        Case {
            name: "balance-crowd",
            build: placement::crowd,
        },
        Case {
            name: "balance-memory",
            build: placement::memory,
        },
        Case {
            name: "starts",
            build: placement::starts,
        },
        Case {
            name: "soak",
            build: |name, lab| soak::SHORT.scenario(name, lab),
        },
        Case {
            name: "bombarded",
            build: |name, lab| soak::BOMBARDED.scenario(name, lab),
        },
        Case {
            name: "owners",
            build: placement::owners,
        },
        Case {
            name: "errors",
            build: errors,
        },
        Case {
            name: "dead-node",
            build: dead_node,
        },
        Case {
            name: "late-node",
            build: late_node,
        },
        Case {
            name: "guest-lost",
            build: guest_lost,
        },
        Case {
            name: "restarted",
            build: restarted,
        },
        Case {
            name: "unreachable",
            build: unreachable,
        },
        Case {
            name: "cut-and-healed",
            build: cut_and_healed,
        },
        Case {
            name: "console",
            build: crate::interactive::console,
        },
        Case {
            name: "console-jobs",
            build: crate::interactive::jobs,
        },
        Case {
            name: "foreign",
            build: foreign,
        },
        Case {
            name: "foreign-dynamic",
            build: dynamic,
        },
        Case {
            name: "hostile",
            build: |name, _| Ok(trials::hostile(name, 1, 3000)),
        },
        Case {
            name: "hostile-processors",
            build: |name, _| Ok(trials::hostile(name, 2, 3000)),
        },
        Case {
            name: "hostile-moved",
            build: |name, _| Ok(trials::hostile_moved(name, 1, 800)),
        },
        Case {
            name: "busybox-suite",
            build: |name, lab| suites::busybox(name, lab, Way::Home, &suites::SHORT),
        },
        Case {
            name: "programs-moved",
            build: |name, lab| programs(name, lab, Way::Moved, Part::Short),
        },
        Case {
            name: "zdtm-moved",
            build: |name, lab| zdtm(name, lab, Way::Moved, Some(&zdtm::SHORT)),
        },
        Case {
            name: "trace",
            build: |name, _| Ok(trials::short(name)),
        },
        Case {
            name: "trace-as-recorded",
            build: |name, _| Ok(trials::trace_as_recorded(name)),
        },
        Case {
            name: "timeline",
            build: |_, _| Ok(crate::moves::moves()),
        },
        Case {
            name: "card-e1000e",
            build: |name, _| {
                let card = "82574L, interrupts, MTU 8178";
                Ok(cards::cluster(name, Net::E1000e, &[MTU; 3], card))
            },
        },
        Case {
            name: "card-e1000",
            build: |name, _| {
                let card = "82540EM, polled, MTU 8178";
                Ok(cards::cluster(name, Net::E1000, &[MTU; 3], card))
            },
        },
        Case {
            name: "mtu-1500",
            build: |name, _| {
                let card = "virtio-net, interrupts, MTU 1500";
                Ok(cards::cluster(name, Net::Virtio, &[1500; 3], card))
            },
        },
        Case {
            // The cards carry pages, and the switch does so on two of three ports.
            name: "mtu-mixed",
            build: |name, _| {
                let card = "82574L, interrupts, MTU 8178";
                Ok(cards::cluster(name, Net::E1000e, &[MTU, 1500, MTU], card))
            },
        },
        Case {
            name: "sealed",
            build: |name, _| Ok(crate::sealed::sealed(name)),
        },
        Case {
            name: "sealed-pieces",
            build: |name, _| Ok(crate::sealed::pieces(name)),
        },
        Case {
            name: "demo",
            build: demo,
        },
        Case {
            name: "fault-cells",
            build: |name, _| Ok(cells::some(name)),
        },
        Case {
            name: "home-reboot",
            build: |name, _| Ok(crate::reboot::home_reboot(name)),
        },
        Case {
            name: "many-migrations",
            build: |name, _| many(name, MANY, Faults::default()),
        },
        Case {
            name: "many-migrations-faults",
            build: |name, _| many(name, MANY, bad_links()),
        },
    ]
}

/// 2 % loss, duplication and reordering, as the goals ask for.
pub(crate) fn bad_links() -> Faults {
    let chance = Chance::percent(2);
    Faults {
        loss: chance,
        duplicate: chance,
        reorder: chance,
        ..Faults::default()
    }
}

/// The kernel's own tests, inside one node: user-mode protection, traps, frames, and what
/// processors do to each other; and of a disk what one such word says.
fn selftest(name: &'static str, processors: u32, (word, disks): (&str, Disks)) -> Scenario {
    let spec = Spec::new(name, 1)
        .smp(processors)
        .append(&format!("selftest {word}"))
        .disks(disks)
        .timeout_s(120);
    Scenario::new(spec, move |outcome| {
        let mut verdict = Verdict {
            passed: Vec::new(),
            failures: ended_well(outcome),
        };
        verdict.check(name, kernel_checks(&outcome.console));
        verdict
    })
}

/// The kernel logs `selftest: ok N checks` when all held; none counted is none passed.
fn kernel_checks(console: &str) -> Result<(), String> {
    let count = console.lines().find_map(|line| {
        let (_, rest) = line.split_once("] selftest: ok ")?;
        rest.strip_suffix(" checks")?.parse::<u32>().ok()
    });
    match count {
        Some(1..) => Ok(()),
        _ => Err("the kernel did not say that its checks held".to_owned()),
    }
}

/// The shell's constructs, and an unmodified program of somebody else.
fn shell(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = "\
true && echo PASS and || echo FAIL and
false || echo PASS or
if test -e /bin/sh; then echo PASS if; else echo FAIL if; fi
echo one two > /tmp/words; cat < /tmp/words | /bin/busybox grep two > /tmp/found && echo PASS pipe
sleep 0.05 & wait $! && echo PASS wait
sh -c 'exit 7'; if test $? -eq 7; then echo PASS status; else echo FAIL status; fi
/bin/busybox echo PASS busybox
/bin/busybox ls / > /tmp/root && /bin/busybox grep bin /tmp/root > /dev/null && echo PASS list
";
    let expected = [
        "and", "or", "if", "pipe", "wait", "status", "busybox", "list",
    ];
    let expected: Vec<String> = expected.map(str::to_owned).to_vec();
    let spec = Spec::new(name, 1).script(script).timeout_s(60);
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// Who moves a probe.
#[derive(Debug, Clone, Copy)]
enum Moved {
    /// Nobody.
    Not,
    /// The probe itself, at its move points, this often.
    Itself(u32),
    /// Another process, whenever it likes, this often at most.
    ByOthers(u32),
}

/// Every probe is a process of its own, under a watchdog, so that one that hangs hides no other, and beside those of the other
/// lanes: most of a probe's time is waiting. A probe reports
/// `PASS name` or `FAIL name: why` itself; how it is moved is in its environment.
fn probes(name: &'static str, lab: &dyn Lab, moved: Moved) -> Result<Scenario, LabError> {
    let names = lab.probes()?;
    let (nodes, environment, mover) = match moved {
        Moved::Not => (1, "DUNLIN_MOVES=0".to_owned(), String::new()),
        Moved::Itself(moves) => {
            let targets = if moves == 1 { "2" } else { "2 3 1" };
            (
                3,
                format!("DUNLIN_MOVES={moves} DUNLIN_NODES=\"{targets}\""),
                String::new(),
            )
        }
        Moved::ByOthers(moves) => (
            3,
            "DUNLIN_MOVES=external DUNLIN_SECONDS=1".to_owned(),
            format!(
                "mover --every 20 --modes post-copy,pre-copy,stop-and-copy,hybrid $probe {moves} 2 3 1\n"
            ),
        ),
    };
    let mut script = String::new();
    for lane in 0..LANES {
        script.push_str("(\n");
        for probe in names.iter().skip(lane).step_by(LANES) {
            let _ = write!(
                script,
                "{environment} /probes/{probe} & probe=$!
sh -c \"sleep {PROBE_TIMEOUT_S}; echo {probe} hangs; kill -9 $probe\" & watchdog=$!
{mover}wait $probe || echo {probe} ended with status $?
kill -9 $watchdog
"
            );
        }
        script.push_str(") &\n");
    }
    script.push_str("wait\ntrue\n");
    let spec = Spec::new(name, nodes).script(script).timeout_s(600);
    Ok(Scenario::new(spec, move |outcome| counted(outcome, &names)))
}

/// A process that changes its memory all the time moves in each mode, and stays where it is when a
/// bound cannot be kept or the move is called off. That its memory is right afterwards is what the
/// probes say that others move in all modes.
fn modes(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let mut script = String::from(
        "/bin/probes churn 16 1000000 > /tmp/out & p=$!
there() { test \"$(cat /proc/$p/where)\" = $1; }
fails() { # NAME WORDS COMMAND...
  n=$1; w=$2; shift 2
  if \"$@\" 2> /tmp/error; then echo FAIL $n: it moved
  elif ! grep -q \"$w\" /tmp/error; then echo FAIL $n: $(cat /tmp/error)
  elif there home; then echo PASS $n; else echo FAIL $n: it is not at home; fi
}
",
    );
    let mut expected: Vec<String> = Vec::new();
    for mode in ["post-copy", "pre-copy", "stop-and-copy", "hybrid"] {
        let _ = write!(
            script,
            "if migrate --mode {mode} $p 2 && there 2 && tail -n 1 /proc/$p/migstat | cut -f 4 | grep -qx {mode}
then echo PASS {mode}; else echo FAIL {mode}: $(tail -n 1 /proc/$p/migstat); fi
migrate --mode {mode} $p home && there home || echo FAIL {mode}: it did not come back
"
        );
        expected.push(mode.to_owned());
    }
    script.push_str(
        "fails maxfreeze 'stood still for longer' migrate --mode stop-and-copy --max-freeze 1us $p 2
fails changes-too-fast 'too fast\\|stood still' migrate --mode pre-copy --bandwidth 20M --max-freeze 1us $p 2
fails timeout 'in the time allowed' migrate --mode pre-copy --bandwidth 1M --timeout 300ms $p 2
(until migrate --cancel $p 2> /dev/null; do sleep 0.1; done) &
fails cancel 'called off' migrate --mode pre-copy --bandwidth 1M $p 2
fails mode 'usage' migrate --mode sideways $p 2
if migrate --bandwidth 100M $p 2 && there 2; then echo PASS bandwidth; else echo FAIL bandwidth; fi
kill $p; wait $p
true
",
    );
    let more = [
        "maxfreeze",
        "changes-too-fast",
        "timeout",
        "cancel",
        "mode",
        "bandwidth",
    ];
    expected.extend(more.map(str::to_owned));
    let spec = Spec::new(name, 2).script(script).timeout_s(120);
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// Moves that must fail say so, and the process runs on.
fn errors(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let mut script = String::new();
    script.push_str("sleep 60 &\n");
    let checks = [
        ("unknown-node", "migrate $! 9"),
        ("node-0", "migrate $! 0"),
        ("no-number", "migrate $! elsewhere"),
        ("no-process", "migrate 999999999 2"),
        ("init-stays", "migrate 1 2"),
    ];
    for (check, command) in checks {
        let _ = writeln!(
            script,
            "if {command} > /tmp/out; then echo FAIL {check}: it moved; else echo PASS {check}; fi"
        );
    }
    script.push_str(
        "if kill -0 $!; then echo PASS still-there; else echo FAIL still-there: gone; fi
if migrate $! 2; then echo PASS moves-after-all; else echo FAIL moves-after-all: refused; fi
if migrate $! home; then echo PASS comes-home; else echo FAIL comes-home: refused; fi
kill -9 $!; wait $!
true
",
    );
    let mut expected: Vec<String> = checks
        .iter()
        .map(|(check, _)| (*check).to_owned())
        .collect();
    expected.extend(["still-there", "moves-after-all", "comes-home"].map(str::to_owned));
    let spec = Spec::new(name, 2).script(script).timeout_s(60);
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// A move to a node that has died fails in bounded time, and the process runs on.
fn dead_node(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = String::from(
        "sleep 60 &
echo lab: kill 3
sleep 0.5
if migrate $! 3 > /tmp/out; then echo FAIL dead: it moved; else echo PASS dead; fi
if kill -0 $!; then echo PASS runs-on; else echo FAIL runs-on: gone; fi
if migrate $! 2 && migrate $! home; then echo PASS others; else echo FAIL others: refused; fi
kill -9 $!; wait $!
true
",
    );
    let expected = ["dead", "runs-on", "others"].map(str::to_owned).to_vec();
    let spec = Spec::new(name, 3)
        .script(script)
        .timeout_s(90)
        .when("lab: kill 3", Action::Kill(3));
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// A node that boots later joins and takes a process.
fn late_node(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = String::from(
        "echo lab: start 3
tries=0
until test $(nodes | wc -l) -gt 3 || test $tries -gt 200; do tries=$((tries + 1)); sleep 0.1; done
if test $(nodes | wc -l) -gt 3; then echo PASS joins; else echo FAIL joins: never came; fi
sleep 60 &
if migrate $! 3; then echo PASS takes; else echo FAIL takes: refused; fi
kill -9 $!; wait $!
true
",
    );
    let expected = ["joins", "takes"].map(str::to_owned).to_vec();
    let mut spec = Spec::new(name, 3)
        .script(script)
        .timeout_s(90)
        .when("lab: start 3", Action::Start(3));
    spec.later = vec![3];
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// A node dies with a guest and boots again: the guest's parent is told, once, and the node can be
/// moved to again.
fn guest_lost(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = String::from(
        "sleep 60 &
migrate $! 3 || echo FAIL lost: it never moved
echo lab: kill 3
echo lab: start 3
wait $!
status=$?
if test $status -eq 137; then echo PASS lost; else echo FAIL lost: status $status; fi
if ps | busybox grep -q sleep; then echo FAIL gone: still listed; else echo PASS gone; fi
sleep 60 &
tries=0
until migrate $! 3 2> /dev/null || test $tries -gt 100; do tries=$((tries + 1)); sleep 0.1; done
if test $(cat /proc/$!/where) = 3; then echo PASS again; else echo FAIL again: refused; fi
kill -9 $!; wait $!
true
",
    );
    let expected = ["lost", "gone", "again"].map(str::to_owned).to_vec();
    let spec = Spec::new(name, 3)
        .script(script)
        .timeout_s(90)
        .when("lab: kill 3", Action::Kill(3))
        .when("lab: start 3", Action::Start(3));
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// A program of Debian's is lost with the node it was on, and goes on from its checkpoint: there is one of it, and it
/// says what it would have said. Another one is put aside, and goes on elsewhere. What has children is refused. A third
/// one is kept: it goes on by itself, and nobody who waits for it hears of that.
fn restarted(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = String::from(
        "cd /tmp
cat > sum.awk << 'END'
BEGIN { for (i = 0; i < 400000; i++) { s = (s * 31 + i) % 1000003; if (i % 1000 == 0) a[i] = s }
        for (i = 0; i < 400000; i += 1000) t = (t * 7 + a[i]) % 1000003; print s, t }
END
busybox awk -f sum.awk > whole
busybox awk -f sum.awk > sum &
job=$!
sleep 0.5
migrate $job 3
if checkpoint $job job; then echo PASS taken; else echo FAIL taken: refused; fi
migrate $job 3 || echo FAIL lost: it does not move
echo lab: kill 3
echo lab: start 3
wait $job
status=$?
if test $status -eq 137; then echo PASS lost; else echo FAIL lost: status $status; fi
restart job &
again=$!
sleep 1
if restart job 2> why; then echo FAIL once: there are two; else echo PASS once; fi
if grep -q 'number is in use' why && test $(cat /proc/$job/where) = home; then echo PASS there; else echo FAIL there: $(cat why) $(cat /proc/$job/where); fi
migrate $job 2
wait $again
status=$?
if test $status -eq 0 && cmp whole sum; then echo PASS answer; else echo FAIL answer: status $status, $(cat sum); fi
busybox awk -f sum.awk > sum &
job=$!
sleep 0.5
checkpoint --stop $job job
wait $job
status=$?
if test $status -eq 137 && test ! -s sum; then echo PASS aside; else echo FAIL aside: status $status; fi
restart job && cmp whole sum && echo PASS later || echo FAIL later: $(cat sum)
sh -c 'sleep 60; true' &
sleep 0.5
if checkpoint $! none 2> why; then echo FAIL refused: it has a child; elif grep -q children why && test ! -e none; then echo PASS refused; else echo FAIL refused: $(cat why); fi
kill -9 $!; wait $!
keep --every 300ms kept busybox awk -f sum.awk > sum 2> why &
keep=$!
until set -- $(cat /proc/$keep/task/$keep/children); test $# -gt 0; do sleep 0.05; done
job=$1
migrate $job 3
until kill -STOP $keep $job; test -e kept && test \"$(cat /proc/$job/where)\" = 3; do kill -CONT $keep $job; sleep 0.1; done
echo lab: power off 3
echo lab: power on 3
kill -CONT $keep
wait $keep
status=$?
if test $status -eq 0 && cmp whole sum; then echo PASS kept; else echo FAIL kept: status $status, $(cat sum why); fi
if grep -q 'goes on from kept' why && test ! -e kept; then echo PASS told; else echo FAIL told: $(cat why); fi
keep kept sh -c 'exit 7'
status=$?
if test $status -eq 7; then echo PASS over; else echo FAIL over: status $status; fi
",
    );
    let expected = [
        "taken", "lost", "once", "there", "answer", "aside", "later", "refused", "kept", "told",
        "over",
    ];
    let expected = expected.map(str::to_owned).to_vec();
    let spec = Spec::new(name, 3)
        .script(script)
        .timeout_s(120)
        .when("lab: kill 3", Action::Kill(3))
        .when("lab: start 3", Action::Start(3))
        .when("lab: power off 3", Action::Kill(3))
        .when("lab: power on 3", Action::Start(3));
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// An operator kills a process whose node cannot be reached: it is over at once, and when the node
/// is back nothing of it is left there.
fn unreachable(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = String::from(
        "sleep 600 &
migrate $! 3 || echo FAIL killed: it never moved
echo lab: cut
sleep 3
kill -9 $!
wait $!
status=$?
if test $status -eq 137; then echo PASS killed; else echo FAIL killed: status $status; fi
echo lab: heal
tries=0
until test \"$(nodes | busybox awk '$1 == 3 && $2 == \"alive\" { print $6 }')\" = 1 || test $tries -gt 100; do tries=$((tries + 1)); sleep 0.1; done
if test $tries -le 100; then echo PASS nothing-left; else echo FAIL nothing-left; nodes; fi
",
    );
    let expected = ["killed", "nothing-left"].map(str::to_owned).to_vec();
    let spec = Spec::new(name, 3)
        .script(script)
        .timeout_s(90)
        .when("lab: cut", Action::Cut(1, 3))
        .when("lab: cut", Action::Cut(3, 1))
        .when("lab: heal", Action::Heal);
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// A process that writes while its node is cut off goes on when the cut is healed, and each of its
/// writes is there once and in order.
///
/// It writes until it is told that it is enough, and what is looked at is waited for: how fast it
/// writes at home or away does not matter.
fn cut_and_healed(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = String::from(
        "lines() { wc -l < /tmp/written; }
state() { nodes | busybox awk '$1 == 3 { print $2 }'; }
(i=0; until test -e /tmp/enough; do i=$((i + 1)); echo $i >> /tmp/written; done) &
migrate $! 3 || echo FAIL away: it never moved
before=$(lines); tries=0
until test $(lines) -gt $before || test $tries -gt 100; do tries=$((tries + 1)); sleep 0.1; done
if test $tries -le 100; then echo PASS away; else echo FAIL away: $before lines; fi
echo lab: cut
tries=0
until test $(state) = silent || test $tries -gt 100; do tries=$((tries + 1)); sleep 0.1; done
before=$(lines)
sleep 1
now=$(lines)
if test $(state) = silent && test $now -eq $before; then echo PASS stood-still; else echo FAIL stood-still: $before, then $now lines, $(state); fi
echo lab: heal
tries=0
until test $(lines) -gt $before || test $tries -gt 100; do tries=$((tries + 1)); sleep 0.1; done
if test $tries -le 100; then echo PASS went-on; else echo FAIL went-on: $before lines; fi
touch /tmp/enough
wait $!
if seq $(lines) | cmp - /tmp/written; then echo PASS written; else echo FAIL written: differs; fi
",
    );
    let expected = ["away", "stood-still", "went-on", "written"]
        .map(str::to_owned)
        .to_vec();
    let spec = Spec::new(name, 3)
        .script(script)
        .timeout_s(90)
        .when("lab: cut", Action::Cut(1, 3))
        .when("lab: cut", Action::Cut(3, 1))
        .when("lab: heal", Action::Heal);
    Ok(Scenario::new(spec, move |outcome| {
        counted(outcome, &expected)
    }))
}

/// A program that is moved 2000 times in a row, and what is left of it on every node.
pub(crate) fn many(name: &'static str, moves: u32, faults: Faults) -> Result<Scenario, LabError> {
    let mut script = String::new();
    let _ = write!(
        script,
        "if DUNLIN_MOVES={FIRST} DUNLIN_NODES=\"2 3 1\" /probes/pages > /tmp/warm; then echo PASS warm; else cat /tmp/warm; fi
sleep 1
before=$(ps | wc -l)
echo frames before; nodes; echo frames end
DUNLIN_MOVES={moves} DUNLIN_NODES=\"2 3 1\" /probes/pages
sleep 1
if test $(ps | wc -l) -eq $before; then echo PASS processes; else echo FAIL processes: $before before; ps; fi
echo frames after; nodes; echo frames end
"
    );
    let expected = ["warm", "pages", "processes"].map(str::to_owned).to_vec();
    let spec = Spec::new(name, 3)
        .script(script)
        .faults(faults)
        .timeout_s(600);
    Ok(Scenario::new(spec, move |outcome| {
        let mut verdict = counted(outcome, &expected);
        let result = frames_back(
            between(outcome, "frames before", "frames end"),
            between(outcome, "frames after", "frames end"),
            FRAMES_TOLERANCE,
        );
        verdict.check("frames", result);
        verdict
    }))
}

/// Compares two tables of nodes, `/proc/cluster/nodes`: each node must have its free frames back,
/// but for `tolerance`.
pub(crate) fn frames_back(
    before: Option<Vec<&str>>,
    after: Option<Vec<&str>>,
    tolerance: u64,
) -> Result<(), String> {
    let before = free_frames(before)?;
    let after = free_frames(after)?;
    if before.len() != 3 || after.len() != 3 {
        let (before, after) = (before.len(), after.len());
        return Err(format!(
            "frame counts of {before} and {after} nodes instead of 3"
        ));
    }
    for ((node, free_before), (other, free_after)) in before.iter().zip(&after) {
        if node != other || free_before.abs_diff(*free_after) > tolerance {
            return Err(format!(
                "node {node}: {free_before} frames free before, {free_after} after"
            ));
        }
    }
    Ok(())
}

/// The columns `node` and `frames_free` of a tab-separated table with a header.
fn free_frames(lines: Option<Vec<&str>>) -> Result<Vec<(u64, u64)>, String> {
    let lines = lines.ok_or("the table of nodes was not printed")?;
    let (header, rows) = lines.split_first().ok_or("the table of nodes is empty")?;
    let column = |name: &str| {
        let at = header.split('\t').position(|cell| cell == name);
        at.ok_or_else(|| format!("the table of nodes has no column {name}: {header:?}"))
    };
    let (node, free) = (column("node")?, column("frames_free")?);
    let read = |row: &&str| {
        let cells: Vec<&str> = row.split('\t').collect();
        let number = |at: usize| cells.get(at)?.parse().ok();
        Some((number(node)?, number(free)?))
    };
    Ok(rows.iter().filter_map(read).collect())
}

fn demo(name: &'static str, lab: &dyn Lab) -> Result<Scenario, LabError> {
    let Story { spec, parts } = story(name, lab)?;
    Ok(Scenario::new(spec, move |outcome| {
        let mut verdict = Verdict {
            passed: Vec::new(),
            failures: ended_well(outcome),
        };
        for (part, on_host) in parts {
            verdict.check(part, judge_part(outcome, part, &on_host).map(|_| ()));
        }
        verdict
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::PaperLab;

    #[test]
    fn scenarios_on_two_processors_exist() {
        let all: Vec<&str> = all().iter().map(|case| case.name).collect();
        for name in ON_TWO_PROCESSORS {
            assert!(all.contains(&name), "{name}");
        }
    }

    #[test]
    fn every_case_can_be_made_and_none_passes_on_silence() {
        for case in all() {
            let lab = PaperLab::new("");
            let scenario = case.scenario(&lab).expect("the paper lab answers");
            let report = scenario.run(&lab);
            // The self-test speaks by its status alone.
            if !case.name.starts_with("selftest") {
                assert!(
                    !report.verdict.failures.is_empty(),
                    "{} passed on silence",
                    case.name
                );
            }
        }
    }

    #[test]
    fn names_of_cases_differ() {
        let mut names: Vec<_> = all().iter().map(|case| case.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_kernel_counts_its_checks() {
        assert_eq!(
            kernel_checks("[  0.01] x\n[   0.088430] selftest: ok 83 checks\n"),
            Ok(())
        );
        assert!(kernel_checks("[   0.088430] selftest: ok 0 checks\n").is_err());
        assert!(kernel_checks("[   0.088430] selftest: broken\n").is_err());
    }

    #[test]
    fn probes_are_all_counted() {
        let lab = PaperLab::new("PASS memory\nPASS stack\n");
        let report = probes("x", &lab, Moved::Itself(20))
            .expect("made")
            .run(&lab);
        assert_eq!(report.verdict.passed, ["memory", "stack"]);
        assert_eq!(report.verdict.failures, [""; 0]);
        let asked = lab.asked.borrow();
        assert!(
            asked[0].script.as_deref().is_some_and(
                |s| s.contains("DUNLIN_MOVES=20 DUNLIN_NODES=\"2 3 1\" /probes/stack &")
            )
        );
    }

    #[test]
    fn frames_must_be_back() {
        let table = |frees: &[u32]| {
            let rows = frees.iter().enumerate();
            let rows = rows.map(|(n, free)| format!("\n{}\talive\t{free}", n + 1));
            "node\tstate\tframes_free".to_owned() + &rows.collect::<String>()
        };
        let compare = |before: &str, after: &str| {
            frames_back(
                Some(before.lines().collect()),
                Some(after.lines().collect()),
                FRAMES_TOLERANCE,
            )
        };
        let before = table(&[1000, 1000, 1000]);
        assert_eq!(compare(&before, &table(&[990, 1000, 1000])), Ok(()));
        assert!(compare(&before, &table(&[900, 1000, 1000])).is_err());
        assert!(compare(&before, &table(&[1000, 1000])).is_err());
        assert!(compare("node\tstate\n1\talive", &before).is_err());
        assert!(frames_back(None, Some(before.lines().collect()), 64).is_err());
    }
}
