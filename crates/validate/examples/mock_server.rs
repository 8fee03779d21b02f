//! Runs the tests' mock server: a known latency law behind the wire shapes of real servers.
//!
//! `cargo run --release -p bigbatch-validate --example mock_server -- --port 8080 --latency constant:5`
//!
//! `python/peers/agreement.sh` checks load generators with it. It prints its URL and runs until it is killed.

#[path = "../tests/mock/mod.rs"]
mod mock;

use std::process::ExitCode;
use std::time::Duration;

use mock::{Dialect, Latency, MockOptions, MockServer};

const USAGE: &str = "usage: mock_server [--port N] [--speaks tei|predict|openai|classify|pooling] \
    [--latency constant:MS|exponential:MEAN_MS|bimodal:MS:RARE_MS:SHARE] [--seed N] [--dimensions N]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = options(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    for q in [0.5, 0.95, 0.99] {
        println!("law p{} {:.3} ms", q * 100.0, options.latency.quantile(q) * 1e3);
    }
    let server = MockServer::start(options);
    println!("{}", server.url());
    server.wait();
    ExitCode::SUCCESS
}

fn options(args: &[String]) -> Option<MockOptions> {
    let mut options = MockOptions { dimensions: 768, ..MockOptions::new(Dialect::TeiEmbed) };
    for pair in args.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--port" => options.port = value.parse().ok()?,
            "--seed" => options.seed = value.parse().ok()?,
            "--dimensions" => options.dimensions = value.parse().ok().filter(|&n| n > 0)?,
            "--latency" => options.latency = latency(value)?,
            "--speaks" => {
                options.dialect = match value.as_str() {
                    "tei" => Dialect::TeiEmbed,
                    "predict" => Dialect::TeiPredict,
                    "openai" => Dialect::OpenAi,
                    "classify" => Dialect::VllmClassify,
                    "pooling" => Dialect::VllmPooling,
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some(options)
}

fn latency(text: &str) -> Option<Latency> {
    let parts: Vec<&str> = text.split(':').collect();
    let ms = |text: &str| Duration::try_from_secs_f64(text.parse::<f64>().ok()? / 1e3).ok();
    match parts.as_slice() {
        ["constant", time] => Some(Latency::Constant(ms(time)?)),
        ["exponential", mean] => Some(Latency::Exponential(ms(mean)?)),
        ["bimodal", usual, rare, share] => {
            let share: f64 = share.parse().ok()?;
            (0.0..=1.0).contains(&share).then_some(())?;
            Some(Latency::Bimodal(ms(usual)?, ms(rare)?, share))
        }
        _ => None,
    }
}
