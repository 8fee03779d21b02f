//! A server on a free port, and a client that writes and reads bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bigbatch_engine::{
    DeviceError, Engine, EngineOptions, Model, PackedBatch, RopeOverride, TaskKind,
};
use bigbatch_server::serve::{Gateway, Shutdown, Tls, listen, serve};
use bigbatch_server::{App, Keys, Models, Options, Phase, ServedModel, Transport, router};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::hooked::hooked;

/// Far longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The options of a server under test.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) transport: Transport,
    pub(crate) keys: Keys,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) ended: JoinHandle<Shutdown>,
    pub(crate) runtime: Runtime,
}

impl Server {
    pub(crate) fn start(served: Vec<ServedModel>, setup: Setup) -> Server {
        let runtime = Runtime::new().expect("a runtime starts");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = {
            let _entered = runtime.enter();
            listen(address, &setup.transport).expect("a port is free")
        };
        let address = listener.local_addr().expect("it is bound");
        let door = Gateway::default();
        let models = Models::new(served).expect("names differ");
        let (life, observe) = (door.life().clone(), door.counters().clone());
        let app = App::with_guards(models, setup.options, Arc::new(setup.keys), life, observe);
        door.open(router(app.clone()));
        let ended = runtime.spawn(serve(listener, setup.tls, setup.transport, door));
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
        // The server may have refused and closed already.
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

    /// Repeats a GET until its answer satisfies `wished`; panics after [`PATIENCE`].
    pub(crate) fn until(&self, path: &str, wished: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path);
            if wished(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} still answers {answer}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the server and returns how it shut down.
    pub(crate) fn stop(self) -> Shutdown {
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

/// Returns the status of an answer; 0 without an answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

pub(crate) fn model() -> Model {
    let checkpoint = bigbatch_models::checkpoint("embed", TaskKind::Embed).expect("embedded");
    Model::load(&checkpoint, RopeOverride::Checkpoint).expect("loads")
}

pub(crate) fn options() -> EngineOptions {
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device.threads = 1;
    options
}

pub(crate) fn served(name: &str) -> ServedModel {
    ServedModel::new(name, "embedded", Engine::start(model(), &options()).expect("starts"))
}

/// Returns an engine that calls `begin` before each batch.
pub(crate) fn served_with_hook(
    begin: impl FnMut() -> Result<(), DeviceError> + Send + 'static,
) -> ServedModel {
    served_with_capacity(options().max_concurrent_requests, begin)
}

fn served_with_capacity(
    max_concurrent_requests: usize,
    mut begin: impl FnMut() -> Result<(), DeviceError> + Send + 'static,
) -> ServedModel {
    let options = EngineOptions { max_concurrent_requests, ..options() };
    let around = |host| hooked(host, move |_: &PackedBatch| begin());
    ServedModel::new(
        "m",
        "embedded",
        Engine::start_with_backend(model(), &options, around).expect("starts"),
    )
}

/// Holds batches back while it is shut.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    shut: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    pub(crate) fn served(&self) -> ServedModel {
        self.served_with(options().max_concurrent_requests)
    }

    /// Returns an engine that admits at most `capacity` requests.
    pub(crate) fn served_with(&self, capacity: usize) -> ServedModel {
        let gate = self.clone();
        served_with_capacity(capacity, move || {
            gate.pass();
            Ok(())
        })
    }

    pub(crate) fn shut(&self) {
        *self.shut.0.lock().expect("no holder panics") = true;
    }

    pub(crate) fn open(&self) {
        *self.shut.0.lock().expect("no holder panics") = false;
        self.shut.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let shut = self.shut.0.lock().expect("no holder panics");
        // The time-out lets a test that has failed end.
        drop(self.shut.1.wait_timeout_while(shut, PATIENCE, |shut| *shut));
    }
}

/// A temporary file, removed when dropped.
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
