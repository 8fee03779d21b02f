//! `serve`: starts the HTTP server of `bigbatch-server`, loads its models, and stops it on signals. The options
//! are in `args`; `config_sources` merges them with the environment and a file; `logging` sets up the log; `for_model`
//! refuses settings that were measured with another model; `listeners` and `runtime` listen, `open_files` fits the
//! connections to the system's limit.

mod args;
mod config_sources;
mod for_model;
mod listeners;
mod logging;
mod open_files;
mod runtime;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bigbatch_engine::host::bound_free_memory;
use bigbatch_engine::{EngineOptions, Head, Model, TaskKind, catch_panic};
use bigbatch_server::observe::LogWriter;
use bigbatch_server::serve::{Gateway, Shutdown, Tls};
use bigbatch_server::startup::{self, UnstartedModel};
use bigbatch_server::{App, Keys, Lifecycle, Models, Phase, check_guardrails, router};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

pub(crate) use self::args::Serve;
pub(super) use self::config_sources::{health_url, parse};
use self::listeners::{Listeners, resolve};
use self::logging::Log;
use self::runtime::RuntimeAddress;
use super::{CommandResult, exit_code, output_error, say};

/// Upper limit on the batches that run before the server is ready, which show how long others will take.
const WARM_UP_TIME: Duration = Duration::from_millis(500);

/// Time for a reload before the next one may begin beside it.
const RELOAD_TIME: Duration = Duration::from_secs(10);

