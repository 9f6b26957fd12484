//! The rules of the gate and of the hand-over by name, so that a model checker can take one away.
//!
//! Law: in what is shipped every rule holds: [`Rules`] has no bytes there, and [`Rules::hold`] is
//! `true`. Only the feature `mutants`, which `tools/model` alone asks for, makes it a set. A checker
//! that does not notice the lack of a rule proves nothing about the rule.

/// The rules in order, and all of them as a list.
macro_rules! rules {
    ($($name:ident,)*) => {
        /// One rule, named by what holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are sentences")]
        pub enum Rule {
            $($name,)*
        }

        #[cfg(feature = "mutants")]
        impl Rule {
            /// All of them, in order.
            pub const ALL: [Rule; [$(stringify!($name)),*].len()] = [$(Rule::$name),*];
        }
    };
}

rules! {
    // The gate.
    AStaleCopyIsRefused,
    CallsCarryTheEpoch,
    ARepeatedCallIsOnlyAnswered,
    ARunningCallIsNotBegunAgain,
    OnlyTheOwnerCancels,
    ACancelledCallDoesNotRun,
    AChangeOfHandsMakesANewEpoch,
    // Home.
    CommitNeedsTheTicket,
    CommitComparesTheEpoch,
    CommitComparesTheOwner,
    CommitWaitsForTheFirstEffect,
    CommitIsAnsweredAlikeAgain,
    AbortComparesTheOwner,
    AbortMakesANewEpoch,
    NothingIsGivenBackAfterAnEffect,
    TheFirstEffectReleasesTheSource,
    SuspicionEndsNobody,
    ALostOwnerGivesBackToTheSource,
    WhatALostOwnerHasSentIsWaitedFor,
    ALostSourceGetsNothingBack,
    // The source.
    AtTimeoutTheSourceAsksHome,
    AtRefusalTheSourceAsksHome,
    AtCancellationTheSourceAsksHome,
    AtSilenceTheSourceAsksHome,
    AtLossTheSourceAsksHome,
    TheSourceAsksAgain,
    TheSourceKeepsItsCopyUntilTheDecision,
    TheSourceKeepsItsCopyUntilTheRelease,
    TheSourceKeepsItsPagesUntilTheyArrived,
    ResumingNeedsANewerEpoch,
    ResumingNeedsToBeNamed,
    ALostHomeEndsTheFrozenCopy,
    WhatHomeDoesNotKnowDoesNotLeave,
    TheSourceAsksTheNextBootOfHome,
    // The target.
    EffectsWaitForTheDecision,
    TheDecisionNamesTheTarget,
    TheDecisionNamesTheEpoch,
    TheImageFitsTheOffer,
    ACopyThatWasNotChosenIsDropped,
    ALostSourceLeavesTheWordToHome,
    TheTargetAsksAgain,
    ALostHomeEndsTheCopy,
    TheEndOfTheProcessEndsTheCopy,
    // Home, when it has booted again.
    AFirstCallTellsItsNumber,
    AKeptAnswerIsGivenAgain,
    ANewBootHasNoCopyOfTheOldOne,
    WhoComesHomeIsKept,
    AFormerBootIsOver,
    AdoptionComparesTheOwner,
    ASourceIsNotStale,
    WhatItsOwnerDoesNotNameIsLost,
    AnEarlierWordIsNone,
    TheOwnerIsNotReleased,
    AReleaseIsGivenAgain,
    // Tombstones.
    WhatWasHeldIsNotTakenAgain,
}

/// Which rules hold: all.
#[cfg(not(feature = "mutants"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules;

#[cfg(not(feature = "mutants"))]
const _: () = assert!(size_of::<Rules>() == 0);

#[cfg(not(feature = "mutants"))]
impl Rules {
    /// All hold.
    pub const ALL: Rules = Rules;

    /// Whether that rule holds: it does.
    #[inline]
    pub const fn hold(self, _rule: Rule) -> bool {
        true
    }
}

/// Which rules hold: all but those in the set.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    broken: u64,
}

#[cfg(feature = "mutants")]
impl Rules {
    /// All hold.
    pub const ALL: Rules = Rules { broken: 0 };

    /// All but one.
    pub const fn without(rule: Rule) -> Rules {
        Rules {
            broken: 1 << rule as u64,
        }
    }

    /// Whether that rule holds.
    pub const fn hold(self, rule: Rule) -> bool {
        self.broken & (1 << rule as u64) == 0
    }
}
