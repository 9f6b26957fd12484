//! The runs that are small enough for every test, each explored to its end.
//!
//! Law: the verdict rests on numbers of states, never on time; a run with other states than were
//! written down is another run, and somebody should look.

use model::{SHORT, Seen, explore};

#[test]
fn all_promises_hold_in_every_order() {
    let mut seen: Vec<Seen> = Vec::new();
    for run in SHORT {
        let found = explore(run.budget, 2, None);
        println!("{}: {} states, {:?}", run.name, found.states, found.time);
        assert!(found.broken.is_none(), "{}: {:?}", run.name, found.broken);
        assert_eq!(found.states, run.states, "{}", run.name);
        seen.extend(found.seen);
    }
    let unseen = Seen::ALL.into_iter().find(|what| !seen.contains(what));
    assert_eq!(unseen, None, "the runs show too little");
}
