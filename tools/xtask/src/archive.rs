//! The root file system given to every node at boot: a ustar archive.
//!
//! Law: the same contents give the same bytes. The first entry is `.dunlin/manifest`, one line
//! `HASH PATH` for each regular file (BLAKE3, hexadecimal; absolute path), by which a node knows
//! that another node has the same program image. Parents come before what is in them.
//!
//! Format: POSIX.1-2017, pax, section "ustar Interchange Format".

use crate::error::Error;
use crate::setup;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

const MANIFEST: &str = ".dunlin/manifest";
/// Permission bits of folders unless somebody says otherwise.
const FOLDER_MODE: u32 = 0o755;
/// How many links in a row are followed.
const LINKS_MAX: u32 = 40;
/// The longest path or link.
const PATH_MAX: usize = 4000;

#[derive(Debug)]
enum Entry {
    Folder {
        mode: u32,
    },
    File {
        mode: u32,
        /// Seconds since 1970; caches of compiled scripts compare it.
        modified: u64,
        bytes: Vec<u8>,
    },
    Link {
        target: String,
    },
}

/// An archive being put together. Paths are absolute guest paths.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    /// By path without the leading slash, so that a folder sorts before what is in it.
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    /// Adds an empty folder.
    pub(crate) fn folder(&mut self, path: &str) -> Result<(), Error> {
        self.folder_with(path, FOLDER_MODE)
    }

    /// Adds an empty folder with the permission bits `mode`.
    pub(crate) fn folder_with(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        let path = checked(path)?;
        self.insert(path, Entry::Folder { mode })
    }

    /// Whether something of that path is in it.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_start_matches('/');
        self.entries.contains_key(path)
    }

    /// Adds a file with the permission bits `mode`.
    pub(crate) fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) -> Result<(), Error> {
        let path = checked(path)?;
        let modified = 0;
        self.insert(
            path,
            Entry::File {
                mode,
                modified,
                bytes,
            },
        )
    }

    /// Adds a host file with its own permission bits and time.
    pub(crate) fn host_file(&mut self, path: &str, host: &Path) -> Result<(), Error> {
        let path = checked(path)?;
        let bytes = fs::read(host).map_err(Error::file("read", host))?;
        let metadata = fs::metadata(host).map_err(Error::file("read", host))?;
        self.insert(
            path,
            Entry::File {
                mode: metadata.mode() & 0o7777,
                modified: u64::try_from(metadata.mtime()).unwrap_or(0),
                bytes,
            },
        )
    }

    /// Adds a host file at its own path. A link stays one, and what it leads to is added too.
    pub(crate) fn host_path(&mut self, host: &Path) -> Result<(), Error> {
        // A folder of the host may be a link itself; the guest has folders of these very names.
        let (mut guest, mut at) = (host.to_owned(), host.to_owned());
        for _ in 0..LINKS_MAX {
            let name = guest.display().to_string();
            let Ok(target) = fs::read_link(&at) else {
                return self.host_file(&name, &at);
            };
            self.link(&name, &target.display().to_string())?;
            let beside = |path: &Path| path.parent().unwrap_or(Path::new("/")).join(&target);
            (guest, at) = (without_steps(&beside(&guest)), beside(&at));
        }
        Err(refused(
            &host.display().to_string(),
            "it is a loop of links",
        ))
    }

    /// Adds all files, links and folders below the host folder, which becomes the guest folder
    /// `path` (`/` for the root), but for those that `is_left_out` names by their path in it.
    pub(crate) fn host_tree(
        &mut self,
        path: &str,
        host: &Path,
        is_left_out: &dyn Fn(&Path) -> bool,
    ) -> Result<(), Error> {
        let mut waiting = vec![host.to_owned()];
        while let Some(folder) = waiting.pop() {
            let entries = fs::read_dir(&folder).map_err(Error::file("read", &folder))?;
            for entry in entries {
                let entry = entry.map_err(Error::file("read", &folder))?;
                let (file, kind) = (entry.path(), entry.file_type());
                let kind = kind.map_err(Error::file("read", &file))?;
                let inner = file.strip_prefix(host).unwrap_or(&file);
                if is_left_out(inner) {
                    continue;
                }
                let guest = format!("{}/{}", path.trim_end_matches('/'), inner.display());
                if kind.is_dir() {
                    self.folder(&guest)?;
                    waiting.push(file);
                } else if kind.is_symlink() {
                    let target = fs::read_link(&file).map_err(Error::file("read", &file))?;
                    self.link(&guest, &target.display().to_string())?;
                } else if kind.is_file() {
                    self.host_file(&guest, &file)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a symbolic link to `target`.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        let path = checked(path)?;
        if target.is_empty() || target.len() > PATH_MAX {
            return Err(refused(&path, "its target is empty or too long"));
        }
        self.insert(
            path,
            Entry::Link {
                target: target.to_owned(),
            },
        )
    }

    fn insert(&mut self, path: String, entry: Entry) -> Result<(), Error> {
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            match self.entries.get(parent) {
                Some(Entry::Folder { .. }) => {}
                Some(_) => return Err(refused(&path, &format!("/{parent} is not a folder"))),
                None => {
                    let mode = FOLDER_MODE;
                    self.entries
                        .insert(parent.to_owned(), Entry::Folder { mode });
                }
            }
        }
        if let Some(Entry::Folder { mode: before }) = self.entries.get_mut(&path) {
            let Entry::Folder { mode } = entry else {
                return Err(refused(&path, "there is a folder of that name"));
            };
            *before = mode;
            return Ok(());
        }
        // A later file replaces an earlier one: that is how a user overrides what we bring.
        self.entries.insert(path, entry);
        Ok(())
    }

    fn manifest(&self) -> String {
        let mut text = String::new();
        for (path, entry) in &self.entries {
            if let Entry::File { bytes, .. } = entry {
                text.push_str(&format!("{} /{path}\n", blake3::hash(bytes).to_hex()));
            }
        }
        text
    }

    /// Writes the archive.
    pub(crate) fn write(&self, output: impl Write) -> Result<(), Error> {
        let mut builder = tar::Builder::new(output);
        let manifest = self.manifest();
        let kind = tar::EntryType::Regular;
        append(
            &mut builder,
            MANIFEST,
            kind,
            (0o444, 0),
            manifest.as_bytes(),
        )?;
        for (path, entry) in &self.entries {
            match entry {
                Entry::Folder { mode } => {
                    let (path, kind) = (format!("{path}/"), tar::EntryType::Directory);
                    append(&mut builder, &path, kind, (*mode, 0), &[])?;
                }
                Entry::File {
                    mode,
                    modified,
                    bytes,
                } => {
                    let kind = tar::EntryType::Regular;
                    append(&mut builder, path, kind, (*mode, *modified), bytes)?;
                }
                Entry::Link { target } => append_link(&mut builder, path, target)?,
            }
        }
        let mut output = builder
            .into_inner()
            .map_err(|e| refused(MANIFEST, &e.to_string()))?;
        output
            .flush()
            .map_err(|e| refused(MANIFEST, &e.to_string()))
    }

    /// The same as Linux has it before its first process: "newc" of its
    /// `Documentation/driver-api/early-userspace/buffer-format.rst`.
    pub(crate) fn newc(&self) -> Vec<u8> {
        let mut output = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let (mode, modified, bytes) = match entry {
                Entry::Folder { mode } => (NEWC_FOLDER | mode, 0, &[][..]),
                Entry::File {
                    mode,
                    modified,
                    bytes,
                } => (NEWC_FILE | mode, *modified, bytes.as_slice()),
                Entry::Link { target } => (NEWC_LINK, 0, target.as_bytes()),
            };
            newc_entry(&mut output, path, [number, mode, modified as u32], bytes);
        }
        newc_entry(&mut output, "TRAILER!!!", [0; 3], &[]);
        output
    }
}

