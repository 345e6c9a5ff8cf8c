//! Named, versioned value types: what lets two builds of a program share a table.

use std::ops::{Deref, DerefMut};

use heirloom_protocol::table::{self, Attributes, TableSchema};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{CodecError, Value};

/// A value type with a name and a version, for [`Versioned`].
///
/// The first owner that accepts a table for such a type gives the table its name; owners and readers of another name, or
/// of none, are refused from then on. Each entry is known by the version that it was written with, and decoded when it is
/// read: by the type itself where that is its own version, else by [`decode_other`](Self::decode_other). What it does not know is
/// [`SchemaChanged`](crate::ReadError::SchemaChanged), never a wrong value. So a new build can take over from an old one and give
/// back to it, entry by entry, as long as each decodes what the other wrote.
///
/// Entries that were in the table before it had a name have version 0.
///
/// ```
/// use heirloom_worker::testing::{Rehearsal, Table};
/// use heirloom_worker::{CodecError, Schema, Value, Versioned};
/// # use serde::{Serialize, Deserialize};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Before { count: u64 }
/// impl Schema for Before {
///     const NAME: &'static str = "total";
///     const VERSION: u32 = 1;
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Total { count: u64, price: f64 }
/// impl Schema for Total {
///     const NAME: &'static str = "total";
///     const VERSION: u32 = 2;
///     fn decode_other(version: u32, bytes: &[u8]) -> Result<Option<Self>, CodecError> {
///         if version != 1 { return Ok(None); }
///         let before = Before::decode_value(bytes)?;
///         Ok(Some(Total { count: before.count, price: 0.0 }))
///     }
/// }
///
/// let mut sales = Rehearsal::new(Table::set("sales"));
/// let mut old = sales.transfer().accept::<String, Versioned<Before>>()?;
/// old.insert("Zonda", &Before { count: 7 }.into())?;
///
/// let mut new = sales.transfer().accept::<String, Versioned<Total>>()?;
/// assert_eq!(new.get("Zonda")?.map(|total| total.count), Some(7));
/// new.insert("Huayra", &Total { count: 1, price: 2.5 }.into())?;
/// let reader = sales.reader::<String, Versioned<Before>>();
/// assert!(reader.get("Zonda")?.is_some());
/// assert!(reader.get("Huayra").unwrap_err().to_string().contains("schema `total`, version 2"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Schema: Serialize + DeserializeOwned {
    /// What the values are, in every build.
    const NAME: &'static str;
    /// Which form of them this type is: another number whenever its bytes change.
    const VERSION: u32;

    /// Decodes what a type of the same name and another version wrote; `None` where that version is not known.
    ///
    /// # Errors
    /// [`CodecError`] where the bytes are not of that version.
    fn decode_other(version: u32, bytes: &[u8]) -> Result<Option<Self>, CodecError> {
        let _ = (version, bytes);
        Ok(None)
    }
}

/// A value whose type has a [`Schema`]: use it as the value type of writers and readers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Versioned<T>(pub T);

impl<T> Deref for Versioned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Versioned<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Versioned<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Schema> Value for Versioned<T> {
    type Owned = Self;
    const SCHEMA: ValueSchema = ValueSchema::Named { name: T::NAME, version: T::VERSION };

    #[inline]
    fn encode_value(&self, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        self.0.encode_value(bytes)
    }

    #[inline]
    fn decode_value(bytes: &[u8]) -> Result<Self, CodecError> {
        T::decode_value(bytes).map(Self)
    }

    fn decode_other(version: u32, bytes: &[u8]) -> Result<Option<Self>, CodecError> {
        Ok(T::decode_other(version, bytes)?.map(Self))
    }
}

/// Which tables a value type fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueSchema {
    /// All: it is the bytes, whatever they mean. Who writes them writes the table's base version.
    Bytes,
    /// Those whose values have no name.
    Unnamed,
    /// Those of that name.
    Named {
        /// What the values are.
        name: &'static str,
        /// Which form of them the type is.
        version: u32,
    },
}

impl ValueSchema {
    /// Whether an owner of values like these may have a table like that.
    pub(crate) fn fits(self, table: Option<&TableSchema>) -> bool {
        match (self, table) {
            (Self::Bytes, _) | (_, None) => true,
            (Self::Unnamed, Some(_)) => false,
            (Self::Named { name, .. }, Some(table)) => table.name == name,
        }
    }
}

/// Why a value could not be decoded.
#[derive(Debug)]
pub(crate) enum Undecoded {
    Codec(CodecError),
    /// It has another schema: which one.
    Changed(String),
    Engine(table::ReadError),
}

/// The value of an entry. `schema` is asked after the entry was read: a name comes before its first entry.
#[inline]
pub(crate) fn decode<'s, V: Value + ?Sized>(
    schema: impl FnOnce() -> Result<Option<&'s TableSchema>, table::ReadError>,
    attributes: Attributes,
    bytes: &[u8],
) -> Result<V::Owned, Undecoded> {
    if V::SCHEMA == ValueSchema::Bytes {
        return V::decode_value(bytes).map_err(Undecoded::Codec);
    }
    match (V::SCHEMA, schema().map_err(Undecoded::Engine)?) {
        (ValueSchema::Unnamed, None) => V::decode_value(bytes).map_err(Undecoded::Codec),
        (ValueSchema::Named { version, .. }, found) if V::SCHEMA.fits(found) => {
            let of = found.map_or(0, |schema| schema.version_of(attributes));
            if of == version {
                return V::decode_value(bytes).map_err(Undecoded::Codec);
            }
            let decoded = V::decode_other(of, bytes).map_err(Undecoded::Codec)?;
            decoded.ok_or_else(|| Undecoded::Changed(named(found, of)))
        }
        (_, found) => {
            Err(Undecoded::Changed(named(found, found.map_or(0, |schema| schema.version_of(attributes)))))
        }
    }
}

#[cold]
fn named(schema: Option<&TableSchema>, version: u32) -> String {
    match schema {
        Some(schema) => format!("schema `{}`, version {version}", schema.name),
        None => "no schema".to_owned(),
    }
}
