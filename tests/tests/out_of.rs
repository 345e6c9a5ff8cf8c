//! What a house does that has run out of something: descriptors, memory, room in a table, or the right time (rule H5).
//! Nothing that returned is lost, the error says what is missing, and all goes on when it is there again.

use heirloom_tests::ledger::Returned;
use heirloom_tests::{
    Actor, Candidate, House, Misbehaviour, Relay, eventually, needs, one_table, program, role,
};
use heirloom_worker::testing::{Rehearsal, Table};
use heirloom_worker::{Clock, HandOn, Worker, WriteError, Writer};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn pid(number: u32) -> Pid {
    i32::try_from(number).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Lets a process open nothing more, until this is dropped.
struct NoDescriptors {
    of: u32,
    before: Rlimit,
}

impl NoDescriptors {
    fn left_to(of: u32) -> Self {
        let open: Vec<u64> = fs::read_dir(format!("/proc/{of}/fd"))
            .expect("it is ours")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        // The kernel gives the lowest number that is free, and refuses it from the limit on.
        let free = (0..).find(|number| !open.contains(number));
        let maximum = getrlimit(Resource::Nofile).maximum;
        let before = prlimit(Some(pid(of)), Resource::Nofile, Rlimit { current: free, maximum });
        Self { of, before: before.expect("it is ours") }
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        let _ = prlimit(Some(pid(self.of)), Resource::Nofile, self.before);
    }
}

#[test]
fn a_manager_without_descriptors_hands_on_when_there_are_some() {
    let house = House::start(|_| one_table("ledger", "clerk"));
    let status = house.status();
    let mut relay = Relay::start(&house.socket(), "clerk", "ledger");
    relay.pass(2);
    let client = house.client();
    let none = NoDescriptors::left_to(status.manager_pid);
    // For the next owner there is no handle to be had.
    let asked = client.hand_on("ledger", HandOn::new().within(Duration::from_millis(300)));
    println!("without descriptors: {asked:?}");
    let said = eventually("the log to say what is missing", || {
        let log = house.log();
        log.lines()
            .find(|line| line.contains("ledger") && line.contains("Too many open files"))
            .map(str::to_owned)
    });
    println!("{said}");
    let table = house_table(&client);
    println!("status: {} {:?}, {:?}", table.state, table.detail, table.owner);
    assert_eq!(client.status().expect("it answers as ever").manager_pid, status.manager_pid);
    drop(none);
    relay.is_owned();
    relay.pass(10);
    relay.nothing_is_lost();
}

fn house_table(client: &heirloom_worker::Client) -> heirloom_protocol::message::TableStatus {
    client.status().expect("it answers as ever").tables.remove(0)
}

#[test]
fn a_worker_without_descriptors_takes_over_when_there_are_some() {
    let house = House::start(|_| one_table("ledger", "clerk"));
    let client = house.client();
    let start = || Candidate::start(&house.socket(), "clerk", "ledger", Misbehaviour::None, 0);
    let owner = start();
    assert_eq!(owner.next_words()[0], "owns");
    let heir = start();
    let reader = client.reader::<str, u64>("ledger").expect("a reader");
    eventually("commits", || reader.get("count").ok().flatten().filter(|count| *count > 100));
    let none = NoDescriptors::left_to(heir.pid());
    owner.kill();
    // It is offered the table, and cannot receive that.
    eventually("an offer to the heir", || {
        let offered = format!("worker={}", heir.pid());
        house.log().lines().any(|line| line.contains("offered") && line.contains(&offered)).then_some(())
    });
    let count = reader.get("count").expect("reads go on").expect("it was there");
    let table = house_table(&client);
    println!("status: {} {:?}, {:?}", table.state, table.detail, table.owner);
    assert_ne!(table.owner.map(|of| of.pid), Some(heir.pid()), "it has received nothing");
    drop(none);
    let words = heir.next_words();
    let found: u64 = words[3].parse().expect("a number");
    assert!(words[0] == "owns" && found >= count, "{words:?}, and {count} was committed");
    assert_eq!(heir.next_words(), ["commits"]);
}

/// The next table that this worker is handed.
fn take(inbox: &mut impl Iterator<Item = heirloom_worker::Transfer>) -> Writer<u64, Vec<u8>> {
    inbox.next().expect("a transfer").accept().expect("it is granted")
}

#[test]
fn a_full_table_refuses_what_does_not_fit_and_all_else_goes_on() {
    let house = House::start(|_| one_table("ledger", "clerk").replace("16MiB", "1MiB"));
    let client = house.client();
    let [first, second] = [(), ()].map(|()| Worker::connect(house.socket(), "clerk").expect("a manager"));
    let mut inbox = role::transfers(&first, "ledger").expect("a worker");
    let mut writer = take(&mut inbox);
    let mut next = role::transfers(&second, "ledger").expect("a worker");

    let value = |key: u64| vec![key as u8; 1000];
    let (keys, error) = (0..)
        .find_map(|key| writer.insert(&key, &value(key)).err().map(|error| (key, error)))
        .expect("it does not grow for ever");
    println!("after {keys} entries: {error}");
    assert!(matches!(error, WriteError::TableFull { max_bytes: 0x10_0000, .. }), "{error:?}");
    let entries = writer.info().entries;
    assert_eq!(entries, keys, "what was refused has changed nothing");
    let table = eventually("the status to say so", || {
        Some(house_table(&client)).filter(|table| table.nearly_full && table.entries == keys)
    });
    assert!(table.bytes <= table.max_bytes && table.max_bytes == 1 << 20, "{table:?}");
    eventually("the log", || house.log().contains("a table is nearly full").then_some(()));

    // Handed on as it is, by the death of its owner's writer.
    writer.release().expect("it is the owner's");
    let mut writer = take(&mut next);
    for key in 0..keys {
        assert_eq!(writer.get(&key).expect("it can be read"), Some(value(key)), "key {key}");
    }
    let refused = writer.insert(&keys, &value(keys)).expect_err("it is full still");
    assert!(matches!(refused, WriteError::TableFull { .. }), "{refused:?}");
    for key in 0..keys / 2 {
        assert!(writer.remove(&key).expect("removing always works"), "key {key}");
    }
    for key in 0..keys / 4 {
        writer.insert(&key, &value(key)).expect("there is room again");
    }
    // And more, where an operator allows it.
    client.set_limit("ledger", 2 << 20).expect("within the reserve");
    for key in 0..keys * 3 / 2 {
        writer.insert(&key, &value(key)).expect("the limit is twice what it was");
    }
    assert_eq!(writer.info().entries, keys * 3 / 2);
}

/// In a memory cgroup, by its own folder: how many of its processes the kernel has killed.
fn kernel_kills(group: &Path) -> u64 {
    let files = ["memory.oom_control", "memory.events"].map(|file| fs::read_to_string(group.join(file)));
    let line =
        files.iter().flatten().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).expect("the kernel counts them")
}

