//! Order and round trip, over the types that keys are made of.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;

fn encoded<T: Serialize + ?Sized>(key: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(key, &mut bytes).unwrap();
    bytes
}

/// The whole contract: bytes compare as the values do, and are the value again when read.
fn check<T: Serialize + DeserializeOwned + Debug + PartialEq>(one: &T, other: &T, expected: Ordering) {
    let (first, second) = (encoded(one), encoded(other));
    assert_eq!(first.cmp(&second), expected, "{one:?} is {first:x?}, {other:?} is {second:x?}");
    assert_eq!(&decode::<T>(&first).unwrap(), one, "{first:x?}");
}

fn check_ord<T: Serialize + DeserializeOwned + Debug + Ord>(one: T, other: T) {
    check(&one, &other, one.cmp(&other));
    check(&one, &one, Ordering::Equal);
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Car {
    year: u16,
    make: String,
    model: Vec<u8>,
    doors: Option<i8>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Event {
    Opened,
    Sold(i64, String),
    Named { name: String, tags: Vec<String> },
    Wrapped(Box<Event>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Byte(u8);

/// Few letters and many zeroes, so that prefixes and escapes meet.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 0x61, 0xFE, 0xFF]), 0..6)
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!['\0', '\u{1}', 'a', 'b', 'ÿ', '𝄞']), 0..5)
        .prop_map(String::from_iter)
}

fn car() -> impl Strategy<Value = Car> {
    (0..3_u16, text(), bytes(), any::<Option<i8>>()).prop_map(|(year, make, model, doors)| Car {
        year,
        make,
        model,
        doors,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let leaf = prop_oneof![
        Just(Event::Opened),
        (any::<i64>(), text()).prop_map(|(price, car)| Event::Sold(price, car)),
        (text(), prop::collection::vec(text(), 0..3)).prop_map(|(name, tags)| Event::Named { name, tags }),
    ];
    leaf.prop_recursive(2, 4, 1, |inner| inner.prop_map(|event| Event::Wrapped(Box::new(event))))
}

proptest! {
    #[test]
    fn integers(a: (i8, i16, i32, i64, i128), b: (i8, i16, i32, i64, i128), c: (u8, u16, u32, u64, u128), d: (u8, u16, u32, u64, u128)) {
        check_ord(a.0, b.0);
        check_ord(a.1, b.1);
        check_ord(a.2, b.2);
        check_ord(a.3, b.3);
        check_ord(a.4, b.4);
        check_ord(c.0, d.0);
        check_ord(c.1, d.1);
        check_ord(c.2, d.2);
        check_ord(c.3, d.3);
        check_ord(c.4, d.4);
        check_ord((a.0, c.1, a.3), (b.0, d.1, b.3));
    }

    #[test]
    fn floats(a: u64, b: u64) {
        let (a, b) = (f64::from_bits(a), f64::from_bits(b));
        prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.total_cmp(&b));
        prop_assert_eq!(decode::<f64>(&encoded(&a)).unwrap().to_bits(), a.to_bits());
        let (a, b) = (a as f32, b as f32);
        prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.total_cmp(&b));
        prop_assert_eq!(decode::<f32>(&encoded(&a)).unwrap().to_bits(), a.to_bits());
    }

    #[test]
    fn small_things(a: (bool, char, Option<bool>), b: (bool, char, Option<bool>)) {
        check_ord(a, b);
        check_ord(a.1, b.1);
        check_ord(Some((a.0, ())), Some((b.0, ())));
    }

    #[test]
    fn strings_and_bytes(a in text(), b in text(), c in bytes(), d in bytes(), e: u16, f: u16) {
        check_ord(a.clone(), b.clone());
        check_ord(c.clone(), d.clone());
        check_ord((a.clone(), e), (b.clone(), f));
        check_ord((c.clone(), e), (d.clone(), f));
        check_ord((a, c), (b, d));
    }

    #[test]
    fn sequences(a in prop::collection::vec(bytes(), 0..4), b in prop::collection::vec(bytes(), 0..4), c in prop::collection::vec(text(), 0..4), d in prop::collection::vec(text(), 0..4), e: (Vec<i16>, u8), f: (Vec<i16>, u8)) {
        check_ord(a.clone(), b.clone());
        check_ord(c.clone(), d.clone());
        check_ord((a, c), (b, d));
        check_ord(e.0.clone(), f.0.clone());
        check_ord(e, f);
    }

    #[test]
    fn options_of_sequences(a in prop::collection::vec(prop::option::of(bytes()), 0..4), b in prop::collection::vec(prop::option::of(bytes()), 0..4)) {
        check_ord(a.clone(), b.clone());
        check_ord((a, 7_u8), (b, 7_u8));
    }

    #[test]
    fn structs_and_enums(a in car(), b in car(), c in event(), d in event()) {
        check_ord(a, b);
        check_ord(c.clone(), d.clone());
        check_ord(vec![c], vec![d]);
    }

    /// Bytes from anywhere are an error or a key, and a key only where encoding makes the same bytes of it.
    #[test]
    fn garbage(bytes in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 0x61, 0x80, 0xFF]), 0..24)) {
        fn one<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
            if let Ok(key) = decode::<T>(bytes) {
                assert_eq!(encoded(&key), bytes);
            }
        }
        one::<Car>(&bytes);
        one::<Vec<(String, Vec<u8>)>>(&bytes);
        one::<(Option<char>, bool, [u8; 3])>(&bytes);
        one::<Vec<Byte>>(&bytes);
        one::<(Vec<Byte>, Vec<()>)>(&bytes);
    }
}

