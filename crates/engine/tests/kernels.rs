//! Each operation of each backend alone against the reference backend, at a tolerance of its own.
//!
//! Inputs are random and already rounded to the backend's type, so that a difference is the operation's.
//! Outputs are poisoned with NaN first. Without a device the test prints that the CUDA kernels are skipped.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bigbatch_engine::backend::{Activation, Backend, Op, View};
use bigbatch_engine::{
    Architecture, Checkpoint, Device, DeviceKind, DeviceOptions, Dtype, EngineOptions, Model,
    PackedBatch, RopeOverride, Rows, Sequence,
};
use half::{bf16, f16};

/// Lengths at the edges of tiles (64, 128, 192) and of the window (32), and beyond several.
const LENGTHS: [usize; 12] = [1, 2, 31, 33, 63, 64, 65, 128, 191, 193, 257, 500];

/// Element type of a view: the backend's own, or f32 on both.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Own,
    F32,
}
use Kind::{F32, Own};

/// Rows, columns, element type.
struct Shape(usize, usize, Kind);

/// The same operation on two backends: the device under test, and the oracle.
struct Bench {
    model: Model,
    device: Device,
    oracle: Device,
    dtype: Dtype,
    batch: PackedBatch,
    random: fastrand::Rng,
}

/// The backends of this machine.
fn kinds() -> Vec<(DeviceKind, Dtype)> {
    let host = [(DeviceKind::Cpu, Dtype::F32)];
    host.into_iter().chain(cuda_kinds()).collect()
}

#[cfg(feature = "cuda")]
fn cuda_kinds() -> Vec<(DeviceKind, Dtype)> {
    match bigbatch_engine::backend::cuda::driver::device::list() {
        Ok(devices) if !devices.is_empty() => {
            [Dtype::Bf16, Dtype::F16].map(|dtype| (DeviceKind::Cuda(0, dtype), dtype)).into()
        }
        found => {
            println!("CUDA kernels skipped, no device: {:?}", found.err());
            Vec::new()
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda_kinds() -> Vec<(DeviceKind, Dtype)> {
    Vec::new()
}

/// Runs `test` on each backend, one test of this file at a time.
fn on_each(test: impl Fn(&mut Bench)) {
    on_each_with(Activation::Gelu, Activation::Gelu, test);
}

/// Runs `test` as [`on_each`] does, on a model with these activations: a device has kernels for no others.
fn on_each_with(hidden: Activation, classifier: Activation, test: impl Fn(&mut Bench)) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Norm weights differ from one, and there are three heads: a swapped index shows.
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokcls-bio-new-window64");
    for (kind, dtype) in kinds() {
        let mut model =
            Model::load(&Checkpoint::directory(&dir), RopeOverride::Checkpoint).unwrap();
        model.config.hidden_activation = hidden;
        model.config.classifier_activation = classifier;
        model.architecture = Architecture::new(&model.config, model.labels.len());
        let start = |kind| {
            let options = DeviceOptions {
                kind,
                max_batch_tokens: Some(4096),
                memory_budget_bytes: 2 << 30,
                ..EngineOptions::default().device
            };
            Device::start(&model, &options).unwrap()
        };
        let device = start(kind);
        let oracle = start(DeviceKind::Reference);
        let mut random = fastrand::Rng::with_seed(11);
        let wants = Rows::Pooled(bigbatch_engine::Pooling::Mean);
        let texts: Vec<Vec<u32>> =
            LENGTHS.map(|len| (0..len).map(|_| random.u32(0..256)).collect()).into();
        let mut batch =
            PackedBatch::pack(texts.iter().map(|t| Sequence { token_ids: t, wants: &wants }));
        batch.mask_rows = (0..40).map(|_| random.u32(0..batch.tokens() as u32)).collect();
        test(&mut Bench { model, device, oracle, dtype, batch, random });
    }
}

impl Bench {
    fn rounded(&self, x: f32) -> f32 {
        match self.dtype {
            Dtype::F32 => x,
            Dtype::Bf16 => bf16::from_f32(x).to_f32(),
            Dtype::F16 => f16::from_f32(x).to_f32(),
        }
    }

    /// Elements uniform in (-scale, scale), as the device holds them.
    fn draw(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let x = (self.random.f32() * 2.0 - 1.0) * scale;
                self.rounded(x)
            })
            .collect()
    }

    /// Runs `op` on both. `views` are its views, filled with `inputs` in order and NaN beyond; the last one
    /// is read back. Each view is given its own place.
    fn run(
        &mut self,
        shapes: &[Shape],
        inputs: &[Vec<f32>],
        op: impl Fn(&[View]) -> Op,
    ) -> (Vec<f32>, Vec<f32>) {
        let answer = |device: &mut Device, dtype: Dtype, batch: &PackedBatch| {
            let mut offset = 0;
            let views: Vec<View> = shapes
                .iter()
                .map(|&Shape(rows, cols, kind)| {
                    let dtype = if kind == F32 { Dtype::F32 } else { dtype };
                    let view = View::new(offset, rows, cols, dtype);
                    offset += view.extent_bytes().next_multiple_of(256);
                    view
                })
                .collect();
            let backend: &mut dyn Backend = device.backend();
            backend.begin(batch).unwrap();
            for (index, view) in views.iter().enumerate() {
                let poison = vec![f32::NAN; view.rows * view.cols];
                backend.write(view, inputs.get(index).unwrap_or(&poison)).unwrap();
            }
            let op = op(&views);
            backend.launch(&op).unwrap();
            let rows = backend.fetch(views.last().unwrap()).unwrap();
            backend.collect(rows).unwrap()
        };
        let got = answer(&mut self.device, self.dtype, &self.batch);
        let expected = answer(&mut self.oracle, Dtype::F32, &self.batch);
        (got, expected)
    }

    /// The outputs of [`Op::Gated`] on `x`, [rows, 2 n]: the first half of the columns, where they replace
    /// their inputs.
    fn run_gated(
        &mut self,
        rows: usize,
        n: usize,
        x: &[f32],
        activation: Activation,
    ) -> (Vec<f32>, Vec<f32>) {
        let (got, expected) = self
            .run(&[Shape(rows, 2 * n, Own)], &[x.to_vec()], |v| Op::Gated { x: v[0], activation });
        let half = |all: Vec<f32>| all.chunks(2 * n).flat_map(|row| row[..n].to_vec()).collect();
        (half(got), half(expected))
    }

    /// What rounding costs, relative: half a unit in the last place of a half-width type; of f32, the sums
    /// and the approximations of exp and erf.
    fn ulp(&self) -> f32 {
        match self.dtype {
            Dtype::F32 => 4e-6,
            Dtype::Bf16 => 1.0 / 256.0,
            Dtype::F16 => 1.0 / 2048.0,
        }
    }
}

