//! Random tensors, drawn when their bytes are asked for: truncated normals as `transformers` initialises ModernBERT, then
//! sharpened as [`super::init`] says.

use std::borrow::Cow;

use safetensors::tensor::{Dtype as StDtype, View as StView};

use super::architecture::Role;
use crate::checkpoint::TensorSpec;
use crate::dtype::Dtype;

pub(super) const INITIALIZER_RANGE: f64 = 0.02;
/// Normals are redrawn beyond this many standard deviations.
pub(super) const CUTOFF: f64 = 2.0;
const SHARPEN_QK: f64 = 2.5;
const SHARPEN_OUT: f64 = 4.0;

/// A tensor that is drawn when its bytes are asked for, so that only one is in memory at a time.
pub(super) struct Draw {
    pub(super) spec: TensorSpec,
    pub(super) role: Role,
    pub(super) seed: u64,
    pub(super) dtype: Dtype,
    /// Of the model: the deeper, the less each adds to the residual stream.
    pub(super) layers: usize,
}

impl Draw {
    fn elements(&self) -> usize {
        self.spec.shape.iter().product()
    }

    fn values(&self) -> Vec<f32> {
        let count = self.elements();
        let width = self.spec.shape.last().copied().unwrap_or(1);
        let out_std = INITIALIZER_RANGE / (2.0 * self.layers as f64).sqrt();
        let std = match self.role {
            Role::NormWeight => return vec![1.0; count],
            Role::Bias => return vec![0.0; count],
            Role::Embedding | Role::MlpIn | Role::Qkv => INITIALIZER_RANGE,
            Role::Out => out_std * SHARPEN_OUT,
            Role::HeadDense => out_std,
            Role::Classifier => (width as f64).powf(-0.5),
        };
        let mut normals = TruncatedNormal { rng: fastrand::Rng::with_seed(self.seed), spare: None };
        let mut values: Vec<f32> = (0..count).map(|_| (normals.next() * std) as f32).collect();
        if self.role == Role::Qkv {
            values[..count / 3 * 2].iter_mut().for_each(|x| *x *= SHARPEN_QK as f32);
        }
        values
    }
}

impl StView for Draw {
    fn dtype(&self) -> StDtype {
        match self.dtype {
            Dtype::F32 => StDtype::F32,
            Dtype::Bf16 => StDtype::BF16,
            Dtype::F16 => StDtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.spec.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.values();
        Cow::Owned(match self.dtype {
            Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::Bf16 => {
                values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect()
            }
            Dtype::F16 => {
                values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect()
            }
        })
    }

    fn data_len(&self) -> usize {
        self.elements() * self.dtype.size_bytes()
    }
}

/// Standard normals by Box and Muller, redrawn beyond [`CUTOFF`].
struct TruncatedNormal {
    rng: fastrand::Rng,
    spare: Option<f64>,
}

impl TruncatedNormal {
    fn next(&mut self) -> f64 {
        loop {
            let x = self.spare.take().unwrap_or_else(|| {
                let radius = (-2.0 * (1.0 - self.rng.f64()).ln()).sqrt();
                let (sin, cos) = (std::f64::consts::TAU * self.rng.f64()).sin_cos();
                self.spare = Some(radius * sin);
                radius * cos
            });
            if x.abs() <= CUTOFF {
                return x;
            }
        }
    }
}
