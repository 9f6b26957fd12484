//! `mon`: the cluster at a glance, once a second: a bar for each node, or the processes of this one.
//!
//! Law: what this node believes of another is shown with its age; what it does not know is a dash, and
//! never a zero. The terminal gets its modes back whatever happens.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rt::files::read_byte;
use rt::system::proc_path;
use rt::terminal::{Modes, window};

use crate::proc::{Stat, pids, place};
use crate::{Done, Failure, print};

const USAGE: &str = "mon [--once] [load|memory|guests|processes]\n\
    keys: l load, m memory, g guests, p processes, q quit";
/// Rows and columns of a terminal that does not say.
const WINDOW: [u16; 2] = [24, 80];
/// Behind that many ms a load is old news.
const OLD_MS: u64 = 5_000;

/// What is shown of each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Load,
    Memory,
    Guests,
    Processes,
}

impl View {
    const ALL: [(&'static str, View); 4] = [
        ("load", View::Load),
        ("memory", View::Memory),
        ("guests", View::Guests),
        ("processes", View::Processes),
    ];

    fn of_name(name: &str) -> Option<View> {
        let found = View::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, view)| *view)
    }

    fn of_key(key: u8) -> Option<View> {
        let starts = |(name, _): &&(&str, View)| name.as_bytes().first() == Some(&key);
        View::ALL.iter().find(starts).map(|(_, view)| *view)
    }

    fn title(self) -> &'static str {
        match self {
            View::Load => "load: threads that want a processor, of each processor",
            View::Memory => "memory: used, MiB",
            View::Guests => "guests: processes of other nodes",
            View::Processes => "processes of this node, and where they run",
        }
    }
}

/// A line of `/proc/cluster/nodes`; what the node has not told is `None`.
#[derive(Debug, Default, PartialEq)]
struct Node {
    number: String,
    state: String,
    frames_total: u64,
    frames_free: u64,
    runnable: Option<f64>,
    processors: Option<f64>,
    guests: Option<f64>,
    open: String,
    age_ms: Option<u64>,
}

impl Node {
    /// How much there is of what is shown, and how much would be all of it, if there is a most.
    fn value(&self, view: View) -> (Option<f64>, Option<f64>) {
        const FRAMES_PER_MIB: f64 = 256.0;
        match view {
            View::Load => {
                let each = self.runnable.zip(self.processors);
                (each.map(|(all, of)| all / 1000.0 / of.max(1.0)), None)
            }
            View::Memory => {
                let used = self.frames_total.saturating_sub(self.frames_free);
                let mib = |frames: u64| frames as f64 / FRAMES_PER_MIB;
                (Some(mib(used)), Some(mib(self.frames_total)))
            }
            View::Guests | View::Processes => (self.guests, None),
        }
    }
}

/// The nodes in a text with a line of names above.
fn nodes(text: &str) -> Result<Vec<Node>, String> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or("").split('\t').collect();
    lines
        .map(|line| {
            let words: Vec<&str> = line.split('\t').collect();
            let field = |name: &str| {
                let at = header.iter().position(|known| *known == name);
                let word = at.and_then(|at| words.get(at));
                word.copied()
                    .ok_or_else(|| format!("no `{name}` in the line `{line}`"))
            };
            let number = |name: &str| {
                field(name)?
                    .parse::<u64>()
                    .map_err(|_| format!("`{name}` is no number in the line `{line}`"))
            };
            let known = |name: &str| field(name).map(|word| word.parse::<f64>().ok());
            Ok(Node {
                number: field("node")?.to_owned(),
                state: field("state")?.to_owned(),
                frames_total: number("frames_total")?,
                frames_free: number("frames_free")?,
                runnable: known("runnable_milli")?,
                processors: known("processors")?,
                guests: known("guests")?,
                open: field("open")?.to_owned(),
                age_ms: field("load_age_ms")?.parse().ok(),
            })
        })
        .collect()
}

/// A bar for each node, in so many columns.
fn bars(view: View, nodes: &[Node], columns: usize) -> Vec<String> {
    let (left, right) = (13, 24);
    let width = columns.saturating_sub(left + right + 2).max(8);
    let most = nodes.iter().filter_map(|node| node.value(view).0);
    let most = most.fold(1.0, f64::max);
    let line = |node: &Node| {
        let (value, all) = node.value(view);
        let share = value.unwrap_or(0.0) / all.unwrap_or(most).max(f64::MIN_POSITIVE);
        let filled = ((share * width as f64).round() as usize).min(width);
        let said = match (value, all) {
            (None, _) => "-".to_owned(),
            (Some(value), None) => format!("{value:.1}"),
            (Some(value), Some(all)) => format!("{value:.0} of {all:.0}"),
        };
        let open = if node.open == "open" { "" } else { &node.open };
        let age = match node.age_ms {
            Some(age) if age > OLD_MS => format!(" {} s old", age / 1000),
            _ => String::new(),
        };
        format!(
            "{:>5} {:<6} [{:<width$}] {said} {open}{age}",
            node.number,
            node.state,
            "#".repeat(filled)
        )
    };
    nodes.iter().map(line).collect()
}

