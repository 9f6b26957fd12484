//! The files by which processes and nodes are seen and moved.
//!
//! Law: text from these files is parsed strictly; a line that is not understood is an error that
//! shows the line.

use std::fs::{File, OpenOptions, read_dir, read_to_string};
use std::io::{self, Write};

use rt::system::proc_path;

/// What a line of `/proc/PID/stat` says (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: i32,
}

impl Stat {
    /// Parses `PID (NAME) STATE PPID ...`; the name may contain anything.
    pub(crate) fn parse(text: &str) -> Option<Stat> {
        let (pid, rest) = text.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split_ascii_whitespace();
        let mut state = fields.next()?.chars();
        let stat = Stat {
            pid: pid.trim().parse().ok()?,
            name: name.to_owned(),
            state: state.next()?,
            parent: fields.next()?.parse().ok()?,
        };
        state.next().is_none().then_some(stat)
    }
}

/// Where a process runs: a node number, or `home`; `?` if the system does not say.
pub(crate) fn place(pid: i32) -> String {
    let read = |name: &str| read_to_string(proc_path(&format!("{pid}/{name}"))).ok();
    let Some(place) = read("where").map(|text| text.trim().to_owned()) else {
        return "?".to_owned();
    };
    match read("home") {
        Some(home) if home.trim() == place => "home".to_owned(),
        _ => place,
    }
}

/// Moves a process: returns when it runs at the destination.
pub(crate) fn send(pid: i32, destination: &str) -> io::Result<()> {
    send_so(pid, destination, "")
}

/// As [`send`], with orders how to get there, each behind a space.
pub(crate) fn send_so(pid: i32, destination: &str, how: &str) -> io::Result<()> {
    let order = format!("{destination} {how}");
    write(&format!("{pid}/goto"), &format!("{}\n", order.trim()))
}

/// Writes to a file that is there, in one call.
pub(crate) fn write(file: &str, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(proc_path(file))?;
    file.write_all(text.as_bytes())
}

/// The processes whose home is this node, by pid.
pub(crate) fn pids() -> io::Result<Vec<i32>> {
    let mut pids: Vec<i32> = read_dir(proc_path(""))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Whether an error of [`send`] means that there is no such process (any more).
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(rt::ESRCH | rt::ENOENT))
}

/// What the system says why the process did not move.
pub(crate) fn obstacle(pid: i32) -> String {
    let text = read_to_string(proc_path(&format!("{pid}/cantmove"))).unwrap_or_default();
    text.trim().to_owned()
}

/// Why [`send`] failed, in words.
pub(crate) fn reason(pid: i32, destination: &str, error: &io::Error) -> String {
    let node = if destination == "home" {
        "its home node".to_owned()
    } else {
        format!("node {destination}")
    };
    match error.raw_os_error() {
        Some(rt::EBUSY) => match obstacle(pid).as_str() {
            "" => "it cannot move now, and the system does not say why".to_owned(),
            text => text.to_owned(),
        },
        Some(rt::ESRCH | rt::ENOENT) => "there is no such process".to_owned(),
        Some(rt::ENXIO) => format!("there is no {node}"),
        Some(rt::EHOSTDOWN) => format!("{node} is dead"),
        Some(rt::ENOMEM) => format!("{node} is full"),
        // A bound of this very move, or a step of its own.
        Some(rt::ETIMEDOUT) => match obstacle(pid).as_str() {
            "" => format!("{node} did not answer in time"),
            text => text.to_owned(),
        },
        Some(rt::EAGAIN) => "the move was called off".to_owned(),
        Some(rt::EINVAL) => format!("`{destination}` is not a node"),
        Some(rt::EPERM | rt::EACCES) => "it belongs to somebody else".to_owned(),
        _ => error.to_string(),
    }
}

/// One move, as `/proc/PID/migstat` tells it. Times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) index: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) mode: String,
    pub(crate) pages_sent: u64,
    pub(crate) pages_zero: u64,
    pub(crate) pages_present: u64,
    pub(crate) bytes: u64,
    pub(crate) freeze_us: u64,
    pub(crate) observer_us: u64,
    pub(crate) total_us: u64,
    pub(crate) rtt_us: u64,
    /// Microseconds of each phase, in the order of [`PHASES`].
    pub(crate) phases: [u64; PHASES.len()],
}

/// The phases of a move, as the last columns of `migstat` tell them.
pub(crate) const PHASES: [&str; 7] = [
    "wait", "admit", "capture", "flight", "start", "release", "push",
];

/// Microseconds, which the system tells with a digit behind the point.
fn microseconds(text: &str) -> Option<u64> {
    let value: f64 = text.parse().ok()?;
    (0.0..1e15).contains(&value).then_some(value.round() as u64)
}

