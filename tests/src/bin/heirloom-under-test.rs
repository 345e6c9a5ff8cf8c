//! The `heirloom` command itself, built where Cargo builds it for these tests: binaries of other packages are not.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    heirloom_manager::cli::main()
}
