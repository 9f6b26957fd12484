//! Nodes that decide for themselves where processes run.
//!
//! Law: as in `cases`. What a policy does is waited for, and how often processes have moved until then is
//! counted; how long it took is not judged.

use crate::lab::{Lab, LabError, Spec};
use crate::scenario::Scenario;
use crate::verdict::counted;

/// What the scripts have in common: where the processes in `$pids` are, and checks that wait. They give up by the clock,
/// before the watchdog does: a look takes long on a busy node, and what is told then is where everything was.
const TOOLS: &str = "where() { ps | busybox awk -v pids=\"$pids\" 'BEGIN { n = split(pids, p, \" \"); for (i = 1; i <= n; i++) is[p[i]] = 1 } $1 in is { print $4 }' | sed s/home/1/; }
most() { where | sort | uniq -c | busybox awk '$1 > most { most = $1 } END { print most + 0 }'; }
on() { where | grep -cx $1; }
moves() { for p in $pids; do cat /proc/$p/nmigs; done | busybox awk '{ n += $1 } END { print n + 0 }'; }
spin() {
    pids=
    for n in $(seq $1); do
        sh -c 'while :; do :; done' &
        pids=\"$pids $!\"
    done
}
stop() { kill -9 $pids; wait; pids=; }
check() { if eval \"$2\"; then echo PASS $1; else echo FAIL $1: $(where | sort | uniq -c); nodes; fi; }
late() { test $(busybox cut -d. -f1 /proc/uptime) -gt 500; }
until_true() {
    came=true
    until eval \"$2\"; do
        if late; then came=false; break; fi
        sleep ${3:-0.1}
    done
    check $1 $came
}
refused() {
    name=$1; says=$2; shift 2
    if \"$@\" 2> /tmp/said; then echo FAIL $name: taken; return; fi
    if grep -q \"$says\" /tmp/said; then echo PASS $name; else echo FAIL $name: $(cat /tmp/said); fi
}
";

fn scenario(
    name: &'static str,
    nodes: usize,
    script: &str,
    expected: &'static [&'static str],
) -> Scenario {
    let script = format!("{TOOLS}{script}echo PASS ended\n");
    let spec = Spec::new(name, nodes).script(script).timeout_s(600);
    let expected: Vec<String> = expected
        .iter()
        .chain(&["ended"])
        .map(|&name| name.to_owned())
        .collect();
    Scenario::new(spec, move |outcome| counted(outcome, &expected))
}

/// Twelve processes that compute, all born on one of four nodes, spread by themselves; a node that is drained
/// loses its guests and gets none.
pub(crate) fn balance(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = "spin 12
sleep 3
check manual 'test $(on 1) -eq 12'
refused unknown 'manual, balance, exec or scavenge' policy nonsense
policy balance
until_true spread 'test $(most) -le 4'
check few-moves 'test $(moves) -le 24'
until_true mon 'test $(mon --once load | grep -c \"#\") -eq 4 && mon --once processes | grep -q WHERE'
drain 3
until_true drained 'test $(on 3) -eq 0'
set -- $pids
refused closed 'node 3' migrate $1 3
undrain 3
until_true again 'test $(on 3) -gt 0'
policy manual
stop
";
    let expected = &[
        "manual",
        "unknown",
        "spread",
        "few-moves",
        "mon",
        "drained",
        "closed",
        "again",
    ];
    Ok(scenario(name, 4, script, expected))
}

/// Sixty-four processes that compute, all born on one of eight nodes: eight on each in the end, most of
/// them after one move. The shell that looks is not one of them, and stays. It looks seldom: while it looks its node
/// has one more to run, and with seven and that one it is no better than a node with nine.
pub(crate) fn crowd(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = "spin 64
policy -p $$ manual
sleep 3
policy balance
until_true spread 'test $(most) -le 8' 5
count=$(moves)
echo $count moves
check few-moves \"test $count -le 128\"
policy manual
stop
";
    Ok(scenario(name, 8, script, &["spread", "few-moves"]))
}

