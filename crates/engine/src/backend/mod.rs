//! What a forward pass asks of a device.
//!
//! A forward pass is data: a list of [`Op`]s over [`View`]s of one arena, written once by
//! [`crate::model::modernbert::forward`]. A backend uploads a packed batch, launches the operations one by one in
//! order, and copies rows back. Nothing here knows what a layer or a head is, and nothing above knows
//! how a device multiplies. Because the list is plain data the engine may stop between any two launches
//! and go on later, and a backend may record a prefix of the list and replay it.
//!
//! * [`cpu`]: the fast one for hosts: packed GEMMs, blocked attention, a thread pool.
//! * [`mod@reference`]: plain loops with f64 sums. It is the oracle of the tests, not a way to serve.
//! * `cuda`: behind the feature of that name.
//!
//! [`allocators`] is apart: ways of finding memory that the engine does not use, for comparison.

pub mod allocators;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod reference;

mod host_arena;
mod layout;
mod tables;
mod view;

pub use layout::{ALIGN_BYTES, Layout};
pub use tables::{RopeTable, WeightTable, converted_bytes};
pub use view::View;

use crate::batch::PackedBatch;
use crate::error::DeviceError;

/// A weight tensor, by its place in the model's list of tensors ([`crate::model::Architecture`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightId(pub usize);

/// A rotary table, by its place in the list given to the backend at load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RopeId(pub usize);

/// Scale and optional bias of a layer norm, both of `hidden_size` elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormWeights {
    /// Multiplied into the normalised row.
    pub weight: WeightId,
    /// Added after the scale, where the config asks for it.
    pub bias: Option<WeightId>,
}

/// One launch. Shapes are rows x columns; T is the number of packed tokens of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// `out[t] = norm(embedding[token_ids[t]])`, `out` is [T, hidden].
    Embed {
        /// [vocab, hidden].
        embedding: WeightId,
        /// The norm that follows the embedding.
        norm: NormWeights,
        /// [T, hidden].
        out: View,
    },
    /// `out = norm(x)`, row by row; `x` and `out` may be the same view.
    Norm {
        /// [rows, hidden].
        x: View,
        /// Scale and bias.
        norm: NormWeights,
        /// [rows, hidden].
        out: View,
    },
    /// `out = x W^T + bias`, or `out += x W^T + bias` with `accumulate`.
    Linear {
        /// [rows, in].
        x: View,
        /// [out, in], as checkpoints store it.
        weight: WeightId,
        /// `[out]`.
        bias: Option<WeightId>,
        /// [rows, out].
        out: View,
        /// Adds to what `out` holds: the residual stream.
        accumulate: bool,
    },
    /// As [`Op::Linear`] for few outputs (labels): each row is its own dot products, summed in an order
    /// that does not depend on how many rows there are. `out` is f32.
    LinearRows {
        /// [rows, in].
        x: View,
        /// [labels, in].
        weight: WeightId,
        /// `[labels]`.
        bias: Option<WeightId>,
        /// [rows, labels], f32.
        out: View,
    },
    /// Rotates queries and keys in place by their positions.
    Rope {
        /// [T, 3 x hidden]: queries, keys, values of all heads.
        qkv: View,
        /// Which table.
        table: RopeId,
    },
    /// Softmax(q k^T / sqrt(head_dim)) v within each sequence, never across.
    Attention {
        /// [T, 3 x hidden].
        qkv: View,
        /// [T, hidden].
        out: View,
        /// `Some(w)`: only keys with |i - j| <= w; `None`: all keys of the sequence.
        window: Option<usize>,
    },
    /// `x[:, ..n] = gelu(x[:, ..n]) * x[:, n..]`, in place, erf-GELU; `n` is half of the columns.
    GeGlu {
        /// [T, 2 x intermediate].
        x: View,
    },
    /// erf-GELU of every element, in place.
    Gelu {
        /// [rows, hidden].
        x: View,
    },
    /// Mean of each of the batch's segments, summed in f32. A CLS row is a segment of one token.
    Pool {
        /// [T, hidden].
        x: View,
        /// [segments, hidden].
        out: View,
    },
    /// The rows named by the batch's `mask_rows`, in order.
    Gather {
        /// [T, hidden].
        x: View,
        /// [mask rows, hidden].
        out: View,
    },
}

/// What an arena holds, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ArenaUsage {
    /// All that was reserved at start-up.
    pub capacity_bytes: u64,
    /// The part that the largest allowed batch can touch.
    pub planned_bytes: u64,
    /// The most that any batch so far has touched.
    pub high_water_bytes: u64,
}

