//! The manager: creates tables, hydrates them, holds them, hands them out and takes them back.
//!
//! ```text
//!  accept, ──► connection (one task each) ─said──►┐
//!  count        ▲ outbox, bounded; users take turns│  control (one task; `control`)
//!               └──────────────events─────────────┤    owns the tables and all that is known of clients and workers;
//!  pidfd of each worker (one task each) ──died───►│    does what the ownership machine wants (`effects`),
//!  hydration, find-me, /proc (threads) ─answers──►│    and waits for nothing but its inputs
//!  checkpoints (a thread for each durable table) ►│
//!                                                 └──registry (arc-swap)──► find-me
//! ```
//!
//! All tasks run on one thread, so that from the kernel's notice of a death to the offer nobody is waited for. What
//! blocks has a thread of its own: hydration, find-me, and looking through /proc for who holds a table.

mod access;
mod adoption;
mod chatter;
mod checkpoint;
mod claims;
mod client;
mod clock;
mod control;
mod effects;
pub mod embedded;
mod error;
mod filling;
mod flushes;
mod fullness;
mod kept;
mod lease;
mod notify;
mod pinning;
mod readiness;
mod recalls;
mod requests;
mod search;
mod seats;
mod start;
mod status;
mod story;
mod table;

pub(crate) use clock::now_ns;
pub use error::ManagerError;

use crate::config::Config;
use crate::find_me::FindMe;
use control::Control;
use heirloom_protocol::sys::Listener;
use heirloom_protocol::sys::inherit::{self, NamedDescriptor};
use kept::Kept;
use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// The name of the listening socket among inherited descriptors (rule H20).
pub const CONTROL_SOCKET: &str = "control";

/// A manager that is about to start.
///
/// ```no_run
/// use heirloom_manager::config::Config;
/// use heirloom_manager::manager::Manager;
/// use heirloom_manager::registry::Candidates;
/// use heirloom_protocol::sys::Listener;
/// use std::path::Path;
///
/// let config = Config::load(Path::new("heirloom.toml"))?;
/// let listener = Listener::bind(Path::new("/run/shop/heirloom.sock"), 0o600)?;
/// Manager::new(&config)
///     .find_me("sessions", |ready: &Candidates| ready.named("web"))
///     .run(listener, std::future::pending())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Manager<'c> {
    config: &'c Config,
    find_me: HashMap<String, Arc<dyn FindMe>>,
    kept: Kept,
}

impl<'c> Manager<'c> {
    /// A manager of the tables of this configuration.
    #[must_use]
    pub fn new(config: &'c Config) -> Self {
        Self { config, find_me: HashMap::new(), kept: Kept::default() }
    }

    /// Finds the owner of that table this way, whatever the configuration says.
    #[must_use]
    pub fn find_me(mut self, table: &str, find_me: impl FindMe + 'static) -> Self {
        self.find_me.insert(table.to_owned(), Arc::new(find_me));
        self
    }

    /// Takes up what an earlier manager left with its supervisor: tables, and the owners that live on. See
    /// [`inherit::received_descriptors`].
    #[must_use]
    pub fn take_up(mut self, received: Vec<NamedDescriptor>) -> Self {
        self.kept = Kept::sort(received);
        self
    }

    /// Runs it on this thread until `stop` is done. Tables that no supervisor keeps (`$NOTIFY_SOCKET`) end with it.
    ///
    /// # Errors
    /// [`ManagerError`] where it cannot start: no table has been offered or opened then.
    pub fn run(self, listener: Listener, stop: impl Future<Output = ()>) -> Result<(), ManagerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ManagerError::Runtime)?;
        let done = runtime.block_on(async {
            let (control, inputs) = Control::start(self.config, self.find_me, listener, self.kept)?;
            control.run(inputs, stop).await
        });
        // A find-me that hangs, or a source that goes on for ever, does not keep us.
        runtime.shutdown_background();
        done
    }
}

/// What `heirloom manager` does: listens at the inherited socket, or at `socket` where none was inherited, and runs
/// until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// [`ManagerError`] where it cannot start.
pub fn run(config: &Config, socket: &Path) -> Result<(), ManagerError> {
    // Before anything else: the descriptors come without CLOEXEC (rule H22).
    let mut inherited = inherit::received_descriptors().map_err(ManagerError::Inherited)?;
    let control = inherited.iter().position(|descriptor| descriptor.name == CONTROL_SOCKET);
    let listener = match control {
        Some(control) => {
            Listener::from_fd(inherited.remove(control).descriptor).map_err(ManagerError::Inherited)?
        }
        None => Listener::bind(socket, start::socket_mode(config))?,
    };
    Manager::new(config).take_up(inherited).run(listener, async {
        let stopped = async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            Ok::<(), std::io::Error>(())
        };
        if let Err(error) = stopped.await {
            tracing::error!(%error, "signals cannot be waited for; only SIGKILL stops this manager");
            std::future::pending::<()>().await;
        }
        tracing::info!("stopping");
    })
}
