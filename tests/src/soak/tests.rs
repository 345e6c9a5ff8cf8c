//! That the soak can fail: whatever is done to a table behind the ledger's back is told.

use super::content::Content;
use super::model::{Change, Commit, Model, Slot};
use super::notes::{BYTES, Count, Ledger, Notes};
use super::owner::settle;
use super::perform::perform;
use super::plan;
use super::tables::{FIRST_WRITE, TABLES, Table};
use super::value::{Entry, bytes_of};
use heirloom_protocol::region::HeapRegion;
use heirloom_worker::testing;
use heirloom_worker::{Kind, Writer};
use std::ops::ControlFlow;
use std::sync::Arc;

const SEED: u64 = 11;
const NOW_MS: u64 = 0;
const COMMITS: u64 = 400;

/// A table after some hundreds of commits, all noted.
struct Scene {
    writer: Writer<u64, [u8]>,
    ledger: Ledger<Arc<HeapRegion>>,
    model: Model,
}

impl Scene {
    fn of(table: Table) -> Self {
        let options = match table.kind {
            Kind::Set => testing::Table::set("soaked"),
            Kind::OrderedSet => testing::Table::ordered_set("soaked"),
            Kind::Bag => testing::Table::bag("soaked"),
            _ => testing::Table::duplicate_bag("soaked"),
        };
        let (writer, _) = testing::table::<u64, [u8]>(options.max_bytes(8 << 20));
        let notes = Notes::new(Arc::new(HeapRegion::new(BYTES / 8)));
        let mut scene = Self { writer, ledger: notes.ledger(table), model: Model::empty(table) };
        for _ in 0..COMMITS {
            let commit = scene.next();
            scene.ledger.intend(&commit);
            scene.perform(&commit);
            scene.note(&commit);
        }
        scene
    }

    /// The next commit that cannot expire.
    fn next(&self) -> Commit {
        let next = |attempt| plan::next(&self.model, self.ledger.returned() + 1, attempt, SEED, NOW_MS);
        let expires = |change: &Change| self.model.table.expires(self.model.table.key_of(change.slot));
        let lasting = (0..).map(next).find(|commit| !commit.changes.iter().any(expires));
        lasting.expect("most do not")
    }

    fn perform(&mut self, commit: &Commit) {
        perform(&mut self.writer, &self.model, commit, NOW_MS).expect("there is room");
    }

    fn note(&mut self, commit: &Commit) {
        self.ledger.returns(commit);
        self.ledger.settle(commit);
        self.model.apply(commit);
    }

    /// What an heir counts: lost, duplicated, half, torn; and it is told once.
    fn told(&self) -> [u64; 4] {
        let content = Content::gather(self.model.table, |each| {
            let scanned = self.writer.scan(|key, value| {
                each(key, value);
                ControlFlow::<()>::Continue(())
            });
            scanned.map(drop)
        });
        let content = content.expect("it is whole");
        self.ledger.add(Count::Torn, content.torn);
        let bequest = self.writer.bequest::<u64>().expect("it is whole").unwrap_or(0);
        let counts =
            || [Count::Lost, Count::Duplicated, Count::Half, Count::Torn].map(|count| self.ledger.get(count));
        settle(&content, bequest, &self.ledger, NOW_MS).expect("it is only compared");
        let told = counts();
        settle(&content, bequest, &self.ledger, NOW_MS).expect("it is only compared");
        assert_eq!(told, counts());
        assert!(self.ledger.quiet().is_some());
        told
    }
}

#[test]
fn what_all_commits_leave_is_what_must_be_there() {
    for table in TABLES {
        let scene = Scene::of(table);
        assert_eq!(scene.told(), [0; 4], "{table:?}");
        assert_eq!(scene.ledger.model(), scene.model);
        assert_eq!(scene.ledger.returned(), FIRST_WRITE + COMMITS - 1);
    }
}

#[test]
fn a_commit_in_flight_is_there_or_not_there() {
    for table in TABLES {
        for is_made in [false, true] {
            let mut scene = Scene::of(table);
            let (before, commit) = (scene.ledger.returned(), scene.next());
            scene.ledger.intend(&commit);
            if is_made {
                scene.perform(&commit);
            }
            assert_eq!(scene.told(), [0; 4], "{table:?}, {commit:?}");
            assert_eq!(scene.ledger.returned(), before + u64::from(is_made));
        }
    }
}

#[test]
fn a_commit_that_returned_and_was_not_settled_must_be_there() {
    for table in TABLES {
        let scene = Scene::of(table);
        let commit = scene.next();
        scene.ledger.intend(&commit);
        scene.ledger.returns(&commit);
        assert_ne!(scene.told()[0], 0, "{table:?}: it was never made");
        let mut scene = Scene::of(table);
        scene.ledger.intend(&commit);
        scene.perform(&commit);
        scene.ledger.returns(&commit);
        assert_eq!(scene.told(), [0; 4], "{table:?}");
    }
}

#[test]
fn a_commit_that_is_missing_is_lost() {
    for table in TABLES {
        let mut scene = Scene::of(table);
        let commit = scene.next();
        scene.ledger.intend(&commit);
        scene.note(&commit);
        assert_ne!(scene.told()[0], 0, "{table:?}, {commit:?}");
    }
}

#[test]
fn a_commit_that_is_there_twice_is_told() {
    let mut scene = Scene::of(TABLES[3]);
    let table = scene.model.table;
    let mut used = table.plain_slots().filter(|slot| scene.model.slot(*slot).is_used());
    let has_room = |slot: &u64| scene.model.entries_of(table.key_of(*slot)).len() < 4;
    let slot = used.find(has_room).expect("not all are full");
    let key = table.key_of(slot);
    let bytes = bytes_of(table, key, Entry { write: scene.model.slot(slot).write, amount: 0 });
    scene.writer.insert(&key, &bytes).expect("there is room");
    assert_eq!(scene.told(), [0, 1, 0, 0]);
}

#[test]
fn half_of_a_commit_is_told() {
    for table in TABLES {
        let mut scene = Scene::of(table);
        let free = scene.model.table.plain_slots().filter(|slot| !scene.model.slot(*slot).is_used());
        let number = scene.ledger.returned() + 1;
        // Two slots of two keys.
        let changes =
            free.step_by(9).take(2).map(|slot| Change { slot, to: Slot { write: number, extra: 0 } });
        let whole = Commit { number, changes: changes.collect(), ..Commit::default() };
        scene.ledger.intend(&whole);
        scene.perform(&Commit { changes: whole.changes[..1].to_vec(), ..whole.clone() });
        assert_eq!(scene.told(), [0, 0, 1, 0], "{table:?}");
    }
}

#[test]
fn a_value_that_is_not_whole_is_told() {
    let mut scene = Scene::of(TABLES[0]);
    let slot =
        scene.model.table.plain_slots().find(|slot| scene.model.slot(*slot).is_used()).expect("one is");
    scene.writer.insert(&slot, b"torn").expect("there is room");
    assert_eq!(scene.told()[3], 1);
}
