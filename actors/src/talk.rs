//! Agents that send to agents: by a tool of theirs, to one or to all of certain tags, waiting for the answers or not.
//!
//! What is sent begins an ordinary run of the other agent, whose acceptance names the call that it came of. A call that is
//! attempted again, after a crash, finds that run by its name instead of sending a second time. Who waits waits in its
//! turn, outside every mailbox; whatever ends the turn cancels what it waited for.

mod message;
mod reply;
mod waits;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use retold_events::{
    AgentId, ConversationId, RunId,
    defect::Defect,
    log::Log,
    run::{AskedBy, Request},
};
use retold_snapshots::query::{self, AgentFilter, OrderBy, Page};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::{
    message::{Errand, Matching},
    waits::{Circle, Place, Waiting, Waits},
};
use crate::{Host, Refusal, host::WeakHost, hub::Hub, run::Send as SendRun, tool::TalkTool};

/// Agents that one call may send to. Each gets a run, and a model's mistake in a tag should not start thousands.
const MOST_RECEIVERS: usize = 64;
/// Receivers that a call sends to at the same time.
const AT_ONCE: usize = 16;
/// Runs that may lead to one another by messages between agents. Two that thank each other would never stop.
const DEEPEST: u16 = 16;

/// Agents that send to agents.
#[derive(Debug)]
pub(crate) struct Talk {
    log: Log,
    hub: Hub,
    host: Arc<OnceLock<WeakHost>>,
    waits: Waits,
}

/// Who sends, and in which call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) agent: AgentId,
    pub(crate) run: RunId,
    /// The thread that the run holds.
    pub(crate) conversation: Option<ConversationId>,
    /// Runs between it and the one that a client sent.
    pub(crate) depth: u16,
    /// The same for every attempt of the call, and no other call's.
    pub(crate) key: [u8; 16],
}

impl Talk {
    pub(crate) fn new(log: Log, hub: Hub, host: Arc<OnceLock<WeakHost>>) -> Self {
        Self { log, hub, host, waits: Waits::default() }
    }

    /// Makes a call, and gives what it returns. Dropping the future cancels what it waits for.
    ///
    /// # Errors
    /// A sentence for the model.
    pub(crate) async fn call(
        &self,
        tool: TalkTool,
        sender: Sender,
        arguments: &str,
    ) -> Result<String, String> {
        if sender.depth >= DEEPEST {
            return Err(format!(
                "this message came by way of {DEEPEST} agents already, the most there may be; answer it yourself instead of passing it on"
            ));
        }
        match tool {
            TalkTool::Tell => {
                let errand = message::errand(arguments)?;
                self.tell(sender, &errand).await
            }
            TalkTool::Ask => {
                let Errand { to, message } = message::errand(arguments)?;
                let said = self.ask(sender, to, &message).await?;
                Ok(answer_of(to, &said).to_string())
            }
            TalkTool::AskMatching => {
                let matching = message::matching(arguments)?;
                self.ask_matching(sender, &matching).await
            }
        }
    }

    /// Waits until what these runs had asked of other agents is over. They have ended, so they ask nothing more.
    pub(crate) async fn over(&self, runs: &[RunId]) {
        for end in self.waits.ends(runs) {
            end.cancelled().await;
        }
    }

    async fn tell(&self, sender: Sender, errand: &Errand) -> Result<String, String> {
        let by = asked_by(sender, false);
        let host = self.host()?;
        check_other(sender, errand.to)?;
        let text = message::one_way(sender.agent, &errand.message);
        begin(&self.log, &host, errand.to, by, text).await?;
        Ok("Successfully sent message".to_owned())
    }

    /// What another agent says to a message, once it has ended its run.
    async fn ask(&self, sender: Sender, to: AgentId, message: &str) -> Result<Vec<String>, String> {
        check_other(sender, to)?;
        let by = Place { agent: sender.agent, conversation: sender.conversation };
        let on = Place { agent: to, conversation: None };
        let waiting = self.waits.begin(by, sender.run, on).map_err(in_circle)?;
        let cancelled = CancellationToken::new();
        let asking = Asking {
            log: self.log.clone(),
            hub: self.hub.clone(),
            host: self.host.get().cloned().ok_or_else(|| Refusal::Draining.to_string())?,
            to,
            by: asked_by(sender, true),
            text: message::two_way(sender.agent, message),
            cancelled: cancelled.clone(),
            _waiting: waiting,
        };
        // A task of its own: a message that is on its way when this future is dropped begins a run that has to be found
        // and cancelled.
        let _cancel = cancelled.drop_guard();
        tokio::spawn(asking.answer())
            .await
            .unwrap_or_else(|_| Err("the answer could not be waited for".to_owned()))
    }

    async fn ask_matching(&self, sender: Sender, matching: &Matching) -> Result<String, String> {
        let receivers = self.matching(sender.agent, matching).await?;
        let ask = |to: AgentId| async move {
            match self.ask(sender, to, &matching.message).await {
                Ok(said) => answer_of(to, &said),
                Err(error) => answer_of(to, &[format!("<error: {error}>")]),
            }
        };
        let answers: Vec<_> = stream::iter(receivers).map(ask).buffered(AT_ONCE).collect().await;
        Ok(json!(answers).to_string())
    }

