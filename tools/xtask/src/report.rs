//! The report of a benchmark: a page that stands for itself, and the same figures as text.
//!
//! Law: a person who knows nothing of us can read it: what was measured, on what, how, in which units, and what the floor
//! is. The page needs nothing else: no script, no other file. Goals are judged by the figures alone.

use crate::measure::{Circumstances, Group, Run};
use crate::plot::{Join, Plot, Point, Scale, Series, escaped, short};
use crate::statistics::{Figure, percentile};
use std::collections::BTreeSet;
use std::fmt::Write;
use timeline::Timeline;

/// The mode that the goals of moves are about; the others are there to be compared with it.
const DEFAULT_MODE: &str = "post-copy";

/// A goal: what it is about, and whether the figures meet it.
struct Goal {
    what: String,
    goal: &'static str,
    measured: String,
    met: bool,
}

/// The figures shown of a group: name, title.
const SHOWN: [(&str, &str); 20] = [
    ("raw_rtt_us", "raw round trip, us"),
    ("raw_bytes_per_s", "raw goodput, bytes/s"),
    ("freeze_us", "freeze, us"),
    ("freeze_rtt", "freeze, round trips"),
    ("observer_us", "freeze seen by a third node, us"),
    ("observer_rtt", "the same, round trips"),
    ("total_us", "whole move, us"),
    ("goodput_bytes_per_s", "page stream, bytes/s"),
    ("goodput_share", "page stream, share of raw"),
    (
        "busy_bytes_per_s",
        "raw goodput to the node that computes, bytes/s",
    ),
    ("goodput_busy_share", "page stream, share of that"),
    ("bytes_per_page_byte", "bytes sent per byte of pages"),
    ("faults", "pages asked for"),
    ("stalls", "stalls"),
    ("stall_worst_us", "worst stall, us"),
    ("clock_error_us", "clocks known to, us"),
    ("call_us", "call, us"),
    ("call_rtt", "call, round trips"),
    ("calls_per_s", "calls per second"),
    ("drain_us", "all have left after, us"),
];

/// What stands over the figures of each kind.
fn section(what: &str) -> (&'static str, &'static str) {
    match what {
        "link" => (
            "The raw link",
            "Frames of the link without the protocol for pages and calls: one ping after the other, then a blast of frames that only \
             keeps the receiver's ring from overflowing. The number of bytes is that behind the header of 136 bytes. This is the floor: \
             nothing that is built on the link can have a shorter round trip or carry more.",
        ),
        "migrate" => (
            "Moves",
            "A process that keeps computing is moved to another node and back. Freeze is the time from its last instruction here to its \
             first one there, by the clocks of the two nodes and the offset estimated between them; a third node sees the same with one clock \
             (a frame from either end). The page stream is what its pages took after the image was out; the process computes meanwhile, so it is \
             compared with the raw link twice: as it was before, with nothing else to do, and to the target while the process computes \
             there. The floor of a freeze \
             is half a round trip: the image has to get there.",
        ),
        "forward" => (
            "Calls that go home",
            "A process away from home asks for something that only its home can answer (getppid). Idle: nothing else is on the link. Push: \
             the memory of another process is sent over the same link at the same time, in the direction of the answers. The floor is \
             one round trip.",
        ),
        _ => (
            "A node is emptied",
            "Eight processes leave a node at the same moment, each on its own request. The floor is the time that the raw link needs for \
             their pages.",
        ),
    }
}

/// The figures as text.
pub(crate) fn text(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let _ = writeln!(text, "{} {}", group.what, title(group));
        for (name, title) in SHOWN {
            if let Some(summary) = group.summary(name) {
                let _ = writeln!(
                    text,
                    "  {title:<34} p50 {:>9} ({} to {})  p99 {:>9}  n {}",
                    short(summary.p50.value),
                    short(summary.p50.low),
                    short(summary.p50.high),
                    short(summary.p99.value),
                    summary.count
                );
            }
        }
    }
    for goal in goals(groups) {
        let met = if goal.met { "met" } else { "missed" };
        let _ = writeln!(
            text,
            "{met}: {}, {}: {}",
            goal.what, goal.goal, goal.measured
        );
    }
    text
}

