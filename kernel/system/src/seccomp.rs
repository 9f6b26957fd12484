//! seccomp(2): which system calls a thread may still make.
//!
//! Law: filters are programs of classic BPF, checked whole when they are given. They belong to the thread, go to its children, stay over execve and travel in the descriptor; none is
//! ever taken off. What several filters say together is the strictest of it.

use crate::bpf::{Data, INSTRUCTION, LOAD_WORD, Program, read_program};
use crate::credentials::SYS_ADMIN;
use crate::dispatch::{CALL_WATCHED, HomeCall, LocalCall};
use crate::signals::{InfoRest, SignalInfo};
use crate::system::System;
use crate::thread::{Due, Pending};
use crate::wait::Stop;
use abi::{Errno, signal};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Instructions of all filters of a thread together.
const ALL_MAX: usize = 32_768;
/// How much each filter counts besides its instructions.
const OVERHEAD: usize = 4;
/// `AUDIT_ARCH_X86_64`.
const ARCH: u32 = 0xc000_003e;
/// `struct seccomp_data`: number, architecture, instruction, six arguments; words of 32 bits.
const DATA_WORDS: usize = 16;

/// What a thread may call.
#[derive(Clone, Default, Debug)]
pub enum Seccomp {
    /// Everything.
    #[default]
    Free,
    /// read, write, exit and rt_sigreturn.
    Strict,
    /// What all filters let through.
    Filtered(Arc<Filter>),
}

/// A filter, and those that the thread had before.
#[derive(Debug)]
pub struct Filter {
    program: Program,
    /// The one before it.
    below: Option<Arc<Filter>>,
    /// What it and all before it count.
    weight: usize,
}

/// What a filter looks at: the `struct seccomp_data` of a call.
struct CallData([u32; DATA_WORDS]);

impl Data for CallData {
    fn knows(code: u16, k: u32) -> bool {
        let k = k as usize;
        code == LOAD_WORD && k < DATA_WORDS * 4 && k.is_multiple_of(4)
    }

    fn length(&self) -> u32 {
        DATA_WORDS as u32 * 4
    }

    fn load(&self, at: u32, _: u16) -> Option<u32> {
        self.0.get(at as usize / 4).copied()
    }
}

/// What is to be done about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    /// It fails so.
    Errno(u16),
    /// SIGSYS, with this number.
    Trap(u16),
    KillThread,
    KillProcess,
}

impl Verdict {
    fn of(value: u32) -> Verdict {
        let data = value as u16;
        match value & 0xffff_0000 {
            // SECCOMP_RET_ALLOW, SECCOMP_RET_LOG
            0x7fff_0000 | 0x7ffc_0000 => Verdict::Allow,
            0x0005_0000 => Verdict::Errno(data.min(4095)),
            0x0003_0000 => Verdict::Trap(data),
            // Nobody traces, and nobody is notified.
            0x7ff0_0000 | 0x7fc0_0000 => Verdict::Errno(Errno::ENOSYS.0 as u16),
            0x0000_0000 => Verdict::KillThread,
            _ => Verdict::KillProcess,
        }
    }
}

impl Seccomp {
    /// `PR_GET_SECCOMP`.
    fn mode(&self) -> u64 {
        match self {
            Seccomp::Free => 0,
            Seccomp::Strict => 1,
            Seccomp::Filtered(_) => 2,
        }
    }

    /// What is to be done about a call of this number, made at an address.
    fn judge(&self, number: u64, at: u64, args: &[u64; 6]) -> Verdict {
        match self {
            Seccomp::Free => Verdict::Allow,
            Seccomp::Strict if matches!(number, 0 | 1 | 15 | 60) => Verdict::Allow,
            Seccomp::Strict => Verdict::KillProcess,
            Seccomp::Filtered(filter) => {
                let mut data = [0; DATA_WORDS];
                (data[0], data[1]) = (number as u32, ARCH);
                for (halves, word) in data[2..].chunks_mut(2).zip([at].iter().chain(args)) {
                    (halves[0], halves[1]) = (*word as u32, (*word >> 32) as u32);
                }
                let data = CallData(data);
                let values = filter.all().map(|filter| filter.program.run(&data));
                // The lower the action, the stricter; of two alike the newest filter's counts.
                let strictest = values.min_by_key(|value| (value & 0xffff_0000) as i32);
                Verdict::of(strictest.unwrap_or(0))
            }
        }
    }
}

