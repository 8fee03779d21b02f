//! Plans, corpora and output directories of `validate`, which are checked before any load runs.

use crate::Rule;
use crate::support::{Scratch, bigbatch, text};

const PLAN: &str = "name = \"small\"\ntokens = [16]\nconcurrency = [1]\n";

#[test]
fn invalid_plans() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let bar = "[[bar]]\ntokens = 16\nconcurrency = 1\n";
    let mut rule = Rule::default();
    for (content, says) in [
        (format!("{PLAN}turbo = true\n"), "unknown field `turbo`"),
        (format!("{PLAN}[cell]\nrequests = 5\n"), "unknown field `requests`"),
        (format!("{PLAN}{bar}latency_p95 = 1\n"), "unknown field `latency_p95`"),
        (format!("{PLAN}{bar}"), "sets no limit"),
        (format!("{PLAN}{bar}success_rate_min = 90\n"), "success_rate_min"),
        (PLAN.replace("[1]", "[0]"), "concurrency = 0"),
        (PLAN.replace("[1]", "[]"), "concurrency has 0"),
        (PLAN.replace("[1]", "[-1]"), "plan.toml:3"),
        (PLAN.replace("[16]", "[0]"), "tokens = 0"),
        (PLAN.replace("[16]", "\"16\""), "plan.toml:2"),
        (PLAN.replace("small", ""), "name is empty"),
        ("name = \n".into(), "plan.toml:1"),
        ("{\"name\": \"JSON\"}".into(), "plan.toml:1"),
        (String::new(), "plan.toml:1"),
    ] {
        let plan = scratch.file("plan.toml", &content);
        let run = bigbatch(["validate", "--plan", text(&plan), "--out", text(&out)]);
        rule.check(&content, run, says);
    }
    let absent = scratch.path("absent.toml");
    let run = bigbatch(["validate", "--plan", text(&absent), "--out", text(&out)]);
    rule.check("no plan", run, "absent.toml");
    let plan = scratch.file("plan.toml", b"name = \"\xff\"\n");
    let run = bigbatch(["validate", "--plan", text(&plan), "--out", text(&out)]);
    rule.check("a plan that is not text", run, "plan.toml");
    rule.assert_held();
}

#[test]
fn invalid_files_named_in_a_plan() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    scratch.file("bad.csv", "seconds,tokens\n0,16\n1;16\n");
    scratch.file("back.csv", "5,16\n4,16\n");
    scratch.file("empty.txt", "\n");
    let replay = |file: &str| format!("load = {{ kind = \"replay\", file = \"{file}\" }}");
    let documents =
        |path: &str| format!("concurrency = 1\nlengths = [{{ documents = \"{path}\", max = 64 }}]");
    let mut rule = Rule::default();
    for (keys, says) in [
        (replay("bad.csv"), "bad.csv:3: expected seconds,tokens"),
        (replay("back.csv"), "back.csv:2: the time is before"),
        (replay("absent.csv"), "absent.csv"),
        (documents("absent"), "absent"),
        (documents("empty.txt"), "holds no document"),
        ("concurrency = 1".into(), "give one of tokens"),
        ("tokens = 16".into(), "give one of concurrency"),
    ] {
        let plan = format!("name = \"files\"\n[[scenario]]\nname = \"one\"\n{keys}\n");
        let plan = scratch.file("plan.toml", plan);
        let run = bigbatch(["validate", "--plan", text(&plan), "--out", text(&out)]);
        rule.check(&keys, run, says);
    }
    rule.assert_held();
}

#[test]
fn directories_that_cannot_be_written_or_read() {
    let scratch = Scratch::new();
    let plan = scratch.file("plan.toml", PLAN);
    let file = scratch.file("a-file", "x");
    let below = file.join("report");
    let out = scratch.path("out");
    let absent = scratch.path("absent");
    let empty = scratch.path("empty");
    std::fs::create_dir(&empty).expect("writable");
    let scarce = scratch.path("scarce");
    std::fs::create_dir(&scarce).expect("writable");
    scratch.file("scarce/a.txt", "four words of prose");
    let mut rule = Rule::default();
    for (option, path, says) in [
        ("--out", &file, "a-file"),
        ("--out", &below, "a-file"),
        ("--corpus", &absent, "absent"),
        ("--corpus", &file, "a-file"),
        ("--corpus", &empty, "empty"),
        ("--corpus", &scarce, "scarce"),
    ] {
        let mut args = vec!["validate", "--plan", text(&plan), option, text(path)];
        if option != "--out" {
            args.extend(["--out", text(&out)]);
        }
        rule.check(&format!("{option} {}", path.display()), bigbatch(args), says);
    }
    rule.assert_held();
}
