//! Programs: arguments, environment and descriptors when a program is started, here or away.
//!
//! Law: the program that is started is this one, called with [`CHILD`]; it checks what it got
//! and says so by its exit status.

use std::ffi::CString;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rt::files::{OnExec, inherited, set_on_exec};
use rt::process::{Ended, start, wait_for};
use rt::system::auxiliary;

use crate::moves::{Moves, go, is_on, tell};
use crate::{Doing, Verdict, ensure};

/// First argument of a program that a probe starts.
pub(crate) const CHILD: &str = "--child";
/// Status of a child that is content.
const CONTENT: i32 = 42;
/// Arguments that must arrive unchanged.
const ODD: [&str; 4] = ["plain", "two words", "", "t\u{e4}b\there\n"];
/// For "no node" among arguments.
const NOWHERE: &str = "-";

/// The part of the started program: checks what `arguments` ask for.
pub(crate) fn child(arguments: &[String]) -> i32 {
    let verdict = match arguments {
        [what, pid, node, rest @ ..] if what == "exec" => check_start(pid, node, rest),
        [what, kept, closed] if what == "descriptors" => check_descriptors(kept, closed),
        [what, node] if what == "echo" => echo(node),
        other => Err(format!("a child was started with {other:?}")),
    };
    if tell(verdict) == 0 { CONTENT } else { 1 }
}

fn own_path() -> Result<PathBuf, String> {
    let link = std::env::current_exe().ok();
    let called = || {
        std::env::args_os()
            .next()
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    link.or_else(called)
        .ok_or_else(|| "this program does not know its path".to_owned())
}

fn strings(words: &[&str]) -> Result<Vec<CString>, String> {
    words
        .iter()
        .map(|word| CString::new(*word))
        .collect::<Result<_, _>>()
        .doing("a string")
}

/// Becomes this program anew; returns only what went wrong.
fn become_child(arguments: &[&str], environment: &[&str]) -> Verdict {
    let path = own_path()?;
    let path = CString::new(path.as_os_str().as_encoded_bytes()).doing("the path")?;
    let words = [&["renamed", CHILD], arguments].concat();
    let error = rt::process::exec(&path, &strings(&words)?, &strings(environment)?);
    Err(format!("exec: {error}"))
}

fn content(child: i32) -> Verdict {
    let ended = wait_for(child).doing("wait")?;
    ensure!(
        ended == Ended::Exited(CONTENT),
        "the program ended with {ended:?}"
    );
    Ok(())
}

/// exec while away: the new program runs there and has what it was given.
pub(crate) fn exec(moves: &mut Moves) -> Verdict {
    start_programs(moves, |arguments, environment, _| {
        become_child(arguments, environment)
    })
}

/// Another thread than the first calls exec, while that computes or sleeps: the new program has the number of the
/// first thread, and nothing else of it.
pub(crate) fn exec_by_thread(moves: &mut Moves) -> Verdict {
    start_programs(moves, |arguments, environment, round| {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| tell(become_child(arguments, environment)));
            while !other.is_finished() {
                match round % 2 {
                    0 => std::hint::spin_loop(),
                    _ => std::thread::sleep(std::time::Duration::from_secs(1)),
                }
            }
        });
        Err("the first thread is still there".into())
    })
}

/// Children of which each goes to the next node and becomes this program there, in the way that is given.
fn start_programs(
    moves: &mut Moves,
    become_one: impl Fn(&[&str], &[&str], usize) -> Verdict,
) -> Verdict {
    let variable = std::env::var("DUNLIN_PROC")
        .ok()
        .map(|path| format!("DUNLIN_PROC={path}"));
    let mut round = 0;
    while moves.more() {
        let node = moves.take();
        let child = start(|| {
            let pid = std::process::id().to_string();
            let place = node.as_deref().unwrap_or(NOWHERE);
            let arguments = [&["exec", &pid, place], &ODD[..]].concat();
            let mut environment = vec!["ODD=a = b", "EMPTY=", "LAST=last"];
            environment.extend(variable.as_deref());
            let gone = go(node.as_deref());
            tell(gone.and_then(|()| become_one(&arguments, &environment, round)))
        })
        .doing("fork")?;
        content(child)?;
        moves.point()?;
        round += 1;
    }
    Ok(())
}

fn check_start(pid: &str, node: &str, rest: &[String]) -> Verdict {
    ensure!(rest == ODD, "the arguments are {rest:?}");
    let name = std::env::args().next().unwrap_or_default();
    ensure!(name == "renamed", "the first argument is {name}");
    ensure!(
        std::process::id().to_string() == pid,
        "exec changed the pid"
    );
    let variable = |name: &str| std::env::var(name).ok();
    ensure!(
        variable("ODD").as_deref() == Some("a = b"),
        "ODD is {:?}",
        variable("ODD")
    );
    ensure!(
        variable("EMPTY").as_deref() == Some(""),
        "EMPTY is {:?}",
        variable("EMPTY")
    );
    let count = std::env::vars_os()
        .filter(|(name, _)| name != "DUNLIN_PROC")
        .count();
    ensure!(count == 3, "there are {count} variables");
    if node != NOWHERE {
        is_on(node)?;
    }
    check_auxiliary()
}

