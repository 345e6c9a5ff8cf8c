//! Sizes and durations as they are written in the configuration: a whole number and a unit, `64MiB`, `250ms`.

use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

const DURATION_UNITS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000)];

/// Longer than anybody waits, and short enough to be added to any clock without overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a size or duration cannot be read, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnitError {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

/// Reads a size such as `64MiB`, in bytes. Units are binary and written in full, so that nobody wonders which
/// million is meant.
pub(super) fn bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text, "64MiB")?;
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(number, unit, near_size_unit(unit), "B, KiB, MiB, GiB or TiB"));
    };
    number.checked_mul(*factor).ok_or_else(|| too_large(text))
}

/// Reads a duration such as `250ms`.
pub(super) fn duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text, "250ms")?;
    let Some((_, factor)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(number, unit, near_duration_unit(unit), "us, ms, s, min or h"));
    };
    let duration = number.checked_mul(*factor).map(Duration::from_micros);
    duration.filter(|duration| *duration <= MAX_DURATION).ok_or_else(|| too_large(text))
}

fn split<'t>(text: &'t str, example: &str) -> Result<(u64, &'t str), UnitError> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = (&text[..digits], text[digits..].trim());
    if number.is_empty() || unit.starts_with(['.', ',', '_']) {
        let message = format!("`{text}` is not a whole number with a unit");
        return Err(UnitError { message, suggestion: Some(format!("write it like \"{example}\"")) });
    }
    Ok((number.parse().map_err(|_| too_large(text))?, unit))
}

fn unknown_unit(number: u64, unit: &str, near: Option<&str>, units: &str) -> UnitError {
    let message = if unit.is_empty() {
        format!("`{number}` has no unit; the units are {units}")
    } else {
        format!("`{unit}` is not a unit here; the units are {units}")
    };
    UnitError { message, suggestion: near.map(|near| format!("did you mean \"{number}{near}\"?")) }
}

fn too_large(text: &str) -> UnitError {
    UnitError { message: format!("`{text}` is too large"), suggestion: None }
}

/// `mb`, `M`, `mib` and the like are meant as `MiB`.
fn near_size_unit(unit: &str) -> Option<&'static str> {
    let first = unit.chars().next()?.to_ascii_uppercase();
    SIZE_UNITS.iter().map(|(name, _)| *name).find(|name| name.starts_with(first))
}

fn near_duration_unit(unit: &str) -> Option<&'static str> {
    match unit.to_ascii_lowercase().as_str() {
        "µs" | "usec" | "micros" => Some("us"),
        "msec" | "millis" | "milliseconds" => Some("ms"),
        "sec" | "secs" | "second" | "seconds" => Some("s"),
        "m" | "mins" | "minute" | "minutes" => Some("min"),
        "hr" | "hour" | "hours" => Some("h"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit() {
        assert_eq!(bytes("7B"), Ok(7));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(bytes("16TiB"), Ok(16 << 40));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("40us"), Ok(Duration::from_micros(40)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2min"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn refuses_what_could_be_misread_and_says_what_was_meant() {
        for (text, meant) in
            [("64MB", "\"64MiB\""), ("64M", "\"64MiB\""), ("1gib", "\"1GiB\""), ("8k", "\"8KiB\"")]
        {
            let error = bytes(text).expect_err(text);
            assert!(error.suggestion.as_deref().is_some_and(|s| s.contains(meant)), "{text}: {error:?}");
        }
        for (text, meant) in [("5m", "\"5min\""), ("3 seconds", "\"3s\"")] {
            let error = duration(text).expect_err(text);
            assert!(error.suggestion.as_deref().is_some_and(|s| s.contains(meant)), "{text}: {error:?}");
        }
        assert!(bytes("64").expect_err("no unit").message.contains("no unit"));
    }

    #[test]
    fn refuses_numbers_that_are_none_or_too_large() {
        for text in ["", "MiB", "-1MiB", "1.5GiB", "1_000B", "99999999999999999999B", "99999999TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "s", "-1s", "0.5s", "9999999h", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
