//! A table is handed on only when the kernel says that nobody can write it (rules H7 and H8): with real processes, by
//! every way that one can hold it.
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::{AsFd, AsRawFd};

use heirloom_protocol::region::{MappedRegion, Region};
use heirloom_protocol::sys::segment::SEGMENT_UNIT_BYTES;
use heirloom_protocol::sys::writers::writers_of;
use heirloom_protocol::sys::{Connection, Process, Proof, ProofError, Segment};
use rustix::process::Signal;
use support::{Actor, alone, expect, hear, role, say, start};

fn segment() -> Segment {
    let segment = Segment::create("lease", SEGMENT_UNIT_BYTES).expect("a segment");
    assert_free(&segment);
    segment
}

#[track_caller]
fn assert_free(segment: &Segment) {
    match segment.prove_unwritable() {
        Ok(Proof::Proven) => {}
        other => panic!("nobody can write, yet: {other:?}; {:?}", writers_of(segment, &[])),
    }
}

#[track_caller]
fn assert_held(segment: &Segment) {
    match segment.prove_unwritable() {
        Err(ProofError::StillWritable) => {}
        other => panic!("somebody can write, yet: {other:?}"),
    }
}

/// Sends a worker its fresh description and closes the own one, as the manager does for a transfer.
fn grant(segment: &Segment, worker: &Actor, what: &str) {
    let fresh = segment.fresh_writable().expect("fresh");
    worker.connection.send(what.as_bytes(), Some(fresh.as_fd())).expect("sent");
}

/// What the workers of this file do: what they are told.
fn be_a_worker(connection: &Connection) {
    let mut region = None;
    let mut descriptor = None;
    loop {
        let (order, received) = hear(connection);
        let granted = received.descriptors.into_iter().next();
        match order.as_str() {
            "map" => region = Some(MappedRegion::writable(granted.expect("a descriptor")).expect("mapped")),
            "map read-only" => region = Some(MappedRegion::read_only(granted.expect("one")).expect("mapped")),
            "keep the descriptor" => descriptor = granted,
            "unmap" => drop(region.take()),
            "close" => drop(descriptor.take()),
            "fork" => {
                let child = support::fork(|| {
                    loop {
                        std::thread::park();
                    }
                });
                say(connection, &child.pid().to_string());
                // It is to outlive this process.
                std::mem::forget(child);
                continue;
            }
            other => panic!("an unknown order: {other}"),
        }
        say(connection, "done");
    }
}

fn order(worker: &Actor, what: &str) {
    say(&worker.connection, what);
    expect(&worker.connection, "done");
}

#[test]
fn an_owner_holds_the_table_until_it_unmaps() {
    if let Some((_, connection)) = role() {
        return be_a_worker(&connection);
    }
    let _turn = alone();
    let segment = segment();
    let worker = start("an_owner_holds_the_table_until_it_unmaps", "worker");
    grant(&segment, &worker, "map");
    assert_held(&segment);
    expect(&worker.connection, "done");
    assert_held(&segment);
    // It says that it has released the table, and has it mapped all the same.
    assert_held(&segment);
    let writers = writers_of(&segment, &[std::process::id()]);
    assert_eq!(
        writers.iter().map(|writer| (writer.pid, writer.mapped)).collect::<Vec<_>>(),
        [(worker.child.id(), true)]
    );
    order(&worker, "unmap");
    assert_free(&segment);
    assert_eq!(writers_of(&segment, &[std::process::id()]), []);
}

#[test]
fn a_descriptor_counts_like_a_mapping() {
    if let Some((_, connection)) = role() {
        return be_a_worker(&connection);
    }
    let _turn = alone();
    let segment = segment();
    let worker = start("a_descriptor_counts_like_a_mapping", "worker");
    grant(&segment, &worker, "keep the descriptor");
    expect(&worker.connection, "done");
    assert_held(&segment);
    assert!(writers_of(&segment, &[std::process::id()]).iter().any(|writer| writer.pid == worker.child.id()));
    order(&worker, "close");
    assert_free(&segment);
}

#[test]
fn one_in_a_message_that_nobody_has_read_counts_too() {
    let _turn = alone();
    let segment = segment();
    let (ours, theirs) = Connection::pair().expect("a pair");
    let fresh = segment.fresh_writable().expect("fresh");
    ours.send(b"map", Some(fresh.as_fd())).expect("sent");
    drop(fresh);
    assert_held(&segment);
    drop(theirs);
    assert_free(&segment);
}

