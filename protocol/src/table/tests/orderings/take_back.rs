//! A reader beside an owner that dies, the recovery, and the heir: one thread, since each begins after the one before has
//! ended, and the kernel says so (H7).

use super::gets::{KEY, assert_reuses, get, overwrite};
use super::scene::{Owner, Scene, options, own};
use crate::region::{Region, Store};
use crate::table::layout::COMMITTED;
use crate::table::recover;

const PREPARED: u64 = 20;

/// An owner that dies after these stores, and its recovery.
pub(super) fn die_and_recover(stores: Vec<Store>) -> impl Fn(&Owner) + Clone + Send + Sync + 'static {
    move |owner| {
        let words = owner.reader().region();
        stores.iter().for_each(|store| words.store(store.word, store.new));
        recover(words).unwrap();
    }
}

#[test]
fn a_get_beside_a_death_at_each_store_a_recovery_and_an_heir() {
    let die = |owner: &mut Owner| overwrite(owner, PREPARED..PREPARED + 1);
    let whole = Scene::new(options(), |owner| overwrite(owner, 0..PREPARED), die);
    let committed = whole.stores().iter().position(|store| store.word == COMMITTED).expect("a commit");
    for cut in committed - 1..=whole.stores().len() {
        let died = die_and_recover(whole.stores()[..cut].to_vec());
        let take_back = move |owner: &mut Owner| {
            died(owner);
            let words = owner.reader().region().clone();
            let last = own(&words).reader().version();
            overwrite(&mut own(&words), last..last + 3);
        };
        let scene = Scene::new(options(), |owner| overwrite(owner, 0..PREPARED), take_back.clone());
        assert_reuses(&scene, KEY);
        scene.play(&format!("get beside a death at store {cut} and an heir"), take_back, |reader| {
            assert!(PREPARED - 1 <= get(reader));
        });
    }
}
