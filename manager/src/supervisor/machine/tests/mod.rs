//! The machine against a model of its processes: every short sequence of inputs, long random ones, and OTP's rules one
//! by one.

mod every_sequence;
mod rules;
mod world;