impl Move {
    /// Parses a line of numbers between tabs.
    pub(crate) fn parse(line: &str) -> Option<Move> {
        let mut fields = line.split('\t').map(str::trim);
        let mut text = || {
            fields
                .next()
                .filter(|field| !field.is_empty())
                .map(str::to_owned)
        };
        let index = text()?.parse().ok()?;
        let (from, to, mode) = (text()?, text()?, text()?);
        let mut number = || microseconds(&text()?);
        let mut one = Move {
            index,
            from,
            to,
            mode,
            pages_sent: number()?,
            pages_zero: number()?,
            pages_present: number()?,
            bytes: number()?,
            freeze_us: number()?,
            observer_us: number()?,
            total_us: number()?,
            rtt_us: number()?,
            phases: [0; PHASES.len()],
        };
        for phase in &mut one.phases {
            *phase = number()?;
        }
        Some(one)
    }
}

/// The header line and the lines of `/proc/PID/migstat`, as they stand there.
pub(crate) fn migstat_lines(pid: i32) -> io::Result<(String, Vec<String>)> {
    let text = read_to_string(proc_path(&format!("{pid}/migstat")))?;
    let mut lines = text.lines().map(str::to_owned);
    let header = lines.next().unwrap_or_default();
    Ok((
        header,
        lines.filter(|line| !line.trim().is_empty()).collect(),
    ))
}

/// The last move of a process.
pub(crate) fn last_move(pid: i32) -> io::Result<Move> {
    let (_, lines) = migstat_lines(pid)?;
    let line = lines.last().map_or("", String::as_str);
    Move::parse(line).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("migstat has the line `{line}`"),
        )
    })
}

/// What `/proc/cluster/ping` measured on the link to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) node: String,
    pub(crate) rtt_p50_us: u64,
    pub(crate) rtt_min_us: u64,
    pub(crate) blast_bytes_per_s: u64,
    pub(crate) rtt_p99_us: u64,
}

impl Link {
    fn parse(line: &str) -> Option<Link> {
        let mut fields = line.split_ascii_whitespace();
        let node = fields.next()?.to_owned();
        Some(Link {
            node,
            rtt_p50_us: microseconds(fields.next()?)?,
            rtt_min_us: microseconds(fields.next()?)?,
            blast_bytes_per_s: fields.next()?.parse().ok()?,
            rtt_p99_us: microseconds(fields.next()?)?,
        })
    }
}

/// Measures the link to `node` with `count` pings.
pub(crate) fn ping(node: &str, count: u32) -> io::Result<Link> {
    ping_sized(node, count, None)
}

/// As [`ping`], with so many bytes in every frame.
pub(crate) fn ping_sized(node: &str, count: u32, payload: Option<usize>) -> io::Result<Link> {
    let path = proc_path("cluster/ping");
    let mut file = OpenOptions::new().write(true).open(&path)?;
    let payload = payload.map_or(String::new(), |bytes| format!(" {bytes}"));
    file.write_all(format!("{node} {count}{payload}\n").as_bytes())?;
    drop(file);
    let text = read_to_string(path)?;
    text.lines()
        .filter_map(Link::parse)
        .rfind(|link| link.node == node)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no line for node {node} in `{text}`"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::{Link, Move, Stat};

    #[test]
    fn parses_stat_with_any_name() {
        let stat = Stat::parse("65537 (a) b (c) S 1 2 3\n").expect("it is right");
        assert_eq!((stat.pid, stat.state, stat.parent), (65537, 'S', 1));
        assert_eq!(stat.name, "a) b (c");
        for text in ["", "1", "1 (a", "1 (a) S", "x (a) S 1", "1 (a) SS 1"] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn parses_moves() {
        let line = "3\t1\t2\tpost-copy\t256\t12\t40\t1048576\t410.4\t500\t9000\t379.6\t1\t2.0\t3\t4\t5\t6\t7";
        let parsed = Move::parse(line).expect("it is right");
        assert_eq!(
            (parsed.index, parsed.to.as_str(), parsed.rtt_us),
            (3, "2", 380)
        );
        assert_eq!(
            (parsed.freeze_us, parsed.phases),
            (410, [1, 2, 3, 4, 5, 6, 7])
        );
        assert_eq!(Move::parse("move\tfrom\tto\tmode\tpages_sent"), None);
        assert_eq!(Move::parse(&line.replace("410", "-")), None);
        assert_eq!(Move::parse(""), None);
    }

    #[test]
    fn parses_links() {
        assert!(Link::parse("node rtt_p50_us rtt_min_us blast_bytes_per_s rtt_p99_us").is_none());
        assert!(Link::parse("2\t-1.0\t301.5\t31000000\t1").is_none());
        let link = Link::parse("2\t379.6\t301.0\t31000000\t500.2\t-").expect("it is right");
        assert_eq!((link.rtt_p50_us, link.blast_bytes_per_s), (380, 31_000_000));
    }
}
