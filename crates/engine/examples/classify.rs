//! Classifies texts: `cargo run -p bigbatch-engine --example classify -- MODEL TEXT...`, MODEL a directory or a Hub id.

use bigbatch_engine::{Checkpoint, Engine, EngineOptions, HubOptions, Model, RopeOverride};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let source = args.next().ok_or("usage: classify MODEL TEXT...")?;
    let checkpoint = Checkpoint::resolve(&source, &HubOptions::default())?;
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint)?;
    let engine = Engine::start(model, &EngineOptions::default())?;
    for labels in engine.classify_all(args)? {
        let labels = labels?;
        println!("{:.4} {}", labels[0].score, labels[0].label);
    }
    Ok(())
}
