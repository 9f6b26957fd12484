//! Tests that came with programs nobody here wrote: sqlite, Lua's libraries, Python, stress-ng; and bash, and
//! what people run servers and compilers for.
//!
//! Law: a unit passes by the verdict of its own program, or by printing what it prints on the host; at home,
//! away, and with its processes moved all the while. Left out of a unit is only what the list of known
//! failures names, with a reason.

use crate::lab::{Lab, LabError, Set, Spec};
use crate::scenario::Scenario;
use crate::suites::Way;
use crate::verdict::counted;
use std::fmt::Write;

/// The runner.
const RUNNER: &str = include_str!("../suites/programs.sh");
/// Lines `MODULE: PATTERN` behind a line that begins with `#` and says why these tests are left out.
const PYTHON_KNOWN: &str = include_str!("../suites/python-failures.txt");
/// stress-ng's stressors that are run, a line each; the rest is in `suites/stress-left-out.txt`, with reasons.
const STRESSORS: &str = include_str!("../suites/stress.txt");
/// What bash is asked to do.
const BASH: &str = include_str!("../suites/bash.sh");
/// Debian packages of the units with tests of their own.
const TESTED: [&str; 8] = [
    "bash",
    "lua5.4",
    "lua-lpeg",
    "lua-filesystem",
    "lua-cjson",
    "python3",
    "libpython3.11-testsuite",
    "stress-ng",
];
/// Debian packages of [`debian`].
const DEBIAN: [&str; 21] = [
    "bc",
    "curl",
    "fd-find",
    "fzf",
    "gawk",
    "gcc",
    "git",
    "jq",
    "libc6-dev",
    "nginx-light",
    "openjdk-17-jdk-headless",
    "perl",
    "php8.2-cli",
    "postgresql-15",
    "redis-server",
    "redis-tools",
    "ripgrep",
    "ruby",
    "tzdata",
    "xz-utils",
    "zstd",
];
/// Debian packages of [`packages`].
const PACKAGES: [&str; 54] = [
    "bash",
    "bsdutils",
    "coreutils",
    "cpio",
    "curl",
    "dash",
    "diffutils",
    "erlang-base",
    "expect",
    "findutils",
    "g++",
    "gcc",
    "gdb",
    "git",
    "grep",
    "gzip",
    "libboost-regex1.74.0",
    "libc-bin",
    "libc6-dev",
    "libmemcached-tools",
    "lua5.4",
    "luajit",
    "make",
    "memcached",
    "ncurses-base",
    "nginx-light",
    "openssh-client",
    "openssh-server",
    "openssh-sftp-server",
    "openssl",
    "perl",
    "php8.2-cli",
    "postgresql-15",
    "python3",
    "redis-server",
    "redis-tools",
    "rsync",
    "ruby",
    "sbcl",
    "screen",
    "sed",
    "socat",
    "strace",
    "swi-prolog-nox",
    "systemd",
    "systemd-tests",
    "tar",
    "tcc",
    "tcl",
    "tmux",
    "tzdata",
    "util-linux",
    "xz-utils",
    "zstd",
];
/// Debian packages of [`services`].
const SERVICES: [&str; 42] = [
    "bash",
    "beanstalkd",
    "bind9",
    "bind9-dnsutils",
    "caddy",
    "coreutils",
    "curl",
    "dash",
    "dbench",
    "dnsmasq-base",
    "etcd-client",
    "etcd-server",
    "exim4-daemon-light",
    "fio",
    "gawk",
    "gdbmtool",
    "grep",
    "guile-3.0",
    "haproxy",
    "ioping",
    "iperf3",
    "lbzip2",
    "lmdb-utils",
    "lz4",
    "mosquitto",
    "mosquitto-clients",
    "nats-server",
    "openssl",
    "pbzip2",
    "pigz",
    "plzip",
    "rt-tests",
    "sed",
    "shellcheck",
    "socat",
    "sqlite3",
    "stunnel4",
    "sysbench",
    "sysvinit-utils",
    "unbound",
    "xz-utils",
    "zstd",
];
/// Where a set of programs lies on a node.
const SQLITE: &str = "/programs/sqlite";
const LUA: &str = "/programs/lua";

