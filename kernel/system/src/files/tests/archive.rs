//! The boot archive: what is taken, what is refused, and writing over it.

use super::*;

fn sample() -> Vec<u8> {
    let manifest = format!(
        "{} bin/tool\n{} missing\nnonsense\n",
        "ab".repeat(32),
        "cd".repeat(32)
    );
    tar(&[
        (b'0', ".dunlin/manifest", manifest.as_bytes()),
        (b'5', "bin/", b""),
        (b'0', "bin/tool", &[7; 5000]),
        (b'1', "bin/same", b"bin/tool"),
        (b'2', "sh", b"bin/tool"),
        (b'0', "/absolute", b"here"),
        (b'0', "./deep/er/file", b"deep"),
        (b'0', "../outside", b"no"),
        (b'0', "bin/../../outside", b"no"),
        (b'0', "sh/through-a-link", b"no"),
        (b'6', "fifo", b""),
    ])
}

#[test]
fn a_good_archive_becomes_a_tree() {
    let mut node = Node::new(leak(sample()));
    let report = node.fs.boot_report();
    assert_eq!((report.entries, report.skipped, report.hashed), (7, 4, 1));
    assert_eq!(report.problem, None);
    let tool = node.lstat("/bin/tool");
    assert_eq!((tool.mode, tool.size, tool.links), (0o100_755, 5000, 2));
    assert_eq!((tool.uid, tool.gid), (1000, 100));
    assert_eq!(tool.modified, (0o1234, 0));
    assert_eq!(node.lstat("/bin/same"), tool);
    assert_eq!(node.lstat("/sh").mode, 0o120_777);
    assert_eq!(node.get_file("/sh"), [7; 5000]);
    assert_eq!(node.get_file("/absolute"), b"here");
    assert_eq!(node.get_file("/deep/er/file"), b"deep");
    assert_eq!(
        node.path_call(calls::stat, "/outside").errno(),
        Errno::ENOENT
    );
}

#[test]
fn an_archive_cut_anywhere_gives_a_tree_and_a_reason() {
    let whole = sample();
    for end in (0..whole.len()).step_by(97) {
        let node = Node::new(leak(whole[..end].to_vec()));
        let report = node.fs.boot_report();
        assert!(report.entries <= 7);
        // A cut between entries, or in the padding behind one, loses nothing of those before.
        assert_eq!(report.problem.is_none(), ends_an_entry(&whole, end));
    }
}

/// Whether a cut at `end` is behind the contents of an entry and before the next header.
fn ends_an_entry(archive: &[u8], end: usize) -> bool {
    let (mut contents_end, mut padded_end) = (0, 0);
    while padded_end < end {
        let digits = &archive[padded_end + 124..padded_end + 135];
        let digits = std::str::from_utf8(digits).expect("octal");
        let size = usize::from_str_radix(digits, 8).expect("octal");
        contents_end = padded_end + 512 + size;
        padded_end += 512 + size.next_multiple_of(512);
    }
    contents_end <= end
}

