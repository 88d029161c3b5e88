//! The rules of the storage format, held over the source text: what serde would accept and postcard cannot read back.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Inside a serde attribute.
const FORBIDDEN_IN_ATTRIBUTES: [&str; 6] =
    ["flatten", "untagged", "skip_serializing_if", "tag =", "tag=", "content ="];

/// Anywhere.
const FORBIDDEN: [&str; 1] = ["serde_json::Value"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What breaks the rules in a source text.
fn offences(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found: Vec<String> =
        FORBIDDEN.iter().filter(|word| code.contains(**word)).map(ToString::to_string).collect();
    for attribute in code.split("#[serde(").skip(1) {
        let attribute = attribute.split(")]").next().unwrap_or_default();
        let offending = FORBIDDEN_IN_ATTRIBUTES.iter().filter(|word| attribute.contains(**word));
        found.extend(offending.map(ToString::to_string));
    }
    found
}

#[test]
fn nothing_stored_needs_a_format_that_describes_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in [root.join("src"), root.join("../snapshots/src")] {
        sources(&folder, &mut files);
    }
    assert!(files.len() > 20);
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file is text");
        assert_eq!(offences(&text), Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn an_offence_is_found_where_it_counts() {
    assert_eq!(offences("#[serde(default, flatten)]\nx: X"), ["flatten"]);
    assert_eq!(offences("#[serde(\n    tag = \"t\"\n)]\nenum E {}"), ["tag ="]);
    assert_eq!(offences("x: serde_json::Value,"), ["serde_json::Value"]);
    assert!(offences("// #[serde(flatten)]\nlist.flatten();\n#[serde(default)]").is_empty());
}
