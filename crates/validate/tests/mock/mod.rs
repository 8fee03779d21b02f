//! A mock server with a known latency law, the wire shapes of several servers, and every kind of fault.
//!
//! It has threads of its own, so that it can run beside a test's runtime, a child process or an example.
//! Latency is the time from a request's arrival to the writing of its answer, by a timer with an error of a
//! tenth of a millisecond. The actual time is sent in `x-total-time`, from which the generator's own share
//! of a latency is known. No model runs: only shapes, counts and times are right. `replies.rs` has the
//! bodies of each dialect.

// Each binary that includes this module uses a part of it.
#![allow(dead_code, unused_imports)]

mod replies;
mod timer;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::http::response::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

pub(crate) use replies::{Dialect, LONGEST, MODEL};
use timer::Timer;

/// The distribution of an answer's latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Latency {
    Constant(Duration),
    /// By its mean.
    Exponential(Duration),
    /// Two values, and the share of the second.
    Bimodal(Duration, Duration, f64),
}

impl Latency {
    fn draw(self, random: f64) -> Duration {
        match self {
            Latency::Constant(time) => time,
            Latency::Exponential(mean) => mean.mul_f64(-(1.0 - random).ln()),
            Latency::Bimodal(usual, rare, share) => {
                if random < share {
                    rare
                } else {
                    usual
                }
            }
        }
    }

    /// The exact quantile of the law, in seconds.
    pub(crate) fn quantile(self, q: f64) -> f64 {
        match self {
            Latency::Constant(time) => time.as_secs_f64(),
            Latency::Exponential(mean) => -(1.0 - q).ln() * mean.as_secs_f64(),
            Latency::Bimodal(usual, rare, share) => {
                if q > 1.0 - share {
                    rare.as_secs_f64()
                } else {
                    usual.as_secs_f64()
                }
            }
        }
    }
}

/// A fault of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// 500 with a page of HTML.
    Error500,
    /// 424, memory ran out.
    OutOfMemory,
    /// 429 with `Retry-After: 0`.
    Overloaded,
    /// 413, too many tokens.
    TooLong,
    /// 200 with half a JSON text.
    Malformed,
    /// 200 with JSON of another shape.
    OtherShape,
    /// 200, whole, and said to be HTML.
    OtherType,
    /// 200, one token too many.
    WrongTokens,
    /// Closes the connection in the middle of the answer.
    HalfClosed,
    /// Sends the answer a byte at a time, and never the last.
    Trickle,
    /// Never answers.
    Hang,
    /// 500 that repeats the request's headers.
    Echo,
    /// 500 with markup and control characters.
    Script,
}

/// Markup that every report must escape.
pub(crate) const SCRIPT: &str = "<script>alert('target')</script>";

type Counter = Arc<dyn Fn(&str) -> usize + Send + Sync>;

/// The server's dialect, latency and faults.
#[derive(Clone)]
pub(crate) struct MockOptions {
    pub(crate) port: u16,
    pub(crate) dialect: Dialect,
    pub(crate) model: String,
    pub(crate) latency: Latency,
    pub(crate) seed: u64,
    pub(crate) fault: Fault,
    /// Every n-th request gets the fault; the others get a good answer.
    pub(crate) fault_every: u64,
    /// Counts the tokens of a text; without it, no counts are sent.
    pub(crate) count: Option<Counter>,
    pub(crate) dimensions: usize,
    /// Without `Authorization: Bearer KEY`, 401.
    pub(crate) key: Option<String>,
    /// Whether answers carry the headers of a batch of one.
    pub(crate) batch_headers: bool,
    /// The body of `/metrics`; 404 without it.
    pub(crate) metrics: Option<String>,
}

impl MockOptions {
    pub(crate) fn new(dialect: Dialect) -> MockOptions {
        MockOptions {
            port: 0,
            dialect,
            model: MODEL.into(),
            latency: Latency::Constant(Duration::ZERO),
            seed: 0,
            fault: Fault::None,
            fault_every: 1,
            count: None,
            dimensions: 8,
            key: None,
            batch_headers: false,
            metrics: None,
        }
    }

    pub(crate) fn fault(mut self, fault: Fault, every: u64) -> MockOptions {
        (self.fault, self.fault_every) = (fault, every);
        self
    }

    pub(crate) fn counting(
        mut self,
        count: impl Fn(&str) -> usize + Send + Sync + 'static,
    ) -> MockOptions {
        self.count = Some(Arc::new(count));
        self
    }
}

