//! [`Backend`] on a CUDA device: one batch after another on one stream.
//!
//! A batch's operations go to the recorded graph that holds it, or one by one to [`Executor`]. The backend is
//! made ready by [`super::start`].

use std::ops::Range;
use std::sync::Arc;

use super::driver::device::{DeviceContext, Event, Stream};
use super::executor::Executor;
use super::graphs::{Player, Step};
use super::inputs::{Inputs, Lists};
use super::outputs::Outputs;
use super::report::StartReport;
use super::weights::convert;
use crate::backend::{ArenaUsage, Backend, Ceilings, Fetch, Op, View};
use crate::batch::PackedBatch;
use crate::error::DeviceError;

/// A model on a CUDA device, ready to run batches. Made by [`super::start`].
pub struct CudaBackend {
    // Fields drop in order: graphs and buffers before the stream and the device they belong to.
    pub(super) player: Player,
    pub(super) inputs: Inputs,
    pub(super) outputs: Outputs,
    pub(super) lists: Option<Lists>,
    pub(super) report: StartReport,
    /// The ends of the latest two slices of a batch.
    pub(super) marks: [Event; 2],
    pub(super) executor: Executor,
}

impl CudaBackend {
    /// Returns the device that it runs on.
    pub fn device(&self) -> &Arc<DeviceContext> {
        self.executor.stream.device()
    }

    /// Returns the choices and measurements of its start.
    pub fn report(&self) -> &StartReport {
        &self.report
    }

    /// Returns the number of queries whose tiles of full attention occupy every multiprocessor once.
    pub fn queries_per_wave(&self, heads: usize) -> usize {
        let multiprocessors = self.device().properties().multiprocessors as usize;
        (multiprocessors / heads.max(1)).max(1) * self.inputs.tile_rows().0
    }

    /// Returns the stream that all launches go to, for timing with events.
    pub fn stream(&self) -> &Stream {
        &self.executor.stream
    }

    /// Launches the operations that were deferred for a graph that was not completed.
    fn flush(&mut self) -> Result<(), DeviceError> {
        let deferred = self.player.take_deferred();
        self.launch_all(&deferred)
    }

    fn launch_all(&mut self, ops: &[Op]) -> Result<(), DeviceError> {
        let lists = self.lists()?;
        ops.iter().try_for_each(|op| self.executor.launch(op, &lists))
    }

    pub(super) fn lists(&self) -> Result<Lists, DeviceError> {
        self.lists.ok_or_else(|| DeviceError::Call {
            device: self.device().label().into(),
            call: "launch",
            reason: "no batch has begun".into(),
        })
    }
}

impl Backend for CudaBackend {
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
        self.device().bind()?;
        let padding = self.player.padding(batch.tokens());
        let lists = self.inputs.send(&self.executor.stream, batch, padding)?;
        self.player.begin(batch.tokens(), lists.sizes);
        self.outputs.begin();
        self.lists = Some(lists);
        Ok(())
    }

    fn launch(&mut self, op: &Op) -> Result<(), DeviceError> {
        self.device().bind()?;
        match self.player.advance(&self.executor.stream, op)? {
            Step::Deferred | Step::Replayed => {
                self.executor.raise_high_water(op);
                Ok(())
            }
            Step::Launch(deferred) => {
                self.launch_all(&deferred)?;
                self.launch_all(std::slice::from_ref(op))
            }
        }
    }

    fn launch_rows(&mut self, op: &Op, rows: Range<usize>) -> Result<(), DeviceError> {
        let Op::Attention { qkv, out, window: None } = op else {
            return crate::backend::launch_independent_rows(self, op, rows);
        };
        self.device().bind()?;
        self.flush()?;
        let lists = self.lists()?;
        let tiles = self.inputs.full_tiles(rows);
        self.executor.full_attention(qkv, out, &lists, tiles)
    }

    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
        self.device().bind()?;
        self.flush()?;
        let matrix = self.executor.matrix(view);
        self.outputs.fetch(&self.executor.stream, matrix)
    }

    fn collect(&mut self, fetch: Fetch) -> Result<Vec<f32>, DeviceError> {
        self.device().bind()?;
        match fetch {
            Fetch::Done(rows) => Ok(rows),
            Fetch::Pending(rows) => self.outputs.collect(rows),
        }
    }

    fn is_asynchronous(&self) -> bool {
        true
    }

    fn keep_up(&mut self) -> Result<(), DeviceError> {
        self.device().bind()?;
        self.flush()?;
        let [latest, before] = &mut self.marks;
        std::mem::swap(latest, before);
        latest.record(&self.executor.stream)?;
        before.wait()
    }

    fn padded_tokens(&self, tokens: usize) -> usize {
        self.player.padding(tokens).map_or(tokens, |padding| padding.tokens)
    }

    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError> {
        self.device().bind()?;
        self.flush()?;
        self.executor.stream.synchronize()?;
        let matrix = self.executor.matrix(view);
        assert!(matrix.cols == matrix.stride && rows.len() == matrix.rows * matrix.cols);
        self.executor.arena.write(view.offset_bytes, &convert(rows, view.dtype))
    }

    fn arena(&self) -> ArenaUsage {
        ArenaUsage {
            capacity_bytes: self.executor.arena.bytes() as u64,
            planned_bytes: self.executor.workspace_bytes as u64,
            high_water_bytes: self.executor.high_water as u64,
        }
    }

    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError> {
        self.device().bind()?;
        self.time_launches(ops, repeats)
    }

    fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        self.device().bind()?;
        self.measure_ceilings()
    }
}

impl Drop for CudaBackend {
    fn drop(&mut self) {
        // Memory freed next must not be in use. A device that failed has no work pending.
        let _ = self.executor.stream.synchronize();
    }
}
