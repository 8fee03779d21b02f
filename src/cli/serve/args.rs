//! The arguments of `serve`. Each is also an environment variable and a key of `--config`: see `config_sources`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bigbatch_engine::{EngineOptions, units};
use bigbatch_server::{Options, Origin, Transport};
use clap::{Args, ValueEnum};

use crate::cli::options::{RuntimeOptions, seconds, seconds_or_none};

/// Every option can also be set by an environment variable (`--drain-delay` by BIGBATCH_DRAIN_DELAY; those that
/// text-embeddings-inference has by its names too, such as MODEL_ID or PORT) and by a line of the file of
/// `--config` (`drain_delay = 5`). Flags win over the environment, the environment over the file.
#[derive(Args)]
pub(crate) struct Serve {
    /// A model to serve, under a name of its own; may be given several times, the first is the default
    #[arg(
        long,
        visible_alias = "model-id",
        value_name = "[NAME=]SOURCE",
        default_value = "embedded"
    )]
    pub(super) model: Vec<String>,
    #[command(flatten)]
    pub(super) runtime: RuntimeOptions,
    #[command(flatten)]
    pub(super) listen: Listen,
    #[command(flatten)]
    limits: Limits,
    /// Requests of a model admitted at once, waiting or running; one more is refused
    #[arg(long, value_name = "N", default_value_t = EngineOptions::default().max_concurrent_requests as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(super) max_concurrent_requests: u32,
    /// Threads of each model that tokenize [default: all cores, at most 16]
    #[arg(long, alias = "tokenization-workers", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) tokenizer_threads: Option<u16>,
    /// Log lines: text, or one JSON object each
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// error, warn, info, debug or trace; or a filter such as `info,bigbatch_server=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(super) log_level: String,
    /// A TOML file of these options, `-` written `_`
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print all options as such a file, with where each comes from, and end
    #[arg(long)]
    pub(super) print_config: bool,
    /// What `--print-config` prints.
    #[arg(skip)]
    pub(crate) printed: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// Where to listen, and to whom.
#[derive(Args)]
pub(super) struct Listen {
    /// Address to listen on
    #[arg(long, visible_alias = "hostname", value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(super) host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, short, value_name = "PORT", default_value_t = 8080)]
    pub(super) port: u16,
    /// A key that clients must send as `Authorization: Bearer KEY`; better in API_KEY or a file, for command
    /// lines are public
    #[arg(long, value_name = "KEY")]
    pub(super) api_key: Option<String>,
    /// A file of such keys, one a line, `#` begins a comment; read again at SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(super) api_key_file: Option<PathBuf>,
    /// Certificate chain in PEM, for TLS; read again at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The certificate's key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// An origin whose pages may call, or `*`; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    cors_allow_origin: Vec<Origin>,
}

/// What clients may ask for. Sizes in bytes or like `2MiB`, times in seconds.
#[derive(Args)]
struct Limits {
    /// Inputs of one request
    #[arg(long, value_name = "N", default_value_t = Options::default().max_client_batch_size as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_client_batch_size: u32,
    /// Bytes of a body, after decompression
    #[arg(long, value_name = "SIZE", default_value_t = Options::default().payload_limit_bytes as u64, value_parser = units::parse_bytes)]
    payload_limit: u64,
    /// Bytes of a compressed body as it is sent
    #[arg(long, value_name = "SIZE", default_value_t = Options::default().compressed_limit_bytes as u64, value_parser = units::parse_bytes)]
    compressed_limit: u64,
    /// Cut inputs that are too long where a request does not say [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Options::default().auto_truncate, action = clap::ArgAction::Set, hide_default_value = true)]
    auto_truncate: bool,
    /// Chunks that one request's inputs may be cut into
    #[arg(long, value_name = "N", default_value_t = Options::default().max_chunks as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_chunks: u32,
    /// The largest top_k
    #[arg(long, value_name = "N", default_value_t = Options::default().max_top_k as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_top_k: u32,
    /// The largest dimensions
    #[arg(long, value_name = "N", default_value_t = Options::default().max_dimensions as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_dimensions: u32,
    /// Bytes of the numbers of an answer with a row for each token, as f32
    #[arg(long, value_name = "SIZE", default_value_t = Options::default().answer_limit_bytes as u64, value_parser = units::parse_bytes)]
    answer_limit: u64,
    /// From a body to its answer
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().request_timeout.as_secs_f64(), value_parser = seconds)]
    request_timeout: f64,
    /// From a request's head to the end of its body; also for a client that takes none of its answer
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().body_timeout.as_secs_f64(), value_parser = seconds)]
    body_timeout: f64,
    /// For a request's head, and for agreeing on TLS
    #[arg(long, value_name = "SECONDS", default_value_t = Transport::default().header_timeout.as_secs_f64(), value_parser = seconds)]
    header_timeout: f64,
    /// Bytes of a request's head
    #[arg(long, value_name = "SIZE", default_value_t = Transport::default().header_limit_bytes as u64, value_parser = header_limit)]
    header_limit: u64,
    /// How long a connection may stay open without a request
    #[arg(long, value_name = "SECONDS", default_value_t = Transport::default().keep_alive.as_secs_f64(), value_parser = seconds)]
    keep_alive: f64,
    /// Connections at once; one more hears 503
    #[arg(long, value_name = "N", default_value_t = Transport::default().max_connections as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_connections: u32,
    /// After SIGTERM, how long requests are still taken while /ready says 503
    #[arg(long, value_name = "SECONDS", default_value_t = Transport::default().drain_delay.as_secs_f64(), value_parser = seconds_or_none)]
    drain_delay: f64,
    /// After that, how long requests under way may take
    #[arg(long, value_name = "SECONDS", default_value_t = Transport::default().drain_timeout.as_secs_f64(), value_parser = seconds_or_none)]
    drain_timeout: f64,
}

