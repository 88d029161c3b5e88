//! The rules of tool rules.

use proptest::prelude::*;
use retold_events::JsonText;
use serde_json::json;

use super::*;
use crate::tool::{base_tools, by_name};

const ATTACHED: [&str; 4] = ["a", "b", "c", "d"];

fn rule(tool: &str, kind: ToolRuleKind) -> ToolRule {
    ToolRule { tool: tool.to_owned(), kind, prompt_template: None }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn run_first(tool: &str) -> ToolRule {
    rule(tool, ToolRuleKind::RunFirst { args: None })
}

fn children(tool: &str, children: &[&str]) -> ToolRule {
    rule(tool, ToolRuleKind::ConstrainChildren { children: names(children), nodes: None })
}

fn parent(tool: &str, children: &[&str]) -> ToolRule {
    rule(tool, ToolRuleKind::ParentLast { children: names(children) })
}

fn at_most(tool: &str, limit: u32) -> ToolRule {
    rule(tool, ToolRuleKind::MaxCount { limit })
}

fn conditional(mapping: &[(&str, &str)], default: Option<&str>, required: bool) -> ToolRule {
    let mapping = mapping.iter().map(|&(key, tool)| (key.to_owned(), tool.to_owned())).collect();
    rule(
        "a",
        ToolRuleKind::Conditional {
            default_child: default.map(str::to_owned),
            mapping,
            require_mapping: required,
        },
    )
}

fn after<'a>(rules: &'a [ToolRule], calls: &[&str]) -> Solver<'a> {
    Solver::new(rules, names(calls), Some("done".to_owned()))
}

fn allowed(rules: &[ToolRule], calls: &[&str]) -> (Vec<String>, bool) {
    let Allowed { tools, force } = after(rules, calls).allowed(&ATTACHED);
    (tools, force)
}

#[test]
fn without_rules_everything_is_allowed_and_nothing_forced() {
    assert_eq!(allowed(&[], &[]), (names(&ATTACHED), false));
    assert_eq!(allowed(&[], &["a"]), (names(&ATTACHED), false));
}

#[test]
fn the_first_call_is_one_of_the_first_tools() {
    let rules = [run_first("c"), run_first("b")];
    assert_eq!(allowed(&rules, &[]), (names(&["b", "c"]), true));
    assert_eq!(allowed(&rules, &["b"]), (names(&ATTACHED), false));
}

#[test]
fn a_first_tool_that_is_not_attached_forces_nothing() {
    assert_eq!(allowed(&[run_first("z")], &[]), (names(&ATTACHED), false));
}

#[test]
fn after_a_parent_only_its_children() {
    let rules = [children("a", &["b", "c"])];
    assert_eq!(allowed(&rules, &[]), (names(&ATTACHED), false));
    assert_eq!(allowed(&rules, &["a"]), (names(&["b", "c"]), true));
    assert_eq!(allowed(&rules, &["a", "b"]), (names(&ATTACHED), false));
}

#[test]
fn children_of_parent_last_are_allowed_only_right_after_it() {
    let rules = [parent("a", &["b"])];
    assert_eq!(allowed(&rules, &[]), (names(&["a", "c", "d"]), false));
    assert_eq!(allowed(&rules, &["a"]), (names(&["b"]), true));
    assert_eq!(allowed(&rules, &["a", "b"]), (names(&["a", "c", "d"]), false));
}

#[test]
fn rules_hold_together() {
    let rules = [children("a", &["b", "c"]), at_most("b", 1)];
    assert_eq!(allowed(&rules, &["b", "a"]), (names(&["c"]), true));
}

#[test]
fn a_return_leads_to_its_tool() {
    let rules = [conditional(&[("yes", "b"), ("no", "c")], Some("d"), false)];
    let to = |returned: &str| {
        let solver = Solver::new(&rules, names(&["a"]), Some(returned.to_owned()));
        let allowed = solver.allowed(&ATTACHED);
        assert!(allowed.force);
        allowed.tools
    };
    assert_eq!(to("yes"), names(&["b"]));
    assert_eq!(to("no"), names(&["c"]));
    assert_eq!(to("maybe"), names(&["d"]));
    assert_eq!(allowed(&rules, &["b"]), (names(&ATTACHED), false));
}

#[test]
fn a_return_matches_keys_that_mean_the_same() {
    let mapping = [("true", "b"), ("3", "c"), ("1.5", "d")]
        .map(|(key, tool)| (key.to_owned(), tool.to_owned()));
    assert_eq!(mapped(&mapping, "True"), Some("b"));
    assert_eq!(mapped(&mapping, "3.0"), Some("c"));
    assert_eq!(mapped(&mapping, "1.50"), Some("d"));
    assert_eq!(mapped(&mapping, "false"), None);
    assert_eq!(mapped(&mapping, "NaN"), None);
}

