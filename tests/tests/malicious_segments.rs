//! Memory that is not what it says: from a manager that lies, and from a process of the same user that writes what it
//! should not (rule H9). Whoever reads gets an error, and nobody dies of it (contract 6).

use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Request};
use heirloom_protocol::region::Region;
use heirloom_protocol::sys::{Connection, Listener, Segment};
use heirloom_tests::{House, Relay, eventually, one_table, role};
use heirloom_worker::{Client, Reader, Worker};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

/// Answers each client that asks for a table with that descriptor, for as many connections as there are.
fn lying_manager(socket: &Path, memory: OwnedFd) {
    let listener = Listener::bind(socket, 0o600).expect("a folder of the test's own");
    thread::spawn(move || {
        while let Ok(connection) = listener.accept() {
            // A client that has enough of it ends its connection.
            let _ = lie(&connection, &memory);
        }
    });
}

fn lie(connection: &Connection, memory: &OwnedFd) -> Option<()> {
    loop {
        let (answer, with) = match connection.recv_message::<Request>().ok()??.0 {
            Request::Hello { .. } => (Event::Welcome { version: PROTOCOL_VERSION, manager_pid: 1 }, None),
            Request::Open { request, table } => (Event::Opened { request, table }, Some(memory)),
            _ => continue,
        };
        connection.send_message(&answer, with.map(AsFd::as_fd)).ok()?;
    }
}

fn memfd(bytes: u64, seals: SealFlags) -> OwnedFd {
    let memfd = rustix::fs::memfd_create("heirloom:ledger", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .expect("memory");
    rustix::fs::ftruncate(&memfd, bytes).expect("sparse");
    rustix::fs::fcntl_add_seals(&memfd, seals).expect("it is ours");
    memfd
}

/// A segment that is one by its descriptor, with what the random numbers say in it.
fn garbage(random: &mut StdRng) -> OwnedFd {
    let segment = Segment::create("ledger", 4 << 20).expect("memory");
    let region = segment.map().expect("it can be mapped");
    region.make_present(0..(1 << 20) / 8).expect("memory");
    for word in 0..(1 << 20) / 8 {
        region.store(word, random.random::<u64>() >> random.random_range(0..64));
    }
    segment.fresh_read_only().expect("a descriptor")
}

#[test]
fn a_manager_that_lies_is_an_error_for_its_clients() {
    const UNIT: u64 = 2 << 20;
    let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let folder = tempfile::tempdir().expect("a folder");
    let file = File::create_new(folder.path().join("file")).expect("a file");
    file.set_len(UNIT).expect("sparse");
    let null = File::open("/dev/null").expect("it is everywhere");
    let mut random = StdRng::seed_from_u64(7);
    let cases: [(&str, OwnedFd); 9] = [
        ("a device", null.into()),
        ("a file", file.into()),
        ("a pipe", rustix::pipe::pipe().expect("a pipe").0),
        ("memory that can shrink", memfd(UNIT, SealFlags::GROW)),
        ("memory of no length", memfd(0, all)),
        ("memory of an odd length", memfd(UNIT + 4096, all)),
        ("memory that is empty", memfd(UNIT, all)),
        ("garbage", garbage(&mut random)),
        ("other garbage", garbage(&mut random)),
    ];
    for (number, (what, memory)) in cases.into_iter().enumerate() {
        let socket = folder.path().join(format!("socket {number}"));
        lying_manager(&socket, memory);
        let client = Client::connect(&socket).expect("it says welcome");
        let error = client.reader::<str, u64>("ledger").expect_err("it is no table");
        println!("{what}: {error}");
    }
}

/// Reads in every way; how often that was an answer, and how often an error.
fn read(reader: &Reader<u64, u64>, answers: &mut [u64; 2]) {
    let mut count = |is_answer: bool| answers[usize::from(!is_answer)] += 1;
    for key in 0..50 {
        count(reader.get(&key).is_ok());
    }
    count(reader.scan::<()>(|_, _| ControlFlow::Continue(())).is_ok());
    match reader.snapshot() {
        Ok(snapshot) => {
            count(snapshot.get(&1).is_ok());
            count(snapshot.scan::<()>(|_, _| ControlFlow::Continue(())).is_ok());
        }
        Err(_) => count(false),
    }
    count(reader.bequest::<u64>().is_ok());
    let _ = (reader.len(), reader.info());
}

/// A process of the same user can write a table behind everybody's back; the kernel does not keep it from that.
#[test]
fn what_the_same_user_scribbles_into_a_table_kills_nobody() {
    let house = House::start(|_| {
        let tables = [one_table("ledger", "clerk"), one_table("quiet", "porter")];
        // One [[worker]] section each, and they may stand in any order.
        tables.concat()
    });
    let client = house.client();
    let manager = client.status().expect("it answers").manager_pid;
    let mut relay = Relay::start(&house.socket(), "porter", "quiet");
    let worker = Worker::connect(house.socket(), "clerk").expect("a manager");
    let mut inbox = role::transfers(&worker, "ledger").expect("a worker");
    let mut writer = inbox.next().expect("a transfer").accept::<u64, u64>().expect("it is granted");
    for key in 0..2000 {
        writer.insert(&key, &key).expect("there is room");
    }
    let reader = client.reader::<u64, u64>("ledger").expect("a reader");

    let descriptor =
        fs::read_dir(format!("/proc/{manager}/fd")).expect("it is of our user").find_map(|entry| {
            let path = entry.ok()?.path();
            let is_it = fs::read_link(&path).ok()?.to_str()?.contains("memfd:heirloom:ledger");
            is_it.then(|| rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok())?
        });
    let memory = File::from(descriptor.expect("the manager has it"));
    let mut random = StdRng::seed_from_u64(11);
    let mut answers = [0; 2];
    let mut written = [0_u64; 2];
    for round in 0..300 {
        let mut bytes = [0; 64];
        random.fill(&mut bytes);
        // The header first of all, then anything that is in use.
        let place = random.random_range(0..if round % 3 == 0 { 4096 } else { 512 * 1024 });
        memory.write_all_at(&bytes[..1 + round % 64], place).expect("memory");
        read(&reader, &mut answers);
        let wrote = writer.insert(&(round as u64), &1).is_ok();
        written[usize::from(!wrote)] += 1;
    }
    println!(
        "reads: {} answers, {} errors; writes: {} and {}",
        answers[0], answers[1], written[0], written[1]
    );
    assert!(answers[1] > 0, "that cannot all have been answered");
    drop(writer);
    let state = eventually("the manager to have dealt with it", || {
        let table = house.table(&client, "ledger");
        (table.state != "owned").then_some((table.state, table.detail))
    });
    println!("status: {state:?}");
    relay.pass(10);
    relay.nothing_is_lost();
    assert_eq!(client.status().expect("it answers").manager_pid, manager, "it has not died of it");
}
