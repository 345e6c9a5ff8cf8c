//! Every store of every operation: the owner is killed after each, and
//!
//! 1. readers at that cut see each key as before or as after, the bequest too;
//! 2. recovery gives all of before (the commit was not stored) or all of after, and `verify` finds nothing wrong;
//! 3. the heir's next operations work, in full batches, and `verify` finds nothing wrong after them;
//! 4. recovery, itself killed after each of its stores and repeated, ends in the same words, and readers at those cuts
//!    see before or after too.
//!
//! Operations are named by what was asked for and by what the engine did for it, so that growth, shrinking, reuse and
//! the rest are counted: an operation without a state fails the test.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::region::{HeapRegion, RecordingRegion, Region, Store};
use crate::table::layout::{APPLIED, COUNTS, Counts, HORIZON, NEXT_SPAN, ROOT};
use crate::table::{self, Recovery, TableOptions, TableReader, TableWriter, WriteError};

type Map = HashMap<Vec<u8>, Vec<u8>>;
type Live = Arc<RecordingRegion<HeapRegion>>;

/// What a table holds: its entries and its bequest.
#[derive(Debug, Clone, Default, PartialEq)]
struct Content {
    entries: Map,
    bequest: Option<Vec<u8>>,
}

/// One operation: the writes of a transaction (one write outside of one, where `single`).
#[derive(Debug, Clone, Default)]
struct Operation {
    name: &'static str,
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bequest: Option<Vec<u8>>,
    single: bool,
}

/// The distinct states seen, by operation: a hash of all words each.
#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, HashSet<u64>>);

/// A table whose every store is tried.
struct Scene {
    live: Live,
    writer: TableWriter<Live>,
    /// The same words, some stores behind.
    image: HeapRegion,
    image_hash: u64,
    content: Content,
    seen: Seen,
    recoveries: HashMap<&'static str, usize>,
    /// Every how many stores of a long operation a cut is tried.
    stride: usize,
    random: u64,
}

