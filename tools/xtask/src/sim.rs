//! `cargo xtask sim`: what the simulator finds, as a table, as JSON and as a plot.
//!
//! Law: nothing is simulated here; see `tools/sim`.

use crate::error::{Error, Outcome};
use crate::options::SimOptions;
use crate::plot::{Join, Plot, Point, Scale, Series};
use serde_json::{Value, json};
use sim::cluster::{Figures, Plan, Policy, Report, Row, Sample, Scene, run};

/// Points of a line in a plot.
const POINTS: usize = 400;

/// Runs policies on one trace. The status is 1 if a process is lost.
pub(crate) fn cluster(options: &SimOptions) -> Outcome {
    let policies = policies(&options.policy)?;
    let plan = Plan {
        nodes: options.nodes as usize,
        seed: options.seed,
        scene: match options.scene.as_str() {
            "calm" => Scene::Calm,
            "crowd" => Scene::Crowd,
            _ => Scene::Usual,
        },
        processes: options.processes as usize,
        seconds: 60 * (u64::from(options.minutes) + 60 * u64::from(options.hours)),
        deaths: options.deaths as usize,
    };
    let report = run(plan, &policies);
    if options.json {
        println!("{}", as_json(&report));
    } else {
        print!("{}", report.table());
    }
    if let Some(path) = &options.plot {
        std::fs::write(path, svg(&report)).map_err(Error::file("write", path))?;
    }
    Ok(u8::from(report.runs.iter().any(|(row, _)| row.lost > 0)))
}

fn policies(names: &str) -> Result<Vec<Policy>, Error> {
    if names == "all" {
        return Ok(Policy::ALL.to_vec());
    }
    let policy = |name: &str| {
        let found = Policy::ALL.into_iter().find(|policy| policy.name() == name);
        let valid = Policy::ALL.map(Policy::name).join(", ");
        found.ok_or_else(|| Error::Usage(format!("there is no policy {name:?}: {valid} or all")))
    };
    names.split(',').map(policy).collect()
}

fn lines(report: &Report) -> impl Iterator<Item = (&Row, &Figures)> {
    let runs = report.runs.iter().map(|(row, figures)| (row, figures));
    runs.chain([(&report.bound, &report.bound_figures)])
}

fn as_json(report: &Report) -> Value {
    let policy = |(row, figures): (&Row, &Figures)| {
        json!({
            "policy": row.policy.name(),
            "slowdown": { "mean": row.mean, "p50": row.p50, "p95": row.p95 },
            "of_the_bound": row.mean / report.bound.mean,
            "load": row.load, "max_to_mean": row.max_to_mean,
            "started_away": figures.placed, "moves": figures.moves,
            "moves_per_process": row.moves, "moves_in_vain": figures.moves_in_vain,
            "refused": figures.refused, "crowded": figures.crowded, "bytes": figures.bytes, "begun_anew": figures.restarts,
            "lost": row.lost, "gossip_bytes_per_s": figures.gossip.0,
        })
    };
    json!({
        "nodes": report.plan.nodes, "seed": report.plan.seed, "processes": report.processes,
        "seconds": report.arrive_s, "offered": report.offered,
        "policies": lines(report).map(policy).collect::<Vec<_>>(),
    })
}

/// Load over time: the mean, the most loaded node, and the one that one in a hundred exceeds.
fn svg(report: &Report) -> String {
    let mut series = Vec::new();
    let mut add = |name: String, samples: &[Sample], of: fn(&Sample) -> f64| {
        let step = samples.len().div_ceil(POINTS).max(1);
        let points = samples.iter().step_by(step);
        series.push(Series {
            name,
            join: Join::Steps,
            points: points
                .map(|sample| Point::new(f64::from(sample.at_s), of(sample)))
                .collect(),
        });
    };
    for (row, figures) in lines(report) {
        let name = row.policy.name();
        add(format!("{name}, mean"), &figures.samples, |sample| {
            sample.mean
        });
        if row.policy != Policy::Omniscient {
            add(format!("{name}, p99"), &figures.samples, |sample| {
                sample.p99
            });
            add(format!("{name}, max"), &figures.samples, |sample| {
                sample.max
            });
        }
    }
    let plot = Plot {
        x: ("time, s", Scale::Linear),
        y: ("threads for each processor", Scale::Logarithmic),
        series,
    };
    plot.svg().replacen(
        "<svg ",
        "<svg xmlns=\"http://www.w3.org/2000/svg\" style=\"background:#fff\" ",
        1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_names_and_plots_stand_alone() {
        assert_eq!(policies("all").expect("all").len(), 6);
        assert_eq!(
            policies("none,exec").expect("two"),
            [Policy::None, Policy::Exec]
        );
        let error = policies("best").expect_err("no such policy").to_string();
        assert!(error.contains("scavenge"), "{error}");
        let plan = Plan {
            nodes: 4,
            seed: 1,
            scene: Scene::Usual,
            processes: 20,
            seconds: 0,
            deaths: 0,
        };
        let report = run(plan, &[Policy::None]);
        let svg = svg(&report);
        assert!(svg.starts_with("<svg xmlns=") && svg.contains("none, max"));
        assert_eq!(as_json(&report)["policies"][0]["lost"], 0);
    }
}
