//! Buffers that each thread keeps, so that a read allocates nothing for the bytes it looks up.

use std::cell::Cell;

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
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch::new()) };
}

/// Runs `operation` with this thread's buffers, empty.
///
/// They are taken out for that time: a `Serialize` that itself reads a table finds none and makes its own.
#[inline]
pub(crate) fn with_scratch<T>(operation: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take();
    let result = operation(scratch.cleared());
    SCRATCH.set(scratch);
    result
}