    /// The agents that carry the tags, without the sender.
    async fn matching(&self, sender: AgentId, wanted: &Matching) -> Result<Vec<AgentId>, String> {
        let (all, some) = (wanted.match_all.clone(), wanted.match_some.clone());
        let (tags, match_all_tags) =
            if all.is_empty() { (some.clone(), false) } else { (all, true) };
        let filter = AgentFilter { tags, match_all_tags, ..AgentFilter::default() };
        let found = self.log.read(move |store| {
            let everything = Page::first(usize::MAX, query::Order::Asc);
            Ok(query::agents(store, &filter, OrderBy::CreatedAt, &everything))
        });
        let found = found.await.map_err(|error| error.to_string())?;
        let found = found.map_err(|error| error.to_string())?;
        let has_some =
            |tags: &[String]| some.is_empty() || some.iter().any(|tag| tags.contains(tag));
        let receivers: Vec<AgentId> = found
            .into_iter()
            .filter(|(id, row)| *id != sender && has_some(&row.tags))
            .map(|(id, _)| id)
            .collect();
        if receivers.len() > MOST_RECEIVERS {
            return Err(format!(
                "{} agents carry these tags, {MOST_RECEIVERS} may be sent to by one call; name more tags in match_all",
                receivers.len()
            ));
        }
        Ok(receivers)
    }

    fn host(&self) -> Result<Host, String> {
        self.host.get().and_then(WeakHost::revive).ok_or_else(|| Refusal::Draining.to_string())
    }
}

/// A question to another agent, from its sending to its answer.
struct Asking {
    log: Log,
    hub: Hub,
    host: WeakHost,
    to: AgentId,
    by: AskedBy,
    text: String,
    /// Whoever asks does not wait any more.
    cancelled: CancellationToken,
    /// Ends after everything else.
    _waiting: Waiting,
}

impl Asking {
    async fn answer(self) -> Result<Vec<String>, String> {
        let host = self.host.revive().ok_or_else(|| Refusal::Draining.to_string())?;
        let run = begin(&self.log, &host, self.to, self.by, self.text.clone()).await?;
        // A host that nobody else holds is to close.
        drop(host);
        tokio::select! {
            biased;
            ended = self.ended(run) => ended.map_err(|refusal| refusal.to_string())?,
            () = self.cancelled.cancelled() => {
                if !Defect::AskedGoesOn.is_on() {
                    self.cancel(run).await;
                }
                return Err("nobody waits for the answer any more".to_owned());
            }
        }
        let host = self.host.revive().ok_or_else(|| Refusal::Draining.to_string())?;
        reply::of(&host, run).await
    }

    async fn ended(&self, run: RunId) -> Result<(), Refusal> {
        let mut follow = self.hub.follow(run, u64::MAX - 1);
        while follow.next().await?.is_some() {}
        Ok(())
    }

    /// Cancels the run, boxed because a cancel waits for what that run itself waits for.
    async fn cancel(&self, run: RunId) {
        let Some(host) = self.host.revive() else { return };
        if let Err(refusal) = Box::pin(host.cancel(self.to, Some(vec![run]))).await {
            tracing::warn!(agent = %self.to, %run, %refusal, "a run that nobody waits for could not be cancelled");
        }
    }
}

/// Longest wait for the runs that a cancelled one had asked for. They are cancelled all the same after it.
pub(crate) const LONGEST_CANCEL: Duration = Duration::from_secs(10);

/// Sends to an agent, unless an earlier attempt of the same call has: then its run is the one.
async fn begin(
    log: &Log,
    host: &Host,
    to: AgentId,
    by: AskedBy,
    text: String,
) -> Result<RunId, String> {
    let found = log.read(move |store| Ok(query::asked(store, &by, to))).await;
    let found = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if let Some(run) = found.filter(|_| !Defect::AskedTwice.is_on()) {
        return Ok(run);
    }
    let message = message::system(by.agent, text);
    let send = SendRun {
        asked_by: Some(by),
        ..SendRun::new(vec![message], request(fingerprint(&by, to)))
    };
    let sent = Box::pin(host.send(to, send)).await.map_err(|refusal| refusal.to_string())?;
    Ok(sent.run.id)
}

/// How the other agent is asked: as by a client that wants whole messages.
fn request(fingerprint: [u8; 16]) -> Request {
    Request {
        run_type: "send_message".to_owned(),
        conversation: None,
        background: true,
        stream_tokens: false,
        max_steps: 50,
        use_assistant_message: true,
        assistant_message_tool_name: "send_message".to_owned(),
        assistant_message_tool_kwarg: "message".to_owned(),
        include_return_message_types: None,
        include_compaction_messages: false,
        override_model: None,
        override_system: None,
        callback_url: None,
        fingerprint: Some(fingerprint),
        metadata: None,
    }
}

/// A message that was sent twice while it was on its way is one run.
fn fingerprint(by: &AskedBy, to: AgentId) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(by.run.as_bytes()).update(&by.call).update(to.as_bytes());
    let mut fingerprint = [0; 16];
    hasher.finalize_xof().fill(&mut fingerprint);
    fingerprint
}

fn asked_by(sender: Sender, waits: bool) -> AskedBy {
    let Sender { agent, run, key, depth, .. } = sender;
    AskedBy { agent, run, call: key, waits, depth: depth + 1 }
}

fn check_other(sender: Sender, to: AgentId) -> Result<(), String> {
    if to == sender.agent {
        return Err("that is your own id; name another agent".to_owned());
    }
    Ok(())
}

fn answer_of(agent: AgentId, said: &[String]) -> serde_json::Value {
    json!({ "agent_id": agent.to_string(), "response": said })
}

fn in_circle(Circle(way): Circle) -> String {
    let names: Vec<String> = way.iter().map(AgentId::to_string).collect();
    format!(
        "{} waits for your answer ({}), so both would wait for ever; answer it first, or use send_message_to_agent_async",
        names.first().map_or("it", |name| name),
        names.join(" waits for ")
    )
}
