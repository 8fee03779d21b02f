//! A target behind a URL: text-embeddings-inference, OpenAI's embeddings, vLLM's pooling models.
//!
//! [`HttpTarget::connect`] examines the target before any load: its [dialect](Endpoint), its description
//! of itself, and its answer to one short text. Faults that no load can change (no connection, another
//! API, a missing key) are errors there; everything else, error statuses and broken replies included, is
//! measured. Under load each prompt is one POST on a pooled connection; the reply is checked for its
//! shape, its numbers and its token count, and dropped.
//!
//! It does not judge answers, follow redirects, use proxies or send a request twice. Text from a target
//! is bounded in length, redacted of the user's keys, and untrusted: escape it before printing.
//!
//! `discovery.rs` finds the dialect; `tei.rs`, `openai.rs` and `vllm.rs` each have one; `client.rs`
//! exchanges bytes; `failure.rs` classifies failures.

mod client;
mod dialect;
mod discovery;
mod error;
mod failure;
mod metrics;
mod openai;
mod process;
mod retry_after;
mod secrets;
mod shape;
mod tei;
mod url;
mod vllm;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::{StatusCode, Uri, Version};
use tokio::time::timeout;

pub use client::HttpVersion;
pub use dialect::{Api, Endpoint};
pub use error::TargetError;
pub use secrets::Secrets;

use self::client::{Client, Exchange, ExchangeError};
use self::discovery::{Discovery, PROBE, Prober};
use self::failure::{error_message, exchange_failure, sanitize, status_failure};
pub use self::metrics::MEMORY_METRICS;
use self::metrics::{MetricsPage, Scraper};
use self::process::Process;
use self::url::BaseUrl;
use crate::system::memory::MemorySample;
use crate::system::target::{
    Failure, FailureKind, MemoryFuture, Prompt, Reply, ReplyFuture, Target, TargetInfo, Terms,
};

/// Time limit of the short text's answer. A target that exceeds it is measured all the same.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The address of a target, and the options of its requests.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// `http://HOST[:PORT][/PATH]` or `https://...`; the endpoint's path is appended.
    pub url: String,
    /// The dialect, or [`Api::Auto`] to detect it.
    pub api: Api,
    /// Path of an endpoint of the dialect. Without it, the endpoint for the target's kind of model.
    pub endpoint: Option<String>,
    /// Model named in requests. Without it, the first model that the target lists.
    pub model: Option<String>,
    /// HTTP/1.1 or HTTP/2.
    pub version: HttpVersion,
    /// Headers of the user, sent with every request.
    pub secrets: Secrets,
    /// File with a bearer key.
    pub api_key_file: Option<PathBuf>,
    /// PID of the target, if it runs on this machine.
    pub pid: Option<u32>,
    /// URL of a Prometheus page with the target's memory ([`MEMORY_METRICS`]).
    pub metrics_url: Option<String>,
    /// Interval between readings of that page.
    pub metrics_interval: Duration,
}

impl HttpOptions {
    /// Creates options for a target at `url`; everything else is detected.
    pub fn new(url: impl Into<String>) -> HttpOptions {
        HttpOptions {
            url: url.into(),
            api: Api::Auto,
            endpoint: None,
            model: None,
            version: HttpVersion::Auto,
            secrets: Secrets::default(),
            api_key_file: None,
            pid: None,
            metrics_url: None,
            metrics_interval: Duration::from_millis(250),
        }
    }
}

/// A target behind a URL.
pub struct HttpTarget {
    client: Client,
    uri: Uri,
    endpoint: Endpoint,
    model: Option<String>,
    /// Task of vLLM's `/pooling`.
    task: Option<&'static str>,
    secrets: Secrets,
    info: TargetInfo,
    summary: String,
    process: Option<Process>,
    scraper: Option<Scraper>,
    in_flight: AtomicUsize,
}

/// Counts one request as in flight until it is answered or cancelled.
struct InFlightGuard<'a>(&'a AtomicUsize);

