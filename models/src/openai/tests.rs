//! What Chat Completions providers send, and what is made of it.

mod calls;
mod requests;
mod variants;
