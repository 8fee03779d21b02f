//! The operations of a forward pass, and the trait of the devices that run them.
//!
//! A forward pass is data: a list of [`Op`]s over [`View`]s of one arena, which a model writes down. A backend
//! uploads a packed batch, launches the operations one by one in order, and copies rows back. Nothing here
//! depends on what a layer or a head is, and nothing above on how a device multiplies. Because the list is plain
//! data, the engine may stop between any two launches and resume later, and a backend may record a prefix of
//! the list and replay it.
//!
//! * [`cpu`]: the fast one for hosts: packed GEMMs, blocked attention, a thread pool.
//! * [`mod@reference`]: plain loops with f64 sums. It is the oracle of the tests, not a way to serve.
//! * `cuda`: behind the feature of that name.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod reference;

mod activation;
mod host_arena;
mod layout;
mod tables;
mod view;

pub use activation::Activation;
pub use layout::{ALIGN_BYTES, Layout};
pub use tables::{RopeTable, WeightTable, owned_bytes};
pub use view::View;

use std::ops::Range;

use crate::batch::PackedBatch;
use crate::error::DeviceError;

/// A weight tensor, by its index in the list of tensors given to the backend at load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightId(pub usize);

/// A rotary table, by its index in the list given to the backend at load.
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
    /// `x[:, ..n] = f(x[:, ..n]) * x[:, n..]`, in place; `n` is half of the columns.
    Gated {
        /// [T, 2 x intermediate].
        x: View,
        /// f.
        activation: Activation,
    },
    /// `x = f(x)`, in place.
    Activate {
        /// [rows, hidden].
        x: View,
        /// f.
        activation: Activation,
    },
    /// Mean of each of some of the batch's segments, summed in f32. A CLS row is a segment of one token.
    Pool {
        /// [T, hidden].
        x: View,
        /// The first of the segments; `out` has as many rows as there are.
        first: usize,
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

impl Op {
    /// Returns the operation over some of its rows; `None` unless each row depends on its own input row alone.
    pub fn rows(&self, rows: Range<usize>) -> Option<Op> {
        let narrow = |view: &mut View| *view = view.rows(rows.start, rows.len());
        let mut part = self.clone();
        match &mut part {
            Op::Norm { x, out, .. } | Op::Linear { x, out, .. } => {
                narrow(x);
                narrow(out);
            }
            Op::Gated { x, .. } | Op::Activate { x, .. } => narrow(x),
            Op::Embed { .. }
            | Op::LinearRows { .. }
            | Op::Rope { .. }
            | Op::Attention { .. }
            | Op::Pool { .. }
            | Op::Gather { .. } => return None,
        }
        Some(part)
    }
}

/// Runs some rows of an operation whose rows depend on their own input row alone.
fn launch_independent_rows(
    backend: &mut (impl Backend + ?Sized),
    op: &Op,
    rows: Range<usize>,
) -> Result<(), DeviceError> {
    let part = op.rows(rows).ok_or_else(|| DeviceError::Call {
        device: "device".into(),
        call: "rows of an operation",
        reason: format!("{op:?} is not computed by rows"),
    })?;
    backend.launch(&part)
}

/// The use of an arena, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ArenaUsage {
    /// Bytes reserved at start-up.
    pub capacity_bytes: u64,
    /// The part that the largest batch uses.
    pub planned_bytes: u64,
    /// The largest part that any batch so far has used.
    pub high_water_bytes: u64,
}

impl ArenaUsage {
    /// Returns the bytes in use while this many batches are on the device. Batches share the planned part, and
    /// the rest is free in one block; between batches all of the arena is.
    pub fn used_bytes(&self, batches_in_flight: usize) -> u64 {
        if batches_in_flight > 0 { self.planned_bytes } else { 0 }
    }
}

/// Memory use of a device as the driver's management library (NVML) reports it, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceMemory {
    /// Used by one process, context and libraries included.
    pub process_bytes: Option<u64>,
    /// Used by all processes and the driver, on the whole card.
    pub card_bytes: Option<u64>,
}

/// Reads what a process of this machine uses of its CUDA devices, from NVML. `None` without the `cuda` feature,
/// without a driver, or if it is ambiguous which device is meant. Takes tens of microseconds.
pub fn device_memory_of(pid: u32) -> Option<DeviceMemory> {
    #[cfg(feature = "cuda")]
    return cuda::driver::nvml::memory_of(pid);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = pid;
        None
    }
}

