//! An owner that is killed at any moment, round after round, over one segment: what the next one finds is exactly what
//! the last one committed (contract 2), and each is recovered in the manager's own mapping.
#![cfg(target_os = "linux")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::{Connection, Proof, Segment, Signal};
use heirloom_protocol::table::{self, Recovery, TableOptions, TableReader, TableWriter};
use support::{PATIENCE, alone, expect, say};

const ROUNDS: u64 = 200;

/// Commit number `n` writes this key, so that every key's value is known from the bequest alone.
const KEYS: u64 = 1000;

/// Of varying length, so that entries change their class and memory is used again.
fn value_of(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(1 + (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize)
}

fn work_for_ever(region: MappedRegion, epoch: u64, ready: &Connection) -> ! {
    let mut writer = TableWriter::open(region, epoch).expect("a recovered table");
    let last = writer.reader().bequest().expect("readable");
    let mut n = last.map_or(0, |last| u64::from_le_bytes(last.try_into().expect("eight bytes")));
    say(ready, "open");
    loop {
        n += 1;
        let mut transaction = writer.transaction();
        transaction.insert(&(n % KEYS).to_le_bytes(), &value_of(n)).expect("room");
        // Now and then one is taken away, and is back in the next commit but one.
        if n.is_multiple_of(7) {
            transaction.remove(&((n + 2) % KEYS).to_le_bytes()).expect("removing always works");
        }
        transaction.bequeath(&n.to_le_bytes()).expect("room");
        transaction.commit().expect("room");
    }
}

/// What key number `key` holds after commit `n`.
fn expected(key: u64, n: u64) -> Option<Vec<u8>> {
    let written = n.checked_sub((n + KEYS - key) % KEYS).filter(|written| *written > 0)?;
    // Removed in the one commit that writes the key two places before.
    let removed = (written + KEYS - 2 <= n) && (written + KEYS - 2).is_multiple_of(7);
    (!removed).then(|| value_of(written))
}

#[test]
fn whatever_moment_an_owner_is_killed_at_nothing_is_lost() {
    let _turn = alone();
    let options = TableOptions::set(16 * 1024 * 1024);
    let segment = Segment::create("killed", options.segment_bytes()).expect("a segment");
    let own = Arc::new(segment.map().expect("mapped"));
    table::create(&own, &options).expect("a table");
    let reader = TableReader::open(Arc::clone(&own)).expect("a table");
    let (mut position, mut in_flight) = (0, 0);

    for epoch in 1..=ROUNDS {
        assert_eq!(segment.prove_unwritable().expect("a proof"), Proof::Proven, "round {epoch}");
        table::begin_epoch(&own, epoch).expect("it rises");
        let fresh = segment.fresh_writable().expect("fresh");
        let (ours, theirs) = Connection::pair().expect("a pair");
        let owner = support::fork(|| {
            let region = MappedRegion::writable(fresh).expect("mapped");
            work_for_ever(region, epoch, &theirs)
        });
        expect(&ours, "open");
        // At any moment: this is the thing tested, not something waited for.
        std::thread::sleep(Duration::from_micros(epoch * 7919 % 3000));
        let seen = reader.version();
        owner.kill(Signal::KILL).expect("killed");
        assert!(owner.wait_exit(PATIENCE));

        in_flight += u32::from(table::recover(&own).expect("recovered") != Recovery::Clean);
        let report = table::verify(&own).expect("every word is accounted for");
        assert!(report.version >= seen, "round {epoch}: a commit that was seen is lost");
        let n = reader
            .bequest()
            .expect("readable")
            .map_or(0, |last| u64::from_le_bytes(last.try_into().expect("eight bytes")));
        assert!(n >= position, "round {epoch}: {n} after {position}");
        for key in 0..KEYS {
            let found = reader.get(&key.to_le_bytes()).expect("readable");
            assert_eq!(found, expected(key, n), "round {epoch}: key {key} after commit {n}");
        }
        position = n;
        assert_eq!(owner.end(), -9);
    }
    println!("{position} commits by {ROUNDS} owners, {in_flight} of them killed within one");
    assert!(position > KEYS, "they have worked");
}
