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
    /// Effects of a process that has just come leave before the disk of its home has that it has come. Other words of home
    /// wait.
    EffectsDoNotWaitForTheFirst,
    /// What home says leaves before its disk has what it rests on. This rule and the next are the keeper's.
    WordsLeaveUnflushed,
    /// A process whose home has booted again makes calls before home knows it.
    AnOrphanGoesOn,
    /// A process whose home has booted again moves on before home knows it.
    AnOrphanMoves,
    /// A call under way as home died is made again as a new one.
    ACallIsRepeatedUnderANewNumber,
    /// So is one whose effect others may have seen.
    WhatOthersSawIsRepeated,
    /// Moves take the reboot of a home with a journal for the end of the process.
    MovesEndWithAnyHome,
}

impl Mutant {
    /// What the machines keep to.
    pub(crate) fn rules(self) -> Rules {
        match self {
            Mutant::Without(rule) => Rules::without(rule),
            _ => Rules::ALL,
        }
    }

    /// Whether it is about a home that comes back: it is searched where there is one.
    pub fn wants_a_disk(self) -> bool {
        match self {
            Mutant::None | Mutant::AnyBootIsBelieved => false,
            Mutant::Without(rule) => matches!(
                rule,
                Rule::WhatHomeDoesNotKnowDoesNotLeave
                    | Rule::TheSourceAsksTheNextBootOfHome
                    | Rule::AFirstCallTellsItsNumber
                    | Rule::AKeptAnswerIsGivenAgain
                    | Rule::ANewBootHasNoCopyOfTheOldOne
                    | Rule::WhoComesHomeIsKept
                    | Rule::AFormerBootIsOver
                    | Rule::AdoptionComparesTheOwner
                    | Rule::ASourceIsNotStale
                    | Rule::AnEarlierWordIsNone
                    | Rule::WhatItsOwnerDoesNotNameIsLost
                    | Rule::TheOwnerIsNotReleased
                    | Rule::AReleaseIsGivenAgain
            ),
            _ => true,
        }
    }

    /// Whether its lack shows only after hundreds of thousands of states: not in the tests, but in `cargo xtask model
    /// --mutants`. What each of these is for has a test of its own in `kernel/system/src/hostile_tests/adoption.rs`.
    pub fn takes_long(self) -> bool {
        match self {
            Mutant::Without(rule) => matches!(
                rule,
                Rule::WhatHomeDoesNotKnowDoesNotLeave
                    | Rule::TheSourceAsksTheNextBootOfHome
                    | Rule::WhoComesHomeIsKept
                    | Rule::TheOwnerIsNotReleased
                    | Rule::AReleaseIsGivenAgain
                    | Rule::ASourceIsNotStale
                    | Rule::AnEarlierWordIsNone
            ),
            _ => matches!(
                self,
                Mutant::EffectsDoNotWaitForTheFirst
                    | Mutant::AnOrphanMoves
                    | Mutant::MovesEndWithAnyHome
            ),
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
            Rule::AdoptionComparesTheOwner => {
                Some("a stale copy that is adopted is refused at its first call")
            }
            Rule::WhatWasHeldIsNotTakenAgain => Some("home compares the epoch before it commits"),
            _ => None,
        }
    }

    /// Everything that can be wrong.
    pub fn all() -> impl Iterator<Item = Mutant> {
        let rules = Rule::ALL.into_iter().map(Mutant::Without);
        rules.chain([
            Mutant::AnyBootIsBelieved,
            Mutant::EffectsDoNotWaitForTheFirst,
            Mutant::WordsLeaveUnflushed,
            Mutant::AnOrphanGoesOn,
            Mutant::AnOrphanMoves,
            Mutant::ACallIsRepeatedUnderANewNumber,
            Mutant::WhatOthersSawIsRepeated,
            Mutant::MovesEndWithAnyHome,
        ])
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mutant::None => f.write_str("none"),
            Mutant::Without(rule) => write!(f, "without {rule:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}
