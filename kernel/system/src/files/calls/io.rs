//! Moving bytes: reading, writing, copying.
//!
//! Law: what was taken from one place is in the other, or was not taken. No file is written behind
//! the caller's `RLIMIT_FSIZE`.

use super::super::inode::{Inode, Node, buffer};
use super::super::objects::notify::{IN_ACCESS, IN_MODIFY};
use super::super::open::{FileState, OpenFile, Rows};
use super::super::pipe::{Form, Patience, Pipe};
use super::super::proc::ProcNode;
use super::super::storage::{MAX_SIZE, Piece};
use super::super::tty::ReadClock;
use super::super::{
    ClusterFile, Device, GlobalFile, MAX_TRANSFER, MemoryPart, ProcEntry, ProcessFile, RWF_APPEND,
    RWF_NOWAIT, Sockets,
};
use super::{CallResult, FileCall, now, readable, usable, writable};
use crate::credentials::FSETID;
use crate::memory::{PageSource, Space};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{POLLIN, Timespec};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A regular file that is open for reading or for writing by this number.
fn plain(rows: &Rows, fd: u64, writes: bool) -> Option<&OpenFile> {
    let row = rows.get(usize::try_from(fd as i32).ok()?)?;
    let file = &row.as_ref()?.file;
    let open = if writes {
        file.writable()
    } else {
        file.readable()
    };
    // Who watches files is told, and that wakes somebody.
    (open && file.inode().is_file() && !file.inode().is_watched()).then_some(file)
}

/// What [`read`] and [`pread64`] do on a regular file when all they read lies in one page; `None`, and
/// nothing done, for all others. `space` takes the bytes before the offset moves, or does not.
pub(crate) fn read_plain(
    state: &FileState,
    (fd, at): (u64, Option<u64>),
    (space, address, length): (&mut Space, u64, usize),
    source: &mut dyn PageSource,
    time: Timespec,
) -> Option<usize> {
    let rows = state.rows();
    let file = plain(&rows, fd, false)?;
    let offset = at.unwrap_or_else(|| file.offset());
    if offset.checked_add(length as u64)? > MAX_SIZE {
        return None;
    }
    // The file is let go: the page of user memory may be one of its own.
    let piece = file.inode().data()?.piece(offset, length)?;
    let (taken, read) = match &piece {
        Piece::Page(_, _, 0) | Piece::Image([]) => (Ok(()), 0),
        Piece::Page(frame, within, length) => {
            let target = (address, *length);
            let taken = space.write_from_frame(target, (frame, *within), source);
            (taken, *length)
        }
        Piece::Image(bytes) => (space.write(address, bytes, source), bytes.len()),
    };
    taken.ok()?;
    file.was_read(time);
    if at.is_none() {
        file.cursor().offset = offset + read as u64;
    }
    Some(read)
}

/// What [`write()`] and [`pwrite64`] do on a regular file when nothing limits them; `None`, and
/// nothing done, for all others.
pub(crate) fn write_plain(
    state: &FileState,
    (fd, at): (u64, Option<u64>),
    bytes: &[u8],
    time: Timespec,
) -> Option<usize> {
    let rows = state.rows();
    let file = plain(&rows, fd, true)?;
    let inode = file.inode();
    let offset = at.unwrap_or_else(|| file.offset());
    let limit = state.largest_file.min(MAX_SIZE);
    let fits = offset.checked_add(bytes.len() as u64)? <= limit;
    if file.appends() || !fits || inode.mode() & 0o6000 != 0 {
        return None;
    }
    // An error is found again, and told, by the call itself.
    let written = inode.write_at(offset, bytes, time).ok()?;
    if at.is_none() {
        file.cursor().offset = offset + written as u64;
    }
    Some(written)
}

/// Where a transfer happens.
#[derive(Clone, Copy)]
enum At {
    /// At the offset of the open file, which moves.
    Cursor,
    /// At a place of the caller's.
    Offset(u64),
}

/// What an argument says about a length, as far as one call goes.
fn length(call: &FileCall, arg: usize) -> Result<usize, Errno> {
    // Linux refuses what is negative as `ssize_t` and cuts everything else.
    if call.args[arg] > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    Ok(call.args[arg].min(MAX_TRANSFER as u64) as usize)
}

