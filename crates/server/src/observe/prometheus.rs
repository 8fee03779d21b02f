//! Renders the counters in Prometheus' text format.
//!
//! Names that begin with `te_` are text-embeddings-inference's and mean what they mean there: `te_request_*`
//! counts requests that make a model compute, `te_embed_*` and `te_predict_*` count inputs (of models that
//! compute vectors, and of all others), durations are in seconds. Names that begin with `bigbatch_` are our
//! own, and those that begin with `process_` are common to Prometheus clients.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bigbatch_engine::host::resident_bytes;
use bigbatch_engine::{ArenaUsage, Priority};

use super::counters::{Counters, Endpoint, ModelCounters, load};
use super::histogram::{Histogram, Snapshot};
use crate::memory::HostMemory;
use crate::models::{ModelKind, Models, ServedModel};

/// Returns the whole page.
pub(crate) fn page(models: &Models, counters: &Counters, host: &HostMemory) -> String {
    let mut page = Page::default();
    requests(counters, &mut page);
    process(counters, &mut page);
    let models: Vec<(&ServedModel, Arc<ModelCounters>)> =
        models.iter().map(|served| (served, counters.model(&served.name))).collect();
    te_inputs(&models, &mut page);
    stages(&models, &mut page);
    batches(&models, &mut page);
    memory(&models, &mut page);
    request_memory(host, &mut page);
    page.text
}

type Hist = fn(&ModelCounters) -> Snapshot;
type Count = fn(&ModelCounters) -> &AtomicU64;
type ModelRows<'a> = [(&'a ServedModel, Arc<ModelCounters>)];

fn labels(endpoint: &Endpoint) -> String {
    format!("method=\"{}\",route={}", endpoint.method, quoted(&endpoint.route))
}

fn requests(counters: &Counters, page: &mut Page) {
    let (mut ok, mut refused, mut latency) = (0, 0, Histogram::seconds().snapshot());
    let routes = counters.routes();
    for (_, route) in routes.iter().filter(|(endpoint, _)| endpoint.computes()) {
        ok += load(&route.ok);
        refused += load(&route.refused) + load(&route.abandoned);
        latency = latency.and(&route.seconds.snapshot());
    }
    page.single("te_request_count", "counter", "Requests that make a model compute.", ok + refused);
    page.single(
        "te_request_success",
        "counter",
        "Requests that make a model compute, answered with a status below 400.",
        ok,
    );
    page.single(
        "te_request_failure",
        "counter",
        "Requests that make a model compute, refused, failed or abandoned by the client.",
        refused,
    );
    page.head(
        "te_request_duration",
        "histogram",
        "Seconds per request answered with a status below 400.",
    );
    page.histogram("te_request_duration", "", &latency);

    page.head("bigbatch_requests_total", "counter", "Requests by method, route and outcome.");
    for (endpoint, route) in &routes {
        let counts =
            [("ok", &route.ok), ("refused", &route.refused), ("abandoned", &route.abandoned)];
        for (outcome, count) in counts {
            let labels = format!("{},outcome=\"{outcome}\"", labels(endpoint));
            page.value("bigbatch_requests_total", &labels, load(count));
        }
    }
    page.head(
        "bigbatch_request_seconds",
        "histogram",
        "Seconds per request answered with a status below 400, by method and route.",
    );
    for (endpoint, route) in &routes {
        let seconds = route.seconds.snapshot();
        page.histogram("bigbatch_request_seconds", &labels(endpoint), &seconds);
    }
    page.head(
        "bigbatch_unknown_fields_total",
        "counter",
        "Fields of requests that their endpoint does not read, by method and route.",
    );
    for (endpoint, route) in routes.iter().filter(|(endpoint, _)| endpoint.computes()) {
        page.value("bigbatch_unknown_fields_total", &labels(endpoint), load(&route.unknown_fields));
    }
    page.head("bigbatch_refusals_total", "counter", "Requests refused, by reason.");
    for (reason, count) in counters.refusals() {
        page.value("bigbatch_refusals_total", &format!("reason=\"{reason}\""), count);
    }
    page.single(
        "bigbatch_requests_in_flight",
        "gauge",
        "Requests received and not yet answered.",
        counters.in_flight(),
    );
    connections(counters, page);
}

