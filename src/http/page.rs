//! Pages of lists: cursors on the way in; on the way out the array, and in headers the cursors of the pages beside it.

use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use retold_events::ConversationId;
use retold_snapshots::query::{self, Conversations, Order, QueryError};
use serde::Serialize;

use super::{error::ApiError, validation::Invalid};
use crate::wire::{self, Kind, pattern_message};

/// The cursor that, as `after`, gives the next page.
pub(super) const NEXT: HeaderName = HeaderName::from_static("next-cursor");
/// The cursor that, as `before`, gives the page before.
pub(super) const PREV: HeaderName = HeaderName::from_static("prev-cursor");

/// A page as a client asks for it, with its cursors as ids. Text that is no id is an unknown cursor.
pub(super) fn asked<T: Kind>(page: &wire::Page) -> Result<query::Page<T>, ApiError> {
    let cursor = |text: &Option<String>| match text {
        Some(text) => text
            .parse::<T>()
            .map(Some)
            .map_err(|_| ApiError::from(QueryError::UnknownCursor(text.clone()))),
        None => Ok(None),
    };
    let (after, before) = (cursor(&page.after)?, cursor(&page.before)?);
    Ok(query::Page { after, before, limit: page.limit, order: order(page) })
}

/// The order that a client asks for.
pub(super) fn order(page: &wire::Page) -> Order {
    match page.order {
        wire::Order::Asc => Order::Asc,
        wire::Order::Desc => Order::Desc,
    }
}

/// The conversations that a client asks for: none named is all, `default` is the agent's own thread.
pub(super) fn conversations(asked: Option<&str>) -> Result<Conversations, ApiError> {
    match asked {
        None => Ok(Conversations::All),
        Some("default") => Ok(Conversations::Default),
        Some(id) => {
            let malformed =
                |_| Invalid::query_member("conversation_id", &pattern_message::<ConversationId>());
            Ok(Conversations::Of(id.parse().map_err(malformed)?))
        }
    }
}

/// Cuts a page out of a list that is in memory whole, by id. Ids are ordered by creation.
pub(super) fn cut<T, I: Ord + Copy>(
    mut items: Vec<T>,
    id: impl Fn(&T) -> I,
    page: &query::Page<I>,
) -> Vec<T> {
    let precedes = |a: I, b: I| if page.order == Order::Asc { a < b } else { a > b };
    items.retain(|item| page.after.is_none_or(|after| precedes(after, id(item))));
    items.retain(|item| page.before.is_none_or(|before| precedes(id(item), before)));
    items.sort_by_key(&id);
    if page.order == Order::Desc {
        items.reverse();
    }
    // With `before`, those nearest to it are wanted.
    if page.before.is_some() && items.len() > page.limit {
        items.drain(..items.len() - page.limit);
    }
    items.truncate(page.limit);
    items
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// Cursors of the first and the last item.
    ends: Option<(String, String)>,
}

impl<T> Page<T> {
    /// The page of nothing.
    pub(super) fn empty() -> Self {
        Self { items: Vec::new(), ends: None }
    }

    /// The page of these rows, each shown as one item. A row may show as nothing and still be a cursor.
    pub(super) fn of<R>(
        rows: Vec<R>,
        cursor: impl Fn(&R) -> String,
        show: impl FnMut(R) -> T,
    ) -> Self {
        let ends = rows.first().zip(rows.last()).map(|(first, last)| (cursor(first), cursor(last)));
        Self { items: rows.into_iter().map(show).collect(), ends }
    }

    /// The page of rows that each show as any number of items.
    pub(super) fn flat<R>(
        rows: Vec<R>,
        cursor: impl Fn(&R) -> String,
        show: impl FnMut(R) -> Vec<T>,
    ) -> Self {
        let ends = rows.first().zip(rows.last()).map(|(first, last)| (cursor(first), cursor(last)));
        Self { items: rows.into_iter().flat_map(show).collect(), ends }
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some((first, last)) = &self.ends {
            for (name, cursor) in [(PREV, first), (NEXT, last)] {
                // A tag may hold what a header cannot; then there is no header, and the item itself is the cursor.
                if let Ok(value) = HeaderValue::from_str(cursor) {
                    headers.insert(name, value);
                }
            }
        }
        (headers, Json(self.items)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(after: Option<u8>, before: Option<u8>, limit: usize, order: Order) -> query::Page<u8> {
        query::Page { after, before, limit, order }
    }

    fn cut_of(page: &query::Page<u8>) -> Vec<u8> {
        cut(vec![3, 1, 5, 2, 4], |&item| item, page)
    }

    #[test]
    fn cursors_follow_the_requested_order() {
        assert_eq!(cut_of(&page(None, None, 2, Order::Asc)), [1, 2]);
        assert_eq!(cut_of(&page(Some(2), None, 2, Order::Asc)), [3, 4]);
        assert_eq!(cut_of(&page(Some(4), None, 2, Order::Desc)), [3, 2]);
        assert_eq!(cut_of(&page(None, Some(4), 2, Order::Asc)), [2, 3]);
        assert_eq!(cut_of(&page(None, Some(2), 2, Order::Desc)), [4, 3]);
        assert_eq!(cut_of(&page(Some(1), Some(4), 9, Order::Asc)), [2, 3]);
        assert!(cut_of(&page(Some(5), None, 2, Order::Asc)).is_empty());
    }
}
