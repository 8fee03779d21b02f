//! `sbom`: the software in a release as CycloneDX 1.5, from `cargo tree` and `Cargo.lock`.
//!
//! Lists the crates that are linked into the program for one target: no build scripts, no macros, no tests. What else an
//! archive or image carries, such as C libraries, is named by `--component`. The list is flat and has no time and no
//! serial number, so that the same source has the same file.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use toml::Table;

use crate::command::{cargo, output, root};

/// Arguments of `sbom`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Target that the program is built for
    #[arg(long, default_value = "x86_64-unknown-linux-gnu")]
    target: String,
    /// Further software beside the program, such as deb/debian/libc6@2.36-9+deb12u14 or pypi/nvidia-cublas@13.0.2.14
    #[arg(long, value_name = "TYPE/NAME@VERSION")]
    component: Vec<String>,
}

/// Prints the document.
///
/// # Errors
/// `cargo tree` or `Cargo.lock` cannot be read; a component without a name or version.
pub(crate) fn print(arguments: &Arguments) -> Result<(), String> {
    println!("{:#}", document(&arguments.target, &arguments.component)?);
    Ok(())
}

/// Returns the document of the program for `target`, with further components.
///
/// # Errors
/// As [`print()`].
pub(crate) fn document(target: &str, components: &[String]) -> Result<Value, String> {
    let mut tree = cargo("tree");
    tree.args(["--package", "bigbatch", "--target", target, "--prefix", "none"]);
    tree.args(["--edges", "normal,no-proc-macro", "--format", "{p}\t{l}"]);
    if has_cuda(target) {
        tree.args(["--features", "cuda"]);
    }
    let lock = std::fs::read_to_string(root().join("Cargo.lock"));
    let lock = lock.map_err(|error| format!("cannot read Cargo.lock: {error}"))?;
    render(&output(&mut tree)?, &lock, components)
}

/// Returns whether releases for this target have the CUDA backend.
pub(crate) fn has_cuda(target: &str) -> bool {
    target.contains("linux")
}

/// Renders the document from the output of `cargo tree`, whose first line is the program.
fn render(tree: &str, lock: &str, components: &[String]) -> Result<Value, String> {
    let checksums = checksums(lock)?;
    let mut crates = Vec::new();
    for line in tree.lines() {
        let (package, license) = line.split_once('\t').unwrap_or((line, ""));
        let mut words = package.split(' ');
        let (Some(name), Some(version)) =
            (words.next(), words.next().and_then(|v| v.strip_prefix('v')))
        else {
            return Err(format!("cargo tree printed a line without a version: {line}"));
        };
        let mut found = component("library", &format!("cargo/{name}"), version);
        // A dependency that was printed before ends in (*).
        let license = license.trim_end_matches(" (*)").replace('/', " OR ");
        if !license.is_empty() {
            found["licenses"] = json!([{ "expression": license }]);
        }
        if let Some(checksum) = checksums.get(&(name.to_owned(), version.to_owned())) {
            found["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        crates.push(found);
    }
    if crates.is_empty() {
        return Err("cargo tree printed nothing".into());
    }
    let mut program = crates.remove(0);
    program["type"] = json!("application");
    crates.sort_by_key(|found| found["purl"].to_string());
    crates.dedup();
    for named in components {
        let (name, version) = named
            .split_once('@')
            .filter(|(name, version)| name.contains('/') && !version.is_empty())
            .ok_or_else(|| format!("--component {named}: use TYPE/NAME@VERSION"))?;
        crates.push(component("library", name, version));
    }
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": program },
        "components": crates,
    }))
}

/// Returns a component by the type and name of its package URL.
fn component(kind: &str, typed_name: &str, version: &str) -> Value {
    let escaped = version.replace('+', "%2B").replace(':', "%3A");
    let purl = format!("pkg:{typed_name}@{escaped}");
    let name = typed_name.rsplit('/').next().unwrap_or(typed_name);
    json!({ "type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl })
}

/// Returns the SHA-256 of each crate that comes from a registry.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>, String> {
    let lock: Table = lock.parse().map_err(|error| format!("Cargo.lock: {error}"))?;
    let packages = lock.get("package").and_then(|all| all.as_array());
    let text = |package: &toml::Value, key: &str| {
        package.get(key).and_then(|value| value.as_str()).map(str::to_owned)
    };
    let read = |package: &toml::Value| {
        let key = (text(package, "name")?, text(package, "version")?);
        Some((key, text(package, "checksum")?))
    };
    Ok(packages.into_iter().flatten().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"half\"\nversion = \"2.7.1+x\"\nchecksum = \"00ff\"\n\n\
        [[package]]\nname = \"bigbatch\"\nversion = \"0.1.0\"\n";

    #[test]
    fn each_crate_is_listed_once_with_its_licence_and_checksum() {
        let tree = "bigbatch v0.1.0 (/somewhere)\tApache-2.0\nzip v1.0.0\tMIT\n\
                    half v2.7.1+x\tMIT/Apache-2.0\nhalf v2.7.1+x\tMIT/Apache-2.0 (*)\n";
        let more = ["deb/debian/libc6@2:36+u14".to_owned()];
        let document = render(tree, LOCK, &more).unwrap();
        let program = &document["metadata"]["component"];
        assert_eq!(
            (&program["type"], &program["name"]),
            (&json!("application"), &json!("bigbatch"))
        );
        assert!(!document.to_string().contains("somewhere"));
        let components = document["components"].as_array().unwrap();
        let purls: Vec<_> = components.iter().map(|c| c["purl"].as_str().unwrap()).collect();
        let expected = ["pkg:cargo/half@2.7.1%2Bx", "pkg:cargo/zip@1.0.0"];
        assert_eq!(purls, [&expected[..], &["pkg:deb/debian/libc6@2%3A36%2Bu14"]].concat());
        assert_eq!(components[0]["licenses"], json!([{ "expression": "MIT OR Apache-2.0" }]));
        assert_eq!(components[0]["hashes"], json!([{ "alg": "SHA-256", "content": "00ff" }]));
        assert_eq!(components[2]["name"], "libc6");
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for (tree, component) in [("", "a/b@1"), ("bigbatch\t", "a/b@1"), ("b v1\t", "libc6")] {
            assert!(render(tree, LOCK, &[component.to_owned()]).is_err(), "{tree} {component}");
        }
    }
}
