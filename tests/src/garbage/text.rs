//! Messages, configurations, import formats, keys.

use heirloom_manager::config::Config;
use heirloom_manager::formats::{self, Format, FormatError};
use heirloom_protocol::codec;
use heirloom_protocol::message::{Event, Request};
use heirloom_worker::key;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::Path;

/// Both directions; what can be read can be written, and is read back as the same.
pub(super) fn messages(bytes: &[u8]) {
    fn one<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
        if let Ok(message) = codec::decode::<T>(bytes) {
            let again = codec::encode(&message).expect("what came in fits on the way out");
            assert_eq!(codec::decode::<T>(&again).as_ref(), Ok(&message));
        }
    }
    one::<Request>(bytes);
    one::<Event>(bytes);
}

/// A configuration, or mistakes that can be shown.
pub(super) fn configuration(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Err(mistakes) = Config::parse(text, Path::new("/tmp/heirloom.toml"))
    {
        assert!(!mistakes.to_string().is_empty());
    }
}

/// Each format in which entries come; the first byte says which.
pub(super) fn import(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let format = [Format::Csv, Format::JsonLines, Format::Dump][usize::from(first % 3)];
    let mut taken = 0;
    let each = &mut |item: formats::Item<'_>| {
        if let formats::Item::Entry(entry) = item {
            taken += entry.key.len() + entry.value.len();
        }
        Ok::<(), FormatError>(())
    };
    if let Err(error) = formats::read(bytes, format, "the input", each) {
        assert!(!error.to_string().is_empty());
    }
    assert!(taken <= 2 * bytes.len(), "{taken} bytes of entries in {} bytes", bytes.len());
}

/// Keys of each type that has an order; what can be read is written back as the same bytes.
pub(super) fn keys(bytes: &[u8]) {
    fn one<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
        if let Ok(value) = key::decode::<T>(bytes) {
            let mut again = Vec::new();
            key::encode(&value, &mut again).expect("what was a key is one");
            assert_eq!(again, bytes, "two keys of one value");
        }
    }
    one::<u64>(bytes);
    one::<i32>(bytes);
    one::<f64>(bytes);
    one::<char>(bytes);
    one::<String>(bytes);
    one::<Vec<u8>>(bytes);
    one::<(bool, String, Option<i64>)>(bytes);
    one::<Vec<(u16, String)>>(bytes);
    one::<Result<u8, String>>(bytes);
    one::<Option<Option<Vec<String>>>>(bytes);
}
