//! Strategies, crash loops and back-off with real processes; the rules themselves are tested with the machine.

use crate::stage::{Stage, polite_worker, scripted, signal_process, wait_gone, worker};
use rustix::process::Signal;

#[test]
fn one_for_one_starts_the_killed_one_again_and_leaves_the_others() {
    let mut stage = Stage::ready(&(worker("a", "") + &worker("b", "")));
    let (first, other) = (stage.started("a"), stage.started("b"));
    signal_process(first, Signal::KILL);
    let second = stage.started("a");
    assert_ne!(first, second);
    stage.expect("children a.1=running/1 b.1=running/0");
    signal_process(other, Signal::KILL);
    stage.started("b");
    stage.expect("children a.1=running/1 b.1=running/1");
    assert!(!stage.others().iter().any(|event| event.contains("start")), "nobody else was started");
}

#[test]
fn rest_for_one_stops_in_reverse_and_starts_in_order() {
    let config = "[supervisor]\nstrategy = \"rest_for_one\"\n".to_owned()
        + &polite_worker("a", "")
        + &worker("b", "")
        + &polite_worker("c", "")
        + &polite_worker("d", "");
    let mut stage = Stage::ready(&config);
    stage.started("a");
    let b = stage.started("b");
    stage.started("c");
    stage.started("d");
    stage.expect("children a.1=running/0 b.1=running/0 c.1=running/0 d.1=running/0");
    signal_process(b, Signal::KILL);
    stage.expect("children a.1=running/0 b.1=running/1 c.1=running/1 d.1=running/1");
    for worker in ["b", "c", "d"] {
        stage.started(worker);
    }
    let asked: Vec<_> = stage.others().into_iter().filter(|event| event.ends_with("asked")).collect();
    assert_eq!(asked, ["d asked", "c asked"]);
}

#[test]
fn a_crash_loop_is_loud_and_costs_nobody_else_anything() {
    let config = "[supervisor]\nintensity = 3\nperiod = \"1h\"\ncrash_loop_retry = \"never\"\n".to_owned()
        + &worker("good", "")
        + &scripted("bad", "exit 7", "")
        + &worker("late", "");
    let mut stage = Stage::ready(&config);
    let good = stage.started("good");
    stage.expect_log("worker bad is in a CRASH LOOP: exit status 7, too often");
    stage.expect("children good.1=running/0 bad.1=crash_loop/3 late.1=running/0");
    for _ in 0..4 {
        stage.expect("bad start");
    }
    // The others are still being looked after.
    signal_process(good, Signal::KILL);
    stage.started("good");
    stage.expect("children good.1=running/1 bad.1=crash_loop/3 late.1=running/0");
    assert!(!stage.others().iter().any(|event| event.starts_with("bad start")));
}

#[test]
fn a_crash_loop_is_tried_again_after_its_pause() {
    let config = "[supervisor]\nintensity = 1\nperiod = \"1h\"\ncrash_loop_retry = \"50ms\"\n".to_owned()
        + &scripted("bad", "exit 7", "");
    let mut stage = Stage::ready(&config);
    for _ in 0..2 {
        stage.expect_log("worker bad is in a CRASH LOOP");
        stage.expect_log("it is tried once more");
    }
}

#[test]
fn a_program_that_is_not_there_is_a_crash_loop_of_its_own() {
    let config = "[supervisor]\nintensity = 1\n[[worker]]\nname = \"lost\"\ncommand = [\"/nowhere/lost\"]\n\
                  back_off = { first = \"1ms\" }\n"
        .to_owned()
        + &worker("good", "");
    let mut stage = Stage::ready(&config);
    stage.started("good");
    stage.expect_log("worker lost cannot be started: /nowhere/lost");
    stage.expect("children lost.1=crash_loop/1 good.1=running/0");
}

#[test]
fn transient_and_temporary_workers_end_when_they_are_done() {
    let config = scripted("transient", "exit 0", "restart = \"transient\"")
        + &scripted("temporary", "exit 1", "restart = \"temporary\"")
        + &worker("a", "");
    let mut stage = Stage::ready(&config);
    stage.expect("children transient.1=stopped/0 temporary.1=stopped/0 a.1=running/0");
    stage.expect_log("worker temporary has ended: exit status 1; it is not started again");
}

#[test]
fn what_a_worker_has_started_is_killed_with_it() {
    let script = "sleep 600 & echo grandchild start $! >> $EVENTS; exec sleep 600";
    let mut stage = Stage::ready(&scripted("a", script, ""));
    let (worker, grandchild) = (stage.started("a"), stage.started("grandchild"));
    signal_process(worker, Signal::KILL);
    wait_gone(grandchild);
    stage.started("a");
}

#[test]
fn orphans_are_reaped_and_known_children_are_not_mistaken_for_them() {
    // The orphan leaves its process group, its parent ends, and the supervisor inherits it.
    let script = "setsid sh -c 'echo orphan start $$ >> $EVENTS; exec sleep 600' & exec sleep 600";
    let mut stage = Stage::unchecked(&scripted("a", script, ""), |command| {
        command.env("HEIRLOOM_TEST_SUBREAPER", "yes");
    });
    stage.expect("manager start");
    stage.make_ready();
    let (worker, orphan) = (stage.started("a"), stage.started("orphan"));
    signal_process(worker, Signal::KILL);
    stage.expect_log("worker a has ended: killed by signal 9");
    stage.started("a");
    stage.started("orphan");
    signal_process(orphan, Signal::KILL);
    stage.expect_log(&format!("an orphan has ended pid={orphan}"));
    assert!(!std::path::Path::new(&format!("/proc/{orphan}")).exists(), "it was reaped");
}
