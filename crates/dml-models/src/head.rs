//! From features to an embedding.

use crate::backbone::Features;
use crate::init::Init;
use crate::layer::{Linear, Scope, Start};
use crate::ops::{Activation, layer_norm};
use crate::pooling::{Pooled, Pooling};
use crate::{Error, Mode, Result};
use candle_core::{D, DType, Tensor, Var};
use serde::{Deserialize, Serialize};

/// What follows a backbone: pooling, dropout, layer norm, layers with ReLU, a linear map, unit length; each if it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadConfig {
    /// How features become one vector. Default: what the network was made for.
    pub pooling: Pooling,
    /// Share of the pooled features that a training pass leaves out. Default 0.
    pub dropout: f64,
    /// Whether pooled features are brought to mean 0 and deviation 1, without scale and shift (Proxy-NCA++; MLRC). Default false.
    pub layer_norm: bool,
    /// Widths of layers with ReLU before the last. Default none.
    pub hidden: Vec<usize>,
    /// Length of the embedding; 0 (default): that of the features, without a last linear map.
    pub dim: usize,
    /// Whether embeddings have unit length. Default false: losses and searches normalise where they should.
    pub normalize: bool,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { pooling: Pooling::Default, dropout: 0.0, layer_norm: false, hidden: vec![], dim: 0, normalize: false }
    }
}

impl HeadConfig {
    fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::Config(format!("head.dropout is {}: want 0 or more and less than 1", self.dropout)));
        }
        if self.hidden.contains(&0) {
            return Err(Error::Config(format!("head.hidden = {:?}: want widths of 1 or more", self.hidden)));
        }
        Ok(())
    }
}

/// A head with its weights.
pub(crate) struct Head {
    pooled: Pooled,
    dropout: Option<Dropout>,
    layer_norm: bool,
    layers: Vec<Linear>,
    last: Option<Linear>,
    dim: usize,
    normalize: bool,
}

