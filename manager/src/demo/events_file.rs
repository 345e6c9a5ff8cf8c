//! A file of sale events: CSV of year, make, model and price, with or without a header line.

use super::cars::{Car, Sale};
use csv::{ByteRecord, ReaderBuilder, Trim};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const COLUMNS: [&str; 4] = ["year", "make", "model", "price"];

/// No price is higher, so that no sum over [`MAX_EVENTS`](super::MAX_EVENTS) overflows.
const MAX_PRICE: u64 = 1_000_000_000;

/// Why there are no events from a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum EventsError {
    #[error("{}: cannot be read: {error}", .file.display())]
    Unreadable { file: PathBuf, error: io::Error },

    #[error("{}: no events in it; each line is: year,make,model,price", .0.display())]
    Empty(PathBuf),

    #[error("{}", ListOfBad(.file, .bad))]
    BadLines { file: PathBuf, bad: Vec<BadLine> },
}

/// A line that is no event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Its number, from 1.
    line: u64,
    /// What is wrong with it.
    wrong: String,
}

/// Reads all events of a file.
///
/// # Errors
/// [`EventsError`]; where lines are wrong, it names all of them.
pub(super) fn read(file: &Path) -> Result<Vec<Sale>, EventsError> {
    let unreadable = |error| EventsError::Unreadable { file: file.to_owned(), error };
    let text = fs::read(file).map_err(unreadable)?;
    let sales = parse(&text).map_err(|bad| EventsError::BadLines { file: file.to_owned(), bad })?;
    if sales.is_empty() { Err(EventsError::Empty(file.to_owned())) } else { Ok(sales) }
}

fn parse(text: &[u8]) -> Result<Vec<Sale>, Vec<BadLine>> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(text);
    let (mut sales, mut bad, mut record) = (Vec::new(), Vec::new(), ByteRecord::new());
    let mut first = true;
    while reader.read_byte_record(&mut record).expect("memory can always be read") {
        if std::mem::take(&mut first) && is_header(&record) {
            continue;
        }
        match sale(&record) {
            Ok(sale) => sales.push(sale),
            Err(wrong) => bad.push(BadLine { line: line_of(&record, text), wrong }),
        }
    }
    if bad.is_empty() { Ok(sales) } else { Err(bad) }
}

/// The number of the line that a record begins in. What the record itself knows is where the one before ended:
/// empty lines lie between.
fn line_of(record: &ByteRecord, text: &[u8]) -> u64 {
    let Some(position) = record.position() else { return 0 };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let between =
        text.get(start..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    position.line() + between.filter(|byte| **byte == b'\n').count() as u64
}

fn is_header(record: &ByteRecord) -> bool {
    let byte_order_mark = "\u{feff}".as_bytes();
    record.len() == COLUMNS.len()
        && record.iter().zip(COLUMNS).all(|(field, column)| {
            field.strip_prefix(byte_order_mark).unwrap_or(field).eq_ignore_ascii_case(column.as_bytes())
        })
}

fn sale(record: &ByteRecord) -> Result<Sale, String> {
    let fields: Vec<&str> = record
        .iter()
        .map(|field| std::str::from_utf8(field).map_err(|_| "not UTF-8 text".to_owned()))
        .collect::<Result<_, _>>()?;
    let &[year, make, model, price] = fields.as_slice() else {
        return Err(format!("{} fields instead of 4 (year,make,model,price)", fields.len()));
    };
    let year: u16 = year.parse().map_err(|_| format!("year {year:?} is no number from 0 to 65535"))?;
    for (column, text) in [("make", make), ("model", model)] {
        if text.is_empty() {
            return Err(format!("the {column} is empty"));
        }
    }
    let cents = cents(price).ok_or_else(|| {
        format!("price {price:?} is no amount from 0 to {MAX_PRICE} with at most two decimals")
    })?;
    Ok(Sale { car: Car::new(year, make, model), cents })
}

/// `"324000"` and `"324000.5"` in cents.
fn cents(price: &str) -> Option<u64> {
    let (whole, decimals) = price.split_once('.').unwrap_or((price, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return None;
    }
    let units: u64 = whole.parse().ok().filter(|units| *units <= MAX_PRICE)?;
    let hundredths: u64 = format!("{decimals:0<2}").parse().ok()?;
    Some(units * 100 + hundredths)
}

/// One bad line a line, as `file:line: what is wrong`.
struct ListOfBad<'a>(&'a Path, &'a [BadLine]);

impl fmt::Display for ListOfBad<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(file, bad) = self;
        let lines = if bad.len() == 1 { "1 line is" } else { &format!("{} lines are", bad.len()) };
        write!(f, "{}: {lines} no sale event (year,make,model,price)", file.display())?;
        bad.iter().try_for_each(|BadLine { line, wrong }| write!(f, "\n{}:{line}: {wrong}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_line_spaces_quotes_and_cents_are_understood() {
        let text =
            "\u{feff}Year,make,model,price\n2022, Ferrari ,488,450000\n\n2015,Chevy,\"Camaro, SS\",1.5\n";
        let sales = parse(text.as_bytes()).expect("all lines are good");
        assert_eq!(sales[0], Sale { car: Car::new(2022, "Ferrari", "488"), cents: 45_000_000 });
        assert_eq!(sales[1], Sale { car: Car::new(2015, "Chevy", "Camaro, SS"), cents: 150 });
        assert_eq!(sales.len(), 2);
    }

    #[test]
    fn every_bad_line_is_named_with_its_number() {
        let text = b"2022,Ferrari,488,450000\nyear,make,model,price\n2022,Ferrari,488\n\n2022,,488,1\n\
            2022,Ferrari,488,-1\n2022,Ferrari,488,1.234\n2022,Ferrari,\xff,1\n2022,Ferrari,488,1\n\
            2022,Ferrari,488,99999999999999999999";
        let Err(bad) = parse(&text[..]) else { panic!("there are bad lines") };
        assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [2, 3, 5, 6, 7, 8, 10]);
        assert_eq!(bad[1].wrong, "3 fields instead of 4 (year,make,model,price)");
    }

    #[test]
    fn prices() {
        for (price, expected) in
            [("0", 0), ("22000", 2_200_000), ("1.05", 105), ("1000000000", 100_000_000_000)]
        {
            assert_eq!(cents(price), Some(expected), "{price}");
        }
        for price in ["", ".", "1.", ".5", "+1", "1e3", "1,5", "0x1", "1000000001", "1.005", "nan"] {
            assert_eq!(cents(price), None, "{price}");
        }
    }
}
