//! System calls as a program in assembly makes them: by number, with whatever arguments.
//!
//! Law: what is here works on the *desk*, memory at a fixed low address in which no object of Rust lies,
//! and next to which none can lie. [`call`] passes only numbers that cannot be the address of such an
//! object, and refuses the calls that would replace what Rust stands on (stack, thread pointer, a
//! second flow of control). [`doom`] refuses nothing, and never returns.

use std::arch::asm;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The constants of the Linux ABI.
pub use libc;

/// Where the desk begins: 4 GiB. Programs, heaps, stacks and libraries lie far above, as programs here
/// are position independent.
pub const DESK: u64 = 1 << 32;
/// Its length: the first part stays mapped, the rest is to be played with.
pub const DESK_LENGTH: u64 = 1 << 24;
/// Bytes at the beginning of the desk that [`call`] lets nobody unmap.
pub const KEPT: u64 = 1 << 20;

/// The calls that [`call`] refuses: they need a stack, or take away the thread pointer.
const REFUSED: [libc::c_long; 6] = [
    libc::SYS_rt_sigreturn,
    libc::SYS_vfork,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_arch_prctl,
    libc::SYS_execveat,
];

/// The memory at [`DESK`]. There is one in a process.
#[derive(Debug)]
pub struct Desk(());

impl Desk {
    /// Maps the kept part, zeroed, readable and writable. `None` if something lies there.
    #[must_use]
    pub fn map() -> Option<Desk> {
        let protection = (libc::PROT_READ | libc::PROT_WRITE).cast_unsigned();
        let flags =
            (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE).cast_unsigned();
        let words = [DESK, KEPT, protection.into(), flags.into(), u64::MAX, 0];
        (perform(libc::SYS_mmap, words) == DESK.cast_signed()).then_some(Desk(()))
    }

