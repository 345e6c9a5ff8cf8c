//! A mapped segment: what is stored is there for all who map it, and nothing outside it can be reached (rules H1 to H6).
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heirloom_protocol::region::{MappedRegion, Region};
use heirloom_protocol::sys::segment::SEGMENT_UNIT_BYTES;
use heirloom_protocol::sys::{Features, Segment};
use heirloom_protocol::table::{self, TableOptions, TableWriter, WriteError};

/// A huge page.
const CHUNK: u64 = SEGMENT_UNIT_BYTES;
const WORDS: u64 = 2 * SEGMENT_UNIT_BYTES / 8;

fn segment() -> Segment {
    Segment::create("test", 2 * SEGMENT_UNIT_BYTES).expect("a segment")
}

#[test]
fn a_reader_sees_what_the_owner_stores() {
    let segment = segment();
    let owner = MappedRegion::writable(segment.fresh_writable().expect("fresh")).expect("mapped");
    let reader = MappedRegion::read_only(segment.fresh_read_only().expect("fresh")).expect("mapped");
    assert_eq!((owner.words(), reader.words()), (WORDS, WORDS));

    for (word, length) in [(0, 0), (1, 1), (10, 7), (20, 8), (30, 9), (1000, 64), (2000, 100_003)] {
        let bytes: Vec<u8> = (0..length).map(|index: usize| (index * 37 + 201) as u8).collect();
        owner.copy_in(word, &bytes);
        let mut copy = b"before".to_vec();
        assert!(reader.copy_out(word, length, &mut copy));
        assert_eq!(copy[..6], *b"before");
        assert_eq!(copy[6..], bytes[..]);
        assert!(reader.equals(word, &bytes), "length {length}");
        for index in 0..length.min(100) {
            let mut other = bytes.clone();
            other[length - 1 - index] ^= 0x80;
            assert!(!reader.equals(word, &other), "length {length}, differs at {index} from the end");
            assert!(reader.equals(word, &bytes[..index]), "what follows does not matter");
        }
    }
    owner.store(WORDS - 1, 42);
    assert_eq!(reader.load(WORDS - 1), 42);
    reader.prefetch(WORDS - 1);
    reader.prefetch(u64::MAX);
}

#[test]
fn nothing_outside_the_segment_is_reached() {
    let region = segment().map().expect("mapped");
    let mut bytes = Vec::new();
    for word in [WORDS, WORDS + 1, u64::MAX / 8, u64::MAX] {
        region.store(word, 7);
        region.copy_in(word, b"x");
        assert_eq!(region.load(word), 0);
        assert!(!region.equals(word, b"x"));
        assert!(!region.copy_out(word, 1, &mut bytes));
        assert!(region.make_present(0..word.max(WORDS + 1)).is_err());
    }
    assert!(!region.copy_out(WORDS - 1, 9, &mut bytes));
    assert!(!region.copy_out(0, usize::MAX, &mut bytes));
    region.copy_in(WORDS - 1, b"nine char");
    assert_eq!(region.load(WORDS - 1), 0, "what does not fit is dropped whole");
    assert!(bytes.is_empty());
}

#[test]
fn a_reader_stores_nothing() {
    let segment = segment();
    let reader = MappedRegion::read_only(segment.fresh_read_only().expect("fresh")).expect("mapped");
    reader.store(5, 7);
    reader.copy_in(5, b"something");
    assert_eq!(reader.load(5), 0);
    assert!(reader.make_present(0..8).is_err());
    assert!(reader.try_give_back(0..512).is_err());
    assert!(MappedRegion::writable(segment.fresh_read_only().expect("fresh")).is_err());
}

#[test]
fn memory_comes_and_goes() {
    let segment = segment();
    let region = segment.map().expect("mapped");
    let resident = || segment.memory_bytes();
    assert_eq!(resident(), 0, "a new segment is sparse");
    region.make_present(0..10).expect("memory");
    let first = resident();
    assert!(first > 0 && first <= 64 * 1024, "one step, not more: {first}");
    region.make_present(0..WORDS).expect("memory");
    assert_eq!(resident(), WORDS * 8);
    region.copy_in(0, &[7; 4096]);
    region.copy_in(WORDS / 2, &[7; 4096]);
    region.try_give_back(WORDS / 2..WORDS).expect("given back");
    assert_eq!(resident(), WORDS * 4);
    assert_eq!(region.load(WORDS / 2), 0);
    assert_eq!(region.load(0), u64::from_le_bytes([7; 8]));
    region.make_present(WORDS / 2..WORDS).expect("memory");
    assert_eq!(resident(), WORDS * 8, "what was given back is not believed to be there");
}