fn offset(call: &FileCall, arg: usize) -> Result<u64, Errno> {
    match call.args[arg] {
        offset if offset <= MAX_SIZE => Ok(offset),
        _ => Err(Errno::EINVAL),
    }
}

/// Refuses a transfer whose end has no number.
fn ends(file: &OpenFile, at: At, count: usize) -> Result<(), Errno> {
    let offset = match at {
        At::Offset(offset) => offset,
        At::Cursor => file.offset(),
    };
    match offset.saturating_add(count as u64) <= MAX_SIZE {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    }
}

/// `RWF_NOWAIT` is for what may have to wait: pipes and what has no name. Files in memory refuse it in
/// Linux, too (tmpfs).
fn may_not_wait(call: &FileCall, file: &OpenFile) -> Result<(), Errno> {
    let knows = matches!(file.inode().node(), Node::Pipe(_) | Node::Object(_));
    match call.how & RWF_NOWAIT != 0 && !knows {
        true => Err(Errno::EOPNOTSUPP),
        false => Ok(()),
    }
}

/// Reads without moving the cursor.
fn fetch(call: &mut FileCall, file: &OpenFile, at: At, count: usize) -> Result<Vec<u8>, Stop> {
    may_not_wait(call, file)?;
    let offset = match at {
        At::Cursor => file.offset(),
        At::Offset(offset) => offset,
    };
    match file.inode().node() {
        Node::File(data) => {
            let left = data.lock().size().saturating_sub(offset);
            let mut bytes = buffer(left.min(count as u64) as usize)?;
            data.lock().read_at(offset, &mut bytes);
            if count > 0 {
                file.was_read(now(call));
            }
            Ok(bytes)
        }
        Node::Device(Device::Null) => Ok(Vec::new()),
        Node::Device(Device::Zero | Device::Full) => Ok(buffer(count)?),
        Node::Device(Device::Random | Device::Urandom) => {
            let mut bytes = buffer(count)?;
            call.view.random(&mut bytes);
            Ok(bytes)
        }
        Node::Device(_) => {
            let end = file.terminal().ok_or(Errno::EIO)?;
            super::terminals::check_reader(call, end)?;
            let patience = call.patience(file);
            let (now_ns, deadline_ns) = (call.now_ns, &mut call.deadline_ns);
            end.read(
                count,
                patience,
                ReadClock {
                    now_ns,
                    deadline_ns,
                },
            )
        }
        Node::Pipe(pipe) => pipe.read(count, call.patience(file)),
        Node::Object(object) if object.has_places() => {
            let text = object.read(call, file, count)?;
            let from = offset.min(text.len() as u64) as usize;
            Ok(text[from..from.saturating_add(count).min(text.len())].to_vec())
        }
        Node::Object(object) => object.read(call, file, count),
        Node::Name(_) => Err(Errno::ENXIO.into()),
        Node::Proc(ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Mem))) => {
            memory(call, MemoryPart::Bytes(*pid, offset), count)
        }
        Node::Proc(ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Pagemap))) => {
            memory(call, MemoryPart::Pages(*pid, offset), count)
        }
        Node::Proc(ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Checkpoint))) => {
            memory(call, MemoryPart::Checkpoint(*pid, offset), count)
        }
        Node::Proc(ProcNode::Entry(entry)) => {
            use ProcessFile::{Mountinfo, Mounts, Mountstats};
            let known = core::mem::replace(&mut file.cursor().is_known, true);
            if offset == 0 || !known {
                file.cursor().is_known = false;
                let contents = match *entry {
                    // The caller's own table is with the call.
                    ProcEntry::Process(pid, ProcessFile::Fdinfo(fd)) if pid == call.pid => {
                        call.state.information(fd, call.now_ns)?
                    }
                    ProcEntry::Process(_, ProcessFile::Net(file)) => {
                        let mut sockets = Sockets::default();
                        call.state.add_sockets(&mut sockets);
                        call.view.sockets(&mut sockets);
                        sockets.text(file).into_bytes()
                    }
                    ProcEntry::Global(GlobalFile::Mounts) => {
                        call.fs.mounts_text(&call.state.root())
                    }
                    ProcEntry::Process(pid, of @ (Mounts | Mountinfo | Mountstats)) => {
                        let own = || Some(call.state.root());
                        let others = || call.view.file(ProcEntry::Process(pid, ProcessFile::Root));
                        let root = if pid == call.pid { own() } else { others() };
                        let root = root.ok_or(Errno::EINVAL)?;
                        match of {
                            Mounts => call.fs.mounts_text(&root),
                            Mountinfo => call.fs.mountinfo_text(&root),
                            _ => call.fs.mountstats_text(&root),
                        }
                    }
                    entry => call.view.read(entry, call.tid)?,
                };
                let mut cursor = file.cursor();
                cursor.snapshot = contents;
                cursor.is_known = true;
            }
            let cursor = file.cursor();
            let from = offset.min(cursor.snapshot.len() as u64) as usize;
            let to = from.saturating_add(count).min(cursor.snapshot.len());
            Ok(cursor.snapshot[from..to].to_vec())
        }
        Node::Proc(ProcNode::NamespaceFile(_)) => Err(Errno::EINVAL.into()),
        Node::Proc(_) | Node::Directory(_) => Err(Errno::EISDIR.into()),
        Node::Link(_) | Node::Special(_) => Err(Errno::EBADF.into()),
    }
}

