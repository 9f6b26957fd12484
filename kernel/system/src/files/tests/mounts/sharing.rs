//! Mounts that are told what is mounted on others: who, in which way, and what goes with what.

use super::*;

const UNBINDABLE: u64 = 1 << 17;
const PRIVATE: u64 = 1 << 18;
const SLAVE: u64 = 1 << 19;
const SHARED: u64 = 1 << 20;

impl Node {
    #[track_caller]
    fn share(&mut self, target: &str, kind: u64) {
        self.mount(("", target), "", kind, "").ok();
    }

    /// A file system of its own at a path, with directories in it.
    #[track_caller]
    fn world(&mut self, at: &str, names: &[&str]) {
        let _ = self.path_call(calls::mkdir, at);
        self.tmpfs(at);
        for name in names {
            self.make(&[&format!("{at}/{name}")]);
        }
    }

    /// How each mount below a path is shared: `PATH what`.
    #[track_caller]
    fn shared(&mut self, below: &str) -> Vec<String> {
        let text = self.text("/proc/self/mountinfo");
        let shown = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let (at, rest) = (words[4], &words[6..]);
            let tags: Vec<&str> = rest
                .iter()
                .copied()
                .take_while(|word| *word != "-")
                .collect();
            let shown = format!("{at} {}", tags.join(" "));
            at.starts_with(below).then(|| shown.trim().to_owned())
        };
        text.lines().filter_map(shown).collect()
    }
}

#[test]
fn peers_see_what_is_mounted_on_each_other() {
    let mut node = Node::new(&[]);
    node.world("/w", &["a", "b", "c"]);
    node.world("/w/a", &["d", "e"]);
    node.share("/w/a", SHARED);
    node.bind("/w/a", "/w/b").ok();
    node.tmpfs("/w/b/d");
    node.put_file("/w/b/d/file", b"one");
    assert_eq!(node.get_file("/w/a/d/file"), b"one");
    assert_eq!(
        node.shared("/w"),
        [
            "/w",
            "/w/a shared:1",
            "/w/b shared:1",
            "/w/b/d shared:2",
            "/w/a/d shared:2"
        ]
    );
    // One that shows a part sees what is mounted in that part.
    node.bind("/w/a/e", "/w/c").ok();
    node.make(&["/w/a/e/f"]);
    node.tmpfs("/w/a/e/f");
    assert_eq!(node.device("/w/c/f"), node.device("/w/b/e/f"));
    node.unmount("/w/c/f", 0).ok();
    assert_eq!(node.device("/w/a/e/f"), node.device("/w/a"));
    // What is used where others see it is in use.
    let file = node.open("/w/a/d/file", 0);
    assert_eq!(node.unmount("/w/b/d", 0).errno(), Errno::EBUSY);
    node.close(file);
    node.unmount("/w/b/d", 0).ok();
    assert_eq!(
        node.shared("/w"),
        ["/w", "/w/a shared:1", "/w/b shared:1", "/w/c shared:1"]
    );
    node.share("/w/a", PRIVATE);
    node.tmpfs("/w/a/d");
    // The root of what another shows.
    node.tmpfs("/w/b/e");
    let seen = [
        "/w",
        "/w/a",
        "/w/b shared:1",
        "/w/c shared:1",
        "/w/a/d",
        "/w/b/e shared:2",
        "/w/c shared:2",
    ];
    assert_eq!(node.shared("/w"), seen);
}

/// `/w/b` hears `/w/a`, which has these folders, and `/w/c` hears `/w/b`.
fn heard(folders: &[&str]) -> Node {
    let mut node = Node::new(&[]);
    node.world("/w", &["a", "b", "c"]);
    node.world("/w/a", folders);
    node.share("/w/a", SHARED);
    node.bind("/w/a", "/w/b").ok();
    node.share("/w/b", SLAVE);
    node.share("/w/b", SHARED);
    node.bind("/w/b", "/w/c").ok();
    node.share("/w/c", SLAVE);
    node
}