/// Bytes of a head: hyper needs room for a line or two, and every connection may take so much.
fn header_limit(text: &str) -> Result<u64, String> {
    let bytes = units::parse_bytes(text)?;
    if (8 << 10..=16 << 20).contains(&bytes) {
        return Ok(bytes);
    }
    Err("give a size from 8KiB to 16MiB".into())
}

impl Serve {
    /// The application's options.
    pub(super) fn options(&self) -> Options {
        let limits = &self.limits;
        Options {
            max_client_batch_size: limits.max_client_batch_size as usize,
            payload_limit_bytes: limits.payload_limit as usize,
            compressed_limit_bytes: limits.compressed_limit as usize,
            auto_truncate: limits.auto_truncate,
            max_chunks: limits.max_chunks as usize,
            max_top_k: limits.max_top_k as usize,
            max_dimensions: limits.max_dimensions as usize,
            answer_limit_bytes: limits.answer_limit as usize,
            body_timeout: Duration::from_secs_f64(limits.body_timeout),
            request_timeout: Duration::from_secs_f64(limits.request_timeout),
            cors_allow_origin: self.listen.cors_allow_origin.clone(),
            ..Options::default()
        }
    }

    /// Options that stand in each other's way, each in a line.
    pub(super) fn contradictions(&self, options: &Options, transport: &Transport) -> Vec<String> {
        let mut found = Vec::new();
        let (inputs, places) = (options.max_client_batch_size, self.max_concurrent_requests);
        if inputs > places as usize {
            found.push(format!(
                "--max-client-batch-size is {inputs}, but a request of more than {places} inputs \
                 (--max-concurrent-requests) is always refused"
            ));
        }
        let (drain, request) = (transport.drain_timeout, options.request_timeout);
        if drain < request {
            found.push(format!(
                "--drain-timeout is {} s, but a request may take {} s (--request-timeout): one under way \
                 when the server stops may be cut off",
                drain.as_secs_f64(),
                request.as_secs_f64()
            ));
        }
        found
    }

    /// The connections' options.
    pub(super) fn transport(&self) -> Transport {
        let limits = &self.limits;
        Transport {
            max_connections: limits.max_connections as usize,
            header_limit_bytes: limits.header_limit as usize,
            header_timeout: Duration::from_secs_f64(limits.header_timeout),
            keep_alive: Duration::from_secs_f64(limits.keep_alive),
            stall_timeout: Duration::from_secs_f64(limits.body_timeout),
            drain_delay: Duration::from_secs_f64(limits.drain_delay),
            drain_timeout: Duration::from_secs_f64(limits.drain_timeout),
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
    fn what_is_not_given_is_as_the_libraries_have_it() {
        let args = serve(&[]);
        assert_eq!(args.options(), Options::default());
        assert_eq!(args.transport(), Transport::default());
    }

    #[test]
    fn options_that_stand_in_each_others_way_are_told() {
        let told = |args: &[&str]| {
            let args = serve(args);
            args.contradictions(&args.options(), &args.transport()).join("\n")
        };
        assert_eq!(told(&["--drain-timeout=120"]), "");
        let few = told(&["--drain-timeout=120", "--max-concurrent-requests=31"]);
        assert!(few.contains("more than 31 inputs") && few.lines().count() == 1, "{few}");
        assert!(told(&["--drain-timeout=119.5"]).contains("--drain-timeout is 119.5 s"));
    }
}
