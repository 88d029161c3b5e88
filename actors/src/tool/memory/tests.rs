//! The rules of memory edits.

use proptest::prelude::*;
use retold_events::JsonText;
use serde_json::json;

use super::*;

fn block(value: &str) -> Block {
    Block {
        value: value.to_owned(),
        limit: 100,
        label: Some("human".to_owned()),
        description: None,
        read_only: false,
        hidden: None,
        metadata: JsonText::empty_object(),
        tags: Vec::new(),
        template_name: None,
        is_template: false,
        project_id: None,
        template_id: None,
        base_template_id: None,
        deployment_id: None,
        entity_id: None,
        preserve_on_migration: None,
    }
}

fn run(tool: MemoryTool, arguments: Value, value: &str) -> Result<String, String> {
    apply(&parse(tool, &arguments.to_string())?, &block(value))
}

fn append(content: &str, value: &str) -> Result<String, String> {
    run(MemoryTool::CoreAppend, json!({"label": "human", "content": content}), value)
}

fn replace(old: &str, new: &str, value: &str) -> Result<String, String> {
    let arguments = json!({"label": "human", "old_string": old, "new_string": new});
    run(MemoryTool::Replace, arguments, value)
}

fn insert_at(line: Value, value: &str) -> Result<String, String> {
    let arguments = json!({"label": "human", "new_string": "new", "insert_line": line});
    run(MemoryTool::Insert, arguments, value)
}

#[test]
fn append_adds_a_line() {
    assert_eq!(append("b", "a"), Ok("a\nb".to_owned()));
}

#[test]
fn core_replace_replaces_every_occurrence() {
    let arguments = json!({"label": "human", "old_content": "tea", "new_content": "coffee"});
    assert_eq!(
        run(MemoryTool::CoreReplace, arguments.clone(), "tea, tea"),
        Ok("coffee, coffee".to_owned())
    );
    let error = run(MemoryTool::CoreReplace, arguments, "milk").unwrap_err();
    assert!(error.contains("'tea'") && error.contains("'human'"), "{error}");
}

#[test]
fn core_replace_refuses_an_empty_text() {
    let arguments = json!({"label": "human", "old_content": "", "new_content": "x"});
    assert!(run(MemoryTool::CoreReplace, arguments, "tea").unwrap_err().contains("old_content"));
}

#[test]
fn insert_counts_lines_from_the_top() {
    assert_eq!(insert_at(json!(0), "a\nb"), Ok("new\na\nb".to_owned()));
    assert_eq!(insert_at(json!(1), "a\nb"), Ok("a\nnew\nb".to_owned()));
    assert_eq!(insert_at(json!(2), "a\nb"), Ok("a\nb\nnew".to_owned()));
    assert_eq!(insert_at(json!(-1), "a\nb"), Ok("a\nb\nnew".to_owned()));
    assert_eq!(insert_at(Value::Null, "a\nb"), Ok("a\nb\nnew".to_owned()));
}

#[test]
fn insert_understands_the_ways_models_write_numbers() {
    assert_eq!(insert_at(json!("1"), "a\nb"), Ok("a\nnew\nb".to_owned()));
    assert_eq!(insert_at(json!(1.0), "a\nb"), Ok("a\nnew\nb".to_owned()));
    for wrong in [json!(1.5), json!("one"), json!(true), json!([1]), json!(1e300)] {
        assert!(insert_at(wrong.clone(), "a").unwrap_err().contains("insert_line"), "{wrong}");
    }
}

#[test]
fn insert_beyond_the_last_line_names_the_range() {
    for line in [3, -2, i64::MAX, i64::MIN] {
        let error = insert_at(json!(line), "a\nb").unwrap_err();
        assert!(error.contains("[0, 2]") && error.contains(&line.to_string()), "{error}");
    }
}

#[test]
fn an_empty_block_has_no_lines() {
    assert_eq!(insert_at(json!(-1), ""), Ok("new".to_owned()));
    assert!(insert_at(json!(1), "").is_err());
}

#[test]
fn replace_wants_exactly_one_occurrence() {
    assert_eq!(replace("b", "x", "abc"), Ok("axc".to_owned()));
    assert_eq!(replace("b\nc", "", "ab\ncd"), Ok("ad".to_owned()));
    let missing = replace("z", "x", "abc").unwrap_err();
    assert!(missing.starts_with("No replacement was performed, "), "{missing}");
    assert!(missing.contains("did not appear verbatim"), "{missing}");
    assert!(replace("", "x", "abc").is_err());
}

#[test]
fn replace_lists_the_lines_of_several_occurrences() {
    let error = replace("a", "x", "a a\nb\na").unwrap_err();
    assert!(error.starts_with("No replacement was performed, "), "{error}");
    assert!(error.contains("[1, 3]"), "{error}");
}

#[test]
fn rethink_replaces_everything_and_may_make_the_block() {
    let arguments = json!({"label": "human", "new_memory": "all new"});
    assert_eq!(run(MemoryTool::Rethink, arguments.clone(), "old"), Ok("all new".to_owned()));
    let edit = parse(MemoryTool::Rethink, &arguments.to_string()).unwrap();
    assert_eq!(edit.label(), "human");
    assert!(edit.creates_block());
}

