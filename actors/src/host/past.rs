//! The past: which moment a client means, and what stood then.
//!
//! A position names a moment of the whole server, exactly and for ever. A time is a client's way to say "about then": it
//! stands for a position, and whoever wants to name the same moment again uses that position.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use retold_events::{
    AgentId, BlockId, Position, Timestamp,
    store::{EventStore, Head, StoreError},
};
use retold_snapshots::load::{self, LoadError};

use super::{AT_ONCE, AgentView, BlockView, Host, agents::readable, tools::tools_at};
use crate::{
    Refusal,
    pasts::{Whose, of_load},
    prompt::note::instant,
};

/// A moment of the past, as a client names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// Right after the event at this position.
    Position(Position),
    /// Right after the last event that is not later than this.
    Time(Timestamp),
}

impl Host {
    /// The position of a moment that has been.
    ///
    /// Times rise along the log as long as the clock does. Where the clock stepped back, several moments may fit a time;
    /// the answer is then one of them: an event that is not later than the time, before one that is. It is the same one
    /// each time: what is looked at does not depend on how long the log has become. A time that has only just passed
    /// may still gain events, as long as commits of that time are on their way.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a moment before the log begins or one that has not come yet.
    pub async fn moment(&self, as_of: AsOf) -> Result<Position, Refusal> {
        let head = self.log().head();
        match as_of {
            AsOf::Position(position) => check_position(position, head).map(|()| position),
            AsOf::Time(time) => {
                let now = self.0.shared.options.clock.now().max(head.at);
                if time > now {
                    return Err(Refusal::Invalid(format!(
                        "the time {} has not come yet; it is {}",
                        instant(time),
                        instant(now)
                    )));
                }
                let (last, first_at) =
                    self.read(move |store| last_until(store, head, time)).await?;
                if last.0 == 0 { Err(too_early(time, first_at)) } else { Ok(last) }
            }
        }
    }

    /// An agent as it stood.
    ///
    /// # Errors
    /// [`Refusal`]; it is not found when it did not exist yet, or no longer.
    pub async fn agent_at(&self, id: AgentId, position: Position) -> Result<AgentView, Refusal> {
        let found = self.0.pasts.read(move |store| agent_at(store, id, position)).await?;
        let broken = "its history could not be folded".to_owned();
        let found = found.ok_or(Refusal::Quarantined { agent: id, reason: broken })?;
        found.map_err(of_load)?.ok_or_else(|| Refusal::no_agent(id))
    }

    /// Several agents as they stood, in the order asked for. Those that did not exist are left out, and those that
    /// cannot be read.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn agents_at(
        &self,
        ids: &[AgentId],
        position: Position,
    ) -> Result<Vec<AgentView>, Refusal> {
        let one = |&id: &AgentId| async move { (id, self.agent_at(id, position).await) };
        readable(stream::iter(ids).map(one).buffered(AT_ONCE)).await
    }

    /// A block as it stood.
    ///
    /// # Errors
    /// [`Refusal`]; it is not found when it did not exist yet, or no longer.
    pub async fn block_at(&self, id: BlockId, position: Position) -> Result<BlockView, Refusal> {
        let found = self.0.pasts.read(move |store| block_at(store, id, position)).await?;
        let broken = || Refusal::Storage(format!("the history of {id} could not be folded"));
        let missing = || Refusal::NotFound { what: "Block", id: id.to_string() };
        found.ok_or_else(broken)?.map_err(of_load)?.ok_or_else(missing)
    }

    /// Reads read models as they stood at a durable position, as [`Host::read`] reads those of now. `f` sees the rows of
    /// `whose` and no others.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn read_at<T: Send + 'static>(
        &self,
        whose: Whose,
        position: Position,
        f: impl FnOnce(&dyn EventStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let past = self.0.pasts.get(whose, position).await?;
        let read = tokio::task::spawn_blocking(move || f(&*past)).await;
        Ok(read.map_err(|_| Refusal::Storage("the past could not be read".to_owned()))??)
    }
}

fn agent_at(
    store: &dyn EventStore,
    id: AgentId,
    position: Position,
) -> Result<Option<AgentView>, LoadError> {
    let Some(loaded) = load::agent(store, id, Some(position))? else { return Ok(None) };
    if loaded.state.deleted {
        return Ok(None);
    }
    let mut blocks = Vec::with_capacity(loaded.state.blocks.len());
    for &block in &loaded.state.blocks {
        blocks.extend(block_at(store, block, position)?);
    }
    let tools = tools_at(store, &loaded.state, position)?;
    Ok(Some(AgentView { state: Arc::new(loaded.state), blocks, tools }))
}

fn block_at(
    store: &dyn EventStore,
    id: BlockId,
    position: Position,
) -> Result<Option<BlockView>, LoadError> {
    let loaded = load::block(store, id, Some(position))?;
    let there = loaded.filter(|loaded| !loaded.state.deleted);
    Ok(there.map(|loaded| BlockView { id, state: Arc::new(loaded.state) }))
}

fn check_position(position: Position, head: Head) -> Result<(), Refusal> {
    let Position(asked) = position;
    let Position(last) = head.position;
    if asked == 0 {
        return Err(Refusal::Invalid(
            "there is no position 0: the log begins with position 1".to_owned(),
        ));
    }
    if position <= head.position {
        return Ok(());
    }
    Err(Refusal::Invalid(if last == 0 {
        format!("position {asked} has not happened yet; nothing has")
    } else {
        format!("position {asked} has not happened yet; the last one is {last}")
    }))
}

fn too_early(time: Timestamp, first: Option<Timestamp>) -> Refusal {
    let time = instant(time);
    Refusal::Invalid(match first {
        Some(first) => {
            format!("nothing had happened by {time}; the log begins at {}", instant(first))
        }
        None => format!("nothing had happened by {time}; nothing has yet"),
    })
}

/// The last position whose event is not later than `time`, 0 when there is none; and when the first event was.
///
/// It is found bit by bit from the highest, not by halving: so the events looked at are the same ones however long the
/// log has become since.
fn last_until(
    store: &dyn EventStore,
    head: Head,
    time: Timestamp,
) -> Result<(Position, Option<Timestamp>), StoreError> {
    let at = |position| {
        let record = store.read_all(Position(position), 1)?.into_iter().next();
        Ok::<_, StoreError>(record.map(|record| record.at))
    };
    let mut last = 0;
    for bit in (0..u64::BITS).rev().map(|shift| 1_u64 << shift) {
        let probed = last | bit;
        if probed <= head.position.0 && at(probed)?.is_some_and(|at| at <= time) {
            last = probed;
        }
    }
    Ok((Position(last), if last == 0 { at(1)? } else { None }))
}
