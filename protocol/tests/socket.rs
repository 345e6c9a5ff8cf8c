//! The control socket: whole messages, descriptors, the kernel's word on the sender (rules H10, H12, H18, H19, H20).
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::{AsFd, OwnedFd};

use heirloom_protocol::codec::MessageError;
use heirloom_protocol::message::{Event, MAX_MESSAGE_BYTES, Request};
use heirloom_protocol::sys::{
    Connection, ListenError, Listener, Process, Signal, SocketError, needs, testing,
};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use support::{PATIENCE, alone, expect, role, say, start};

fn raw_pair() -> (OwnedFd, Connection) {
    let (raw, other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a pair");
    (raw, Connection::from_fd(other).expect("a socket"))
}

#[test]
fn messages_arrive_whole_with_their_descriptor_and_sender() {
    let _turn = alone();
    let (one, other) = Connection::pair().expect("a pair");
    let (reading, writing) = std::io::pipe().expect("a pipe");
    let granted = Event::Granted { table: "sales".to_owned(), epoch: 7 };
    one.send_message(&granted, Some(writing.as_fd())).expect("sent");
    one.send_message(&Event::Registered, None).expect("sent");
    drop(writing);

    let (message, received) = other.recv_message::<Event>().expect("received").expect("not the end");
    assert_eq!(message, granted);
    let sender = received.sender.expect("the kernel's word");
    assert_eq!(sender.pid, std::process::id());
    assert_eq!(sender.uid, rustix::process::getuid().as_raw());
    let [descriptor] = <[OwnedFd; 1]>::try_from(received.descriptors).expect("one descriptor");
    assert!(rustix::io::fcntl_getfd(&descriptor).expect("flags").contains(FdFlags::CLOEXEC));
    rustix::io::write(&descriptor, b"x").expect("it is the pipe");
    drop((descriptor, reading));

    let (message, received) = other.recv_message::<Event>().expect("received").expect("not the end");
    assert_eq!((message, received.descriptors.len()), (Event::Registered, 0));
    drop(one);
    assert!(other.recv_message::<Event>().expect("received").is_none(), "the end");
}

#[test]
fn a_forked_child_on_its_parents_connection_is_told_apart() {
    let _turn = alone();
    let (worker, manager) = Connection::pair().expect("a pair");
    let child = support::fork(|| {
        say(&worker, "release");
        0
    });
    let received = expect(&manager, "release");
    assert_eq!(received.sender.expect("the kernel's word").pid, child.pid());
    assert_eq!(manager.peer().expect("a peer").credentials.pid, std::process::id());
    child.end();
}

#[test]
fn garbage_and_too_much_are_errors_and_the_next_message_is_none_the_worse() {
    let _turn = alone();
    let (raw, connection) = raw_pair();
    let send = |bytes: &[u8]| rustix::net::send(&raw, bytes, SendFlags::empty()).expect("sent");
    let good = heirloom_protocol::codec::encode(&Request::Ready).expect("a message");

    send(&[0xff; 100]);
    assert!(matches!(
        connection.recv_message::<Request>(),
        Err(SocketError::Message(MessageError::Malformed(_)))
    ));
    send(&[good.as_slice(), b"more"].concat());
    assert!(matches!(
        connection.recv_message::<Request>(),
        Err(SocketError::Message(MessageError::TrailingBytes { bytes: 4 }))
    ));
    send(&vec![0; MAX_MESSAGE_BYTES + 1]);
    assert!(
        matches!(connection.recv_message::<Request>(), Err(SocketError::TooLong { bytes }) if bytes > MAX_MESSAGE_BYTES)
    );
    send(&good);
    assert_eq!(
        connection.recv_message::<Request>().expect("received").expect("not the end").0,
        Request::Ready
    );

    let (one, _other) = Connection::pair().expect("a pair");
    assert!(matches!(one.send(&vec![0; MAX_MESSAGE_BYTES + 1], None), Err(SocketError::TooLong { .. })));
    assert!(
        matches!(one.send(b"", None), Err(SocketError::TooLong { bytes: 0 })),
        "it would read as the end"
    );
}

/// More descriptors than there is room for: the kernel cuts them off (MSG_CTRUNC), and none stays open here.
#[test]
fn a_flood_of_descriptors_is_refused_whole() {
    let _turn = alone();
    let (raw, connection) = raw_pair();
    let (reading, writing) = std::io::pipe().expect("a pipe");
    let many = vec![writing.as_fd(); 200];
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&many)));
    let bytes = [std::io::IoSlice::new(b"flood")];
    rustix::net::sendmsg(&raw, &bytes, &mut control, SendFlags::empty()).expect("sent");
    drop(many);
    drop(writing);
    assert!(matches!(connection.recv(&mut Vec::new()), Err(SocketError::TooLong { .. })));
    let mut rest = Vec::new();
    // The pipe has no writer left, or this would wait for ever.
    std::io::Read::read_to_end(&mut &reading, &mut rest).expect("the end");

    say(&Connection::from_fd(raw).expect("a socket"), "next");
    expect(&connection, "next");
}

