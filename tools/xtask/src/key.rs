//! Keys of clusters: made, and looked at before nodes are given one.
//!
//! Law: a key is for its owner's eyes only: the file of one that is made cannot be read by others.

use crate::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a new key, as hexadecimal digits.
pub(crate) fn write(path: &Path) -> Result<(), Error> {
    let random = Path::new("/dev/urandom");
    let mut key = [0_u8; seal::KEY_LEN];
    File::open(random)
        .and_then(|mut file| file.read_exact(&mut key))
        .map_err(Error::file("read", random))?;
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.and_then(|mut file| writeln!(file, "{digits}"))
        .map_err(Error::file("write", path))
}

/// Whether a file holds a key; nodes that are given anything else do not come up.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    match seal::ClusterKey::parse(&bytes) {
        Some(_) => Ok(()),
        None => Err(Error::Usage(format!(
            "{}: a key is 32 bytes or 64 hexadecimal digits, not all of them zero",
            path.display()
        ))),
    }
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
            check(path).expect("a key");
            let mode = std::fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::read(path).expect("read")
        });
        assert_ne!(keys[0], keys[1]);
        assert!(write(&paths[0]).is_err(), "a key is never written over");
        std::fs::write(&paths[0], "0123").expect("written");
        assert!(check(&paths[0]).is_err());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
