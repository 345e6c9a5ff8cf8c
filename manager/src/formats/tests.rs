//! Every format: what is written is read back, and what is damaged is refused.

use super::*;
use proptest::prelude::*;

type Pairs = Vec<(Vec<u8>, Vec<u8>, Attributes)>;

const FORMATS: [Format; 3] = [Format::Csv, Format::JsonLines, Format::Dump];
const HEAD: Head = Head { kind: Kind::OrderedSet, version: 17 };

fn schema() -> TableSchema {
    TableSchema { name: "Sale".to_owned(), base_version: 3 }
}

/// What a reader handed on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    head: Option<Head>,
    pairs: Pairs,
    bequest: Option<Vec<u8>>,
    schema: Option<TableSchema>,
}

fn written(format: Format, pairs: &Pairs, bequest: Option<&[u8]>) -> Vec<u8> {
    let deadlines = pairs.iter().any(|(_, _, attributes)| attributes.deadline_ms.is_some());
    let mut writer = Writer::begin(Vec::new(), format, HEAD, Some(schema()), deadlines).unwrap();
    for (key, value, attributes) in pairs {
        writer.entry(Entry { key, value, attributes: *attributes, line: None }).unwrap();
    }
    if let Some(bequest) = bequest {
        writer.bequest(bequest).unwrap();
    }
    writer.finish().unwrap()
}

fn content(format: Format, bytes: &[u8]) -> (Content, Result<(), FormatError>) {
    let mut content = Content::default();
    let outcome = read(bytes, format, "it", &mut |item| {
        match item {
            Item::Head(head) => content.head = Some(head),
            Item::Schema(schema) => content.schema = Some(schema.clone()),
            Item::Entry(entry) => {
                content.pairs.push((entry.key.to_vec(), entry.value.to_vec(), entry.attributes));
            }
            Item::Bequest(bequest) => content.bequest = Some(bequest.to_vec()),
        }
        Ok::<_, FormatError>(())
    });
    (content, outcome)
}

/// Bytes as programs have them: text with all that formats give a meaning, numbers, and anything at all.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c\",;\\\\\r\n\t {}é\u{85}\u{feff}]{0,12}".prop_map(String::into_bytes),
        any::<u64>().prop_map(|number| number.to_be_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let some = (prop::option::of(any::<u64>()), prop::option::of(any::<u32>()));
    let some = some.prop_map(|(deadline_ms, schema_version)| Attributes { deadline_ms, schema_version });
    prop_oneof![Just(Attributes::default()), some]
}

const NONE: Attributes = Attributes { deadline_ms: None, schema_version: None };

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        pairs in prop::collection::vec((bytes(), bytes(), attributes()), 0..30),
        bequest in prop::option::of(bytes()),
    ) {
        for format in FORMATS {
            let file = written(format, &pairs, bequest.as_deref());
            let (content, outcome) = content(format, &file);
            prop_assert!(outcome.is_ok(), "{format:?}: {outcome:?}");
            // In the text forms, the schema's base may be another.
            let said = content.schema.clone().unwrap_or(schema());
            prop_assert_eq!(&said.name, &schema().name);
            let absolute = |pairs: &Pairs, schema: &TableSchema| -> Vec<_> {
                let of = |attributes: Attributes| (attributes.deadline_ms, schema.version_of(attributes));
                pairs.iter().map(|(key, value, attributes)| (key.clone(), value.clone(), of(*attributes))).collect()
            };
            prop_assert_eq!(absolute(&content.pairs, &said), absolute(&pairs, &schema()), "{:?}", format);
            prop_assert_eq!(content.schema.is_some(), format == Format::Dump || !pairs.is_empty());
            if format == Format::Dump {
                prop_assert_eq!(content.head, Some(HEAD));
                prop_assert_eq!(&content.schema, &Some(schema()));
                prop_assert_eq!(&content.bequest, &bequest);
            }
        }
    }

    #[test]
    fn nothing_makes_a_reader_panic(file in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in FORMATS {
            let _ = content(format, &file);
            let _ = content(format, &[b"HEIRLOOM", file.as_slice()].concat());
        }
    }
}

/// More than one block, and one entry that needs a block for itself.
fn some_blocks() -> Pairs {
    let mut pairs: Pairs = (0..40_u8).map(|number| (vec![number], vec![number; 20_000], NONE)).collect();
    pairs.push((b"large".to_vec(), vec![7; 600_000], NONE));
    pairs
}

#[test]
fn a_dump_of_many_blocks_is_read_back() {
    let pairs = some_blocks();
    let (content, outcome) = content(Format::Dump, &written(Format::Dump, &pairs, Some(b"")));
    outcome.unwrap();
    assert_eq!(content, Content { head: Some(HEAD), pairs, bequest: Some(vec![]), schema: Some(schema()) });
}

#[test]
fn a_dump_that_is_cut_anywhere_is_refused_and_says_where() {
    let pairs: Pairs = (0..20_u8).map(|number| (vec![number], vec![number; 30], NONE)).collect();
    let file = written(Format::Dump, &pairs, Some(b"position 9"));
    for end in 0..file.len() {
        let (content, outcome) = content(Format::Dump, &file[..end]);
        match outcome {
            Err(FormatError::Damaged { offset, wrong, .. }) => {
                assert!(offset == end as u64 && wrong.contains("cut off"), "{offset} of {end}: {wrong}");
            }
            other => {
                assert!(end == 0 && matches!(other, Err(FormatError::BadFile { .. })), "{end}: {other:?}")
            }
        }
        assert!(pairs.starts_with(&content.pairs), "what was handed on before is right");
    }
}

