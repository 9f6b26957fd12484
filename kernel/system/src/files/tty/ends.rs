//! The open ends of terminals.
//!
//! Law: an end is counted by living. Which side it is decides what reading, writing and waiting mean;
//! an end of a line that has hung up since it was opened reads nothing, writes nothing, and says so.

use super::{Kind, ReadClock, Tty, pty_name};
use crate::files::pipe::Patience;
use crate::wait::{Stop, WaitQueue};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Which side of a terminal an end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Side {
    /// Where programs read what is typed.
    Line,
    /// The master of a pty.
    Master,
}

/// One open end.
pub(in super::super) struct End {
    tty: Arc<Tty>,
    side: Side,
    generation: u32,
}

impl End {
    /// Opens the line.
    ///
    /// # Errors
    /// `EIO` for a pty that is locked or whose master is gone; `EBUSY` if it is for one only.
    pub(in super::super) fn line(tty: &Arc<Tty>, privileged: bool) -> Result<End, Errno> {
        let mut state = tty.state.lock();
        if matches!(tty.kind, Kind::Pty(_)) && (state.locked || !state.master_open) {
            return Err(Errno::EIO);
        }
        if state.exclusive && !privileged {
            return Err(Errno::EBUSY);
        }
        state.opens += 1;
        state.line_closed = false;
        Ok(End {
            tty: tty.clone(),
            side: Side::Line,
            generation: state.generation,
        })
    }

    /// The master of a new pty.
    pub(super) fn master(tty: Arc<Tty>) -> End {
        End {
            tty,
            side: Side::Master,
            generation: 0,
        }
    }

    pub(in super::super) fn tty(&self) -> &Arc<Tty> {
        &self.tty
    }

    pub(in super::super) fn side(&self) -> Side {
        self.side
    }

    /// Whether the line has hung up since this end was opened.
    pub(in super::super) fn is_hung_up(&self) -> bool {
        self.side == Side::Line && self.tty.state.lock().generation != self.generation
    }

    /// Reads.
    ///
    /// # Errors
    /// `EIO` on a master when there is nothing and nobody has the line open.
    pub(in super::super) fn read(
        &self,
        count: usize,
        patience: Patience,
        clock: ReadClock<'_>,
    ) -> Result<Vec<u8>, Stop> {
        match self.side {
            Side::Line if self.is_hung_up() => Ok(Vec::new()),
            Side::Line => self.tty.line_read(count, patience, clock),
            Side::Master => self.tty.master_read(count, patience),
        }
    }

    /// Writes, as far as there is room.
    ///
    /// # Errors
    /// `EIO` if the line has hung up.
    pub(in super::super) fn write(
        &self,
        bytes: &[u8],
        patience: Patience,
        now_ns: u64,
    ) -> Result<usize, Stop> {
        match self.side {
            Side::Line if self.is_hung_up() => Err(Errno::EIO.into()),
            Side::Line => self.tty.line_write(bytes, patience),
            Side::Master => self.tty.master_write(bytes, patience, now_ns),
        }
    }

    /// What `poll` says.
    pub(in super::super) fn ready(&self) -> i16 {
        match self.side {
            Side::Line => self.tty.line_ready(self.generation),
            Side::Master => self.tty.master_ready(),
        }
    }

    /// Every change of [`End::ready`] wakes one of these.
    pub(in super::super) fn queues(&self) -> [&WaitQueue; 2] {
        match self.side {
            Side::Line => self.tty.line_queues(),
            Side::Master => self.tty.master_queues(),
        }
    }

    /// Bytes that a reader of this end could have now.
    pub(in super::super) fn available(&self) -> usize {
        match self.side {
            Side::Line => self.tty.available(),
            Side::Master => self.tty.unsent(),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        match self.side {
            Side::Line => self.tty.change(|state| {
                state.opens = state.opens.saturating_sub(1);
                state.line_closed = state.opens == 0 && matches!(self.tty.kind, Kind::Pty(_));
            }),
            Side::Master => {
                let mut state = self.tty.state.lock();
                state.master_open = false;
                state.packet = None;
                drop(state);
                if let (Kind::Pty(number), Some(directory)) =
                    (self.tty.kind, self.tty.directory.upgrade())
                {
                    let name = pty_name(number);
                    let gone = directory.directory().and_then(|mut held| held.take(&name));
                    if let Some(inode) = gone {
                        inode.change(|held| held.links = 0);
                    }
                }
                self.tty.hang_up();
            }
        }
    }
}
