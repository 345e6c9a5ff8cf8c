//! Heirloom's manager and supervisor as a library, and its command line.
#![forbid(unsafe_code)]

mod bench;
pub mod chaos;
pub mod cli;
pub mod config;
mod demo;
pub mod find_me;
pub mod formats;
pub mod hydrate;
pub mod manager;
pub mod registry;
pub mod store;
pub mod supervisor;
