//! Owners that live and do not keep the contract, as real processes: hung, of another user, in another PID namespace; and
//! a manager, or a machine, that was stopped.

use heirloom_protocol::message::TableStatus;
use heirloom_protocol::sys::needs::{self, IN_NAMESPACES};
use heirloom_tests::{Candidate, House, Misbehaviour, eventually, one_table};
use heirloom_worker::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Neither root nor anybody who has an account on the machine.
const WORKERS_USER: &str = "65533";
const AS_WORKERS_USER: [&str; 4] = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"];
const AS_ANOTHER_USER: [&str; 4] = ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"];

/// The table `ledger`, under that lease, for workers called `clerk` of whatever user.
fn ledger(lease: &str) -> String {
    let table = one_table("ledger", "clerk");
    let with_lease = format!(
        "find_me = {{ name = \"clerk\" }}\nlease = \"{lease}\"\n\
                              owner = {{ users = [\"{WORKERS_USER}\"] }}"
    );
    let table = table.replace("find_me = { name = \"clerk\" }", &with_lease);
    format!("[manager]\ngrace = \"300ms\"\n{table}")
}

/// The same in a folder where every user may make a socket.
fn in_open(folder: &Path, lease: &str) -> String {
    fs::set_permissions(folder, Permissions::from_mode(0o777)).expect("our folder");
    ledger(lease)
}

fn state(house: &House, client: &Client, wanted: &str) -> TableStatus {
    eventually(format!("the table to be {wanted}"), || {
        Some(house.table(client, "ledger")).filter(|table| table.state == wanted)
    })
}

/// Waits until it has the table, in that epoch, and has committed.
fn owns(candidate: &Candidate, epoch: &str) {
    let words = candidate.next_words();
    assert_eq!(words[..2], ["owns", epoch], "{words:?}");
    assert_eq!(candidate.next_words(), ["commits"]);
}

#[test]
fn a_worker_that_hangs_is_replaced_though_its_library_lives() {
    let house = House::start(|_| ledger("1s"));
    let start = |misbehaviour| Candidate::start(&house.socket(), "clerk", "ledger", misbehaviour, 0);
    let mut hung = start(Misbehaviour::Hangs);
    owns(&hung, "1");
    let heir = start(Misbehaviour::None);
    hung.wait_for_end();
    owns(&heir, "2");
    let log = house.log();
    assert!(log.contains("no sign of life for as long as its lease"), "{log}");
}

/// As if the machine had been suspended: that is nobody's silence.
#[test]
fn a_manager_that_was_stopped_kills_nobody_for_that_time() {
    const LEASE: Duration = Duration::from_secs(2);
    let house = House::start(|_| ledger("2s"));
    let client = house.client();
    let clerk = ["env"];
    let owner = Candidate::start_by(&clerk, &house.socket(), "clerk", "ledger", Misbehaviour::None);
    owns(&owner, "1");
    let manager = house.status().manager_pid;
    let manager = i32::try_from(manager).ok().and_then(Pid::from_raw).expect("a process id");
    owner.signal(Signal::STOP);
    kill_process(manager, Signal::STOP).expect("it is our grandchild");
    // What is claimed is about time that passes, so it has to.
    thread::sleep(LEASE + LEASE / 4);
    kill_process(manager, Signal::CONT).expect("it is there");
    // The manager has looked at the time before it answers.
    assert_eq!(house.table(&client, "ledger").state, "owned");
    owner.signal(Signal::CONT);
    let reader = client.reader::<str, u64>("ledger").expect("the table can be read");
    let count = || reader.get("count").expect("the table is whole").unwrap_or(0);
    let then = count();
    eventually("it to commit", || (count() > then).then_some(()));
    let table = house.table(&client, "ledger");
    assert_eq!((table.state.as_str(), table.epoch), ("owned", 1));
}

#[test]
fn an_owner_of_another_user_cannot_be_killed_and_keeps_its_table_until_it_dies() {
    if !needs::root("an_owner_of_another_user_cannot_be_killed_and_keeps_its_table_until_it_dies") {
        return;
    }
    // The manager is not root either, or it could kill anybody.
    let house = House::start_by(&AS_ANOTHER_USER, |folder| in_open(folder, "1s"));
    let start =
        || Candidate::start_by(&AS_WORKERS_USER, &house.socket(), "clerk", "ledger", Misbehaviour::None);
    stuck_until_it_lives_or_dies(&house, start, "belongs to another user");
}

/// A worker of another user, in PID and mount namespaces beside the manager's, which its supervisor did not start.
#[test]
fn workers_in_sibling_namespaces_own_die_and_follow_each_other() {
    if !needs::namespaces("workers_in_sibling_namespaces_own_die_and_follow_each_other") {
        return;
    }
    let house = House::start_by(&IN_NAMESPACES, |folder| in_open(folder, "1s"));
    let before = [&IN_NAMESPACES[..], &AS_WORKERS_USER[..]].concat();
    let start = || Candidate::start_by(&before, &house.socket(), "clerk", "ledger", Misbehaviour::None);
    stuck_until_it_lives_or_dies(&house, start, "is in a PID namespace that cannot be signalled from here");
}

/// Two owners one after the other, the second of which is silent for a while.
fn stuck_until_it_lives_or_dies(house: &House, start: impl Fn() -> Candidate, because: &str) {
    let client = house.client();
    let first = start();
    owns(&first, "1");
    let second = start();
    first.signal(Signal::KILL);
    owns(&second, "2");
    let third = start();
    let status = house.status();
    let unkillable = status.workers.iter().filter(|worker| worker.unkillable.is_some()).count();
    assert_eq!(unkillable, 2, "{:?}", status.workers);

    second.signal(Signal::STOP);
    let stuck = state(house, &client, "stuck");
    let detail = stuck.detail.unwrap_or_default();
    println!("{detail}");
    assert!(
        detail.contains("shows no sign of life and cannot be killed") && detail.contains(because),
        "{detail}"
    );
    second.signal(Signal::CONT);
    let table = state(house, &client, "owned");
    assert_eq!((table.epoch, table.detail), (2, None), "it lives, and goes on");

    second.signal(Signal::STOP);
    state(house, &client, "stuck");
    second.signal(Signal::KILL);
    owns(&third, "3");
}
