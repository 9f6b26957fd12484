//! Plots as SVG, to stand inside a page: lines with intervals, on linear or logarithmic axes.
//!
//! Law: a plot says its axes with their units and has a legend; what cannot be drawn (no finite point) is said instead.

use std::fmt::Write;

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 380.0;
/// Room for the axes: left, right, top, bottom.
const MARGIN: [f64; 4] = [74.0, 250.0, 16.0, 52.0];
/// Colours that people without red or green can tell apart (Okabe and Ito).
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933",
];

/// How numbers lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// How the points of a series are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    Lines,
    /// As a distribution: level until the next point.
    Steps,
    /// Not at all.
    Nothing,
    /// A line without points, across the plot: what the others are held against.
    Rule,
}

/// A point, with the interval in which it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

impl Point {
    pub(crate) fn new(x: f64, y: f64) -> Point {
        Point {
            x,
            y,
            interval: None,
        }
    }
}

/// Points of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) join: Join,
    pub(crate) points: Vec<Point>,
}

/// A plot.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    pub(crate) x: (&'static str, Scale),
    pub(crate) y: (&'static str, Scale),
    pub(crate) series: Vec<Series>,
}

/// One axis: what is shown of it, and where a value lies between 0 and 1.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>) -> Option<Axis> {
        let usable = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(usable) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return None;
        }
        match scale {
            Scale::Linear => (low, high) = (low.min(0.0), high + (high - low.min(0.0)) * 0.05),
            Scale::Logarithmic => (low, high) = (low / 1.2, high * 1.2),
        }
        if low == high {
            high = low + 1.0;
        }
        Some(Axis { scale, low, high })
    }

    fn place(&self, value: f64) -> Option<f64> {
        let at = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        at.is_finite().then_some(at.clamp(0.0, 1.0))
    }

    /// Round numbers within the axis.
    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        match self.scale {
            Scale::Linear => {
                let raw = (self.high - self.low) / 6.0;
                let power = 10f64.powf(raw.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
                let step = step.into_iter().find(|step| *step >= raw).unwrap_or(raw);
                let first = (self.low / step).ceil();
                ticks.extend((0..12).map(|n| (first + f64::from(n)) * step));
            }
            Scale::Logarithmic => {
                let wide = self.high / self.low > 1000.0;
                let digits: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
                for power in -6..16 {
                    ticks.extend(digits.iter().map(|digit| digit * 10f64.powi(power)));
                }
            }
        }
        ticks.retain(|tick| (self.low..=self.high).contains(tick));
        ticks
    }
}

/// A number as short as it can be said.
pub(crate) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size == 0.0 || size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

/// Text that is not taken for markup.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

impl Plot {
    /// The plot as an SVG element.
    pub(crate) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let ys = points().flat_map(|point| {
            let (low, high) = point.interval.unwrap_or((point.y, point.y));
            [point.y, low, high]
        });
        let xs = self
            .series
            .iter()
            .filter(|series| series.join != Join::Rule);
        let xs = xs.flat_map(|series| series.points.iter().map(|point| point.x));
        let axes = Axis::new(self.x.1, xs).zip(Axis::new(self.y.1, ys));
        let Some((x, y)) = axes else {
            return "<p>(There are no samples for this plot.)</p>\n".to_owned();
        };
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\">\n"
        );
        self.frame(&mut svg, &x, &y);
        for (number, series) in self.series.iter().enumerate() {
            draw(&mut svg, series, COLOURS[number % COLOURS.len()], &x, &y);
            legend(&mut svg, number, series);
        }
        svg += "</svg>\n";
        svg
    }

    fn frame(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let [left, _, top, bottom] = MARGIN;
        let (right, floor) = (across(1.0), HEIGHT - bottom);
        for tick in x.ticks() {
            let at = across(x.place(tick).unwrap_or(0.0));
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{floor}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                floor + 16.0,
                short(tick)
            );
        }
        for tick in y.ticks() {
            let at = up(y.place(tick).unwrap_or(0.0));
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                at + 4.0,
                short(tick)
            );
        }
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#555\"/>",
            right - left,
            floor - top
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text transform=\"translate(16,{:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            HEIGHT - 12.0,
            escaped(self.x.0),
            (top + floor) / 2.0,
            escaped(self.y.0)
        );
    }
}