/// What a group is called: link, label and what was varied.
fn title(group: &Group) -> String {
    let unit = match (group.what, group.label.as_str()) {
        ("link", _) => format!(", {} bytes", group.x),
        ("forward", "threads") => format!(", {} threads", group.x),
        ("forward", state) => format!(", {state}"),
        (_, "") => format!(", {} MiB", group.x),
        (_, label) => format!(", {label}, {} MiB", group.x),
    };
    format!("{}{unit}", group.link)
}

/// The page.
pub(crate) fn html(circumstances: &Circumstances, runs: &[Run], groups: &[Group]) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Dunlin: what moves cost</title>\n<style>\
         body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
         table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}\
         td:first-child,th:first-child{text-align:left}.met{color:#00664a}.missed{color:#a33b00}svg{width:100%;height:auto}\
         figcaption{font-size:13px;color:#555}</style>\n<h1>Dunlin: what moves cost</h1>\n",
    );
    page += "<p>Dunlin is a cluster operating system: a running program is moved from one machine to another without noticing. \
             This page shows what that costs. Each node is a virtual machine; a switch of our own joins them, all on one \
             computer, so that nodes compete for its processors. Hence times here are not those of a rack: what counts are <em>ratios</em> \
             to what the raw link gave in the same moment, on the same machine.</p>\n<p>A figure is the median (p50) or the 99th \
             percentile (p99) of all samples of all rounds but those that warm up; sizes and modes took turns within each round. In brackets, and as \
             vertical lines in the plots, stands the interval in which the figure lies with 95 % (bootstrap). \
             With fewer than 100 samples a p99 is the largest one.</p>\n";
    page += "<table>\n";
    for (name, text) in &circumstances.lines {
        let _ = writeln!(page, "<tr><td>{name}</td><td>{}</td></tr>", escaped(text));
    }
    page += "</table>\n";
    goals_html(&mut page, groups);
    let mut kinds: Vec<&str> = Vec::new();
    for group in groups {
        if !kinds.contains(&group.what) {
            kinds.push(group.what);
        }
    }
    for what in kinds {
        let (heading, about) = section(what);
        let of: Vec<&Group> = groups.iter().filter(|group| group.what == what).collect();
        let _ = writeln!(page, "<h2>{heading}</h2>\n<p>{about}</p>");
        for (caption, plot) in plots(what, &of, runs) {
            let _ = writeln!(
                page,
                "<figure>{}<figcaption>{caption}</figcaption></figure>",
                plot.svg()
            );
        }
        table(&mut page, &of);
        let short = runs.iter().flat_map(|run| &run.records);
        let short = short.filter(|record| record.kind == "short").count();
        if what == "forward" && short > 0 {
            let _ = writeln!(
                page,
                "<p>In {short} rounds the push was over before all calls were made; these calls are not counted. Larger --sizes help.</p>"
            );
        }
    }
    page += "<p>All samples are in bench.json beside this page.</p>\n</html>\n";
    page
}

fn goals_html(page: &mut String, groups: &[Group]) {
    let goals = goals(groups);
    if goals.is_empty() {
        return;
    }
    *page +=
        "<h2>Goals</h2>\n<table>\n<tr><th>what</th><th>goal</th><th>measured</th><th></th></tr>\n";
    for goal in goals {
        let met = if goal.met { "met" } else { "missed" };
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"{met}\">{met}</td></tr>",
            escaped(&goal.what),
            escaped(goal.goal),
            escaped(&goal.measured)
        );
    }
    *page += "</table>\n";
}