const NEWC_FOLDER: u32 = 0o040_000;
const NEWC_FILE: u32 = 0o100_000;
const NEWC_LINK: u32 = 0o120_777;

fn newc_entry(output: &mut Vec<u8>, path: &str, about: [u32; 3], bytes: &[u8]) {
    let [number, mode, modified] = about;
    // Owner and group are 0, there is one link, and no device is meant or held.
    let fields = [number, mode, 0, 0, 1, modified, bytes.len() as u32];
    let rest = [0, 0, 0, 0, path.len() as u32 + 1, 0];
    output.extend(b"070701");
    for field in fields.iter().chain(&rest) {
        output.extend(format!("{field:08x}").as_bytes());
    }
    for part in [&[path.as_bytes(), &[0]].concat(), bytes] {
        output.extend(part);
        output.resize(output.len().next_multiple_of(4), 0);
    }
}

fn header(kind: tar::EntryType, (mode, modified): (u32, u64), bytes: &[u8]) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(modified);
    header
}

fn append(
    builder: &mut tar::Builder<impl Write>,
    path: &str,
    kind: tar::EntryType,
    about: (u32, u64),
    bytes: &[u8],
) -> Result<(), Error> {
    let failed = |error: std::io::Error| refused(path, &error.to_string());
    let mut header = header(kind, about, bytes);
    if header.set_path(path).is_err() {
        append_long(builder, path, b'L', path)?;
        // Only so that there is something: the long name counts.
        let end = path.char_indices().rev().nth(LONG_TAIL);
        let tail = end.map_or(path, |(at, _)| &path[at..]);
        header.set_path(tail.trim_matches('/')).map_err(failed)?;
    }
    header.set_cksum();
    builder.append(&header, bytes).map_err(failed)
}

