//! How far memory may grow: resource limits, stacks that grow, locked memory.
//!
//! Law: a limit refuses growth, and takes nothing away that is there. A stack grows only into free
//! room, and keeps a gap to what lies below it.

use abi::Errno;
use machine::Access;

use super::area::{Area, AreaFlags};
use super::limits::{PAGE, STACK_BYTES, STACK_GUARD};
use super::map::range_end;
use super::{PageSource, Space, Trouble, page_of};

/// The soft limits of getrlimit(2) that concern memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceLimits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`; all that there is for root.
    pub locked: u64,
}

impl Default for SpaceLimits {
    fn default() -> SpaceLimits {
        SpaceLimits {
            address_space: u64::MAX,
            data: u64::MAX,
            stack: STACK_BYTES,
            locked: u64::MAX,
        }
    }
}

const MCL_CURRENT: u64 = 1;
const MCL_FUTURE: u64 = 2;
const MCL_ONFAULT: u64 = 4;

impl Space {
    /// Sets the limits for what grows from now on.
    pub fn set_limits(&mut self, limits: SpaceLimits) {
        self.limits = limits;
    }

    /// Refuses `bytes` more in areas with these rights.
    ///
    /// # Errors
    /// `ENOMEM`: `RLIMIT_AS`, or `RLIMIT_DATA` for private memory that can be written.
    pub(super) fn check_growth(
        &self,
        bytes: u64,
        access: Access,
        flags: AreaFlags,
    ) -> Result<(), Errno> {
        let limits = &self.limits;
        if limits.address_space == u64::MAX && limits.data == u64::MAX {
            return Ok(());
        }
        let usage = self.usage();
        let is_data = access.contains(Access::WRITE)
            && !flags.intersects(AreaFlags::SHARED | AreaFlags::GROWS_DOWN | AreaFlags::STACK);
        if usage.virtual_bytes.saturating_add(bytes) > limits.address_space
            || is_data && usage.data_bytes.saturating_add(bytes) > limits.data
        {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Lets the stack above `page` grow down to it, if there is one that may.
    ///
    /// # Errors
    /// [`Trouble::Segv`] if there is none.
    pub(super) fn grow_stack(&mut self, page: u64) -> Result<(), Trouble> {
        let area = self.areas.next(page).ok_or(Trouble::Segv)?;
        let (start, end) = (area.start, area.end);
        let blocked = |below: &Area| {
            let gap = if below.access.is_empty() || below.flags.contains(AreaFlags::GROWS_DOWN) {
                0
            } else {
                STACK_GUARD
            };
            below.end.saturating_add(gap) > page
        };
        let grows = area.flags.contains(AreaFlags::GROWS_DOWN)
            && end - page <= self.limits.stack
            && page >= super::limits::LOWEST_ADDRESS
            && !self.areas.before(page).is_some_and(blocked);
        let (access, flags) = (area.access, area.flags);
        let locks = flags.contains(AreaFlags::LOCKED);
        if !grows
            || self.check_growth(start - page, access, flags).is_err()
            || locks && self.usage().locked_bytes + (start - page) > self.limits.locked
        {
            return Err(Trouble::Segv);
        }
        for mut area in self.areas.remove(start, end) {
            area.start = page;
            self.areas.insert(area);
        }
        Ok(())
    }

    /// Locks a range in memory or unlocks it (mlock(2)); gives the pages a source still has to fill
    /// with [`Space::populate`]. Bounds are rounded outwards to pages.
    ///
    /// # Errors
    /// `ENOMEM`: a hole in the range, more than `RLIMIT_MEMLOCK`, or too many areas. `EINVAL`: not
    /// a range.
    pub fn lock(&mut self, address: u64, length: u64, lock: bool) -> Result<(), Errno> {
        let from = page_of(address);
        let length = length
            .checked_add(address - from)
            .and_then(|length| length.checked_next_multiple_of(PAGE))
            .ok_or(Errno::EINVAL)?;
        if from.checked_add(length).is_none() {
            return Err(Errno::EINVAL);
        }
        if length == 0 {
            return Ok(());
        }
        let to = range_end(from, length).ok_or(Errno::ENOMEM)?;
        if lock {
            let already: u64 = self
                .areas
                .overlapping(from, to)
                .filter(|area| area.flags.contains(AreaFlags::LOCKED))
                .map(|area| area.end.min(to) - area.start.max(from))
                .sum();
            let more = length.saturating_sub(already);
            if self.usage().locked_bytes.saturating_add(more) > self.limits.locked {
                return Err(Errno::ENOMEM);
            }
        }
        if !self.areas.covers(from, to) {
            return Err(Errno::ENOMEM);
        }
        self.check_cuts(from, to)?;
        self.areas
            .update(from, to, |area| area.flags.set(AreaFlags::LOCKED, lock));
        Ok(())
    }

    /// Whether something of a range is locked.
    pub fn is_locked(&self, address: u64, length: u64) -> bool {
        self.areas
            .overlapping(address, address.saturating_add(length))
            .any(|area| area.flags.contains(AreaFlags::LOCKED))
    }

    /// mlockall(2) with its `MCL_*` flags; none of them is munlockall(2).
    ///
    /// # Errors
    /// `ENOMEM`: more than `RLIMIT_MEMLOCK`.
    pub fn lock_all(&mut self, flags: u64) -> Result<(), Errno> {
        let current = flags & MCL_CURRENT != 0;
        if current && self.usage().virtual_bytes > self.limits.locked {
            return Err(Errno::ENOMEM);
        }
        self.lock_future = match flags & MCL_FUTURE {
            0 => 0,
            _ => flags & (MCL_FUTURE | MCL_ONFAULT),
        };
        if current || flags == 0 {
            let bounds = (0, machine::USER_END);
            self.areas.update(bounds.0, bounds.1, |area| {
                area.flags.set(AreaFlags::LOCKED, current)
            });
        }
        Ok(())
    }

    /// What mlockall(2) has said about mappings to come: whether they are locked, and whether they
    /// are filled at once.
    pub fn locks_future(&self) -> (bool, bool) {
        let locks = self.lock_future & MCL_FUTURE != 0;
        (locks, locks && self.lock_future & MCL_ONFAULT == 0)
    }

    /// Fills the pages of a range as an access of this kind would. Areas that forbid it are passed
    /// over when `write` is `None`, which fills each area for what it allows.
    ///
    /// # Errors
    /// The first page's [`Trouble`]; those before it are filled.
    pub fn populate(
        &mut self,
        from: u64,
        to: u64,
        access: Option<Access>,
        source: &mut dyn PageSource,
    ) -> Result<(), Trouble> {
        let mut page = page_of(from);
        while page < to {
            let Some(area) = self.areas.find(page) else {
                if access.is_some() {
                    return Err(Trouble::Segv);
                }
                page = self.areas.next(page).map_or(to, |area| area.start);
                continue;
            };
            let end = area.end.min(to);
            let usual = if area.access.contains(Access::WRITE) && !area.is_shared() {
                Access::WRITE
            } else {
                Access::READ
            };
            let wanted = access.unwrap_or(usual);
            if access.is_none() && !area.allows(wanted) {
                page = end;
                continue;
            }
            while page < end {
                self.fault(page, wanted, source)?;
                page += PAGE;
            }
        }
        Ok(())
    }
}
