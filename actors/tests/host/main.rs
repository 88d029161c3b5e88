//! What a host promises, over the memory store and scripted models. Time is paused where it matters.

mod cancel;
mod memory;
mod messages;
mod recovery;
mod world;
