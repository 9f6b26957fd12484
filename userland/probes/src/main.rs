//! Probes: programs that prepare something, get moved, and verify that nothing changed.
//!
//! Law: a probe prints the same bytes whether it is moved or not, and ends with `PASS NAME` and
//! status 0, or `FAIL NAME: reason` and status 1. It moves at its own move points, as
//! `moves` says; where it is moved by others it only works longer.
//!
//! Called as `probes NAME`, or by a file name that is the name of a probe; `probes --list` lists
//! them. `churn MIB ROUNDS` and `spin SECONDS` are plain programs to be moved by others.

mod ahead;
mod aio;
mod cpu;
mod credentials;
mod descriptors;
mod events;
mod exec;
mod files;
mod locks;
mod memory;
mod mounts;
mod moves;
mod named;
mod order;
mod owners;
mod pipes;
mod processes;
mod ptys;
mod rights;
mod segments;
mod shared;
mod signals;
mod sockets;
mod streams;
mod system;
mod threads;
mod time;
mod tracing;
mod usage;
mod watches;
mod work;

use std::io::Write;

use moves::Moves;
use rt::raw::{Desk, libc};

/// What a probe found: nothing wrong, or what.
type Verdict = Result<(), String>;

/// Fails the probe unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err(format!($($reason)+));
        }
    };
}
pub(crate) use ensure;

/// Says what was being done when an error came.
trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, String>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// A call that has to succeed.
fn must(desk: &mut Desk, what: &str, number: libc::c_long, words: [u64; 6]) -> Result<u64, String> {
    let value = desk.call(number, words);
    ensure!(value >= 0, "{what} gave {value}");
    Ok(value.cast_unsigned())
}

type Probe = fn(&mut Moves) -> Verdict;

const PROBES: [(&str, Probe); 118] = [
    ("aio", aio::requests),
    ("arguments", exec::arguments),
    ("async-io", owners::asynchronous),
    ("bad-pointers", system::bad_pointers),
    ("big-io", files::big_io),
    ("brk", memory::brk),
    ("call-filters", rights::filters),
    ("capabilities", rights::capabilities),
    ("clock", time::clock),
    ("close-on-exec", exec::close_on_exec),
    ("copy-on-write", memory::copy_on_write),
    ("cpu-clocks", usage::clocks),
    ("cpu-limit", usage::limit),
    ("cpu-timers", usage::timers),
    ("credentials", credentials::credentials),
    ("cwd", files::cwd),
    ("datagram-headers", sockets::datagram_headers),
    ("deep-stack", memory::deep_stack),
    ("discard", memory::discard),
    ("dup", descriptors::dup),
    ("dup2", descriptors::dup2),
    ("epoll", events::epoll),
    ("eventfd", events::eventfd),
    ("exec", exec::exec),
    ("exec-by-thread", exec::exec_by_thread),
    ("exit-status", processes::exit_status),
    ("fdinfo", owners::information_of_files),
    ("fifo", locks::fifo),
    ("file-append", files::append),
    ("file-cut", segments::cut),
    ("file-image", files::image_file),
    ("file-mapped", files::mapped),
    ("file-offset", files::offset),
    ("file-stream", streams::alone),
    ("file-truncate", files::truncate),
    ("file-two", streams::of_two),
    ("file-unlinked", files::unlinked),
    ("floats", cpu::floats),
    ("flock", locks::whole_file),
    ("fork-chain", signals::chain),
    ("fork-tree", processes::fork_tree),
    ("guard", memory::guard),
    ("holes", locks::holes),
    ("ids", processes::ids),
    ("inotify", watches::inotify),
    ("int-arguments", system::int_arguments),
    ("kill", processes::kill),
    ("lease", owners::lease),
    ("memory-policy", memory::policy),
    ("message-queue", named::message_queue),
    ("messages", sockets::messages),
    ("mmap", memory::mmap),
    ("mounts", mounts::mounts),
    ("mremap", memory::mremap),
    ("openat2", named::beneath),
    ("order", order::order),
    ("orphan", processes::orphan),
    ("orphaned-group", ptys::orphaned),
    ("others", credentials::others),
    ("pages", memory::pages),
    ("permissions", locks::permissions),
    ("pidfd", events::pidfd),
    ("pipe-blocked-read", pipes::blocked_read),
    ("pipe-blocked-write", pipes::blocked_write),
    ("pipe-ends", pipes::ends),
    ("pipe-halves", pipes::halves),
    ("pipe-memory", ahead::splice),
    ("pipe-packets", pipes::packets),
    ("poll", pipes::poll),
    ("poll-many", ahead::many),
    ("proc-self", system::proc_self),
    ("pty-read", ptys::read),
    ("pty-signals", ptys::signals),
    ("pty-stop", ptys::stop),
    ("pty-timed", ptys::timed),
    ("random", system::random),
    ("record-locks", locks::records),
    ("record-wait", locks::record_wait),
    ("registers", cpu::registers),
    ("segment", segments::segment),
    ("semaphores", sockets::semaphores),
    ("shared-apart", shared::apart),
    ("shared-file", shared::file),
    ("shared-memory", shared::memory),
    ("signal-masks", signals::masks),
    ("signal-message", rights::message),
    ("signal-states", signals::states),
    ("signalfd", events::signalfd),
    ("sleep", time::sleep),
    ("socket-blocked", sockets::socket_blocked),
    ("socket-descriptors", sockets::socket_descriptors),
    ("socket-interrupted", sockets::socket_interrupted),
    ("socket-loopback", sockets::socket_loopback),
    ("socket-names", sockets::socket_names),
    ("socket-peeks", ahead::peeks),
    ("sparse", memory::sparse),
    ("spawn", exec::spawn),
    ("system", system::names),
    ("table-of-two", descriptors::table_of_two),
    ("thread-barriers", threads::barriers),
    ("thread-blocked", threads::blocked),
    ("thread-channels", threads::channels),
    ("thread-come-and-go", threads::come_and_go),
    ("thread-compute", threads::compute),
    ("thread-condition", threads::condition),
    ("thread-credentials", credentials::of_thread),
    ("thread-mutex", threads::mutex),
    ("thread-spawns", threads::spawns),
    ("thread-spinning", threads::spinning),
    ("thread-timeouts", threads::timeouts),
    ("timer-once", events::timer_once),
    ("timerfd", events::timerfd),
    ("traced", tracing::asked),
    ("traced-seized", tracing::seized),
    ("wild", processes::wild),
    ("xattrs", named::attributes),
    ("zero-pages", memory::zero_pages),
    ("zombie-tree", signals::zombies),
];