/// How long a call waits for pages of a process that has just moved, before it looks again.
const PATIENCE_NS: u64 = 1_000_000;

/// Memory of a process, as its files in /proc show it.
fn memory(call: &mut FileCall, part: MemoryPart, count: usize) -> Result<Vec<u8>, Stop> {
    let bytes = call.view.memory(part, call.tid, count);
    if bytes == Err(Stop::Wait) {
        call.deadline_ns = Some(call.now_ns.saturating_add(PATIENCE_NS));
    }
    bytes
}

/// How much may be written from `offset` on; none at all is an error and a signal.
pub(super) fn within_limit(
    call: &mut FileCall,
    offset: u64,
    length: usize,
) -> Result<usize, Errno> {
    let room = call.state.largest_file.saturating_sub(offset);
    if room == 0 && length > 0 {
        call.raised = Some(abi::signal::SIGXFSZ).filter(|_| !call.goes_on);
        return Err(Errno::EFBIG);
    }
    Ok(room.min(length as u64) as usize)
}

/// A program must not stay somebody else's when its bytes change.
pub(super) fn lose_set_ids(call: &FileCall, inode: &Inode) {
    if !call.who.has(FSETID) {
        inode.lose_set_ids();
    }
}

/// Writes, and moves the cursor if it was used.
fn store(call: &mut FileCall, file: &OpenFile, at: At, bytes: &[u8]) -> Result<usize, Stop> {
    may_not_wait(call, file)?;
    match file.inode().node() {
        Node::File(data) => {
            let time = now(call);
            let end = data.lock().size();
            let offset = match at {
                _ if file.appends() || call.how & RWF_APPEND != 0 => end,
                At::Cursor => file.offset(),
                At::Offset(offset) => offset,
            };
            if bytes.is_empty() {
                return Ok(0);
            }
            let bytes = &bytes[..within_limit(call, offset, bytes.len())?];
            let written = file.inode().write_at(offset, bytes, time)?;
            if written > 0 {
                lose_set_ids(call, file.inode());
            }
            if let At::Cursor = at {
                file.cursor().offset = offset + written as u64;
            }
            if written > 0 {
                file.inode().tell(IN_MODIFY);
            }
            Ok(written)
        }
        Node::Device(Device::Full) => Err(Errno::ENOSPC.into()),
        Node::Device(device) if device.is_terminal() => {
            let end = file.terminal().ok_or(Errno::EIO)?;
            super::terminals::check_writer(call, end)?;
            end.write(bytes, call.patience(file), call.now_ns)
        }
        Node::Device(_) => Ok(bytes.len()),
        Node::Pipe(pipe) => pipe.write(bytes, file.form(), call.patience(file)),
        Node::Object(object) => object.write(call, file, bytes),
        Node::Name(_) => Err(Errno::ENXIO.into()),
        Node::Proc(ProcNode::Entry(ProcEntry::Process(pid, ProcessFile::Mem))) => {
            let offset = match at {
                At::Cursor => file.offset(),
                At::Offset(offset) => offset,
            };
            let written = call.view.set_memory(*pid, call.tid, offset, bytes);
            if written == Err(Stop::Wait) {
                call.deadline_ns = Some(call.now_ns.saturating_add(PATIENCE_NS));
            }
            if let At::Cursor = at {
                file.cursor().offset = offset + *written.as_ref().unwrap_or(&0) as u64;
            }
            written
        }
        Node::Proc(ProcNode::Entry(ProcEntry::Cluster(ClusterFile::Restart))) => {
            let standard = call.state.standard_files();
            call.view.restart(call.tid, bytes, standard)
        }
        Node::Proc(ProcNode::Entry(entry)) => {
            let written = call.view.write(*entry, call.tid, bytes)?;
            Ok(written.min(bytes.len()))
        }
        Node::Proc(ProcNode::NamespaceFile(_)) => Err(Errno::EINVAL.into()),
        Node::Proc(_) | Node::Directory(_) => Err(Errno::EISDIR.into()),
        Node::Link(_) | Node::Special(_) => Err(Errno::EBADF.into()),
    }
}

