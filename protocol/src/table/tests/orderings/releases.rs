//! Which stores must be release stores: those that, made relaxed, one of these models does not survive.
//!
//! They are the stores that make something reachable, and those after which a reader must see that it is too late. What is
//! stored into memory that is used again is none of them: there, the sequentially consistent fence after the horizon
//! (R11) orders all that follows. That every store is a release store all the same (R5) is for kills: it keeps a compiler from
//! storing in another order.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::gets::{self, KEY, get, overwrite, value, write_of};
use super::scene::{Owner, Reader, Scene, of_kind, options};
use super::{ring, trees};
use crate::table::Kind;
use crate::table::layout::{APPLIED, BEQUEST, RING_LOST, RING_TAIL, ROOT, TREE};

/// The words whose stores must be.
fn needed(
    scene: &Scene,
    act: impl Fn(&mut Owner) + Copy + Send + Sync + 'static,
    look: impl Fn(&Reader) + Clone + Send + Sync + 'static,
) -> BTreeSet<u64> {
    let words: BTreeSet<u64> = scene.stores().iter().map(|store| store.word).collect();
    let fails = |word: &u64| {
        let scene = scene.clone().with_relaxed(*word);
        let play = || scene.play("with a relaxed store", act, look.clone());
        catch_unwind(AssertUnwindSafe(play)).is_err()
    };
    words.into_iter().filter(fails).collect()
}

#[test]
fn an_overwrite_stores_the_slot_so() {
    let act = |owner: &mut Owner| overwrite(owner, 20..23);
    let scene = Scene::new(options(), |owner| overwrite(owner, 0..20), act);
    let slot = scene.ask(|reader| gets::find(reader, KEY).slot.offset_word());
    let look = |reader: &Reader| assert!((19..23).contains(&get(reader)));
    assert_eq!(needed(&scene, act, look), [slot].into());
}

#[test]
fn a_bequest_is_stored_so() {
    let bequeath = |owner: &mut Owner, write| owner.bequeath(&value(write)).unwrap();
    let act = move |owner: &mut Owner| (20..23).for_each(|write| bequeath(owner, write));
    let scene = Scene::new(options(), move |owner| (0..20).for_each(|write| bequeath(owner, write)), act);
    let look = |reader: &Reader| {
        write_of(&reader.bequest().unwrap().expect("it is there throughout"));
    };
    assert_eq!(needed(&scene, act, look), [BEQUEST].into());
}

fn look_for(number: usize) -> impl Fn(&Reader) + Clone {
    move |reader| {
        let key = gets::crowd(reader).swap_remove(number);
        assert_eq!(write_of(&reader.get(&key).unwrap().expect("it is there throughout")), number as u64);
    }
}

#[test]
fn a_split_stores_the_root_and_its_bucket_so() {
    let scene = Scene::new(options(), gets::fill, gets::split);
    let bucket = scene.ask(|reader| reader.layout().bucket(0));
    // One that goes to the twin: the slot that it loses. One from the overflow bucket: the tag of its new slot, and the link.
    assert_eq!(needed(&scene, gets::split, look_for(2)), [ROOT, bucket + 4].into());
    assert_eq!(needed(&scene, gets::split, look_for(8)), [ROOT, bucket + 2, bucket + 7].into());
}

#[test]
fn a_merge_stores_the_root_so() {
    let scene = Scene::new(options(), gets::thin_out, gets::merge);
    assert_eq!(needed(&scene, gets::merge, look_for(2)), [ROOT].into());
}

#[test]
fn a_tree_stores_permutations_and_pointers_so() {
    let look = |number: u64, is_there: bool| {
        move |reader: &Reader| {
            let found = reader.get(&trees::key(number)).unwrap();
            assert!(found.map_or(!is_there, |found| write_of(&found) == number));
        }
    };
    let kind = of_kind(Kind::OrderedSet);
    let act = |owner: &mut Owner| trees::insert(owner, [35]);
    let scene = Scene::new(kind.clone(), |owner| trees::insert(owner, [10, 20, 30, 40]), act);
    let permutation = scene.ask(|reader| trees::leaf_of(reader, 40) + 1);
    assert_eq!(needed(&scene, act, look(35, false)), [permutation].into());

    let scene = Scene::new(kind.clone(), trees::fill, trees::split);
    assert_eq!(needed(&scene, trees::split, look(40, true)), [TREE].into());

    let scene = Scene::new(kind, trees::use_up_a_leaf, trees::copy_the_leaf);
    let child = scene.ask(|reader| trees::root_of(reader) + 33);
    assert_eq!(needed(&scene, trees::copy_the_leaf, look(40, true)), [child].into());
}

/// The tail makes a record valid. Whoever sees a version must find its records; and whoever sees a word of a new record where
/// an old one was must see that the old one is given up.
#[test]
fn the_ring_stores_its_tail_so() {
    let scene = ring::scene();
    let seen = scene.word(RING_LOST);
    let mut needed = needed(&scene, ring::act, move |reader| ring::follow(reader, seen));
    assert!(needed.remove(&APPLIED) && needed.remove(&RING_TAIL), "{needed:?}");
    let records = scene.ask(|reader| reader.layout().ring);
    assert!(needed.iter().all(|word| (records.start..records.end()).contains(word)), "{needed:?}");
    assert!(!needed.is_empty());
}
