//! The queries of agents and what belongs to them. Parameters that are not named here are ignored, as V1 does.

use std::borrow::Cow;

use retold_events::agent::AgentType;
use utoipa::IntoParams;

use super::{
    MESSAGE_TYPES, Order, Page, Relations, View, WireStopReason,
    query::{Pairs, QueryProblem},
};

/// Which agents to list or count.
#[derive(Debug, Clone, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AgentsQuery {
    /// Which part of the list; sorted by `created_at`, `updated_at` or `last_run_completion`.
    #[param(ignore)]
    pub page: Page,
    /// The exact name.
    pub name: Option<String>,
    /// Tags, any of them unless `match_all_tags`.
    #[param(required = false)]
    pub tags: Vec<String>,
    /// Whether all tags are wanted.
    #[param(required = false)]
    pub match_all_tags: bool,
    /// A part of the name, in any case.
    pub query_text: Option<String>,
    /// The exact project.
    pub project_id: Option<String>,
    /// The exact template.
    pub template_id: Option<String>,
    /// The exact base template.
    pub base_template_id: Option<String>,
    /// Nothing here has identities, so any value finds nothing.
    pub identity_id: Option<String>,
    /// See `identity_id`.
    #[param(required = false)]
    pub identifier_keys: Vec<String>,
    /// Relations to show; `None` when the client did not say.
    #[param(value_type = Option<Vec<String>>, rename = "include")]
    pub relations: Option<Relations>,
    /// Why the last run ended.
    #[param(value_type = Option<String>)]
    pub last_stop_reason: Option<WireStopReason>,
    /// Who made it.
    pub created_by_id: Option<String>,
    /// Whether hidden agents are listed, too.
    #[param(required = false)]
    pub show_hidden_agents: bool,
}

impl AgentsQuery {
    /// Reads the query of `GET /v1/agents/` and `/v1/agents/count`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let sortable = ["created_at", "updated_at", "last_run_completion"];
        Ok(Self {
            page: Page::read(pairs, 50, Order::Desc)?.sorted_by(&sortable)?,
            name: pairs.text("name"),
            tags: pairs.some_list("tags").unwrap_or_default(),
            match_all_tags: pairs.flag("match_all_tags")?.unwrap_or(false),
            query_text: pairs.text("query_text"),
            project_id: pairs.text("project_id"),
            template_id: pairs.text("template_id"),
            base_template_id: pairs.text("base_template_id"),
            identity_id: pairs.text("identity_id"),
            identifier_keys: pairs.some_list("identifier_keys").unwrap_or_default(),
            relations: relations(pairs)?,
            last_stop_reason: stop_reason(pairs, "last_stop_reason")?,
            created_by_id: pairs.text("created_by_id"),
            show_hidden_agents: pairs.flag("show_hidden_agents")?.unwrap_or(false),
        })
    }
}

fn relations(pairs: Pairs<'_>) -> Result<Option<Relations>, QueryProblem> {
    Relations::parse(&pairs.list("include"), &pairs.list("include_relationships"))
}

pub(super) fn stop_reason(
    pairs: Pairs<'_>,
    key: &str,
) -> Result<Option<WireStopReason>, QueryProblem> {
    let mut words: Vec<_> =
        WireStopReason::ALL.iter().map(|&reason| (reason.word(), reason)).collect();
    // Samples in old documents say so.
    words.push(("completed", WireStopReason::EndTurn));
    pairs.word(key, &words)
}

/// How to show one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AgentQuery {
    /// Relations to show; `None` when the client did not say.
    #[param(value_type = Option<Vec<String>>, rename = "include")]
    pub relations: Option<Relations>,
}

impl AgentQuery {
    /// Reads the query of `GET /v1/agents/{id}`.
    ///
    /// # Errors
    /// [`QueryProblem`] when a relation has another name.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        Ok(Self { relations: relations(Pairs(pairs))? })
    }
}

/// The agents that have a block.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BlockAgentsQuery {
    /// Which part of the list.
    #[param(ignore)]
    pub page: Page,
    /// Relations to show; `None` when the client did not say.
    #[param(value_type = Option<Vec<String>>, rename = "include")]
    pub relations: Option<Relations>,
}

