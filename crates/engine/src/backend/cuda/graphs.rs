//! Small batches as recorded graphs: one launch for the whole encoder.
//!
//! Below some thousand tokens the host launches slower than the device runs. For each of a few sizes the
//! launches of the encoder are recorded once, over that many rows and a work list with spare entries; a
//! smaller batch is padded to that size, and the padding's rows are never read. The caller launches operation
//! after operation as without graphs: [`Player`] defers them while they equal the recorded ones, and the last
//! of them launches the graph. At the first that differs, the deferred ones are launched one by one instead: so run
//! batches that pool rows before the last layer, or end there, in which the recorded launches are not all in line.

use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUgraphInstantiate_flags, CUstreamCaptureMode};

use super::driver::device::{DeviceContext, Stream};
use super::driver::fault::CallContext;
use super::executor::Executor;
use super::inputs::{Lists, Padding};
use super::kernels::worklist;
use crate::backend::Op;
use crate::error::DeviceError;

/// Tokens of the recorded sizes: in fine steps, because padding costs time.
pub(super) const SIZES: [usize; 14] =
    [32, 64, 128, 192, 256, 384, 512, 640, 768, 1024, 1280, 1536, 1792, 2048];

/// Sequences that a recorded work list always has entries for.
const SEQUENCES: usize = 32;

impl Padding {
    /// Returns the rows and tiles of a graph of this size, for batches of at most this many sequences.
    pub(super) fn for_graph(
        tokens: usize,
        max_sequences: usize,
        (full_rows, window_rows): (usize, usize),
    ) -> Padding {
        let sequences = SEQUENCES.min(max_sequences);
        Padding {
            tokens,
            full_tiles: worklist::max_tiles(tokens, sequences, full_rows),
            window_tiles: worklist::max_tiles(tokens, sequences, window_rows),
        }
    }
}

/// A recorded graph, ready to launch.
pub(super) struct Graph {
    device: Arc<DeviceContext>,
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    padding: Padding,
    ops: Vec<Op>,
}

// SAFETY: used by one thread at a time, the context made current by it.
unsafe impl Send for Graph {}

impl Graph {
    /// Records the launches over these lists. Nothing runs, and nothing may be allocated while it records.
    pub(super) fn record(
        executor: &mut Executor,
        padding: Padding,
        ops: Vec<Op>,
        lists: &Lists,
    ) -> Result<Graph, DeviceError> {
        let device = executor.stream.device().clone();
        device.bind()?;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive and not capturing yet.
        unsafe { result::stream::begin_capture(executor.stream.handle(), mode) }
            .context(device.label(), "cuStreamBeginCapture")?;
        let launched = ops.iter().try_for_each(|op| executor.launch(op, lists));
        // SAFETY: capture began above; it has to end even if a launch failed.
        let graph = unsafe { result::stream::end_capture(executor.stream.handle()) }
            .context(device.label(), "cuStreamEndCapture");
        launched?;
        let graph = graph?;
        let flags = CUgraphInstantiate_flags(0);
        // SAFETY: a graph just captured.
        let executable = match unsafe { result::graph::instantiate(graph, flags) } {
            Ok(executable) => executable,
            Err(error) => {
                // SAFETY: as above; nothing else holds it.
                let _ = unsafe { result::graph::destroy(graph) };
                return Err(error).context(device.label(), "cuGraphInstantiate");
            }
        };
        let graph = Graph { device, graph, executable, padding, ops };
        // SAFETY: both are alive. Uploading now takes the graph's memory at start-up, not at the first
        // launch.
        unsafe { result::graph::upload(graph.executable, executor.stream.handle()) }
            .context(graph.device.label(), "cuGraphUpload")?;
        Ok(graph)
    }

    fn launch(&self, stream: &Stream) -> Result<(), DeviceError> {
        // SAFETY: both are alive.
        unsafe { result::graph::launch(self.executable, stream.handle()) }
            .context(self.device.label(), "cuGraphLaunch")
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: made in `record`, destroyed only here; the owner has synchronised.
        unsafe {
            let _ = result::graph::exec_destroy(self.executable);
            let _ = result::graph::destroy(self.graph);
        }
    }
}

/// All graphs, and how far the current batch has followed one.
#[derive(Default)]
pub(super) struct Player {
    graphs: Vec<Graph>,
    progress: Option<Progress>,
}

#[derive(Clone, Copy)]
struct Progress {
    graph: usize,
    tokens: usize,
    /// Operations deferred so far.
    deferred: usize,
}

/// How to proceed with an operation.
pub(super) enum Step {
    /// It is part of a graph and deferred.
    Deferred,
    /// It completed a graph, which was launched.
    Replayed,
    /// Launch these deferred operations, then it.
    Launch(Vec<Op>),
}

impl Player {
    pub(super) fn add(&mut self, graph: Graph) {
        self.graphs.push(graph);
        self.graphs.sort_by_key(|graph| graph.padding.tokens);
    }

