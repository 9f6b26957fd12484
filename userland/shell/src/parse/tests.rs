//! The parser on right, unfinished, hostile and random text.
//!
//! Law: whatever the bytes, the answer is a tree or an error.

use super::{Problem, parse};
use crate::syntax::{Kind, Link, Place, RedirectTo, Sense};

#[test]
fn builds_the_tree() {
    let list = parse(b"a=1 x b | ! y && z 2>&1 >f & w", 1).map(|_| ());
    assert!(matches!(list, Err(error) if matches!(error.problem, Problem::Unexpected { .. })));
    let list = parse(b"! a=1 x b | y && z 2>&1 >f & w", 1).expect("it is right");
    assert_eq!(list.len(), 2);
    assert_eq!(list[0].place, Place::Background);
    assert_eq!(list[0].first.sense, Sense::Negated);
    assert_eq!(list[0].first.commands.len(), 2);
    let (link, last) = &list[0].rest[0];
    assert_eq!(*link, Link::And);
    assert!(matches!(
        last.commands[0].redirects[0].to,
        RedirectTo::Same(_)
    ));
    assert!(matches!(
        last.commands[0].redirects[1].to,
        RedirectTo::Truncate(_)
    ));
    let Kind::Simple { assignments, words } = &list[0].first.commands[0].kind else {
        panic!("not a simple command");
    };
    assert_eq!((assignments.len(), words.len()), (1, 2));
}

#[test]
fn knows_what_is_unfinished() {
    for text in [
        "if a",
        "a |",
        "a &&",
        "'",
        "\"",
        "$(",
        "${a",
        "$((1",
        "{ a",
        "( a",
        "for x in a",
        "while a; do b",
    ] {
        let error = parse(text.as_bytes(), 1).expect_err(text);
        assert!(
            matches!(error.problem, Problem::Unfinished(_)),
            "{text}: {error}"
        );
    }
    for text in [
        "fi",
        "a;;b",
        ")",
        "a | | b",
        "a & & b",
        "if; then",
        "${a b}",
        "$(()",
        "}",
        "f() { a; }",
    ] {
        assert!(parse(text.as_bytes(), 1).is_err(), "{text}");
    }
}

#[test]
fn bounds_nesting() {
    for text in [
        "(", "{ ", "$(", "if ", "while ", "\"$(", "${a:-", "! ", "$((", "$(((",
    ] {
        assert!(parse(text.repeat(20_000).as_bytes(), 1).is_err());
    }
}

/// Any bytes give a tree or an error.
#[test]
fn never_panics() {
    const PIECES: [&[u8]; 40] = [
        b"if ", b"then ", b"else ", b"elif ", b"fi", b"while ", b"until ", b"for ", b"in ", b"do ",
        b"done", b"{ ", b"} ", b"(", b")", b"$(", b"$((", b"))", b"${", b"}", b":-", b"'", b"\"",
        b"\\", b"\n", b";", b"&", b"&&", b"|", b"||", b">", b">>", b"2>&1", b"<", b"$", b"a", b"=",
        b" ", b"#", b"!",
    ];
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut right = 0;
    for _ in 0..40_000 {
        let mut text = Vec::new();
        for _ in 0..next() % 24 {
            if next() % 8 == 0 {
                text.push((next() & 0xff) as u8);
            } else {
                let piece = usize::try_from(next() % 40).unwrap_or(0);
                text.extend_from_slice(PIECES[piece]);
            }
        }
        if let Ok(list) = parse(&text, 1) {
            right += usize::from(!list.is_empty());
        }
    }
    assert!(
        right > 100,
        "the generator should also make right scripts: {right}"
    );
}
