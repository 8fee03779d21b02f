//! `serve`: the HTTP server.

mod args;
pub(super) mod layers;

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bigbatch_engine::engine::EngineOptions;
use bigbatch_engine::task::TaskKind;
use bigbatch_server::serve::{Gateway, Shutdown, Tls};
use bigbatch_server::startup::{self, UnstartedModel};
use bigbatch_server::{App, Keys, Lifecycle, Models, Phase, router};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::args::LogFormat;
pub(crate) use self::args::Serve;
use super::{Outcome, say};

pub(crate) fn serve(args: Serve) -> Outcome {
    if args.print_config {
        say!("{}", args.printed.as_deref().unwrap_or_default().trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    log(&args)?;
    let keys = Keys::load(args.listen.api_key.as_deref(), args.listen.api_key_file.clone())?;
    if !args.listen.host.is_loopback() && !keys.required() {
        tracing::warn!(
            host = %args.listen.host,
            "other machines can reach this address and no API key is needed; give --api-key-file"
        );
    }
    let files = args.listen.tls_cert.clone().zip(args.listen.tls_key.clone());
    let tls = files.map(|(certificate, key)| Tls::load(certificate, key)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(listen(args, Arc::new(keys), tls.map(Arc::new)))?;
    let code = match ended {
        Shutdown::Drained | Shutdown::Cut { .. } => 0,
        Shutdown::DeviceLost => {
            tracing::error!("the device is lost; this process must be started again");
            3
        }
    };
    // Not by returning: a device that hangs would be waited for when its engine is dropped.
    std::process::exit(code)
}

async fn listen(
    args: Serve,
    keys: Arc<Keys>,
    tls: Option<Arc<Tls>>,
) -> Result<Shutdown, Box<dyn Error>> {
    let address = SocketAddr::new(args.listen.host, args.listen.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| format!("--host and --port: cannot listen on {address}: {error}"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    say!("listening on {scheme}://{}", listener.local_addr()?);
    let (door, options, transport) = (Gateway::default(), args.options(), args.transport());
    for warning in args.contradictions(&options, &transport) {
        tracing::warn!("{warning}");
    }
    let life = door.life().clone();
    tokio::spawn(obey(
        Signals::new()?,
        life.clone(),
        keys.clone(),
        tls.clone(),
        transport.drain_delay,
    ));
    let serving = bigbatch_server::serve::serve(listener, tls, transport, door.clone());
    let mut serving = std::pin::pin!(serving);
    let app = tokio::select! {
        ended = &mut serving => return Ok(ended),
        models = loaded(args) => App::with_guards(models?, options, keys, life),
    };
    let observe = app.observe.clone();
    door.open(router(app));
    tracing::info!("ready");
    let ended = serving.await;
    if let Shutdown::Cut { connections } = ended {
        let requests = observe.in_flight();
        tracing::warn!(
            requests,
            connections,
            "accepted, not answered within --drain-timeout, cut off"
        );
    }
    Ok(ended)
}

/// Loads the models away from the async threads. Errors keep their type: a lost device has an exit code of
/// its own.
async fn loaded(args: Serve) -> Result<Models, Box<dyn Error>> {
    let models = tokio::task::spawn_blocking(move || load(&args)).await?;
    models.map_err(|error| -> Box<dyn Error> { error })
}

/// Reads and starts the models, and runs each once.
fn load(args: &Serve) -> Result<Models, Box<dyn Error + Send + Sync>> {
    let defaults = EngineOptions::default();
    let options = EngineOptions {
        device: args.runtime.device()?,
        max_concurrent_requests: args.max_concurrent_requests as usize,
        tokenizer_threads: args.tokenizer_threads.map_or(defaults.tokenizer_threads, usize::from),
    };
    let mut list = Vec::new();
    for given in &args.model {
        let (name, source) = named(given);
        // Whoever names none gets the model that a router asks first.
        let task = if source == "embedded" { TaskKind::Classify } else { TaskKind::Embed };
        let model = args.runtime.load(source, task)?;
        let name = name.map_or_else(|| model.name.clone(), str::to_owned);
        list.push(UnstartedModel { name, source: source.into(), model });
    }
    let models = Models::new(startup::start(list, &options)?)
        .ok_or("two models have one name; give each --model a name of its own: NAME=SOURCE")?;
    for served in models.iter() {
        served.engine.probe()?.wait()?;
        let (model, device) = (&served.name, &served.engine.device().name);
        let (kind, max_tokens) = (served.kind, served.engine.max_tokens());
        tracing::info!(model, ?kind, device, max_tokens, "a model is loaded");
    }
    Ok(models)
}

/// `NAME=SOURCE`, or a source alone: a path may hold `=`, a name only letters, digits, `.`, `_` and `-`.
fn named(given: &str) -> (Option<&str>, &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match given.split_once('=') {
        Some((name, source)) if !name.is_empty() && name.chars().all(plain) => (Some(name), source),
        _ => (None, given),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits to be told to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Does what signals say: SIGHUP reads keys and certificates again, SIGTERM and SIGINT end in good order, a
/// second one without the delay.
async fn obey(
    mut signals: Signals,
    life: Arc<Lifecycle>,
    keys: Arc<Keys>,
    tls: Option<Arc<Tls>>,
    drain_delay: Duration,
) {
    loop {
        tokio::select! {
            _ = signals.hang_up.recv() => reload(&keys, tls.as_deref()),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    if life.phase() == Phase::Ready {
        life.enter(Phase::Draining);
        tracing::info!(delay_seconds = drain_delay.as_secs_f64(), "draining: /ready says 503");
        tokio::select! {
            () = tokio::time::sleep(drain_delay) => {}
            () = signals.end() => {}
        }
    }
    tracing::info!("stopping: new requests are refused, those under way are answered");
    life.enter(Phase::Closing);
}

fn reload(keys: &Keys, tls: Option<&Tls>) {
    match keys.reload() {
        Ok(()) => tracing::info!("API keys are read again"),
        Err(error) => tracing::error!(%error, "the API keys stay as they were"),
    }
    match tls.map(Tls::reload) {
        None => {}
        Some(Ok(())) => tracing::info!("the certificate is read again"),
        Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
    }
}

/// Log lines go to standard error; what is printed goes to standard output.
fn log(args: &Serve) -> Result<(), Box<dyn Error>> {
    let filter = tracing_subscriber::EnvFilter::try_new(&args.log_level)
        .map_err(|error| format!("--log-level {}: {error}", args.log_level))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bigbatch_engine::error::LoadError;
    use clap::Parser;

    use super::{loaded, named};
    use crate::cli::{Cli, Command};

    #[tokio::test]
    async fn what_fails_at_start_up_keeps_its_type() {
        let args = ["bigbatch", "serve", "--device", "cpu", "--dtype", "bf16"];
        let Ok(Cli { command: Command::Serve(args) }) = Cli::try_parse_from(args) else {
            panic!("these are options of `serve`");
        };
        let error = loaded(*args).await.err().expect("a CPU computes in f32 only");
        assert!(matches!(error.downcast_ref(), Some(LoadError::Option { .. })), "{error}");
    }

    #[test]
    fn a_name_is_not_part_of_a_path() {
        assert_eq!(named("intent=models/a"), (Some("intent"), "models/a"));
        assert_eq!(named("models/a"), (None, "models/a"));
        assert_eq!(named("models/lr=3/a"), (None, "models/lr=3/a"));
        assert_eq!(named("a=b=c"), (Some("a"), "b=c"));
        assert_eq!(named("=x"), (None, "=x"));
    }
}
