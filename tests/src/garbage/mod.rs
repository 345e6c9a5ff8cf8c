//! Garbage for everything that reads what others wrote: one function each, for the fuzzer (`tests/fuzz`, which needs a
//! nightly toolchain) and for `cargo test`, which tries the kept inputs once more.
//!
//! Whatever the bytes are, the functions return: what they call may say anything, but must not panic, go on for ever, or take
//! memory that the input does not account for.

mod bounded;
mod input;
mod segment;
mod text;

/// Tries an input.
pub type Try = fn(&[u8]);

/// What can be tried, by name: the fuzzer has a target of each name, and `tests/fuzz/seeds` a folder of kept inputs.
pub const TARGETS: [(&str, Try); 5] = [
    ("segment", segment::segment),
    ("messages", text::messages),
    ("configuration", text::configuration),
    ("import", text::import),
    ("keys", text::keys),
];

/// Tries an input on one of the [`TARGETS`].
///
/// # Panics
/// Where the input shows a mistake, or there is no such target.
pub fn try_on(target: &str, input: &[u8]) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of that name");
    run(input);
}
