//! The system calls of Heirloom: segments, peers, sockets, memory limits (rules H of the design).
