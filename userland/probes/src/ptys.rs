//! Pseudo-terminals and job control: who is moved while a terminal has something to say to it.
//!
//! Law: what is typed at the master arrives once and in order, and every signal of the terminal reaches
//! the group that it is for, wherever its members are.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::AsFd;
use std::time::Duration;

use rt::process::{Ended, kill, start, wait_for};
use rt::signals::{Change, Mask, mask, next_change, take};
use rt::terminal::{
    Modes, Taking, foreground, new_pty, new_session, open_line, set_foreground, set_group,
    set_window, take as take_terminal, window,
};

use crate::moves::{Moves, go, send, tell};
use crate::{Doing, Verdict, ensure};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn success(child: i32) -> Verdict {
    let ended = wait_for(child).doing("wait")?;
    ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    Ok(())
}

/// Moves a child, if there is a move left.
fn move_child(moves: &mut Moves, child: i32) -> Verdict {
    match moves.take() {
        Some(node) => send(child.unsigned_abs(), &node),
        None => Ok(()),
    }
}

/// Reads until `text` has come.
fn expect(terminal: &mut File, text: &str) -> Verdict {
    let mut found = Vec::new();
    while !String::from_utf8_lossy(&found).contains(text) {
        let mut some = [0; 100];
        let count = terminal.read(&mut some).doing("read from the terminal")?;
        ensure!(count > 0, "the terminal ends after {found:?}");
        found.extend_from_slice(&some[..count]);
    }
    Ok(())
}

/// A session of its own on the line, with this process as its leader.
fn lead(path: &str) -> Result<File, String> {
    new_session().doing("setsid")?;
    let line = open_line(path).doing("open the line")?;
    take_terminal(line.as_fd(), Taking::Free).doing("TIOCSCTTY")?;
    Ok(line)
}

/// A read that is limited in time ends with nothing when that is over, and early when something comes.
pub(crate) fn timed(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (mut master, path) = new_pty().doing("a pty")?;
        let mut line = open_line(&path).doing("open the line")?;
        let modes = Modes::of(line.as_fd()).doing("TCGETS")?.raw(0, 2);
        modes.set(line.as_fd()).doing("TCSETS")?;
        let mut bytes = [0; 9];
        moves.point()?;
        let nothing = line.read(&mut bytes).doing("read nothing")?;
        master.write_all(b"typed").doing("type")?;
        let typed = line.read(&mut bytes).doing("read")?;
        moves.point()?;
        let again = line.read(&mut bytes[typed..]).doing("read nothing again")?;
        ensure!(
            (nothing, &bytes[..typed], again) == (0, &b"typed"[..], 0),
            "{nothing}, {typed} and {again} bytes: {bytes:?}"
        );
    }
    Ok(())
}

/// Both sides move, the reader while it reads.
pub(crate) fn read(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (mut master, path) = new_pty().doing("a pty")?;
        let child = start(|| {
            let work = || {
                let mut line = open_line(&path).doing("open the line")?;
                line.write_all(b"ready\n").doing("write")?;
                let mut bytes = [0; 64];
                for wanted in ["one\n", "two\n", "three\n"] {
                    let count = line.read(&mut bytes).doing("read a line")?;
                    ensure!(
                        &bytes[..count] == wanted.as_bytes(),
                        "{:?} came instead of {wanted:?}",
                        String::from_utf8_lossy(&bytes[..count])
                    );
                    line.write_all(b"ok ").doing("write")?;
                    line.write_all(wanted.as_bytes()).doing("write")?;
                }
                Ok(())
            };
            tell(work())
        })
        .doing("fork")?;
        expect(&mut master, "ready")?;
        for word in ["one", "two", "three"] {
            move_child(moves, child)?;
            master
                .write_all(&word.as_bytes()[..2])
                .doing("type a part")?;
            moves.point()?;
            master.write_all(&word.as_bytes()[2..]).doing("type")?;
            master.write_all(b"\n").doing("type")?;
            expect(&mut master, &format!("ok {word}"))?;
        }
        success(child)?;
        // And the process itself, by a helper that types.
        let mut line = open_line(&path).doing("open the line")?;
        let mut bytes = [0; 64];
        let count = moves.while_blocked(
            || line.read(&mut bytes),
            || {
                let verdict = (&master).write_all(b"fo").doing("type");
                verdict.and((&master).write_all(b"ur\n").doing("type"))
            },
        )?;
        let count = count.doing("read a line")?;
        ensure!(&bytes[..count] == b"four\n", "{:?} came", &bytes[..count]);
    }
    Ok(())
}

