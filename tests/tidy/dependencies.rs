//! Every dependency is used: what a manifest names, the sources name too. cargo-machete's rule, without a tool that CI
//! would have to build.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::{File, files, none, root, sources};

/// Tables of a manifest, and the folders of sources whose needs they declare.
const TABLES: [(&str, &[&str]); 3] = [
    ("dependencies", &["src/"]),
    ("dev-dependencies", &["src/", "tests/", "examples/", "benches/"]),
    ("build-dependencies", &["build.rs"]),
];

/// Returns whether a source names this crate: `name::`, `use name;` or `use name as`.
fn names(source: &str, name: &str) -> bool {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    source.lines().filter(code).any(|line| {
        line.match_indices(name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            let named = ["::", ";", " as "].iter().any(|end| after.starts_with(end));
            named && !before.ends_with(is_word)
        })
    })
}

/// Returns the sources below these folders of a package, and those that they include by `#[path]`.
fn sources_below<'a>(all: &'a [File], package: &Path, folders: &[&str]) -> Vec<&'a File> {
    let below = |file: &&File| {
        let inside = Path::new(&file.path).strip_prefix(package).ok().and_then(Path::to_str);
        inside.is_some_and(|inside| folders.iter().any(|folder| inside.starts_with(folder)))
    };
    let mut found: Vec<&File> = all.iter().filter(below).collect();
    let paths = |file: &&File| {
        let attributes = file.text.split("#[path = \"").skip(1);
        let paths = attributes.filter_map(|rest| rest.split('"').next().map(str::to_owned));
        let folder = root().join(&file.path).with_file_name("");
        paths.map(|path| folder.join(path)).collect::<Vec<PathBuf>>()
    };
    let included = found.iter().flat_map(paths).filter_map(|path| path.canonicalize().ok());
    let included: Vec<PathBuf> =
        included.filter_map(|path| path.parent().map(Path::to_path_buf)).collect();
    let is_included = |file: &&File| {
        let path = root().join(&file.path).canonicalize();
        path.is_ok_and(|path| included.iter().any(|folder| path.starts_with(folder)))
    };
    found.extend(all.iter().filter(is_included));
    found
}

#[test]
fn dependencies_are_used() {
    let all = sources();
    let mut unused = Vec::new();
    for path in files().iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = std::fs::read_to_string(root().join(path)).expect("manifests are UTF-8");
        let manifest: Table = text.parse().expect("cargo reads it");
        let targets = manifest.get("target").and_then(Value::as_table);
        let targets: Vec<&Value> = targets.map_or_else(Vec::new, |all| all.values().collect());
        let package = path.parent().expect("it is a file");
        for (name, folders) in TABLES {
            let sources = sources_below(&all, package, folders);
            let tables = targets.iter().filter_map(|target| target.get(name));
            let tables = tables.chain(manifest.get(name)).filter_map(Value::as_table);
            for dependency in tables.flat_map(|table| table.keys()) {
                let crate_name = dependency.replace('-', "_");
                if !sources.iter().any(|file| names(&file.text, &crate_name)) {
                    unused.push(format!("{}: {dependency} in {name}", path.display()));
                }
            }
        }
    }
    none("remove these dependencies, or use them", unused);
}
