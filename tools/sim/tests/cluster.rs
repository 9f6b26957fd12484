//! Policies on a small cluster: the recorded figures, and the goals that they have to keep.

use sim::cluster::{Plan, Policy, Report, Scene, run};

fn plan(nodes: usize, scene: Scene, seconds: u64) -> Plan {
    Plan {
        nodes,
        seed: 2,
        scene,
        processes: 0,
        seconds,
        deaths: 3,
    }
}

fn usual() -> Report {
    run(plan(64, Scene::Usual, 60), &Policy::ALL)
}

#[test]
fn figures_are_as_recorded_again_and_again() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster.txt");
    let report = usual();
    let actual = report.table() + "\n" + &run(plan(64, Scene::Calm, 60), &Policy::ALL).table();
    if std::env::var_os("DUNLIN_RECORD").is_some() {
        std::fs::write(path, &actual).expect("the record can be written");
    }
    let recorded = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        actual == recorded,
        "the figures changed; if that is meant, record them with DUNLIN_RECORD=1\n\
         recorded:\n{recorded}\nnow:\n{actual}"
    );
    // A replay is the same to the last bit.
    assert_eq!(format!("{report:?}"), format!("{:?}", usual()));
    for (row, figures) in &report.runs {
        // Nodes die, lie, are slow, and owners flap: nobody is lost, and nobody gets through twice.
        assert_eq!(row.lost, 0, "{:?}", row.policy);
        let mut through: Vec<usize> = figures.through.iter().map(|one| one.pid).collect();
        through.sort_unstable();
        through.dedup();
        assert_eq!(through.len(), report.processes, "{:?}", row.policy);
    }
    let mean = |policy| {
        let mut rows = report.runs.iter().map(|(row, _)| row);
        rows.find(|row| row.policy == policy)
            .map_or(0.0, |row| row.mean)
    };
    assert!(2.0 * mean(Policy::Balance) < mean(Policy::None));
    assert!(mean(Policy::Balance) < mean(Policy::Random));
    assert!(mean(Policy::Balance) < 2.5 * report.bound.mean);
}

/// 64 that compute, all started on one of 8 nodes after a second. Pages of 4 MiB take 0.04 s on the way, and there are 56.
#[test]
fn a_crowd_is_spread_within_four_periods_and_hardly_anybody_goes_twice() {
    (1..=8).for_each(crowd);
}

fn crowd(seed: u64) {
    let plan = Plan {
        seed,
        ..plan(8, Scene::Crowd, 0)
    };
    let report = run(plan, &[Policy::Balance]);
    let (row, figures) = &report.runs[0];
    assert_eq!((row.lost, report.processes), (0, 64));
    let move_s = 56.0 * (4.0 * 1.048_576 / 100.0 + 0.005);
    let within_s = 1.0 + 4.0 + move_s;
    let most: Vec<f64> = figures.samples.iter().map(|sample| sample.max).collect();
    for sample in &figures.samples {
        let at_s = f64::from(sample.at_s);
        if at_s >= within_s {
            let ratio = sample.max / sample.mean;
            assert!(
                ratio <= 1.1,
                "seed {seed}: max/mean {ratio} after {at_s} s: {most:?}"
            );
        }
    }
    assert!(f64::from(figures.samples.last().expect("samples").at_s) > within_s + 20.0);
    let until_s = 200.0;
    let moves = figures.moved_at.iter().filter(|at| **at < until_s);
    let each = moves.count() as f64 / 64.0;
    assert!(each <= 1.05, "seed {seed}: {each} moves for each process");
}