#[test]
fn a_return_without_a_match_allows_everything_or_nothing() {
    let open = [conditional(&[("yes", "b")], None, false)];
    assert_eq!(allowed(&open, &["a"]).0, names(&ATTACHED));
    // Nothing would leave the model without a move, so it is everything again.
    let closed = [conditional(&[("yes", "b")], None, true)];
    assert!(!after(&closed, &["a"]).allows("b"));
    assert_eq!(allowed(&closed, &["a"]).0, names(&ATTACHED));
}

#[test]
fn a_call_counts_once() {
    let rules = [at_most("a", 2)];
    assert_eq!(allowed(&rules, &["a"]).0, names(&ATTACHED));
    assert_eq!(allowed(&rules, &["a", "b", "a"]).0, names(&["b", "c", "d"]));
}

#[test]
fn rules_that_forbid_everything_forbid_nothing() {
    assert_eq!(allowed(&[children("a", &["z"])], &["a"]).0, names(&ATTACHED));
}

#[test]
fn calls_are_noted_as_they_happen() {
    let rules = [conditional(&[("yes", "b")], Some("c"), false)];
    let mut solver = Solver::new(&rules, Vec::new(), None);
    solver.called("a", "yes");
    assert_eq!(solver.allowed(&ATTACHED).tools, names(&["b"]));
}

#[test]
fn a_forbidden_call_is_answered_with_the_valid_ones_and_the_rule() {
    let rules = [children("a", &["b", "c"])];
    let solver = after(&rules, &["a"]);
    assert_eq!(solver.check("b", &ATTACHED), Ok(()));
    let error = solver.check("d", &ATTACHED).unwrap_err();
    assert!(
        error.starts_with("[ToolConstraintError] Cannot call d, valid tools include: ['b', 'c']"),
        "{error}"
    );
    assert!(error.contains("Right after a, call b or c."), "{error}");
    let unknown = after(&[], &[]).check("z", &ATTACHED).unwrap_err();
    assert!(unknown.contains("no tool named z"), "{unknown}");
}

#[test]
fn exit_ends_and_continue_goes_on() {
    let rules = [
        rule("a", ToolRuleKind::ExitLoop),
        rule("b", ToolRuleKind::ContinueLoop),
        children("c", &["a"]),
    ];
    let solver = after(&rules, &[]);
    assert!(solver.is_terminal("a") && !solver.continues("a"));
    assert!(!solver.is_terminal("b") && solver.continues("b"));
    assert!(solver.continues("c"));
    assert!(!solver.is_terminal("d") && !solver.continues("d"));
}

#[test]
fn a_turn_waits_for_required_tools_that_are_attached() {
    let required = |tool| rule(tool, ToolRuleKind::RequiredBeforeExit);
    let rules = [required("a"), required("b"), required("z"), required("a")];
    assert_eq!(after(&rules, &["b"]).uncalled_required(&ATTACHED), names(&["a"]));
    assert!(after(&rules, &["a", "b"]).uncalled_required(&ATTACHED).is_empty());
}