/// Whether it is read and written as a stream, without offsets.
pub(super) fn is_stream(file: &OpenFile) -> bool {
    file.inode().pipe().is_some()
        || file.terminal().is_some()
        || matches!(file.inode().node(), Node::Object(object) if !object.has_places())
}

fn advance(file: &OpenFile, count: usize) {
    if !is_stream(file) {
        file.cursor().offset += count as u64;
    }
}

/// A read into memory that is not there: EFAULT if anything would be read; the end of a file, waiting and
/// other errors come first.
fn fetch_nowhere(call: &mut FileCall, file: &OpenFile, at: At, count: usize) -> CallResult {
    let there = match is_stream(file) {
        true => file.ready(&call.asker()) & POLLIN != 0,
        false => !fetch(call, file, at, 1)?.is_empty(),
    };
    if there {
        return Err(Errno::EFAULT.into());
    }
    Ok(fetch(call, file, at, count)?.len() as u64)
}

/// Reads into buffer 1 as much as argument 2 says and there is room for.
fn read_at(call: &mut FileCall, file: &OpenFile, at: At) -> CallResult {
    let wanted = length(call, 2)?;
    ends(file, at, wanted)?;
    let count = wanted.min(call.capacity(1));
    if count == 0 && call.narrow[1] {
        return fetch_nowhere(call, file, at, wanted);
    }
    let bytes = fetch(call, file, at, count)?;
    if let At::Cursor = at {
        advance(file, bytes.len());
    }
    call.output(1, &bytes);
    if !bytes.is_empty() && file.inode().is_file() {
        file.inode().tell(IN_ACCESS);
    }
    Ok(bytes.len() as u64)
}

/// `read(fd, buf, count)`.
pub fn read(call: &mut FileCall) -> CallResult {
    let file = readable(call, 0)?;
    read_at(call, &file, At::Cursor)
}

/// A write to a stream from memory that is not there: EFAULT, behind what is wrong with the stream.
fn store_nothing(call: &mut FileCall, file: &OpenFile, length: usize) -> CallResult {
    let takes = match file.inode().node() {
        Node::Object(object) => object.takes(length),
        _ => true,
    };
    if !takes || !file.can_be_written() {
        return Err(Errno::EINVAL.into());
    }
    if let Some(pipe) = file.inode().pipe() {
        pipe.room(call.patience(file))?;
    } else if file.is_socket() {
        call.no_bytes = Some(Errno::EFAULT);
        super::write_socket(call, file, &[])?;
    }
    Err(Errno::EFAULT.into())
}

/// `write(fd, buf, count)`. `EPIPE` is to become `SIGPIPE` as well, by the caller.
pub fn write(call: &mut FileCall) -> CallResult {
    let file = writable(call, 0)?;
    let length = length(call, 2)?;
    match file.inode().node() {
        // They do not even look.
        Node::Device(Device::Null | Device::Zero) => return Ok(length as u64),
        Node::Device(Device::Full) if length > 0 => return Err(Errno::ENOSPC.into()),
        _ => {}
    }
    ends(&file, At::Cursor, length)?;
    if call.cut[1] && is_stream(&file) {
        return store_nothing(call, &file, length);
    }
    let bytes = call.input(1);
    Ok(store(call, &file, At::Cursor, bytes)? as u64)
}

