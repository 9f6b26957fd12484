//! A home that is killed and boots again with its disk, while its processes are away.
//!
//! Law: two processes of node 1 are on node 2: one computes for long and says what comes out, one writes numbered lines on
//! the console of its home all the time. Node 1 is killed like a machine whose plug is pulled, and boots with its disk. Both go on to
//! their ends, with the right output and the right status, and its log has one line for each adoption and each end. A line
//! of which nobody knows whether it was written may be there twice, and then the writer was told so.

use crate::cells::{Cells, Do, HOME, typed};
use crate::conductor::Conductor;
use crate::lab::{Action, Disks, Outcome, Spec, is_kernel_log};
use crate::scenario::Scenario;
use crate::verdict::Verdict;
use std::time::Duration;

const ROUNDS: u64 = 120_000;
const LINES: u32 = 30;

/// What every node runs: a shell that does what is typed.
fn worker() -> String {
    format!(
        "\
all_up() {{ until test $(nodes | grep -c alive) -ge 2; do sleep 0.1; done; }}
place() {{ until migrate $1 2 2> /dev/null; do sleep 0.1; done; }}
computes() {{
    i=0; s=0
    while test $i -lt {ROUNDS}; do i=$((i + 1)); s=$(((s * 31 + i) % 1000003)); done
    until echo sum: $s; do :; done
    exit 7
}}
writes() {{
    i=0
    while test $i -lt {LINES}; do
        i=$((i + 1))
        until echo line: $i; do again=1; done
        if test $again; then until echo again: $i; do :; done; again=; fi
        j=0; while test $j -lt 2000; do j=$((j + 1)); done
    done
    exit 9
}}
guests() {{
    computes 2> /dev/null & a=$!
    writes 2> /dev/null & b=$!
    place $a; place $b
    echo cell: away
}}
until nodes > /dev/null; do sleep 0.1; done
echo cell: ready
while read -r line; do eval \"$line\"; done
"
    )
}

/// What the one that computes has to say.
fn sum() -> u64 {
    (1..=ROUNDS).fold(0, |sum, i| (sum * 31 + i) % 1_000_003)
}

fn course() -> Vec<Do> {
    let on_home = |text: &str| Do::Await(HOME, text.to_owned());
    vec![
        Do::Begin("home-reboot".to_owned()),
        typed(HOME, "all_up; guests".to_owned()),
        on_home("cell: away"),
        on_home("line: 8"),
        Do::Act(Action::Kill(HOME)),
        Do::Wait(Duration::from_millis(500)),
        Do::Act(Action::Start(HOME)),
        on_home("cell: ready"),
        Do::Await(HOME, format!("line: {LINES}")),
        Do::Await(HOME, format!("sum: {}", sum())),
        // The last words of both.
        Do::Wait(Duration::from_secs(3)),
        Do::Check("home-reboot".to_owned(), 0),
    ]
}

/// The course, and what is heard on the way.
struct Reboot {
    course: Cells,
    /// The numbered lines, and those after which the writer was told that it is not known whether they are there.
    written: Vec<u32>,
    unsure: Vec<u32>,
    adopted: usize,
    /// The statuses of adopted processes that have ended.
    ended: Vec<String>,
}

impl Reboot {
    fn new() -> Reboot {
        Reboot {
            course: Cells::of(course()),
            written: Vec::new(),
            unsure: Vec::new(),
            adopted: 0,
            ended: Vec::new(),
        }
    }

    /// Every number, in order; once, or twice where nobody could know.
    fn lines_are_right(&self) -> Result<(), String> {
        let mut once = self.written.clone();
        once.dedup();
        let right = once == (1..=LINES).collect::<Vec<_>>();
        let twice = self.written.windows(2).filter(|pair| pair[0] == pair[1]);
        let excused = twice.into_iter().all(|pair| self.unsure.contains(&pair[0]));
        match right && excused && self.unsure.len() <= 1 {
            true => Ok(()),
            false => Err(format!(
                "lines {:?}, unsure {:?}",
                self.written, self.unsure
            )),
        }
    }
}

impl Conductor for Reboot {
    fn line(&mut self, now: Duration, node: usize, line: &str) {
        if node == HOME {
            let number = |prefix| line.strip_prefix(prefix)?.parse::<u32>().ok();
            self.written.extend(number("line: "));
            self.unsure.extend(number("again: "));
            if is_kernel_log(line) {
                self.adopted += usize::from(line.contains("adopted from node 2"));
                let status = line.split_once("adopted before, has ended with status ");
                self.ended
                    .extend(status.map(|(_, status)| status.to_owned()));
            }
        }
        self.course.line(now, node, line);
    }

    fn died(&mut self, now: Duration, node: usize) {
        self.course.died(now, node);
    }

    fn poll(&mut self, now: Duration) -> Option<Action> {
        self.course.poll(now)
    }

    fn is_over(&self) -> bool {
        self.course.is_over()
    }

    fn verdict(&self, outcome: &Outcome) -> Verdict {
        let mut verdict = self.course.verdict(outcome);
        verdict.check("home-reboot-lines", self.lines_are_right());
        let mut ended = self.ended.clone();
        ended.sort();
        let statuses = match (self.adopted, &ended[..]) {
            (2, [one, other]) if (&one[..], &other[..]) == ("0x700", "0x900") => Ok(()),
            _ => Err(format!("{} adopted, ended with {ended:?}", self.adopted)),
        };
        verdict.check("home-reboot-statuses", statuses);
        verdict
    }
}

/// The scenario.
pub(crate) fn home_reboot(name: &str) -> Scenario {
    let spec = Spec::new(name, 3)
        .append("worker=/etc/worker")
        .disks(Disks::Fresh)
        .text("/etc/worker", &format!(". /etc/shrc\n{}", worker()))
        .timeout_s(180);
    Scenario::conducted(spec, |_| Reboot::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_too_much_or_too_little_is_seen() {
        let mut reboot = Reboot::new();
        assert!(reboot.lines_are_right().is_err());
        reboot.written = (1..=LINES).collect();
        assert!(reboot.lines_are_right().is_ok());
        reboot.written.insert(4, 4);
        assert!(reboot.lines_are_right().is_err());
        reboot.unsure.push(4);
        assert!(reboot.lines_are_right().is_ok());
        reboot.written.remove(7);
        assert!(reboot.lines_are_right().is_err());
    }
}
