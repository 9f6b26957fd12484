//! The scenarios that take too long for every day.
//!
//! Law: each has a shorter one of its kind in the usual list, and its last result is kept in
//! docs/long-run.md.

use crate::adopted;
use crate::cases::{self, Case};
use crate::cells;
use crate::compared::{self, compared};
use crate::programs::{Part, programs};
use crate::soak;
use crate::suites::{self, Way};
use crate::trials;
use crate::zdtm::zdtm;
use switch::Faults;

/// What is run of a suite at home, away and on the move: a case each.
macro_rules! in_all_ways {
    ($name:literal, $run:path, $what:expr) => {
        [
            Case {
                name: concat!($name, "-home"),
                build: |name, lab| $run(name, lab, Way::Home, $what),
            },
            Case {
                name: concat!($name, "-away"),
                build: |name, lab| $run(name, lab, Way::Away, $what),
            },
            Case {
                name: concat!($name, "-moved"),
                build: |name, lab| $run(name, lab, Way::Moved, $what),
            },
        ]
    };
}

/// What takes too long for the test command: `cargo xtask test --long`.
pub fn long() -> Vec<Case> {
    let single = [
        Case {
            name: "long-busybox-short-moved",
            build: |name, lab| suites::busybox(name, lab, Way::Moved, &suites::SHORT),
        },
        Case {
            name: "long-many-migrations",
            build: |name, _| cases::many(name, cases::MANY_LONG, Faults::default()),
        },
        Case {
            name: "long-many-migrations-faults",
            build: |name, _| cases::many(name, cases::MANY_LONG, cases::bad_links()),
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
            name: "long-soak",
            build: |name, lab| soak::LONG.scenario(name, lab),
        },
        Case {
            name: "long-fault-cells",
            build: |name, _| Ok(cells::all(name)),
        },
        Case {
            name: "long-fault-cells-disks",
            build: |name, _| Ok(adopted::killed(name)),
        },
        Case {
            name: "long-fault-cells-broken-disks",
            build: |name, _| Ok(adopted::broken(name)),
        },
        Case {
            name: "long-bombarded",
            build: |name, lab| soak::BOMBARDED_LONG.scenario(name, lab),
        },
        Case {
            name: "long-hostile",
            build: |name, _| Ok(trials::hostile(name, 2, 50_000)),
        },
        Case {
            name: "long-hostile-moved",
            build: |name, _| Ok(trials::hostile_moved(name, 1, 5000)),
        },
    ];
    let in_all_ways = [
        in_all_ways!("long-busybox", suites::busybox, &["*"]),
        in_all_ways!("long-debian", programs, Part::Debian),
        in_all_ways!("long-go", compared, &compared::GO),
        in_all_ways!("long-kernel", compared, &compared::LINUX),
        in_all_ways!("long-libuv", compared, &compared::UV),
        in_all_ways!("long-others", programs, Part::Others),
        in_all_ways!("long-packages", programs, Part::Packages),
        in_all_ways!("long-posix", compared, &compared::POSIX),
        in_all_ways!("long-python", programs, Part::Python),
        in_all_ways!("long-python-system", programs, Part::PythonSystem),
        in_all_ways!("long-services", programs, Part::Services),
        in_all_ways!("long-sqlite", programs, Part::Sqlite),
        in_all_ways!("long-stress", programs, Part::Stress),
        in_all_ways!("long-zdtm", zdtm, None),
    ];
    single
        .into_iter()
        .chain(in_all_ways.into_iter().flatten())
        .collect()
}