/// Who has a place in mind needs something that has places, before it needs to be allowed to.
fn seekable(call: &FileCall) -> Result<Arc<OpenFile>, Errno> {
    let file = usable(call, 0)?;
    match is_stream(&file) {
        true => Err(Errno::ESPIPE),
        false => Ok(file),
    }
}

/// `pread64(fd, buf, count, offset)`.
pub fn pread64(call: &mut FileCall) -> CallResult {
    let offset = offset(call, 3)?;
    let file = seekable(call)?;
    if !file.readable() {
        return Err(Errno::EBADF.into());
    }
    ends(&file, At::Offset(offset), length(call, 2)?)?;
    read_at(call, &file, At::Offset(offset))
}

/// `pwrite64(fd, buf, count, offset)`.
pub fn pwrite64(call: &mut FileCall) -> CallResult {
    let offset = offset(call, 3)?;
    let file = seekable(call)?;
    if !file.writable() {
        return Err(Errno::EBADF.into());
    }
    ends(&file, At::Offset(offset), length(call, 2)?)?;
    let bytes = call.input(1);
    Ok(store(call, &file, At::Offset(offset), bytes)? as u64)
}

/// An offset of the caller's in an in-out buffer, if there is one.
fn place(call: &FileCall, arg: usize) -> Result<At, Errno> {
    let Some(bytes) = call.inputs[arg] else {
        return Ok(At::Cursor);
    };
    let bytes: [u8; 8] = bytes.try_into().map_err(|_| Errno::EFAULT)?;
    match u64::from_le_bytes(bytes) {
        offset if offset <= MAX_SIZE => Ok(At::Offset(offset)),
        _ => Err(Errno::EINVAL),
    }
}

/// One transfer from file to file: reads, writes what the target takes, and counts only that.
fn transfer(
    call: &mut FileCall,
    source: (&OpenFile, At, usize),
    target: (&OpenFile, At, Option<usize>),
    count: usize,
) -> CallResult {
    let (from, from_at, from_arg) = source;
    let (to, to_at, to_arg) = target;
    let bytes = fetch(call, from, from_at, count)?;
    if !bytes.is_empty() && from.inode().is_file() {
        from.inode().tell(IN_ACCESS);
    }
    let written = match bytes.is_empty() {
        true => 0,
        false => store(call, to, to_at, &bytes)?,
    };
    match from_at {
        At::Offset(offset) => call.output(from_arg, &(offset + written as u64).to_le_bytes()),
        At::Cursor => advance(from, written),
    }
    // A cursor of the target moved with the writing.
    if let (At::Offset(offset), Some(arg)) = (to_at, to_arg) {
        call.output(arg, &(offset + written as u64).to_le_bytes());
    }
    Ok(written as u64)
}

/// `sendfile(out_fd, in_fd, offset, count)`: from what has bytes at places to anything.
/// Argument 2 is both in- and out-buffer of 8 bytes.
pub fn sendfile(call: &mut FileCall) -> CallResult {
    let target = writable(call, 0)?;
    let source = readable(call, 1)?;
    let mut count = length(call, 3)?;
    let at = place(call, 2)?;
    if let At::Offset(_) = at
        && is_stream(&source)
    {
        return Err(Errno::ESPIPE.into());
    }
    let pipe = target.inode().pipe();
    if let Some(pipe) = pipe {
        let room = pipe.room(target.patience(call.tid))?;
        if source.is_socket() {
            // What is taken from it is gone.
            count = count.min(room);
        }
    }
    let seeks = source.inode().seeks();
    if pipe.is_none() && (target.appends() || !seeks) {
        return Err(Errno::EINVAL.into());
    }
    if count == 0 {
        return Ok(0);
    }
    let is_source = source.inode().can_be_sent() || pipe.is_some() && source.is_socket();
    if !is_source {
        return Err(Errno::EINVAL.into());
    }
    transfer(call, (&source, at, 2), (&target, At::Cursor, None), count)
}

