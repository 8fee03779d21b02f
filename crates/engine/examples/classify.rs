//! Classifies one text: `cargo run --example classify -- MODEL TEXT`, MODEL a directory or a Hub id.

use bigbatch_engine::{
    Answer, Checkpoint, Engine, EngineOptions, HubOptions, Input, Model, Request, RopeOverride,
    Task, Truncate,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(source), Some(text)) = (args.next(), args.next()) else {
        return Err("usage: classify MODEL TEXT".into());
    };
    let checkpoint = Checkpoint::resolve(&source, &HubOptions::default())?;
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint)?;
    let engine = Engine::start(model, &EngineOptions::default())?;
    let (input, task) = (Input::Text(text), Task::Classify { raw_scores: false });
    let response = engine.submit(Request { input, task, truncate: Truncate::No })?.wait()?;
    if let Answer::Labels(labels) = response.answer {
        labels.iter().for_each(|label| println!("{:.4} {}", label.score, label.label));
    }
    Ok(())
}
