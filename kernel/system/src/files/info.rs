//! What `/proc/PID/fdinfo/N` and `/proc/locks` tell.
//!
//! Law: the lines are those of Linux (`fs/proc/fd.c`, `fs/locks.c`, and `show_fdinfo` of each kind of
//! file), so that a tool that saves a process finds everything it has to make again.

use super::inode::{Inode, Node};
use super::locks::{END, Kind, Owner};
use super::objects::{Object, Takes};
use super::open::FileState;
use super::tree::FileSystem;
use abi::Errno;
use abi::layout::O_CLOEXEC;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

/// What kind of lock it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Of fcntl(2), of a part.
    Record,
    /// Of flock(2).
    Whole,
    /// A lease, which its holder may have been asked to give back.
    Lease { breaking: bool },
}

/// One lock of a file, of any kind, as it is shown.
pub(super) struct ShownLock {
    /// Whose it is.
    pub(super) owner: Owner,
    pub(super) form: Form,
    /// The process that has set it; 0 for a record of an open file.
    pub(super) pid: u32,
    /// `None` for a lease that is to be given back.
    pub(super) kind: Option<Kind>,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl ShownLock {
    /// As `lock_get_status` of Linux writes it, behind its number.
    fn line(&self, inode: &Inode) -> String {
        let family = match (self.form, self.owner) {
            (Form::Lease { breaking: true }, _) => "LEASE  BREAKING ",
            (Form::Lease { breaking: false }, _) => "LEASE  ACTIVE   ",
            (Form::Whole, _) => "FLOCK  ADVISORY ",
            (_, Owner::Process(_)) => "POSIX  ADVISORY ",
            (_, Owner::Open(_)) => "OFDLCK ADVISORY ",
        };
        let kind = match self.kind {
            None => "UNLCK",
            Some(Kind::Shared) => "READ",
            Some(Kind::Exclusive) => "WRITE",
        };
        let pid = match self.pid {
            0 => -1,
            pid => i64::from(pid),
        };
        let end = match self.end {
            END => String::from("EOF"),
            end => format!("{}", end - 1),
        };
        format!(
            "{family} {kind} {pid} {} {} {end}",
            place_of(inode),
            self.start
        )
    }
}

/// Device and number of a file, as locks name it.
fn place_of(inode: &Inode) -> String {
    let device = inode.status().device;
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff);
    format!("{major:02x}:{minor:02x}:{}", inode.number())
}

impl FileSystem {
    /// `/proc/locks`.
    pub fn lock_table(&self) -> String {
        let mut text = String::new();
        let mut number = 0;
        for inode in self.counts.locked() {
            for lock in inode.shown_locks() {
                number += 1;
                let _ = writeln!(text, "{number}: {}", lock.line(&inode));
            }
        }
        text
    }
}

impl FileState {
    /// What `/proc/PID/fdinfo/N` tells at a time of the node's clock.
    ///
    /// # Errors
    /// `ENOENT` if it is not open.
    pub fn information(&self, fd: u32, now_ns: u64) -> Result<Vec<u8>, Errno> {
        let row = self.row(fd).map_err(|_| Errno::ENOENT)?;
        let file = &row.file;
        let inode = file.inode();
        let flags = file.flags() | if row.close_on_exec { O_CLOEXEC } else { 0 };
        let mut text = format!(
            "pos:\t{}\nflags:\t0{flags:o}\nmnt_id:\t{}\nino:\t{}\n",
            file.offset(),
            file.place().status().mount,
            inode.number()
        );
        let mine = |owner: Owner| {
            owner == Owner::Open(file.identity()) || owner == Owner::Process(self.identity())
        };
        let locks = inode.shown_locks();
        for (number, lock) in (1..).zip(locks.iter().filter(|lock| mine(lock.owner))) {
            let _ = writeln!(text, "lock:\t{number}: {}", lock.line(inode));
        }
        if let Node::Object(object) = inode.node() {
            describe(object, now_ns, &mut text);
        }
        Ok(text.into_bytes())
    }
}

/// What a file without a name has beside a position.
fn describe(object: &Object, now_ns: u64, text: &mut String) {
    let _ = match object {
        Object::Event(event) => writeln!(
            text,
            "eventfd-count: {:16x}\neventfd-semaphore: {}",
            event.count(),
            u8::from(event.takes() == Takes::One)
        ),
        Object::Signal(signals) => writeln!(text, "sigmask:\t{:016x}", signals.set()),
        Object::Process(process) => {
            let pid = match process.is_gone() {
                false => i64::from(process.thread.unwrap_or(process.pid)),
                true => -1,
            };
            writeln!(text, "Pid:\t{pid}\nNSpid:\t{pid}")
        }
        Object::Timer(timer) => {
            let split = |ns: u64| format!("({}, {})", ns / 1_000_000_000, ns % 1_000_000_000);
            let (left, interval) = timer.left(now_ns);
            writeln!(
                text,
                "clockid: {}\nticks: {}\nsettime flags: 0{:o}\nit_value: {}\nit_interval: {}",
                timer.clock(),
                timer.ticks(now_ns),
                timer.flags(),
                split(left),
                split(interval)
            )
        }
        Object::Epoll(set) => {
            for (fd, wanted, file) in set.watched() {
                let _ = writeln!(
                    text,
                    "tfd: {fd:8} events: {:8x} data: {:16x}  pos:{} ino:{:x} sdev:{:x}",
                    wanted.events,
                    wanted.data,
                    file.offset(),
                    file.inode().number(),
                    file.inode().status().device
                );
            }
            Ok(())
        }
        Object::Notify(notify) => {
            for (watch, inode, mask) in notify.watches() {
                let (number, device) = (inode.number(), inode.status().device);
                let handle = number.to_le_bytes().map(|byte| format!("{byte:02x}"));
                let _ = writeln!(
                    text,
                    "inotify wd:{watch:x} ino:{number:x} sdev:{device:x} mask:{mask:x} ignored_mask:0 \
                     fhandle-bytes:8 fhandle-type:1 f_handle:{}",
                    handle.concat()
                );
            }
            Ok(())
        }
        Object::Socket(_) | Object::Queue(_) => Ok(()),
    };
}