impl InFlightGuard<'_> {
    fn begin(in_flight: &AtomicUsize) -> InFlightGuard<'_> {
        in_flight.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(in_flight)
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HttpTarget {
    /// Detects the target's dialect and sends it one short text. Connections and the reading of metrics
    /// stay on the caller's runtime, so the load must run there too ([`crate::run_async`]).
    ///
    /// # Errors
    /// [`TargetError`] if no load could be measured: malformed options, no connection, a rejected key,
    /// another API.
    pub async fn connect(options: &HttpOptions) -> Result<HttpTarget, TargetError> {
        let url = BaseUrl::parse(&options.url, "target's URL")?;
        let endpoint = options.endpoint.as_deref();
        let endpoint = endpoint.map(|path| Endpoint::find(options.api, path)).transpose()?;
        let mut secrets = options.secrets.clone();
        if let Some(file) = &options.api_key_file {
            secrets.add_key_file(file)?;
        }
        if let Some(credentials) = url.credentials() {
            secrets.add_basic(credentials);
        }
        if let Some(query) = url.query() {
            secrets.hide(query);
        }
        let process = options.pid.map(Process::find).transpose()?;
        let page = options.metrics_url.as_deref();
        let page = page.map(|page| metrics_page(page, &url, &secrets, options)).transpose()?;
        let client = Client::new(options.version, secrets.headers())?;
        let prober = Prober { client: &client, url: &url, secrets: &secrets };
        if options.version == HttpVersion::Http2 {
            prober.check_http2().await?;
        }
        let model = options.model.as_deref();
        let Discovery { endpoint, mut info, model: listed, software } =
            prober.discover(options.api, endpoint, model).await?;
        let model = options.model.clone().or(listed);
        let task = prober.find_task(endpoint, model.as_deref()).await;
        let first = probe(&prober, endpoint, model.as_deref(), task).await?;
        let scraper = match page {
            Some(page) => Some(page.start(options.metrics_interval).await?),
            None => None,
        };

        info.name = url.name();
        if let Some(model) = &options.model {
            info.model.clone_from(model);
        }
        redact_info(&mut info, &secrets);
        let mut detail = |key: &str, value: &str| {
            info.details.insert(key.to_owned(), value.to_owned());
        };
        detail("api", &format!("{}, POST {}", endpoint.api(), endpoint.path()));
        if let Some(task) = task {
            detail("task", task);
        }
        detail("first_request", &first.outcome);
        detail("token_counts", first.token_counts);
        detail("http", first.version);
        let summary = format!(
            "{}: {software}{}; measuring POST {}",
            info.name,
            if info.model.is_empty() { String::new() } else { format!(" with {}", info.model) },
            endpoint.path()
        );
        let uri = url.join(endpoint.path());
        Ok(HttpTarget {
            client,
            uri,
            endpoint,
            model,
            task,
            secrets,
            info,
            summary,
            process,
            scraper,
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Returns one line for people: URL, software, model, and the endpoint that is measured.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Returns why the page of `--metrics-url` does not give the target's memory, in one sentence; `None` if it
    /// does, or if there is none.
    pub fn metrics_fault(&self) -> Option<String> {
        self.scraper.as_ref().and_then(Scraper::fault)
    }

    async fn send_prompt(&self, prompt: &Prompt, terms: Terms) -> Result<Reply, Failure> {
        let _guard = InFlightGuard::begin(&self.in_flight);
        let body = self.endpoint.body(self.model.as_deref(), self.task, prompt.text());
        match self.client.post(self.uri.clone(), body, terms).await {
            Ok(exchange) => interpret(self.endpoint, &exchange, &self.secrets),
            Err(fault) => Err(exchange_failure(&fault, &self.secrets)),
        }
    }
}

impl Target for HttpTarget {
    fn describe(&self) -> TargetInfo {
        self.info.clone()
    }

    fn send<'a>(&'a self, prompt: &'a Prompt, terms: Terms) -> ReplyFuture<'a> {
        Box::pin(self.send_prompt(prompt, terms))
    }

    fn memory_fault(&self) -> Option<String> {
        self.metrics_fault()
    }

    fn memory(&self) -> MemorySample {
        self.merge_readings(self.scraper.as_ref().map(Scraper::latest).unwrap_or_default())
    }

    fn memory_now(&self) -> MemoryFuture<'_> {
        Box::pin(async {
            let scraped = match &self.scraper {
                Some(scraper) => scraper.now().await,
                None => MemorySample::default(),
            };
            self.merge_readings(scraped)
        })
    }
}

impl HttpTarget {
    /// Merges a reading of the metrics page with this machine's reading of the process, which has
    /// precedence.
    fn merge_readings(&self, scraped: MemorySample) -> MemorySample {
        let local = self.process.map(Process::memory).unwrap_or_default();
        MemorySample {
            rss_bytes: local.rss_bytes.or(scraped.rss_bytes),
            device_used_bytes: local.device_used_bytes.or(scraped.device_used_bytes),
            card_used_bytes: local.card_used_bytes.or(scraped.card_used_bytes),
            requests_in_flight: Some(self.in_flight.load(Ordering::Relaxed)),
            ..scraped
        }
    }
}

fn interpret(endpoint: Endpoint, exchange: &Exchange, secrets: &Secrets) -> Result<Reply, Failure> {
    if exchange.status != StatusCode::OK {
        return Err(status_failure(exchange, secrets));
    }
    endpoint
        .read(exchange)
        .map_err(|fault| Failure::new(FailureKind::BadReply, sanitize(&fault, secrets)))
}

/// Prepares reading the metrics page. Keys are sent only if the page has the target's origin.
fn metrics_page(
    page: &str,
    target: &BaseUrl,
    secrets: &Secrets,
    options: &HttpOptions,
) -> Result<MetricsPage, TargetError> {
    let page = BaseUrl::parse(page, "metrics URL")?;
    let mut sent = if page.same_origin(target) { secrets.clone() } else { Secrets::default() };
    if let Some(credentials) = page.credentials() {
        sent.add_basic(credentials);
    }
    let client = Client::new(options.version, sent.headers())?;
    if let Some(query) = page.query() {
        sent.hide(query);
    }
    Ok(MetricsPage { client, uri: page.join(""), name: page.name(), secrets: sent })
}

/// The result of the short text, for the report.
struct ProbeReport {
    outcome: String,
    token_counts: &'static str,
    version: &'static str,
}

/// Sends the short text. An answer that rules out a measurement is an error.
async fn probe(
    prober: &Prober<'_>,
    endpoint: Endpoint,
    model: Option<&str>,
    task: Option<&'static str>,
) -> Result<ProbeReport, TargetError> {
    let body = endpoint.body(model, task, PROBE);
    let asked = prober.client.post(prober.url.join(endpoint.path()), body, Terms::default());
    let unanswered =
        |outcome| ProbeReport { outcome, token_counts: "not known", version: "not known" };
    let exchange = match timeout(PROBE_TIMEOUT, asked).await {
        Ok(Ok(exchange)) => exchange,
        Ok(Err(ExchangeError::Connect(reason) | ExchangeError::Generator(reason))) => {
            return Err(prober.unreachable(&reason));
        }
        Ok(Err(fault)) => return Ok(unanswered(exchange_failure(&fault, prober.secrets).message)),
        Err(_) => {
            return Ok(unanswered(format!("no answer within {} s", PROBE_TIMEOUT.as_secs())));
        }
    };
    let request = format!("POST {}{}", prober.url.name(), endpoint.path());
    if let Some(error) = prober.key_error(&request, &exchange) {
        return Err(error);
    }
    let reason = error_message(&exchange.body);
    if is_wrong_api(exchange.status, &reason) {
        return Err(TargetError::WrongApi {
            request,
            status: exchange.status.as_u16(),
            message: sanitize(&reason, prober.secrets),
        });
    }
    let outcome = interpret(endpoint, &exchange, prober.secrets);
    let counts = match &outcome {
        Ok(Reply { tokens: Some(_), .. }) => "checked against each reply",
        Ok(_) => "not reported by the target",
        Err(_) => "not known",
    };
    let version = match exchange.version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_11 => "HTTP/1.1",
        _ => "HTTP/1.0",
    };
    let outcome = outcome.map_or_else(|failure| failure.message, |_| "answered".into());
    Ok(ProbeReport { outcome, token_counts: counts, version })
}

/// Returns true if a status for the short text means that this endpoint cannot be measured. Statuses that
/// depend on load are not among them.
fn is_wrong_api(status: StatusCode, reason: &str) -> bool {
    match status.as_u16() {
        300..400 | 400 | 404 | 405 | 406 | 410 | 415 | 422 | 501 => true,
        // Text-embeddings-inference, if the model is of the other kind ("is not a classifier").
        424 => reason.contains("is not a"),
        _ => false,
    }
}

fn redact_info(info: &mut TargetInfo, secrets: &Secrets) {
    let fields = [&mut info.version, &mut info.model, &mut info.dtype, &mut info.device];
    for text in fields.into_iter().chain(info.details.values_mut()) {
        if !text.is_empty() {
            *text = sanitize(text, secrets);
        }
    }
}