#[test]
fn a_dump_with_any_bit_turned_is_refused_and_says_where() {
    let pairs: Pairs = (0..9_u8).map(|number| (vec![number], vec![number; 5], NONE)).collect();
    let file = written(Format::Dump, &pairs, Some(b"position 9"));
    for place in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[place] ^= 1 << bit;
            let (content, outcome) = content(Format::Dump, &damaged);
            let error = outcome.expect_err("one bit is wrong");
            if let FormatError::Damaged { offset, .. } = &error {
                // A length that grew may only be noticed where the file ends.
                assert!(*offset <= place as u64 || *offset == file.len() as u64, "{place}: {error}");
            }
            assert!(content.pairs.is_empty() || content.pairs == pairs, "no entry of a damaged block");
        }
    }
}

#[test]
fn parts_of_a_dump_cannot_be_lost_doubled_or_moved() {
    let file = written(Format::Dump, &some_blocks(), None);
    // Where its frames begin, from their lengths.
    let mut starts = vec![8];
    while let Some(length) = file.get(starts[starts.len() - 1] + 4..).and_then(|rest| rest.first_chunk::<4>())
    {
        starts.push(starts[starts.len() - 1] + 16 + u32::from_le_bytes(*length) as usize);
    }
    assert_eq!(starts.pop(), Some(file.len()));
    assert!(starts.len() > 5, "{starts:?}");
    let (second, third, fourth) = (starts[2], starts[3], starts[4]);
    let lost = [&file[..second], &file[third..]].concat();
    let doubled = [&file[..third], &file[second..]].concat();
    let swapped = [&file[..second], &file[third..fourth], &file[second..third], &file[fourth..]].concat();
    let appended = [&file[..], b"more"].concat();
    for (damaged, expected) in [(lost, second), (doubled, third), (swapped, second), (appended, file.len())] {
        let error = content(Format::Dump, &damaged).1.unwrap_err();
        assert!(matches!(error, FormatError::Damaged { offset, .. } if offset == expected as u64), "{error}");
    }
}

#[test]
fn no_length_is_believed() {
    // A part that says it has almost 4 GiB, and one that has as much as a part may have; neither is there.
    for length in [u32::MAX, (16 << 20) + (64 << 10)] {
        let mut file = b"HEIRLOOMROWS".to_vec();
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&[0; 100]);
        assert!(matches!(content(Format::Dump, &file).1, Err(FormatError::Damaged { .. })));
    }
}

#[test]
fn deadlines_that_are_none_are_refused() {
    for (format, text) in [
        (Format::Csv, &b"key,value,deadline_ms\na,1,\nb,2,soon\n"[..]),
        (Format::JsonLines, b"{\"key\":\"a\",\"value\":1,\"deadline_ms\":null}\n{\"key\":\"b\",\"value\":2,\"deadline_ms\":-1}"),
    ] {
        let (content, outcome) = content(format, text);
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with(if format == Format::Csv { "it:3:" } else { "it:2:" }), "{error}");
        assert!(error.contains("deadline_ms"), "{error}");
        assert_eq!(content.pairs.len(), 1);
    }
}

#[test]
fn lines_of_two_schemas_are_refused() {
    for (format, text) in [
        (Format::Csv, &b"key,value,value_schema\na,1,price@1\nb,2,\n"[..]),
        (
            Format::JsonLines,
            b"{\"key\":\"a\",\"value\":1,\"value_schema\":\"price@1\"}\n{\"key\":\"b\",\"value\":2}",
        ),
    ] {
        let (content, outcome) = content(format, text);
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with(if format == Format::Csv { "it:3:" } else { "it:2:" }), "{error}");
        assert!(error.contains("value_schema"), "{error}");
        assert_eq!(content.pairs.len(), 1);
    }
}

#[test]
fn lines_have_a_longest() {
    // What goes on for ever, without ever ending a line.
    for (format, start) in [(Format::Csv, &b"key,value\na,\""[..]), (Format::JsonLines, b"{\"key\":\"a")] {
        let endless = start.chain(io::repeat(b'x'));
        let outcome = read(endless, format, "it", &mut |_| Ok::<_, FormatError>(()));
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with("it:") && error.contains("of more than"), "{error}");
    }
}

#[test]
fn a_dump_fits_where_no_value_is_lost() {
    use Kind::{Bag, DuplicateBag, OrderedSet, Set};
    let fits = |from, to| Head { kind: from, version: 0 }.fits(to);
    assert!(fits(Set, OrderedSet) && fits(OrderedSet, Set) && fits(Set, Bag) && fits(Bag, DuplicateBag));
    assert!(!fits(Bag, Set) && !fits(DuplicateBag, Bag) && !fits(DuplicateBag, OrderedSet));
}

#[test]
fn the_name_of_a_file_says_its_format() {
    let by_name = |name: &str| Format::by_extension(Path::new(name));
    assert_eq!(by_name("a/b.CSV"), Some(Format::Csv));
    assert_eq!(by_name("b.ndjson"), Some(Format::JsonLines));
    assert_eq!(by_name("b.dump"), Some(Format::Dump));
    assert_eq!((by_name("dump"), by_name("b.txt")), (None, None));
}
