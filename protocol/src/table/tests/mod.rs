//! Tests of the engine on heap memory.

mod model;
