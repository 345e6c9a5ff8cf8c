//! Checkpoints of every sort against a map.

use super::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn key(random: &mut SmallRng) -> Vec<u8> {
    // Keys that are parts of others, empty ones, and some that differ late.
    let mut key = vec![b'k'; random.random_range(0..12)];
    if random.random_bool(0.8) {
        key.extend_from_slice(&random.random_range(0..600_u32).to_be_bytes());
    }
    key
}

fn value(random: &mut SmallRng) -> (Vec<u8>, Attributes) {
    let length = if random.random_bool(0.01) { 10_000 } else { random.random_range(0..120) };
    let attributes = Attributes {
        deadline_ms: random.random_bool(0.2).then(|| u64::MAX - random.random_range(0..9)),
        schema_version: random.random_bool(0.2).then(|| random.random_range(0..9)),
    };
    (vec![random.random(); length], attributes)
}

fn values(kind: Kind, random: &mut SmallRng) -> Values {
    let most = if kind.is_bag() { 4 } else { 1 };
    let mut values: Values = (0..random.random_range(0..=most)).map(|_| value(random)).collect();
    if kind == Kind::Bag {
        let mut seen = std::collections::HashSet::new();
        values.retain(|value| seen.insert(value.0.clone()));
        values.sort_by(|one, other| one.0.cmp(&other.0));
    }
    values
}

fn borrowed(values: &Values) -> impl Iterator<Item = (&[u8], Attributes)> {
    values.iter().map(|(value, attributes)| (value.as_slice(), *attributes))
}

/// Changes `content`, and the store alike.
pub(super) fn change(
    checkpoint: &mut Checkpoint<'_>,
    content: &mut Content,
    kind: Kind,
    most: usize,
    random: &mut SmallRng,
) -> Result<(), StoreError> {
    if random.random_bool(0.1) {
        checkpoint.clear()?;
        content.entries.clear();
    }
    let most = if random.random_bool(0.2) { most } else { 40 };
    for _ in 0..random.random_range(0..most) {
        let (key, values) = (key(random), values(kind, random));
        checkpoint.replace(&key, borrowed(&values))?;
        match values.is_empty() {
            true => content.entries.remove(&key),
            false => content.entries.insert(key, values),
        };
    }
    if random.random_bool(0.5) {
        content.bequest =
            random.random_bool(0.8).then(|| vec![random.random(); random.random_range(0..9000)]);
        checkpoint.bequest(content.bequest.as_deref())?;
    }
    if random.random_bool(0.1) {
        let schema = TableSchema { name: "Sale".to_owned(), base_version: random.random_range(0..5) };
        checkpoint.schema(Some(&schema))?;
        content.schema = Some(schema);
    }
    Ok(())
}

/// Gives all of it, in some order.
pub(super) fn give(checkpoint: &mut Checkpoint<'_>, content: &Content, random: &mut SmallRng) {
    let mut entries: Vec<_> = content.entries.iter().collect();
    for at in 1..entries.len() {
        entries.swap(at, random.random_range(0..=at));
    }
    for (key, values) in entries {
        match random.random_bool(0.5) {
            true => checkpoint.replace(key, borrowed(values)).unwrap(),
            false => {
                borrowed(values)
                    .for_each(|(value, attributes)| checkpoint.append(key, value, attributes).unwrap());
            }
        }
    }
    checkpoint.bequest(content.bequest.as_deref()).unwrap();
    checkpoint.schema(content.schema.as_ref()).unwrap();
}

#[test]
fn a_store_has_what_its_last_checkpoint_had() {
    for (seed, kind) in
        [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag].into_iter().cycle().take(8).enumerate()
    {
        let random = &mut SmallRng::seed_from_u64(seed as u64);
        let (_folder, path, mut store) = store(kind);
        let mut content = Content::default();
        for version in 1..12 {
            let mut next = content.clone();
            match random.random_range(0..10) {
                // Dropped: as if it had never begun.
                0 => change(&mut store.checkpoint().unwrap(), &mut next, kind, 3000, random).unwrap(),
                1 => {
                    let mut checkpoint = store.checkpoint().unwrap();
                    change(&mut checkpoint, &mut next, kind, 3000, random).unwrap();
                    drop(checkpoint);
                    let mut checkpoint = store.whole().unwrap();
                    give(&mut checkpoint, &next, random);
                    checkpoint.commit(stamp(version)).unwrap();
                    content = next;
                }
                _ => {
                    let mut checkpoint = store.checkpoint().unwrap();
                    change(&mut checkpoint, &mut next, kind, 3000, random).unwrap();
                    checkpoint.commit(stamp(version)).unwrap();
                    content = next;
                }
            }
            if random.random_bool(0.3) {
                store = {
                    drop(store);
                    Store::open(&path, &sales(kind)).unwrap()
                };
            }
            assert!(hydrated(&store).unwrap() == content, "{kind:?}, seed {seed}, version {version}");
        }
    }
}
