//! What a host promises, over the memory store and scripted models. Time is paused where it matters.

mod audit;
mod cancel;
mod directory;
mod faults;
mod memory;
mod messages;
mod passivation;
mod races;
mod random;
mod recovery;
mod slow;
mod supervision;
mod watched;
mod world;
