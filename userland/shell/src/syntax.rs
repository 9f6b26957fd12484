//! What a script is made of, once parsed.
//!
//! Law: the tree holds no positions but line numbers and no state; running it is `run`'s job.

/// Commands one after the other.
pub(crate) type List = Vec<Item>;

/// An and-or list with its place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) first: Pipeline,
    pub(crate) rest: Vec<(Link, Pipeline)>,
    pub(crate) place: Place,
}

/// Whether the shell waits for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Foreground,
    Background,
}

/// What joins two pipelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    And,
    Or,
}

/// Whether the status of a pipeline is turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sense {
    Plain,
    Negated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pipeline {
    pub(crate) sense: Sense,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: u32,
    pub(crate) kind: Kind,
    pub(crate) redirects: Vec<Redirect>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    Group(List),
    Subshell(List),
    If {
        arms: Vec<(List, List)>,
        otherwise: Option<List>,
    },
    Loop {
        sense: Sense,
        condition: List,
        body: List,
    },
    /// `words` is `None` for `for x; do`, which walks the arguments.
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: List,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) stream: rt::files::Stream,
    pub(crate) to: RedirectTo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedirectTo {
    Read(Word),
    Truncate(Word),
    Append(Word),
    Same(rt::files::Stream),
}

/// A word before expansion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) parts: Vec<Part>,
}

/// Whether a part of a word stood in quotes: quoted results are never split or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quoting {
    Bare,
    Quoted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(Vec<u8>, Quoting),
    /// `$name`, with the word after `:-` if there is one.
    Variable {
        name: String,
        default: Option<Word>,
        quoting: Quoting,
    },
    Output {
        list: List,
        quoting: Quoting,
    },
    Arithmetic {
        expression: Word,
        quoting: Quoting,
    },
}
