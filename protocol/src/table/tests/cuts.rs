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
use crate::table::layout::{
    APPLIED, COUNTS, Counts, FREE_SPANS, HORIZON, NEXT_SPAN, ROOT, TREE, TREE_NODES, TreeNodes, queue_word,
};
use crate::table::ordered::{Span, leaf_class};
use crate::table::versions::AsOf;
use crate::table::{
    self, Change, Kind, Modify, Order, Recovery, TableOptions, TableReader, TableWriter, WriteError,
};

type Map = HashMap<Vec<u8>, Vec<u8>>;
type Live = Arc<RecordingRegion<HeapRegion>>;

/// What a table holds: its entries, by the keys that its index has, and its bequest.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Content {
    pub(super) entries: Map,
    bequest: Option<Vec<u8>>,
}

/// One operation: the writes of a transaction (one write outside of one, where `single`).
#[derive(Debug, Clone, Default)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) bequest: Option<Vec<u8>>,
    pub(super) single: bool,
    /// All that was there before goes.
    pub(super) clears: bool,
    /// The writes look at what is there first, and what they insert expires some time.
    pub(super) looks: bool,
}

/// The distinct states seen, by operation: a hash of all words each.
#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, HashSet<u64>>);

/// A table whose every store is tried.
pub(super) struct Scene {
    pub(super) kind: Kind,
    live: Live,
    pub(super) writer: TableWriter<Live>,
    /// The same words, some stores behind.
    image: HeapRegion,
    image_hash: u64,
    pub(super) content: Content,
    seen: Seen,
    recoveries: HashMap<&'static str, usize>,
    /// Every how many stores of a long operation a cut is tried.
    pub(super) stride: usize,
    random: u64,
}

