//! The tags in use, of agents and blocks together.

use retold_events::store::{EventStore, Scan, StoreError, Table};

use super::{Page, QueryError, contains_lowered, scan::Window};
use crate::row::tag_of_key;

/// A page of the tags in use, each once, sorted by their bytes. `query_text` is part of a tag, whatever the case.
/// Cursors are tags and need not be in use.
///
/// # Errors
/// [`QueryError`].
pub fn tags(
    store: &dyn EventStore,
    query_text: Option<&str>,
    page: &Page<String>,
) -> Result<Vec<String>, QueryError> {
    let part = query_text.map(str::to_lowercase);
    let by_name = Page {
        after: page.after.as_deref(),
        before: page.before.as_deref(),
        limit: page.limit,
        order: page.order,
    };
    let window = Window::in_order(&by_name)?;
    let distinct = Distinct {
        store,
        low: window.low.map(past),
        high: window.high.map(down_to),
        descending: window.descending,
    };
    let found = distinct.filter(|tag| {
        tag.as_ref()
            .map_or(true, |tag| part.as_ref().is_none_or(|part| contains_lowered(tag, part)))
    });
    window.fill(found.map(|tag| Ok(tag?)))
}

/// The tags one after the other, jumping over all but one owner of each: a tag may have very many.
struct Distinct<'a> {
    store: &'a dyn EventStore,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
    descending: bool,
}

impl Distinct<'_> {
    fn read_next(&mut self) -> Result<Option<String>, StoreError> {
        let scan = Scan {
            prefix: Vec::new(),
            after: self.low.clone(),
            before: self.high.clone(),
            descending: self.descending,
            limit: 1,
        };
        let rows = self.store.rows(Table::Tags, &scan)?;
        let Some((key, _)) = rows.first() else { return Ok(None) };
        let tag = tag_of_key(key).unwrap_or_default();
        if self.descending {
            self.high = Some(down_to(tag));
        } else {
            self.low = Some(past(tag));
        }
        Ok(Some(tag.to_owned()))
    }
}

impl Iterator for Distinct<'_> {
    type Item = Result<String, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_next().transpose()
    }
}

/// A key less than all of a tag and not less than any of a lesser one.
fn down_to(tag: &str) -> Vec<u8> {
    [tag.as_bytes(), &[0]].concat()
}

/// A key greater than all of a tag and less than any of a greater one.
fn past(tag: &str) -> Vec<u8> {
    [tag.as_bytes(), &[1]].concat()
}
