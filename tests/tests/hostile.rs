//! Other users of the machine, who mean no good: what they reach, and what they can do to others (rules H9, H18, H19).
//!
//! Handoffs during each flood are timed and printed, beside those of a quiet house: `cargo test -p heirloom-tests --test
//! hostile -- --nocapture`.

use heirloom_protocol::message::OwnerStatus;
use heirloom_tests::{Actor, House, Relay, eventually, needs, program};
use heirloom_worker::{Client, ConnectError};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nobody in particular; the numbers behind it are nobody either, and need no account.
const STRANGER: u32 = 65_534;
const READER: u32 = 61_001;
const OWNER: u32 = 61_002;
const GROUP: u32 = 61_009;

/// Handoffs that are timed during each flood.
const HANDOFFS: usize = 30;

static TIMED: Mutex<()> = Mutex::new(());

/// They are about time, so they run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    TIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A table of our own user, one that others may read and own, and one that everybody may read.
fn configuration() -> String {
    format!(
        r#"
[[table]]
id = "ours"
type = "set"
max_bytes = "16MiB"
find_me = {{ name = "clerk" }}

[[table]]
id = "theirs"
type = "set"
max_bytes = "16MiB"
find_me = {{ name = "clerk" }}
owner = {{ users = ["{OWNER}"] }}
readers = {{ users = ["{READER}"], groups = ["{GROUP}"] }}

[[table]]
id = "open"
type = "set"
max_bytes = "16MiB"
readers = "anyone"

[[worker]]
name = "clerk"
external = true
"#
    )
}

fn open_house() -> House {
    let house = House::start(|_| configuration());
    house.open_folder();
    drop(house.client());
    house
}

/// A process of another user.
fn neighbour(house: &House, user: u32, group: u32, role: &str, words: &[&str]) -> Actor {
    let mut command = Command::new(program("neighbour"));
    command.arg(role).arg(house.socket()).args(words).current_dir("/").uid(user).gid(group);
    Actor::start(&mut command)
}

/// All that it says until its end.
fn says(actor: &Actor) -> Vec<String> {
    std::iter::from_fn(|| actor.next_line()).collect()
}

#[test]
fn others_get_what_they_are_granted_and_reach_nothing_else() {
    if !needs::root("others_get_what_they_are_granted_and_reach_nothing_else") {
        return;
    }
    let house = open_house();
    let relay = Relay::start(&house.socket(), "clerk", "ours");
    let manager = house.status().manager_pid.to_string();
    let owner = std::process::id().to_string();
    let look = |user, group, table| says(&neighbour(&house, user, group, "look", &[table, &manager, &owner]));
    let nothing_of = |process: &str| format!("files of {process}: refused");
    let hidden = [nothing_of(&manager), nothing_of(&owner)];
    let common = ["limit: not permitted", "children: not permitted", "register: granted"];
    let expect = |open: &[&str], own: &[&str]| -> Vec<String> {
        let words = open.iter().chain(&common).chain(own).map(|word| (*word).to_owned());
        hidden.iter().cloned().chain(words).collect()
    };
    let reads = ["open: granted", "write what was opened: refused"];
    let not_own = ["own: not permitted"];
    for (who, user, group, table, open) in [
        ("a stranger", STRANGER, STRANGER, "ours", &["open: not permitted"][..]),
        ("a stranger", STRANGER, STRANGER, "theirs", &["open: not permitted"]),
        ("a reader", READER, READER, "theirs", &reads),
        ("a reader by group", STRANGER, GROUP, "theirs", &reads),
        ("a reader", READER, READER, "ours", &["open: not permitted"]),
        ("anybody", STRANGER, STRANGER, "open", &reads),
        ("an owner of another table", OWNER, OWNER, "ours", &["open: not permitted"]),
    ] {
        let said = look(user, group, table);
        let expected = expect(open, &not_own);
        assert_eq!(said.get(..expected.len()), Some(&expected[..]), "{who} and `{table}`");
        assert_eq!(
            said.last().map(String::as_str),
            Some("recall: not permitted"),
            "{who} and `{table}`: {said:?}"
        );
        // What it accepted and released was never its own.
        relay.is_owned();
    }
    let said = look(OWNER, OWNER, "theirs");
    assert_eq!(said.get(..8), Some(&expect(&reads, &["own: granted"])[..]), "an owner");
    relay.is_owned();
    relay.nothing_is_lost();
}

#[test]
fn nobody_else_connects_where_nothing_is_granted() {
    if !needs::root("nobody_else_connects_where_nothing_is_granted") {
        return;
    }
    let house = House::start(|_| heirloom_tests::one_table("ours", "clerk"));
    house.open_folder();
    drop(house.client());
    let said = says(&neighbour(&house, STRANGER, STRANGER, "look", &["ours"]));
    assert!(said.len() == 1 && said[0].contains("Permission denied"), "{said:?}");
}

