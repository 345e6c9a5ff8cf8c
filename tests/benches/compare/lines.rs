//! The chart of a curve: a panel for each column, and in it a line for each subject, both scales logarithmic.

use crate::curve::{COLUMNS, Curve};
use crate::figures::Column;
use crate::report::short;
use crate::svg::{Svg, logarithmic};

const WIDTH: f64 = 900.0;
const PANEL: f64 = WIDTH / COLUMNS.len() as f64;
/// How far the lines stay from the edges of their panel.
const LEFT: f64 = 48.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 340.0;

const CLASSES: [&str; 4] = ["la", "lb", "lc", "ld"];

/// A chart, as SVG.
pub(crate) fn chart(curve: &Curve) -> String {
    let title = "Cost and memory, by the number of entries";
    let mut svg = Svg::new(WIDTH);
    svg.text((20.0, 28.0), "start", "h", title);
    for (index, (subject, class)) in curve.subjects.iter().zip(CLASSES).enumerate() {
        let x = 20.0 + 200.0 * index as f64;
        svg.line(&[(x, 48.0), (x + 22.0, 48.0)], class);
        svg.text((x + 28.0, 52.0), "start", "m", subject.title);
    }
    for (index, column) in COLUMNS.into_iter().enumerate() {
        panel(&mut svg, PANEL * index as f64, column, curve);
    }
    svg.finish(BOTTOM + 40.0, title)
}

fn panel(svg: &mut Svg, left: f64, column: Column, curve: &Curve) {
    let figures = |subject: usize| curve.points.iter().filter_map(move |(_, all)| all[subject].get(column));
    let all = (0..curve.subjects.len()).flat_map(figures);
    let (least, most) = all.fold((f64::MAX, f64::MIN), |(least, most), one| (one.min(least), one.max(most)));
    let (least, most) = (10_f64.powf(least.log10().floor()), 10_f64.powf((most * 1.001).log10().ceil()));
    let size = |index: usize| curve.points[index].0 as f64;
    let (first, last) = (size(0), size(curve.points.len() - 1).max(size(0) * 10.0));
    let x = |entries: f64| left + LEFT + (PANEL - LEFT - RIGHT) * logarithmic(entries, first, last);
    let y = |figure: f64| BOTTOM - (BOTTOM - TOP) * logarithmic(figure, least, most);

    let unit = if column == Column::Bytes { "" } else { ", ns" };
    svg.text((left + LEFT, TOP - 12.0), "start", "", &format!("{}{unit}", column.heading()));
    for tick in ticks(least, most) {
        svg.rule((x(first), y(tick)), (x(last), y(tick)));
        svg.text((x(first) - 6.0, y(tick) + 4.0), "end", "m", &short(tick));
    }
    for index in 0..curve.points.len() {
        svg.text((x(size(index)), BOTTOM + 18.0), "middle", "m", &short(size(index)));
    }
    for (subject, class) in CLASSES.into_iter().enumerate() {
        let points: Vec<_> =
            (0..).zip(figures(subject)).map(|(index, one)| (x(size(index)), y(one))).collect();
        svg.line(&points, class);
    }
}

/// Each power of ten, and twice and five times as much.
fn ticks(least: f64, most: f64) -> impl Iterator<Item = f64> {
    let powers = std::iter::successors(Some(least), |power| Some(power * 10.0));
    powers.flat_map(|power| [power, 2.0 * power, 5.0 * power]).take_while(move |tick| *tick <= most * 1.001)
}
