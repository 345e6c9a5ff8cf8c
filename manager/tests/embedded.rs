//! The manager inside a program: its workers die by panics and cancellations, and no commit that returned is lost.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

use heirloom_manager::manager::embedded::{House, LoadError, Table};
use heirloom_manager::manager::{Manager, ManagerError};
use heirloom_manager::registry::Candidates;
use heirloom_protocol::sys::inherit::NamedDescriptor;
use heirloom_protocol::sys::{Process, Segment};
use heirloom_protocol::table::{self, TableOptions, TableWriter};
use heirloom_worker::{HandOn, Owned, OwnedError, Reader, TableHeir, Transfer, TransferReason, Worker};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// After this long, what a test waits for does not come.
const PATIENCE: Duration = Duration::from_secs(30);

struct Inbox(Sender<Transfer>);

impl TableHeir for Inbox {
    fn transferred(&mut self, transfer: Transfer) {
        let _ = self.0.send(transfer);
    }
}

fn house() -> House {
    let table = Table::set("sales").max_bytes(16 << 20).gift(&"USD");
    Manager::embedded().table(table.find_me(|ready: &Candidates| ready.named("w"))).start().unwrap()
}

/// A candidate for `sales`.
fn candidate(house: &House) -> (Worker, Receiver<Transfer>) {
    let worker = house.worker("w").unwrap();
    let (sender, inbox) = channel();
    worker.heir("sales", Inbox(sender)).unwrap();
    worker.ready().unwrap();
    (worker, inbox)
}

fn next(inbox: &Receiver<Transfer>) -> Transfer {
    inbox.recv_timeout(PATIENCE).expect("nothing is transferred")
}

/// Panics without a word on standard error.
fn die<T>() -> T {
    std::panic::resume_unwind(Box::new("as the test wants"))
}

/// What a supervisor hands down.
fn kept(name: &str, descriptor: &impl AsFd) -> NamedDescriptor {
    NamedDescriptor { name: name.to_owned(), descriptor: descriptor.as_fd().try_clone_to_owned().unwrap() }
}