/// How much of it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What is quick, some of each program.
    Short,
    /// All of sqlite's.
    Sqlite,
    /// All of Python's.
    Python,
    /// Python's tests of what a system does for it: descriptors, terminals, sockets, processes, files.
    PythonSystem,
    /// All of stress-ng's and Lua's, and bash.
    Others,
    /// Programs of Debian at their usual work.
    Debian,
    /// More of what they can do, held against what they print on Linux.
    Packages,
    /// Servers with their clients, and tools with many threads, held against what they print on Linux.
    Services,
    /// Every stressor of stress-ng, for a second.
    Stress,
}

impl Part {
    /// What it needs of Debian, and of memory, MiB.
    fn needs(self) -> (&'static [&'static str], u32) {
        match self {
            Part::Debian => (&DEBIAN, 2048),
            Part::Packages => (&PACKAGES, 2048),
            Part::Services => (&SERVICES, 1024),
            _ => (&TESTED, 1024),
        }
    }
}

/// What proves that a unit went well.
enum Proof {
    /// The program says this.
    Says(&'static str),
    /// The last line is the host's.
    AsOnHost,
}

/// A test of somebody else's, as a command for `busybox ash` with its programs at `$S`.
struct Unit {
    name: String,
    /// Seconds.
    limit: u32,
    set: Set,
    command: String,
    proof: Proof,
}

fn unit(name: &str, limit: u32, set: Set, command: &str, proof: Proof) -> Unit {
    Unit {
        name: name.to_owned(),
        limit,
        set,
        command: command.to_owned(),
        proof,
    }
}

/// sqlite's programs.
fn sqlite(part: Part) -> Vec<Unit> {
    let speed = |name: &str, limit: u32, options: &str| {
        let command = format!("$S/speedtest1 --verify {options} db | tail -n 1");
        unit(name, limit, Set::Sqlite, &command, Proof::AsOnHost)
    };
    // Who finds the database locked sleeps for a second and looks again: the longer a lock is held, as it
    // is away from home, the more of them do.
    let many = |name: &str, script: &str, mode: &str| {
        let command = format!("$S/mptester db $S/{script} --journalmode {mode}");
        let says = Proof::Says("Summary: 0 errors out of ");
        unit(name, 1200, Set::Sqlite, &command, says)
    };
    let threads = |name: &str, limit: u32| {
        let command = format!("$S/threadtest3 {name}");
        let says = Proof::Says("0 errors out of ");
        unit(
            &format!("sqlite-{name}"),
            limit,
            Set::Sqlite,
            &command,
            says,
        )
    };
    if part == Part::Short {
        return vec![
            speed("sqlite-speedtest", 60, "--size 2"),
            threads("create_drop_index_1", 60),
        ];
    }
    let mut units = vec![
        speed("sqlite-speedtest-main", 600, "--size 15"),
        speed("sqlite-speedtest-wal", 600, "--size 5 --journal wal"),
        speed("sqlite-speedtest-threads", 600, "--size 5 --threads 2"),
        speed("sqlite-speedtest-cte", 600, "--size 5 --testset cte"),
        speed("sqlite-speedtest-orm", 600, "--size 5 --testset orm"),
        speed("sqlite-speedtest-rtree", 600, "--size 5 --testset rtree"),
    ];
    for mode in ["DELETE", "WAL", "PERSIST", "TRUNCATE"] {
        for script in ["multiwrite01.test", "crash01.test"] {
            let name = format!("sqlite-mptest-{}-{}", &script[..5], mode.to_lowercase());
            units.push(many(&name, script, mode));
        }
    }
    for (name, limit) in [
        ("walthread1", 120),
        ("walthread2", 120),
        ("walthread3", 120),
        ("walthread4", 120),
        ("walthread5", 600),
        ("cgt_pager_1", 900),
        ("dynamic_triggers", 120),
        ("checkpoint_starvation_1", 120),
        ("checkpoint_starvation_2", 120),
        ("create_drop_index_1", 120),
        ("lookaside1", 120),
        ("vacuum1", 120),
        ("stress1", 120),
        ("stress2", 240),
        ("shared1", 120),
    ] {
        units.push(threads(name, limit));
    }
    units
}

/// The tests of Lua's libraries for patterns, files and JSON.
fn lua() -> Vec<Unit> {
    let lua =
        |name: &str, command: &str, says| unit(name, 120, Set::Lua, command, Proof::Says(says));
    vec![
        lua("lua-lpeg", "lua5.4 $S/lua-lpeg/test.lua", "OK"),
        lua("lua-files", "lua5.4 $S/lua-filesystem/test.lua", "Ok!"),
        lua(
            "lua-json",
            "cd $S/lua-cjson/tests && lua5.4 test.lua example*.json rfc-example*.json types.json numbers.json",
            "tests succeeded",
        ),
    ]
}

/// Modules of Python's own tests.
fn python(part: Part) -> Vec<Unit> {
    let modules: &[(&str, u32)] = match part {
        Part::Short => &[("test_mmap", 90)],
        Part::PythonSystem => &[
            ("test_posix", 300),
            ("test_posixpath", 120),
            ("test_fcntl", 120),
            ("test_ioctl", 120),
            ("test_openpty", 120),
            ("test_pty", 120),
            ("test_fork1", 120),
            ("test_wait3", 120),
            ("test_wait4", 120),
            ("test_resource", 120),
            ("test_select", 120),
            ("test_selectors", 300),
            ("test_epoll", 120),
            ("test_poll", 120),
            ("test_timeout", 300),
            ("test_socket", 900),
            ("test_socketserver", 300),
            ("test_eintr", 300),
            ("test_fileio", 120),
            ("test_largefile", 300),
            ("test_glob", 120),
            ("test_pathlib", 300),
            ("test_shutil", 300),
            ("test_threadsignals", 300),
            ("test_faulthandler", 300),
            ("test_popen", 120),
            ("test_mailbox", 300),
        ],
        _ => &[
            ("test_mmap", 300),
            ("test_tempfile", 300),
            ("test_os", 600),
            ("test_signal", 600),
            ("test_threading", 600),
            ("test_io", 1200),
            ("test_subprocess", 1200),
        ],
    };
    let one = |(module, limit): &(&str, u32)| {
        let mut command = format!("HOME=$PWD exec python3 -m test --timeout {limit} {module}");
        for pattern in left_out(module) {
            let _ = write!(command, " -i '{pattern}'");
        }
        let says = Proof::Says("Tests result: SUCCESS");
        let name = module.replace("test_", "python-");
        unit(&name, *limit, Set::Lua, &command, says)
    };
    modules.iter().map(one).collect()
}

/// Patterns of known failures of a module.
fn left_out(module: &str) -> impl Iterator<Item = &'static str> {
    let lines = PYTHON_KNOWN.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs.filter_map(move |(of, pattern)| (of == module).then_some(pattern))
}