/// `copy_file_range(fd_in, off_in, fd_out, off_out, len, flags)` between regular files.
/// Arguments 1 and 3 are both in- and out-buffers of 8 bytes.
pub fn copy_file_range(call: &mut FileCall) -> CallResult {
    let (source, target) = (usable(call, 0)?, usable(call, 2)?);
    if call.args[5] as u32 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let files = [source.inode(), target.inode()];
    if files.iter().any(|file| file.is_directory()) {
        return Err(Errno::EISDIR.into());
    }
    if !files.iter().all(|file| file.is_file()) {
        return Err(Errno::EINVAL.into());
    }
    if !source.readable() || !target.writable() || target.appends() {
        return Err(Errno::EBADF.into());
    }
    // Files in memory are on a file system of their own.
    let is_memory = |inode: &Inode| inode.data().is_some_and(|data| data.is_memory);
    if is_memory(source.inode()) != is_memory(target.inode()) {
        return Err(Errno::EXDEV.into());
    }
    let count = length(call, 4)?;
    for arg in [1, 3] {
        let bytes = call.inputs[arg].and_then(|bytes| bytes.first_chunk::<8>());
        let start = bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if start.checked_add(count as u64).is_none() {
            return Err(Errno::EOVERFLOW.into());
        }
    }
    let (from, to) = (place(call, 1)?, place(call, 3)?);
    let start = |file: &OpenFile, at| match at {
        At::Cursor => file.offset(),
        At::Offset(offset) => offset,
    };
    let distance = start(&source, from).abs_diff(start(&target, to));
    let to_come = source.inode().size().saturating_sub(start(&source, from));
    let copied = (count as u64).min(to_come);
    if Arc::ptr_eq(source.inode(), target.inode()) && distance < copied {
        return Err(Errno::EINVAL.into());
    }
    transfer(call, (&source, from, 1), (&target, to, Some(3)), count)
}

/// `SPLICE_F_NONBLOCK`.
const SPLICE_NONBLOCK: u32 = 2;
/// `SPLICE_F_MOVE`, `_NONBLOCK`, `_MORE`, `_GIFT`.
const SPLICE_KNOWN: u32 = 15;

/// How long a splice waits for the pipe that `file` is.
fn splice_patience(call: &FileCall, file: &OpenFile, flags: u32) -> Patience {
    match flags & SPLICE_NONBLOCK {
        0 => file.patience(call.tid),
        _ => Patience::Never,
    }
}

/// `splice(fd_in, off_in, fd_out, off_out, len, flags)`: one side at least is a pipe.
/// Arguments 1 and 3 are both in- and out-buffers of 8 bytes.
pub fn splice(call: &mut FileCall) -> CallResult {
    let flags = call.args[5] as u32;
    let count = call.args[4].min(MAX_TRANSFER as u64) as usize;
    if count == 0 {
        return Ok(0);
    }
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (source, target) = (usable(call, 0)?, usable(call, 2)?);
    for (file, arg) in [(&source, 1), (&target, 3)] {
        if call.inputs[arg].is_some() && file.inode().pipe().is_some() {
            return Err(Errno::ESPIPE.into());
        }
    }
    if !source.readable() || !target.writable() {
        return Err(Errno::EBADF.into());
    }
    let (from, to) = (place(call, 1)?, place(call, 3)?);
    for (file, at) in [(&source, from), (&target, to)] {
        if matches!(at, At::Offset(_)) && is_stream(file) {
            return Err(Errno::EINVAL.into());
        }
    }
    match (source.inode().pipe(), target.inode().pipe()) {
        (None, None) => Err(Errno::EINVAL.into()),
        (Some(pipe), None) => {
            let takes = !matches!(target.inode().node(), Node::Object(_)) || target.is_socket();
            if target.appends() || !takes {
                return Err(Errno::EINVAL.into());
            }
            let patience = splice_patience(call, &source, flags);
            let bytes = pipe.peek(count, patience)?;
            let written = match bytes.is_empty() {
                true => 0,
                false => store(call, &target, to, &bytes)?,
            };
            pipe.skip(written);
            if let At::Offset(offset) = to {
                call.output(3, &(offset + written as u64).to_le_bytes());
            }
            Ok(written as u64)
        }
        (None, Some(pipe)) => {
            let patience = splice_patience(call, &target, flags);
            let room = or_signal(call, pipe.room(patience))?;
            let inode = source.inode();
            let gives = inode.can_be_sent() || source.terminal().is_some() || source.is_socket();
            if !gives {
                return Err(Errno::EINVAL.into());
            }
            // Of what is no pipe only a socket hears of it (`sock_splice_read`).
            if flags & SPLICE_NONBLOCK != 0 && source.is_socket() {
                call.how |= RWF_NOWAIT;
            }
            let bytes = fetch(call, &source, from, count.min(room))?;
            let written = pipe.write(&bytes, Form::Bytes, Patience::Never)?;
            match from {
                At::Offset(offset) => call.output(1, &(offset + written as u64).to_le_bytes()),
                At::Cursor => advance(&source, written),
            }
            Ok(written as u64)
        }
        (Some(one), Some(other)) => between_pipes(call, (&source, one), (&target, other), true),
    }
}