impl Filter {
    /// A filter on top of others.
    ///
    /// # Errors
    /// EINVAL for a program that may not run, ENOMEM for too much of it.
    fn new(words: impl Iterator<Item = u64>, below: Option<Arc<Filter>>) -> Result<Filter, Errno> {
        let program = Program::new::<CallData>(words)?;
        let under = below.as_ref().map_or(0, |below| below.weight);
        let weight = under + program.words().len() + OVERHEAD;
        if weight > ALL_MAX {
            return Err(Errno::ENOMEM);
        }
        Ok(Filter {
            program,
            below,
            weight,
        })
    }

    /// It and those before it.
    fn all(&self) -> impl Iterator<Item = &Filter> {
        core::iter::successors(Some(self), |filter| filter.below.as_deref())
    }
}

impl System {
    /// Whether each call of a thread has to be looked at before it is made.
    pub(crate) fn is_watched(&self, tid: u32) -> bool {
        let thread = self.threads.get(&tid);
        thread.is_some_and(|thread| thread.is_watched())
    }

    /// Whether a thread may make the call that it has come with; if not, what its filters say is done.
    pub(crate) fn permits(&mut self, tid: u32, args: &[u64; 6]) -> bool {
        const SYS_SECCOMP: i32 = 1;
        const CALL_EXIT: u32 = 60;
        let thread = self.thread(tid);
        let (number, at) = (thread.registers.rax, thread.registers.rip);
        let verdict = thread.seccomp.judge(number, at, args);
        let pid = thread.pid;
        let alone = self.tids(pid).len() == 1;
        let thread = self.thread(tid);
        match verdict {
            Verdict::Allow => return true,
            Verdict::Errno(errno) => {
                thread.registers.rax = (-i64::from(errno)) as u64;
            }
            Verdict::Trap(data) => {
                let info = SignalInfo {
                    signal: signal::SIGSYS,
                    code: SYS_SECCOMP,
                    words: [at, number & 0xffff_ffff | u64::from(ARCH) << 32],
                    rest: InfoRest {
                        errno: data.into(),
                        ..InfoRest::default()
                    },
                };
                thread.signals.due = Some(Due { info, forced: true });
            }
            Verdict::KillThread if !alone => {
                thread.call = Some(Pending {
                    number: CALL_EXIT,
                    args: [signal::SIGSYS.into(), 0, 0, 0, 0, 0],
                });
            }
            Verdict::KillThread | Verdict::KillProcess => {
                let signal = match thread.seccomp {
                    Seccomp::Strict => signal::SIGKILL,
                    _ => signal::SIGSYS,
                };
                self.end_by(tid, signal);
            }
        }
        self.advance(tid);
        false
    }
}

// ---- on the way ----------------------------------------------------------------------------------------

/// All filters of some threads, each behind those that it stands on, as words: the number of the one below plus
/// one, the number of instructions, the instructions.
#[derive(Default)]
pub(crate) struct Packed {
    known: Vec<Arc<Filter>>,
    pub(crate) words: Vec<u64>,
}

impl Packed {
    /// What stands for a thread's state.
    pub(crate) fn add(&mut self, seccomp: &Seccomp) -> u32 {
        match seccomp {
            Seccomp::Free => 0,
            Seccomp::Strict => 1,
            Seccomp::Filtered(filter) => 2 + self.number(filter),
        }
    }

