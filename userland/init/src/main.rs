//! The first process of every node.
//!
//! Law: init never ends by itself and reaps every orphan. On node 1 it runs the script that the
//! kernel's command line names and powers the cluster off with the script's status, or else
//! offers a shell on the console, again and again. On other nodes it only reaps. A worker that the
//! command line names is run instead on whichever node it is, once, and nothing ends with it.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rt::files::{Stream, redirect};
use rt::process::{Patience, Whom, exec, start, wait};
use rt::system::proc_path;
use rt::terminal::{Taking, new_session, take};

const SHELL: &str = "/bin/sh";
const PATH: &str = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/probes";
/// What a terminal understands if nobody says more.
const TERMINAL: &str = "vt102";

/// What the kernel's command line says that init has to know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settings {
    /// Number of this node; 1 if the command line does not say.
    node: Option<u16>,
    /// Script to run instead of an interactive shell.
    script: Option<String>,
    /// Script that every node runs instead, whatever its number.
    worker: Option<String>,
    /// What the terminal at the other end of the console understands.
    terminal: Option<String>,
}

impl Settings {
    /// Reads `key=value` words; the last of two wins, words of others are passed over.
    fn parse(text: &str) -> Settings {
        let mut settings = Settings::default();
        for word in text.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("node", value)) => settings.node = value.parse().ok(),
                Some(("script", value)) if !value.is_empty() => {
                    settings.script = Some(value.to_owned());
                }
                Some(("worker", value)) if !value.is_empty() => {
                    settings.worker = Some(value.to_owned());
                }
                Some(("term", value)) if !value.is_empty() => {
                    settings.terminal = Some(value.to_owned());
                }
                _ => {}
            }
        }
        settings
    }

    fn is_first(&self) -> bool {
        self.node.is_none_or(|node| node == 1)
    }
}

/// Makes the console the three standard streams; where there is none, they stay what they were.
fn take_console() -> io::Result<()> {
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console")?;
    for stream in [Stream::Input, Stream::Output, Stream::Error] {
        redirect(console.as_fd(), stream)?;
    }
    Ok(())
}

/// Makes this process the leader of a session whose terminal is the console, so that there is job
/// control. Where that does not work, the shell says so itself.
fn take_terminal() {
    let _session = new_session();
    if let Ok(console) = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console")
    {
        let _taken = take(console.as_fd(), Taking::ByForce);
    }
}

fn start_shell(settings: &Settings) -> io::Result<i32> {
    let script = settings.worker.as_ref().or(settings.script.as_ref());
    let strings = |texts: &[&str]| -> io::Result<Vec<CString>> {
        texts
            .iter()
            .map(|text| CString::new(*text).map_err(io::Error::from))
            .collect()
    };
    // A dash before its name makes it a login shell, which reads /etc/profile.
    let arguments = match script {
        Some(script) => strings(&[SHELL, script])?,
        None => strings(&["-sh"])?,
    };
    let terminal = settings.terminal.as_deref().unwrap_or(TERMINAL);
    let environment = strings(&[
        &format!("PATH={PATH}"),
        "HOME=/root",
        "USER=root",
        "LOGNAME=root",
        &format!("SHELL={SHELL}"),
        &format!("TERM={terminal}"),
        "ENV=/etc/shrc",
    ])?;
    let path = CString::new(SHELL)?;
    let interactive = script.is_none();
    start(|| {
        take_terminal();
        if interactive && let Err(error) = std::env::set_current_dir("/root") {
            eprintln!("init: cannot enter /root: {error}");
        }
        let error = exec(&path, &arguments, &environment);
        eprintln!("init: cannot run {SHELL}: {error}");
        127
    })
}

/// Reaps until `child` has ended; gives its status as a shell would.
fn reap_until(child: i32) -> i32 {
    loop {
        match wait(Whom::Any, Patience::Block) {
            Ok(Some((pid, ended))) if pid == child => return ended.shell_status(),
            Ok(_) => {}
            Err(error) => {
                eprintln!("init: lost process {child}: {error}");
                return 1;
            }
        }
    }
}

/// Orphans come without notice, so somebody without children looks again every second.
fn reap_forever() -> ! {
    loop {
        if wait(Whom::Any, Patience::Block).is_err() {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn power_off(status: i32) -> io::Result<()> {
    let mut control = File::options()
        .write(true)
        .open(proc_path("cluster/control"))?;
    control.write_all(format!("poweroff {status}\n").as_bytes())
}

fn run_script(settings: &Settings) -> ! {
    let status = match start_shell(settings) {
        Ok(child) => reap_until(child),
        Err(error) => {
            eprintln!("init: cannot start {SHELL}: {error}");
            126
        }
    };
    if let Err(error) = power_off(status) {
        eprintln!("init: the script ended with status {status}; cannot power off: {error}");
    }
    reap_forever()
}

fn main() {
    // Without a console there is nobody to tell; the script still runs.
    let _no_console = take_console();
    let text = match std::fs::read_to_string(proc_path("cmdline")) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("init: cannot read the kernel's command line: {error}");
            String::new()
        }
    };
    let settings = Settings::parse(&text);
    if settings.worker.is_some() {
        let status = start_shell(&settings).map(reap_until);
        eprintln!("init: the worker ended: {status:?}");
        reap_forever();
    }
    if !settings.is_first() {
        reap_forever();
    }
    if settings.script.is_some() {
        run_script(&settings);
    }
    loop {
        match start_shell(&settings) {
            Ok(child) => {
                if reap_until(child) == 127 {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            Err(error) => {
                eprintln!("init: cannot start {SHELL}: {error}");
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn reads_the_command_line() {
        let settings = Settings::parse("quiet node=2 nodes=3 term=xterm script=/etc/script\n");
        assert_eq!(
            settings,
            Settings {
                node: Some(2),
                script: Some("/etc/script".to_owned()),
                worker: None,
                terminal: Some("xterm".to_owned()),
            }
        );
        assert!(!settings.is_first());
        assert!(Settings::parse("node=1").is_first());
        assert!(Settings::parse("").is_first());
        assert_eq!(Settings::parse("script= node=x"), Settings::default());
    }
}
