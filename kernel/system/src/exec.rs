//! execve(2): a new program in an old process.
//!
//! Law: until home has agreed, nothing of the old program is lost; then the new one replaces it at
//! once. Home opens the file and sends its first page; segments are read lazily, by content from
//! this node's boot image where that has the file, else from home.

use crate::body::{Body, Restart, Signals, padded_name};
use crate::calls::home::ExecFile;
use crate::dispatch::{CALL_EXEC_COMMIT, CALL_EXEC_OPEN, LocalCall, PATH_MAX, result_of};
use crate::home::{Home, Request};
use crate::memory::elf::parse_program;
use crate::memory::{self, Arguments, Ids, ProgramFile, StartValues, load_program};
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::boxed::Box;
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
    name: Vec<u8>,
    line: Vec<u8>,
}

/// A file that was opened, and its first page. Kept in the body between the questions to home, and
/// opened anew after a move.
pub type Opened = (ExecFile, Vec<u8>);

/// execve(2).
pub(crate) fn execve(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    if call.body().loaded.is_none() {
        match load(call) {
            Ok(loaded) => call.body().loaded = Some(Box::new(loaded)),
            Err(stop) => {
                if stop != Stop::Wait {
                    // The next one may be of another file.
                    call.body().opened.clear();
                }
                return Err(stop);
            }
        }
    }
    commit(call)
}

/// Reads the arguments, opens the file and builds the new memory.
fn load(call: &mut LocalCall<'_>) -> Result<Loaded, Stop> {
    let [path, argv, envp, ..] = call.args;
    let mut path = call.string(path, PATH_MAX)?;
    let mut room = ARGUMENTS_MAX;
    let mut argv = strings(call, argv, &mut room)?;
    let envp = strings(call, envp, &mut room)?;
    let name = path
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or(&[])
        .to_vec();
    // The depth of scripts passed so far is the progress of the call.
    let mut scripts = 0;
    let (opened, first) = loop {
        let (opened, first) = open(call, &path, scripts)?;
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
    let program = parse_program(&first)?;
    let file = ProgramFile {
        hash: opened.hash,
        home_file: opened.home_file,
        size: opened.size,
    };
    let line = argv
        .iter()
        .flat_map(|arg| arg.iter().copied().chain([0]))
        .collect();
    let names = Arguments {
        argv,
        envp,
        execfn: path.clone(),
    };
    let ids = call.body().ids;
    let ids = Ids {
        uid: ids.uid,
        euid: ids.euid,
        gid: ids.gid,
        egid: ids.egid,
    };
    let program = load_program(&program, &file, &names, &ids, &start_values())?;
    Ok(Loaded {
        program,
        home_file: file.home_file,
        name,
        line,
    })
}

/// Opens one file of the chain of scripts. What was opened before the last wait is remembered.
fn open(call: &mut LocalCall<'_>, path: &[u8], depth: usize) -> Result<Opened, Stop> {
    if let Some(opened) = call.body().opened.get(depth) {
        return Ok(opened.clone());
    }
    let answer = call.home(|_| {
        let mut request = Request::plain(CALL_EXEC_OPEN, [0; 6]);
        request.inputs.set(0, path.to_vec());
        request.rooms = [64, machine::PAGE_SIZE as u32, 0, 0, 0, 0];
        Ok(request)
    })?;
    if let Err(stop) = result_of(answer.value) {
        call.body().opened.clear();
        return Err(stop);
    }
    let file = answer
        .buffers
        .get(0)
        .and_then(ExecFile::from_bytes)
        .ok_or(Errno::EIO)?;
    let first = answer.buffers.get(1).unwrap_or(&[]).to_vec();
    call.body().opened.push((file, first.clone()));
    Ok((file, first))
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
    let Some(loaded) = call.body().loaded.take() else {
        return Err(Errno::EIO.into());
    };
    let answer = call.home(|_| {
        let args = [u64::from(loaded.home_file), 0, 0, 0, 0, 0];
        let mut request = Request::plain(CALL_EXEC_COMMIT, args);
        request.inputs.set(0, loaded.name.clone());
        request
            .inputs
            .set(1, loaded.line[..loaded.line.len().min(PATH_MAX)].to_vec());
        Ok(request)
    });
    let answer = match answer {
        Ok(answer) => answer,
        Err(stop) => {
            call.body().loaded = Some(loaded);
            return Err(stop);
        }
    };
    call.body().opened.clear();
    result_of(answer.value)?;
    call.system.replace_program(call.pid, *loaded);
    Ok(0)
}

impl System {
    /// The new program takes over registers and memory.
    fn replace_program(&mut self, pid: u32, loaded: Loaded) {
        self.forget_fpu(pid);
        self.leave_memory(pid);
        let body = self.body(pid);
        body.start(loaded.program, &loaded.name);
        body.call = None;
        body.restart = Restart::default();
    }

    /// The first process: `/init` with the console as its standard files.
    ///
    /// # Errors
    /// What execve(2) would say about the program.
    pub fn spawn_init(&mut self, path: &[u8]) -> Result<u32, Errno> {
        let pid = wire::Pid::new(self.me, 1).0;
        let files = crate::files::FileState::standard(&self.fs);
        let inode = self.fs.open_program(&files, self, pid, path)?.inode;
        let mut first = alloc::vec![0; machine::PAGE_SIZE];
        let length = inode.read_at(0, &mut first)?;
        let program = parse_program(&first[..length])?;
        let mut home = Home::blank(pid, self.now, &self.wakes);
        home.record = migrate::HomeRecord::new(wire::Pid(pid), self.me, self.boot);
        home.files = Some(files);
        let file = ProgramFile {
            hash: inode.content_hash().unwrap_or([0; 32]),
            home_file: home.mapped.add(&inode).ok_or(Errno::ENOMEM)?,
            size: inode.size(),
        };
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(&[]);
        home.name = padded_name(name);
        home.command_line = path.iter().copied().chain([0]).collect();
        home.program = path.to_vec();
        let names = Arguments {
            argv: alloc::vec![path.to_vec()],
            envp: alloc::vec![
                b"PATH=/bin:/probes".to_vec(),
                b"HOME=/".to_vec(),
                b"TERM=vt100".to_vec()
            ],
            execfn: path.to_vec(),
        };
        let loaded = load_program(&program, &file, &names, &Ids::default(), &start_values())?;
        let mut body = Body::new(pid, self.me);
        body.wall_offset_ns = self.settings.boot_unix_ns;
        body.start(loaded, name);
        self.homes.insert(pid, home);
        self.bodies.insert(pid, Box::new(body));
        self.fs.console().set_session(pid);
        self.fs.console().set_foreground(pid);
        self.last_serial = self.last_serial.max(1);
        self.make_ready(pid);
        Ok(pid)
    }
}

impl Body {
    /// Begins a program.
    fn start(&mut self, loaded: memory::Loaded, name: &[u8]) {
        self.registers = Registers {
            rip: loaded.entry,
            rsp: loaded.stack_pointer,
            rflags: 0x202,
            ..Registers::default()
        };
        self.space = Some(loaded.space);
        *self.fpu = FpuState::initial();
        self.signals = Signals {
            mask: self.signals.mask,
            ..reset(&self.signals)
        };
        self.name = padded_name(name);
        self.clear_tid = 0;
        self.robust_list = (0, 0);
        self.missing.clear();
    }
}

fn reset(signals: &Signals) -> Signals {
    let mut signals = signals.clone();
    signals.reset_for_exec();
    signals
}

/// Chance and CPU features for a new program.
fn start_values() -> StartValues {
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
