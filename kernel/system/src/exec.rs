//! execve(2): a new program in an old process.
//!
//! Law: until home has agreed, nothing of the old program is lost; then the new one replaces it at
//! once. Home opens the files (scripts, the program, its interpreter) and sends the first page of
//! each; segments are read lazily, by content from this node's boot image where that has the file,
//! else from home.

use crate::body::{Body, HANDLER_IGNORE};
use crate::calls::home::{ExecFile, OPENS_INTERPRETER, OPENS_NO_LINK, OPENS_PROGRAM, PROC_BYTES};
use crate::credentials;
use crate::dispatch::{
    CALL_EXEC_COMMIT, CALL_EXEC_OPEN, CALL_EXEC_READ, FdUse, LocalCall, PATH_MAX, result_of,
};
use crate::files::Who;
use crate::home::{Home, Request};
use crate::memory::elf::{Part, parse_header};
use crate::memory::{self, Arguments, Ids, Image, ProgramFile, StartValues, load_program};
use crate::system::System;
use crate::thread::{AltStack, Restart, Thread, padded_name};
use crate::wait::Stop;
use abi::Errno;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use machine::{FpuState, Registers};

/// The most bytes of arguments and environment together.
const ARGUMENTS_MAX: usize = 2 << 20;
/// The longest single string (`MAX_ARG_STRLEN`).
const STRING_MAX: usize = 128 << 10;
/// The most strings.
const STRINGS_MAX: usize = 0x10000;
/// How deep interpreters of scripts may nest, as in Linux.
const SCRIPTS_MAX: usize = 4;

/// A program that is ready and waits for home's consent.
pub struct Loaded {
    program: memory::Loaded,
    home_file: u32,
    /// The file of its interpreter; its own without one.
    interpreter_file: u32,
    name: Vec<u8>,
    line: Vec<u8>,
    environment: Vec<u8>,
}

/// A file that was opened, and its first page or another part of it: one answer of home. Kept in the
/// body between the questions, and asked for anew after a move.
pub type Opened = (ExecFile, Vec<u8>);

/// execve(2).
pub(crate) fn execve(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let [path, argv, envp, ..] = call.args;
    execute(call, (argv, envp), |call| {
        Ok((call.string(path, PATH_MAX)?, OPENS_PROGRAM))
    })
}

/// execveat(2): what a descriptor is or leads to has a name in /proc, which scripts get, too.
pub(crate) fn execveat(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const AT_FDCWD: i32 = -100;
    const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
    const AT_EMPTY_PATH: u64 = 0x1000;
    let [fd, path, argv, envp, flags, _] = call.args;
    let flags = flags & 0xffff_ffff;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let done = execute(call, (argv, envp), |call| {
        let path = call.string(path, PATH_MAX)?;
        let kind = match flags & AT_SYMLINK_NOFOLLOW {
            0 => OPENS_PROGRAM,
            _ => OPENS_PROGRAM | OPENS_NO_LINK,
        };
        if path.first() == Some(&b'/') || (fd as i32 == AT_FDCWD && !path.is_empty()) {
            return Ok((path, kind));
        }
        if path.is_empty() && flags & AT_EMPTY_PATH == 0 {
            return Err(Errno::ENOENT.into());
        }
        let mut full = alloc::format!("/dev/fd/{}", fd as u32).into_bytes();
        if path.is_empty() {
            return Ok((full, OPENS_PROGRAM));
        }
        full.push(b'/');
        full.extend_from_slice(&path);
        Ok((full, kind))
    });
    match done {
        // The name of a descriptor that is none is not there.
        Err(Stop::Errno(Errno::ENOENT)) if fd as i32 != AT_FDCWD => {
            call.behind_descriptor((fd, FdUse::Named), done)
        }
        done => done,
    }
}

