//! A cluster of nodes on one switch, from its first boot to its end.
//!
//! Law: it ends when node 1 does, when the watchdog barks or when the user quits, and then every
//! node has ended. Node 1's console is what the user sees; every console is logged.

mod conduct;

use crate::disk::Disk;
use crate::error::Error;
use crate::node::{Event, Node, NodeConfig, PowerOff, log_path, power_off};
use crate::places::RunDirectory;
use crate::{key, places, say};
use qemu_tests::{Action, Disks, Ended, Key, Outcome, Spec, Trigger, Turn};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use switch::Service;

/// Lines of each console kept for the report of the watchdog.
const TAIL_LINES: usize = 15;
/// Bytes of node 1's console kept for judging; more than any test writes.
const CONSOLE_BYTES_MAX: usize = 64 << 20;
/// How the line ends by which node 1 says that it is up.
const UP: &str = "node 1 ready";
/// How long the consoles of ended nodes may take to be read to their end.
const DRAIN: Duration = Duration::from_secs(2);
/// Room on a disk that is made: more than a journal uses. The file takes what is written.
const DISK_BYTES: u64 = 16 << 20;

/// The files every node boots from.
#[derive(Debug, Clone)]
pub(crate) struct Boot {
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) archive: PathBuf,
}

/// A running cluster.
pub(crate) struct Cluster<'a> {
    spec: &'a Spec,
    boot: &'a Boot,
    run: &'a RunDirectory,
    service: Service,
    nodes: Vec<Slot>,
    triggers: Vec<Trigger>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    console: Vec<u8>,
    /// Where the line begins in `console` that is not complete yet.
    line_start: usize,
    /// What is still to be typed, and how far the console was looked at for it.
    dialogue: VecDeque<Turn>,
    heard: usize,
    /// Rows and columns of the user's terminal.
    window: Option<[u16; 2]>,
    died: Vec<String>,
}

/// One place for a node.
#[derive(Default)]
struct Slot {
    node: Option<Node>,
    tail: Tail,
    /// Its console was seen to end.
    closed: bool,
    /// How often it was started.
    starts: u32,
}

