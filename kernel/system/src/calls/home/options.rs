//! What a process has said of itself by prctl(2), and what follows from it when others end.
//!
//! Law: these stay with the home part, so that they hold wherever the body is; children have what
//! prctl(2) says they inherit.

use crate::credentials::{self, KEEP_CAPABILITIES, NO_AMBIENT_RAISE, SETPCAP};
use crate::dispatch::HomeCall;
use crate::home::{INIT, Life};
use crate::system::System;
use crate::wait::Stop;
use abi::Errno;

/// `PR_CAP_AMBIENT`.
const AMBIENT: u64 = 47;
const TIMER_SLACK_NS: u64 = 50_000;
/// `PR_SPEC_L1D_FLUSH`: the last kind of speculation that there is.
const SPECULATION_LAST: u64 = 2;

/// The options of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Options {
    /// The signal it gets when its parent ends; 0 is none.
    death_signal: u32,
    /// Orphans below it become its children.
    subreaper: bool,
    dumpable: bool,
    huge_pages_off: bool,
    timer_slack_ns: u64,
    /// personality(2).
    personality: u32,
    /// `coredump_filter` of proc(5): kept; nothing is ever dumped.
    dumped: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            death_signal: 0,
            subreaper: false,
            dumpable: true,
            huge_pages_off: false,
            timer_slack_ns: TIMER_SLACK_NS,
            personality: 0,
            dumped: 0x33,
        }
    }
}

impl Options {
    /// What a child begins with.
    #[must_use]
    pub fn of_child(&self) -> Options {
        Options {
            death_signal: 0,
            subreaper: false,
            ..*self
        }
    }

    /// Whether others of the same user may look into it.
    pub(super) fn is_open(&self) -> bool {
        self.dumpable
    }

    /// How late its timers may be, ns.
    pub(crate) fn timer_slack(&self) -> u64 {
        self.timer_slack_ns
    }

    /// Sets how late its timers may be; 0 is the usual.
    pub(crate) fn set_timer_slack(&mut self, ns: u64) {
        self.timer_slack_ns = if ns == 0 { TIMER_SLACK_NS } else { ns };
    }

    /// What would be in a dump of it.
    pub(crate) fn dumped(&self) -> u32 {
        self.dumped
    }

    /// Sets what would be in a dump of it, of what there is to choose from (`MMF_DUMP_FILTER_MASK`).
    pub(crate) fn set_dumped(&mut self, what: u32) {
        self.dumped = what & 0x1ff;
    }

    /// What personality(2) was told last.
    pub(crate) fn personality(&self) -> u32 {
        self.personality
    }

    /// The signal that it wants when its parent ends, if any.
    pub(crate) fn death_signal(&self) -> Option<u32> {
        (self.death_signal != 0).then_some(self.death_signal)
    }

    /// It has become another: nobody looks into it, and it does not care for its parent.
    pub(super) fn hide(&mut self) {
        self.dumpable = false;
        self.death_signal = 0;
    }

    /// What execve(2) leaves.
    pub fn reset_for_exec(&mut self) {
        self.dumpable = true;
    }
}

fn switch(value: u64) -> Result<bool, Stop> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// personality(2): kept and told; whatever it is, the calls are those of Linux. uname(2) names another machine by it.
pub fn personality(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let wanted = call.args[0] as u32;
    let options = &mut call.home().options;
    let before = options.personality;
    if wanted != u32::MAX {
        options.personality = wanted;
    }
    Ok(before.into())
}

