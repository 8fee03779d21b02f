//! Properties of the batch plan and of packing, for any queue.

use bigbatch_engine::schedule::{QueuedRequest, next_batch, next_full_batch};
use bigbatch_engine::{Limits, PackedBatch, Pooling, Rows, Sequence};
use proptest::prelude::*;

const LIMITS: Limits = Limits { max_batch_tokens: 1000, max_batch_sequences: 8, max_masks: 16 };

fn waiting() -> impl Strategy<Value = Vec<QueuedRequest>> {
    let request = (1usize..=LIMITS.max_batch_tokens, 0usize..=LIMITS.max_masks)
        .prop_map(|(tokens, masks)| QueuedRequest { tokens, masks });
    prop::collection::vec(request, 0..40)
}

proptest! {
    #[test]
    fn a_batch_stays_within_every_limit_and_takes_the_oldest(queue in waiting()) {
        let batch = next_batch(&queue, LIMITS);
        prop_assert_eq!(batch.first().copied(), (!queue.is_empty()).then_some(0));
        prop_assert!(batch.is_sorted_by(|a, b| a < b), "in order, none twice");
        prop_assert!(batch.len() <= LIMITS.max_batch_sequences);
        let total = |f: fn(&QueuedRequest) -> usize| batch.iter().map(|&i| f(&queue[i])).sum::<usize>();
        prop_assert!(total(|w| w.tokens) <= LIMITS.max_batch_tokens);
        prop_assert!(total(|w| w.masks) <= LIMITS.max_masks);
        // Nothing that would still fit is left out.
        if batch.len() < LIMITS.max_batch_sequences {
            for (i, request) in queue.iter().enumerate().filter(|(i, _)| !batch.contains(i)) {
                let fits = total(|w| w.tokens) + request.tokens <= LIMITS.max_batch_tokens
                    && total(|w| w.masks) + request.masks <= LIMITS.max_masks;
                prop_assert!(!fits, "request {} fits and was left", i);
            }
        }
    }

    #[test]
    fn every_request_runs_exactly_once(queue in waiting()) {
        let mut left: Vec<(usize, QueuedRequest)> = queue.iter().copied().enumerate().collect();
        let mut ran = Vec::new();
        while !left.is_empty() {
            let view: Vec<QueuedRequest> = left.iter().map(|(_, request)| *request).collect();
            for &index in next_batch(&view, LIMITS).iter().rev() {
                ran.push(left.remove(index).0);
            }
        }
        ran.sort_unstable();
        prop_assert_eq!(ran, (0..queue.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_batch_is_the_next_one_and_leaves_a_request_behind(
        queue in waiting(),
    ) {
        let next = next_batch(&queue, LIMITS);
        let full = next_full_batch(&queue, LIMITS);
        prop_assert_eq!(full.is_some(), next.len() < queue.len());
        prop_assert!(full.is_none_or(|full| full == next));
    }

    #[test]
    fn packing_keeps_every_token_and_counts_positions_from_each_start(
        sequences in prop::collection::vec(prop::collection::vec(0u32..9999, 1..50), 1..20),
    ) {
        let wants: Vec<Rows> = (0..sequences.len())
            .map(|i| match i % 5 {
                0 => Rows::Pooled(Pooling::Mean),
                1 => Rows::Pooled(Pooling::Cls),
                2 => Rows::At(vec![0, sequences[i].len() as u32 - 1]),
                3 => Rows::Hidden,
                _ => Rows::All,
            })
            .collect();
        let pairs = sequences.iter().zip(&wants);
        let batch =
            PackedBatch::pack(pairs.map(|(token_ids, wants)| Sequence { token_ids, wants }));
        prop_assert_eq!(batch.sequences(), sequences.len());
        prop_assert_eq!(&batch.token_ids, &sequences.concat());
        let (mut segments, mut masks) = (batch.segments.iter(), batch.mask_rows.iter());
        let mut hidden = 0..0;
        for ((span, ids), wants) in batch.spans().zip(&sequences).zip(&wants) {
            let expected: Vec<u32> = (0..ids.len() as u32).collect();
            prop_assert_eq!(&batch.positions[span.clone()], &expected[..]);
            let start = span.start as u32;
            match wants {
                Rows::Pooled(Pooling::Mean) => {
                    prop_assert_eq!(segments.next(), Some(&(start, ids.len() as u32)));
                }
                Rows::Pooled(Pooling::Cls) => prop_assert_eq!(segments.next(), Some(&(start, 1))),
                Rows::At(_) => {
                    prop_assert_eq!(masks.next(), Some(&start));
                    prop_assert_eq!(masks.next(), Some(&(span.end as u32 - 1)));
                }
                Rows::Hidden if hidden.end == 0 => hidden = start..span.end as u32,
                Rows::Hidden => hidden.end = span.end as u32,
                Rows::All => {}
            }
        }
        prop_assert!(segments.next().is_none() && masks.next().is_none());
        prop_assert_eq!(batch.hidden_rows, hidden);
    }
}
