//! The processes of a benchmark: a supervisor with its manager, and workers of our own, in a temporary folder.

use super::roles::OWNER;
use super::{Failure, Options, PATIENCE};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use heirloom_worker::{Client, Key, TableHeir, Transfer, Value, Worker, Writer};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs, thread};
use tempfile::TempDir;

/// The worker that this process is.
const OURSELVES: &str = "bench";

/// The tables that this process owns: kind by kind, one for each time that one is filled from empty.
pub(super) const FRESH: usize = 3;

pub(super) struct Stage {
    folder: TempDir,
    options: Options,
    supervisor: Child,
}

impl Stage {
    pub(super) fn start(options: Options) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("heirloom-bench-").tempdir()?;
        let file = folder.path().join("bench.toml");
        fs::write(&file, configuration(options))?;
        let log = File::create(folder.path().join("log"))?;
        let supervisor = this_program("run", &socket(folder.path()))?
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { folder, options, supervisor })
    }

    /// The limit of a table that has all entries.
    pub(super) fn bytes_of_a_table(&self) -> u64 {
        bytes_for(self.options.entries, self.options.value_bytes)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn client(&self) -> Result<Client, Failure> {
        let connected = Client::connect_within(socket(self.folder()), PATIENCE);
        connected.map_err(|error| format!("{error}; its log:\n{}", self.log()).into())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// This process becomes the owner of a table, as a worker of its own: when both are dropped, nothing is left of it.
    pub(super) fn own<K, V>(&self, table: &str) -> Result<(Writer<K, V>, Worker), Failure>
    where
        K: Key + ?Sized,
        V: Value + ?Sized,
    {
        let worker = Worker::connect_within(socket(self.folder()), OURSELVES, PATIENCE)?;
        let transfer = inbox(&worker, table)?.recv_timeout(PATIENCE);
        let transfer = transfer.map_err(|_| format!("table `{table}` does not come"))?;
        Ok((transfer.accept()?, worker))
    }

    /// Starts a process that reads a table when it is told to.
    pub(super) fn reader(&self, table: &str) -> Result<Role, Failure> {
        let Options { entries, value_bytes } = self.options;
        let size = [
            "--entries".to_owned(),
            entries.to_string(),
            "--value-bytes".to_owned(),
            value_bytes.to_string(),
        ];
        self.role(["reader", "--table", table].map(str::to_owned).into_iter().chain(size))
    }

    /// Starts a process that owns a table when it is handed it.
    pub(super) fn owner(&self, table: &str, bytes: u64, busy: bool) -> Result<Role, Failure> {
        let words = ["owner", "--table", table, "--bytes", &bytes.to_string()].map(str::to_owned);
        self.role(words.into_iter().chain(busy.then(|| "--busy".to_owned())))
    }

    fn role(&self, words: impl Iterator<Item = String>) -> Result<Role, Failure> {
        let log = File::options().append(true).open(self.folder().join("log"))?;
        let mut process = this_program("bench-role", &socket(self.folder()))?
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let said = BufReader::new(process.stdout.take().expect("it was asked for"));
        let (sender, lines) = unbounded();
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let role = Role { process, lines };
        role.wait_for("ready")?;
        Ok(role)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.supervisor), Signal::TERM);
        let _ = self.supervisor.wait();
    }
}

/// One process beside ours; killed when it is dropped.
pub(super) struct Role {
    process: Child,
    lines: Receiver<String>,
}

impl Role {
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it says that, and gives what stands behind it.
    pub(super) fn wait_for(&self, word: &str) -> Result<String, Failure> {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("process {} does not say `{word}`", self.pid()),
                RecvTimeoutError::Disconnected => format!("process {} has ended", self.pid()),
            })?;
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    pub(super) fn ask(&mut self) -> Result<(), Failure> {
        let stdin = self.process.stdin.as_mut().expect("it was asked for");
        Ok(stdin.write_all(b"go on\n")?)
    }

    /// Kills it with SIGKILL; it is reaped when it is dropped.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        Ok(self.process.kill()?)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where that worker is handed that table.
pub(super) fn inbox(worker: &Worker, table: &str) -> Result<Receiver<Transfer>, Failure> {
    struct Inbox(Sender<Transfer>);
    impl TableHeir for Inbox {
        fn transferred(&mut self, transfer: Transfer) {
            let _ = self.0.send(transfer);
        }
    }
    let (sender, inbox) = unbounded();
    worker.heir(table, Inbox(sender))?;
    worker.ready()?;
    Ok(inbox)
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("heirloom.sock")
}

/// This program again, in a process group of its own: Ctrl-C in a terminal is ours alone.
fn this_program(word: &str, socket: &Path) -> Result<Command, Failure> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(word).arg("--socket").arg(socket).process_group(0);
    Ok(command)
}

/// What so many entries take at most, with the index.
fn bytes_for(entries: usize, value_bytes: usize) -> u64 {
    (entries * (value_bytes * 5 / 4 + 160)).max(32 << 20) as u64
}

fn configuration(Options { entries, value_bytes }: Options) -> String {
    let table = |id: &str, kind: &str, worker: &str, bytes: u64| {
        format!(
            "[[table]]\nid = \"{id}\"\ntype = \"{kind}\"\nmax_bytes = \"{bytes}B\"\nfind_me = {{ name = \"{worker}\" }}\n\n"
        )
    };
    let mut text = String::from("[supervisor]\nsocket = \"heirloom.sock\"\nintensity = 1000\n\n");
    text += "[manager]\nstore = \"stores\"\n\n";
    for number in 0..FRESH {
        for kind in ["set", "ordered_set"] {
            text += &table(&format!("{kind}_{number}"), kind, OURSELVES, bytes_for(entries, value_bytes));
        }
    }
    text += &table("counters", "set", OURSELVES, bytes_for(entries, 8));
    text += &table("growing", "set", OURSELVES, bytes_for(entries * super::pauses::TIMES, value_bytes));
    let durable = table("durable", "set", OURSELVES, bytes_for(entries, value_bytes));
    // Whenever it is asked for, and not before.
    text += &durable.replace("\n\n", "\ndurability = { mode = \"interval\", every = \"1h\" }\n\n");
    text += &table("small", "set", OWNER, 32 << 20);
    text += &table("busy", "set", OWNER, 32 << 20);
    text += &table("large", "set", OWNER, super::handoffs::LARGE_BYTES + (64 << 20));
    for name in [OURSELVES, OWNER] {
        text += &format!("[[worker]]\nname = \"{name}\"\nexternal = true\n\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_configuration_is_one() {
        for (entries, value_bytes) in [(1, 0), (1000, 64), (10_000_000, 64)] {
            let text = configuration(Options { entries, value_bytes });
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("bench.toml");
            fs::write(&file, text).expect("it can be written");
            Config::load(&file).expect("it is right");
        }
    }
}
