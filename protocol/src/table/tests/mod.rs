//! Tests of the engine on heap memory.

mod cuts;
mod model;
mod pauses;
