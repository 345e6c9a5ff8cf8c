//! Keys as people type and read them.

use super::output::Usage;
use crate::formats::json_lines::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use heirloom_worker::key;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

const HEADING: &str = "Keys (by default, the text as it is)";

/// How keys are written on the command line, and shown.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
#[group(multiple = false)]
pub(super) struct KeyForm {
    /// Keys are in base64
    #[arg(long, help_heading = HEADING)]
    key_base64: bool,

    /// Keys are numbers, which a worker's code has as `u64`
    #[arg(long, help_heading = HEADING)]
    key_u64: bool,

    /// Keys are numbers, which a worker's code has as `i64`
    #[arg(long, help_heading = HEADING)]
    key_i64: bool,
}

impl KeyForm {
    /// The bytes of a key that was typed.
    pub(super) fn parse(self, typed: &OsStr) -> Result<Vec<u8>, Usage> {
        match self {
            Self { key_base64: true, .. } => STANDARD
                .decode(typed.as_bytes())
                .map_err(|error| Usage(format!("the key {} is not base64: {error}", typed.display()))),
            Self { key_u64: true, .. } => number::<u64>(typed, "u64"),
            Self { key_i64: true, .. } => number::<i64>(typed, "i64"),
            _ => Ok(typed.as_bytes().to_vec()),
        }
    }

    /// A key as JSON shows it. One that is no such number is shown as any other bytes.
    pub(super) fn show(self, key: &[u8]) -> Shown<'_> {
        match self {
            Self { key_base64: true, .. } => Shown::Base64(key),
            Self { key_u64: true, .. } => decoded(key).map_or(Shown::Bytes(key), Shown::Unsigned),
            Self { key_i64: true, .. } => decoded(key).map_or(Shown::Bytes(key), Shown::Signed),
            _ => Shown::Bytes(key),
        }
    }
}

fn number<N: FromStr<Err: Display> + Serialize>(typed: &OsStr, name: &str) -> Result<Vec<u8>, Usage> {
    let wrong = |why: &dyn Display| Usage(format!("the key {} is no {name}: {why}", typed.display()));
    let text = typed.to_str().ok_or_else(|| wrong(&"it is no text"))?;
    let number: N = text.parse().map_err(|error| wrong(&error))?;
    let mut bytes = Vec::new();
    key::encode(&number, &mut bytes).map_err(|error| wrong(&error))?;
    Ok(bytes)
}

fn decoded<N: DeserializeOwned>(key: &[u8]) -> Option<N> {
    key::decode(key).ok()
}

/// A key or a value, to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown<'k> {
    Bytes(&'k [u8]),
    Base64(&'k [u8]),
    Unsigned(u64),
    Signed(i64),
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Bytes(key) => Bytes(key).serialize(serializer),
            Self::Base64(key) => serializer.serialize_str(&STANDARD.encode(key)),
            Self::Unsigned(number) => serializer.serialize_u64(number),
            Self::Signed(number) => serializer.serialize_i64(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: KeyForm = KeyForm { key_base64: false, key_u64: false, key_i64: false };
    const BASE64: KeyForm = KeyForm { key_base64: true, ..TEXT };
    const U64: KeyForm = KeyForm { key_u64: true, ..TEXT };
    const I64: KeyForm = KeyForm { key_i64: true, ..TEXT };

    fn shown(form: KeyForm, key: &[u8]) -> String {
        serde_json::to_string(&form.show(key)).unwrap()
    }

    #[test]
    fn keys_are_shown_as_they_are_typed() {
        for (form, typed, bytes, json) in [
            (TEXT, "Zonda", &b"Zonda"[..], r#""Zonda""#),
            (BASE64, "AAH/", &[0, 1, 255], r#""AAH/""#),
            (U64, "258", &[0, 0, 0, 0, 0, 0, 1, 2], "258"),
            (I64, "-1", &[0x7f, 255, 255, 255, 255, 255, 255, 255], "-1"),
        ] {
            assert_eq!(form.parse(OsStr::new(typed)).unwrap(), bytes);
            assert_eq!(shown(form, bytes), json);
        }
    }

    #[test]
    fn keys_that_cannot_be_are_refused_and_named() {
        for (form, typed) in [(BASE64, "?"), (U64, "-1"), (U64, "Zonda"), (I64, "1.5")] {
            let Usage(message) = form.parse(OsStr::new(typed)).unwrap_err();
            assert!(message.contains(typed), "{message}");
        }
    }

    #[test]
    fn other_keys_of_the_same_table_are_shown_all_the_same() {
        assert_eq!(shown(U64, b"Zonda"), r#""Zonda""#);
        assert_eq!(shown(I64, &[0]), r#"{"base64":"AA=="}"#);
    }
}
