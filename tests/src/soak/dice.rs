//! Choices that a number decides, so that they can be made again.

/// A stream of random numbers (splitmix64), begun anew for each commit: nothing could be cheaper.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// The choices that belong to these numbers.
    pub(super) fn of(numbers: [u64; 3]) -> Self {
        Self(numbers.into_iter().fold(0x5EED, |state, number| mix(state ^ number)))
    }

    /// A number below that one.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0) % end
    }
}

/// A number that looks nothing like this one, and is always the same.
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