/// Takes one of the signals that the caller has blocked.
fn taken(signals: &[i32]) -> Result<i32, String> {
    let taken = take(signals, PATIENCE).doing("sigtimedwait")?;
    taken
        .map(|(signal, _)| signal)
        .ok_or_else(|| "no signal came".to_owned())
}

/// VINTR, a new window and the end of the master, each to the group in the foreground.
pub(crate) fn signals(moves: &mut Moves) -> Verdict {
    const WANTED: [i32; 3] = [rt::SIGINT, rt::SIGWINCH, rt::SIGHUP];
    while moves.more() {
        let (master, path) = new_pty().doing("a pty")?;
        let mut master = Some(master);
        let (mut report, mut reports) = pipe().doing("pipe")?;
        let child = start(|| {
            // The parent has the only master: its end is the end of the line.
            drop(master.take());
            let mut work = || {
                mask(Mask::Block, &WANTED).doing("block")?;
                let line = lead(&path)?;
                let member = start(|| {
                    let mut work = || {
                        for wanted in WANTED {
                            let found = taken(&WANTED)?;
                            ensure!(found == wanted, "signal {found} came before {wanted}");
                            reports.write_all(b"m").doing("report")?;
                        }
                        Ok(())
                    };
                    tell(work())
                })
                .doing("fork")?;
                let id = member.to_le_bytes();
                reports.write_all(&id).doing("report")?;
                for wanted in WANTED {
                    let found = taken(&WANTED)?;
                    ensure!(found == wanted, "signal {found} came before {wanted}");
                    reports.write_all(b"l").doing("report")?;
                }
                // The member learns of the end of the line when its leader ends, and not before.
                let end = (&line).read(&mut [0]).doing("read what has hung up")?;
                ensure!(end == 0, "a line that has hung up has {end} bytes");
                Ok(())
            };
            tell(work())
        });
        let child = child.doing("fork")?;
        drop(reports);
        let terminal = master.take().ok_or("the master is gone")?;
        let mut id = [0; 4];
        report.read_exact(&mut id).doing("read the member's pid")?;
        let member = i32::from_le_bytes(id);
        let mut both = [0; 2];
        move_child(moves, member)?;
        move_child(moves, child)?;
        (&terminal).write_all(b"\x03").doing("type ^C")?;
        moves.point()?;
        report.read_exact(&mut both).doing("read reports")?;
        move_child(moves, member)?;
        set_window(terminal.as_fd(), [33, 44]).doing("TIOCSWINSZ")?;
        move_child(moves, child)?;
        report.read_exact(&mut both).doing("read reports")?;
        let now = window(terminal.as_fd()).doing("TIOCGWINSZ")?;
        ensure!(now == [33, 44], "the window is {now:?}");
        drop(terminal);
        moves.point()?;
        success(child)?;
        let mut rest = Vec::new();
        report.read_to_end(&mut rest).doing("read reports")?;
        rest.sort_unstable();
        ensure!(rest == b"lm", "at the end {rest:?} was reported");
    }
    Ok(())
}

