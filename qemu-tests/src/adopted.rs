//! The fault matrix where nodes have disks: home dies and comes back, and a second fault.
//!
//! Law: a process of home's computes for long and says what comes out. Home is killed like a machine whose plug is pulled, or its disk fails and it
//! ends by itself, and boots with its disk; while it is down or boots, it is killed once more, or somebody else is killed, stands still or is not heard. If the node that has the process
//! lives, home's log says that it was adopted, its sum is right, and it ends with its status, told once. If that died too, it is lost, told once.

use crate::cells::{
    Cells, DOWN, Do, Fault, HARM, HOME, SOURCE, Step, TARGET, WORKER, fault_name, typed, way_to,
};
use crate::lab::{Action, Disks, Spec};
use crate::scenario::Scenario;

const ROUNDS: u64 = 120_000;
/// Its status as a wait status, in the log's words.
const STATUS: &str = "0x700";

/// What home dies of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Plug,
    Disk,
}

/// A cell: home dies at that step of that, and that happens then.
type Cell = (Step, Cause, Option<Fault>);

fn name((step, cause, then): Cell) -> String {
    let then = then.map(|then| format!("-then-{}", fault_name(then)));
    let cause = match cause {
        Cause::Plug => "kill-home",
        Cause::Disk => "break-disk-of-home",
    };
    format!("adopted-{step:?}-{cause}{}", then.unwrap_or_default()).to_lowercase()
}

/// The command that starts it.
fn orphan() -> String {
    format!(
        "\
orphan() {{
    n=$1
    (
        i=0; s=0
        while test $i -lt {ROUNDS}; do i=$((i + 1)); s=$(((s * 31 + i) % 1000003)); done
        until echo sum: $n $s; do :; done
        exit 7
    ) 2> /dev/null &
    p=$!
}}
"
    )
}

/// What it has to say.
fn sum() -> u64 {
    (1..=ROUNDS).fold(0, |sum, i| (sum * 31 + i) % 1_000_003)
}

fn table(cause: Cause) -> Vec<Cell> {
    let seconds = [
        Fault::Kill(HOME),
        Fault::Kill(SOURCE),
        Fault::Kill(TARGET),
        Fault::Pause(SOURCE),
        Fault::Pause(TARGET),
        Fault::CutBoth(SOURCE, HOME),
        Fault::CutBoth(TARGET, HOME),
        Fault::Cut(HOME, SOURCE),
        Fault::Cut(SOURCE, HOME),
        Fault::Cut(HOME, TARGET),
        Fault::Cut(TARGET, HOME),
    ];
    let seconds = seconds.map(Some).into_iter().chain([None]);
    let steps = [Step::Before, Step::Offer, Step::Image, Step::After];
    let cells = steps
        .into_iter()
        .flat_map(|step| seconds.clone().map(move |then| (step, cause, then)));
    cells.collect()
}

/// Whether the process dies with the second node: it is there alone.
fn dies((step, _, then): Cell) -> bool {
    match then {
        Some(Fault::Kill(SOURCE)) => matches!(step, Step::Before | Step::Offer),
        Some(Fault::Kill(TARGET)) => step == Step::After,
        _ => false,
    }
}

fn start(node: usize) -> [Do; 2] {
    [
        Do::Act(Action::Start(node)),
        Do::Await(node, "cell: ready".to_owned()),
    ]
}

/// What a cell consists of.
fn course(cell: Cell) -> Vec<Do> {
    let (n, (step, cause, then)) = (name(cell), cell);
    let mut all = vec![
        Do::Begin(n.clone()),
        typed(HOME, format!("all_up; orphan {n}; place 2")),
        Do::Await(HOME, format!("cell: {n} placed")),
    ];
    all.extend(way_to(step, &n));
    all.extend(match cause {
        Cause::Plug => vec![Do::Act(Action::Kill(HOME))],
        // It learns of that when it has something to write down: a signal, of which its process does not see anything.
        Cause::Disk => vec![
            Do::Act(Action::BreakDisk(HOME)),
            typed(HOME, "kill -WINCH $p".to_owned()),
            Do::Dies(HOME),
            Do::Act(Action::MendDisk(HOME)),
        ],
    });
    all.push(Do::Act(Action::Heal));
    let other = match then {
        Some(Fault::Kill(node)) if node != HOME => Some(node),
        _ => None,
    };
    // That one is down until the process has ended, or it is found out that it is back.
    all.extend(
        then.filter(|then| *then != Fault::Kill(HOME))
            .map(Fault::begins)
            .into_iter()
            .flatten(),
    );
    all.push(Do::Wait(DOWN));
    all.extend(start(HOME));
    if then == Some(Fault::Kill(HOME)) {
        all.extend([Do::Act(Action::Kill(HOME)), Do::Wait(DOWN)]);
        all.extend(start(HOME));
    }
    if let Some(end) = then.and_then(Fault::ends) {
        all.extend([Do::Wait(HARM), end]);
    }
    if dies(cell) {
        all.extend(other.map(start).into_iter().flatten());
        all.extend([Do::Loses, Do::Check(n, 1)]);
        return all;
    }
    all.extend([
        Do::Await(HOME, format!("sum: {n} {}", sum())),
        Do::Ends(n.clone(), STATUS),
        Do::Check(n, 0),
    ]);
    all.extend(other.map(start).into_iter().flatten());
    all
}

/// All of them where home is killed.
pub(crate) fn killed(name: &str) -> Scenario {
    scenario(name, Cause::Plug)
}

/// All of them where its disk fails.
pub(crate) fn broken(name: &str) -> Scenario {
    scenario(name, Cause::Disk)
}

fn scenario(name: &str, cause: Cause) -> Scenario {
    let cells = table(cause);
    let disks = match cause {
        Cause::Plug => Disks::Fresh,
        Cause::Disk => Disks::Breakable,
    };
    let spec = Spec::new(name, 3)
        .append("worker=/etc/worker")
        .disks(disks)
        .text("/etc/worker", &format!(". /etc/shrc\n{}{WORKER}", orphan()))
        .timeout_s(60 + 40 * cells.len() as u64);
    Scenario::conducted(spec, |_| Cells::of(cells.into_iter().flat_map(course)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn cells_have_names_of_their_own_and_each_is_judged() {
        let all = || [Cause::Plug, Cause::Disk].into_iter().flat_map(table);
        let names: BTreeSet<String> = all().map(name).collect();
        assert_eq!((names.len(), all().count()), (96, 96));
        for cell in all() {
            let course = course(cell);
            let judged = |step: &&Do| matches!(step, Do::Check(..));
            assert_eq!(course.iter().filter(judged).count(), 1, "{}", name(cell));
        }
    }

    #[test]
    fn few_die() {
        let dead: Vec<String> = table(Cause::Plug)
            .into_iter()
            .filter(|cell| dies(*cell))
            .map(name)
            .collect();
        assert_eq!(
            dead,
            [
                "adopted-before-kill-home-then-kill-source",
                "adopted-offer-kill-home-then-kill-source",
                "adopted-after-kill-home-then-kill-target",
            ]
        );
    }
}
