//! A snapshot that is taken and read beside an owner that reuses memory: the handshake of R11, and what it is for.

use std::sync::{Arc, Mutex};

use super::gets::{KEY, value, write_of};
use super::scene::{Owner, Scene, explore, options, own};
use crate::table::{PinError, TableReader, pin, unpin};

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

/// With and without a pin, for so long that every block that the model may take has been taken.
fn rehearse(owner: &mut Owner) {
    for _ in 0..6 {
        let words = owner.reader().region().clone();
        let held = pin(&words).unwrap();
        overwrite(owner, 5);
        unpin(&words, held);
        overwrite(owner, 5);
    }
}

#[test]
fn a_snapshot_beside_the_reuse_of_what_it_reads() {
    let scene = Scene::new(options(), |owner| drop(overwrite(owner, 20)), rehearse);
    explore("snapshot beside reuse", 1, move || {
        let words = scene.words();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut owner, versions) = (own(&words), written.clone());
        versions.lock().unwrap().push(owner.version());
        let owning = loom::thread::spawn(move || {
            let overwritten = overwrite(&mut owner, 4);
            versions.lock().unwrap().extend(overwritten);
        });
        let reader = TableReader::open(words.clone()).unwrap();
        let seen = match pin(&words) {
            Ok(pin) => {
                let snapshot = reader.snapshot(pin);
                let found =
                    [(); 2].map(|()| write_of(&snapshot.get(KEY).unwrap().expect("it is there throughout")));
                Some((pin.version(), found))
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
            assert_eq!(found.map(Some), [newest.copied(); 2], "at version {version}, of {written:?}");
        }
    });
}
