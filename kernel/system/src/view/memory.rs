//! The memory of a process as its files show it: `mem` and `pagemap`.
//!
//! Law: who is looked into is brought home for it, as for process_vm_readv(2), and is looked at when its
//! pages have come; until then the reader waits, and looks again after a while.

use crate::calls::home::PROC_BYTES;
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;
use alloc::vec::Vec;
use machine::{PAGE_SIZE, USER_END};

/// Bytes that one call copies at most.
pub(crate) const AT_ONCE: usize = 64 << 10;
/// An entry of `pagemap`: the page is there (`PM_PRESENT`), and is one of a file or shared (`PM_FILE`).
const PRESENT: u64 = 1 << 63;
const OF_A_FILE: u64 = 1 << 61;

impl System {
    /// Makes sure that a process may be looked into and is here with all its memory.
    pub(crate) fn look_into(&mut self, pid: u32, reader: u32) -> Result<(), Stop> {
        self.may_look_into(reader, pid)?;
        if !self.homes.get(&pid).is_some_and(crate::home::Home::lives) {
            return Err(Stop::Errno(Errno::ESRCH));
        }
        self.bring_home(pid, reader)?;
        match self.space_of(pid) {
            Some(space) if space.next_absent(0).is_none() => Ok(()),
            _ => Err(Stop::Wait),
        }
    }

    /// Looks at what a process has in the place of its arguments, if its memory is here: it may have written there what
    /// it wants to be called (setproctitle(3)). While it is away it is called what it was called when it left.
    pub(crate) fn look_at_title(&mut self, pid: u32) {
        if let Some(line) = self.line_in_memory(pid)
            && let Some(home) = self.homes.get_mut(&pid)
        {
            home.title = (line != home.command_line).then_some(line);
        }
    }

    /// The arguments as they are in memory (`get_mm_cmdline` of Linux): behind them is the environment, and behind that
    /// the path of the program, whose place the auxiliary vector tells.
    fn line_in_memory(&mut self, pid: u32) -> Option<Vec<u8>> {
        const AT_EXECFN: u64 = 31;
        let home = self.homes.get(&pid)?;
        let (line, environment) = (home.command_line.len(), home.environment.len());
        // Longer ones were cut, so that nobody knows where they begin.
        if line == 0 || line.max(environment) >= PROC_BYTES {
            return None;
        }
        let words = home.auxiliary.as_chunks::<8>().0;
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let pairs = words.as_chunks::<2>().0;
        let end = pairs.iter().find(|pair| pair[0] == AT_EXECFN)?[1];
        let start = end.checked_sub((line + environment) as u64)?;
        // Only what is here already: nobody waits for a name.
        self.space_of(pid)?.next_absent(0).is_none().then_some(())?;
        let mut bytes = alloc::vec![0; line + environment];
        self.with_space(pid, |space, pages| {
            space.read_by_force(start, &mut bytes, pages)
        })
        .ok()?;
        if bytes[line - 1] == 0 {
            bytes.truncate(line);
            return Some(bytes);
        }
        // It goes on into the environment, as one text.
        let text = bytes.iter().position(|byte| *byte == 0);
        bytes.truncate(text.map_or(bytes.len(), |end| end + 1).min(PAGE_SIZE));
        Some(bytes)
    }

    /// How many of `count` bytes from `at` on lie in one page.
    fn in_page(at: u64, count: usize) -> usize {
        count.min(PAGE_SIZE - at as usize % PAGE_SIZE)
    }

    /// Bytes of its memory.
    pub(super) fn bytes_of(
        &mut self,
        pid: u32,
        reader: u32,
        at: u64,
        count: usize,
    ) -> Result<Vec<u8>, Stop> {
        if count == 0 {
            return Ok(Vec::new());
        }
        self.look_into(pid, reader)?;
        let mut bytes = Vec::new();
        let count = count.min(AT_ONCE);
        while bytes.len() < count {
            let from = at.saturating_add(bytes.len() as u64);
            let mut piece = alloc::vec![0; System::in_page(from, count - bytes.len())];
            let read = self.with_space(pid, |space, pages| {
                space.read_by_force(from, &mut piece, pages)
            });
            if let Err(trouble) = read {
                return match self.trouble(reader, trouble) {
                    _ if !bytes.is_empty() => Ok(bytes),
                    Stop::Errno(Errno::EFAULT) => Err(Errno::EIO.into()),
                    stop => Err(stop),
                };
            }
            bytes.append(&mut piece);
        }
        Ok(bytes)
    }

    /// Writes to its memory.
    pub(super) fn set_bytes_of(
        &mut self,
        pid: u32,
        writer: u32,
        at: u64,
        bytes: &[u8],
    ) -> Result<usize, Stop> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.look_into(pid, writer)?;
        let mut done = 0;
        let count = bytes.len().min(AT_ONCE);
        while done < count {
            let to = at.saturating_add(done as u64);
            let piece = &bytes[done..done + System::in_page(to, count - done)];
            let written =
                self.with_space(pid, |space, pages| space.write_by_force(to, piece, pages));
            if let Err(trouble) = written {
                return match self.trouble(writer, trouble) {
                    _ if done > 0 => Ok(done),
                    Stop::Errno(Errno::EFAULT) => Err(Errno::EIO.into()),
                    stop => Err(stop),
                };
            }
            done += piece.len();
        }
        Ok(done)
    }

    /// Entries of `pagemap`, of eight bytes each. Which frame it is, is nobody's business.
    pub(super) fn pages_of(
        &mut self,
        pid: u32,
        reader: u32,
        at: u64,
        count: usize,
    ) -> Result<Vec<u8>, Stop> {
        if !at.is_multiple_of(8) || !count.is_multiple_of(8) {
            return Err(Errno::EINVAL.into());
        }
        self.look_into(pid, reader)?;
        let Some(space) = self.space_of(pid) else {
            return Ok(Vec::new());
        };
        let first = at / 8;
        let pages = USER_END / PAGE_SIZE as u64;
        let wanted = (count.min(AT_ONCE) / 8) as u64;
        let last = first.saturating_add(wanted).min(pages);
        let entry = |page: u64| {
            let address = page * PAGE_SIZE as u64;
            match space.area_at(address) {
                Some(area) if space.is_resident(address) => {
                    let of_a_file = area.is_shared() || area.home_file().is_some();
                    PRESENT
                        | if of_a_file && space.page(address).is_none() {
                            OF_A_FILE
                        } else {
                            0
                        }
                }
                _ => 0,
            }
        };
        Ok((first..last)
            .flat_map(|page| entry(page).to_le_bytes())
            .collect())
    }
}