impl<'a> Cluster<'a> {
    /// Starts the switch and every node that is not to come later.
    pub(crate) fn start(
        spec: &'a Spec,
        boot: &'a Boot,
        run: &'a RunDirectory,
    ) -> Result<Cluster<'a>, Error> {
        let service = Service::start(spec.nodes, spec.seed, spec.pcap.as_deref())?;
        service.set_all_faults(spec.faults);
        for &(from, to) in &spec.cuts {
            service.change(move |switch| switch.cut(from - 1, to - 1));
        }
        let (sender, events) = channel();
        let mut cluster = Cluster {
            spec,
            boot,
            run,
            service,
            nodes: (0..spec.nodes).map(|_| Slot::default()).collect(),
            triggers: spec.triggers.clone(),
            sender,
            events,
            console: Vec::new(),
            line_start: 0,
            dialogue: spec.dialogue.iter().cloned().collect(),
            heard: 0,
            window: spec.window,
            died: Vec::new(),
        };
        for number in 1..=spec.nodes {
            if !spec.later.contains(&number) {
                cluster.start_node(number)?;
            }
        }
        Ok(cluster)
    }

    /// Where threads (a terminal) report what the user types.
    pub(crate) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Lets the cluster run to its end. `show` gets what node 1 writes; `deadline` is the watchdog's.
    pub(crate) fn run_to_end(
        mut self,
        deadline: Option<Instant>,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<Outcome, Error> {
        let ended = loop {
            let event = match deadline {
                None => self
                    .events
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break Ended::TimedOut;
                    }
                    self.events.recv_timeout(left)
                }
            };
            match event {
                Ok(Event::Output { node, bytes }) => self.output(node, &bytes, show)?,
                Ok(Event::Closed { node: 1, .. }) => break self.node_1_ended(),
                Ok(Event::Closed { node, start }) => {
                    self.other_ended(node, start);
                }
                Ok(Event::Typed(bytes)) => {
                    if let Some(node) = &mut self.nodes[0].node {
                        node.type_in(&bytes);
                    }
                }
                Ok(Event::Window(window)) => {
                    self.window = Some(window);
                    self.tell_window();
                }
                Ok(Event::Quit) => break Ended::Quit,
                Err(RecvTimeoutError::Timeout) => break Ended::TimedOut,
                Err(RecvTimeoutError::Disconnected) => {
                    break Ended::Crashed("the consoles are gone".to_owned());
                }
            }
        };
        if ended == Ended::TimedOut {
            self.tell_last_lines();
        }
        Ok(self.finish(ended))
    }

    fn start_node(&mut self, number: usize) -> Result<(), Error> {
        if self.nodes[number - 1].node.is_some() {
            return Ok(());
        }
        let disk = self.disk(number)?;
        let key = self.key(number)?;
        let slot = &mut self.nodes[number - 1];
        let cable = switch::link_pair().map_err(|source| Error::System {
            what: "making a cable",
            source,
        })?;
        let mtu = self.spec.mtu(number);
        self.service
            .change(move |switch| switch.set_mtu(number - 1, mtu));
        self.service.attach(number - 1, cable.switch_end);
        let config = NodeConfig {
            qemu: self.boot.qemu.clone(),
            kernel: self.boot.kernel.clone(),
            archive: self.boot.archive.clone(),
            memory_mib: self.spec.memory_mib,
            smp: self.spec.smp,
            net: self.spec.net,
            mtu,
            disk,
            key,
            command_line: command_line(self.spec, number),
        };
        slot.starts += 1;
        let starts = slot.starts;
        let node = Node::start(
            number,
            starts,
            &config,
            cable.node_end,
            self.run,
            self.sender.clone(),
        )?;
        slot.node = Some(node);
        slot.closed = false;
        Ok(())
    }

    /// The file with the keys of a node. It is made anew for each boot, and goes with the cluster.
    fn key(&self, number: usize) -> Result<Option<PathBuf>, Error> {
        let made = |name| {
            let path = self.run.file(name);
            if !path.exists() {
                key::write(&path)?;
            }
            Ok::<_, Error>(path)
        };
        let own = match &self.spec.key {
            _ if self.spec.strangers.contains(&number) => made("stranger.key")?,
            Key::None => return Ok(None),
            Key::In(file) => file.clone(),
            Key::Fresh => made("cluster.key")?,
        };
        let folder = self.run.file("");
        let (owner, nodes) = (key::read(&own)?, self.spec.nodes);
        key::node_file(&owner, number, nodes, self.spec.suite, &folder).map(Some)
    }

    /// The file that is the disk of a node, made if it is missing: without anything in it, and without taking room.
    fn disk(&self, number: usize) -> Result<Option<Disk>, Error> {
        let name = format!("node-{number}.disk");
        let path = match &self.spec.disks {
            Disks::None => return Ok(None),
            Disks::Fresh | Disks::ReadOnly | Disks::Breakable => self.run.file(&name),
            Disks::In(directory) => {
                std::fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
                directory.join(name)
            }
        };
        let file = std::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(Error::file("create", &path))?;
        let bytes = file.metadata().map_err(Error::file("read", &path))?.len();
        if bytes == 0 {
            let made = file.set_len(DISK_BYTES);
            made.map_err(Error::file("make room in", &path))?;
        }
        Ok(Some(Disk {
            breaks: (self.spec.disks == Disks::Breakable).then(|| self.broken(number)),
            read_only: self.spec.disks == Disks::ReadOnly,
            file: path,
        }))
    }

    /// The file that is there while the disk of a node is broken.
    fn broken(&self, number: usize) -> PathBuf {
        self.run.file(&format!("node-{number}.broken"))
    }

    fn output(
        &mut self,
        node: usize,
        bytes: &[u8],
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        self.nodes[node - 1].tail.push(bytes);
        if node != 1 {
            return Ok(());
        }
        show(bytes);
        let room = CONSOLE_BYTES_MAX.saturating_sub(self.console.len());
        self.console
            .extend(bytes.iter().filter(|byte| **byte != b'\r').take(room));
        while let Some(length) = self.console[self.line_start..]
            .iter()
            .position(|b| *b == b'\n')
        {
            let end = self.line_start + length;
            let line = String::from_utf8_lossy(&self.console[self.line_start..end]).into_owned();
            self.line_start = end + 1;
            if line.ends_with(UP) {
                self.tell_window();
            }
            self.pull_triggers(&line)?;
        }
        self.converse();
        Ok(())
    }

    /// What was sent before the node was up is lost: it is told again then.
    fn tell_window(&mut self) {
        if let (Some(window), Some(node)) = (self.window, &mut self.nodes[0].node) {
            node.tell_window(window);
        }
    }

    /// Types what is due: the next turn, when what it waits for has come since the one before.
    fn converse(&mut self) {
        while let Some(turn) = self.dialogue.front() {
            let expected = turn.expects.as_bytes();
            let news = &self.console[self.heard..];
            let found = news.windows(expected.len()).position(|at| at == expected);
            let Some(at) = found else {
                // Half of what is expected may be there already.
                self.heard = self
                    .console
                    .len()
                    .saturating_sub(expected.len())
                    .max(self.heard);
                return;
            };
            self.heard += at + expected.len();
            let Some(turn) = self.dialogue.pop_front() else {
                return;
            };
            if let Some(window) = turn.resizes {
                self.window = Some(window);
                self.tell_window();
            }
            if let Some(node) = &mut self.nodes[0].node {
                node.type_in(turn.types.as_bytes());
            }
        }
    }

    fn pull_triggers(&mut self, line: &str) -> Result<(), Error> {
        while let Some(at) = self
            .triggers
            .iter()
            .position(|trigger| trigger.line == line)
        {
            let action = self.triggers.remove(at).action;
            self.act(action)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Error> {
        match action {
            Action::Kill(number) => {
                if let Some(slot) = self.nodes.get_mut(number.wrapping_sub(1)) {
                    slot.node = None;
                }
            }
            Action::Start(number) if (1..=self.spec.nodes).contains(&number) => {
                self.start_node(number)?;
            }
            Action::Start(_) => {}
            Action::Cut(from, to) => self.service.change(move |switch| {
                switch.cut(from.wrapping_sub(1), to.wrapping_sub(1));
            }),
            Action::Heal => self.service.change(|switch| switch.heal()),
            Action::Faults(faults) => self.service.set_all_faults(faults),
            Action::Bombard(number, length) => {
                self.service
                    .bombard(number.wrapping_sub(1), length, self.spec.seed);
            }
            Action::BreakDisk(number) => {
                let mark = self.broken(number);
                std::fs::write(&mark, "").map_err(Error::file("create", &mark))?;
            }
            Action::MendDisk(number) => {
                let mark = self.broken(number);
                std::fs::remove_file(&mark).map_err(Error::file("remove", &mark))?;
            }
            Action::Say(text) => say::step(text),
            Action::Pause(_) | Action::Continue(_) | Action::Type(..) => self.act_on_node(action),
        }
        Ok(())
    }

    fn node_1_ended(&mut self) -> Ended {
        let slot = &mut self.nodes[0];
        slot.closed = true;
        let Some(node) = &mut slot.node else {
            return Ended::Crashed("killed by the test".to_owned());
        };
        let status = node.wait();
        let console = String::from_utf8_lossy(&self.console);
        match power_off(status, &console, &node.qemu_said()) {
            PowerOff::Status(status) => Ended::Status(status),
            PowerOff::Crash(why) => Ended::Crashed(why),
        }
    }

    /// A node other than 1 has ended: on its own, which this returns, or because a trigger has killed it.
    fn other_ended(&mut self, number: usize, start: u32) -> bool {
        let was_to_come = self.broken(number).exists();
        let slot = &mut self.nodes[number - 1];
        if slot.starts != start {
            return false;
        }
        let Some(mut node) = slot.node.take() else {
            return false;
        };
        slot.closed = true;
        let how = match power_off(node.wait(), "?", &node.qemu_said()) {
            PowerOff::Status(status) => format!("node {number} ended with status {status}"),
            PowerOff::Crash(why) => format!("node {number} crashed: {why}"),
        };
        if !was_to_come {
            say::warning(format!("{how}; its last lines:\n{}", slot.tail.text()));
            self.died.push(how);
        }
        true
    }

    /// What the watchdog says before it ends everything.
    fn tell_last_lines(&self) {
        say::warning(format!(
            "no end after {} s; the last lines of every node:",
            self.spec.timeout_s
        ));
        for (index, slot) in self.nodes.iter().enumerate() {
            eprintln!("--- node {} ---\n{}", index + 1, slot.tail.text());
        }
    }

    /// Ends every node and reads their consoles to the end.
    fn finish(mut self, ended: Ended) -> Outcome {
        let mut open = 0;
        for slot in &mut self.nodes {
            open += usize::from(slot.node.take().is_some() && !slot.closed);
        }
        let deadline = Instant::now() + DRAIN;
        while open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Closed { .. }) => open -= 1,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        for number in 1..=self.spec.nodes {
            // There is none of a cluster without keys.
            let _ = std::fs::remove_file(key::node_path(&self.run.file(""), number));
        }
        let logs = (1..=self.spec.nodes)
            .map(|number| log_path(self.run, number))
            .collect();
        let console = String::from_utf8_lossy(&self.console).into_owned();
        Outcome {
            ended,
            console,
            died: self.died,
            logs,
        }
    }
}