/// Writing into a pipe that nobody reads is told with a signal as well.
fn or_signal<T>(call: &mut FileCall, done: Result<T, Stop>) -> Result<T, Stop> {
    if matches!(done, Err(Stop::Errno(Errno::EPIPE))) {
        call.raised = Some(abi::signal::SIGPIPE);
    }
    done
}

/// From pipe to pipe; what is taken is gone, what is not is copied.
fn between_pipes(
    call: &mut FileCall,
    source: (&OpenFile, &Pipe),
    target: (&OpenFile, &Pipe),
    takes: bool,
) -> CallResult {
    if core::ptr::eq(source.1, target.1) {
        return Err(Errno::EINVAL.into());
    }
    let (count, flags) = match takes {
        true => (call.args[4], call.args[5] as u32),
        false => (call.args[2], call.args[3] as u32),
    };
    let count = count.min(MAX_TRANSFER as u64) as usize;
    let bytes = source
        .1
        .peek(count, splice_patience(call, source.0, flags))?;
    if bytes.is_empty() {
        return Ok(0);
    }
    let room = target.1.room(splice_patience(call, target.0, flags));
    let room = or_signal(call, room)?;
    let written = target.1.write(
        &bytes[..bytes.len().min(room)],
        Form::Bytes,
        Patience::Never,
    )?;
    if takes {
        source.1.skip(written);
    }
    Ok(written as u64)
}

/// `vmsplice(fd, pieces, count, flags)` as the body has prepared it: of the pieces, what can be read is in
/// buffer 1, whose length argument 2 says, and what can be written is its room. The end of the pipe decides which way they go.
pub fn vmsplice(call: &mut FileCall) -> CallResult {
    let flags = call.args[3] as u32;
    let file = usable(call, 0)?;
    if call.args[2] == 0 {
        return Ok(0);
    }
    let pipe = file.inode().pipe().ok_or(Errno::EBADF)?;
    let patience = splice_patience(call, &file, flags);
    if file.writable() {
        let room = or_signal(call, pipe.room(patience))?;
        let bytes = call.input(1);
        let bytes = &bytes[..bytes.len().min(room)];
        let written = pipe.write(bytes, Form::Bytes, Patience::Never)?;
        return Ok(written as u64);
    }
    let count = length(call, 2)?;
    call.check_room(1, count)?;
    let bytes = pipe.read(count, patience)?;
    call.output(1, &bytes);
    Ok(bytes.len() as u64)
}

/// `tee(fd_in, fd_out, len, flags)`: from pipe to pipe, and it stays in the first.
pub fn tee(call: &mut FileCall) -> CallResult {
    if call.args[3] as u32 & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL.into());
    }
    if call.args[2] == 0 {
        return Ok(0);
    }
    let (source, target) = (readable(call, 0)?, writable(call, 1)?);
    let (Some(one), Some(other)) = (source.inode().pipe(), target.inode().pipe()) else {
        return Err(Errno::EINVAL.into());
    };
    between_pipes(call, (&source, one), (&target, other), false)
}
