//! Programs: a handmade one always, real ones where the host has them, broken ones by the thousand.

use std::vec::Vec;

use abi::Errno;
use machine::Access;

use super::super::elf::{Program, parse_program};
use super::super::limits::{ARGUMENT_MAX, PAGE};
use super::super::{
    Arguments, Backing, Ids, Image, Loaded, NoFiles, ProgramFile, Space, StartValues, load_program,
};
use super::{Files, check};

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

struct Part {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

/// An ELF file of `size` bytes with the given program headers; the rest is a pattern.
fn elf(kind: u16, entry: u64, parts: &[Part], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&62_u16.to_le_bytes());
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    for word in [entry, 64, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&[0; 4]);
    for half in [64, 56, parts.len() as u16, 64, 0, 0] {
        bytes.extend_from_slice(&half.to_le_bytes());
    }
    for part in parts {
        bytes.extend_from_slice(&part.kind.to_le_bytes());
        bytes.extend_from_slice(&part.flags.to_le_bytes());
        let (address, offset) = (part.address, part.offset);
        let sizes = [part.file_bytes, part.memory_bytes, PAGE];
        for word in [offset, address, address].into_iter().chain(sizes) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    let rest = super::pattern(size.max(bytes.len()));
    bytes.extend_from_slice(&rest[bytes.len()..]);
    bytes
}

/// Code at 0x400000 (with the headers), data at 0x402800 with 0x3000 bytes of zeros behind.
fn handmade(kind: u16, base: u64) -> Vec<u8> {
    let load = |flags, offset, address, file_bytes, memory_bytes| Part {
        kind: 1,
        flags,
        offset,
        address: base + address,
        file_bytes,
        memory_bytes,
    };
    let parts = [
        load(5, 0, 0, 0x1234, 0x1234),
        load(6, 0x1800, 0x2800, 0x900, 0x3900),
    ];
    elf(kind, base + 0x1000, &parts, 0x2200)
}

fn arguments() -> Arguments {
    Arguments {
        argv: std::vec![b"prog".to_vec(), b"one two".to_vec(), Vec::new()],
        envp: std::vec![b"PATH=/bin".to_vec(), b"A=b".to_vec()],
        execfn: b"/bin/prog".to_vec(),
    }
}

const IDS: Ids = Ids {
    uid: 7,
    euid: 7,
    gid: 8,
    egid: 9,
};

fn start(seed: u64) -> StartValues {
    StartValues {
        random: *b"0123456789abcdef",
        seed,
        hwcap: 0xbfeb_fbff,
        hwcap2: 2,
        minimum_signal_stack: 3632,
        ..StartValues::default()
    }
}

fn load(bytes: &[u8], files: &mut Files, seed: u64) -> Result<(Program, Loaded), Errno> {
    let program = parse_program(&bytes[..bytes.len().min(PAGE as usize)])?;
    let file = ProgramFile {
        hash: [1; 32],
        home_file: files.add(bytes),
        size: bytes.len() as u64,
    };
    let image = Image { program, file };
    let loaded = load_program(&image, None, &arguments(), &IDS, &start(seed))?;
    check(&loaded.space);
    Ok((image.program, loaded))
}

fn word(space: &mut Space, address: u64) -> u64 {
    let mut bytes = [0; 8];
    assert_eq!(space.read(address, &mut bytes, &mut NoFiles), Ok(()));
    u64::from_le_bytes(bytes)
}

fn string(space: &mut Space, address: u64) -> Vec<u8> {
    space
        .read_string(address, 4096, &mut NoFiles)
        .expect("a string")
}

/// Checks the whole initial stack and gives the auxiliary vector.
fn check_stack(loaded: &mut Loaded) -> Vec<(u64, u64)> {
    let names = arguments();
    let space = &mut loaded.space;
    let mut at = loaded.stack_pointer;
    assert_eq!(at % 16, 0);
    let mut next = |space: &mut Space| {
        at += 8;
        word(space, at - 8)
    };
    assert_eq!(next(space), 3);
    for wanted in names.argv.iter().map(Some).chain([None]) {
        let pointer = next(space);
        assert_eq!(pointer == 0, wanted.is_none());
        assert!(wanted.is_none_or(|wanted| *wanted == string(space, pointer)));
    }
    for wanted in names.envp.iter().map(Some).chain([None]) {
        let pointer = next(space);
        assert_eq!(pointer == 0, wanted.is_none());
        assert!(wanted.is_none_or(|wanted| *wanted == string(space, pointer)));
    }
    let mut auxiliary = Vec::new();
    loop {
        let (key, value) = (next(space), next(space));
        auxiliary.push((key, value));
        if key == 0 {
            break;
        }
    }
    let layout = space.layout();
    let mut line = std::vec![0; (layout.environment_end - layout.arguments_start) as usize];
    let read = space.read(layout.arguments_start, &mut line, &mut NoFiles);
    assert_eq!(read, Ok(()));
    assert_eq!(line, b"prog\0one two\0\0PATH=/bin\0A=b\0");
    let split = (layout.arguments_end - layout.arguments_start) as usize;
    assert_eq!(&line[split..], b"PATH=/bin\0A=b\0");
    auxiliary
}

fn value(auxiliary: &[(u64, u64)], key: u64) -> Option<u64> {
    auxiliary
        .iter()
        .find(|(found, _)| *found == key)
        .map(|(_, value)| *value)
}

#[test]
fn a_static_program() {
    let bytes = handmade(ET_EXEC, 0x40_0000);
    let mut files = Files::default();
    let (program, mut loaded) = load(&bytes, &mut files, 5).expect("valid");
    assert!(!program.position_independent && !program.executable_stack);
    assert_eq!(program.bounds(), (0x40_0000, 0x40_6100));
    assert_eq!(loaded.entry, 0x40_1000);
    let auxiliary = check_stack(&mut loaded);
    let wanted = [
        (3, 0x40_0040),
        (4, 56),
        (5, 2),
        (6, 4096),
        (9, 0x40_1000),
        (7, 0),
    ];
    for (key, wanted) in wanted {
        assert_eq!(value(&auxiliary, key), Some(wanted), "key {key}");
    }
    let ids = [
        (11, 7),
        (12, 7),
        (13, 8),
        (14, 9),
        (23, 1),
        (17, 100),
        (51, 3632),
    ];
    for (key, wanted) in ids {
        assert_eq!(value(&auxiliary, key), Some(wanted), "key {key}");
    }
    assert_eq!(value(&auxiliary, 33), None, "no vDSO");
    let space = &mut loaded.space;
    let random = value(&auxiliary, 25).expect("AT_RANDOM");
    let mut seen = [0; 16];
    assert_eq!(space.read(random, &mut seen, &mut NoFiles), Ok(()));
    assert_eq!(&seen, b"0123456789abcdef");
    let platform = value(&auxiliary, 15).expect("AT_PLATFORM");
    assert_eq!(string(space, platform), b"x86_64");
    let execfn = value(&auxiliary, 31).expect("AT_EXECFN");
    assert_eq!(string(space, execfn), b"/bin/prog");

    let mut data = std::vec![0xff; 0x3900];
    assert_eq!(space.read(0x40_2800, &mut data, &mut files), Ok(()));
    assert_eq!(data[..0x900], bytes[0x1800..0x2100]);
    assert!(data[0x900..].iter().all(|&byte| byte == 0));
    assert_eq!(space.write(0x40_2800, b"x", &mut files), Ok(()));
    let code = space.write(0x40_0000, b"x", &mut files);
    assert_eq!(code, Err(super::super::Trouble::Segv));
    assert_eq!(space.fault(0x40_1000, Access::EXECUTE, &mut files), Ok(()));
    assert_eq!(space.set_break(0), 0x40_7000);
    assert_eq!(space.set_break(0x40_9001), 0x40_9001);
    check(space);
    let maps: Vec<_> = space
        .areas()
        .map(|area| (area.length(), area.label()))
        .collect();
    let wanted = [
        (0x2000, None),
        (0x2000, None),
        (0x3000, None),
        (0x3000, Some("[heap]")),
        (0x2_1000, Some("[stack]")),
    ];
    assert_eq!(maps, wanted);
}

#[test]
fn a_position_independent_program_moves_with_its_seed() {
    let bytes = handmade(ET_DYN, 0);
    let mut files = Files::default();
    let (_, mut first) = load(&bytes, &mut files, 1).expect("valid");
    let (_, second) = load(&bytes, &mut files, u64::MAX / 3).expect("valid");
    assert_ne!(first.entry, second.entry);
    assert_ne!(first.stack_pointer, second.stack_pointer);
    assert!(first.entry >= 0x5555_5555_4000);
    let base = first.entry - 0x1000;
    let auxiliary = check_stack(&mut first);
    assert_eq!(value(&auxiliary, 3), Some(base + 0x40));
    let mut magic = [0; 4];
    assert_eq!(first.space.read(base, &mut magic, &mut files), Ok(()));
    assert_eq!(&magic, b"\x7fELF");
}

#[test]
fn an_interpreter_is_beside_the_program_and_begins() {
    for kind in [ET_EXEC, ET_DYN] {
        let bytes = handmade(kind, if kind == ET_EXEC { 0x40_0000 } else { 0 });
        let loader = handmade(ET_DYN, 0);
        let mut files = Files::default();
        let image = |bytes: &[u8], files: &mut Files| Image {
            program: parse_program(bytes).expect("valid"),
            file: ProgramFile {
                hash: [1; 32],
                home_file: files.add(bytes),
                size: bytes.len() as u64,
            },
        };
        let (main, loader) = (image(&bytes, &mut files), image(&loader, &mut files));
        let loaded = load_program(&main, Some(&loader), &arguments(), &IDS, &start(5));
        let mut loaded = loaded.expect("loads");
        check(&loaded.space);
        let auxiliary = check_stack(&mut loaded);
        let base = value(&auxiliary, 7).expect("AT_BASE");
        assert_eq!(loaded.entry, base + 0x1000, "the interpreter begins");
        let entry = value(&auxiliary, 9).expect("AT_ENTRY");
        let headers = value(&auxiliary, 3).expect("AT_PHDR");
        assert_eq!(headers & !0xfff, entry - 0x1000);
        assert_ne!(headers & !0xfff, base);
        let mut magic = [0; 4];
        assert_eq!(loaded.space.read(base, &mut magic, &mut files), Ok(()));
        assert_eq!(&magic, b"\x7fELF");
        // Its zeros end where its memory ends, and the heap is behind the program, not behind it.
        let end = loaded
            .space
            .fault(base + 0x2800 + 0x3900 - 1, Access::WRITE, &mut files);
        assert_eq!(end, Ok(()));
        assert!(loaded.space.layout().break_start < base);
    }
}

#[test]
fn an_interpreter_over_the_program_is_refused() {
    let bytes = handmade(ET_EXEC, 0x40_0000);
    let image = Image {
        program: parse_program(&bytes).expect("valid"),
        file: ProgramFile {
            hash: [1; 32],
            home_file: 0,
            size: bytes.len() as u64,
        },
    };
    let loaded = load_program(&image, Some(&image), &arguments(), &IDS, &start(0));
    assert_eq!(loaded.map(|loaded| loaded.entry), Err(Errno::ENOEXEC));
}

#[test]
fn long_arguments_are_refused() {
    let bytes = handmade(ET_EXEC, 0x40_0000);
    let program = parse_program(&bytes).expect("valid");
    let file = ProgramFile {
        hash: [0; 32],
        home_file: 0,
        size: bytes.len() as u64,
    };
    let image = Image { program, file };
    let attempt = |length: usize, count: usize| {
        let names = Arguments {
            argv: std::vec![std::vec![b'a'; length]; count],
            ..Arguments::default()
        };
        load_program(&image, None, &names, &IDS, &start(0)).map(|loaded| loaded.stack_pointer)
    };
    assert_eq!(attempt(ARGUMENT_MAX, 1), Err(Errno::E2BIG));
    assert!(attempt(ARGUMENT_MAX - 1, 15).is_ok());
    assert_eq!(attempt(ARGUMENT_MAX - 1, 16), Err(Errno::E2BIG));
    assert_eq!(attempt(0, 1 << 18), Err(Errno::E2BIG));
    assert!(attempt(0, 0).is_ok(), "no arguments become one");
    let short = ProgramFile {
        size: 0x2000,
        ..file
    };
    let image = Image {
        file: short,
        ..image.clone()
    };
    let cut = load_program(&image, None, &arguments(), &IDS, &start(0));
    assert_eq!(cut.map(|loaded| loaded.entry), Err(Errno::ENOEXEC));
}

#[test]
fn other_files_are_refused() {
    let refused = |bytes: &[u8]| assert_eq!(parse_program(bytes), Err(Errno::ENOEXEC));
    refused(b"");
    refused(b"#!/bin/sh\n");
    refused(&[0x7f; 4096]);
    refused(&elf(ET_EXEC, 0, &[], 4096));
    let good = handmade(ET_EXEC, 0x40_0000);
    refused(&good[..120]);
    for (at, value) in [
        (4, 1),
        (5, 2),
        (16, 1),
        (18, 3),
        (20, 2),
        (39, 1),
        (54, 57),
        (56, 0),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        refused(&bad);
    }
    let part = |kind, address, memory_bytes| Part {
        kind,
        flags: 5,
        offset: 0,
        address,
        file_bytes: 0,
        memory_bytes,
    };
    refused(&elf(ET_EXEC, 0, &[part(3, 0x40_0000, 8)], 4096));
    refused(&elf(ET_EXEC, 0, &[part(1, 0x1000, 8)], 4096));
    refused(&elf(ET_EXEC, 0, &[part(1, 0x40_0001, 8)], 4096));
    refused(&elf(ET_EXEC, 0, &[part(1, u64::MAX - 4095, 4097)], 4096));
    refused(&elf(ET_EXEC, 0, &[part(1, 0x40_0000, u64::MAX)], 4096));
}

#[test]
fn mutated_programs_never_panic() {
    let mut random = 77_u64;
    let mut loadable = 0;
    for round in 0..6000 {
        let kind = if round % 2 == 0 { ET_EXEC } else { ET_DYN };
        let mut bytes = handmade(kind, if round % 2 == 0 { 0x40_0000 } else { 0 });
        for _ in 0..1 + round % 3 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (random >> 33) as usize % 176;
            bytes[at] = match (random >> 20) % 3 {
                0 => 0xff,
                1 => 0,
                _ => (random >> 25) as u8,
            };
        }
        let mut files = Files::default();
        if let Ok((_, mut loaded)) = load(&bytes, &mut files, random) {
            loadable += 1;
            let _ = loaded
                .space
                .fault(loaded.entry, Access::EXECUTE, &mut files);
            let ends: Vec<u64> = loaded.space.areas().map(|area| area.end - 1).collect();
            for end in ends {
                let _ = loaded.space.fault(end, Access::READ, &mut files);
            }
            check(&loaded.space);
        }
    }
    assert!(loadable > 100, "most bytes are not looked at: {loadable}");
}

#[test]
fn programs_of_this_host() {
    for path in ["/bin/busybox", "/sbin/ldconfig", "/bin/true"] {
        let Ok(bytes) = std::fs::read(path) else {
            continue;
        };
        let mut files = Files::default();
        match load(&bytes, &mut files, 9) {
            Ok((program, mut loaded)) => {
                let auxiliary = check_stack(&mut loaded);
                assert_eq!(value(&auxiliary, 5), Some(program.headers));
                let headers = value(&auxiliary, 3).expect("AT_PHDR");
                let mut first = [0; 56];
                assert_eq!(loaded.space.read(headers, &mut first, &mut files), Ok(()));
                assert_eq!(first[..], bytes[64..120]);
                let entry = loaded
                    .space
                    .fault(loaded.entry, Access::EXECUTE, &mut files);
                assert_eq!(entry, Ok(()));
                let files_mapped = loaded
                    .space
                    .areas()
                    .filter(|area| matches!(area.backing, Backing::File(_)))
                    .count();
                assert!(files_mapped >= 2);
            }
            Err(errno) => panic!("{path}: {errno:?}"),
        }
    }
}