#[test]
fn a_shared_mapping_ends_with_the_last_of_them() {
    let first = segment().map().expect("mapped");
    let second = first.share();
    first.store(7, 70);
    drop(first);
    assert_eq!(second.load(7), 70);
    let third = second.share();
    drop(second);
    third.store(8, 80);
    assert_eq!((third.load(7), third.load(8)), (70, 80));
}

#[test]
fn a_forked_childs_copy_is_inert() {
    let _turn = support::alone();
    let segment = segment();
    let owner = MappedRegion::writable(segment.fresh_writable().expect("fresh")).expect("mapped");
    owner.store(3, 33);
    let mut owner = Some(owner);
    let child = support::fork(|| {
        let region = owner.take().expect("the region");
        region.store(3, 44);
        region.copy_in(3, b"from the child");
        let mut bytes = Vec::new();
        let silent = region.words() == 0
            && region.is_inert()
            && region.load(3) == 0
            && !region.equals(3, b"f")
            && !region.copy_out(3, 8, &mut bytes)
            && region.make_present(0..8).is_err();
        drop(region);
        if silent { 0 } else { 1 }
    });
    assert_eq!(child.end(), 0);
    let owner = owner.expect("this process still has it");
    assert_eq!(owner.load(3), 33);
    owner.store(3, 34);
    assert_eq!(owner.load(3), 34);
}

/// Threads of this process that make memory present ahead.
fn helpers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("our own threads");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "heirloom-memory").count()
}

#[test]
fn memory_is_there_before_a_growing_table_asks() {
    const MIB: u64 = 1024 * 1024;
    let _turn = support::alone();
    let segment = Segment::create("growing", 256 * MIB).expect("a segment");
    let owner = MappedRegion::writable(segment.fresh_writable().expect("fresh")).expect("mapped");
    let resident = || segment.memory_bytes();
    let grow = |from: u64, to: u64| {
        for at in (from..to).step_by(16 * 1024) {
            owner.make_present(at / 8..at / 8 + 2048).expect("memory");
        }
    };
    grow(0, 4 * MIB);
    assert_eq!(
        (helpers(), resident()),
        (0, 4 * MIB),
        "a small table costs no thread and no more memory than it asks for"
    );

    grow(4 * MIB, 64 * MIB);
    assert_eq!(helpers(), 1);
    support::until("more is there", || resident() > 64 * MIB);
    if Features::get().collapse {
        support::until("some of it as huge pages", || support::huge_bytes() > 0);
    } else {
        eprintln!("SKIPPED: no MADV_COLLAPSE here, so no huge pages");
    }

    assert!(resident() <= 72 * MIB, "8 MiB ahead and not more");

    // At the end of the segment too.
    grow(64 * MIB, 256 * MIB);
    drop(owner);
    assert_eq!(helpers(), 0, "the thread does not outlive the mapping");
    assert!(segment.prove_unwritable().is_ok(), "so nobody can write");
}

/// A chunk with a page is in use, whoever made that page: to collapse it would stop its users (rule H4).
#[test]
fn only_a_fresh_chunk_becomes_a_huge_page() {
    let _turn = support::alone();
    if !Features::get().collapse {
        eprintln!("SKIPPED: no MADV_COLLAPSE here, so no huge pages");
        return;
    }
    let segment = Segment::create("fresh", 4 * CHUNK).expect("a segment");
    let memory = || segment.memory_bytes();
    segment.map().expect("mapped").store(CHUNK / 8 + 7, 70);
    let page = memory();
    let heir = MappedRegion::writable(segment.fresh_writable().expect("fresh")).expect("mapped");
    let all = 0..4 * CHUNK / 8;
    heir.make_present(all.clone()).expect("memory");
    assert_eq!(
        (support::huge_bytes(), memory()),
        (3 * CHUNK, 4 * CHUNK),
        "an owner before this one had {page} bytes"
    );
    assert_eq!(heir.load(CHUNK / 8 + 7), 70);

    // Of each step of 64 KiB a part goes back, and most of the chunk is left.
    for step in (3 * CHUNK..4 * CHUNK).step_by(64 * 1024) {
        heir.try_give_back(step / 8..(step + 16 * 1024) / 8).expect("given back");
    }
    assert_eq!(memory(), 4 * CHUNK - CHUNK / 4);
    heir.make_present(all.clone()).expect("memory");
    assert_eq!((support::huge_bytes(), memory()), (2 * CHUNK, 4 * CHUNK));
    // All of it, and it is as good as new.
    heir.try_give_back(3 * CHUNK / 8..4 * CHUNK / 8).expect("given back");
    heir.make_present(all).expect("memory");
    assert_eq!((support::huge_bytes(), memory()), (3 * CHUNK, 4 * CHUNK));
}

