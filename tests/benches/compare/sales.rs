//! The sales of the stress run: ten of them, again and again, and which cars are exotic. They are those of
//! `heirloom demo`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::{fs, fs::File};

/// One sale.
#[derive(Debug, Clone)]
pub(crate) struct Sale {
    pub(crate) year: u16,
    pub(crate) make: String,
    pub(crate) model: String,
}

/// How often each car was sold, as `year make model`.
pub(crate) type Counts = BTreeMap<String, u64>;

const SALES: [(u16, &str, &str, u64); 10] = [
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

/// Makes with their models, one a line.
const EXOTIC: [(&str, &str); 5] = [
    ("Bugatti", "Chiron\nVeyron"),
    ("Ferrari", "488\nF90"),
    ("Lamborghini", "Aventador\nHuracan"),
    ("Pagani", "Hyuara\nZonda"),
    ("Porsche", "918 Spyder\n911 GT3 RS"),
];

/// The exotic cars: year, make, and models.
pub(crate) fn exotic() -> impl Iterator<Item = (u16, &'static str, &'static str)> {
    [2022, 2023].into_iter().flat_map(|year| EXOTIC.map(|(make, models)| (year, make, models)))
}

/// Writes that many sales to a file.
pub(crate) fn write(file: &Path, sales: usize) -> io::Result<()> {
    let mut lines = BufWriter::new(File::create(file)?);
    for (year, make, model, price) in SALES.into_iter().cycle().take(sales) {
        writeln!(lines, "{year},{make},{model},{price}")?;
    }
    lines.flush()
}

/// Reads them back.
pub(crate) fn read(file: &Path) -> io::Result<Vec<Sale>> {
    let sale = |line: &str| {
        let mut words = line.split(',');
        let year = words.next()?.parse().ok()?;
        Some(Sale { year, make: words.next()?.to_owned(), model: words.next()?.to_owned() })
    };
    Ok(fs::read_to_string(file)?.lines().map(|line| sale(line).expect("every line is a sale")).collect())
}

/// What that many sales must come to: of ten, two are Lamborghinis, two Ferraris, and one is a Pagani.
pub(crate) fn expected(sales: usize) -> Counts {
    let tenth = sales as u64 / 10;
    [("2022 Ferrari 488", 2), ("2022 Pagani Zonda", 1), ("2023 Lamborghini Huracan", 2)]
        .map(|(car, times)| (car.to_owned(), times * tenth))
        .into()
}
