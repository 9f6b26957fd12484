//! The order of the workspace, checked: who may depend on whom, where `unsafe` may be, file headers.
//!
//! Law: dependencies point down only. `LAYERS` is the whole rule: a crate may use what stands above
//! it in the list and lies in a directory its own may use.

use std::fs;
use std::path::{Path, PathBuf};

/// Every crate's folder, from what depends on nothing upwards.
const LAYERS: [&str; 27] = [
    "kernel/abi",
    "net/wire",
    "net/link",
    "net/journal",
    "net/rpc",
    "net/migrate",
    "net/membership",
    "net/placement",
    "net/seal",
    "net/node",
    "kernel/machine",
    "kernel/system",
    "kernel/drivers",
    "kernel/image",
    "userland/rt",
    "userland/init",
    "userland/commands",
    "userland/probes",
    "userland/trials",
    "tools/switch",
    "tools/sim",
    "tools/model",
    "tools/faults",
    "tools/timeline",
    "tools/fuzz",
    "qemu-tests",
    "tools/xtask",
];

/// Which top directories a crate of a top directory may use.
const DIRECTORIES: [(&str, &[&str]); 5] = [
    ("kernel", &["kernel", "net"]),
    ("net", &["net"]),
    ("userland", &["userland", "kernel/abi"]),
    (
        "tools",
        &[
            "tools",
            "net",
            "qemu-tests",
            "kernel/abi",
            "kernel/machine",
            "kernel/system",
        ],
    ),
    ("qemu-tests", &["tools/switch", "tools/timeline"]),
];

/// The crates that may contain `unsafe`: the machine, and the corners of user programs.
const UNSAFE_ALLOWED: [&str; 2] = ["kernel/machine", "userland/rt"];

/// Runs every check: its name and what is wrong.
pub(crate) fn all(root: &Path) -> Vec<(&'static str, Result<(), String>)> {
    vec![
        ("dependency direction", joined(dependencies(root))),
        ("unsafe only where allowed", joined(unsafe_code(root))),
        ("file headers", joined(headers(root))),
        ("nothing unfinished", joined(unfinished(root))),
        ("documented paths exist", joined(documented_paths(root))),
        ("SYSCALLS.md is true", crate::syscalls::check(root)),
        ("the dissector is true", crate::dissector::check(root)),
    ]
}

/// Paths in ARCHITECTURE.md, in backquotes, that are not there.
fn documented_paths(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    let gone = named_paths(&text).filter(|path| !root.join(path).exists());
    gone.map(|path| format!("ARCHITECTURE.md names {path}, which is not there"))
        .collect()
}

/// What stands in backquotes and begins with a folder of the workspace.
fn named_paths(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| {
        let folder = name.split_once('/').map(|(folder, _)| folder);
        folder.is_some_and(|folder| ["kernel", "net", "tools", "userland"].contains(&folder))
    })
}

fn joined(wrong: Vec<String>) -> Result<(), String> {
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n    "))
    }
}

/// Members of the workspace that stand in no layer, and dependencies that point up.
fn dependencies(root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for folder in members(root) {
        if !LAYERS.contains(&folder.as_str()) {
            wrong.push(format!(
                "{folder} stands in no layer: add it to LAYERS in tidy.rs"
            ));
        }
    }
    for folder in LAYERS {
        let Ok(manifest) = fs::read_to_string(root.join(folder).join("Cargo.toml")) else {
            continue;
        };
        for used in workspace_dependencies(&manifest) {
            if let Err(why) = may_use(folder, &used) {
                wrong.push(why);
            }
        }
    }
    wrong
}

/// The folders named in `members` of the root manifest.
fn members(root: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    let list = manifest
        .split_once("\nmembers = [")
        .map_or("", |(_, rest)| rest);
    let list = list.split_once(']').map_or("", |(list, _)| list);
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Folders of our own crates among the normal and build dependencies of a manifest.
fn workspace_dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let normal = section.ends_with("dependencies]") && !section.contains("dev-dependencies");
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        let folder = LAYERS
            .iter()
            .find(|folder| folder.rsplit('/').next() == Some(name));
        if let (true, Some(folder)) = (normal, folder) {
            found.push((*folder).to_owned());
        }
    }
    found
}

