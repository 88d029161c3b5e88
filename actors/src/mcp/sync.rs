//! What a server's list makes of its tools: pure, and always the same for the same list and the same tools.
//!
//! A tool is known by the name it has on its server, and keeps its id and its own name for as long as the server offers it,
//! so agents and their rules keep it. A name that another tool has is never taken.

use std::collections::{BTreeMap, BTreeSet};

use retold_events::{
    ToolId,
    tool::{Kind, Tool},
};

use super::{OfferedTool, server_tag};
use crate::mcp::offered::with_tag;

/// Characters that providers allow in the name of a tool.
const MOST_NAME: usize = 64;

/// What became of a server's tools, by the names agents call them by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synced {
    /// Those the server no longer has.
    pub deleted: Vec<String>,
    /// Those that changed.
    pub updated: Vec<String>,
    /// New ones.
    pub added: Vec<String>,
    /// Those that cannot be offered to models: their names on the server, and why.
    pub left_out: Vec<(String, String)>,
}

/// Changes of tools: what each is now, `None` for nothing. Without an id it is a new one.
pub(crate) type Changes = Vec<(Option<ToolId>, Option<Tool>)>;

/// What follows when `server` has the tools `offered` and had `there`. `is_taken` tells of names of all other tools.
pub(crate) fn plan(
    server: &str,
    offered: &[OfferedTool],
    there: Vec<(ToolId, Tool)>,
    is_taken: impl Fn(&str) -> bool,
) -> (Changes, Synced) {
    let (mut changes, mut synced) = (Changes::new(), Synced::default());
    let mut old: BTreeMap<String, (ToolId, Tool)> =
        there.into_iter().map(|(id, tool)| (remote_name(&tool).to_owned(), (id, tool))).collect();
    let mut names: BTreeSet<String> = old.values().map(|(_, tool)| tool.name.clone()).collect();
    let mut seen = BTreeSet::new();
    for one in offered {
        if !seen.insert(&one.name) {
            let why = "the server has another tool of this name".to_owned();
            synced.left_out.push((one.name.clone(), why));
            continue;
        }
        let before = old.remove(&one.name);
        let name = match &before {
            Some((_, tool)) => Ok(tool.name.clone()),
            None => named(server, &one.name, |name| names.contains(name) || is_taken(name)),
        };
        let made = name.and_then(|name| one.tool(server, &name, before.as_ref().map(|it| &it.1)));
        match (made, before) {
            // What agents have is not taken from them for a schema that may be better tomorrow.
            (Err(why), _) => synced.left_out.push((one.name.clone(), why)),
            (Ok(tool), Some((_, old))) if tool == old => {}
            (Ok(tool), Some((id, _))) => {
                synced.updated.push(tool.name.clone());
                changes.push((Some(id), Some(tool)));
            }
            (Ok(tool), None) => {
                names.insert(tool.name.clone());
                synced.added.push(tool.name.clone());
                changes.push((None, Some(tool)));
            }
        }
    }
    for (id, tool) in old.into_values() {
        synced.deleted.push(tool.name);
        changes.push((Some(id), None));
    }
    (changes, synced)
}

/// A server's tools, once it is called otherwise.
pub(crate) fn renamed(from: &str, to: &str, there: Vec<(ToolId, Tool)>) -> Changes {
    let rename = |(id, tool): (ToolId, Tool)| {
        let remote_name = remote_name(&tool).to_owned();
        let kind = Kind::ExternalMcp { server_name: to.to_owned(), remote_name };
        let tags = with_tag(with_tag(tool.tags, &server_tag(from), false), &server_tag(to), true);
        (Some(id), Some(Tool { kind, tags, ..tool }))
    };
    there.into_iter().map(rename).collect()
}

fn remote_name(tool: &Tool) -> &str {
    match &tool.kind {
        Kind::ExternalMcp { remote_name, .. } => remote_name,
        Kind::Custom { .. } => &tool.name,
    }
}

/// The name of a new tool: its own, else with the server's before it, else with something of both behind it.
fn named(server: &str, remote: &str, is_taken: impl Fn(&str) -> bool) -> Result<String, String> {
    let hash = blake3::hash(format!("{server}\0{remote}").as_bytes()).to_hex();
    let together = fitting(&format!("{server}_{remote}"));
    let cut: String = together.chars().take(MOST_NAME - 9).collect();
    let names = [fitting(remote), together, format!("{cut}_{}", &hash[..8])];
    let free = names.into_iter().find(|name| !is_taken(name));
    free.ok_or_else(|| "other tools have every name that it could be given".to_owned())
}

