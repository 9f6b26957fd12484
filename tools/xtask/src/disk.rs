//! The disk of a node: a file, which QEMU opens itself or, where it is to break, is served to it.
//!
//! Law: what the guest has flushed is in the file, whatever becomes of QEMU and of who serves it. A server does not outlive
//! its node.

use crate::error::Error;
use crate::node::path_word;
use crate::{program, setup};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Serves a file as a disk, and fails as long as it is told to.
const SERVER: &str = "nbdkit";
/// How long it may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a node is given.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) file: PathBuf,
    /// It cannot be written.
    pub(crate) read_only: bool,
    /// Every request fails while this file is there.
    pub(crate) breaks: Option<PathBuf>,
}

/// Who serves a disk that breaks.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
    /// Written when the socket is there.
    ready: PathBuf,
}

impl Disk {
    /// Starts its server, if it needs one; `name` tells it from those of other nodes.
    pub(crate) fn serve(&self, name: &str) -> Result<Option<Server>, Error> {
        let Some(breaks) = &self.breaks else {
            return Ok(None);
        };
        if program::find(SERVER).is_none() {
            setup::install("a server of disks that break", &[SERVER])?;
        }
        // The name of a socket has room for some hundred bytes, that of a folder here may be longer.
        let folder = std::env::temp_dir();
        let file = |kind| folder.join(format!("dunlin-{}-{name}.{kind}", std::process::id()));
        let (socket, ready) = (file("disk"), file("pid"));
        let _ = (std::fs::remove_file(&socket), std::fs::remove_file(&ready));
        let mut command = program::clean(SERVER);
        command.args(["--foreground", "--exit-with-parent", "--filter=error"]);
        command.arg("--unix").arg(&socket);
        command.arg("--pidfile").arg(&ready);
        command.arg("file").arg(&self.file);
        command.arg("error-rate=100%");
        command.arg(format!("error-file={}", breaks.display()));
        // It tells of every error that it makes.
        let log = breaks.with_extension("disk.log");
        let said = File::create(&log).map_err(Error::file("create", &log))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        let child = command.spawn().map_err(program::starting(&command))?;
        let mut server = Server {
            child,
            socket,
            ready,
        };
        let deadline = Instant::now() + PATIENCE;
        while !server.ready.exists() {
            let gone = server.child.try_wait().is_ok_and(|ended| ended.is_some());
            if gone || Instant::now() > deadline {
                let text = format!("{SERVER} does not serve a disk: {}", log.display());
                return Err(Error::Unmet(text));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(server))
    }

    /// Tells QEMU of it.
    pub(crate) fn tell(&self, server: Option<&Server>, command: &mut Command) {
        let file = match server {
            Some(server) => format!("nbd+unix:///?socket={}", path_word(&server.socket)),
            None => path_word(&self.file),
        };
        let readonly = if self.read_only { "on" } else { "off" };
        let drive = format!("if=none,id=d0,format=raw,readonly={readonly},file={file}");
        command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=d0"]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in [&self.socket, &self.ready] {
            let _ = std::fs::remove_file(file);
        }
    }
}