/// Programs that start where a processor is free, and processes with a place or a policy of their own.
pub(crate) fn starts(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = "check on-node 'test $(run -r 3 sh -c \"cat /proc/\\$\\$/where\") = 3'
check at-home 'test $(run -h sh -c \"cat /proc/\\$\\$/where\") = home'
refused no-node 'not started' run -r 9 true
refused no-program 'cannot start' run -b /bin/nothing
each=$(nproc)
spin $((2 * each))
sleep 2
check best 'test $(run -b sh -c \"cat /proc/\\$\\$/where\") != home'
ls /bin/* /etc/* | head -16 > /tmp/files
sums() { while read f; do busybox md5sum $f; busybox sha1sum $f | busybox cut -c 1-40; done < /tmp/files; }
sums > /tmp/here
policy exec
for n in 1 2 3 4; do sums > /tmp/there.$n & works=\"$works $!\"; done
wait $works
for n in 1 2 3 4; do cmp /tmp/here /tmp/there.$n && echo same; done > /tmp/same
check same-results 'test $(grep -c same /tmp/same) -eq 4'
starts=$(sed -n 's/starts_elsewhere //p' /proc/cluster/self)
echo $starts programs began elsewhere
check elsewhere \"test $starts -gt 10\"
check others-stay 'test $(on 1) -eq $((2 * each)) && test $(moves) -eq 0'
policy manual
one=$(echo $pids | cut -d' ' -f1); other=$(echo $pids | cut -d' ' -f2)
policy -p $one balance
until_true own-policy 'test $(cat /proc/$one/where) != home'
check why 'why $one | grep -q \"balance (its own)\"'
check other-policy 'test $(cat /proc/$other/where) = home'
stop
";
    let expected = &[
        "on-node",
        "at-home",
        "no-node",
        "no-program",
        "best",
        "same-results",
        "elsewhere",
        "others-stay",
        "own-policy",
        "why",
        "other-policy",
    ];
    Ok(scenario(name, 3, script, expected))
}

/// Processes on nodes whose owner is away leave when he is back, and go on elsewhere; a job that finds no such node
/// waits for one. The programs of the shell that looks stay with it: they would take turns on the idle node.
pub(crate) fn owners(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = "each=$(nproc)
spin $((4 * each))
policy -p $$ manual
sleep 1
policy scavenge
until_true idle-nodes 'test $(most) -le $each'
guests=$(where | sort -u | busybox awk '$1 > 1 { print; exit }')
owner present $guests
until_true left 'test $(on $guests) -eq 0'
set -- $pids
refused closed 'node' migrate $1 $guests
owner away $guests
until_true again 'test $(most) -le $each && test $(on $guests) -gt 0'
policy manual
stop
for node in 1 2 3 4 5; do owner present $node; done
setsid run -p scavenge sh -c 'while :; do :; done' &
pids=$!
until_true queued 'why $pids | grep -q queued'
used() { busybox cut -d' ' -f14 /proc/$pids/stat; }
before=$(used)
sleep 1
check stands-still 'test $(used) -eq $before'
owner away 3
until_true its-turn 'test $(on 3) -eq 1 && test $(used) -gt $before'
for round in 1 2 3; do
    owner present 3
    until_true queued-again.$round 'why $pids | grep -q queued'
    owner away 3
    until_true its-turn-again.$round 'test $(on 3) -eq 1'
done
stop
for node in 1 2 3 4 5; do owner auto $node; done
";
    let expected = &[
        "idle-nodes",
        "left",
        "closed",
        "again",
        "queued",
        "stands-still",
        "its-turn",
        "queued-again.1",
        "its-turn-again.1",
        "queued-again.2",
        "its-turn-again.2",
        "queued-again.3",
        "its-turn-again.3",
    ];
    Ok(scenario(name, 5, script, expected))
}

/// More memory is wanted than a node has: processes leave before it runs out, also those that sleep, and
/// nobody is killed.
pub(crate) fn memory(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let script = "policy balance
for n in 1 2 3 4 5 6 7 8; do
    busybox awk 'BEGIN { s = sprintf(\"%40000000s\", \"x\"); while ((getline line < \"/tmp/go\") <= 0) { close(\"/tmp/go\"); system(\"sleep 1\") } print length(s) }' > /tmp/length.$n &
    pids=\"$pids $!\"
    tries=0
    until test $(busybox awk '/VmRSS/ { print $2 }' /proc/$!/status) -gt 39000 || test $tries -gt 200; do tries=$((tries + 1)); sleep 0.1; done
    sleep 1
done
check alive 'test $(where | wc -l) -eq 8'
check spread 'test $(on 1) -lt 8'
echo > /tmp/go
wait
check whole 'test $(cat /tmp/length.* | grep -cx 40000000) -eq 8'
";
    Ok(scenario(name, 3, script, &["alive", "spread", "whole"]))
}
