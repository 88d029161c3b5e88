//! How a tool runs: its JSON schema from its source, and the cage in which users' own code is executed.
//!
//! It knows neither agents nor the log: what a call means is decided by those who make it.

pub mod cage;
pub mod schema;