/// Properties of a CUDA device, read without creating a context on it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CudaDevice {
    /// Marketing name.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// Total memory, in bytes.
    pub memory_bytes: u64,
    /// Free memory, in bytes, if NVML reports it.
    pub free_bytes: Option<u64>,
    /// The newest CUDA that the driver supports, major and minor.
    pub cuda_version: (u32, u32),
    /// The driver's own version, if NVML reports it.
    pub driver_version: Option<String>,
}

/// Reads the properties of the CUDA device of this index, in the driver's order.
///
/// # Errors
/// [`DeviceError::Unavailable`] if the machine has no driver, one that is too old, or no such device.
#[cfg(feature = "cuda")]
pub fn cuda_device(ordinal: usize) -> Result<CudaDevice, DeviceError> {
    cuda::driver::device::inspect(ordinal)
}

/// Rates that no operation exceeds, measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Ceilings {
    /// The device and the sizes that were measured.
    pub what: String,
    /// Multiplications and additions per second of a large product.
    pub flops_per_second: f64,
    /// Bytes read and written per second by a large copy.
    pub bytes_per_second: f64,
}

/// A transfer of rows to the host, from [`Backend::fetch`] to [`Backend::collect`].
#[derive(Debug)]
pub enum Fetch {
    /// The rows, row-major, as f32.
    Done(Vec<f32>),
    /// The rows arrive in a buffer of the backend once the launches before them have run.
    #[cfg(feature = "cuda")]
    Pending(cuda::PendingRows),
}

/// A device that runs [`Op`]s. A batch is `begin`, launches in order, `fetch`; its rows may be collected
/// after the next batch has begun, but before the one after that.
pub trait Backend: Send {
    /// Uploads a batch's ids, positions and sequence bounds for the launches that follow.
    ///
    /// # Errors
    /// [`DeviceError::Call`] for a batch beyond the backend's limits, or the device's error.
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError>;

    /// Runs or enqueues one operation.
    ///
    /// # Errors
    /// The device's error.
    fn launch(&mut self, op: &Op) -> Result<(), DeviceError>;

    /// Runs some rows of an operation that computes each row by itself, or each query: [`Op::Norm`], [`Op::Linear`],
    /// [`Op::Gated`], [`Op::Activate`] and, on the fast host backend and a GPU, [`Op::Attention`]; on a GPU only without a
    /// window, and its rows count in the order of its work list, the longest sequences first. All rows in slices, one after
    /// another, give the same bits as [`Backend::launch`].
    ///
    /// # Errors
    /// The device's error, or [`DeviceError::Call`] for an operation that is not computed by rows.
    fn launch_rows(&mut self, op: &Op, rows: Range<usize>) -> Result<(), DeviceError>;

    /// Starts to copy the view's elements to the host, as they are after the launches so far.
    ///
    /// # Errors
    /// [`DeviceError::Call`] if the buffers of this batch are all in use, or the device's error.
    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError>;

    /// Blocks until a transfer has ended and returns its elements row by row, as f32. A backend whose
    /// [`Backend::fetch`] returns [`Fetch::Done`] only need not implement it.
    ///
    /// # Errors
    /// [`DeviceError::Call`] if two more batches were begun since, or the device's error: an asynchronous
    /// launch fails here.
    fn collect(&mut self, fetch: Fetch) -> Result<Vec<f32>, DeviceError> {
        match fetch {
            Fetch::Done(rows) => Ok(rows),
            #[cfg(feature = "cuda")]
            Fetch::Pending(_) => unreachable!("a fetch of another backend"),
        }
    }

    /// Whether launches return before they have run.
    fn is_asynchronous(&self) -> bool {
        false
    }

    /// Blocks until the launches before the previous call have run, so that at most those since then are in flight.
    ///
    /// # Errors
    /// The device's error.
    fn keep_up(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Returns the rows that a batch of so many tokens runs with.
    fn padded_tokens(&self, tokens: usize) -> usize {
        tokens
    }

    /// Writes rows into a view, rounded to its type, for tests of a single operation.
    ///
    /// # Errors
    /// The device's error.
    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError>;

    /// Returns the use of the arena.
    fn arena(&self) -> ArenaUsage;

    /// Measures these launches over the batch begun last: seconds of all of them together, one value per
    /// repeat, after a warm-up.
    ///
    /// # Errors
    /// The device's error.
    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError>;

    /// Measures a large product and a large copy, each alone. Overwrites the arena.
    ///
    /// # Errors
    /// The device's error.
    fn ceilings(&mut self) -> Result<Ceilings, DeviceError>;
}

/// Implements [`Backend::time`] for backends that are not asynchronous.
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
