//! The bytes of an input, as choices. Where they end, all further choices are zero.

pub(super) struct Input<'i>(&'i [u8]);

impl<'i> Input<'i> {
    pub(super) fn new(bytes: &'i [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn number(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A number from zero up to below `below`, which is not zero.
    pub(super) fn below(&mut self, below: u64) -> u64 {
        self.number(if below > 1 << 16 { 3 } else { 2 }) % below
    }
}