const USAGE: &str = "usage: probes --list | NAME | churn MIB ROUNDS | spin SECONDS";

fn main() {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let status = dispatch(&words);
    // A result that nobody could read is no success.
    let status = if std::io::stdout().flush().is_ok() {
        status
    } else {
        1
    };
    std::process::exit(status);
}

fn dispatch(words: &[String]) -> i32 {
    let called = words
        .first()
        .map_or("", |word| word.rsplit('/').next().unwrap_or(""));
    let arguments = words.get(1..).unwrap_or(&[]);
    if arguments.first().is_some_and(|word| word == exec::CHILD) {
        return exec::child(&arguments[1..]);
    }
    if let Some(status) = run(called, arguments) {
        return status;
    }
    match arguments {
        [option] if option == "--list" => {
            PROBES.iter().for_each(|(name, _)| println!("{name}"));
            0
        }
        [name, rest @ ..] => run(name, rest).unwrap_or_else(|| {
            eprintln!("probes: there is no probe `{name}`\n{USAGE}");
            2
        }),
        [] => {
            eprintln!("{USAGE}");
            2
        }
    }
}

fn run(name: &str, arguments: &[String]) -> Option<i32> {
    match name {
        "churn" => return Some(work::churn(arguments)),
        "spin" => return Some(work::spin(arguments)),
        _ => {}
    }
    let (name, probe) = PROBES.iter().find(|(known, _)| *known == name)?;
    let verdict = Moves::from_environment().and_then(|mut moves| {
        probe(&mut moves)?;
        moves.finish()
    });
    Some(match verdict {
        Ok(()) => {
            println!("PASS {name}");
            0
        }
        Err(reason) => {
            println!("FAIL {name}: {reason}");
            1
        }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_in_order() {
        assert!(super::PROBES.is_sorted_by(|(left, _), (right, _)| left < right));
    }
}
