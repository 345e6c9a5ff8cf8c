//! What the demonstration is about: sold cars, which of them are exotic, and what is counted of each.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One sale, as the stream brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sale {
    /// What was sold.
    pub(super) car: Car,
    /// For how many cents.
    pub(super) cents: u64,
}

/// A car of one model year: the key of table `sales`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Car {
    pub(super) year: u16,
    pub(super) make: String,
    pub(super) model: String,
}

/// A make in one model year: the key of table `exotic_cars`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct MakeOfYear {
    pub(super) year: u16,
    pub(super) make: String,
}

/// The exotic models of a make in one year, one a line: the value of table `exotic_cars`. Text is stored as the bytes it
/// is, so a model is found in it without decoding anything.
pub(super) type Models = str;

/// What was sold of one car so far: the value of table `sales`.
///
/// The seal says whether a value is whole: it depends on the car, the count and the sum, so a reader sees at once
/// where words of two values, or the value of another car, came together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Total {
    /// How many were sold.
    pub(super) count: u64,
    /// For how many cents altogether.
    pub(super) cents: u64,
    seal: u64,
}

/// The exotic cars, by make; the same ones in each of [`EXOTIC_YEARS`].
const EXOTIC_MODELS: [(&str, [&str; 2]); 5] = [
    ("Bugatti", ["Chiron", "Veyron"]),
    ("Ferrari", ["488", "F90"]),
    ("Lamborghini", ["Aventador", "Huracan"]),
    ("Pagani", ["Hyuara", "Zonda"]),
    ("Porsche", ["918 Spyder", "911 GT3 RS"]),
];

const EXOTIC_YEARS: [u16; 2] = [2022, 2023];

/// Every entry of table `exotic_cars`.
pub(super) fn exotic_cars() -> impl Iterator<Item = (MakeOfYear, String)> {
    EXOTIC_YEARS.into_iter().flat_map(|year| {
        EXOTIC_MODELS
            .into_iter()
            .map(move |(make, models)| (MakeOfYear { year, make: make.to_owned() }, models.join("\n")))
    })
}

/// Every car that table `sales` may come to hold.
pub(super) fn every_exotic_car() -> impl Iterator<Item = Car> {
    exotic_cars().flat_map(|(make, models)| {
        models.lines().map(|model| Car::new(make.year, &make.make, model)).collect::<Vec<_>>()
    })
}

/// Whether the bytes of a value of table `exotic_cars` name that model.
pub(super) fn has_model(models: &[u8], model: &str) -> bool {
    models.split(|byte| *byte == b'\n').any(|line| line == model.as_bytes())
}

impl Car {
    pub(super) fn new(year: u16, make: &str, model: &str) -> Self {
        Self { year, make: make.to_owned(), model: model.to_owned() }
    }

    /// The key under which table `exotic_cars` would know it.
    pub(super) fn make_of_year(&self) -> MakeOfYear {
        MakeOfYear { year: self.year, make: self.make.clone() }
    }

    /// A number that stands for this car in the seals of its totals.
    pub(super) fn stamp(&self) -> u64 {
        let bytes = self.make.bytes().chain([0]).chain(self.model.bytes());
        bytes.fold(mix(u64::from(self.year)), |stamp, byte| mix(stamp ^ u64::from(byte)))
    }
}

impl fmt::Display for Car {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.year, self.make, self.model)
    }
}

impl Total {
    /// This total and one more sale of the car with that [stamp](Car::stamp).
    pub(super) fn and(self, cents: u64, stamp: u64) -> Self {
        let (count, cents) = (self.count + 1, self.cents + cents);
        Self { count, cents, seal: seal(count, cents, stamp) }
    }

    /// Whether this is a total of the car with that [stamp](Car::stamp), as it was once written.
    pub(super) fn is_whole(&self, stamp: u64) -> bool {
        self.seal == seal(self.count, self.cents, stamp)
    }

    /// The average price, in units of the currency (not cents).
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn average(&self) -> f64 {
        self.cents as f64 / self.count as f64 / 100.0
    }
}

fn seal(count: u64, cents: u64, stamp: u64) -> u64 {
    mix(mix(stamp ^ count) ^ cents)
}

/// Spreads the bits of a number over all of it (the finalizer of `SplitMix64`).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twenty_exotic_cars() {
        let cars: Vec<_> = exotic_cars().collect();
        assert_eq!(cars.len(), 10);
        assert_eq!(cars.iter().map(|(_, models)| models.lines().count()).sum::<usize>(), 20);
        assert!(cars.iter().any(|(make, models)| make.year == 2023
            && make.make == "Porsche"
            && has_model(models.as_bytes(), "911 GT3 RS")));
        assert!(
            !has_model(b"488\nF90", "48") && !has_model(b"488\nF90", "") && !has_model(b"488\nF90", "8\nF90")
        );
    }

    #[test]
    fn a_total_that_is_put_together_from_two_is_not_whole() {
        let (zonda, ferrari) = (Car::new(2022, "Pagani", "Zonda"), Car::new(2022, "Ferrari", "488"));
        let one = Total::default().and(418_100_000, zonda.stamp());
        let two = one.and(418_100_000, zonda.stamp());
        assert!(one.is_whole(zonda.stamp()) && two.is_whole(zonda.stamp()));
        assert!(!two.is_whole(ferrari.stamp()), "the value of another car");
        assert!(!Total { count: one.count, ..two }.is_whole(zonda.stamp()), "an older count");
        assert!(!Total { cents: one.cents, ..two }.is_whole(zonda.stamp()), "an older sum");
        assert!(!Total { seal: one.seal, ..two }.is_whole(zonda.stamp()), "an older seal");
    }

    #[test]
    fn the_average_is_in_units_of_the_currency() {
        let total = Total::default().and(45_000_000, 0).and(49_260_000, 0);
        assert!((total.average() - 471_300.0).abs() < 1e-9);
    }
}