fn execute(
    call: &mut LocalCall<'_>,
    arguments: (u64, u64),
    path: impl FnOnce(&mut LocalCall<'_>) -> Result<(Vec<u8>, u64), Stop>,
) -> Result<u64, Stop> {
    if call.thread().loaded.is_none() {
        let loaded = match path(call) {
            Ok(path) => load(call, path, arguments),
            Err(stop) => Err(stop),
        };
        match loaded {
            Ok(loaded) => call.thread().loaded = Some(Box::new(loaded)),
            Err(stop) => {
                if stop != Stop::Wait {
                    // The next one may be of another file.
                    call.thread().opened.clear();
                }
                return Err(stop);
            }
        }
    }
    commit(call)
}

/// Reads the arguments, opens the files and builds the new memory.
fn load(
    call: &mut LocalCall<'_>,
    (mut path, kind): (Vec<u8>, u64),
    (argv, envp): (u64, u64),
) -> Result<Loaded, Stop> {
    if call.thread().opened.is_empty() {
        // What is wrong with the program is told before what is wrong with its arguments.
        let found = Reader { call, questions: 0 }.open(&path, kind);
        found?;
    }
    let mut room = ARGUMENTS_MAX;
    let mut argv = strings(call, argv, &mut room)?;
    let envp = strings(call, envp, &mut room)?;
    let execfn = path.clone();
    let name = path
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or(&[])
        .to_vec();
    let mut reader = Reader { call, questions: 0 };
    let mut scripts = 0;
    let (opened, first) = loop {
        let (opened, first) = reader.open(&path, OPENS_PROGRAM)?;
        let Some((interpreter, argument)) = script(&first)? else {
            break (opened, first);
        };
        scripts += 1;
        if scripts > SCRIPTS_MAX {
            return Err(Errno::ELOOP.into());
        }
        let rest = argv.split_off(argv.len().min(1));
        argv = core::iter::once(interpreter.clone())
            .chain(argument)
            .chain([path])
            .chain(rest)
            .collect();
        path = interpreter;
    };
    let image = reader.image(&opened, &first)?;
    let interpreter = match image.program.interpreter {
        Some(path) => Some(reader.interpreter(&opened, &first, path)?),
        None => None,
    };
    let line = argv
        .iter()
        .flat_map(|arg| arg.iter().copied().chain([0]))
        .collect();
    let environment = envp
        .iter()
        .flat_map(|variable| variable.iter().copied().chain([0]))
        .take(PROC_BYTES)
        .collect();
    let names = Arguments { argv, envp, execfn };
    let ids = opened.ids;
    let ids = Ids {
        uid: ids.uid,
        euid: ids.euid,
        gid: ids.gid,
        egid: ids.egid,
    };
    let start = start_values(call.limits());
    let program = load_program(&image, interpreter.as_ref(), &names, &ids, &start)?;
    Ok(Loaded {
        program,
        home_file: image.file.home_file,
        interpreter_file: interpreter.map_or(image.file.home_file, |image| image.file.home_file),
        name,
        line,
        environment,
    })
}

/// Asks home for files and parts of them, one question after the other. What was answered before the
/// last wait is remembered.
struct Reader<'a, 'b> {
    call: &'a mut LocalCall<'b>,
    /// How many questions were asked in this run of the call.
    questions: usize,
}

impl Reader<'_, '_> {
    /// Asks the next question: answer buffer 0 is an [`ExecFile`] (for an opening), buffer 1 bytes.
    fn ask(&mut self, request: Request, known: Option<&ExecFile>) -> Result<Opened, Stop> {
        let question = self.questions;
        self.questions += 1;
        if let Some(opened) = self.call.thread().opened.get(question) {
            return Ok(opened.clone());
        }
        let answer = self.call.home(request.number, |_| Ok(request))?;
        if let Err(stop) = result_of(answer.value) {
            self.call.thread().opened.clear();
            return Err(stop);
        }
        let told = answer.buffers.get(0).and_then(ExecFile::from_bytes);
        let file = known.copied().or(told).ok_or(Errno::EIO)?;
        let opened = (file, answer.buffers.get(1).unwrap_or(&[]).to_vec());
        self.call.thread().opened.push(opened.clone());
        Ok(opened)
    }

    /// Opens a script, a program or an interpreter.
    fn open(&mut self, path: &[u8], kind: u64) -> Result<Opened, Stop> {
        let mut request = Request::plain(CALL_EXEC_OPEN, [kind, 0, 0, 0, 0, 0]);
        request.inputs.set(0, path.to_vec());
        request.rooms = [
            ExecFile::BYTES as u32,
            machine::PAGE_SIZE as u32,
            0,
            0,
            0,
            0,
        ];
        self.ask(request, None)
    }

    /// A part of an open file of which `first` is the beginning. Short at the end of the file.
    fn part(&mut self, file: &ExecFile, first: &[u8], part: Part) -> Result<Vec<u8>, Stop> {
        if let Some(bytes) = part.within(first) {
            return Ok(bytes.to_vec());
        }
        let args = [u64::from(file.home_file), part.offset, part.length, 0, 0, 0];
        let mut request = Request::plain(CALL_EXEC_READ, args);
        request.rooms[1] = u32::try_from(part.length).map_err(|_| Errno::ENOEXEC)?;
        Ok(self.ask(request, Some(file))?.1)
    }

    /// Reads the headers of a program.
    fn image(&mut self, file: &ExecFile, first: &[u8]) -> Result<Image, Stop> {
        let header = parse_header(first)?;
        let table = self.part(file, first, header.table)?;
        Ok(Image {
            program: header.parse(&table)?,
            file: ProgramFile {
                hash: file.hash,
                home_file: file.home_file,
                size: file.size,
            },
        })
    }

    /// Opens the interpreter whose path is this part of the program's file. The errors are those of
    /// `load_elf_binary` in Linux.
    fn interpreter(&mut self, file: &ExecFile, first: &[u8], path: Part) -> Result<Image, Stop> {
        let path_bytes = self.part(file, first, path)?;
        if (path_bytes.len() as u64) < path.length {
            return Err(Errno::EIO.into());
        }
        let Some((0, path)) = path_bytes.split_last() else {
            return Err(Errno::ENOEXEC.into());
        };
        let path = path.split(|byte| *byte == 0).next().unwrap_or(path);
        let (opened, first) = self.open(path, OPENS_INTERPRETER)?;
        if first.len() < memory::elf::FILE_HEADER_BYTES {
            return Err(Errno::EIO.into());
        }
        self.image(&opened, &first).map_err(|stop| match stop {
            Stop::Errno(Errno::ENOEXEC) => Errno::ELIBBAD.into(),
            other => other,
        })
    }
}

/// An interpreter and its argument.
type Script = (Vec<u8>, Option<Vec<u8>>);

/// The interpreter of a script and its one argument (execve(2), "Interpreter scripts").
fn script(first: &[u8]) -> Result<Option<Script>, Stop> {
    let Some(line) = first.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let line = &line[..line.len().min(254)];
    let line = line
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or(&[])
        .trim_ascii();
    let mut words = line.splitn(2, |byte| *byte == b' ' || *byte == b'\t');
    let interpreter = words.next().unwrap_or(&[]).to_vec();
    if interpreter.is_empty() {
        return Err(Errno::ENOEXEC.into());
    }
    let argument = words
        .next()
        .map(<[u8]>::trim_ascii)
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec);
    Ok(Some((interpreter, argument)))
}

