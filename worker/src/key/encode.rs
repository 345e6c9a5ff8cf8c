//! Rust values to ordered bytes.

use serde::Serialize;
use serde::ser::{
    SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

use super::{ELEMENT, END, ESCAPED, KeyError, LONG_VARIANT, Place};

/// Appends one value.
pub(super) struct Encoder<'b> {
    bytes: &'b mut Vec<u8>,
    place: Place,
}

/// Appends the parts of one value.
pub(super) struct Parts<'b> {
    bytes: &'b mut Vec<u8>,
    /// Where each part stands.
    part: Place,
}

impl<'b> Encoder<'b> {
    pub(super) fn whole(bytes: &'b mut Vec<u8>) -> Self {
        Self { bytes, place: Place::Whole }
    }

    /// Everything but a byte is led in, where it is an element.
    #[inline]
    fn begin(&mut self) -> &mut Vec<u8> {
        if let Place::Element { .. } = self.place {
            self.bytes.push(ELEMENT);
        }
        self.bytes
    }

    #[inline]
    fn fixed<const N: usize>(mut self, bytes: [u8; N]) -> Result<(), KeyError> {
        self.begin().extend_from_slice(&bytes);
        Ok(())
    }

    /// Fields need no marks: their number is part of the type.
    #[inline]
    fn fields(mut self) -> Parts<'b> {
        self.begin();
        Parts { bytes: self.bytes, part: Place::Inside }
    }

    fn variant(mut self, index: u32) -> Parts<'b> {
        let bytes = self.begin();
        match u8::try_from(index) {
            Ok(index) if index < LONG_VARIANT => bytes.push(index),
            _ => {
                bytes.push(LONG_VARIANT);
                bytes.extend_from_slice(&index.to_be_bytes());
            }
        }
        Parts { bytes: self.bytes, part: Place::Inside }
    }
}

/// One byte of a byte string that something follows.
#[inline]
fn push_escaped(bytes: &mut Vec<u8>, byte: u8) {
    bytes.push(byte);
    if byte == 0 {
        bytes.push(ESCAPED);
    }
}

macro_rules! big_endian {
    ($($method:ident($value:ident: $type:ty) => $bytes:expr;)*) => {$(
        #[inline]
        fn $method(self, $value: $type) -> Result<(), KeyError> {
            self.fixed($bytes.to_be_bytes())
        }
    )*};
}

impl<'b> Serializer for Encoder<'b> {
    type Ok = ();
    type Error = KeyError;
    type SerializeSeq = Parts<'b>;
    type SerializeTuple = Parts<'b>;
    type SerializeTupleStruct = Parts<'b>;
    type SerializeTupleVariant = Parts<'b>;
    type SerializeMap = serde::ser::Impossible<(), KeyError>;
    type SerializeStruct = Parts<'b>;
    type SerializeStructVariant = Parts<'b>;

    big_endian! {
        serialize_i8(value: i8) => (value ^ i8::MIN);
        serialize_i16(value: i16) => (value ^ i16::MIN);
        serialize_i32(value: i32) => (value ^ i32::MIN);
        serialize_i64(value: i64) => (value ^ i64::MIN);
        serialize_i128(value: i128) => (value ^ i128::MIN);
        serialize_u16(value: u16) => value;
        serialize_u32(value: u32) => value;
        serialize_u64(value: u64) => value;
        serialize_u128(value: u128) => value;
        serialize_char(value: char) => u32::from(value);
        // Negative numbers sort downwards by their magnitude, so all their bits are flipped.
        serialize_f32(value: f32) => {
            let bits = value.to_bits();
            if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
        };
        serialize_f64(value: f64) => {
            let bits = value.to_bits();
            if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
        };
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), KeyError> {
        match self.place {
            Place::Element { of_whole: false } => push_escaped(self.bytes, value),
            Place::Element { of_whole: true } | Place::Whole | Place::Inside => self.bytes.push(value),
        }
        Ok(())
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), KeyError> {
        self.fixed([u8::from(value)])
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), KeyError> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(mut self, value: &[u8]) -> Result<(), KeyError> {
        if self.place == Place::Whole {
            self.bytes.extend_from_slice(value);
            return Ok(());
        }
        let bytes = self.begin();
        bytes.reserve(value.len() + END.len());
        for byte in value {
            push_escaped(bytes, *byte);
        }
        bytes.extend_from_slice(&END);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), KeyError> {
        self.fixed([0])
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), KeyError> {
        self.begin().push(1);
        value.serialize(Encoder { bytes: self.bytes, place: Place::Inside })
    }

    fn serialize_unit(self) -> Result<(), KeyError> {
        self.fixed([])
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), KeyError> {
        self.fixed([])
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), KeyError> {
        self.variant(index);
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        self.variant(index).part(value)
    }

    fn serialize_seq(mut self, _length: Option<usize>) -> Result<Parts<'b>, KeyError> {
        let of_whole = self.place == Place::Whole;
        self.begin();
        Ok(Parts { bytes: self.bytes, part: Place::Element { of_whole } })
    }

    fn serialize_tuple(self, _length: usize) -> Result<Parts<'b>, KeyError> {
        Ok(self.fields())
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Parts<'b>, KeyError> {
        Ok(self.fields())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Parts<'b>, KeyError> {
        Ok(self.variant(index))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Self::SerializeMap, KeyError> {
        Err(KeyError::Unsupported { what: "a map" })
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Parts<'b>, KeyError> {
        Ok(self.fields())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Parts<'b>, KeyError> {
        Ok(self.variant(index))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl Parts<'_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        value.serialize(Encoder { bytes: self.bytes, place: self.part })
    }
}

impl SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = KeyError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.part(value)
    }

    fn end(self) -> Result<(), KeyError> {
        if self.part == (Place::Element { of_whole: false }) {
            self.bytes.extend_from_slice(&END);
        }
        Ok(())
    }
}

impl SerializeTuple for Parts<'_> {
    type Ok = ();
    type Error = KeyError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.part(value)
    }

    fn end(self) -> Result<(), KeyError> {
        Ok(())
    }
}

macro_rules! unnamed_fields {
    ($($trait:ty),*) => {$(
        impl $trait for Parts<'_> {
            type Ok = ();
            type Error = KeyError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
                self.part(value)
            }

            fn end(self) -> Result<(), KeyError> {
                Ok(())
            }
        }
    )*};
}

macro_rules! named_fields {
    ($($trait:ty),*) => {$(
        impl $trait for Parts<'_> {
            type Ok = ();
            type Error = KeyError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _name: &'static str, value: &T) -> Result<(), KeyError> {
                self.part(value)
            }

            fn skip_field(&mut self, _name: &'static str) -> Result<(), KeyError> {
                Err(KeyError::Unsupported { what: "a struct that leaves fields out" })
            }

            fn end(self) -> Result<(), KeyError> {
                Ok(())
            }
        }
    )*};
}

unnamed_fields!(SerializeTupleStruct, SerializeTupleVariant);
named_fields!(SerializeStruct, SerializeStructVariant);
