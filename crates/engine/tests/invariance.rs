//! A text alone and the same text in any batch give the same bits.

use std::ops::ControlFlow;

use bigbatch_engine::{
    Device, DeviceError, DeviceOptions, EngineOptions, Model, PackedBatch, Pooling, RopeOverride,
    Rows, Sequence, TaskKind,
};
use proptest::prelude::*;

fn device(task: TaskKind, threads: usize) -> Device {
    let checkpoint = bigbatch_models::checkpoint("random", task).unwrap();
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    let options =
        DeviceOptions { threads, max_batch_tokens: Some(4096), ..EngineOptions::default().device };
    Device::start(&model, &options).unwrap()
}

fn pack<'a>(sequences: &'a [Vec<u32>], wants: &'a Rows) -> PackedBatch {
    PackedBatch::pack(sequences.iter().map(|ids| Sequence { token_ids: ids, wants }))
}

fn bits(rows: &[f32]) -> Vec<u32> {
    rows.iter().map(|x| x.to_bits()).collect()
}

/// Lengths around the edges of blocks and of the window, and anything between.
fn sequence() -> impl Strategy<Value = Vec<u32>> {
    let edges = prop::sample::select(vec![1usize, 2, 63, 64, 65, 128, 129, 255, 256, 257]);
    prop_oneof![edges, 1usize..400].prop_flat_map(|len| prop::collection::vec(0u32..4096, len))
}

/// Token ids of a text.
fn ids(len: usize, seed: u32) -> Vec<u32> {
    (0..len as u32).map(|at| (at * 31 + seed * 7) % 4096).collect()
}

#[test]
fn slices_with_short_batches_in_between() {
    for (task, wants) in
        [(TaskKind::Embed, Rows::Pooled(Pooling::Mean)), (TaskKind::Tag, Rows::All)]
    {
        let mut device = device(task, 2);
        let long = [ids(1500, 1), ids(3, 2), ids(700, 3), ids(129, 4), ids(64, 5)];
        let short = [ids(70, 6), ids(1, 7)];
        let (long, short) = (pack(&long, &wants), pack(&short, &wants));
        let (long_alone, short_alone) =
            (device.forward(&long).unwrap(), device.forward(&short).unwrap());
        let mut pauses = 0;
        let batch = device.start_batch_in_slices(&long, &mut |device| {
            pauses += 1;
            if pauses % 5 == 0 {
                assert_eq!(device.forward(&short).unwrap(), short_alone);
            }
            ControlFlow::Continue(())
        });
        assert_eq!(device.finish_batch(batch.unwrap()).unwrap(), long_alone);
        // The pass has some 45 launches: they are divided.
        assert!(pauses > 60, "{pauses}");
    }
}

/// Blocks of few keys at the end of a sequence, which the last queries of a slice visit alone.
#[test]
fn slices_of_sequences_of_any_length() {
    for tokens in (513..535).chain([641, 650]) {
        let mut device = device(TaskKind::Embed, 1);
        let batch = pack(&[ids(tokens, 1)], &Rows::All);
        let alone = device.forward(&batch).unwrap();
        let slices =
            device.start_batch_in_slices(&batch, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(device.finish_batch(slices).unwrap(), alone, "{tokens} tokens");
    }
}

#[test]
fn a_batch_that_is_given_up_leaves_the_device_usable() {
    let mut device = device(TaskKind::Embed, 1);
    let batch = pack(&[ids(1500, 1)], &Rows::Pooled(Pooling::Mean));
    let mut left = 20;
    let given_up = device.start_batch_in_slices(&batch, &mut |_| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(given_up, Err(DeviceError::GivenUp { .. })));
    assert_eq!(device.forward(&batch).unwrap().pooled.len(), 128);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pooled_rows_and_hidden_states(
        sequences in prop::collection::vec(sequence(), 1..9),
        threads in 1usize..4,
    ) {
        let mut device = device(TaskKind::Embed, threads);
        let mean = Rows::Pooled(Pooling::Mean);
        let together = device.forward(&pack(&sequences, &mean)).unwrap().pooled;
        let hidden = device.hidden(&pack(&sequences, &mean)).unwrap();
        let mut row = 0;
        for (i, ids) in sequences.iter().enumerate() {
            let own = std::slice::from_ref(ids);
            let alone = device.forward(&pack(own, &mean)).unwrap().pooled;
            prop_assert_eq!(bits(&alone), bits(&together[i * 128..][..128]));
            let alone = device.hidden(&pack(own, &mean)).unwrap();
            prop_assert_eq!(bits(&alone), bits(&hidden[row * 128..][..alone.len()]));
            row += ids.len();
        }
    }

    #[test]
    fn labels_of_texts_and_of_tokens(sequences in prop::collection::vec(sequence(), 1..9)) {
        for (task, wants) in
            [(TaskKind::Classify, Rows::Pooled(Pooling::Mean)), (TaskKind::Tag, Rows::All)]
        {
            let mut device = device(task, 2);
            let together = device.forward(&pack(&sequences, &wants)).unwrap().logits;
            let mut alone = Vec::new();
            for ids in &sequences {
                let own = std::slice::from_ref(ids);
                alone.extend(device.forward(&pack(own, &wants)).unwrap().logits);
            }
            prop_assert_eq!(bits(&alone), bits(&together));
        }
    }
}
