//! What only some machines can do, for tests that need it: root, namespaces, cgroups.
//!
//! A test that cannot run says so, loudly, and passes. Where the machine is known to have it all, the environment
//! variable `HEIRLOOM_MUST_RUN` makes it fail instead; `.ci/run` sets that where it has tried all of these.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

/// How long a cgroup may take to be empty once its processes have died.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says that a test is skipped, and why.
///
/// # Panics
/// Where `HEIRLOOM_MUST_RUN` is set: there nothing may be skipped.
pub fn skipped(why: &str) {
    assert!(env::var_os("HEIRLOOM_MUST_RUN").is_none(), "skipped, and HEIRLOOM_MUST_RUN is set: {why}");
    eprintln!("SKIPPED: {why}");
}

/// Whether this process is root; says that `test` is skipped where it is not.
#[must_use]
pub fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped(&format!("{test} needs root"));
    }
    root
}

/// Whether [`in_namespaces`] works; says that `test` is skipped where it does not.
#[must_use]
pub fn namespaces(test: &str) -> bool {
    let made = in_namespaces("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let made = made.is_ok_and(|status| status.success());
    if !made {
        skipped(&format!("{test} needs a PID namespace that can be made (root, unshare)"));
    }
    made
}

/// That program in PID and mount namespaces of its own, as its process 1. What is started is `unshare`, which waits for
/// it, and takes it along when it is killed.
#[must_use]
pub fn in_namespaces(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(IN_NAMESPACES[0]);
    command.args(&IN_NAMESPACES[1..]).arg(program);
    command
}

/// What stands before a program and its arguments for [`in_namespaces`].
pub const IN_NAMESPACES: [&str; 6] =
    ["unshare", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"];

/// A cgroup of one's own, v1 or v2; removed with this value, when its processes have died.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// One whose processes may take so many bytes of memory; says that `test` is skipped where there is none to be had.
    #[must_use]
    pub fn with_memory(bytes: u64, test: &str) -> Option<Self> {
        let limited = Self::make("memory").filter(|group| {
            let bytes = bytes.to_string();
            group.write("memory.limit_in_bytes", &bytes) || group.write("memory.max", &bytes)
        });
        if limited.is_none() {
            skipped(&format!("{test} needs a memory cgroup that can be made"));
        }
        limited
    }

    /// One whose processes not even SIGKILL ends while they are frozen; says that `test` is skipped where there is none to
    /// be had.
    #[must_use]
    pub fn unkillable(test: &str) -> Option<Self> {
        if !Path::new("/sys/fs/cgroup/freezer/tasks").exists() {
            // Nothing that this machine could do, whoever runs it.
            eprintln!(
                "SKIPPED: {test} needs cgroups of version 1: in those of version 2 whatever is frozen can be killed"
            );
            return None;
        }
        let freezer = Self::make("freezer");
        if freezer.is_none() {
            skipped(&format!("{test} needs a freezer cgroup that can be made"));
        }
        freezer
    }

    /// In the hierarchy of version 1 that has the controller, or else in that of version 2.
    fn make(controller: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = Path::new("/sys/fs/cgroup");
        let v1 = root.join(controller);
        let parent = if v1.join("tasks").exists() { &v1 } else { root };
        let folder = parent.join(format!("heirloom-test-{}-{number}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        Some(Self { folder })
    }

    /// Moves that process into it, and what it starts from now on.
    ///
    /// # Panics
    /// Where it cannot be moved.
    pub fn add(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("a process can be moved into it");
    }

    /// Stops all its processes where they stand, or lets them go on; returns when that is so.
    ///
    /// # Panics
    /// Where they do not stop, or it is no [`Cgroup::unkillable`].
    pub fn freeze(&self, frozen: bool) {
        let state = if frozen { "FROZEN" } else { "THAWED" };
        assert!(self.write("freezer.state", state), "it has a freezer");
        let is_so = || {
            let now = fs::read_to_string(self.folder.join("freezer.state"));
            now.is_ok_and(|now| now.trim() == state)
        };
        until("the cgroup to be frozen or thawed", is_so);
    }

    /// Its folder, for what else it has.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn write(&self, file: &str, text: &str) -> bool {
        fs::write(self.folder.join(file), text).is_ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What is frozen does not die.
        let _ = fs::write(self.folder.join("freezer.state"), "THAWED");
        // It empties a moment after its last process has died.
        until("the cgroup to be empty", || fs::remove_dir(&self.folder).is_ok());
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    // A second panic would hide the first.
    assert!(std::thread::panicking() || Instant::now() < deadline, "waited in vain for {what}");
}
