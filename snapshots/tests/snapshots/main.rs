//! What must hold of folds, rows and lists, whatever happened: properties over random but possible histories.

mod acts;
mod facts;
mod folding;
mod forks;
mod lists;
mod mcp;
mod message_lists;
mod past;
mod reference;
mod restoring;
mod rows;
mod tools;
mod totality;
mod world;