/// The processes whose home is this node.
fn processes() -> Vec<String> {
    let line = |pid: i32| {
        let text = std::fs::read_to_string(proc_path(&format!("{pid}/stat"))).ok()?;
        let Stat { name, state, .. } = Stat::parse(&text)?;
        Some(format!("{pid:>10} {state} {:<5} {name}", place(pid)))
    };
    let lines = pids().unwrap_or_default().into_iter().filter_map(line);
    std::iter::once(format!("{:>10} S WHERE NAME", "PID"))
        .chain(lines)
        .collect()
}

/// All lines, cut to the window.
fn page(view: View, [rows, columns]: [u16; 2]) -> Result<Vec<String>, Failure> {
    let path = proc_path("cluster/nodes");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    let nodes = nodes(&text).map_err(Failure::from)?;
    let silent = nodes.iter().filter(|node| node.state == "silent").count();
    let mut lines = vec![
        format!("{}    {} nodes, {silent} silent", view.title(), nodes.len()),
        String::new(),
    ];
    lines.extend(match view {
        View::Processes => processes(),
        view => bars(view, &nodes, columns.into()),
    });
    let room = usize::from(rows).saturating_sub(1).max(3);
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(format!("... and {more} more"));
    }
    for line in &mut lines {
        let shown: String = line.chars().take(columns.into()).collect();
        line.replace_range(.., shown.trim_end());
    }
    Ok(lines)
}

/// Shows the cluster until somebody presses `q`, or once.
pub(crate) fn mon(arguments: &[String]) -> Done {
    const WRONG: Failure = Failure::Usage(USAGE);
    let (once, rest) = match arguments {
        [option, rest @ ..] if option == "--once" => (true, rest),
        rest => (false, rest),
    };
    let view = match rest {
        [] => View::Load,
        [name] => View::of_name(name).ok_or(WRONG)?,
        _ => return Err(WRONG),
    };
    if once {
        let lines = page(view, [u16::MAX, WINDOW[1]])?;
        return print(format!("{}\n", lines.join("\n")).as_bytes());
    }
    if !io::stdin().is_terminal() {
        return Err("standard input is no terminal; `mon --once` needs none"
            .to_owned()
            .into());
    }
    let input = io::stdin();
    let terminal = input.as_fd();
    let modes =
        Modes::of(terminal).map_err(|error| Failure::io("cannot read the modes", &error))?;
    let set = |modes: &Modes| {
        modes
            .set(terminal)
            .map_err(|error| Failure::io("cannot set the modes", &error))
    };
    set(&modes.clone().raw(0, 10))?;
    let done = show(view, || window(terminal).unwrap_or(WINDOW));
    let back = set(&modes);
    print(b"\x1b[H\x1b[J")?;
    done.and(back)
}

fn show(mut view: View, window: impl Fn() -> [u16; 2]) -> Done {
    const CTRL_C: u8 = 3;
    loop {
        let size = match window() {
            [0, _] | [_, 0] => WINDOW,
            size => size,
        };
        let mut text = String::from("\x1b[H");
        for line in page(view, size)? {
            text += &line;
            text += "\x1b[K\r\n";
        }
        text += "\x1b[J[l]oad [m]emory [g]uests [p]rocesses [q]uit";
        print(text.as_bytes())?;
        io::stdout()
            .flush()
            .map_err(|error| Failure::io("cannot write", &error))?;
        // Nothing comes for a second, or a key does.
        match read_byte().map_err(|error| Failure::io("cannot read", &error))? {
            Some(b'q' | CTRL_C) => return Ok(()),
            Some(key) => view = View::of_key(key).unwrap_or(view),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, View, bars, nodes};

    const TEXT: &str = "node\tstate\tframes_total\tframes_free\trunnable_milli\tprocessors\tguests\topen\tload_age_ms\n\
        1\tself\t1024\t256\t4000\t2\t0\topen\t0\n\
        2\tsilent\t1024\t1024\t-\t-\t-\t-\t-\n\
        3\talive\t1024\t512\t8000\t1\t3\towner\t9000\n";

    #[test]
    fn every_node_has_a_bar_and_what_is_not_known_a_dash() {
        let nodes = nodes(TEXT).expect("a table");
        assert_eq!(nodes[1].runnable, None);
        let lines = bars(View::Load, &nodes, 13 + 24 + 2 + 16);
        assert_eq!(lines[0], "    1 self   [####            ] 2.0 ");
        assert_eq!(lines[1], "    2 silent [                ] - -");
        assert_eq!(
            lines[2],
            "    3 alive  [################] 8.0 owner 9 s old"
        );
        let lines = bars(View::Memory, &nodes, 13 + 24 + 2 + 16);
        assert_eq!(lines[0], "    1 self   [############    ] 3 of 4 ");
        let lines = bars(View::Guests, &nodes, 0);
        assert_eq!(lines[2], "    3 alive  [########] 3.0 owner 9 s old");
        assert!(bars(View::Load, &[Node::default()], 80)[0].contains(" - "));
    }

    #[test]
    fn a_table_that_is_none_is_said_to_be_so() {
        assert!(nodes("node\tstate\n1\tself\n").is_err());
        assert!(nodes("").expect("no nodes").is_empty());
    }

    #[test]
    fn views_have_names_and_keys() {
        for (name, view) in View::ALL {
            assert_eq!(View::of_name(name), Some(view));
            assert_eq!(View::of_key(name.as_bytes()[0]), Some(view));
        }
        assert_eq!((View::of_name("cpu"), View::of_key(b'x')), (None, None));
    }
}
