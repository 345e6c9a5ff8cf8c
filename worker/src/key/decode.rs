//! Ordered bytes to Rust values. Every byte is checked; nothing is allocated on the bytes' word.

use std::borrow::Cow;
use std::str;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor,
};

use super::{ELEMENT, END, ESCAPED, KeyError, LONG_VARIANT, Place};

/// The bytes of a key that are still to be read.
pub(super) struct Input<'de> {
    rest: &'de [u8],
}

impl<'de> Input<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Fails unless everything was read.
    pub(super) fn end(&self) -> Result<(), KeyError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(KeyError::LeftOver { bytes }),
        }
    }

    #[inline]
    fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], KeyError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(KeyError::Short { what })?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn byte(&mut self, what: &'static str) -> Result<u8, KeyError> {
        self.take::<1>(what).map(|[byte]| byte)
    }

    /// Reads past the end of a string or sequence, if it is here.
    #[inline]
    fn take_end(&mut self) -> bool {
        match self.rest.strip_prefix(&END) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A byte of a byte string that something follows; its end is not here.
    #[inline]
    fn escaped(&mut self) -> Result<u8, KeyError> {
        let byte = self.byte("a byte string")?;
        if byte == 0 && self.byte("a byte string")? != ESCAPED {
            return Err(KeyError::Malformed { what: "an escaped zero byte" });
        }
        Ok(byte)
    }

    /// A whole byte string that something follows. It is copied only where it has zero bytes.
    fn byte_string(&mut self) -> Result<Cow<'de, [u8]>, KeyError> {
        let plain =
            self.rest.iter().position(|byte| *byte == 0).ok_or(KeyError::Short { what: "a byte string" })?;
        let (bytes, rest) = self.rest.split_at(plain);
        self.rest = rest;
        if self.take_end() {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut bytes = bytes.to_vec();
        while !self.take_end() {
            bytes.push(self.escaped()?);
        }
        Ok(Cow::Owned(bytes))
    }

    fn variant(&mut self) -> Result<u32, KeyError> {
        match self.byte("a variant")? {
            LONG_VARIANT => match u32::from_be_bytes(self.take("a variant")?) {
                // One value has one key.
                short if short < LONG_VARIANT.into() => Err(KeyError::Malformed { what: "a variant" }),
                long => Ok(long),
            },
            index => Ok(index.into()),
        }
    }
}

/// Reads one value.
pub(super) struct Decoder<'i, 'de> {
    input: &'i mut Input<'de>,
    place: Place,
}

impl<'i, 'de> Decoder<'i, 'de> {
    pub(super) fn whole(input: &'i mut Input<'de>) -> Self {
        Self { input, place: Place::Whole }
    }

    /// Everything but a byte is led in, where it is an element.
    #[inline]
    fn begin(self) -> Result<&'i mut Input<'de>, KeyError> {
        if let Place::Element { .. } = self.place
            && self.input.byte("an element")? != ELEMENT
        {
            return Err(KeyError::Malformed { what: "an element of a sequence" });
        }
        Ok(self.input)
    }

    fn bytes(self) -> Result<Cow<'de, [u8]>, KeyError> {
        if self.place == Place::Whole {
            return Ok(Cow::Borrowed(std::mem::take(&mut self.input.rest)));
        }
        self.begin()?.byte_string()
    }

    fn fields(self, left: usize) -> Result<Fields<'i, 'de>, KeyError> {
        Ok(Fields { input: self.begin()?, left })
    }
}

macro_rules! big_endian {
    ($($method:ident, $visit:ident: $type:ty, $bits:ident => $value:expr;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
            let $bits = <$type>::from_be_bytes(self.begin()?.take(stringify!($type))?);
            visitor.$visit($value)
        }
    )*};
}

macro_rules! unsupported {
    ($($method:ident => $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, KeyError> {
            Err(KeyError::Unsupported { what: $what })
        }
    )*};
}

