//! What holds for every call: waits, bounds, cancels, connections and the kinds of failure.

mod bounds;
mod failures;
mod shown;
