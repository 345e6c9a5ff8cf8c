//! The figures of one subject: what is measured, and the middle of some passes.

use serde::{Deserialize, Serialize};

/// What is measured; nanoseconds for each operation, except for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Column {
    Get,
    Overwrite,
    Insert,
    Remove,
    Count,
    Scan,
    Bytes,
}

impl Column {
    pub(crate) const ALL: [Self; 7] =
        [Self::Get, Self::Overwrite, Self::Insert, Self::Remove, Self::Count, Self::Scan, Self::Bytes];

    /// Its heading in tables.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Overwrite => "overwrite",
            Self::Insert => "insert",
            Self::Remove => "remove",
            Self::Count => "counter add",
            Self::Scan => "scan, an entry",
            Self::Bytes => "bytes an entry",
        }
    }

    /// Its name for programs.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Get => "get_ns",
            Self::Overwrite => "overwrite_ns",
            Self::Insert => "insert_ns",
            Self::Remove => "remove_ns",
            Self::Count => "counter_add_ns",
            Self::Scan => "scan_entry_ns",
            Self::Bytes => "bytes_per_entry",
        }
    }
}

/// Some figures; a subject that cannot do something has none there.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Figures([Option<f64>; Column::ALL.len()]);

impl Figures {
    pub(crate) fn get(&self, column: Column) -> Option<f64> {
        self.0[column as usize]
    }

    pub(crate) fn note(&mut self, column: Column, figure: f64) {
        self.0[column as usize] = Some(figure);
    }

    /// The median of each figure over some passes.
    pub(crate) fn median(passes: &[Self]) -> Self {
        let mut medians = Self::default();
        for column in Column::ALL {
            let figures: Vec<_> = passes.iter().filter_map(|pass| pass.get(column)).collect();
            medians.0[column as usize] = middle(&figures);
        }
        medians
    }
}

/// The median; none of nothing.
pub(crate) fn middle(figures: &[f64]) -> Option<f64> {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}