/// The memory that a full table has is what it may have: ahead of it there is nothing to come.
#[test]
fn nothing_is_made_present_beyond_the_tables_limit() {
    let _turn = support::alone();
    let mut options = TableOptions::set(32 * 1024 * 1024);
    options.reserve_bytes = 256 * 1024 * 1024;
    let segment = Segment::create("full", options.segment_bytes()).expect("a segment");
    let region = Arc::new(segment.map().expect("mapped"));
    table::create(&region, &options).expect("a table");
    let mut writer = TableWriter::open(region, 0).expect("a table");
    let full = (0_u64..).find_map(|key| writer.insert(&key.to_le_bytes(), &[1; 200]).err());
    assert!(matches!(full, Some(WriteError::TableFull { .. })), "{full:?}");
    assert_eq!(helpers(), 1);
    drop(writer);
    let memory = segment.memory_bytes();
    // Steps are a little more than what was asked for, and what was made ahead for the entries may be left over when
    // the index takes the rest. Without the limit there would be 8 MiB more.
    assert!(memory <= options.max_bytes + 3 * 1024 * 1024, "{memory}");
    assert!(memory > options.max_bytes - 2 * 1024 * 1024, "{memory}");
}

#[test]
fn a_mapping_that_ends_waits_for_its_thread() {
    let _turn = support::alone();
    for _ in 0..50 {
        let segment = Segment::create("short", 64 * 1024 * 1024).expect("a segment");
        let region = segment.map().expect("mapped");
        // Enough for the thread to begin, and to be in the middle of a chunk.
        while helpers() == 0 {
            for at in (0..12 * 1024 * 1024).step_by(64 * 1024) {
                region.make_present(at / 8..at / 8 + 8192).expect("memory");
            }
        }
        drop(region);
        assert_eq!(helpers(), 0);
    }
}

/// What a table gives back, the kernel has back.
#[test]
fn memory_goes_back_to_the_host() {
    // It grows far enough for a thread of its own, which other tests would count as theirs.
    let _turn = support::alone();
    let options = TableOptions::set(64 << 20);
    let segment = Segment::create("test", options.segment_bytes()).expect("a segment");
    let region = Arc::new(MappedRegion::writable(segment.fresh_writable().expect("fresh")).expect("mapped"));
    table::create(&region, &options).expect("created");
    let mut writer = TableWriter::open(region.clone(), 0).expect("opened");
    let memory = || rustix::fs::fstat(segment.as_fd()).expect("its size").st_blocks as u64 * 512;
    for key in 0..100_000_u64 {
        writer.insert(&key.to_le_bytes(), &[1; 200]).expect("there is room");
    }
    let (full, used) = (memory(), writer.reader().info().used_bytes);
    assert!(full >= used, "{full} bytes, and {used} in use");
    for key in (0..100_000_u64).filter(|key| key % 50 != 0) {
        assert!(writer.remove(&key.to_le_bytes()).expect("removing always works"));
    }
    // In a part of the owner's time, once it has been free for a while.
    let begin = Instant::now();
    let mut round = 0_u64;
    while memory() * 4 >= full || writer.reader().info().used_bytes * 4 >= used {
        assert!(begin.elapsed() < Duration::from_secs(300), "{full} bytes of the host, then {}", memory());
        for _ in 0..1000 {
            writer.insert(b"beat", &round.to_le_bytes()).expect("there is room");
            round += 1;
        }
    }
    let (left, info) = (memory(), writer.reader().info());
    println!("{full} bytes of the host, then {left} after {:?}; {info:?}", begin.elapsed());
    assert!(info.allocated_bytes + info.free_bytes <= info.used_bytes, "{info:?}");
    assert_eq!(table::verify(&region).expect("whole").entries, 2001);
    for key in (0..100_000_u64).step_by(50) {
        assert_eq!(writer.reader().get(&key.to_le_bytes()).expect("a get"), Some(vec![1; 200]));
    }
}
