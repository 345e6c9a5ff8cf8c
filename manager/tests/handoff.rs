//! Handing a table on, with real processes: whatever the candidate or the owner does, one owner, and nothing lost.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod house;

use house::{Actor, BY_NAME, House, config, owner_that_wrote};
use std::time::{Duration, Instant};

#[test]
fn actor() {
    house::act();
}

/// The last owner wrote one entry and is dead; the worker is the owner now, and sees it.
fn owns_and_sees(worker: &mut Actor, key: &str) {
    worker.tell("accept");
    assert_eq!(worker.tell(&format!("get {key}")), key);
}

#[test]
fn a_killed_owner_is_followed_by_the_standby() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    let mut standby = house.worker();
    let (mut epoch, mut key) = (1, "a".to_owned());
    for round in 0..20 {
        owner.kill_only();
        assert_eq!(standby.tell("offered"), (epoch + 1).to_string());
        owns_and_sees(&mut standby, &key);
        key = format!("key{round}");
        standby.tell(&format!("insert {key} {key}"));
        owner = std::mem::replace(&mut standby, house.worker());
        epoch += 1;
    }
    let sales = house.sales();
    assert_eq!((sales.epoch, sales.handoffs, sales.recoveries, sales.entries), (21, 21, 20, 21));
    let last = sales.last_handoff.unwrap();
    let stages = [
        last.unwritable_us,
        last.recovered_us,
        last.found_us,
        last.offered_us,
        last.accepted_us,
        last.granted_us,
    ];
    assert!(stages.is_sorted(), "{last:?}");
    assert!(last.reason.contains("died"), "{last:?}");
    println!("the last handoff: {last:?}");
}

#[test]
fn a_candidate_that_dies_at_any_step_costs_nothing() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    for last_words in [&[][..], &["offered"], &["offered", "accept_only"], &["offered", "accept"]] {
        let mut candidate = house.worker();
        let mut next = house.worker();
        // Ready before the next one, so it is the candidate.
        match last_words {
            // Dead before the offer: the owner goes first, then it, and neither has been looked at.
            [] => {
                candidate.kill_only();
                owner.kill_only();
            }
            _ => {
                owner.kill_only();
                for words in last_words {
                    candidate.tell(words);
                }
                candidate.kill_only();
            }
        }
        next.tell("offered");
        owns_and_sees(&mut next, "a");
        owner = next;
    }
    assert_eq!(house.sales().owner.unwrap().pid, owner.pid());
}

#[test]
fn a_candidate_that_is_slow_to_die_costs_nothing() {
    let rounds = 12;
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    for _ in 0..rounds {
        // It is killed as owner with much memory to tear down, while the next stands by.
        owner.tell("ballast 200000000");
        let mut next = house.worker();
        owner.kill_only();
        next.tell("offered");
        owns_and_sees(&mut next, "a");
        owner = next;
    }
    assert_eq!(house.sales().handoffs, 1 + rounds);
}

#[test]
fn who_declines_is_passed_over() {
    let house = House::start(&config(BY_NAME, ""));
    let (mut first, mut second) = (house.worker(), house.worker());
    assert_eq!(first.tell("offered"), "1");
    first.tell("decline");
    assert_eq!(second.tell("offered"), "2");
    second.tell("accept");
    // Alone again, the first is asked again.
    second.kill();
    assert_eq!(first.tell("offered"), "3");
}

#[test]
fn who_declines_for_ever_is_asked_ten_times_a_second_at_most() {
    let house = House::start(&config(BY_NAME, ""));
    let mut worker = house.worker();
    let start = Instant::now();
    let mut offers = 0;
    while start.elapsed() < Duration::from_secs(3) {
        worker.tell("offered");
        worker.tell("decline");
        offers += 1;
    }
    let a_second = f64::from(offers) / start.elapsed().as_secs_f64();
    assert!(a_second <= 10.5, "{offers} offers, {a_second} a second");
}

#[test]
fn an_offer_that_is_not_answered_is_withdrawn() {
    let house = House::start(&config(BY_NAME, "[manager]\noffer_timeout = \"200ms\"\n"));
    let (mut silent, mut other) = (house.worker(), house.worker());
    silent.tell("offered");
    assert_eq!(other.tell("offered"), "2");
    assert!(silent.tell("hear").contains("Withdrawn"));
    // Too late.
    silent.tell("accept_only");
    assert!(silent.tell("hear").contains("Withdrawn"));
    other.tell("accept");
    assert_eq!(house.sales().owner.unwrap().pid, other.pid());
}

#[test]
fn a_release_moves_the_table_at_once() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    let mut next = house.worker();
    let moves = |from: &mut Actor, to: &mut Actor, epoch: u64| {
        let start = Instant::now();
        from.tell("release");
        // Not back to the releaser, though it has been ready for longer.
        assert_eq!(to.tell("offered"), epoch.to_string());
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "it took {took:?}");
        owns_and_sees(to, "a");
    };
    moves(&mut owner, &mut next, 2);
    assert!(owner.is_alive());
    let last = house.sales().last_handoff.unwrap();
    assert!(last.reason.contains("released"), "{last:?}");
    // And so each time, both having released it before.
    moves(&mut next, &mut owner, 3);
    moves(&mut owner, &mut next, 4);
}