#[test]
fn first_arguments_hold_for_the_first_call() {
    let args = Some(JsonText::new(r#"{"x": 1}"#));
    let rules = [rule("a", ToolRuleKind::RunFirst { args })];
    let prefilled = after(&rules, &[]).prefilled("a").unwrap();
    assert_eq!(Value::Object(prefilled), json!({"x": 1}));
    assert_eq!(after(&rules, &[]).prefilled("b"), None);
    assert_eq!(after(&rules, &["b"]).prefilled("a"), None);
}

#[test]
fn child_arguments_hold_right_after_the_parent() {
    for nodes in [r#"[{"name": "b", "args": {"x": 1}}, {"name": "c"}]"#, r#"{"b": {"x": 1}}"#] {
        let kind = ToolRuleKind::ConstrainChildren {
            children: names(&["b", "c"]),
            nodes: Some(JsonText::new(nodes)),
        };
        let rules = [rule("a", kind)];
        let prefilled = after(&rules, &["a"]).prefilled("b").unwrap();
        assert_eq!(Value::Object(prefilled), json!({"x": 1}));
        assert_eq!(after(&rules, &["a"]).prefilled("c"), None);
        assert_eq!(after(&rules, &["b"]).prefilled("b"), None);
    }
}

#[test]
fn prefilled_arguments_override_the_models() {
    let schema = by_name("memory_insert").unwrap().parameters;
    let fixed = |value: Value| value.as_object().unwrap().clone();
    let given = r#"{"label": "human", "new_string": "x"}"#;
    assert_eq!(
        prefill(given, &fixed(json!({"label": "persona", "insert_line": 0})), schema),
        Ok(r#"{"label":"persona","new_string":"x","insert_line":0}"#.to_owned())
    );
    assert_eq!(prefill("nonsense", &fixed(json!({})), schema), Ok("{}".to_owned()));
    assert!(
        prefill(given, &fixed(json!({"colour": "red"})), schema).unwrap_err().contains("colour")
    );
    assert!(prefill(given, &fixed(json!({"label": 3})), schema).unwrap_err().contains("string"));
}

#[test]
fn rules_are_rendered_once_each_and_only_those_a_model_has_to_know() {
    assert_eq!(render(&[]), None);
    assert_eq!(render(&[run_first("a"), rule("a", ToolRuleKind::RequiredBeforeExit)]), None);
    let rules = [
        at_most("a", 1),
        at_most("a", 1),
        conditional(&[("yes", "b")], Some("c"), false),
        rule("d", ToolRuleKind::ExitLoop),
    ];
    let section = render(&rules).unwrap();
    assert!(section.starts_with("<tool_usage_rules>\n"), "{section}");
    assert!(section.ends_with("\n</tool_usage_rules>"), "{section}");
    assert_eq!(section.matches("Call a at most 1 time per turn.").count(), 1, "{section}");
    assert!(
        section.contains("Right after a, call b if it returned 'yes', c otherwise."),
        "{section}"
    );
    assert!(section.contains("After d, your turn ends."), "{section}");
}

#[test]
fn any_rule_keeps_calls_apart() {
    assert!(!disables_parallel(&[]));
    assert!(disables_parallel(&[rule("a", ToolRuleKind::ExitLoop)]));
}

#[test]
fn only_the_older_types_get_base_rules_by_default() {
    assert!(base_rules(AgentType::LettaV1, &base_tools(AgentType::LettaV1)).is_empty());
    let rules = base_rules(AgentType::Memgpt, &base_tools(AgentType::Memgpt));
    assert_eq!(rules[0], rule("send_message", ToolRuleKind::ExitLoop));
    assert!(rules[1..].iter().all(|rule| rule.kind == ToolRuleKind::ContinueLoop));
    assert_eq!(rules.len(), 4);
}

fn any_rule() -> impl Strategy<Value = ToolRule> {
    let tool = || prop::sample::select(vec!["a", "b", "c", "d", "z"]);
    let some = || prop::collection::vec(tool(), 0..3);
    let conditional_rule =
        (prop::option::of(tool()), some(), any::<bool>()).prop_map(|(default, tools, required)| {
            let mapping: Vec<(&str, &str)> = tools.into_iter().map(|tool| ("done", tool)).collect();
            conditional(&mapping, default, required)
        });
    prop_oneof![
        tool().prop_map(run_first),
        (tool(), some()).prop_map(|(tool, some)| children(tool, &some)),
        (tool(), some()).prop_map(|(tool, some)| parent(tool, &some)),
        (tool(), 0_u32..3).prop_map(|(tool, limit)| at_most(tool, limit)),
        conditional_rule,
        tool().prop_map(|tool| rule(tool, ToolRuleKind::RequiredBeforeExit)),
    ]
}

proptest! {
    #[test]
    fn a_model_always_has_a_move_among_the_attached_tools(
        rules in prop::collection::vec(any_rule(), 0..6),
        calls in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 0..5),
    ) {
        let solver = after(&rules, &calls);
        let allowed = solver.allowed(&ATTACHED);
        prop_assert!(!allowed.tools.is_empty());
        for name in ATTACHED {
            let is_allowed = allowed.tools.iter().any(|tool| tool == name);
            prop_assert_eq!(solver.check(name, &ATTACHED).is_ok(), is_allowed);
        }
        prop_assert!(solver.check("z", &ATTACHED).is_err());
    }

    #[test]
    fn a_rule_given_twice_counts_once(
        rules in prop::collection::vec(any_rule(), 0..4),
        calls in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 0..5),
    ) {
        let doubled = [rules.clone(), rules.clone()].concat();
        prop_assert_eq!(allowed(&rules, &calls), allowed(&doubled, &calls));
        prop_assert_eq!(render(&rules), render(&doubled));
    }
}
