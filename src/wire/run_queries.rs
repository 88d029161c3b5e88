//! The queries of runs, their steps and their streams.

use utoipa::IntoParams;

use super::{
    Order, Page, Time, WireFeedback, WireRunStatus, WireStopReason,
    queries::stop_reason,
    query::{Pairs, QueryProblem},
};

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Which part of the list.
    #[param(ignore)]
    pub page: Page,
    /// Whose, any of them; empty is all. Texts that are no agent ids find nothing.
    #[param(required = false)]
    pub agent_ids: Vec<String>,
    /// Where they stand, any of them; empty is all. `active=true` is `created` and `running`.
    #[param(value_type = Vec<String>, required = false)]
    pub statuses: Vec<WireRunStatus>,
    /// Whether they run detached.
    pub background: Option<bool>,
    /// Why they ended.
    #[param(value_type = Option<String>)]
    pub stop_reason: Option<WireStopReason>,
    /// Which conversation.
    pub conversation_id: Option<String>,
}

impl RunsQuery {
    /// Reads the query of `GET /v1/runs/`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let mut agent_ids = pairs.comma_list("agent_ids");
        agent_ids.extend(pairs.text("agent_id"));
        let mut statuses = pairs
            .comma_list("statuses")
            .iter()
            .map(|word| {
                WireRunStatus::of_word(word).ok_or_else(|| {
                    let words: Vec<&str> =
                        WireRunStatus::ALL.iter().map(|status| status.word()).collect();
                    let message = format!("{word:?} is not one of {}", words.join(", "));
                    QueryProblem::new("statuses", message)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if pairs.flag("active")?.unwrap_or(false) {
            statuses = vec![WireRunStatus::Created, WireRunStatus::Running];
        }
        Ok(Self {
            page: Page::read(pairs, 100, Order::Desc)?,
            agent_ids,
            statuses,
            background: pairs.flag("background")?,
            stop_reason: stop_reason(pairs, "stop_reason")?,
            conversation_id: pairs.text("conversation_id"),
        })
    }

    /// The same query for `GET /v1/runs/active`.
    #[must_use]
    pub fn active(mut self) -> Self {
        self.statuses = vec![WireRunStatus::Created, WireRunStatus::Running];
        self
    }
}

/// Which steps to list.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StepsQuery {
    /// Which part of the list.
    #[param(ignore)]
    pub page: Page,
    /// Not before this.
    pub start_date: Option<Time>,
    /// Not after this.
    pub end_date: Option<Time>,
    /// Name or handle of the model.
    pub model: Option<String>,
    /// Whose.
    pub agent_id: Option<String>,
    /// Nothing here has traces, so any value finds nothing.
    #[param(required = false)]
    pub trace_ids: Vec<String>,
    /// Which judgement.
    #[param(value_type = Option<String>)]
    pub feedback: Option<WireFeedback>,
    /// Whether there is a judgement.
    pub has_feedback: Option<bool>,
    /// Labels of the judgement, any of them.
    #[param(required = false)]
    pub tags: Vec<String>,
    /// Steps have no project, so any value finds nothing.
    pub project_id: Option<String>,
}

impl StepsQuery {
    /// Reads the query of `GET /v1/steps/`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let judgements: Vec<_> =
            WireFeedback::ALL.iter().map(|&feedback| (feedback.word(), feedback)).collect();
        Ok(Self {
            page: Page::read(pairs, 50, Order::Desc)?,
            start_date: pairs.time("start_date")?,
            end_date: pairs.time("end_date")?,
            model: pairs.text("model"),
            agent_id: pairs.text("agent_id"),
            trace_ids: pairs.some_list("trace_ids").unwrap_or_default(),
            feedback: pairs.word("feedback", &judgements)?,
            has_feedback: pairs.flag("has_feedback")?,
            tags: pairs.some_list("tags").unwrap_or_default(),
            project_id: pairs.text("project_id"),
        })
    }
}

/// Where to take up a stream, for clients that ask with a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Number of the last event the client has.
    #[param(required = false)]
    pub starting_after: u64,
    /// Whether signs of life are wanted.
    #[param(required = false)]
    pub include_pings: bool,
}

impl StreamQuery {
    /// Reads the query of `GET /v1/runs/{id}/stream`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let after = pairs.int("starting_after")?.unwrap_or(0);
        Ok(Self {
            starting_after: u64::try_from(after).map_err(|_| {
                QueryProblem::new("starting_after", "Input should be greater than or equal to 0")
            })?,
            include_pings: pairs.flag("include_pings")?.unwrap_or(true),
        })
    }
}
