//! The stage: a temporary folder, and in it the real thing, started as a user would start it.
//!
//! ```text
//!  heirloom demo                       director: releases the stream, kills, takes notes
//!    ├─ heirloom run demo.toml         supervisor
//!    │    ├─ heirloom manager
//!    │    ├─ sale_tracker #1           owner of `sales`
//!    │    └─ sale_tracker #2           standby
//!    └─ reader                         reads `sales`, never stops
//! ```
//!
//! All of them are this same program. Whatever ends the demonstration, [`Stage`] ends them.

use super::{WORKER, exotic_file};
use rustix::process::{Pid, Signal, kill_process};
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};
use tempfile::TempDir;

type Failure = Box<dyn Error>;

/// How the temporary folder of a demonstration is called, up to what makes its name unique.
pub(super) const FOLDER_PREFIX: &str = "heirloom-demo-";

/// How long a process has to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(15);

/// The demonstration's processes and files.
pub(super) struct Stage {
    folder: TempDir,
    program: PathBuf,
    /// Arguments that say which stream it is, the same for every process.
    stream: Vec<OsString>,
    supervisor: Option<Child>,
    reader: Option<Child>,
}

impl Stage {
    /// Lays out the folder: the redb file, the events, the way to the notes, the configuration.
    pub(super) fn build(
        notes: &Path,
        events: u64,
        events_file: Option<&Path>,
        kills: u64,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir()?;
        let mut stream: Vec<OsString> = vec!["--events".into(), events.to_string().into()];
        if let Some(file) = events_file {
            // A copy: the events stay what they are while the workers come and go.
            fs::copy(file, folder.path().join("events.csv"))?;
            stream.extend(["--events-file".into(), folder.path().join("events.csv").into()]);
        }
        symlink(notes, folder.path().join("notes"))?;
        exotic_file::write(&folder.path().join("exotic_cars.redb"))?;
        let program = env::current_exe()?;
        let stage = Self { folder, program, stream, supervisor: None, reader: None };
        fs::write(stage.file("demo.toml"), stage.configuration(kills)?)?;
        Ok(stage)
    }

    /// The folder with everything in it.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The control socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.file("heirloom.sock")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configuration(&self, kills: u64) -> Result<String, Failure> {
        let command = [self.program.as_os_str()].into_iter().chain(["demo-role".as_ref(), "worker".as_ref()]);
        let notes = self.file("notes");
        let command = command.chain(self.stream.iter().map(OsString::as_os_str));
        let command = command.chain(["--notes".as_ref(), notes.as_os_str()]);
        let command: Vec<toml::Value> = command
            .map(|word| word.to_str().map(toml::Value::from))
            .collect::<Option<_>>()
            .ok_or("the path of this program or of the temporary folder is not UTF-8")?;
        let command = toml::Value::Array(command);
        // Each kill is a restart on purpose, and no crash loop.
        let intensity = kills + 10;
        Ok(format!(
            r#"[supervisor]
intensity = {intensity}
socket = "heirloom.sock"

[[table]]
id = "exotic_cars"
type = "set"
max_bytes = "16MiB"
hydrate = {{ file = "exotic_cars.redb", when = "always" }}

[[table]]
id = "sales"
type = "set"
max_bytes = "64MiB"
find_me = {{ name = "{WORKER}" }}
gift_data = {{ currency = "USD" }}

[[worker]]
name = "{WORKER}"
command = {command}
instances = 2
back_off = {{ first = "1ms", most = "10ms" }}
"#
        ))
    }

    /// Starts the supervisor, which starts the manager and the workers.
    pub(super) fn start_supervisor(&mut self) -> Result<(), Failure> {
        let mut command = self.command("run", "supervisor.log")?;
        self.supervisor = Some(command.arg(self.file("demo.toml")).spawn()?);
        Ok(())
    }

    /// Starts the process that reads without a pause.
    pub(super) fn start_reader(&mut self) -> Result<(), Failure> {
        let mut command = self.command("demo-role", "reader.log")?;
        command.arg("reader").arg("--notes").arg(self.file("notes"));
        self.reader = Some(command.spawn()?);
        Ok(())
    }

    /// This program, in a process group of its own: Ctrl-C in a terminal is the director's business alone.
    fn command(&self, word: &str, log: &str) -> Result<Command, Failure> {
        let log = File::create(self.file(log))?;
        let mut command = Command::new(&self.program);
        command
            .arg(word)
            .arg("--socket")
            .arg(self.socket())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// That the processes which should be running are running.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for (child, name, log) in [
            (&mut self.supervisor, "supervisor", "supervisor.log"),
            (&mut self.reader, "reader", "reader.log"),
        ] {
            if let Some(status) = child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                let log = self.folder.path().join(log);
                return Err(
                    format!("the {name} ended ({status}); its last words:\n{}", last_lines(&log)).into()
                );
            }
        }
        Ok(())
    }

    /// The last lines of the supervisor's log, for the message of a failure.
    pub(super) fn last_words(&self) -> String {
        last_lines(&self.file("supervisor.log"))
    }

    /// Waits for the reader, which has been told by the notes to end.
    pub(super) fn wait_for_reader(&mut self) -> Result<(), Failure> {
        let Some(mut reader) = self.reader.take() else { return Ok(()) };
        match end(&mut reader) {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                Err(format!("the reader ended ({status}):\n{}", last_lines(&self.file("reader.log"))).into())
            }
            None => Err("the reader does not end".into()),
        }
    }

    /// Stops everything, the supervisor the way an operator would.
    fn stop(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            let _ = reader.kill();
            let _ = reader.wait();
        }
        if let Some(mut supervisor) = self.supervisor.take() {
            let _ = kill_process(Pid::from_child(&supervisor), Signal::TERM);
            if end(&mut supervisor).is_none() {
                let _ = supervisor.wait();
            }
            kill_all_of(self.folder.path());
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for a child, and kills it when it takes too long; its status, if it ended by itself.
fn end(child: &mut Child) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    None
}

/// Kills what a supervisor that died has left behind: every process whose command line names our own folder.
fn kill_all_of(folder: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let (Some(pid), Ok(words)) = (pid, fs::read(process.path().join("cmdline"))) else { continue };
        let folder = folder.as_os_str().as_encoded_bytes();
        if words.windows(folder.len()).any(|part| part == folder) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
