//! The CUDA backend on a device. Without one each test prints that it is skipped.
//!
//! The oracle is the CPU backend in f32, which `parity.rs` holds against `transformers`. The tests share a
//! device and count its memory, so they run one at a time.
#![cfg(feature = "cuda")]

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bigbatch_engine::backend::View;
use bigbatch_engine::backend::cuda::driver::device as cuda_device;
use bigbatch_engine::backend::cuda::driver::memory::allocations_after_startup;
use bigbatch_engine::{
    Device, DeviceError, DeviceKind, DeviceOptions, Dtype, EngineOptions, Init, InitHead,
    LoadError, Model, PackedBatch, Pooling, Preset, RopeOverride, Rows, Sequence, device_memory_of,
    units,
};

/// Least cosine of bf16 hidden states and the oracle's, over all positions.
const LEAST_COSINE: f64 = 0.9995;
/// Differences of label probabilities beyond which the arg max must be the same.
const CLEAR_MARGIN: f32 = 0.05;

/// Waits for the device; without one, prints so and returns `None`.
fn device_turn() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match cuda_device::list() {
        Ok(devices) if !devices.is_empty() => Some(turn),
        Ok(_) => None,
        Err(error) => {
            println!("skipped: no CUDA device ({error})");
            None
        }
    }
}

fn model(preset: &str, head: InitHead) -> Model {
    let init = Init { preset: Preset::named(preset).unwrap(), head, seed: 7, dtype: Dtype::F32 };
    let (tokenizer, config) = bigbatch_models::tokenizer_files();
    let checkpoint =
        init.checkpoint(preset, Cow::Borrowed(tokenizer), Cow::Borrowed(config)).unwrap();
    Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap()
}

fn labels() -> Vec<String> {
    ["A", "B", "C"].map(String::from).to_vec()
}

fn start(model: &Model, kind: DeviceKind) -> Result<Device, LoadError> {
    let options = DeviceOptions { kind, ..EngineOptions::default().device };
    Device::start(model, &options)
}

fn cuda(model: &Model, dtype: Dtype) -> Device {
    let device = start(model, DeviceKind::Cuda(0, dtype)).unwrap();
    let report = device.cuda_report().unwrap();
    println!(
        "context {}, weights {}, loaded {}, arena {}, graphs {} ({}), used {}; {} tokens a batch",
        units::bytes(report.context_bytes),
        units::bytes(report.weight_bytes),
        units::bytes(report.loaded_bytes),
        units::bytes(report.arena_bytes),
        units::bytes(report.graph_bytes),
        report.graphs.len(),
        units::bytes(report.used_bytes),
        device.max_batch_tokens()
    );
    device
}

fn ids(len: usize, vocab: u32, seed: u64) -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u32(0..vocab)).collect()
}

