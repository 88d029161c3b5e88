//! Secrets of agents, between requests and the host: sealed before the host hears of them, opened for whoever asks for
//! them by name.

use std::sync::Arc;

use retold_actors::{
    AgentView, Refusal,
    agent::{Patch, Seal},
};
use retold_events::{AgentId, Secret};
use retold_snapshots::secret::HeldSecret;

use super::{App, error::ApiError, past::Reader};
use crate::{
    vault::{Vault, VaultError},
    wire::{AgentEnvironmentVariable, AgentState, Relations, SecretValues},
};

impl App {
    /// An agent as it is answered. Relations that were not asked for are empty. Of secrets the past shows the names only:
    /// a value that was taken back is not to be had by looking back.
    pub(super) fn agent_state(
        &self,
        view: &AgentView,
        relations: Relations,
        reader: &Reader,
    ) -> AgentState {
        let state = AgentState::new(view, relations);
        match (relations.secrets, reader.is_of_the_past()) {
            (false, _) => state,
            (true, false) => state.with_secrets(self.opened(view)),
            (true, true) => state.with_secrets(named(view)),
        }
    }

    /// An agent's secrets with their values. One that cannot be opened has none: whoever runs the server is told why.
    fn opened(&self, view: &AgentView) -> Vec<AgentEnvironmentVariable> {
        let agent = view.state.id;
        let mut failed: Option<VaultError> = None;
        let opened = view.state.secrets.iter().map(|held| {
            let value = self.vault.open(&held.secret).unwrap_or_else(|error| {
                failed.get_or_insert(error);
                String::new()
            });
            AgentEnvironmentVariable::new(agent, held, value)
        });
        let opened = opened.collect();
        if let Some(error) = failed {
            tracing::warn!(%agent, %error, "secrets of an agent cannot be shown");
        }
        opened
    }

    /// Seals the secrets of an agent that is to be made.
    pub(super) async fn seal_new(
        &self,
        values: Option<SecretValues>,
    ) -> Result<Option<Seal>, ApiError> {
        let Some(values) = self.ready_to_seal(values).await? else { return Ok(None) };
        let vault = self.vault.clone();
        let seal = move |agent| sealed(&vault, agent, &[], &values).map_err(refused);
        Ok(Some(Arc::new(seal)))
    }

    /// Adds secrets to the changes of an agent, of which those that stay the same stay untouched.
    pub(super) async fn seal_changed(
        &self,
        values: Option<SecretValues>,
    ) -> Result<
        impl FnOnce(AgentId, &[HeldSecret], Patch) -> Result<Patch, Refusal> + use<>,
        ApiError,
    > {
        let values = self.ready_to_seal(values).await?;
        let vault = self.vault.clone();
        Ok(move |agent, held: &[HeldSecret], patch| {
            let secrets = values.map(|values| sealed(&vault, agent, held, &values));
            let secrets = secrets.transpose().map_err(refused)?;
            Ok(Patch { secrets, ..patch })
        })
    }

    /// The same values, once there is a key for them.
    async fn ready_to_seal(
        &self,
        values: Option<SecretValues>,
    ) -> Result<Option<SecretValues>, ApiError> {
        if values.as_ref().is_some_and(|values| values.iter().next().is_some()) {
            self.vault.ready().await.map_err(|error| ApiError::no_vault(&error))?;
        }
        Ok(values)
    }
}

/// An agent's secrets without their values.
fn named(view: &AgentView) -> Vec<AgentEnvironmentVariable> {
    let named = |held| AgentEnvironmentVariable::new(view.state.id, held, String::new());
    view.state.secrets.iter().map(named).collect()
}

/// All secrets of an agent, sealed. One with the value that it had keeps its bytes.
fn sealed(
    vault: &Vault,
    agent: AgentId,
    held: &[HeldSecret],
    values: &SecretValues,
) -> Result<Vec<Secret>, VaultError> {
    let seal = |(name, value): (&str, &str)| {
        let before = held.iter().map(|held| &held.secret).find(|secret| secret.name == name);
        match before {
            Some(before) if vault.open(before).is_ok_and(|had| had == value) => Ok(before.clone()),
            Some(_) | None => {
                let sealed = vault.seal(agent.uuid(), name, value)?;
                Ok(Secret { name: name.to_owned(), value: sealed })
            }
        }
    };
    values.iter().map(seal).collect()
}

/// The key was there a moment ago.
fn refused(error: VaultError) -> Refusal {
    tracing::error!(%error, "secrets cannot be sealed");
    Refusal::Storage("secrets cannot be sealed; the server's log says why".to_owned())
}
