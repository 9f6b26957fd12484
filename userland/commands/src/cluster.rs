//! `nodes`, `drain`, `owner` and `poweroff`: the cluster as a whole.
//!
//! Law: what the kernel says is shown as it is.

use rt::system::proc_path;

use crate::proc::write;
use crate::{Done, Failure, print};

const ENXIO: i32 = 6;
const EHOSTDOWN: i32 = 112;

/// Prints the table of nodes.
pub(crate) fn nodes(arguments: &[String]) -> Done {
    if !arguments.is_empty() {
        return Err(Failure::Usage("nodes"));
    }
    let path = proc_path("cluster/nodes");
    let text = std::fs::read(&path)
        .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    print(&text)
}

/// Powers the cluster off with a status.
pub(crate) fn poweroff(arguments: &[String]) -> Done {
    const USAGE: Failure = Failure::Usage("poweroff [STATUS]");
    let status: u8 = match arguments {
        [] => 0,
        [status] => status.parse().map_err(|_| USAGE)?,
        _ => return Err(USAGE),
    };
    control(&format!("poweroff {status}"), "this node")
}

/// Writes a line to the file of the cluster that takes orders.
fn control(line: &str, whom: &str) -> Done {
    let line = format!("{line}\n");
    write("cluster/control", &line).map_err(|error| match error.raw_os_error() {
        Some(ENXIO) => {
            Failure::Problem(format!("{whom} is not known; `nodes` lists those that are"))
        }
        Some(EHOSTDOWN) => {
            Failure::Problem(format!("{whom} does not answer; nothing was changed there"))
        }
        _ => Failure::io(format!("cannot tell {whom}"), &error),
    })
}

/// Sends all guests of a node away, and lets none come.
pub(crate) fn drain(arguments: &[String]) -> Done {
    for_node(arguments, "drain", "drain [NODE]")
}

/// Lets guests come again.
pub(crate) fn undrain(arguments: &[String]) -> Done {
    for_node(arguments, "undrain", "undrain [NODE]")
}

/// The owner of a node works on it, or has gone, or the node sees by what is typed on its console.
pub(crate) fn owner(arguments: &[String]) -> Done {
    const USAGE: &str = "owner present|away|auto [NODE]";
    match arguments {
        [word, rest @ ..] if matches!(word.as_str(), "present" | "away" | "auto") => {
            for_node(rest, &format!("owner {word}"), USAGE)
        }
        _ => Err(Failure::Usage(USAGE)),
    }
}

fn for_node(arguments: &[String], order: &str, usage: &'static str) -> Done {
    match arguments {
        [] => control(order, "this node"),
        [node] => {
            let node: u16 = node.parse().map_err(|_| Failure::Usage(usage))?;
            control(&format!("{order} {node}"), &format!("node {node}"))
        }
        _ => Err(Failure::Usage(usage)),
    }
}
