//! Files that a body executes or maps: opened, named and read at home.
//!
//! Law: a handle in a process's table of mapped files is good until its next execve, whatever
//! becomes of the descriptor or the name; so a page of a mapping can be had as long as it is mapped.

use crate::credentials::{Ids, KEEP_CAPABILITIES, ProgramRights, WORDS};
use crate::dispatch::{CHUNK, HomeCall};
use crate::files::{Common, Device, Executing, Place};
use crate::thread::padded_name;
use crate::wait::Stop;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::PAGE_SIZE;

/// Kind of an opening by execve: a program or a script, which `/proc/PID/exe` may name.
pub const OPENS_PROGRAM: u64 = 0;
/// How much of the arguments and of the environment of a program /proc shows.
pub const PROC_BYTES: usize = 16 << 10;
/// Kind of an opening by execve: what a program names as its interpreter.
pub const OPENS_INTERPRETER: u64 = 1;
/// Beside the kind of an opening: a symbolic link is refused.
pub const OPENS_NO_LINK: u64 = 2;

/// Opens a program: path in buffer 0, kind as argument. Buffer 0 of the answer is the [`ExecFile`]
/// record, buffer 1 its first page.
pub fn exec_open(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let (kind, no_link) = (call.args[0] & 1, call.args[0] & OPENS_NO_LINK != 0);
    let path = call.input(0).to_vec();
    let (fs, pid) = (call.system.fs.clone(), call.pid);
    let files = call.home().files.as_ref().ok_or(Errno::ESRCH)?;
    // The same, and nothing of it changes: only names are looked up.
    let files = files.of_child(Common {
        table: true,
        place: true,
    });
    let who = call.thread().credentials.who();
    if no_link && fs.is_link((&files, call.system, pid), &who, &path)? {
        return Err(Errno::ELOOP.into());
    }
    let located = fs.open_program(&files, call.system, pid, &who, &path)?;
    let inode = located.place.inode();
    if inode.has_writers() {
        return Err(Errno::ETXTBSY.into());
    }
    let mut first = alloc::vec![0; PAGE_SIZE];
    let length = inode.read_at(0, &mut first)?;
    first.truncate(length);
    let ids = becomes(call, &located.place);
    let home = call.home();
    let handle = home.mapped.add(inode, &located.path);
    let record = ExecFile {
        hash: inode.content_hash().unwrap_or([0; 32]),
        home_file: handle.ok_or(Errno::ENOMEM)?,
        size: inode.size(),
        ids,
    };
    if kind == OPENS_PROGRAM {
        home.opening = (located.place.loose(), located.path);
    }
    call.outputs.set(0, record.to_bytes());
    call.outputs.set(1, first);
    Ok(0)
}

/// Who the caller is when it has become the program in a file (execve(2), "set-user-ID").
fn becomes(call: &mut HomeCall<'_>, place: &Place) -> Ids {
    let held = place.attributes();
    // A tracer without the right to trace everybody would have what the program is given.
    let traced = call.system.is_traced_by_a_lesser(call.pid);
    let set = |bits: u32| held.mode & bits == bits && !traced && !place.ignores_set_ids();
    let program = ProgramRights {
        uid: Some(held.uid).filter(|_| set(0o4000)),
        gid: Some(held.gid).filter(|_| set(0o2010)),
    };
    call.thread().credentials.after_exec(program)
}

/// A part of a file that [`exec_open`] has opened: `(handle, offset, length)`. Buffer 1 of the answer
/// is what there is of it.
pub fn exec_read(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [handle, offset, length, ..] = call.args;
    let inode = call.home().mapped.get(handle).ok_or(Errno::EIO)?;
    let mut bytes = alloc::vec![0; length.min(CHUNK) as usize];
    let length = inode.read_at(offset, &mut bytes)?;
    bytes.truncate(length);
    call.outputs.set(1, bytes);
    Ok(0)
}