#[test]
fn a_connection_that_is_not_ready_says_so() {
    let _turn = alone();
    let (one, other) = Connection::pair().expect("a pair");
    one.set_nonblocking(true).expect("set");
    let refused = one.recv(&mut Vec::new()).expect_err("nothing there");
    assert!(refused.is_would_block());
    assert_eq!(std::io::Error::from(refused).kind(), std::io::ErrorKind::WouldBlock);
    let refused = (0..10_000).find_map(|_| one.send(&[7; 1000], None).err()).expect("the queue is bounded");
    assert!(refused.is_would_block());
    drop(other);
    assert!(matches!(one.send(b"x", None), Err(SocketError::Closed)));
}

#[test]
fn a_peer_is_known_by_its_pidfd_dead_or_alive() {
    if let Some((path, connection)) = role() {
        let manager = Connection::connect(path.as_ref()).expect("connected");
        say(&manager, "hello");
        return drop(support::hear(&connection));
    }
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control");
    let listener = Listener::bind(&path, 0o600).expect("listening");
    let mut worker =
        start("a_peer_is_known_by_its_pidfd_dead_or_alive", path.to_str().expect("a readable path"));
    let connection = listener.accept().expect("accepted");
    let peer = connection.peer().expect("a peer");
    assert_eq!(peer.credentials.pid, worker.child.id());
    assert_eq!(peer.process.identity(), worker.process.identity());
    assert!(!peer.process.has_exited());
    // What was sent before the connection was accepted has its sender too.
    assert_eq!(expect(&connection, "hello").sender, Some(peer.credentials));

    say(&worker.connection, "end");
    assert!(peer.process.wait_exit(PATIENCE));
    worker.child.wait().expect("reaped");
    if peer.certain {
        let late = connection.peer().expect("also when it is dead").process;
        assert_eq!(late.identity(), peer.process.identity());
    } else {
        eprintln!("SKIPPED: the peer of a connection cannot be known when it is dead without SO_PEERPIDFD");
    }
}

#[test]
fn a_dead_sockets_file_is_replaced_and_a_living_ones_is_not() {
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control");

    let listener = Listener::bind(&path, 0o600).expect("listening");
    let mode = std::fs::metadata(&path).expect("there").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    let refused = Listener::bind(&path, 0o600).expect_err("somebody lives there");
    assert!(matches!(refused, ListenError::InUse { .. }), "{refused:?}");
    let probe = listener.accept().expect("the one that looked");
    assert!(probe.recv(&mut Vec::new()).expect("received").is_none(), "and went");
    Connection::connect(&path).expect("it still lives");

    let mut inherited = Some(listener);
    let child = support::fork(|| {
        drop(inherited.take());
        0
    });
    child.end();
    assert!(path.exists(), "a forked child does not remove its parent's");
    drop(inherited);
    assert!(!path.exists(), "whoever made it removes it");
    assert!(matches!(Connection::connect(&path), Err(SocketError::Connect { .. })));

    // One that was killed leaves its file.
    let (ours, theirs) = Connection::pair().expect("a pair");
    let child = support::fork(|| {
        let _listener = Listener::bind(&path, 0o666).expect("listening");
        say(&theirs, "listening");
        loop {
            std::thread::park();
        }
    });
    expect(&ours, "listening");
    assert!(matches!(Listener::bind(&path, 0o600), Err(ListenError::InUse { .. })));
    child.kill(rustix::process::Signal::KILL).expect("killed");
    child.end();
    assert!(path.exists());
    let listener = Listener::bind(&path, 0o600).expect("replaced");
    let connection = Connection::connect(&path).expect("connected");
    say(&connection, "here");
    expect(&listener.accept().expect("accepted"), "here");
}

