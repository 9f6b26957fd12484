//! Where things lie: the workspace, build results and the logs of runs.
//!
//! Law: nothing is written outside the target directory and `out/`. Two runs at the same time never
//! share a log directory: each holds a lock on its own.

use crate::error::Error;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Directories of one name that may be in use at the same time.
const RUNS_MAX: u32 = 100;

/// The root of the workspace this tool was built from.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where cargo builds: `CARGO_TARGET_DIR` or `target/`.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(path) => root().join(path),
        None => root().join("target"),
    }
}

/// The log directory of one run. Locked while this lives.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// An empty directory `out/NAME`, or `out/NAME-2` and so on while another run holds that.
    pub(crate) fn create(name: &str) -> Result<RunDirectory, Error> {
        RunDirectory::create_in(&root().join("out"), name)
    }

    fn create_in(out: &Path, name: &str) -> Result<RunDirectory, Error> {
        for attempt in 1..=RUNS_MAX {
            let path = match attempt {
                1 => out.join(name),
                _ => out.join(format!("{name}-{attempt}")),
            };
            fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
            let lock_path = path.join(".lock");
            let lock = File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            remove_old_files(&path)?;
            return Ok(RunDirectory { path, _lock: lock });
        }
        let name = out.join(name);
        Err(Error::Usage(format!(
            "{RUNS_MAX} runs hold {} and its like",
            name.display()
        )))
    }

    /// A file in the directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn remove_old_files(path: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(path).map_err(Error::file("read", path))? {
        let path = entry.map_err(Error::file("read", path))?.path();
        if path.is_file() && path.file_name().is_some_and(|name| name != ".lock") {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    Ok(())
}

/// `path` as the user would type it: relative to the workspace when it lies in it.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_get_two_directories_and_an_old_one_is_emptied() {
        let out = target().join("xtask-test-places");
        let first = RunDirectory::create_in(&out, "a").expect("created");
        fs::write(first.file("node-1.log"), "old").expect("written");
        let second = RunDirectory::create_in(&out, "a").expect("created");
        assert_eq!(second.path, out.join("a-2"));
        drop(first);
        let third = RunDirectory::create_in(&out, "a").expect("created");
        assert_eq!(third.path, out.join("a"));
        assert!(!third.file("node-1.log").exists());
        fs::remove_dir_all(&out).expect("removed");
    }
}