fn connections(counters: &Counters, page: &mut Page) {
    page.single("bigbatch_connections", "gauge", "Open connections.", counters.connections.open());
    page.head(
        "bigbatch_connections_cut_total",
        "counter",
        "Connections and streams refused or cut, by cause.",
    );
    for (cause, count) in counters.connections.cuts() {
        page.value("bigbatch_connections_cut_total", &format!("cause=\"{cause}\""), count);
    }
}

fn process(counters: &Counters, page: &mut Page) {
    page.single(
        "bigbatch_log_dropped_total",
        "counter",
        "Log lines dropped because standard error did not take them, or not fast enough.",
        counters.log_dropped(),
    );
    let uptime = counters.started.elapsed().as_secs_f64();
    page.single("bigbatch_uptime_seconds", "gauge", "Seconds since the counters started.", uptime);
}

/// Writes text-embeddings-inference's metrics of inputs and batches, over all models.
fn te_inputs(models: &ModelRows, page: &mut Page) {
    let merged = |pick: Hist, kinds: fn(ModelKind) -> bool| {
        models
            .iter()
            .filter(|(served, _)| kinds(served.kind))
            .map(|(_, stages)| pick(stages))
            .reduce(|all, more| all.and(&more))
            .unwrap_or_else(|| Histogram::seconds().snapshot())
    };
    let all: fn(ModelKind) -> bool = |_| true;
    let predict: fn(ModelKind) -> bool = |kind| !kind.embeds();
    let stage: [(&str, Hist); 4] = [
        ("tokenization_duration", |s| s.tokenize_seconds.snapshot()),
        ("queue_duration", |s| s.queue_seconds.snapshot()),
        ("inference_duration", |s| s.inference_seconds.snapshot()),
        ("duration", |s| s.total_seconds.snapshot()),
    ];
    for (prefix, kinds) in
        [("te_request", all), ("te_embed", ModelKind::embeds), ("te_predict", predict)]
    {
        if prefix != "te_request" {
            let sum = |pick: Count| -> u64 {
                let own = models.iter().filter(|(served, _)| kinds(served.kind));
                own.map(|(_, stages)| load(pick(stages))).sum()
            };
            page.single(
                &format!("{prefix}_count"),
                "counter",
                "Inputs submitted to the engine.",
                sum(|s| &s.inputs),
            );
            page.single(
                &format!("{prefix}_success"),
                "counter",
                "Inputs answered.",
                sum(|s| &s.answered),
            );
        }
        for (name, pick) in
            stage.iter().filter(|(name, _)| (prefix, *name) != ("te_request", "duration"))
        {
            let name = format!("{prefix}_{name}");
            page.head(&name, "histogram", "Seconds per input.");
            page.histogram(&name, "", &merged(*pick, kinds));
        }
    }
    page.head("te_request_input_length", "histogram", "Tokens per input.");
    page.histogram("te_request_input_length", "", &merged(|s| s.length.snapshot(), all));
    page.head("te_batch_next_size", "histogram", "Sequences per batch.");
    page.histogram("te_batch_next_size", "", &merged(|s| s.batch_sequences.snapshot(), all));
    page.head("te_batch_next_tokens", "histogram", "Tokens per batch.");
    page.histogram("te_batch_next_tokens", "", &merged(|s| s.batch_tokens.snapshot(), all));
    let waiting: usize = models.iter().map(|(served, _)| served.engine.in_flight()).sum();
    page.single("te_queue_size", "gauge", "Inputs admitted and not yet answered.", waiting);
}

