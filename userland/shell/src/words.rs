//! The inside of words: quotes, dollar signs, arithmetic.
//!
//! Law: as in `parse`; a word is kept as parts, and expanded only when it is used.

use crate::parse::{Parsed, Parser, Problem, ends_word, is_name, is_name_byte};
use crate::syntax::{Part, Quoting, Word};

impl Parser<'_> {
    /// A word up to its end; may be empty.
    pub(crate) fn word(&mut self) -> Parsed<Word> {
        self.deeper(|parser| parser.word_until(ends_word))
    }

    fn word_until(&mut self, ends: impl Fn(u8) -> bool) -> Parsed<Word> {
        let mut word = WordBuilder::default();
        while let Some(byte) = self.peek() {
            if ends(byte) {
                break;
            }
            self.take();
            match byte {
                b'\'' => self.single_quoted(&mut word)?,
                b'"' => self.double_quoted(&mut word)?,
                b'\\' => match self.take() {
                    Some(b'\n') | None => {}
                    Some(next) => word.push(next, Quoting::Quoted),
                },
                b'$' => self.dollar(&mut word, Quoting::Bare)?,
                b'`' => return Err(self.error(Problem::NotSupported("backquotes"))),
                _ => word.push(byte, Quoting::Bare),
            }
        }
        Ok(word.word)
    }

    fn single_quoted(&mut self, word: &mut WordBuilder) -> Parsed<()> {
        word.open_quotes();
        loop {
            match self.take() {
                None => return Err(self.unfinished("the closing `'`")),
                Some(b'\'') => return Ok(()),
                Some(byte) => word.push(byte, Quoting::Quoted),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut WordBuilder) -> Parsed<()> {
        word.open_quotes();
        loop {
            match self.take() {
                None => return Err(self.unfinished("the closing `\"`")),
                Some(b'"') => return Ok(()),
                Some(b'$') => self.dollar(word, Quoting::Quoted)?,
                Some(b'`') => return Err(self.error(Problem::NotSupported("backquotes"))),
                Some(b'\\') => match self.take() {
                    None => return Err(self.unfinished("the closing `\"`")),
                    Some(b'\n') => {}
                    Some(next @ (b'"' | b'\\' | b'$' | b'`')) => word.push(next, Quoting::Quoted),
                    Some(next) => {
                        word.push(b'\\', Quoting::Quoted);
                        word.push(next, Quoting::Quoted);
                    }
                },
                Some(byte) => word.push(byte, Quoting::Quoted),
            }
        }
    }

    /// What follows a dollar sign.
    fn dollar(&mut self, word: &mut WordBuilder, quoting: Quoting) -> Parsed<()> {
        if self.take_if(b"((") {
            let expression = self.deeper(Self::arithmetic)?;
            word.word.parts.push(Part::Arithmetic {
                expression,
                quoting,
            });
            return Ok(());
        }
        if self.take_if(b"(") {
            let list = self.deeper(Self::list)?;
            self.closing()?;
            word.word.parts.push(Part::Output { list, quoting });
            return Ok(());
        }
        if self.take_if(b"{") {
            return self.braces(word, quoting);
        }
        let rest = self.rest();
        let name: Vec<u8> = match rest.first() {
            Some(&byte) if is_special(byte) => vec![byte],
            Some(&byte) if is_name_byte(byte) => rest
                .iter()
                .copied()
                .take_while(|&byte| is_name_byte(byte))
                .collect(),
            _ => {
                word.push(b'$', quoting);
                return Ok(());
            }
        };
        self.at += name.len();
        let name = String::from_utf8_lossy(&name).into_owned();
        word.word.parts.push(Part::Variable {
            name,
            default: None,
            quoting,
        });
        Ok(())
    }

    fn braces(&mut self, word: &mut WordBuilder, quoting: Quoting) -> Parsed<()> {
        let mut name = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.unfinished("the `}` of `${`")),
                Some(b'}' | b':' | b'\n') => break,
                Some(byte) => name.push(byte),
            }
            self.take();
        }
        let special = matches!(name.as_slice(), [byte] if is_special(*byte))
            || (!name.is_empty() && name.iter().all(u8::is_ascii_digit));
        let text = String::from_utf8_lossy(&name).into_owned();
        if !special && !is_name(&name) {
            return Err(self.error(Problem::BadName(text)));
        }
        let default = if self.take_if(b":-") {
            Some(self.deeper(|parser| parser.word_until(|byte| byte == b'}'))?)
        } else {
            None
        };
        if !self.take_if(b"}") {
            return Err(self.unexpected("`}`"));
        }
        word.word.parts.push(Part::Variable {
            name: text,
            default,
            quoting,
        });
        Ok(())
    }

    /// The inside of `$(( ))`: a word in which only dollar signs mean something.
    fn arithmetic(&mut self) -> Parsed<Word> {
        let mut word = WordBuilder::default();
        let mut open = 0u32;
        loop {
            if open == 0 && self.take_if(b"))") {
                return Ok(word.word);
            }
            let Some(byte) = self.take() else {
                return Err(self.unfinished("the `))` of `$((`"));
            };
            match byte {
                b'$' => {
                    self.dollar(&mut word, Quoting::Quoted)?;
                    continue;
                }
                b'(' => open += 1,
                b')' => {
                    open = open.checked_sub(1).ok_or_else(|| {
                        self.error(Problem::Unexpected {
                            found: "`)`".to_owned(),
                            wanted: "`))`",
                        })
                    })?;
                }
                _ => {}
            }
            word.push(byte, Quoting::Quoted);
        }
    }
}

/// Parameters with a name of one sign.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'?' | b'!' | b'$' | b'#' | b'@' | b'*' | b'-') || byte.is_ascii_digit()
}

#[derive(Default)]
struct WordBuilder {
    word: Word,
}

impl WordBuilder {
    fn push(&mut self, byte: u8, quoting: Quoting) {
        match self.word.parts.last_mut() {
            Some(Part::Text(text, same)) if *same == quoting => text.push(byte),
            _ => self.word.parts.push(Part::Text(vec![byte], quoting)),
        }
    }

    /// Makes sure that `''` is a word, though an empty one.
    fn open_quotes(&mut self) {
        if !matches!(self.word.parts.last(), Some(Part::Text(_, Quoting::Quoted))) {
            self.word
                .parts
                .push(Part::Text(Vec::new(), Quoting::Quoted));
        }
    }
}
