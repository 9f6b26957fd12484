//! The scenarios that take too long for every day.
//!
//! Law: each has a shorter one of its kind in the usual list, and its last result is kept in
//! docs/long-run.md.

use crate::cases::Case;
use crate::programs::{Part, programs};
use crate::suites::{self, Way};
use crate::trials;
use crate::zdtm::zdtm;

/// What takes too long for the test command: `cargo xtask test --long`.
pub fn long() -> Vec<Case> {
    vec![
        Case {
            name: "long-busybox-short-moved",
            build: |name, lab| suites::busybox(name, lab, Way::Moved, &suites::SHORT),
        },
        Case {
            name: "long-busybox-home",
            build: |name, lab| suites::busybox(name, lab, Way::Home, &["*"]),
        },
        Case {
            name: "long-busybox-away",
            build: |name, lab| suites::busybox(name, lab, Way::Away, &["*"]),
        },
        Case {
            name: "long-busybox-moved",
            build: |name, lab| suites::busybox(name, lab, Way::Moved, &["*"]),
        },
        Case {
            name: "long-others-home",
            build: |name, lab| programs(name, lab, Way::Home, Part::Others),
        },
        Case {
            name: "long-others-away",
            build: |name, lab| programs(name, lab, Way::Away, Part::Others),
        },
        Case {
            name: "long-others-moved",
            build: |name, lab| programs(name, lab, Way::Moved, Part::Others),
        },
        Case {
            name: "long-python-home",
            build: |name, lab| programs(name, lab, Way::Home, Part::Python),
        },
        Case {
            name: "long-python-away",
            build: |name, lab| programs(name, lab, Way::Away, Part::Python),
        },
        Case {
            name: "long-python-moved",
            build: |name, lab| programs(name, lab, Way::Moved, Part::Python),
        },
        Case {
            name: "long-sqlite-home",
            build: |name, lab| programs(name, lab, Way::Home, Part::Sqlite),
        },
        Case {
            name: "long-sqlite-away",
            build: |name, lab| programs(name, lab, Way::Away, Part::Sqlite),
        },
        Case {
            name: "long-sqlite-moved",
            build: |name, lab| programs(name, lab, Way::Moved, Part::Sqlite),
        },
        Case {
            name: "long-zdtm-home",
            build: |name, lab| zdtm(name, lab, Way::Home, None),
        },
        Case {
            name: "long-zdtm-away",
            build: |name, lab| zdtm(name, lab, Way::Away, None),
        },
        Case {
            name: "long-zdtm-moved",
            build: |name, lab| zdtm(name, lab, Way::Moved, None),
        },
        Case {
            name: "long-trace",
            build: |name, _| Ok(trials::long(name)),
        },
        Case {
            name: "long-trace-as-linux",
            build: |name, lab| trials::trace_as_linux(name, lab, 3000),
        },
        Case {
            name: "long-hostile",
            build: |name, _| Ok(trials::hostile(name, 2, 50_000)),
        },
        Case {
            name: "long-hostile-moved",
            build: |name, _| Ok(trials::hostile_moved(name, 1, 5000)),
        },
    ]
}
