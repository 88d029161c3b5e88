//! What must hold of folds, rows and lists, whatever happened: properties over random but possible histories.

mod acts;
mod facts;
mod folding;
mod lists;
mod message_lists;
mod reference;
mod rows;
mod totality;
mod world;
