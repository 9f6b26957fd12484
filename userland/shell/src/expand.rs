//! From words to arguments: variables, command output, arithmetic, splitting.
//!
//! Law: only unquoted results are split, at blanks and newlines; text as written never is. File
//! name patterns are not expanded.

use std::io::Read;

use rt::files::{Stream, redirect};
use rt::process::start;

use crate::arithmetic::evaluate;
use crate::run::{Jump, Shell};
use crate::syntax::{List, Part, Quoting, Word};

/// Collects the fields a word expands to.
#[derive(Default)]
struct Fields {
    done: Vec<Vec<u8>>,
    open: Option<Vec<u8>>,
}

impl Fields {
    fn text(&mut self, text: &[u8]) {
        self.open.get_or_insert_default().extend_from_slice(text);
    }

    fn end(&mut self) {
        self.done.extend(self.open.take());
    }

    fn split(&mut self, text: &[u8]) {
        for (index, piece) in text.split(|byte| b" \t\n".contains(byte)).enumerate() {
            if index > 0 {
                self.end();
            }
            if !piece.is_empty() {
                self.text(piece);
            }
        }
    }

    fn result(&mut self, text: &[u8], quoting: Quoting) {
        match quoting {
            Quoting::Quoted => self.text(text),
            Quoting::Bare => self.split(text),
        }
    }
}

impl Shell {
    /// Expands words to arguments.
    pub(crate) fn expand(&mut self, words: &[Word], line: u32) -> Result<Vec<Vec<u8>>, Jump> {
        let mut fields = Fields::default();
        for word in words {
            self.expand_into(word, line, &mut fields)?;
            fields.end();
        }
        Ok(fields.done)
    }

    fn expand_into(&mut self, word: &Word, line: u32, fields: &mut Fields) -> Result<(), Jump> {
        for part in &word.parts {
            match part {
                Part::Text(text, _) => fields.text(text),
                Part::Variable {
                    name,
                    default: None,
                    quoting: Quoting::Quoted,
                } if name == "@" => {
                    for (index, argument) in self.arguments.iter().enumerate() {
                        if index > 0 {
                            fields.end();
                        }
                        fields.text(argument);
                    }
                }
                Part::Variable {
                    name,
                    default: Some(default),
                    quoting: Quoting::Bare,
                } if self.value(name).is_empty() => {
                    self.expand_into(default, line, fields)?;
                }
                Part::Variable { quoting, .. }
                | Part::Output { quoting, .. }
                | Part::Arithmetic { quoting, .. } => {
                    let text = self.part(part, line)?;
                    fields.result(&text, *quoting);
                }
            }
        }
        Ok(())
    }

    /// Expands a word to exactly one string, without splitting.
    pub(crate) fn expand_one(&mut self, word: &Word, line: u32) -> Result<Vec<u8>, Jump> {
        let mut text = Vec::new();
        for part in &word.parts {
            text.extend(self.part(part, line)?);
        }
        Ok(text)
    }

    fn part(&mut self, part: &Part, line: u32) -> Result<Vec<u8>, Jump> {
        match part {
            Part::Text(text, _) => Ok(text.clone()),
            Part::Variable { name, default, .. } => {
                let value = self.value(name);
                match default {
                    Some(default) if value.is_empty() => self.expand_one(default, line),
                    _ => Ok(value),
                }
            }
            Part::Output { list, .. } => self.output_of(list, line),
            Part::Arithmetic { expression, .. } => {
                let text = self.expand_one(expression, line)?;
                let value = evaluate(&text, &|name| self.value(name));
                match value {
                    Ok(value) => Ok(value.to_string().into_bytes()),
                    Err(problem) => Err(self.abort(line, &problem)),
                }
            }
        }
    }

    /// Runs `list` in a process of its own; gives what it prints without the newlines at the end.
    fn output_of(&mut self, list: &List, line: u32) -> Result<Vec<u8>, Jump> {
        let mut text = Vec::new();
        let result = std::io::pipe().and_then(|(mut reader, writer)| {
            let child =
                start(
                    || match redirect(std::os::fd::AsFd::as_fd(&writer), Stream::Output) {
                        Ok(()) => {
                            self.as_child(|shell| shell.list(list, crate::run::Guard::Checked))
                        }
                        Err(error) => self.complain(line, &format!("cannot redirect: {error}"), 2),
                    },
                )?;
            drop(writer);
            reader.read_to_end(&mut text)?;
            rt::process::wait_for(child)
        });
        match result {
            Ok(ended) => self.status = ended.shell_status(),
            Err(error) => return Err(self.abort(line, &format!("cannot run `$(...)`: {error}"))),
        }
        self.substituted = true;
        // Neither arguments nor variables can hold a NUL.
        text.retain(|&byte| byte != 0);
        while text.last() == Some(&b'\n') {
            text.pop();
        }
        Ok(text)
    }
}
