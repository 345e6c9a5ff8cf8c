//! The supervisor with real processes: a supervisor of our own, a manager played by this test program, workers that are
//! small shell scripts.
//!
//! Everything that happens is an event in a named pipe, which the tests wait for; nothing is slept for.

mod above;
mod manager_death;
mod ready;
mod restarts;
mod roles;
mod sockets;
mod stage;
mod stopping;
mod users;
