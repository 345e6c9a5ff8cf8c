//! Every ordering: the real engine on words that loom watches. Loom lets each load see every value that the orderings allow,
//! also those that an x86 processor never shows. So a release store made relaxed fails here where it matters, and so does a
//! missing fence.
//!
//! `.ci/loom` runs them, each to its end: a model that is cut fails. Of the words of a table, loom watches those that the
//! model changes and that another than the owner may load; the orderings and the fences are the engine's own (`crate::sync`).
//!
//! In all models there are two threads: the owner (with those who owned the table before it), and a reader. But for `pins`,
//! the reader stores nothing: then it is enough that the owner runs first, and each load of the reader takes any store
//! that it may (see `scene`). All is explored, without a bound. In `pins`, both sides store, so they interrupt each other, up
//! to the number of preemptions below. Orders are counted by the model, about; the models say theirs.
//!
//! | file | what the owner does | what the reader does, and what must hold | orders |
//! | --- | --- | --- | --- |
//! | `gets` | overwrites and reuses a key's block; the bequest's | gets: one whole value, of no earlier write than before | 500 |
//! | | removes the key, reclaims it, gives its block away | two gets: the value or none, and none for good | 25,000 |
//! | | splits, merges a bucket | gets each key; scans: all that stay, once each | 100; 5,000 |
//! | `trees` | inserts into a leaf, copies, splits, reuses, merges one | gets; ranges both ways: all that stay, in order | 700; 5,000 |
//! | `ring` | overwrites the oldest records | follows: every change from there on, or that it is overtaken | 25 |
//! | `take_back` | dies at each store of a commit; recovery; the heir reuses | gets: nothing that returned is lost | 7,000 |
//! | `returned` | gives memory back to the host; dies at that, and the heir does | gets: the value, whole | 400 |
//! | `pins` | moves the horizon | pins: the owner knows the pin wherever its horizon is beyond it | 5,500 with 4 |
//! | | overwrites and reuses | pins and gets: the value as of that version | 1,000 with 2 |
//! | `releases` | most of the above, one word's stores relaxed | which models fail: the list of stores that must be release stores | |
//!
//! The faults that are for these models only are in `tests/faults/engine.toml`: the handshake without each of its fences.
//!
//! What loom cannot show: a load that is moved behind a later store (no reader stores anything, and the manager's fence lies
//! between its store and its load); and that the machine keeps what the language promises. Words beyond the seventh-last
//! store are forgotten by loom, so a model where that would matter fails.

mod gets;
mod pins;
mod releases;
mod returned;
mod ring;
mod scene;
mod take_back;
mod trees;