/// Every element within `relative` of its own size plus `absolute`; NaN never is.
fn close(what: &str, got: &[f32], expected: &[f32], relative: f32, absolute: f32) {
    assert_eq!(got.len(), expected.len());
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        let fine = (g - e).abs() <= relative * e.abs() + absolute;
        assert!(fine, "{what}: element {i} is {g}, expected {e}");
    }
}

#[test]
fn embedding_and_norm() {
    on_each(|bench| {
        let (t, h) = (bench.batch.tokens(), bench.model.config.hidden_size);
        let (embedding, norm) =
            (bench.model.architecture.embedding, bench.model.architecture.embedding_norm);
        let (got, expected) =
            bench.run(&[Shape(t, h, Own)], &[], |v| Op::Embed { embedding, norm, out: v[0] });
        // The embedding itself is rounded on the device, before its norm divides by a small deviation.
        close("embed", &got, &expected, 3.0 * bench.ulp(), 3.0 * bench.ulp());
    });
}

#[test]
fn norm_of_small_and_of_large_rows() {
    on_each(|bench| {
        let (t, h) = (bench.batch.tokens(), bench.model.config.hidden_size);
        let norm = bench.model.architecture.final_norm;
        for scale in [1e-2, 1.0, 3e4] {
            let x = bench.draw(t * h, scale);
            let (got, expected) = bench.run(&[Shape(t, h, Own), Shape(t, h, Own)], &[x], |v| {
                Op::Norm { x: v[0], norm, out: v[1] }
            });
            close("norm", &got, &expected, bench.ulp(), 1e-5);
        }
    });
}

#[test]
fn rope_rotates_queries_and_keys_only() {
    on_each(|bench| {
        let (t, h) = (bench.batch.tokens(), bench.model.config.hidden_size);
        for table in [0, 1].map(bigbatch_engine::backend::RopeId) {
            let x = bench.draw(t * 3 * h, 2.0);
            let values = x.clone();
            let (got, expected) =
                bench.run(&[Shape(t, 3 * h, Own)], &[x], |v| Op::Rope { qkv: v[0], table });
            close("rope", &got, &expected, bench.ulp(), 3.0 * bench.ulp());
            for (row, before) in got.chunks(3 * h).zip(values.chunks(3 * h)) {
                assert_eq!(row[2 * h..], before[2 * h..], "values are left alone");
            }
        }
    });
}

#[test]
fn attention_full_and_windowed() {
    on_each(|bench| {
        let (t, h) = (bench.batch.tokens(), bench.model.config.hidden_size);
        for window in [None, Some(bench.model.config.window)] {
            for scale in [0.5, 4.0] {
                let qkv = bench.draw(t * 3 * h, scale);
                let (got, expected) =
                    bench.run(&[Shape(t, 3 * h, Own), Shape(t, h, Own)], &[qkv], |v| {
                        Op::Attention { qkv: v[0], out: v[1], window }
                    });
                // Weights are rounded before they meet the values: one more rounding than the output's.
                close("attention", &got, &expected, bench.ulp(), scale * bench.ulp());
            }
        }
    });
}

