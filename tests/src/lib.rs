//! Tests and comparisons that need several processes.
//!
//! - [`House`]: a supervisor with its manager and workers, in a temporary folder, as a user would run it.
//! - [`Candidate`]: a worker of one's own choice of misbehaviour, started by the test.
//! - [`eventually`]: waiting for something to happen, instead of sleeping for some time.
//!
//! Under `tests/` there is one file for each concern; each is a program of its own, so that the ones about time do not
//! run beside the ones about load.
#![forbid(unsafe_code)]

mod candidate;
mod house;
mod patience;

pub use candidate::{Candidate, Misbehaviour};
pub use house::House;
pub use patience::{PATIENCE, eventually};

use std::path::PathBuf;

/// One of the programs that belong to these tests. Cargo puts them beside the folder of the test that is running.
///
/// # Panics
/// Where the test is not run by Cargo.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(std::path::Path::parent).expect("tests lie in target/.../deps");
    let program = folder.join(name);
    assert!(program.exists(), "{} is missing: `cargo test` builds it", program.display());
    program
}
