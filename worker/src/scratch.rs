//! Buffers that each thread keeps, so that a read allocates nothing for the bytes it looks up.

use std::cell::RefCell;

/// More than this is given back to the allocator: one large value must not stay with every thread that saw it.
const KEPT_BYTES: usize = 64 * 1024;

/// The encoded key and value of one operation.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Scratch {
    const fn new() -> Self {
        Self { key: Vec::new(), value: Vec::new() }
    }

    /// Empties the buffers for the next operation.
    #[inline]
    pub(crate) fn cleared(&mut self) -> &mut Self {
        for buffer in [&mut self.key, &mut self.value] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
            buffer.clear();
        }
        self
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Runs `operation` with this thread's buffers, empty. A `Serialize` that itself reads a table finds them taken, and
/// gets its own.
#[inline]
pub(crate) fn with_scratch<T>(operation: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => operation(scratch.cleared()),
        Err(_) => operation(&mut Scratch::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_kept_unless_they_are_large_or_taken() {
        let capacity = with_scratch(|scratch| {
            scratch.key.extend([1; 100]);
            scratch.value.extend([1; KEPT_BYTES + 1]);
            let inner = with_scratch(|inner| (inner.key.capacity(), inner.key.len()));
            assert_eq!(inner, (0, 0));
            scratch.key.capacity()
        });
        with_scratch(|scratch| {
            assert_eq!((scratch.key.len(), scratch.key.capacity()), (0, capacity));
            assert_eq!(scratch.value.capacity(), 0);
        });
    }
}
