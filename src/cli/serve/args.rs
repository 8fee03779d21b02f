//! The options of `serve`, and their conversion to those of the server crate. Each option is also an
//! environment variable and a key of `--config`: see `config_sources`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bigbatch_engine::{EngineOptions, units};
use bigbatch_server::{Guardrail, Options, Origin, Transport, UnknownFieldPolicy, memory};
use clap::{Args, ValueEnum};

use super::runtime::{self, RuntimeAddress};
use crate::cli::options::{
    MODEL, RuntimeOptions, VectorOptions, parse_positive_seconds, parse_seconds,
};

/// The headings of options in `serve --help`.
const REQUESTS: &str = "Limits on requests";
const CONNECTIONS: &str = "Limits on connections";
const SHUTDOWN: &str = "Shutdown";
const LOG: &str = "Log";

/// The end of `serve --help`.
const AFTER_HELP: &str = "\
Examples:
  bigbatch serve
  bigbatch serve --model embedded:jailbreak --model embed=embedded:embed --port 8080
  bigbatch serve --model answerdotai/ModernBERT-base --host 0.0.0.0 --api-key-file keys

Every option can also be set by an environment variable (--drain-delay by BIGBATCH_DRAIN_DELAY; options of
text-embeddings-inference also by its names, such as MODEL_ID or PORT) and by a line in the file of --config
(drain_delay = 5). Flags override the environment, which overrides the file.";

/// Arguments of `serve`.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Serve {
    /// Model to serve, and the name that requests select it by; repeatable, the first is the default
    #[arg(
        long,
        help_heading = MODEL,
        visible_alias = "model-id",
        value_name = "[NAME=]SOURCE",
        default_value = "embedded"
    )]
    pub(super) model: Vec<String>,
    /// Refuse to start unless every model is this one; `recommended.toml` sets it to the model it was measured with
    #[arg(long, help_heading = MODEL, value_name = "NAME[: SHAPE]")]
    pub(super) for_model: Option<String>,
    #[command(flatten)]
    pub(super) runtime: RuntimeOptions,
    #[command(flatten)]
    pub(super) vectors: VectorOptions,
    #[command(flatten)]
    pub(super) listen: Listen,
    #[command(flatten)]
    limits: Limits,
    /// Maximum inputs in flight per model; a request that finds no free slot gets 429, one with more inputs than
    /// slots is fed as they become free
    #[arg(long, help_heading = REQUESTS, value_name = "N", default_value_t = EngineOptions::default().max_concurrent_requests as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(super) max_concurrent_requests: u32,
    /// Tokenizer threads per model [default: all cores, at most 16]
    #[arg(long, help_heading = REQUESTS, alias = "tokenization-workers", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) tokenizer_threads: Option<u16>,
    /// Format of log lines: text, or one JSON object per line
    #[arg(long, help_heading = LOG, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// Log level: error, warn, info, debug, trace, or a filter such as `info,bigbatch_server=debug`
    #[arg(long, help_heading = LOG, value_name = "LEVEL", default_value = "info")]
    pub(super) log_level: String,
    /// Maximum size of the log lines that wait to be written; further lines are dropped and counted in
    /// `bigbatch_log_dropped_total`
    #[arg(long, help_heading = LOG, value_name = "SIZE", default_value = "1MiB", value_parser = units::parse_bytes)]
    pub(super) log_buffer: u64,
    /// Log one line per answered request, at level info; not of health checks and scrapes [default: false]
    #[arg(long, help_heading = LOG, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Options::default().access_log, action = clap::ArgAction::Set, hide_default_value = true)]
    access_log: bool,
    /// TOML file of these options, with `_` for `-` in their names
    #[arg(long, help_heading = "Configuration", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print all options as such a file, each with its source, and exit
    #[arg(long, help_heading = "Configuration")]
    pub(super) print_config: bool,
    /// The output of `--print-config`, set by `config_sources`, which knows the origins.
    #[arg(skip)]
    pub(crate) effective_config: Option<String>,
}

