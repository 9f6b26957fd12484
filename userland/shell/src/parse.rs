//! From bytes to a syntax tree.
//!
//! Law: any bytes give a tree or an error with its line; nothing panics, and nesting is bounded,
//! so the stack is too.

use std::fmt;

use crate::syntax::{
    Command, Item, Kind, Link, List, Pipeline, Place, Redirect, RedirectTo, Sense, Word,
};
use rt::files::Stream;

/// Deepest nesting of commands, words and expressions.
const DEEPEST: u32 = 100;

/// Why a script cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    pub(crate) problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The text ends before the thing named: more input may complete it.
    Unfinished(&'static str),
    Unexpected {
        found: String,
        wanted: &'static str,
    },
    TooDeep,
    NotSupported(&'static str),
    BadName(String),
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: ", self.line)?;
        match &self.problem {
            Problem::Unfinished(what) => write!(out, "the text ends before {what}"),
            Problem::Unexpected { found, wanted } => {
                write!(out, "found {found} where {wanted} should be")
            }
            Problem::TooDeep => write!(out, "nested more than {DEEPEST} deep"),
            Problem::NotSupported(what) => write!(out, "{what} are not supported"),
            Problem::BadName(name) => write!(out, "`{name}` is not a variable name"),
        }
    }
}

pub(crate) type Parsed<T> = Result<T, SyntaxError>;

/// Parses a whole script. `line` is the number of its first line.
pub(crate) fn parse(text: &[u8], line: u32) -> Parsed<List> {
    let mut parser = Parser {
        text,
        at: 0,
        line,
        depth: 0,
    };
    let list = parser.list()?;
    if parser.at < text.len() {
        return Err(parser.unexpected("a command"));
    }
    Ok(list)
}

/// Whether `name` can be the name of a variable.
pub(crate) fn is_name(name: &[u8]) -> bool {
    name.first()
        .is_some_and(|&byte| byte == b'_' || byte.is_ascii_alphabetic())
        && name.iter().all(|&byte| is_name_byte(byte))
}

pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Ends an unquoted word.
pub(crate) fn ends_word(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\n' | b'\r' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')'
    )
}

/// Words that mean something where a command could start.
const RESERVED: [&[u8]; 13] = [
    b"if", b"then", b"elif", b"else", b"fi", b"while", b"until", b"for", b"do", b"done", b"{",
    b"}", b"!",
];

pub(crate) struct Parser<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) at: usize,
    pub(crate) line: u32,
    pub(crate) depth: u32,
}

