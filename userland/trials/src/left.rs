//! What is left on a node when programs have ended.
//!
//! Law: a node that ran something that has ended and whose files were removed is as it was before, by
//! its own counts in `/proc/cluster/self`; what is kept for speed has a bound, which is given here.
//! Where that file is not there (the build machine) nothing is compared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rt::process::{Ended, start, wait_for};
use rt::system::proc_path;

use crate::Doing;

/// Counts that must be what they were.
const EXACT: [&str; 6] = [
    "homes",
    "bodies",
    "outgoing",
    "incoming",
    "frames_user",
    "frames_pagetable",
];
/// The frames of who counts, which the others are without.
const OWN: &str = "frames_own";
/// Frames by which what the kernel allocates for itself may have grown: its heap keeps what it got.
const KERNEL_GROWTH: u64 = 2048;
const FRAME_KIB: u64 = 4;
/// How long the node may take to be rid of everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// The counts of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// As they are now, without the memory of the process that counts.
    pub(crate) fn now() -> Option<Counts> {
        let mut own = own_frames();
        loop {
            let text = std::fs::read_to_string(proc_path("cluster/self")).ok()?;
            let pairs = text.lines().filter_map(|line| {
                let (name, number) = line.split_once(' ')?;
                Some((name.to_owned(), number.trim().parse().ok()?))
            });
            let mut counts = Counts(pairs.collect());
            // Reading may have taken some.
            let before = std::mem::replace(&mut own, own_frames());
            if before == own {
                let of_users = counts.of("frames_user").saturating_sub(own);
                counts.0.insert("frames_user".to_owned(), of_users);
                counts.0.insert(OWN.to_owned(), own);
                return Some(counts);
            }
        }
    }

    /// As they are before some work. The page tables of who counts are counted, too: it touches all the memory that comparing
    /// takes, also if something is not back at once, before it counts.
    pub(crate) fn before() -> Option<Counts> {
        let (rehearsed, now) = (Counts::now()?, Counts::now()?);
        let all_is_wrong = Counts(BTreeMap::new()).excess(&now);
        std::hint::black_box(all_is_wrong.join(", "));
        std::thread::sleep(Duration::from_millis(1));
        let _ = rehearsed.are_back();
        Counts::now()
    }

    /// Whether processes of other nodes are here, or on their way, or leaving.
    pub(crate) fn has_guests(&self) -> bool {
        let moving = self.of("incoming") + self.of("outgoing");
        moving > 0 || self.of("bodies") > self.of("homes")
    }

    /// One of them.
    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What is not back at these counts.
    fn excess(&self, now: &Counts) -> Vec<String> {
        let mut wrong = Vec::new();
        for name in EXACT {
            let (before, after) = (self.of(name), now.of(name));
            if before != after {
                wrong.push(format!("{name} {before} before, {after} after"));
            }
        }
        if !wrong.is_empty() && self.of(OWN) != now.of(OWN) {
            let (before, after) = (self.of(OWN), now.of(OWN));
            wrong.push(format!("besides {before} of who counts, {after} after"));
        }
        for name in ["frames_kernel", "frames_cache"] {
            let (before, after) = (self.of(name), now.of(name));
            if after > before + KERNEL_GROWTH {
                wrong.push(format!("{name} {before} before, {after} after"));
            }
        }
        wrong
    }

    /// Waits until the node is back at these counts, or says what is not.
    pub(crate) fn are_back(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let Some(now) = Counts::now() else {
                return Ok(());
            };
            let wrong = self.excess(&now);
            if wrong.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("left behind: {}", wrong.join(", ")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Frames of this process's own.
fn own_frames() -> u64 {
    let text = std::fs::read_to_string(proc_path("self/status")).unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .unwrap_or(0)
        / FRAME_KIB
}

/// Runs `work` in a process of its own, and demands that nothing of it is left on this node.
pub(crate) fn leaves_nothing(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let before = Counts::before();
    let child = start(|| match work() {
        Ok(()) => 0,
        Err(why) => {
            println!("{why}");
            1
        }
    })
    .doing("start the work")?;
    match wait_for(child).doing("wait for the work")? {
        Ended::Exited(0) => {}
        ended => return Err(format!("the work ended with {ended:?}")),
    }
    before.map_or(Ok(()), |before| before.are_back())
}

/// The pids in `/proc`.
pub(crate) fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn a_process_too_many_is_found() {
        let counts = |bodies: u64, kernel: u64| {
            Counts(
                [
                    ("bodies".to_owned(), bodies),
                    ("frames_kernel".to_owned(), kernel),
                ]
                .into_iter()
                .collect(),
            )
        };
        assert!(counts(3, 10).excess(&counts(3, 12)).is_empty());
        assert_eq!(
            counts(3, 10).excess(&counts(4, 9000)),
            [
                "bodies 3 before, 4 after",
                "frames_kernel 10 before, 9000 after"
            ]
        );
    }
}
