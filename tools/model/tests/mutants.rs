//! Each rule of the machines is taken away, and its lack must show.
//!
//! Law: a mutant that survives fails the test. Rules that others cover are named with what covers
//! them; that nothing shows without them is looked at by `cargo xtask model --mutants`, and so are those that take long.

use model::{HUNTS, Mutant, capture};

#[test]
fn the_lack_of_each_rule_is_noticed() {
    let mut caught = 0;
    let must_show = |mutant: &Mutant| mutant.covered_by().is_none() && !mutant.takes_long();
    for mutant in Mutant::all().filter(must_show) {
        let (states, found) = capture(mutant, &HUNTS);
        let (promise, how, path) = found.unwrap_or_else(|| panic!("nobody has noticed: {mutant}"));
        let steps = path.len();
        println!(
            "{mutant}: {}: {how}; {steps} steps, {states} states",
            promise.name()
        );
        caught += 1;
    }
    assert!(caught >= 45, "only {caught} mutants");
}