/// How many characters of a long name are in its own header.
const LONG_TAIL: usize = 20;

/// The entry of GNU tar that gives the next one a long name (`L`) or a long target (`K`).
fn append_long(
    builder: &mut tar::Builder<impl Write>,
    path: &str,
    kind: u8,
    text: &str,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| refused(path, &error.to_string());
    if text.len() > PATH_MAX {
        return Err(refused(path, "it is too long"));
    }
    let bytes = format!("{text}\0").into_bytes();
    let mut header = header(tar::EntryType::new(kind), (0o644, 0), &bytes);
    header.set_path("././@LongLink").map_err(failed)?;
    header.set_cksum();
    builder.append(&header, bytes.as_slice()).map_err(failed)
}

fn append_link(
    builder: &mut tar::Builder<impl Write>,
    path: &str,
    target: &str,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| refused(path, &error.to_string());
    let mut header = header(tar::EntryType::Symlink, (0o777, 0), &[]);
    if header.set_path(path).is_err() {
        append_long(builder, path, b'L', path)?;
        header.set_path("long-name").map_err(failed)?;
    }
    if header.set_link_name_literal(target).is_err() {
        append_long(builder, path, b'K', target)?;
        header
            .set_link_name_literal("long-target")
            .map_err(failed)?;
    }
    header.set_cksum();
    builder.append(&header, &[] as &[u8]).map_err(failed)
}

/// The path with `.` and `..` taken as if no folder in it were a link.
fn without_steps(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// The path without its leading slash, when a guest can have it.
fn checked(path: &str) -> Result<String, Error> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(refused(path, "a guest path begins with `/`"));
    };
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if rest.split('/').any(bad) {
        return Err(refused(path, "a part of the path is empty, `.` or `..`"));
    }
    if rest.bytes().any(|byte| byte < b' ') {
        return Err(refused(path, "it has control characters"));
    }
    if rest.split('/').next() == Some(".dunlin") {
        return Err(refused(path, "/.dunlin is made by this tool"));
    }
    Ok(rest.to_owned())
}