/// A running server; it stops when this value is dropped.
pub(crate) struct MockServer {
    address: SocketAddr,
    state: Arc<ServerState>,
    thread: Option<JoinHandle<()>>,
}

struct ServerState {
    options: MockOptions,
    timer: Timer,
    random: Mutex<fastrand::Rng>,
    posts: AtomicU64,
    faults: AtomicU64,
    metrics_seen: Mutex<Vec<HeaderMap>>,
    posts_seen: Mutex<Vec<HeaderMap>>,
    stop: Notify,
}

impl MockServer {
    /// Listens on 127.0.0.1.
    pub(crate) fn start(options: MockOptions) -> MockServer {
        let listener = std::net::TcpListener::bind(("127.0.0.1", options.port));
        let listener = listener.expect("a port of the loopback interface is free");
        listener.set_nonblocking(true).expect("sockets can");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(ServerState {
            random: Mutex::new(fastrand::Rng::with_seed(options.seed)),
            options,
            timer: Timer::start(),
            posts: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            metrics_seen: Mutex::new(Vec::new()),
            posts_seen: Mutex::new(Vec::new()),
            stop: Notify::new(),
        });
        let of_thread = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(serve(listener, of_thread));
        });
        MockServer { address, state, thread: Some(thread) }
    }

    /// Returns a URL at which nothing listens.
    pub(crate) fn nobody() -> String {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        format!("http://{}", listener.local_addr().expect("it is bound"))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of POSTs that arrived.
    pub(crate) fn posts(&self) -> u64 {
        self.state.posts.load(Ordering::SeqCst)
    }

    /// Returns the number of POSTs that got the fault.
    pub(crate) fn faults(&self) -> u64 {
        self.state.faults.load(Ordering::SeqCst)
    }

    /// Returns the headers of each request for `/metrics`.
    pub(crate) fn metrics_seen(&self) -> Vec<HeaderMap> {
        self.state.metrics_seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the headers of each POST.
    pub(crate) fn posts_seen(&self) -> Vec<HeaderMap> {
        self.state.posts_seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs until the process ends.
    pub(crate) fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic");
        }
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        self.state.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been printed; the test's own is worth more.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<ServerState>) {
    let listener = TcpListener::from_std(listener).expect("the runtime takes sockets");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = state.stop.notified() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        // Without it, small answers would wait for acknowledgements (Nagle).
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(state.answer(request).await) }
            });
            let connection = auto::Builder::new(TokioExecutor::new());
            // A client that closes its connection is not an error of the server.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Body = Either<Full<Bytes>, Channel<Bytes, std::io::Error>>;