#[test]
fn a_table_that_outlived_its_program_is_not_filled_anew() {
    let options = TableOptions::set(16 << 20);
    let segment = Segment::create("sales", options.segment_bytes()).unwrap();
    let region = Arc::new(segment.map().unwrap());
    table::create(&region, &options).unwrap();
    table::begin_epoch(&region, 7).unwrap();
    let mut before = TableWriter::open(region, 7).unwrap();
    before.insert(&1_u64.to_be_bytes(), b"x").unwrap();
    drop(before);
    let start = |received| {
        let sales = Table::set("sales").max_bytes(16 << 20).find_me(|ready: &Candidates| ready.named("w"));
        let sales = sales.hydrate_with(|_| panic!("it is there already"));
        Manager::embedded().descriptor_store(received).table(sales).start()
    };
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let process = Process::open(child.id()).unwrap();
    let before = format!("house.{}", child.id());
    let error = start(vec![kept("table.sales", &segment), kept(&before, &process)]).unwrap_err();
    assert!(matches!(error, ManagerError::StillRunning { pid } if pid == child.id()), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();

    let house = start(vec![kept("table.sales", &segment), kept(&before, &process)]).unwrap();
    let (_worker, inbox) = candidate(&house);
    let transfer = next(&inbox);
    assert_eq!((transfer.epoch(), transfer.reason()), (8, &TransferReason::ManagerDied));
    let sales = transfer.accept::<u64, [u8]>().unwrap();
    assert_eq!(sales.get(&1).unwrap().as_deref(), Some(&b"x"[..]));

    // Of another kind than the program says now: it stays with the supervisor.
    let other = Table::bag("sales").max_bytes(16 << 20);
    let error =
        Manager::embedded().descriptor_store(vec![kept("table.sales", &segment)]).table(other).start();
    assert!(matches!(error, Err(ManagerError::Adopt { .. })), "{error:?}");
}

#[test]
fn a_panic_in_a_transaction_hands_the_table_on_whole() {
    let house = house();
    let (worker, inbox) = candidate(&house);
    let owner = thread::spawn(move || {
        let _worker = worker;
        let transfer = next(&inbox);
        assert_eq!(transfer.gift::<String>().unwrap(), "USD");
        let mut sales = transfer.accept::<u64, u64>().unwrap();
        sales.insert(&1, &10).unwrap();
        let mut transaction = sales.transaction();
        transaction.insert(&1, &11).unwrap();
        transaction.insert(&2, &20).unwrap();
        transaction.bequeath(&5_u64).unwrap();
        transaction.commit().unwrap();
        let mut transaction = sales.transaction();
        transaction.insert(&1, &666).unwrap();
        die::<()>();
    });
    let (_standby, inbox) = candidate(&house);
    assert!(owner.join().is_err());
    let transfer = next(&inbox);
    assert_eq!(*transfer.reason(), TransferReason::Panicked { pid: std::process::id() });
    assert_eq!((transfer.epoch(), transfer.bequest::<u64>().unwrap()), (2, Some(5)));
    let sales = transfer.accept::<u64, u64>().unwrap();
    assert_eq!((sales.get(&1).unwrap(), sales.get(&2).unwrap()), (Some(11), Some(20)));
    let status = house.status();
    assert_eq!((status.tables[0].handoffs, status.tables[0].state.as_str()), (2, "owned"));
}

#[tokio::test]
async fn a_cancelled_task_hands_the_table_on() {
    use heirloom_worker::tokio::{Told, Worker};
    let house = house();
    let heir = async |house: &House| {
        let worker = Worker::from(house.worker("w").unwrap());
        let heir = worker.heir("sales").await.unwrap();
        worker.ready().unwrap();
        (worker, heir)
    };
    let (worker, mut told) = heir(&house).await;
    let (written, is_written) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let _worker = worker;
        let Some(Told::Transferred(transfer)) = told.next().await else { panic!("nothing is transferred") };
        let mut sales = transfer.accept::<u64, u64>().await.unwrap();
        sales.insert(&1, &10).unwrap();
        written.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    is_written.await.unwrap();
    let (_standby, mut told) = heir(&house).await;
    task.abort();
    let Some(Told::Transferred(transfer)) = told.next().await else { panic!("nothing is transferred") };
    let sales = transfer.accept::<u64, u64>().await.unwrap();
    assert_eq!(sales.get(&1).unwrap(), Some(10));
}

/// Two threads at a time, and each dies of what it was doing: in a write, in a transaction, in between.
#[test]
fn a_thousand_deaths_lose_no_commit() {
    const DEATHS: u64 = 1000;
    let house = house();
    // What has returned, counted by those who write.
    let (returned, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader: Reader<u64, u64> = house.client().unwrap().reader("sales").unwrap();
            let (returned, over) = (Arc::clone(&returned), Arc::clone(&over));
            thread::spawn(move || {
                let mut reads = 0;
                while !over.load(Ordering::Acquire) {
                    let least = returned.load(Ordering::Acquire);
                    let counted = reader.get(&0).unwrap().unwrap_or(0);
                    assert!(counted >= least, "{counted} after {least} had returned");
                    reads += 1;
                }
                reads
            })
        })
        .collect();

    let mut took = Vec::new();
    let died = Arc::default();
    let mut owner = Mortal::start(&house, 0, &returned, &died);
    for deaths in 1..=DEATHS {
        // The heir stands by when the owner dies.
        let heir = Mortal::start(&house, deaths, &returned, &died);
        took.extend(owner.dies());
        owner = heir;
    }
    took.extend(owner.dies());
    over.store(true, Ordering::Release);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
    assert_eq!(house.status().tables[0].handoffs, DEATHS + 1);
    print!("{DEATHS} deaths beside two readers, {} commits; ", returned.load(Ordering::Acquire));
    check_times(took);
}