fn across(at: f64) -> f64 {
    MARGIN[0] + at * (WIDTH - MARGIN[0] - MARGIN[1])
}

fn up(at: f64) -> f64 {
    HEIGHT - MARGIN[3] - at * (HEIGHT - MARGIN[2] - MARGIN[3])
}

fn draw(svg: &mut String, series: &Series, colour: &str, x: &Axis, y: &Axis) {
    if series.join == Join::Rule {
        for point in &series.points {
            if let Some(at) = y.place(point.y).map(up) {
                let _ = writeln!(
                    svg,
                    "<line x1=\"{:.1}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-dasharray=\"6 4\"/>",
                    across(0.0),
                    across(1.0)
                );
            }
        }
        return;
    }
    let mut path = String::new();
    let mut last = None;
    for point in &series.points {
        let Some((px, py)) = x.place(point.x).map(across).zip(y.place(point.y).map(up)) else {
            continue;
        };
        if let (Join::Steps, Some(level)) = (series.join, last) {
            let _ = write!(path, "{px:.1},{level:.1} ");
        }
        let _ = write!(path, "{px:.1},{py:.1} ");
        last = Some(py);
        if series.join != Join::Steps {
            let _ = writeln!(
                svg,
                "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" fill=\"{colour}\"/>"
            );
        }
        let ends = point
            .interval
            .and_then(|(low, high)| Some((y.place(low)?, y.place(high)?)));
        if let Some((low, high)) = ends {
            let _ = writeln!(
                svg,
                "<line x1=\"{px:.1}\" y1=\"{:.1}\" x2=\"{px:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
                up(low),
                up(high)
            );
        }
    }
    if series.join != Join::Nothing {
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            path.trim_end()
        );
    }
}

fn legend(svg: &mut String, number: usize, series: &Series) {
    let (x, y) = (across(1.0) + 12.0, MARGIN[2] + 14.0 + 18.0 * number as f64);
    let colour = COLOURS[number % COLOURS.len()];
    let dashes = match series.join {
        Join::Rule => " stroke-dasharray=\"6 4\"",
        _ => "",
    };
    let _ = writeln!(
        svg,
        "<line x1=\"{x}\" y1=\"{:.1}\" x2=\"{}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"3\"{dashes}/><text x=\"{}\" y=\"{y:.1}\">{}</text>",
        y - 4.0,
        x + 18.0,
        y - 4.0,
        x + 24.0,
        escaped(&series.name)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<Point>, scale: Scale) -> Plot {
        let series = Series {
            name: "a < b".to_owned(),
            join: Join::Lines,
            points,
        };
        Plot {
            x: ("size, MiB", scale),
            y: ("time, us", scale),
            series: vec![series],
        }
    }

    #[test]
    fn points_lie_within_the_frame() {
        let mut last = Point::new(256.0, 900.0);
        last.interval = Some((800.0, 5000.0));
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let svg = plot(vec![Point::new(1.0, 3.0), last], scale).svg();
            assert!(svg.contains("size, MiB") && svg.contains("a &lt; b"));
            for part in svg.split("<circle cx=\"").skip(1) {
                let mut numbers = part.split('"');
                let x: f64 = numbers
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("a place");
                assert!((MARGIN[0]..=WIDTH - MARGIN[1]).contains(&x), "{x}");
            }
            assert_eq!(svg.matches("<circle").count(), 2);
        }
    }

    #[test]
    fn nothing_to_draw_is_said() {
        assert!(plot(vec![], Scale::Linear).svg().contains("no samples"));
        let zero = vec![Point::new(0.0, 0.0)];
        assert!(plot(zero, Scale::Logarithmic).svg().contains("no samples"));
        let svg = plot(vec![Point::new(5.0, 5.0)], Scale::Linear).svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.25, 1.0, 37.5, 1234.0, 45_600.0, 31_000_000.0].map(short);
        assert_eq!(texts, ["0", "0.25", "1", "37.5", "1234", "45.6k", "31M"]);
    }
}