impl Scene {
    fn new(max_bytes: u64, seed: u64) -> Self {
        let options = TableOptions { seed, reserve_bytes: max_bytes, ..TableOptions::set(max_bytes) };
        let live = Arc::new(RecordingRegion::new(HeapRegion::new(options.segment_bytes() / 8)));
        table::create(&live, &options).unwrap();
        let mut writer = TableWriter::open(live.clone(), 0).unwrap();
        writer.batch_commits = 5;
        let image = HeapRegion::new(live.words());
        for store in live.take() {
            image.store(store.word, store.new);
        }
        let recoveries = HashMap::new();
        Self {
            live,
            writer,
            image,
            image_hash: 0,
            content: Content::default(),
            seen: Seen::default(),
            recoveries,
            stride: 1,
            random: seed | 1,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// Carries operations out without trying their cuts.
    fn prepare(&mut self, operation: &Operation) -> Result<(), WriteError> {
        let result = carry_out(&mut self.writer, operation).map(drop);
        for store in self.live.take() {
            self.step(store);
        }
        if result.is_ok() {
            self.content = after(&self.content, operation);
        }
        result
    }

    fn step(&mut self, store: Store) {
        self.image_hash ^= mix(store.word, store.old) ^ mix(store.word, store.new);
        self.image.store(store.word, store.new);
    }

    /// Carries an operation out and tries each of its cuts.
    fn cut(&mut self, operation: &Operation) -> Result<(), WriteError> {
        let version = self.writer.version();
        let before = self.content.clone();
        let (root, spans, horizon) =
            (self.live.load(ROOT), self.live.load(NEXT_SPAN), self.live.load(HORIZON));
        let counts = Counts::from_word(self.live.load(COUNTS));
        let result = carry_out(&mut self.writer, operation);
        // The index may have grown before a large transaction's own commit.
        let version = result.as_ref().map_or(version, |own| own.map_or(version, |own| own.saturating_sub(1)));
        let result = result.map(drop);
        let stores = self.live.take();
        let after = if result.is_ok() { after(&before, operation) } else { before.clone() };

        let mut names = vec![operation.name];
        let (buckets, now) = (root as u32, self.live.load(ROOT) as u32);
        let new_counts = Counts::from_word(self.live.load(COUNTS));
        names.extend((now > buckets).then_some("growth of the index"));
        names.extend((now < buckets).then_some("shrinking of the index"));
        names.extend((self.live.load(NEXT_SPAN) > spans).then_some("growth of the arena"));
        names.extend((self.live.load(HORIZON) > horizon).then_some("reuse (horizon moved)"));
        names.extend((new_counts.slots < counts.slots).then_some("reclaim of removed entries"));
        names.extend(matches!(result, Err(WriteError::TableFull { .. })).then_some("full table"));

        let length = stores.len();
        for (done, store) in stores.into_iter().enumerate() {
            if done % self.stride == 0 || done + 20 > length {
                self.try_cut(&names, version, &before, &after);
            }
            self.step(store);
        }
        self.try_cut(&names, version, &before, &after);
        self.content = after;
        result
    }

    fn try_cut(&mut self, names: &[&'static str], version: u64, before: &Content, after: &Content) {
        let mut new = false;
        for name in names {
            new |= self.seen.0.entry(name).or_default().insert(self.image_hash);
        }
        if !new {
            return;
        }
        readers_see(&self.image, before, after, names);

        let recovering = RecordingRegion::new(&self.image);
        let found = table::recover(&recovering).expect("recovery of a killed owner's table");
        *self.recoveries.entry(recovery_name(found)).or_default() += 1;
        let stores = recovering.take();

        let stands = self.image.load(APPLIED) > version;
        let content = if stands { after } else { before };
        readers_see(&self.image, content, content, names);
        let report = table::verify(&self.image).unwrap_or_else(|error| panic!("{names:?}: {error}"));
        assert_eq!(report.entries, content.entries.len() as u64, "{names:?}");

        let inherited = RecordingRegion::new(&self.image);
        heir_goes_on(&inherited, content);
        inherited.undo();

        // Recovery is cut after each of its stores, from the last to none, and done again.
        for cut in (0..stores.len()).rev() {
            self.image.store(stores[cut].word, stores[cut].old);
            readers_see(&self.image, before, after, names);
            let again = RecordingRegion::new(&self.image);
            table::recover(&again).expect("recovery of a killed recovery");
            for store in &stores {
                let last = stores.iter().rfind(|last| last.word == store.word).expect("it is in there");
                assert_eq!(
                    self.image.load(store.word),
                    last.new,
                    "{names:?}: recovery cut after {cut} stores"
                );
            }
            again.undo();
        }
    }
}

fn recovery_name(recovery: Recovery) -> &'static str {
    match recovery {
        Recovery::Clean => "clean",
        Recovery::LogDiscarded => "log discarded",
        Recovery::Reapplied { .. } => "reapplied",
    }
}

fn mix(word: u64, value: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&word.to_le_bytes());
    bytes[8..].copy_from_slice(&value.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

/// The version of a transaction's commit is said.
fn carry_out(writer: &mut TableWriter<Live>, operation: &Operation) -> Result<Option<u64>, WriteError> {
    if operation.single {
        for (key, value) in &operation.writes {
            match value {
                Some(value) => writer.insert(key, value)?,
                None => writer.remove(key)?,
            };
        }
        operation.bequest.as_deref().map_or(Ok(()), |bequest| writer.bequeath(bequest))?;
        return Ok(None);
    }
    let mut transaction = writer.transaction();
    for (key, value) in &operation.writes {
        match value {
            Some(value) => transaction.insert(key, value)?,
            None => transaction.remove(key)?,
        }
    }
    if let Some(bequest) = &operation.bequest {
        transaction.bequeath(bequest)?;
    }
    transaction.commit().map(Some)
}

fn after(before: &Content, operation: &Operation) -> Content {
    let mut content = before.clone();
    for (key, value) in &operation.writes {
        match value {
            Some(value) => content.entries.insert(key.clone(), value.clone()),
            None => content.entries.remove(key),
        };
    }
    if operation.bequest.is_some() {
        content.bequest.clone_from(&operation.bequest);
    }
    content
}

/// Each key, and the bequest, is as in one or the other. An entry that neither has is not there.
fn readers_see(image: &HeapRegion, before: &Content, after: &Content, names: &[&'static str]) {
    let reader = TableReader::open(image).expect("a reader opens a table whatever its owner was doing");
    let mut value = Vec::new();
    for key in
        before.entries.keys().chain(after.entries.keys().filter(|key| !before.entries.contains_key(*key)))
    {
        value.clear();
        let found = reader.get_into(key, &mut value).expect("a get").then_some(&value);
        assert!(
            found == before.entries.get(key) || found == after.entries.get(key),
            "{names:?}: {key:?} is {found:?}, was {:?}, will be {:?}",
            before.entries.get(key),
            after.entries.get(key),
        );
    }
    let bequest = reader.bequest().expect("the bequest");
    assert!(bequest == before.bequest || bequest == after.bequest, "{names:?}: bequest {bequest:?}");
    let mut scanned = HashSet::new();
    reader
        .scan(&mut |key, value| {
            assert!(scanned.insert(key.to_vec()), "{names:?}: a scan meets {key:?} twice");
            let value = Some(value);
            let is = |content: &Content| content.entries.get(key).map(Vec::as_slice) == value;
            assert!(is(before) || is(after), "{names:?}: a scan meets {key:?}");
            true
        })
        .expect("a scan");
    for key in before.entries.keys().filter(|key| after.entries.contains_key(*key)) {
        assert!(scanned.contains(key), "{names:?}: a scan misses {key:?}");
    }
}

/// The heir overwrites, removes, inserts and reclaims over several batches.
fn heir_goes_on(region: &RecordingRegion<&HeapRegion>, content: &Content) {
    let mut writer = TableWriter::open(region, 0).expect("the heir opens a recovered table");
    writer.batch_commits = 3;
    let mut keys: Vec<&Vec<u8>> = content.entries.keys().collect();
    keys.sort();
    let mut entries = content.entries.len() as u64;
    for (number, key) in keys.iter().take(6).enumerate() {
        assert!(writer.remove(key).expect("removing always works"));
        entries -= 1;
        match writer.insert(key, &[number as u8; 24]) {
            Ok(replaced) => {
                assert!(!replaced);
                entries += 1;
            }
            Err(WriteError::TableFull { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    for number in 0..8_u8 {
        match writer.insert(&[0xee, number % 3], &[number; 40]) {
            Ok(replaced) => entries += u64::from(!replaced),
            Err(WriteError::TableFull { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let report = table::verify(region).expect("a whole table after the heir's operations");
    assert_eq!(report.entries, entries);
}

fn key(number: u64) -> Vec<u8> {
    let mut key = number.to_le_bytes().to_vec();
    key.truncate(2 + (number % 7) as usize);
    if number % 41 == 40 {
        key.resize(300, 1);
    }
    key
}

fn single(name: &'static str, key: Vec<u8>, value: Option<Vec<u8>>) -> Operation {
    Operation { name, writes: vec![(key, value)], single: true, bequest: None }
}

/// A random operation on keys below `keys`, named by what it does.
fn random_operation(scene: &mut Scene, keys: u64) -> Operation {
    let key = key(scene.random(keys));
    let length =
        [0, 5, 24, 40, 64, 200, 4200][scene.random(7) as usize].min(if keys > 100 { 40 } else { 5000 });
    let value = vec![scene.random(250) as u8; length];
    let there = scene.content.entries.contains_key(&key);
    match scene.random(10) {
        0..5 => single(if there { "overwrite" } else { "insert" }, key, Some(value)),
        5..8 => single(if there { "remove" } else { "remove of nothing" }, key, None),
        8 => Operation { name: "bequest", bequest: Some(value), single: true, ..Operation::default() },
        _ => {
            let mut writes = Vec::new();
            for _ in 0..scene.random(8) {
                let value = vec![scene.random(250) as u8; scene.random(60) as usize];
                let key = self::key(scene.random(keys));
                writes.push((key, (scene.random(3) > 0).then_some(value)));
            }
            Operation { name: "transaction of several", writes, bequest: Some(value), single: false }
        }
    }
}

fn report(scenes: &[Scene]) -> BTreeMap<&'static str, usize> {
    let mut states = BTreeMap::new();
    let mut recoveries: BTreeMap<&str, usize> = BTreeMap::new();
    for scene in scenes {
        for (name, seen) in &scene.seen.0 {
            *states.entry(*name).or_default() += seen.len();
        }
        for (name, count) in &scene.recoveries {
            *recoveries.entry(name).or_default() += count;
        }
    }
    for (name, count) in &states {
        println!("set: {name}: {count} distinct states");
    }
    for (name, count) in &recoveries {
        println!("set: recovery found {name}: {count} times");
    }
    for found in ["clean", "log discarded", "reapplied"] {
        assert!(recoveries.get(found).is_some_and(|count| *count > 0), "recovery never found: {found}");
    }
    states
}

#[test]
fn every_store_of_every_operation() {
    let scenes = [
        random_operations(1),
        random_operations(2),
        growing_and_shrinking(),
        re_inserts(),
        full_table(),
        large_transactions(),
    ];
    let states = report(&scenes);
    for name in [
        "insert",
        "overwrite",
        "remove",
        "re-insert",
        "bequest",
        "transaction of several",
        "large transaction",
        "growth of the index",
        "shrinking of the index",
        "growth of the arena",
        "reclaim of removed entries",
        "reuse (horizon moved)",
        "full table",
        "remove in a full table",
    ] {
        assert!(states.get(name).is_some_and(|count| *count > 0), "no state of: {name}");
    }
}

/// All operations, on few keys, so that every state comes up: removed, reclaimed, inserted again, in and out of order.
fn random_operations(seed: u64) -> Scene {
    let mut scene = Scene::new(1 << 20, seed);
    for _ in 0..250 {
        let operation = random_operation(&mut scene, 30);
        scene.cut(&operation).unwrap();
    }
    scene
}

/// Through the depth at which the window of the tags changes, and back.
fn growing_and_shrinking() -> Scene {
    let mut scene = Scene::new(1 << 20, 3);
    let insert = |number: u64| single("insert", key(number), Some(vec![number as u8; 16]));
    let remove = |number: u64| single("remove", key(number), None);
    // 64 buckets, where the window changes, are reached at 350 entries.
    for number in 0..420 {
        match number {
            0..60 | 330..380 => scene.cut(&insert(number)).unwrap(),
            _ => scene.prepare(&insert(number)).unwrap(),
        }
    }
    for number in 0..420 {
        match number {
            285..300 | 400..420 => scene.cut(&remove(number)).unwrap(),
            _ => scene.prepare(&remove(number)).unwrap(),
        }
    }
    for number in 0..30 {
        scene.cut(&insert(number)).unwrap();
    }
    scene
}

/// A key comes back before its slot was emptied, and after.
fn re_inserts() -> Scene {
    let mut scene = Scene::new(1 << 20, 4);
    for number in 0..12 {
        scene.prepare(&single("insert", key(number), Some(vec![1; 20]))).unwrap();
    }
    for round in 0..20 {
        let again = round % 12;
        scene.cut(&single("remove", key(again), None)).unwrap();
        for other in 0..round % 8 {
            scene.prepare(&single("overwrite", key((again + 1 + other) % 12), Some(vec![2; 20]))).unwrap();
        }
        scene.cut(&single("re-insert", key(again), Some(vec![round as u8; 20]))).unwrap();
    }
    scene
}

/// The last writes that fit, the first that do not, and the way out.
fn full_table() -> Scene {
    let mut scene = Scene::new(table::MIN_BYTES, 5);
    let mut number = 0;
    while scene.prepare(&single("insert", key(number), Some(vec![3; 2000]))).is_ok() {
        number += 1;
    }
    let refused = |scene: &mut Scene, operation: &Operation| {
        let result = scene.cut(operation);
        assert!(matches!(result, Err(WriteError::TableFull { .. })), "{result:?}");
    };
    for length in [2000, 500, 3000] {
        refused(&mut scene, &single("insert", key(number), Some(vec![4; length])));
    }
    // What fits is prepared, and then abandoned for what does not.
    for (gone, round) in [(20, 1), (24, 2), (28, 3)] {
        for gone in gone..gone + 4 {
            scene.prepare(&single("remove", key(gone), None)).unwrap();
        }
        let fits = (gone..gone + 2).map(|back| (key(back), Some(vec![round; 2000])));
        let writes = fits.chain([(key(0), None), (key(number), Some(vec![5; 9000]))]).collect();
        refused(&mut scene, &Operation { name: "transaction of several", writes, ..Operation::default() });
    }
    for number in 0..12 {
        scene.cut(&single("remove in a full table", key(number), None)).unwrap();
    }
    for number in 0..6 {
        scene.cut(&single("insert", key(number), Some(vec![6; 2000]))).unwrap();
    }
    scene
}

/// Hundreds of writes at once, cut here and there.
fn large_transactions() -> Scene {
    let mut scene = Scene::new(2 << 20, 6);
    scene.stride = 61;
    for round in 0..4 {
        let writes = (0..300)
            .map(|number| {
                (key(number * (round + 1) % 500), (number % (round + 2) != 1).then(|| vec![round as u8; 30]))
            })
            .collect::<HashMap<_, _>>();
        let operation = Operation {
            name: "large transaction",
            writes: writes.into_iter().collect(),
            bequest: Some(vec![round as u8; 100]),
            single: false,
        };
        scene.cut(&operation).unwrap();
    }
    scene
}
