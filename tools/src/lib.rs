//! How a tool runs: its JSON schema from its source, the cage in which users' own code is executed, and the one way out to
//! addresses that clients name.
//!
//! It knows neither agents nor the log: what a call means is decided by those who make it.

pub mod cage;
pub mod egress;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod mcp;
pub mod schema;
