//! What a program links to own, inherit and read Heirloom tables.
#![forbid(unsafe_code)]
