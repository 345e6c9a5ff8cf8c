//! Limits end in errors that name them, not in signals (rules H1, H2 and H5): in processes that have such limits.
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::AsFd;

use heirloom_protocol::region::{MapError, MappedRegion, Region};
use heirloom_protocol::sys::needs::Cgroup;
use heirloom_protocol::sys::{Segment, SegmentError, limits};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::{hear, role, say, start};

const MIB: u64 = 1024 * 1024;

fn limit(resource: Resource, bytes: u64) {
    setrlimit(resource, Rlimit { current: Some(bytes), maximum: Some(bytes) }).expect("lowered");
}

#[test]
fn a_file_size_limit_is_an_error() {
    if let Some((_, connection)) = role() {
        limit(Resource::Fsize, 3 * MIB);
        let refused = Segment::create("big", 4 * MIB).expect_err("above the limit");
        assert!(matches!(refused, SegmentError::FileSizeLimit { .. }), "{refused:?}");
        Segment::create("small", 2 * MIB).expect("below the limit");
        return say(&connection, &refused.to_string());
    }
    let actor = start("a_file_size_limit_is_an_error", "limited");
    let (said, _) = hear(&actor.connection);
    assert!(said.contains("RLIMIT_FSIZE is 3145728"), "{said}");
}

#[test]
fn an_address_space_limit_is_an_error() {
    if let Some((_, connection)) = role() {
        let segment = Segment::create("big", 4096 * MIB).expect("a segment");
        let left = limits::address_space_left();
        assert_eq!(left, None);
        limit(Resource::As, 2048 * MIB);
        let refused = segment.map().expect_err("above the limit");
        assert!(matches!(refused, MapError::AddressSpace { .. }), "{refused:?}");
        return say(&connection, &refused.to_string());
    }
    let actor = start("an_address_space_limit_is_an_error", "limited");
    let (said, _) = hear(&actor.connection);
    assert!(said.contains("RLIMIT_AS"), "{said}");
}

/// Without the check, this child is killed by the kernel: nothing is said, and the test fails.
#[test]
fn a_memory_cgroup_is_an_error_and_not_a_kill() {
    if let Some((_, connection)) = role() {
        let received = support::expect(&connection, "grow");
        let segment = Segment::create("greedy", 512 * MIB).expect("a segment");
        let region = MappedRegion::writable(segment.fresh_writable().expect("fresh")).expect("mapped");
        let step = 64 * 1024;
        let refused = (0..512 * MIB).step_by(step).find_map(|at| {
            let words = at / 8..(at + step as u64) / 8;
            let refused = region.make_present(words.clone()).err().map(|error| (at, error));
            // What was granted can be written.
            words.filter(|_| refused.is_none()).for_each(|word| region.store(word, word));
            refused
        });
        let (at, error) = refused.expect("512 MiB in a cgroup of 128 MiB");
        assert!(at > 64 * MIB, "refused far too early: {at}");
        // What another process has made is there for the asking: an heir can take a table over when memory is short.
        let inherited = received.descriptors.into_iter().next().expect("a descriptor");
        let inherited = MappedRegion::writable(inherited).expect("mapped");
        inherited.make_present(0..MIB / 8).expect("it takes no new memory");
        inherited.make_present(0..64 * MIB / 8).expect("nor does this");
        inherited.make_present(64 * MIB / 8..66 * MIB / 8).expect_err("this would");
        return say(&connection, &error.to_string());
    }
    let test = "a_memory_cgroup_is_an_error_and_not_a_kill";
    let Some(group) = Cgroup::with_memory(128 * MIB, test) else { return };
    let actor = start(test, "limited");
    group.add(actor.child.id());
    let full = Segment::create("full", 128 * MIB).expect("a segment");
    full.map().expect("mapped").make_present(0..64 * MIB / 8).expect("memory");
    let fresh = full.fresh_writable().expect("fresh");
    actor.connection.send(b"grow", Some(fresh.as_fd())).expect("sent");
    let (said, _) = hear(&actor.connection);
    assert!(said.contains("has a limit of 128 MiB"), "{said}");
    drop(actor);
}
