//! The units of `manager/systemd` under systemd itself: a user's own instance of it, in a mount namespace, with the program
//! and the paths of this test in the units and nothing else changed. What systemd runs is killed, and finds its tables.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

use heirloom_protocol::sys::Connection;
use heirloom_tests::ledger::Returned;
use heirloom_tests::victims::{READERS, Victim};
use heirloom_tests::{eventually, needs, one_table, program};
use heirloom_worker::{Client, Status};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manager/systemd")
}

/// A unit as it is, but with the program and the paths of this test in it.
fn adapted(unit: &str, folder: &Path) -> String {
    let text = fs::read_to_string(units().join(unit)).unwrap();
    let program = program("heirloom-under-test");
    text.replace("/usr/bin/heirloom", program.to_str().unwrap())
        .replace("/etc/heirloom", folder.to_str().unwrap())
        .replace("/run/heirloom", folder.to_str().unwrap())
        // That folder is there already, and stays.
        .replace("RuntimeDirectory=heirloom\n", "")
        // What is mounted for that cannot be mounted where systemd is not the first process. All other walls stand.
        .replace("ProtectKernelTunables=yes\n", "")
}

/// systemd, for one user, until it is dropped.
struct Systemd {
    folder: TempDir,
    process: Child,
}

impl Systemd {
    fn start(test: &str) -> Option<Self> {
        let Some(systemd) = SYSTEMD.iter().find(|path| Path::new(path).exists()) else {
            // Nothing that this machine could do, whoever runs it.
            eprintln!("SKIPPED: {test} needs systemd");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("heirloom-test-").tempdir().unwrap();
        for name in ["run", "config/systemd/user"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        // It wants to be where systemd is the first process.
        let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", systemd, "--user", "--unit=basic.target"]);
        let log = fs::File::create(folder.path().join("systemd.log")).unwrap();
        let command = environment(&mut command, folder.path()).stdin(Stdio::null());
        let Ok(process) = command.stdout(Stdio::null()).stderr(log).spawn() else {
            needs::skipped(&format!("{test} needs unshare"));
            return None;
        };
        let mut systemd = Self { folder, process };
        let began = eventually("systemd", || match systemd.process.try_wait().unwrap() {
            Some(_) => Some(false),
            None => systemd.control(&["list-units"]).status.success().then_some(true),
        });
        if !began {
            needs::skipped(&format!("{test} needs a mount namespace and a cgroup for `systemd --user`"));
            return None;
        }
        Some(systemd)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn control(&self, words: &[&str]) -> Output {
        let mut command = Command::new("systemctl");
        environment(command.arg("--user").args(words), self.path()).output().unwrap()
    }

    /// Has it know these units, and starts the last of them.
    fn run(&self, units: &[(&str, String)]) {
        for (name, text) in units {
            let path = self.path().join("config/systemd/user").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.control(&["daemon-reload"]);
        let unit = units.iter().rfind(|(name, _)| name.ends_with(".service")).unwrap().0;
        let started = self.control(&["start", unit]);
        assert!(started.status.success(), "{started:?}\n{}", self.log());
    }

    fn property(&self, unit: &str, name: &str) -> String {
        let said = self.control(&["show", unit, "--property", name, "--value"]).stdout;
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    fn main_pid(&self, unit: &str) -> u32 {
        eventually(format!("{unit} to run"), || {
            self.property(unit, "MainPID").parse().ok().filter(|pid| *pid != 0)
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("systemd.log")).unwrap_or_default()
    }
}

fn environment<'c>(command: &'c mut Command, folder: &Path) -> &'c mut Command {
    command.env("XDG_RUNTIME_DIR", folder.join("run")).env("XDG_CONFIG_HOME", folder.join("config"));
    command.env("HOME", folder).env_remove("NOTIFY_SOCKET").env_remove("DBUS_SESSION_BUS_ADDRESS")
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        self.control(&["exit"]);
        eventually("systemd to end", || self.process.try_wait().unwrap());
        // With its supervisor killed, a manager is nobody's; a test that failed may leave one.
        if let Ok(client) = Client::connect(self.path().join("heirloom.sock"))
            && let Ok(status) = client.status()
        {
            kill(status.manager_pid);
        }
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn commits_go_on(returned: &Returned) {
    let before = returned.last().unwrap();
    eventually("commits", || (returned.last().unwrap() > before + 10).then_some(()));
}

fn next_manager(client: &Client, last: u32) -> Status {
    eventually("the next manager", || client.status().ok().filter(|status| status.manager_pid != last))
}

/// An owner and readers of the table `ledger`, whom no death of a manager concerns.
struct Bystanders {
    owner: Victim,
    readers: [Victim; 4],
    returned: Returned,
    incarnation: u64,
    client: Client,
}

impl Bystanders {
    fn gather(folder: &Path) -> Self {
        let (socket, record) = (folder.join("heirloom.sock"), folder.join("returned"));
        let client = Client::connect(&socket).unwrap();
        let owner = Victim::start("own", &socket, &record);
        assert!(owner.next_line().starts_with("owns"));
        let readers = READERS.map(|role| Victim::start(role, &socket, &record));
        let incarnation = client.reader::<u64, Vec<u64>>("ledger").unwrap().info().incarnation;
        Self { owner, readers, returned: Returned::open(&record).unwrap(), incarnation, client }
    }

    /// The next manager has the same table, of the same owner, in the same epoch.
    fn are_undisturbed(&mut self, before: &Status) -> Status {
        commits_go_on(&self.returned);
        let after = next_manager(&self.client, before.manager_pid);
        let (was, is) = (&before.tables[0], &after.tables[0]);
        assert!(is.adopted, "{after:?}");
        assert_eq!((is.owner.as_ref().map(|owner| owner.pid), is.epoch), (Some(self.owner.pid()), was.epoch));
        let now = self.client.reader::<u64, Vec<u64>>("ledger").unwrap().info().incarnation;
        assert_eq!(now, self.incarnation, "it is the same table");
        commits_go_on(&self.returned);
        self.readers.iter_mut().for_each(Victim::is_there);
        after
    }
}

#[test]
fn the_units_are_what_systemd_understands() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: the units are looked at by systemd-analyze");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for unit in ["heirloom.service", "heirloom-manager.service", "heirloom-manager.socket"] {
        let path = folder.path().join(unit);
        fs::write(&path, adapted(unit, folder.path())).unwrap();
        files.push(path);
    }
    let service = folder.path().join("shop.service");
    fs::write(&service, "[Service]\nType=notify\nExecStart=/bin/true\n").unwrap();
    let drop_in = folder.path().join("shop.service.d");
    fs::create_dir(&drop_in).unwrap();
    fs::copy(units().join("embedded.service.d/heirloom.conf"), drop_in.join("heirloom.conf")).unwrap();
    files.push(service);
    let looked = Command::new("systemd-analyze").arg("verify").args(&files).output().unwrap();
    let said = String::from_utf8_lossy(&looked.stderr).into_owned();
    // systemd knows that one from 254 on.
    let wrong = said.lines().filter(|line| line.contains(folder.path().to_str().unwrap()));
    let wrong: Vec<&str> = wrong.filter(|line| !line.contains("'FileDescriptorStorePreserve'")).collect();
    assert!(looked.status.success() && wrong.is_empty(), "{said}");
}

#[test]
fn an_embedded_service_finds_its_tables() {
    let Some(systemd) = Systemd::start("an_embedded_service_finds_its_tables") else { return };
    let folder = systemd.path();
    let service = format!(
        "[Service]\nType=notify\nExecStart={} manager --config {}/heirloom.toml\nStandardOutput=append:{}/said\n",
        program("service").display(),
        folder.display(),
        folder.display(),
    );
    let drop_in = fs::read_to_string(units().join("embedded.service.d/heirloom.conf")).unwrap();
    systemd.run(&[("shop.service.d/heirloom.conf", drop_in), ("shop.service", service)]);
    let returned = Returned::open(&folder.join("returned")).unwrap();
    let mut hydrated_by = None;
    for epoch in 1..=6_u64 {
        let line = eventually("the service to own its table", || {
            let said = fs::read_to_string(folder.join("said")).ok()?;
            said.split_inclusive('\n')
                .nth(epoch as usize - 1)
                .filter(|line| line.ends_with('\n'))
                .map(str::to_owned)
        });
        let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [pid, left, hydrated, owned] = numbers[..] else { panic!("the service says {line:?}") };
        // It has compared what it found with what had returned.
        assert_eq!((hydrated, owned), (*hydrated_by.get_or_insert(pid), epoch), "left {left}");
        commits_go_on(&returned);
        kill(u32::try_from(pid).unwrap());
    }
}

#[test]
fn a_manager_of_its_own_is_started_again_with_its_tables() {
    let Some(systemd) = Systemd::start("a_manager_of_its_own_is_started_again_with_its_tables") else {
        return;
    };
    let folder = systemd.path();
    fs::write(folder.join("heirloom.toml"), one_table("ledger", "victim")).unwrap();
    let unit = |name| (name, adapted(name, folder));
    systemd.run(&[unit("heirloom-manager.socket"), unit("heirloom-manager.service")]);
    let mut bystanders = Bystanders::gather(folder);
    let mut before = bystanders.client.status().unwrap();
    for _ in 0..8 {
        assert_eq!(systemd.main_pid("heirloom-manager.service"), before.manager_pid);
        kill(before.manager_pid);
        before = bystanders.are_undisturbed(&before);
    }
    // One that hangs is found out: the unit's watchdog, with less time than it has there.
    let hasty = "[Service]\nWatchdogSec=1s\n".to_owned();
    systemd.run(&[("heirloom-manager.service.d/hasty.conf", hasty), unit("heirloom-manager.service")]);
    kill(before.manager_pid);
    before = bystanders.are_undisturbed(&before);
    let pid = Pid::from_raw(before.manager_pid as i32).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    bystanders.are_undisturbed(&before);
}

#[test]
fn a_killed_supervisor_finds_its_tables_in_systemds_store() {
    let Some(systemd) = Systemd::start("a_killed_supervisor_finds_its_tables_in_systemds_store") else {
        return;
    };
    let folder = systemd.path();
    fs::write(folder.join("heirloom.toml"), one_table("ledger", "victim")).unwrap();
    systemd.run(&[("heirloom.service", adapted("heirloom.service", folder))]);
    let mut bystanders = Bystanders::gather(folder);
    let before = bystanders.client.status().unwrap();
    // Its manager dies: nothing that systemd hears of.
    kill(before.manager_pid);
    let before = bystanders.are_undisturbed(&before);
    // The supervisor dies: manager and workers live on, and the next one says who they are.
    let supervisor = systemd.main_pid("heirloom.service");
    assert_eq!(
        Connection::connect(&folder.join("heirloom.sock")).unwrap().peer().unwrap().credentials.pid,
        supervisor
    );
    kill(supervisor);
    commits_go_on(&bystanders.returned);
    let words = format!("was killed, and its manager (process {}) still serves", before.manager_pid);
    eventually(&words, || systemd.property("heirloom.service", "StatusText").contains(&words).then_some(()));
    let now = bystanders.client.status().unwrap();
    assert_eq!((now.manager_pid, now.tables[0].epoch), (before.manager_pid, before.tables[0].epoch));
    // That manager dies too. systemd has everything.
    kill(before.manager_pid);
    bystanders.are_undisturbed(&before);
}
