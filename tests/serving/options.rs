//! Options of `serve`: files for `--config`, `--print-config`, errors, and several models within one budget.

use crate::process::{Process, status};
use crate::support::{Scratch, bigbatch, text};

/// A `recommended.toml` as `validate` writes it, with every key that it can recommend.
const RECOMMENDED: &str = "# What this run says in favour of these settings is in report.html beside it.\n\n\
    # Bound a batch.\nmax_batch_tokens = 2048\n\n# Budget.\nmemory_budget = \"300MiB\"\n\n\
    # Refuse what is too long.\nauto_truncate = false\n\n# Queue.\nmax_concurrent_requests = 64\n";

#[test]
fn a_recommended_file_is_loaded_and_printed() {
    let scratch = Scratch::new();
    let file = scratch.file("recommended.toml", RECOMMENDED);
    let printed =
        bigbatch(["serve", "--config", text(&file), "--port", "0", "--print-config"]).output();
    for line in
        ["max_batch_tokens = 2048", "memory_budget = \"300MiB\"", "max_concurrent_requests = 64"]
    {
        assert!(printed.contains(line), "{line} in {printed}");
    }
    let again = scratch.file("printed.toml", &printed);
    let second = bigbatch(["serve", "--config", text(&again), "--print-config"]).output();
    let values = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split("  #").next()).map(str::to_owned).collect()
    };
    assert_eq!(values(&printed), values(&second));
    let server = Process::start(&["--config", text(&again)]);
    let page = server.get("/metrics");
    assert!(page.contains("bigbatch_max_batch_tokens{model=\""), "{page}");
    assert!(page.contains("\"} 2048\n"), "{page}");
}

#[test]
fn errors_are_one_line() {
    let scratch = Scratch::new();
    let unknown = scratch.file("unknown.toml", "max_batch_token = 1\n");
    let empty = scratch.file("keys", "\n");
    let cases: [(&[&str], &str); 9] = [
        (&["--config", text(&unknown)], "unknown key `max_batch_token`"),
        (&["--config", "no-such-file"], "cannot read no-such-file"),
        (&["--api-key-file", text(&empty)], "holds no key"),
        (&["--api-key", " "], "the key is empty"),
        (&["--tls-cert", "no-such", "--tls-key", "no-such"], "--tls-cert: no-such"),
        (&["--model", "a=embedded", "--model", "a=embedded"], "two models have the name a"),
        (
            &["--model", "a=embedded", "--model", "b=embedded", "--memory-budget", "1MiB"],
            "several models share",
        ),
        (&["--log-level", "a=b=c"], "--log-level"),
        (&["--log-level", "inof"], "is no level"),
    ];
    for (args, says) in cases {
        let done = bigbatch(["serve", "--port", "0"].iter().chain(args)).run();
        let last = done.stderr.lines().last().unwrap_or_default();
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.stderr);
        assert!(last.starts_with("bigbatch: ") && last.contains(says), "{args:?}: {}", done.stderr);
    }
}

/// A secret that expanded to nothing must not turn authentication off.
#[test]
fn an_empty_key_in_the_environment_is_refused() {
    let done = bigbatch(["serve", "--port", "0"]).env("API_KEY", "").run();
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.starts_with("bigbatch: --api-key or API_KEY: "), "{}", done.stderr);
}

#[test]
fn several_models_share_one_budget() {
    const MIB: u64 = 1 << 20;
    let models = ["--model", "a=embedded:embed", "--model", "b=embedded:embed"];
    let args = [&models[..], &["--memory-budget", "200MiB"]].concat();
    let server = Process::start(&args);
    for (body, expected) in [
        (r#"{"inputs":"hello"}"#, 200),
        (r#"{"inputs":"hello","model":"b"}"#, 200),
        (r#"{"inputs":"hello","model":"c"}"#, 404),
    ] {
        assert_eq!(status(&server.embed(body, "")), expected, "{body}");
    }
    let page = server.get("/metrics");
    let arena = |model: &str| -> u64 {
        let name = format!("bigbatch_arena_capacity_bytes{{model=\"{model}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(name.as_str()));
        line.and_then(|bytes| bytes.parse().ok()).expect("an arena")
    };
    let (a, b) = (arena("a"), arena("b"));
    assert!(a > 0 && b > 0 && a + b <= 200 * MIB, "{a} and {b}");
    assert!(page.contains("bigbatch_inputs_total{model=\"b\"} 1\n"), "{page}");
}
