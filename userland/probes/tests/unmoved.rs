//! Every probe on the host: unmoved, and moved in name only.
//!
//! Law: the list comes from the program, so no probe can be forgotten.

use std::path::Path;
use std::process::{Command, Output};

fn probes() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probes"));
    for name in [
        "DUNLIN_MOVES",
        "DUNLIN_NODES",
        "DUNLIN_PROC",
        "DUNLIN_SECONDS",
    ] {
        command.env_remove(name);
    }
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn names() -> Vec<String> {
    let output = probes().arg("--list").output().expect("it starts");
    text(&output).lines().map(str::to_owned).collect()
}

/// Probes that need the address `::1`, which many containers do not have.
const OF_IPV6: [&str; 1] = ["datagram-headers"];
/// Probes that mount something, which only root of the machine may.
const OF_MOUNTS: [&str; 1] = ["mounts"];

#[test]
fn all_pass_unmoved() {
    let names = names();
    assert!(names.len() >= 20, "only {} probes", names.len());
    assert!(
        OF_IPV6
            .iter()
            .all(|name| names.iter().any(|one| one == name))
    );
    let has_ipv6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
    let unshared = Command::new("unshare").args(["-m", "true"]).status();
    let may_mount = unshared.is_ok_and(|status| status.success());
    for name in names {
        if !may_mount && OF_MOUNTS.contains(&name.as_str()) {
            eprintln!("{name}: left out, nothing is mounted here");
            continue;
        }
        if !has_ipv6 && OF_IPV6.contains(&name.as_str()) {
            eprintln!("{name}: left out, this machine has no ::1");
            continue;
        }
        let output = probes().arg(&name).output().expect("it starts");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(text(&output), format!("PASS {name}\n"), "{errors}");
        assert!(output.status.success(), "{name}: {}", output.status);
    }
}

/// A directory in which (for one process at a time) `self/where` is what was last written to `self/goto`: enough for the
/// probes that move only themselves.
#[test]
fn moves_are_written_and_checked() {
    let root = std::env::temp_dir().join(format!("dunlin-moves-{}", std::process::id()));
    let own = root.join("self");
    std::fs::create_dir_all(&own).expect("a folder for the test");
    std::fs::write(own.join("goto"), "").expect("a file");
    std::fs::write(own.join("home"), "1\n").expect("a file");
    std::os::unix::fs::symlink("goto", own.join("where")).expect("a link");
    let moved = |root: &Path, name: &str, moves: &str| {
        let output = probes()
            .arg(name)
            .env("DUNLIN_PROC", root)
            .env("DUNLIN_MOVES", moves)
            .env("DUNLIN_NODES", "2 3 1")
            .output()
            .expect("it starts");
        (text(&output), output.status.code())
    };
    // One process at a time: they all share this one `self`.
    let alone = [
        "arguments",
        "bad-pointers",
        "big-io",
        "brk",
        "clock",
        "cwd",
        "deep-stack",
        "discard",
        "dup",
        "dup2",
        "exec",
        "exit-status",
        "file-truncate",
        "file-unlinked",
        "floats",
        "guard",
        "kill",
        "mmap",
        "mremap",
        "pages",
        "random",
        "registers",
        "sparse",
        "system",
        "wild",
        "zero-pages",
    ];
    let results: Vec<_> = alone
        .iter()
        .flat_map(|name| ["1", "20"].map(|moves| (name, moved(&root, name, moves))))
        .collect();
    let last = std::fs::read_to_string(own.join("goto")).expect("the file");
    std::fs::remove_file(own.join("where")).expect("the link");
    std::fs::write(own.join("where"), "7\n").expect("a file");
    let stayed = moved(&root, "ids", "1");
    std::fs::remove_dir_all(&root).expect("the folder goes");
    for (name, result) in results {
        assert_eq!(result, (format!("PASS {name}\n"), Some(0)));
    }
    assert_eq!(last, "3\n", "the twentieth move goes to the second node");
    assert_eq!(
        stayed,
        (
            "FAIL ids: self was moved to 2 but runs on 7\n".to_owned(),
            Some(1)
        )
    );
}

#[test]
fn external_mode_lasts_as_long_as_it_is_told() {
    let begin = std::time::Instant::now();
    let output = probes()
        .arg("pages")
        .env("DUNLIN_MOVES", "external")
        .env("DUNLIN_SECONDS", "1")
        .output()
        .expect("it starts");
    assert_eq!(text(&output), "PASS pages\n");
    assert!(begin.elapsed() >= std::time::Duration::from_secs(1));
}

#[test]
fn churn_prints_its_checksum() {
    let output = probes()
        .args(["churn", "1", "3"])
        .output()
        .expect("it starts");
    let text = text(&output);
    let sum = text.strip_prefix("churn 1 3 checksum ").expect("the line");
    assert_eq!(sum.trim_end().len(), 16);
    assert_eq!(
        probes()
            .arg("churn")
            .output()
            .expect("it starts")
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        probes()
            .arg("nothing")
            .output()
            .expect("it starts")
            .status
            .code(),
        Some(2)
    );
}
