//! Running a tool that a user made because a client asks for it: outside any run, so nothing of it is written down.

use std::collections::BTreeMap;

use retold_events::{AgentId, Timestamp};

use super::{Host, ToolView};
use crate::{
    Job, Ran, Refusal,
    tool::{Source, caller::Caller, output},
    toolbox::NO_RUNNER,
};

impl Host {
    /// Runs a tool that is not kept. Dropping the future ends it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where no tools of users are run. What the tool does wrong is in what came of it.
    pub async fn run_job(&self, job: Job) -> Result<Ran, Refusal> {
        match &self.0.shared.options.runner {
            Some(runner) => Ok(runner.run(job).await),
            None => Err(Refusal::Invalid(NO_RUNNER.to_owned())),
        }
    }

    /// A key for a call that is made once, and the time.
    #[must_use]
    pub fn fresh_key(&self) -> ([u8; 16], Timestamp) {
        let options = &self.0.shared.options;
        let now = options.clock.now();
        (options.ids.next(now).into_bytes(), now)
    }

    /// Runs a tool of an agent with these arguments, JSON text of an object. Dropping the future ends it.
    ///
    /// # Errors
    /// [`Refusal`]: the agent has no tool of that name, or it is one that only the agent itself can call.
    pub async fn run_tool(
        &self,
        agent: AgentId,
        name: &str,
        arguments: String,
    ) -> Result<Ran, Refusal> {
        let view = self.agent(agent).await?;
        let missing = || Refusal::NotFound { what: "Tool", id: name.to_owned() };
        let tool = view.tools.iter().find(|tool| tool.name() == name).ok_or_else(missing)?;
        let ToolView::Made { id, .. } = tool else {
            return Err(Refusal::Invalid(format!(
                "{name} comes with the server and is called by the agent itself; send the agent a message instead"
            )));
        };
        let known = self.0.shared.tools.get(*id).ok_or_else(missing)?;
        let cut = |text: String| output::cut(&text, known.return_char_limit).into_owned();
        if let (Some(server), Some(remote)) = (known.server_name(), known.remote_name()) {
            let ran = self.0.mcp.call(server, remote, &arguments, self.fresh_key().0).await;
            return Ok(Ran { result: ran.result.map(cut), ..ran });
        }
        let Some(Source { language, text, requirements }) = self.tool_source(*id).await? else {
            return Err(Refusal::Invalid(format!("{name} has no source that could be run here")));
        };
        let (caller, shared) = (Caller::of(&view.state), &self.0.shared);
        let agent_state = caller.seen_by(&text, &shared.log, &shared.blocks, &shared.tools).await?;
        let ran = self
            .run_job(Job {
                name: known.name.clone(),
                language,
                source: text,
                arguments,
                requirements,
                environment: BTreeMap::new(),
                secrets: caller.secrets(),
                agent: Some(agent),
                project: view.state.config.project_id.clone(),
                agent_state,
                key: self.fresh_key().0,
                network: known.may_use_network(),
            })
            .await?;
        Ok(Ran { result: ran.result.map(cut), ..ran })
    }
}
