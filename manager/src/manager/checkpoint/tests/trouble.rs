//! The storage thread where the disk is not what it should be, and what those hear who wait.

use super::super::{Checkpoints, Waiting};
use super::*;
use crate::config::{Access, Durability, Grant, TableConfig};
use crate::manager::client::ClientId;
use crate::manager::filling::OnDisk;
use crossbeam_channel::bounded;
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::Segment;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn configured(durability: Durability) -> TableConfig {
    TableConfig {
        id: "t".to_owned(),
        kind: Kind::Set,
        max_bytes: 1 << 20,
        find_me: None,
        gift_data: String::new(),
        hydrate: None,
        durability,
        lease: None,
        access: Access::Protected,
        snapshot_max_age: PATIENCE,
        owner: Grant::default(),
        readers: Grant::default(),
    }
}

fn mapped() -> Arc<MappedRegion> {
    let options = TableOptions::set(1 << 20);
    let segment = Segment::create("t", options.segment_bytes()).unwrap();
    let region = Arc::new(segment.map().unwrap());
    table::create(&region, &options).unwrap();
    table::set_followed(&region, true);
    region
}

fn waiting(request: u32, version: u64) -> Waiting {
    Waiting { client: ClientId(1), request, version }
}

#[test]
fn who_waits_hears_why_and_a_later_checkpoint_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the folder should be: for root, too, nothing can be written there.
    let store = folder.path().join("store");
    std::fs::write(&store, b"").unwrap();

    let region = mapped();
    let config = configured(Durability::Commit);
    let mut checkpoints = Checkpoints::new(config.durability, Pinning::default()).unwrap();
    let (sender, news) = bounded(1024);
    let on_disk = OnDisk::of(&config, &store).unwrap();
    checkpoints
        .start("t", on_disk, Arc::clone(&region), Arc::new(move || sender.send(()).unwrap_or_default()))
        .unwrap();

    let mut owner = TableWriter::open(Arc::clone(&region), 0).unwrap();
    owner.insert(b"a", b"1").unwrap();
    let version = owner.version();
    checkpoints.wait(waiting(7, version));
    let until = Instant::now() + PATIENCE;
    let why = loop {
        assert!(Instant::now() < until, "nobody is told anything");
        news.recv_timeout(PATIENCE).unwrap();
        let settled = checkpoints.settle();
        if !settled.failed.is_empty() {
            assert_eq!(settled.failed, [waiting(7, version)]);
            break settled.why;
        }
    };
    assert!(why.contains("store"), "{why}");
    assert_eq!(table::durable_version(&region), None, "nothing says that it is on disk");

    std::fs::remove_file(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o700)).unwrap();
    checkpoints.wait(waiting(8, version));
    loop {
        assert!(Instant::now() < until, "it is not tried again");
        news.recv_timeout(PATIENCE).unwrap();
        let settled = checkpoints.settle();
        if let Some((waited, durable)) = settled.durable.first() {
            assert_eq!((*waited, *durable), (waiting(8, version), version));
            break;
        }
        // It was answered with the failure before.
        settled.failed.iter().for_each(|waiting| checkpoints.wait(*waiting));
    }
    assert_eq!(table::durable_version(&region), Some(version));

    owner.insert(b"a", b"2").unwrap();
    checkpoints.stop();
    assert!(checkpoints.has_stopped_by(Instant::now() + PATIENCE));
    assert_eq!(checkpoints.durable(), Some(owner.version()), "the last thing it does is a checkpoint");
    let found = stored(&Store::open(&path(&store, "t"), &identity(Kind::Set)).unwrap(), Kind::Set);
    assert_eq!(found.entries, [(b"a".to_vec(), b"2".to_vec(), Attributes::default())]);
}

#[test]
fn those_who_flush_together_share_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let region = mapped();
    let config = configured(Durability::Interval { every: Duration::from_secs(3600) });
    let mut checkpoints = Checkpoints::new(config.durability, Pinning::default()).unwrap();
    let mut owner = TableWriter::open(Arc::clone(&region), 0).unwrap();
    // Before the thread is there, so that all of it is asked for before it begins.
    for request in 0..100_u32 {
        owner.insert(&request.to_be_bytes(), b"1").unwrap();
        checkpoints.wait(waiting(request, owner.version()));
    }
    let (sender, news) = bounded(1024);
    let on_disk = OnDisk::of(&config, folder.path()).unwrap();
    checkpoints.start("t", on_disk, region, Arc::new(move || sender.send(()).unwrap_or_default())).unwrap();
    let mut durable = 0;
    while durable < 100 {
        news.recv_timeout(PATIENCE).unwrap();
        let settled = checkpoints.settle();
        assert!(settled.failed.is_empty(), "{}", settled.why);
        durable += settled.durable.len();
    }
    let mut status = heirloom_protocol::message::TableStatus::default();
    checkpoints.describe(&mut status);
    assert_eq!(status.checkpoints, 1);
    checkpoints.stop();
    assert!(checkpoints.has_stopped_by(Instant::now() + PATIENCE));
}
