//! A home whose system was replaced by one that lays out the records of its journal otherwise.

use super::Cluster;
use crate::home::INIT;
use crate::keeper::{LAYOUT, RECORDS};

const GETPPID: u64 = 110;
/// What the journal has of the node itself.
const NODE: u64 = 1 << 32;

impl Cluster {
    /// Node 1 dies, and something in its journal is changed before it boots again.
    fn reboot_with(&mut self, change: impl FnOnce(&mut journal::Journal)) {
        let disk = self.disks[0].as_mut().expect("it has one");
        disk.written.clear();
        let mut journal = disk.open(0);
        change(&mut journal);
        while let Some(op) = journal.poll() {
            disk.perform(op);
            journal.done(true);
        }
        self.reboot(0);
        self.settle();
        self.settle();
    }

    fn layout(&self) -> Option<Vec<u8>> {
        let disk = self.disks[0].as_ref().expect("it has one");
        disk.open(0).get(RECORDS).map(<[u8]>::to_vec)
    }
}

fn said() -> String {
    let mut text = Vec::new();
    machine::journal_lines(0, usize::MAX, |byte| text.push(byte));
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn records_of_another_layout_are_told_and_their_processes_end_where_they_are() {
    for layout in [None, Some(LAYOUT + 1), Some(u32::MAX)] {
        let mut cluster = Cluster::with_a_disk(2);
        let pids = [0; 2].map(|_| cluster.fork(0));
        for pid in pids {
            cluster.move_to(pid, 2);
        }
        let boot = cluster.nodes[0].boot;
        cluster.reboot_with(|journal| match layout {
            None => drop(journal.remove(RECORDS)),
            Some(layout) => {
                let bytes = postcard::to_allocvec(&layout).expect("it fits");
                journal.put(RECORDS, &bytes).expect("room");
            }
        });
        for pid in pids {
            assert!(!cluster.nodes[0].homes.contains_key(&pid));
            assert!(!cluster.nodes[1].bodies.contains_key(&pid));
        }
        let of = layout.map_or(String::from("of before layouts had numbers"), |it| {
            it.to_string()
        });
        let line = format!(
            "the journal has 2 processes in layout {of}, and this system reads layout {LAYOUT}"
        );
        assert!(said().contains(&line), "{line}");
        // What does not depend on it goes on, and what is written now is understood.
        assert!(cluster.nodes[0].boot > boot);
        let pid = cluster.fork(0);
        assert!(pids.iter().all(|before| pid > *before));
        cluster.move_to(pid, 2);
        assert_eq!(cluster.layout(), postcard::to_allocvec(&LAYOUT).ok());
        cluster.reboot_with(|_| ());
        assert_eq!(cluster.call(1, pid, GETPPID, &[]), i64::from(INIT));
    }
}

#[test]
fn a_journal_that_is_not_understood_is_not_used() {
    let mut cluster = Cluster::with_a_disk(2);
    let pid = cluster.fork(0);
    cluster.move_to(pid, 2);
    let nonsense = [0xff; 3];
    cluster.reboot_with(|journal| {
        journal.put(NODE, &nonsense).expect("room");
    });
    assert!(said().contains("what the journal has of this node is not understood: it is not used"));
    assert!(!cluster.nodes[0].keeper.keeps());
    assert!(
        !cluster.nodes[1].bodies.contains_key(&pid),
        "as without a disk"
    );
    let disk = cluster.disks[0].as_ref().expect("it has one");
    assert_eq!(
        disk.open(0).get(NODE),
        Some(&nonsense[..]),
        "it is left as it is"
    );
}
