//! The kernels of the activations that a model uses, each compiled with its function.

use super::launch::{Kernels, Matrix};
use super::module::{Arg, Function, Module};
use crate::backend::Activation;
use crate::backend::cuda::driver::device::Stream;
use crate::dtype::Dtype;
use crate::error::DeviceError;

pub(super) const GATED_THREADS: usize = 256;
pub(super) const ACTIVATION_ROWS: usize = 4;
pub(super) const ACTIVATION_THREADS: u32 = 128;

/// The kernels of one activation.
pub(super) struct ActivationKernels {
    activation: Activation,
    gated: Function,
    elements: Function,
    floats: Function,
}

impl ActivationKernels {
    /// Finds them in a module that was compiled with this activation.
    pub(super) fn of(module: &Module, activation: Activation) -> Result<Self, DeviceError> {
        Ok(ActivationKernels {
            activation,
            gated: module.function("gated_activation")?,
            elements: module.function("activation")?,
            floats: module.function("activation_f32")?,
        })
    }
}

impl Kernels {
    /// Panics for an activation that [`Kernels::load`] was not given: a bug in the list of operations.
    fn activation(&self, activation: Activation) -> &ActivationKernels {
        let found = self.activations.iter().find(|kernels| kernels.activation == activation);
        found.unwrap_or_else(|| panic!("no kernel was compiled for {activation:?}"))
    }

    /// `x[:, ..n] = f(x[:, ..n]) * x[:, n..]`.
    pub(in crate::backend::cuda) fn gated(
        &self,
        stream: &Stream,
        x: Matrix,
        activation: Activation,
    ) -> Result<(), DeviceError> {
        self.check_dense(x);
        let intermediate = x.cols / 2;
        let args = [
            Arg::Address(x.address),
            Arg::Address(x.address),
            Arg::int(x.rows),
            Arg::int(intermediate),
            Arg::int(x.stride),
        ];
        let grid = ((x.rows * intermediate / 8).div_ceil(GATED_THREADS), 1);
        self.activation(activation).gated.launch(stream, grid, GATED_THREADS as u32, 0, &args)
    }

    /// `x = f(x)`; elements or f32.
    pub(in crate::backend::cuda) fn activate(
        &self,
        stream: &Stream,
        x: Matrix,
        activation: Activation,
    ) -> Result<(), DeviceError> {
        assert_eq!(x.stride, x.cols);
        let args = [Arg::Address(x.address), Arg::int(x.rows), Arg::int(x.cols)];
        let kernels = self.activation(activation);
        let function = if x.dtype == Dtype::F32 { &kernels.floats } else { &kernels.elements };
        let grid = (x.rows.div_ceil(ACTIVATION_ROWS), 1);
        function.launch(stream, grid, ACTIVATION_THREADS, 0, &args)
    }
}
