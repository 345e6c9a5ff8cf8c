//! JSON lines: an object a line, with a key and a value.
//!
//! | JSON | bytes |
//! | --- | --- |
//! | `"text"` | its UTF-8 bytes |
//! | `{"base64": "AAH/"}` | the bytes it stands for |
//! | anything else, as a value only | its JSON text, as it stands there |

use super::{Each, HydrateError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// Longest line that is read: a key and a value of the greatest sizes in base64, and some room.
const MAX_LINE_BYTES: u64 = 32 * 1024 * 1024;

/// Hands on every entry; blank lines are passed over. `key` and `value` name the fields.
pub(super) fn read(
    text: impl Read,
    key: &str,
    value: &str,
    name: &str,
    each: Each<'_>,
) -> Result<(), HydrateError> {
    let mut reader = BufReader::with_capacity(256 * 1024, text);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let unreadable = |error| HydrateError::Unreadable { source_name: name.to_owned(), error };
        // One line at a time, and never more of it than a line may hold.
        let bytes =
            (&mut reader).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line).map_err(unreadable)? as u64;
        if bytes == 0 {
            break;
        }
        let wrong = |wrong| HydrateError::BadEntry { source_name: name.to_owned(), line: number, wrong };
        if bytes > MAX_LINE_BYTES {
            return Err(wrong(format!("a line of more than {MAX_LINE_BYTES} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let (key, value) = entry(&line, key, value).map_err(wrong)?;
        each(&key, &value, Some(number))?;
    }
    Ok(())
}

type Entry<'l> = (Cow<'l, [u8]>, Cow<'l, [u8]>);

fn entry<'l>(line: &'l [u8], key: &str, value: &str) -> Result<Entry<'l>, String> {
    let fields: HashMap<Cow<'l, str>, &'l RawValue> =
        serde_json::from_slice(line).map_err(|error| format!("not an object in JSON: {error}"))?;
    let field = |wanted: &str| fields.get(wanted).copied().ok_or_else(|| format!("no field `{wanted}`"));
    let key = match bytes(field(key)?)? {
        Some(bytes) => bytes,
        None => return Err(format!("field `{key}` must be a string or {{\"base64\": \"..\"}}")),
    };
    let raw = field(value)?;
    let value = bytes(raw)?.unwrap_or(Cow::Borrowed(raw.get().as_bytes()));
    Ok((key, value))
}

/// The bytes that a string or a base64 object stands for; nothing for other JSON.
fn bytes(raw: &RawValue) -> Result<Option<Cow<'_, [u8]>>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Base64<'b> {
        #[serde(borrow)]
        base64: Cow<'b, str>,
    }
    let text = raw.get();
    match text.as_bytes().first() {
        // Borrowed where there is nothing to unescape.
        Some(b'"') => match serde_json::from_str::<&str>(text) {
            Ok(plain) => Ok(Some(Cow::Borrowed(plain.as_bytes()))),
            Err(_) => serde_json::from_str::<String>(text)
                .map(|owned| Some(Cow::Owned(owned.into_bytes())))
                .map_err(|error| error.to_string()),
        },
        Some(b'{') => match serde_json::from_str::<Base64<'_>>(text) {
            Ok(Base64 { base64 }) => STANDARD
                .decode(base64.as_bytes())
                .map(|bytes| Some(Cow::Owned(bytes)))
                .map_err(|error| format!("not base64: {error}")),
            Err(_) => Ok(None),
        },
        _ => Ok(None),
    }
}