/// The format of log lines.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// The address to listen on, and who may connect.
#[derive(Args)]
#[command(next_help_heading = "Address and access")]
pub(super) struct Listen {
    /// Address to listen on: an IP address or a name, such as localhost; 0.0.0.0 is all of this machine
    #[arg(long, visible_alias = "hostname", value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(super) host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(long, short, value_name = "PORT", default_value_t = 8080)]
    pub(super) port: u16,
    /// Address on which the model runtime of semantic routers listens too: HOST:PORT, such as 127.0.0.1:8100, or
    /// unix:///run/bigbatch.sock
    #[arg(long, value_name = "ADDRESS", value_parser = runtime::parse_address)]
    pub(super) runtime_listen: Option<RuntimeAddress>,
    /// Ask for no API key at --runtime-listen; a Unix socket never asks for one [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set, hide_default_value = true)]
    pub(super) runtime_no_auth: bool,
    /// API key that clients must send as `Authorization: Bearer KEY`; prefer API_KEY or --api-key-file, since
    /// other users of the machine can read command lines
    #[arg(long, value_name = "KEY")]
    pub(super) api_key: Option<String>,
    /// File of API keys, one per line, `#` starts a comment; reloaded at SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(super) api_key_file: Option<PathBuf>,
    /// TLS certificate chain in PEM; reloaded at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// Private key of the TLS certificate in PEM; reloaded at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Origin whose pages may call the server, or `*` for any; repeatable
    #[arg(long, value_name = "ORIGIN")]
    cors_allow_origin: Vec<Origin>,
}

/// Limits on requests and connections. Sizes are bytes or have a unit, such as `2MiB`.
#[derive(Args)]
#[command(next_help_heading = REQUESTS)]
struct Limits {
    /// Maximum inputs per request [default: 32 on text-embeddings-inference's own endpoints, 2048 on all others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_client_batch_size: Option<u32>,
    /// Maximum size of a request body after decompression
    #[arg(long, value_name = "SIZE", default_value_t = Options::default().payload_limit_bytes as u64, value_parser = units::parse_bytes)]
    payload_limit: u64,
    /// Maximum size of a compressed request body before decompression
    #[arg(long, value_name = "SIZE", default_value_t = Options::default().compressed_limit_bytes as u64, value_parser = units::parse_bytes)]
    compressed_limit: u64,
    /// Cut inputs that are too long in requests that do not set `truncate` [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Options::default().auto_truncate, action = clap::ArgAction::Set, hide_default_value = true)]
    auto_truncate: bool,
    /// Refuse inputs that would be read in part, also where a request asks for truncation [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Options::default().require_full_input, action = clap::ArgAction::Set, hide_default_value = true)]
    require_full_input: bool,
    /// Guardrail that gateways may ask, as an inline table of TOML; `[[guardrail]]` in the file of --config; repeatable
    #[arg(long, value_name = "TABLE", value_parser = parse_guardrail)]
    guardrail: Vec<Guardrail>,
    /// Maximum windows (chunks) per request, over all its inputs
    #[arg(long, value_name = "N", default_value_t = Options::default().max_chunks as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_chunks: u32,
    /// Maximum `top_k` of a request
    #[arg(long, value_name = "N", default_value_t = Options::default().max_top_k as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_top_k: u32,
    /// Maximum `dimensions` of a request
    #[arg(long, value_name = "N", default_value_t = Options::default().max_dimensions as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_dimensions: u32,
    /// Maximum growth of a compressed request body, as a multiple of its size as sent; beyond 64 KiB
    #[arg(long, value_name = "N", default_value_t = Options::default().compression_ratio_max as u32, value_parser = clap::value_parser!(u32).range(1..))]
    compression_ratio_limit: u32,
    /// Maximum memory that all requests together may hold: bodies, texts, tokens, answers; beyond it, requests get 429
    /// [default: a quarter of the memory of this machine or control group]
    #[arg(long, value_name = "SIZE", default_value_t = memory::default_budget_bytes() as u64, hide_default_value = true, value_parser = parse_host_memory)]
    host_memory_budget: u64,
    /// Maximum size that the response to a request could have, as numbers and as JSON [default: a quarter of
    /// --host-memory-budget, at most 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    answer_limit: Option<u64>,
    /// Fields of a request that its endpoint does not read: `ignore`, `warn` (each is logged once per route) or
    /// `refuse`
    #[arg(long, value_name = "POLICY", default_value = "warn", value_parser = str::parse::<UnknownFieldPolicy>)]
    unknown_fields: UnknownFieldPolicy,
    /// Maximum log lines per second about refused or abandoned requests, for each reason; 0 for none
    #[arg(long, help_heading = LOG, value_name = "N", default_value_t = Options::default().log_rate)]
    log_rate: u32,
    /// Time limit from a request's body to its response
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().request_timeout.as_secs_f64(), value_parser = parse_positive_seconds)]
    request_timeout: f64,
    /// Time limit from a request's head to the end of its body, and for a client that stops reading its
    /// response
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().body_timeout.as_secs_f64(), value_parser = parse_positive_seconds)]
    body_timeout: f64,
    /// Time limit for a request's head and for the TLS handshake
    #[arg(long, help_heading = CONNECTIONS, value_name = "SECONDS", default_value_t = Transport::default().header_timeout.as_secs_f64(), value_parser = parse_positive_seconds)]
    header_timeout: f64,
    /// Maximum size of a request's head, 8KiB to 16MiB
    #[arg(long, help_heading = CONNECTIONS, value_name = "SIZE", default_value_t = Transport::default().header_limit_bytes as u64, value_parser = parse_header_limit)]
    header_limit: u64,
    /// Close connections that had no request for this long
    #[arg(long, help_heading = CONNECTIONS, value_name = "SECONDS", default_value_t = Transport::default().keep_alive.as_secs_f64(), value_parser = parse_positive_seconds)]
    keep_alive: f64,
    /// Minimum rate per second at which a client has to read its response, after --body-timeout
    #[arg(long, help_heading = CONNECTIONS, value_name = "SIZE", default_value_t = Transport::default().min_response_data_rate, value_parser = units::parse_bytes)]
    min_response_data_rate: u64,
    /// Maximum open connections; for a further one the longest idle one is closed, else it gets 503 [default: 4096,
    /// or fewer if the limit on open files is lower]
    #[arg(long, help_heading = CONNECTIONS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_connections: Option<u32>,
    /// Maximum open connections per client address, or per IPv6 /64 [default: three quarters of --max-connections]
    #[arg(long, help_heading = CONNECTIONS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_connections_per_client: Option<u32>,
    /// Connections beyond both limits that still reach /health, /ready, /ping and /metrics
    #[arg(long, help_heading = CONNECTIONS, value_name = "N", default_value_t = Transport::default().reserved_connections as u32, value_parser = clap::value_parser!(u32).range(..=1 << 16))]
    reserved_connections: u32,
    /// After SIGTERM, keep accepting requests for this long while /ready returns 503
    #[arg(long, help_heading = SHUTDOWN, value_name = "SECONDS", default_value_t = Transport::default().drain_delay.as_secs_f64(), value_parser = parse_seconds)]
    drain_delay: f64,
    /// After that, wait this long for requests in flight before closing their connections [default:
    /// --request-timeout]
    #[arg(long, help_heading = SHUTDOWN, value_name = "SECONDS", value_parser = parse_seconds)]
    drain_timeout: Option<f64>,
}