fn pack(sequences: &[Vec<u32>], wants: &Rows) -> PackedBatch {
    PackedBatch::pack(sequences.iter().map(|ids| Sequence { token_ids: ids, wants }))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Returns the least cosine of corresponding rows, or NaN if any is NaN.
fn least_cosine(a: &[f32], b: &[f32], width: usize) -> f64 {
    assert_eq!(a.len(), b.len());
    let rows = a.chunks(width).zip(b.chunks(width)).map(|(a, b)| cosine(a, b));
    rows.fold(1.0, |least, c| if c >= least { least } else { c })
}

fn bits(rows: &[f32]) -> Vec<u32> {
    rows.iter().map(|x| x.to_bits()).collect()
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
}

/// Returns by how much the largest value of a row exceeds the second.
fn margin(row: &[f32]) -> f32 {
    let best = argmax(row);
    let second = row.iter().enumerate().filter(|(i, _)| *i != best).map(|(_, &x)| x);
    row[best] - second.fold(f32::NEG_INFINITY, f32::max)
}

#[test]
fn hidden_states_agree_with_the_cpu() {
    let Some(_turn) = device_turn() else { return };
    let model = model("modernbert-base-32k", InitHead::Base);
    let width = model.config.hidden_size;
    let sequences: Vec<Vec<u32>> = [1, 65, 512, 3, 1000, 127, 129, 2048]
        .iter()
        .enumerate()
        .map(|(i, &len)| ids(len, 50_368, i as u64))
        .collect();
    let batch = pack(&sequences, &Rows::Pooled(Pooling::Mean));
    let mut cpu = start(&model, DeviceKind::Cpu).unwrap();
    let expected = cpu.hidden(&batch).unwrap();
    let pooled = cpu.forward(&batch).unwrap().pooled;
    drop(cpu);
    for dtype in [Dtype::Bf16, Dtype::F16] {
        let mut device = cuda(&model, dtype);
        let got = device.hidden(&batch).unwrap();
        let hidden = least_cosine(&got, &expected, width);
        let means = least_cosine(&device.forward(&batch).unwrap().pooled, &pooled, width);
        println!("{dtype}: least cosine {hidden:.6} of hidden states, {means:.6} of means");
        assert!(hidden >= LEAST_COSINE && means >= LEAST_COSINE);
        // Small batches run as a recorded graph.
        let small = pack(&sequences[1..2], &Rows::Pooled(Pooling::Mean));
        let alone = device.hidden(&small).unwrap();
        assert_eq!(bits(&alone), bits(&got[width..][..alone.len()]), "{dtype}: graph and eager");
    }
}

#[test]
fn heads_agree_with_the_cpu() {
    let Some(_turn) = device_turn() else { return };
    let sequences: Vec<Vec<u32>> =
        [5, 64, 300].iter().map(|&len| ids(len, 4096, len as u64)).collect();
    let cases = [
        (InitHead::Sequence(labels()), Rows::Pooled(Pooling::Mean), 3),
        (InitHead::Token(labels()), Rows::All, 3),
        (InitHead::MaskedLm, Rows::At(vec![0, 4]), 4096),
    ];
    for (head, wants, outputs) in cases {
        let model = model("random", head);
        let batch = pack(&sequences, &wants);
        let expected = start(&model, DeviceKind::Cpu).unwrap().forward(&batch).unwrap().logits;
        let got = cuda(&model, Dtype::Bf16).forward(&batch).unwrap().logits;
        let least = least_cosine(&got, &expected, outputs);
        println!("{outputs} outputs of {} rows: least cosine {least:.5}", expected.len() / outputs);
        assert!(got.len() == expected.len() && least > 0.99, "{least}");
        for (a, b) in got.chunks(outputs).zip(expected.chunks(outputs)) {
            assert!(margin(b) < CLEAR_MARGIN || argmax(a) == argmax(b), "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_text_has_the_same_bits_in_any_batch() {
    let Some(_turn) = device_turn() else { return };
    let model = model("modernbert-base", InitHead::Base);
    let width = model.config.hidden_size;
    let mut device = cuda(&model, Dtype::Bf16);
    for choice in &device.cuda_report().unwrap().gemm {
        println!("{choice:?}");
    }
    let lengths = [1, 2, 63, 64, 65, 191, 192, 193, 500, 1024, 1025, 3000, 8192];
    let texts: Vec<Vec<u32>> =
        lengths.iter().map(|&len| ids(len, 50_368, 100 + len as u64)).collect();
    let wants = Rows::Pooled(Pooling::Mean);
    let alone: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| bits(&device.hidden(&pack(std::slice::from_ref(text), &wants)).unwrap()))
        .collect();
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..12 {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        random.shuffle(&mut order);
        order.truncate(random.usize(2..=texts.len()));
        let batch: Vec<Vec<u32>> = order.iter().map(|&i| texts[i].clone()).collect();
        let hidden = bits(&device.hidden(&pack(&batch, &wants)).unwrap());
        let mut row = 0;
        for &i in &order {
            let own = &hidden[row * width..][..lengths[i] * width];
            assert!(own == alone[i], "round {round}: {} tokens among {order:?}", lengths[i]);
            row += lengths[i];
        }
    }
}

/// Two blocks that race for a buffer, or read memory that was never written, seldom give one answer 200 times.
#[test]
fn two_hundred_runs_over_a_poisoned_arena_give_the_same_bits() {
    let Some(_turn) = device_turn() else { return };
    let model = model("modernbert-base", InitHead::Base);
    for dtype in [Dtype::Bf16, Dtype::F16] {
        let options = DeviceOptions {
            kind: DeviceKind::Cuda(0, dtype),
            max_batch_tokens: Some(2048),
            ..EngineOptions::default().device
        };
        let mut device = Device::start(&model, &options).unwrap();
        let elements = device.arena().planned_bytes as usize / 4;
        let all =
            View { offset_bytes: 0, rows: 1, cols: elements, stride: elements, dtype: Dtype::F32 };
        let poison = vec![f32::NAN; elements];
        let wants = Rows::Pooled(Pooling::Mean);
        // The first runs as launches, the second as a recorded graph.
        for lengths in [&[1, 700, 65, 129, 64, 333, 193][..], &[200]] {
            let texts: Vec<Vec<u32>> =
                lengths.iter().map(|&len| ids(len, 50_368, len as u64)).collect();
            let batch = pack(&texts, &wants);
            let first = bits(&device.forward(&batch).unwrap().pooled);
            assert!(first.iter().all(|&bits| f32::from_bits(bits).is_finite()));
            for run in 0..200 {
                device.backend().write(&all, &poison).unwrap();
                let again = bits(&device.forward(&batch).unwrap().pooled);
                assert!(again == first, "{dtype}, run {run} of {lengths:?}");
            }
        }
    }
}

/// Rows pooled before the last layer, in a batch that recorded graphs begin, in a larger one, and alone.
#[test]
fn exits_agree_with_the_cpu_and_do_not_depend_on_the_batch() {
    let Some(_turn) = device_turn() else { return };
    let model = model("modernbert-base", InitHead::Base);
    let (width, layout) = (model.config.hidden_size, model.row_layout());
    let exit = |layers, pooling| Rows::Exit { layers, pooling };
    let wants = [
        exit(6, Pooling::Mean),
        Rows::Pooled(Pooling::Mean),
        exit(11, Pooling::Cls),
        exit(6, Pooling::Cls),
        Rows::Pooled(Pooling::Cls),
    ];
    for scale in [1, 16] {
        let lengths = [50, 130, 70, 3, 300].map(|len| len * scale);
        let sequences = lengths.map(|len| ids(len, 50_368, len as u64));
        let rows = |device: &mut Device, chosen: &[usize]| -> Vec<Vec<f32>> {
            let sequence = |&n: &usize| Sequence { token_ids: &sequences[n], wants: &wants[n] };
            let batch = PackedBatch::pack(chosen.iter().map(sequence));
            let rows = device.forward(&batch).unwrap();
            let own = layout.split(chosen.iter().map(sequence), &rows);
            own.into_iter().map(<[f32]>::to_vec).collect()
        };
        let all = [0, 1, 2, 3, 4];
        let expected = rows(&mut start(&model, DeviceKind::Cpu).unwrap(), &all);
        let mut device = cuda(&model, Dtype::Bf16);
        let together = rows(&mut device, &all);
        for n in all {
            let cosine = least_cosine(&together[n], &expected[n], width);
            assert!(cosine >= LEAST_COSINE, "request {n}: {cosine}");
            let alone = rows(&mut device, &[n]);
            assert!(bits(&alone[0]) == bits(&together[n]), "request {n}");
        }
        let exits = rows(&mut device, &[0, 2, 3]);
        assert!(bits(&exits[1]) == bits(&together[2]), "without whole ones");
    }
}

/// Runs batches as the engine's loop does: the next one begins before the rows of the last are collected.
#[test]
fn a_batch_started_ahead_changes_nothing() {
    let Some(_turn) = device_turn() else { return };
    for (head, wants) in [
        (InitHead::Base, Rows::Pooled(Pooling::Mean)),
        // Rows of this head do not fit into one buffer on their way back.
        (InitHead::MaskedLm, Rows::At((0..64).collect())),
    ] {
        let model = model("modernbert-base", head);
        let mut device = cuda(&model, Dtype::Bf16);
        let batches: Vec<PackedBatch> = [100, 3000, 64, 65, 4096, 200]
            .iter()
            .map(|&len| pack(&[ids(len, 50_368, len as u64)], &wants))
            .collect();
        let one_by_one: Vec<_> = batches.iter().map(|b| device.forward(b).unwrap()).collect();
        let mut running = device.start_batch(&batches[0]).unwrap();
        for (n, expected) in one_by_one.iter().enumerate() {
            let next = batches.get(n + 1).map(|batch| device.start_batch(batch).unwrap());
            let rows = device.finish_batch(running).unwrap();
            assert!(bits(&rows.pooled) == bits(&expected.pooled), "batch {n}");
            assert!(bits(&rows.logits) == bits(&expected.logits), "batch {n}");
            match next {
                Some(next) => running = next,
                None => break,
            }
        }
    }
}

/// Runs short batches between the slices of long ones as the engine does: each is collected in the pause after its own.
#[test]
fn slices_with_short_batches_in_between_change_nothing() {
    let Some(_turn) = device_turn() else { return };
    let model = model("modernbert-base", InitHead::Base);
    let mut device = cuda(&model, Dtype::Bf16);
    let wants = Rows::Pooled(Pooling::Mean);
    let most = device.max_batch_tokens();
    let lengths = [vec![8192; most / 8192], vec![5000, 1, 2900, 192, 193, 4000], vec![8192]];
    for lengths in lengths {
        let long: Vec<_> = lengths.iter().map(|&len| ids(len, 50_368, len as u64)).collect();
        let long = pack(&long, &wants);
        let short: Vec<PackedBatch> = [100, 3000, 64, 2048]
            .iter()
            .map(|&len| pack(&[ids(len, 50_368, len as u64)], &wants))
            .collect();
        let alone = device.forward(&long).unwrap();
        let short_alone: Vec<_> = short.iter().map(|b| device.forward(b).unwrap()).collect();
        let (mut pauses, mut running) = (0, None);
        let batch = device.start_batch_in_slices(&long, &mut |device| {
            if let Some((n, batch)) = running.take() {
                let rows = device.finish_batch(batch).unwrap();
                let expected: &bigbatch_engine::OutputRows = &short_alone[n];
                assert!(bits(&rows.pooled) == bits(&expected.pooled), "short batch {n}");
            }
            let n = pauses % 5;
            if let Some(batch) = short.get(n) {
                running = Some((n, device.start_batch(batch).unwrap()));
            }
            pauses += 1;
            ControlFlow::Continue(())
        });
        let batch = batch.unwrap();
        if let Some((_, batch)) = running.take() {
            device.finish_batch(batch).unwrap();
        }
        let rows = device.finish_batch(batch).unwrap();
        assert!(bits(&rows.pooled) == bits(&alone.pooled), "{lengths:?}");
        println!("{} tokens: {pauses} pauses", long.tokens());
        assert!(pauses > 1, "{pauses} pauses");
    }
}

#[test]
fn nothing_is_allocated_after_start_up() {
    let Some(_turn) = device_turn() else { return };
    let model = model("modernbert-base", InitHead::Base);
    let mut device = cuda(&model, Dtype::Bf16);
    let used = || cuda_device::DeviceContext::open(0).unwrap().used_bytes().unwrap();
    let before = used();
    assert!(before <= 2 << 30, "{} of a budget of 2 GiB", units::bytes(before));
    let mut random = fastrand::Rng::with_seed(5);
    let longest = device.max_batch_tokens();
    for round in 0..60 {
        let mut left = if round % 3 == 0 { longest } else { random.usize(1..=3000) };
        let mut sequences = Vec::new();
        while left > 0 && sequences.len() < device.max_batch_sequences() {
            let len = random.usize(1..=8192.min(left));
            sequences.push(ids(len, 50_368, round));
            left -= len;
        }
        let rows = device.forward(&pack(&sequences, &Rows::Pooled(Pooling::Cls))).unwrap();
        assert!(rows.pooled.iter().all(|x| x.is_finite()));
    }
    println!("used {} before, {} after", units::bytes(before), units::bytes(used()));
    assert_eq!(allocations_after_startup(), 0);
    assert!(used() <= before, "{} more than before", units::bytes(used() - before));
}

#[test]
fn an_older_cards_path_gives_the_same_answer() {
    let Some(_turn) = device_turn() else { return };
    let model = model("random", InitHead::Base);
    let batch = pack(&[ids(700, 4096, 1), ids(90, 4096, 2)], &Rows::All);
    let native = cuda(&model, Dtype::Bf16).hidden(&batch).unwrap();
    for path in ["sm80", "sm89"] {
        // SAFETY: tests of this file run one at a time, and the program reads its environment only in
        // start-up, on this thread.
        unsafe { std::env::set_var("BIGBATCH_KERNELS", path) };
        let older = start(&model, DeviceKind::Cuda(0, Dtype::Bf16));
        // SAFETY: as above.
        unsafe { std::env::remove_var("BIGBATCH_KERNELS") };
        let hidden = older.unwrap().hidden(&batch).unwrap();
        let least = least_cosine(&hidden, &native, model.config.hidden_size);
        println!("{path}: least cosine {least:.6}");
        assert!(least >= LEAST_COSINE);
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line() {
    let Some(_turn) = device_turn() else { return };
    let model = model("modernbert-base", InitHead::Base);
    let refused = |kind, budget| {
        let memory_budget_bytes = budget;
        let options =
            DeviceOptions { kind, memory_budget_bytes, ..EngineOptions::default().device };
        let error = Device::start(&model, &options).err().expect("refused");
        println!("{error}");
        assert!(!error.to_string().contains('\n'));
        error
    };
    let bf16 = DeviceKind::Cuda(0, Dtype::Bf16);
    let error = refused(DeviceKind::Cuda(0, Dtype::F32), 2 << 30);
    assert!(matches!(error, LoadError::Option { option: "--dtype", .. }));
    assert!(matches!(refused(bf16, 300 << 20), LoadError::Budget { .. }));
    let beyond = refused(bf16, 1 << 50);
    assert!(matches!(beyond, LoadError::Option { option: "--memory-budget", .. }));
    let nowhere = refused(DeviceKind::Cuda(99, Dtype::Bf16), 2 << 30);
    assert!(matches!(nowhere, LoadError::Device(DeviceError::Unavailable { .. })));
    // And what was refused left nothing behind.
    assert!(start(&model, bf16).is_ok());
}

#[test]
fn figures() {
    let Some(_turn) = device_turn() else { return };
    let model = model("modernbert-base-32k", InitHead::Base);
    let mut device = cuda(&model, Dtype::Bf16);
    println!("{:>14} {:>10} {:>10}", "B x S", "ms", "Mtok/s");
    for (count, len) in
        [(1, 1024), (1, 8192), (1, 32_768), (64, 1024), (16, 4096), (8, 8192), (2, 32_768)]
    {
        let sequences: Vec<Vec<u32>> = (0..count).map(|i| ids(len, 50_368, i)).collect();
        let batch = pack(&sequences, &Rows::Pooled(Pooling::Mean));
        let mut times: Vec<f64> = (0..12)
            .map(|_| {
                let started = Instant::now();
                device.forward(&batch).unwrap();
                started.elapsed().as_secs_f64() * 1e3
            })
            .skip(2)
            .collect();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let rate = batch.tokens() as f64 / median / 1e3;
        println!("{:>14} {median:>10.3} {rate:>10.3}", format!("{count} x {len}"));
    }
}

#[test]
fn nvml_reports_the_same_process_memory_that_the_budget_is_held_against() {
    let Some(_turn) = device_turn() else { return };
    let device = cuda_device::DeviceContext::open(0).unwrap();
    let memory = device.memory();
    let from_outside = device_memory_of(std::process::id());
    println!("{memory:?} by the context, {from_outside:?} by process id");
    let process = memory.process_bytes.expect("a context is on the device");
    assert!(process > 0);
    if let Some(card) = memory.card_bytes {
        assert!(card >= process, "the card has {card}, this process alone {process}");
    }
    if let Some(other) = from_outside.and_then(|memory| memory.process_bytes) {
        assert_eq!(other, process, "both are NVML's entry of this process");
    }
}
