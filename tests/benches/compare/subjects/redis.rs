//! Redis over a Unix socket: one request for each round trip, and many at once.
//!
//! The server is ours, in a folder of its own, without snapshots and without a log. Its protocol is a line for each length
//! and a line for each answer, so that it is spoken here without a client library, whose cost would count as Redis's.

use crate::turn::Subject;
use crate::work::{Clock, Value, Writes, add_words, bytes_of};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many requests are sent at once to fill it.
const MANY: usize = 100;

pub(crate) struct Redis<const AT_ONCE: usize> {
    connection: BufReader<UnixStream>,
    request: Vec<u8>,
    bytes_before: u64,
    _server: Server,
}

impl<const AT_ONCE: usize> Redis<AT_ONCE> {
    /// Asks something for each of those, so many at once; `each` gets the value of each answer.
    fn ask_all<T>(
        &mut self,
        at_once: usize,
        of: impl IntoIterator<Item = T>,
        mut request: impl FnMut(&mut Vec<u8>, T),
        mut each: impl FnMut(&[u8]),
    ) {
        let mut of = of.into_iter();
        let mut value = Vec::new();
        loop {
            self.request.clear();
            let asked = of.by_ref().take(at_once).map(|one| request(&mut self.request, one)).count();
            if asked == 0 {
                return;
            }
            self.connection.get_mut().write_all(&self.request).expect("the server reads");
            for _ in 0..asked {
                answer(&mut self.connection, &mut value);
                each(&value);
            }
        }
    }

    fn put(&mut self, writes: Writes<'_>, at_once: usize) {
        let set = |request: &mut Vec<u8>, (key, value): (u64, Value)| {
            words(request, &[b"SET", &bytes_of(key), &value]);
        };
        self.ask_all(at_once, writes.iter(), set, |ok| assert_eq!(ok, b"+OK"));
    }

    fn delete(&mut self, keys: &[u64], at_once: usize) {
        let delete = |request: &mut Vec<u8>, key: &u64| words(request, &[b"DEL", &bytes_of(*key)]);
        self.ask_all(at_once, keys, delete, |removed| assert_eq!(removed, b":1"));
    }

    /// What the server says that it has allocated.
    fn used_bytes(&mut self) -> u64 {
        let mut used = None;
        self.ask_all(
            1,
            [()],
            |request, ()| words(request, &[b"INFO", b"memory"]),
            |answer| {
                let text = String::from_utf8_lossy(answer);
                let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
                used = line.and_then(|bytes| bytes.parse().ok());
            },
        );
        used.expect("it says so")
    }
}

impl<const AT_ONCE: usize> Subject for Redis<AT_ONCE> {
    const OPERATIONS: usize = if AT_ONCE == 1 { 20_000 } else { usize::MAX };
    const COUNTS: bool = true;
    const CLOCK: Clock = Clock::Wall;

    fn new(_entries: usize) -> Self {
        let server = Server::start();
        let connection = BufReader::with_capacity(1 << 16, server.connect());
        let mut new = Self { connection, request: Vec::new(), bytes_before: 0, _server: server };
        new.bytes_before = new.used_bytes();
        new
    }

    fn write(&mut self, writes: Writes<'_>) {
        self.put(writes, AT_ONCE);
    }

    fn fill(&mut self, writes: Writes<'_>) {
        self.put(writes, MANY);
    }

    fn read(&mut self, keys: &[u64]) -> u64 {
        let mut sum = 0;
        let get = |request: &mut Vec<u8>, key: &u64| words(request, &[b"GET", &bytes_of(*key)]);
        self.ask_all(AT_ONCE, keys, get, |value| sum = add_words(sum, value));
        sum
    }

    fn remove(&mut self, keys: &[u64]) {
        self.delete(keys, AT_ONCE);
    }

    fn clear(&mut self, keys: &[u64]) {
        self.delete(keys, MANY);
    }

    fn count(&mut self, keys: &[u64]) {
        let add = |request: &mut Vec<u8>, key: &u64| words(request, &[b"INCR", &bytes_of(*key)]);
        self.ask_all(AT_ONCE, keys, add, |count| assert_eq!(count[0], b':'));
    }

    /// It has none that gives values.
    fn scan(&mut self) -> Option<u64> {
        None
    }

    fn bytes(&mut self, _grown: u64) -> u64 {
        self.used_bytes().saturating_sub(self.bytes_before)
    }
}

/// A server in a folder of its own; it ends with this.
struct Server {
    process: Child,
    folder: TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .arg("--unixsocket")
            .arg(socket(folder.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server can be started");
        Self { process, folder }
    }

    /// As soon as it listens.
    fn connect(&self) -> UnixStream {
        let start = Instant::now();
        loop {
            match UnixStream::connect(socket(self.folder.path())) {
                Ok(stream) => return stream,
                Err(error) => assert!(start.elapsed() < PATIENCE, "redis-server does not listen: {error}"),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

/// A request: how many words, and each with its length.
fn words(request: &mut Vec<u8>, words: &[&[u8]]) {
    write!(request, "*{}\r\n", words.len()).expect("memory takes it");
    for word in words {
        write!(request, "${}\r\n", word.len()).expect("memory takes it");
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
}

/// An answer: a line, or what stands behind the line that has its length.
fn answer(connection: &mut BufReader<UnixStream>, value: &mut Vec<u8>) {
    line(connection, value);
    if value[0] == b'$' {
        let length = std::str::from_utf8(&value[1..]).ok().and_then(|length| length.parse().ok());
        let length: usize = length.expect("what is asked for is there");
        value.resize(length + 2, 0);
        connection.read_exact(value).expect("the server answers");
        value.truncate(length);
    }
}

fn line(connection: &mut BufReader<UnixStream>, value: &mut Vec<u8>) {
    value.clear();
    connection.read_until(b'\n', value).expect("the server answers");
    assert!(value.ends_with(b"\r\n") && value[0] != b'-', "{}", String::from_utf8_lossy(value));
    value.truncate(value.len() - 2);
}