fn stages(models: &ModelRows, page: &mut Page) {
    let counts: [(&str, &str, Count); 5] = [
        ("bigbatch_inputs_total", "Inputs submitted to the engine.", |s| &s.inputs),
        ("bigbatch_inputs_answered_total", "Inputs answered.", |s| &s.answered),
        (
            "bigbatch_inputs_failed_total",
            "Inputs that failed by their own fault: empty, too long, invalid.",
            |s| &s.failed,
        ),
        ("bigbatch_inputs_truncated_total", "Inputs truncated.", |s| &s.truncated),
        ("bigbatch_tokens_total", "Tokens of the inputs answered.", |s| &s.tokens),
    ];
    for (name, help, pick) in counts {
        page.head(name, "counter", help);
        for (served, stages) in models {
            page.value(name, &model(served), load(pick(stages)));
        }
    }
    page.head("bigbatch_stage_seconds", "histogram", "Seconds per input and stage.");
    for (served, stages) in models {
        let all = [
            ("tokenize", stages.tokenize_seconds.snapshot()),
            ("queue", stages.queue_seconds.snapshot()),
            ("inference", stages.inference_seconds.snapshot()),
            ("total", stages.total_seconds.snapshot()),
        ];
        for (stage, seconds) in all {
            let labels = format!("{},stage=\"{stage}\"", model(served));
            page.histogram("bigbatch_stage_seconds", &labels, &seconds);
        }
    }
    lengths(models, page);
    page.head("bigbatch_queue_size", "gauge", "Inputs admitted and not yet answered.");
    for (served, _) in models {
        page.value("bigbatch_queue_size", &model(served), served.engine.in_flight());
    }
    page.head(
        "bigbatch_waiting",
        "gauge",
        "Inputs that wait for a tokenizer or the device, by priority; batch inputs that have waited long are interactive.",
    );
    for (served, _) in models {
        for (name, priority) in [("interactive", Priority::Interactive), ("batch", Priority::Batch)]
        {
            let labels = format!("{},priority=\"{name}\"", model(served));
            page.value("bigbatch_waiting", &labels, served.engine.waiting(priority));
        }
    }
    page.head(
        "bigbatch_predicted_wait_seconds",
        "gauge",
        "Predicted seconds until the admitted inputs are answered; absent while the speed is not known.",
    );
    for (served, _) in models {
        if let Some(wait) = served.engine.predict_wait() {
            page.value("bigbatch_predicted_wait_seconds", &model(served), wait.as_secs_f64());
        }
    }
    costs(models, page);
}

/// Writes the latency of inputs by their length.
fn lengths(models: &ModelRows, page: &mut Page) {
    page.head(
        "bigbatch_input_seconds",
        "histogram",
        "Seconds per input from submission to response, by the upper end of its class of lengths in tokens.",
    );
    for (served, stages) in models {
        for (end, seconds) in stages.total_seconds.classes() {
            let end = end.map_or("+Inf".into(), |end| end.to_string());
            let labels = format!("{},tokens_max=\"{end}\"", model(served));
            page.histogram("bigbatch_input_seconds", &labels, &seconds);
        }
    }
}

/// Writes the model that waits and batches are predicted by, and how wrong it was.
fn costs(models: &ModelRows, page: &mut Page) {
    page.head(
        "bigbatch_cost_seconds",
        "gauge",
        "Predicted device seconds per batch, token, squared token of a sequence's length, and sequence.",
    );
    for (served, _) in models {
        let costs = served.engine.cost_model();
        for (term, seconds) in [
            ("batch", costs.batch_seconds),
            ("token", costs.token_seconds),
            ("square", costs.square_seconds),
            ("sequence", costs.sequence_seconds),
        ] {
            let labels = format!("{},term=\"{term}\"", model(served));
            page.value("bigbatch_cost_seconds", &labels, seconds);
        }
    }
    page.head(
        "bigbatch_cost_error_ratio",
        "gauge",
        "Median relative error of the predicted times of the latest 256 batches.",
    );
    for (served, _) in models {
        if let Some(error) = served.engine.cost_error_ratio() {
            page.value("bigbatch_cost_error_ratio", &model(served), error);
        }
    }
}

fn batches(models: &ModelRows, page: &mut Page) {
    let histograms: [(&str, &str, Hist); 3] = [
        ("bigbatch_batch_sequences", "Sequences per batch.", |s| s.batch_sequences.snapshot()),
        ("bigbatch_batch_tokens", "Tokens per batch.", |s| s.batch_tokens.snapshot()),
        ("bigbatch_batch_seconds", "Seconds on the device per batch.", |s| {
            s.batch_seconds.snapshot()
        }),
    ];
    for (name, help, pick) in histograms {
        page.head(name, "histogram", help);
        for (served, stages) in models {
            page.histogram(name, &model(served), &pick(stages));
        }
    }
    page.head(
        "bigbatch_device_seconds_total",
        "counter",
        "Seconds that batches occupied the device.",
    );
    for (served, stages) in models {
        let seconds = stages.batch_seconds.snapshot().sum();
        page.value("bigbatch_device_seconds_total", &model(served), seconds);
    }
    page.head(
        "bigbatch_batches_failed_total",
        "counter",
        "Batches that failed, and with them their requests.",
    );
    for (served, stages) in models {
        page.value("bigbatch_batches_failed_total", &model(served), load(&stages.batches_failed));
    }
}

/// An arena at one moment, so that its used and free bytes add up.
struct ArenaReading {
    usage: ArenaUsage,
    used_bytes: u64,
}

