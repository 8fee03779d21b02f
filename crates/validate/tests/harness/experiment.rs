//! The files of `bench memory`, rendered from a small experiment on the host.

use bigbatch_allocators::{
    AllocatorFactory, BufferPlan, CachingAllocator, ExperimentSetup, HostPerOperation,
    MemoryExperiment, Traffic, compare,
};
use bigbatch_engine::{Device, DeviceOptions, EngineOptions, Model, RopeOverride, TaskKind};
use bigbatch_validate::report::OutputDir;
use bigbatch_validate::report::experiment::{read, svg, write};

fn experiment() -> MemoryExperiment {
    let checkpoint = bigbatch_models::checkpoint("random", TaskKind::Embed).expect("embedded");
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).expect("loads");
    let options = DeviceOptions { max_batch_tokens: Some(300), ..EngineOptions::default().device };
    let device = Device::start(&model, &options).expect("starts");
    let batches = (0..20).map(|n| vec![5 + n, 100, 3 * n + 1]).collect();
    let traffic = Traffic { origin: "the test".into(), batches };
    let named = |name: &str| name.to_owned();
    let setup = ExperimentSetup {
        model: named("m"),
        device: named("d"),
        dtype: named("f32"),
        budget_bytes: 1 << 30,
    };
    let strategies: [(&str, AllocatorFactory<'_>); 2] = [
        ("malloc", Box::new(|| Ok(Box::new(HostPerOperation::default())))),
        ("cache", Box::new(|| Ok(Box::new(CachingAllocator::new(1 << 30))))),
    ];
    let plan = BufferPlan::new(&model, device.workspace());
    compare(setup, &plan, &traffic, &strategies, 3).expect("no fault")
}

#[test]
fn an_experiment_has_a_page_an_image_and_data_that_reads_back() {
    let found = experiment();
    let image = svg(&found).expect("there are batches");
    for part in ["<svg xmlns", "live buffers", "malloc, reserved", "cache, reserved", "batch 12"] {
        assert!(image.contains(part), "{part}");
    }
    let dir = concat!(env!("CARGO_TARGET_TMPDIR"), "/experiment");
    let output = OutputDir::create(std::path::Path::new(dir)).expect("writable");
    let written = write(&found, &output).expect("written");
    let names: Vec<_> = written.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, ["memory.json", "memory.html", "memory.svg"]);
    let page = std::fs::read_to_string(&written[1]).expect("it was written");
    for part in ["<table>", "<svg", "malloc", "simulated, so not timed", "20 batches", "batch 12"] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(read(&written[0]).expect("reads back"), found);
    let json = serde_json::to_string(&found).expect("plain data");
    assert_eq!(serde_json::from_str::<MemoryExperiment>(&json).expect("reads back"), found);
}
