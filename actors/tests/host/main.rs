//! What a host promises, over the memory store and scripted models. Time is paused where it matters.

mod approvals;
mod audit;
mod calls;
mod cancel;
mod directory;
mod events;
mod faults;
mod forks;
mod interleavings;
mod memory;
mod messages;
mod passivation;
mod past;
mod plan;
mod races;
mod random;
mod recovery;
mod relapses;
mod replay;
mod slow;
mod stage;
mod supervision;
mod tampered;
mod tools;
mod watched;
mod world;
