//! A find-me that misbehaves: it is logged, asked at most ten times a second, and nobody waits for it.
//!
//! These are about time, so they run one after the other.

use heirloom_tests::{House, eventually};
use heirloom_worker::{Client, TableHeir, Transfer, Worker};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static TIMED: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    TIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A table that is given to whom a shell script names; each try leaves a line in the file "tries".
fn configuration(folder: &Path, script: &str) -> String {
    let folder = folder.display();
    format!(
        r#"
[[table]]
id = "sessions"
type = "set"
max_bytes = "1MiB"
find_me = {{ command = ["sh", "-c", "echo try >> {folder}/tries; {script}"], timeout = "300ms" }}

[[worker]]
name = "web"
external = true
"#
    )
}

struct Notify(crossbeam_channel::Sender<(Transfer, Instant)>);

impl TableHeir for Notify {
    fn transferred(&mut self, transfer: Transfer) {
        let _ = self.0.send((transfer, Instant::now()));
    }
}

type Offers = crossbeam_channel::Receiver<(Transfer, Instant)>;

/// A worker in this very process, and when it said that it is ready.
fn register(house: &House) -> (Worker, Offers, Instant) {
    let worker = Worker::connect(house.socket(), "web").expect("there is a manager");
    let (sender, offers) = crossbeam_channel::unbounded();
    worker.heir("sessions", Notify(sender)).expect("the table is known");
    let said = Instant::now();
    worker.ready().expect("the manager listens");
    (worker, offers, said)
}

/// Looks at the status for that long, and says how long it took, on the whole, to be answered; and the same for a house
/// in which nobody is, at the same time on the same machine.
fn status_times(client: &Client, idle: &Client, time: Duration) -> [Duration; 2] {
    let start = Instant::now();
    let mut times = [Duration::ZERO; 2];
    while start.elapsed() < time {
        for (client, time) in [client, idle].into_iter().zip(&mut times) {
            let asked = Instant::now();
            client.status().expect("the manager answers");
            *time += asked.elapsed();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    times
}

fn check_misbehaviour(script: &str, logged: &str) {
    let _alone = alone();
    let started = Instant::now();
    let house = House::start(|folder| configuration(folder, script));
    let client = house.client();
    let (_worker, offers, _) = register(&house);
    let idle = House::start(|_| String::new());
    let [here, there] = status_times(&client, &idle.client(), Duration::from_secs(3));
    eprintln!("statuses took {here:?}, and {there:?} where nobody is");
    // Each try that it waited for would have taken it 300 ms.
    assert!(here < 3 * there + Duration::from_millis(250), "{here:?}, and {there:?} where nobody is");
    let tries = fs::read_to_string(house.folder().join("tries")).unwrap_or_default().lines().count();
    let most = 10 * (started.elapsed().as_secs() as usize + 1);
    assert!((2..=most).contains(&tries), "{tries} tries, where 10 a second are {most}");
    assert!(offers.try_recv().is_err(), "nobody was named");
    eventually("the log to say what is wrong", || house.log().contains(logged).then_some(()));
    assert_eq!(house.table(&client, "sessions").state, "unowned");
}

#[test]
fn one_that_fails() {
    check_misbehaviour("echo no idea >&2; exit 7", "7");
}

#[test]
fn one_that_hangs() {
    check_misbehaviour("sleep 600", "no answer within 300 ms");
}

#[test]
fn one_that_names_an_unknown_process() {
    check_misbehaviour("echo 1", "find-me");
}

#[test]
fn one_that_names_a_dead_process() {
    check_misbehaviour("sh -c 'echo $$'", "find-me");
}

#[test]
fn one_that_talks_nonsense() {
    check_misbehaviour("echo the usual one", "the usual one");
}

/// Found by name: nobody is there for a while, then somebody is.
#[test]
fn a_registration_is_offered_the_table_at_once() {
    let _alone = alone();
    let house = House::start(|folder| with_find_me(folder, r#"{ name = "web" }"#));
    let times = offer_times(&house, |_| {});
    assert_at_once(&times, Duration::from_millis(5), "offered after registration, by name");
}

/// Found by a file that was not there often enough to be looked at seldom.
#[test]
fn a_registration_is_offered_the_table_at_once_also_during_back_off() {
    let _alone = alone();
    let house = House::start(|folder| with_find_me(folder, r#"{ pid_file = "pid" }"#));
    let times = offer_times(&house, |here| note_pid(&house, here));
    assert_at_once(&times, Duration::from_millis(5), "offered after registration, by a PID file in back-off");
}

/// The same by a command, whose own time (a shell and another program to be started) counts here.
#[test]
fn a_registration_is_offered_the_table_as_soon_as_a_command_has_named_it() {
    let _alone = alone();
    let house = House::start(|folder| configuration(folder, &format!("cat {}/pid", folder.display())));
    let times = offer_times(&house, |here| note_pid(&house, here));
    assert_at_once(&times, Duration::from_millis(50), "offered after registration, by a command in back-off");
}

fn with_find_me(folder: &Path, find_me: &str) -> String {
    let lines = configuration(folder, "");
    let lines = lines.lines().map(|line| match line.starts_with("find_me") {
        true => format!("find_me = {find_me}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// This process is, or is not, the one that the table should go to.
fn note_pid(house: &House, here: bool) {
    let file = house.folder().join("pid");
    let _ = fs::remove_file(&file);
    if here {
        fs::write(&file, std::process::id().to_string()).expect("the folder can be written to");
    }
}

/// Registers again and again, each time after a while without anybody: how long the offers took, and beside each of them
/// a status, from the same manager on the same machine.
fn offer_times(house: &House, set_here: impl Fn(bool)) -> [Vec<Duration>; 2] {
    let client = house.client();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..20 {
        set_here(false);
        std::thread::sleep(Duration::from_millis(300));
        set_here(true);
        let (worker, offers, said) = register(house);
        let (transfer, offered) =
            offers.recv_timeout(heirloom_tests::PATIENCE).expect("the table is offered");
        times[0].push(offered - said);
        drop(transfer);
        drop(worker);
        let asked = Instant::now();
        client.status().expect("the manager answers");
        times[1].push(asked.elapsed());
    }
    times
}

/// Half of the offers at least came within `limit` and what the machine makes everybody wait.
fn assert_at_once(times: &[Vec<Duration>; 2], limit: Duration, what: &str) {
    let [offer, status] = times.each_ref().map(|times| {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    });
    eprintln!("{what}: half of them within {offer:?}; statuses within {status:?}");
    assert!(offer < limit + 3 * status, "{what}: {times:?}");
}
