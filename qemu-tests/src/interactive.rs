//! Somebody at the console: typing, keys that are signals, job control, programs that draw.
//!
//! Law: what counts is judged by the shell and the programs in the guest, which say `PASS`; the one
//! who types only waits for what a person would wait for. When that does not come, nothing more is
//! typed, and the watchdog makes it a failure.

use crate::lab::{Lab, LabError, Spec, Turn};
use crate::scenario::Scenario;
use crate::verdict::counted;

/// What the shell shows when it wants to be typed at.
const PROMPT: &str = "~ # ";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";

/// A session at the console.
struct Session {
    spec: Spec,
    expected: Vec<String>,
}

impl Session {
    fn new(name: &str, nodes: usize) -> Session {
        let mut spec = Spec::new(name, nodes).timeout_s(60);
        spec.window = Some([43, 132]);
        let session = Session {
            spec,
            expected: Vec::new(),
        };
        // Who lists a name has not passed it.
        session.types("p() { if \"$@\"; then echo \"PASS $n\"; else echo \"FAIL $n: $*\"; fi; }\r")
    }

    /// Waits for the prompt and types.
    fn types(self, text: &str) -> Session {
        self.when(PROMPT, text)
    }

    /// Waits for `expects` and types.
    fn when(mut self, expects: &str, text: &str) -> Session {
        self.spec = self.spec.says(expects, text);
        self
    }

    /// Runs a command, and types when it runs: a key that is a signal would reach the shell before.
    fn runs(self, command: &str, key: &str) -> Session {
        self.types(&format!("sh -c 'echo running; exec {command}'\r"))
            .when("running\n", key)
    }

    /// Continues the current job in the foreground, and types when it is there.
    fn continues(self, key: &str) -> Session {
        self.types("(sleep 0.3; echo continued) & fg %1\r")
            .when("continued\n", key)
    }

    /// When `vi` shows a file: inserts text, and gives commands when it is done with that. What follows
    /// an escape at once would be taken for a key with a name.
    fn edits(self, file: &str, text: &str, commands: &str) -> Session {
        self.when(&format!("- {file}"), &format!("i{text}"))
            .when(&format!("I {file}"), "\x1b")
            .when(&format!("- {file} [Modified]"), commands)
    }

    /// Waits for the prompt and has the shell check `condition`, a command.
    fn check(mut self, name: &str, condition: &str) -> Session {
        self.expected.push(name.to_owned());
        self.types(&format!("s=$?; n={name}; p {condition}\r"))
    }

    /// Runs a program that ends with status 7 by the signal of a resize, and resizes the window when it
    /// runs. The shell at its prompt would show that once more, or not, and nobody knew which prompt the
    /// next command is typed at.
    fn resizes(self, window: [u16; 2]) -> Session {
        let waits = "trap \"exit 7\" WINCH; echo running; while sleep 0.1; do :; done";
        let mut session = self.types(&format!("sh -c '{waits}'\r"));
        session.spec.dialogue.push(Turn {
            expects: "running\n".to_owned(),
            types: String::new(),
            resizes: Some(window),
        });
        session.check("resized", "test $s = 7")
    }

    fn ends(self) -> Scenario {
        let Session { spec, expected } = self.types("poweroff 0\r");
        Scenario::new(spec, move |outcome| counted(outcome, &expected))
    }
}

/// Line editing, the keys that are signals, end of file, the size of the window, and programs that
/// draw: `vi`, `less`, `top`, `watch`.
pub(crate) fn console(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let session = Session::new(name, 1)
        .check("window", "test \"$(stty size)\" = '43 132'")
        .check("tty", "test \"$(tty)\" = /dev/console")
        .types("tset\x7f\x7f\x7fest x = \x17y\x15test x = x\r")
        .when("~ # \x1b[J", "")
        .check("editing", "test $s = 0")
        .types("true\r")
        .types("\x1b[A\x01false; \x05 && test $? = 0\r")
        .when("~ # true", "")
        .check("history", "test $s = 0")
        // The line editor of `cat` is the terminal's own.
        .runs("cat > /tmp/lines", "om\x7fne\r")
        .when("ne\n", "two words\x17\x17\x7f2\x16\x03\r")
        .when("^C\n", CTRL_D)
        .check(
            "canonical",
            "test \"$(cat /tmp/lines)\" = \"$(printf 'one\\n2\\003')\"",
        )
        .runs("sleep 100", CTRL_C)
        .check("interrupt", "test $s = 130")
        .runs("cat", "text\r")
        .when("text\ntext\n", "\x1c")
        .check("quit", "test $s = 131");
    let session = session
        .resizes([30, 100])
        .check("resize", "test \"$(stty size)\" = '30 100'")
        .types("vi /tmp/edited\r")
        .edits("/tmp/edited", "hello wor\x7frld", "0xx:wq\r")
        .check("vi", "test \"$(cat /tmp/edited)\" = 'llo world'")
        .types("seq 1 200 | less\r")
        .when("standard input", "q")
        .check("less", "test $s = 0")
        .types("top\r")
        .when("COMMAND", "q")
        .check("top", "test $s = 0")
        .types("mon\r")
        .when("load: threads", "m")
        .when("memory: used", "q")
        .check("mon", "test $s = 0")
        // A Ctrl-C while it waits for its command would be the command's alone.
        .types("timeout 2 watch -n 1 echo watched-$((40 + 2))\r")
        .when("watched-42\n", "")
        .check("watch", "test $s != 0")
        .check("top-batch", "eval 'top -b -n 1 | grep -q COMMAND'")
        .check("modes", "test \"$(stty -a | grep -c icanon)\" = 1")
        .runs("cat", CTRL_D)
        .check("end-of-file", "test $s = 0");
    Ok(session.ends())
}

/// Job control of processes here and on another node.
pub(crate) fn jobs(name: &'static str, _: &dyn Lab) -> Result<Scenario, LabError> {
    let session = Session::new(name, 2)
        .types("until test $(nodes | wc -l) -gt 2; do sleep 0.1; done\r")
        // Stopped at home, and continued in the background and in the foreground.
        .runs("sleep 1000", CTRL_Z)
        .check("stopped", "eval 'jobs | grep -q Stopped'")
        .types("bg; sleep 0.2\r")
        .check("background", "eval '! jobs | grep -q Stopped'")
        .continues(CTRL_C)
        .check("foreground", "test $s = 130")
        // The same, stopped here and continued there.
        .runs("sleep 2000", CTRL_Z)
        .types("j=$(jobs -p); migrate $j 2\r")
        .check("moved-stopped", "test \"$(cat /proc/$j/where)\" = 2")
        .continues(CTRL_Z)
        .check("stopped-away", "eval 'jobs | grep -q Stopped'")
        .check("still-away", "test \"$(cat /proc/$j/where)\" = 2")
        .continues(CTRL_C)
        .check("interrupted-away", "test $s = 130")
        // One that reads the terminal from there.
        .types("cat > /tmp/away &\r")
        .types("sleep 0.3; j=$!; migrate $j 2; jobs\r")
        .check("reader-stopped", "eval 'jobs | grep -q Stopped'")
        .types("fg\r")
        .when("cat 1>/tmp/away\n", "from far\r")
        .when("from far\n", CTRL_D)
        .check("reads-away", "test \"$(cat /tmp/away)\" = 'from far'")
        // One that draws there.
        .types("(sleep 1; exec vi /tmp/far) &\r")
        .types("migrate $! 2; fg\r")
        .edits("/tmp/far", "away", ":wq\r")
        .check("vi-away", "test \"$(cat /tmp/far)\" = away");
    Ok(session.ends())
}
