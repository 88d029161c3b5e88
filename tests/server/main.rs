//! The server over real sockets, one module per capability. Models are scripted, the store is in memory unless a test
//! is about the disk.

mod agents;
mod auth;
mod backup;
mod blocks;
mod cancel;
mod errors;
mod events;
mod forks;
mod health;
mod mcp;
mod messages;
mod metrics;
mod openapi;
mod paging;
mod past;
mod replay;
mod runs;
mod secrets;
mod socket;
mod stream;
mod support;
mod talk;
mod tool_calls;
mod tools;
mod traces;
mod values;
mod ws;
