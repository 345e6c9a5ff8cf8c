//! Workers start after the manager's READY, or not at all.

use crate::stage::{Stage, worker};
use heirloom_protocol::sys::notify::Notifier;

#[test]
fn no_worker_starts_before_the_manager_is_ready() {
    let mut stage = Stage::waiting(&(worker("a", "instances = 2") + &worker("b", "")));
    // Whatever the supervisor does too early has happened before it answers this.
    stage.order("store table.x text");
    stage.expect("manager stored");
    assert_eq!(stage.others(), [""; 0]);
    stage.make_ready();
    for worker in ["a", "a", "b"] {
        stage.started(worker);
    }
    stage.expect("children a.1=running/0 a.2=running/0 b.1=running/0");
}

#[test]
fn a_manager_that_ends_before_it_is_ready_ends_the_supervisor_and_no_worker_starts() {
    let mut stage = Stage::waiting(&worker("a", ""));
    stage.order("exit 3");
    assert_eq!(stage.ended().code(), Some(1));
    stage.expect_log("FAILED: the manager ended before it was ready (exit status 3); no worker was started");
    assert_eq!(stage.others(), [""; 0]);
    assert!(!stage.socket().exists(), "the socket is removed");
}

#[test]
fn a_manager_that_is_not_there_ends_the_supervisor_with_its_name() {
    let mut stage = Stage::unchecked(&worker("a", ""), |command| {
        command.env("HEIRLOOM_TEST_MANAGER", "/nowhere/manager");
    });
    assert_eq!(stage.ended().code(), Some(1));
    stage.expect_log("cannot start \"/nowhere/manager\"");
    stage.expect_log("FAILED: the manager ended before it was ready");
    assert_eq!(stage.others(), [""; 0]);
}

#[test]
fn somebody_else_cannot_say_that_the_manager_is_ready() {
    let mut stage = Stage::waiting(&worker("a", ""));
    let mut path = stage.socket().into_os_string();
    path.push(".notify");
    Notifier::connect(path.as_ref()).and_then(|notifier| notifier.ready()).expect("sent");
    stage.expect_log("somebody who is not the manager sent a notification");
    stage.order("store table.x text");
    stage.expect("manager stored");
    assert_eq!(stage.others(), [""; 0]);
}

#[test]
fn children_are_given_their_environment() {
    let script = "echo \"env $HEIRLOOM_SOCKET $HEIRLOOM_WORKER $HEIRLOOM_INSTANCE $COLOUR \
                  ${NOTIFY_SOCKET:-none} ${LISTEN_FDS:-none} $PWD\" >> $EVENTS; exec sleep 600";
    let config = crate::stage::scripted("a", script, "env = { COLOUR = \"red\" }");
    let mut stage = Stage::unchecked(&config, |command| {
        command.env("LISTEN_FDS", "1");
    });
    stage.expect("manager start");
    stage.make_ready();
    let (socket, folder) = (stage.socket(), stage.socket().parent().expect("a folder").to_owned());
    stage.started("a");
    stage.expect(&format!("env {} a 1 red none none {}", socket.display(), folder.display()));
}