/// stress-ng's stressors, each for some operations, with what it checks itself.
fn stress(part: Part) -> Vec<Unit> {
    // Name, options, operations in the short part.
    const STRESSORS: [(&str, &str, u32); 18] = [
        ("cpu", "", 10),
        ("vm", "--vm-bytes 2M", 200),
        ("fork", "", 30),
        ("pipe", "", 2000),
        ("signal", "", 500),
        ("kill", "", 200),
        ("sigq", "", 200),
        ("timer", "", 100),
        ("futex", "", 100),
        ("switch", "", 500),
        ("mmap", "--mmap-bytes 2M", 5),
        ("sigpending", "", 200),
        ("sigsuspend", "", 100),
        ("sigsegv", "", 100),
        ("sigrt", "", 50),
        ("timerfd", "", 50),
        ("eventfd", "", 200),
        ("poll", "", 50),
    ];
    let (factor, limit, taken) = match part {
        Part::Short => (1, 60, 11),
        _ => (20, 600, STRESSORS.len()),
    };
    let one = |(name, options, operations): &(&str, &str, u32)| {
        let operations = operations * factor;
        let command = format!("stress-ng --verify --{name} 1 {options} --{name}-ops {operations}");
        let says = Proof::Says("successful run completed");
        unit(&format!("stress-{name}"), limit, Set::Lua, &command, says)
    };
    STRESSORS[..taken].iter().map(one).collect()
}

