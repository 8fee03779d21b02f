//! A server on a free port, and a client that writes and reads bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bigbatch_engine::backend::{ArenaUsage, Backend, Ceilings, Fetch, Op, View};
use bigbatch_engine::{
    Checkpoint, DeviceError, Engine, EngineOptions, Model, PackedBatch, RopeOverride, TaskKind,
};
use bigbatch_server::serve::{Door, Ended, Tls, serve};
use bigbatch_server::{App, Keys, Models, Options, Phase, Served, Transport, router};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Nothing here takes a tenth of this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a test wants its server.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) transport: Transport,
    pub(crate) keys: Keys,
    pub(crate) tls: Option<Tls>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) ended: JoinHandle<Ended>,
    pub(crate) runtime: Runtime,
}

impl Server {
    pub(crate) fn start(served: Vec<Served>, setup: Setup) -> Server {
        let runtime = Runtime::new().expect("a runtime starts");
        let bind = tokio::net::TcpListener::bind("127.0.0.1:0");
        let listener = runtime.block_on(bind).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let door = Door::default();
        let models = Models::new(served).expect("names differ");
        let app = App::guarded(models, setup.options, Arc::new(setup.keys), door.life().clone());
        door.open(router(app.clone()));
        let tls = setup.tls.map(Arc::new);
        let ended = runtime.spawn(serve(listener, tls, setup.transport, door));
        Server { address, app, ended, runtime }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that has refused already may have closed.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.exchange(
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        )
    }

    pub(crate) fn embed(&self, body: &str, headers: &str) -> String {
        self.exchange(post("/embed", headers, body.as_bytes()).as_slice())
    }

    /// Asks until the answer is as wished, or the test fails.
    pub(crate) fn until(&self, path: &str, wished: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.get(path);
            if wished(&said) {
                return said;
            }
            assert!(Instant::now() < deadline, "{path} still says {said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it and says how it ended.
    pub(crate) fn stop(self) -> Ended {
        self.app.life.enter(Phase::Closing);
        let Server { ended, runtime, .. } = self;
        runtime.block_on(ended).expect("no panic")
    }
}

pub(crate) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn read_all(stream: &mut (impl Read + ?Sized)) -> String {
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&some[..n]),
            Err(error) => {
                let timed_out = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                assert!(!timed_out.contains(&error.kind()), "no answer and no end in {PATIENCE:?}");
                break;
            }
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// 0 where there is no answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

pub(crate) fn model() -> Model {
    let checkpoint = Checkpoint::resolve("embedded", TaskKind::Embed).expect("embedded");
    Model::load(&checkpoint, RopeOverride::Checkpoint).expect("loads")
}

pub(crate) fn options() -> EngineOptions {
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device.threads = 1;
    options
}

pub(crate) fn served(name: &str) -> Served {
    Served::new(name, "embedded", Engine::start(model(), &options()).expect("starts"))
}

/// An engine whose every batch begins with what a test wants.
pub(crate) fn served_around(
    begin: impl FnMut() -> Result<(), DeviceError> + Send + 'static,
) -> Served {
    of_places(options().max_concurrent_requests, begin)
}

fn of_places(
    max_concurrent_requests: usize,
    begin: impl FnMut() -> Result<(), DeviceError> + Send + 'static,
) -> Served {
    let options = EngineOptions { max_concurrent_requests, ..options() };
    let around = |host| Box::new(Around { host, begin: Box::new(begin) }) as Box<dyn Backend>;
    Served::new(
        "m",
        "embedded",
        Engine::start_with_backend(model(), &options, around).expect("starts"),
    )
}

/// Holds batches up while it is shut; opened by the end of the test at the latest.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    shut: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    pub(crate) fn served(&self) -> Served {
        self.served_of(options().max_concurrent_requests)
    }

    /// With so many places in the queue.
    pub(crate) fn served_of(&self, places: usize) -> Served {
        let gate = self.clone();
        of_places(places, move || {
            gate.pass();
            Ok(())
        })
    }

    pub(crate) fn shut(&self) {
        *self.shut.0.lock().expect("nobody panics with it") = true;
    }

    pub(crate) fn open(&self) {
        *self.shut.0.lock().expect("nobody panics with it") = false;
        self.shut.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let shut = self.shut.0.lock().expect("nobody panics with it");
        // So that a test which has failed also ends.
        drop(self.shut.1.wait_timeout_while(shut, PATIENCE, |shut| *shut));
    }
}

struct Around {
    host: Box<dyn Backend>,
    begin: Box<dyn FnMut() -> Result<(), DeviceError> + Send>,
}

impl Backend for Around {
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
        (self.begin)()?;
        self.host.begin(batch)
    }
    fn launch(&mut self, op: &Op) -> Result<(), DeviceError> {
        self.host.launch(op)
    }
    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
        self.host.fetch(view)
    }
    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError> {
        self.host.write(view, rows)
    }
    fn arena(&self) -> ArenaUsage {
        self.host.arena()
    }
    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError> {
        self.host.time(ops, repeats)
    }
    fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        self.host.ceilings()
    }
}

/// A file of one test, removed with it.
pub(crate) struct TestFile(pub(crate) PathBuf);

impl TestFile {
    pub(crate) fn new(name: &str, content: &str) -> TestFile {
        let path = std::env::temp_dir().join(format!("bigbatch-ops-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("the temporary directory is writable");
        TestFile(path)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
