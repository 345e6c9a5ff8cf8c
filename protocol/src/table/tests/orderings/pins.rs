//! A snapshot that is taken and read beside an owner that reuses memory: the handshake of R11, by itself, and what it is for.
//!
//! Here both sides store and load, so who runs when matters, and loom needs preemptions: each side is interrupted as often as
//! the number says, at any of its loads, stores and fences. A missing fence needs none: a load may take an old store.

use std::sync::{Arc, Mutex};

use super::gets::{KEY, value, write_of};
use super::scene::{Owner, Scene, Words, explore, options, own};
use crate::region::Region;
use crate::table::layout::{APPLIED, HORIZON};
use crate::table::pin::KnownPins;
use crate::table::versions::AsOf;
use crate::table::{Pin, PinError, TableReader, pin, unpin};

/// The owner's half, for some commits that change nothing: what it knows after each.
fn move_horizon(words: &Words, commits: u64) -> Vec<(u64, KnownPins)> {
    let mut last = words.load(HORIZON);
    let mut known: Vec<(u64, KnownPins)> = vec![(last, KnownPins::default())];
    for _ in 0..commits {
        words.store(APPLIED, last + 1);
        let before = known.last().map(|(_, pins)| pins);
        let pins = KnownPins::after_horizon(words, last + 1, last, before).expect("it knows its pins");
        last += 1;
        known.push((last, pins));
    }
    known
}

/// A pin that holds is known wherever the horizon is beyond it.
#[test]
fn the_two_halves_of_the_handshake() {
    let rehearse = |owner: &mut Owner| {
        let words = owner.reader().region();
        move_horizon(words, 1);
        unpin(words, pin(words).unwrap());
    };
    let prepare = |owner: &mut Owner| {
        overwrite(owner, 3);
        owner.move_horizon();
    };
    let scene = Scene::new(options(), prepare, rehearse);
    explore("handshake", 4, move || {
        let words = scene.words();
        let owners = words.clone();
        let known = Arc::new(Mutex::new(Vec::new()));
        let result = known.clone();
        let owning = loom::thread::spawn(move || *result.lock().unwrap() = move_horizon(&owners, 3));
        let held = pin(&words);
        owning.join().unwrap();
        match held {
            Ok(pin) => assert_known(pin, &known.lock().unwrap()),
            Err(error) => assert_eq!(error, PinError::Overtaken),
        }
    });
}

fn assert_known(pin: Pin, known: &[(u64, KnownPins)]) {
    for (horizon, pins) in known.iter().filter(|(horizon, _)| *horizon > pin.version()) {
        assert_eq!(pins.newest_below(*horizon), Some(pin), "the owner at {horizon} does not know {pin:?}");
    }
}

/// Overwrites the key; the value says by which version. Says these versions.
fn overwrite(owner: &mut Owner, writes: usize) -> Vec<u64> {
    let one = |_| {
        let version = owner.version() + 1;
        // A look at the pins comes first, which may be a commit of its own.
        owner.insert(KEY, &value(version)).unwrap();
        version
    };
    (0..writes).map(one).collect()
}

/// With and without a pin, by owners that find it and one that meets it, for so long that every block that the model may
/// take has been taken.
fn rehearse(owner: &mut Owner) {
    for _ in 0..6 {
        let words = owner.reader().region().clone();
        let held = pin(&words).unwrap();
        overwrite(owner, 2);
        overwrite(&mut own(&words), 3);
        unpin(&words, held);
        *owner = own(&words);
        overwrite(owner, 3);
    }
}

/// As few as reuse the first entry, which a pin may want: it is the only block that was ever freed.
const WRITES: usize = 2;

#[test]
fn a_snapshot_beside_the_reuse_of_what_it_reads() {
    let prepare = |owner: &mut Owner| {
        // The model's owner is the first to look at the pins, before it writes.
        owner.batch_commits = u64::MAX;
        overwrite(owner, 1);
    };
    let scene = Scene::new(options(), prepare, rehearse);
    explore("snapshot beside reuse", 2, move || {
        let words = scene.words();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (owners, versions) = (words.clone(), written.clone());
        versions.lock().unwrap().push(scene.word(APPLIED));
        let owning = loom::thread::spawn(move || {
            let overwritten = overwrite(&mut own(&owners), WRITES);
            versions.lock().unwrap().extend(overwritten);
        });
        let seen = match pin(&words) {
            Ok(pin) => {
                let reader = TableReader::open(words).unwrap();
                let mut found = Vec::new();
                let there = reader.read_as_of(AsOf::Version(pin), KEY, &mut found).unwrap();
                assert!(there.is_some(), "it is there throughout");
                Some((pin.version(), write_of(&found)))
            }
            Err(error) => {
                assert_eq!(error, PinError::Overtaken);
                None
            }
        };
        owning.join().unwrap();
        if let Some((version, found)) = seen {
            let written = written.lock().unwrap();
            let newest = written.iter().rfind(|written| **written <= version);
            assert_eq!(Some(&found), newest, "at version {version}, of {written:?}");
        }
    });
}
