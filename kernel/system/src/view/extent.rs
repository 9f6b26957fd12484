//! What the sizes in /proc/PID/{stat,statm,status} are made of: the areas of a process, added up.
//!
//! Law: made from the text of `maps` as the body's node tells it, so that nothing more travels. Kinds are
//! those of `task_mem` and `task_statm` (fs/proc/task_mmu.c of Linux).

use super::bodies::{counts, range_of};

/// Areas of a process by their use: bytes where nothing else is said, and addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Private, writable, and not the stack.
    pub(super) data: u64,
    /// The stack.
    pub(super) stack: u64,
    /// Code of the program.
    pub(super) code: u64,
    /// Other code.
    pub(super) library: u64,
    /// Locked.
    pub(super) locked: u64,
    /// Pages with contents of their own.
    pub(super) anonymous_pages: u64,
    /// Pages of shared memory.
    pub(super) shared_pages: u64,
    /// Where the program's code is.
    pub(super) code_range: (u64, u64),
    /// The end of the stack.
    pub(super) stack_end: u64,
    /// The beginning of the heap.
    pub(super) heap_start: u64,
}

impl Extent {
    /// From the lines of `maps`.
    pub(super) fn of(maps: &str) -> Extent {
        let mut sum = Extent::default();
        for line in maps.lines() {
            let (start, end) = range_of(line);
            let bytes = end.saturating_sub(start);
            let rights = line.split(' ').nth(1).unwrap_or("").as_bytes();
            let [resident, private, locked] = counts(line);
            let (writable, executable) = (rights.contains(&b'w'), rights.contains(&b'x'));
            let shared = rights.contains(&b's');
            let name = line.split('\t').next().unwrap_or("");
            if name.ends_with("[stack]") {
                sum.stack += bytes;
                sum.stack_end = end;
            } else if writable && !shared {
                sum.data += bytes;
            }
            if name.ends_with("[heap]") {
                sum.heap_start = start;
            }
            // The program lies lowest.
            match executable && !writable {
                true if sum.code == 0 => (sum.code, sum.code_range) = (bytes, (start, end)),
                true => sum.library += bytes,
                false => {}
            }
            match shared {
                true => sum.shared_pages += resident,
                false => sum.anonymous_pages += private,
            }
            sum.locked += bytes * locked;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::Extent;

    #[test]
    fn areas_count_by_their_use() {
        let maps = "00400000-00402000 r-xp 00000000 @1\t1 0 0\n\
                    00402000-00403000 rw-p 00002000 @1\t1 1 0\n\
                    00500000-00504000 rw-p 00000000 [heap]\t2 2 1\n\
                    7f0000000000-7f0000003000 r-xp 00000000 @2\t3 0 0\n\
                    7f0000010000-7f0000012000 rw-s 00000000 /dev/zero (deleted)\t2 0 0\n\
                    7ffff0000000-7ffff0021000 rw-p 00000000 [stack]\t1 1 0\n";
        let sum = Extent::of(maps);
        assert_eq!((sum.code, sum.library), (0x2000, 0x3000));
        assert_eq!((sum.data, sum.stack), (0x5000, 0x21000));
        assert_eq!((sum.anonymous_pages, sum.shared_pages), (4, 2));
        assert_eq!(sum.code_range, (0x40_0000, 0x40_2000));
        assert_eq!(
            (sum.stack_end, sum.heap_start),
            (0x7fff_f002_1000, 0x50_0000)
        );
        assert_eq!(sum.locked, 0x4000);
        assert_eq!(Extent::of("-\n\t\nx y"), Extent::default());
    }
}