#[test]
fn a_whole_string_is_its_bytes() {
    assert_eq!(encoded("abc"), b"abc");
    assert_eq!(encoded(&"abc".to_owned()), b"abc");
    assert_eq!(encoded(&b"a\0c".to_vec()), b"a\0c");
    assert_eq!(encoded(&vec![Byte(0), Byte(7)]), b"\0\x07");
    assert_eq!(encoded(""), b"");
}

#[test]
fn every_form_is_as_documented() {
    assert_eq!(encoded(&-1_i16), [0x7F, 0xFF]);
    assert_eq!(encoded(&("a\0", 1_u8)), *b"a\0\xFF\0\0\x01");
    assert_eq!(encoded(&vec![1_u16, 2]), [1, 0, 1, 1, 0, 2]);
    assert_eq!(encoded(&(vec![1_u16], ())), [1, 0, 1, 0, 0]);
    assert_eq!(encoded(&Some("a")), *b"\x01a\0\0");
    assert_eq!(encoded(&Event::Opened), [0]);
    assert_eq!(encoded(&[1_u8, 0, 2]), [1, 0, 2]);
    assert!(encoded(&()).is_empty());
}

#[test]
fn variants_beyond_one_byte_keep_their_order() {
    let variant = |index| {
        let mut bytes = Vec::new();
        serde::Serializer::serialize_unit_variant(encode::Encoder::whole(&mut bytes), "", index, "").unwrap();
        bytes
    };
    let indices = [0, 1, 254, 255, 256, 70_000, u32::MAX];
    assert!(indices.map(variant).is_sorted());
    assert_eq!(variant(254), [254]);
    assert_eq!(variant(255), [255, 0, 0, 0, 255]);
}

#[test]
fn what_has_no_order_is_refused() {
    #[derive(Serialize)]
    struct Gappy {
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<u8>,
    }
    let refused = |result: Result<(), KeyError>| matches!(result, Err(KeyError::Unsupported { .. }));
    let mut bytes = Vec::new();
    assert!(refused(encode(&BTreeMap::from([(1, 2)]), &mut bytes)));
    assert!(refused(encode(&Gappy { field: None }, &mut bytes)));
    let error = decode::<BTreeMap<u8, u8>>(b"").unwrap_err();
    assert_eq!(error.to_string(), "a map cannot be part of a key: it has no order that bytes can keep");
}

#[test]
fn what_is_no_key_says_why() {
    assert_eq!(decode::<u16>(b"a"), Err(KeyError::Short { what: "u16" }));
    assert_eq!(decode::<u16>(b"abc"), Err(KeyError::LeftOver { bytes: 1 }));
    assert_eq!(decode::<bool>(b"\x02"), Err(KeyError::Malformed { what: "a bool" }));
    assert_eq!(decode::<(String, u8)>(b"a\0"), Err(KeyError::Short { what: "a byte string" }));
    assert_eq!(decode::<String>(b"\xFF"), Err(KeyError::Malformed { what: "text in UTF-8" }));
    let longer_than_it_need_be = decode::<Result<u8, u8>>(b"\xFF\0\0\0\0\0");
    assert_eq!(longer_than_it_need_be, Err(KeyError::Malformed { what: "a variant" }));
}
