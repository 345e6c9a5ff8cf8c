//! The soak's processes: a house with its workers, and the readers, all of them this same program.

use super::notes::{BYTES, Notes, Phase, READERS};
use super::tables;
use crate::House;
use heirloom_manager::chaos::{Shared, SharedRegion};
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::{env, fs};

/// The folder of what is on disk, in the house's folder.
pub(super) const STORE: &str = "store";

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// All of it. Dropped, everything ends.
pub(super) struct Stage {
    pub(super) notes: Notes<SharedRegion>,
    pub(super) readers: Vec<Child>,
    pub(super) house: House,
    shared: Shared,
}

impl Stage {
    pub(super) fn open(seed: u64) -> Outcome<Self> {
        let shared = Shared::create(BYTES)?;
        let notes = Notes::new(shared.map()?);
        let program = env::current_exe()?;
        let path = shared.path().to_str().ok_or("the path of the notes is text")?;
        let words = [program.to_str().ok_or("the path of this program is not UTF-8")?, "role", "own"];
        let seed = seed.to_string();
        let words: Vec<&str> = words.into_iter().chain([seed.as_str()]).collect();
        let house = House::start_as(&program, "warn", |folder| {
            tables::configuration(&words, path, &folder.join(STORE))
        });
        let mut stage = Self { notes, readers: Vec::new(), house, shared };
        drop(stage.house.client());
        for number in 0..READERS {
            let reader = stage.start_reader(number)?;
            stage.readers.push(reader);
        }
        Ok(stage)
    }

    fn start_reader(&self, number: u64) -> Outcome<Child> {
        let log = fs::OpenOptions::new().append(true).open(self.house.log_path())?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["role", "read", &number.to_string()]).arg(self.house.socket()).arg(self.shared.path());
        Ok(command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?)
    }

    /// Kills a reader in the midst of whatever it reads, and starts it anew.
    pub(super) fn replace_reader(&mut self, number: u64) -> Outcome {
        let next = self.start_reader(number)?;
        let mut last = std::mem::replace(&mut self.readers[number as usize], next);
        // It is our child: killing it fails only where it has ended, which waiting tells.
        let _ = last.kill();
        last.wait()?;
        Ok(())
    }

    /// Waits until the readers, which have been told, have ended.
    pub(super) fn end_readers(&mut self) -> Outcome {
        self.notes.set_phase(Phase::Stop);
        let ends: Vec<ExitStatus> = self.readers.iter_mut().map(Child::wait).collect::<Result<_, _>>()?;
        self.readers.clear();
        match ends.iter().find(|end| !end.success()) {
            Some(end) => Err(format!("a reader ended with {end}").into()),
            None => Ok(()),
        }
    }

    /// What is wrong with a process that must be running.
    pub(super) fn check(&mut self) -> Outcome {
        for reader in &mut self.readers {
            if let Some(end) = reader.try_wait()? {
                return Err(format!("a reader ended by itself, with {end}").into());
            }
        }
        Ok(())
    }

    /// What our own processes complained of, at most so many lines.
    pub(super) fn complaints(&self, most: usize) -> String {
        let log = self.house.log();
        let lines: Vec<&str> = log.lines().collect();
        let ours: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("soak:")).collect();
        let last = &lines[lines.len().saturating_sub(most)..];
        format!(
            "{}\nthe last lines of the log:\n{}",
            ours.into_iter().take(most).collect::<Vec<_>>().join("\n"),
            last.join("\n")
        )
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for reader in &mut self.readers {
            let _ = reader.kill();
            let _ = reader.wait();
        }
    }
}
