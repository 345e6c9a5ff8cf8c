//! The chart of a comparison: how long a get and an overwrite take each subject, on a logarithmic scale.

use crate::figures::{Column, Figures};
use crate::report::{Report, count, short};
use crate::subjects::Entrant;
use crate::svg::{Svg, logarithmic};

const WIDTH: f64 = 860.0;
/// Where the bars begin, and how long the longest is; its figure stands behind it.
const LEFT: f64 = 280.0;
const LENGTH: f64 = 510.0;
const ROW: f64 = 32.0;
const BAR: f64 = 12.0;

/// Nanoseconds at the left end.
const LEAST: f64 = 10.0;

/// A chart, as SVG.
pub(crate) fn chart(report: &Report) -> String {
    let of = |column| report.rows.iter().filter_map(move |(_, figures)| figures.get(column));
    let slowest = of(Column::Get).chain(of(Column::Overwrite)).fold(LEAST * 10.0, f64::max);
    let most = 10_f64.powf(slowest.log10().ceil());
    let title = format!("Nanoseconds for an operation, {} entries", count(report.entries));
    let mut svg = Svg::new(WIDTH);
    svg.text((20.0, 32.0), "start", "h", &title);
    for (x, ours, peers, word) in [(LEFT, "a", "c", "get"), (LEFT + 90.0, "b", "d", "overwrite")] {
        svg.bar((x, 48.0), (BAR, BAR), ours);
        svg.bar((x + BAR + 2.0, 48.0), (BAR, BAR), peers);
        svg.text((x + 2.0 * BAR + 8.0, 58.0), "start", "m", word);
    }
    let mut y = 58.0;
    for (ordered, heading) in [(false, "Keys in no order"), (true, "Keys in their order")] {
        let group: Vec<_> = report.rows.iter().filter(|(subject, _)| subject.ordered == ordered).collect();
        if group.is_empty() {
            continue;
        }
        y += 26.0;
        svg.text((20.0, y), "start", "m", heading);
        let bottom = y + 12.0 + ROW * group.len() as f64;
        grid(&mut svg, y + 6.0, bottom, most);
        for (index, (subject, figures)) in group.into_iter().enumerate() {
            row(&mut svg, y + 12.0 + ROW * index as f64, most, subject, figures);
        }
        y = bottom + 18.0;
    }
    svg.finish(y + 12.0, &title)
}

/// A rule for each power of ten, with its number below.
fn grid(svg: &mut Svg, top: f64, bottom: f64, most: f64) {
    let mut tick = LEAST;
    while tick <= most {
        let x = LEFT + LENGTH * logarithmic(tick, LEAST, most);
        svg.rule((x, top), (x, bottom));
        svg.text((x, bottom + 14.0), "middle", "m", &short(tick));
        tick *= 10.0;
    }
}

fn row(svg: &mut Svg, y: f64, most: f64, subject: &Entrant, figures: &Figures) {
    svg.text((LEFT - 10.0, y + 17.0), "end", if subject.is_ours() { "h" } else { "" }, subject.title);
    let classes = if subject.is_ours() { ["a", "b"] } else { ["c", "d"] };
    let bars = [Column::Get, Column::Overwrite].into_iter().zip(classes);
    for (index, (column, class)) in bars.enumerate() {
        let Some(figure) = figures.get(column) else { continue };
        let (y, length) = (y + (BAR + 1.0) * index as f64, LENGTH * logarithmic(figure, LEAST, most));
        svg.bar((LEFT, y), (length.max(2.0), BAR), class);
        svg.text((LEFT + length + 6.0, y + 11.0), "start", "m", &short(figure));
    }
}
