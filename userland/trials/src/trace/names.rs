//! Steps on names: open, make, remove, rename, link, look.

use rt::raw::{DESK, libc};

use super::world::{BUFFER, OTHER_PATH, PATH, STRUCT, World};

const PATHS: [&str; 18] = [
    "a",
    "b",
    "c",
    "d",
    "d/a",
    "d/e",
    "d/e/f",
    "l",
    "l/a",
    "a/",
    "d/.",
    "d/..//a",
    "./b",
    "a/b",
    "nowhere/x",
    "",
    ".",
    "LONG",
];
const TARGETS: [&str; 6] = ["a", "d", "d/e", "l", "b", "nowhere"];
const FOLDERS: [&str; 6] = ["d", "d/e", ".", "l", "a", "BASE"];
const AT_FDCWD: u64 = (-100_i64).cast_unsigned();

/// A path, put at `at`: its address and how it is shown.
pub(super) fn path(world: &mut World, at: u64) -> (u64, String) {
    // The plain ones oftener, so that something happens.
    let count = if world.random.one_in(3) {
        PATHS.len()
    } else {
        8
    };
    let name = world.random.pick(&PATHS[..count]);
    let text = if name == "LONG" {
        "x".repeat(256)
    } else {
        name.to_owned()
    };
    (world.string(at, &text), format!("'{name}'"))
}

/// What every program begins with: a file, a folder with a file, one of them open, and a pipe.
pub(super) fn furnish(world: &mut World) {
    let folder = world.string(PATH, "d");
    world.call(libc::SYS_mkdir, [folder, 0o755]);
    for name in ["d/a", "a"] {
        let path = world.string(PATH, name);
        let flags = (libc::O_RDWR | libc::O_CREAT) as u64;
        let fd = world.call(libc::SYS_open, [path, flags, 0o644]);
        world.call(libc::SYS_write, [fd.cast_unsigned(), DESK + BUFFER, 4096]);
        if name == "d/a" {
            world.call(libc::SYS_close, [fd.cast_unsigned()]);
        }
    }
    world.call(libc::SYS_pipe2, [DESK + STRUCT, libc::O_NONBLOCK as u64]);
}

pub(super) fn step(world: &mut World) {
    match world.random.below(21) {
        0..=4 => open(world),
        5 => one_path(world, "mkdir", libc::SYS_mkdir, &[0o755, 0o700, 0o1777]),
        6 => one_path(world, "rmdir", libc::SYS_rmdir, &[0]),
        7 => one_path(world, "unlink", libc::SYS_unlink, &[0]),
        8 => one_path(
            world,
            "chmod",
            libc::SYS_chmod,
            &[0o644, 0o600, 0o4755, 0o7777],
        ),
        9 => one_path(world, "access", libc::SYS_access, &[0, 1, 2, 4, 6, 8]),
        10 => one_path(
            world,
            "truncate",
            libc::SYS_truncate,
            &[0, 5, 5000, 1 << 63],
        ),
        11 | 12 => rename(world),
        13 => two_paths(world, "link", libc::SYS_link, []),
        14 => symlink(world),
        15 => readlink(world),
        16 => chdir(world),
        17 => stat(world),
        18 => list(world),
        19 => times(world),
        _ => unlinkat(world),
    }
}

fn open(world: &mut World) {
    let (address, shown) = path(world, PATH);
    let mode = world.random.below(4);
    let create = if world.random.one_in(2) {
        libc::O_CREAT
    } else {
        0
    } as u64;
    let bits = [
        libc::O_EXCL as u64,
        libc::O_TRUNC as u64,
        libc::O_APPEND as u64,
        libc::O_DIRECTORY as u64,
        libc::O_NOFOLLOW as u64,
        libc::O_CLOEXEC as u64,
    ];
    let mut flags = mode | create | libc::O_NONBLOCK as u64;
    for bit in bits {
        if world.random.one_in(5) {
            flags |= bit;
        }
    }
    if world.random.one_in(20) {
        flags |= libc::O_PATH as u64;
    }
    let rights = world.random.pick(&[0o644, 0o600, 0o444, 0o0]);
    let result = world.call(libc::SYS_openat, [AT_FDCWD, address, flags, rights]);
    world.line(&format!("open {shown} {flags:o} {rights:o} = {result}"));
}

fn one_path(world: &mut World, name: &str, number: libc::c_long, seconds: &[u64]) {
    let (address, shown) = path(world, PATH);
    let second = world.random.pick(seconds);
    let result = world.call(number, [address, second]);
    world.line(&format!("{name} {shown} {second:o} = {result}"));
}

fn two_paths<const N: usize>(world: &mut World, name: &str, number: libc::c_long, _: [u64; N]) {
    let (from, shown_from) = path(world, PATH);
    let (to, shown_to) = path(world, OTHER_PATH);
    let result = world.call(number, [from, to]);
    world.line(&format!("{name} {shown_from} {shown_to} = {result}"));
}

fn rename(world: &mut World) {
    let (from, shown_from) = path(world, PATH);
    let (to, shown_to) = path(world, OTHER_PATH);
    let flags = world.random.pick(&[0, 0, 0, 1, 2, 3, 8]);
    let result = world.call(libc::SYS_renameat2, [AT_FDCWD, from, AT_FDCWD, to, flags]);
    world.line(&format!(
        "rename {shown_from} {shown_to} {flags} = {result}"
    ));
}

