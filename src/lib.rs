//! The server: HTTP, command line, configuration and wiring. The only crate that names axum.

pub mod banner;
pub mod chat;
pub mod cli;
pub mod config;
pub mod http;
pub mod server;
pub mod wire;
