//! The texts of the nodes, read.
//!
//! Law: a text may say anything. A line that is not understood is an error with the line in it.

use std::collections::BTreeMap;

/// The most nodes that can be told of.
const NODE_MAX: u16 = 32767;

/// One line: something that has happened on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The node's clock, ns.
    pub at_ns: u64,
    /// Its name, as `kernel/system/src/timeline.rs` has it.
    pub name: String,
    /// The process.
    pub pid: u32,
    /// The epoch at the target of the move; of a clock: how wrong it may be, ns.
    pub epoch: u64,
    /// The other node.
    pub peer: u16,
    /// What the event says of itself; of a clock: the other's minus this one's, ns.
    pub value: i128,
}

/// What a node has told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeTrace {
    /// In the order in which they were noted.
    pub events: Vec<Event>,
    /// How many older steps of moves it has forgotten.
    pub overwritten: u64,
    /// How many pages that were waited for it has forgotten.
    pub pages_overwritten: u64,
}

/// The texts of several nodes, one behind the other; each begins with `# node`.
///
/// # Errors
/// The line that is not understood.
pub fn read<'a>(
    lines: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<u16, NodeTrace>, String> {
    let mut nodes: BTreeMap<u16, NodeTrace> = BTreeMap::new();
    let mut node = None;
    for line in lines {
        let wrong = || format!("not a line of a trace: `{line}`");
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        match fields.as_slice() {
            ["# node", number, ..] => {
                let number = number.parse().ok().filter(|n| (1..=NODE_MAX).contains(n));
                let number = number.ok_or_else(wrong)?;
                if nodes.insert(number, NodeTrace::default()).is_some() {
                    return Err(format!("node {number} tells twice"));
                }
                node = Some(number);
            }
            [ring @ ("# steps" | "# pages"), _, "overwritten", count] => {
                let trace = node.and_then(|node| nodes.get_mut(&node));
                let trace = trace.ok_or_else(wrong)?;
                let count = count.parse().map_err(|_| wrong())?;
                match *ring {
                    "# steps" => trace.overwritten = count,
                    _ => trace.pages_overwritten = count,
                }
            }
            fields => {
                let trace = node.and_then(|node| nodes.get_mut(&node));
                let event = event(fields).ok_or_else(wrong)?;
                trace.ok_or_else(wrong)?.events.push(event);
            }
        }
    }
    Ok(nodes)
}

fn event(fields: &[&str]) -> Option<Event> {
    let [at, _number, name, pid, epoch, peer, value] = fields else {
        return None;
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    let event = Event {
        at_ns: at.parse().ok().filter(|at| *at < 1 << 62)?,
        name: (*name).to_owned(),
        pid: pid.parse().ok()?,
        epoch: epoch.parse().ok()?,
        peer: peer.parse().ok()?,
        value: value
            .parse::<i128>()
            .ok()
            .filter(|value| value.abs() < 1 << 65)?,
    };
    (!name.is_empty() && name.bytes().all(plain)).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_in_one_text() {
        let text = "# node\t1\tboot\t1f\tnow\t900\n# steps\t5\toverwritten\t3\n\
                    7\t0\toffered\t65538\t2\t2\t150\n8\t1\tclock\t0\t20\t2\t-5\n\
                    # node\t2\tboot\t20\tnow\t901";
        let nodes = read(text.lines()).expect("it is right");
        assert_eq!(nodes[&1].overwritten, 3);
        assert_eq!(nodes[&1].events[1].value, -5);
        assert_eq!(nodes[&2], NodeTrace::default());
    }

    #[test]
    fn nonsense_is_named() {
        for bad in [
            "7\t0\toffered\t65538\t2\t2\t150",
            "# node\t0",
            "# node\t1\n# node\t1",
            "# node\t1\nhello",
            "# node\t1\n7\t0\t<b>\t65538\t2\t2\t150",
            "# node\t1\n7\t0\toffered\t-1\t2\t2\t150",
            "# node\t1\n99999999999999999999\t0\toffered\t1\t2\t2\t150",
        ] {
            assert!(read(bad.lines()).is_err(), "{bad}");
        }
    }
}