impl ArenaReading {
    fn of(served: &ServedModel) -> ArenaReading {
        let usage = served.engine.arena();
        ArenaReading { usage, used_bytes: usage.used_bytes(served.engine.batches_in_flight()) }
    }
}

fn memory(models: &ModelRows, page: &mut Page) {
    type Gauge = fn(&ServedModel, &ArenaReading) -> u64;
    let gauges: [(&str, &str, Gauge); 7] = [
        ("bigbatch_arena_capacity_bytes", "Bytes reserved for activations.", |_, arena| {
            arena.usage.capacity_bytes
        }),
        (
            "bigbatch_arena_planned_bytes",
            "Bytes that the largest allowed batch uses.",
            |_, arena| arena.usage.planned_bytes,
        ),
        ("bigbatch_arena_used_bytes", "Bytes used by the batches on the device.", |_, arena| {
            arena.used_bytes
        }),
        ("bigbatch_arena_largest_free_bytes", "Bytes of the largest free block.", |_, arena| {
            arena.usage.capacity_bytes.saturating_sub(arena.used_bytes)
        }),
        (
            "bigbatch_arena_high_water_bytes",
            "Bytes used by the largest batch so far.",
            |_, arena| arena.usage.high_water_bytes,
        ),
        ("bigbatch_max_batch_tokens", "Maximum tokens per batch.", |s, _| {
            s.engine.limits().max_batch_tokens as u64
        }),
        ("bigbatch_max_input_tokens", "Maximum tokens per input.", |s, _| {
            s.engine.max_tokens() as u64
        }),
    ];
    let arenas: Vec<ArenaReading> =
        models.iter().map(|(served, _)| ArenaReading::of(served)).collect();
    for (name, help, read) in gauges {
        page.head(name, "gauge", help);
        for ((served, _), arena) in models.iter().zip(&arenas) {
            page.value(name, &model(served), read(served, arena));
        }
    }
    page.head("bigbatch_model_info", "gauge", "1 per model, with its kind and device as labels.");
    for (served, _) in models {
        let device = quoted(&served.engine.device().name);
        let labels = format!("{},kind=\"{}\",device={device}", model(served), served.kind.name());
        page.value("bigbatch_model_info", &labels, 1);
    }
    // All engines of the process share one device, so the first can report it.
    let device = models.first().and_then(|(served, _)| served.engine.device_memory());
    let device = device.unwrap_or_default();
    // A value that cannot be read is left out: zero would be a reading.
    for (name, help, bytes) in [
        (
            "bigbatch_device_memory_bytes",
            "Device memory of this process in bytes.",
            device.process_bytes,
        ),
        (
            "bigbatch_card_memory_bytes",
            "Device memory of all processes in bytes.",
            device.card_bytes,
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory of this process in bytes.",
            resident_bytes(),
        ),
    ] {
        if let Some(bytes) = bytes {
            page.single(name, "gauge", help, bytes);
        }
    }
}

/// Writes what requests hold of the budget of the host's memory.
fn request_memory(host: &HostMemory, page: &mut Page) {
    for (name, help, bytes) in [
        (
            "bigbatch_request_memory_bytes",
            "Host memory that requests may hold at this moment, in bytes.",
            host.taken_bytes(),
        ),
        (
            "bigbatch_request_memory_limit_bytes",
            "Host memory that requests may hold at most, in bytes (--host-memory-budget).",
            host.budget_bytes(),
        ),
    ] {
        page.single(name, "gauge", help, bytes as u64);
    }
}

fn model(served: &ServedModel) -> String {
    format!("model={}", quoted(&served.name))
}

/// Quotes the value of a label.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// The page so far. Writing to a `String` cannot fail.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.text, "{name} {value}")
        } else {
            writeln!(self.text, "{name}{{{labels}}} {value}")
        };
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.value(name, "", value);
    }

    fn histogram(&mut self, name: &str, labels: &str, snapshot: &Snapshot) {
        let comma = if labels.is_empty() { "" } else { "," };
        let bucket = format!("{name}_bucket");
        for (bound, count) in snapshot.cumulative() {
            self.value(&bucket, &format!("{labels}{comma}le=\"{bound}\""), count);
        }
        let count = snapshot.count();
        self.value(&bucket, &format!("{labels}{comma}le=\"+Inf\""), count);
        self.value(&format!("{name}_sum"), labels, snapshot.sum());
        self.value(&format!("{name}_count"), labels, count);
    }
}
