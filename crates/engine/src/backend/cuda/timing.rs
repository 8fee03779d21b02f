//! Times launches by the device's own clock, and measures the ceilings to compare them with. For benches
//! only.

use cudarc::driver::result;

use super::backend::CudaBackend;
use super::driver::device::Event;
use super::driver::fault::CallContext;
use super::gemm::{GemmCall, Scratch};
use super::kernels::Matrix;
use crate::backend::{Ceilings, Op};
use crate::error::DeviceError;

/// Edges of the square product that measures the arithmetic ceiling; the first that fits is used.
const EDGES: [usize; 4] = [8192, 4096, 2048, 1024];
const WARM_UPS: usize = 3;
const REPEATS: usize = 10;

impl CudaBackend {
    /// Returns the seconds that `ops` take together, launched one by one, once per repeat.
    pub(super) fn time_launches(
        &mut self,
        ops: &[Op],
        repeats: usize,
    ) -> Result<Vec<f64>, DeviceError> {
        let lists = self.lists()?;
        self.timed(repeats, |backend| {
            ops.iter().try_for_each(|op| backend.executor.launch(op, &lists))
        })
    }

    /// Times a large square product of random elements and a copy within the arena, which it overwrites.
    pub(super) fn measure_ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        let device = self.device().clone();
        let label = device.label();
        let (address, bytes) = (self.executor.arena.address(), self.executor.arena.bytes());
        let dtype = self.executor.gemm.dtype();
        let element = dtype.size_bytes();
        let size = |edge: usize| edge * edge * element;
        let edge = EDGES.into_iter().find(|&edge| 3 * size(edge) <= bytes).unwrap_or(512);
        let matrix = |index: usize| Matrix {
            address: address + (index * size(edge)) as u64,
            rows: edge,
            cols: edge,
            stride: edge,
            dtype,
        };
        let (x, weight, out) = (matrix(0), matrix(1), matrix(2));
        let call = GemmCall { x, weight: weight.address, bias: None, out, accumulate: false };
        let executor = &mut self.executor;
        executor.gemm.plan(
            &executor.stream,
            &executor.kernels,
            call.shape(),
            edge,
            Scratch { address, bytes },
        )?;
        for (seed, factor) in [x, weight].into_iter().enumerate() {
            executor.kernels.fill_random(
                &executor.stream,
                factor.address,
                size(edge),
                seed as u32 + 1,
            )?;
        }
        let product = self
            .timed(REPEATS, |backend| backend.executor.gemm.run(&backend.executor.stream, &call))?;

        let half = bytes / 2;
        let copy = self.timed(REPEATS, |backend| {
            let stream = backend.executor.stream.handle();
            // SAFETY: both halves lie in the arena, which nothing else uses meanwhile.
            unsafe { result::memcpy_dtod_async(address + half as u64, address, half, stream) }
                .context(label, "cuMemcpyDtoDAsync")
        })?;
        Ok(Ceilings {
            what: format!("{edge}-cube product, copy of {}", crate::units::bytes(half as u64)),
            flops_per_second: 2.0 * (edge as f64).powi(3) / median(product),
            bytes_per_second: 2.0 * half as f64 / median(copy),
        })
    }

    fn timed(
        &mut self,
        repeats: usize,
        mut run: impl FnMut(&mut CudaBackend) -> Result<(), DeviceError>,
    ) -> Result<Vec<f64>, DeviceError> {
        let device = self.device().clone();
        let (start, end) = (Event::new(&device, true)?, Event::new(&device, true)?);
        let mut seconds = Vec::with_capacity(repeats);
        for repeat in 0..WARM_UPS + repeats {
            start.record(&self.executor.stream)?;
            run(self)?;
            end.record(&self.executor.stream)?;
            end.wait()?;
            if repeat >= WARM_UPS {
                seconds.push(f64::from(end.milliseconds_since(&start)?) / 1e3);
            }
        }
        Ok(seconds)
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
