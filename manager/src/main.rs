//! The `heirloom` command; all of it is in [`heirloom_manager::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    heirloom_manager::cli::main()
}
