//! Who owns a table: a pure state machine, `(state, input) -> (state, effects)`.
