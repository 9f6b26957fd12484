//! One node: a QEMU process, its cable, its console and its logs.
//!
//! Law: node N has the Ethernet address 52:54:00:00:00:N and port N - 1 of the switch. A node does
//! not outlive this process.

use crate::disk::{Disk, Server};
use crate::error::Error;
use crate::places::RunDirectory;
use crate::program;
use qemu_tests::Net;
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;

/// I/O port of the isa-debug-exit device; a 32-bit value v written there ends QEMU with (v << 1) | 1.
const EXIT_PORT: u32 = 0xf4;

/// What the threads around the nodes report.
#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes from a node's console.
    Output { node: usize, bytes: Vec<u8> },
    /// The console of a node's `start`th start has ended, and with it the node.
    Closed { node: usize, start: u32 },
    /// Bytes typed by the user for node 1.
    Typed(Vec<u8>),
    /// Rows and columns of the user's terminal, at first and when they change.
    Window([u16; 2]),
    /// The user wants to leave.
    Quit,
}

/// What a node is started with.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) archive: PathBuf,
    pub(crate) memory_mib: u32,
    pub(crate) smp: u32,
    pub(crate) net: Net,
    /// MTU that its card tells the guest, if it can.
    pub(crate) mtu: u16,
    pub(crate) disk: Option<Disk>,
    /// The file with its cluster's key.
    pub(crate) key: Option<PathBuf>,
    /// The whole kernel command line.
    pub(crate) command_line: String,
}

/// Where the kernel looks for a key.
const KEY_FILE: &str = "opt/dunlin/key";

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    stdin: Option<ChildStdin>,
    errors: PathBuf,
    /// It is to go after QEMU has.
    _server: Option<Server>,
}

/// What begins an order on the serial line, where it is doubled as data (RFC 854).
const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;
const NAWS: u8 = 31;

/// Data as it goes over the serial line.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    let doubled = |byte: &u8| std::iter::repeat_n(*byte, if *byte == IAC { 2 } else { 1 });
    bytes.iter().flat_map(doubled).collect()
}

impl Node {
    /// Starts node `number` (from 1) on `cable`, for the `start`th time; its console goes to a log file and to `events`.
    pub(crate) fn start(
        number: usize,
        start: u32,
        config: &NodeConfig,
        cable: OwnedFd,
        run: &RunDirectory,
        events: Sender<Event>,
    ) -> Result<Node, Error> {
        let name = format!("node-{number}");
        let server = config.disk.as_ref().map(|disk| disk.serve(&name));
        let server = server.transpose()?.flatten();
        // One descriptor at a time is open to children, and only while this child is started.
        rustix::io::fcntl_setfd(&cable, FdFlags::empty()).map_err(|error| Error::System {
            what: "passing the cable",
            source: error.into(),
        })?;
        let log_path = log_path(run, number);
        let log = File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(Error::file("create", &log_path))?;
        let errors = run.file(&format!("node-{number}.qemu.log"));
        let error_file = File::create(&errors).map_err(Error::file("create", &errors))?;
        let mut command = command(number, config, server.as_ref(), cable.as_raw_fd());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(error_file);
        let mut child = command.spawn().map_err(program::starting(&command))?;
        drop(cable);
        let stdin = child.stdin.take();
        if let Some(console) = child.stdout.take() {
            std::thread::spawn(move || pump(number, start, console, log, &events));
        }
        Ok(Node {
            child,
            stdin,
            errors,
            _server: server,
        })
    }

    /// Hands typed bytes to the console. What a node that has ended does not take is lost.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        self.send(&escaped(bytes));
    }

    /// Tells the console how many rows and columns the user's terminal has: RFC 1073.
    pub(crate) fn tell_window(&mut self, [rows, columns]: [u16; 2]) {
        let mut order = vec![IAC, SB, NAWS];
        let numbers = [columns.to_be_bytes(), rows.to_be_bytes()];
        order.extend(escaped(&numbers.concat()));
        order.extend([IAC, SE]);
        self.send(&order);
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
        }
    }

    /// Stops the whole machine, its clock too.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn proceed(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // One that has ended needs neither.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for a node whose console has closed.
    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        self.stdin = None;
        self.child.wait().ok()
    }

    /// What QEMU itself said.
    pub(crate) fn qemu_said(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the console of a node is logged.
pub(crate) fn log_path(run: &RunDirectory, number: usize) -> PathBuf {
    run.file(&format!("node-{number}.log"))
}

fn command(number: usize, config: &NodeConfig, server: Option<&Server>, cable: i32) -> Command {
    // setpriv (util-linux) makes the kernel end QEMU when we end, whatever ends us.
    let mut command = match program::find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command
                .args(["--pdeathsig", "KILL", "--"])
                .arg(&config.qemu);
            command
        }
        None => Command::new(&config.qemu),
    };
    command.args([
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ]);
    command.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max"]);
    command.args([
        "-m",
        &config.memory_mib.to_string(),
        "-smp",
        &config.smp.to_string(),
    ]);
    command.args([
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
    ]);
    command.args([
        "-device",
        &format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"),
    ]);
    command
        .arg("-kernel")
        .arg(&config.kernel)
        .arg("-initrd")
        .arg(path_word(&config.archive));
    command.args(["-append", &config.command_line]);
    command.args([
        "-netdev",
        &format!("dgram,id=n0,local.type=fd,local.str={cable}"),
    ]);
    command.args(["-device", &card(config.net, config.mtu, number)]);
    if let Some(key) = &config.key {
        let file = path_word(key);
        command.args(["-fw_cfg", &format!("name={KEY_FILE},file={file}")]);
    }
    if let Some(disk) = &config.disk {
        disk.tell(server, &mut command);
    }
    command
}