/// The kernel command line of one node.
fn command_line(spec: &Spec, number: usize) -> String {
    let mut line = format!("node={number} nodes={} naws", spec.nodes);
    if spec.smp > 1 {
        line.push_str(&format!(" cpus={}", spec.smp));
    }
    if spec.script.is_some() {
        line.push_str(" script=/etc/script");
    }
    if !spec.append.is_empty() {
        line.push(' ');
        line.push_str(&spec.append);
    }
    line
}

/// The log files in the words of a message.
pub(crate) fn logs_shown(logs: &[PathBuf]) -> String {
    let names: Vec<String> = logs.iter().map(|path| places::shown(path)).collect();
    names.join(" ")
}

/// The last lines of a console.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    self.lines.push_back(Vec::new());
                    if self.lines.len() > TAIL_LINES + 1 {
                        self.lines.pop_front();
                    }
                }
                b'\r' => {}
                _ => {
                    if self.lines.is_empty() {
                        self.lines.push_back(Vec::new());
                    }
                    // A line without end is cut rather than kept.
                    if let Some(line) = self.lines.back_mut().filter(|line| line.len() < 1000) {
                        line.push(byte);
                    }
                }
            }
        }
    }

    fn text(&self) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| String::from_utf8_lossy(line))
            .collect();
        lines.join("\n").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let mut tail = Tail::default();
        for n in 0..40 {
            tail.push(format!("line {n}\r\n").as_bytes());
        }
        tail.push(b"unfinished");
        let text = tail.text();
        assert!(text.starts_with("line 25\n"), "{text}");
        assert!(text.ends_with("line 39\nunfinished"), "{text}");
    }

    #[test]
    fn the_command_line_names_node_script_and_extras() {
        let spec = Spec::new("x", 3).append("selftest");
        assert_eq!(command_line(&spec, 2), "node=2 nodes=3 naws selftest");
        let spec = Spec::new("x", 1).script("true");
        assert_eq!(
            command_line(&spec, 1),
            "node=1 nodes=1 naws script=/etc/script"
        );
        let spec = Spec::new("x", 1).smp(2);
        assert_eq!(command_line(&spec, 1), "node=1 nodes=1 naws cpus=2");
    }
}
