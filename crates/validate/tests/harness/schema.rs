//! `docs/results-schema.md` names every field that is written.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::reports::report;

const PAGE: &str = include_str!("../../../../docs/results-schema.md");

/// Maps whose keys are data: what is inside them is a name of its own only below.
const KEYED_BY_DATA: [&str; 4] =
    ["details", "distinct_by_tokens", "prepared_by_scenario", "failures"];

fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                if !(KEYED_BY_DATA.contains(&key.as_str()) && value.is_object()) {
                    names(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

/// Words in backquotes, the parts of dotted ones too.
fn documented() -> BTreeSet<&'static str> {
    let quoted = PAGE.split('`').skip(1).step_by(2);
    quoted.flat_map(|words| words.split(['.', ' ', ':'])).collect()
}

#[tokio::test(start_paused = true)]
async fn every_field_has_its_name_on_the_page() {
    let report = report("documented", "none").await;
    let mut found = BTreeSet::new();
    names(&serde_json::to_value(&report.results).expect("JSON"), &mut found);
    names(&serde_json::to_value(&report.requests).expect("JSON"), &mut found);
    assert!(found.len() > 120, "the sample is whole: {}", found.len());
    let documented = documented();
    let absent: Vec<&String> =
        found.iter().filter(|name| !documented.contains(name.as_str())).collect();
    assert_eq!(absent, [""; 0], "say in docs/results-schema.md what these hold");
    let version = format!("Schema version {};", report.results.schema_version);
    assert!(PAGE.contains(&version), "the page is of another version");
}
