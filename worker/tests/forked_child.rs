//! Rules H2 and H12: a forked child has copies of all handles, and none of them does anything.
//!
//! One test in this file: a child that another test forks would hold this one's segment.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

mod support;

use heirloom_protocol::message::{Event, OfferedBequest, Request, TransferReason};
use heirloom_protocol::sys::testing::{fork, reap};
use heirloom_worker::{ReadError, RequestError, Worker, WriteError};
use support::{Manager, TABLE, inbox, transfer};

#[test]
fn a_forked_child_writes_nothing_reads_nothing_and_releases_nothing() {
    let mut manager = Manager::start();
    let (heir, told) = inbox();
    let worker = manager.beside(move |socket| {
        let worker = Worker::connect(socket, "tracker").unwrap();
        worker.heir(TABLE, heir).unwrap();
        worker.ready().unwrap();
        worker
    });
    let line = manager.candidate("tracker");
    let worker = worker.join().unwrap();
    let reading = std::thread::spawn(move || worker.reader::<str, u64>(TABLE).map(|reader| (worker, reader)));
    manager.open(&line);
    let (worker, reader) = reading.join().unwrap().unwrap();
    manager.offer(&line, "");
    let offered = transfer(&told);
    let accepting = std::thread::spawn(move || offered.accept::<str, u64>());
    manager.grant(&line);
    let mut sales = accepting.join().unwrap().unwrap();
    sales.insert("Zonda", &1).unwrap();
    // Another table is on offer, of which only the manager's word is looked at here.
    let (heir, told) = inbox();
    let registering = std::thread::spawn(move || worker.heir("cars", heir).map(|()| worker));
    line.expect(Request::Heir { table: "cars".into() });
    let Some(Request::Sync { request }) = line.hear() else { panic!("expected to be asked") };
    line.say(Event::Done { request });
    let worker = registering.join().unwrap().unwrap();
    let (gift, reason, bequest) = (String::new(), TransferReason::First, OfferedBequest::InSegment);
    let offer =
        Event::Offered { table: "cars".into(), epoch: 2, gift, reason, expires_in_ms: 5_000, bequest };
    line.say_with(offer, &manager.segment.fresh_read_only().unwrap());
    let mut transferred = Some(transfer(&told));
    let mut handles = Some((worker, reader, sales));

    // The parent's handles are moved away in the child only: its memory is a copy.
    let child = fork(|| {
        let (worker, reader, mut sales) = handles.take().unwrap();
        let writes = matches!(sales.insert("Zonda", &2), Err(WriteError::Fenced { .. }));
        let removes = matches!(sales.remove("Zonda"), Err(WriteError::Fenced { .. }));
        let mut transaction = sales.transaction();
        transaction.remove("Zonda").unwrap();
        let commits = matches!(transaction.commit(), Err(WriteError::Fenced { .. }));
        let gets = matches!(sales.get("Zonda"), Err(ReadError::ForkedChild { .. }));
        let reads = matches!(reader.get("Zonda"), Err(ReadError::ForkedChild { .. }))
            && matches!(reader.contains("Zonda"), Err(ReadError::ForkedChild { .. }))
            && matches!(reader.entries(), Err(ReadError::ForkedChild { .. }));
        let asks = matches!(worker.client().status(), Err(RequestError::ForkedChild))
            && matches!(worker.ready(), Err(RequestError::ForkedChild));
        let accepts = transferred.take().unwrap().accept::<str, u64>().is_err();
        let releases = matches!(sales.release(), Err(WriteError::Fenced { .. }));
        drop((worker, reader));
        let all = [writes, removes, commits, gets, reads, asks, accepts, releases];
        all.iter().position(|as_it_should| !as_it_should).map_or(0, |first| first as i32 + 1)
    })
    .unwrap();
    assert_eq!(reap(&child).unwrap(), 0, "the number of the first handle that did something");

    // Nothing was said in the parent's name, and its handles are as they were.
    assert!(line.is_silent());
    let (_worker, reader, mut sales) = handles.take().unwrap();
    sales.insert("Zonda", &3).unwrap();
    assert_eq!(reader.get("Zonda").unwrap(), Some(3));
    transferred.take().unwrap().decline("no");
    assert!(matches!(line.hear(), Some(Request::Decline { epoch: 2, .. })));
    sales.release().unwrap();
    assert!(matches!(line.hear(), Some(Request::Release { epoch: 1, .. })));
    manager.take_back();
}