#[test]
fn geglu_is_erf_within_one_ulp() {
    on_each(|bench| {
        let (rows, n) = (64, 256);
        for scale in [1.0, 6.0] {
            let x = bench.draw(rows * 2 * n, scale);
            // In place: the first half of the columns is the answer.
            let (got, expected) = bench.run_gated(rows, n, &x, Activation::Gelu);
            // 1 + erf cancels where x is very negative, in f32 everywhere: 4e-7 of x times gate. tanh-GELU
            // differs by up to 5e-4 of the gate.
            close("geglu", &got, &expected, bench.ulp(), 2e-7 * scale * scale);
        }
    });
}

#[test]
fn every_activation_alone_and_gated() {
    let all: Vec<Activation> = Activation::all().collect();
    assert!(all.len() >= 16);
    for pair in all.chunks(2) {
        on_each_with(pair[0], pair[1], |bench| {
            let (rows, n) = (64, 256);
            for &activation in pair {
                for scale in [1.0, 12.0] {
                    let what = format!("{activation:?}, inputs up to {scale}");
                    let x = bench.draw(rows * 2 * n, scale);
                    let (got, expected) = bench.run_gated(rows, n, &x, activation);
                    // Sums of erf and 1 cancel in f32: 4e-7 of x times gate.
                    close(&what, &got, &expected, bench.ulp(), 4e-7 * scale * scale);
                    for kind in [Own, F32] {
                        let (got, expected) =
                            bench.run(&[Shape(rows, 2 * n, kind)], std::slice::from_ref(&x), |v| {
                                Op::Activate { x: v[0], activation }
                            });
                        let ulp = if kind == F32 { 2e-5 } else { bench.ulp() };
                        close(&what, &got, &expected, ulp, 4e-7 * scale);
                    }
                }
            }
        });
    }
}

#[test]
fn products_and_their_residuals() {
    on_each(|bench| {
        let (t, h) = (bench.batch.tokens(), bench.model.config.hidden_size);
        let layer = bench.model.architecture.layers[1].clone();
        for (weight, outputs, accumulate) in
            [(layer.wqkv.weight, 3 * h, false), (layer.attn_out.weight, h, true)]
        {
            let x = bench.draw(t * h, 1.0);
            let before = if accumulate { vec![bench.draw(t * outputs, 1.0)] } else { vec![] };
            let inputs: Vec<Vec<f32>> = [x].into_iter().chain(before).collect();
            let (got, expected) =
                bench.run(&[Shape(t, h, Own), Shape(t, outputs, Own)], &inputs, |v| Op::Linear {
                    x: v[0],
                    weight,
                    bias: None,
                    out: v[1],
                    accumulate,
                });
            close("linear", &got, &expected, 2.0 * bench.ulp(), 4.0 * bench.ulp());
        }
    });
}

#[test]
fn pooling_of_long_and_of_single_rows() {
    on_each(|bench| {
        let (t, h) = (bench.batch.tokens(), bench.model.config.hidden_size);
        let segments = bench.batch.segments.len();
        let x = bench.draw(t * h, 1.0);
        let shapes = [Shape(t, h, Own), Shape(segments, h, F32)];
        let (got, expected) =
            bench.run(&shapes, &[x], |v| Op::Pool { x: v[0], first: 0, out: v[1] });
        close("pool", &got, &expected, 1e-6, 1e-6);
    });
}

#[test]
fn gathering_copies_rows() {
    on_each(|bench| {
        let (t, h) = (bench.batch.tokens(), bench.model.config.hidden_size);
        let masks = bench.batch.mask_rows.len();
        let x = bench.draw(t * h, 1.0);
        let shapes = [Shape(t, h, Own), Shape(masks, h, Own)];
        let (got, expected) = bench.run(&shapes, &[x], |v| Op::Gather { x: v[0], out: v[1] });
        assert_eq!(got, expected);
    });
}

#[test]
fn heads_of_tokens_and_of_sequences() {
    on_each(|bench| {
        let (t, h) = (bench.batch.tokens(), bench.model.config.hidden_size);
        let head = bench.model.architecture.head.clone().unwrap();
        for (rows, kind) in [(t, Own), (12, F32)] {
            let x = bench.draw(rows * h, 3.0);
            let (got, expected) =
                bench.run(&[Shape(rows, h, kind)], std::slice::from_ref(&x), |v| Op::Activate {
                    x: v[0],
                    activation: Activation::Gelu,
                });
            close("gelu", &got, &expected, bench.ulp(), 2e-6);
            let shapes = [Shape(rows, h, kind), Shape(rows, head.outputs, F32)];
            let (got, expected) = bench.run(&shapes, &[x], |v| Op::LinearRows {
                x: v[0],
                weight: head.output.weight,
                bias: head.output.bias,
                out: v[1],
            });
            close("linear_rows", &got, &expected, 1e-5, 1e-4);
        }
    });
}