#[test]
fn readers_and_the_manager_itself_do_not_count() {
    if let Some((_, connection)) = role() {
        return be_a_worker(&connection);
    }
    let _turn = alone();
    let segment = segment();
    let manager = segment.map().expect("mapped");
    manager.store(0, 1);
    assert_free(&segment);
    let reader = start("readers_and_the_manager_itself_do_not_count", "reader");
    let fresh = segment.fresh_read_only().expect("fresh");
    reader.connection.send(b"map read-only", Some(fresh.as_fd())).expect("sent");
    expect(&reader.connection, "done");
    assert_free(&segment);
    assert_eq!(writers_of(&segment, &[std::process::id()]), []);
}

#[test]
fn a_forked_child_with_the_descriptor_holds_it_after_its_parents_death() {
    if let Some((_, connection)) = role() {
        return be_a_worker(&connection);
    }
    let _turn = alone();
    let segment = segment();
    let mut worker = start("a_forked_child_with_the_descriptor_holds_it_after_its_parents_death", "worker");
    grant(&segment, &worker, "keep the descriptor");
    expect(&worker.connection, "done");
    say(&worker.connection, "fork");
    let child = Process::open(hear(&worker.connection).0.parse().expect("a number")).expect("alive");
    let child = support::Mortal(child);
    kill(&mut worker);
    assert_held(&segment);
    assert_eq!(writers_of(&segment, &[std::process::id()]).len(), 1);
    child.kill(Signal::KILL).expect("killed");
    assert!(child.wait_exit(support::PATIENCE));
    assert_free(&segment);
}

/// The library's own mapping is not inherited; this child maps the inherited descriptor itself, which closes it.
#[test]
fn a_forked_child_with_a_mapping_of_its_own_holds_it() {
    let _turn = alone();
    let segment = segment();
    let fresh = segment.fresh_writable().expect("fresh");
    let (ours, theirs) = Connection::pair().expect("a pair");
    let child = support::fork(|| {
        let region = MappedRegion::writable(fresh).expect("mapped");
        region.store(9, 99);
        say(&theirs, "mapped");
        expect(&theirs, "end");
        0
    });
    expect(&ours, "mapped");
    assert_held(&segment);
    say(&ours, "end");
    assert_eq!(child.end(), 0);
    assert_free(&segment);
    assert_eq!(segment.map().expect("mapped").load(9), 99);
}

#[test]
fn a_fork_of_the_owner_does_not_inherit_the_librarys_mapping() {
    let _turn = alone();
    let segment = segment();
    let region = MappedRegion::writable(segment.fresh_writable().expect("fresh")).expect("mapped");
    let (ours, theirs) = Connection::pair().expect("a pair");
    let child = support::fork(|| {
        expect(&theirs, "end");
        0
    });
    assert_held(&segment);
    drop(region);
    assert_free(&segment);
    say(&ours, "end");
    assert_eq!(child.end(), 0);
}

/// Not once may the proof lag behind the notice of death, or the handoff would wait for nothing.
#[test]
fn the_proof_is_there_when_the_notice_of_death_is() {
    let _turn = alone();
    let segment = segment();
    for round in 0..300 {
        let fresh = segment.fresh_writable().expect("fresh");
        let (ours, theirs) = Connection::pair().expect("a pair");
        let child = support::fork(|| {
            let region = MappedRegion::writable(fresh).expect("mapped");
            region.make_present(0..1024).expect("memory");
            say(&theirs, "mapped");
            loop {
                region.store(round % 1024, round);
            }
        });
        expect(&ours, "mapped");
        assert_held(&segment);
        child.kill(Signal::KILL).expect("killed");
        assert!(child.wait_exit(support::PATIENCE), "round {round}");
        assert_free(&segment);
        assert_eq!(child.end(), -9);
    }
}

/// Whoever opens the segment for writing in the very moment of the question breaks the lease: that must not send a
/// signal that ends the manager.
#[test]
fn somebody_who_opens_it_meanwhile_does_no_harm() {
    if let Some((path, connection)) = role() {
        say(&connection, "begin");
        // Until the test is over.
        while std::fs::File::options().write(true).open(&path).is_ok() {}
        return;
    }
    let _turn = alone();
    let segment = segment();
    let path = format!("/proc/{}/fd/{}", std::process::id(), segment.as_fd().as_raw_fd());
    let meddler = start("somebody_who_opens_it_meanwhile_does_no_harm", &path);
    expect(&meddler.connection, "begin");
    let (mut proven, mut refused) = (0, 0);
    // Without that care, the signal comes after some five thousand proofs.
    while proven < 40_000 || refused < 1_000 {
        match segment.prove_unwritable() {
            Ok(Proof::Proven) => proven += 1,
            Err(ProofError::StillWritable) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    drop(meddler);
    assert_free(&segment);
}

fn kill(worker: &mut Actor) {
    worker.process.kill(Signal::KILL).expect("killed");
    assert!(worker.process.wait_exit(support::PATIENCE));
    worker.child.wait().expect("reaped");
}