/// The auxiliary vector must fit this very process.
fn check_auxiliary() -> Verdict {
    let auxiliary = auxiliary();
    ensure!(
        auxiliary.page_size == 4096,
        "AT_PAGESZ is {}",
        auxiliary.page_size
    );
    ensure!(
        (1..100).contains(&auxiliary.program_headers),
        "AT_PHNUM is odd: {auxiliary:?}"
    );
    ensure!(auxiliary.entry != 0, "AT_ENTRY is missing");
    let ids = rt::process::ids().map(u64::from);
    ensure!(
        auxiliary.ids == ids,
        "the ids are {:?} and {ids:?}",
        auxiliary.ids
    );
    let random = auxiliary.random.ok_or("AT_RANDOM is missing")?;
    ensure!(
        random.iter().any(|&byte| byte != random[0]),
        "AT_RANDOM is not random"
    );
    Ok(())
}

/// Arguments and environment lie in memory like everything else, and stay.
pub(crate) fn arguments(moves: &mut Moves) -> Verdict {
    let arguments: Vec<_> = std::env::args_os().collect();
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.sort();
    let auxiliary = auxiliary();
    while moves.more() {
        moves.point()?;
        ensure!(
            std::env::args_os().eq(arguments.iter().cloned()),
            "the arguments changed"
        );
        let mut now: Vec<_> = std::env::vars_os().collect();
        now.sort();
        ensure!(now == environment, "the environment changed: {now:?}");
        ensure!(
            rt::system::auxiliary() == auxiliary,
            "the auxiliary vector changed"
        );
        check_auxiliary()?;
    }
    Ok(())
}

/// Marked descriptors are closed by exec, others are not.
pub(crate) fn close_on_exec(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (mut reader, kept) = pipe().doing("pipe")?;
        let (mut silent, closed) = pipe().doing("pipe")?;
        set_on_exec(kept.as_fd(), OnExec::Keep).doing("F_SETFD")?;
        set_on_exec(closed.as_fd(), OnExec::Close).doing("F_SETFD")?;
        moves.point()?;
        let node = moves.take();
        let child = start(|| {
            let numbers = [kept.as_raw_fd().to_string(), closed.as_raw_fd().to_string()];
            let arguments = ["descriptors", &numbers[0], &numbers[1]];
            tell(go(node.as_deref()).and_then(|()| become_child(&arguments, &[])))
        })
        .doing("fork")?;
        drop((kept, closed));
        let mut text = String::new();
        reader.read_to_string(&mut text).doing("read")?;
        ensure!(text == "inherited", "the pipe said `{text}`");
        let count = silent.read(&mut [0]).doing("read")?;
        ensure!(count == 0, "somebody wrote to the pipe that exec closed");
        content(child)?;
    }
    Ok(())
}

fn check_descriptors(kept: &str, closed: &str) -> Verdict {
    let kept = inherited(kept.parse().doing("a number")?).doing("the kept descriptor")?;
    std::fs::File::from(kept)
        .write_all(b"inherited")
        .doing("write")?;
    let closed = inherited(closed.parse().doing("a number")?);
    ensure!(closed.is_err(), "the marked descriptor is open");
    Ok(())
}

/// The standard library's way to start programs (posix_spawn: a vfork), from away.
pub(crate) fn spawn(moves: &mut Moves) -> Verdict {
    while moves.more() {
        moves.point()?;
        let node = moves.take();
        let mut child = Command::new(own_path()?)
            .args([CHILD, "echo", node.as_deref().unwrap_or(NOWHERE)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing("spawn")?;
        let (mut input, mut output) = (
            child.stdin.take().ok_or("there is no pipe to the child")?,
            child
                .stdout
                .take()
                .ok_or("there is no pipe from the child")?,
        );
        input.write_all(b"hello\n").doing("write")?;
        drop(input);
        let mut text = String::new();
        output.read_to_string(&mut text).doing("read")?;
        ensure!(text == "hello\nhello\n", "the program said `{text}`");
        let status = child.wait().doing("wait")?;
        ensure!(
            status.code() == Some(CONTENT),
            "the program ended with {status}"
        );
        let nothing = Command::new("/no/such/program").spawn();
        ensure!(
            nothing.is_err(),
            "a program that does not exist was started"
        );
    }
    Ok(())
}

fn echo(node: &str) -> Verdict {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .doing("read standard input")?;
    print!("{text}");
    go(Some(node).filter(|node| *node != NOWHERE))?;
    print!("{text}");
    std::io::stdout().flush().doing("write standard output")
}
