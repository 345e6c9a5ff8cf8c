//! A supervisor in a folder of its own, and everything that its processes say.

use heirloom_protocol::sys::Process;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes, even on a machine that is busy with everything else.
const PATIENCE: Duration = Duration::from_secs(30);

/// A supervisor that runs.
pub(crate) struct Stage {
    folder: TempDir,
    supervisor: Child,
    events: Lines,
    log: Lines,
    orders: File,
    /// Every process that said that it started; killed at the end, whatever happened.
    seen: Vec<Process>,
}

/// A worker that says that it starts, then runs until it is told to end.
pub(crate) fn worker(name: &str, more: &str) -> String {
    scripted(name, "exec sleep 600", more)
}

/// A worker that also says that it was asked to stop. Its `sleep` is left to the killing of the process group.
pub(crate) fn polite_worker(name: &str, more: &str) -> String {
    let trap = format!("trap 'echo {name} asked >> $EVENTS; exit 0' TERM");
    command(name, &format!("{trap}; {START}; sleep 600 & wait"), more)
}

/// A worker that does not hear that it is to stop.
pub(crate) fn deaf_worker(name: &str, more: &str) -> String {
    command(name, &format!("trap '' TERM; {START}; while :; do sleep 600; done"), more)
}

/// A worker that says that it starts, then does what the script says.
pub(crate) fn scripted(name: &str, script: &str, more: &str) -> String {
    command(name, &format!("{START}; {script}"), more)
}

/// How a script says that it starts: from here on it can be signalled.
const START: &str = "echo \"$HEIRLOOM_WORKER start $$ $HEIRLOOM_INSTANCE\" >> $EVENTS";

fn command(name: &str, script: &str, more: &str) -> String {
    // A script holds quotes of its own, so it is written down as JSON text, which is TOML text too.
    let script = serde_json::Value::from(script);
    format!(
        "[[worker]]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", {script}]\n\
         back_off = {{ first = \"1ms\", most = \"5ms\" }}\n{more}\n"
    )
}

impl Stage {
    /// Starts a supervisor and a manager that waits for orders; awaits the manager's start.
    pub(crate) fn waiting(config: &str) -> Self {
        let mut stage = Self::unchecked(config, |_| {});
        stage.expect("manager start");
        stage
    }

    /// Starts a supervisor and a manager that is ready.
    pub(crate) fn ready(config: &str) -> Self {
        let mut stage = Self::waiting(config);
        stage.make_ready();
        stage
    }

    /// Has the manager say that it is ready, and waits until the supervisor has heard it.
    #[track_caller]
    pub(crate) fn make_ready(&mut self) {
        self.order("ready");
        self.expect_log("the manager is ready");
    }

    /// Starts a supervisor, which may well fail.
    pub(crate) fn unchecked(config: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for pipe in ["events", "orders"] {
            let (path, mode) = (folder.path().join(pipe), rustix::fs::Mode::from_raw_mode(0o622));
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
            rustix::fs::chmod(&path, mode | rustix::fs::Mode::from_raw_mode(0o600)).expect("for all users");
        }
        std::fs::write(folder.path().join("heirloom.toml"), config).expect("written");
        // Opened for both, so that neither end ever sees the other one close.
        let open =
            |pipe| OpenOptions::new().read(true).write(true).open(folder.path().join(pipe)).expect("opened");
        let (events, orders) = (Lines::of(open("events")), open("orders"));
        let mut command = supervisor_command(folder.path());
        prepare(&mut command);
        let mut supervisor = command.spawn().expect("started");
        let log = Lines::of(supervisor.stderr.take().expect("piped"));
        Self { folder, supervisor, events, log, orders, seen: Vec::new() }
    }

    /// A second supervisor on the same socket: how it ended and what it said.
    pub(crate) fn rival(&self) -> (ExitStatus, String) {
        let output = supervisor_command(self.folder.path()).output().expect("started");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Lets every user into the folder.
    pub(crate) fn open_to_all(&self) {
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(self.folder.path(), all).expect("changed");
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("heirloom.sock")
    }

    pub(crate) fn supervisor_pid(&self) -> u32 {
        self.supervisor.id()
    }

    /// Waits for the next event that begins with these words, and takes it out; others stay.
    #[track_caller]
    pub(crate) fn expect(&mut self, words: &str) -> String {
        let event = self.events.find(|event| event.starts_with(words));
        let Some(event) = event else { panic!("no event `{words}`\n{}", self.story()) };
        let mut fields = event.split(' ');
        if let (Some(_), Some("start"), Some(pid)) = (fields.next(), fields.next(), fields.next())
            && let Ok(process) = Process::open(pid.parse().expect("a process id"))
        {
            self.seen.push(process);
        }
        event
    }

    /// Waits for a worker's start; its process id.
    #[track_caller]
    pub(crate) fn started(&mut self, worker: &str) -> u32 {
        let event = self.expect(&format!("{worker} start"));
        event.split(' ').nth(2).and_then(|pid| pid.parse().ok()).expect("a process id")
    }

    /// The events that have come and that nobody has asked for, in order.
    pub(crate) fn others(&mut self) -> Vec<String> {
        self.events.take_all()
    }

    /// Waits for a line of the supervisor's log.
    #[track_caller]
    pub(crate) fn expect_log(&mut self, words: &str) -> String {
        let line = self.log.find(|line| line.contains(words));
        line.unwrap_or_else(|| panic!("nothing in the log says `{words}`\n{}", self.story()))
    }

    /// Tells the manager what to do.
    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("written");
    }

    pub(crate) fn signal_supervisor(&self, signal: Signal) {
        signal_process(self.supervisor.id(), signal);
    }

    /// Waits until the supervisor has ended; its status.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let process = Process::open(self.supervisor.id()).expect("not reaped yet");
        assert!(process.wait_exit(PATIENCE), "the supervisor goes on\n{}", self.story());
        self.supervisor.wait().expect("a status")
    }

    /// Everything said so far, for a test that has failed.
    fn story(&mut self) -> String {
        let (events, log) = (self.events.take_all(), self.log.take_all());
        format!("other events: {events:#?}\nrest of the log: {log:#?}")
    }
}

