//! Dynamically linked Debian programs, moved all the while: shells, languages, a database.
//!
//! Law: a job passes if it prints, moved every few milliseconds between three nodes, what the same
//! program prints on Linux, which is written here. Together the jobs must have been moved.

use crate::lab::{Lab, LabError, Spec};
use crate::scenario::Scenario;
use crate::verdict::{Verdict, between, ended_well};
use std::fmt::Write;

/// A program of a package at work.
struct Job {
    name: &'static str,
    package: &'static str,
    /// A command for `busybox ash`.
    command: &'static str,
    /// What it prints on Linux.
    prints: &'static [&'static str],
}

const PYTHON: &str = r#"cat > /tmp/job.py << 'END'
import decimal, hashlib, json, mmap, os, re, subprocess
h = hashlib.sha256()
d = {}
for i in range(20000):
    d[i % 1009] = d.get(i % 1009, 0) + i * i
    if i % 1000 == 0:
        h.update(json.dumps(d, sort_keys=True).encode())
print(h.hexdigest())
print(sum(int(w) for w in re.findall(r"\d+", " ".join(map(str, range(3000))))))
print(subprocess.check_output(["/bin/echo", "from a child"]).decode().strip())
print(decimal.Decimal(2).sqrt())
m = mmap.mmap(-1, 8192)
m[0:3] = b"abc"
if os.fork() == 0:
    m[0:3] = b"xyz"
    os._exit(0)
os.wait()
print(m[0:3])
f = open("/tmp/job.map", "w+b")
f.truncate(10000)
g = mmap.mmap(f.fileno(), 0)
g[5:8] = b"map"
f.write(b"write")
f.flush()
print(g[0:10], os.pread(f.fileno(), 4, 5))
print("libpython" in open("/proc/self/maps").read(), "libc.so.6" in open("/proc/self/maps").read())
END
exec python3 /tmp/job.py"#;

const JOBS: [Job; 6] = [
    Job {
        name: "bash",
        package: "bash",
        command: "exec bash -c 's=0; for ((i=0;i<6000;i++)); do ((s+=i*i%7)); done; echo $s
declare -A m; for i in {1..500}; do m[k$i]=$i; done; echo ${#m[@]}
for i in 1 2 3; do echo $(echo $((i*i)) | cat); done; cat <<< here'",
        prints: &["11998", "500", "1", "4", "9", "here"],
    },
    Job {
        name: "gawk",
        package: "gawk",
        command: "exec gawk 'BEGIN { for (i = 0; i < 100000; i++) s += i * i % 7; print s
for (i = 0; i < 5000; i++) a[i % 77] = a[i % 77] i; for (k in a) n += length(a[k]); print n }'",
        prints: &["199999", "18890"],
    },
    Job {
        name: "lua",
        package: "lua5.4",
        command: "exec lua5.4 -e 'local s = 0 for i = 0, 99999 do s = s + i * i % 7 end print(s)
local t = {} for i = 1, 20000 do t[#t + 1] = tostring(i) end print(#table.concat(t))
local f = io.popen(\"echo from a child\") print(f:read(\"a\"))'",
        prints: &["199999", "88894", "from a child", ""],
    },
    Job {
        name: "perl",
        package: "perl",
        command:
            "exec perl -e 'my $s = 0; for my $i (0..100000) { $s += $i * $i % 7 } print \"$s\\n\";
my %h; $h{$_ % 97} .= $_ for 0..20000; my $n = 0; $n += length $h{$_} for keys %h; print \"$n\\n\";
print `echo from a child`;'",
        prints: &["200003", "88895", "from a child"],
    },
    Job {
        name: "sqlite",
        package: "sqlite3",
        command: "exec sqlite3 /tmp/job.db 'with recursive c(x) as
(select 1 union all select x+1 from c where x<30000) select sum(x*x%7), count(*) from c;
create table t(a primary key, b); insert into t select value, value*7 from generate_series(1,5000);
select sum(b) from t where a%3=0; pragma integrity_check;'",
        prints: &["60003|30000", "29160831", "ok"],
    },
    Job {
        name: "python",
        package: "python3",
        command: PYTHON,
        prints: &[
            "d07ec35a8557c0a925d45f3d27dea58cd3340cfbbb15d468f916754585e89e1e",
            "4498500",
            "from a child",
            "1.414213562373095048801688724",
            "b'xyz'",
            "b'writemap\\x00\\x00' b'map\\x00'",
            "False True",
        ],
    },
];

/// The scenario.
///
/// # Errors
/// Never: the packages are fetched when the archive is made.
pub(crate) fn dynamic(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let mut script = String::new();
    let mut spec = Spec::new(name, 3).timeout_s(300);
    spec.memory_mib = 512;
    for job in &JOBS {
        let name = job.name;
        let _ = write!(
            script,
            "cat > /tmp/{name} << 'END OF JOB'\n{}\nEND OF JOB
busybox ash /tmp/{name} > /tmp/{name}.out 2>&1 &
mover --every 20 $! 400 2 3 1 > /tmp/{name}.moves 2> /dev/null &
wait %1 2> /dev/null
wait
echo {name} begin; cat /tmp/{name}.out; echo {name} end; tail -n 1 /tmp/{name}.moves
",
            job.command
        );
        spec = spec.package(job.package);
    }
    let script = script.replace('\'', "'\\''");
    let spec = spec.script(format!("exec busybox ash -c '{script}'"));
    Ok(Scenario::new(spec, move |outcome| {
        let mut verdict = Verdict {
            passed: Vec::new(),
            failures: ended_well(outcome),
        };
        for job in &JOBS {
            let (begin, end) = (format!("{} begin", job.name), format!("{} end", job.name));
            let result = match between(outcome, &begin, &end) {
                None => Err("it printed nothing".to_owned()),
                Some(lines) if lines == job.prints => Ok(()),
                Some(lines) => Err(format!("printed {lines:?} and not {:?}", job.prints)),
            };
            verdict.check(job.name, result);
        }
        let count = |line: &str| -> Option<u32> { line.strip_prefix("moved ")?.parse().ok() };
        let moves: u32 = outcome.lines().filter_map(count).sum();
        let result = if moves >= 3 {
            Ok(())
        } else {
            Err(format!("all jobs together were moved {moves} times"))
        };
        verdict.check("moves", result);
        verdict
    }))
}