fn table(page: &mut String, groups: &[&Group]) {
    let shown: Vec<_> = SHOWN
        .iter()
        .filter(|(name, _)| groups.iter().any(|group| group.samples.contains_key(name)))
        .collect();
    *page += "<table>\n<tr><th></th>";
    for group in groups {
        let _ = write!(page, "<th>{}</th>", escaped(&title(group)));
    }
    *page += "</tr>\n";
    for (name, title) in shown {
        let _ = write!(page, "<tr><td>{title}</td>");
        for group in groups {
            let Some(summary) = group.summary(name) else {
                *page += "<td></td>";
                continue;
            };
            let Figure { value, low, high } = summary.p50;
            let _ = write!(
                page,
                "<td>{} ({} to {})<br>p99 {}, n {}</td>",
                short(value),
                short(low),
                short(high),
                short(summary.p99.value),
                summary.count
            );
        }
        *page += "</tr>\n";
    }
    *page += "</table>\n";
}

/// The goals that the figures can tell of, for each link.
fn goals(groups: &[Group]) -> Vec<Goal> {
    let mut goals = Vec::new();
    let links: BTreeSet<&str> = groups.iter().map(|group| group.link.as_str()).collect();
    for link in links {
        let of = |what: &str, label: &str| -> Vec<&Group> {
            let fits = |group: &&Group| {
                (group.what, group.link.as_str()) == (what, link)
                    && (label.is_empty() || group.label == label)
            };
            let mut found: Vec<&Group> = groups.iter().filter(fits).collect();
            found.sort_by(|a, b| a.x.total_cmp(&b.x));
            found
        };
        let mut add = |what: String, goal, value: Option<f64>, met: fn(f64) -> bool| {
            if let Some(value) = value {
                let (measured, met) = (short(value), met(value));
                let what = format!("{link}: {what}");
                goals.push(Goal {
                    what,
                    goal,
                    measured,
                    met,
                });
            }
        };
        let p50 = |group: &Group, name: &str| Some(group.summary(name)?.p50.value);
        let p99 = |group: &Group, name: &str| Some(group.summary(name)?.p99.value);
        let moves = of("migrate", DEFAULT_MODE);
        let loaded = of("migrate", "")
            .into_iter()
            .filter(|group| group.label.starts_with(&format!("{DEFAULT_MODE}, ")));
        for group in moves.iter().copied().chain(loaded) {
            let size = format!("{}, {} MiB", group.label, group.x);
            add(
                format!("freeze, {size}, p50"),
                "at most 1 round trip",
                p50(group, "freeze_rtt"),
                |x| x <= 1.0,
            );
            add(
                format!("freeze, {size}, p99"),
                "at most 3 round trips",
                p99(group, "freeze_rtt"),
                |x| x <= 3.0,
            );
            if group.x >= 64.0 {
                add(
                    format!("page stream, {size}"),
                    "at least 0.97 of the raw link",
                    p50(group, "goodput_share"),
                    |x| x >= 0.97,
                );
                add(
                    format!("page stream to a node that computes, {size}"),
                    "at least 0.97 of the raw link to it",
                    p50(group, "goodput_busy_share"),
                    |x| x >= 0.97,
                );
                add(
                    format!("bytes per byte of pages, {size}"),
                    "at most 1.01",
                    p50(group, "bytes_per_page_byte"),
                    |x| x <= 1.01,
                );
            }
        }
        if let (Some(small), Some(large)) = (moves.first(), moves.last())
            && small.x < large.x
        {
            let ratio = p50(large, "freeze_us").zip(p50(small, "freeze_us"));
            let what = format!("freeze, {} MiB to {} MiB", large.x, small.x);
            add(
                what,
                "at most 1.1",
                ratio.map(|(large, small)| large / small),
                |x| x <= 1.1,
            );
        }
        for group in of("forward", "idle") {
            add(
                "a call that goes home".to_owned(),
                "at most 1.1 round trips",
                p50(group, "call_rtt"),
                |x| x <= 1.1,
            );
        }
        for group in of("forward", "push") {
            add(
                "the same during a push".to_owned(),
                "at most 1.2 round trips",
                p50(group, "call_rtt"),
                |x| x <= 1.2,
            );
        }
    }
    goals
}

