//! Runs a syntax tree.
//!
//! Law: whatever runs in a process of its own leaves the shell's state alone; redirections of
//! what runs in the shell itself are undone on every way out. Every failure says where.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rt::files::{Stream, redirect, write_all};
use rt::process::{Ended, start, wait_for};

use crate::syntax::{Command, Item, Kind, Link, List, Pipeline, Place, Redirect, Sense, Word};

/// Whether programs see a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Export {
    Shell,
    Programs,
}

#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) value: Vec<u8>,
    pub(crate) export: Export,
}

/// Leaves the normal order of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jump {
    /// `exit`, or `set -e` and a failure.
    Exit(i32),
    /// An error that ends a script, but not an interactive shell.
    Abort(i32),
    /// `break`, out of so many loops.
    Break(u32),
    /// `continue` of the loop so many levels out.
    Continue(u32),
}

/// Whether a failing command ends a shell that runs under `set -e`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Yes.
    Checked,
    /// No: its status is asked for, as in the condition of `if`.
    Asked,
}

/// Where a simple command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    /// A program gets a new process.
    New,
    /// This process has nothing else to do and becomes the program.
    This,
}

/// The state of a shell.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) variables: BTreeMap<String, Variable>,
    /// `$0`.
    pub(crate) name: Vec<u8>,
    /// `$1` and on.
    pub(crate) arguments: Vec<Vec<u8>>,
    /// `$?`.
    pub(crate) status: i32,
    /// `$$`.
    pub(crate) pid: u32,
    /// `$!`.
    pub(crate) last_background: Option<i32>,
    /// Background processes not yet waited for, with their status if it is known.
    pub(crate) background: Vec<(i32, Option<i32>)>,
    /// `set -e`.
    pub(crate) exit_on_error: bool,
    /// A person types the commands.
    pub(crate) interactive: bool,
    /// A command substitution ran since this was last cleared.
    pub(crate) substituted: bool,
    /// Depth of loops around the command that runs.
    pub(crate) loops: u32,
}

/// Most background processes whose status is remembered.
const REMEMBERED: usize = 1024;

