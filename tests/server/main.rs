//! The server over real sockets, one module per capability. Models are scripted, the store is in memory unless a test
//! is about the disk.

mod agents;
mod auth;
mod blocks;
mod cancel;
mod errors;
mod messages;
mod openapi;
mod paging;
mod runs;
mod stream;
mod support;
