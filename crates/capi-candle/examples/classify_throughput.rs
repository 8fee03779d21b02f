//! Measures what the library costs: texts of about 1000 tokens classified by 100 threads through the C function that a
//! router calls, and by as many through the engine itself.
//!
//!     cargo run --release -p bigbatch-capi-candle --example classify_throughput -- MODEL_DIRECTORY [SECONDS]
//!
//! With `--features cuda` both run on the first CUDA device. They run one after the other, three times in turn; each time
//! ends when every thread has its last answer.

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bigbatch_engine::{
    Checkpoint, DeviceKind, Engine, EngineOptions, Input, LoadOptions, Model, Request, Response,
    Task, Truncate, units,
};
// The exported functions are in this crate; nothing of it is named.
use candle_semantic_router as _;

const THREADS: usize = 100;

#[repr(C)]
struct Class {
    class: i32,
    confidence: f32,
}

// SAFETY: the declarations are the binding's, and the definitions are in `candle_semantic_router`.
unsafe extern "C" {
    fn init_mmbert_32k_intent_classifier(model_id: *const c_char, use_cpu: bool) -> bool;
    fn classify_mmbert_32k_intent(text: *const c_char) -> Class;
}

fn text(thread: usize) -> CString {
    let text = format!("caller {thread} writes {}", "about a parcel that never came, ".repeat(125));
    CString::new(text).expect("it has no zero byte")
}

/// Runs `call` in all threads for a while, and returns the calls per second.
fn rate(duration: Duration, call: impl Fn(&CStr) + Sync) -> f64 {
    let calls = AtomicU64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (call, calls) = (&call, &calls);
            scope.spawn(move || {
                let text = text(thread);
                while began.elapsed() < duration {
                    call(&text);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    calls.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn start_engine(directory: &str) -> Engine {
    let checkpoint = Checkpoint::directory(Path::new(directory));
    let model = Model::load(&checkpoint, LoadOptions::default()).expect("the model loads");
    let mut options = EngineOptions::default();
    options.device.kind = DeviceKind::auto();
    if let Ok(text) = std::env::var("BIGBATCH_MEMORY_BUDGET") {
        options.device.memory_budget_bytes = units::parse_bytes(&text).expect("it is a size");
    }
    Engine::start(model, &options).expect("the engine starts")
}

fn ask(engine: &Engine, text: &CStr) -> Response {
    let input = Input::Text(text.to_str().expect("it is UTF-8").to_owned());
    let request = Request::new(input, Task::Classify { raw_scores: false }, Truncate::No);
    engine.submit(request).expect("it is admitted").wait().expect("it is answered")
}

fn main() {
    let mut args = std::env::args().skip(1);
    let directory = args.next().expect("usage: classify_throughput MODEL_DIRECTORY [SECONDS]");
    let seconds = args.next().map_or(10, |text| text.parse().expect("SECONDS is a number"));
    let duration = Duration::from_secs(seconds);
    let engine = start_engine(&directory);
    let path = CString::new(directory).expect("an argument has no zero byte");
    // SAFETY: the path is a C string.
    assert!(unsafe { init_mmbert_32k_intent_classifier(path.as_ptr(), false) }, "the model loads");
    let through_c = |text: &CStr| {
        // SAFETY: the text is a C string.
        let found = unsafe { classify_mmbert_32k_intent(text.as_ptr()) };
        assert!(found.class >= 0 && found.confidence > 0.0, "a text was not classified");
    };
    let through_engine = |text: &CStr| {
        ask(&engine, text);
    };
    let tokens = ask(&engine, &text(0)).tokens;
    println!("{THREADS} threads, texts of {tokens} tokens");
    for run in 1..=3 {
        let (c, own) = (rate(duration, through_c), rate(duration, through_engine));
        println!(
            "run {run}: {c:.1} texts/s through C, {own:.1} through the engine: {:.3}x",
            c / own
        );
    }
}