/// The new program is about to run: the handles of its file and of its interpreter's (the same
/// without one), and whether it ignores SIGCHLD; name, command line, environment and auxiliary vector in
/// buffers 0 to 3. Buffer 3 of the answer says who it is now.
pub fn exec_commit(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [handle, interpreter, disowns, ..] = call.args;
    let (name, line) = (call.input(0).to_vec(), call.input(1).to_vec());
    let (environment, mut auxiliary) = (call.input(2).to_vec(), call.input(3).to_vec());
    auxiliary.truncate(PROC_BYTES);
    let fs = call.system.fs.clone();
    let home = call.home();
    let inode = home.mapped.get(handle).ok_or(Errno::EIO)?;
    // What it is in may have been unmounted since; or home has booted, and knows only what is in the image.
    let opened = home.opening.0.upgrade();
    let opened = opened.filter(|place| Arc::ptr_eq(place.inode(), &inode));
    let place = opened.or_else(|| fs.in_root(&inode)).ok_or(Errno::EIO)?;
    // Somebody may have opened it for writing since.
    let executing = Executing::new(&place).ok_or(Errno::ETXTBSY)?;
    home.executing = Some(executing);
    let (old, ids) = (call.ids(), becomes(call, &place));
    let credentials = call.credentials();
    credentials.ids = ids;
    credentials.secure &= !KEEP_CAPABILITIES;
    let home = call.home();
    home.options.reset_for_exec();
    if ids.hides_from(&old) || ids.uid != ids.euid || ids.gid != ids.egid {
        home.options.hide();
    }
    home.disowns = disowns != 0;
    home.ignores_children = disowns != 0;
    home.exit_signal = abi::signal::SIGCHLD;
    home.deaf_to_stops = false;
    home.name = padded_name(&name);
    home.command_line = line;
    home.title = None;
    home.timers.clear();
    home.command_line.truncate(PROC_BYTES);
    home.environment = environment;
    home.environment.truncate(PROC_BYTES);
    home.auxiliary = auxiliary;
    home.program = core::mem::take(&mut home.opening).1;
    home.executed = true;
    call.become_only_thread();
    let home = call.home();
    let pid = home.pid;
    if let Some(first) = home.threads.get_mut(&pid) {
        first.name = home.name;
    }
    // The files of the old program are held no longer; the handles of the new one stay.
    home.mapped.keep_only(&[handle, interpreter]);
    if let Some(files) = home.files.as_mut() {
        files.close_on_exec();
    }
    call.outputs.set(3, ids.to_bytes());
    call.system.release_shared(pid);
    Ok(0)
}

/// In the value of [`map_file`]: the file was opened for writing too.
pub const MAPS_WRITABLE: u64 = 1;
/// In the value of [`map_file`]: it is /dev/zero, and there is no record.
pub const MAPS_DEVICE: u64 = 2;
/// From this bit on: the error with which the file refuses, once it has its place.
pub const MAPS_NOTHING_SHIFT: u32 = 8;

/// A descriptor is to be mapped: `(fd, shared, written, executed)`. The value is a set of `MAPS_*`, buffer 0 of
/// the answer an [`ExecFile`].
///
/// Who shares a file that it may write has to be here; if it is elsewhere it is sent for, and calls
/// again when it has come.
pub fn map_file(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [fd, shared, writes, executes, ..] = call.args;
    let home = call.home();
    let files = home.files.as_ref().ok_or(Errno::ESRCH)?;
    let (inode, readable, writable) = files.inode(fd as u32)?;
    if !readable || (writes != 0 && !writable) {
        return Err(Errno::EACCES.into());
    }
    if executes != 0 && inode.is_not_executed() {
        return Err(Errno::EPERM.into());
    }
    if !inode.is_file() {
        return match inode.device() {
            Some(Device::Zero) => Ok(MAPS_DEVICE),
            _ => match inode.late_mapping_error() {
                Some(Errno(error)) => Ok(u64::from(error.unsigned_abs()) << MAPS_NOTHING_SHIFT),
                None => Err(Errno::ENODEV.into()),
            },
        };
    }
    let path = files.describe(fd as u32)?;
    let sealed = shared != 0 && inode.is_sealed();
    if sealed && writes != 0 {
        return Err(Errno::EPERM.into());
    }
    let writable = writable && !sealed;
    if shared != 0 && writable {
        call.system.bring_home(call.pid, call.tid)?;
    }
    // What is read through a mapping is not known: as in Linux the mapping counts as reading.
    let now = call.system.fs.time(call.system.now);
    let ids = call.ids();
    let home = call.home();
    if let Some(files) = &home.files {
        files.get(fd as u32)?.was_read(now);
    }
    let record = ExecFile {
        hash: inode.content_hash().unwrap_or([0; 32]),
        home_file: home.mapped.add(&inode, &path).ok_or(Errno::ENOMEM)?,
        size: inode.size(),
        ids,
    };
    call.outputs.set(0, record.to_bytes());
    Ok(if writable { MAPS_WRITABLE } else { 0 })
}

/// What a body has to know of a file to map or execute it: [`ExecFile::BYTES`], little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecFile {
    /// Content hash, or zero.
    pub hash: [u8; 32],
    /// Handle at home.
    pub home_file: u32,
    /// Bytes.
    pub size: u64,
    /// Who executes it is these then.
    pub ids: Ids,
}

impl ExecFile {
    /// How long it is as bytes.
    pub const BYTES: usize = 48 + 8 * WORDS;

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.hash.to_vec();
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&u64::from(self.home_file).to_le_bytes());
        bytes.extend_from_slice(&self.ids.to_bytes());
        bytes
    }

    /// Reads what [`exec_open`] or [`map_file`] has written.
    pub fn from_bytes(bytes: &[u8]) -> Option<ExecFile> {
        let (hash, rest) = bytes.split_first_chunk::<32>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (home_file, rest) = rest.split_first_chunk::<8>()?;
        let home_file = u64::from_le_bytes(*home_file);
        Some(ExecFile {
            hash: *hash,
            home_file: u32::try_from(home_file).ok()?,
            size: u64::from_le_bytes(*size),
            ids: Ids::from_bytes(rest)?,
        })
    }
}
