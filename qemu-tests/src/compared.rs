//! Tests of Go's library, the selftests of Linux, the tests of libuv and of POSIX, held against what they give on the host's Linux.
//!
//! Law: what passes on the host must pass in each way of being run, or is in the list of known failures, with a
//! reason. A listed test that passes everywhere has to leave the list. What the host does not pass is not asked for.

use crate::lab::{Lab, LabError, Set, Spec};
use crate::scenario::Scenario;
use crate::suites::{Way, passed};
use crate::verdict::{Verdict, ended_well};
use std::collections::BTreeSet;

/// Packages of Go's library, those first that ask most of a system.
pub const GO_PACKAGES: [&str; 17] = [
    "syscall",
    "os/exec",
    "os/signal",
    "internal/poll",
    "time",
    "sync",
    "sync/atomic",
    "os",
    "os/user",
    "context",
    "io",
    "io/fs",
    "path/filepath",
    "net",
    "net/rpc",
    "net/textproto",
    "log",
];

/// Selftests of Linux by folder and name, without those that need namespaces, ptrace, huge pages, a vDSO or
/// minutes, and those that set the clock.
pub const SELFTESTS: [&str; 52] = [
    "core/close_range_test",
    "exec/null-argv",
    "filesystems/devpts_pts",
    "futex/functional/futex_requeue",
    "futex/functional/futex_requeue_pi_mismatched_ops",
    "futex/functional/futex_wait",
    "futex/functional/futex_wait_private_mapped_file",
    "futex/functional/futex_wait_timeout",
    "futex/functional/futex_wait_uninitialized_heap",
    "futex/functional/futex_wait_wouldblock",
    "futex/functional/futex_waitv",
    "kcmp/kcmp_test",
    "membarrier/membarrier_test_multi_thread",
    "membarrier/membarrier_test_single_thread",
    "memfd/memfd_test",
    "mincore/mincore_selftest",
    "openat2/openat2_test",
    "pidfd/pidfd_getfd_test",
    "pidfd/pidfd_open_test",
    "pidfd/pidfd_poll_test",
    "pidfd/pidfd_test",
    "pidfd/pidfd_wait",
    "prctl/disable-tsc-test",
    "proc/fd-001-lookup",
    "proc/fd-002-posix-eq",
    "proc/proc-self-wchan",
    "proc/proc-tid0",
    "proc/proc-uptime-001",
    "proc/self",
    "proc/thread-self",
    "sigaltstack/sas",
    "splice/default_file_splice_read",
    "timers/mqueue-lat",
    "timers/nanosleep",
    "timers/posix_timers",
    "timers/threadtest",
    "vm/madv_populate",
    "vm/map_fixed_noreplace",
    "vm/map_populate",
    "vm/mlock2-tests",
    "vm/mremap_dontunmap",
    "x86/sigaltstack",
    "x86/sigtrap_loop",
    "x86/single_step_syscall",
    "x86/syscall_arg_fault",
    "x86/sysret_rip",
    "x86/test_FCMOV",
    "x86/test_FCOMI",
    "x86/test_FISTTP",
    "x86/test_mremap_vdso",
    "x86/test_syscall_vdso",
    "x86/syscall_nt",
];

/// A suite: what is run, and what is known about it.
pub(crate) struct Suite {
    set: Set,
    runner: &'static str,
    /// Names of tests, each behind a line that begins with `#` and says why it fails; `NAME away` where it
    /// has moved only, `NAME at times` where chance decides.
    known: &'static str,
    /// The path of the runner on a node.
    place: &'static str,
    names: &'static [&'static str],
    /// Seconds for one program.
    limit_s: u64,
    /// Of a node: with one only, tests of what happens between two would be skipped.
    processors: u32,
    /// What tests call besides the commands of busybox.
    commands: &'static [&'static str],
    /// Who there is, as in `passwd(5)`; a node has no such file by itself.
    users: Option<&'static str>,
}

/// Go's library.
pub(crate) const GO: Suite = Suite {
    set: Set::Go,
    runner: include_str!("../suites/go.sh"),
    known: include_str!("../suites/go-failures.txt"),
    place: "/go.sh",
    names: &GO_PACKAGES,
    // `net` sends 2 GiB through sockets from one program to another, which away from home is far: each piece
    // goes home, and from there to its receiver.
    limit_s: 1200,
    processors: 2,
    commands: &["/usr/bin/nohup"],
    users: None,
};

/// The selftests of Linux.
pub(crate) const LINUX: Suite = Suite {
    set: Set::Linux,
    runner: include_str!("../suites/selftests.sh"),
    known: include_str!("../suites/selftests-failures.txt"),
    place: "/selftests.sh",
    names: &SELFTESTS,
    limit_s: 120,
    processors: 1,
    commands: &[],
    users: None,
};

/// libuv's tests, by patterns.
pub(crate) const UV: Suite = Suite {
    set: Set::Uv,
    runner: include_str!("../suites/libuv.sh"),
    known: include_str!("../suites/libuv-failures.txt"),
    place: "/libuv.sh",
    names: &["'*'"],
    limit_s: 120,
    processors: 1,
    commands: &[],
    users: Some(USERS),
};

