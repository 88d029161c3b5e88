//! What is stored stays readable: golden bytes of every event and item, and the rules of the storage format.

mod golden;
mod rules;
mod samples;