/// With 512 descriptors. What is taken is taken by six users, each of whom would take them all.
#[test]
fn a_crowd_leaves_seats_and_descriptors_to_others() {
    if !needs::root("a_crowd_leaves_seats_and_descriptors_to_others") {
        return;
    }
    let _alone = alone();
    let few = ["sh", "-c", "ulimit -n 512; exec \"$0\" \"$@\""];
    let house = House::start_by(&few, |_| configuration());
    house.open_folder();
    let warnings = house.status().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("ulimit -Hn")), "{warnings:?}");
    let mut relay = Relay::start(&house.socket(), "clerk", "ours");

    // One comes after the other: side by side, they share what there is as it happens.
    let come = |number| {
        let actor = neighbour(&house, OWNER + number, GROUP, "crowd", &[]);
        let seats: usize = actor.next_line().expect("a number").parse().expect("a number");
        (actor, seats)
    };
    let (mut crowd, seats): (Vec<Actor>, Vec<usize>) = (0..6).map(come).unzip();
    println!("six users who want all connections have {seats:?}");
    let all: usize = seats.iter().sum();
    assert!(seats[0] > 0 && seats.iter().all(|of_one| *of_one <= 32 && *of_one <= seats[0]), "{seats:?}");
    assert!((1..=64).contains(&all) && seats.contains(&0), "as many as 512 descriptors allow: {seats:?}");

    // What is left is enough for us, and for handoffs.
    let ours: Vec<Client> =
        (0..8).map(|_| Client::connect(house.socket()).expect("we are not others")).collect();
    for client in &ours {
        client.reader::<str, u64>("ours").expect("a descriptor is to be had");
    }
    println!("with that crowd: {}", relay.pass(HANDOFFS));
    relay.nothing_is_lost();

    let refused = neighbour(&house, READER, READER, "look", &["theirs"]);
    let said = says(&refused);
    assert!(said.iter().all(|line| line.starts_with("connect: ")), "there is no seat: {said:?}");
    crowd.iter_mut().for_each(Actor::that_is_enough);
    eventually("a seat for somebody else", || {
        let said = says(&neighbour(&house, READER, READER, "look", &["theirs"]));
        said.contains(&"open: granted".to_owned()).then_some(())
    });
}

#[test]
fn floods_delay_no_handoff_of_others_and_fill_no_log() {
    if !needs::root("floods_delay_no_handoff_of_others_and_fill_no_log") {
        return;
    }
    let _alone = alone();
    let house = open_house();
    let manager = house.status().manager_pid;
    let mut relay = Relay::start(&house.socket(), "clerk", "ours");
    println!("{:>8}: {}", "quiet", relay.pass(HANDOFFS));
    for role in ["churn", "garbage", "lengths", "attach", "deaf", "talk"] {
        let mut floods = [STRANGER, READER].map(|user| neighbour(&house, user, user, role, &["open"]));
        let times = relay.pass(HANDOFFS);
        floods.iter_mut().for_each(Actor::that_is_enough);
        let done = floods.map(|flood| flood.next_line().unwrap_or_default()).join(" and ");
        println!("{role:>8}: {times} ({done} times meanwhile)");
        relay.nothing_is_lost();
    }
    println!("{:>8}: {}", "quiet", relay.pass(HANDOFFS));
    assert_eq!(house.status().manager_pid, manager, "it has not died of any of that");

    let log = eventually("a summary of what was not logged", || {
        Some(house.log()).filter(|log| log.contains("more of the same"))
    });
    let about_clients = ["cut off", "refused", "does not read", "taken up"];
    let lines = log.lines().filter(|line| about_clients.iter().any(|word| line.contains(word))).count();
    println!("{lines} lines about clients in the log");
    assert!(lines < 500, "that is one for each of the client's, or nearly");
    assert!(log.lines().all(|line| line.len() < 1000), "no client makes a line that long");
}

#[test]
fn a_name_of_any_length_is_shown_short_and_on_one_line() {
    let house = House::start(|_| configuration());
    let client = house.client();
    let name = format!("line\nforged {}", "x".repeat(50_000));
    let refused = client.reader::<str, u64>(&name).expect_err("there is no such table").to_string();
    assert!(refused.len() < 1000 && !refused.contains("line\nforged"), "{refused}");
    let worker = heirloom_worker::Worker::connect(house.socket(), "nobody\nelse");
    let Err(ConnectError::Refused { message, .. }) = worker else { panic!("{worker:?}") };
    assert!(message.contains("nobody\\nelse"), "{message}");
    eventually("the log", || house.log().contains("line\\nforged").then_some(()));
    assert!(!house.log().lines().any(|line| line.starts_with("forged") || line.len() > 1000));
    let owners: Vec<Option<OwnerStatus>> =
        house.status().tables.into_iter().map(|table| table.owner).collect();
    assert_eq!(owners, [None, None, None]);
}