pub(crate) fn serve(args: Serve) -> CommandResult {
    if args.print_config {
        say!("{}", args.effective_config.as_deref().unwrap_or_default().trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    bound_free_memory();
    let mut log = Log::init(&args)?;
    // tokio panics where the system has no thread for a worker.
    let runtime = catch_panic(|| Builder::new_multi_thread().enable_all().build())??;
    let code = match run(&runtime, args, log.writer()) {
        Ok(Shutdown::Drained | Shutdown::Cut { .. } | Shutdown::Aborted) => 0,
        Ok(Shutdown::DeviceLost) => {
            tracing::error!("the device is lost; restart this process");
            3
        }
        Err(error) if output_error(error.as_ref()).is_some() => return Err(error),
        Err(error) => {
            log.print_error(&format!("bigbatch: {error}"));
            exit_code(error.as_ref())
        }
    };
    drop(log);
    // Exits here: returning would drop the engine, which blocks on a device that hangs, and wait for blocking threads,
    // of which one may read a pipe that nobody writes.
    std::process::exit(code.into())
}

fn run(runtime: &Runtime, args: Serve, log: LogWriter) -> Result<Shutdown, Box<dyn Error>> {
    let keys = Keys::load(args.listen.api_key.as_deref(), args.listen.api_key_file.clone())?;
    let addresses = resolve("--host", &args.listen.host, args.listen.port)?;
    if addresses.iter().any(|address| !address.ip().is_loopback()) && !keys.required() {
        tracing::warn!(
            host = %args.listen.host,
            "other machines can reach this address and no API key is required; set --api-key-file"
        );
    }
    if let Some(RuntimeAddress::Tcp { host, port }) = &args.listen.runtime_listen
        && resolve("--runtime-listen", host, *port)?.iter().any(|at| !at.ip().is_loopback())
        && (args.listen.runtime_no_auth || !keys.required())
    {
        tracing::warn!(
            %host,
            "other machines can reach the model runtime and no API key is required; set --api-key-file, or listen on a \
             Unix socket"
        );
    }
    let files = args.listen.tls_cert.clone().zip(args.listen.tls_key.clone());
    let tls = files.map(|(certificate, key)| Tls::load(certificate, key)).transpose()?;
    runtime.block_on(listen(args, &addresses, Arc::new(keys), tls.map(Arc::new), log))
}

async fn listen(
    mut args: Serve,
    addresses: &[SocketAddr],
    keys: Arc<Keys>,
    tls: Option<Arc<Tls>>,
    log: LogWriter,
) -> Result<Shutdown, Box<dyn Error>> {
    // The cards of the model runtime tell whether the files of a model have changed.
    args.runtime.hash = args.listen.runtime_listen.is_some();
    let listeners = Listeners::open(&args, addresses, tls.is_some()).await?;
    let transport = listeners.transport.clone();
    let asks_for_key = !args.listen.runtime_no_auth
        && matches!(args.listen.runtime_listen, Some(RuntimeAddress::Tcp { .. }));
    let (door, options) = (Gateway::default(), args.options());
    let runtime_door = door.of_runtime();
    for warning in args.conflicts(&options, &transport) {
        tracing::warn!("{warning}");
    }
    let (life, observe) = (door.life().clone(), door.counters().clone());
    let mut abort = tokio::spawn(handle_signals(
        Signals::new()?,
        life.clone(),
        keys.clone(),
        tls.clone(),
        transport.drain_delay,
    ));
    let serving = listeners.serve(tls, door.clone(), runtime_door.clone());
    let mut serving = std::pin::pin!(serving);
    let app = tokio::select! {
        ended = &mut serving => return Ok(ended),
        _ = &mut abort => return Ok(aborted(0)),
        models = load_models_blocking(args) => {
            let models = models?;
            check_guardrails(&options.guardrails, &models)?;
            App::with_guards(models, options, keys, life, observe.clone())
        }
    };
    observe.watch_log(log);
    tokio::spawn(app.clone().return_free_memory());
    tokio::spawn(app.clone().keep_history());
    runtime_door.open(bigbatch_server::runtime::router(app.clone(), asks_for_key));
    door.open(router(app));
    tracing::info!("ready");
    tokio::select! {
        ended = serving => {
            if let Shutdown::Cut { connections } = ended {
                let requests = observe.in_flight();
                tracing::warn!(
                    requests,
                    connections,
                    "closed connections whose requests were not answered within --drain-timeout"
                );
            }
            Ok(ended)
        }
        _ = &mut abort => Ok(aborted(observe.in_flight())),
    }
}

/// Logs that the second SIGINT ended the server, and returns how it ended.
fn aborted(requests: usize) -> Shutdown {
    tracing::warn!(requests, "interrupted again: exiting without answering the requests in flight");
    Shutdown::Aborted
}

/// Runs [`load_models`] on a thread of its own: tokio's blocking pool panics if the system has none. Errors keep
/// their type, which decides the exit code.
async fn load_models_blocking(args: Serve) -> Result<Models, Box<dyn Error>> {
    let (send, loaded) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("load".into())
        // Nobody waits for the models any more if the server is stopped while it loads them.
        .spawn(move || drop(send.send(load_models(&args))))
        .map_err(|error| format!("the system cannot start a thread: {error}"))?;
    loaded.await?.map_err(|error| -> Box<dyn Error> { error })
}

/// Loads the models, starts their engines within one memory budget, and runs one batch on each.
fn load_models(args: &Serve) -> Result<Models, Box<dyn Error + Send + Sync>> {
    let defaults = EngineOptions::default();
    let options = EngineOptions {
        device: args.runtime.device()?,
        max_concurrent_requests: args.max_concurrent_requests as usize,
        tokenizer_threads: args.tokenizer_threads.map_or(defaults.tokenizer_threads, usize::from),
    };
    if args.runtime.revision.is_some() && args.model.len() > 1 {
        return Err("--revision is for a single --model; write each as OWNER/NAME@REVISION".into());
    }
    let mut list = Vec::new();
    for given in &args.model {
        let (name, source) = split_name(given);
        // `embedded` is the classifier: the model that a router calls first.
        let task = if source == "embedded" { TaskKind::Classify } else { TaskKind::Embed };
        let model = args.runtime.load(source, task, &args.vectors)?;
        if let Some(expected) = &args.for_model {
            let names = [name.unwrap_or(source), source, &model.name];
            for_model::check(expected, &names, &model.shape())?;
        }
        warn_of_limits(args, &model);
        let name = name.map_or_else(|| model.name.clone(), str::to_owned);
        if list.iter().any(|other: &UnstartedModel| other.name == name) {
            return Err(format!(
                "two models have the name {name}; give each --model its own: NAME=SOURCE"
            )
            .into());
        }
        list.push(UnstartedModel { name, source: source.into(), model });
    }
    let models =
        Models::new(startup::start(list, &options)?).ok_or("two models have the same name")?;
    for served in models.iter() {
        served.engine.warm_up(WARM_UP_TIME)?;
        let (model, device) = (&served.name, &served.engine.device().name);
        let (kind, max_tokens) = (served.kind, served.engine.max_tokens());
        tracing::info!(model, ?kind, device, max_tokens, "loaded a model");
    }
    Ok(models)
}

/// Logs options that have no effect on a model, and a limit of its own that an option lifts.
fn warn_of_limits(args: &Serve, model: &Model) {
    let embeds = matches!(model.config.head, Head::Base | Head::MaskedLm { .. });
    let prompted = model.prompts.get(None).is_ok_and(|prompt| prompt.is_some());
    if let (Some(option), false) = (args.vectors.first(), embeds || prompted) {
        tracing::warn!(
            model = model.name,
            "{option} has no effect: the model computes no vectors of texts"
        );
    }
    let (limit, positions) = (model.config.max_tokens, model.max_positions);
    if limit < positions {
        tracing::info!(
            model = model.name,
            limit,
            "inputs are limited below the model's {positions} positions; --max-seq-length changes the limit"
        );
    }
}

/// Splits `NAME=SOURCE`, or returns the source alone: paths may contain `=`, names only letters, digits, `.`,
/// `_` and `-`.
fn split_name(given: &str) -> (Option<&str>, &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match given.split_once('=') {
        Some((name, source)) if !name.is_empty() && name.chars().all(plain) => (Some(name), source),
        _ => (None, given),
    }
}

/// The signals that the server handles.
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

    /// Waits for SIGTERM or SIGINT.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Handles signals: SIGHUP reloads keys and certificates without delaying the others; SIGTERM drains for `drain_delay`
/// and then stops accepting requests; SIGINT, which is Ctrl-C and no load balancer's, skips the delay. Returns at a
/// SIGINT after that, which asks to stop without answering the requests in flight.
async fn handle_signals(
    mut signals: Signals,
    life: Arc<Lifecycle>,
    keys: Arc<Keys>,
    tls: Option<Arc<Tls>>,
    drain_delay: Duration,
) {
    let hung_up = Arc::new(Notify::new());
    let reload = move || reload(&keys, tls.as_deref());
    tokio::spawn(reload_when(hung_up.clone(), Arc::new(reload)));
    let interrupted = loop {
        tokio::select! {
            _ = signals.hang_up.recv() => hung_up.notify_one(),
            _ = signals.terminate.recv() => break false,
            _ = signals.interrupt.recv() => break true,
        }
    };
    if life.phase() == Phase::Ready && !interrupted {
        life.enter(Phase::Draining);
        tracing::info!(delay_seconds = drain_delay.as_secs_f64(), "draining: /ready returns 503");
        tokio::select! {
            () = tokio::time::sleep(drain_delay) => {}
            () = signals.stop() => {}
        }
    }
    tracing::info!(
        "stopping: rejecting new requests, answering those in flight; Ctrl-C exits without that"
    );
    life.enter(Phase::Closing);
    signals.interrupt.recv().await;
}

/// Reloads each time after `hung_up` was notified, on a blocking thread: a file may be a pipe that nobody writes yet.
/// Notifications during a reload become one reload after it.
/// One that takes long is left to itself, so that it holds up no later one.
async fn reload_when(hung_up: Arc<Notify>, reload: Arc<impl Fn() + Send + Sync + 'static>) {
    loop {
        hung_up.notified().await;
        let reload = reload.clone();
        // Fails only if it panicked, which the log has.
        let done = tokio::task::spawn_blocking(move || reload());
        if tokio::time::timeout(RELOAD_TIME, done).await.is_err() {
            let seconds = RELOAD_TIME.as_secs();
            tracing::error!(
                seconds,
                "a file of keys or certificates is not read yet; send SIGHUP to try again"
            );
        }
    }
}

fn reload(keys: &Keys, tls: Option<&Tls>) {
    match keys.reload() {
        Ok(()) => tracing::info!("reloaded the API keys"),
        Err(error) => {
            tracing::error!(%error, "cannot reload the API keys; the old ones stay valid")
        }
    }
    match tls.map(Tls::reload) {
        None => {}
        Some(Ok(())) => tracing::info!("reloaded the TLS certificate"),
        Some(Err(error)) => {
            tracing::error!(%error, "cannot reload the TLS certificate; the old one stays in use")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use bigbatch_engine::LoadError;
    use clap::Parser;
    use tokio::sync::Notify;

    use super::{load_models_blocking, reload_when, resolve, split_name};
    use crate::cli::{Cli, Command};

    #[test]
    fn a_host_is_an_address_or_a_name() {
        let of = |host| resolve("--host", host, 80).map(|found| found[0].to_string());
        assert_eq!(of("::1").as_deref(), Ok("[::1]:80"));
        assert_eq!(of("[::1]").as_deref(), Ok("[::1]:80"));
        assert_eq!(of("localhost").as_deref(), Ok("127.0.0.1:80"));
        let error =
            resolve("--host", "no.such.host.invalid", 80).expect_err("RFC 6761 keeps it free");
        assert!(error.starts_with("--host: no.such.host.invalid is neither"), "{error}");
    }

    #[tokio::test]
    async fn an_error_at_start_up_keeps_its_type() {
        let args = ["bigbatch", "serve", "--device", "cpu", "--dtype", "bf16"];
        let Ok(Cli { command: Command::Serve(args) }) = Cli::try_parse_from(args) else {
            panic!("these are options of `serve`");
        };
        let error = load_models_blocking(*args).await.err().expect("a CPU computes in f32 only");
        assert!(matches!(error.downcast_ref(), Some(LoadError::Option { .. })), "{error}");
    }

    #[tokio::test]
    async fn one_revision_is_not_for_several_models() {
        let args = ["bigbatch", "serve", "--model=a/b", "--model=c/d", "--revision=v1"];
        let Ok(Cli { command: Command::Serve(args) }) = Cli::try_parse_from(args) else {
            panic!("these are options of `serve`");
        };
        let error = load_models_blocking(*args).await.err().expect("whose revision is it");
        assert!(error.to_string().contains("OWNER/NAME@REVISION"), "{error}");
    }

    #[tokio::test]
    async fn hang_ups_during_a_reload_are_one_reload_after_it() {
        let hung_up = Arc::new(Notify::new());
        let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (end, ended) = mpsc::channel();
        let ended = Mutex::new(ended);
        let reload = move || {
            // Fails only after the test.
            let _ = begin.send(());
            let _ = ended.lock().map(|ended| ended.recv());
        };
        let reloads = tokio::spawn(reload_when(hung_up.clone(), Arc::new(reload)));
        hung_up.notify_one();
        begun.recv().await.expect("a reload begins");
        for _ in 0..3 {
            hung_up.notify_one();
            tokio::task::yield_now().await;
        }
        end.send(()).expect("it waits");
        begun.recv().await.expect("another begins");
        // The next one would begin with its notification.
        let another = tokio::time::timeout(Duration::ZERO, hung_up.notified()).await;
        assert!(another.is_err(), "it is the last");
        reloads.abort();
        drop(end);
        assert!(begun.recv().await.is_none(), "no reload ran beside them");
    }

    #[test]
    fn an_equals_sign_in_a_path_is_not_a_name() {
        assert_eq!(split_name("intent=models/a"), (Some("intent"), "models/a"));
        assert_eq!(split_name("models/a"), (None, "models/a"));
        assert_eq!(split_name("models/lr=3/a"), (None, "models/lr=3/a"));
        assert_eq!(split_name("a=b=c"), (Some("a"), "b=c"));
        assert_eq!(split_name("=x"), (None, "=x"));
    }
}
