//! A command that prints a process id.

use super::{Candidate, Candidates, FindMe, FindMeError, candidate_in};
use heirloom_protocol::sys::Process;
use rustix::process::Signal;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longest output that is read: a process id, and then some.
const MAX_BYTES: u64 = 256;

/// The worker whose process id a command prints; printing nothing means that none gets it yet.
#[derive(Debug, Clone)]
pub struct ByCommand {
    /// Program and arguments; not empty.
    pub command: Vec<String>,
    /// How long it may run before it, and the process group it leads, is killed.
    pub timeout: Duration,
}

impl FindMe for ByCommand {
    fn find(&self, ready: &Candidates) -> Result<Option<Candidate>, FindMeError> {
        let command = self.command.join(" ");
        let not_run = |error| FindMeError::NotRun { command: command.clone(), error };
        // A file takes all that a command prints, and a child it leaves behind cannot keep us waiting at its end.
        let mut output = tempfile::tempfile().map_err(not_run)?;
        let status = self.run(&output).map_err(not_run)?;
        match status {
            None => Err(FindMeError::TooSlow { after: self.timeout }),
            Some(status) if !status.success() => Err(FindMeError::Failed { command, status }),
            Some(_) => {
                let mut text = Vec::new();
                output.rewind().map_err(not_run)?;
                output.take(MAX_BYTES).read_to_end(&mut text).map_err(not_run)?;
                candidate_in(&text, &format!("`{command}`"), ready)
            }
        }
    }

    fn timeout(&self) -> Duration {
        // The command's own timeout ends it first, and reaps it.
        self.timeout + Duration::from_secs(1)
    }
}

impl ByCommand {
    /// How it ended; nothing where it was too slow, and is killed.
    fn run(&self, output: &File) -> io::Result<Option<ExitStatus>> {
        let (program, arguments) = self.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .process_group(0)
            .spawn()?;
        let ended = Process::open(child.id()).map(|process| {
            let ended = process.wait_exit(self.timeout);
            if !ended {
                // Not reaped yet, so the group is still its own. That all of it may have ended by now is fine.
                let _ = process.kill_group(Signal::KILL);
            }
            ended
        });
        let status = reap(&mut child, ended.is_err())?;
        Ok(ended?.then_some(status))
    }
}

fn reap(child: &mut Child, kill: bool) -> io::Result<ExitStatus> {
    if kill {
        child.kill()?;
    }
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn find(script: &str, timeout_ms: u64) -> Result<Option<Candidate>, FindMeError> {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        ByCommand { command, timeout: Duration::from_millis(timeout_ms) }.find(&Candidates::default())
    }

    #[test]
    fn each_way_to_answer_badly_is_told_apart() {
        assert!(matches!(find("true", 5000), Ok(None)));
        assert!(matches!(find("exit 3", 5000), Err(FindMeError::Failed { .. })));
        assert!(matches!(find("echo hello", 5000), Err(FindMeError::NotAPid { .. })));
        assert!(matches!(find("echo 12", 5000), Err(FindMeError::NoCandidate { pid: 12, .. })));
        // More than a pipe holds.
        assert!(matches!(find("yes | head -c 1000000", 5000), Err(FindMeError::NotAPid { .. })));
        let missing = ByCommand { command: vec!["/nowhere/find".into()], timeout: Duration::from_secs(1) };
        assert!(matches!(missing.find(&Candidates::default()), Err(FindMeError::NotRun { .. })));
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let mark = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sleep 600 & echo $! > {}; wait", mark.path().display());
        let before = Instant::now();
        assert!(matches!(find(&script, 300), Err(FindMeError::TooSlow { .. })));
        assert!(before.elapsed() < Duration::from_secs(30));
        let pid: u32 = std::fs::read_to_string(mark.path()).unwrap().trim().parse().unwrap();
        // Gone, or a zombie that nobody has reaped yet.
        let gone = Process::open(pid).map_or(true, |process| process.wait_exit(Duration::from_secs(30)));
        assert!(gone, "the command's child {pid} still runs");
    }
}
