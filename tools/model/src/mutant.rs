//! What can be wrong on purpose: a rule of the shipped machines, or one of those around them.
//!
//! Law: at most one thing is wrong in a run, and a run with nothing wrong is the one that counts.

use rpc::{Rule, Rules};
use std::fmt;

/// What does not hold in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Everything holds.
    None,
    /// The machines keep all rules but one.
    Without(Rule),
    /// Messages count whatever boot they come from or go to. The rule is the link's.
    AnyBootIsBelieved,
}

impl Mutant {
    /// What the machines keep to.
    pub(crate) fn rules(self) -> Rules {
        match self {
            Mutant::Without(rule) => Rules::without(rule),
            _ => Rules::ALL,
        }
    }

    /// What keeps the promises where this rule is lacking: it is a second fence, and its lack alone
    /// shows nowhere. `None`: its lack must show.
    pub fn covered_by(self) -> Option<&'static str> {
        let Mutant::Without(rule) = self else {
            return None;
        };
        match rule {
            Rule::CommitComparesTheOwner => {
                Some("nobody but an epoch's owner has sent images of the next one")
            }
            Rule::CommitWaitsForTheFirstEffect => {
                Some("a process moves on only after home has answered its first call")
            }
            Rule::CommitIsAnsweredAlikeAgain => Some("a source that hears nothing asks itself"),
            Rule::ALostHomeEndsTheFrozenCopy => {
                Some("the new boot of home answers every question that all is over")
            }
            Rule::TheDecisionNamesTheEpoch => Some("a node takes one copy of a process at a time"),
            Rule::WhatWasHeldIsNotTakenAgain => Some("home compares the epoch before it commits"),
            _ => None,
        }
    }

    /// Everything that can be wrong.
    pub fn all() -> impl Iterator<Item = Mutant> {
        let rules = Rule::ALL.into_iter().map(Mutant::Without);
        rules.chain([Mutant::AnyBootIsBelieved])
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mutant::None => f.write_str("none"),
            Mutant::Without(rule) => write!(f, "without {rule:?}"),
            Mutant::AnyBootIsBelieved => f.write_str("AnyBootIsBelieved"),
        }
    }
}