/// Asks home, and then lets the new program take over.
fn commit(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    let Some(loaded) = call.thread().loaded.take() else {
        return Err(Errno::EIO.into());
    };
    // What home has lent ends with the old program. Other threads of it, which are about to end, may get some again.
    if let Err(stop) = call.surrender(0, machine::USER_END) {
        call.thread().loaded = Some(loaded);
        return Err(stop);
    }
    let answer = call.home(CALL_EXEC_COMMIT, |call| {
        let files = (loaded.home_file, loaded.interpreter_file);
        // A handler of SIGCHLD is gone with its flags; to ignore it stays.
        let disowns = call.body().actions.of(abi::signal::SIGCHLD).handler == HANDLER_IGNORE;
        let args = [files.0.into(), files.1.into(), disowns.into(), 0, 0, 0];
        let mut request = Request::plain(CALL_EXEC_COMMIT, args);
        request.inputs.set(0, loaded.name.clone());
        request
            .inputs
            .set(1, loaded.line[..loaded.line.len().min(PROC_BYTES)].to_vec());
        request.inputs.set(2, loaded.environment.clone());
        request.inputs.set(3, loaded.program.auxiliary.clone());
        request.rooms[3] = (8 * credentials::WORDS) as u32;
        Ok(request)
    });
    let answer = match answer {
        Ok(answer) => answer,
        Err(stop) => {
            call.thread().loaded = Some(loaded);
            return Err(stop);
        }
    };
    call.thread().opened.clear();
    result_of(answer.value)?;
    let ids = answer.buffers.get(3).and_then(credentials::Ids::from_bytes);
    call.thread().ids = ids.ok_or(Errno::EIO)?;
    let former = call.tid;
    call.system.replace_program(former, *loaded);
    // It is the first thread now.
    call.tid = call.pid;
    call.system.traced_program_begins(call.pid, former);
    call.system.place_start(call.pid);
    Ok(0)
}

impl System {
    /// The new program takes over registers and memory, and its thread the process.
    fn replace_program(&mut self, tid: u32, loaded: Loaded) {
        let pid = self.thread(tid).pid;
        self.drop_other_threads(pid, tid);
        self.forget_fpu(tid);
        self.cancel_alarm(tid);
        self.leave_memory(pid);
        if let Some(mut thread) = self.threads.remove(&tid) {
            thread.tid = pid;
            self.threads.insert(pid, thread);
        }
        let body = self.body(pid);
        body.threads = BTreeSet::from([pid]);
        body.missing.clear();
        body.barriers = 0;
        body.actions.reset_for_exec();
        body.common_actions = None;
        body.cpu_timers.timers.clear();
        body.watch_cpu();
        self.start(pid, loaded.program, &loaded.name);
        let thread = self.thread(pid);
        thread.call = None;
        thread.restart = Restart::default();
    }