/// Every stressor of stress-ng, which checks what it did itself. One that was skipped has shown nothing.
fn all_stressors() -> impl Iterator<Item = Unit> {
    STRESSORS.lines().map(|name| {
        let command = format!(
            "stress-ng --verify --oomable --{name} 1 -t 1 > out 2>&1; status=$?; cat out\n\
             grep -q 'will be skipped\\|No stress workers' out && exit 1; exit $status"
        );
        let says = Proof::Says("successful run completed");
        unit(&format!("stress-{name}"), 120, Set::Lua, &command, says)
    })
}

/// Bash, held against the host's.
fn bash() -> Unit {
    let command = format!(
        "cat > script << 'END OF SCRIPT'\n{BASH}END OF SCRIPT\nbash script 2> /dev/null | md5sum"
    );
    unit("bash", 120, Set::Sqlite, &command, Proof::AsOnHost)
}

/// Languages, servers, compilers and tools of Debian, which check what they did themselves.
fn debian() -> Vec<Unit> {
    macro_rules! trial {
        ($name:literal) => {
            (
                $name,
                include_str!(concat!("../suites/debian/", $name, ".sh")),
            )
        };
    }
    let trials = [
        trial!("gcc"),
        trial!("git"),
        trial!("java"),
        trial!("nginx"),
        trial!("perl"),
        trial!("postgres"),
        trial!("redis"),
        trial!("ruby"),
        trial!("tools"),
    ];
    let says = || Proof::Says("all is well");
    trials
        .map(|(name, command)| unit(&format!("debian-{name}"), 600, Set::Lua, command, says()))
        .into()
}

/// Name, script and what that prints on Linux, of suites in a folder.
macro_rules! printed {
    ($folder:literal, $($name:literal)*) => {
        [$((
            $name,
            include_str!(concat!("../suites/", $folder, "/", $name, ".sh")),
            include_str!(concat!("../suites/", $folder, "/", $name, ".txt")),
        )),*]
    };
}

/// Programs of Debian at all they can do with a system: what they print must be what they print on Linux.
fn packages() -> Vec<Unit> {
    let all = printed!(
        "packages",
        "gdb" "git" "languages" "make" "memcached" "nginx" "openssl" "perl" "postgres" "redis"
        "rsync" "ruby" "ssh" "strace" "systemd" "terminals"
    );
    as_on_linux("package", &all)
}

/// Servers with their clients, and tools with many threads.
fn services() -> Vec<Unit> {
    let all = printed!(
        "services",
        "beanstalkd" "compressors" "databases" "etcd" "exim" "fio" "guile" "haproxy" "iperf" "latencies"
        "mosquitto" "named" "resolvers" "shellcheck" "stunnel" "sysbench" "web"
    );
    as_on_linux("service", &all)
}

/// Scripts that have to print what they print on Linux.
fn as_on_linux(kind: &str, all: &[(&str, &str, &str)]) -> Vec<Unit> {
    let one = |(name, script, printed): &(&str, &str, &str)| {
        let command = format!(
            "export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
             cat > script << 'END OF SCRIPT'\n{script}END OF SCRIPT\n\
             cat > /tmp/printed << 'END OF TEXT'\n{printed}END OF TEXT\n\
             dash script > /tmp/said.raw 2>&1; tr -d '\\r' < /tmp/said.raw > /tmp/prints\n\
             diff /tmp/printed /tmp/prints && echo all is well"
        );
        let says = Proof::Says("all is well");
        unit(&format!("{kind}-{name}"), 900, Set::Lua, &command, says)
    };
    all.iter().map(one).collect()
}

fn units(part: Part) -> Vec<Unit> {
    let mut units = Vec::new();
    if part == Part::Debian {
        units.extend(debian());
    }
    if part == Part::Packages {
        units.extend(packages());
    }
    if part == Part::Services {
        units.extend(services());
    }
    if part == Part::Stress {
        units.extend(all_stressors());
    }
    if matches!(part, Part::Short | Part::Others) {
        units.push(bash());
        units.extend(stress(part));
        units.extend(lua());
    }
    if matches!(part, Part::Short | Part::Python | Part::PythonSystem) {
        units.extend(python(part));
    }
    if matches!(part, Part::Short | Part::Sqlite) {
        units.extend(sqlite(part));
    }
    units
}

