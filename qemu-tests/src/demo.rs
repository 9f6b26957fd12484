//! The story of the demo: two programs hop between three nodes in the middle of their work.
//!
//! Law: a program counts as moved only by what the kernel wrote into its `migstat` while it still
//! ran, and as right only when it printed what it prints on the host.

use crate::lab::{Lab, LabError, Outcome, Spec};
use crate::verdict::between;
use std::fmt::Write;

/// Smallest file the demo hashes, in bytes.
const FILE_MIN: u64 = 16 << 20;
/// Live memory of the demo's Rust program, in MiB.
const CHURN_MIB: u32 = 64;
/// Its rounds.
const CHURN_ROUNDS: u32 = 6;

/// What the demo runs, and how its console is judged.
pub struct Story {
    /// The cluster.
    pub spec: Spec,
    /// Name of each part, and what the same program prints on the host.
    pub parts: Vec<(&'static str, String)>,
}

/// The story of the demo: two programs, each moved 1 → 2 → 3 → home in the middle of its work.
///
/// # Errors
/// When there is no large file or a program fails on the host.
pub fn story(name: &str, lab: &dyn Lab) -> Result<Story, LabError> {
    let file = lab.large_file(FILE_MIN)?;
    let path = file.to_str().ok_or_else(|| {
        LabError::Failed(format!(
            "{} is not a name the guest can have",
            file.display()
        ))
    })?;
    let mib = CHURN_MIB.to_string();
    let rounds = CHURN_ROUNDS.to_string();
    // Several times over, so that a fast machine is still at it when the last move comes.
    let hashed = lab.busybox_on_host(&["sha256sum", path, path, path, path, path, path])?;
    let churned = lab.probe_on_host(&["churn", &mib, &rounds])?;
    let mut script = String::new();
    for (part, command) in [
        (
            "sha256sum",
            format!("/bin/busybox sha256sum {path} {path} {path} {path} {path} {path}"),
        ),
        ("churn", format!("/bin/probes churn {mib} {rounds}")),
    ] {
        let _ = write!(
            script,
            "{command} > /tmp/{part} &
sleep 0.1; migrate $! 2
sleep 0.1; migrate $! 3
sleep 0.1; migrate $! home
echo {part} moves; cat /proc/$!/migstat; echo {part} end
wait $!
echo {part} status $?
echo {part} output; cat /tmp/{part}; echo {part} end
"
        );
    }
    let spec = Spec::new(name, 3)
        .script(script)
        .add(&file, path)
        .timeout_s(300);
    Ok(Story {
        spec,
        parts: vec![("sha256sum", hashed), ("churn", churned)],
    })
}

/// The moves of one part: the lines of its `migstat`, header first.
///
/// # Errors
/// What is missing.
pub fn judge_part(outcome: &Outcome, part: &str, on_host: &str) -> Result<Vec<String>, String> {
    let end = format!("{part} end");
    let moves = between(outcome, &format!("{part} moves"), &end)
        .ok_or("it never came to the moves, or had ended before them")?;
    let count = moves
        .iter()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .count();
    if count < 3 {
        return Err(format!("moved {count} times instead of 3"));
    }
    if !outcome
        .lines()
        .any(|line| line == format!("{part} status 0"))
    {
        return Err("did not end with status 0".to_owned());
    }
    let output = between(outcome, &format!("{part} output"), &end).ok_or("no output")?;
    let expected: Vec<&str> = on_host.lines().collect();
    if output != expected {
        return Err(format!("printed {output:?}, on the host {expected:?}"));
    }
    Ok(moves.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::PaperLab;

    #[test]
    fn the_demo_wants_three_moves_and_the_host_output() {
        let console = "sha256sum moves\nmove\tfrom\n1\t1\n2\t2\n3\t3\nsha256sum end\n\
            sha256sum status 0\nsha256sum output\n0123  file\nsha256sum end\n";
        let lab = PaperLab::new(console);
        let story = story("demo", &lab).expect("told");
        let outcome = lab.boot(&story.spec).expect("booted");
        assert_eq!(
            judge_part(&outcome, "sha256sum", "0123  file\n").map(|m| m.len()),
            Ok(4)
        );
        assert!(judge_part(&outcome, "sha256sum", "4567  file\n").is_err());
        assert!(judge_part(&outcome, "churn", "sum 1\n").is_err());
    }
}
