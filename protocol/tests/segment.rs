//! What is no segment is refused before it is mapped (rule H1).
#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use heirloom_protocol::region::{MapError, MappedRegion, Region};
use heirloom_protocol::sys::segment::SEGMENT_UNIT_BYTES;
use heirloom_protocol::sys::{Segment, SegmentError};
use rustix::fs::{MemfdFlags, SealFlags};

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

fn memfd(bytes: u64, seals: SealFlags) -> OwnedFd {
    let memfd =
        rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("a memfd");
    rustix::fs::ftruncate(&memfd, bytes).expect("that long");
    rustix::fs::fcntl_add_seals(&memfd, seals).expect("sealed");
    memfd
}

#[track_caller]
fn assert_refused(descriptor: impl Into<OwnedFd>, why: &str) {
    let descriptor = descriptor.into();
    let copy = || descriptor.try_clone().expect("a copy");
    match (MappedRegion::read_only(copy()), MappedRegion::writable(copy()), Segment::adopt(copy())) {
        (
            Err(MapError::NotASegment(reading)),
            Err(MapError::NotASegment(_)),
            Err(SegmentError::NotASegment(adopting)),
        ) => {
            assert!(reading.to_string().contains(why), "{reading}");
            assert!(adopting.to_string().contains(why), "{adopting}");
        }
        others => panic!("not refused: {others:?}"),
    }
}

#[test]
fn what_is_no_segment_is_refused() {
    assert_refused(memfd(SEGMENT_UNIT_BYTES, SealFlags::empty()), "not sealed");
    assert_refused(memfd(SEGMENT_UNIT_BYTES, SealFlags::SHRINK | SealFlags::GROW), "not sealed");
    assert_refused(memfd(SEGMENT_UNIT_BYTES, SEALS | SealFlags::FUTURE_WRITE), "against writing");
    assert_refused(memfd(0, SEALS), "0 bytes long");
    assert_refused(memfd(SEGMENT_UNIT_BYTES - 4096, SEALS), "not a multiple");

    let file = tempfile::tempfile().expect("a file");
    file.set_len(SEGMENT_UNIT_BYTES).expect("that long");
    assert_refused(file, "");
    // A file in a tmpfs has seals, of a sort.
    let shared = tempfile::tempfile_in("/dev/shm").expect("a file");
    shared.set_len(SEGMENT_UNIT_BYTES).expect("that long");
    assert_refused(shared, "not sealed");
    let (reading, writing) = std::io::pipe().expect("a pipe");
    assert_refused(reading, "not shared memory");
    assert_refused(writing, "not shared memory");
    assert_refused(File::open("/").expect("a folder"), "not shared memory");
    assert_refused(File::open("/dev/zero").expect("a device"), "not shared memory");
}

#[test]
fn more_seals_than_ours_are_welcome() {
    // A memfd of a kernel that knows NOEXEC_SEAL has one seal more; a plain one does not.
    assert!(Segment::adopt(memfd(SEGMENT_UNIT_BYTES, SEALS)).is_ok());
    let segment = Segment::create("test", 1).expect("a segment");
    let seals = rustix::fs::fcntl_get_seals(&segment).expect("seals");
    assert!(seals.contains(SEALS), "{seals:?}");
    assert!(segment.map().is_ok());
    assert_eq!(segment.bytes(), SEGMENT_UNIT_BYTES);
}

#[test]
fn an_adopted_segment_holds_what_it_held() {
    let segment = Segment::create("test", 1).expect("a segment");
    segment.map().expect("mapped").store(1, 11);
    let stored = segment.as_fd().try_clone_to_owned().expect("a copy");
    drop(segment);
    let adopted = Segment::adopt(stored).expect("adopted");
    assert_eq!(adopted.map().expect("mapped").load(1), 11);
    assert!(adopted.prove_unwritable().is_ok());
    // Only the original one is: a reader's description could not give out writable ones to be counted.
    assert!(Segment::adopt(adopted.fresh_read_only().expect("fresh")).is_err());
}

#[test]
fn a_segment_is_for_its_user_only_and_cannot_be_resized() {
    let segment = Segment::create("test", 1).expect("a segment");
    assert_eq!(rustix::fs::fstat(&segment).expect("fstat").st_mode & 0o777, 0o600);
    let fresh = segment.fresh_writable().expect("fresh");
    assert!(rustix::fs::ftruncate(&fresh, 0).is_err());
    assert!(rustix::fs::ftruncate(&fresh, 2 * SEGMENT_UNIT_BYTES).is_err());
    assert!(rustix::fs::fcntl_add_seals(&fresh, SealFlags::WRITE).is_err());
    for descriptor in [fresh, segment.fresh_read_only().expect("fresh")] {
        let flags = rustix::io::fcntl_getfd(&descriptor).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "no command inherits it");
    }
}
