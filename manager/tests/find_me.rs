//! find-me that throws, hangs or lies: it is asked ten times a second at most, and nobody else waits for it.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use heirloom_manager::find_me::{FindMe, FindMeError};
use heirloom_manager::registry::{Candidate, Candidates};
use heirloom_protocol::message::{Event, Request};
use house::{House, config};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn actor() {
    house::act();
}

type Answer = Result<Option<Candidate>, FindMeError>;

/// A find-me that does as it is told, and counts how often it was asked.
#[derive(Clone, Default)]
struct Told {
    asked: Arc<AtomicUsize>,
    works: Arc<AtomicBool>,
    /// What it does while it does not work.
    fails: Option<fn() -> Answer>,
}

impl Told {
    fn to_fail(how: fn() -> Answer) -> Self {
        Self { fails: Some(how), ..Self::default() }
    }

    fn times_asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl FindMe for Told {
    fn find(&self, ready: &Candidates) -> Answer {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.fails {
            Some(fails) if !self.works.load(Ordering::SeqCst) => fails(),
            _ => Ok(ready.first()),
        }
    }
}

/// Somebody who registers and goes away again, so that find-me is asked again and again.
fn churn(house: &House, registrations: usize) {
    for _ in 0..registrations {
        let client = house.client();
        client.register("w", &["sales"]);
        client.say(&Request::Ready);
    }
}

#[test]
fn one_that_throws_is_asked_ten_times_a_second_at_most() {
    let ways: [fn() -> Answer; 3] = [
        || panic!("thrown by the test"),
        || Err(FindMeError::Other("failed by the test".to_owned())),
        || Ok(None),
    ];
    for how in ways {
        let told = Told::to_fail(how);
        let start = Instant::now();
        let house = House::start_with(&config("", ""), Some(told.clone()));
        // Each registration is a reason to ask it. Ten may be asked at once, ten more a second later: the twenty-first time
        // comes after two, on a slow machine as on a fast one.
        while told.times_asked() <= 20 {
            churn(&house, 1);
            assert!(start.elapsed() < house::PATIENCE, "it is asked too seldom: {}", told.times_asked());
        }
        assert!(start.elapsed() >= Duration::from_secs(2), "asked 21 times in {:?}", start.elapsed());
        // It recovers: the next registration counts.
        told.works.store(true, Ordering::SeqCst);
        let mut worker = house.worker();
        worker.tell("offered");
        worker.tell("accept");
    }
}

#[test]
fn during_back_off_a_registration_is_offered_the_table_within_5_ms() {
    let told = Told::to_fail(|| Ok(None));
    let house = House::start_with(&config("", ""), Some(told.clone()));
    // Until the pauses are long.
    while told.times_asked() < 4 {
        sleep(Duration::from_millis(10));
    }
    told.works.store(true, Ordering::SeqCst);
    offered_within_5_ms(&house);
}

#[test]
fn a_registration_that_comes_too_early_waits_for_its_second_and_not_for_the_end_of_a_back_off() {
    let told = Told::to_fail(|| Ok(None));
    let house = House::start_with(&config("", ""), Some(told.clone()));
    // Until it has been asked in vain so often that the pauses have their full length of five seconds, and ten times within
    // the last one.
    while told.times_asked() <= 20 {
        churn(&house, 1);
    }
    told.works.store(true, Ordering::SeqCst);
    let took = ready_to_offered(&house);
    assert!(took < Duration::from_millis(2500), "{took:?}");
}

#[test]
fn one_that_hangs_keeps_nobody() {
    static HANGING: AtomicUsize = AtomicUsize::new(0);
    let told = Told::to_fail(|| {
        HANGING.fetch_add(1, Ordering::SeqCst);
        loop {
            std::thread::park();
        }
    });
    let house = House::start_with(&config("", ""), Some(told.clone()));
    churn(&house, 1);
    while HANGING.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    house.answers_as_fast_as_an_idle_one();
    // The call that hangs goes on hanging; the next one is made beside it.
    told.works.store(true, Ordering::SeqCst);
    offered_within_5_ms(&house);
}

#[test]
fn a_command_that_hangs_fails_or_lies_keeps_nobody() {
    let dead = dead_pid();
    for script in ["sleep 600".to_owned(), "exit 3".to_owned(), "echo 1".to_owned(), format!("echo {dead}")] {
        let find_me = format!("find_me = {{ command = ['sh', '-c', '{script}'], timeout = '1s' }}");
        let house = House::start(&config(&find_me, ""));
        churn(&house, 3);
        house.answers_as_fast_as_an_idle_one();
        assert_eq!(house.sales().state, "unowned");
    }
}

#[test]
fn a_command_and_a_pid_file_find_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("w.pid");
    for find_me in [
        format!("find_me = {{ command = ['cat', '{}'] }}", pid_file.display()),
        format!("find_me = {{ pid_file = '{}' }}", pid_file.display()),
        "find_me = 'any'".to_owned(),
    ] {
        let house = House::start(&config(&find_me, ""));
        let mut worker = house.actor();
        std::fs::write(&pid_file, worker.pid().to_string()).unwrap();
        worker.tell("register w sales");
        worker.tell("offered");
        worker.tell("accept");
        assert_eq!(house.sales().owner.unwrap().pid, worker.pid());
    }
}

#[test]
fn a_dead_answer_is_no_answer() {
    // It keeps answering with the first candidate it has seen.
    let first = Arc::new(Mutex::new(None::<Candidate>));
    let seen = Arc::clone(&first);
    let stubborn = move |ready: &Candidates| {
        let mut seen = seen.lock().unwrap();
        if seen.is_none() {
            *seen = ready.first();
        }
        seen.clone()
    };
    let house = House::start_with(&config("", ""), Some(stubborn));
    let mut worker = house.worker();
    worker.tell("offered");
    worker.kill();
    // Still offered to nobody, and alive.
    let sales = house.wait_for("unowned", |sales| sales.state == "unowned");
    assert_eq!(sales.handoffs, 0);
    assert_eq!(first.lock().unwrap().as_ref().map(Candidate::pid), Some(worker.pid()));
    let mut next = house.worker();
    *first.lock().unwrap() = None;
    next.tell("offered");
}

/// From readiness to the offer, beside a question and its answer: this machine does other things too.
fn offered_within_5_ms(house: &House) {
    let (mut offers, mut answers): (Vec<_>, Vec<_>) = (0..3)
        .map(|_| {
            // The tries before this one are of another second: ten are made in one.
            sleep(Duration::from_secs(1));
            let mut client = house.client();
            let before = Instant::now();
            client.status();
            let answered = before.elapsed();
            (ready_to_offered(house), answered)
        })
        .unzip();
    offers.sort();
    answers.sort();
    println!("ready to offered: {offers:?}; a status: {answers:?}");
    assert!(offers[1] < Duration::from_millis(5) + 3 * answers[1], "{offers:?}, and a status {answers:?}");
}

fn ready_to_offered(house: &House) -> Duration {
    let client = house.client();
    client.register("w", &["sales"]);
    let before = Instant::now();
    client.say(&Request::Ready);
    let event = client.hear();
    assert!(matches!(event, Event::Offered { .. }), "{event:?}");
    before.elapsed()
}

fn dead_pid() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}
