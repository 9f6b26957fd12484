//! Programs that nobody here wrote: busybox's shell and applets, moved all the while.
//!
//! Law: a job passes if it prints, moved every few milliseconds between three nodes, exactly what the
//! same program prints on the host. The move count is not judged: a short job may end unmoved, and
//! what has to be moved is judged by the probes and by the long scenarios.

use crate::lab::{Lab, LabError, Spec};
use crate::scenario::Scenario;
use crate::verdict::{Verdict, between, ended_well};
use std::fmt::Write;

/// Name and script of each job, for `busybox ash`. They use applets and the busybox binary only.
const JOBS: [(&str, &str); 12] = [
    (
        "awk",
        "busybox awk 'BEGIN { for (i = 0; i < 100000; i++) s += i * i % 7; print s }'",
    ),
    (
        "sort",
        "busybox seq 1 5000 | busybox sort -r | busybox md5sum",
    ),
    (
        "gzip",
        "busybox gzip -c /bin/busybox | busybox gunzip -c | busybox md5sum",
    ),
    (
        "bzip2",
        "busybox head -c 200000 /bin/busybox | busybox bzip2 | busybox bunzip2 | busybox sha1sum",
    ),
    (
        "tar",
        "cd /bin && busybox tar -cf - busybox | busybox tar -xOf - busybox | busybox md5sum",
    ),
    (
        "sed",
        "busybox seq 1 3000 | busybox sed -e 's/1/one/g' -e '/one/d' | busybox cksum",
    ),
    (
        "grep",
        "busybox seq 1 9000 | busybox grep -c '7.*7'; busybox grep -c a /nonexistent; echo $?",
    ),
    (
        "functions",
        "f() { i=$((i + $1)); }; i=0; while [ $i -lt 9000 ]; do f 1; done; echo $i",
    ),
    (
        "subshells",
        "x=0; for i in 1 2 3 4 5 6 7 8; do x=$(echo $((x + i))); done; (exit 7); echo $x $?",
    ),
    (
        "traps",
        // Both traps are set before anybody may send their signals.
        "trap 'echo caught' USR1; kill -USR1 $$; trap 'echo end' TERM; (kill -TERM $$) & wait; wait",
    ),
    (
        "find",
        "busybox find /bin/busybox -type f | busybox xargs busybox wc -c",
    ),
    (
        "dd",
        "busybox dd if=/bin/busybox bs=1000 skip=3 count=500 2> /dev/null | busybox sha256sum",
    ),
];

/// The scenario.
///
/// # Errors
/// When busybox fails on the host.
pub(crate) fn foreign(name: &'static str, lab: &dyn Lab) -> Result<Scenario, LabError> {
    let mut script = String::new();
    let mut expected = Vec::new();
    for (job, commands) in JOBS {
        let job_script = format!("{commands}\necho status $?\n");
        expected.push((job, lab.busybox_on_host(&["ash", "-c", &job_script])?));
        let _ = write!(
            script,
            "cat > /tmp/{job} << 'END OF JOB'\n{job_script}END OF JOB\n"
        );
    }
    for (job, _) in JOBS {
        let _ = write!(
            script,
            "busybox ash /tmp/{job} > /tmp/{job}.out 2> /dev/null &
mover --every 5 $! 400 2 3 1 > /dev/null 2> /dev/null &
wait %1 2> /dev/null
wait
echo {job} begin; cat /tmp/{job}.out; echo {job} end
"
        );
    }
    let spec = Spec::new(name, 3).script(script).timeout_s(240);
    Ok(Scenario::new(spec, move |outcome| {
        let mut verdict = Verdict {
            passed: Vec::new(),
            failures: ended_well(outcome),
        };
        for (job, on_host) in expected {
            let printed = between(outcome, &format!("{job} begin"), &format!("{job} end"));
            let result = match printed {
                None => Err("it printed nothing".to_owned()),
                Some(lines) if lines.join("\n") == on_host.trim_end() => Ok(()),
                Some(lines) => Err(format!("printed {lines:?} and not {on_host:?}")),
            };
            verdict.check(job, result);
        }
        verdict
    }))
}
