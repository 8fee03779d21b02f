//! `--target` and its options: the system that `validate` measures, which is the engine in this process or a
//! server behind a URL.
//!
//! Headers and URLs may contain keys, so clap does not validate them: its errors repeat the value.

use std::error::Error;
use std::path::PathBuf;

use bigbatch_engine::Tokenizer;
use bigbatch_validate::system::HttpOptions;
use bigbatch_validate::system::http::{Api, HttpVersion, Secrets};
use clap::Args;

use super::options::ExplicitModelOptions;

const IN_PROCESS: &str = "in-process";

/// The system to measure, and how to reach it.
#[derive(Args)]
#[command(next_help_heading = "Server to measure")]
pub(crate) struct TargetOptions {
    /// System to measure: the engine in this process, or the URL of a server
    #[arg(long, value_name = "in-process|URL", default_value = IN_PROCESS)]
    target: String,
    /// API of the server: auto (detect), tei, openai or vllm [default: auto]
    #[arg(long, value_name = "API")]
    api: Option<Api>,
    /// Endpoint of the API: /embed, /predict, /v1/embeddings, /embeddings, /classify or /pooling [default:
    /// the one for the server's model]
    #[arg(long, value_name = "PATH")]
    endpoint: Option<String>,
    /// Tokenizer of the server's model, to cut texts of exact lengths: a directory, a Hub id or
    /// `embedded[:NAME]`
    #[arg(long, value_name = "SOURCE")]
    tokenizer: Option<String>,
    /// Model named in requests [default: the first that the server lists]
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    /// Header to send with every request; repeatable
    #[arg(long, value_name = "'Name: value'")]
    header: Vec<String>,
    /// File with one line, sent to the server as a bearer token
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Process of the server on this machine, to read its memory
    #[arg(long, value_name = "PID", conflicts_with = "metrics_url")]
    target_pid: Option<u32>,
    /// Prometheus page with the memory of a server on another machine
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    /// HTTP version: auto (1.1, or what TLS negotiates), 1 or 2 [default: auto]
    #[arg(long, value_name = "VERSION")]
    http: Option<HttpVersion>,
}

/// How to reach a server, and the tokenizer of its model.
pub(crate) struct Server {
    pub(crate) options: HttpOptions,
    pub(crate) tokenizer: Tokenizer,
}

impl TargetOptions {
    /// Returns the server to measure, or `None` for the engine in this process.
    ///
    /// # Errors
    /// Options of the other kind of target: of a server without a URL, or any of `explicit`, the engine's
    /// options, with one; a URL, header or tokenizer that cannot be used.
    pub(crate) fn server(
        &self,
        explicit: &ExplicitModelOptions,
    ) -> Result<Option<Server>, Box<dyn Error>> {
        if self.target == IN_PROCESS {
            return match self.first_server_option() {
                Some(option) => Err(format!("{option} needs a server; set --target URL").into()),
                None => Ok(None),
            };
        }
        if !self.target.contains("://") {
            return Err("--target is neither in-process nor a URL; use http://HOST:PORT".into());
        }
        if let Some(option) = explicit.first() {
            return Err(format!(
                "{option} configures the engine in this process and has no effect on --target URL; remove it, \
                 or pass it to the server"
            )
            .into());
        }
        let source = self.tokenizer.as_ref().ok_or(
            "--target URL needs --tokenizer SOURCE, the tokenizer of the server's model, to cut texts of \
             exact lengths",
        )?;
        let options = HttpOptions {
            api: self.api.unwrap_or_default(),
            endpoint: self.endpoint.clone(),
            model: self.model_name.clone(),
            version: self.http.unwrap_or_default(),
            secrets: Secrets::from_headers(&self.header)?,
            api_key_file: self.api_key_file.clone(),
            pid: self.target_pid,
            metrics_url: self.metrics_url.clone(),
            ..HttpOptions::new(self.target.clone())
        };
        Ok(Some(Server {
            options,
            tokenizer: Tokenizer::open(&bigbatch_models::resolve_tokenizer(source)?)?,
        }))
    }

    /// Returns the first option on the command line that applies to servers only.
    fn first_server_option(&self) -> Option<&'static str> {
        let given = [
            ("--api", self.api.is_some()),
            ("--endpoint", self.endpoint.is_some()),
            ("--tokenizer", self.tokenizer.is_some()),
            ("--model-name", self.model_name.is_some()),
            ("--header", !self.header.is_empty()),
            ("--api-key-file", self.api_key_file.is_some()),
            ("--target-pid", self.target_pid.is_some()),
            ("--metrics-url", self.metrics_url.is_some()),
            ("--http", self.http.is_some()),
        ];
        given.into_iter().find_map(|(option, given)| given.then_some(option))
    }
}
