//! SIGINT, SIGTERM, SIGHUP and SIGQUIT as a flag, so that whoever started processes cleans up after itself before it ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody wants this process to end.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the signals set the flag and do nothing else.
    ///
    /// # Errors
    /// The kernel does not take the handlers.
    pub fn watch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (mut interrupted, mut terminated, mut hung_up, mut quit) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::quit())?,
            )
        };
        let flag = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&flag);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupted.recv() => {}
                    _ = terminated.recv() => {}
                    _ = hung_up.recv() => {}
                    _ = quit.recv() => {}
                }
            });
            raised.store(true, Ordering::Relaxed);
        });
        Ok(Self(flag))
    }

    /// Whether one of the signals has come.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