impl Parser<'_> {
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(crate) fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or(&[])
    }

    pub(crate) fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        if byte == b'\n' {
            self.line += 1;
        }
        Some(byte)
    }

    /// Takes `token` if it comes next; it contains no newline.
    pub(crate) fn take_if(&mut self, token: &[u8]) -> bool {
        let comes = self.rest().starts_with(token);
        if comes {
            self.at += token.len();
        }
        comes
    }

    pub(crate) fn error(&self, problem: Problem) -> SyntaxError {
        SyntaxError {
            line: self.line,
            problem,
        }
    }

    pub(crate) fn unfinished(&self, what: &'static str) -> SyntaxError {
        self.error(Problem::Unfinished(what))
    }

    pub(crate) fn unexpected(&self, wanted: &'static str) -> SyntaxError {
        let Some(first) = self.peek() else {
            return self.unfinished(wanted);
        };
        if first == b'\n' {
            return self.error(Problem::Unexpected {
                found: "the end of the line".to_owned(),
                wanted,
            });
        }
        let end = if ends_word(first) {
            1
        } else {
            let rest = self.rest();
            rest.iter()
                .position(|&byte| ends_word(byte))
                .unwrap_or(rest.len())
                .min(40)
        };
        let found = format!(
            "`{}`",
            String::from_utf8_lossy(&self.rest()[..end]).escape_debug()
        );
        self.error(Problem::Unexpected { found, wanted })
    }

    pub(crate) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEEPEST {
            return Err(self.error(Problem::TooDeep));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// Blanks, joined lines and comments.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'\\') if self.rest().starts_with(b"\\\n") => {
                    self.at += 2;
                    self.line += 1;
                }
                Some(b'#') => {
                    let rest = self.rest();
                    self.at += rest
                        .iter()
                        .position(|&byte| byte == b'\n')
                        .unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn skip_lines(&mut self) {
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'\n') {
                return;
            }
            self.take();
        }
    }

    /// The reserved word that comes next, if one does.
    fn reserved(&self) -> Option<&'static [u8]> {
        let rest = self.rest();
        let end = rest
            .iter()
            .position(|&byte| ends_word(byte))
            .unwrap_or(rest.len());
        RESERVED.into_iter().find(|&word| word == &rest[..end])
    }

    fn take_reserved(&mut self, word: &'static [u8]) -> bool {
        let comes = self.reserved() == Some(word);
        if comes {
            self.at += word.len();
        }
        comes
    }

    fn expect(&mut self, word: &'static [u8], wanted: &'static str) -> Parsed<()> {
        self.skip_lines();
        if self.take_reserved(word) {
            Ok(())
        } else {
            Err(self.unexpected(wanted))
        }
    }

    /// Commands up to something that cannot start a command.
    pub(crate) fn list(&mut self) -> Parsed<List> {
        let mut list = List::new();
        loop {
            self.skip_lines();
            if !self.command_starts() {
                return Ok(list);
            }
            let mut item = self.and_or()?;
            self.skip_blanks();
            let more = match self.peek() {
                Some(b';') if !self.rest().starts_with(b";;") => true,
                Some(b'&') => {
                    item.place = Place::Background;
                    true
                }
                Some(b'\n') => true,
                _ => false,
            };
            list.push(item);
            if !more {
                return Ok(list);
            }
            self.take();
        }
    }

    /// A list that must hold something.
    fn body(&mut self, wanted: &'static str) -> Parsed<List> {
        let list = self.deeper(Self::list)?;
        if list.is_empty() {
            Err(self.unexpected(wanted))
        } else {
            Ok(list)
        }
    }

    fn command_starts(&self) -> bool {
        match self.reserved() {
            Some(b"if" | b"while" | b"until" | b"for" | b"{" | b"!") => true,
            Some(_) => false,
            None => !matches!(self.peek(), None | Some(b';' | b'&' | b'|' | b')' | b'\n')),
        }
    }

    fn and_or(&mut self) -> Parsed<Item> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.skip_blanks();
            let link = if self.take_if(b"&&") {
                Link::And
            } else if self.take_if(b"||") {
                Link::Or
            } else {
                return Ok(Item {
                    first,
                    rest,
                    place: Place::Foreground,
                });
            };
            self.skip_lines();
            rest.push((link, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut sense = Sense::Plain;
        while self.take_reserved(b"!") {
            sense = if sense == Sense::Plain {
                Sense::Negated
            } else {
                Sense::Plain
            };
            self.skip_blanks();
        }
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'|') || self.rest().starts_with(b"||") {
                return Ok(Pipeline { sense, commands });
            }
            self.take();
            self.skip_lines();
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let line = self.line;
        if !self.command_starts() || self.reserved() == Some(b"!") {
            return Err(self.unexpected("a command"));
        }
        let kind = match self.reserved() {
            Some(b"if") => self.deeper(Self::if_command)?,
            Some(b"while") => self.deeper(|parser| parser.loop_command(b"while", Sense::Plain))?,
            Some(b"until") => {
                self.deeper(|parser| parser.loop_command(b"until", Sense::Negated))?
            }
            Some(b"for") => self.deeper(Self::for_command)?,
            Some(b"{") => {
                self.take();
                let list = self.body("a command after `{`")?;
                self.expect(b"}", "`}`")?;
                Kind::Group(list)
            }
            _ if self.peek() == Some(b'(') => {
                self.take();
                let list = self.body("a command after `(`")?;
                self.closing()?;
                Kind::Subshell(list)
            }
            _ => return self.simple(line),
        };
        let mut redirects = Vec::new();
        loop {
            self.skip_blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => {
                    return Ok(Command {
                        line,
                        kind,
                        redirects,
                    });
                }
            }
        }
    }

    pub(crate) fn closing(&mut self) -> Parsed<()> {
        self.skip_lines();
        if self.take_if(b")") {
            Ok(())
        } else {
            Err(self.unexpected("`)`"))
        }
    }

    fn if_command(&mut self) -> Parsed<Kind> {
        self.take_reserved(b"if");
        let mut arms = Vec::new();
        let mut otherwise = None;
        loop {
            let condition = self.body("a command after `if`")?;
            self.expect(b"then", "`then`")?;
            arms.push((condition, self.body("a command after `then`")?));
            self.skip_lines();
            if self.take_reserved(b"elif") {
                continue;
            }
            if self.take_reserved(b"else") {
                otherwise = Some(self.body("a command after `else`")?);
            }
            self.expect(b"fi", "`fi`")?;
            return Ok(Kind::If { arms, otherwise });
        }
    }

    fn loop_command(&mut self, word: &'static [u8], sense: Sense) -> Parsed<Kind> {
        self.take_reserved(word);
        let condition = self.body("the condition of a loop")?;
        let body = self.do_done()?;
        Ok(Kind::Loop {
            sense,
            condition,
            body,
        })
    }

    fn do_done(&mut self) -> Parsed<List> {
        self.expect(b"do", "`do`")?;
        let body = self.body("a command after `do`")?;
        self.expect(b"done", "`done`")?;
        Ok(body)
    }

    fn for_command(&mut self) -> Parsed<Kind> {
        self.take_reserved(b"for");
        self.skip_blanks();
        let rest = self.rest();
        let end = rest
            .iter()
            .position(|&byte| !is_name_byte(byte))
            .unwrap_or(rest.len());
        let name = rest[..end].to_vec();
        if !is_name(&name) {
            return Err(self.unexpected("the name of a variable"));
        }
        self.at += end;
        self.skip_lines();
        let mut words = None;
        let rest = self.rest();
        if rest.starts_with(b"in") && rest.get(2).is_none_or(|&byte| ends_word(byte)) {
            self.at += 2;
            let mut list = Vec::new();
            loop {
                self.skip_blanks();
                if self.peek().is_none_or(ends_word) {
                    break;
                }
                list.push(self.word()?);
            }
            words = Some(list);
        }
        self.skip_blanks();
        if self.peek() == Some(b';') {
            self.take();
        }
        let body = self.do_done()?;
        Ok(Kind::For {
            name: String::from_utf8_lossy(&name).into_owned(),
            words,
            body,
        })
    }

    fn simple(&mut self, line: u32) -> Parsed<Command> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.skip_blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            match self.peek() {
                Some(b'(') => return Err(self.unexpected("a word")),
                Some(byte) if !ends_word(byte) => {}
                _ => break,
            }
            match self.assignment_name().filter(|_| words.is_empty()) {
                Some(name) => {
                    self.at += name.len() + 1;
                    assignments.push((name, self.word()?));
                }
                None => words.push(self.word()?),
            }
        }
        Ok(Command {
            line,
            kind: Kind::Simple { assignments, words },
            redirects,
        })
    }

    /// The name, if `NAME=` comes next.
    fn assignment_name(&self) -> Option<String> {
        let rest = self.rest();
        let end = rest.iter().position(|&byte| !is_name_byte(byte))?;
        (rest[end] == b'=' && is_name(&rest[..end]))
            .then(|| String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let (explicit, skip) = match self.rest() {
            [b'0', b'<', ..] => (Some(Stream::Input), 1),
            [b'1', b'>', ..] => (Some(Stream::Output), 1),
            [b'2', b'>', ..] => (Some(Stream::Error), 1),
            [b'<' | b'>', ..] => (None, 0),
            _ => return Ok(None),
        };
        self.at += skip;
        if self.take_if(b"<<") {
            return Err(self.error(Problem::NotSupported("here-documents")));
        }
        if self.take_if(b"<&") {
            return Err(self.error(Problem::NotSupported("copies of input descriptors")));
        }
        if self.take_if(b"<") {
            let to = RedirectTo::Read(self.target()?);
            return Ok(Some(Redirect {
                stream: explicit.unwrap_or(Stream::Input),
                to,
            }));
        }
        let stream = explicit.unwrap_or(Stream::Output);
        let to = if self.take_if(b">&") {
            match self.take() {
                Some(b'1') => RedirectTo::Same(Stream::Output),
                Some(b'2') => RedirectTo::Same(Stream::Error),
                _ => {
                    return Err(self.error(Problem::NotSupported(
                        "copies of descriptors other than 1 and 2",
                    )));
                }
            }
        } else if self.take_if(b">>") {
            RedirectTo::Append(self.target()?)
        } else {
            self.at += 1;
            RedirectTo::Truncate(self.target()?)
        };
        Ok(Some(Redirect { stream, to }))
    }

    fn target(&mut self) -> Parsed<Word> {
        self.skip_blanks();
        if self.peek().is_none_or(ends_word) {
            return Err(self.unexpected("the name of a file"));
        }
        self.word()
    }
}

#[cfg(test)]
mod tests;
