//! Terminals: sessions, windows, modes, and pseudo-terminals.
//!
//! Law: one call of the operating system each, with its error; nothing is remembered here.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Begins a session with this process as its leader; it has no terminal yet.
///
/// # Errors
/// What setsid(2) says.
pub fn new_session() -> io::Result<i32> {
    // SAFETY: setsid has no preconditions.
    crate::check(unsafe { libc::setsid() })
}

/// The process group of a process, 0 being the caller.
///
/// # Errors
/// What getpgid(2) says.
pub fn group_of(pid: i32) -> io::Result<i32> {
    // SAFETY: getpgid takes plain numbers.
    crate::check(unsafe { libc::getpgid(pid) })
}

/// Puts a process into a group; 0 stands for the caller, and for the process.
///
/// # Errors
/// What setpgid(2) says.
pub fn set_group(pid: i32, group: i32) -> io::Result<()> {
    // SAFETY: setpgid takes plain numbers.
    crate::check(unsafe { libc::setpgid(pid, group) }).map(drop)
}

/// Whether a session may take a terminal that another has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// Only one that is nobody's.
    Free,
    /// Any; for root.
    ByForce,
}

/// Makes the terminal the controlling one of the caller's session.
///
/// # Errors
/// What `TIOCSCTTY` says.
pub fn take(terminal: BorrowedFd<'_>, taking: Taking) -> io::Result<()> {
    let force = match taking {
        Taking::Free => 0_i32,
        Taking::ByForce => 1,
    };
    // SAFETY: TIOCSCTTY takes a number.
    crate::check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, force) }).map(drop)
}

/// The group in the foreground of the terminal.
///
/// # Errors
/// What tcgetpgrp(3) says.
pub fn foreground(terminal: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: tcgetpgrp takes plain numbers.
    crate::check(unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) })
}

/// Puts a group into the foreground.
///
/// # Errors
/// What tcsetpgrp(3) says.
pub fn set_foreground(terminal: BorrowedFd<'_>, group: i32) -> io::Result<()> {
    // SAFETY: tcsetpgrp takes plain numbers.
    crate::check(unsafe { libc::tcsetpgrp(terminal.as_raw_fd(), group) }).map(drop)
}

/// Rows and columns of the window.
///
/// # Errors
/// What `TIOCGWINSZ` says.
pub fn window(terminal: BorrowedFd<'_>) -> io::Result<[u16; 2]> {
    // SAFETY: a window of zeros is a valid one.
    let mut window: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a winsize that lives through the call.
    crate::check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut window) })?;
    Ok([window.ws_row, window.ws_col])
}

/// Sets rows and columns of the window.
///
/// # Errors
/// What `TIOCSWINSZ` says.
pub fn set_window(terminal: BorrowedFd<'_>, [rows, columns]: [u16; 2]) -> io::Result<()> {
    let window = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointer is to a winsize that lives through the call.
    crate::check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &window) }).map(drop)
}

/// Modes of a terminal.
#[derive(Clone)]
pub struct Modes(libc::termios);

impl Modes {
    /// Those that it has.
    ///
    /// # Errors
    /// What tcgetattr(3) says.
    pub fn of(terminal: BorrowedFd<'_>) -> io::Result<Modes> {
        // SAFETY: modes of zeros are valid ones.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to modes that live through the call.
        crate::check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut modes) })?;
        Ok(Modes(modes))
    }

    /// The same without any processing, giving `least` bytes or what is there after `tenths` of a
    /// second.
    #[must_use]
    pub fn raw(mut self, least: u8, tenths: u8) -> Modes {
        // SAFETY: the pointer is to modes that live through the call.
        unsafe { libc::cfmakeraw(&mut self.0) };
        self.0.c_cc[libc::VMIN] = least;
        self.0.c_cc[libc::VTIME] = tenths;
        self
    }

    /// The same without echo.
    #[must_use]
    pub fn silent(mut self) -> Modes {
        self.0.c_lflag &= !libc::ECHO;
        self
    }

    /// Input, output and local modes, for comparing.
    #[must_use]
    pub fn words(&self) -> [u32; 3] {
        [self.0.c_iflag, self.0.c_oflag, self.0.c_lflag]
    }

    /// Sets them at once.
    ///
    /// # Errors
    /// What tcsetattr(3) says.
    pub fn set(&self, terminal: BorrowedFd<'_>) -> io::Result<()> {
        let fd = terminal.as_raw_fd();
        // SAFETY: the pointer is to modes that live through the call.
        crate::check(unsafe { libc::tcsetattr(fd, libc::TCSANOW, &self.0) }).map(drop)
    }
}

/// A new pseudo-terminal: its master, and the path of its line, which may be opened.
///
/// # Errors
/// What opening /dev/ptmx and its requests say.
pub fn new_pty() -> io::Result<(File, String)> {
    let master = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open("/dev/ptmx")?;
    let (mut number, unlocked) = (0_u32, 0_i32);
    // SAFETY: the pointer is to a number that lives through the call.
    crate::check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number) })?;
    // SAFETY: as above.
    crate::check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) })?;
    Ok((master, format!("/dev/pts/{number}")))
}

/// Opens the line of a pseudo-terminal without taking it for the session.
///
/// # Errors
/// What open(2) says.
pub fn open_line(path: &str) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(path)
}
