//! Which of an agent's relations an answer shows.

use super::QueryProblem;

/// Which relations an answer shows. The others are empty in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relations {
    /// Memory blocks.
    pub blocks: bool,
    /// Tools.
    pub tools: bool,
    /// Tags.
    pub tags: bool,
    /// Tool calls that wait for a decision.
    pub pending_approval: bool,
    /// Secrets with their values.
    pub secrets: bool,
}

impl Relations {
    /// What an answer shows of which the client said nothing: all of them but the calls that wait, which V1 looks for only
    /// when asked, and secrets, which are shown to nobody who does not name them.
    pub const ALL: Self =
        Self { blocks: true, tools: true, tags: true, pending_approval: false, secrets: false };

    /// None of them.
    pub const NONE: Self =
        Self { blocks: false, tools: false, tags: false, pending_approval: false, secrets: false };

    /// Reads `include` and `include_relationships`; `None` when the client said neither.
    ///
    /// Both spellings are taken, `agent.tools` and `tools`; an empty text asks for all but secrets. An empty
    /// `include_relationships` asks for none.
    ///
    /// # Errors
    /// [`QueryProblem`] when a relation has another name.
    pub fn parse(
        include: &[String],
        relationships: &[String],
    ) -> Result<Option<Self>, QueryProblem> {
        let mut found = None;
        for name in include.iter().chain(relationships).flat_map(|names| names.split(',')) {
            let relations: &mut Self = found.get_or_insert(Self::NONE);
            let name = name.trim();
            match name.strip_prefix("agent.").unwrap_or(name) {
                "" | "all" => {
                    let secrets = relations.secrets;
                    *relations = Self { pending_approval: true, secrets, ..Self::ALL };
                }
                "blocks" | "memory" => relations.blocks = true,
                "tools" => relations.tools = true,
                "tags" => relations.tags = true,
                "pending_approval" => relations.pending_approval = true,
                "secrets" | "tool_exec_environment_variables" => relations.secrets = true,
                // Known, and always empty here.
                "sources" | "identities" | "identity_ids" | "managed_group"
                | "multi_agent_group" | "file_blocks" => {}
                other => {
                    return Err(QueryProblem::new(
                        "include",
                        format!(
                            "Input should be 'agent.blocks', 'agent.identities', 'agent.managed_group', \
                             'agent.pending_approval', 'agent.secrets', 'agent.sources', 'agent.tags' or \
                             'agent.tools', not '{other}'"
                        ),
                    ));
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(include: &[&str], relationships: &[&str]) -> Option<Relations> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        Relations::parse(&owned(include), &owned(relationships)).unwrap()
    }

    #[test]
    fn both_spellings_ask_for_a_relation_and_an_empty_text_for_all() {
        let blocks = Relations { blocks: true, ..Relations::NONE };
        assert_eq!(parse(&["agent.blocks"], &[]), Some(blocks));
        assert_eq!(parse(&[], &["memory"]), Some(blocks));
        assert_eq!(
            parse(&["tools,tags"], &[]),
            Some(Relations { tools: true, tags: true, ..Relations::NONE })
        );
        let all = Relations { pending_approval: true, ..Relations::ALL };
        assert_eq!(parse(&[""], &[]), Some(all));
        assert_eq!(parse(&["agent.sources"], &[]), Some(Relations::NONE));
        assert_eq!(parse(&[], &[]), None);
    }

    #[test]
    fn secrets_are_shown_to_who_names_them() {
        let secrets = Relations { secrets: true, ..Relations::NONE };
        assert_eq!(parse(&["agent.secrets"], &[]), Some(secrets));
        assert_eq!(parse(&[], &["tool_exec_environment_variables"]), Some(secrets));
        for with_all in [["agent.secrets", ""], ["", "secrets"]] {
            assert!(parse(&with_all, &[]).is_some_and(|it| it.secrets && it.tools));
        }
        assert!(parse(&[""], &[]).is_some_and(|it| !it.secrets));
    }

    #[test]
    fn an_unknown_relation_is_refused_by_name() {
        let problem = Relations::parse(&["agent.dreams".to_owned()], &[]).unwrap_err();
        assert!(problem.msg.contains("'dreams'") && problem.loc == "include");
    }
}
