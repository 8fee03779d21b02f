//! `doctor` and `bench`. Their figures depend on the machine, so the tests check form and consistency only.

use serde_json::{Value, json};

use crate::support::{Scratch, bigbatch, text};

#[test]
fn doctor_prints_the_limits_that_would_apply() {
    let output = bigbatch(["doctor", "--memory-budget", "64MiB"]).output();
    for piece in ["processor", "memory budget   64 MiB", "arena", "cuda", "longest input"] {
        assert!(output.contains(piece), "{piece} in {output}");
    }
}

#[test]
fn bench_forward_prints_a_row_per_batch() {
    let args = ["bench", "forward", "--cells", "1x16,2x8,1x4096", "--repeats", "1"];
    let output = bigbatch(args.into_iter().chain(["--max-batch-tokens", "64"])).output();
    let row = |cell: &str| {
        let found = output.lines().find(|line| line.trim_start().starts_with(cell));
        found.unwrap_or_else(|| panic!("no row for {cell} in {output}"))
    };
    for cell in ["1x16", "2x8"] {
        let number = |word: &str| word.trim_end_matches('%').parse::<f64>().ok();
        let figures: Vec<f64> = row(cell).split_whitespace().filter_map(number).collect();
        let [median, min, max, tokens_per_second, rate, share] = figures[..] else {
            panic!("six figures per row: {output}");
        };
        assert!(0.0 < min && min <= median && median <= max, "{output}");
        assert!(tokens_per_second > 0.0 && rate > 0.0 && share >= 0.0, "{output}");
    }
    // A batch that the device does not hold is reported, and does not fail the command.
    assert!(row("1x4096").contains("not run"), "{output}");
    assert!(output.contains("ceiling"), "{output}");
}

#[test]
fn bench_memory_replays_the_same_batches_through_every_strategy() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let small = ["--batches", "4", "--longest", "120", "--repeats", "2", "--device", "cpu"];
    let args = ["bench", "memory", "--max-batch-tokens", "256"];
    let all = args.into_iter().chain(small).chain(["--out", text(&out)]);
    let table = bigbatch(all.clone()).output();
    let written = std::fs::read_to_string(out.join("memory.json")).expect("it was written");
    let found: Value = serde_json::from_str(&written).expect("it is JSON");
    assert_eq!(found["traffic"]["batches"], 4);
    let strategies = found["strategies"].as_array().expect("an array");
    for strategy in strategies {
        assert!(table.contains(strategy["name"].as_str().expect("a name")), "{table}");
        assert_eq!(strategy["batches_failed"], 0);
        let timed = strategy["allocator_us"]["median"].is_number();
        assert_eq!(strategy["simulated"], !timed, "either timed or simulated");
    }
    assert_eq!(strategies.len(), 3, "arena, per operation, and the simulated cache");
    let image = std::fs::read_to_string(out.join("memory.svg")).expect("it was written");
    assert!(image.starts_with("<svg xmlns"), "a standalone image");

    let page = std::fs::read_to_string(out.join("memory.html")).expect("it was written");
    assert!(page.contains("<table>") && page.contains("<svg"), "the table and the timeline");

    let again: Value =
        serde_json::from_str(&bigbatch(all.chain(["--json"])).output()).expect("JSON");
    assert_eq!(again["demand"], found["demand"], "the same seed requests the same buffers");
}

#[test]
fn bench_tokenize_times_the_first_pass_and_later_ones() {
    let args = ["bench", "tokenize", "--repeats", "2"];
    let table = bigbatch(args).output();
    for piece in ["encoder: bigbatch", "first", "later", "at once", "M tokens/s"] {
        assert!(table.contains(piece), "{piece} in {table}");
    }
    let scratch = Scratch::new();
    let input = scratch.path("text.txt");
    std::fs::write(&input, "one two").expect("it is written");
    let args = args.into_iter().chain(["--json", "--input", text(&input)]);
    let found: Value = serde_json::from_str(&bigbatch(args).output()).expect("JSON");
    assert_eq!((&found["bytes"], &found["tokens"]), (&json!(7), &json!(2)), "{found}");
    assert!(found["cold_tokens_per_second"].as_f64() > Some(0.0), "{found}");
}
