//! A device that calls a test before each batch, and is the host otherwise. The tests of the server have it from here, too.

use std::ops::Range;

use bigbatch_engine::backend::{ArenaUsage, Backend, Ceilings, Fetch, Op, View};
use bigbatch_engine::{DeviceError, PackedBatch};

/// Returns a backend that calls `begin` before each batch, which may wait, panic, or fail the batch.
pub(crate) fn hooked(
    host: Box<dyn Backend>,
    begin: impl FnMut(&PackedBatch) -> Result<(), DeviceError> + Send + 'static,
) -> Box<dyn Backend> {
    Box::new(HookedBackend { host, begin })
}

struct HookedBackend<F> {
    host: Box<dyn Backend>,
    begin: F,
}

impl<F: FnMut(&PackedBatch) -> Result<(), DeviceError> + Send> Backend for HookedBackend<F> {
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
        (self.begin)(batch)?;
        self.host.begin(batch)
    }
    fn launch(&mut self, op: &Op) -> Result<(), DeviceError> {
        self.host.launch(op)
    }
    fn launch_rows(&mut self, op: &Op, rows: Range<usize>) -> Result<(), DeviceError> {
        self.host.launch_rows(op, rows)
    }
    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
        self.host.fetch(view)
    }
    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError> {
        self.host.write(view, rows)
    }
    fn arena(&self) -> ArenaUsage {
        self.host.arena()
    }
    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError> {
        self.host.time(ops, repeats)
    }
    fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        self.host.ceilings()
    }
}
