//! `nodes` and `poweroff`: the cluster as a whole.
//!
//! Law: what the kernel says is shown as it is.

use std::io::Write;

use rt::system::proc_path;

use crate::{Done, Failure, print};

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
    let path = proc_path("cluster/control");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("poweroff {status}\n").as_bytes()))
        .map_err(|error| Failure::io(format!("cannot write {}", path.display()), &error))
}