#[test]
fn who_only_hears_tells_nothing() {
    let mut node = heard(&["d", "e"]);
    node.tmpfs("/w/a/d");
    node.tmpfs("/w/b/e");
    assert_eq!(
        node.shared("/w"),
        [
            "/w",
            "/w/a shared:1",
            "/w/b shared:2 master:1",
            "/w/c master:2",
            "/w/a/d shared:3",
            "/w/b/d shared:4 master:3",
            "/w/c/d master:4",
            "/w/b/e shared:5",
            "/w/c/e master:5"
        ]
    );
    // From where only the first and the last are seen, it is told that one hears the other.
    node.make(&["/w/r", "/w/r/a", "/w/r/c", "/w/r/proc"]);
    node.bind("/w/a", "/w/r/a").ok();
    node.bind("/w/c", "/w/r/c").ok();
    node.mount(("p", "/w/r/proc"), "proc", 0, "").ok();
    node.path_call(calls::chroot, "/w/r").ok();
    assert_eq!(
        node.shared("/"),
        ["/a shared:1", "/c master:2 propagate_from:1", "/proc"]
    );
}

#[test]
fn a_group_that_ends_leaves_who_heard_it_to_the_one_that_it_heard() {
    let mut node = heard(&["d", "in"]);
    node.bind("/w/a", "/w/a/in").ok();
    node.unmount("/w/a/in", 0).ok();
    node.unmount("/w/b", 0).ok();
    assert_eq!(node.shared("/w"), ["/w", "/w/a shared:1", "/w/c master:1"]);
    node.tmpfs("/w/a/d");
    assert_ne!(node.device("/w/c/d"), node.device("/w/c"));
    node.share("/w/a", SLAVE);
    assert_eq!(node.shared("/w/a"), ["/w/a", "/w/a/d shared:2"]);
    assert_eq!(node.shared("/w/c"), ["/w/c", "/w/c/d master:2"]);
}

#[test]
fn what_was_there_before_stays_on_top() {
    let mut node = Node::new(&[]);
    node.world("/w", &["a", "b"]);
    node.world("/w/a", &["d"]);
    node.put_file("/w/a/d/file", b"below");
    node.share("/w/a", SHARED);
    node.bind("/w/a", "/w/b").ok();
    node.share("/w/b", SLAVE);
    node.tmpfs("/w/b/d");
    node.put_file("/w/b/d/file", b"own");
    node.tmpfs("/w/a/d");
    assert_eq!(node.get_file("/w/b/d/file"), b"own");
    assert_eq!(
        node.shared("/w/b"),
        ["/w/b master:1", "/w/b/d", "/w/b/d master:2"]
    );
    // It comes down again, and does not keep what lies below it.
    node.unmount("/w/a/d", 0).ok();
    assert_eq!(node.shared("/w/b"), ["/w/b master:1", "/w/b/d"]);
    assert_eq!(node.get_file("/w/b/d/file"), b"own");
    node.unmount("/w/b/d", 0).ok();
    assert_eq!(node.get_file("/w/b/d/file"), b"below");
}

#[test]
fn what_others_have_goes_unless_it_carries_more() {
    let mut node = Node::new(&[]);
    node.world("/w", &["a", "b", "c"]);
    node.world("/w/a", &["d"]);
    node.share("/w/a", SHARED);
    for at in ["/w/b", "/w/c"] {
        node.bind("/w/a", at).ok();
        node.share(at, SLAVE);
    }
    node.world("/w/a/d", &["e"]);
    node.tmpfs("/w/b/d/e");
    node.unmount("/w/a/d", 0).ok();
    let left = ["/w/b master:1", "/w/b/d", "/w/b/d/e"];
    assert_eq!(node.shared("/w/b"), left);
    assert_eq!(node.shared("/w/c"), ["/w/c master:1"]);
    // A whole tree goes with a whole tree.
    node.unmount("/w/b/d", DETACH).ok();
    node.world("/w/a/d", &["e"]);
    node.tmpfs("/w/a/d/e");
    assert_eq!(node.shared("/w/b").len(), 3);
    node.unmount("/w/a/d", DETACH).ok();
    assert_eq!(
        node.shared("/w"),
        ["/w", "/w/a shared:1", "/w/b master:1", "/w/c master:1"]
    );
}