/// A job that stops by ^Z and goes on, as its shell sees it.
pub(crate) fn stop(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (master, path) = new_pty().doing("a pty")?;
        let shell_node = moves.take();
        let mut nodes: Vec<String> = (0..4).filter_map(|_| moves.take()).collect();
        let shell = start(|| {
            let mut work = || {
                let line = lead(&path)?;
                let own = std::process::id().cast_signed();
                let (mut ready, says_ready) = pipe().doing("pipe")?;
                let job = start(|| {
                    let work = || {
                        set_group(0, 0).doing("setpgid")?;
                        rt::process::default_action(rt::SIGTTOU);
                        (&says_ready).write_all(b"r").doing("tell")?;
                        let mut bytes = [0; 20];
                        let count = (&line).read(&mut bytes).doing("read a line")?;
                        ensure!(&bytes[..count] == b"go\n", "{:?} came", &bytes[..count]);
                        Ok(())
                    };
                    tell(work())
                })
                .doing("fork")?;
                ready.read_exact(&mut [0]).doing("wait for the job")?;
                rt::process::ignore(rt::SIGTTOU);
                let mut moved = || match nodes.pop() {
                    Some(node) => send(job.unsigned_abs(), &node),
                    None => Ok(()),
                };
                let expect_change = |wanted| {
                    let found = next_change(job).doing("waitpid")?;
                    ensure!(found == wanted, "{found:?} instead of {wanted:?}");
                    Ok(())
                };
                // In the background it may not read.
                expect_change(Change::Stopped(rt::SIGTTIN))?;
                moved()?;
                set_foreground(line.as_fd(), job).doing("tcsetpgrp")?;
                kill(-job, rt::SIGCONT).doing("continue")?;
                expect_change(Change::Continued)?;
                moved()?;
                (&master).write_all(b"g\x1a").doing("type ^Z")?;
                go(shell_node.as_deref())?;
                expect_change(Change::Stopped(rt::SIGTSTP))?;
                set_foreground(line.as_fd(), own).doing("tcsetpgrp")?;
                moved()?;
                // What was typed before ^Z is thrown away.
                set_foreground(line.as_fd(), job).doing("tcsetpgrp")?;
                kill(-job, rt::SIGCONT).doing("continue")?;
                expect_change(Change::Continued)?;
                moved()?;
                (&master).write_all(b"go\n").doing("type")?;
                expect_change(Change::Exited(0))?;
                let group = foreground(line.as_fd()).doing("tcgetpgrp")?;
                ensure!(group == job, "group {group} is in the foreground");
                Ok(())
            };
            tell(work())
        })
        .doing("fork")?;
        success(shell)?;
        moves.point()?;
    }
    Ok(())
}

/// A stopped group whose shell ends is hung up and continued; nobody could do that any more.
pub(crate) fn orphaned(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (mut report, reports) = pipe().doing("pipe")?;
        let nodes = [moves.take(), moves.take()];
        let shell = start(|| {
            let work = || {
                new_session().doing("setsid")?;
                let job = start(|| {
                    let work = || {
                        mask(Mask::Block, &[rt::SIGHUP]).doing("block")?;
                        set_group(0, 0).doing("setpgid")?;
                        go(nodes[0].as_deref())?;
                        kill(std::process::id().cast_signed(), rt::SIGSTOP).doing("stop")?;
                        let found = taken(&[rt::SIGHUP])?;
                        ensure!(found == rt::SIGHUP, "signal {found} came");
                        // By default it would stop: but there is no shell.
                        kill(std::process::id().cast_signed(), rt::SIGTSTP).doing("stop")?;
                        (&reports).write_all(b"orphaned").doing("report")
                    };
                    tell(work())
                })
                .doing("fork")?;
                let found = next_change(job).doing("waitpid")?;
                ensure!(found == Change::Stopped(rt::SIGSTOP), "{found:?}");
                go(nodes[1].as_deref())
            };
            tell(work())
        })
        .doing("fork")?;
        drop(reports);
        success(shell)?;
        moves.point()?;
        let mut text = String::new();
        report.read_to_string(&mut text).doing("read the report")?;
        ensure!(text == "orphaned", "the report is {text:?}");
    }
    Ok(())
}
