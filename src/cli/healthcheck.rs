//! `healthcheck`: asks a server whether it is healthy, for containers and supervisors that have no HTTP client.
//!
//! Without `--url` it asks where `serve` would listen with the same environment, so that an image needs no second
//! place for the port. It is not a test of a remote deployment: certificates are not verified, proxies not used.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ureq::Agent;
use ureq::tls::TlsConfig;

use super::options::parse_positive_seconds;
use super::{CommandResult, note, say, serve};

/// Longest part of a refusal that is printed, in bytes.
const REASON_BYTES: u64 = 300;

/// Arguments of `healthcheck`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  bigbatch healthcheck
  bigbatch healthcheck --url http://127.0.0.1:9000/ready --timeout 2

The exit code is 0 if the answer is 2xx, and 1 if it is another or none. The certificate of an https URL is not
verified, because it rarely names the loopback address; nothing secret is sent.")]
pub(crate) struct Healthcheck {
    /// URL to request [default: /health where `serve` listens with this environment, http://127.0.0.1:8080/health]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Time limit from the start of the connection to the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = parse_positive_seconds)]
    timeout: f64,
}

pub(crate) fn healthcheck(args: Healthcheck) -> CommandResult {
    let url = match args.url {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => url,
        Some(_) => return Err("--url is not a URL; use http://HOST:PORT/health".into()),
        None => serve::health_url()?,
    };
    match request(&url, Duration::from_secs_f64(args.timeout)) {
        Ok(status) => {
            say!("healthy: {url} answered {status}");
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            note!("unhealthy: {url} {reason}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Requests the URL and returns its status if that is 2xx, else what happened, to be read after the URL.
fn request(url: &str, timeout: Duration) -> Result<u16, String> {
    // A kubelet does not verify the certificate of a probe either: it shows that the process answers, not who it is.
    let tls = TlsConfig::builder().disable_verification(true).build();
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
        .proxy(None)
        .tls_config(tls)
        .user_agent(concat!("bigbatch/", env!("CARGO_PKG_VERSION"), " healthcheck"))
        .build()
        .into();
    let mut response = agent.get(url).call().map_err(|error| format!("did not answer: {error}"))?;
    let status = response.status();
    if status.is_success() {
        return Ok(status.as_u16());
    }
    let mut body = Vec::new();
    // The status is enough where the body does not arrive.
    response.body_mut().as_reader().take(REASON_BYTES).read_to_end(&mut body).ok();
    let body = String::from_utf8_lossy(&body);
    let reason = body.lines().next().unwrap_or_default();
    let code = status.as_u16();
    Err(if reason.is_empty() {
        format!("answered {code}")
    } else {
        format!("answered {code}: {reason}")
    })
}
