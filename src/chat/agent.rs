//! Which agent is talked to: an id must exist, a name is found or created.

use super::{
    ChatError,
    client::{Agent, Client},
};
use crate::client::ClientError;

/// The agent that was chosen, and what to tell the user about the choice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) agent: Agent,
    pub(crate) note: Option<String>,
}

/// Finds the agent called `wanted`, an id or a name, and sees to it that it uses `model` if one is given.
pub(crate) async fn choose(
    client: &Client,
    wanted: &str,
    model: Option<&str>,
) -> Result<Chosen, ChatError> {
    let found = if is_id(wanted) {
        let agent = client.agent(wanted).await?;
        let agent = agent.ok_or_else(|| ChatError::NoSuchAgent { id: wanted.to_owned() })?;
        Chosen { agent, note: None }
    } else {
        match by_name(client, wanted).await? {
            Some(found) => found,
            None => return create(client, wanted, model).await,
        }
    };
    with_model(client, found, model).await
}

/// The form of V1's ids: `agent-` and a UUID. A name may begin with `agent-` as well, but not go on like that.
fn is_id(wanted: &str) -> bool {
    wanted.strip_prefix("agent-").is_some_and(|rest| uuid::Uuid::try_parse(rest).is_ok())
}

async fn by_name(client: &Client, name: &str) -> Result<Option<Chosen>, ChatError> {
    let mut agents = client.agents_named(name).await?.into_iter();
    let Some(agent) = agents.next() else { return Ok(None) };
    let note = agents
        .next()
        .map(|_| format!("several agents are called {name}; this is the newest, {}", agent.id));
    Ok(Some(Chosen { agent, note }))
}

async fn create(client: &Client, name: &str, model: Option<&str>) -> Result<Chosen, ChatError> {
    match client.create_agent(name, model).await {
        Ok(agent) => Ok(Chosen { agent, note: Some(format!("created the agent {name}")) }),
        // Without a default the server asks for a model; the list is what the user needs to answer.
        Err(ClientError::Refused { status: 400, message })
            if model.is_none() && message.contains("model") =>
        {
            Err(ChatError::NeedsModel { models: client.models().await.unwrap_or_default() })
        }
        Err(error) => Err(error.into()),
    }
}

async fn with_model(
    client: &Client,
    found: Chosen,
    model: Option<&str>,
) -> Result<Chosen, ChatError> {
    let Some(model) = model.filter(|model| found.agent.model.as_deref() != Some(model)) else {
        return Ok(found);
    };
    let agent = client.set_model(&found.agent.id, model).await?;
    Ok(Chosen { agent, note: Some(format!("{} now uses {model}", found.agent.name)) })
}
