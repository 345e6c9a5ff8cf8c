//! What fails again and again costs no table: a worker, a manager whose configuration was broken while it ran, and a
//! manager that hangs. Each is loud, and over when its cause is.

use heirloom_tests::victims::{READERS, Stage, Victim};
use heirloom_tests::{House, eventually, ledger::Returned, one_table, program};
use heirloom_worker::{Client, Status, Worker};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it is there, and ours");
}

fn commits_go_on(returned: &Returned) {
    let before = returned.last().expect("it can be read");
    eventually("commits", || (returned.last().expect("it can be read") > before + 10).then_some(()));
}

fn is_logged(house: &House, what: &str) {
    eventually(what, || house.log().contains(what).then_some(()));
}

fn next_manager(client: &Client, last: u32) -> Status {
    eventually("the next manager", || client.status().ok().filter(|status| status.manager_pid != last))
}

#[test]
fn a_poisoned_configuration_costs_no_table() {
    let stage = Stage::open();
    let (house, returned) = (&stage.house, stage.returned());
    let client = house.client();
    let owner = stage.start("own");
    assert!(owner.next_line().starts_with("owns"));
    let mut readers = READERS.map(|role| stage.start(role));
    let incarnation = client.reader::<u64, Vec<u64>>("ledger").expect("a reader").info().incarnation;
    let before = client.status().expect("the manager answers");

    let file = house.folder().join("heirloom.toml");
    let sound = fs::read_to_string(&file).expect("it can be read");
    fs::write(&file, "[[table]]\nid = \"ledger\"\ntype = \"heap\"\n").expect("written");
    signal(before.manager_pid, Signal::KILL);
    is_logged(house, "the manager is in a CRASH LOOP: it has failed 3 times in a row");
    commits_go_on(&returned);

    // Mended by halves: now it is a source of another table that is missing.
    let unsourced = "[[table]]\nid = \"cars\"\ntype = \"set\"\nmax_bytes = \"1MiB\"\nhydrate = { file = \"no-cars.csv\" }\n";
    fs::write(&file, sound.clone() + unsourced).expect("written");
    is_logged(house, "no-cars.csv");
    commits_go_on(&returned);
    readers.iter_mut().for_each(Victim::is_there);

    fs::write(&file, sound).expect("written");
    let after = next_manager(&client, before.manager_pid);
    let (was, is) = (&before.tables[0], &after.tables[0]);
    assert!(is.adopted, "{is:?}");
    assert_eq!((is.owner.as_ref().map(|owner| owner.pid), is.epoch), (Some(owner.pid()), was.epoch));
    let now = client.reader::<u64, Vec<u64>>("ledger").expect("a reader").info().incarnation;
    assert_eq!(now, incarnation, "it is the same table");
    commits_go_on(&returned);
    readers.iter_mut().for_each(Victim::is_there);
}

#[test]
fn an_owner_that_needs_memory_goes_on_while_there_is_no_manager() {
    let house = House::start(|_| one_table("ledger", "grower"));
    let client = house.client();
    let worker = Worker::connect(house.socket(), "grower").expect("there is a manager");
    let mut transfers = heirloom_tests::role::transfers(&worker, "ledger").expect("an heir");
    let mut table = transfers.next().expect("a transfer").accept::<u64, [u8]>().expect("accepted");
    let reader = client.reader::<u64, [u8]>("ledger").expect("a reader");

    let file = house.folder().join("heirloom.toml");
    let sound = fs::read_to_string(&file).expect("it can be read");
    let manager = client.status().expect("the manager answers").manager_pid;
    fs::write(&file, "poisoned").expect("written");
    signal(manager, Signal::KILL);
    is_logged(&house, "the manager is in a CRASH LOOP");
    let before = table.info().used_bytes;
    let value = [7; 4096];
    // Three quarters of all that the table may have, from next to nothing.
    for key in 0..3000_u64 {
        table.insert(&key, &value).expect("there is memory");
    }
    assert!(table.info().used_bytes > before + (10 << 20), "{before}, then {}", table.info().used_bytes);
    assert_eq!(reader.get(&2999).expect("a read").as_deref(), Some(&value[..]));

    fs::write(&file, sound).expect("written");
    let table_again = next_manager(&client, manager).tables.remove(0);
    assert_eq!((table_again.entries, table_again.epoch), (3000, table.epoch()));
    table.insert(&3000, &value).expect("it is the owner still");
}

#[test]
fn a_worker_in_a_crash_loop_costs_no_table() {
    let house = House::start(|folder| {
        format!(
            "[supervisor]\nintensity = 2\nperiod = \"1h\"\ncrash_loop_retry = \"never\"\n\
             [[table]]\nid = \"ledger\"\ntype = \"set\"\nmax_bytes = \"16MiB\"\nfind_me = {{ name = \"victim\" }}\n\
             [[worker]]\nname = \"victim\"\ncommand = [{:?}, \"own\", \"ledger\", {:?}]\nback_off = {{ first = \"1ms\" }}\n",
            program("victim"),
            folder.join("returned"),
        )
    });
    let client = house.client();
    let returned = Returned::open(&house.folder().join("returned")).expect("a record");
    let mut last = 0;
    for _ in 0..3 {
        let owner = eventually("an owner", || {
            let owner = house.table(&client, "ledger").owner?.pid;
            (owner != last).then_some(owner)
        });
        commits_go_on(&returned);
        signal(owner, Signal::KILL);
        last = owner;
    }
    let status = eventually("the crash loop", || {
        client.status().ok().filter(|status| status.children[0].state == "crash_loop")
    });
    assert_eq!(status.children[0].last_exit.as_deref(), Some("killed by signal 9"));
    assert!(house.log().contains("worker victim is in a CRASH LOOP"));
    // The table waits for whoever comes: here for one that nobody has to start. It compares it with what had returned.
    let written = returned.last().expect("it can be read");
    let table = eventually("the table to be taken back", || {
        Some(house.table(&client, "ledger")).filter(|table| table.owner.is_none())
    });
    assert!(table.entries > 0 && written > 0, "{table:?}");
    let heir = Victim::start("own", &house.socket(), &house.folder().join("returned"));
    assert!(heir.next_line().starts_with("owns"));
}

#[test]
fn a_manager_that_hangs_is_killed_and_the_next_one_has_its_tables() {
    let house =
        House::start(|_| "[manager]\nwatchdog = \"1s\"\n".to_owned() + &one_table("ledger", "victim"));
    let client = house.client();
    let record = house.folder().join("returned");
    let returned = Returned::open(&record).expect("a record");
    let owner = Victim::start("own", &house.socket(), &record);
    assert!(owner.next_line().starts_with("owns"));
    let before = client.status().expect("the manager answers");
    signal(before.manager_pid, Signal::STOP);
    commits_go_on(&returned);
    let after = next_manager(&client, before.manager_pid);
    assert!(house.log().contains("the manager shows no sign of life"));
    let (was, is) = (&before.tables[0], &after.tables[0]);
    assert!(is.adopted, "{is:?}");
    assert_eq!((is.owner.as_ref().map(|owner| owner.pid), is.epoch), (Some(owner.pid()), was.epoch));
    commits_go_on(&returned);
}
