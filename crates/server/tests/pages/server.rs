//! A server on a free port with models of hostile names and labels, and a client that is not a browser.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bigbatch_engine::{
    DeviceOptions, Dtype, Engine, EngineOptions, Init, InitHead, Model, Preset, RopeOverride,
};
use bigbatch_server::{App, Keys, Lifecycle, Models, Options, Phase, ServedModel, router};

/// A text that runs a script if it is parsed as markup.
pub(crate) const HOSTILE: &str = "<img src=x onerror=\"window.hacked=1\">";

/// A server, stopped when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    /// One model of each kind that the playground draws; names and labels are hostile.
    pub(crate) fn start() -> Server {
        Server::with_keys(Keys::default())
    }

    /// As [`Server::start`], behind API keys.
    pub(crate) fn with_keys(keys: Keys) -> Server {
        let label = |name: &str| format!("{name}-{HOSTILE}");
        let labels = vec!["calm".to_owned(), label("LABEL"), "third".to_owned()];
        let tags = vec!["O".to_owned(), format!("B-{HOSTILE}"), format!("I-{HOSTILE}")];
        let models = Models::new(vec![
            ServedModel::new(label("masked"), label("source"), engine(InitHead::MaskedLm)),
            ServedModel::new("labels", "source", engine(InitHead::Sequence(labels))),
            ServedModel::new("tags", "source", engine(InitHead::Token(tags))),
            ServedModel::new(
                "ranks",
                "source",
                engine(InitHead::Sequence(vec![HOSTILE.to_owned()])),
            ),
        ]);
        let life = Arc::new(Lifecycle::default());
        life.enter(Phase::Ready);
        let models = models.expect("four names");
        let app =
            App::with_guards(models, Options::default(), Arc::new(keys), life, Arc::default());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listen = tokio::net::TcpListener::bind("127.0.0.1:0");
        let listener = runtime.block_on(listen).expect("a free port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(app.clone().keep_history());
        runtime.spawn(async move { axum::serve(listener, router(app)).await });
        Server { address, _runtime: runtime }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns head and body of an answer.
    pub(crate) fn get(&self, path: &str, accept: &str) -> (String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\naccept: {accept}\r\n"), "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (String, String) {
        let head = format!(
            "POST {path} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        self.send(&head, body)
    }

    fn send(&self, head: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let request = format!("{head}host: test\r\nconnection: close\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }
}

fn engine(head: InitHead) -> Engine {
    let preset = Preset::named("random").expect("it is known");
    let (tokenizer, config) = bigbatch_models::tokenizer_files();
    let init = Init { preset, head, seed: 0, dtype: Dtype::F32 };
    let checkpoint =
        init.checkpoint("random", Cow::Borrowed(tokenizer), Cow::Borrowed(config)).expect("sound");
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).expect("sound");
    let defaults = EngineOptions::default();
    let device = DeviceOptions { threads: 1, max_batch_tokens: Some(1024), ..defaults.device };
    let options = EngineOptions { device, tokenizer_threads: 1, ..defaults };
    Engine::start(model, &options).expect("1024 tokens fit")
}
