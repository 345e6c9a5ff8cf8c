//! What a dead owner leaves behind: while a child of its could write, nobody is given the table; and nobody waits for a
//! child that could not.

use heirloom_tests::{Candidate, House, Misbehaviour, eventually, one_table};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// A house whose table is owned by somebody that has just left a child, which is killed with this value.
struct Scene {
    house: House,
    owner: Candidate,
    child: Pid,
    heir: Candidate,
}

impl Scene {
    fn begin(misbehaviour: Misbehaviour) -> Self {
        let house =
            House::start(|_| ["[manager]\ngrace = \"60s\"\n", &one_table("ledger", "clerk")].concat());
        let start = |misbehaviour| Candidate::start(&house.socket(), "clerk", "ledger", misbehaviour, 0);
        let owner = start(misbehaviour);
        let child = loop {
            let words = owner.next_words();
            match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["child", pid] => break pid.parse().ok().and_then(Pid::from_raw).expect("a process id"),
                ["owns", ..] | ["commits"] => {}
                ref other => panic!("the owner says {other:?}"),
            }
        };
        let heir = start(Misbehaviour::None);
        Self { house, owner, child, heir }
    }

    /// The owner dies, and the table waits for its child, and says so.
    fn waits_for_the_child(&self, held: &str) {
        let (client, pid) = (self.house.client(), self.child);
        self.owner.kill();
        let who = format!("process {pid} ({held})");
        let detail = eventually("the status to say why the table waits", || {
            self.house.table(&client, "ledger").detail.filter(|detail| detail.contains(&who))
        });
        eprintln!("status: {detail}");
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(500) {
            let table = self.house.table(&client, "ledger");
            assert_ne!(table.state, "owned", "while process {pid} could write");
        }
        kill_process(pid, Signal::KILL).expect("the child can be killed");
        assert_eq!(self.heir.next_words()[0], "owns", "as soon as the child is gone");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = kill_process(self.child, Signal::KILL);
    }
}

#[test]
fn the_table_waits_for_a_child_that_inherited_its_descriptor() {
    Scene::begin(Misbehaviour::LeavesAChildWithTheDescriptor).waits_for_the_child("descriptor");
}

/// Code that shares the owner's memory is the owner (rule H17).
#[test]
fn the_table_waits_for_a_child_that_has_its_owners_memory() {
    Scene::begin(Misbehaviour::LeavesAChildWithItsMemory).waits_for_the_child("mapped");
}

/// The library's mapping is not inherited, and its descriptor is closed once it is mapped (rules H2 and H3).
#[test]
fn nobody_waits_for_a_child_that_was_only_forked() {
    let scene = Scene::begin(Misbehaviour::LeavesAForkedChild);
    scene.owner.kill();
    assert_eq!(scene.heir.next_words()[0], "owns");
    kill_process(scene.child, Signal::KILL).expect("it was there until now");
}
