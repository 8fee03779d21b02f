//! The time that HTTP adds to a request: the server over a backend of constant time, next to the same engine
//! called directly. Inputs are token ids, so nothing is tokenized.

use std::io::{Read, Write};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use bigbatch_engine::backend::{ArenaUsage, Backend, Ceilings, Fetch, Op, View};
use bigbatch_engine::{DeviceError, Engine, Input, PackedBatch, Request, Task, Truncate};
use bigbatch_server::ServedModel;

use crate::support::{Server, Setup, model, options, post};

const BATCH: Duration = Duration::from_millis(2);
const TOKENS: usize = 1024;
const REQUESTS: usize = 3000;
const P99_MS_LIMIT: f64 = 1.0;

/// A backend that takes a constant time and returns ones.
struct Constant;

impl Backend for Constant {
    fn begin(&mut self, _: &PackedBatch) -> Result<(), DeviceError> {
        thread::sleep(BATCH);
        Ok(())
    }
    fn launch(&mut self, _: &Op) -> Result<(), DeviceError> {
        Ok(())
    }
    fn launch_rows(&mut self, _: &Op, _: Range<usize>) -> Result<(), DeviceError> {
        Ok(())
    }
    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
        Ok(Fetch::Done(vec![1.0; view.rows * view.cols]))
    }
    fn write(&mut self, _: &View, _: &[f32]) -> Result<(), DeviceError> {
        Ok(())
    }
    fn arena(&self) -> ArenaUsage {
        ArenaUsage::default()
    }
    fn time(&mut self, _: &[Op], _: usize) -> Result<Vec<f64>, DeviceError> {
        Ok(Vec::new())
    }
    fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        Ok(Ceilings { what: String::new(), flops_per_second: 1.0, bytes_per_second: 1.0 })
    }
}

fn percentile_ms(mut times: Vec<Duration>, percent: usize) -> f64 {
    times.sort();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times[rank - 1].as_secs_f64() * 1e3
}

#[test]
#[ignore = "a measurement; cargo test --release -p bigbatch-server --test ops -- --ignored --nocapture"]
fn http_adds_less_than_a_millisecond() {
    let around = |_| Box::new(Constant) as Box<dyn Backend>;
    let engine = Engine::start_with_backend(model(), &options(), around).expect("starts");
    let server = Server::start(vec![ServedModel::new("m", "embedded", engine)], Setup::default());
    let ids: Vec<u32> = (0..TOKENS as u32).map(|n| 10 + n % 200).collect();
    let list: Vec<String> = ids.iter().map(u32::to_string).collect();
    let body = format!(r#"{{"inputs":[[{}]]}}"#, list.join(","));
    let request = post("/embed", "", body.as_bytes());
    let request = String::from_utf8(request).expect("text").replace("connection: close\r\n", "");
    let mut stream = server.connect();
    stream.set_nodelay(true).expect("it can be set");
    let served = server.app.models.get(None).expect("one model");
    let (mut over_http, mut direct) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        let started = Instant::now();
        let input = Input::Ids(ids.clone());
        let task = Task::Embed { pooling: None, normalize: true, dimensions: None, layer: None };
        let asked = Request::new(input, task, Truncate::No);
        served.engine.submit(asked).expect("admitted").wait().expect("answered");
        direct.push(started.elapsed());
        let started = Instant::now();
        stream.write_all(request.as_bytes()).expect("the server reads");
        read_answer(&mut stream);
        over_http.push(started.elapsed());
    }
    for percent in [50, 90, 99] {
        let (http, own) =
            (percentile_ms(over_http.clone(), percent), percentile_ms(direct.clone(), percent));
        println!(
            "p{percent}: engine {own:.3} ms, over HTTP {http:.3} ms, added {:.3} ms",
            http - own
        );
    }
    let added = percentile_ms(over_http, 99) - percentile_ms(direct, 99);
    assert!(added <= P99_MS_LIMIT, "{added} ms");
}

/// One answer of a connection that stays open.
fn read_answer(stream: &mut impl Read) {
    let (mut all, mut some) = (Vec::new(), [0; 16_384]);
    loop {
        let n = stream.read(&mut some).expect("an answer");
        assert!(n > 0, "the server closed");
        all.extend_from_slice(&some[..n]);
        let text = String::from_utf8_lossy(&all);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|n| n.parse().ok()).expect("a length");
        if body.len() >= length {
            return;
        }
    }
}
