//! Which part of a list is wanted.

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::query::{Pairs, QueryProblem};

/// Items of one page at most. Whoever asks for more gets this many.
pub const MAX_PAGE: usize = 1000;

/// Which part of a list is wanted. Cursors are ids; what they mean is the list's business.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Items that precede this one in the order asked for.
    #[param(required = false)]
    pub before: Option<String>,
    /// Items that follow this one in the order asked for.
    #[param(required = false)]
    pub after: Option<String>,
    /// Items at most.
    #[param(required = false)]
    pub limit: usize,
    /// Which end comes first.
    #[param(required = false, inline)]
    pub order: Order,
    /// What the list is sorted by, where the list has a choice.
    #[param(required = false)]
    pub order_by: Option<String>,
}

/// [`Page`] as the history of an agent reads it, for the description.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what `Page` reads")]
pub struct HistoryPage {
    /// Only messages older than this one, whatever `order` says.
    before: Option<String>,
    /// Only messages newer than this one, whatever `order` says.
    after: Option<String>,
    /// Stored messages at most, 100 unless given. One may show as several, so a page can hold more than this.
    #[param(required = false)]
    limit: usize,
    /// Which end `limit` counts from: `desc`, the default, is the newest messages, `asc` the oldest. The answer is oldest
    /// first either way.
    #[param(required = false, inline)]
    order: Order,
}

/// [`Page`] as the messages of a run or a step read it, for the description.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what `Page` reads")]
pub struct MessagePage {
    /// Only messages older than this one, whatever `order` says.
    before: Option<String>,
    /// Only messages newer than this one, whatever `order` says.
    after: Option<String>,
    /// Stored messages at most, 100 unless given. One may show as several, so a page can hold more than this.
    #[param(required = false)]
    limit: usize,
    /// Which messages come first, and from which end `limit` counts: `asc`, the default, the oldest; `desc`, the newest.
    #[param(required = false, inline)]
    order: Order,
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The smallest, the oldest.
    Asc,
    /// The greatest, the newest.
    Desc,
}

impl Page {
    /// Reads the paging parameters, in the newer and the older spelling.
    ///
    /// `order_by` is checked by the lists that have a choice; the others ignore it.
    ///
    /// # Errors
    /// [`QueryProblem`] when one is malformed, or `limit` is less than 1.
    pub fn read(pairs: Pairs<'_>, limit: usize, order: Order) -> Result<Self, QueryProblem> {
        let words = [("asc", Order::Asc), ("desc", Order::Desc)];
        let ascending = pairs.flag("ascending")?;
        let older = ascending.map(|ascending| if ascending { Order::Asc } else { Order::Desc });
        let asked = pairs.int("limit")?;
        if asked.is_some_and(|limit| limit < 1) {
            return Err(QueryProblem::new("limit", "Input should be greater than or equal to 1"));
        }
        let asked = asked.map(|limit| usize::try_from(limit).unwrap_or(MAX_PAGE));
        Ok(Self {
            before: pairs.text("before"),
            after: pairs.text("after"),
            limit: asked.unwrap_or(limit).min(MAX_PAGE),
            order: pairs.word("order", &words)?.or(older).unwrap_or(order),
            order_by: pairs.text("order_by").or_else(|| pairs.text("sort_by")),
        })
    }

    /// Checks `order_by` against what a list can be sorted by.
    pub(crate) fn sorted_by(self, allowed: &[&str]) -> Result<Self, QueryProblem> {
        match self.order_by.as_deref() {
            Some(asked) if !allowed.contains(&asked) => {
                let quoted: Vec<String> = allowed.iter().map(|word| format!("'{word}'")).collect();
                let message = format!("Input should be {}", quoted.join(" or "));
                Err(QueryProblem::new("order_by", message))
            }
            _ => Ok(self),
        }
    }
}
