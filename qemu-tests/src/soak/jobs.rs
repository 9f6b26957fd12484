//! The programs of a soak, and what they print.
//!
//! Law: what is expected is what the host prints, or what the program itself promises to print wherever it runs. A program works in a
//! folder of its own, ends by itself within seconds, and does not mind being stopped for as long as a fault lasts.

use crate::lab::{Lab, LabError, Set, Spec};

/// What the first programs of `trials trace` are on Linux.
const TRACE: &str = include_str!("../../suites/trace-on-linux.txt");
/// Programs of `trials trace` in one job.
const TRACED_TOGETHER: usize = 3;
/// Where sqlite's programs lie on a node, and on the host.
const SQLITE: &str = "S=/programs/sqlite";

/// Commands of busybox, for its shell, in a folder of their own.
const BUSYBOX: [(&str, &str); 12] = [
    ("sums", "busybox seq 1 60000 | busybox sha256sum"),
    (
        "sort",
        "busybox seq 1 15000 | busybox rev | busybox sort | busybox md5sum",
    ),
    (
        "gzip",
        "busybox seq 1 30000 | busybox gzip -c | busybox gunzip -c | busybox sha1sum",
    ),
    (
        "bzip2",
        "busybox seq 1 6000 > n; busybox bzip2 n; busybox bunzip2 -c n.bz2 | busybox md5sum",
    ),
    (
        "primes",
        "exec busybox awk 'BEGIN { for (i = 2; i < 9000; i++) { p = 1; for (j = 2; j * j <= i; j++) if (i % j == 0) { p = 0; break }; if (p) { n++; s += i } } print n, s }'",
    ),
    (
        "words",
        "busybox seq 1 9000 | busybox awk '{ n[$1 % 97] += $1 } END { for (i = 0; i < 97; i++) print i, n[i] }' | busybox sha1sum",
    ),
    (
        "split",
        "busybox seq 1 20000 > a; for n in 0 1 2 3 4 5; do busybox dd if=a of=x$n bs=20000 skip=$n count=1 2> /dev/null; done; busybox cat x? | busybox cmp - a && echo same; busybox wc -c x?",
    ),
    (
        "tar",
        "for n in 1 2 3 4 5 6; do busybox seq 1 ${n}000 > f$n; done; busybox tar cf t f?; busybox rm f?; busybox tar xf t; busybox cat f? | busybox md5sum",
    ),
    (
        "find",
        "for a in 1 2 3; do for b in 1 2 3 4; do busybox mkdir -p d$a/e$b; echo $a $b > d$a/e$b/f; done; done; busybox find . -type f | busybox sort | busybox xargs busybox cat",
    ),
    (
        "shell",
        "i=0; s=0; while [ $i -lt 6000 ]; do i=$((i + 1)); s=$(((s * 31 + i) % 1000003)); done; echo $s",
    ),
    (
        "subshells",
        "i=0; while [ $i -lt 40 ]; do i=$((i + 1)); x=$(echo $i | busybox sed 's/1/one/'); echo \"$x\"; done | busybox md5sum",
    ),
    (
        "dd",
        "busybox seq 1 40000 > a; busybox dd if=a of=b bs=1000 2> /dev/null; busybox cmp a b && busybox od -An -tx1 b | busybox tail -n 2",
    ),
];

/// What sqlite is asked to do: with a journal and with a log, of which the index is a file mapped shared, and in one statement.
const DATABASES: [(&str, &str); 3] = [
    ("sqlite-file", "--testset orm"),
    ("sqlite-wal", "--testset fp --journal wal"),
    ("sqlite-cte", "--testset cte"),
];

/// Puts the programs into the root file system.
///
/// # Errors
/// When the lab does not say what they print.
pub(super) fn add(mut spec: Spec, lab: &dyn Lab) -> Result<Spec, LabError> {
    for probe in lab.probes()? {
        let script = format!("DUNLIN_MOVES=external DUNLIN_SECONDS=1 exec /probes/{probe}");
        spec = job(spec, "probes", &probe, &script, &format!("PASS {probe}\n"));
    }
    spec = spec.text("/soak/trace", TRACE);
    for first in (0..TRACE.lines().count()).step_by(TRACED_TOGETHER) {
        let script = format!("exec trials trace 1 {first} {TRACED_TOGETHER} --expect /soak/trace");
        let expected = format!("traced {TRACED_TOGETHER} programs, 0 moves, 0 differ\n");
        spec = job(spec, "trace", &format!("trace-{first}"), &script, &expected);
    }
    for (name, script) in BUSYBOX {
        let expected = lab.programs_on_host(Set::Sqlite, script)?;
        spec = job(
            spec,
            "foreign",
            &format!("busybox-{name}"),
            script,
            &expected,
        );
    }
    spec = spec.add(lab.programs(Set::Sqlite)?, "/programs/sqlite");
    for (name, options) in DATABASES {
        let script = &format!("$S/speedtest1 --verify --size 1 {options} db > out; tail -n 1 out");
        let expected = lab.programs_on_host(Set::Sqlite, script)?;
        spec = job(
            spec,
            "foreign",
            name,
            &format!("{SQLITE}\n{script}"),
            &expected,
        );
    }
    Ok(spec)
}

fn job(spec: Spec, kind: &str, name: &str, script: &str, expected: &str) -> Spec {
    let spec = spec.text(&format!("/soak/jobs/{kind}/{name}"), &format!("{script}\n"));
    spec.text(&format!("/soak/expected/{name}"), expected)
}
