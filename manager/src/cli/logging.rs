//! Where log lines go: to standard error, as many as `HEIRLOOM_LOG` (or `RUST_LOG`) asks for.
//!
//! They are written by a thread of their own. Whoever reads standard error may stop reading at any time, and a manager
//! that waited for it could hand no table on; rather than that, lines are dropped.

use std::io::IsTerminal;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Starts logging; `quiet_default` is the level where neither variable is set. The last lines are written when what
/// is returned is dropped.
#[must_use = "log lines that are not written yet are lost when this is dropped too early"]
pub(super) fn start(quiet_default: &str) -> WorkerGuard {
    let wanted = std::env::var("HEIRLOOM_LOG").or_else(|_| std::env::var("RUST_LOG"));
    let filter = match &wanted {
        Ok(wanted) => EnvFilter::builder().parse_lossy(wanted),
        Err(_) => EnvFilter::new(quiet_default),
    };
    let (writer, guard) = NonBlocking::new(std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    guard
}