    fn number(&mut self, filter: &Arc<Filter>) -> u32 {
        let mut new = Vec::new();
        let mut at = Some(filter);
        while let Some(one) = at.filter(|one| self.find(one).is_none()) {
            new.push(one.clone());
            at = one.below.as_ref();
        }
        for one in new.into_iter().rev() {
            let below = one.below.as_ref().and_then(|below| self.find(below));
            self.words.push(below.map_or(0, |number| number as u64 + 1));
            self.words.push(one.program.words().len() as u64);
            self.words.extend(one.program.words());
            self.known.push(one);
        }
        self.find(filter).unwrap_or(0) as u32
    }

    fn find(&self, filter: &Arc<Filter>) -> Option<usize> {
        self.known
            .iter()
            .position(|known| Arc::ptr_eq(known, filter))
    }
}

/// The filters that [`Packed`] has written down; `None` if it cannot have been that.
pub(crate) fn unpack(mut words: &[u64]) -> Option<Vec<Arc<Filter>>> {
    let mut filters: Vec<Arc<Filter>> = Vec::new();
    while let Some(([below, length], rest)) = words.split_first_chunk::<2>() {
        let below = match usize::try_from(*below).ok()?.checked_sub(1) {
            Some(number) => Some(filters.get(number)?.clone()),
            None => None,
        };
        let (program, rest) = rest.split_at_checked(usize::try_from(*length).ok()?)?;
        let filter = Filter::new(program.iter().copied(), below).ok()?;
        filters.push(Arc::new(filter));
        words = rest;
    }
    words.is_empty().then_some(filters)
}

/// The state that a number stands for.
pub(crate) fn unpacked(number: u32, filters: &[Arc<Filter>]) -> Option<Seccomp> {
    Some(match number {
        0 => Seccomp::Free,
        1 => Seccomp::Strict,
        number => Seccomp::Filtered(filters.get(number as usize - 2)?.clone()),
    })
}

// ---- the calls -----------------------------------------------------------------------------------------

const STRICT: u64 = 1;
const FILTER: u64 = 2;

/// The options of prctl(2).
pub(crate) fn option(call: &mut LocalCall<'_>) -> Option<Result<u64, Stop>> {
    const PR_GET_SECCOMP: u64 = 21;
    const PR_SET_SECCOMP: u64 = 22;
    let [option, mode, program, ..] = call.args;
    let option = u64::from(option as u32);
    Some(match (option, mode) {
        (PR_GET_SECCOMP, _) => Ok(call.thread().seccomp.mode()),
        (PR_SET_SECCOMP, STRICT) => be_strict(call),
        (PR_SET_SECCOMP, FILTER) => add(call, program, 0),
        (PR_SET_SECCOMP, _) => Err(Errno::EINVAL.into()),
        _ => return None,
    })
}