/// prctl(2): `(option, value, ...)` as given; the value is what is returned or written.
pub fn option(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [option, value, rest @ ..] = call.args;
    match option {
        AMBIENT => return ambient(call),
        7 | 8 | 23 | 24 | 27 | 28 | 38 | 39 => return of_thread(call),
        _ => {}
    }
    let options = &mut call.home().options;
    let unused = rest[..3] == [0; 3];
    match option {
        // PR_SET_PDEATHSIG
        1 if value > 64 => return Err(Errno::EINVAL.into()),
        1 => options.death_signal = value as u32,
        2 => return Ok(u64::from(options.death_signal)),
        // PR_GET_DUMPABLE, PR_SET_DUMPABLE
        3 => return Ok(u64::from(options.dumpable)),
        4 => options.dumpable = switch(value)?,
        // PR_GET_TIMING, PR_SET_TIMING: statistical, as in Linux.
        13 => return Ok(0),
        14 if value == 0 => {}
        // PR_GET_TSC, PR_SET_TSC: programs may read it, and cannot be kept from that.
        25 => return Ok(1),
        26 if value != 1 => return Err(Errno::EINVAL.into()),
        26 => {}
        // PR_TASK_PERF_EVENTS_DISABLE and _ENABLE: there are none.
        31 | 32 => {}
        // PR_SET_TIMERSLACK, PR_GET_TIMERSLACK
        29 => {
            let kept = (value as i64 > 0).then_some(value);
            options.timer_slack_ns = kept.unwrap_or(TIMER_SLACK_NS);
        }
        30 => return Ok(options.timer_slack_ns),
        // PR_MCE_KILL_GET: as the system does by default.
        34 if value == 0 && unused => return Ok(2),
        // PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER
        36 => options.subreaper = value != 0,
        37 => return Ok(u64::from(options.subreaper)),
        // PR_GET_SPECULATION_CTRL, PR_SET_SPECULATION_CTRL: PR_SPEC_NOT_AFFECTED, and nobody can change it.
        52 if !unused => return Err(Errno::EINVAL.into()),
        53 if rest[1..3] != [0; 2] => return Err(Errno::EINVAL.into()),
        52 | 53 if value > SPECULATION_LAST => return Err(Errno::ENODEV.into()),
        52 => return Ok(0),
        53 => return Err(Errno::ENXIO.into()),
        // PR_GET_MDWE, PR_GET_MEMORY_MERGE: neither was asked for, as it cannot be.
        66 | 68 if value == 0 && unused => return Ok(0),
        // PR_SET_THP_DISABLE, PR_GET_THP_DISABLE
        41 if unused => options.huge_pages_off = value != 0,
        42 if value == 0 && unused => return Ok(u64::from(options.huge_pages_off)),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// The options that belong to who a thread is.
fn of_thread(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [option, value, rest @ ..] = call.args;
    let unused = rest[..3] == [0; 3];
    let gives = call.ids().has(SETPCAP);
    let own = call.credentials();
    match option {
        // PR_GET_KEEPCAPS, PR_SET_KEEPCAPS
        7 => return Ok(u64::from(own.secure & KEEP_CAPABILITIES != 0)),
        8 => {
            let others = own.secure & !KEEP_CAPABILITIES;
            let kept = if switch(value)? { KEEP_CAPABILITIES } else { 0 };
            // Who has it already may not have it again either once it is locked.
            if own.secure & KEEP_CAPABILITIES << 1 != 0 {
                return Err(Errno::EPERM.into());
            }
            own.secure = others | kept;
        }
        // PR_CAPBSET_READ, PR_CAPBSET_DROP
        23 | 24 if value > credentials::LAST => return Err(Errno::EINVAL.into()),
        23 => return Ok(own.bounding >> value & 1),
        24 if !gives => return Err(Errno::EPERM.into()),
        24 => own.bounding &= !(1 << value),
        // PR_GET_SECUREBITS, PR_SET_SECUREBITS
        27 => return Ok(own.secure.into()),
        28 if !gives => return Err(Errno::EPERM.into()),
        28 => own.set_secure(u32::try_from(value).unwrap_or(u32::MAX))?,
        // PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS
        38 if value == 1 && unused => own.gains_nothing = true,
        39 if value == 0 && unused => return Ok(own.gains_nothing.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// `PR_CAP_AMBIENT`: what is asked of the ambient set, and for which capability.
fn ambient(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [_, kind, capability, rest @ ..] = call.args;
    let own = call.credentials();
    let (secure, ids) = (own.secure, &mut own.ids);
    let valid = rest[..2] == [0; 2] && capability <= credentials::LAST;
    let bit = 1 << (capability & 63);
    match kind {
        // IS_SET, RAISE, LOWER, CLEAR_ALL
        1 if valid => return Ok(u64::from(ids.ambient & bit != 0)),
        2 if valid
            && (ids.permitted & ids.inheritable & bit == 0 || secure & NO_AMBIENT_RAISE != 0) =>
        {
            return Err(Errno::EPERM.into());
        }
        2 if valid => ids.ambient |= bit,
        3 if valid => ids.ambient &= !bit,
        4 if valid && capability == 0 => ids.ambient = 0,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

impl System {
    /// Who becomes the parent of the children of a process that ends: the nearest living ancestor
    /// that wants them, else the first process.
    pub(crate) fn reaper_for(&self, pid: u32) -> u32 {
        let mut at = pid;
        // Parents are no cycle; the bound is only for the reader.
        for _ in 0..self.homes.len() {
            let Some(home) = self.homes.get(&at) else {
                break;
            };
            if at != pid && home.options.subreaper && home.lives() {
                return at;
            }
            at = home.parent;
        }
        INIT
    }

    /// Tells the children of a process that has ended, as they wished.
    pub(crate) fn tell_of_death(&mut self, children: &[u32]) {
        for &child in children {
            let wish = self.homes.get(&child).and_then(|home| {
                let alive = !matches!(home.life, Life::Zombie(_));
                home.options.death_signal().filter(|_| alive)
            });
            if let Some(signal) = wish {
                self.signal(child, signal);
            }
        }
    }
}
