//! A manager in this process, and workers in processes of their own, for the tests beside this folder.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of it"
)]

mod actor;
mod client;

pub use actor::{Actor, act, for_all};
pub use client::Client;

use heirloom_manager::config::Config;
use heirloom_manager::find_me::FindMe;
use heirloom_manager::manager::{Manager, ManagerError};
use heirloom_protocol::message::{Request, Status, TableStatus};
use heirloom_protocol::sys::Listener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// After this long, what a test waits for does not come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running manager with its folder; ends with this value.
pub struct House {
    folder: TempDir,
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    manager: Option<JoinHandle<Result<(), ManagerError>>>,
}

/// One table `sales` for workers called `w`, and what `more` says besides.
pub fn config(find_me: &str, more: &str) -> String {
    format!(
        "{more}\n[[table]]\nid = \"sales\"\ntype = \"set\"\nmax_bytes = \"16MiB\"\n{find_me}\n\
         gift_data = {{ currency = \"USD\" }}\n\n[[worker]]\nname = \"w\"\nexternal = true\n"
    )
}

/// Wants `sales` back from its owner, for whomever find-me says.
pub fn recall(request: u32) -> Request {
    Request::Recall { request, table: "sales".to_owned(), to: None, force: false, deadline_ms: None }
}

pub const BY_NAME: &str = "find_me = { name = \"w\" }";

/// The owner of `sales`, which has one entry by now.
pub fn owner_that_wrote(house: &House, key: &str) -> Actor {
    let mut owner = house.worker();
    owner.tell("offered");
    owner.tell("accept");
    owner.tell(&format!("insert {key} {key}"));
    owner
}

impl House {
    pub fn start(config: &str) -> Self {
        Self::start_with(config, None::<fn(&_) -> _>)
    }

    /// With find-me for `sales` as a closure or a type of the test's own.
    pub fn start_with(config: &str, find_me: Option<impl FindMe + 'static>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, config, find_me)
    }

    pub fn start_in(folder: TempDir, config: &str, find_me: Option<impl FindMe + 'static>) -> Self {
        // RUST_LOG=info shows what the manager says; it can be started by the first test only.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let socket = folder.path().join("control");
        let config = Config::parse(config, &folder.path().join("heirloom.toml")).unwrap();
        let listener = Listener::bind(&socket, 0o600).unwrap();
        let (stop, stopped) = oneshot::channel();
        let manager = std::thread::spawn(move || {
            let mut manager = Manager::new(&config);
            if let Some(find_me) = find_me {
                manager = manager.find_me("sales", find_me);
            }
            manager.run(listener, async { drop(stopped.await) })
        });
        Self { folder, socket, stop: Some(stop), manager: Some(manager) }
    }

    /// Its folder and its socket are open to all users.
    pub fn start_for_all(config: &str) -> Self {
        let house = Self::start(config);
        for_all(house.folder(), 0o755);
        for_all(house.socket(), 0o666);
        house
    }

    pub fn actor_as(&self, user: u32) -> Actor {
        Actor::start_as(&self.socket, Some(user))
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection of this process that has said Hello.
    pub fn client(&self) -> Client {
        Client::greeted(&self.socket)
    }

    /// A process of its own that speaks the protocol as it is told.
    pub fn actor(&self) -> Actor {
        Actor::start(&self.socket)
    }

    /// A process that has registered as `w`, has an heir for `sales`, and is ready.
    pub fn worker(&self) -> Actor {
        let mut actor = self.actor();
        actor.tell("register w sales");
        actor
    }

    pub fn status(&self) -> Status {
        self.client().status()
    }

    pub fn sales(&self) -> TableStatus {
        self.status().tables.into_iter().find(|table| table.id == "sales").unwrap()
    }

    /// Whatever goes on in it, statuses come as from a house without anybody, at the same time on the same machine. Whoever
    /// makes the manager wait, makes it wait for longer than half a second.
    pub fn answers_as_fast_as_an_idle_one(&self) {
        let idle = Self::start(&config("", ""));
        let mut times = [Duration::ZERO; 2];
        let mut clients = [self.client(), idle.client()];
        for _ in 0..100 {
            for (client, time) in clients.iter_mut().zip(&mut times) {
                let start = Instant::now();
                client.status();
                *time += start.elapsed();
            }
        }
        let [here, there] = times;
        println!("100 statuses in {here:?}, and in {there:?} of an idle manager");
        assert!(here < 3 * there + Duration::from_millis(500), "{here:?}, and {there:?} of an idle manager");
    }

    /// Waits until `sales` is as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&TableStatus) -> bool) -> TableStatus {
        let deadline = Instant::now() + PATIENCE;
        let mut client = self.client();
        loop {
            let sales = client.status().tables.into_iter().find(|table| table.id == "sales").unwrap();
            if wanted(&sales) {
                return sales;
            }
            assert!(Instant::now() < deadline, "never {what}: {sales:?}");
            std::thread::yield_now();
        }
    }

    /// What the manager came to.
    pub fn stop(&mut self) -> Result<(), ManagerError> {
        drop(self.stop.take());
        self.manager.take().unwrap().join().unwrap()
    }

    /// Waits for a manager that ends by itself.
    pub fn outcome(&mut self) -> Result<(), ManagerError> {
        self.manager.take().unwrap().join().unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(manager) = self.manager.take() {
            let ended = manager.join();
            if !std::thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}
