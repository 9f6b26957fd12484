//! Scripts run by the real binary, judged by literal results and against the system's shell.

use std::process::{Command, Output};

fn sh(script: &str) -> Output {
    run(env!("CARGO_BIN_EXE_sh"), script)
}

fn run(shell: &str, script: &str) -> Output {
    Command::new(shell)
        .args(["-c", script, "name", "one", "two words"])
        .env("PATH", "/bin:/usr/bin")
        .output()
        .expect("the shell starts")
}

/// What both shells must agree on: standard output and status.
const SAME: &[&str] = &[
    "echo hello; echo 'a  b' \"c  $1\" d\\ e",
    "x=5; y=$x$x; echo $y ${x}1 \"$y\" '$y'",
    "true && echo yes || echo no; false && echo yes || echo no",
    "if false; then echo 1; elif true; then echo 2; else echo 3; fi",
    "i=0; while test $i -lt 5; do i=$((i + 1)); if [ $i = 3 ]; then continue; fi; echo $i; done",
    "i=0; until [ $i -ge 3 ]; do i=$((i+1)); done; echo $i",
    "for x in a 'b c' $2 \"$2\"; do echo \"<$x>\"; done",
    "for x; do echo \"[$x]\"; done; echo $# $0",
    "for x in \"$@\"; do echo \"[$x]\"; done; for x in $@; do echo \"[$x]\"; done; echo \"$*\"",
    "for a in 1 2; do for b in 1 2 3; do if [ $b = 2 ]; then continue 2; fi; echo $a$b; done; done",
    "while true; do while true; do break 2; done; done; echo out",
    "echo a b c | wc -w | tr -d ' '; echo a | cat | cat | tr a b",
    "echo $(echo a; echo b) \"$(echo a; echo b)\"; x=$(exit 3); echo $?",
    "(exit 7); echo $?; { echo in; }; (cd /; pwd); ! true; echo $?; ! false; echo $?",
    "sh -c 'kill -9 $$' 2>/dev/null; echo $?",
    "sleep 0.01 & p=$!; wait $p; echo $?; (exit 4) & wait $!; echo $?",
    "false & a=$!; true & b=$!; wait $b; echo $?; wait $a; echo $?; wait; echo $?",
    "sleep 5 & kill -9 $!; wait $!; echo $?",
    "set -e; echo a; false; echo b",
    "set -e; if false; then echo 1; fi; false || echo c; ! true; echo d; (false); echo e",
    "set -e; x=$(false); echo not reached",
    "set -e; { false && true; }; echo alive; while false; do :; done; echo f",
    "echo out; echo err >&2; (echo 1; echo 2 >&2) 2>&1 | cat",
    "nothing_like_this 2>/dev/null; echo $?; /bin/nothing 2>/dev/null; echo $?; /etc/passwd 2>/dev/null; echo $?",
    "cat < /dev/null; cat /nonexistent 2>/dev/null || echo failed",
    "printf 'a b c\\nsecond\\n' | { read x y; echo \"$x|$y\"; read z; echo $z; read w; echo $?; }",
    "export A=1; B=2 sh -c 'echo $A$B'; echo \"<$B>\"; unset A; sh -c 'echo \"<$A>\"'",
    "echo ${nothing:-default value} \"${1:-x}\" ${1}",
    "set -- a b c; shift; echo $1 $#; shift 2; echo $#",
    "echo $((1 + 2 * 3)) $(( (1+2)*3 )); x=4; echo $((x * $x)) $((-x)) $((7 % 3))",
    "echo a#b # comment\necho \\\n  joined; echo \"a\\\nb\"",
    "echo one;echo two&&echo three||echo four",
    "x=; echo \"<$x>\" $x end; x='  a  b  '; echo $x \"$x\"",
    "[ -d / ] && [ -f /etc/passwd ] && [ ! -e /none ] && [ a != b ] && [ 2 -gt 1 ] && echo ok",
    "test; echo $?; test a = a -a b = b; echo $?; [ -z '' ]; echo $?; [ -n '' ]; echo $?",
    "while true; do echo line; done | head -n 2",
    "x=1; { x=2; }; echo $x; (x=3); echo $x; x=4 | true; echo $x",
    "if true; then echo a; fi | cat; for i in 1 2; do echo $i; done | cat",
    "echo $(( $(echo 4) + 1 )); echo \"$(echo \"nested $(echo deep)\")\"",
    "exec echo replaced; echo never",
    "cd /usr; pwd; cd /nonexistent 2>/dev/null || echo no",
    "exit 300",
];

#[test]
fn agrees_with_the_systems_shell() {
    for script in SAME {
        let (ours, theirs) = (sh(script), run("/bin/sh", script));
        let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text(&ours), text(&theirs), "{script}");
        assert_eq!(ours.status.code(), theirs.status.code(), "{script}");
    }
}

#[test]
fn redirects_to_files() {
    let folder = std::env::temp_dir().join(format!("dunlin-sh-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let script = format!(
        "cd {}; echo a > f; echo b >> f; echo c >f2 2>&1; cat < f; cat f2; \
         {{ echo g; echo h; }} > g; cat g; nothing_such 2> e; cat e; echo x > /nonexistent/y; \
         echo $?; exec > last; echo hidden",
        folder.display()
    );
    let output = sh(&script);
    let last = std::fs::read_to_string(folder.join("last"));
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text,
        "a\nb\nc\ng\nh\nname: line 1: nothing_such: not found\n1\n"
    );
    assert_eq!(last.expect("the last file"), "hidden\n");
}

#[test]
fn errors_say_what_and_where() {
    let error = |script: &str| {
        let output = sh(script);
        (
            String::from_utf8_lossy(&output.stderr).into_owned(),
            output.status.code(),
        )
    };
    for (script, text, status) in [
        (
            "echo a\nif true; then",
            "name: syntax error, line 2: the text ends before",
            2,
        ),
        (
            "echo 'abc",
            "name: syntax error, line 1: the text ends before the closing `'`",
            2,
        ),
        (
            "echo a; done",
            "name: syntax error, line 1: found `done` where a command should be",
            2,
        ),
        (
            "\n\nno_such_program",
            "name: line 3: no_such_program: not found",
            127,
        ),
        (
            "echo $((1/0)); echo not",
            "name: line 1: arithmetic: division by zero",
            2,
        ),
        (
            "cat << X",
            "name: syntax error, line 1: here-documents are not supported",
            2,
        ),
        (
            "wait 1",
            "name: line 1: wait: 1 is not a child of this shell",
            127,
        ),
    ] {
        let (found, code) = error(script);
        assert!(found.starts_with(text), "{script}: {found}");
        assert_eq!(code, Some(status), "{script}");
    }
}

#[test]
fn reads_commands_from_its_input() {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_sh"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the shell starts");
    let script = b"for i in 1 2\ndo\necho $i\ndone\nread line\nthis is read\necho $line\nexit 5\n";
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(script)
        .expect("the shell reads");
    let output = child.wait_with_output().expect("the shell ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1\n2\nthis is read\n"
    );
    assert_eq!(output.status.code(), Some(5));
}
