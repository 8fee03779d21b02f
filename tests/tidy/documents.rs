//! README, ARCHITECTURE and CONTRIBUTING agree with the tree and the history.
//!
//! A path is whatever stands between backticks or in a link and has a slash or a source file's ending, outside
//! code blocks. It counts from the repository's root, and in a section of ARCHITECTURE headed by
//! "Inside `DIR`" from that directory.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::{files, none, root};

const DOCUMENTS: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
/// Files with these endings are named without a slash too.
const ENDINGS: [&str; 7] = [".rs", ".cu", ".py", ".sh", ".md", ".toml", ".json"];
/// Names with an ending or a slash that are no files of this repository.
const ELSEWHERE: [&str; 17] = [
    "config.json",
    "training_config.json",
    "tokenizer.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "report.html",
    "report.md",
    "results.json",
    "recommended.toml",
    "modeling_modernbert.py",
    "answerdotai/ModernBERT-base",
    "OWNER/NAME",
    "OWNER/NAME@REVISION",
    "@huggingface/inference",
    "requests/s",
];
/// The first commit that the rule about subjects applies to.
const SUBJECTS_SINCE: &str = "d971af0";
const SUBJECT_CHARACTERS: usize = 100;

struct Named {
    document: &'static str,
    line: usize,
    /// From the repository's root.
    path: String,
}

/// Every path that a document names.
fn named(document: &'static str) -> Vec<Named> {
    let text = std::fs::read_to_string(root().join(document)).expect("documents are UTF-8");
    let mut named = Vec::new();
    let mut base = String::new();
    let mut code = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        if line.starts_with('#') {
            base.clear();
        }
        let inside = line.strip_prefix("Inside `").and_then(|rest| rest.split('`').next());
        if let Some(inside) = inside {
            base = format!("{}/", inside.trim_end_matches('/'));
        }
        let ticked = line.split('`').skip(1).step_by(2).map(|name| (name, inside.is_none()));
        let linked = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let linked = linked.map(|name| (name.split('#').next().unwrap_or_default(), false));
        for (name, relative) in ticked.chain(linked).filter(|(name, _)| is_path(name)) {
            let path = if relative { format!("{base}{name}") } else { name.to_owned() };
            named.push(Named { document, line: number + 1, path });
        }
    }
    named
}

fn is_path(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
    let ends = ENDINGS.iter().any(|ending| name.ends_with(ending) && name.len() > ending.len());
    begins && name.chars().all(plain) && (name.contains('/') || ends) && !ELSEWHERE.contains(&name)
}

#[test]
fn paths_that_documents_name_exist() {
    let missing = |named: &Named| !root().join(&named.path).exists();
    let all = DOCUMENTS.iter().flat_map(|document| named(document));
    let faults = all.filter(missing).map(|n| format!("{}:{}: {}", n.document, n.line, n.path));
    none("these documents name what is not there", faults.collect());
}

#[test]
fn every_folder_of_sources_is_on_the_map() {
    let map: BTreeSet<String> =
        named("ARCHITECTURE.md").into_iter().map(|n| n.path.trim_end_matches('/').into()).collect();
    let mut folders = BTreeSet::new();
    for path in files() {
        let below_src = |folder: &&Path| folder.iter().any(|part| part == "src");
        let folders_of = path.ancestors().skip(1).take_while(below_src);
        folders.extend(folders_of.map(|folder| folder.to_string_lossy().into_owned()));
    }
    let absent = folders.into_iter().filter(|folder| !map.contains(folder)).collect();
    none("ARCHITECTURE.md's code map lacks these folders", absent);
}

#[test]
fn commit_subjects_fit_a_line() {
    let range = format!("{SUBJECTS_SINCE}..HEAD");
    let log = Command::new("git").args(["log", "--format=%s", &range]).current_dir(root()).output();
    // A shallow clone lacks the first commit, an unpacked archive all of them.
    let Some(log) = log.ok().filter(|log| log.status.success()) else { return };
    let subjects = String::from_utf8(log.stdout).expect("subjects are UTF-8");
    let long = |subject: &&str| subject.chars().count() > SUBJECT_CHARACTERS;
    none("shorten these subjects", subjects.lines().filter(long).map(String::from).collect());
}
