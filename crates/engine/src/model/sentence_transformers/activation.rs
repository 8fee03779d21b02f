//! Activations by the name of their class in torch, each with torch's default parameters.

/// The function after a [`Dense`](super::Dense) module's product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x.
    Identity,
    /// tanh x.
    Tanh,
    /// max(x, 0).
    Relu,
    /// 0.5 x (1 + erf(x / sqrt 2)).
    Gelu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// x sigmoid(x).
    Silu,
}

/// The classes of [`Activation::named`], for messages.
pub(super) const KNOWN: &str = "Identity, Tanh, ReLU, GELU, Sigmoid and SiLU of torch.nn";

/// Returns the name of a class of `torch.nn`, such as `Tanh` for `torch.nn.modules.activation.Tanh`.
pub(super) fn torch_class(path: &str) -> Option<&str> {
    path.strip_prefix("torch.nn.")?.rsplit('.').next()
}

impl Activation {
    /// Returns the activation of this path of a class, `torch.nn.modules.activation.Tanh`.
    pub(super) fn named(path: &str) -> Option<Activation> {
        Some(match torch_class(path)? {
            "Identity" => Activation::Identity,
            "Tanh" => Activation::Tanh,
            "ReLU" => Activation::Relu,
            "GELU" => Activation::Gelu,
            "Sigmoid" => Activation::Sigmoid,
            "SiLU" => Activation::Silu,
            _ => return None,
        })
    }

    /// Computes one element.
    pub(super) fn apply(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Activation::Identity => x,
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.max(0.0),
            Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
            Activation::Sigmoid => sigmoid(x),
            Activation::Silu => x * sigmoid(x),
        }
    }
}
