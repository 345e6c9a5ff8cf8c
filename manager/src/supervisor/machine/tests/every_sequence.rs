//! Every sequence of inputs up to a depth, and long random ones.

use super::super::{Exit, Input};
use super::world::{SECOND, World};
use crate::config::{Restart, Strategy};
use proptest::prelude::*;

const STRATEGIES: [Strategy; 3] = [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll];
const RESTARTS: [Restart; 3] = [Restart::Permanent, Restart::Transient, Restart::Temporary];

/// Follows every input that can come next; at each end, lets the world settle, and stops it.
fn explore(world: &World, depth: u32, paths: &mut u64) {
    if depth == 0 {
        *paths += 1;
        let mut left_alone = world.clone();
        left_alone.settle();
        let mut stopped = world.clone();
        stopped.input(Input::Stop);
        stopped.settle();
        return;
    }
    let follow = |act: &dyn Fn(&mut World), paths: &mut u64| {
        let mut next = world.clone();
        act(&mut next);
        explore(&next, depth - 1, paths);
    };
    for child in 0..world.alive.len() {
        if world.alive[child] {
            follow(&|world| drop(world.crash(child)), paths);
            follow(&|world| drop(world.exit(child, Exit::Status(0))), paths);
            follow(&|world| drop(world.input(Input::Serves { child })), paths);
        }
    }
    if world.machine.next_deadline().is_some() {
        follow(&|world| drop(world.tick()), paths);
    }
    follow(&|world| drop(world.input(Input::Stop)), paths);
    follow(&|world| drop(world.input(Input::Kill)), paths);
}

#[test]
fn every_sequence_of_five_inputs_keeps_the_promises() {
    let mut paths = 0;
    for strategy in STRATEGIES {
        for first in RESTARTS {
            for second in RESTARTS {
                for third in RESTARTS {
                    explore(&World::begun(strategy, &[first, second, third]), 5, &mut paths);
                }
            }
        }
    }
    println!("{paths} sequences");
    assert!(paths > 100_000, "{paths}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn long_random_sequences_keep_the_promises(
        strategy in prop::sample::select(&STRATEGIES[..]),
        restarts in prop::collection::vec(prop::sample::select(&RESTARTS[..]), 1..7),
        steps in prop::collection::vec((0_u8..11, any::<prop::sample::Index>()), 1..200),
    ) {
        let mut world = World::begun(strategy, &restarts);
        for (what, which) in steps {
            let alive: Vec<usize> = (0..restarts.len()).filter(|child| world.alive[*child]).collect();
            match what {
                0..4 if !alive.is_empty() => drop(world.crash(alive[which.index(alive.len())])),
                4 if !alive.is_empty() => drop(world.exit(alive[which.index(alive.len())], Exit::Status(0))),
                5 if !alive.is_empty() => {
                    drop(world.input(Input::NotStarted { child: alive[which.index(alive.len())] }));
                }
                6 => drop(world.tick_after(20 * SECOND)),
                7 => drop(world.input(Input::Serves { child: which.index(restarts.len()) })),
                _ if world.machine.next_deadline().is_some() => drop(world.tick()),
                _ => {}
            }
        }
        world.clone().settle();
        world.input(Input::Stop);
        world.settle();
    }
}
