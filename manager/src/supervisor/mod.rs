//! The supervisor: starts the manager and the workers, restarts them, and keeps the tables' descriptors.

pub mod machine;