#[test]
fn broken_headers_end_the_reading() {
    let broken: [(usize, &[u8]); 4] = [
        (124, b"77777777777"),
        (124, b"999"),
        (0, b"changed"),
        (124, b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    ];
    for (row, (at, bytes)) in broken.into_iter().enumerate() {
        let mut archive = tar(&[(b'0', "a", b"1"), (b'0', "b", b"2")]);
        archive[1024 + at..1024 + at + bytes.len()].copy_from_slice(bytes);
        if row != 2 {
            seal(&mut archive[1024..1536]);
        }
        let mut node = Node::new(leak(archive));
        assert!(node.fs.boot_report().problem.is_some(), "row {row}");
        assert_eq!(node.get_file("/a"), b"1");
    }
}

#[test]
fn random_bytes_are_no_archive() {
    let mut dice = Dice(1);
    for _ in 0..200 {
        let mut archive = sample();
        for _ in 0..3 {
            let at = dice.below(archive.len() as u64) as usize;
            archive[at] = dice.below(256) as u8;
            let header = at / 512 * 512;
            seal(&mut archive[header..header + 512]);
        }
        Node::new(leak(archive));
    }
}

#[test]
fn long_names_by_prefix_and_by_gnu_entries() {
    let long = "n".repeat(200);
    let text = format!("dir/{long}\0");
    let mut archive = tar(&[
        (b'L', "././@LongLink", text.as_bytes()),
        (b'0', "dir/cut", b"gnu"),
        (b'0', "tail", b"prefix"),
    ]);
    let header = archive.len() - 1024;
    archive[header + 345..header + 352].copy_from_slice(b"some/di");
    seal(&mut archive[header..header + 512]);
    let mut node = Node::new(leak(archive));
    assert_eq!(node.get_file(&format!("/dir/{long}")), b"gnu");
    assert_eq!(node.get_file("/some/di/tail"), b"prefix");
}

#[test]
fn a_hash_holds_until_the_first_change() {
    let mut node = Node::new(leak(sample()));
    let hash = [0xab; 32];
    let inode = node.fs.by_hash(&hash).expect("in the manifest");
    assert_eq!(inode.content_hash(), Some(hash));
    assert!(node.fs.by_hash(&[0xcd; 32]).is_none());
    // Looking at pages changes nothing, and gives the same frame to all.
    let page = inode.page(1).expect("5000 bytes are two pages");
    assert_eq!(page, inode.page(1).expect("again"));
    let mut bytes = [1; 1000];
    page.read(0, &mut bytes);
    assert_eq!((bytes[903], bytes[904]), (7, 0));
    assert_eq!(inode.page(2), Err(PageError::BeyondEnd));
    assert_eq!(inode.content_hash(), Some(hash));

    let fd = node.open("/sh", 1);
    node.call(calls::pwrite64, &[N(fd), In(b"xy"), N(2), N(4999)])
        .ok();
    assert!(node.fs.by_hash(&hash).is_none());
    let file = node.get_file("/bin/same");
    assert_eq!((file.len(), &file[4998..]), (5001, &b"\x07xy"[..]));
    // The mapped page sees it.
    page.read(903, &mut bytes[..3]);
    assert_eq!(&bytes[..3], b"xy\0");
}

#[test]
fn every_name_of_the_archive_can_be_removed_and_made_anew() {
    let mut node = Node::new(leak(sample()));
    node.path_call(calls::unlink, "/bin/tool").ok();
    node.path_call(calls::unlink, "/bin/same").ok();
    node.path_call(calls::rmdir, "/bin").ok();
    assert_eq!(
        node.path_call(calls::stat, "/bin/tool").errno(),
        Errno::ENOENT
    );
    node.put_file("/bin", b"now a file");
    assert_eq!(node.get_file("/bin"), b"now a file");
    // Whoever asks by contents still gets them.
    assert!(node.fs.by_hash(&[0xab; 32]).is_some());
}

#[test]
fn programs_are_regular_executable_files() {
    let mut node = Node::new(leak(sample()));
    node.put_file("/data", b"#!");
    let open = |node: &Node, path: &str| {
        let found = node.fs.open_program(
            &node.state,
            &node.view,
            PID,
            &Who::default(),
            path.as_bytes(),
        );
        found.map(|found| String::from_utf8(found.path).expect("text"))
    };
    assert_eq!(open(&node, "sh").as_deref(), Ok("/bin/tool"));
    assert_eq!(open(&node, "/bin"), Err(Errno::EACCES));
    assert_eq!(open(&node, "/data"), Err(Errno::EACCES));
    assert_eq!(open(&node, "/dev/null"), Err(Errno::EACCES));
    assert_eq!(open(&node, "/no"), Err(Errno::ENOENT));
    assert_eq!(open(&node, "/data/x"), Err(Errno::ENOTDIR));
    assert_eq!(open(&node, "/proc/self/exe"), Err(Errno::ENOENT));
    node.view.links.insert(PID, b"/bin/tool".to_vec());
    assert_eq!(open(&node, "/proc/self/exe").as_deref(), Ok("/bin/tool"));
}
