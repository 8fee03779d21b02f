//! Rules that no compiler or linter checks: files that a person can read in one sitting, and no debris.
//!
//! After rust-analyzer's test of the same name. All faults of a rule are listed at once. What documents claim is
//! checked in `documents`, what functions promise in `functions`, the manifests in `dependencies`, the CUDA sources in
//! `kernels`.

mod dependencies;
mod documents;
mod functions;
mod kernels;

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A source file beyond this holds more than one idea.
const SOURCE_LINES: usize = 500;
/// Tests are read one at a time, so a file of them may be longer.
const TEST_LINES: usize = 600;
/// Shorter modules explain themselves.
const UNDOCUMENTED_LINES: usize = 60;
/// A clone is downloaded by everyone, for ever.
const FILE_BYTES: u64 = 1_500_000;
/// Tracked files that may be larger, each with the reason.
const LARGE_FILES: [(&str, &str); 5] = [
    (
        "crates/models/rerank/model.safetensors",
        "part of the program: it answers with nothing to download",
    ),
    (
        "crates/models/jailbreak/model.safetensors",
        "part of the program: it answers with nothing to download",
    ),
    (
        "crates/models/intent/model.safetensors",
        "part of the program: it answers with nothing to download",
    ),
    (
        "crates/models/pii/model.safetensors",
        "part of the program: it answers with nothing to download",
    ),
    (
        "crates/models/embed/model.safetensors",
        "part of the program: it answers with nothing to download",
    ),
];
/// The only places for `unsafe` outside a `backend` module, each with the reason.
const UNSAFE_FILES: [(&str, &str); 4] = [
    (
        "crates/allocators/src/cuda.rs",
        "it compares the driver's own ways to allocate, which are raw calls",
    ),
    ("crates/capi/src/border.rs", "pointers that C passes and frees are made into types here"),
    (
        "crates/capi-candle/examples/classify_throughput.rs",
        "it measures what a router's call costs, so it calls the C function",
    ),
    ("crates/engine/src/host.rs", "glibc's call that gives free memory back has no safe wrapper"),
];
/// All of `crates/models` together: what the embedded models may add to a clone and to the program.
const MODEL_BYTES: u64 = 14_000_000;

struct File {
    /// Relative to the repository.
    path: String,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/")
    }

    /// A file about one type may leave it to that type's documentation to say so.
    fn begins_with_a_type(&self) -> bool {
        let lines = self.text.lines().map(str::trim);
        let mut lines = lines.skip_while(|line| line.is_empty() || line.starts_with("use "));
        let documented = lines.next().is_some_and(|line| line.starts_with("///"));
        let mut item = lines.skip_while(|line| line.starts_with("///") || line.starts_with("#["));
        let kinds = ["struct ", "enum ", "trait "];
        let types = |line: &str| kinds.iter().any(|kind| line.contains(kind));
        documented && item.next().is_some_and(types)
    }

    /// Everything before the `#[cfg(test)] mod` at the end; nothing of a file of tests.
    fn program(&self) -> &str {
        if self.is_test() {
            return "";
        }
        self.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
    }

    /// Lines of the program that contain one of the words, outside comments.
    fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let code = |line: &str| !line.trim_start().starts_with("//");
        let found = |line: &str| code(line) && words.iter().any(|word| line.contains(word));
        let lines = self.program().lines().enumerate().filter(|(_, line)| found(line));
        lines.map(|(n, line)| format!("{}:{}: {}", self.path, n + 1, line.trim())).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What git tracks or would; outside a checkout, such as an unpacked archive, there is nothing to say.
fn files() -> Vec<PathBuf> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    match Command::new("git").args(list).current_dir(root()).output() {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).expect("names are UTF-8");
            let paths = names.lines().map(PathBuf::from);
            paths.filter(|path| root().join(path).is_file()).collect()
        }
        _ => {
            // Not `eprintln!`, which a passing test does not show.
            writeln!(stderr(), "skipped: not a git checkout").expect("standard error is open");
            Vec::new()
        }
    }
}

fn sources() -> Vec<File> {
    let read = |path: &PathBuf| File {
        path: path.to_str().expect("names are UTF-8").replace('\\', "/"),
        text: std::fs::read_to_string(root().join(path)).expect("sources are UTF-8"),
    };
    let rust = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files().iter().filter(rust).map(read).collect()
}