/// Nothing is left running, whatever has happened.
impl Drop for Stage {
    fn drop(&mut self) {
        if let Ok(supervisor) = Process::open(self.supervisor.id()) {
            // Takes all its children along, also those that it has only just started.
            let _ = supervisor.kill(Signal::QUIT);
            if !supervisor.wait_exit(PATIENCE) {
                let _ = supervisor.kill(Signal::KILL);
            }
        }
        let _ = self.supervisor.wait();
        while let Some(event) = self.events.find_now(|event| event.contains(" start ")) {
            let pid = event.split(' ').nth(2).and_then(|pid| pid.parse().ok());
            self.seen.extend(pid.and_then(|pid| Process::open(pid).ok()));
        }
        for process in &self.seen {
            let _ = process.kill_group(Signal::KILL);
            let _ = process.kill(Signal::KILL);
        }
    }
}

fn supervisor_command(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", "roles::supervisor", "--nocapture"]);
    command.env("HEIRLOOM_TEST_FOLDER", folder).env("EVENTS", folder.join("events"));
    command.env("ORDERS", folder.join("orders"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub(crate) fn signal_process(pid: u32, signal: Signal) {
    Process::open(pid).expect("it is there").kill(signal).expect("signalled");
}

/// Waits until a process, whoever's child, has ended.
#[track_caller]
pub(crate) fn wait_gone(pid: u32) {
    // Where it cannot be opened, it has been reaped already.
    if let Ok(process) = Process::open(pid) {
        assert!(process.wait_exit(PATIENCE), "process {pid} goes on");
    }
}

/// Lines from a pipe, read by a thread of their own.
struct Lines {
    inbox: Receiver<String>,
    waiting: VecDeque<String>,
}

impl Lines {
    fn of(pipe: impl std::io::Read + Send + 'static) -> Self {
        let (sender, inbox) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { inbox, waiting: VecDeque::new() }
    }

    fn find(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.find_now(&wanted) {
                return Some(line);
            }
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.waiting.push_back(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn find_now(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.waiting.extend(self.inbox.try_iter());
        let place = self.waiting.iter().position(|line| wanted(line))?;
        self.waiting.remove(place)
    }

    fn take_all(&mut self) -> Vec<String> {
        self.waiting.extend(self.inbox.try_iter());
        self.waiting.drain(..).collect()
    }
}