/// The plots of a kind, each with its caption.
fn plots(what: &str, groups: &[&Group], runs: &[Run]) -> Vec<(String, Plot)> {
    match what {
        "link" => vec![
            (
                "Bytes per second that arrived, by the bytes in each frame.".to_owned(),
                lines(
                    ("bytes behind the header", Scale::Linear),
                    ("goodput, bytes/s", Scale::Linear),
                    groups,
                    &[("raw_bytes_per_s", "raw")],
                ),
            ),
            (
                "Round trip, by the bytes in each frame; a frame comes back as large as it went."
                    .to_owned(),
                lines(
                    ("bytes behind the header", Scale::Linear),
                    ("round trip, us", Scale::Linear),
                    groups,
                    &[("raw_rtt_us", "raw")],
                ),
            ),
        ],
        "migrate" => moves(groups, runs),
        "forward" => {
            let threads: Vec<&Group> = groups
                .iter()
                .copied()
                .filter(|group| group.label == "threads")
                .collect();
            vec![(
                "Calls answered per second, by how many threads call at the same time.".to_owned(),
                lines(
                    ("threads", Scale::Linear),
                    ("calls per second", Scale::Linear),
                    &threads,
                    &[("calls_per_s", "calls")],
                ),
            )]
        }
        _ => Vec::new(),
    }
}

fn moves(groups: &[&Group], runs: &[Run]) -> Vec<(String, Plot)> {
    let distribution = groups.iter().map(|group| Series {
        name: title(group),
        join: Join::Steps,
        points: distribution(group.samples.get("freeze_us").map_or(&[], Vec::as_slice)),
    });
    let trips: Vec<f64> = groups
        .iter()
        .filter_map(|group| group.samples.get("raw_rtt_us"))
        .flatten()
        .copied()
        .collect();
    let trip = rule("one round trip (p50)", &trips);
    let raw: Vec<f64> = groups
        .iter()
        .filter_map(|group| group.samples.get("raw_bytes_per_s"))
        .flatten()
        .copied()
        .collect();
    let size = ("size of the process, MiB", Scale::Logarithmic);
    let mut freeze = lines(
        size,
        ("freeze, us", Scale::Logarithmic),
        groups,
        &[("freeze_us", "two clocks"), ("observer_us", "third node")],
    );
    freeze.series.push(trip);
    let mut stream = lines(
        size,
        ("bytes/s", Scale::Linear),
        groups,
        &[("goodput_bytes_per_s", "page stream")],
    );
    stream.series.push(rule("raw link (p50)", &raw));
    vec![
        (
            "How many of the moves had a freeze of at most so long. A steep line is a freeze that can be relied on.".to_owned(),
            Plot {
                x: ("freeze, us", Scale::Logarithmic),
                y: ("share of the moves", Scale::Linear),
                series: distribution.collect(),
            },
        ),
        ("The freeze by the size of the process: it should not grow with it. The dashed line is the round trip of the raw link.".to_owned(), freeze),
        ("What the page stream carries, by the size of the process. The dashed line is the raw link.".to_owned(), stream),
        (
            "Each point is a page that a thread stood still for: when it touched it, counted from the first instruction at the target, and how \
             long it waited. From the last moves of the run, as many as the nodes remember.".to_owned(),
            Plot {
                x: ("time since the start at the target, us", Scale::Linear),
                y: ("waited for the page, us", Scale::Linear),
                series: runs.iter().filter(|run| run.what == "migrate").map(stalls).collect(),
            },
        ),
    ]
}

/// A level to hold others against: the median of these.
fn rule(name: &str, samples: &[f64]) -> Series {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    Series {
        name: name.to_owned(),
        join: Join::Rule,
        points: vec![Point::new(f64::NAN, percentile(&sorted, 50))],
    }
}