/// seccomp(2).
pub(crate) fn seccomp(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    const SET_STRICT: u64 = 0;
    const SET_FILTER: u64 = 1;
    const ACTION_AVAILABLE: u64 = 2;
    let [operation, flags, argument, ..] = call.args;
    match operation & 0xffff_ffff {
        SET_STRICT if flags == 0 && argument == 0 => be_strict(call),
        SET_FILTER => add(call, argument, flags),
        ACTION_AVAILABLE if flags == 0 => {
            let mut action = [0; 4];
            call.read_into(argument, &mut action)?;
            match u32::from_le_bytes(action) {
                0 | 0x8000_0000 | 0x0003_0000 | 0x0005_0000 | 0x7ffc_0000 | 0x7fff_0000 => Ok(0),
                _ => Err(Errno::EOPNOTSUPP.into()),
            }
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

fn be_strict(call: &mut LocalCall<'_>) -> Result<u64, Stop> {
    if call.thread().seccomp.mode() == FILTER {
        return Err(Errno::EINVAL.into());
    }
    call.ask_home(CALL_WATCHED, [STRICT, 0, 0, 0, 0, 0])?;
    call.thread().seccomp = Seccomp::Strict;
    Ok(0)
}

/// A thread, or all of its process, is to be watched: `(mode, whether all)`. Home shows that, and knows who may
/// filter calls: who gains nothing by execve, or may do anything.
pub(crate) fn watched(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [mode, all, ..] = call.args;
    let (tid, own) = (call.tid, &call.thread().credentials);
    let gains_nothing = own.gains_nothing;
    if mode == FILTER && !gains_nothing && !own.ids.has(SYS_ADMIN) {
        return Err(Errno::EACCES.into());
    }
    for (known, thread) in &mut call.home().threads {
        if all != 0 || *known == tid {
            thread.seccomp = mode as u8;
        }
        if all != 0 && gains_nothing && !thread.credentials.gains_nothing {
            Arc::make_mut(&mut thread.credentials).gains_nothing = true;
        }
    }
    Ok(0)
}

/// Another filter, for the thread or (`TSYNC`) for all of the process.
fn add(call: &mut LocalCall<'_>, address: u64, flags: u64) -> Result<u64, Stop> {
    const TSYNC: u64 = 1;
    const LOG: u64 = 2;
    const SPECULATES: u64 = 4;
    const TSYNC_ESRCH: u64 = 0x10;
    if flags & !(TSYNC | LOG | SPECULATES | TSYNC_ESRCH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let bytes = read_program(call, address)?;
    let (words, _) = bytes.as_chunks::<INSTRUCTION>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let below = match &call.thread().seccomp {
        Seccomp::Free => None,
        Seccomp::Strict => return Err(Errno::EINVAL.into()),
        Seccomp::Filtered(filter) => Some(filter.clone()),
    };
    let filter = Arc::new(Filter::new(words, below.clone())?);
    let (tid, mut threads) = (call.tid, alloc::vec![call.tid]);
    if flags & TSYNC != 0 {
        threads = call.system.tids(call.pid);
        let apart = threads.iter().find(|other| {
            let other = call.system.threads.get(other);
            other.is_some_and(|other| other.tid != tid && !other.seccomp.is_under(below.as_ref()))
        });
        if let Some(apart) = apart {
            let wants_errno = flags & TSYNC_ESRCH != 0;
            let named = Ok(u64::from(*apart));
            return if wants_errno {
                Err(Errno::ESRCH.into())
            } else {
                named
            };
        }
    }
    call.ask_home(CALL_WATCHED, [FILTER, flags & TSYNC, 0, 0, 0, 0])?;
    for tid in threads {
        if let Some(thread) = call.system.threads.get_mut(&tid) {
            thread.seccomp = Seccomp::Filtered(filter.clone());
            // Who is in user mode comes here once, and is watched from then on.
            call.system.wakes.push(tid);
        }
    }
    Ok(0)
}

impl Seccomp {
    /// Whether all of its filters are among those of another thread.
    fn is_under(&self, top: Option<&Arc<Filter>>) -> bool {
        match self {
            Seccomp::Free => true,
            Seccomp::Strict => false,
            Seccomp::Filtered(filter) => top.is_some_and(|top| {
                let mine: *const Filter = Arc::as_ptr(filter);
                top.all().any(|one| core::ptr::eq(one, mine))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{Instruction, LENGTH_MAX, RETURN, RETURN_A};

    fn word(code: u16, if_true: u8, if_false: u8, k: u32) -> u64 {
        let one = Instruction {
            code,
            if_true,
            if_false,
            k,
        };
        one.to_word()
    }

    /// Fails one call with an error and lets all others through.
    fn refuses(number: u32, errno: u32) -> Vec<u64> {
        alloc::vec![
            word(LOAD_WORD, 0, 0, 0),
            word(0x15, 0, 1, number),
            word(RETURN, 0, 0, 0x0005_0000 | errno),
            word(RETURN, 0, 0, 0x7fff_0000),
        ]
    }

    fn on_top(words: Vec<u64>, below: Option<Arc<Filter>>) -> Arc<Filter> {
        Arc::new(Filter::new(words.into_iter(), below).expect("sound"))
    }

    #[test]
    fn the_strictest_of_all_filters_counts() {
        let first = on_top(refuses(39, 7), None);
        let second = on_top(
            alloc::vec![
                word(LOAD_WORD, 0, 0, 16),
                word(0x15, 0, 1, 5),
                word(RETURN, 0, 0, 0x0003_0009),
                word(RETURN, 0, 0, 0x7fff_0000),
            ],
            Some(first),
        );
        let seccomp = Seccomp::Filtered(second);
        let judge = |number, first| seccomp.judge(number, 0, &[first, 0, 0, 0, 0, 0]);
        assert_eq!(judge(39, 0), Verdict::Errno(7));
        assert_eq!(judge(39, 5), Verdict::Trap(9));
        assert_eq!(judge(40, 5), Verdict::Trap(9));
        assert_eq!(judge(40, 6), Verdict::Allow);
        assert_eq!(Seccomp::Strict.judge(39, 0, &[0; 6]), Verdict::KillProcess);
        assert_eq!(Seccomp::Strict.judge(0, 0, &[0; 6]), Verdict::Allow);
    }

    #[test]
    fn programs_that_could_go_astray_are_refused() {
        let end = word(RETURN, 0, 0, 0);
        for bad in [
            alloc::vec![],
            alloc::vec![word(LOAD_WORD, 0, 0, 0)],
            alloc::vec![word(LOAD_WORD, 0, 0, 2), end],
            alloc::vec![word(LOAD_WORD, 0, 0, 64), end],
            alloc::vec![word(0x05, 0, 0, 1), end],
            alloc::vec![word(0x15, 1, 0, 1), end],
            alloc::vec![word(0x34, 0, 0, 0), end],
            alloc::vec![word(0x60, 0, 0, 16), end],
            alloc::vec![word(0xffff, 0, 0, 0), end],
            alloc::vec![end; LENGTH_MAX + 1],
        ] {
            assert!(Filter::new(bad.into_iter(), None).is_err());
        }
    }

    #[test]
    fn arithmetic_is_that_of_bpf() {
        let program = alloc::vec![
            word(0x00, 0, 0, 6),
            word(0x07, 0, 0, 0),
            word(0x24, 0, 0, 7),
            word(0x02, 0, 0, 3),
            word(0x1c, 0, 0, 0),
            word(0x61, 0, 0, 3),
            word(0xac, 0, 0, 0),
            word(RETURN_A, 0, 0, 0),
        ];
        let data = CallData([0; DATA_WORDS]);
        assert_eq!(on_top(program, None).program.run(&data), 36 ^ 42);
    }

    #[test]
    fn filters_survive_their_words_and_share_what_they_shared() {
        let low = on_top(refuses(1, 1), None);
        let states = [
            Seccomp::Filtered(on_top(refuses(2, 2), Some(low.clone()))),
            Seccomp::Filtered(low),
            Seccomp::Strict,
            Seccomp::Free,
        ];
        let mut packed = Packed::default();
        let numbers = states.each_ref().map(|state| packed.add(state));
        assert_eq!(numbers, [3, 2, 1, 0]);
        let filters = unpack(&packed.words).expect("what was packed");
        assert_eq!(filters.len(), 2);
        let back = unpacked(3, &filters).expect("there");
        assert_eq!(back.judge(1, 0, &[0; 6]), Verdict::Errno(1));
        assert_eq!(back.judge(2, 0, &[0; 6]), Verdict::Errno(2));
        assert!(unpacked(4, &filters).is_none());
        assert!(unpack(&[1]).is_none());
        assert!(unpack(&[7, 1, word(RETURN, 0, 0, 0)]).is_none());
    }
}
