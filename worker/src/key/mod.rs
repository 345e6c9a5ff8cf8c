//! The format of typed keys: bytes that sort as the values do.
//!
//! Comparing two encoded keys byte by byte gives what comparing the values field by field gives. The type is not
//! written: as with values, both sides must agree on it.
//!
//! | type | bytes |
//! | --- | --- |
//! | `bool` | `00` or `01` |
//! | unsigned integers, `char` | big-endian, as long as the type (`char`: 4) |
//! | signed integers | the same, with the sign bit flipped |
//! | floats | big-endian; the sign bit flipped where it was 0, all bits where it was 1: the order of `total_cmp` |
//! | `Option` | `00`, or `01` and the value |
//! | `()`, unit structs | nothing |
//! | tuples, structs, `[T; N]` | field by field |
//! | newtype structs | what is inside |
//! | enums | the variant's index (one byte; from 255 on `FF` and four more), then its fields |
//! | strings, bytes, `Vec<u8>` | as they are, where they are the whole key |
//! | the same inside a tuple, struct, ... | with each `00` as `00 FF`, then `00 00` |
//! | other sequences | `01` and the element, for each; then `00 00`, unless they are the whole key |
//!
//! So the key `"abc"` is the bytes `abc`, and `("abc", 1u16)` is `abc`, `00 00`, `00 01`. The escapes keep the order,
//! because a shorter string ends in `00 00`, and whatever the longer one has there is more than that.
//!
//! Maps have no order of their own and are refused. So is what only a self-describing format can read back
//! (`#[serde(untagged)]`, `flatten`), and structs that leave fields out. A `HashSet` has no order either, but looks like
//! a sequence: use a `BTreeSet`.
//!
//! Escaping and terminating strings is the old way of ordered stores (FoundationDB's tuple layer has a like one).

mod decode;
mod encode;

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Appends a key's bytes to `bytes`.
///
/// ```
/// let mut bytes = Vec::new();
/// heirloom_worker::key::encode(&("abc", 1u16), &mut bytes)?;
/// assert_eq!(bytes, b"abc\0\0\0\x01");
/// # Ok::<(), heirloom_worker::key::KeyError>(())
/// ```
///
/// # Errors
/// [`KeyError::Unsupported`] where the type has no order, and whatever its `Serialize` fails with. `bytes` then ends in a
/// part of the key.
#[inline]
pub fn encode<T: Serialize + ?Sized>(key: &T, bytes: &mut Vec<u8>) -> Result<(), KeyError> {
    key.serialize(encode::Encoder::whole(bytes))
}

/// The key that these bytes stand for.
///
/// ```
/// let key: (String, u16) = heirloom_worker::key::decode(b"abc\0\0\0\x01")?;
/// assert_eq!(key, ("abc".to_owned(), 1));
/// # Ok::<(), heirloom_worker::key::KeyError>(())
/// ```
///
/// # Errors
/// [`KeyError`] where the bytes are no key of this type, or more than one.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, KeyError> {
    let mut input = decode::Input::new(bytes);
    let key = T::deserialize(decode::Decoder::whole(&mut input))?;
    input.end()?;
    Ok(key)
}

/// A key could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The type cannot be a key.
    #[error("{what} cannot be part of a key: it has no order that bytes can keep")]
    Unsupported {
        /// What it is.
        what: &'static str,
    },
    /// The bytes end within the key.
    #[error("the bytes end within {what}")]
    Short {
        /// Within what.
        what: &'static str,
    },
    /// The bytes go on after the key.
    #[error("{bytes} bytes are left over after the key")]
    LeftOver {
        /// How many.
        bytes: usize,
    },
    /// The bytes are none that encoding makes.
    #[error("the bytes are not {what}")]
    Malformed {
        /// What they should be.
        what: &'static str,
    },
    /// The type's own `Serialize` or `Deserialize` says so.
    #[error("{0}")]
    Custom(String),
}

impl serde::ser::Error for KeyError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

impl serde::de::Error for KeyError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

/// Where in a key something stands: it decides how strings and sequences end, and how elements begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the whole key, so the end of the bytes is its end.
    Whole,
    /// Something follows it.
    Inside,
    /// It is an element of a sequence that stands there. Bytes have the form they have in a byte string, all else is
    /// led in by [`ELEMENT`].
    Element { of_whole: bool },
}

/// Leads in an element of a sequence; more than the first byte of [`END`].
const ELEMENT: u8 = 0x01;

/// Ends strings and sequences that something follows.
const END: [u8; 2] = [0x00, 0x00];

/// Follows a zero byte that does not begin an [`END`].
const ESCAPED: u8 = 0xFF;

/// From this index on, a variant takes five bytes.
const LONG_VARIANT: u8 = 0xFF;

#[cfg(test)]
mod tests;
