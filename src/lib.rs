//! The server: HTTP, command line, configuration and wiring. The only crate that names axum.

pub mod banner;
pub mod caged;
pub mod chat;
pub mod cli;
pub mod client;
pub mod config;
pub mod http;
mod mcp;
mod meters;
mod otel;
pub mod server;
pub mod vault;
pub mod wire;