#[test]
fn the_next_thread_has_the_table_at_once() {
    let house = house();
    let (returned, died) = (Arc::default(), Arc::default());
    let mut owner = Mortal::start(&house, 0, &returned, &died);
    let mut took = Vec::new();
    for number in 1..=200 {
        let heir = Mortal::start(&house, number, &returned, &died);
        took.extend(owner.dies());
        owner = heir;
    }
    let _ = owner.dies();
    print!("200 deaths, and nobody else (a message alone wakes a thread in {:?}); ", a_thread_wakes_in());
    check_times(took);
}

/// From a message to the thread that waits for it, in the median: what no handoff can be faster than.
fn a_thread_wakes_in() -> Duration {
    let (sender, inbox) = channel::<Instant>();
    let waiting = thread::spawn(move || inbox.iter().map(|sent| sent.elapsed()).collect::<Vec<_>>());
    for _ in 0..200 {
        // It shall be asleep, as an heir is.
        thread::sleep(Duration::from_millis(1));
        sender.send(Instant::now()).unwrap();
    }
    drop(sender);
    let mut times = waiting.join().unwrap();
    times.sort();
    times[times.len() / 2]
}

/// From the last breath of one owner to the writer of its heir.
fn check_times(mut took: Vec<Duration>) {
    took.sort();
    println!("to the heir's writer: {:?} at best, {:?} in the median", took[0], took[took.len() / 2]);
    // Nobody but the machine's other work should make it wait, and that not each time: a pause between two looks would.
    assert!(took[took.len() / 10] < Duration::from_millis(5), "{took:?}");
}

/// A thread that waits for the table, and when it is told so, counts some commits and dies of them.
struct Mortal {
    thread: thread::JoinHandle<Option<Duration>>,
    go: Sender<()>,
}

impl Mortal {
    fn start(
        house: &House,
        number: u64,
        returned: &Arc<AtomicU64>,
        died: &Arc<Mutex<Option<Instant>>>,
    ) -> Self {
        let (worker, inbox) = candidate(house);
        let (go, told) = channel();
        let (returned, died) = (Arc::clone(returned), Arc::clone(died));
        let life = move || {
            let _worker = worker;
            let transfer = next(&inbox);
            let bequest: u64 = transfer.bequest().unwrap().unwrap_or(0);
            let mut sales = transfer.accept::<u64, u64>().unwrap();
            let took = died.lock().unwrap().map(|died| died.elapsed());
            let counted = sales.get(&0).unwrap().unwrap_or(0);
            assert_eq!(counted, bequest, "the bequest is of another commit");
            let least = returned.load(Ordering::Acquire);
            assert_eq!(counted, least, "a commit is lost, or one is there that never was");
            told.recv_timeout(PATIENCE).expect("nobody tells it to die");
            for step in counted + 1..counted + 1 + number % 7 {
                let mut transaction = sales.transaction();
                transaction.insert(&0, &step).unwrap();
                transaction.insert(&(1 + step % 100), &step).unwrap();
                transaction.bequeath(&step).unwrap();
                transaction.commit().unwrap();
                returned.store(step, Ordering::Release);
            }
            let mut transaction = sales.transaction();
            transaction.insert(&0, &u64::MAX).unwrap();
            *died.lock().unwrap() = Some(Instant::now());
            if number.is_multiple_of(3) {
                drop(transaction);
                return took; // the writer dropped without a word
            }
            std::panic::resume_unwind(Box::new(took))
        };
        Self { thread: thread::spawn(life), go }
    }

    /// Dies, and says how long it had waited for the table after the death before.
    fn dies(self) -> Option<Duration> {
        self.go.send(()).expect("it waits for that");
        match self.thread.join() {
            Ok(took) => took,
            Err(panic) => *panic.downcast().expect("not the death that was meant"),
        }
    }
}

