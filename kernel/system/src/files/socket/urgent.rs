//! Urgent data of streams: one byte that is told of before it is reached (`MSG_OOB`).
//!
//! Law: the byte has its place among the others, as in Linux: receiving stops in front of it, and goes on behind
//! it unless it is to be received like any other (`SO_OOBINLINE`). The last one that was sent is the urgent one.

use super::transfer::Segment;
use super::{Inner, Kind, Socket};
use crate::files::open::OpenFile;
use crate::files::owner::Posts;
use abi::Errno;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// `SO_OOBINLINE`.
const OOBINLINE: u32 = 10;

/// The urgent byte.
pub(super) struct Urgent {
    /// How many bytes of the inbox are before it.
    pub(super) ahead: usize,
    byte: u8,
    /// It was received by `MSG_OOB`.
    taken: bool,
}

/// The open file of a socket whose owner hears of urgent data (SIGURG).
pub(super) type Owned = (Weak<OpenFile>, Arc<Posts>);

impl Inner {
    /// The urgent byte, if it is not to be received like any other.
    fn apart(&self) -> Option<&Urgent> {
        let inline = self.options.is_set(OOBINLINE);
        self.urgent.as_ref().filter(|_| !inline)
    }

    /// Whether there is anything to be received.
    pub(super) fn has_bytes(&self) -> bool {
        match self.apart() {
            Some(urgent) if urgent.ahead == 0 => self.bytes > 1,
            _ => !self.inbox.is_empty(),
        }
    }

    /// Whether an urgent byte waits to be asked for.
    pub(super) fn has_urgent(&self) -> bool {
        self.urgent.as_ref().is_some_and(|urgent| !urgent.taken)
    }

    /// What is to be left out of the next transfer, and how many bytes it may have: none from both sides of the
    /// urgent byte.
    pub(super) fn stretch(&self) -> (usize, usize) {
        match &self.urgent {
            Some(urgent) if urgent.ahead > 0 => (0, urgent.ahead),
            Some(_) if self.apart().is_some() => (1, usize::MAX),
            _ => (0, usize::MAX),
        }
    }

    /// So many bytes have left the inbox.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.urgent = match self.urgent.take() {
            Some(urgent) if urgent.ahead >= bytes => Some(Urgent {
                ahead: urgent.ahead - bytes,
                ..urgent
            }),
            _ => None,
        };
    }

    /// The last byte that has come is urgent. One from before that would have been left out next is lost; if
    /// it was alone, what it came in is returned, to be dropped when nothing is locked.
    pub(super) fn mark_urgent(&mut self) -> Option<Segment> {
        let mut lost = None;
        if self.apart().is_some_and(|urgent| urgent.ahead == 0)
            && let Some(first) = self.inbox.front_mut()
        {
            first.skip();
            if first.length() == 0 {
                lost = self.inbox.pop_front();
            }
            self.bytes -= 1;
        }
        let last = self.inbox.back().and_then(Segment::last);
        self.urgent = last.map(|byte| Urgent {
            ahead: self.bytes - 1,
            byte,
            taken: false,
        });
        lost
    }
}

impl Socket {
    /// Whether it has urgent data.
    pub(in super::super) fn knows_urgency(&self) -> bool {
        self.kind == Kind::Stream
    }

    /// Whether what is received next is the urgent byte, or behind it (`SIOCATMARK`).
    pub(in super::super) fn is_at_mark(&self) -> bool {
        self.lock()
            .urgent
            .as_ref()
            .is_some_and(|urgent| urgent.ahead == 0)
    }

    /// Takes the urgent byte, or looks at it.
    ///
    /// # Errors
    /// `EINVAL` if there is none, or it comes with the others.
    pub(in super::super) fn receive_urgent(&self, peeks: bool) -> Result<Vec<u8>, Errno> {
        let mut inner = self.lock();
        if inner.apart().is_none_or(|urgent| urgent.taken) {
            return Err(Errno::EINVAL);
        }
        let byte = inner.urgent.as_mut().map(|urgent| {
            urgent.taken |= !peeks;
            urgent.byte
        });
        Ok(byte.into_iter().collect())
    }

    /// The owner of this open file hears of urgent data from now on.
    pub(in super::super) fn is_owned_through(&self, file: &Arc<OpenFile>, posts: &Arc<Posts>) {
        self.lock().owned = Some((Arc::downgrade(file), posts.clone()));
    }
}
