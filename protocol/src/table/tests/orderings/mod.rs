//! Every ordering: the real engine on words that loom watches. Loom runs a few threads in every order of their loads and stores
//! (up to a number of preemptions), and lets each load see every value that the orderings allow, also those that an
//! x86 processor never shows. So a release store made relaxed fails here, and so does a missing fence.
//!
//! `.ci/loom` runs them, and says how to run them longer. Of the words of a table, loom watches those that the model
//! stores to; the orderings and the fences are the engine's own (`crate::sync`).
//!
//! | file | what runs beside what |
//! | --- | --- |
//! | `scene` | the words that loom watches, and how a model is made |
//! | `gets` | get and scan beside apply, reuse, growth and shrinking |
//! | `pins` | a snapshot, taken and read, beside reuse |
//! | `ring` | whoever follows the changes beside the ring's wrap-around |
//! | `take_back` | get beside an owner that dies, the recovery, and the heir |

mod gets;
mod pins;
mod ring;
mod scene;
mod take_back;
