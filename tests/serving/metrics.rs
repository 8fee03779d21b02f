//! `/metrics` of `serve` exports the memory figures that `validate --metrics-url` reads.

use bigbatch_validate::system::http::MEMORY_METRICS;

use crate::process::Process;

#[test]
fn memory_metrics_of_the_harness_are_exported() {
    let server = Process::start(&["--model", "a=embedded:embed", "--model", "b=embedded:embed"]);
    let page = server.get("/metrics");
    let values = |metric: &str| -> Vec<u64> {
        let lines = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(metric));
        lines
            .map(|line| line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect(line))
            .collect()
    };
    for metric in MEMORY_METRICS {
        let expected = match metric {
            "bigbatch_device_memory_bytes" | "bigbatch_card_memory_bytes" => 0,
            "process_resident_memory_bytes" => 1,
            _ => 2,
        };
        // Device memory is exported only with a device; a figure that cannot be read is absent, not zero.
        let found = values(metric);
        assert!(expected == 0 || found.len() == expected, "{metric}: {found:?} in {page}");
        assert!(expected == 2 || found.iter().all(|&bytes| bytes > 0), "{metric}: {found:?}");
    }
    assert_eq!(
        values("bigbatch_arena_largest_free_bytes"),
        values("bigbatch_arena_capacity_bytes"),
        "an idle arena is one free block"
    );
}
