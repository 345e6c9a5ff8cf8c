//! A supervisor with its manager and workers.

use crate::{eventually, program, started_by};
use heirloom_protocol::message::TableStatus;
use heirloom_worker::{Client, Status};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A running `heirloom run`, in a folder of its own. Dropping it stops it, and everything it started.
#[derive(Debug)]
pub struct House {
    folder: TempDir,
    supervisor: Child,
}

/// A configuration: one table, a set, for external workers of one name.
#[must_use]
pub fn one_table(table: &str, worker: &str) -> String {
    format!(
        r#"
[[table]]
id = "{table}"
type = "set"
max_bytes = "16MiB"
find_me = {{ name = "{worker}" }}

[[worker]]
name = "{worker}"
external = true
"#
    )
}

impl House {
    /// Starts a house; `configure` says what is in its configuration file, and may put further files beside it.
    ///
    /// # Panics
    /// Where it cannot be started at all.
    #[must_use]
    pub fn start(configure: impl FnOnce(&Path) -> String) -> Self {
        Self::start_by(&[], configure)
    }

    /// The same by another program, which is to execute the command line behind its own arguments.
    ///
    /// # Panics
    /// Where it cannot be started at all.
    #[must_use]
    pub fn start_by(starter: &[&str], configure: impl FnOnce(&Path) -> String) -> Self {
        Self::run(started_by(starter, program("heirloom-under-test")), "debug", configure)
    }

    /// The same with another program that is the `heirloom` command too, and logs so much.
    ///
    /// # Panics
    /// Where it cannot be started at all.
    #[must_use]
    pub fn start_as(program: &Path, log_level: &str, configure: impl FnOnce(&Path) -> String) -> Self {
        Self::run(Command::new(program), log_level, configure)
    }

    fn run(command: Command, log_level: &str, configure: impl FnOnce(&Path) -> String) -> Self {
        let folder =
            tempfile::Builder::new().prefix("heirloom-test-").tempdir().expect("a folder can be made");
        let configuration = folder.path().join("heirloom.toml");
        fs::write(configuration, configure(folder.path())).expect("the folder can be written to");
        let supervisor = supervisor(folder.path(), command, log_level);
        Self { folder, supervisor }
    }

    /// Starts it again, in the same folder, after it has ended.
    ///
    /// # Panics
    /// Where it cannot be started at all.
    pub fn start_again(&mut self) {
        self.supervisor =
            supervisor(self.folder.path(), started_by(&[], program("heirloom-under-test")), "debug");
    }

    /// Kills the supervisor and its children, without a warning: what was in their memory is gone, as when the host fails.
    /// Returns when they are dead.
    ///
    /// # Panics
    /// Where that is not possible.
    pub fn crash(&mut self) {
        let supervisor = self.supervisor.id();
        let mut all = children_of(supervisor);
        all.push(supervisor);
        for pid in &all {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).expect("a process id");
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.supervisor.wait().expect("it is our child");
        eventually("the death of all of them", || all.iter().all(|pid| is_dead(*pid)).then_some(()));
    }

    /// Stops it as an operator does, and waits until it has ended.
    pub fn stop(&mut self) {
        // Its group: what started it may not pass signals on. All others have groups of their own (rule H27).
        let _ = kill_process_group(Pid::from_child(&self.supervisor), Signal::TERM);
        eventually("the supervisor to stop", || self.supervisor.try_wait().ok().flatten());
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets other users into its folder, as far as the files there do.
    ///
    /// # Panics
    /// Never: the folder is ours.
    pub fn open_folder(&self) {
        fs::set_permissions(self.folder(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The file that its processes log to.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Everything that its processes have logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// A client, as soon as there is a manager.
    #[must_use]
    pub fn client(&self) -> Client {
        eventually("the manager", || Client::connect(self.socket()).ok())
    }

    /// What `heirloom status` knows.
    ///
    /// # Panics
    /// Where the manager does not answer.
    #[must_use]
    pub fn status(&self) -> Status {
        self.client().status().expect("the manager answers")
    }

    /// What `heirloom status` knows of one table.
    ///
    /// # Panics
    /// Where there is no such table.
    #[must_use]
    pub fn table(&self, client: &Client, id: &str) -> TableStatus {
        let tables = client.status().expect("the manager answers").tables;
        tables.into_iter().find(|table| table.id == id).expect("the table is in the configuration")
    }

    /// Waits until the supervisor has ended, by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        eventually("the supervisor to end", || self.supervisor.try_wait().expect("it is our child"))
    }
}

fn supervisor(folder: &Path, mut command: Command, log_level: &str) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log"));
    let log = log.expect("the folder can be written to");
    command
        .arg("run")
        .arg(folder.join("heirloom.toml"))
        .arg("--socket")
        .arg(folder.join("socket"))
        .env("HEIRLOOM_LOG", log_level)
        .env_remove("HEIRLOOM_SOCKET")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("descriptors are to be had"))
        .stderr(log)
        .spawn()
        .expect("the program can be started")
}

fn children_of(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether it is gone, or dead and not yet waited for by whoever has inherited it: its first thread is a zombie, and there is
/// no other that still waits for the disk, say, and has its files open.
fn is_dead(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let (state, threads) = (fields.split(' ').next(), fields.split(' ').nth(17));
    state == Some("Z") && threads.is_some_and(|threads| matches!(threads, "0" | "1"))
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test has failed: what was logged is the first thing to look at.
            eprintln!("the log of the house:\n{}", self.log());
        }
        self.stop();
    }
}
