//! Lists in the plainest way: everything at hand, sorted, cut, filtered. What the real lists are compared with.

use std::fmt::{Debug, Display};

use proptest::prelude::*;
use retold_snapshots::query::{Order, Page, QueryError};

use crate::{facts::Choice, world::Outcome};

/// What may come of a list: items, or what is wrong with the cursors.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer<T> {
    Items(Vec<T>),
    Unknown,
    Reversed,
}

pub(crate) fn answer<T>(result: Result<Vec<T>, QueryError>) -> Outcome<Answer<T>> {
    match result {
        Ok(items) => Ok(Answer::Items(items)),
        Err(QueryError::UnknownCursor(_)) => Ok(Answer::Unknown),
        Err(QueryError::ReversedWindow { .. }) => Ok(Answer::Reversed),
        Err(error) => Err(error.into()),
    }
}

/// A page of `all`, which has everything in the requested order: the part between the cursors, of that what `get`
/// still finds wanted, of that the end next to `before`, or else the beginning.
pub(crate) fn page_of<Id: Copy + PartialEq, T>(
    all: &[Id],
    page: &Page<Id>,
    get: impl Fn(Id) -> Option<T>,
) -> Answer<T> {
    let place = |id: Option<Id>| match id {
        Some(id) => all.iter().position(|found| *found == id).map(Some).ok_or(()),
        None => Ok(None),
    };
    let (Ok(after), Ok(before)) = (place(page.after), place(page.before)) else {
        return Answer::Unknown;
    };
    if after.zip(before).is_some_and(|(after, before)| after > before) {
        return Answer::Reversed;
    }
    let start = after.map_or(0, |after| after + 1);
    let end = before.unwrap_or(all.len()).max(start);
    let mut items: Vec<T> = all[start..end].iter().filter_map(|id| get(*id)).collect();
    if before.is_some() {
        items.drain(..items.len().saturating_sub(page.limit));
    }
    items.truncate(page.limit);
    Answer::Items(items)
}

/// `all` in the requested order, given in the order of creation.
pub(crate) fn ordered<Id: Copy>(all: &[Id], order: Order) -> Vec<Id> {
    let mut ids = all.to_vec();
    if order == Order::Desc {
        ids.reverse();
    }
    ids
}

/// A page somebody may ask for: cursors out of `known`, rarely one that is `stray`.
pub(crate) fn some_page<Id: Copy>(choice: &mut Choice, known: &[Id], stray: Id) -> Page<Id> {
    let mut cursor = || match choice.below(8) {
        0 => Some(stray),
        1..=4 => None,
        _ => choice.of(known),
    };
    let (after, before) = (cursor(), cursor());
    let order = if choice.once_in(2) { Order::Asc } else { Order::Desc };
    Page { after, before, limit: choice.of(&[0, 1, 2, 3, 5, 100]).unwrap_or(1), order }
}

/// Follows a list to its end: with the last id of each page, or the first where it goes backwards.
pub(crate) fn follow<Id: Copy + PartialEq + Display + Debug>(
    limit: usize,
    order: Order,
    start: Option<Id>,
    list: impl Fn(&Page<Id>) -> Result<Vec<Id>, QueryError>,
) -> Outcome<Vec<Id>> {
    let mut found: Vec<Id> = Vec::new();
    let mut page = Page { before: start, ..Page::first(limit, order) };
    loop {
        let ids = list(&page)?;
        if ids.is_empty() {
            return Ok(found);
        }
        prop_assert!(ids.len() <= limit);
        prop_assert!(found.len() < 10_000, "the list does not end");
        if start.is_some() {
            page.before = ids.first().copied();
            found.splice(0..0, ids);
        } else {
            page.after = ids.last().copied();
            found.extend(ids);
        }
    }
}
