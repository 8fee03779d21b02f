//! Options that clap rejects, and values that this machine or this build does not support.

use crate::Rule;
use crate::support::{RunOutput, bigbatch};

#[test]
fn invalid_command_lines() {
    for args in [
        &[][..],
        &["dance"],
        &["embed", "--frobnicate"],
        &["embed", "--pooling", "max", "x"],
        &["embed", "--dimensions", "-1", "x"],
        &["embed", "--dimensions", "many", "x"],
        &["embed", "--device", "gpu", "x"],
        &["embed", "--device", "cuda:x", "x"],
        &["embed", "--dtype", "f64", "x"],
        &["embed", "--rope", "longrope", "x"],
        &["embed", "--threads", "0", "x"],
        &["embed", "--max-batch-tokens", "0", "x"],
        &["embed", "--max-batch-tokens", "1000000000000000000", "x"],
        &["embed", "--max-batch-tokens", "18446744073709551615", "x"],
        &["embed", "--threads", "18446744073709551615", "x"],
        &["embed", "--memory-budget", "0", "x"],
        &["embed", "--memory-budget", "-1GiB", "x"],
        &["embed", "--memory-budget", "2 gigs", "x"],
        &["embed", "--input", "texts.json", "and a text"],
        &["embed", "--column", "text", "and a text"],
        &["embed", "--input-format", "parquet"],
        &["embed", "--input", "a.csv", "--delimiter", "ab"],
        &["embed", "--input", "a.csv", "--delimiter", "\""],
        &["embed", "--output-format", "text", "x"],
        &["embed", "--json", "--output-format", "csv", "x"],
        &["embed", "--keep-columns=a,,b"],
        &["embed", "--on-error", "retry", "x"],
        &["embed", "--resume", "x"],
        &["embed", "--force", "x"],
        &["embed", "--output", "x.jsonl", "--resume", "--force", "x"],
        &["validate", "--resume", "--force"],
        &["fill-mask", "--top-k", "-5", "x"],
        &["model"],
        &["model", "inspect"],
        &["model", "init"],
        &["model", "init", "--seed", "-1", "dir"],
        &["model", "init", "--labels", "A,B", "dir"],
        &["bench"],
        &["bench", "forward", "--cells", "8"],
        &["bench", "forward", "--cells", "0x16"],
        &["bench", "forward", "--cells", "1x0"],
        &["bench", "forward", "--repeats", "0"],
        &["bench", "attention", "--shares"],
        &["bench", "gemm", "--shares"],
        &["bench", "memory", "--batches", "0"],
        &["bench", "memory", "--requests", "a", "--batches", "5"],
        &["bench", "memory", "--requests", "a", "--longest", "5"],
        &["bench", "memory", "--requests", "a", "--seed", "1"],
        &["bench", "memory", "--device", "cpu", "--requests", "no-such-file"],
        &["bench", "schedule", "--load", "0"],
        &["bench", "schedule", "--costs", "1,2,3"],
        &["bench", "schedule", "--costs", "no-such-file"],
        &["bench", "schedule", "--trace", "no-such-file"],
        &["bench", "schedule", "--trace", "a", "--seed", "1"],
        &["bench", "schedule", "--seconds", "1", "--html", "no-such-folder/page.html"],
        &["validate", "--target", "elsewhere"],
        &["serve", "--header-limit", "8191"],
        &["serve", "--header-limit", "17MiB"],
        &["serve", "--cors-allow-origin", "https://a/"],
        &["serve", "--cors-allow-origin", "https://a, https://b"],
    ] {
        let RunOutput { code, stderr, .. } = bigbatch(args).run();
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(!stderr.is_empty() && !stderr.contains("panicked"), "{args:?}: {stderr}");
    }
}

#[test]
fn element_types_that_the_cpu_does_not_compute_in() {
    let mut rule = Rule::default();
    for dtype in ["bf16", "f16", "int8"] {
        let run = bigbatch(["embed", "--device", "cpu", "--dtype", dtype, "x"]);
        rule.check(dtype, run, "--dtype");
    }
    rule.assert_held();
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_build_without_cuda_names_the_feature() {
    let mut rule = Rule::default();
    for device in ["cuda", "cuda:0", "cuda:7"] {
        for command in ["embed", "classify", "tag", "fill-mask", "doctor"] {
            let mut args = vec![command, "--device", device];
            if command != "doctor" {
                args.push("x");
            }
            rule.check(&args.join(" "), bigbatch(args), "--features cuda");
        }
    }
    rule.assert_held();
}

#[test]
fn the_budget_that_the_error_asks_for_is_enough() {
    let mut rule = Rule::default();
    // Several sizes, because some of them round down when printed with few digits.
    for tokens in ["16", "100", "512", "1111", "4000"] {
        let embed = |budget: &str| {
            bigbatch(["embed", "--max-batch-tokens", tokens, "--memory-budget", budget, "x"])
        };
        rule.check(tokens, embed("64KiB"), "are needed");
        let stderr = embed("64KiB").run().stderr;
        let needed = stderr.split("at least ").nth(1).and_then(|rest| rest.split(" are").next());
        let needed = needed.expect("the message names the amount").to_owned();
        let RunOutput { code, stderr, .. } = embed(&needed).run();
        if code != Some(0) {
            rule.broken.push(format!("{tokens} tokens with the {needed} asked for: {stderr}"));
        }
    }
    rule.assert_held();
}
