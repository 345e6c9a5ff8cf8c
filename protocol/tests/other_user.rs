//! What the kernel enforces against another user: a reader's descriptor stays a reader's (rules H1 and H9).
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::{AsFd, AsRawFd};

use heirloom_protocol::region::{MappedRegion, Region};
use heirloom_protocol::sys::segment::SEGMENT_UNIT_BYTES;
use heirloom_protocol::sys::{Features, Process, Segment, needs, testing};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use support::{expect, hear, role, say, start};

/// Nobody in particular.
const OTHER_USER: u32 = 65534;

#[test]
fn another_user_cannot_make_a_writer_of_a_reader() {
    if let Some((_, connection)) = role() {
        testing::become_user(OTHER_USER, OTHER_USER).expect("root may");
        let (_, received) = hear(&connection);
        let reader = received.descriptors.into_iter().next().expect("a descriptor");
        let refusals = [
            ("mprotect", testing::try_protect_for_writing(reader.as_fd())),
            ("mmap", testing::try_map_for_writing(reader.as_fd())),
            ("reopen for writing", reopen(&format!("/proc/self/fd/{}", reader.as_raw_fd()), OFlags::RDWR)),
            ("reopen for reading", reopen(&format!("/proc/self/fd/{}", reader.as_raw_fd()), OFlags::RDONLY)),
            (
                "the manager's own",
                reopen(
                    &format!("/proc/{}/fd/3", rustix::process::getppid().map_or(0, |pid| pid.as_raw_pid())),
                    OFlags::RDWR,
                ),
            ),
            ("chmod", rustix::fs::fchmod(&reader, Mode::from_raw_mode(0o666)).map_err(Into::into)),
        ];
        for (way, refused) in refusals {
            let errno = refused.map_or_else(|error| error.raw_os_error().unwrap_or(0), |()| 0);
            let refused = [Errno::ACCESS, Errno::PERM].iter().any(|errno_| errno_.raw_os_error() == errno);
            assert!(refused, "{way}: errno {errno}");
        }
        let region = MappedRegion::read_only(reader).expect("a reader may read");
        return say(&connection, &region.load(7).to_string());
    }
    let test = "another_user_cannot_make_a_writer_of_a_reader";
    if !needs::root(test) {
        return;
    }
    let segment = Segment::create("private", 1).expect("a segment");
    segment.map().expect("mapped").store(7, 77);
    let other = start(test, "other user");
    let fresh = segment.fresh_read_only().expect("fresh");
    other.connection.send(b"read", Some(fresh.as_fd())).expect("sent");
    expect(&other.connection, "77");
    assert!(segment.prove_unwritable().is_ok());
}

fn reopen(path: &str, access: OFlags) -> std::io::Result<()> {
    Ok(rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty()).map(drop)?)
}

/// The kernel tells a segment's pages to its owner only. An heir of another user makes huge pages where there never was one.
#[test]
fn another_user_makes_huge_pages_beyond_what_was_there() {
    const CHUNK: u64 = SEGMENT_UNIT_BYTES;
    let all = 0..6 * CHUNK / 8;
    if let Some((_, connection)) = role() {
        testing::become_user(OTHER_USER, OTHER_USER).expect("root may");
        let (_, received) = hear(&connection);
        let writer = received.descriptors.into_iter().next().expect("a descriptor");
        let heir = MappedRegion::writable(writer).expect("an heir may write");
        heir.make_present(all.clone()).expect("memory");
        let first = support::huge_bytes();
        heir.try_give_back(all.start..all.end / 2).expect("given back");
        heir.make_present(all).expect("memory");
        return say(&connection, &format!("{} {}", first / CHUNK, support::huge_bytes() / CHUNK));
    }
    let test = "another_user_makes_huge_pages_beyond_what_was_there";
    if !needs::root(test) {
        return;
    }
    if !Features::get().collapse {
        eprintln!("SKIPPED: no MADV_COLLAPSE here, so no huge pages");
        return;
    }
    let segment = Segment::create("theirs", 6 * CHUNK).expect("a segment");
    let ours = segment.map().expect("mapped");
    // The third chunk has a page, and so might those before it have.
    ours.store(2 * CHUNK / 8 + 7, 77);
    let other = start(test, "other user");
    let fresh = segment.fresh_writable().expect("fresh");
    other.connection.send(b"write", Some(fresh.as_fd())).expect("sent");
    expect(&other.connection, "3 3");
    assert_eq!((segment.memory_bytes(), ours.load(2 * CHUNK / 8 + 7)), (6 * CHUNK, 0));
}

#[test]
fn a_process_of_another_user_cannot_be_killed_and_says_so() {
    use heirloom_protocol::sys::KillError;
    if let Some((_, connection)) = role() {
        testing::become_user(OTHER_USER, OTHER_USER).expect("root may");
        let parent =
            Process::open(rustix::process::getppid().expect("a parent").as_raw_pid() as u32).expect("alive");
        let refused = parent.may_kill().expect_err("it is root's");
        assert!(matches!(refused, KillError::NotPermitted { .. }), "{refused:?}");
        return say(&connection, &refused.to_string());
    }
    let test = "a_process_of_another_user_cannot_be_killed_and_says_so";
    if !needs::root(test) {
        return;
    }
    let other = start(test, "other user");
    let (said, _) = hear(&other.connection);
    assert!(said.contains("belongs to another user"), "{said}");
    other.process.may_kill().expect("root may");
}
