//! `--target` and what goes with it: the engine of this process, or a server behind a URL.
//!
//! Headers and URLs may hold keys, so none of them is checked by the parser of the command line, whose
//! errors repeat what was given.

use std::error::Error;
use std::path::PathBuf;

use bigbatch_engine::Tokenizer;
use bigbatch_validate::system::HttpOptions;
use bigbatch_validate::system::http::{Api, HttpVersion, Secrets};
use clap::Args;

use super::options::GivenModelOptions;

const IN_PROCESS: &str = "in-process";

/// What to measure, and how to speak to it.
#[derive(Args)]
pub(crate) struct TargetOptions {
    /// What to measure: the engine of this process, or a server by its URL
    #[arg(long, value_name = "in-process|URL", default_value = IN_PROCESS)]
    target: String,
    /// The URL's dialect: auto (ask the server), tei, openai or vllm [default: auto]
    #[arg(long, value_name = "API")]
    api: Option<Api>,
    /// One of the dialect's endpoints: /embed, /predict, /v1/embeddings, /embeddings, /classify or
    /// /pooling [default: the one for the server's model]
    #[arg(long, value_name = "PATH")]
    endpoint: Option<String>,
    /// The URL's tokenizer, so that texts have exact lengths: a directory, a Hub id or `embedded[:NAME]`
    #[arg(long, value_name = "SOURCE")]
    tokenizer: Option<String>,
    /// The model that requests name [default: the first that the server lists]
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    /// A header for every request to the URL; may be given several times
    #[arg(long, value_name = "'Name: value'")]
    header: Vec<String>,
    /// A file whose one line is sent to the URL as a bearer token
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// The URL's process on this machine, to read its memory
    #[arg(long, value_name = "PID", conflicts_with = "metrics_url")]
    target_pid: Option<u32>,
    /// A Prometheus page that tells the memory of a URL elsewhere
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    /// auto (HTTP/1.1, or what TLS agrees on), 1 or 2 [default: auto]
    #[arg(long, value_name = "VERSION")]
    http: Option<HttpVersion>,
}

/// A server and the tokenizer of its model.
pub(crate) struct Server {
    pub(crate) options: HttpOptions,
    pub(crate) tokenizer: Tokenizer,
}

impl TargetOptions {
    /// The server to measure; none where it is this process's engine. Options of an engine, `given`, say
    /// nothing of a server.
    pub(crate) fn server(
        &self,
        given: &GivenModelOptions,
    ) -> Result<Option<Server>, Box<dyn Error>> {
        if self.target == IN_PROCESS {
            return match self.only_of_urls() {
                Some(option) => Err(format!("{option} needs a server; give --target URL").into()),
                None => Ok(None),
            };
        }
        if !self.target.contains("://") {
            return Err("--target is neither in-process nor a URL; give http://HOST:PORT".into());
        }
        if let Some(option) = given.first() {
            return Err(format!(
                "{option} is of the engine in this process and changes nothing of --target URL; leave it out, \
                 or give it to the server"
            )
            .into());
        }
        let source = self.tokenizer.as_ref().ok_or(
            "--target URL needs --tokenizer SOURCE: the tokenizer of the server's model, by which texts \
             of exact lengths are cut",
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

    /// The first option given that says nothing about this process.
    fn only_of_urls(&self) -> Option<&'static str> {
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
