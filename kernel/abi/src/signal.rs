//! Signals: numbers, default actions and the sets they form.
//!
//! From Linux' `include/uapi/asm-generic/signal.h` and signal(7).

/// Highest signal number.
pub const SIGNAL_MAX: u32 = 64;
#[expect(missing_docs, reason = "the names are those of signal(7)")]
mod numbers {
    pub const SIGHUP: u32 = 1;
    pub const SIGINT: u32 = 2;
    pub const SIGQUIT: u32 = 3;
    pub const SIGILL: u32 = 4;
    pub const SIGTRAP: u32 = 5;
    pub const SIGBUS: u32 = 7;
    pub const SIGFPE: u32 = 8;
    pub const SIGKILL: u32 = 9;
    pub const SIGSEGV: u32 = 11;
    pub const SIGPIPE: u32 = 13;
    pub const SIGALRM: u32 = 14;
    pub const SIGTERM: u32 = 15;
    pub const SIGCHLD: u32 = 17;
    pub const SIGCONT: u32 = 18;
    pub const SIGSTOP: u32 = 19;
    pub const SIGTSTP: u32 = 20;
    pub const SIGTTIN: u32 = 21;
    pub const SIGTTOU: u32 = 22;
    pub const SIGURG: u32 = 23;
    /// The CPU time of the soft limit is used.
    pub const SIGXCPU: u32 = 24;
    /// A file got as large as files may get.
    pub const SIGXFSZ: u32 = 25;
    pub const SIGVTALRM: u32 = 26;
    pub const SIGPROF: u32 = 27;
    pub const SIGWINCH: u32 = 28;
    pub const SIGIO: u32 = 29;
    pub const SIGSYS: u32 = 31;
}
pub use numbers::*;

/// What a signal does to a process that has not said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// The process ends.
    Terminate,
    /// The process ends; Linux would write a core file and says so in the status.
    Core,
    /// Nothing.
    Ignore,
    /// The process stops until SIGCONT.
    Stop,
    /// The process goes on if it was stopped.
    Continue,
}

/// The default action of a signal (signal(7), "Standard signals").
pub fn default_action(signal: u32) -> Default {
    match signal {
        SIGCHLD | SIGURG | SIGWINCH => Default::Ignore,
        SIGCONT => Default::Continue,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => Default::Stop,
        SIGQUIT | SIGILL | SIGTRAP | 6 | SIGBUS | SIGFPE | SIGSEGV | 24 | 25 | 31 => Default::Core,
        _ => Default::Terminate,
    }
}

/// The bit of a signal in a set.
pub fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// Signals that can be neither blocked, ignored nor caught.
pub const UNBLOCKABLE: u64 = (1 << (SIGKILL - 1)) | (1 << (SIGSTOP - 1));
