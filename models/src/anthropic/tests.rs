//! What is sent to Anthropic, and what is made of what it sends.

mod answers;
mod requests;