impl ArenaUsage {
    /// Used while so many batches are on the device. Any has the whole plan, and the rest is free in one block;
    /// between batches that is all of the arena.
    pub fn used_bytes(&self, batches_in_flight: usize) -> u64 {
        if batches_in_flight > 0 { self.planned_bytes } else { 0 }
    }
}

/// Memory of a device as its driver's management library reports it, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceMemory {
    /// What one process uses, context and libraries included.
    pub process_bytes: Option<u64>,
    /// What all processes and the driver use of the whole card.
    pub card_bytes: Option<u64>,
}

/// What a process of this machine uses of its CUDA devices, as NVML tells; `None` without the `cuda` feature,
/// without a driver, or where it is not plain which device is meant. Takes tens of microseconds.
pub fn device_memory_of(pid: u32) -> Option<DeviceMemory> {
    #[cfg(feature = "cuda")]
    return cuda::driver::nvml::memory_of(pid);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = pid;
        None
    }
}

/// A CUDA device as it is now, looked at without making a context on it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CudaDevice {
    /// Marketing name.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// All its memory, in bytes.
    pub memory_bytes: u64,
    /// What nobody holds of it, where NVML tells.
    pub free_bytes: Option<u64>,
    /// The newest CUDA that the driver supports, major and minor.
    pub cuda_version: (u32, u32),
    /// The driver's own version, where NVML tells.
    pub driver_version: Option<String>,
}

/// The CUDA device of this index, in the driver's order.
///
/// # Errors
/// [`DeviceError::Unavailable`] where the machine has no driver, one that is too old, or no such device.
#[cfg(feature = "cuda")]
pub fn cuda_device(ordinal: usize) -> Result<CudaDevice, DeviceError> {
    cuda::driver::device::look(ordinal)
}

/// Rates that no operation exceeds, measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Ceilings {
    /// What was measured.
    pub what: String,
    /// Multiplications and additions of a large product.
    pub flops_per_second: f64,
    /// Bytes read and written by a large copy.
    pub bytes_per_second: f64,
}

/// Rows on their way back from a batch, from [`Backend::fetch`] to [`Backend::collect`].
#[derive(Debug)]
pub enum Fetch {
    /// They are here: row-major, as f32.
    Done(Vec<f32>),
    /// They arrive in a buffer of the backend's once the launches before them have run.
    #[cfg(feature = "cuda")]
    Coming(cuda::Coming),
}

/// A device that runs [`Op`]s. A batch is `begin`, launches in order, `fetch`; its rows may be collected
/// after the next batch has begun, but before the one after that.
pub trait Backend: Send {
    /// Makes a batch's ids, positions and sequence bounds known to the launches that follow.
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError>;

    /// Runs, or enqueues, one operation.
    fn launch(&mut self, op: &Op) -> Result<(), DeviceError>;

    /// Begins to bring the view's elements back, as they are after the launches so far.
    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError>;

    /// Waits for what [`Backend::fetch`] began: the elements row by row, as f32. A backend whose fetches
    /// are all done when they return need not say how.
    fn collect(&mut self, fetch: Fetch) -> Result<Vec<f32>, DeviceError> {
        match fetch {
            Fetch::Done(rows) => Ok(rows),
            #[cfg(feature = "cuda")]
            Fetch::Coming(_) => unreachable!("a fetch of another backend"),
        }
    }

    /// Whether launches only enqueue, so that the caller goes on while the device runs.
    fn is_asynchronous(&self) -> bool {
        false
    }

    /// Puts rows into a view, rounded to its type: how a test feeds one operation alone.
    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError>;

    /// How much of the arena is in use.
    fn arena(&self) -> ArenaUsage;

    /// Seconds that these launches of the batch begun last take together, once for each repeat, after a
    /// warm-up. For benches.
    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError>;

    /// What the device reaches on nothing but a product, and nothing but a copy. For benches; the arena's
    /// contents are lost.
    fn ceilings(&mut self) -> Result<Ceilings, DeviceError>;
}

/// [`Backend::time`] where launches are done when they return.
fn time_on_host(
    backend: &mut dyn Backend,
    ops: &[Op],
    repeats: usize,
) -> Result<Vec<f64>, DeviceError> {
    let mut run = || {
        let start = std::time::Instant::now();
        ops.iter().try_for_each(|op| backend.launch(op))?;
        Ok(start.elapsed().as_secs_f64())
    };
    run()?;
    (0..repeats).map(|_| run()).collect()
}