fn refused(path: &str, why: &str) -> Error {
    Error::Archive {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// Where an added host file goes when the user does not say: executable programs to `/bin`, all else
/// to `/data`, under their own name.
pub(crate) fn default_path(host: &Path) -> Result<String, Error> {
    let name = host.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refused(&host.display().to_string(), "it has no plain name"))?;
    let mode = fs::metadata(host)
        .map_err(Error::file("read", host))?
        .permissions()
        .mode();
    let bytes = fs::read(host).map_err(Error::file("read", host))?;
    let folder = if mode & 0o111 != 0 && setup::is_elf(&bytes) {
        "bin"
    } else {
        "data"
    };
    Ok(format!("/{folder}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn written(archive: &Archive) -> Vec<u8> {
        let mut bytes = Vec::new();
        archive.write(&mut bytes).expect("a Vec takes all");
        bytes
    }

    #[test]
    fn the_manifest_is_first_and_names_every_file() {
        let mut archive = Archive::default();
        archive
            .file("/bin/sh", 0o755, b"abc".to_vec())
            .expect("added");
        archive.link("/bin/ps", "commands").expect("added");
        archive.folder("/proc").expect("added");
        let bytes = written(&archive);
        assert_eq!(&bytes[..16], b".dunlin/manifest");
        assert_eq!(&bytes[257..265], b"ustar\x0000");
        let mut reader = tar::Archive::new(&bytes[..]);
        let mut seen = Vec::new();
        for entry in reader.entries().expect("readable") {
            let mut entry = entry.expect("readable");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let link = entry
                .link_name_bytes()
                .map(|n| String::from_utf8_lossy(&n).into_owned());
            seen.push((path, entry.header().mode().expect("a mode"), text, link));
        }
        // BLAKE3 of "abc", from the test vectors of its specification.
        let manifest = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85 /bin/sh\n";
        let entry = |path: &str, mode, text: &str, link: Option<&str>| {
            (
                path.to_owned(),
                mode,
                text.to_owned(),
                link.map(str::to_owned),
            )
        };
        assert_eq!(
            seen,
            [
                entry(".dunlin/manifest", 0o444, manifest, None),
                entry("bin/", 0o755, "", None),
                entry("bin/ps", 0o777, "", Some("commands")),
                entry("bin/sh", 0o755, "abc", None),
                entry("proc/", 0o755, "", None),
            ]
        );
    }

    #[test]
    fn the_same_contents_are_the_same_bytes() {
        let build = |paths: [&str; 2]| {
            let mut archive = Archive::default();
            for path in paths {
                archive
                    .file(path, 0o644, path.as_bytes().to_vec())
                    .expect("added");
            }
            written(&archive)
        };
        assert_eq!(build(["/a/x", "/b"]), build(["/b", "/a/x"]));
    }

    #[test]
    fn bad_paths_are_refused() {
        let mut archive = Archive::default();
        for path in [
            "x",
            "/",
            "/a//b",
            "/a/../b",
            "/./a",
            "/a/",
            "/a\nb",
            "/.dunlin/x",
        ] {
            assert!(archive.file(path, 0o644, Vec::new()).is_err(), "{path:?}");
        }
        archive.file("/a", 0o644, Vec::new()).expect("added");
        assert!(archive.file("/a/b", 0o644, Vec::new()).is_err());
        archive.folder("/d").expect("added");
        assert!(archive.file("/d", 0o644, Vec::new()).is_err());
        let long = format!("/{}", "x".repeat(PATH_MAX + 1));
        archive
            .file(&long, 0o644, Vec::new())
            .expect("only found when written");
        assert!(archive.write(Vec::new()).is_err());
    }

    #[test]
    fn long_names_and_targets_are_kept() {
        let (long, target) = ("x".repeat(180), "../y".repeat(60));
        let mut archive = Archive::default();
        let (file, link) = (format!("/{long}/file"), format!("/{long}/link"));
        archive.file(&file, 0o644, b"abc".to_vec()).expect("added");
        archive.link(&link, &target).expect("added");
        let bytes = written(&archive);
        let mut reader = tar::Archive::new(&bytes[..]);
        let entries = reader.entries().expect("readable").flatten();
        let seen: Vec<(String, Option<String>)> = entries
            .map(|entry| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let link = entry.link_name_bytes().map(|name| text(&name));
                (text(&entry.path_bytes()), link)
            })
            .collect();
        assert!(seen.contains(&(file[1..].to_owned(), None)), "{seen:?}");
        assert!(
            seen.contains(&(link[1..].to_owned(), Some(target))),
            "{seen:?}"
        );
    }

    #[test]
    fn added_files_go_where_they_belong() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(
            default_path(&script).ok().as_deref(),
            Some("/data/Cargo.toml")
        );
        let program = std::env::current_exe().expect("we run");
        let path = default_path(&program).expect("readable");
        assert!(path.starts_with("/bin/"), "{path}");
    }

    #[test]
    fn linux_gets_aligned_entries_and_an_end() {
        let mut archive = Archive::default();
        archive
            .file("/bin/x", 0o755, b"abcde".to_vec())
            .expect("a file");
        archive.link("/init", "bin/x").expect("a link");
        let image = archive.newc();
        let text = String::from_utf8_lossy(&image);
        assert_eq!((image.len() % 4, text.matches("070701").count()), (0, 4));
        let first = "07070100000001000041ed000000000000000000000001000000000000000000000000000000000000000000000000000000040000";
        assert!(text.starts_with(first), "{text}");
        assert!(
            text.contains("bin/x\0abcde\0") && text.contains("TRAILER!!!"),
            "{text}"
        );
    }
}
