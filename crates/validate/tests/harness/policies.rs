//! `bench schedule`: the simulated planner beside the simulated rivals, its invariants, and its page.

use bigbatch_engine::CostModel;
use bigbatch_validate::report::policies::{html, text};
use bigbatch_validate::simulation::{
    Arrivals, Pattern, Policy, PolicyFigures, SimulatedDevice, compare, simulate,
};
use bigbatch_validate::workload::Trace;

const LOAD: f64 = 0.8;

/// Runs the planner and the FIFO with a token budget on half a minute of a pattern on a GPU.
fn beside_fifo(pattern: Pattern) -> (PolicyFigures, PolicyFigures) {
    let device = SimulatedDevice::gpu();
    let trace = Arrivals::draw(pattern, &device, LOAD, 30.0, 0).expect("few");
    let run = |policy| simulate(&device, &trace, policy);
    (run(Policy::Planner), run(Policy::FifoBudget))
}

/// Returns the 99th percentile of a class of lengths.
fn p99(figures: &PolicyFigures, class: usize) -> f64 {
    figures.classes[class].p99_ms.expect("the class has requests")
}

#[test]
fn each_request_ends_once_under_each_policy() {
    for device in [SimulatedDevice::gpu(), SimulatedDevice::cpu()] {
        for pattern in Pattern::ALL {
            let trace = Arrivals::draw(pattern, &device, LOAD, 4.0, 1).expect("few");
            for policy in Policy::ALL {
                let figures = simulate(&device, &trace, policy);
                let by_class: usize = figures.classes.iter().map(|class| class.requests).sum();
                assert_eq!(by_class, figures.answered, "{pattern:?} {policy:?}");
                assert_eq!(figures.answered + figures.refused, trace.requests.len());
                assert!((0.0..1.0).contains(&figures.idle_share), "{figures:?}");
                assert!(figures.fairness > 0.0 && figures.fairness <= 1.0 + 1e-9, "{figures:?}");
                // No request is answered sooner than it takes alone.
                assert!(figures.worst_wait_ms >= -1e-6, "{figures:?}");
            }
        }
    }
}

#[test]
fn a_seed_gives_the_same_figures_and_another_one_others() {
    let device = SimulatedDevice::gpu();
    let run = |seed| {
        let trace =
            Arrivals::draw(Pattern::HeavyTailedClients, &device, LOAD, 2.0, seed).expect("few");
        simulate(&device, &trace, Policy::Planner)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn throughput_is_that_of_a_fifo_with_a_token_budget() {
    for pattern in [Pattern::Steady, Pattern::HeavyTailed, Pattern::Flood] {
        let (ours, fifo) = beside_fifo(pattern);
        let ratio = ours.tokens_per_second / fifo.tokens_per_second;
        assert!(ratio >= 0.98, "{pattern:?}: {ratio}");
    }
}

#[test]
fn short_requests_pass_a_giant() {
    let (ours, fifo) = beside_fifo(Pattern::Giant);
    assert!(p99(&ours, 0) <= 0.25 * p99(&fifo, 0), "{ours:?} {fifo:?}");
}

#[test]
fn a_flood_moves_others_less_than_in_order_of_arrival() {
    let (ours, fifo) = beside_fifo(Pattern::Flood);
    let (ours, fifo) = (ours.quiet.p99_ms, fifo.quiet.p99_ms);
    let (ours, fifo) = ours.zip(fifo).expect("quiet clients were answered");
    assert!(ours <= 0.5 * fifo, "{ours} ms, and {fifo} ms");
}

#[test]
fn heavy_tails_leave_short_requests_a_quarter_of_the_wait_of_a_fifo() {
    let (ours, fifo) = beside_fifo(Pattern::HeavyTailed);
    let short = p99(&ours, 0) / p99(&fifo, 0);
    assert!(short <= 0.25, "{short}");
}

#[test]
#[ignore = "the planner misses it (docs/perf-log.md, section 19): short requests that pass take the device from long ones"]
fn heavy_tails_delay_the_longest_requests_by_less_than_a_third() {
    let (ours, fifo) = beside_fifo(Pattern::HeavyTailed);
    let long = p99(&ours, 3) / p99(&fifo, 3);
    assert!(long <= 1.3, "{long}");
}

#[test]
fn a_flood_at_most_doubles_the_tail_of_a_client_that_sends_one_request_per_second() {
    let quiet = |pattern| beside_fifo(pattern).0.quiet.p99_ms.expect("they were answered");
    let (calm, flooded) = (quiet(Pattern::Calm), quiet(Pattern::Flood));
    assert!(flooded <= 2.0 * calm, "{flooded} ms, and {calm} ms before it");
}

#[test]
fn a_trace_that_the_device_cannot_hold_is_refused_in_one_line() {
    let device = SimulatedDevice::cpu();
    let trace = |text: &str| Trace::parse(text, "t.csv").expect("valid");
    let fits = Arrivals::from_trace(&trace("0,16384\n2,10\n"), "t.csv", &device).expect("fits");
    assert_eq!(simulate(&device, &fits, Policy::Planner).answered, 2);
    let error = Arrivals::from_trace(&trace("0,10\n1,16385\n"), "t.csv", &device);
    let error = error.expect_err("too long").to_string();
    assert!(error.starts_with("t.csv: a request has 16385 tokens; "), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn the_page_and_the_tables_have_every_policy_and_trace() {
    let device = SimulatedDevice::gpu();
    let draw = |pattern| Arrivals::draw(pattern, &device, LOAD, 1.0, 0).expect("few");
    let traces = Pattern::ALL.map(draw);
    let found = compare(device, 0, &traces);
    let (page, tables) = (html(&found), text(&found));
    assert_eq!(page.matches("<svg").count(), Pattern::ALL.len());
    for name in Pattern::ALL.map(Pattern::label).iter().chain(&Policy::ALL.map(Policy::label)) {
        assert!(page.contains(name) && tables.contains(name), "{name}");
    }
}

#[test]
fn traces_of_too_many_requests_are_refused() {
    let mut device = SimulatedDevice::gpu();
    device.costs = CostModel { token_seconds: 1e-12, ..CostModel::default() };
    let drawn = Arrivals::draw(Pattern::Steady, &device, LOAD, 60.0, 0);
    assert!(drawn.expect_err("too many").to_string().contains("lower --seconds"));
}
