//! Tools as models were offered them at some moment.

use retold_events::{
    Position, StreamId, ToolId, codec::Event as _, store::EventStore, tool::Event,
};
use retold_models::ToolSchema;
use retold_snapshots::load;

use crate::tool::{Known, beating, by_id, offered};

/// A tool as a model was offered it at `position`; `None` when there was none. A tool whose history cannot be read is none:
/// the hash of the prompt then says that something differs.
pub(super) fn schema_at(
    store: &dyn EventStore,
    position: Position,
    id: ToolId,
    heartbeat: bool,
) -> Option<ToolSchema> {
    if let Some(tool) = by_id(id) {
        return Some(Known::builtin(tool).schema(heartbeat).clone());
    }
    let stream = StreamId::Tool(id);
    let seq = load::last_at(store, stream, position).ok()?;
    let newest = store.read_stream(stream, seq, 1).ok()?.into_iter().next()?;
    let tool = match Event::decode(&newest.encoded).ok()? {
        Event::Created(created) => created.tool,
        Event::Updated(updated) => updated.tool,
        Event::Deleted(_) => return None,
    };
    let schema = offered(&tool);
    Some(if heartbeat { beating(&schema) } else { schema })
}