/// Of those who begin to listen in the same moment, where a dead one's file stands, exactly one does.
#[test]
fn one_of_many_replaces_a_dead_one() {
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control");
    for _ in 0..300 {
        // Closed, but not removed.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let start = std::sync::Barrier::new(8);
        let attempt = || {
            start.wait();
            Listener::bind(&path, 0o600).ok()
        };
        let listeners: Vec<Listener> = std::thread::scope(|scope| {
            let attempts: Vec<_> = (0..8).map(|_| scope.spawn(attempt)).collect();
            attempts.into_iter().filter_map(|attempt| attempt.join().expect("no panic")).collect()
        });
        assert_eq!(listeners.len(), 1);
        Connection::connect(&path).expect("it is the one that is reached");
    }
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").expect("written");
    assert!(matches!(Listener::bind(&path, 0o600), Err(ListenError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "data");

    let other = folder.path().join("stream");
    let _living = std::os::unix::net::UnixListener::bind(&other).expect("listening");
    assert!(
        matches!(Listener::bind(&other, 0o600), Err(ListenError::InUse { .. })),
        "alive, of another type"
    );
    let long = folder.path().join("x".repeat(200));
    let refused = Listener::bind(&long, 0o600).expect_err("too long").to_string();
    assert!(refused.contains("107 bytes"), "{refused}");
}

#[test]
fn a_listener_that_is_passed_on_keeps_its_queue() {
    let _turn = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control");
    let supervisors = Listener::bind(&path, 0o600).expect("listening");
    let client = Connection::connect(&path).expect("queued while there is no manager");
    say(&client, "hello");
    let managers =
        Listener::from_fd(supervisors.as_fd().try_clone_to_owned().expect("a copy")).expect("a listener");
    expect(&managers.accept().expect("accepted"), "hello");
    managers.set_nonblocking(true).expect("set");
    assert_eq!(managers.accept().expect_err("none").kind(), std::io::ErrorKind::WouldBlock);
    drop(managers);
    assert!(path.exists(), "the file is the supervisor's");
    assert!(Listener::from_fd(Connection::pair().expect("a pair").0.into()).is_err());
}

/// Where the kernel can refuse descriptors, they do not even arrive (rule H19).
#[test]
fn descriptors_can_be_refused() {
    let _turn = alone();
    let (one, other) = Connection::pair().expect("a pair");
    if !other.refuse_descriptors() {
        eprintln!("SKIPPED: SO_PASSRIGHTS needs Linux 6.16");
        return;
    }
    let (_reading, writing) = std::io::pipe().expect("a pipe");
    assert!(one.send(b"with a descriptor", Some(writing.as_fd())).is_err());
    say(&one, "without");
    assert!(expect(&other, "without").descriptors.is_empty());
}

/// Descriptors in messages that nobody reads count against their user, and the sender is told so (rule H19).
#[test]
fn too_many_descriptors_under_way_are_an_error_of_their_own() {
    const LIMIT: u64 = 64;
    if let Some((_, connection)) = role() {
        testing::become_user(65534, 65534).expect("root may");
        let limit = rustix::process::Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("lowered");
        let (_reading, writing) = std::io::pipe().expect("a pipe");
        let pairs: Vec<_> = (0..10).map(|_| Connection::pair().expect("a pair")).collect();
        let refused = (0..2 * LIMIT).zip(pairs.iter().cycle()).find_map(|(_, (one, _))| {
            one.set_nonblocking(true).expect("set");
            one.send(b"grant", Some(writing.as_fd())).err()
        });
        assert!(matches!(refused, Some(SocketError::TooManyInFlight)), "{refused:?}");
        return say(&connection, "told");
    }
    let test = "too_many_descriptors_under_way_are_an_error_of_their_own";
    if !needs::root(test) {
        return;
    }
    let _turn = alone();
    let actor = start(test, "limited");
    expect(&actor.connection, "told");
}

/// Who has no number here is known by its process (rule H12).
#[test]
fn the_kernel_says_which_process_sent_each_packet() {
    let _turn = alone();
    let (one, other) = Connection::pair().expect("a pair");
    one.send(b"before", None).expect("sent");
    if other.name_senders().is_err() {
        eprintln!("SKIPPED: SO_PASSPIDFD with pidfds that can be told apart needs Linux 6.9");
        return;
    }
    let who = || {
        let mut bytes = Vec::new();
        other.recv(&mut bytes).expect("received").expect("a packet").process
    };
    let ours = Process::current().expect("a pidfd").identity();
    assert_eq!(who(), Some(ours), "also of what was under way");
    one.send(b"again", None).expect("sent");
    assert_eq!(who(), Some(ours));
    // A forked child, on the same connection, that is still there when it is received.
    let child = testing::fork(|| {
        let sent = one.send(b"I am my parent", None);
        loop {
            std::thread::park();
            if sent.is_err() {
                return 1;
            }
        }
    })
    .expect("forked");
    assert_eq!(who(), Some(child.identity()));
    child.kill(Signal::KILL).expect("it is our child");
    testing::reap(&child).expect("reaped");
}
