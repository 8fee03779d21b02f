//! The replay of buffers, through allocators whose answers are known.

use bigbatch_allocators::{
    Allocator, AllocatorFactory, Buffer, BufferPlan, CachingAllocator, ExperimentSetup, FreeMemory,
    HostArena, HostPerOperation, MemoryExperiment, Traffic, Usage, compare,
};
use bigbatch_engine::{
    Device, DeviceError, DeviceOptions, EngineOptions, Model, RopeOverride, TaskKind,
};

fn load() -> Model {
    let checkpoint = bigbatch_models::checkpoint("random", TaskKind::Embed).expect("embedded");
    Model::load(&checkpoint, RopeOverride::Checkpoint).expect("loads")
}

fn plan(model: &Model) -> BufferPlan<'_> {
    let options = DeviceOptions { max_batch_tokens: Some(300), ..EngineOptions::default().device };
    BufferPlan::new(model, Device::start(model, &options).expect("starts").workspace())
}

fn traffic() -> Traffic {
    let batches = (0..20).map(|n| vec![5 + n, 100, 3 * n + 1]).collect();
    Traffic { origin: "the test".into(), batches }
}

fn run(
    plan: &BufferPlan<'_>,
    budget_bytes: u64,
    strategies: &[(&str, AllocatorFactory<'_>)],
) -> MemoryExperiment {
    let named = |name: &str| name.to_owned();
    let setup = ExperimentSetup {
        model: named("m"),
        device: named("d"),
        dtype: named("f32"),
        budget_bytes,
    };
    compare(setup, plan, &traffic(), strategies, 3).expect("no fault")
}

/// Counts live bytes, which `demand_bytes_max` should equal; refuses beyond `limit`.
struct Counting {
    live: Vec<Option<u64>>,
    limit: u64,
}

impl Counting {
    fn used(&self) -> u64 {
        self.live.iter().flatten().sum()
    }
}

impl Allocator for Counting {
    fn allocate(&mut self, slot: usize, buffer: &Buffer) -> Result<(), DeviceError> {
        let bytes = buffer.bytes as u64;
        if self.used() + bytes > self.limit {
            return Err(DeviceError::OutOfMemory {
                device: "test".into(),
                purpose: "a buffer",
                asked_bytes: bytes,
                free_bytes: self.limit - self.used(),
            });
        }
        self.live.resize(self.live.len().max(slot + 1), None);
        assert_eq!(self.live[slot].replace(bytes), None, "slot {slot} is made twice");
        Ok(())
    }
    fn free(&mut self, slot: usize) -> Result<(), DeviceError> {
        self.live.get_mut(slot).map(Option::take);
        Ok(())
    }
    fn touch(&mut self, slot: usize) -> Result<(), DeviceError> {
        assert!(self.live[slot].is_some(), "slot {slot} is written to when it is live");
        Ok(())
    }
    fn finish(&mut self) -> Result<(), DeviceError> {
        assert_eq!(self.used(), 0, "a batch leaves nothing behind");
        Ok(())
    }
    fn usage(&mut self) -> Result<Usage, DeviceError> {
        let used_bytes = self.used();
        let free = Some(FreeMemory { bytes: 100, largest_bytes: 75 });
        Ok(Usage { reserved_bytes: used_bytes + 100, used_bytes, free, system_calls: Some(40) })
    }
}

fn counting(limit: u64) -> AllocatorFactory<'static> {
    Box::new(move || Ok(Box::new(Counting { live: Vec::new(), limit })))
}

#[test]
fn live_bytes_are_those_requested_and_failures_are_counted() {
    let model = load();
    let plan = plan(&model);
    let asked = plan.list(&[24, 100, 58]).peak_bytes() as u64;
    let smallest = plan.list(&[5, 100, 1]).peak_bytes() as u64;
    let broken: AllocatorFactory<'_> = Box::new(|| {
        let (device, reason) = ("test".into(), "it is broken".into());
        Err(DeviceError::Unavailable { device, reason })
    });
    let strategies = [("all", counting(u64::MAX)), ("few", counting(smallest)), ("no", broken)];
    let found = run(&plan, asked, &strategies);
    assert_eq!(found.demand_bytes_max, asked, "the last batch is the largest");
    let [all, few, no] = &found.strategies[..] else { panic!("three") };
    assert_eq!((all.used_bytes_max, all.reserved_bytes_max), (asked, asked + 100));
    assert_eq!((all.batches_failed, all.batches_over_budget), (0, 1), "over by its 100 bytes");
    assert_eq!((all.fragmentation_max, all.fragmentation_idle_mean), (Some(0.25), Some(0.25)));
    assert_eq!((all.reserved_bytes_idle, all.system_calls_per_batch), (100, Some(2.0)));
    let times = all.allocator_us.expect("timed");
    assert!(times.median <= times.p95 && times.p95 <= times.max, "{times:?}");
    assert_eq!(few.batches_failed, 19, "only the first batch fits");
    assert_eq!(no.not_run.as_deref(), Some("device test is not available: it is broken"));
    let most = found.demand.iter().map(|&(_, bytes)| bytes).max();
    let shown = traffic().batches[..12].iter().map(|lengths| plan.list(lengths).peak_bytes()).max();
    assert_eq!(most, shown.map(|bytes| bytes as u64), "thinning keeps the peak");
}

#[test]
fn the_arena_holds_less_than_what_is_live_elsewhere_and_never_fails() {
    let model = load();
    let plan = plan(&model);
    let capacity = plan.capacity_bytes();
    let strategies: [(&str, AllocatorFactory<'_>); 3] = [
        ("arena", Box::new(move || Ok(Box::new(HostArena::new(capacity))))),
        ("malloc", Box::new(|| Ok(Box::new(HostPerOperation::default())))),
        ("cache", Box::new(|| Ok(Box::new(CachingAllocator::new(1 << 30))))),
    ];
    let found = run(&plan, 1 << 30, &strategies);
    let [arena, malloc, cache] = &found.strategies[..] else { panic!("three") };
    assert_eq!((arena.batches_failed, arena.fragmentation_max), (0, Some(0.0)));
    assert_eq!(arena.reserved_bytes_max, capacity as u64);
    assert!(arena.used_bytes_max < malloc.used_bytes_max, "computing in place saves buffers");
    assert_eq!(malloc.used_bytes_max, found.demand_bytes_max);
    assert_eq!(malloc.reserved_bytes_idle, 0);
    assert!(cache.simulated && cache.allocator_us.is_none() && cache.batch_us.is_none());
    assert!(cache.reserved_bytes_max >= cache.used_bytes_max);
    assert_eq!(cache.reserved_bytes_idle, cache.reserved_bytes_max, "it keeps what it has");
}
