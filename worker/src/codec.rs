//! How Rust types become the bytes of a table: the seam between the typed handles and the engine.
//!
//! Every type that serde can serialize and deserialize is a [`Key`] (in the order-preserving format of [`crate::key`])
//! and a [`Value`] (in postcard's format). `[u8]` and `str` are keys and values as the bytes they are, so
//! `Reader<[u8], [u8]>` is the raw form of a table and costs no serde at all. A type of one's own that is not
//! `Serialize` may implement the traits itself.

use std::any::type_name;
use std::borrow::Borrow;
use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key;
use crate::schema::ValueSchema;

/// A type whose values can be keys of a table.
///
/// Encoded keys sort as the values do, and a lookup by a borrowed form (`str` for `String`) must encode to the same
/// bytes as the owned one.
pub trait Key {
    /// What reading a key back gives.
    type Owned: Borrow<Self>;

    /// Appends the bytes of the key to `bytes`.
    ///
    /// # Errors
    /// [`CodecError`] where the type, or this value of it, cannot be a key (a map, say).
    fn encode_key(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The key that these bytes stand for.
    ///
    /// # Errors
    /// [`CodecError`] where the bytes are no key of this type.
    fn decode_key(bytes: &[u8]) -> Result<Self::Owned, CodecError>;
}

/// A type whose values can be values of a table, and bequests.
pub trait Value {
    /// What reading a value gives.
    type Owned: Borrow<Self>;

    /// Which tables the type fits; for a type with a name and a version see [`Versioned`](crate::Versioned).
    const SCHEMA: ValueSchema = ValueSchema::Unnamed;

    /// Appends the bytes of the value to `bytes`.
    ///
    /// # Errors
    /// [`CodecError`] where the value cannot be serialized.
    fn encode_value(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The value that these bytes stand for.
    ///
    /// # Errors
    /// [`CodecError`] where the bytes are no value of this type.
    fn decode_value(bytes: &[u8]) -> Result<Self::Owned, CodecError>;

    /// The value that bytes of another version of its schema stand for; `None` where that version is not known.
    ///
    /// # Errors
    /// [`CodecError`] where the bytes are not of that version.
    fn decode_other(version: u32, bytes: &[u8]) -> Result<Option<Self::Owned>, CodecError> {
        let _ = (version, bytes);
        Ok(None)
    }
}

/// A key or value could not be turned into bytes, or back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {operation} as `{type_name}`: {reason}")]
#[non_exhaustive]
pub struct CodecError {
    /// What was tried: `encode a key`, `decode a value`, ...
    pub operation: &'static str,
    /// The Rust type.
    pub type_name: &'static str,
    /// What is wrong, and with which part.
    pub reason: String,
}

impl CodecError {
    /// An error for an implementation of [`Key`] or [`Value`] of one's own; `operation` reads like `decode a key`.
    pub fn new<T: ?Sized>(operation: &'static str, reason: impl Display) -> Self {
        Self { operation, type_name: type_name::<T>(), reason: reason.to_string() }
    }
}

impl<T: Serialize + DeserializeOwned> Key for T {
    type Owned = T;

    #[inline]
    fn encode_key(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        key::encode(self, bytes).map_err(|error| CodecError::new::<T>("encode a key", error))
    }

    #[inline]
    fn decode_key(bytes: &[u8]) -> Result<T, CodecError> {
        key::decode(bytes).map_err(|error| CodecError::new::<T>("decode a key", error))
    }
}

impl<T: Serialize + DeserializeOwned> Value for T {
    type Owned = T;

    #[inline]
    fn encode_value(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        postcard::serialize_with_flavor(self, Appended(bytes))
            .map_err(|error| CodecError::new::<T>("encode a value", error))
    }

    #[inline]
    fn decode_value(bytes: &[u8]) -> Result<T, CodecError> {
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(CodecError::new::<T>(
                "decode a value",
                format_args!("{} bytes are left over", rest.len()),
            )),
            Err(error) => Err(CodecError::new::<T>("decode a value", error)),
        }
    }
}

/// Bytes are their own encoding; text is its UTF-8.
macro_rules! verbatim {
    ($borrowed:ty => $owned:ty, $schema:expr, $from_bytes:expr) => {
        impl Key for $borrowed {
            type Owned = $owned;

            #[inline]
            fn encode_key(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
                bytes.extend_from_slice(self.as_ref());
                Ok(())
            }

            #[inline]
            fn decode_key(bytes: &[u8]) -> Result<$owned, CodecError> {
                $from_bytes(bytes).map_err(|error| CodecError::new::<$borrowed>("decode a key", error))
            }
        }

        impl Value for $borrowed {
            type Owned = $owned;
            const SCHEMA: ValueSchema = $schema;

            #[inline]
            fn encode_value(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
                bytes.extend_from_slice(self.as_ref());
                Ok(())
            }

            #[inline]
            fn decode_value(bytes: &[u8]) -> Result<$owned, CodecError> {
                $from_bytes(bytes).map_err(|error| CodecError::new::<$borrowed>("decode a value", error))
            }
        }
    };
}

verbatim!([u8] => Vec<u8>, ValueSchema::Bytes, |bytes: &[u8]| Ok::<_, std::convert::Infallible>(bytes.to_vec()));
verbatim!(str => String, ValueSchema::Unnamed, |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned));

/// Lets postcard write to the end of a buffer that its caller keeps, so that a write allocates nothing.
struct Appended<'b>(&'b mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appended<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
