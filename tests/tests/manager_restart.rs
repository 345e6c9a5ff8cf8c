//! How long a manager is away that is killed: until the next one has all its tables, and until their owner is re-adopted;
//! and that no write of the owner waits meanwhile. Printed, and not asserted.
//!
//! `HEIRLOOM_TABLE_MIB=1024 cargo test --release -p heirloom-tests --test manager_restart -- --nocapture` is what to measure
//! with; `HEIRLOOM_MANAGER_KILLS` says how often.

use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Request, Status};
use heirloom_protocol::sys::Connection;
use heirloom_tests::{House, PATIENCE, eventually, role::transfers};
use heirloom_worker::{Worker, Writer};
use rustix::process::{Pid, Signal, kill_process};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

const VALUE_BYTES: usize = 1000;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

/// A client that waits in the queue of the control socket as its next manager comes, without a pause of its own.
struct Watcher(Connection);

impl Watcher {
    /// Returns when a manager has answered.
    fn greeted(house: &House) -> Self {
        let watcher = Self(Connection::connect(&house.socket()).expect("the supervisor listens"));
        watcher.0.send_message(&Request::Hello { version: PROTOCOL_VERSION }, None).expect("sent");
        assert!(matches!(watcher.next(), Event::Welcome { .. }));
        watcher
    }

    fn next(&self) -> Event {
        assert!(self.0.wait_readable(Some(PATIENCE)).expect("waited"), "the manager says nothing");
        self.0.recv_message::<Event>().expect("a message").expect("the manager lives").0
    }

    fn status(&self) -> Status {
        self.0.send_message(&Request::Status { request: 1 }, None).expect("sent");
        let mut said = String::new();
        loop {
            let Event::Status { piece, more, .. } = self.next() else { panic!("not the answer") };
            said += &piece;
            if !more {
                return serde_json::from_str(&said).expect("a status");
            }
        }
    }
}

/// Writes until it is told that it is enough; the longest commit of each round is there for the taking.
fn write_on(mut table: Writer<u64, [u8]>, keys: u64, worst_ns: &AtomicU64, enough: &AtomicBool) {
    let value = [9; VALUE_BYTES];
    for key in (0..keys).cycle() {
        let began = Instant::now();
        table.insert(&key, &value).expect("the owner goes on");
        worst_ns.fetch_max(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        if enough.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{what:>40}: {:9.1?} at the median, {:9.1?} at most, {:9.1?} at least", at(50), at(100), at(0));
}

#[test]
fn how_long_a_killed_manager_is_away() {
    let (mib, kills) = (number("HEIRLOOM_TABLE_MIB", 16), number("HEIRLOOM_MANAGER_KILLS", 8));
    let house = House::start(|_| {
        format!(
            "[[table]]\nid = \"large\"\ntype = \"set\"\nmax_bytes = \"{}MiB\"\nfind_me = {{ name = \"owner\" }}\n\
             [[worker]]\nname = \"owner\"\nexternal = true\n",
            mib * 3 / 2 + 16
        )
    });
    drop(house.client());
    let worker = Worker::connect(house.socket(), "owner").expect("there is a manager");
    let mut table = transfers(&worker, "large")
        .expect("an heir")
        .next()
        .expect("a transfer")
        .accept::<u64, [u8]>()
        .expect("accepted");
    let keys = (mib << 20) / (VALUE_BYTES as u64 + 24);
    for key in 0..keys {
        table.insert(&key, &[0; VALUE_BYTES]).expect("there is memory");
    }
    let epoch = table.epoch();
    let (worst_ns, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let [mut start_to_ready, mut answered, mut adopted, mut worst] = [const { Vec::new() }; 4];
    thread::scope(|scope| {
        scope.spawn(|| write_on(table, keys, &worst_ns, &enough));
        let mut watcher = Watcher::greeted(&house);
        let mut manager = watcher.status().manager_pid;
        for _ in 0..kills {
            worst_ns.store(0, Ordering::Relaxed);
            let pid = i32::try_from(manager).ok().and_then(Pid::from_raw).expect("a process id");
            let killed = Instant::now();
            kill_process(pid, Signal::KILL).expect("it is there, and ours");
            watcher = eventually("the next manager", || {
                // The old one's end of a connection may be open for a moment yet.
                let watcher = std::panic::catch_unwind(|| Watcher::greeted(&house)).ok()?;
                (watcher.status().manager_pid != manager).then_some(watcher)
            });
            answered.push(killed.elapsed());
            let status = eventually("the owner to be re-adopted", || {
                let status = watcher.status();
                let owner = status.tables[0].owner.as_ref()?;
                (status.ready_us.is_some() && owner.name == "owner").then_some(status)
            });
            adopted.push(killed.elapsed());
            worst.push(Duration::from_nanos(worst_ns.load(Ordering::Relaxed)));
            start_to_ready.push(Duration::from_micros(status.ready_us.expect("it is ready")));
            assert!(status.tables[0].adopted && status.tables[0].epoch == epoch, "{status:?}");
            manager = status.manager_pid;
            // As one that has served for a while, like most that are killed.
            thread::sleep(Duration::from_millis(number("HEIRLOOM_MANAGER_SERVES_MS", 0)));
        }
        enough.store(true, Ordering::Relaxed);
        println!("{kills} kills of a manager with {mib} MiB in {keys} entries");
    });
    print("from its start to READY", start_to_ready);
    print("from the kill to the next one's answer", answered);
    print("from the kill to the owner re-adopted", adopted);
    print("the owner's worst commit meanwhile", worst);
}
