//! What of a table survives the host: every process is killed at once, and all starts anew from what is on disk. It is the
//! table as of one commit, bequest included, and no older than what was promised.

use heirloom_manager::config::Durability;
use heirloom_manager::manager::{Manager, embedded::Table};
use heirloom_manager::registry::Candidates;
use heirloom_tests::ledger::{KEYS, Returned, removed_by, standing, value_of, write_of};
use heirloom_tests::role::transfers;
use heirloom_tests::{Actor, House, PATIENCE, eventually, needs, one_table, program};
use heirloom_worker::{Client, Reader, Worker, WriteError, Writer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// One durable table `ledger`, for workers named `victim`, with its file in that folder.
fn configuration(store: &Path, durability: &str) -> String {
    let table = one_table("ledger", "victim");
    let table = table.replace("max_bytes", &format!("durability = {durability}\nmax_bytes"));
    format!("[manager]\nstore = \"{}\"\n{table}", store.display())
}

fn durable(durability: &str) -> House {
    House::start(|folder| configuration(&folder.join("store"), durability))
}

/// Which write the table is of; all of it must be.
fn write_found(house: &House) -> u64 {
    let client = Client::connect_within(house.socket(), PATIENCE).expect("there is a manager");
    let reader: Reader<u64, Vec<u64>> = client.reader("ledger").expect("it can be read");
    let write = reader.snapshot().expect("a snapshot").bequest::<u64>().expect("a number").unwrap_or(0);
    for key in 0..KEYS {
        let found = reader.get(&key).expect("it is whole").map(|value| write_of(key, &value));
        assert_eq!(found, standing(key, write), "key {key} of a table that is as of write {write}");
    }
    write
}

/// The writer of the ledger, in this process, and the write that it is of.
fn own(house: &House) -> (Worker, Writer<u64, Vec<u64>>, u64) {
    let worker = Worker::connect_within(house.socket(), "victim", PATIENCE).expect("there is a manager");
    let mut inbox = transfers(&worker, "ledger").expect("it may own the table");
    let transfer = inbox.next().expect("a transfer");
    let left = transfer.bequest::<u64>().expect("a number").unwrap_or(0);
    (worker, transfer.accept().expect("the offer stands"), left)
}

fn write(writer: &mut Writer<u64, Vec<u64>>, write: u64) -> Result<u64, WriteError> {
    let mut transaction = writer.transaction();
    transaction.insert(&(write % KEYS), &value_of(write))?;
    if let Some(key) = removed_by(write) {
        transaction.remove(&key)?;
    }
    transaction.bequeath(&write)?;
    transaction.commit()
}

#[test]
fn in_mode_commit_whatever_returned_is_there_once() {
    let mut house = durable("\"commit\"");
    let record = house.folder().join("returned");
    let returned = Returned::open(&record).expect("the folder can be written to");
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..4 {
        drop(house.client());
        let mut command = Command::new(program("victim"));
        command.args(["own", "ledger"]).arg(&record).env("HEIRLOOM_SOCKET", house.socket());
        let owner = Actor::start(&mut command);
        let before = returned.last().expect("it can be read");
        eventually("commits", || (returned.last().expect("it can be read") > before + 20).then_some(()));
        // At any moment: this is the thing tested, not something waited for.
        thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        house.crash();
        drop(owner);
        let last = returned.last().expect("it can be read");
        house.start_again();
        if round == 2 {
            // In the midst of hydration, or of what comes before or after it.
            thread::sleep(Duration::from_micros(random.random_range(0..60_000)));
            house.crash();
            house.start_again();
        }
        let found = write_found(&house);
        assert!(found == last || found == last + 1, "write {last} had returned, and write {found} is there");
        println!("round {round}: write {last} had returned, {found} was on disk");
    }
}

#[test]
fn in_mode_interval_it_is_one_commit_and_none_before_the_last_flush() {
    let mut house = durable("{ mode = \"interval\", every = \"3ms\" }");
    let mut random = StdRng::seed_from_u64(2);
    for round in 0..4 {
        let (_worker, mut writer, mut last) = own(&house);
        let mut flushed = last;
        for number in 1..=random.random_range(200..4000) {
            last += 1;
            write(&mut writer, last).expect("it owns the table");
            if number % 150 == 0 {
                let version = writer.flush().expect("there is room on the disk");
                assert!(version >= writer.version());
                flushed = last;
            }
        }
        house.crash();
        house.start_again();
        let found = write_found(&house);
        assert!((flushed..=last).contains(&found), "write {flushed} was flushed, and write {found} is there");
        println!("round {round}: write {flushed} was flushed, {last} committed, {found} was on disk");
    }
}

#[test]
fn managers_killed_in_the_midst_of_checkpoints_carry_on() {
    let mut house = durable("{ mode = \"interval\", every = \"1ms\" }");
    let (_worker, mut writer, _) = own(&house);
    let client = house.client();
    let mut random = StdRng::seed_from_u64(3);
    let mut last = 0;
    for _ in 0..6 {
        for _ in 0..random.random_range(100..2000) {
            last += 1;
            write(&mut writer, last).expect("it owns the table, whoever the manager is");
        }
        let manager = client.status().expect("it answers").manager_pid;
        let pid = i32::try_from(manager).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is there");
        // While it is away.
        last += 1;
        write(&mut writer, last).expect("it owns the table, whoever the manager is");
        if last.is_multiple_of(2) {
            writer.flush().expect("it is waited for until the next manager is there");
        }
        eventually("the next manager", || {
            client.status().ok().filter(|status| status.manager_pid != manager)
        });
    }
    let version = writer.flush().expect("there is room on the disk");
    let table = house.table(&client, "ledger");
    assert_eq!((table.durability.as_str(), table.durable_version), ("interval", Some(version)));
    let wholes = house.log().matches("checkpoint of the whole table").count();
    println!("{last} writes, and {wholes} checkpoints of the whole table");
    house.crash();
    house.start_again();
    assert_eq!(write_found(&house), last);
}

#[test]
fn a_manager_that_is_stopped_writes_everything_to_disk() {
    let mut house = durable("{ mode = \"interval\", every = \"1h\" }");
    let (worker, mut writer, _) = own(&house);
    for number in 1..=50 {
        write(&mut writer, number).expect("it owns the table");
    }
    // An owner's death: what it committed last is the manager's to write.
    drop((writer, worker));
    house.stop();
    house.start_again();
    assert_eq!(write_found(&house), 50);

    let (_worker, mut writer, last) = own(&house);
    write(&mut writer, last + 1).expect("it owns the table");
    let flush = Command::new(program("heirloom-under-test"))
        .args(["flush", "ledger", "--socket"])
        .arg(house.socket())
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&flush.stdout).trim().parse::<u64>();
    assert!(flush.status.success() && said.is_ok_and(|version| version >= writer.version()), "{flush:?}");
    house.crash();
    house.start_again();
    assert_eq!(write_found(&house), 51);
}

