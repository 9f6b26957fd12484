//! The commands run by the real binary, over plain files where Dunlin has its own.

use std::fs::{create_dir_all, read_to_string, remove_dir_all, write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory that stands for the file system of processes; goes away with the test.
struct Proc(PathBuf);

impl Proc {
    fn new(name: &str) -> Proc {
        let path = std::env::temp_dir().join(format!("dunlin-{name}-{}", std::process::id()));
        create_dir_all(path.join("cluster")).expect("a folder for the test");
        Proc(path)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        create_dir_all(path.parent().expect("it has a parent")).expect("a folder");
        write(path, text).expect("a file");
    }

    fn text(&self, name: &str) -> String {
        read_to_string(self.0.join(name)).expect("the file")
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        // A test that failed already says so.
        let _left = remove_dir_all(&self.0);
    }
}

fn run(proc: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_commands"))
        .args(arguments)
        .env("DUNLIN_PROC", proc)
        .output()
        .expect("it starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const HEADER: &str = "move\tfrom\tto\tmode\tpages_sent\tpages_zero\tpages_present\tbytes\t\
    freeze_us\tobserver_us\ttotal_us\trtt_us\n";

#[test]
fn ps_shows_where() {
    let proc = Proc::new("ps");
    proc.file("65538/stat", "65538 (my (odd) name) S 65537 0 0\n");
    proc.file("65538/where", "2\n");
    proc.file("65538/home", "1\n");
    proc.file("65537/stat", "65537 (sh) R 65536 0 0\n");
    proc.file("65537/where", "1\n");
    proc.file("65537/home", "1\n");
    proc.file("notes", "not a process");
    let output = run(&proc.0, &["ps"]);
    let text = out(&output);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["PID", "PPID", "STATE", "WHERE", "NAME"]);
    assert_eq!(rows[1], ["65537", "65536", "R", "home", "sh"]);
    assert_eq!(rows[2], ["65538", "65537", "S", "2", "my", "(odd)", "name"]);
}

#[test]
fn migrate_writes_goto_and_shows_the_figures() {
    let proc = Proc::new("migrate");
    proc.file("7/goto", "");
    proc.file(
        "7/migstat",
        &format!("{HEADER}1\t1\t2\tpost-copy\t1\t2\t3\t4096\t5\t6\t7\t8\n"),
    );
    let output = run(&proc.0, &["migrate", "-v", "7", "2"]);
    assert_eq!(proc.text("7/goto"), "2\n");
    assert_eq!(out(&output), proc.text("7/migstat"));
    assert!(out(&run(&proc.0, &["migrate", "7", "home"])).is_empty());
    let gone = run(&proc.0, &["migrate", "8", "2"]);
    assert_eq!(
        err(&gone),
        "migrate: process 8 did not move to 2: there is no such process\n"
    );
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(run(&proc.0, &["migrate", "x", "2"]).status.code(), Some(2));
}

#[test]
fn mover_counts_and_stops_when_the_process_is_gone() {
    let proc = Proc::new("mover");
    proc.file("7/goto", "");
    assert_eq!(
        out(&run(&proc.0, &["mover", "7", "5", "2", "3"])),
        "moved 5\n"
    );
    let output = run(&proc.0, &["mover", "--every", "1", "9", "5", "2", "3"]);
    assert_eq!(
        (out(&output).as_str(), output.status.code()),
        ("moved 0\n", Some(0))
    );
}

#[test]
fn benchmark_stops_where_a_link_cannot_be_measured() {
    let proc = Proc::new("bench");
    // A plain file takes the request but never answers it.
    proc.file("cluster/ping", "");
    let output = run(
        &proc.0,
        &["bench-migrate", "--repeat", "2", "--sizes", "1", "2"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("cannot measure the link to 2"),
        "{}",
        err(&output)
    );
    assert_eq!(proc.text("cluster/ping"), "2 200\n");
    assert_eq!(
        run(&proc.0, &["bench-migrate", "--sizes", "0"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn poweroff_and_nodes() {
    let proc = Proc::new("cluster");
    proc.file("cluster/control", "");
    proc.file("cluster/nodes", "node\tstate\n1\talive\n");
    assert_eq!(out(&run(&proc.0, &["nodes"])), proc.text("cluster/nodes"));
    assert!(run(&proc.0, &["poweroff", "3"]).status.success());
    assert_eq!(proc.text("cluster/control"), "poweroff 3\n");
    assert_eq!(run(&proc.0, &["poweroff", "300"]).status.code(), Some(2));
}

#[test]
fn lists_its_names() {
    let names = out(&run(Path::new("/proc"), &["--list"]));
    for name in [
        "ps",
        "nodes",
        "migrate",
        "poweroff",
        "mover",
        "bench-files",
        "bench-migrate",
        "cps",
    ] {
        assert!(names.lines().any(|line| line == name), "{name}");
    }
    assert_eq!(run(Path::new("/proc"), &["nothing"]).status.code(), Some(1));
}
