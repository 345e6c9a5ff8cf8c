//! OTP's rules, and ours where they differ, one by one.

use super::super::{Effect, Exit, Input, Machine, News, Rule, State};
use super::world::{SECOND, World, rule, rules};
use crate::config::{Restart, Shutdown, Strategy};
use Restart::{Permanent, Temporary, Transient};

/// The starts and stops among the effects, as short words.
fn acts(effects: &[Effect]) -> String {
    let words = effects.iter().filter_map(|effect| match effect {
        Effect::Start(child) => Some(format!("start{child}")),
        Effect::Terminate(child) => Some(format!("term{child}")),
        Effect::Kill(child) => Some(format!("kill{child}")),
        Effect::AllStopped => Some("stopped".to_owned()),
        Effect::Tell(..) => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn end_as_asked(world: &mut World, child: usize) -> String {
    assert!(world.asked[child], "{child} was not asked to end");
    acts(&world.exit(child, Exit::Signal(15)))
}

#[test]
fn children_start_in_order_and_stop_in_reverse_order() {
    let mut world = World::new(Strategy::OneForOne, &[Permanent; 3]);
    assert_eq!(acts(&world.input(Input::Begin)), "start0 start1 start2");
    assert_eq!(acts(&world.input(Input::Stop)), "term2");
    assert_eq!(end_as_asked(&mut world, 2), "term1");
    assert_eq!(end_as_asked(&mut world, 1), "term0");
    assert_eq!(end_as_asked(&mut world, 0), "stopped");
}

#[test]
fn a_stop_before_the_start_is_over_at_once() {
    let mut world = World::new(Strategy::OneForOne, &[Permanent; 3]);
    assert_eq!(acts(&world.input(Input::Stop)), "stopped");
    assert_eq!(acts(&world.input(Input::Begin)), "");
}

#[test]
fn one_for_one_restarts_the_one_that_failed() {
    let mut world = World::begun(Strategy::OneForOne, &[Permanent; 3]);
    assert_eq!(acts(&world.crash(1)), "");
    assert_eq!(acts(&world.tick()), "start1");
    assert_eq!(world.machine.children()[1].restarts(), 1);
    assert_eq!(world.machine.children()[0].restarts(), 0);
}

#[test]
fn rest_for_one_restarts_it_and_all_after_it() {
    let mut world = World::begun(Strategy::RestForOne, &[Permanent; 4]);
    assert_eq!(acts(&world.crash(1)), "term3");
    assert_eq!(end_as_asked(&mut world, 3), "term2");
    assert_eq!(end_as_asked(&mut world, 2), "");
    assert_eq!(acts(&world.tick()), "start1 start2 start3");
}

#[test]
fn one_for_all_restarts_all_but_the_temporary_ones() {
    let mut world = World::begun(Strategy::OneForAll, &[Permanent, Temporary, Permanent]);
    assert_eq!(acts(&world.crash(2)), "term1");
    assert_eq!(end_as_asked(&mut world, 1), "term0");
    assert_eq!(end_as_asked(&mut world, 0), "");
    assert_eq!(acts(&world.tick()), "start0 start2");
}

#[test]
fn a_group_waits_for_its_slowest_member_also_after_the_back_off() {
    let mut world = World::begun(Strategy::OneForAll, &[Permanent; 2]);
    assert_eq!(acts(&world.crash(1)), "term0");
    assert_eq!(acts(&world.tick_after(4 * SECOND)), "", "the back-off is over, 0 still ends");
    assert_eq!(acts(&world.tick()), "kill0", "5 s is its shutdown time");
    assert_eq!(end_as_asked(&mut world, 0), "start0 start1");
}

#[test]
fn transient_children_come_back_from_failures_only_and_temporary_ones_never() {
    let mut world = World::begun(Strategy::OneForAll, &[Transient, Transient, Temporary, Permanent]);
    assert_eq!(acts(&world.exit(0, Exit::Status(0))), "", "no failure: the neighbours stay");
    assert_eq!(acts(&world.crash(2)), "");
    assert_eq!(world.machine.next_deadline(), None);
    assert_eq!(world.machine.children()[0].state(), State::Stopped);

    let mut world = World::begun(Strategy::OneForOne, &[Transient, Permanent]);
    world.exit(0, Exit::Status(1));
    assert_eq!(acts(&world.tick()), "start0");
    world.exit(1, Exit::Status(0));
    assert_eq!(acts(&world.tick()), "start1", "a permanent child comes back from a normal end as well");
}

#[test]
fn more_failures_than_the_intensity_within_the_period_are_a_crash_loop() {
    let mut world = World::begun(Strategy::OneForAll, &[Permanent; 2]);
    for _ in 0..2 {
        assert_eq!(acts(&world.crash(0)), "term1");
        end_as_asked(&mut world, 1);
        assert_eq!(acts(&world.tick()), "start0 start1");
    }
    let effects = world.crash(0);
    assert_eq!(acts(&effects), "", "the neighbour stays");
    let told = News::InCrashLoop { exit: Exit::Signal(9), retry_after: Some(60 * SECOND) };
    assert_eq!(effects, [Effect::Tell(0, told)]);
    assert!(matches!(world.machine.children()[0].state(), State::CrashLoop { .. }));
    assert!(world.alive[1]);
    assert_eq!(acts(&world.crash(1)), "", "the neighbour's own failures go on being restarted");
    assert_eq!(acts(&world.tick()), "start1");
}

#[test]
fn the_window_of_the_period_slides() {
    let mut world = World::begun(Strategy::OneForOne, &[Permanent]);
    for _ in 0..50 {
        world.crash(0);
        assert_eq!(acts(&world.tick()), "start0");
        world.now += 6 * SECOND;
    }
    assert_eq!(world.machine.children()[0].restarts(), 50, "two within ten seconds are accepted for ever");
}

#[test]
fn a_crash_loop_is_tried_once_more_after_its_pause() {
    let mut world = World::begun(Strategy::OneForOne, &[Permanent]);
    for _ in 0..2 {
        world.crash(0);
        world.tick();
    }
    world.crash(0);
    let in_loop_at = world.now;
    assert_eq!(acts(&world.tick()), "start0");
    assert_eq!(world.now, in_loop_at + 60 * SECOND);
    world.now += SECOND;
    let effects = world.crash(0);
    assert!(matches!(effects[..], [Effect::Tell(0, News::InCrashLoop { .. })]), "one try only: {effects:?}");
    assert_eq!(acts(&world.tick()), "start0");
    world.now += 10 * SECOND;
    let effects = world.crash(0);
    assert!(
        matches!(effects[..], [Effect::Tell(0, News::WillRestart { .. })]),
        "it has recovered: {effects:?}"
    );
}

#[test]
fn without_a_retry_a_crash_loop_is_final() {
    let mut rules = rules(Strategy::OneForOne);
    (rules.intensity, rules.crash_loop_retry) = (Some(0), None);
    let mut machine = Machine::new(rules, vec![rule(Permanent)], 1);
    machine.handle(SECOND, Input::Begin);
    machine.handle(SECOND, Input::NotStarted { child: 0 });
    assert_eq!(machine.children()[0].state(), State::CrashLoop { retry_at: None });
    assert_eq!(machine.next_deadline(), None);
    assert_eq!(machine.handle(2 * SECOND, Input::Stop), [Effect::AllStopped]);
}

#[test]
fn waits_grow_with_failures_in_a_row_and_begin_anew_after_a_long_run() {
    let mut rules = rules(Strategy::OneForOne);
    rules.intensity = None;
    let mut machine = Machine::new(rules, vec![rule(Permanent)], 1);
    let mut now = SECOND;
    machine.handle(now, Input::Begin);
    let wait_after = |machine: &mut Machine, now: &mut std::time::Duration, run| {
        *now += run;
        let effects = machine.handle(*now, Input::Exited { child: 0, exit: Exit::Status(1) });
        let [Effect::Tell(0, News::WillRestart { wait, .. })] = effects[..] else { panic!("{effects:?}") };
        *now = machine.next_deadline().expect("a back-off");
        machine.handle(*now, Input::Tick);
        wait
    };
    let short = SECOND / 10;
    let waits: Vec<_> = (0..4).map(|_| wait_after(&mut machine, &mut now, short)).collect();
    assert!(waits.is_sorted() && waits[3] > 4 * waits[0], "{waits:?}");
    assert!(wait_after(&mut machine, &mut now, 11 * SECOND) < 2 * waits[0]);
}

#[test]
fn a_child_that_served_is_started_again_at_once_however_often() {
    let mut rules = rules(Strategy::OneForOne);
    rules.intensity = None;
    let mut machine = Machine::new(rules, vec![rule(Permanent)], 1);
    let crash = |machine: &mut Machine| {
        acts(&machine.handle(SECOND, Input::Exited { child: 0, exit: Exit::Signal(9) }))
    };
    machine.handle(SECOND, Input::Begin);
    for _ in 0..3 {
        assert_eq!(crash(&mut machine), "", "it has not served yet, and waits");
        machine.handle(machine.next_deadline().expect("a back-off"), Input::Tick);
    }
    for _ in 0..20 {
        machine.handle(SECOND, Input::Serves { child: 0 });
        assert_eq!(crash(&mut machine), "start0");
        assert_eq!(machine.children()[0].failures_in_a_row(), 1);
    }
    assert_eq!(crash(&mut machine), "", "the last one did not serve");
}

#[test]
fn slow_children_are_killed_and_brutal_ones_at_once() {
    let mut world = World::begun(Strategy::OneForOne, &[Permanent; 2]);
    world.input(Input::Stop);
    assert_eq!(acts(&world.tick_after(4 * SECOND)), "");
    assert_eq!(acts(&world.tick_after(SECOND)), "kill1");
    assert_eq!(acts(&world.tick_after(SECOND)), "", "killed once");

    let brutal = Rule { shutdown: Shutdown::BrutalKill, ..rule(Permanent) };
    let mut machine = Machine::new(rules(Strategy::OneForOne), vec![rule(Permanent), brutal], 1);
    machine.handle(SECOND, Input::Begin);
    assert_eq!(machine.handle(SECOND, Input::Stop), [Effect::Kill(1)]);
}

#[test]
fn a_kill_spares_nobody_whatever_was_going_on() {
    let mut world = World::begun(Strategy::OneForOne, &[Permanent; 3]);
    world.crash(1);
    world.input(Input::Stop);
    assert_eq!(acts(&world.input(Input::Kill)), "kill2 kill0");
    world.crash(0);
    assert_eq!(acts(&world.crash(2)), "stopped");
}

#[test]
fn a_stop_in_the_middle_of_a_group_restart_starts_nobody() {
    let mut world = World::begun(Strategy::OneForAll, &[Permanent; 3]);
    assert_eq!(acts(&world.crash(0)), "term2");
    world.input(Input::Stop);
    assert_eq!(end_as_asked(&mut world, 2), "term1");
    assert_eq!(end_as_asked(&mut world, 1), "stopped");
}

#[test]
fn a_second_failure_in_the_middle_of_a_group_restart_widens_the_group() {
    let mut world = World::begun(Strategy::RestForOne, &[Permanent; 4]);
    assert_eq!(acts(&world.crash(2)), "term3");
    assert_eq!(acts(&world.crash(0)), "", "3 is still ending");
    assert_eq!(end_as_asked(&mut world, 3), "term1");
    assert_eq!(end_as_asked(&mut world, 1), "");
    assert_eq!(acts(&world.tick()), "start0 start1 start2 start3");
}