impl ServerState {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let arrived = Instant::now();
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if path == "/metrics" {
            self.metrics_seen.lock().unwrap_or_else(PoisonError::into_inner).push(parts.headers);
            return match &self.options.metrics {
                Some(page) => whole(Response::builder(), "text/plain", page.clone()),
                None => json_reply(404, &json!({"detail": "Not Found"})),
            };
        }
        if let Some(refusal) = self.without_key(&parts.headers) {
            return refusal;
        }
        let dialect = self.options.dialect;
        if parts.method == Method::GET {
            return match dialect.get(path, &self.options.model) {
                Some(value) => json_reply(200, &value),
                None => json_reply(404, &json!({"detail": "Not Found"})),
            };
        }
        let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
            return json_reply(400, &dialect.error(400, "the body was not complete"));
        };
        if let Some(refusal) = dialect.refuses(path, &body) {
            return json_reply(400, &dialect.error(400, &refusal));
        }
        let text = text_of(&body);
        let count = self.options.count.as_ref().map_or(0, |count| count(&text));
        let Some(reply) = dialect.post(path, &self.options.model, count, self.options.dimensions)
        else {
            return json_reply(404, &json!({"detail": "Not Found"}));
        };
        let number = self.posts.fetch_add(1, Ordering::SeqCst);
        self.posts_seen.lock().unwrap_or_else(PoisonError::into_inner).push(parts.headers.clone());
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).f64();
        let latency = self.options.latency.draw(random);
        if !latency.is_zero() {
            self.timer.sleep_until(arrived + latency).await;
        }
        let fault = if (number + 1).is_multiple_of(self.options.fault_every) {
            self.options.fault
        } else {
            Fault::None
        };
        if fault != Fault::None {
            self.faults.fetch_add(1, Ordering::SeqCst);
        }
        self.reply(fault, reply, count, number, arrived, &parts.headers).await
    }

    fn without_key(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let key = self.options.key.as_ref()?;
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.unwrap_or("nothing");
        (given != format!("Bearer {key}")).then(|| {
            let message = format!("'{given}' opens nothing here");
            json_reply(401, &self.options.dialect.error(401, &message))
        })
    }

    async fn reply(
        &self,
        fault: Fault,
        reply: Value,
        count: usize,
        number: u64,
        arrived: Instant,
        headers: &HeaderMap,
    ) -> Response<Body> {
        let error = |status, message: &str| {
            json_reply(status, &self.options.dialect.error(status, message))
        };
        let text = reply.to_string();
        match fault {
            Fault::None => self.good(text, count, number, arrived),
            Fault::Error500 => {
                let page = "<html><body>Internal Server Error</body></html>".into();
                whole(Response::builder().status(500), "text/html", page)
            }
            Fault::OutOfMemory => {
                error(424, "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")")
            }
            Fault::Overloaded => {
                let mut refusal = error(429, "Model is overloaded");
                refusal.headers_mut().insert(RETRY_AFTER, 0.into());
                refusal
            }
            Fault::TooLong => error(413, "`inputs` must have less than 16 tokens. Given: 64"),
            Fault::Malformed => {
                self.good(text[..text.len() / 2].to_owned(), count, number, arrived)
            }
            Fault::OtherShape => self.good("{\"surprise\":[1]}".into(), count, number, arrived),
            Fault::OtherType => whole(Response::builder(), "text/html", text),
            Fault::WrongTokens => {
                let count = self.options.count.as_ref().map(|_| count + 1).unwrap_or(1);
                let path_of = |value: &mut Value| {
                    if let Some(usage) = value.get_mut("usage") {
                        usage["prompt_tokens"] = json!(count);
                    }
                };
                let mut reply = reply;
                path_of(&mut reply);
                self.good(reply.to_string(), count, number, arrived)
            }
            Fault::HalfClosed => half(text),
            Fault::Trickle => trickle(text),
            Fault::Hang => std::future::pending().await,
            Fault::Echo => {
                let told: Vec<String> = headers
                    .iter()
                    .map(|(name, value)| {
                        format!("{name}={}", String::from_utf8_lossy(value.as_bytes()))
                    })
                    .collect();
                error(500, &told.join("; "))
            }
            Fault::Script => error(500, &format!("{SCRIPT}\r\n\u{7}\u{1b}[31m & <b>\"bold\"</b>")),
        }
    }

    /// Answers with the headers of a healthy server.
    fn good(&self, text: String, count: usize, number: u64, arrived: Instant) -> Response<Body> {
        let ms = arrived.elapsed().as_secs_f64() * 1e3;
        let mut response = Response::builder()
            .header("x-total-time", format!("{ms:.3}"))
            .header("x-tokenization-time", "0")
            .header("x-queue-time", "0")
            .header("x-inference-time", format!("{ms:.3}"));
        if self.options.dialect.is_tei() && self.options.count.is_some() {
            response = response.header("x-compute-tokens", count);
        }
        if self.options.batch_headers {
            response = response
                .header("x-batch-id", number)
                .header("x-batch-sequences", 1)
                .header("x-batch-tokens", count);
        }
        whole(response, "application/json", text)
    }
}

/// Returns the text of a request's body in any dialect.
fn text_of(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = body.get("inputs").or(body.get("input"));
    text.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn json_reply(status: u16, value: &Value) -> Response<Body> {
    whole(Response::builder().status(status), "application/json", value.to_string())
}

fn whole(response: Builder, kind: &str, text: String) -> Response<Body> {
    let body = Either::Left(Full::new(Bytes::from(text)));
    response.header(CONTENT_TYPE, kind).body(body).expect("the parts are valid")
}

/// Starts an answer of `length` bytes, whose body the caller sends in parts.
fn parted(length: usize) -> (Response<Body>, Sender<Bytes, std::io::Error>) {
    let (sender, body) = Channel::new(1);
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, length)
        .body(Either::Right(body))
        .expect("the parts are valid");
    (response, sender)
}

fn half(text: String) -> Response<Body> {
    let (response, mut sender) = parted(text.len());
    tokio::spawn(async move {
        let _ = sender.send_data(Bytes::from(text[..text.len() / 2].to_owned())).await;
        sender.abort(std::io::Error::other("closed in the middle"));
    });
    response
}

fn trickle(text: String) -> Response<Body> {
    let (response, mut sender) = parted(text.len());
    tokio::spawn(async move {
        for byte in &text.as_bytes()[..text.len() - 1] {
            if sender.send_data(Bytes::copy_from_slice(&[*byte])).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::future::pending::<()>().await;
    });
    response
}
