//! The activation functions that a model may ask for, under the names that `transformers` gives them.
//!
//! The formulas are each backend's own: `reference.rs` has them as they read, `cpu/activation.rs` the fast ones,
//! and `cuda/kernels/activation.cu` those of a device.

/// An activation function without trained parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x Phi(x), with the error function.
    Gelu,
    /// [`Activation::Gelu`], clipped to [-10, 10].
    Gelu10,
    /// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
    GeluTanh,
    /// x sigmoid(1.702 x).
    QuickGelu,
    /// x sigmoid(x).
    Silu,
    /// x tanh(ln(1 + e^x)).
    Mish,
    /// x relu6(x + 3) / 6.
    Hardswish,
    /// max(x, 0).
    Relu,
    /// max(x, 0)^2.
    Relu2,
    /// x clipped to [0, 6].
    Relu6,
    /// x, or x / 100 below 0.
    LeakyRelu,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// tanh(x).
    Tanh,
    /// The normal distribution function with mean 0.707107 and deviation 0.282095.
    Laplace,
    /// sqrt(ln(1 + e^x)).
    SqrtSoftplus,
    /// x.
    Linear,
}

/// Mean of [`Activation::Laplace`], as upstream writes it: not quite the square root of 1/2.
pub(super) const LAPLACE_MEAN: f64 = 707_107e-6;
/// Its deviation.
pub(super) const LAPLACE_DEVIATION: f64 = 0.282_095;

/// The names in `ACT2FN` of `transformers` 5.17, without `prelu` and `xielu`, which have trained parameters. The
/// first name of a function is also its name in the CUDA source.
const NAMES: [(&str, Activation); 22] = [
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_10", Activation::Gelu10),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("mish", Activation::Mish),
    ("hardswish", Activation::Hardswish),
    ("relu", Activation::Relu),
    ("relu2", Activation::Relu2),
    ("relu6", Activation::Relu6),
    ("leaky_relu", Activation::LeakyRelu),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
    ("laplace", Activation::Laplace),
    ("sqrtsoftplus", Activation::SqrtSoftplus),
    ("linear", Activation::Linear),
];

impl Activation {
    /// Returns the function of this name, if it is known.
    pub fn named(name: &str) -> Option<Activation> {
        NAMES.iter().find(|(known, _)| *known == name).map(|&(_, activation)| activation)
    }

    /// Iterates over all names that are known; some functions have several.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|&(name, _)| name)
    }

    /// Iterates over all functions.
    pub fn all() -> impl Iterator<Item = Activation> {
        NAMES.iter().filter(|(name, activation)| *name == activation.name()).map(|&(_, a)| a)
    }

    /// Returns the first of its names.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|&&(_, activation)| activation == self).map_or("", |&(name, _)| name)
    }
}
