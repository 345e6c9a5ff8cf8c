//! What whoever kills Heirloom's processes on purpose needs: the demonstration, and the tests.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `aim` | the middle of a commit, to kill an owner there |
//! | `shared` | memory for notes that Heirloom does not manage |
//! | `clock` | the clock that all processes share |
//! | `interrupt` | signals as a flag, to clean up before the end |

mod aim;
mod clock;
mod interrupt;
mod shared;

pub use aim::{Aim, spin};
pub use clock::now_ns;
pub use interrupt::Interrupt;
pub use shared::{Shared, SharedRegion, open_writable};

type Failure = Box<dyn std::error::Error>;