    pub(super) fn clear(&mut self) {
        self.graphs.clear();
        self.progress = None;
    }

    /// Returns the size that a batch of this many tokens is padded to, if a graph holds it.
    pub(super) fn padding(&self, tokens: usize) -> Option<Padding> {
        let fitting = self.graphs.iter().find(|graph| graph.padding.tokens >= tokens);
        fitting.map(|graph| graph.padding)
    }

    /// Begins a batch whose lists are padded to `sizes`.
    pub(super) fn begin(&mut self, tokens: usize, sizes: Padding) {
        let graph = self.graphs.iter().position(|graph| graph.padding == sizes);
        self.progress = graph.map(|graph| Progress { graph, tokens, deferred: 0 });
    }

    /// Takes the next operation of the batch.
    pub(super) fn advance(&mut self, stream: &Stream, op: &Op) -> Result<Step, DeviceError> {
        let Some(progress) = &mut self.progress else { return Ok(Step::Launch(Vec::new())) };
        let graph = &self.graphs[progress.graph];
        if *op == with_rows(&graph.ops[progress.deferred], progress.tokens) {
            progress.deferred += 1;
            if progress.deferred < graph.ops.len() {
                return Ok(Step::Deferred);
            }
            self.progress = None;
            return graph.launch(stream).map(|()| Step::Replayed);
        }
        Ok(Step::Launch(self.take_deferred()))
    }

    /// Abandons the graph and returns the deferred operations, to be launched one by one.
    pub(super) fn take_deferred(&mut self) -> Vec<Op> {
        let Some(Progress { graph, tokens, deferred }) = self.progress.take() else {
            return Vec::new();
        };
        let recorded = &self.graphs[graph].ops[..deferred];
        recorded.iter().map(|op| with_rows(op, tokens)).collect()
    }
}

/// Returns the leading operations that work on all tokens: those that depend on nothing of the batch but its
/// size.
pub(super) fn recordable(ops: &[Op], tokens: usize) -> Vec<Op> {
    let all_tokens = |op: &&Op| match op {
        Op::Embed { out, .. } => out.rows == tokens,
        Op::Norm { x, .. } | Op::Linear { x, .. } => x.rows == tokens,
        Op::Rope { qkv, .. } | Op::Attention { qkv, .. } => qkv.rows == tokens,
        Op::Gated { x, .. } | Op::Activate { x, .. } => x.rows == tokens,
        Op::LinearRows { .. } | Op::Pool { .. } | Op::Gather { .. } => false,
    };
    ops.iter().take_while(all_tokens).cloned().collect()
}

/// Returns a recorded operation over another number of tokens.
fn with_rows(op: &Op, rows: usize) -> Op {
    let mut op = op.clone();
    match &mut op {
        Op::Embed { out, .. } => out.rows = rows,
        Op::Norm { x, out, .. } | Op::Linear { x, out, .. } | Op::Attention { qkv: x, out, .. } => {
            x.rows = rows;
            out.rows = rows;
        }
        Op::Rope { qkv: x, .. } | Op::Gated { x, .. } | Op::Activate { x, .. } => x.rows = rows,
        // Not recordable.
        Op::LinearRows { .. } | Op::Pool { .. } | Op::Gather { .. } => {}
    }
    op
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Activation, NormWeights, RopeId, View, WeightId};
    use crate::dtype::Dtype;

    fn ops(rows: usize) -> Vec<Op> {
        let view = |offset, cols| View::new(offset, rows, cols, Dtype::Bf16);
        let norm = NormWeights { weight: WeightId(1), bias: None };
        let (stream, wide) = (view(0, 64), view(4096, 192));
        vec![
            Op::Embed { embedding: WeightId(0), norm, out: stream },
            Op::Linear { x: stream, weight: WeightId(2), bias: None, out: wide, accumulate: false },
            Op::Rope { qkv: wide, table: RopeId(0) },
            Op::Attention { qkv: wide, out: stream, window: Some(64) },
            Op::Gated { x: wide, activation: Activation::Gelu },
            Op::Norm { x: stream, norm, out: stream },
        ]
    }

    #[test]
    fn a_recorded_operation_takes_the_rows_of_a_smaller_batch() {
        for (small, recorded) in ops(100).iter().zip(&ops(128)) {
            assert_eq!(with_rows(recorded, 100), *small);
            assert_ne!(with_rows(recorded, 99), *small);
        }
    }

    #[test]
    fn recording_ends_where_the_head_begins() {
        let mut all = ops(128);
        let hidden = View::new(0, 128, 64, Dtype::Bf16);
        let pooled = View::new(8192, 3, 64, Dtype::F32);
        all.push(Op::Pool { x: hidden, first: 0, out: pooled });
        all.push(Op::Activate { x: pooled, activation: Activation::Gelu });
        assert_eq!(recordable(&all, 128), ops(128));
    }
}
