//! The `heirloom` command.
#![forbid(unsafe_code)]

fn main() {}