impl Head {
    /// Over features of `channels` numbers, pooled by `default` if the configuration does not say.
    pub(crate) fn new(
        scope: &Scope<'_>,
        config: &HeadConfig,
        channels: usize,
        default: Pooling,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let mut width = channels;
        let mut layers = Vec::new();
        for (i, &next) in config.hidden.iter().enumerate() {
            layers.push(Linear::new(&scope.at(format!("hidden{i}")), [width, next], Start::Kaiming)?);
            width = next;
        }
        let last = match config.dim {
            0 => None,
            dim => Some(Linear::new(scope, [width, dim], Start::FanIn)?),
        };
        Ok(Self {
            pooled: Pooled::new(&scope.at("pooling"), config.pooling, default)?,
            dropout: (config.dropout > 0.0).then(|| Dropout::new(scope, config.dropout, seed)).transpose()?,
            layer_norm: config.layer_norm,
            layers,
            last,
            dim: if config.dim == 0 { width } else { config.dim },
            normalize: config.normalize,
        })
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn forward(&self, features: &Features, mode: Mode) -> Result<Tensor> {
        let mut x = self.pooled.forward(features)?;
        if let Some(dropout) = self.dropout.as_ref().filter(|_| mode == Mode::Train) {
            x = dropout.forward(&x)?;
        }
        if self.layer_norm {
            let d = x.dim(D::Minus1)?;
            let (one, zero) = (Tensor::ones(d, x.dtype(), x.device())?, Tensor::zeros(d, x.dtype(), x.device())?);
            x = layer_norm(&x, &one, &zero, 1e-5)?;
        }
        for layer in &self.layers {
            x = Activation::Relu.apply(&layer.forward(&x)?)?;
        }
        if let Some(last) = &self.last {
            x = last.forward(&x)?;
        }
        if self.normalize {
            // As PyTorch's `normalize`: a vector of zeros stays. The root is taken of what is no 0, where it has a gradient.
            let square = x.sqr()?.sum_keepdim(D::Minus1)?;
            x = x.broadcast_div(&square.maximum(1e-24)?.sqrt()?)?;
        }
        Ok(x)
    }
}

/// Leaves out numbers at random and scales the others up (Srivastava et al. 2014). What is left out follows from the seed and the
/// number of passes so far, which is a buffer: a run that goes on from a checkpoint drops what it would have dropped.
struct Dropout {
    share: f64,
    seed: u64,
    passes: Var,
}

impl Dropout {
    fn new(scope: &Scope<'_>, share: f64, seed: u64) -> Result<Self> {
        Ok(Self { share, seed, passes: scope.buffer("dropout_passes", &[1], Start::Zeros)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // Whole numbers up to 2^24 are exact.
        let passes = self.passes.to_vec1::<f32>()?[0];
        self.passes.set(&Tensor::new(&[passes + 1.0], self.passes.device())?)?;
        let mut init = Init::new(self.seed ^ 0x0064_726f_706f_7574 ^ ((passes as u64) << 32));
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let factors: Vec<f32> =
            (0..x.elem_count()).map(|_| if init.uniform() < self.share { 0.0 } else { kept }).collect();
        let factors = Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(DType::F32)?.to_dtype(x.dtype())?;
        Ok((x * factors)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::{Allowed, Case, uniform_tensor};
    use crate::layer::Builder;
    use candle_core::Device;

    #[test]
    fn heads_of_maps_are_those_of_torch() {
        let case = Case::load("heads");
        for (title, run) in case.runs() {
            let pooling = match title {
                "gem" | "gem_unit" => Pooling::Gem,
                "gap" => Pooling::Mean,
                "gmp" => Pooling::Max,
                "gap_gmp" | "gap_gmp_layer_norm" => Pooling::MeanMax,
                other => panic!("run {other}"),
            };
            let config = HeadConfig {
                pooling,
                layer_norm: title == "gap_gmp_layer_norm",
                normalize: title == "gem_unit",
                ..HeadConfig::default()
            };
            let shape = run.input_shape();
            let x = Var::from_tensor(&uniform_tensor("input", &shape)).unwrap();
            let builder = Builder::new(0, &Device::Cpu);
            let head = Head::new(&builder.root(), &config, shape[1], Pooling::Mean, 0).unwrap();
            // The golden has GeM's exponent whatever the pooling: where it is not ours, it is one that nothing uses.
            let mut named = builder.finish().named();
            if named.is_empty() {
                named.push(("pooling.p".to_owned(), Var::zeros(1, DType::F32, &Device::Cpu).unwrap()));
            }
            let ours = |name: &str| format!("pooling.{name}");
            case.fill(&named, ours);
            let embedding = head.forward(&Features::Map(x.as_tensor().clone()), Mode::Eval).unwrap();
            let allowed = Allowed { embedding: 1e-5, gradient: 2e-5 };
            run.check(title, &embedding, &named, ours, Some(&x), allowed);
        }
    }

    #[test]
    fn layers_with_relu_are_those_of_candle() {
        let config = HeadConfig { hidden: vec![5, 4], dim: 3, ..HeadConfig::default() };
        let builder = Builder::new(7, &Device::Cpu);
        let head = Head::new(&builder.root(), &config, 6, Pooling::Mean, 0).unwrap();
        let named = builder.finish().named();
        let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        let layers = ["hidden0.", "hidden1.", ""];
        assert_eq!(names, layers.map(|layer| [format!("{layer}weight"), format!("{layer}bias")]).concat());
        // Biases begin at zero, where a mistake would not show.
        for (name, bias) in named.iter().filter(|(name, _)| name.ends_with("bias")) {
            bias.set(&uniform_tensor(name, bias.dims())).unwrap();
        }
        let x = Var::from_tensor(&uniform_tensor("input", &[8, 6])).unwrap();
        let ours = head.forward(&Features::Vectors(x.as_tensor().clone()), Mode::Train).unwrap();
        let mut composed = x.as_tensor().clone();
        for (i, layer) in named.chunks(2).enumerate() {
            let [(_, weight), (_, bias)] = layer else { panic!("{layer:?}") };
            let product = composed.matmul(&weight.t().unwrap()).unwrap().broadcast_add(bias).unwrap();
            composed = if i < 2 { product.relu().unwrap() } else { product };
        }
        let close = |what: &str, a: &Tensor, b: &Tensor| {
            let distance = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            let size = b.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(size > 1e-3 && distance <= 1e-5 * size, "{what}: {distance} of {size}");
        };
        close("embedding", &ours, &composed);
        let slopes =
            |y: &Tensor| (y * uniform_tensor("slope", &[8, 3])).unwrap().sum_all().unwrap().backward().unwrap();
        let (found, wanted) = (slopes(&ours), slopes(&composed));
        for (name, var) in named.iter().chain([&("input".to_owned(), x)]) {
            close(name, found.get(var).unwrap(), wanted.get(var).unwrap());
        }
    }

    /// `torch.nn.functional.normalize` has the same gradients: 1/ε times what comes, where there is no length.
    #[test]
    fn what_has_no_length_has_a_gradient() {
        let config = HeadConfig { normalize: true, ..HeadConfig::default() };
        let head = Head::new(&Builder::new(0, &Device::Cpu).root(), &config, 2, Pooling::Mean, 0).unwrap();
        let x = Var::new(&[[0f32, 0.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let y = head.forward(&Features::Vectors(x.as_tensor().clone()), Mode::Train).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [[0.0, 0.0], [0.6, 0.8]]);
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let rows = gradients.get(&x).unwrap().to_vec2::<f32>().unwrap();
        assert!(rows[0].iter().all(|g| (g / 1e12 - 1.0).abs() < 1e-5), "{rows:?}");
        let wanted = [(1.0 - 0.6 * 1.4) / 5.0, (1.0 - 0.8 * 1.4) / 5.0];
        assert!(rows[1].iter().zip(wanted).all(|(g, wanted)| (g - wanted).abs() < 1e-6), "{rows:?}");
    }

    /// A head that is nothing but dropout, and the number of its passes.
    fn dropout(share: f64, seed: u64) -> (Head, Var) {
        let config = HeadConfig { dropout: share, ..HeadConfig::default() };
        let builder = Builder::new(0, &Device::Cpu);
        let head = Head::new(&builder.root(), &config, 50, Pooling::Mean, seed).unwrap();
        let [(_, passes)] = <[_; 1]>::try_from(builder.finish().named()).unwrap();
        (head, passes)
    }

    fn dropped(head: &Head, x: &Tensor, mode: Mode) -> Vec<f32> {
        head.forward(&Features::Vectors(x.clone()), mode).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn dropout_keeps_the_mean_and_leaves_what_is_measured_alone() {
        let (head, _) = dropout(0.3, 1);
        let x = Tensor::ones((800, 50), DType::F32, &Device::Cpu).unwrap();
        let found = dropped(&head, &x, Mode::Train);
        let kept = found.iter().filter(|&&value| value != 0.0);
        assert!(kept.clone().all(|value| (value - 1.0 / 0.7).abs() < 1e-6));
        // Four standard errors of a share of 40,000.
        let share = kept.count() as f64 / 40_000.0;
        assert!((share - 0.7).abs() < 4.0 * (0.3 * 0.7 / 40_000.0f64).sqrt(), "{share}");
        assert_eq!(dropped(&head, &x, Mode::Eval), vec![1.0; 40_000]);
    }

    #[test]
    fn what_is_dropped_follows_from_seed_and_passes() {
        let x = uniform_tensor("input", &[4, 50]);
        let (whole, passes) = dropout(0.5, 1);
        let found: Vec<Vec<f32>> = (0..4).map(|_| dropped(&whole, &x, Mode::Train)).collect();
        assert!((1..4).all(|i| found[i] != found[i - 1]), "it drops the same in each pass");
        assert_eq!(passes.to_vec1::<f32>().unwrap(), [4.0]);
        // Measuring in between takes no pass.
        let (resumed, passes) = dropout(0.5, 1);
        passes.set(&Tensor::new(&[2f32], &Device::Cpu).unwrap()).unwrap();
        dropped(&resumed, &x, Mode::Eval);
        assert_eq!([0, 1].map(|_| dropped(&resumed, &x, Mode::Train)), found[2..]);
        assert_ne!(dropped(&dropout(0.5, 2).0, &x, Mode::Train), found[0]);
    }
}