fn symlink(world: &mut World) {
    let target = world.random.pick(&TARGETS);
    let target_address = world.string(OTHER_PATH, target);
    let (address, shown) = if world.random.one_in(2) {
        (world.string(PATH, "l"), "'l'".to_owned())
    } else {
        path(world, PATH)
    };
    let result = world.call(libc::SYS_symlink, [target_address, address]);
    world.line(&format!("symlink {target} {shown} = {result}"));
}

fn readlink(world: &mut World) {
    let (address, shown) = path(world, PATH);
    let length = world.random.pick(&[64, 2, 0]);
    let result = world.call(libc::SYS_readlink, [address, DESK + BUFFER, length]);
    let read = world.desk.get(BUFFER, usize::try_from(result).unwrap_or(0));
    let read = String::from_utf8_lossy(&read).into_owned();
    world.line(&format!("readlink {shown} {length} = {result} {read}"));
}

fn chdir(world: &mut World) {
    let name = world.random.pick(&FOLDERS);
    let text = if name == "BASE" {
        world.base.clone()
    } else {
        name.to_owned()
    };
    let address = world.string(PATH, &text);
    let result = world.call(libc::SYS_chdir, [address]);
    let length = world.call(libc::SYS_getcwd, [DESK + BUFFER, 4096]);
    let length = usize::try_from(length).unwrap_or(1).saturating_sub(1);
    let folder = String::from_utf8_lossy(&world.desk.get(BUFFER, length)).into_owned();
    world.line(&format!("chdir {name} = {result}, now {folder}"));
}

/// What stat says, as far as it is the same on every file system.
pub(super) fn shown_stat(world: &World, at: u64) -> String {
    let mode = world.half(at + 24);
    if mode & 0o170_000 == 0o040_000 {
        return format!("{mode:o}");
    }
    let (links, size) = (world.desk.word(at + 16), world.desk.word(at + 48));
    let owner = if world.half(at + 28) == 0 {
        "root"
    } else {
        "other"
    };
    format!("{mode:o} {links} links, {size} bytes, {owner}")
}

fn stat(world: &mut World) {
    let (address, shown) = path(world, PATH);
    let how = world.random.below(3);
    let into = DESK + STRUCT;
    let result = match how {
        0 => world.call(libc::SYS_stat, [address, into]),
        1 => world.call(libc::SYS_lstat, [address, into]),
        _ => {
            let flags = world.random.pick(&[0, 0x100, 0x1000, 0x8000]);
            world.call(libc::SYS_newfstatat, [AT_FDCWD, address, into, flags])
        }
    };
    let found = if result == 0 {
        shown_stat(world, STRUCT)
    } else {
        String::new()
    };
    world.line(&format!("stat{how} {shown} = {result} {found}"));
}

/// All names of a folder, in alphabetical order, as the order on disk is nobody's business.
fn list(world: &mut World) {
    let name = world.random.pick(&[".", "d", "d/e", "l", "a"]);
    let address = world.string(PATH, name);
    let flags = libc::O_DIRECTORY as u64;
    let fd = world.call(libc::SYS_open, [address, flags]);
    let Ok(open) = u64::try_from(fd) else {
        world.line(&format!("list {name} = {fd}"));
        return;
    };
    let mut names = Vec::new();
    loop {
        let count = world.call(libc::SYS_getdents64, [open, DESK + BUFFER, 200]);
        let Ok(count @ 1..) = usize::try_from(count) else {
            world.call(libc::SYS_close, [open]);
            names.sort();
            world.line(&format!("list {name} = {count} {names:?}"));
            return;
        };
        let bytes = world.desk.get(BUFFER, count);
        let mut at = 0;
        while let Some(entry) = bytes.get(at..).filter(|entry| entry.len() > 19) {
            let text: Vec<u8> = entry[19..]
                .iter()
                .copied()
                .take_while(|b| *b != 0)
                .collect();
            names.push(format!("{} {}", String::from_utf8_lossy(&text), entry[18]));
            at += usize::from(u16::from_le_bytes([entry[16], entry[17]])).max(1);
        }
        world.perhaps_move();
    }
}

fn times(world: &mut World) {
    let (address, shown) = path(world, PATH);
    let second = world.random.below(1 << 30);
    let part = world
        .random
        .pick(&[0, 999_999_999, 1_000_000_000, 0x3fff_fffe]);
    let times = world.words(STRUCT, &[second, part, second / 2, 0]);
    let result = world.call(libc::SYS_utimensat, [AT_FDCWD, address, times, 0]);
    let mut found = String::new();
    if result == 0 && world.call(libc::SYS_stat, [address, DESK + STRUCT]) == 0 {
        let modified = (world.desk.word(STRUCT + 88), world.desk.word(STRUCT + 96));
        found = format!("{modified:?}");
    }
    world.line(&format!(
        "utimens {shown} {second} {part} = {result} {found}"
    ));
}

fn unlinkat(world: &mut World) {
    let (address, shown) = path(world, PATH);
    let flags = world.random.pick(&[0, 0x200, 0x400]);
    let result = world.call(libc::SYS_unlinkat, [AT_FDCWD, address, flags]);
    world.line(&format!("unlinkat {shown} {flags:x} = {result}"));
}