    /// Copies `bytes` to `offset` of the kept part.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= KEPT, "off the desk");
        // SAFETY: the kept part is mapped as long as the desk lives, and the range lies in it.
        unsafe {
            let place = std::ptr::with_exposed_provenance_mut::<u8>((DESK + offset) as usize);
            place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    /// The `length` bytes at `offset` of the kept part.
    ///
    /// # Panics
    /// If they are not all in it.
    #[must_use]
    pub fn get(&self, offset: u64, length: usize) -> Vec<u8> {
        assert!(offset + length as u64 <= KEPT, "off the desk");
        let mut bytes = vec![0; length];
        // SAFETY: as in `put`.
        unsafe {
            let place = std::ptr::with_exposed_provenance::<u8>((DESK + offset) as usize);
            place.copy_to_nonoverlapping(bytes.as_mut_ptr(), length);
        }
        bytes
    }

    /// The number in the eight bytes at `offset`.
    #[must_use]
    pub fn word(&self, offset: u64) -> u64 {
        let bytes = self.get(offset, 8);
        bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Makes a system call and returns what the kernel left in `rax`.
    ///
    /// # Panics
    /// If the call is one of the refused, or an argument could be the address of an object of Rust,
    /// or the kept part would be unmapped.
    pub fn call(&mut self, number: libc::c_long, words: [u64; 6]) -> i64 {
        assert!(!REFUSED.contains(&number), "call {number} is refused");
        // A context of asynchronous I/O is named by the address of its ring: memory that the kernel has mapped for
        // it, and where it would touch nothing else.
        let names_ring = matches!(
            number,
            libc::SYS_io_destroy
                | libc::SYS_io_getevents
                | libc::SYS_io_submit
                | libc::SYS_io_cancel
        );
        for word in &words[usize::from(names_ring)..] {
            assert!(is_harmless(*word), "argument {word:#x} could be an address");
        }
        let changes_maps = matches!(
            number,
            libc::SYS_mmap
                | libc::SYS_munmap
                | libc::SYS_mprotect
                | libc::SYS_pkey_mprotect
                | libc::SYS_mremap
                | libc::SYS_madvise
        );
        let kept =
            |start: u64, length: u64| start < DESK + KEPT && start.saturating_add(length) > DESK;
        assert!(
            !(changes_maps && kept(words[0], words[1])),
            "the desk would be unmapped"
        );
        let moves_there = number == libc::SYS_mremap && kept(words[4], words[2]);
        assert!(!moves_there, "the desk would be unmapped");
        perform(number, words)
    }

    /// Loads the byte at an address of the desk, whatever is mapped there: ends the process with
    /// `SIGSEGV` or `SIGBUS` if nothing is.
    ///
    /// # Panics
    /// If the address is not of the desk.
    #[must_use]
    pub fn load(&self, address: u64) -> u8 {
        assert!(
            (DESK..DESK + DESK_LENGTH).contains(&address),
            "off the desk"
        );
        let byte: u8;
        // SAFETY: nothing of Rust lies there: the load gives a byte or faults.
        unsafe {
            asm!("mov {}, byte ptr [{}]", out(reg_byte) byte, in(reg) address,
                options(nostack, readonly, preserves_flags));
        }
        byte
    }

    /// Stores a byte, with the same end.
    ///
    /// # Panics
    /// If the address is not of the desk.
    pub fn store(&mut self, address: u64, byte: u8) {
        assert!(
            (DESK..DESK + DESK_LENGTH).contains(&address),
            "off the desk"
        );
        // SAFETY: as in `load`.
        unsafe {
            asm!("mov byte ptr [{}], {}", in(reg) address, in(reg_byte) byte,
                options(nostack, preserves_flags));
        }
    }
}

/// True for what cannot be an address of an object of Rust: below the desk, on it, or beyond user space.
fn is_harmless(word: u64) -> bool {
    !(DESK + DESK_LENGTH..1 << 47).contains(&word)
}

fn perform(number: libc::c_long, words: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the callers see to it that no memory of Rust is reached; the registers that the
    // instruction changes are named (System V AMD64 psABI, A.2.1).
    unsafe {
        asm!("syscall", inlateout("rax") number => result,
            in("rdi") words[0], in("rsi") words[1], in("rdx") words[2],
            in("r10") words[3], in("r8") words[4], in("r9") words[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

// ---- the end -------------------------------------------------------------------------------------

/// One call of a doomed process.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    /// Its number.
    pub number: u64,
    /// Its arguments.
    pub words: [u64; 6],
    /// Bit n set: argument n is the pid of who calls.
    pub own: u8,
}

/// How many calls a child made by such a call still makes.
const AFTER_FORK: usize = 6;

/// Makes the calls of `plan`, whatever they are, and ends. Whatever a call does to the memory of this
/// process, no Rust code runs afterwards that could see it.
pub fn doom(plan: &[Planned]) -> ! {
    let mut end = plan.len();
    let mut at = 0;
    while at < end {
        let planned = plan[at];
        let mut words = planned.words;
        for (index, word) in words.iter_mut().enumerate() {
            if planned.own & (1 << index) != 0 {
                *word = perform(libc::SYS_getpid, [0; 6]).cast_unsigned();
            }
        }
        let number = planned.number.cast_signed();
        let result = perform(number, words);
        at += 1;
        let forks = [
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_clone,
            libc::SYS_clone3,
        ];
        if result == 0 && forks.contains(&number) {
            end = end.min(at + AFTER_FORK);
        }
    }
    loop {
        perform(libc::SYS_exit_group, [0; 6]);
    }
}

// ---- signals that are noted ----------------------------------------------------------------------

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Its number.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_value`, for those that were queued with one.
    pub value: i32,
}

/// Signals that are noted until they are asked for, or more have come.
const NOTED: u32 = 64;
static NOTES: [AtomicU64; NOTED as usize] = [const { AtomicU64::new(0) }; NOTED as usize];
/// How many have been noted, and how many asked for: never back to zero, as more may come while they are read.
static NEXT: AtomicU32 = AtomicU32::new(0);
static ASKED: AtomicU32 = AtomicU32::new(0);

/// The place of the n-th.
fn place(number: u32) -> &'static AtomicU64 {
    &NOTES[(number % NOTED) as usize]
}

extern "C" fn note(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO.
    let (code, value) = unsafe { ((*info).si_code, (*info).si_value().sival_ptr as usize) };
    let code = u64::from(code.cast_unsigned() & 0xffff) << 8;
    let word = u64::from(signal.cast_unsigned() & 0xff) | code | (value as u64) << 32;
    let at = NEXT.fetch_add(1, Ordering::SeqCst);
    place(at).store(word, Ordering::SeqCst);
}

/// What is done about a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// `SIG_DFL`.
    Default,
    /// `SIG_IGN`.
    Ignore,
    /// It is noted.
    Note,
}

/// Sets what is done about `signal`, with `SA_*` flags and a mask of signals blocked meanwhile (bit n - 1
/// is signal n). Returns 0 or the negative errno.
#[must_use]
pub fn dispose(signal: i32, what: Disposition, flags: i32, mask: u64) -> i64 {
    // SAFETY: sigaction is plain data, for which zero is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = match what {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
        Disposition::Note => note as *const () as usize,
    };
    action.sa_flags = flags | libc::SA_SIGINFO;
    for signal in (1..=64).filter(|signal| mask & 1 << (signal - 1) != 0) {
        // SAFETY: the set is valid, and an impossible signal is refused.
        unsafe { libc::sigaddset(&raw mut action.sa_mask, signal) };
    }
    // SAFETY: the handler only touches atomics, so it may run anywhere.
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } == 0 {
        return 0;
    }
    -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// The signals noted since the last time, oldest first.
#[must_use]
pub fn came() -> Vec<Came> {
    let next = NEXT.load(Ordering::SeqCst);
    let asked = ASKED.swap(next, Ordering::SeqCst);
    let count = next.wrapping_sub(asked).min(NOTED);
    let words = (0..count).map(|at| {
        let number = next.wrapping_sub(count).wrapping_add(at);
        place(number).load(Ordering::SeqCst)
    });
    words
        .map(|word| Came {
            signal: i32::from(word as u8),
            code: i32::from((word >> 8) as i16),
            value: ((word >> 32) as u32).cast_signed(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Came, DESK, Desk, Disposition, KEPT, came, dispose, libc};

    #[test]
    fn the_desk_is_played_on_and_signals_are_noted() {
        let mut desk = Desk::map().expect("nothing lies there");
        assert!(Desk::map().is_none(), "there is one");
        desk.put(8, b"abc\0");
        assert_eq!(desk.get(8, 4), b"abc\0");
        let length = desk.call(libc::SYS_getcwd, [DESK, KEPT, 0, 0, 0, 0]);
        assert!(length > 1);
        assert_eq!(desk.load(DESK), b'/');
        assert_eq!(dispose(libc::SIGUSR1, Disposition::Note, 0, 0), 0);
        assert_eq!(dispose(libc::SIGKILL, Disposition::Note, 0, 0), -22);
        // To this thread, so that it has come when the call returns.
        let (pid, tid) = (
            desk.call(libc::SYS_getpid, [0; 6]).cast_unsigned(),
            desk.call(libc::SYS_gettid, [0; 6]).cast_unsigned(),
        );
        assert_eq!(desk.call(libc::SYS_tgkill, [pid, tid, 10, 0, 0, 0]), 0);
        let seen: Vec<(i32, i32)> = came()
            .iter()
            .map(|came: &Came| (came.signal, came.code))
            .collect();
        assert_eq!(seen, [(libc::SIGUSR1, libc::SI_TKILL)]);
        assert_eq!(
            desk.call(libc::SYS_munmap, [1 << 47, 4096, 0, 0, 0, 0]),
            i64::from(-libc::EINVAL)
        );
    }
}
