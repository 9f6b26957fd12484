//! The terminals of a node: its console, and the pseudo-terminals that are open.
//!
//! Law: a pty lives as long as one of its ends; its number is free again after that. Its name in
//! /dev/pts is there as long as its master is open.

use super::ends::End;
use super::post::{Notice, Post};
use super::wire::{Meaning, Wire};
use super::{Kind, Tty, pty_name};
use crate::files::inode::{Attributes, Device, InodeRef, Node};
use crate::files::volume::Volume;
use crate::wait::Wakes;
use abi::Errno;
use abi::layout::S_IFCHR;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use spin::Mutex;

/// Pseudo-terminals at a time.
const PTYS_MAX: u32 = 256;
/// The group that terminals belong to, and what it may do: so that `write` and `wall` can.
const TTY_GROUP: u32 = 5;
const PTY_MODE: u32 = 0o620;

/// See the module.
pub struct Terminals {
    post: Arc<Post>,
    console: Arc<Tty>,
    /// For a serial line whose other side tells its window.
    wire: Mutex<Option<Wire>>,
    ptys: Mutex<BTreeMap<u32, Weak<Tty>>>,
}

impl Terminals {
    /// The console, and no pty.
    pub(in super::super) fn new(wakes: &Wakes) -> Terminals {
        let post = Arc::new(Post::new(wakes));
        Terminals {
            console: Arc::new(Tty::new(Kind::Console, &post, Weak::new())),
            post,
            wire: Mutex::new(None),
            ptys: Mutex::new(BTreeMap::new()),
        }
    }

    /// The console of the node.
    pub fn console(&self) -> &Arc<Tty> {
        &self.console
    }

    /// From now on the other side of the serial line tells the size of its window.
    pub fn expect_windows(&self) {
        *self.wire.lock() = Some(Wire::default());
    }

    /// A byte has come over the serial line.
    pub fn typed(&self, byte: u8, now_ns: u64) {
        let meaning = match self.wire.lock().as_mut() {
            Some(wire) => wire.take(byte),
            None => Meaning::Typed(byte),
        };
        match meaning {
            Meaning::Nothing => {}
            Meaning::Typed(byte) => self.console.input(&[byte], now_ns),
            Meaning::Window(window) => self.console.set_window(window),
        }
    }

    /// Takes what processes are to learn.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.post.take()
    }

    /// When [`Terminals::ring`] is next due, node's clock, ns.
    pub fn next_alarm(&self) -> Option<u64> {
        self.post.next_alarm()
    }

    /// Wakes those whose time is over.
    pub fn ring(&self, now_ns: u64) {
        self.post.ring(now_ns);
    }

    /// The terminal that controls a session.
    pub fn of_session(&self, session: u32) -> Option<Arc<Tty>> {
        if session == 0 {
            return None;
        }
        if self.console.session() == session {
            return Some(self.console.clone());
        }
        let ptys = self.ptys.lock();
        let mut all = ptys.values().filter_map(Weak::upgrade);
        all.find(|tty| tty.session() == session)
    }

    /// The pty of a number, while one of its ends is open.
    pub(in super::super) fn pty(&self, number: u32) -> Option<Arc<Tty>> {
        self.ptys.lock().get(&number)?.upgrade()
    }

    /// A new pty with a name in `directory`, which is the opener's; its master.
    ///
    /// # Errors
    /// `ENOSPC` if there are too many.
    pub(in super::super) fn open_master(
        &self,
        directory: &InodeRef,
        volume: &Arc<Volume>,
        attributes: Attributes,
    ) -> Result<End, Errno> {
        let mut ptys = self.ptys.lock();
        ptys.retain(|_, tty| tty.strong_count() > 0);
        let free = (0..PTYS_MAX).find(|number| !ptys.contains_key(number));
        let number = free.ok_or(Errno::ENOSPC)?;
        let attributes = Attributes {
            mode: S_IFCHR | PTY_MODE,
            gid: TTY_GROUP,
            links: 1,
            ..attributes
        };
        let inode = volume.create(Node::Device(Device::Pts(number)), attributes)?;
        let mut names = directory.directory().ok_or(Errno::ENXIO)?;
        names.set(&pty_name(number), inode);
        drop(names);
        let tty = Tty::new(Kind::Pty(number), &self.post, Arc::downgrade(directory));
        let tty = Arc::new(tty);
        ptys.insert(number, Arc::downgrade(&tty));
        Ok(End::master(tty))
    }
}
