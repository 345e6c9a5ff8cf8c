//! How get, overwrite and memory grow with the number of entries, for the tables and one peer each.

use crate::figures::{Column, Figures};
use crate::report::{count, machine};
use crate::subjects::Entrant;
use crate::{find, progress, turn};
use serde_json::{Value, json};
use std::fmt::Write;

const SUBJECTS: [&str; 4] = ["heirloom-set", "hashbrown-boxed", "heirloom-ordered", "btree-boxed"];

pub(crate) const COLUMNS: [Column; 3] = [Column::Get, Column::Overwrite, Column::Bytes];

/// The least number of entries: beyond the header, a table has little to show with fewer.
const LEAST: usize = 1000;

/// Figures of each subject for each size.
pub(crate) struct Curve {
    pub(crate) subjects: Vec<Entrant>,
    /// Numbers of entries, and the figures of each subject with so many.
    pub(crate) points: Vec<(usize, Vec<Figures>)>,
    passes: u64,
}

/// Measures up to that many entries, ten times as many from point to point.
pub(crate) fn measure(most: usize, passes: u64) -> Curve {
    let subjects: Vec<_> = SUBJECTS.iter().map(|name| find(name)).collect();
    let sizes: Vec<_> = std::iter::successors(Some(LEAST.min(most)), |size| Some(size * 10))
        .take_while(|size| *size <= most)
        .collect();
    let mut taken = vec![vec![Vec::new(); subjects.len()]; sizes.len()];
    for pass in 0..passes {
        for (size, taken) in sizes.iter().zip(&mut taken) {
            for (subject, taken) in subjects.iter().zip(taken) {
                progress(&format!(
                    "pass {} of {passes}: {} entries, {}",
                    pass + 1,
                    count(*size),
                    subject.name
                ));
                taken.push(turn(subject, *size, pass));
            }
        }
    }
    progress("");
    let medians = taken.iter().map(|taken| taken.iter().map(|passes| Figures::median(passes)).collect());
    Curve { subjects, points: sizes.into_iter().zip(medians).collect(), passes }
}

impl Curve {
    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for column in COLUMNS {
            write!(text, "{:<20}", column.heading()).expect(MEMORY);
            self.subjects.iter().for_each(|subject| {
                write!(text, "{:>24}", subject.title.replace('`', "")).expect(MEMORY);
            });
            text.push('\n');
            for (size, figures) in &self.points {
                write!(text, "{:>20}", count(*size)).expect(MEMORY);
                figures
                    .iter()
                    .for_each(|figures| write!(text, "{:>24}", cell(figures, column)).expect(MEMORY));
                text.push('\n');
            }
            text.push('\n');
        }
        text
    }

    /// For a page, as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut page = format!(
            "# From {} entries to {}\n\nKeys of 8 bytes in random order, values of 64, one thread; the median of {} \
             passes.\n{}.\n",
            count(self.points[0].0),
            count(self.points[self.points.len() - 1].0),
            self.passes,
            machine()
        );
        for column in COLUMNS {
            let unit = if column == Column::Bytes { "" } else { ", nanoseconds" };
            write!(page, "\n## {}{unit}\n\n| entries |", column.heading()).expect(MEMORY);
            self.subjects.iter().for_each(|subject| write!(page, " {} |", subject.title).expect(MEMORY));
            writeln!(page, "\n| ---: |{}", " ---: |".repeat(self.subjects.len())).expect(MEMORY);
            for (size, figures) in &self.points {
                write!(page, "| {} |", count(*size)).expect(MEMORY);
                figures
                    .iter()
                    .for_each(|figures| write!(page, " {} |", cell(figures, column)).expect(MEMORY));
                page.push('\n');
            }
        }
        page
    }

    /// For programs: an object for each number of entries.
    pub(crate) fn json(&self) -> Value {
        let points = self.points.iter().map(|(size, figures)| {
            let of_each = self.subjects.iter().zip(figures).map(|(subject, figures)| {
                let figures = COLUMNS.map(|column| (column.key().to_owned(), json!(figures.get(column))));
                (subject.name.to_owned(), Value::Object(figures.into_iter().collect()))
            });
            json!({ "entries": size, "subjects": Value::Object(of_each.collect()) })
        });
        json!({ "passes": self.passes, "points": points.collect::<Vec<_>>() })
    }
}

const MEMORY: &str = "memory takes it";

fn cell(figures: &Figures, column: Column) -> String {
    figures.get(column).map_or_else(|| "-".to_owned(), |figure| format!("{figure:.0}"))
}