/// The scenario.
///
/// # Errors
/// When the programs cannot be had, or fail on the host.
pub(crate) fn programs(
    name: &'static str,
    lab: &dyn Lab,
    way: Way,
    part: Part,
) -> Result<Scenario, LabError> {
    let (nodes, mover) = way.mover();
    let units = units(part);
    let limit: u64 = units.iter().map(|unit| u64::from(unit.limit)).sum();
    let mut spec = Spec::new(name, nodes)
        .text("/programs/run.sh", RUNNER)
        .add(lab.programs(Set::Sqlite)?, SQLITE)
        .add(lab.programs(Set::Lua)?, LUA)
        .timeout_s(limit);
    // With its packages comes a shell, to which commands are those of packages, too.
    if !matches!(part, Part::Packages | Part::Services) {
        spec = spec.add("/bin/busybox", "/bin/sh");
    }
    let (packages, memory_mib) = part.needs();
    spec.memory_mib = memory_mib;
    for package in packages {
        spec = spec.package(package);
    }
    let (mut script, mut expected) = (String::new(), Vec::new());
    for unit in units {
        let says = match unit.proof {
            Proof::Says(text) => text.to_owned(),
            Proof::AsOnHost => {
                let text = lab.programs_on_host(unit.set, &unit.command)?;
                let last = text.lines().last().map(str::trim_end);
                last.filter(|line| !line.is_empty())
                    .ok_or_else(|| LabError::Failed(format!("{} prints nothing here", unit.name)))?
                    .to_owned()
            }
        };
        let folder = match unit.set {
            Set::Sqlite => SQLITE,
            _ => LUA,
        };
        let text = format!("S={folder}\n{}\n", unit.command);
        spec = spec.text(&format!("/units/{}", unit.name), &text);
        let (name, limit) = (&unit.name, unit.limit);
        let _ = writeln!(
            script,
            "busybox ash /programs/run.sh {name} {limit} '{says}' {mover}"
        );
        expected.push(unit.name);
    }
    script.push_str("true\n");
    Ok(Scenario::new(spec.script(script), move |outcome| {
        let mut verdict = counted(outcome, &expected);
        way.check_moves(&mut verdict, outcome, expected.len());
        verdict
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tests::PaperLab;
    use std::collections::BTreeSet;

    #[test]
    fn every_unit_has_a_name_of_its_own_and_must_report() {
        let long = [
            Part::Sqlite,
            Part::Python,
            Part::PythonSystem,
            Part::Others,
            Part::Debian,
            Part::Packages,
            Part::Services,
            Part::Stress,
        ];
        for part in [Part::Short].into_iter().chain(long) {
            let units = units(part);
            let names: BTreeSet<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
            assert_eq!(names.len(), units.len());
        }
        let lab = PaperLab::new("PASS bash\nherd: 3 moves\n");
        let scenario = programs("x", &lab, Way::Moved, Part::Short).expect("paper has it all");
        let report = scenario.run(&lab);
        assert_eq!(report.verdict.passed, ["bash"]);
        assert_eq!(report.verdict.failures.len(), units(Part::Short).len());
    }

    #[test]
    fn every_known_failure_has_a_reason() {
        assert!(PYTHON_KNOWN.starts_with('#'));
        for line in PYTHON_KNOWN.lines() {
            assert!(line.starts_with('#') || line.contains(": "), "{line}");
        }
        assert_eq!(left_out("test_signal").next(), Some("*test_stress*"));
        assert_eq!(left_out("test_os").next(), None);
        let left_out = include_str!("../suites/stress-left-out.txt");
        assert!(left_out.starts_with('#'));
        let names = left_out.lines().filter(|line| !line.starts_with('#'));
        let all: Vec<&str> = STRESSORS.lines().chain(names).collect();
        let once: BTreeSet<&str> = all.iter().copied().collect();
        // As many as stress-ng 0.15.06 has.
        assert_eq!((all.len(), once.len()), (303, 303));
    }
}