/// Parses the size of a head. hyper requires a buffer of at least 8 KiB, and every connection may fill its own.
fn parse_header_limit(text: &str) -> Result<u64, String> {
    let bytes = units::parse_bytes(text)?;
    if (8 << 10..=16 << 20).contains(&bytes) {
        return Ok(bytes);
    }
    Err("use a size from 8KiB to 16MiB".into())
}

/// Parses a guardrail: `{name = "names", model = "pii", action = "mask"}`.
fn parse_guardrail(text: &str) -> Result<Guardrail, String> {
    #[derive(serde::Deserialize)]
    struct Parsed {
        guardrail: Guardrail,
    }
    let parsed = toml::from_str::<Parsed>(&format!("guardrail = {text}"));
    parsed.map(|parsed| parsed.guardrail).map_err(|error| error.message().replace('\n', " "))
}

/// Parses the memory of requests. Less would refuse texts of ordinary length.
fn parse_host_memory(text: &str) -> Result<u64, String> {
    let bytes = units::parse_bytes(text)?;
    if bytes < 16 << 20 {
        return Err("use at least 16MiB".into());
    }
    Ok(bytes)
}

impl Listen {
    /// Returns the URL of `/health` for a client on this machine.
    pub(super) fn health_url(&self) -> Result<String, &'static str> {
        if self.port == 0 {
            return Err("--port 0 picks a free port, which only `serve` knows; pass --url");
        }
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        // As in a URL: [::1].
        let bare = self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bare.unwrap_or(&self.host).parse() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".into(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".into(),
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        Ok(format!("{scheme}://{host}:{}/health", self.port))
    }
}