/// The network card of a node, as QEMU is told. Intel's carry long frames without being asked to, and do not know
/// what the switch carries.
fn card(net: Net, mtu: u16, number: usize) -> String {
    let (model, more) = match net {
        Net::Virtio => ("virtio-net-pci", format!(",host_mtu={mtu}")),
        Net::E1000e => ("e1000e", String::new()),
        Net::E1000 => ("e1000", String::new()),
    };
    format!("{model},netdev=n0,mac=52:54:00:00:00:{number:02x}{more},romfile=")
}

/// QEMU takes a comma in a file name of `-initrd`, `-fw_cfg` and `-drive` for a separator unless it is doubled.
pub(crate) fn path_word(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Copies a console to its log and to the events until it ends.
fn pump(node: usize, start: u32, mut console: impl Read, mut log: File, events: &Sender<Event>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        match console.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                let bytes = buffer[..length].to_vec();
                // The log is a courtesy: a full disk does not end the cluster.
                let _ = log.write_all(&bytes);
                if events.send(Event::Output { node, bytes }).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = events.send(Event::Closed { node, start });
}

/// How a QEMU process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PowerOff {
    /// The guest powered off with this status; only its low seven bits come through.
    Status(u8),
    /// Anything else, in words.
    Crash(String),
}

/// Reads the exit status of QEMU. `console` tells an exit of the guest from QEMU refusing to start,
/// which ends with status 1 as well.
pub(crate) fn power_off(status: Option<ExitStatus>, console: &str, qemu_said: &str) -> PowerOff {
    let said = qemu_said.trim();
    let said = if said.is_empty() {
        String::new()
    } else {
        format!("; QEMU said: {said}")
    };
    match status.and_then(|status| status.code()) {
        Some(code) if code & 1 == 1 && !console.is_empty() => {
            let low = (code >> 1) as u8;
            match (announced(console, low), panicked(console)) {
                (None, Some(line)) => PowerOff::Crash(line.to_owned()),
                (status, _) => PowerOff::Status(status.unwrap_or(low)),
            }
        }
        Some(0) => PowerOff::Crash(format!("the machine was reset (triple fault?){said}")),
        Some(code) => PowerOff::Crash(format!("QEMU ended with status {code}{said}")),
        None => PowerOff::Crash(format!("QEMU was killed{said}")),
    }
}

/// The full status that the kernel's last log lines announce as `power off: status N`, when its low
/// seven bits are those that came through the exit device.
fn announced(console: &str, low: u8) -> Option<u8> {
    let mut lines = console
        .lines()
        .rev()
        .take(4)
        .filter(|line| qemu_tests::lab::is_kernel_log(line));
    let status = lines.find_map(|line| line.split_once("power off: status ").map(|(_, n)| n))?;
    let status: u8 = status.trim().parse().ok()?;
    (status & 0x7f == low & 0x7f).then_some(status)
}

/// The first line of a kernel's last words.
fn panicked(console: &str) -> Option<&str> {
    console
        .lines()
        .find(|line| line.starts_with("kernel panic: "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn ended(code: i32) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn exit_statuses_are_decoded() {
        assert_eq!(power_off(ended(1), "x", ""), PowerOff::Status(0));
        assert_eq!(power_off(ended(7), "x", ""), PowerOff::Status(3));
        assert_eq!(power_off(ended(249), "x", ""), PowerOff::Status(124));
        assert_eq!(
            power_off(ended(203), "a\n\nkernel panic: why\n  at b\n", ""),
            PowerOff::Crash("kernel panic: why".to_owned())
        );
        assert!(matches!(
            power_off(ended(1), "", "no such file"),
            PowerOff::Crash(_)
        ));
        assert!(matches!(power_off(ended(0), "x", ""), PowerOff::Crash(_)));
        assert!(matches!(power_off(None, "x", ""), PowerOff::Crash(_)));
    }

    #[test]
    fn a_status_above_127_is_taken_from_the_log_when_it_fits() {
        // 139 & 0x7f = 11; ((139 << 1) | 1) & 0xff = 23.
        let console = "hello\n[   1.500000] power off: status 139\n";
        assert_eq!(power_off(ended(23), console, ""), PowerOff::Status(139));
        assert_eq!(power_off(ended(7), console, ""), PowerOff::Status(3));
        let forged = "power off: status 139\n";
        assert_eq!(power_off(ended(23), forged, ""), PowerOff::Status(11));
    }

    #[test]
    fn a_node_is_the_command_of_the_platform_notes() {
        let config = NodeConfig {
            qemu: "qemu".into(),
            kernel: "image".into(),
            archive: "a,b.tar".into(),
            memory_mib: 128,
            smp: 2,
            net: Net::Virtio,
            mtu: 9000,
            disk: Some(Disk {
                file: "x,y/node-2.disk".into(),
                read_only: false,
                breaks: None,
            }),
            key: None,
            command_line: "node=2 nodes=3".into(),
        };
        let command = command(2, &config, None, 9);
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        let text = words.join(" ");
        for part in [
            "-m 128 -smp 2",
            "isa-debug-exit,iobase=0xf4,iosize=4",
            "-initrd a,,b.tar",
            "-append node=2 nodes=3",
            "dgram,id=n0,local.type=fd,local.str=9",
            "mac=52:54:00:00:00:02,host_mtu=9000",
            "format=raw,readonly=off,file=x,,y/node-2.disk -device virtio-blk-pci,drive=d0",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(
            card(Net::E1000, 1500, 3),
            "e1000,netdev=n0,mac=52:54:00:00:00:03,romfile="
        );
    }
}
