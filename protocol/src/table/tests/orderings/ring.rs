//! Whoever follows the changes, beside an owner that overwrites the oldest of them.

use super::scene::{Owner, Reader, Scene, options};
use crate::region::Region;
use crate::table::layout::{FOLLOWED, RING_LOST, RING_LOW, RING_TAIL};
use crate::table::{Changes, FollowError};

/// The smallest ring there can be.
const WORDS: u64 = 512;
/// Every key is overwritten in turn, by a commit each.
const KEYS: u64 = 4;
/// Words of a record with the shortest of the keys.
const SHORTEST_RECORD: u64 = 7;

/// Each of another length, and of one letter, so that one put together from two shows.
fn key(version: u64) -> Vec<u8> {
    let number = version % KEYS;
    vec![b'a' + number as u8; 48 + 8 * number as usize]
}

fn write(owner: &mut Owner, commits: u64) {
    for _ in 0..commits {
        let version = owner.version() + 1;
        owner.insert(&key(version), b"").unwrap();
        assert_eq!(owner.version(), version, "one commit a write");
    }
}

/// The keys that changed after one version, up to another, each once.
fn expected(seen: u64, until: u64) -> Vec<Vec<u8>> {
    (seen.max(until.saturating_sub(KEYS)) + 1..=until).map(key).collect()
}

/// The first needs the place of the oldest records, and gives it up.
pub(super) fn act(owner: &mut Owner) {
    write(owner, 2);
}

pub(super) fn scene() -> Scene {
    let prepare = |owner: &mut Owner| {
        owner.reader().region().store(FOLLOWED, 1);
        let region = owner.reader().region().clone();
        while region.load(RING_LOW) == 0
            || region.load(RING_TAIL) + SHORTEST_RECORD <= region.load(RING_LOW) + WORDS
        {
            write(owner, 1);
        }
    };
    let scene = Scene::with_ring(options(), WORDS, prepare, act);
    assert!(scene.stores().iter().any(|store| store.word == RING_LOW), "nothing is given up");
    scene
}

#[test]
fn whoever_follows_beside_the_overwriting_of_what_it_reads() {
    let scene = scene();
    // The oldest that the ring had at first.
    let seen = scene.word(RING_LOST);
    scene.play("changes beside the ring's end", act, move |reader| follow(reader, seen));
}

/// Either what changed after that version, or that it is not there any more.
pub(super) fn follow(reader: &Reader, seen: u64) {
    let mut changes = Changes::default();
    match reader.changes(reader.follow_from(seen), u64::MAX, &mut changes) {
        Ok(cursor) => {
            let told: Vec<_> = changes.keys().map(<[u8]>::to_vec).collect();
            assert_eq!(told, expected(seen, cursor.version()), "changes after {seen}");
        }
        Err(error) => assert_eq!(error, FollowError::Overtaken { seen }),
    }
}