#[test]
fn a_service_owns_stands_by_and_hands_on() {
    let house = house();
    let web = |name: &str| {
        let worker = house.worker(name).unwrap();
        let owned: Owned<u64, String> = worker.own("sales").unwrap();
        worker.ready().unwrap();
        owned
    };
    let (first, second) = (web("w"), web("w"));
    first.write(|table| table.insert(&1, &"a".to_owned())).unwrap();
    let refused = second.write(|table| table.insert(&1, &"b".to_owned()));
    assert!(matches!(refused, Err(OwnedError::NotOwner { .. })), "{refused:?}");

    let client = house.client().unwrap();
    let handed_on = client.hand_on("sales", HandOn::new().to("w").within(PATIENCE)).unwrap();
    assert_eq!(handed_on.owner.unwrap().name, "w");
    assert!(!first.is_owner());
    second.write(|table| table.insert(&2, &"b".to_owned())).unwrap();
    assert_eq!(first.get(&2).unwrap().as_deref(), Some("b"));
    assert!(client.hand_on("sales", HandOn::new().force()).is_err(), "a thread cannot be killed");

    // Its last handle goes, and the table to the other.
    drop(second);
    let since = Instant::now();
    while first.write(|table| table.insert(&3, &"c".to_owned())).is_err() {
        assert!(since.elapsed() < PATIENCE, "it never came back");
        thread::yield_now();
    }
}

#[test]
fn an_heir_that_panics_or_waits_costs_its_own_turn_only() {
    struct Rude(bool);
    impl TableHeir for Rude {
        fn transferred(&mut self, transfer: Transfer) {
            if self.0 {
                die::<()>();
            }
            // Waiting here would be for ever: refused at once, which declines.
            assert!(transfer.accept::<u64, u64>().is_err());
        }
    }
    let house = house();
    for panics in [true, false] {
        let worker = house.worker("w").unwrap();
        worker.heir("sales", Rude(panics)).unwrap();
        worker.ready().unwrap();
        let (_polite, inbox) = candidate(&house);
        drop(next(&inbox).accept::<u64, u64>().unwrap());
    }
}

#[test]
fn who_does_not_answer_is_passed_over() {
    let table = Table::set("sales").find_me(|ready: &Candidates| ready.first());
    let house = Manager::embedded().table(table).offer_timeout(Duration::from_millis(50)).start().unwrap();
    let (_slow, slow_inbox) = candidate(&house);
    let slow = next(&slow_inbox);
    let (_other, inbox) = candidate(&house);
    let transfer = next(&inbox);
    assert!(slow.accept::<u64, u64>().is_err(), "its offer was withdrawn");
    transfer.accept::<u64, u64>().unwrap();
}

#[test]
fn tables_are_filled_before_anybody_sees_them() {
    let cars = Table::ordered_set("cars")
        .hydrate_with(|load| load.extend([("Zonda".to_owned(), 1_u64), ("Agera".to_owned(), 2)]));
    let house = Manager::embedded().table(cars).start().unwrap();
    let reader: Reader<String, u64> = house.client().unwrap().reader("cars").unwrap();
    assert_eq!((reader.get("Zonda").unwrap(), reader.len()), (Some(1), 2));

    let broken = Table::set("cars").hydrate_with(|_| Err(LoadError::source("no such database")));
    let error = Manager::embedded().table(broken).start().unwrap_err();
    assert!(error.to_string().contains("no such database"), "{error}");
    let twice = Manager::embedded().table(Table::set("cars")).table(Table::set("cars")).start();
    assert!(matches!(twice, Err(ManagerError::TwoTables { .. })));
}

#[test]
fn a_house_ends_with_its_last_handle() {
    let house = house();
    let (worker, inbox) = candidate(&house);
    drop(house);
    // The worker keeps it open.
    let mut sales = next(&inbox).accept::<u64, u64>().unwrap();
    sales.insert(&1, &1).unwrap();
    let reader = worker.reader::<u64, u64>("sales").unwrap();
    drop((worker, sales));
    assert_eq!(reader.get(&1).unwrap(), Some(1));
}