impl<'de> Deserializer<'de> for Decoder<'_, 'de> {
    type Error = KeyError;

    big_endian! {
        deserialize_i8, visit_i8: i8, bits => bits ^ i8::MIN;
        deserialize_i16, visit_i16: i16, bits => bits ^ i16::MIN;
        deserialize_i32, visit_i32: i32, bits => bits ^ i32::MIN;
        deserialize_i64, visit_i64: i64, bits => bits ^ i64::MIN;
        deserialize_i128, visit_i128: i128, bits => bits ^ i128::MIN;
        deserialize_u16, visit_u16: u16, bits => bits;
        deserialize_u32, visit_u32: u32, bits => bits;
        deserialize_u64, visit_u64: u64, bits => bits;
        deserialize_u128, visit_u128: u128, bits => bits;
        deserialize_f32, visit_f32: u32, bits => {
            f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
        };
        deserialize_f64, visit_f64: u64, bits => {
            f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
        };
    }

    unsupported! {
        deserialize_any => "a type that only a self-describing format can read back";
        deserialize_ignored_any => "a field that is ignored";
        deserialize_map => "a map";
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_u8(match self.place {
            Place::Element { of_whole: false } => self.input.escaped()?,
            Place::Element { of_whole: true } | Place::Whole | Place::Inside => self.input.byte("u8")?,
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        match self.begin()?.byte("bool")? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(KeyError::Malformed { what: "a bool" }),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        let bits = u32::from_be_bytes(self.begin()?.take("char")?);
        visitor.visit_char(char::from_u32(bits).ok_or(KeyError::Malformed { what: "a char" })?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        let not_text = |_| KeyError::Malformed { what: "text in UTF-8" };
        match self.bytes()? {
            Cow::Borrowed(bytes) => visitor.visit_borrowed_str(str::from_utf8(bytes).map_err(not_text)?),
            Cow::Owned(bytes) => {
                visitor.visit_string(String::from_utf8(bytes).map_err(|error| not_text(error.utf8_error()))?)
            }
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        match self.bytes()? {
            Cow::Borrowed(bytes) => visitor.visit_borrowed_bytes(bytes),
            Cow::Owned(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        let input = self.begin()?;
        match input.byte("an option")? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(Decoder { input, place: Place::Inside }),
            _ => Err(KeyError::Malformed { what: "an option" }),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        self.begin()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        let of_whole = self.place == Place::Whole;
        visitor.visit_seq(Elements { input: self.begin()?, of_whole })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_seq(self.fields(length)?)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        visitor.visit_seq(self.fields(length)?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        visitor.visit_seq(self.fields(fields.len())?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        visitor.visit_enum(Variant { input: self.begin()? })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_u32(self.input.variant()?)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The fields of a tuple or struct: as many as the type has.
struct Fields<'i, 'de> {
    input: &'i mut Input<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = KeyError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, KeyError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Decoder { input: self.input, place: Place::Inside }).map(Some)
    }
}

/// The elements of a sequence: as many as there are.
struct Elements<'i, 'de> {
    input: &'i mut Input<'de>,
    of_whole: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = KeyError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, KeyError> {
        let ended = if self.of_whole { self.input.rest.is_empty() } else { self.input.take_end() };
        if ended {
            return Ok(None);
        }
        let place = Place::Element { of_whole: self.of_whole };
        seed.deserialize(Decoder { input: self.input, place }).map(Some)
    }
}

/// An enum's variant: its index, then what is in it.
struct Variant<'i, 'de> {
    input: &'i mut Input<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = KeyError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), KeyError> {
        let index = self.input.variant()?;
        let variant = seed.deserialize(IntoDeserializer::<KeyError>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = KeyError;

    fn unit_variant(self) -> Result<(), KeyError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, KeyError> {
        seed.deserialize(Decoder { input: self.input, place: Place::Inside })
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_seq(Fields { input: self.input, left: length })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        visitor.visit_seq(Fields { input: self.input, left: fields.len() })
    }
}
