//! The rules, each of which can be broken in the cluster around the machines.
//!
//! Law: a checker is worth something only if it finds the cluster that breaks a rule. The machines
//! themselves have no switches; the glue of the test breaks the rule for them.

/// Which rule does not hold in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    /// All hold.
    None,
    /// The target opens effects when the image is in.
    WaitForDecision,
    /// The source runs the process again when its own time is out.
    NeverDecideAlone,
    /// Home does not look at owner and epoch of a call.
    Epochs,
    /// Home gives a process back after it has had effects elsewhere.
    NoWayBackAfterEffect,
    /// Messages count whatever boot they come from or go to.
    Boots,
    /// The source drops its copy on the decision instead of the release.
    KeepUntilRelease,
    /// The source drops its pages on the release, before the push is done.
    KeepUntilPushed,
    /// Suspicion of the owner ends a process.
    SuspicionKillsNobody,
}

/// All that a checker must find.
pub(super) const RULES: [Rule; 8] = [
    Rule::WaitForDecision,
    Rule::NeverDecideAlone,
    Rule::Epochs,
    Rule::NoWayBackAfterEffect,
    Rule::Boots,
    Rule::KeepUntilRelease,
    Rule::KeepUntilPushed,
    Rule::SuspicionKillsNobody,
];
