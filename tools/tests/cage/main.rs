//! The cage, from outside: what a tool gets, what it cannot do, and that nothing of it is left.
//!
//! Every test runs in each layer that this machine has, and says which it has not.

mod calls;
mod ends;
mod escapes;
mod frames;
mod layers;
mod requirements;
mod support;
mod typescript;
