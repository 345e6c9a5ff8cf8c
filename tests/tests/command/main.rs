//! The `heirloom` command against a real house: what it prints, what it refuses, and how it ends.

mod handing_on;
mod kinds;
mod limiting;
mod loading;
mod reading;
mod watching;

use heirloom_tests::{House, program};
use std::io::Write;
use std::process::{Command, Stdio};

/// What a command that has ended has said.
#[derive(Debug)]
struct Told {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Told {
    /// What it printed, where it went well.
    #[track_caller]
    fn text(&self) -> &str {
        assert_eq!(self.status, Some(0), "{self:?}");
        std::str::from_utf8(&self.stdout).expect("it printed text")
    }

    /// What it complained about, where it ended with that status.
    #[track_caller]
    fn complaint(&self, status: i32) -> &str {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        &self.stderr
    }
}

/// Runs `heirloom WORDS`, with that on its standard input.
fn heirloom_with(house: &House, words: &[&str], input: &[u8]) -> Told {
    let mut command = Command::new(program("heirloom-under-test"))
        .args(words)
        .env("HEIRLOOM_SOCKET", house.socket())
        .current_dir(house.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut stdin = command.stdin.take().expect("it was asked for");
    let input = input.to_vec();
    // It may end without reading all of it.
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = command.wait_with_output().expect("it is our child");
    feeding.join().expect("feeding does not panic");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Told { status: output.status.code(), stdout: output.stdout, stderr }
}

fn heirloom(house: &House, words: &[&str]) -> Told {
    heirloom_with(house, words, b"")
}