fn distribution(samples: &[f64]) -> Vec<Point> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let points = sorted.iter().enumerate();
    points
        .map(|(index, value)| Point::new(*value, (index as f64 + 1.0) / count))
        .collect()
}

/// Medians with their intervals, a line for each link, label and figure.
fn lines(
    x: (&'static str, Scale),
    y: (&'static str, Scale),
    groups: &[&Group],
    figures: &[(&str, &str)],
) -> Plot {
    let names: BTreeSet<(&str, &str)> = groups
        .iter()
        .map(|group| (group.link.as_str(), group.label.as_str()))
        .collect();
    let mut series = Vec::new();
    for (link, label) in names {
        for (figure, title) in figures {
            let of = groups
                .iter()
                .filter(|group| (group.link.as_str(), group.label.as_str()) == (link, label));
            let mut points: Vec<Point> = of
                .filter_map(|group| {
                    let Figure { value, low, high } = group.summary(figure)?.p50;
                    Some(Point {
                        x: group.x,
                        y: value,
                        interval: Some((low, high)),
                    })
                })
                .collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            let parts = [link, label, title]
                .into_iter()
                .filter(|part| !part.is_empty() && *part != "threads");
            let name = parts.collect::<Vec<_>>().join(", ");
            series.push(Series {
                name,
                join: Join::Lines,
                points,
            });
        }
    }
    Plot { x, y, series }
}

/// Pages that were waited for, by when they were touched.
fn stalls(run: &Run) -> Series {
    let Timeline { steps, .. } = &run.timeline;
    let mut points = Vec::new();
    for asked in steps.iter().filter(|step| step.event.name == "page-asked") {
        let of = (asked.event.pid, asked.event.epoch);
        let came = steps.iter().find(|step| {
            let event = &step.event;
            event.name == "page-in"
                && (event.pid, event.epoch, event.value) == (of.0, of.1, asked.event.value)
        });
        let started = run.timeline.step(of, "started");
        if let (Some(came), Some(started)) = (came, started) {
            let us = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1000.0;
            points.push(Point::new(
                us(started.event.at_ns, asked.event.at_ns),
                us(asked.event.at_ns, came.event.at_ns),
            ));
        }
    }
    Series {
        name: run.link.to_string(),
        join: Join::Nothing,
        points,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::groups;
    use crate::measure::tests::runs;

    #[test]
    fn the_page_stands_for_itself() {
        let runs = runs();
        let about = Circumstances {
            lines: vec![("processor", "1 x <fast>".to_owned())],
        };
        let page = html(&about, &runs, &groups(&runs));
        assert!(page.contains("1 x &lt;fast&gt;") && page.ends_with("</html>\n"));
        for heading in [
            "Goals",
            "The raw link",
            "Moves",
            "Calls that go home",
            "A node is emptied",
        ] {
            assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
        }
        for other in ["<script", "src=", "href=", "NaN", "inf\""] {
            assert!(!page.contains(other), "{other}");
        }
        for tag in ["svg", "figure", "table", "tr", "p"] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn goals_are_judged_by_the_figures() {
        let goals = goals(&groups(&runs()));
        let find = |part: &str| goals.iter().find(|goal| goal.what.contains(part));
        assert!(!find("freeze, post-copy, 1 MiB, p50").expect("judged").met);
        assert!(find("freeze, post-copy, 64 MiB, p99").expect("judged").met);
        assert!(find("64 MiB to 1 MiB").expect("judged").met);
        assert!(!find("a call that goes home").expect("judged").met);
        assert!(
            find("page stream, post-copy, 1 MiB").is_none(),
            "only from 64 MiB up"
        );
    }

    #[test]
    fn a_distribution_ends_at_one() {
        let points = distribution(&[3.0, 1.0, 2.0, 4.0]);
        assert_eq!((points[0].x, points[0].y), (1.0, 0.25));
        assert_eq!((points[3].x, points[3].y), (4.0, 1.0));
    }
}