impl BlockAgentsQuery {
    /// Reads the query of `GET /v1/blocks/{id}/agents`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        Ok(Self { page: Page::read(pairs, 50, Order::Desc)?, relations: relations(pairs)? })
    }
}

/// Which messages of an agent to list, and how to show them.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MessagesQuery {
    /// Which part of the history. Cursors are chronological here, and the answer is oldest first.
    #[param(ignore)]
    pub page: Page,
    /// Nothing here has groups, so any value finds nothing.
    pub group_id: Option<String>,
    /// `default` for messages of no conversation; absent for all.
    pub conversation_id: Option<String>,
    /// Whether a `send_message` call shows as an assistant message.
    #[param(required = false)]
    pub use_assistant_message: bool,
    /// The tool whose calls show so.
    #[param(required = false)]
    pub assistant_message_tool_name: String,
    /// Its argument that holds the text.
    #[param(required = false)]
    pub assistant_message_tool_kwarg: String,
    /// Without meaning here: failures are always listed.
    pub include_err: Option<bool>,
    /// Message types to show; `None` is all. Applied after the limit.
    pub include_return_message_types: Option<Vec<String>>,
}

impl MessagesQuery {
    /// Reads the query of `GET /v1/agents/{id}/messages`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let text = |key: &str, default: &str| pairs.text(key).unwrap_or_else(|| default.to_owned());
        let types = pairs.comma_list("include_return_message_types");
        if let Some(unknown) = types.iter().find(|kind| !MESSAGE_TYPES.contains(&kind.as_str())) {
            return Err(QueryProblem::new(
                "include_return_message_types",
                format!("Input should be one of {}, not {unknown:?}", MESSAGE_TYPES.join(", ")),
            ));
        }
        Ok(Self {
            page: Page::read(pairs, 100, Order::Desc)?,
            group_id: pairs.text("group_id"),
            conversation_id: pairs.text("conversation_id"),
            use_assistant_message: pairs.flag("use_assistant_message")?.unwrap_or(true),
            assistant_message_tool_name: text("assistant_message_tool_name", "send_message"),
            assistant_message_tool_kwarg: text("assistant_message_tool_kwarg", "message"),
            include_err: pairs.flag("include_err")?,
            include_return_message_types: (!types.is_empty()).then_some(types),
        })
    }

    /// How the client wants to see the messages of an agent.
    #[must_use]
    pub fn view(&self, agent_type: AgentType) -> View<'_> {
        View {
            use_assistant_message: self.use_assistant_message,
            assistant_message_tool_name: Cow::Borrowed(&self.assistant_message_tool_name),
            assistant_message_tool_kwarg: Cow::Borrowed(&self.assistant_message_tool_kwarg),
            types: self.include_return_message_types.as_deref().map(Cow::Borrowed),
            ..View::history(agent_type)
        }
    }
}

macro_rules! page_queries {
    ($($(#[$doc:meta])* $name:ident($limit:literal, $order:ident);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            /// Which part of the list.
            pub page: Page,
        }

        impl $name {
            /// Reads the paging parameters.
            ///
            /// # Errors
            /// [`QueryProblem`] naming the parameter that is malformed.
            pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
                Ok(Self { page: Page::read(Pairs(pairs), $limit, Order::$order)? })
            }
        }
    )*};
}

page_queries! {
    /// The blocks of an agent.
    AgentBlocksQuery(100, Desc);
    /// The versions of a block. Cursors are their numbers.
    BlockHistoryQuery(50, Desc);
    /// The tools of an agent.
    AgentToolsQuery(10, Desc);
    /// The messages of a run. Cursors are chronological.
    RunMessagesQuery(100, Asc);
    /// The steps of a run.
    RunStepsQuery(100, Desc);
    /// The messages of a step. Cursors are chronological.
    StepMessagesQuery(100, Asc);
}

/// How to rebuild a system message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecompileQuery {
    /// Whether its time of compilation becomes now.
    #[param(required = false)]
    pub update_timestamp: bool,
    /// Whether it is only shown.
    #[param(required = false)]
    pub dry_run: bool,
}

impl RecompileQuery {
    /// Reads the query of `POST /v1/agents/{id}/recompile`.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        Ok(Self {
            update_timestamp: pairs.flag("update_timestamp")?.unwrap_or(false),
            dry_run: pairs.flag("dry_run")?.unwrap_or(false),
        })
    }
}
