//! A process of its own that does what it is told, a line at a time: this test binary, started again.
//!
//! Each test file that uses it has a test `actor` that calls [`act`]; without a director it does nothing.

use super::{Client, PATIENCE};
use heirloom_protocol::message::{Event, LOADER, OfferedBequest, Request};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::{Connection, Process};
use heirloom_protocol::table::{TableReader, TableWriter};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const DIRECTOR: &str = "HEIRLOOM_TEST_DIRECTOR";
const SOCKET: &str = "HEIRLOOM_SOCKET";
/// Set for a child that is to release the table of this epoch for its parent.
const RELEASES: &str = "HEIRLOOM_TEST_RELEASES";

/// The director's side. Killed when it is dropped.
pub struct Actor {
    child: Child,
    stage: BufReader<UnixStream>,
}

impl Actor {
    pub fn start(socket: &Path) -> Self {
        Self::start_as(socket, None)
    }

    pub fn start_as(socket: &Path, user: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("director");
        let listener = UnixListener::bind(&path).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        if let Some(user) = user {
            for_all(folder.path(), 0o755);
            for_all(&path, 0o777);
            command.uid(user).gid(user);
        }
        let child = command
            .args(["actor", "--exact", "--nocapture"])
            .env(DIRECTOR, &path)
            .env(SOCKET, socket)
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let (stage, _) = listener.accept().unwrap();
        stage.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { child, stage: BufReader::new(stage) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says a line and gives the answer.
    pub fn tell(&mut self, line: &str) -> String {
        self.tell_only(line);
        self.answer(line)
    }

    pub fn tell_only(&mut self, line: &str) {
        writeln!(self.stage.get_mut(), "{line}").unwrap();
    }

    pub fn answer(&mut self, line: &str) -> String {
        let mut answer = String::new();
        self.stage.read_line(&mut answer).unwrap_or_else(|error| panic!("no answer to {line:?}: {error}"));
        assert!(!answer.is_empty(), "the actor died of {line:?}");
        answer.trim_end().to_owned()
    }

    /// SIGKILL, and no waiting.
    pub fn kill_only(&mut self) {
        self.child.kill().unwrap();
    }

    /// SIGKILL, until it is reaped.
    pub fn kill(&mut self) {
        self.kill_only();
        self.child.wait().unwrap();
    }

    /// A signal to it and its group.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process_group(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until somebody has killed it.
    pub fn is_killed(&mut self) {
        use std::os::unix::process::ExitStatusExt;
        let process = Process::open(self.pid()).unwrap();
        assert!(process.wait_exit(PATIENCE), "it lives on");
        assert_eq!(self.child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets other users in.
pub fn for_all(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The actor's side.
struct Role {
    client: Option<Client>,
    epoch: u64,
    /// The write handle, as the manager sent it.
    handle: Option<OwnedFd>,
    writer: Option<TableWriter<Arc<MappedRegion>>>,
    ballast: Vec<u8>,
    children: Vec<Child>,
}

/// What the test called `actor` does: nothing, unless a director has started this process.
pub fn act() {
    if let Ok(epoch) = std::env::var(RELEASES) {
        let connection = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        let release =
            Request::Release { table: "sales".to_owned(), epoch: epoch.parse().unwrap(), panicked: false };
        return Connection::from_fd(connection).unwrap().send_message(&release, None).unwrap();
    }
    let Some(path) = std::env::var_os(DIRECTOR) else { return };
    let mut stage = BufReader::new(UnixStream::connect(path).unwrap());
    let mut role = Role {
        client: None,
        epoch: 0,
        handle: None,
        writer: None,
        ballast: Vec::new(),
        children: Vec::new(),
    };
    let mut line = String::new();
    while stage.read_line(&mut line).unwrap() > 0 {
        let words: Vec<_> = line.split_whitespace().collect();
        let answer = role.play(&words);
        writeln!(stage.get_mut(), "{answer}").unwrap();
        line.clear();
    }
}

impl Role {
    fn client(&self) -> &Client {
        self.client.as_ref().expect("the script registers first")
    }

    fn play(&mut self, words: &[&str]) -> String {
        let sales = || "sales".to_owned();
        match words {
            ["register", name, tables @ ..] => {
                let client = Client::greeted(Path::new(&std::env::var_os(SOCKET).unwrap()));
                client.register(name, tables);
                client.say(&Request::Ready);
                self.client = Some(client);
            }
            ["register_loader"] => return self.play(&["register", LOADER, "sales"]),
            ["connect"] => self.client = Some(Client::greeted(Path::new(&std::env::var_os(SOCKET).unwrap()))),
            ["pin", table] => {
                self.client().say(&Request::Pin { request: 1, table: (*table).to_owned() });
                return self.play(&["hear"]);
            }
            ["follow", table] => {
                self.client().say(&Request::Follow { request: 1, table: (*table).to_owned() });
                return self.play(&["hear"]);
            }
            ["heir", table] => {
                self.client().say(&Request::Heir { table: (*table).to_owned() });
                return self.play(&["hear"]);
            }
            ["open", table] => {
                self.client().say(&Request::Open { request: 1, table: (*table).to_owned() });
                return self.play(&["hear"]);
            }
            ["offered"] => match self.client().hear_all().unwrap() {
                (Event::Offered { epoch, gift, .. }, Some(_read_only)) => {
                    assert_eq!(gift, r#"{"currency":"USD"}"#);
                    self.epoch = epoch;
                    return epoch.to_string();
                }
                other => panic!("not an offer: {other:?}"),
            },
            // Without a descriptor, and with that bequest, or one so long.
            ["private_offered", left] => match self.client().hear_all().unwrap() {
                (Event::Offered { epoch, bequest, .. }, None) => {
                    self.epoch = epoch;
                    let expected = match (*left, left.parse()) {
                        ("none", _) => OfferedBequest::Here(None),
                        (_, Ok(bytes)) => OfferedBequest::TooLong { bytes },
                        (left, Err(_)) => OfferedBequest::Here(Some(left.as_bytes().to_vec())),
                    };
                    assert_eq!(bequest, expected);
                    return epoch.to_string();
                }
                other => panic!("not a private offer: {other:?}"),
            },
            ["accept"] => {
                self.play(&["accept_only"]);
                return self.play(&["granted"]);
            }
            ["accept_only"] => self.client().say(&Request::Accept { table: sales(), epoch: self.epoch }),
            ["accept_epoch", epoch] => {
                self.client().say(&Request::Accept { table: sales(), epoch: epoch.parse().unwrap() });
            }
            ["granted"] => {
                let (event, handle) = self.client().hear_all().unwrap();
                assert_eq!(event, Event::Granted { table: sales(), epoch: self.epoch });
                let handle = handle.unwrap();
                self.handle = Some(handle.try_clone().unwrap());
                let region = Arc::new(MappedRegion::writable(handle).unwrap());
                self.writer = Some(TableWriter::open(region, self.epoch).unwrap());
            }
            ["close_handle"] => self.handle = None,
            ["decline"] => {
                let reason = "the script says so".to_owned();
                self.client().say(&Request::Decline { table: sales(), epoch: self.epoch, reason });
            }
            ["insert", key, value] => {
                let writer = self.writer.as_mut().unwrap();
                writer.insert(key.as_bytes(), value.as_bytes()).unwrap();
            }
            // So many commits or renewals, 20 ms apart.
            ["shows_life", how, times] => {
                let writer = self.writer.as_mut().unwrap();
                for _ in 0..times.parse().unwrap() {
                    match *how {
                        "commits" => drop(writer.insert(b"a", b"a").unwrap()),
                        _ => writer.renew().unwrap(),
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
            ["talks_for_ever"] => loop {
                self.client().say(&Request::Sync { request: 1 });
                self.client().hear();
                std::thread::sleep(std::time::Duration::from_millis(20));
            },
            ["bequeath", bequest] => self.writer.as_mut().unwrap().bequeath(bequest.as_bytes()).unwrap(),
            ["bequeath_bytes", bytes] => {
                let bequest = vec![1; bytes.parse().unwrap()];
                self.writer.as_mut().unwrap().bequeath(&bequest).unwrap();
            }
            // Until there is no room any more; what the engine says then.
            ["fill"] => {
                let writer = self.writer.as_mut().unwrap();
                let full = (0_u64..).find_map(|key| writer.insert(&key.to_le_bytes(), &[7; 1000]).err());
                return format!("{:?}", full.unwrap());
            }
            ["get", key] => {
                let reader: &TableReader<_> = self.writer.as_ref().unwrap().reader();
                let value = reader.get(key.as_bytes()).unwrap();
                return value.map_or("none".to_owned(), |value| String::from_utf8(value).unwrap());
            }
            ["release"] => {
                (self.writer, self.handle) = (None, None);
                self.play(&["release_mapped"]);
            }
            ["release_mapped"] => {
                self.client().say(&Request::Release { table: sales(), epoch: self.epoch, panicked: false })
            }
            ["release_epoch", epoch] => {
                self.client().say(&Request::Release {
                    table: sales(),
                    epoch: epoch.parse().unwrap(),
                    panicked: false,
                });
            }
            ["hear"] => return format!("{:?}", self.client().hear()),
            ["disconnect"] => self.client = None,
            // Somebody else who holds the write handle: a child that has it as its standard input.
            ["child", group] => {
                let handle = self.handle.as_ref().unwrap().try_clone().unwrap();
                let mut command = Command::new("sleep");
                command.arg("600").stdin(handle);
                if *group == "own_group" {
                    command.process_group(0);
                }
                let child = command.spawn().unwrap();
                let pid = child.id();
                self.children.push(child);
                return pid.to_string();
            }
            // This program once more, with our connection as its standard input.
            ["child_releases"] => {
                let connection = self.client().connection.try_clone().unwrap();
                let status = Command::new(std::env::current_exe().unwrap())
                    .args(["actor", "--exact", "--nocapture"])
                    .env(RELEASES, self.epoch.to_string())
                    .stdin(OwnedFd::from(connection))
                    .stdout(Stdio::null())
                    .status()
                    .unwrap();
                assert!(status.success());
                return self.play(&["hear"]);
            }
            ["ballast", bytes] => {
                self.ballast = vec![1; bytes.parse().unwrap()];
                return self
                    .ballast
                    .iter()
                    .step_by(4096)
                    .map(|byte| usize::from(*byte))
                    .sum::<usize>()
                    .to_string();
            }
            other => panic!("not in the script: {other:?}"),
        }
        "done".to_owned()
    }
}
