//! JSON lines: an object a line, with a key and a value.
//!
//! | bytes | JSON |
//! | --- | --- |
//! | text without control characters | `"text"` |
//! | any other bytes | `{"base64": "AAH/"}` |
//! | when reading, and as a value only: | anything else stands for its JSON text, as it stands there |
//!
//! A field `deadline_ms`, where there is one, says when the entry expires, in milliseconds of UNIX time; a field
//! `value_schema` what the value is, as in `price@3`.

use super::{Each, Entry, FormatError, Item, schema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use heirloom_protocol::table::{Attributes, TableSchema};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};

/// Longest line that is read: a key and a value of the greatest sizes in base64, and some room.
const MAX_LINE_BYTES: u64 = 32 * 1024 * 1024;

/// The field that says when an entry expires.
const DEADLINE: &str = "deadline_ms";

/// Hands on every entry; blank lines are passed over. `key` and `value` name the fields.
///
/// # Errors
/// [`FormatError`], and whatever `each` fails with.
pub fn read<E: From<FormatError>>(
    text: impl Read,
    key: &str,
    value: &str,
    name: &str,
    each: Each<'_, E>,
) -> Result<(), E> {
    let mut reader = BufReader::with_capacity(256 * 1024, text);
    let (mut line, mut schemas) = (Vec::new(), schema::Fields::default());
    for number in 1.. {
        line.clear();
        let unreadable = |error| FormatError::Unreadable { source_name: name.to_owned(), error };
        // One line at a time, and never more of it than a line may hold.
        let bytes =
            (&mut reader).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line).map_err(unreadable)? as u64;
        if bytes == 0 {
            break;
        }
        let wrong = |wrong| FormatError::BadEntry { source_name: name.to_owned(), line: number, wrong };
        if bytes > MAX_LINE_BYTES {
            return Err(wrong(format!("a line of more than {MAX_LINE_BYTES} bytes")).into());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let Parsed { key, value, deadline_ms, schema } = parse(&line, key, value).map_err(wrong)?;
        let (schema_version, schema) = schemas.next(schema.as_deref()).map_err(wrong)?;
        if let Some(schema) = schema {
            each(Item::Schema(schema))?;
        }
        let attributes = Attributes { deadline_ms, schema_version };
        each(Item::Entry(Entry { key: &key, value: &value, attributes, line: Some(number) }))?;
    }
    Ok(())
}

struct Parsed<'l> {
    key: Cow<'l, [u8]>,
    value: Cow<'l, [u8]>,
    deadline_ms: Option<u64>,
    schema: Option<Cow<'l, str>>,
}

fn parse<'l>(line: &'l [u8], key: &str, value: &str) -> Result<Parsed<'l>, String> {
    let fields: HashMap<Cow<'l, str>, &'l RawValue> =
        serde_json::from_slice(line).map_err(|error| format!("not an object in JSON: {error}"))?;
    let field = |wanted: &str| fields.get(wanted).copied().ok_or_else(|| format!("no field `{wanted}`"));
    let key = match bytes(field(key)?)? {
        Some(bytes) => bytes,
        None => return Err(format!("field `{key}` must be a string or {{\"base64\": \"..\"}}")),
    };
    let raw = field(value)?;
    let value = bytes(raw)?.unwrap_or(Cow::Borrowed(raw.get().as_bytes()));
    let (deadline_ms, schema) = (optional(fields.get(DEADLINE), DEADLINE)?, fields.get(schema::FIELD));
    Ok(Parsed { key, value, deadline_ms, schema: optional(schema, schema::FIELD)? })
}

/// A field that need not be there.
fn optional<'l, T: Deserialize<'l>>(field: Option<&&'l RawValue>, name: &str) -> Result<Option<T>, String> {
    let Some(raw) = field else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|error| format!("field `{name}`: {error}"))
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

/// Writes entries as lines.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    schema: Option<TableSchema>,
}

impl<W: Write> Writer<W> {
    /// Begins; `schema` is what the values are, where that is known.
    pub fn begin(out: W, schema: Option<TableSchema>) -> Self {
        Self { out, schema }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn entry(&mut self, entry: Entry<'_>) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'e> {
            key: Bytes<'e>,
            value: Bytes<'e>,
            #[serde(skip_serializing_if = "Option::is_none")]
            deadline_ms: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            value_schema: Option<String>,
        }
        let Entry { key, value, attributes, .. } = entry;
        let value_schema = self.schema.as_ref().map(|schema| schema::field(schema, attributes));
        let deadline_ms = attributes.deadline_ms;
        write_line(&Line { key: Bytes(key), value: Bytes(value), deadline_ms, value_schema }, &mut self.out)
    }

    /// The stream, with everything written to it.
    pub fn finish(self) -> W {
        self.out
    }
}

/// Writes any object as a line.
///
/// # Errors
/// Those of `out`.
pub fn write_line(object: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// Bytes, as JSON shows them.
///
/// ```
/// use heirloom_manager::formats::json_lines::Bytes;
///
/// assert_eq!(serde_json::to_string(&Bytes(b"caf\xc3\xa9"))?, "\"café\"");
/// assert_eq!(serde_json::to_string(&Bytes(b"\x00\x01\xff"))?, r#"{"base64":"AAH/"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes<'b>(
    /// The bytes themselves.
    pub &'b [u8],
);

impl Bytes<'_> {
    /// The bytes as text, where a person can read them. Line breaks and tabs are text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        let unreadable = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        std::str::from_utf8(self.0).ok().filter(|text| !text.contains(unreadable))
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_text() {
            Some(text) => serializer.serialize_str(text),
            None => {
                let mut object = serializer.serialize_map(Some(1))?;
                object.serialize_entry("base64", &STANDARD.encode(self.0))?;
                object.end()
            }
        }
    }
}