#[test]
fn a_recall_moves_the_table_to_the_standby() {
    use heirloom_protocol::message::Event;
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    let mut next = house.worker();
    let client = house.client();
    client.say(&house::recall(1));
    assert!(owner.tell("hear").starts_with("Recalled"));
    let start = Instant::now();
    owner.tell("release");
    assert_eq!(next.tell("offered"), "2");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    owns_and_sees(&mut next, "a");
    let Event::HandedOn { request: 1, owner: Some(now), .. } = client.hear() else { panic!("not handed on") };
    assert_eq!(now.pid, next.pid());
}

#[test]
fn who_releases_for_ever_is_given_the_table_ten_times_a_second_at_most() {
    let house = House::start(&config(BY_NAME, ""));
    let mut worker = house.worker();
    let start = Instant::now();
    let mut offers = 0;
    while start.elapsed() < Duration::from_secs(3) {
        worker.tell("offered");
        worker.tell("accept");
        worker.tell("release");
        offers += 1;
    }
    let a_second = f64::from(offers) / start.elapsed().as_secs_f64();
    assert!(a_second <= 11.0, "{offers} offers, {a_second} a second");
}

#[test]
fn what_names_another_epoch_is_refused() {
    let house = House::start(&config(BY_NAME, ""));
    let mut owner = owner_that_wrote(&house, "a");
    for epoch in [0, 2] {
        owner.tell(&format!("release_epoch {epoch}"));
        assert!(owner.tell("hear").starts_with("Fenced"));
        owner.tell(&format!("accept_epoch {epoch}"));
        assert!(owner.tell("hear").starts_with("Withdrawn"));
    }
    assert_eq!(house.sales().state, "owned");
    owner.tell("insert b b");
}

#[test]
fn who_says_released_and_stays_mapped_is_killed_and_only_then_the_table_moves() {
    let house = House::start(&config(BY_NAME, "[manager]\ngrace = \"300ms\"\n"));
    let mut owner = owner_that_wrote(&house, "a");
    owner.tell("close_handle");
    let mut next = house.worker();
    let pid = owner.pid();
    owner.tell("release_mapped");
    let still = format!("process {pid} (mapped)");
    let sales = house
        .wait_for("seen to be mapped", |sales| sales.detail.as_ref().is_some_and(|d| d.contains(&still)));
    assert!(sales.owner.is_none() && ["reclaiming", "stuck"].contains(&sales.state.as_str()), "{sales:?}");
    owner.is_killed();
    next.tell("offered");
    owns_and_sees(&mut next, "a");
}

#[test]
fn who_closes_its_connection_is_killed_and_only_then_the_table_moves() {
    let house = House::start(&config(BY_NAME, "[manager]\ngrace = \"300ms\"\n"));
    let mut owner = owner_that_wrote(&house, "a");
    let mut next = house.worker();
    let closed = Instant::now();
    owner.tell("disconnect");
    owner.tell("insert b b");
    owner.is_killed();
    assert!(closed.elapsed() >= Duration::from_millis(300));
    next.tell("offered");
    owns_and_sees(&mut next, "b");
}

#[test]
fn a_child_that_holds_the_write_handle_keeps_the_table_until_it_is_gone() {
    let house = House::start(&config(BY_NAME, "[manager]\ngrace = \"300ms\"\n"));
    let mut owner = owner_that_wrote(&house, "a");
    // In a group of its own, so the manager has no right to kill it.
    let child: u32 = owner.tell("child own_group").parse().unwrap();
    let mut next = house.worker();
    owner.kill();
    let stuck = house.wait_for("stuck", |sales| sales.state == "stuck");
    assert!(stuck.owner.is_none());
    let held = format!("process {child} (descriptor)");
    house.wait_for("told who holds it", |sales| sales.detail.as_ref().is_some_and(|d| d.contains(&held)));
    let process = heirloom_protocol::sys::Process::open(child).unwrap();
    assert!(!process.has_exited());
    process.kill(rustix::process::Signal::KILL).unwrap();
    next.tell("offered");
    owns_and_sees(&mut next, "a");
}

#[test]
fn a_child_in_the_owners_group_is_killed_with_it_after_the_grace() {
    let house = House::start(&config(BY_NAME, "[manager]\ngrace = \"300ms\"\n"));
    let mut owner = owner_that_wrote(&house, "a");
    let child: u32 = owner.tell("child same_group").parse().unwrap();
    let process = heirloom_protocol::sys::Process::open(child).unwrap();
    let mut next = house.worker();
    owner.kill();
    assert!(process.wait_exit(house::PATIENCE), "the child lives on");
    next.tell("offered");
    owns_and_sees(&mut next, "a");
}

#[test]
fn a_recall_is_answered_by_the_release_or_by_its_time() {
    use heirloom_protocol::message::{Event, Refusal};
    let house = House::start(&config(BY_NAME, "[manager]\nrecall_timeout = \"300ms\"\n"));
    let client = house.client();
    let recall = |request| client.say(&house::recall(request));
    recall(1);
    assert!(client.hears_refusal(Refusal::NotNow).contains("nobody owns it"));
    let mut owner = owner_that_wrote(&house, "a");
    recall(2);
    assert!(owner.tell("hear").starts_with("Recalled"));
    assert!(client.hears_refusal(Refusal::NotNow).contains("did not release it in time"));
    assert!(owner.tell("hear").starts_with("Withdrawn"));
    recall(3);
    assert!(owner.tell("hear").starts_with("Recalled"));
    owner.tell("release");
    assert!(matches!(client.hear(), Event::HandedOn { request: 3, .. }));
}