#[test]
fn only_rethink_with_a_well_formed_label_makes_a_block() {
    let rethink = |label: &str| {
        parse(MemoryTool::Rethink, &json!({"label": label, "new_memory": ""}).to_string()).unwrap()
    };
    assert!(rethink("a/b-C_1").creates_block());
    for label in ["", "two words", "<b>", "gr\u{fc}n"] {
        assert!(!rethink(label).creates_block(), "{label}");
    }
    let append = parse(MemoryTool::CoreAppend, r#"{"label": "x", "content": ""}"#).unwrap();
    assert!(!append.creates_block());
}

#[test]
fn a_read_only_block_is_not_edited() {
    let edit = parse(MemoryTool::Rethink, r#"{"label": "human", "new_memory": "x"}"#).unwrap();
    let block = Block { read_only: true, ..block("a") };
    assert_eq!(
        apply(&edit, &block),
        Err("Error This block is read-only and cannot be edited.".to_owned())
    );
}

#[test]
fn a_value_may_fill_the_limit_and_not_exceed_it() {
    // 100 characters of two bytes each.
    assert!(append(&"\u{fc}".repeat(98), "a").is_ok());
    let error = append(&"\u{fc}".repeat(99), "a").unwrap_err();
    assert!(error.contains("101") && error.contains("100"), "{error}");
}

#[test]
fn line_numbers_and_their_banner_are_refused() {
    for text in ["1→ Name: Ada", "ok\n  12→ b", "3→", LINE_NUMBER_BANNER] {
        assert!(append(text, "a").is_err(), "{text}");
        assert!(replace(text, "x", "a").is_err(), "{text}");
        assert!(replace("a", text, "a").is_err(), "{text}");
    }
    for text in ["2→3", "→ next", "Oslo → Rome", "step 1→ step 2"] {
        assert!(append(text, "a").is_ok(), "{text}");
    }
}

#[test]
fn tabs_become_spaces_up_to_the_next_stop() {
    assert_eq!(append("b\tc", "a"), Ok("a\nb       c".to_owned()));
    assert_eq!(expand_tabs("\t|12345678\t|\n\t|"), "        |12345678       |\n        |");
}

#[test]
fn a_tab_is_found_as_itself_and_as_the_spaces_it_looks_like() {
    assert_eq!(replace("b\tc", "x", "a b\tc"), Ok("a x".to_owned()));
    assert_eq!(replace("a       b", "x", "a\tb"), Ok("x".to_owned()));
    assert_eq!(replace("a\tb", "x", "a       b"), Ok("x".to_owned()));
}

#[test]
fn a_missing_or_wrong_argument_is_named() {
    let error = |arguments| parse(MemoryTool::CoreAppend, arguments).unwrap_err();
    assert!(error("not json").contains("'label'"));
    assert!(error(r#"{"label": "human"}"#).contains("'content'"));
    assert!(error(r#"{"label": "human", "content": 3}"#).contains("must be a string"));
}

#[test]
fn an_unknown_label_is_answered_with_the_known_ones() {
    let error = unknown_label("humans", &["human".to_owned(), "persona".to_owned()]);
    assert!(error.contains("'humans'") && error.contains("human, persona"), "{error}");
    assert!(unknown_label("x", &[]).contains("no memory blocks"));
}

#[test]
fn errors_quote_little_of_a_long_text() {
    assert!(replace(&"z".repeat(100_000), "x", "abc").unwrap_err().len() < 1000);
}

fn any_edit() -> impl Strategy<Value = (MemoryTool, Value)> {
    let text = || "[ab\t\n→1 ]{0,8}";
    (text(), text(), -3_i64..6).prop_flat_map(|(old, new, line)| {
        prop_oneof![
            Just((MemoryTool::CoreAppend, json!({"label": "human", "content": new}))),
            Just((
                MemoryTool::CoreReplace,
                json!({"label": "human", "old_content": old, "new_content": new})
            )),
            Just((
                MemoryTool::Insert,
                json!({"label": "human", "new_string": new, "insert_line": line})
            )),
            Just((
                MemoryTool::Replace,
                json!({"label": "human", "old_string": old, "new_string": new})
            )),
            Just((MemoryTool::Rethink, json!({"label": "human", "new_memory": new}))),
        ]
    })
}

proptest! {
    #[test]
    fn what_an_edit_gives_fits_the_block_and_holds_no_tab(
        (tool, arguments) in any_edit(),
        value in "[ab\t\n]{0,12}",
        limit in 0_u64..40,
    ) {
        if let Ok(edit) = parse(tool, &arguments.to_string()) {
            let block = Block { limit, ..block(&value) };
            match apply(&edit, &block) {
                Ok(new) => {
                    prop_assert!(new.chars().count() as u64 <= limit);
                    prop_assert!(!new.contains('\t'));
                }
                Err(error) => prop_assert!(!error.is_empty()),
            }
        }
    }
}
