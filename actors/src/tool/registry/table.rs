//! The look-ups of the registry: by id and by name, always of the same tools.

use std::{collections::HashMap, sync::Arc};

use retold_events::{ToolId, log::Ticket};

use crate::tool::Known;

/// Tools that users made.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_id: HashMap<ToolId, Entry>,
    by_name: HashMap<String, ToolId>,
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    known: Arc<Known>,
    ticket: Option<Ticket>,
    generation: u64,
}

/// A tool as it stood when an edit looked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) id: ToolId,
    /// Another one after every change of it.
    pub(super) generation: u64,
    /// The commit that must be durable before what is written is what stands.
    pub(super) ticket: Option<Ticket>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: ToolId) -> Option<Arc<Known>> {
        self.by_id.get(&id).map(|entry| Arc::clone(&entry.known))
    }

    pub(super) fn by_name(&self, name: &str) -> Option<Arc<Known>> {
        self.get(*self.by_name.get(name)?)
    }

    pub(super) fn before_id(&self, id: ToolId) -> Option<Before> {
        let Entry { ticket, generation, .. } = self.by_id.get(&id)?;
        Some(Before { id, generation: *generation, ticket: *ticket })
    }

    pub(super) fn before_name(&self, name: &str) -> Option<Before> {
        self.before_id(*self.by_name.get(name)?)
    }

    /// Tools of an MCP server, by creation.
    pub(super) fn of_server(&self, server: &str) -> Vec<Arc<Known>> {
        let all = self.by_id.values().map(|entry| &entry.known);
        let mut found: Vec<_> =
            all.filter(|known| known.server_name() == Some(server)).cloned().collect();
        found.sort_by_key(|known| known.id);
        found
    }

    /// Another one after every change of any tool.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// A number that no state of any tool has had.
    pub(super) fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Puts a state in place; `queued` is its commit and its generation, where it is not known to be durable.
    pub(super) fn put(&mut self, known: Known, queued: Option<(Ticket, u64)>) {
        let id = known.id;
        self.forget_name(id);
        self.by_name.insert(known.name.clone(), id);
        let (ticket, generation) = match queued {
            Some((ticket, generation)) => (Some(ticket), generation),
            None => (None, self.next_generation()),
        };
        self.by_id.insert(id, Entry { known: Arc::new(known), ticket, generation });
    }

    pub(super) fn remove(&mut self, id: ToolId) {
        self.forget_name(id);
        self.by_id.remove(&id);
    }

    fn forget_name(&mut self, id: ToolId) {
        if let Some(entry) = self.by_id.get(&id)
            && self.by_name.get(&entry.known.name) == Some(&id)
        {
            self.by_name.remove(&entry.known.name);
        }
    }
}