    /// Begins a program in the only thread of a process without memory.
    fn start(&mut self, pid: u32, loaded: memory::Loaded, name: &[u8]) {
        self.body(pid).space = self.spaces.add(loaded.space);
        let thread = self.thread(pid);
        thread.registers = Registers {
            rip: loaded.entry,
            rsp: loaded.stack_pointer,
            rflags: 0x202,
            ..Registers::default()
        };
        *thread.fpu = FpuState::initial();
        thread.signals.alt_stack = AltStack::default();
        thread.name = padded_name(name);
        thread.clear_tid = 0;
        thread.robust_list = (0, 0);
    }

    /// The first process: `/init` with the console as its standard files.
    ///
    /// # Errors
    /// What execve(2) would say about the program.
    pub fn spawn_init(&mut self, path: &[u8]) -> Result<u32, Errno> {
        let pid = crate::home::INIT;
        let files = crate::files::FileState::standard(&self.fs);
        let inode = self
            .fs
            .open_program(&files, self, pid, &Who::default(), path)?
            .place;
        let mut first = alloc::vec![0; machine::PAGE_SIZE];
        let length = inode.read_at(0, &mut first)?;
        let header = parse_header(&first[..length])?;
        let table = header.table.within(&first[..length]);
        let program = header.parse(table.ok_or(Errno::ENOEXEC)?)?;
        if program.interpreter.is_some() {
            // The first process is part of the boot image, and static.
            return Err(Errno::ENOEXEC);
        }
        let mut home = Home::blank(pid, self.now, &self.wakes);
        home.record = migrate::HomeRecord::new(wire::Pid(pid), self.me, self.boot);
        home.files = Some(files);
        let file = ProgramFile {
            hash: inode.content_hash().unwrap_or([0; 32]),
            home_file: home.mapped.add(&inode, path).ok_or(Errno::ENOMEM)?,
            size: inode.size(),
        };
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(&[]);
        home.name = padded_name(name);
        if let Some(first) = home.threads.get_mut(&pid) {
            first.name = home.name;
        }
        home.command_line = path.iter().copied().chain([0]).collect();
        home.program = path.to_vec();
        let names = Arguments {
            argv: alloc::vec![path.to_vec()],
            envp: alloc::vec![
                b"PATH=/bin:/usr/bin:/sbin:/usr/sbin:/probes".to_vec(),
                b"HOME=/".to_vec(),
                b"TERM=vt100".to_vec()
            ],
            execfn: path.to_vec(),
        };
        let image = Image { program, file };
        let limits = memory::SpaceLimits::default();
        let loaded = load_program(&image, None, &names, &Ids::default(), &start_values(limits))?;
        let mut body = Body::new(pid, self.me);
        body.wall_offset_ns = self.settings.boot_unix_ns;
        self.homes.insert(pid, home);
        self.add_process(body, Thread::new(pid, pid));
        self.start(pid, loaded, name);
        self.fs.console().set_session(pid, pid);
        self.last_serial = self.last_serial.max(1);
        self.make_ready(pid);
        Ok(pid)
    }
}

/// Chance and CPU features for a new program.
fn start_values(limits: memory::SpaceLimits) -> StartValues {
    let features = machine::cpu_features();
    let mut random = [0; 16];
    random[..8].copy_from_slice(&machine::random_u64().to_le_bytes());
    random[8..].copy_from_slice(&machine::random_u64().to_le_bytes());
    StartValues {
        random,
        seed: machine::random_u64(),
        hwcap: u64::from(features.leaf1_edx),
        hwcap2: 0,
        minimum_signal_stack: crate::signal_frame::frame_bytes() as u64,
        limits,
    }
}

/// A NULL-terminated array of strings in user memory; a null array is empty.
fn strings(call: &mut LocalCall<'_>, array: u64, room: &mut usize) -> Result<Vec<Vec<u8>>, Stop> {
    let mut strings = Vec::new();
    if array == 0 {
        return Ok(strings);
    }
    loop {
        let pointer = call.read_u64(array.wrapping_add(strings.len() as u64 * 8))?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string = match call.string(pointer, STRING_MAX) {
            Err(Stop::Errno(Errno::ENAMETOOLONG)) => return Err(Errno::E2BIG.into()),
            other => other?,
        };
        let cost = string.len() + 9;
        if cost > *room || strings.len() >= STRINGS_MAX {
            return Err(Errno::E2BIG.into());
        }
        *room -= cost;
        strings.push(string);
    }
}
