//! What the home node tells of itself: its name, sysinfo(2) and syslog(2).
//!
//! Law: it is the home node that is told of, wherever the process is.

use crate::credentials::{SYS_ADMIN, SYS_BOOT, SYSLOG};
use crate::dispatch::HomeCall;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;
use machine::{FrameKind, JOURNAL_BYTES, PAGE_SIZE};

const NS_PER_S: u64 = 1_000_000_000;

/// The name that every node begins with.
pub const HOST_NAME: &str = "dunlin";
/// The longest name of a node, and of its domain (`__NEW_UTS_LEN`).
const NAME_MAX: u64 = 64;

/// What a node is called.
pub(crate) struct Names {
    pub(crate) host: Vec<u8>,
    pub(crate) domain: Vec<u8>,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            host: HOST_NAME.into(),
            domain: "(none)".into(),
        }
    }
}

/// Which Linux it is like.
pub(crate) const RELEASE: &str = "6.1.0-dunlin";

/// reboot(2): of the home node, which can be switched off. No key starts it anew, so that one has no effect.
pub fn reboot(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGICS: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    let [first, second, command, ..] = call.args.map(|word| word as u32);
    if !call.ids().has(SYS_BOOT) {
        return Err(Errno::EPERM.into());
    }
    if first != MAGIC || !MAGICS.contains(&second) {
        return Err(Errno::EINVAL.into());
    }
    match command {
        CAD_ON | CAD_OFF => {}
        HALT | POWER_OFF => call.system.request_power_off(0),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// uname(2): of the home node, so that a program does not notice that it moved.
pub fn uname(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    const FIELD: usize = 65;
    /// `PER_LINUX32` of personality(2), and what of that number says which one it is.
    const LINUX32: u32 = 8;
    const KIND: u32 = 0xff;
    let narrow = call.home().options.personality() & KIND == LINUX32;
    let Names { host, domain } = &call.system.names;
    let fields: [&[u8]; 6] = [
        b"Linux",
        host,
        RELEASE.as_bytes(),
        b"#1 Dunlin",
        if narrow { b"i686" } else { b"x86_64" },
        domain,
    ];
    let mut bytes = alloc::vec![0; FIELD * fields.len()];
    for (place, field) in bytes.chunks_mut(FIELD).zip(fields) {
        place[..field.len()].copy_from_slice(field);
    }
    call.outputs.set(0, bytes);
    Ok(0)
}

/// The name in argument 0, for those who may give one.
fn given_name(call: &mut HomeCall<'_>) -> Result<Vec<u8>, Stop> {
    if !call.ids().has(SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    if call.args[1] > NAME_MAX {
        return Err(Errno::EINVAL.into());
    }
    call.check_input(0)?;
    // What is behind a NUL nobody would see.
    let name = call.input(0).split(|byte| *byte == 0).next();
    Ok(name.unwrap_or(&[]).to_vec())
}

/// sethostname(2): of the home node.
pub fn sethostname(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    call.system.names.host = given_name(call)?;
    Ok(0)
}

/// setdomainname(2): see [`sethostname`].
pub fn setdomainname(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    call.system.names.domain = given_name(call)?;
    Ok(0)
}

/// sysinfo(2): of the home node.
pub fn sysinfo(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let frames = call.system.frames();
    let [one, five, fifteen] = call.system.load.for_sysinfo();
    let words = [
        call.system.now / NS_PER_S,
        one,
        five,
        fifteen,
        frames.total * PAGE_SIZE as u64,
        frames.free * PAGE_SIZE as u64,
        frames.by_kind[FrameKind::Cache as usize] * PAGE_SIZE as u64,
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(112, 0);
    let processes = call.system.homes.len().min(usize::from(u16::MAX)) as u16;
    bytes[80..82].copy_from_slice(&processes.to_le_bytes());
    bytes[104..108].copy_from_slice(&1_u32.to_le_bytes());
    call.outputs.set(0, bytes);
    Ok(0)
}

/// syslog(2): what the kernel has logged. Nothing is waited for, and nothing is ever taken away from
/// the other readers but by clearing.
pub fn syslog(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    const READ_ALL: u32 = 3;
    const READ_CLEAR: u32 = 4;
    const CLEAR: u32 = 5;
    const SIZE_UNREAD: u32 = 9;
    const SIZE_BUFFER: u32 = 10;
    let [kind, address, length, ..] = call.args;
    let (kind, length) = (kind as u32, length as i32);
    if !matches!(kind, READ_ALL | SIZE_BUFFER) && !call.ids().has(SYSLOG) {
        return Err(Errno::EPERM.into());
    }
    match kind {
        // Opening and closing; switching the console's level, which has none.
        0 | 1 | 6 | 7 => Ok(0),
        8 if (1..=8).contains(&length) => Ok(0),
        READ_ALL | READ_CLEAR => {
            let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
            if address == 0 {
                return Err(Errno::EINVAL.into());
            }
            let mut bytes = Vec::new();
            let room = length.min(JOURNAL_BYTES);
            let cleared = call.system.journal_cleared;
            machine::journal_lines(cleared, room, |byte| bytes.push(byte));
            if kind == READ_CLEAR {
                call.system.journal_cleared = machine::journal_end();
            }
            let count = bytes.len() as u64;
            call.outputs.set(1, bytes);
            Ok(count)
        }
        CLEAR => {
            call.system.journal_cleared = machine::journal_end();
            Ok(0)
        }
        SIZE_UNREAD => {
            let unread = machine::journal_end() - call.system.journal_cleared;
            Ok(unread.min(JOURNAL_BYTES as u64))
        }
        SIZE_BUFFER => Ok(JOURNAL_BYTES as u64),
        _ => Err(Errno::EINVAL.into()),
    }
}
