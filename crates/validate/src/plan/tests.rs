//! Tests of reading and checking plans.

use super::*;

const SMALL: &str = "name = \"small\"\ntokens = [128, 256]\nconcurrency = [1, 2]\n";

fn parse_error(extra: &str) -> String {
    Plan::parse(&format!("{SMALL}{extra}"), "p.toml")
        .expect_err("the plan is wrong")
        .to_string()
}

#[test]
fn a_small_plan_gets_the_documented_defaults() {
    let plan = Plan::parse(SMALL, "p.toml").expect("valid");
    assert_eq!(plan, Plan::matrix("small", &[128, 256], &[1, 2]));
    assert_eq!(plan.cell.request_timeout(), Duration::from_secs(120));
    assert_eq!(plan.cells().len(), 4);
    assert_eq!(plan.cells()[1], CellSpec::matrix(128, 2));
}

#[test]
fn errors_are_one_line_that_names_file_line_and_key() {
    let unknown = parse_error("[cell]\nrequests_mim = 5\n");
    assert!(unknown.starts_with("p.toml:5: unknown field `requests_mim`"), "{unknown}");
    let wrong_type = parse_error("seed = \"x\"\n");
    assert!(wrong_type.starts_with("p.toml:4: "), "{wrong_type}");
    let broken = parse_error("[[bar]\n");
    for text in [&unknown, &wrong_type, &broken] {
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn senseless_values_are_refused() {
    let cases = [
        ("[cell]\nrequests_min = 0", "cell.requests_min = 0 is out of range"),
        ("[cell]\nrequest_timeout_seconds = 0", "cell.request_timeout_seconds = 0"),
        ("[cell]\ntime_limit_seconds = nan", "cell.time_limit_seconds = NaN"),
        ("[cell]\nrequests_max = 99", "is below the 100 requests"),
        ("[cell]\ntime_limit_seconds = 120", "cell.request_timeout_seconds = 120 keeps"),
        ("[cell]\nwarmup_requests_per_client = 5", "for 600.5 s of time_limit_seconds = 600"),
        ("[[bar]]\ntokens = 512\nconcurrency = 1\nsuccess_rate_min = 0.5", "does not run"),
        ("[[bar]]\ntokens = 128\nconcurrency = 1", "sets no limit"),
        ("[[bar]]\ntokens = 128\nconcurrency = 1\nsuccess_rate_min = 1.5", "at most 1"),
        ("[[bar]]\ntokens = 128\nconcurrency = 1\nsuccess_rate_min = 1", "share that may fail"),
        (
            "[[bar]]\ntokens = 128\nconcurrency = 1\ntail_ratio_max = 0.5",
            "tail_ratio_max = 0.5",
        ),
        ("[overall]\ntail_ratio_max = 0", "overall.tail_ratio_max = 0 is out"),
        ("[overall]\nfragmentation_max = 5", "overall.fragmentation_max = 5 is out"),
        ("[overall]\ndevice_memory_bytes_max = 0", "give a number of bytes above 0"),
        ("[overall]\nleak = false", "unknown field `leak`"),
    ];
    for (extra, expected) in cases {
        let text = parse_error(extra);
        assert!(text.contains(expected), "{extra}: {text}");
    }
}

#[test]
fn lists_hold_no_zeros_and_no_duplicates() {
    for (tokens, expected) in
        [("[]", "0 entries"), ("[0]", "= 0 is out"), ("[8, 8]", "8 twice")]
    {
        let text = format!("name = \"x\"\ntokens = {tokens}\nconcurrency = [1]\n");
        let error = Plan::parse(&text, "p.toml").expect_err("refused").to_string();
        assert!(error.contains(expected), "{tokens}: {error}");
    }
}

const SCENARIOS: &str = r#"
name = "scenarios"
repeats = 5
[[scenario]]
name = "documents"
lengths = [
{ weight = 3, median = 400, sigma = 0.8, min = 16, max = 8192 },
{ weight = 1, tokens = 1024 },
{ documents = "docs", max = 4096 },
]
load = { kind = "open", rate_per_second = 20, arrival = { gamma = { cv = 3 } } }
[[scenario]]
name = "rising"
tokens = 512
load = { kind = "ramp", from_per_second = 1, to_per_second = 50, seconds = 60 }
[[scenario]]
name = "yesterday"
load = { kind = "replay", file = "trace.csv" }
[[scenario]]
name = "mixed clients"
lengths = [{ tokens = 64 }, { tokens = 512 }]
concurrency = 8
[[bar]]
scenario = "documents"
success_rate_min = 0.99
"#;

#[test]
fn scenarios_are_cells_beside_the_matrix_and_survive_being_written() {
    let plan = Plan::parse(SCENARIOS, "p.toml").expect("valid");
    let cells = plan.cells();
    assert_eq!(cells.len(), 4);
    assert_eq!(plan.cell_of(&plan.bars[0]), Some(cells[0].clone()));
    let rising = Load::Ramp {
        from_per_second: 1.0,
        to_per_second: 50.0,
        seconds: 60.0,
        arrival: Arrival::Poisson,
        latency_seconds_p95_max: None,
        failure_rate_max: 0.01,
    };
    assert_eq!((cells[1].tokens(), &cells[1].load), (Some(512), &rising));
    assert_eq!((&cells[2].lengths, cells[3].concurrency()), (&Lengths::FromTrace, Some(8)));
    assert!(cells.iter().all(|cell| cell.matrix_position().is_none()), "none is of the matrix");
    let json = serde_json::to_string(&plan).expect("a plan is JSON");
    assert_eq!(serde_json::from_str::<Plan>(&json).expect("reads back"), plan);
    for cell in cells {
        let json = serde_json::to_string(&cell).expect("a cell is JSON");
        assert_eq!(serde_json::from_str::<CellSpec>(&json).expect("reads back"), cell);
    }
}

#[test]
fn a_cell_of_the_matrix_is_written_as_its_two_numbers() {
    let json = serde_json::to_string(&CellSpec::matrix(1024, 50)).expect("JSON");
    assert_eq!(json, r#"{"tokens":1024,"concurrency":50}"#);
}

#[test]
fn senseless_scenarios_are_refused_by_name() {
    let open = "load = { kind = \"open\", rate_per_second = 1 }";
    let cases = [
        ("tokens = 8".into(), "one of concurrency"),
        (format!("tokens = 8\nconcurrency = 2\n{open}"), "one of concurrency"),
        (open.into(), "one of tokens"),
        (format!("lengths = []\n{open}"), "0 components"),
        (format!("lengths = [{{ median = 9 }}]\n{open}"), "either tokens, or median"),
        (format!("tokens = 8\n{}", open.replace('1', "0")), "load.rate_per_second = 0"),
        (format!("tokens = 8\n{}", open.replace("rate", "rat")), "unknown field"),
        (
            "tokens = 8\nload = { kind = \"replay\", file = \"x\" }".into(),
            "takes its lengths from its file",
        ),
    ];
    for (keys, expected) in cases {
        let text = parse_error(&format!("[[scenario]]\nname = \"odd\"\n{keys}\n"));
        assert!(text.contains(expected), "{keys}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let bar = parse_error("[[bar]]\nscenario = \"none\"\nsuccess_rate_min = 0.5\n");
    assert!(bar.contains("a scenario that the plan does not have"), "{bar}");
}

#[test]
fn the_plans_of_the_repository_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("plans/").flatten() {
        let plan = Plan::load(&entry.path()).expect("valid");
        assert_eq!(
            entry.path().file_stem().and_then(|stem| stem.to_str()),
            Some(plan.name.as_str())
        );
        seen += 1;
    }
    assert!(seen >= 4, "big-batch, quick, long-context and open-loop");
}