/// A small disk; unmounted with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Self {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs"])
            .arg(folder)
            .status()
            .expect("there is a mount command");
        assert!(mounted.success(), "root mounts a tmpfs");
        Self(folder.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_costs_nothing_but_what_it_says() {
    if !needs::root("a disk that is full") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let disk = SmallDisk::mount(folder.path());
    let mut house = House::start(|_| configuration(&disk.0, "\"commit\""));
    let (_worker, mut writer, _) = own(&house);
    for number in 1..=20 {
        write(&mut writer, number).expect("there is room");
    }
    let ballast = disk.0.join("ballast");
    // All that is left, to the last byte.
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096"])
        .arg(format!("of={}", ballast.display()))
        .output();
    let mut last = 20;
    let refused = loop {
        last += 1;
        assert!(last < 100_000, "a full disk takes all of it");
        match write(&mut writer, last) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let WriteError::NotDurable { version, reason, .. } = &refused else { panic!("{refused}") };
    // House-keeping may have made commits of its own after it.
    assert!(*version <= writer.version() && reason.contains("no room"), "{refused}");
    println!("a commit says: {refused}");
    // It was made all the same, and so is the next one.
    last += 1;
    assert!(matches!(write(&mut writer, last), Err(WriteError::NotDurable { .. })));
    let client = house.client();
    let reader: Reader<u64, Vec<u64>> = client.reader("ledger").expect("it can be read");
    assert_eq!(reader.get(&(last % KEYS)).expect("it is whole"), Some(value_of(last)));
    let table = house.table(&client, "ledger");
    assert!(table.disk_error.as_ref().is_some_and(|error| error.contains("no room")), "{table:?}");
    assert!(table.durable_version < Some(table.version), "{table:?}");
    let complaints = house.log().matches("it cannot be written to disk").count();
    assert_eq!(complaints, 1, "it is said once, and then at a pace");
    for line in house.log().lines().filter(|line| line.contains("cannot be written to disk")).take(1) {
        println!("the log says: {line}");
    }
    let status = Command::new(program("heirloom-under-test"))
        .args(["status", "--socket"])
        .arg(house.socket())
        .output()
        .expect("it can be started");
    println!("status says:\n{}", String::from_utf8_lossy(&status.stdout));

    fs::remove_file(&ballast).expect("it is there");
    // By itself.
    eventually("the checkpoint that there is room for", || {
        let table = house.table(&client, "ledger");
        (table.disk_error.is_none() && table.durable_version == Some(table.version)).then_some(())
    });
    assert!(house.log().contains("checkpoints go on"));
    last += 1;
    write(&mut writer, last).expect("there is room again");
    house.crash();
    house.start_again();
    assert_eq!(write_found(&house), last);
    house.stop();
}

#[test]
fn a_table_in_memory_says_that_it_is_not_on_disk() {
    let house = House::start(|_| one_table("ledger", "victim"));
    let (_worker, mut writer, _) = own(&house);
    write(&mut writer, 1).expect("it owns the table");
    let refused = writer.flush();
    assert!(
        matches!(&refused, Err(WriteError::NotDurable { reason, .. }) if reason.contains("in memory only")),
        "{refused:?}"
    );
}

#[test]
fn an_embedded_manager_keeps_its_tables_on_disk_too() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let open = |durability| {
        let table = Table::set("counts").durability(durability);
        let table = table.find_me(|ready: &Candidates| ready.named("w"));
        Manager::embedded().store(folder.path()).table(table).start().expect("the house opens")
    };
    let hour = Durability::Interval { every: Duration::from_secs(3600) };
    {
        let house = open(hour);
        let worker = house.worker("w").expect("the house lets it in");
        let counts = worker.own::<str, u64>("counts").expect("it may own the table");
        worker.ready().expect("it is ready");
        counts.write(|table| table.insert("a", &1)).expect("it owns the table");
        let version = counts.flush().expect("there is room on the disk");
        assert_eq!(house.status().tables[0].durable_version, Some(version));
        counts.write(|table| table.insert("b", &2)).expect("it owns the table");
    }
    // Dropped, it has made a last checkpoint. Now with commits that wait, of eight threads.
    {
        let house = open(Durability::Commit);
        let worker = house.worker("w").expect("the house lets it in");
        let counts = worker.own::<str, u64>("counts").expect("it may own the table");
        worker.ready().expect("it is ready");
        assert_eq!(counts.get("b").expect("it is whole"), Some(2));
        thread::scope(|scope| {
            for name in ["1", "2", "3", "4", "5", "6", "7", "8"] {
                let counts = counts.clone();
                scope.spawn(move || {
                    for _ in 0..20 {
                        counts.write(|table| table.add(name, 1)).expect("there is room on the disk");
                    }
                });
            }
        });
        let status = &house.status().tables[0];
        assert_eq!(status.durable_version, Some(status.version), "whatever returned is on disk");
        println!("160 commits of eight threads in {} checkpoints", status.checkpoints);
    }
    let house = open(hour);
    let counts: Reader<str, u64> = house.client().expect("it is let in").reader("counts").expect("a reader");
    assert_eq!(counts.get("8").expect("it is whole"), Some(20));
}