#[test]
fn at_a_memory_limit_a_write_is_refused_and_past_it_no_commit_is_lost() {
    let test = "at_a_memory_limit_a_write_is_refused_and_past_it_no_commit_is_lost";
    if !needs::root(test) {
        return;
    }
    let house = House::start(|_| one_table("ledger", "hoarder").replace("16MiB", "512MiB"));
    let client = house.client();
    let record = house.folder().join("returned");
    let Some(group) = needs::Cgroup::with_memory(96 << 20, test) else { return };
    let hoarder = |role: &str, words: &[&str]| {
        let mut command = Command::new("sh");
        let join = format!("echo $$ > {}/cgroup.procs; exec \"$0\" \"$@\"", group.folder().display());
        command.args(["-c", &join]).arg(program("hoarder")).arg(role).args(words);
        Actor::start(command.env("HEIRLOOM_SOCKET", house.socket()))
    };
    let own = || hoarder("own", &["ledger", record.to_str().expect("a path of ours")]);
    let mut owner = own();
    assert_eq!(owner.next_line().as_deref(), Some("owns 0"));
    let said = owner.next_line().unwrap_or_default();
    println!("{said}; the kernel has killed {}", kernel_kills(group.folder()));
    assert!(said.contains("cannot grow") && said.contains("has a limit of 96 MiB"), "{said}");
    assert_eq!(kernel_kills(group.folder()), 0, "an error, and no kill");
    let returned = Returned::open(&record).expect("it is there");
    let full_at = returned.last().expect("it can be read");
    eventually("commits in the memory that there is", || {
        (returned.last().expect("it can be read") > full_at + 1000).then_some(())
    });

    // Somebody takes what is kept back, in the same cgroup, and the kernel kills the owner for it: whom it chooses is told
    // to it here, so that the outcome is always the same.
    let heir = own();
    fs::write(format!("/proc/{}/oom_score_adj", owner.process().id()), "1000").expect("more is allowed");
    let mut eater = hoarder("eat", &[&owner.process().id().to_string()]);
    println!("{:?}", eater.next_line());
    eventually("the owner's end", || owner.ended());
    // It checks the whole table, and that what returned is in it.
    let took = heir.next_line().unwrap_or_default();
    assert!(took.starts_with("owns "), "{took}");
    assert!(heir.next_line().unwrap_or_default().contains("cannot grow"), "there is no more than before");
    let last = returned.last().expect("it can be read");
    eventually("the heir's commits", || {
        (returned.last().expect("it can be read") > last + 100).then_some(())
    });
    let kills = kernel_kills(group.folder());
    println!("the kernel has killed {kills}; {took}");
    // Its last step may have come before the owner's end was felt: then it fell to the kernel too.
    let eaters_end = u64::from(eater.ended().is_some());
    assert_eq!(kills, 1 + eaters_end, "the owner, and no heir after it");
    let table = house_table(&client);
    assert_eq!(table.owner.map(|of| of.pid), Some(heir.process().id()));
    // The cgroup goes when they have.
    drop((owner, heir, eater));
}