#[test]
fn files_are_mounted_on_by_their_names_in_all_that_show_them() {
    let mut node = Node::new(&[]);
    node.world("/w", &["a", "b"]);
    node.world("/w/a", &[]);
    node.put_file("/w/file", b"on it");
    node.put_file("/w/a/f", b"under it");
    node.put_file("/w/f", b"");
    node.two_paths(calls::link, "/w/a/f", "/w/a/other").ok();
    node.share("/w/a", SHARED);
    node.bind("/w/a", "/w/b").ok();
    node.bind("/w/a/f", "/w/f").ok();
    node.bind("/w/file", "/w/f").ok();
    for (path, text) in [
        ("/w/a/f", "on it"),
        ("/w/b/f", "on it"),
        ("/w/b/other", "under it"),
    ] {
        assert_eq!(node.get_file(path), text.as_bytes(), "{path}");
    }
    node.unmount("/w/a/f", 0).ok();
    for path in ["/w/a/f", "/w/b/f", "/w/f"] {
        assert_eq!(node.get_file(path), b"under it", "{path}");
    }
}

#[test]
fn trees_that_are_bound_or_moved_are_told_as_a_whole() {
    let mut node = Node::new(&[]);
    node.world("/w", &["a", "b", "t"]);
    node.world("/w/a", &["d", "e"]);
    node.share("/w/a", SHARED);
    node.bind("/w/a", "/w/b").ok();
    node.world("/w/t", &["x", "y"]);
    node.tmpfs("/w/t/x");
    node.tmpfs("/w/t/y");
    node.share("/w/t/y", UNBINDABLE);
    node.mount(("/w/t", "/w/a/d"), "", BIND | RECURSIVE, "")
        .ok();
    let seen = ["/w/b shared:1", "/w/b/d shared:2", "/w/b/d/x shared:3"];
    assert_eq!(node.shared("/w/b"), seen);
    // What cannot be bound cannot be moved to where others would have it, too.
    let moved = |node: &mut Node, from: &str, to: &str| node.mount((from, to), "", MOVE, "");
    assert_eq!(moved(&mut node, "/w/t", "/w/a/e").errno(), Errno::EINVAL);
    // Nor is what others were told of moved away from them.
    assert_eq!(moved(&mut node, "/w/a/d", "/w/t").errno(), Errno::EINVAL);
    node.share("/w/t/y", PRIVATE);
    moved(&mut node, "/w/t", "/w/a/e").ok();
    let seen = ["/w/b/e shared:4", "/w/b/e/x shared:5", "/w/b/e/y shared:6"];
    assert_eq!(node.shared("/w/b/e"), seen);
    assert_eq!(node.shared("/w/t").len(), 0);
}

#[test]
fn a_group_of_many_comes_to_its_end_as_a_whole() {
    let mut node = Node::new(&[]);
    let live = node.fs.counts.live();
    node.world("/w", &["d"]);
    node.share("/w", SHARED);
    // Each makes twice as many.
    let mut made = 0;
    while node
        .mount(("/w", "/w/d"), "", BIND | RECURSIVE, "")
        .result
        .is_ok()
    {
        made += 1;
        assert!(made < 20);
    }
    let count = node.shared("/w").len();
    assert!((300..1024).contains(&count), "{count}");
    let refused = node.mount(("/w", "/w/d"), "", BIND | RECURSIVE, "");
    assert_eq!(refused.errno(), Errno::ENOSPC);
    assert_eq!(node.shared("/w").len(), count, "nothing of it was made");
    // Some lie on each other.
    for _ in 0..made {
        let _ = node.unmount("/w", DETACH);
    }
    assert_eq!(node.shared("/w").len(), 0);
    node.path_call(calls::rmdir, "/w").ok();
    assert_eq!(node.fs.counts.live(), live);
}
