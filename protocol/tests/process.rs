//! Processes by their pidfd: identity, death, kills (rules H10, H11, H14 and H15).
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use heirloom_protocol::region::{MappedRegion, Region};
use heirloom_protocol::sys::segment::SEGMENT_UNIT_BYTES;
use heirloom_protocol::sys::{Connection, KillError, Process, Proof, ProofError, Segment};
use rustix::process::Signal;
use support::{PATIENCE, alone, expect, say};

/// A child that does nothing until it is told to end.
fn sleeper() -> (support::Mortal, Connection) {
    let (ours, theirs) = Connection::pair().expect("a pair");
    let child = support::fork(|| {
        let mut order = Vec::new();
        // Waits for a packet, or for the end of the connection.
        let _ = theirs.recv(&mut order);
        order.first().map_or(0, |code| i32::from(*code))
    });
    (child, ours)
}

#[test]
fn identity_is_the_process_and_not_its_number() {
    let _turn = alone();
    let (one, _one) = sleeper();
    let (other, _other) = sleeper();
    let same = Process::open(one.pid()).expect("alive");
    assert_eq!(one.identity(), same.identity());
    assert_eq!(one.try_clone().expect("a copy").identity(), one.identity());
    assert_ne!(one.identity(), other.identity());

    // It survives the store: the same descriptor, taken up by somebody who knows nothing of it.
    let stored: OwnedFd = one.as_fd().try_clone_to_owned().expect("a copy");
    one.kill(Signal::KILL).expect("killed");
    assert!(one.wait_exit(Duration::MAX));
    let found = Process::from_pidfd(stored.try_clone().expect("a copy")).expect("a pidfd");
    assert_eq!((found.pid(), found.identity()), (one.pid(), one.identity()));
    assert_eq!(one.end(), -9);
    let found = Process::from_pidfd(stored).expect("a pidfd of a process long gone");
    assert_eq!((found.pid(), found.identity()), (0, one.identity()));
    assert!(found.has_exited());
    assert!(Process::open(one.pid()).is_err(), "nobody has its number now");

    other.kill(Signal::KILL).expect("killed");
    other.end();
    let file = tempfile::tempfile().expect("a file");
    assert!(Process::from_pidfd(file.into()).is_err());
}

#[test]
fn death_is_noticed_when_it_happens() {
    let _turn = alone();
    let (child, connection) = sleeper();
    assert!(!child.has_exited());
    let began = Instant::now();
    assert!(!child.wait_exit(Duration::from_millis(20)));
    assert!(began.elapsed() >= Duration::from_millis(20));
    connection.send(&[3], None).expect("sent");
    assert!(child.wait_exit(PATIENCE));
    assert!(child.has_exited(), "a zombie has ended");
    assert_eq!(child.end(), 3);
    assert!(child.has_exited(), "so has one that is gone");
    assert!(matches!(child.kill(Signal::KILL), Err(KillError::Gone)));
    assert!(matches!(child.may_kill(), Err(KillError::Gone)));
    match child.how_it_ended() {
        Some(how) => assert_eq!(how, "exit status 3"),
        None => eprintln!("SKIPPED: only Linux 6.15 tells how a process ended that is not a child"),
    }
}

#[test]
fn a_group_is_killed_with_its_leader() {
    let _turn = alone();
    let (ours, theirs) = Connection::pair().expect("a pair");
    let leader = support::fork(|| {
        rustix::process::setpgid(None, None).expect("its own group");
        let member = support::fork(|| {
            loop {
                std::thread::park();
            }
        });
        say(&theirs, &member.pid().to_string());
        loop {
            std::thread::park();
        }
    });
    let member = Process::open(support::hear(&ours).0.parse().expect("a number")).expect("alive");
    let member = support::Mortal(member);
    leader.kill_group(Signal::KILL).expect("killed");
    assert!(leader.wait_exit(PATIENCE) && member.wait_exit(PATIENCE));
    leader.end();

    // One that leads no group: nobody else is hit.
    let (child, connection) = sleeper();
    assert!(matches!(child.kill_group(Signal::KILL), Err(KillError::NoGroup { .. })));
    assert!(!child.has_exited());
    connection.shutdown();
    assert_eq!(child.end(), 0);
}

/// A process with much memory is not dead for a while after it was killed: the notice comes when it can write no more
/// (rule H11), and so does the proof.
#[test]
fn a_slow_death_is_noticed_when_it_is_over() {
    let _turn = alone();
    const HEAP_BYTES: usize = 500 * 1024 * 1024;
    let segment = Segment::create("slow", SEGMENT_UNIT_BYTES).expect("a segment");
    for round in 0..3 {
        let fresh = segment.fresh_writable().expect("fresh");
        let (ours, theirs) = Connection::pair().expect("a pair");
        let child = support::fork(|| {
            let region = MappedRegion::writable(fresh).expect("mapped");
            let heap = vec![1_u8; HEAP_BYTES];
            say(&theirs, "ready");
            loop {
                region.store(1, region.load(1) + u64::from(heap[HEAP_BYTES - 1]));
            }
        });
        expect(&ours, "ready");
        let region = segment.map().expect("mapped");
        child.kill(Signal::KILL).expect("killed");
        while !child.has_exited() {
            // Never a proof before the notice... unless the notice comes in between.
            if let Ok(Proof::Proven) = segment.prove_unwritable() {
                assert!(child.wait_exit(PATIENCE));
            }
        }
        let at_the_notice = region.load(1);
        match segment.prove_unwritable() {
            Ok(_) => {}
            Err(ProofError::StillWritable) => {
                panic!("round {round}: the notice came, and it can still write")
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(region.load(1), at_the_notice);
        assert_eq!(child.end(), -9);
    }
}
