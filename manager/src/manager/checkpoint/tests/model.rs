//! Commits of every sort, at random, with checkpoints among them.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u16),
    Expiring(u8, u16),
    OfVersion(u8, u16),
    Remove(u8),
    RemoveValue(u8, u16),
    Together(Vec<(u8, Option<u16>)>, u16),
    ClearAndInsert(u8, u16),
    Clear,
    Bequeath(u16),
    Name,
    /// More commits than the ring has records for.
    Overtake(u16),
    Checkpoint,
    /// The manager is another, which opens the same file.
    NextManager,
    /// The table is another, filled from the file: the manager says so to the next copier, or it is not told.
    NextTable {
        told: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::Insert(key % 24, value % 5)),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::Expiring(key % 24, value % 5)),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::OfVersion(key % 24, value % 5)),
        4 => any::<u8>().prop_map(|key| Step::Remove(key % 24)),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::RemoveValue(key % 24, value % 5)),
        3 => (proptest::collection::vec((any::<u8>(), any::<Option<u16>>()), 1..6), any::<u16>())
            .prop_map(|(writes, bequest)| Step::Together(writes, bequest)),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::ClearAndInsert(key % 24, value)),
        1 => Just(Step::Clear),
        2 => any::<u16>().prop_map(Step::Bequeath),
        1 => Just(Step::Name),
        1 => any::<u16>().prop_map(Step::Overtake),
        6 => Just(Step::Checkpoint),
        1 => Just(Step::NextManager),
        1 => any::<bool>().prop_map(|told| Step::NextTable { told }),
    ];
    proptest::collection::vec(step, 1..60)
}

fn key(number: u8) -> [u8; 2] {
    [b'k', number]
}

/// Of different lengths, so that entries change their class.
fn value(number: u16) -> Vec<u8> {
    vec![number as u8; 1 + usize::from(number % 97)]
}

fn write(writer: &mut TableWriter<Arc<HeapRegion>>, step: &Step) {
    match step {
        Step::Insert(at, with) => writer.insert(&key(*at), &value(*with)).map(drop).unwrap(),
        Step::Expiring(at, with) => {
            // Long ago: it is there all the same, until it is removed.
            writer.insert_expiring(&key(*at), &value(*with), 1_000).unwrap();
        }
        Step::OfVersion(at, with) => {
            writer.write_schema_version(Some(7));
            writer.insert(&key(*at), &value(*with)).unwrap();
            writer.write_schema_version(None);
        }
        Step::Remove(at) => writer.remove(&key(*at)).map(drop).unwrap(),
        Step::RemoveValue(at, with) => writer.remove_value(&key(*at), &value(*with)).map(drop).unwrap(),
        Step::Together(writes, bequest) => {
            let mut transaction = writer.transaction();
            for (at, with) in writes {
                match with {
                    Some(with) => transaction.insert(&key(at % 24), &value(*with)).unwrap(),
                    None => transaction.remove(&key(at % 24)).unwrap(),
                }
            }
            transaction.bequeath(&value(*bequest)).unwrap();
            transaction.commit().unwrap();
        }
        Step::ClearAndInsert(at, with) => {
            let mut transaction = writer.transaction();
            transaction.clear();
            transaction.insert(&key(*at), &value(*with)).unwrap();
            transaction.commit().unwrap();
        }
        Step::Clear => writer.clear().map(drop).unwrap(),
        Step::Bequeath(with) => writer.bequeath(&value(*with)).unwrap(),
        Step::Name => writer.set_schema("Sale", 3).map(drop).unwrap(),
        Step::Overtake(with) => {
            for number in 0..5000_u16 {
                writer.insert(&[b'k', (number % 24) as u8], &value((with.wrapping_add(number)) % 5)).unwrap();
                // A bag must not grow for ever.
                writer.remove(&[b'k', ((number + 7) % 24) as u8]).unwrap();
            }
        }
        Step::Checkpoint | Step::NextManager | Step::NextTable { .. } => {}
    }
}

fn check(kind: Kind, steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = region(kind, 1);
    let mut owner = writer(&table);
    let (mut store, mut copier) = (open(&folder, kind), copier(&table));
    // What the file must be: the last checkpoint.
    let mut on_disk: Option<Content> = None;
    for step in steps.iter().chain([&Step::Checkpoint]) {
        write(&mut owner, step);
        match step {
            Step::Checkpoint => {
                let copied = copier.checkpoint(&mut store).unwrap();
                let version = owner.version();
                assert!(copied.is_none_or(|copied| copied.version == version));
                assert_eq!(copier.durable(&store), Some(version));
                on_disk = Some(content(&table));
                assert_eq!(on_disk.as_ref(), Some(&stored(&store, kind)));
            }
            Step::NextManager => {
                drop(store);
                (store, copier) = (open(&folder, kind), super::copier(&table));
            }
            Step::NextTable { told } => {
                drop(store);
                store = open(&folder, kind);
                table = region(kind, table.load_incarnation() + 1);
                store.hydrate(Arc::clone(&table)).unwrap();
                owner = writer(&table);
                copier = super::copier(&table);
                if *told {
                    copier.is_as_of(&mut store, owner.version()).unwrap();
                }
                if let Some(on_disk) = &on_disk {
                    assert_eq!(content(&table), *on_disk);
                }
            }
            _ => {}
        }
        assert_eq!(table::held(&table).pins, 0, "no pin is left");
    }
}

/// Which creation a region is of.
trait Incarnation {
    fn load_incarnation(&self) -> u64;
}

impl Incarnation for Arc<HeapRegion> {
    fn load_incarnation(&self) -> u64 {
        TableReader::open(Arc::clone(self)).unwrap().incarnation()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn the_file_of_a_set_is_its_last_checkpoint(steps in steps()) {
        check(Kind::Set, &steps);
    }

    #[test]
    fn the_file_of_an_ordered_set_is_its_last_checkpoint(steps in steps()) {
        check(Kind::OrderedSet, &steps);
    }

    #[test]
    fn the_file_of_a_bag_is_its_last_checkpoint(steps in steps()) {
        check(Kind::Bag, &steps);
    }

    #[test]
    fn the_file_of_a_duplicate_bag_is_its_last_checkpoint(steps in steps()) {
        check(Kind::DuplicateBag, &steps);
    }
}
