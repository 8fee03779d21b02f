//! Memory readings of the engine in this process, with the load at their time.

use std::sync::Arc;

use bigbatch_engine::{Engine, EngineOptions, Model, RopeOverride, TaskKind};
use bigbatch_validate::system::{InProcess, Prompt, Target, Terms};

fn in_process() -> InProcess {
    let checkpoint = bigbatch_models::checkpoint("random", TaskKind::Embed).expect("embedded");
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).expect("loads");
    let mut options = EngineOptions::default();
    options.device.max_batch_tokens = Some(256);
    let engine = Engine::start(model, &options).expect("starts");
    InProcess::new(engine, options.device.memory_budget_bytes, "test")
}

#[tokio::test]
async fn an_idle_engine_holds_nothing_of_its_arena_and_counts_its_batches() {
    let target = in_process();
    let before = target.memory();
    let arena = before.arena.expect("the engine tells");
    assert_eq!((before.batches, before.requests_in_flight), (Some(0), Some(0)));
    assert_eq!((arena.used_bytes, arena.largest_free_bytes), (0, arena.capacity_bytes));
    assert_eq!(before.card_used_bytes, None, "a CPU has no card");

    let text: Arc<str> = "a few words".into();
    let prompt = Prompt::new(text.clone(), 0..text.len(), 5).expect("a whole text");
    for _ in 0..3 {
        target.send(&prompt, Terms::default()).await.expect("answered");
    }
    let after = target.memory();
    assert_eq!((after.batches, after.requests_in_flight), (Some(3), Some(0)));
    assert_eq!(after.batches_in_flight, Some(0));
    let arena = after.arena.expect("the engine tells");
    assert!(arena.high_water_bytes > 0 && arena.used_bytes == 0, "{arena:?}");
    assert_eq!(arena.fragmentation(), 0.0);
}
