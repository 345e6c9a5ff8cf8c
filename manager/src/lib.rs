//! Heirloom's manager and supervisor as a library.
#![forbid(unsafe_code)]

pub mod config;
pub mod supervisor;
