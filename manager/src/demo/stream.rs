//! The stream of sale events: some lines, repeated for as long as is asked for.

use super::cars::{Car, Sale};

/// A stream of events, numbered from 0. A *position* in it is the number of events before that place.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    lines: Vec<Sale>,
    events: u64,
}

/// The ten sales that make up the stream where no file is given.
const STANDARD: [(u16, &str, &str, u64); 10] = [
    (2000, "Honda", "Accord", 22_000),
    (2019, "Acura", "Integra", 32_000),
    (2022, "Pagani", "Zonda", 4_181_000),
    (2023, "Lamborghini", "Huracan", 324_000),
    (2022, "Ferrari", "488", 450_000),
    (2018, "Mazda", "MX-5", 29_000),
    (2015, "Chevy", "Camaro", 65_000),
    (2023, "Lamborghini", "Huracan", 349_500),
    (2015, "Chevy", "Camaro", 62_000),
    (2022, "Ferrari", "488", 492_600),
];

impl Stream {
    /// The standard ten sales, repeated until there are that many events.
    pub(super) fn standard(events: u64) -> Self {
        let lines = STANDARD
            .into_iter()
            .map(|(year, make, model, price)| Sale { car: Car::new(year, make, model), cents: price * 100 });
        Self { lines: lines.collect(), events }
    }

    /// The lines of a file: once, or repeated (or cut) to make that many events.
    pub(super) fn of_lines(lines: Vec<Sale>, events: Option<u64>) -> Self {
        let events = if lines.is_empty() { 0 } else { events.unwrap_or(lines.len() as u64) };
        Self { lines, events }
    }

    /// The number of events.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The sales that are repeated.
    pub(super) fn lines(&self) -> &[Sale] {
        &self.lines
    }

    /// The indices into [`lines`](Self::lines) of all events from that position on.
    pub(super) fn from(&self, position: u64) -> impl Iterator<Item = usize> + use<> {
        let lines = self.lines.len();
        let left = usize::try_from(self.events.saturating_sub(position)).unwrap_or(usize::MAX);
        let start = usize::try_from(position % lines.max(1) as u64).unwrap_or(0);
        (0..lines).cycle().skip(start).take(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_where_it_stopped() {
        let stream = Stream::standard(25);
        let all: Vec<_> = stream.from(0).collect();
        assert_eq!(all.len(), 25);
        for position in 0..=25 {
            let rest: Vec<_> = stream.from(position as u64).collect();
            assert_eq!(rest, all[position..], "from {position}");
        }
        assert_eq!(stream.from(26).count(), 0);
    }

    #[test]
    fn a_file_is_streamed_once_or_as_often_as_asked() {
        let lines = Stream::standard(0).lines()[..3].to_vec();
        assert_eq!(Stream::of_lines(lines.clone(), None).from(0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Stream::of_lines(lines.clone(), Some(5)).from(0).collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
        assert_eq!(Stream::of_lines(lines, Some(2)).from(0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(Stream::of_lines(Vec::new(), Some(5)).from(0).count(), 0);
    }
}
