//! The way out, against listeners that must never be called.
//!
//! Each corpus is run twice: as a server runs it, where no listener hears anything, and with everything open, where each
//! spelling of the listeners' address is heard, so that silence proves something.

mod corpus;
mod names;
mod redirects;
mod spellings;
mod support;