/// Deadlines of entries are moments of UNIX time: who sets the host's clock forward ends them early, who sets it back
/// makes them live longer. That is all that a jump does.
#[test]
fn a_clock_that_jumps_moves_the_deadlines_of_entries_and_nothing_else() {
    const NOW: u64 = 1_700_000_000_000;
    let clock = Clock::manual(NOW);
    let mut rehearsal = Rehearsal::new(Table::set("sessions")).clock(clock.clone());
    let mut writer = rehearsal.transfer().accept::<str, u64>().expect("it is offered");
    let reader = rehearsal.reader::<str, u64>();
    writer.insert_with_ttl("a", &1, Duration::from_secs(60)).expect("there is room");
    writer.insert("for good", &2).expect("there is room");
    // An hour back: nothing ends that would not have.
    clock.set(NOW - 3_600_000);
    assert_eq!(reader.get("a").expect("it can be read"), Some(1));
    assert_eq!(writer.remove_expired(usize::MAX).expect("this is the owner"), 0);
    // Written now, it ends a minute from now by the same clock.
    writer.insert_with_ttl("b", &3, Duration::from_secs(60)).expect("there is room");
    clock.set(NOW - 3_600_000 + 60_000);
    assert_eq!((reader.get("a").expect("read"), reader.get("b").expect("read")), (Some(1), None));
    // A day forward: what has a deadline ends, and is removed; what has none does not.
    clock.set(NOW + 86_400_000);
    assert_eq!(reader.get("a").expect("it can be read"), None);
    assert_eq!(writer.remove_expired(usize::MAX).expect("this is the owner"), 2);
    // Back again: what was removed does not return.
    clock.set(NOW);
    assert_eq!(reader.get("a").expect("it can be read"), None);
    assert_eq!(reader.get("for good").expect("it can be read"), Some(2));
}

/// Leases, snapshots, offers, recalls, back-offs: all by `CLOCK_MONOTONIC` (`Instant`), which nobody sets. The host's time
/// is asked in one place, for the deadlines of entries.
#[test]
fn nothing_but_deadlines_of_entries_asks_for_the_hosts_time() {
    const ASKED_IN: [&str; 1] = ["protocol/src/table/clock.rs"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in a workspace");
    let mut asks = Vec::new();
    let mut folders = ["protocol/src", "worker/src", "manager/src"].map(|folder| root.join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = fs::read_to_string(&entry).expect("source text");
            if ["SystemTime", "ClockId::Realtime", "CLOCK_REALTIME"].iter().any(|clock| text.contains(clock))
            {
                asks.push(entry.strip_prefix(root).expect("below it").display().to_string());
            }
        }
    }
    assert_eq!(asks, ASKED_IN, "a timer that is not monotonic?");
}

/// What a second costs when time stands still for nobody: a lease of a snapshot ends by the manager's own clock.
#[test]
fn a_snapshot_ends_by_its_age_and_not_by_the_hosts_time() {
    let house = House::start(|_| {
        one_table("ledger", "clerk").replace("max_bytes", "snapshot_max_age = \"1s\"\nmax_bytes")
    });
    let client = house.client();
    let snapshot = client.reader::<str, u64>("ledger").expect("a reader").snapshot().expect("a snapshot");
    let taken = Instant::now();
    eventually("the end of the snapshot", || snapshot.get("count").err());
    assert!(taken.elapsed() >= Duration::from_millis(900), "{:?}", taken.elapsed());
}
