//! Keys of clusters: made, and turned into what each node is given.
//!
//! Law: a key is for its owner's eyes only: the files that are made cannot be read by others, and what a node is given is not the owner's key.
//! A key is never written over.

use crate::error::{Error, Outcome};
use crate::options::KeyOptions;
use crate::say::step;
use qemu_tests::Suite;
use seal::{OwnerKey, ROSTER_MAX};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wire::NodeId;

/// `cargo xtask key`.
pub(crate) fn key(options: &KeyOptions) -> Outcome {
    let file = &options.file;
    if file.exists() {
        read(file)?;
    } else {
        write(file)?;
        step(format!(
            "{}: the key of a cluster; no node gets it",
            file.display()
        ));
    }
    if let (Some(nodes), Some(folder)) = (options.nodes, &options.into) {
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        let key = read(file)?;
        for number in 1..=usize::from(nodes) {
            let path = node_file(&key, number, usize::from(nodes), options.suite, folder)?;
            step(format!("{}: for node {number} alone", path.display()));
        }
    }
    Ok(0)
}

fn make(path: &Path, text: &str, new: bool) -> Result<(), Error> {
    let mut how = File::options();
    let how = how.write(true).mode(0o600);
    let how = match new {
        true => how.create_new(true),
        false => how.create(true).truncate(true),
    };
    how.open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::file("write", path))
}

/// Writes a new key, as hexadecimal digits.
pub(crate) fn write(path: &Path) -> Result<(), Error> {
    let random = Path::new("/dev/urandom");
    let mut key = [0_u8; seal::KEY_LEN];
    File::open(random)
        .and_then(|mut file| file.read_exact(&mut key))
        .map_err(Error::file("read", random))?;
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    make(path, &format!("{digits}\n"), true)
}

/// The key in a file.
pub(crate) fn read(path: &Path) -> Result<OwnerKey, Error> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    OwnerKey::parse(&bytes).ok_or_else(|| {
        Error::Usage(format!(
            "{}: the key of a cluster is 32 bytes or 64 hexadecimal digits, not all of them zero; `cargo xtask key FILE` makes one",
            path.display()
        ))
    })
}

/// Where that is.
pub(crate) fn node_path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("node-{number}.key"))
}

/// Writes what a node is given of a cluster of so many.
pub(crate) fn node_file(
    key: &OwnerKey,
    number: usize,
    nodes: usize,
    suite: Suite,
    folder: &Path,
) -> Result<PathBuf, Error> {
    let id = |number: usize| u16::try_from(number).map(NodeId).ok();
    let node = id(number).filter(|node| node.is_valid() && nodes <= ROSTER_MAX);
    let node = node.ok_or_else(|| {
        Error::Usage(format!(
            "a cluster with a key has {ROSTER_MAX} nodes at most"
        ))
    })?;
    let roster = (1..=nodes).filter_map(id);
    let path = node_path(folder, number);
    let suite = match suite {
        Suite::SipHash => seal::Suite::SipHash,
        Suite::ChaCha => seal::Suite::ChaCha,
    };
    make(
        &path,
        &key.credentials(node, roster, suite).to_text(),
        false,
    )?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_that_is_made_is_one_and_each_is_another() {
        let folder = std::env::temp_dir().join(format!("dunlin-key-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let paths = [folder.join("one"), folder.join("two")];
        let keys = paths.each_ref().map(|path| {
            write(path).expect("written");
            read(path).expect("a key");
            let mode = std::fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::read(path).expect("read")
        });
        assert_ne!(keys[0], keys[1]);
        assert!(write(&paths[0]).is_err(), "a key is never written over");
        std::fs::write(&paths[0], "0123").expect("written");
        assert!(read(&paths[0]).is_err());
        let key = read(&paths[1]).expect("a key");
        let path = node_file(&key, 2, 3, Suite::SipHash, &folder).expect("written");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let file = std::fs::read(&path).expect("read");
        let credentials = seal::Credentials::parse(&file).expect("what a node takes");
        let said = (credentials.node(), credentials.nodes(), credentials.suite());
        assert_eq!(said, (NodeId(2), 3, seal::Suite::SipHash));
        let text = String::from_utf8(file).expect("text");
        let owner = String::from_utf8(keys[1].clone()).expect("text");
        assert!(
            !text.contains(owner.trim()),
            "the owner's key is in no node"
        );
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
