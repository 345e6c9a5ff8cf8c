//! The supervisor is killed: its manager and its workers live on, and a table is owned, read and handed on among those that
//! are registered. The next `heirloom run` says who they are and touches nothing; once the manager has ended too, it starts
//! with the tables that whoever supervises it has kept. That is our own supervisor here, in the place of systemd (rule H24).

use heirloom_protocol::sys::Connection;
use heirloom_tests::ledger::Returned;
use heirloom_tests::victims::{READERS, Victim};
use heirloom_tests::{Actor, eventually, one_table, program};
use heirloom_worker::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// `heirloom run`, and a supervisor above it.
struct Stage {
    folder: TempDir,
    above: Option<Actor>,
}

fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it is there, and ours");
}

impl Stage {
    fn open() -> Self {
        let folder = tempfile::Builder::new().prefix("heirloom-test-").tempdir().expect("a folder");
        let below = folder.path().join("below");
        fs::create_dir(&below).expect("made");
        fs::write(below.join("heirloom.toml"), one_table("ledger", "victim")).expect("written");
        let log = File::create(folder.path().join("log")).expect("made");
        let mut command = Command::new(program("service"));
        let above = Actor::start(command.arg("above").arg(folder.path()).stderr(log));
        Self { folder, above: Some(above) }
    }

    fn below(&self) -> PathBuf {
        self.folder.path().join("below")
    }

    fn socket(&self) -> PathBuf {
        self.below().join("socket")
    }

    fn start(&self, role: &'static str) -> Victim {
        Victim::start(role, &self.socket(), &self.folder.path().join("returned"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn is_logged(&self, what: &str) {
        eventually(what, || self.log().contains(what).then_some(()));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        // As an operator stops it: the supervisor above stops the one below, which stops its manager.
        let mut above = self.above.take().expect("it is dropped once");
        let _ = kill_process(Pid::from_child(above.process()), Signal::TERM);
        eventually("the supervisors to stop", || above.ended());
        // Where the test has failed in the middle, a manager may be without a supervisor.
        if let Ok(client) = Client::connect(self.socket())
            && let Ok(status) = client.status()
        {
            kill(status.manager_pid, Signal::KILL);
        }
    }
}

fn commits_go_on(returned: &Returned) {
    let before = returned.last().expect("it can be read");
    eventually("commits", || (returned.last().expect("it can be read") > before + 10).then_some(()));
}

/// Who listens at the socket, by the kernel's word.
fn supervisor_of(socket: &Path) -> u32 {
    Connection::connect(socket).expect("it listens").peer().expect("the kernel says").credentials.pid
}

#[test]
fn a_killed_supervisor_costs_no_table() {
    let stage = Stage::open();
    let socket = stage.socket();
    let client = eventually("the manager", || Client::connect(&socket).ok());
    let returned = Returned::open(&stage.folder.path().join("returned")).expect("a record");
    let owner = stage.start("own");
    assert!(owner.next_line().starts_with("owns"));
    let heir = stage.start("own");
    let mut readers = READERS.map(|role| stage.start(role));
    let incarnation = client.reader::<u64, Vec<u64>>("ledger").expect("a reader").info().incarnation;
    let supervisor = supervisor_of(&socket);
    let before = client.status().expect("the manager answers");

    kill(supervisor, Signal::KILL);
    commits_go_on(&returned);
    // The supervisor above starts `heirloom run` again and again: it says who is there, and touches nothing.
    stage.is_logged(&format!(
        "(process {supervisor}) was killed, and its manager (process {}) still serves",
        before.manager_pid
    ));
    stage.is_logged(&format!("victim ({})", owner.pid()));
    let now = client.status().expect("the manager answers");
    assert_eq!((now.manager_pid, now.tables[0].epoch), (before.manager_pid, before.tables[0].epoch));

    // The manager dies as well: the next supervisor finds the table above, and its owner is the owner still.
    kill(before.manager_pid, Signal::KILL);
    commits_go_on(&returned);
    let next = eventually("the next manager", || {
        client.status().ok().filter(|status| status.manager_pid != before.manager_pid)
    });
    let table = &next.tables[0];
    assert!(table.adopted, "{table:?}");
    assert_eq!(
        (table.owner.as_ref().map(|owner| owner.pid), table.epoch),
        (Some(owner.pid()), now.tables[0].epoch)
    );
    let supervisor = supervisor_of(&socket);
    commits_go_on(&returned);

    // Once more; and now the owner dies while there is no supervisor.
    kill(supervisor, Signal::KILL);
    stage.is_logged(&format!("(process {supervisor}) was killed, and its manager"));
    owner.kill();
    assert!(heir.next_line().starts_with("owns"), "it is handed on all the same");
    commits_go_on(&returned);

    let now = client.reader::<u64, Vec<u64>>("ledger").expect("a reader").info().incarnation;
    assert_eq!(now, incarnation, "it is the same table");
    readers.iter_mut().for_each(Victim::is_there);
    kill(next.manager_pid, Signal::KILL);
    let last = eventually("the last manager", || {
        client.status().ok().filter(|status| status.manager_pid != next.manager_pid)
    });
    assert!(last.tables[0].adopted, "{last:?}");
    readers.iter_mut().for_each(Victim::is_there);
}