impl Scene {
    pub(super) fn new(kind: Kind, max_bytes: u64, seed: u64) -> Self {
        let options = TableOptions { seed, reserve_bytes: max_bytes, ..TableOptions::new(kind, max_bytes) };
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
            kind,
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

    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// Carries operations out without trying their cuts.
    pub(super) fn prepare(&mut self, operation: &Operation) -> Result<(), WriteError> {
        let result = carry_out(&mut self.writer, operation).map(drop);
        for store in self.live.take() {
            self.step(store);
        }
        if result.is_ok() {
            self.content = self.after(operation);
        }
        result
    }

    /// What the table holds after an operation that was carried out. Of a bag, that is read: which composite keys its
    /// objects get is said by the bag itself, and whether it is right by the tests of bags.
    fn after(&self, operation: &Operation) -> Content {
        let mut content = after(&self.content, operation);
        if self.kind.is_bag() {
            content.entries.clear();
            visit(&TableReader::open(&self.live).unwrap(), Order::Ascending, &mut |key, value| {
                content.entries.insert(key.to_vec(), value.to_vec());
            });
        }
        content
    }

    fn step(&mut self, store: Store) {
        self.image_hash ^= mix(store.word, store.old) ^ mix(store.word, store.new);
        self.image.store(store.word, store.new);
    }

    /// Carries an operation out and tries each of its cuts.
    pub(super) fn cut(&mut self, operation: &Operation) -> Result<(), WriteError> {
        let version = self.writer.version();
        let before = self.content.clone();
        let (root, spans, horizon) =
            (self.live.load(ROOT), self.live.load(NEXT_SPAN), self.live.load(HORIZON));
        let counts = Counts::from_word(self.live.load(COUNTS));
        let tree = Shape::of(&self.live);
        let (free_spans, phase) = (self.live.load(FREE_SPANS), self.writer.compaction.phase_name());
        let result = carry_out(&mut self.writer, operation);
        // The index may have grown before a large transaction's own commit.
        let version = result.as_ref().map_or(version, |own| own.map_or(version, |own| own.saturating_sub(1)));
        let result = result.map(drop);
        let stores = self.live.take();
        let after = if result.is_ok() { self.after(operation) } else { before.clone() };

        let mut names = vec![operation.name];
        let (buckets, now) = (root as u32, self.live.load(ROOT) as u32);
        let new_counts = Counts::from_word(self.live.load(COUNTS));
        names.extend((now > buckets).then_some("growth of the index"));
        names.extend((now < buckets).then_some("shrinking of the index"));
        names.extend((self.live.load(NEXT_SPAN) > spans).then_some("growth of the arena"));
        names.extend((self.live.load(HORIZON) > horizon).then_some("reuse (horizon moved)"));
        names.extend((new_counts.slots < counts.slots).then_some("reclaim of removed entries"));
        names.extend(matches!(result, Err(WriteError::TableFull { .. })).then_some("full table"));
        names.extend(phase);
        names.extend((self.live.load(FREE_SPANS) < free_spans).then_some("use of free spans"));
        names.extend(tree.what_became_of_it(&Shape::of(&self.live)));

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

        // Where memory was short, commits of housekeeping came before the operation's own.
        let stands = self.image.load(APPLIED) > version && holds(&self.image, after);
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

/// What the ordered index looks like from far.
struct Shape {
    nodes: TreeNodes,
    height: u64,
    leaves_freed: u64,
}

impl Shape {
    fn of<R: Region>(region: &R) -> Self {
        let nodes = TreeNodes::from_word(region.load(TREE_NODES));
        Self {
            nodes,
            height: region.load(TREE) >> 32,
            leaves_freed: region.load(queue_word(leaf_class())) >> 32,
        }
    }

    fn what_became_of_it(&self, now: &Self) -> Vec<&'static str> {
        let (leaves, inners) =
            (now.nodes.leaves.cmp(&self.nodes.leaves), now.nodes.inners.cmp(&self.nodes.inners));
        let height = now.height.cmp(&self.height);
        let mut names = Vec::new();
        names.extend(leaves.is_gt().then_some("split of a leaf"));
        names.extend(leaves.is_lt().then_some("end of a leaf"));
        names.extend((leaves.is_eq() && now.leaves_freed != self.leaves_freed).then_some("copy of a leaf"));
        names.extend((inners.is_gt() && height.is_eq()).then_some("split of an inner node"));
        names.extend((inners.is_lt() && height.is_eq()).then_some("end of an inner node"));
        names.extend((height.is_gt() && self.nodes.leaves > 0).then_some("growth of the root"));
        names.extend(height.is_lt().then_some("lowering of the root"));
        names
    }
}

/// Visits all entries by the keys that the index has: those of bags are composite.
fn visit<R: Region>(reader: &TableReader<R>, order: Order, each: &mut dyn FnMut(&[u8], &[u8])) {
    let each = &mut |key: &[u8], value: &[u8], _| {
        each(key, value);
        true
    };
    let kind = reader.layout().kind;
    if kind.is_ordered() {
        reader.walk(AsOf::Newest, Span::ALL, order, usize::MAX, each).expect("a walk");
    } else {
        reader.scan_attributed(each).expect("a scan");
    }
}

/// The value of a key that the index has.
fn get<R: Region>(reader: &TableReader<R>, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let found = match reader.layout().kind {
        Kind::Bag | Kind::DuplicateBag => reader.read_by_index_key(AsOf::Newest, key, &mut value),
        _ => reader.read_into(key, &mut value),
    };
    found.expect("a get").map(|_| value)
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
    if operation.single && operation.clears {
        return writer.clear().map(|_| None);
    }
    if operation.single && operation.looks {
        for (key, value) in &operation.writes {
            writer.modify(key, |_, new| change(value.as_deref(), new))?;
        }
        return Ok(None);
    }
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
    if operation.clears {
        transaction.clear();
    }
    for (key, value) in &operation.writes {
        match value {
            _ if operation.looks => transaction.modify(key, |_, new| change(value.as_deref(), new))?,
            Some(value) => transaction.insert(key, value)?,
            None => transaction.remove(key)?,
        }
    }
    if let Some(bequest) = &operation.bequest {
        transaction.bequeath(bequest)?;
    }
    transaction.commit().map(Some)
}

/// A value that expires when no test runs any more.
fn change(value: Option<&[u8]>, new: &mut Vec<u8>) -> (Change, ()) {
    let Some(value) = value else { return (Change::Remove, ()) };
    new.extend_from_slice(value);
    (Change::PutUntil(u64::MAX), ())
}

fn after(before: &Content, operation: &Operation) -> Content {
    let mut content = before.clone();
    if operation.clears {
        content.entries.clear();
    }
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

fn holds(image: &HeapRegion, content: &Content) -> bool {
    let reader = TableReader::open(image).unwrap();
    let mut entries = Map::new();
    visit(&reader, Order::Ascending, &mut |key, value| {
        entries.insert(key.to_vec(), value.to_vec());
    });
    entries == content.entries && reader.bequest().unwrap() == content.bequest
}

/// Each key, and the bequest, is as in one or the other. An entry that neither has is not there.
fn readers_see(image: &HeapRegion, before: &Content, after: &Content, names: &[&'static str]) {
    let reader = TableReader::open(image).expect("a reader opens a table whatever its owner was doing");
    for key in
        before.entries.keys().chain(after.entries.keys().filter(|key| !before.entries.contains_key(*key)))
    {
        let found = get(&reader, key);
        assert!(
            found.as_ref() == before.entries.get(key) || found.as_ref() == after.entries.get(key),
            "{names:?}: {key:?} is {found:?}, was {:?}, will be {:?}",
            before.entries.get(key),
            after.entries.get(key),
        );
    }
    let bequest = reader.bequest().expect("the bequest");
    assert!(bequest == before.bequest || bequest == after.bequest, "{names:?}: bequest {bequest:?}");
    let is_ordered = reader.layout().kind.is_ordered();
    for order in [Order::Ascending, Order::Descending].into_iter().take(if is_ordered { 2 } else { 1 }) {
        let mut scanned = HashSet::new();
        let mut last: Option<Vec<u8>> = None;
        visit(&reader, order, &mut |key, value| {
            assert!(scanned.insert(key.to_vec()), "{names:?}: a scan meets {key:?} twice");
            let value = Some(value);
            let is = |content: &Content| content.entries.get(key).map(Vec::as_slice) == value;
            assert!(is(before) || is(after), "{names:?}: a scan meets {key:?}");
            let in_order = last.as_ref().is_none_or(|last| (**last < *key) == (order == Order::Ascending));
            assert!(!is_ordered || in_order, "{names:?}: a scan meets {key:?} after {last:?}");
            last = Some(key.to_vec());
        });
        for key in before.entries.keys().filter(|key| after.entries.contains_key(*key)) {
            assert!(scanned.contains(key), "{names:?}: a scan misses {key:?}");
        }
    }
}

/// The heir overwrites, removes, inserts and reclaims over several batches.
fn heir_goes_on(region: &RecordingRegion<&HeapRegion>, content: &Content) {
    let mut writer = TableWriter::open(region, 0).expect("the heir opens a recovered table");
    writer.batch_commits = 3;
    let mut keys: Vec<Vec<u8>> = content.entries.keys().cloned().collect();
    keys.sort();
    let mut entries = content.entries.len() as u64;
    if writer.reader().layout().kind.is_bag() {
        // By the keys that users know.
        keys.clear();
        writer
            .reader()
            .scan(&mut |key, _| {
                keys.push(key.to_vec());
                true
            })
            .expect("a scan");
        keys.dedup();
    }
    for (number, key) in keys.iter().take(6).enumerate() {
        entries -= writer.reader().count(key).expect("a count");
        assert!(writer.remove(key).expect("removing always works"));
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

pub(super) fn key(number: u64) -> Vec<u8> {
    let mut key = number.to_le_bytes().to_vec();
    key.truncate(2 + (number % 7) as usize);
    if number % 41 == 40 {
        key.resize(300, 1);
    }
    key
}

pub(super) fn single(name: &'static str, key: Vec<u8>, value: Option<Vec<u8>>) -> Operation {
    Operation { name, writes: vec![(key, value)], single: true, ..Operation::default() }
}

/// A random operation on keys below `keys`, named by what it does.
pub(super) fn random_operation(scene: &mut Scene, keys: u64) -> Operation {
    let key = key(scene.random(keys));
    let length =
        [0, 5, 24, 40, 64, 200, 4200][scene.random(7) as usize].min(if keys > 100 { 40 } else { 5000 });
    let value = vec![scene.random(250) as u8; length];
    let there = scene.writer.reader().contains(&key).unwrap();
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
            Operation { name: "transaction of several", writes, bequest: Some(value), ..Operation::default() }
        }
    }
}

pub(super) fn report(scenes: &[Scene]) -> BTreeMap<&'static str, usize> {
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
    let kind = scenes[0].kind.name();
    for (name, count) in &states {
        println!("{kind}: {name}: {count} distinct states");
    }
    for (name, count) in &recoveries {
        println!("{kind}: recovery found {name}: {count} times");
    }
    for found in ["clean", "log discarded", "reapplied"] {
        assert!(recoveries.get(found).is_some_and(|count| *count > 0), "recovery never found: {found}");
    }
    states
}

#[test]
fn every_store_of_every_operation() {
    let scenes = [
        random_operations(Kind::Set, 1),
        random_operations(Kind::Set, 2),
        growing_and_shrinking(),
        re_inserts(Kind::Set),
        full_table(Kind::Set),
        large_transactions(Kind::Set),
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
pub(super) fn random_operations(kind: Kind, seed: u64) -> Scene {
    let mut scene = Scene::new(kind, 1 << 20, seed);
    for _ in 0..250 {
        let operation = random_operation(&mut scene, 30);
        scene.cut(&operation).unwrap();
    }
    scene
}

/// Through the depth at which the window of the tags changes, and back.
fn growing_and_shrinking() -> Scene {
    let mut scene = Scene::new(Kind::Set, 1 << 20, 3);
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
pub(super) fn re_inserts(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind, 1 << 20, 4);
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
pub(super) fn full_table(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind, table::MIN_BYTES, 5);
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
pub(super) fn large_transactions(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind, 2 << 20, 6);
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
            ..Operation::default()
        };
        scene.cut(&operation).unwrap();
    }
    scene
}
