//! The client of MCP servers, from outside: against servers written with the official SDK, and against such that misbehave in every
//! way there is.

mod ends;
mod hostile;
mod over_http;
mod real;
mod support;
mod web;
