//! The rules that the code quotes by number. Nothing but documentation.
//!
//! Each has a counterexample behind it: a state after a kill, an interleaving, or something that Linux really does.
//!
//! # R: how a table survives its writer
//!
//! | rule | |
//! | --- | --- |
//! | R1 | Preparing a commit stores to reusable memory, to queue places that no end covers yet, and to the log. Applying one stores only what is in the log. |
//! | R2 | The log is complete before `committed` is stored, and is not touched until `applied` has caught up. It has an address range of its own. Recovery checks every word that it names. |
//! | R3 | After every prefix of an apply, each key reads as before or as after: what readers follow is stored first, then counts, then the allocator's words. |
//! | R4 | No word is twice in a log, or applying it again would take the word backwards. A transaction is reduced to one write for each key. |
//! | R5 | Every store to shared memory is a release store: a kill leaves a prefix of program order. |
//! | R6 | No two commits share a version. Outside its segment, a version is named together with the table's incarnation. |
//! | R6a | No word has two writers. What the owner keeps of shared words in memory of its own is loaded anew after recovery and after every abandoned commit. |
//! | R7 | Memory freed by commit f is overwritten only when the horizon is at least f. The horizon is stored, never above `applied`, before a batch of reuse. A reader that finds it unchanged has read nothing that was reused. |
//! | R8 | Readers without a snapshot take the newest entry and follow no `previous`. |
//! | R9 | What is read before the second look at the horizon may be garbage: offsets are checked, loops are bounded, lengths are validated before they allocate. Only what did not move meanwhile is called corrupt. |
//! | R10 | A value that was copied while the horizon moved stands if an undisturbed look before and one after the copy found the same entry with the same begin version. |
//! | R11 | A pin (a snapshot's version) and the horizon are stored and then looked at crosswise, with a sequentially consistent fence on both sides. |
//! | R12 | A reader with a pin takes the newest entry not above it. A removed entry's slot is emptied by a commit of its own, and its block is freed by that one (R12a). |
//! | R13 | Whether a snapshot has expired is said by its pin, not by a clock of the reader's. |
//! | R14 | Only the owner, or the manager while there is none, prepares, commits, allocates, frees or gives memory back. |
//! | R15 | Removing always works, also in a full table, and no housekeeping costs a write more than some tens of microseconds. |
//! | R16 | Moving an entry against fragmentation is an ordinary overwrite. |
//! | R17 | The epoch in the header is compared at each commit. That catches mistakes; safety comes from the kernel (H7). |
//!
//! # H: what Linux does, and what follows
//!
//! | rule | |
//! | --- | --- |
//! | H1 | A segment is a sealed memfd of mode 0600, sparse and as long as its table could ever need; seals and size are checked before it is mapped. |
//! | H2 | Mappings are aligned to 2 MiB, not inherited by a fork, not in core dumps; a handle in a forked child is inert. |
//! | H3 | The owner closes its descriptor once it has mapped the segment. |
//! | H4 | Memory is made present ahead, in huge pages where they are fresh; when a write has to wait for it, in steps of 64 KiB. |
//! | H5 | At a memory limit the kernel kills instead of failing: headroom is compared before memory is taken. |
//! | H6 | Reading a hole allocates a page: readers stay away from what is not there. |
//! | H7 | Each transfer has a fresh read-write description. A read lease on the segment is granted only while nobody has it open or mapped for writing: that is asked before the next grant. |
//! | H8 | So a table moves on when its handle was released or its owner's pidfd has fired, and the lease says that nobody can write. |
//! | H9 | The kernel keeps other users out. Within one user all this guards against accidents. |
//! | H10 | A peer is known by its pidfd, from the socket where the kernel has that, and not by its number. |
//! | H11 | The notice of a death comes after its page tables are gone: huge pages make it early. |
//! | H12 | Messages that speak for ownership count only from the process that registered: a forked child has the socket too. |
//! | H13 | Before a grant is sent, its epoch is in the header (and, when there is a store, the worker's pidfd is in it). |
//! | H14 | Only a parent gets an exit status: the reason of a transfer is not waited for. |
//! | H15 | A kill can be impossible; then the table waits, and says why. |
//! | H16 | A lease on a worker's time counts the manager's own ticks. |
//! | H17 | Code that shares the owner's address space is the owner. |
//! | H18 | A packet has a largest size; truncation is checked; zero bytes are the end. |
//! | H19 | Descriptors in flight are limited per user: unread replies and connections are bounded. |
//! | H20 | The supervisor owns the listening socket: clients wait while the manager restarts. |
//! | H21 | Storing a descriptor is not acknowledged: a barrier follows before a table is offered. Pidfds are stored with `FDPOLL=0`. |
//! | H22 | Received descriptors get CLOEXEC before anything else is started. |
//! | H23 | Descriptors are placed for a child by a small program of our own, not between fork and exec. |
//! | H24 | `sd_notify` must not block, and its senders are checked. |
//! | H25 | systemd drops stored descriptors when a unit fails or stops, unless it is told otherwise. |
//! | H26 | A crash loop costs no table: the child that loops is left alone, loudly; the manager stands outside the strategies. |
//! | H27 | Each child leads a process group of its own; no signal is tied to a parent's thread; PID 1 reaps orphans. |
//! | H28 | An upgrade of the supervisor is that it executes itself anew. |