/// A name as providers take it.
fn fitting(name: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    name.chars().map(|letter| if fits(letter) { letter } else { '_' }).take(MOST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn offered(name: &str) -> OfferedTool {
        OfferedTool { name: name.to_owned(), ..OfferedTool::default() }
    }

    fn described(name: &str, description: &str) -> OfferedTool {
        OfferedTool { description: Some(description.to_owned()), ..offered(name) }
    }

    /// The tools after the changes, ids given out in order.
    fn after(there: &[(ToolId, Tool)], changes: &Changes) -> Vec<(ToolId, Tool)> {
        let mut there = there.to_vec();
        for (id, tool) in changes {
            let id = id
                .unwrap_or_else(|| ToolId::from_uuid(Uuid::from_u128(1000 + there.len() as u128)));
            there.retain(|(it, _)| *it != id);
            there.extend(tool.clone().map(|tool| (id, tool)));
        }
        there
    }

    #[test]
    fn tools_keep_their_ids_and_names_for_as_long_as_they_are_offered() {
        let taken = |name: &str| name == "read";
        let first = [offered("read"), offered("write"), offered("old")];
        let (changes, synced) = plan("files", &first, vec![], taken);
        assert_eq!(synced.added, ["files_read", "write", "old"]);
        let there = after(&[], &changes);
        // The name it would rather have is free now, and another server has taken its own.
        let second = [described("read", "Reads."), offered("write"), offered("new")];
        let (changes, synced) = plan("files", &second, there.clone(), |_| false);
        let expected = Synced {
            updated: vec!["files_read".to_owned()],
            added: vec!["new".to_owned()],
            deleted: vec!["old".to_owned()],
            left_out: vec![],
        };
        assert_eq!(synced, expected);
        let later = after(&there, &changes);
        let id = |tools: &[(ToolId, Tool)], name: &str| {
            tools.iter().find(|(_, tool)| tool.name == name).map(|(id, _)| *id)
        };
        assert!(id(&there, "files_read").is_some());
        assert_eq!(id(&there, "files_read"), id(&later, "files_read"));
        let (nothing, synced) = plan("files", &second, later, taken);
        assert_eq!((nothing, synced), (vec![], Synced::default()));
    }

    #[test]
    fn no_name_of_another_tool_is_taken_and_every_name_is_one_that_providers_take() {
        let both = |name: &str| name == "read" || name == "my_server_read";
        let long = "x".repeat(200);
        let list = [offered("read"), offered("a/b c"), offered("a.b_c"), offered(&long)];
        let (_, synced) = plan("my server", &list, vec![], both);
        assert_eq!(synced.added.len(), 4);
        for name in &synced.added {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
            assert!((1..=64).contains(&name.len()) && name.bytes().all(fits), "{name}");
            assert!(!both(name), "{name}");
        }
        assert!(synced.added[0].starts_with("my_server_read_"), "{}", synced.added[0]);
        assert_eq!(synced.added[1..3], ["a_b_c", "my_server_a_b_c"]);
        let (_, nothing) = plan("s", &[offered("read")], vec![], |_| true);
        assert_eq!((nothing.added.len(), nothing.left_out.len()), (0, 1));
    }

    #[test]
    fn what_cannot_be_offered_is_left_out_and_what_agents_have_stays() {
        let broken = OfferedTool {
            input_schema: json!({"type": "array"}).as_object().cloned().unwrap_or_default(),
            ..offered("read")
        };
        let twice = [broken.clone(), offered("read")];
        let (changes, synced) = plan("files", &twice, vec![], |_| false);
        assert_eq!((changes.len(), synced.left_out.len()), (0, 2));
        let (changes, _) = plan("files", &[offered("read")], vec![], |_| false);
        let there = after(&[], &changes);
        let (changes, synced) = plan("files", &[broken], there, |_| false);
        assert_eq!((changes.len(), synced.left_out.len(), synced.deleted.len()), (0, 1, 0));
    }

    #[test]
    fn tools_follow_the_name_of_their_server() {
        let (changes, _) = plan("files", &[offered("read")], vec![], |_| false);
        let there = after(&[], &changes);
        let renamed = after(&there, &renamed("files", "disk", there.clone()));
        assert_eq!(renamed[0].1.name, "read");
        assert_eq!(renamed[0].1.tags, ["mcp:disk"]);
        let (changes, _) = plan("disk", &[offered("read")], renamed, |_| false);
        assert!(changes.is_empty());
    }
}
