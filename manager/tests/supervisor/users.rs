//! Workers that run as somebody else.

use crate::stage::{Stage, scripted};
use heirloom_protocol::sys::needs;

#[test]
fn a_worker_runs_as_its_user_with_its_groups_and_nothing_of_root() {
    if !needs::root("a_worker_runs_as_its_user_with_its_groups_and_nothing_of_root") {
        return;
    }
    let script = "echo \"ids $(id -u) $(id -g) $(id -G) $USER\" >> $EVENTS; exec sleep 600";
    let config = scripted("a", script, "user = \"nobody\"\nfolder = \"/\"");
    // The worker must be able to reach the pipe of events.
    let mut stage = Stage::unchecked(&config, |_| {});
    stage.open_to_all();
    stage.expect("manager start");
    stage.make_ready();
    stage.started("a");
    let ids = stage.expect("ids");
    let fields: Vec<_> = ids.split(' ').collect();
    assert_ne!(fields[1], "0");
    assert_ne!(fields[2], "0");
    assert!(
        !fields[3..].contains(&"0") && !fields[3..].contains(&"4242"),
        "no group of root's is left: {ids}"
    );
    assert_eq!(fields.last(), Some(&"nobody"));
}

#[test]
fn a_user_that_is_not_there_is_an_error_before_anything_is_started() {
    let mut stage = Stage::unchecked(&scripted("a", "exit 0", "user = \"no-such-user\""), |_| {});
    assert_eq!(stage.ended().code(), Some(1));
    stage.expect_log("FAILED: there is no user `no-such-user` in /etc/passwd");
    assert_eq!(stage.others(), [""; 0]);
}
