//! Where log lines go: to standard error, as many as `HEIRLOOM_LOG` (or `RUST_LOG`) asks for.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging; `quiet_default` is the level where neither variable is set.
pub(super) fn start(quiet_default: &str) {
    let wanted = std::env::var("HEIRLOOM_LOG").or_else(|_| std::env::var("RUST_LOG"));
    let filter = match &wanted {
        Ok(wanted) => EnvFilter::builder().parse_lossy(wanted),
        Err(_) => EnvFilter::new(quiet_default),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
