//! Tests of reading and checking plans.

use proptest::prelude::*;

use super::*;
use crate::system::Priority;

const SMALL: &str = "name = \"small\"\ntokens = [128, 256]\nconcurrency = [1, 2]\n";

fn parse_error(extra: &str) -> String {
    Plan::parse(&format!("{SMALL}{extra}"), "p.toml").expect_err("the plan is wrong").to_string()
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
        ("[[bar]]\ntokens = 128\nconcurrency = 1\ntail_ratio_max = 0.5", "tail_ratio_max = 0.5"),
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
    for (tokens, expected) in [("[]", "0 entries"), ("[0]", "= 0 is out"), ("[8, 8]", "8 twice")] {
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
    assert_eq!(seen, BUILT_IN.len(), "each of them is in the program");
}

const CLASSES: &str = r#"
name = "classes"
[[scenario]]
name = "alone"
tokens = 64
load = { kind = "open", rate_per_second = 5 }
[[scenario]]
name = "beside"
[[scenario.class]]
name = "short"
tokens = 64
load = { kind = "open", rate_per_second = 5 }
priority = "interactive"
timeout_ms = 250
[[scenario.class]]
name = "long"
lengths = [{ tokens = 512 }, { tokens = 1024 }]
concurrency = 2
priority = "batch"
[[bar]]
scenario = "beside"
class = "short"
baseline = "alone"
latency_p99_ratio_max = 2.0
"#;

#[test]
fn classes_are_cells_of_one_group_with_their_terms() {
    let plan = Plan::parse(CLASSES, "p.toml").expect("valid");
    let groups = plan.groups();
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 2]);
    let (short, long) = (&groups[1][0], &groups[1][1]);
    assert_eq!((short.label(), long.concurrency()), ("beside / short".to_owned(), Some(2)));
    assert_eq!(short.deadline(), Some(Duration::from_millis(250)));
    assert_eq!(
        (short.priority, long.priority),
        (Some(Priority::Interactive), Some(Priority::Batch))
    );
    assert_eq!(plan.cell_of(&plan.bars[0]).as_ref(), Some(short));
    assert_eq!(plan.baseline_of(&plan.bars[0]).as_ref(), Some(&groups[0][0]));
    // Of a baseline with several classes, the one of the bar's name counts.
    let bar = Bar { baseline: Some("beside".into()), ..Bar::on_class("alone", "long") };
    assert_eq!(plan.baseline_of(&bar).as_ref(), Some(long));
}

#[test]
fn senseless_classes_are_refused_by_name() {
    let ramp = "load = { kind = \"ramp\", from_per_second = 1, to_per_second = 2, seconds = 5 }";
    let cases = [
        (
            "name = \"long\"",
            "name = \"short\"",
            "scenario \"beside\": class \"short\" appears twice",
        ),
        ("name = \"long\"", "name = \" \"", "class 2 has no name"),
        ("name = \"long\"\n", "", "missing field `name`"),
        ("concurrency = 2", "concurrency = 0", "class \"long\": concurrency = 0 is out of range"),
        ("concurrency = 2", "concurrence = 2", "unknown field `concurrence`"),
        ("concurrency = 2", "", "class \"long\": give one of concurrency"),
        ("concurrency = 2", ramp, "class \"long\" is a ramp or a replay"),
        ("name = \"beside\"", "name = \"beside\"\ntokens = 8", "move tokens, lengths, concurrency"),
        ("timeout_ms = 250", "timeout_ms = 0", "class \"short\": timeout_ms = 0 is out of range"),
        (
            "timeout_ms = 250",
            "timeout_ms = 120001",
            "comes after cell.request_timeout_seconds = 120",
        ),
        ("\"batch\"", "\"bulk\"", "unknown variant `bulk`, expected `interactive` or `batch`"),
        ("class = \"short\"", "class = \"none\"", "give one of \"short\", \"long\""),
        (
            "class = \"short\"\n",
            "",
            "does not name its class; give class, one of \"short\", \"long\"",
        ),
        ("scenario = \"beside\"", "scenario = \"alone\"", "the scenario has none; remove class"),
        ("scenario = \"beside\"", "tokens = 8", "does not name its cell"),
        ("baseline = \"alone\"", "", "needs baseline"),
        ("baseline = \"alone\"", "baseline = \"none\"", "\"none\" is not a scenario of the plan"),
        ("baseline = \"alone\"", "baseline = \"beside\"", "is the bar's own cell"),
        ("latency_p99_ratio_max = 2.0", "success_rate_min = 0.9", "without a limit on a ratio"),
        (
            "latency_p99_ratio_max = 2.0",
            "latency_p99_ratio_max = 0",
            "latency_p99_ratio_max = 0 is out",
        ),
        ("latency_p99_ratio_max = 2.0", "latency_p90_ratio_max = 2", "unknown field `latency_p90"),
    ];
    for (before, after, expected) in cases {
        assert!(CLASSES.contains(before), "{before}");
        let text = CLASSES.replacen(before, after, 1);
        let error = Plan::parse(&text, "p.toml").expect_err(expected).to_string();
        assert!(error.contains(expected), "{after}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let seconds = CLASSES
        .replace("concurrency = 2", "load = { kind = \"open\", rate_per_second = 1, seconds = 9 }");
    let seconds = seconds.replace("rate_per_second = 5 }", "rate_per_second = 5, seconds = 8 }");
    let error = Plan::parse(&seconds, "p.toml").expect_err("two ends").to_string();
    assert!(error.contains("load.seconds = 8 and 9, but one measured phase"), "{error}");
}

fn any_class() -> impl Strategy<Value = Class> {
    let lengths = prop_oneof![
        (1usize..9999).prop_map(Lengths::Fixed),
        (1usize..9999).prop_map(|tokens| {
            let lengths = LengthDist::Fixed(tokens);
            Lengths::Mix(vec![LengthComponent { weight: 2.0, lengths }])
        }),
    ];
    let open = |rate: u32| Load::Open {
        rate_per_second: f64::from(rate),
        arrival: Arrival::Constant,
        seconds: Some(7.0),
    };
    let load = prop_oneof![
        (1usize..99).prop_map(|concurrency| Load::Closed { concurrency }),
        (1u32..99).prop_map(open),
    ];
    let priority =
        prop_oneof![Just(None), Just(Some(Priority::Interactive)), Just(Some(Priority::Batch))];
    let timeout_ms = proptest::option::of(1u64..120_000);
    (lengths, load, priority, timeout_ms).prop_map(|(lengths, load, priority, timeout_ms)| Class {
        name: None,
        lengths,
        load,
        priority,
        timeout_ms,
    })
}

proptest! {
    #[test]
    fn classes_survive_being_written(classes in proptest::collection::vec(any_class(), 1..5), named: bool) {
        let mut plan = Plan::matrix("written", &[], &[]);
        let mut scenario = Scenario { name: "all".into(), classes };
        let several = scenario.classes.len() > 1;
        for (index, class) in scenario.classes.iter_mut().enumerate().filter(|_| named || several) {
            class.name = Some(format!("class {index}"));
        }
        plan.scenarios = vec![scenario];
        let text = toml::to_string(&plan).expect("a plan is TOML");
        prop_assert_eq!(Plan::parse(&text, "p.toml").expect("valid"), plan.clone());
        for cell in plan.cells() {
            let json = serde_json::to_string(&cell).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<CellSpec>(&json).expect("reads back"), cell);
        }
    }
}