/// The Open POSIX Test Suite, by patterns.
pub(crate) const POSIX: Suite = Suite {
    set: Set::Posix,
    runner: include_str!("../suites/posix.sh"),
    known: include_str!("../suites/posix-failures.txt"),
    place: "/posix.sh",
    names: &["'*'"],
    limit_s: 120,
    // Some burn a second of CPU time and more, which an emulated processor takes long for.
    processors: 2,
    // The library is loaded by who ends a thread.
    commands: &[
        "/usr/bin/nohup",
        "/usr/bin/setpriv",
        "/lib/x86_64-linux-gnu/libgcc_s.so.1",
    ],
    users: Some(USERS),
};

/// Root, and somebody who may nothing.
const USERS: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n";

/// Seconds for all of a suite; each of its programs has a limit of its own.
const WATCHDOG_S: u64 = 3600;

/// The scenario.
///
/// # Errors
/// When the suite cannot be had.
pub(crate) fn compared(
    name: &'static str,
    lab: &dyn Lab,
    way: Way,
    suite: &'static Suite,
) -> Result<Scenario, LabError> {
    let names = suite.names.join(" ");
    let limit_s = suite.limit_s;
    let folder = lab.programs(suite.set)?;
    // The runner comes to the host as the text of a command.
    let here = format!("set -- \"$S\" {limit_s} {names}\n{}", suite.runner);
    let on_host = passed(&lab.programs_on_host(suite.set, &here)?);
    let run = format!("/bin/busybox ash {} /suite {limit_s} {names}", suite.place);
    let (nodes, command) = way.command(&run);
    let mut spec = Spec::new(name, nodes)
        .script(format!("{command}\necho suite ended\n"))
        .add(folder, "/suite")
        .text(suite.place, suite.runner)
        .smp(suite.processors)
        .timeout_s(WATCHDOG_S);
    spec.memory_mib = 768;
    spec.libraries = !suite.commands.is_empty();
    if let Some(users) = suite.users {
        spec = spec.text("/etc/passwd", users);
    }
    for command in suite.commands {
        spec = spec.add(command, command);
    }
    Ok(Scenario::new(spec, move |outcome| {
        let mut verdict = Verdict {
            passed: Vec::new(),
            failures: ended_well(outcome),
        };
        let here = passed(&outcome.lines().collect::<Vec<_>>().join("\n"));
        judge(&mut verdict, suite.known, way, (&on_host, &here));
        let moves = suite.names.len().max(on_host.len() / 10);
        way.check_moves(&mut verdict, outcome, moves);
        verdict
    }))
}

/// Counts what passes on the host by whether it passes on the node.
fn judge(
    verdict: &mut Verdict,
    known: &str,
    way: Way,
    (on_host, here): (&BTreeSet<String>, &BTreeSet<String>),
) {
    let known: BTreeSet<&str> = known
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    for name in on_host {
        let away = format!("{name} away");
        let at_times = format!("{name} at times");
        let always = known.contains(name.as_str());
        let may_fail = always
            || known.contains(at_times.as_str())
            || way != Way::Home && known.contains(away.as_str());
        match (here.contains(name), may_fail) {
            (true, _) if always => verdict
                .failures
                .push(format!("{name}: passes, and is listed as a known failure")),
            (true, _) => verdict.passed.push(name.clone()),
            (false, true) => {}
            (false, false) => verdict.failures.push(name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::PaperLab;

    #[test]
    fn what_passes_on_the_host_must_pass() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let judged = |way, here: &[&str]| {
            let mut verdict = Verdict::default();
            let known = "# why\nb\n# why\nc away\n# why\nd at times\n";
            judge(
                &mut verdict,
                known,
                way,
                (&names(&["a", "b", "c", "d"]), &names(here)),
            );
            (verdict.passed, verdict.failures)
        };
        let (passed, failures) = judged(Way::Home, &["a", "c", "d"]);
        assert_eq!(passed, ["a", "c", "d"]);
        assert!(failures.is_empty());
        let (_, failures) = judged(Way::Home, &["b"]);
        assert_eq!(failures.len(), 3, "{failures:?}");
        let (passed, failures) = judged(Way::Moved, &["a"]);
        assert_eq!((passed.len(), failures.len()), (1, 0));
    }

    #[test]
    fn the_runner_is_the_same_here_and_there() {
        let lab = PaperLab::new("PASS a\n");
        let scenario = compared("x", &lab, Way::Moved, &GO).expect("paper has it all");
        let _ = scenario.run(&lab);
        let asked = lab.asked.borrow();
        let script = asked[0].script.as_deref().unwrap_or("");
        let run = "trials herd 50 '1 2 3' /bin/busybox ash /go.sh /suite 1200 syscall os/exec";
        assert!(script.starts_with(run), "{script}");
    }

    #[test]
    fn every_known_failure_has_a_reason() {
        for suite in [&GO, &LINUX, &UV, &POSIX] {
            assert!(suite.known.is_empty() || suite.known.starts_with('#'));
        }
    }
}
