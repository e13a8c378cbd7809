//! The block of small networks: wide in the middle, one kernel a channel there, and maybe a gate (Sandler et al., *MobileNetV2*,
//! 2018, table 1; Hu et al., *Squeeze-and-Excitation Networks*, 2018).

use super::conv_norm::ConvNorm;
use crate::layer::{Conv, Padding, Scope, Start};
use crate::ops::{Activation, Window, global_mean};
use crate::{Mode, Result};
use candle_core::Tensor;

/// Shape of a block.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) c_in: usize,
    /// Channels in the middle.
    pub(super) wide: usize,
    pub(super) c_out: usize,
    pub(super) k: usize,
    pub(super) stride: usize,
    pub(super) activation: Activation,
    /// Width and activations of the gate, if there is one.
    pub(super) gate: Option<(usize, [Activation; 2])>,
    /// ε and momentum of the norms.
    pub(super) norm: [f64; 2],
    /// Whether the last convolution and its norm are two layers of the block's list and not one of two, as in MobileNetV2.
    pub(super) flat_end: bool,
}

/// A gate of channels by the means of all.
struct Gate {
    layers: [Conv; 2],
    activations: [Activation; 2],
}

impl Gate {
    fn new(scope: &Scope<'_>, wide: usize, (width, activations): (usize, [Activation; 2])) -> Result<Self> {
        let layer =
            |name: &str, channels| Conv::biased(&scope.at(name), channels, 1, Window::default(), Start::KaimingOut);
        Ok(Self { layers: [layer("fc1", [wide, width])?, layer("fc2", [width, wide])?], activations })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, c, _, _) = x.dims4()?;
        let mut gate = global_mean(x)?.reshape((n, c, 1, 1))?;
        for (layer, activation) in self.layers.iter().zip(self.activations) {
            gate = activation.apply(&layer.forward(&gate)?)?;
        }
        Ok(x.broadcast_mul(&gate)?)
    }
}

pub(super) struct InvertedResidual {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    gate: Option<Gate>,
    project: ConvNorm,
    activation: Activation,
    has_residual: bool,
}

impl InvertedResidual {
    /// `scope` is the list of the block's layers, `padding` where the zeros are under its kernel.
    pub(super) fn new(scope: &Scope<'_>, shape: Shape, padding: Padding) -> Result<Self> {
        let Shape { c_in, wide, c_out, k, stride, activation, gate, norm: [epsilon, momentum], flat_end } = shape;
        let mut layer = 0..;
        let mut next = || scope.at(layer.next().unwrap_or_default());
        let pair = |scope: &Scope<'_>, channels, k, window| -> Result<ConvNorm> {
            Ok(ConvNorm::new(scope, ["0", "1"], channels, k, window)?.with(epsilon, momentum))
        };
        let expand = (wide != c_in).then(|| pair(&next(), [c_in, wide], 1, Window::default())).transpose()?;
        let depthwise =
            pair(&next(), [wide, wide], k, Window { groups: wide, ..Window::same(k, stride) })?.padded(padding);
        let gate = gate.map(|gate| Gate::new(&next(), wide, gate)).transpose()?;
        let project = if flat_end {
            let at = usize::from(expand.is_some()) + 1;
            let names = [at.to_string(), (at + 1).to_string()];
            ConvNorm::new(scope, [&names[0], &names[1]], [wide, c_out], 1, Window::default())?.with(epsilon, momentum)
        } else {
            pair(&next(), [wide, c_out], 1, Window::default())?
        };
        Ok(Self { expand, depthwise, gate, project, activation, has_residual: stride == 1 && c_in == c_out })
    }

    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut y = match &self.expand {
            Some(expand) => expand.forward(x, mode, self.activation)?,
            None => x.clone(),
        };
        y = self.depthwise.forward(&y, mode, self.activation)?;
        if let Some(gate) = &self.gate {
            y = gate.forward(&y)?;
        }
        match self.has_residual {
            true => self.project.add(&y, x, mode, Activation::Identity),
            false => self.project.forward(&y, mode, Activation::Identity),
        }
    }
}
