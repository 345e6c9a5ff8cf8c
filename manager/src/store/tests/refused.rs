//! Files that are no store, or none for us: refused, with the reason, and left as they are.

use super::model::change;
use super::*;
use heirloom_protocol::table::WriteError;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use redb::{Database, TableDefinition};
use std::fs;

/// A store with some hundred entries, as the bytes of its file.
fn whole() -> (TempDir, PathBuf, Content) {
    let (folder, path, mut store) = store(Kind::OrderedSet);
    let mut content = Content::default();
    for seed in 0..3 {
        let mut checkpoint = store.checkpoint().unwrap();
        change(&mut checkpoint, &mut content, Kind::OrderedSet, 600, &mut SmallRng::seed_from_u64(seed))
            .unwrap();
        checkpoint.bequest(Some(b"position 9")).unwrap();
        content.bequest = Some(b"position 9".to_vec());
        checkpoint.commit(stamp(seed)).unwrap();
    }
    drop(store);
    (folder, path, content)
}

/// Opens and reads it all; the file is as it was before.
fn look(path: &Path) -> Result<Content, StoreError> {
    let before = fs::read(path).unwrap();
    let found = Store::open(path, &sales(Kind::OrderedSet)).and_then(|store| hydrated(&store));
    assert!(fs::read(path).unwrap() == before, "{} was written to", path.display());
    found
}

fn refusal(path: &Path) -> String {
    let error = look(path).unwrap_err().to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    error
}

#[test]
fn what_is_no_store() {
    let (_folder, path, _) = whole();
    for content in [&b""[..], b"key,value\na,1\n", &[0; 100_000]] {
        fs::write(&path, content).unwrap();
        let error = refusal(&path);
        assert!(error.contains("this is no store of Heirloom"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("numbers")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refusal(&path);
    assert!(
        error.contains("it is a database of something else") && error.contains("left as it is"),
        "{error}"
    );
}

#[test]
fn the_store_of_another_table_or_kind() {
    let (_folder, path, _) = whole();
    let before = fs::read(&path).unwrap();
    let cars = Identity { table: "cars".to_owned(), kind: Kind::OrderedSet };
    for (of, words) in
        [(cars, "that of the ordered_set `cars` is wanted"), (sales(Kind::Bag), "that of the bag `sales`")]
    {
        let error = Store::open(&path, &of).unwrap_err().to_string();
        assert!(
            error.contains("is the store of the ordered_set `sales`") && error.contains(words),
            "{error}"
        );
    }
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_newer_layout() {
    let (_folder, path, _) = whole();
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut record = Vec::new();
    block::seal(b"layout", [&(LAYOUT + 1).to_le_bytes()[..]], &mut record);
    transaction.open_table(about::ABOUT).unwrap().insert("layout", record.as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refusal(&path);
    assert!(
        error.contains("layout 2") && error.contains("up to 1") && error.contains("newer version"),
        "{error}"
    );
}

#[test]
fn one_that_is_open_elsewhere() {
    let (_folder, path, _) = whole();
    let open = Store::open(&path, &sales(Kind::OrderedSet)).unwrap();
    let error = refusal(&path);
    assert!(error.contains("another process has this store open"), "{error}");
    drop(open);
    let open = Database::open(&path).unwrap();
    assert!(refusal(&path).contains("another process has this store open"));
    drop(open);
    look(&path).unwrap();
}

#[test]
fn one_that_is_cut_or_damaged_anywhere_gives_all_or_nothing() {
    let (_folder, path, content) = whole();
    assert!(look(&path).unwrap() == content);
    let bytes = fs::read(&path).unwrap();
    let random = &mut SmallRng::seed_from_u64(11);
    let mut refused = 0;
    let mut damaged = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        match look(&path) {
            Ok(found) => assert!(found == content, "something else was found"),
            Err(StoreError::Damaged { .. } | StoreError::Foreign { .. } | StoreError::Io { .. }) => {
                refused += 1
            }
            Err(error) => panic!("{error}"),
        }
    };
    for part in 0..8 {
        damaged(&|bytes| bytes.truncate(bytes.len() * part / 8));
        damaged(&|bytes| bytes[4096..].iter_mut().skip(part).step_by(8).for_each(|byte| *byte ^= 0xa5));
    }
    // One bit each: in what says what the file is, and wherever there is anything.
    for place in 0..320 {
        damaged(&|bytes| bytes[place] ^= 1 << (place % 8));
    }
    let full: Vec<_> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
    for _ in 0..300 {
        let place = full[random.random_range(0..full.len())];
        let bit = random.random_range(0..8);
        damaged(&|bytes| bytes[place] ^= 1 << bit);
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_block_or_a_record_that_went_missing_is_noticed() {
    let (_folder, path, _) = whole();
    let lose = |what: &str| {
        let (_folder, path, _) = whole();
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        match what {
            "a block" => drop(transaction.open_table(about::BLOCKS).unwrap().pop_last().unwrap().unwrap()),
            record => drop(transaction.open_table(about::ABOUT).unwrap().remove(record).unwrap().unwrap()),
        }
        transaction.commit().unwrap();
        drop(database);
        refusal(&path)
    };
    assert!(lose("a block").contains("are not the"));
    assert!(lose("bequest").contains("its records are not of one version"));
    assert!(lose("of").contains("no record `of`"));
    drop(path);
}

#[test]
fn a_table_that_is_too_small_says_which_entry_did_not_fit() {
    let (_folder, path, mut store) = store(Kind::Set);
    let mut checkpoint = store.checkpoint().unwrap();
    for number in 0..300_u32 {
        let value = vec![1; 100_000];
        checkpoint.replace(&number.to_be_bytes(), [(value.as_slice(), Attributes::default())]).unwrap();
    }
    checkpoint.commit(stamp(1)).unwrap();
    let error = hydrated(&store).unwrap_err();
    assert!(matches!(error, StoreError::NotWritten { error: WriteError::TableFull { .. }, .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("{}: entry ", path.display())), "{error}");
}

#[test]
fn a_folder_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = prepare_folder(&file.join("stores")).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}: the folder of durable tables", file.join("stores").display())),
        "{error}"
    );
    let made = folder.path().join("a/b");
    prepare_folder(&made).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&made).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_store_begins_anew_where_its_file_was_moved_away_even_after_a_crash_that_left_both_names() {
    let (folder, path, content) = whole();
    // Between the two names: the file has both.
    fs::hard_link(&path, path.with_extension("redb.new")).unwrap();
    let moved = folder.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    assert_eq!(Store::open(&path, &sales(Kind::OrderedSet)).unwrap().at(), None);
    assert!(look(&moved).unwrap() == content);
}