impl Shell {
    pub(crate) fn new(name: Vec<u8>, arguments: Vec<Vec<u8>>) -> Shell {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let value = value.as_bytes().to_vec();
            Some((
                name,
                Variable {
                    value,
                    export: Export::Programs,
                },
            ))
        });
        let mut variables: BTreeMap<_, _> = variables.collect();
        variables
            .entry("PATH".to_owned())
            .or_insert_with(|| Variable {
                value: b"/bin:/probes".to_vec(),
                export: Export::Programs,
            });
        Shell {
            variables,
            name,
            arguments,
            status: 0,
            pid: std::process::id(),
            last_background: None,
            background: Vec::new(),
            exit_on_error: false,
            interactive: false,
            substituted: false,
            loops: 0,
        }
    }

    /// Says what went wrong and where; gives `status` back.
    pub(crate) fn complain(&self, line: u32, problem: &str, status: i32) -> i32 {
        let name = String::from_utf8_lossy(&self.name);
        let text = format!("{name}: line {line}: {problem}\n");
        // There is no other place to complain to.
        let _unheard = write_all(Stream::Error, text.as_bytes());
        status
    }

    /// Says what went wrong and gives the jump that ends the script.
    pub(crate) fn abort(&self, line: u32, problem: &str) -> Jump {
        Jump::Abort(self.complain(line, problem, 2))
    }

    /// The value of a variable or special parameter; empty if it is not set.
    pub(crate) fn value(&self, name: &str) -> Vec<u8> {
        if let Some(variable) = self.variables.get(name) {
            return variable.value.clone();
        }
        if let Ok(index) = name.parse::<usize>() {
            return match index.checked_sub(1) {
                None => self.name.clone(),
                Some(index) => self.arguments.get(index).cloned().unwrap_or_default(),
            };
        }
        match name {
            "?" => self.status.to_string().into_bytes(),
            "$" => self.pid.to_string().into_bytes(),
            "!" => self
                .last_background
                .map(|pid| pid.to_string())
                .unwrap_or_default()
                .into(),
            "#" => self.arguments.len().to_string().into_bytes(),
            "@" | "*" => self.arguments.join(&b' '),
            "-" if self.exit_on_error => b"e".to_vec(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn assign(&mut self, name: &str, value: Vec<u8>) {
        let new = Variable {
            value: Vec::new(),
            export: Export::Shell,
        };
        self.variables.entry(name.to_owned()).or_insert(new).value = value;
    }

    /// Runs in a new process: `work` with a shell that is nobody's parent; gives the exit status.
    pub(crate) fn as_child(&mut self, work: impl FnOnce(&mut Shell) -> Result<i32, Jump>) -> i32 {
        self.background.clear();
        self.interactive = false;
        self.loops = 0;
        match work(self) {
            Ok(status) | Err(Jump::Exit(status) | Jump::Abort(status)) => status,
            Err(Jump::Break(_) | Jump::Continue(_)) => 0,
        }
    }

    /// Runs commands one after the other; gives the status of the last.
    pub(crate) fn list(&mut self, list: &List, guard: Guard) -> Result<i32, Jump> {
        let mut status = 0;
        for item in list {
            status = match item.place {
                Place::Foreground => self.and_or(item, guard)?,
                Place::Background => self.in_background(item)?,
            };
            self.status = status;
        }
        Ok(status)
    }

    fn and_or(&mut self, item: &Item, guard: Guard) -> Result<i32, Jump> {
        let guard_at = |index| {
            if index == item.rest.len() {
                guard
            } else {
                Guard::Asked
            }
        };
        let mut status = self.pipeline(&item.first, guard_at(0))?;
        for (index, (link, pipeline)) in item.rest.iter().enumerate() {
            self.status = status;
            if (status == 0) == (*link == Link::And) {
                status = self.pipeline(pipeline, guard_at(index + 1))?;
            }
        }
        Ok(status)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, guard: Guard) -> Result<i32, Jump> {
        let guard = if pipeline.sense == Sense::Negated {
            Guard::Asked
        } else {
            guard
        };
        let (status, own) = match pipeline.commands.as_slice() {
            [command] => {
                let own = matches!(command.kind, Kind::Simple { .. } | Kind::Subshell(_));
                (self.command(command, guard, Process::New)?, own)
            }
            commands => (self.pipe(commands)?, true),
        };
        if pipeline.sense == Sense::Negated {
            return Ok(i32::from(status == 0));
        }
        // What is made of other commands has been checked while they ran.
        if status != 0 && own && guard == Guard::Checked && self.exit_on_error {
            return Err(Jump::Exit(status));
        }
        Ok(status)
    }

    fn pipe(&mut self, commands: &[Command]) -> Result<i32, Jump> {
        let line = commands.first().map_or(0, |command| command.line);
        let children = self
            .start_pipe(commands, Place::Foreground)
            .map_err(|error| self.abort(line, &format!("cannot start a pipeline: {error}")))?;
        let mut status = 0;
        for child in children {
            status = self.finish(child, line);
        }
        Ok(status)
    }

    /// Starts one process per command, each reading what the one before it writes.
    fn start_pipe(&mut self, commands: &[Command], place: Place) -> io::Result<Vec<i32>> {
        let mut children = Vec::new();
        let mut input: Option<OwnedFd> = match place {
            Place::Background if !self.interactive => OpenOptions::new()
                .read(true)
                .open("/dev/null")
                .ok()
                .map(OwnedFd::from),
            _ => None,
        };
        for (index, command) in commands.iter().enumerate() {
            let (mut reader, mut writer) = if index + 1 < commands.len() {
                let (reader, writer) = io::pipe()?;
                (Some(OwnedFd::from(reader)), Some(OwnedFd::from(writer)))
            } else {
                (None, None)
            };
            let child = start(|| {
                if place == Place::Foreground {
                    self.in_front();
                }
                for (end, stream) in [(&input, Stream::Input), (&writer, Stream::Output)] {
                    if let Some(end) = end
                        && let Err(error) = redirect(end.as_fd(), stream)
                    {
                        return self.complain(command.line, &format!("pipe: {error}"), 2);
                    }
                }
                // Whoever writes must see the end of its reader, so nobody else keeps one.
                drop((input.take(), reader.take(), writer.take()));
                self.as_child(|shell| shell.command(command, Guard::Checked, Process::This))
            })?;
            children.push(child);
            input = reader;
        }
        Ok(children)
    }

    /// What only a child in front does: Ctrl-C, which an interactive shell and its background
    /// processes ignore, is for it.
    fn in_front(&self) {
        if self.interactive {
            rt::process::default_action(rt::SIGINT);
        }
    }

    fn in_background(&mut self, item: &Item) -> Result<i32, Jump> {
        let line = item
            .first
            .commands
            .first()
            .map_or(0, |command| command.line);
        let plain = item.rest.is_empty() && item.first.sense == Sense::Plain;
        let started = if plain {
            self.start_pipe(&item.first.commands, Place::Background)
        } else {
            start(|| self.as_child(|shell| shell.and_or(item, Guard::Checked)))
                .map(|child| vec![child])
        };
        let children = started.map_err(|error| {
            self.abort(line, &format!("cannot start a background process: {error}"))
        })?;
        self.reap();
        if let Some(&last) = children.last() {
            self.last_background = Some(last);
            if self.interactive {
                // Only a courtesy.
                let _unheard = write_all(Stream::Error, format!("{last}\n").as_bytes());
            }
        }
        self.background
            .extend(children.into_iter().map(|child| (child, None)));
        Ok(0)
    }

    /// Notes which background processes have ended.
    pub(crate) fn reap(&mut self) {
        use rt::process::{Patience, Whom, wait};
        for (pid, status) in self
            .background
            .iter_mut()
            .filter(|(_, status)| status.is_none())
        {
            if let Ok(Some((_, ended))) = wait(Whom::Child(*pid), Patience::Look) {
                *status = Some(ended.shell_status());
            }
        }
        while self.background.len() > REMEMBERED {
            let Some(oldest) = self
                .background
                .iter()
                .position(|(_, status)| status.is_some())
            else {
                return;
            };
            self.background.remove(oldest);
        }
    }

    /// Waits for a foreground process; says so if a signal killed it.
    fn finish(&self, child: i32, line: u32) -> i32 {
        match wait_for(child) {
            Ok(ended) => {
                if let Ended::Signalled(signal) = ended
                    && signal != rt::SIGPIPE
                    && signal != rt::SIGINT
                {
                    self.complain(
                        line,
                        &format!("process {child}: killed by signal {signal}"),
                        0,
                    );
                }
                ended.shell_status()
            }
            Err(error) => self.complain(line, &format!("lost process {child}: {error}"), 127),
        }
    }

    fn command(&mut self, command: &Command, guard: Guard, process: Process) -> Result<i32, Jump> {
        if let Kind::Simple { assignments, words } = &command.kind {
            return self.simple(command, assignments, words, process);
        }
        self.redirected(&command.redirects, command.line, |shell| {
            match &command.kind {
                Kind::Simple { .. } => Ok(0),
                Kind::Group(list) => shell.list(list, guard),
                Kind::Subshell(list) if process == Process::This => shell.list(list, guard),
                Kind::Subshell(list) => {
                    match start(|| {
                        shell.in_front();
                        shell.as_child(|shell| shell.list(list, guard))
                    }) {
                        Ok(child) => Ok(shell.finish(child, command.line)),
                        Err(error) => {
                            Err(shell.abort(command.line, &format!("cannot start `( )`: {error}")))
                        }
                    }
                }
                Kind::If { arms, otherwise } => {
                    for (condition, body) in arms {
                        if shell.list(condition, Guard::Asked)? == 0 {
                            return shell.list(body, guard);
                        }
                    }
                    otherwise
                        .as_ref()
                        .map_or(Ok(0), |body| shell.list(body, guard))
                }
                Kind::Loop {
                    sense,
                    condition,
                    body,
                } => {
                    let go_on = *sense == Sense::Plain;
                    shell.looped(|shell| {
                        let holds = shell.list(condition, Guard::Asked)? == 0;
                        if holds == go_on {
                            shell.list(body, guard).map(Some)
                        } else {
                            Ok(None)
                        }
                    })
                }
                Kind::For { name, words, body } => {
                    let values = match words {
                        Some(words) => shell.expand(words, command.line)?,
                        None => shell.arguments.clone(),
                    };
                    let mut values = values.into_iter();
                    shell.looped(|shell| match values.next() {
                        Some(value) => {
                            shell.assign(name, value);
                            shell.list(body, guard).map(Some)
                        }
                        None => Ok(None),
                    })
                }
            }
        })
    }

    /// Repeats `round` until it gives `None`, obeying `break` and `continue`.
    fn looped(
        &mut self,
        mut round: impl FnMut(&mut Shell) -> Result<Option<i32>, Jump>,
    ) -> Result<i32, Jump> {
        let mut status = 0;
        self.loops += 1;
        let result = loop {
            match round(self) {
                Ok(Some(last)) => status = last,
                Ok(None) | Err(Jump::Break(0 | 1)) => break Ok(status),
                Err(Jump::Continue(0 | 1)) => {}
                Err(Jump::Break(levels)) => break Err(Jump::Break(levels - 1)),
                Err(Jump::Continue(levels)) => break Err(Jump::Continue(levels - 1)),
                Err(jump) => break Err(jump),
            }
        };
        self.loops -= 1;
        result
    }

    fn simple(
        &mut self,
        command: &Command,
        assignments: &[(String, Word)],
        words: &[Word],
        process: Process,
    ) -> Result<i32, Jump> {
        let line = command.line;
        self.substituted = false;
        let words = self.expand(words, line)?;
        let mut values = Vec::with_capacity(assignments.len());
        for (name, word) in assignments {
            values.push((name.as_str(), self.expand_one(word, line)?));
        }
        let Some(program) = words.first() else {
            for (name, value) in values {
                self.assign(name, value);
            }
            let status = if self.substituted { self.status } else { 0 };
            return self.redirected(&command.redirects, line, |_| Ok(status));
        };
        if program == b"exec" {
            return self.exec_builtin(command, &words[1..], &values);
        }
        if let Some(builtin) = crate::builtins::find(program) {
            return self.redirected(&command.redirects, line, |shell| {
                let before: Vec<_> = values
                    .into_iter()
                    .map(|(name, value)| {
                        let old = shell.variables.get(name).cloned();
                        shell.assign(name, value);
                        (name, old)
                    })
                    .collect();
                let result = builtin(shell, &words, line);
                for (name, old) in before {
                    match old {
                        Some(old) => shell.variables.insert(name.to_owned(), old),
                        None => shell.variables.remove(name),
                    };
                }
                result
            });
        }
        if process == Process::This {
            return self.become_program(&command.redirects, line, &words, &values);
        }
        let child = start(|| {
            self.in_front();
            self.as_child(|shell| shell.become_program(&command.redirects, line, &words, &values))
        });
        match child {
            Ok(child) => Ok(self.finish(child, line)),
            Err(error) => {
                let program = String::from_utf8_lossy(program).into_owned();
                Ok(self.complain(line, &format!("{program}: cannot start: {error}"), 126))
            }
        }
    }

    /// `exec`: with a program, becomes it; without, keeps the redirections.
    fn exec_builtin(
        &mut self,
        command: &Command,
        words: &[Vec<u8>],
        values: &[(&str, Vec<u8>)],
    ) -> Result<i32, Jump> {
        if words.is_empty() {
            return self
                .redirect_all(&command.redirects, command.line, None)?
                .map_or_else(|status| Err(Jump::Abort(status)), |()| Ok(0));
        }
        let status = self.become_program(&command.redirects, command.line, words, values)?;
        Err(Jump::Exit(status))
    }

    /// Replaces this process by a program; gives the status if that fails.
    fn become_program(
        &mut self,
        redirects: &[Redirect],
        line: u32,
        words: &[Vec<u8>],
        values: &[(&str, Vec<u8>)],
    ) -> Result<i32, Jump> {
        if let Err(status) = self.redirect_all(redirects, line, None)? {
            return Ok(status);
        }
        for (name, value) in values {
            self.assign(name, value.clone());
            if let Some(variable) = self.variables.get_mut(*name) {
                variable.export = Export::Programs;
            }
        }
        crate::program::replace(self, words, line)
    }
}
