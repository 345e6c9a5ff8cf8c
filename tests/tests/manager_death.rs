//! The manager is killed, alone and together with the owner, under load, with readers, snapshots and watchers: the owner
//! goes on writing, the readers reading, and the next manager takes up what the last one left. What each heir finds is
//! compared with a record of what returned.
//!
//! `HEIRLOOM_KILL_ROUNDS=1000 cargo test -p heirloom-tests --test manager_death` is the long version.

use heirloom_protocol::message::TableStatus;
use heirloom_tests::victims::{READERS, Stage, Victim};
use heirloom_tests::{eventually, ledger::Returned};
use heirloom_worker::Client;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use std::thread;
use std::time::{Duration, Instant};

/// What is killed in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kill {
    Manager,
    ManagerThenOwner,
    OwnerThenManager,
    /// In the middle of the handoff that it begins.
    OwnerAndTheManagerLater,
}

const KILLS: [Kill; 4] =
    [Kill::Manager, Kill::ManagerThenOwner, Kill::OwnerThenManager, Kill::OwnerAndTheManagerLater];

fn kill_manager(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::KILL).expect("the manager is there, and ours");
}

/// Waits for another manager than that one, and says what it knows of the table.
fn next_manager(client: &Client, last: u32) -> (u32, TableStatus) {
    let status =
        eventually("the next manager", || client.status().ok().filter(|status| status.manager_pid != last));
    (status.manager_pid, status.tables.into_iter().next().expect("there is one table"))
}

fn commits_go_on(returned: &Returned) {
    let before = returned.last().expect("it can be read");
    eventually("commits", || (returned.last().expect("it can be read") > before + 10).then_some(()));
}

#[test]
fn whenever_the_manager_dies_nothing_is_lost_and_nobody_waits() {
    let rounds = std::env::var("HEIRLOOM_KILL_ROUNDS")
        .map_or(24, |rounds| rounds.parse().expect("HEIRLOOM_KILL_ROUNDS is a number"));
    let stage = Stage::open();
    let returned = stage.returned();
    let client = stage.house.client();
    let mut manager = client.status().expect("the manager answers").manager_pid;
    let incarnation = client.reader::<u64, Vec<u64>>("ledger").expect("a reader").info().incarnation;

    let mut random = StdRng::seed_from_u64(23);
    let mut owner = stage.start("own");
    let mut heir = stage.start("own");
    let mut readers = READERS.map(|role| stage.start(role));
    assert!(owner.next_line().starts_with("owns"));
    let mut took = Vec::new();
    for round in 0..rounds {
        let kill = KILLS[round % KILLS.len()];
        commits_go_on(&returned);
        let epoch = stage.house.table(&client, "ledger").epoch;
        // At any moment: this is the thing tested, not something waited for.
        thread::sleep(Duration::from_micros(random.random_range(0..4000)));
        let killed = Instant::now();
        if kill == Kill::Manager {
            kill_manager(manager);
            // Not after it is back, but now.
            commits_go_on(&returned);
            let (next, table) = next_manager(&client, manager);
            took.push(killed.elapsed());
            assert!(table.adopted, "round {round}: {table:?}");
            let (owned_by, of) = (table.owner.map(|owner| owner.pid), table.epoch);
            assert_eq!((owned_by, of), (Some(owner.pid()), epoch), "round {round}");
            commits_go_on(&returned);
            manager = next;
        } else {
            if kill == Kill::ManagerThenOwner {
                kill_manager(manager);
            }
            owner.kill();
            if kill == Kill::OwnerAndTheManagerLater {
                thread::sleep(Duration::from_micros(random.random_range(0..1500)));
            }
            if kill != Kill::ManagerThenOwner {
                kill_manager(manager);
            }
            let line = heir.next_line();
            assert!(line.starts_with("owns"), "round {round}, {kill:?}: {line}");
            owner = std::mem::replace(&mut heir, stage.start("own"));
            manager = next_manager(&client, manager).0;
        }
        let now = client.reader::<u64, Vec<u64>>("ledger").expect("a reader").info().incarnation;
        assert_eq!(now, incarnation, "round {round}, {kill:?}: it is the same table");
        readers.iter_mut().for_each(Victim::is_there);
    }
    readers.into_iter().for_each(Victim::kill);
    took.sort_unstable();
    println!(
        "{rounds} managers killed, {} writes; from the kill to the next one's answer {:?} at the median, {:?} at most",
        returned.last().expect("it can be read"),
        took[took.len() / 2],
        took[took.len() - 1]
    );
}
