//! Servers that cannot be measured, and options that do not apply to the target. Values that may contain a key
//! are never repeated.

use crate::Rule;
use crate::mock::{Dialect, MockOptions, MockServer};
use crate::support::{Scratch, bigbatch, text};

const PLAN: &str = "name = \"small\"\ntokens = [16]\nconcurrency = [1]\n";

#[test]
fn servers_that_cannot_be_measured() {
    let scratch = Scratch::new();
    let plan = scratch.file("plan.toml", PLAN);
    let out = scratch.path("out");
    let locked = MockServer::start(MockOptions {
        key: Some("the right one".into()),
        ..MockOptions::new(Dialect::TeiEmbed)
    });
    let tei = MockServer::start(MockOptions::new(Dialect::TeiEmbed));
    let nothing = MockServer::start(MockOptions::new(Dialect::Nothing));
    let mut rule = Rule::default();
    for (url, options, says) in [
        (MockServer::nobody(), &[][..], "cannot reach http://127.0.0.1:"),
        (nothing.url(), &[], "cannot tell which API"),
        (tei.url(), &["--api", "openai"], "/v1/embeddings was answered with 404"),
        (tei.url(), &["--api", "tei", "--endpoint", "/classify"], "/classify is no endpoint"),
        (locked.url(), &[], "refused with 401"),
        (tei.url(), &["--target-pid", "4294967295"], "no process 4294967295"),
        (tei.url(), &["--metrics-url", "metrics"], "the metrics URL cannot be used"),
        ("http://".into(), &[], "the target's URL cannot be used"),
        ("ftp://host".into(), &[], "neither http nor https"),
    ] {
        let args = ["validate", "--plan", text(&plan), "--out", text(&out), "--target", &url];
        let args = [&args[..], &["--tokenizer", "embedded"], options].concat();
        rule.check(&format!("{url} {options:?}"), bigbatch(args), says);
    }
    rule.assert_held();
}

#[test]
fn options_that_do_not_apply_to_the_target() {
    let scratch = Scratch::new();
    let plan = scratch.file("plan.toml", PLAN);
    let out = scratch.path("out");
    let empty = scratch.file("empty", "\n");
    let lines = scratch.file("lines", "sk-hunter2\nsk-hunter3\n");
    let server = MockServer::start(MockOptions::new(Dialect::TeiEmbed));
    let url = server.url();
    let served = ["--target", &url, "--tokenizer", "embedded"];
    let mut rule = Rule::default();
    for (options, says) in [
        (&["--api", "tei"][..], "--api needs a server"),
        (&["--header", "X-Key: hunter2"], "--header needs a server"),
        (&["--tokenizer", "embedded"], "--tokenizer needs a server"),
        (&["--http", "2"], "--http needs a server"),
        (&["--target", "bob:hunter2@elsewhere"], "--target is neither in-process nor a URL"),
        (&["--target", &url], "needs --tokenizer"),
        (
            &[&served[..], &["--device", "auto"]].concat(),
            "--device configures the engine in this process",
        ),
        (&[&served[..], &["--model-id", "embedded"]].concat(), "--model configures the engine"),
        (
            &[&served[..], &["--memory-budget", "1GiB"]].concat(),
            "--memory-budget configures the engine",
        ),
        (
            &[&served[..], &["--max-batch-tokens", "64"]].concat(),
            "--max-batch-tokens configures the engine",
        ),
        (&["--target", &url, "--tokenizer", "absent-directory"], "absent-directory"),
        (&[&served[..], &["--header", "hunter2"]].concat(), "header 1 cannot be sent"),
        (&[&served[..], &["--api-key-file", text(&empty)]].concat(), "it is empty"),
        (&[&served[..], &["--api-key-file", text(&lines)]].concat(), "more than one line"),
        (&[&served[..], &["--api-key-file", text(&out)]].concat(), "API key file"),
    ] {
        let args = ["validate", "--plan", text(&plan), "--out", text(&out)];
        let args = [&args[..], options].concat();
        assert!(!bigbatch(&args).run().stderr.contains("hunter"), "{options:?}");
        rule.check(&format!("{options:?}"), bigbatch(&args), says);
    }
    rule.assert_held();
    assert_eq!(server.posts(), 0, "no request was sent");
}
