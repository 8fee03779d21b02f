//! The allocators of device memory, on a device. Without one each test prints that it is skipped.
//!
//! They measure the device's free memory, so they run one at a time.
#![cfg(feature = "cuda")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bigbatch_allocators::cuda::{DeviceArena, DevicePerOperation, StreamOrderedPool};
use bigbatch_allocators::{Allocator, Buffer};
use bigbatch_engine::backend::cuda::driver::device::{self, DeviceContext};
use bigbatch_engine::{DeviceError, units};

const MIB: usize = 1 << 20;

/// Waits for the device; without one, prints so and returns `None`.
fn device_turn() -> Option<(MutexGuard<'static, ()>, Arc<DeviceContext>)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match device::list() {
        Ok(devices) if !devices.is_empty() => Some((turn, DeviceContext::open(0).unwrap())),
        Ok(_) => {
            println!("skipped: no CUDA device");
            None
        }
        Err(error) => {
            println!("skipped: no CUDA device ({error})");
            None
        }
    }
}

fn buffer(bytes: usize, offset_bytes: usize) -> Buffer {
    Buffer { name: String::new(), bytes, first_step: 0, last_step: 0, offset_bytes }
}

/// Forty buffers of 1 to 32 MiB, three of them live at a time.
fn replay(allocator: &mut dyn Allocator) -> u64 {
    let mut random = fastrand::Rng::with_seed(1);
    let mut most = 0;
    for slot in 0..40 {
        let bytes = random.usize(1..=32) * MIB - random.usize(0..MIB);
        allocator.allocate(slot, &buffer(bytes, slot % 3 * 32 * MIB)).unwrap();
        allocator.touch(slot).unwrap();
        most = most.max(allocator.usage().unwrap().used_bytes);
        if slot >= 2 {
            allocator.free(slot - 2).unwrap();
        }
    }
    for slot in 38..40 {
        allocator.free(slot).unwrap();
    }
    allocator.finish().unwrap();
    most
}

fn replay_and_print(name: &str, allocator: &mut dyn Allocator) -> (u64, u64) {
    let started = Instant::now();
    let most = replay(allocator);
    let usage = allocator.usage().unwrap();
    println!(
        "{name}: {:.3} ms, up to {} used, {} reserved at the end",
        started.elapsed().as_secs_f64() * 1e3,
        units::bytes(most),
        units::bytes(usage.reserved_bytes)
    );
    assert!(most > 32 * MIB as u64 && most <= 96 * MIB as u64 + 3 * 4096, "{name}: {most}");
    (usage.reserved_bytes, usage.used_bytes)
}

#[test]
fn each_allocator_holds_between_batches_what_its_kind_holds() {
    let Some((_turn, device)) = device_turn() else { return };
    let (free_before, _) = device.free_and_total_bytes().unwrap();
    let arena = replay_and_print("arena", &mut DeviceArena::new(&device, 96 * MIB).unwrap());
    assert_eq!(arena, (96 * MIB as u64, 0));
    let keeps = replay_and_print(
        "pool, keeps all",
        &mut StreamOrderedPool::new(&device, u64::MAX).unwrap(),
    );
    assert!(keeps.0 >= 32 * MIB as u64 && keeps.1 == 0, "{keeps:?}");
    let gives =
        replay_and_print("pool, threshold 0", &mut StreamOrderedPool::new(&device, 0).unwrap());
    assert_eq!(gives, (0, 0), "released when the stream was synchronised");
    let each = replay_and_print("per operation", &mut DevicePerOperation::new(&device).unwrap());
    assert_eq!(each.1, 0);
    let (free_after, _) = device.free_and_total_bytes().unwrap();
    let kept = free_before.saturating_sub(free_after);
    // The driver keeps some code for memsets and pools, and nothing of the buffers.
    assert!(kept < 64 * MIB as u64, "{} are gone", units::bytes(kept));
}

#[test]
fn a_refused_buffer_is_out_of_memory_and_the_next_one_is_served() {
    let Some((_turn, device)) = device_turn() else { return };
    let (_, total) = device.free_and_total_bytes().unwrap();
    let too_large = buffer(2 * total as usize, 0);
    let all: [(&str, Box<dyn Allocator>); 4] = [
        ("arena", Box::new(DeviceArena::new(&device, 96 * MIB).unwrap())),
        ("pool, keeps all", Box::new(StreamOrderedPool::new(&device, u64::MAX).unwrap())),
        ("pool, threshold 0", Box::new(StreamOrderedPool::new(&device, 0).unwrap())),
        ("per operation", Box::new(DevicePerOperation::new(&device).unwrap())),
    ];
    for (name, mut allocator) in all {
        let error = allocator.allocate(0, &too_large).expect_err(name);
        println!("{name}: {error}");
        assert!(matches!(error, DeviceError::OutOfMemory { .. }), "{name}: {error}");
        replay(&mut *allocator);
    }
}
