//! Tests and comparisons that need several processes.
#![forbid(unsafe_code)]