fn none(rule: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{rule}:\n  {}\n", faults.join("\n  "));
}

#[test]
fn files_are_short() {
    let too_long = |file: &File| {
        let limit = if file.is_test() { TEST_LINES } else { SOURCE_LINES };
        let lines = file.text.lines().count();
        (lines > limit).then(|| format!("{}: {lines} lines, the limit is {limit}", file.path))
    };
    none("split these by what they do", sources().iter().filter_map(too_long).collect());
}

#[test]
fn files_begin_with_a_header() {
    let silent = |file: &&File| {
        let root = file.path.ends_with("lib.rs") || file.path.ends_with("main.rs");
        let long = file.text.lines().count() >= UNDOCUMENTED_LINES;
        let silent = !file.text.starts_with("//!");
        silent && (root || (long && !file.begins_with_a_type()))
    };
    let silent = sources().iter().filter(silent).map(|file| file.path.clone()).collect();
    none("these begin without a `//!` that says what they are and are not", silent);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!", "unimplemented!", "dbg!("];
    let found = sources().iter().flat_map(|file| file.lines_with(&words)).collect();
    none("finish these", found);
}

#[test]
fn nothing_panics_by_unwrapping() {
    let found = sources().iter().flat_map(|file| file.lines_with(&[".unwrap()"])).collect();
    none("return an error, or say with `expect` why it cannot happen", found);
}

#[test]
fn nothing_panics_by_printing() {
    let program = |file: &&File| {
        file.path.starts_with("src/") || file.path.starts_with("crates/validate/src")
    };
    let all = sources();
    let words = ["println!(", "print!("];
    let found = all.iter().filter(program).flat_map(|file| file.lines_with(&words)).collect();
    none("use `say!` or `note!`: these panic if the reader has gone or the disk is full", found);
}

#[test]
fn unsafe_stays_below_the_backend() {
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    let listed = |file: &File| UNSAFE_FILES.iter().any(|(path, _)| file.path == *path);
    let outside = |file: &&File| !file.path.contains("/backend/") && !listed(file);
    let found = sources().iter().filter(outside).flat_map(|f| f.lines_with(&words)).collect();
    none(
        "move these below a `backend` module, or list the file in UNSAFE_FILES with the reason",
        found,
    );
}

#[test]
fn no_line_ends_in_white_space() {
    let kinds = ["rs", "toml", "md", "py", "cu", "html", "css", "yml", "yaml", "sh"];
    let mut found = Vec::new();
    for path in files() {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !extension.is_some_and(|extension| kinds.contains(&extension)) {
            continue;
        }
        let text = std::fs::read_to_string(root().join(&path)).expect("sources are UTF-8");
        let trailing = |line: &str| line.ends_with([' ', '\t', '\r']);
        let lines = text.split('\n').enumerate().filter(|(_, line)| trailing(line));
        found.extend(lines.map(|(n, _)| format!("{}:{}", path.display(), n + 1)));
        if !text.is_empty() && !text.ends_with('\n') {
            found.push(format!("{}: no line end at the end", path.display()));
        }
    }
    none("white space at line ends", found);
}

#[test]
fn large_files_are_meant() {
    let mut found = Vec::new();
    for path in files() {
        let bytes = std::fs::metadata(root().join(&path)).map_or(0, |meta| meta.len());
        let listed = LARGE_FILES.iter().any(|(name, _)| path == Path::new(name));
        if bytes > FILE_BYTES && !listed {
            found.push(format!("{}: {bytes} bytes", path.display()));
        }
    }
    none("make these smaller, fetch them, or list them in LARGE_FILES with the reason", found);
}

#[test]
fn embedded_models_stay_small() {
    let models = files().into_iter().filter(|path| path.starts_with("crates/models"));
    let bytes = |path: PathBuf| std::fs::metadata(root().join(path)).map_or(0, |meta| meta.len());
    let total: u64 = models.map(bytes).sum();
    assert!(total < MODEL_BYTES, "crates/models has {total} bytes, the limit is {MODEL_BYTES}");
}
