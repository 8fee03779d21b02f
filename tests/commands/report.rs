//! `report --into` and `--compact`: pages filled with tables, and compact results.

use std::path::{Path, PathBuf};

use bigbatch_validate::report::json;

use crate::support::{RunOutput, Scratch, bigbatch, text};

const PLAN: &str = "name = \"once\"\ntokens = [16]\nconcurrency = [1, 2]\nrepeat_first = false\n\
                    [cell]\nrequests_min = 60\nbatches_min = 0\n";
const PAGE: &str = "# A page\n\nWords before.\n\n<!-- bigbatch cells -->\nold figures\n<!-- /bigbatch -->\n\n\
                    Words after.\n";

fn run(scratch: &Scratch) -> PathBuf {
    let (plan, out) = (scratch.file("plan.toml", PLAN), scratch.path("out"));
    let done = bigbatch(["validate", "--plan", text(&plan), "--out", text(&out)]).run();
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    out
}

fn report(run: &Path, options: &[&str]) -> RunOutput {
    bigbatch([&["report", text(run)], options].concat()).run()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("it is there")
}

#[test]
fn tables_are_replaced_and_prose_is_kept() {
    let scratch = Scratch::new();
    let out = run(&scratch);
    let page = scratch.file("page.md", PAGE);
    let done = report(&out, &["--into", text(&page)]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains(&format!("tables: {}", text(&page))), "{}", done.stdout);
    let filled = read(&page);
    assert!(
        filled.starts_with("# A page\n\nWords before.\n\n<!-- bigbatch cells -->\n"),
        "{filled}"
    );
    assert!(filled.ends_with("<!-- /bigbatch -->\n\nWords after.\n"), "{filled}");
    assert!(filled.contains("| 16 | 2 | 100 % (") && !filled.contains("old figures"), "{filled}");

    // A results file alone fills the same tables and writes no report.
    let alone = scratch.file("alone.json", read(&out.join(json::RESULTS)));
    let again = scratch.file("again.md", PAGE);
    let done = report(&alone, &["--into", text(&again)]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(read(&again), filled);
    assert!(!scratch.path("report.html").exists() && !done.stdout.contains("report:"));

    // A page that cannot be filled leaves the other page as it was.
    let bad = scratch.file("bad.md", "<!-- bigbatch nonsense -->\n<!-- /bigbatch -->\n");
    let kept = scratch.file("kept.md", PAGE);
    let done = report(&out, &["--into", text(&kept), "--into", text(&bad)]);
    assert_eq!(done.code, Some(2), "{}", done.stdout);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    for piece in ["bad.md: line 1", "\"nonsense\"", "there are verdicts, cells"] {
        assert!(done.stderr.contains(piece), "{piece}: {}", done.stderr);
    }
    assert_eq!(read(&kept), PAGE);
    let done = report(&out, &["--into", text(&scratch.path("absent.md"))]);
    assert_eq!(done.code, Some(2), "{}", done.stdout);
    assert!(done.stderr.contains("absent.md"), "{}", done.stderr);
}

#[test]
fn compact_results_are_accepted_by_report_and_compare() {
    let scratch = Scratch::new();
    let out = run(&scratch);
    let small = scratch.path("small.json");
    let done = report(&out, &["--compact", text(&small)]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let whole = out.join(json::RESULTS);
    assert!(read(&small).len() < read(&whole).len(), "{} bytes", read(&small).len());

    let done = bigbatch(["compare", text(&whole), text(&small)]).run();
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    let other = scratch.path("other");
    std::fs::create_dir(&other).expect("writable");
    std::fs::copy(&small, other.join(json::RESULTS)).expect("writable");
    let done = report(&other, &[]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(read(&other.join("report.md")), read(&out.join("report.md")));

    let done = report(&small, &[]);
    assert_eq!(done.code, Some(2), "{}", done.stdout);
    assert!(done.stderr.contains("needs --into or --compact"), "{}", done.stderr);
}