impl Serve {
    /// Converts the limits of requests.
    pub(super) fn options(&self) -> Options {
        let limits = &self.limits;
        Options {
            max_client_batch_size: limits.max_client_batch_size.map(|inputs| inputs as usize),
            payload_limit_bytes: limits.payload_limit as usize,
            compressed_limit_bytes: limits.compressed_limit as usize,
            auto_truncate: limits.auto_truncate,
            require_full_input: limits.require_full_input,
            guardrails: limits.guardrail.clone(),
            max_chunks: limits.max_chunks as usize,
            max_top_k: limits.max_top_k as usize,
            max_dimensions: limits.max_dimensions as usize,
            compression_ratio_max: limits.compression_ratio_limit as usize,
            answer_limit_bytes: limits.answer_limit.map(|bytes| bytes as usize),
            host_memory_budget_bytes: limits.host_memory_budget as usize,
            memory_budget_bytes: Some(self.runtime.memory_budget_bytes()),
            body_timeout: Duration::from_secs_f64(limits.body_timeout),
            request_timeout: Duration::from_secs_f64(limits.request_timeout),
            unknown_fields: limits.unknown_fields,
            access_log: self.access_log,
            log_rate: limits.log_rate,
            cors_allow_origin: self.listen.cors_allow_origin.clone(),
            ..Options::default()
        }
    }

    /// Describes options that contradict each other, one line per pair.
    pub(super) fn conflicts(&self, options: &Options, transport: &Transport) -> Vec<String> {
        let mut found = Vec::new();
        let (drain, request) = (transport.drain_timeout, options.request_timeout);
        if drain < request {
            found.push(format!(
                "--drain-timeout is {} s, but a request may take {} s (--request-timeout) and would be cut off \
                 when the server stops; raise the former or lower the latter",
                drain.as_secs_f64(),
                request.as_secs_f64()
            ));
        }
        found
    }

    /// Returns whether `--max-connections` was given.
    pub(super) fn chose_connections(&self) -> bool {
        self.limits.max_connections.is_some()
    }

    /// Converts the limits of connections and of draining.
    pub(super) fn transport(&self) -> Transport {
        let (limits, defaults) = (&self.limits, Transport::default());
        let per_client = limits.max_connections_per_client;
        Transport {
            max_connections: limits
                .max_connections
                .map_or(defaults.max_connections, |n| n as usize),
            max_connections_per_client: per_client.map(|n| n as usize),
            reserved_connections: limits.reserved_connections as usize,
            min_response_data_rate: limits.min_response_data_rate,
            header_limit_bytes: limits.header_limit as usize,
            header_timeout: Duration::from_secs_f64(limits.header_timeout),
            keep_alive: Duration::from_secs_f64(limits.keep_alive),
            stall_timeout: Duration::from_secs_f64(limits.body_timeout),
            drain_delay: Duration::from_secs_f64(limits.drain_delay),
            drain_timeout: Duration::from_secs_f64(
                limits.drain_timeout.unwrap_or(limits.request_timeout),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use bigbatch_server::{Options, Transport};
    use clap::Parser;

    use super::Serve;
    use crate::cli::{Cli, Command};

    fn serve(args: &[&str]) -> Serve {
        let args = ["bigbatch", "serve"].iter().chain(args);
        match Cli::try_parse_from(args).map(|cli| cli.command) {
            Ok(Command::Serve(serve)) => *serve,
            Ok(_) => panic!("another command"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_server_crate() {
        let args = serve(&[]);
        // The server itself knows no budget of the devices.
        let memory_budget_bytes = Some(args.runtime.memory_budget_bytes());
        assert_eq!(args.options(), Options { memory_budget_bytes, ..Options::default() });
        assert_eq!(args.transport(), Transport::default());
        let set = serve(&["--max-client-batch-size=7"]).options();
        assert_eq!(set.max_client_batch_size, Some(7));
    }

    #[test]
    fn options_that_contradict_each_other_are_reported() {
        let conflicts = |args: &[&str]| {
            let args = serve(args);
            args.conflicts(&args.options(), &args.transport()).join("\n")
        };
        assert_eq!(conflicts(&[]), "", "the defaults contradict nothing");
        assert_eq!(conflicts(&["--request-timeout=300"]), "", "the drain waits as long");
        assert!(conflicts(&["--drain-timeout=119.5"]).contains("--drain-timeout is 119.5 s"));
    }
}