fn may_use(user: &str, used: &str) -> Result<(), String> {
    let place = |folder| LAYERS.iter().position(|layer| *layer == folder);
    if place(used) >= place(user) {
        return Err(format!("{user} uses {used}, which is above it"));
    }
    let top = user.split('/').next().unwrap_or(user);
    let allowed = DIRECTORIES
        .iter()
        .find(|(name, _)| *name == top)
        .map_or(&[][..], |(_, list)| list);
    let within = |prefix: &&str| used == *prefix || used.starts_with(&format!("{prefix}/"));
    if allowed.iter().any(within) {
        return Ok(());
    }
    Err(format!(
        "{user} uses {used}; {top} may use {}",
        allowed.join(", ")
    ))
}

/// Crates that do not take the workspace's lints, and `unsafe` outside the allowed crates.
fn unsafe_code(root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for folder in members(root) {
        if UNSAFE_ALLOWED.contains(&folder.as_str()) {
            continue;
        }
        let manifest =
            fs::read_to_string(root.join(&folder).join("Cargo.toml")).unwrap_or_default();
        if !manifest.contains("[lints]\nworkspace = true") {
            wrong.push(format!(
                "{folder}/Cargo.toml does not take the lints of the workspace"
            ));
        }
    }
    for (name, text) in sources(root) {
        let allowed = UNSAFE_ALLOWED
            .iter()
            .any(|folder| name.starts_with(&format!("{folder}/")));
        if !allowed && text.lines().any(has_unsafe) {
            wrong.push(format!("{name} contains `unsafe`"));
        }
    }
    wrong
}

/// True for a line with the keyword in code: outside comments and string literals.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '`';
    code.split(|c| !is_word(c)).any(|word| word == "unsafe")
}

/// Source files that do not begin with `//!`.
fn headers(root: &Path) -> Vec<String> {
    let bad = |text: &str| !text.starts_with("//! ");
    let files = sources(root).into_iter().filter(|(_, text)| bad(text));
    files
        .map(|(name, _)| format!("{name} does not begin with a `//!` line"))
        .collect()
}

/// Source files with marks of unfinished work.
fn unfinished(root: &Path) -> Vec<String> {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimplemented", "!("),
        concat!("to", "do!("),
    ];
    let mut wrong = Vec::new();
    for (name, text) in sources(root) {
        for mark in marks.iter().filter(|mark| text.contains(**mark)) {
            wrong.push(format!("{name} contains `{mark}`"));
        }
    }
    wrong
}

/// Every Rust file of the workspace: its name from the root, and its text.
fn sources(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["kernel", "net", "userland", "tools", "qemu-tests", "boot"]
        .map(|top| root.join(top))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root)
                    .unwrap_or(&path)
                    .display()
                    .to_string();
                found.push((name, fs::read_to_string(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_tidy() {
        for (name, result) in all(&crate::places::root()) {
            assert_eq!(result, Ok(()), "{name}");
        }
    }

    #[test]
    fn paths_are_found_in_backquotes_only() {
        let text = "see `kernel/abi` and net/wire, `cargo`, `tools/x.rs`, ```\na/b\n```";
        assert_eq!(
            named_paths(text).collect::<Vec<_>>(),
            ["kernel/abi", "tools/x.rs"]
        );
    }

    #[test]
    fn dependencies_point_down_and_stay_in_their_directory() {
        assert_eq!(may_use("kernel/system", "net/wire"), Ok(()));
        assert_eq!(may_use("tools/xtask", "qemu-tests"), Ok(()));
        assert_eq!(may_use("userland/init", "userland/rt"), Ok(()));
        assert!(may_use("net/wire", "net/link").is_err());
        assert!(may_use("net/wire", "kernel/abi").is_err());
        assert!(may_use("userland/probes", "net/wire").is_err());
        assert!(may_use("kernel/machine", "kernel/image").is_err());
    }

    #[test]
    fn manifests_are_read() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nwire.workspace = true\nserde = \"1\"\n\
            link = { path = \"../link\" }\n[dev-dependencies]\nnode.workspace = true\n";
        assert_eq!(workspace_dependencies(manifest), ["net/wire", "net/link"]);
    }

    #[test]
    fn the_keyword_is_found_in_code_only() {
        assert!(has_unsafe("    unsafe { x() }"));
        assert!(has_unsafe("#[unsafe(naked)]"));
        assert!(!has_unsafe("// unsafe is elsewhere"));
        assert!(!has_unsafe("#![forbid(unsafe_code)]"));
        let literal = format!("let s = {0}unsafe{0};", '\u{22}');
        assert!(!has_unsafe(&literal));
    }
}
