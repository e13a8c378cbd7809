//! Convolutional networks as others lay them out.
//!
//! | layout | what is told apart from this crate's |
//! |---|---|
//! | timm's MobileNetV2, MobileNetV3 and EfficientNet-B0 | `conv_stem.`, `blocks.STAGE.BLOCK.`: names become torchvision's |
//! | BN-Inception of pretrainedmodels' first file | norms are rows, `[1, c]` |
//!
//! MobileNetV3's last convolution, `conv_head`, comes behind the pooling there: it is dropped, as torchvision's classifier is.
//!
//! timm's norms have ε = 1e-5, MobileNetV3's here 1e-3, as torchvision's: what they are scaled by makes up for it, so that the network is
//! the same wherever running statistics are used. timm's `tf_…` have ε = 1e-3 and TensorFlow's padding under the same names, and no
//! file tells one from the other: they are not for this crate.

use super::super::names::{Names, unwrapped};
use crate::Result;
use candle_core::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// Of timm's norms.
const EPSILON: f64 = 1e-5;
/// Of MobileNetV3's norms here.
const EPSILON_OF_V3: f64 = 1e-3;

/// The tensors of a file as this crate lays them out, and the names of those that are of no use; as they came, if nothing says that
/// they are laid out in another way. What is not understood keeps its name.
///
/// # Errors
/// When a tensor cannot be made.
pub(super) fn translated(
    tensors: BTreeMap<String, Tensor>,
    names: Names,
    wanted: &impl Fn(&str) -> bool,
) -> Result<(BTreeMap<String, Tensor>, Vec<String>)> {
    if names != Names::Own && wanted("conv1_7x7_s2_bn.weight") {
        return Ok((flat(tensors)?, Vec::new()));
    }
    match File::new(&tensors, names, wanted) {
        Some(file) => file.translated(tensors),
        None => Ok((tensors, Vec::new())),
    }
}

/// With norms that are no rows but vectors.
fn flat(tensors: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
    let of_norm = |name: &str| name.rsplit_once('.').is_some_and(|(owner, _)| owner.ends_with("_bn"));
    let vector = |(name, tensor): (String, Tensor)| -> Result<(String, Tensor)> {
        let is_row = of_norm(&name) && matches!(tensor.dims(), [1, _]);
        Ok((name, if is_row { tensor.squeeze(0)? } else { tensor }))
    };
    tensors.into_iter().map(vector).collect()
}

/// Which of timm's networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    V2,
    V3,
    EfficientNet,
}

impl Kind {
    /// That which has the weights of which `wanted` is true.
    fn of(wanted: &impl Fn(&str) -> bool) -> Option<Self> {
        let first = [
            (Self::V2, "features.1.conv.0.0.weight"),
            (Self::V3, "features.1.block.0.0.weight"),
            (Self::EfficientNet, "features.1.0.block.0.0.weight"),
        ];
        first.into_iter().find(|(_, name)| wanted(name)).map(|(kind, _)| kind)
    }
}

/// A file of timm's.
struct File {
    kind: Kind,
    /// Names, without what wraps them all.
    names: BTreeSet<String>,
    /// How many blocks each stage has.
    stages: BTreeMap<usize, usize>,
}

impl File {
    /// `None`: it is none of timm's, or the network is another.
    fn new(tensors: &BTreeMap<String, Tensor>, names: Names, wanted: &impl Fn(&str) -> bool) -> Option<Self> {
        let kind = Kind::of(wanted).filter(|_| matches!(names, Names::Any | Names::Timm))?;
        let names: BTreeSet<String> = tensors.keys().map(|name| bare(name).to_owned()).collect();
        let mut stages = BTreeMap::new();
        for (stage, block, _) in names.iter().filter_map(|name| in_block(name)) {
            let blocks: &mut usize = stages.entry(stage).or_default();
            *blocks = (*blocks).max(block.saturating_add(1));
        }
        names.contains("conv_stem.weight").then_some(Self { kind, names, stages })
    }

    fn translated(&self, tensors: BTreeMap<String, Tensor>) -> Result<(BTreeMap<String, Tensor>, Vec<String>)> {
        let (mut ours, mut dropped) = (BTreeMap::new(), Vec::new());
        for (name, tensor) in tensors {
            let bare = bare(&name);
            if self.kind == Kind::V3 && bare.starts_with("conv_head.") {
                dropped.push(name);
                continue;
            }
            match self.ours(bare).filter(|to| !ours.contains_key(to)) {
                Some(to) => ours.insert(to, tensor),
                None => ours.insert(name, tensor),
            };
        }
        if self.kind == Kind::V3 {
            rescale(&mut ours)?;
        }
        Ok((ours, dropped))
    }

    /// Blocks and, of MobileNetV3, the convolution behind them, before a stage.
    fn before(&self, stage: usize) -> usize {
        self.stages.range(..stage).fold(0, |sum: usize, (_, blocks)| sum.saturating_add(*blocks))
    }

    /// torchvision's name of timm's; `None`: it is no layer's, or the count of batches, which nobody has a use for.
    fn ours(&self, name: &str) -> Option<String> {
        if name.ends_with(".num_batches_tracked") {
            return None;
        }
        if let Some((stage, block, rest)) = in_block(name) {
            return self.of_block(stage, block, rest);
        }
        let behind = match self.kind {
            Kind::EfficientNet => self.stages.len().saturating_add(1),
            Kind::V2 | Kind::V3 => self.before(usize::MAX).saturating_add(1),
        };
        let (layer, what) = name.split_once('.')?;
        let place = match layer {
            "conv_stem" => "0.0".to_owned(),
            "bn1" => "0.1".to_owned(),
            "conv_head" => format!("{behind}.0"),
            "bn2" => format!("{behind}.1"),
            _ => return None,
        };
        Some(format!("features.{place}.{what}"))
    }

    /// Of the block `block` of the stage `stage`.
    fn of_block(&self, stage: usize, block: usize, rest: &str) -> Option<String> {
        let has = |layer: &str| self.names.contains(&format!("blocks.{stage}.{block}.{layer}.weight"));
        let (layer, what) = rest.rsplit_once('.')?;
        let number = self.before(stage).saturating_add(block).saturating_add(1);
        if has("conv") {
            // No block but a convolution and its norm.
            let part = match layer {
                "conv" => 0,
                "bn1" => 1,
                _ => return None,
            };
            return Some(format!("features.{number}.{part}.{what}"));
        }
        let expands = has("conv_pwl");
        let gate = usize::from(expands) + 1;
        let end = gate + usize::from(has("se.conv_reduce"));
        let last = |part: usize| match self.kind {
            // Two layers of the list and not one of two.
            Kind::V2 => (end + part).to_string(),
            Kind::V3 | Kind::EfficientNet => format!("{end}.{part}"),
        };
        let place = match (layer, expands) {
            ("conv_pw", true) | ("conv_dw", false) => "0.0".to_owned(),
            ("bn1", _) => "0.1".to_owned(),
            ("conv_dw", true) => "1.0".to_owned(),
            ("bn2", true) => "1.1".to_owned(),
            ("se.conv_reduce", _) => format!("{gate}.fc1"),
            ("se.conv_expand", _) => format!("{gate}.fc2"),
            ("conv_pwl", true) | ("conv_pw", false) => last(0),
            ("bn3", true) | ("bn2", false) => last(1),
            _ => return None,
        };
        Some(match self.kind {
            Kind::V2 => format!("features.{number}.conv.{place}.{what}"),
            Kind::V3 => format!("features.{number}.block.{place}.{what}"),
            Kind::EfficientNet => format!("features.{}.{block}.block.{place}.{what}", stage.saturating_add(1)),
        })
    }
}

fn bare(name: &str) -> &str {
    unwrapped(name, &|_| false)
}

/// Stage, block and the rest of the name of a block's tensor.
fn in_block(name: &str) -> Option<(usize, usize, &str)> {
    let (stage, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    let (block, rest) = rest.split_once('.')?;
    Some((stage.parse().ok()?, block.parse().ok()?, rest))
}

/// `scale / √(variance + ε)` as it is there, by our ε.
fn rescale(tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let owners = tensors.keys().filter_map(|name| name.strip_suffix(".running_var"));
    let owners: Vec<String> = owners.filter(|owner| owner.starts_with("features.")).map(str::to_owned).collect();
    for owner in owners {
        let of = |what: &str| tensors.get(&format!("{owner}.{what}"));
        let (Some(scale), Some(variance)) = (of("weight"), of("running_var")) else { continue };
        // Who made a file with two shapes is told by the report.
        if scale.dims() != variance.dims() {
            continue;
        }
        let variance = variance.to_dtype(DType::F64)?;
        let factor = ((&variance + EPSILON_OF_V3)? / (&variance + EPSILON)?)?.sqrt()?;
        let scale = (scale.to_dtype(DType::F64)? * factor)?;
        tensors.insert(format!("{owner}.weight"), scale);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn file(tensors: &[(&str, &[usize])]) -> BTreeMap<String, Tensor> {
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        tensors.iter().map(|(name, shape)| ((*name).to_owned(), ones(shape))).collect()
    }

    fn names(tensors: &BTreeMap<String, Tensor>) -> Vec<&str> {
        tensors.keys().map(String::as_str).collect()
    }

    const V3: &[(&str, &[usize])] = &[
        ("model.blocks.0.0.conv_dw.weight", &[4]),
        ("model.blocks.1.0.bn2.weight", &[4]),
        ("model.blocks.1.0.bn2.running_var", &[4]),
        ("model.blocks.1.0.bn2.num_batches_tracked", &[]),
        ("model.blocks.1.0.conv_pwl.weight", &[4]),
        ("model.blocks.1.0.se.conv_reduce.weight", &[4]),
        ("model.blocks.1.1.swallow.weight", &[4]),
        ("model.blocks.2.0.conv.weight", &[4]),
        ("model.blocks.18446744073709551615.18446744073709551615.bn9.weight", &[4]),
        ("model.conv_head.bias", &[4]),
        ("model.conv_stem.weight", &[4]),
    ];

    #[test]
    fn what_is_not_understood_keeps_its_name_and_scales_make_up_for_epsilon() {
        let wanted = |name: &str| name == "features.1.block.0.0.weight";
        let (ours, dropped) = translated(file(V3), Names::Any, &wanted).unwrap();
        assert_eq!(dropped, ["model.conv_head.bias"]);
        let found = [
            "features.0.0.weight",
            "features.1.block.0.0.weight",
            "features.2.block.1.1.running_var",
            "features.2.block.1.1.weight",
            "features.2.block.2.fc1.weight",
            "features.2.block.3.0.weight",
            "features.4.0.weight",
            "model.blocks.1.0.bn2.num_batches_tracked",
            "model.blocks.1.1.swallow.weight",
            "model.blocks.18446744073709551615.18446744073709551615.bn9.weight",
        ];
        assert_eq!(names(&ours), found);
        let scale = ours["features.2.block.1.1.weight"].to_vec1::<f64>().unwrap()[0];
        assert!((scale - (1.001f64 / 1.00001).sqrt()).abs() < 1e-9, "{scale}");
        // Neither another's names nor another network.
        assert_eq!(translated(file(V3), Names::Torchvision, &wanted).unwrap().0.len(), V3.len());
        assert_eq!(names(&translated(file(V3), Names::Any, &|_| false).unwrap().0), names(&file(V3)));
    }

    #[test]
    fn rows_of_bn_inceptions_norms_become_vectors() {
        let made: &[(&str, &[usize])] = &[
            ("conv1_7x7_s2.bias", &[1, 4]),
            ("conv1_7x7_s2_bn.bias", &[4]),
            ("conv1_7x7_s2_bn.running_mean", &[2, 4]),
            ("conv1_7x7_s2_bn.weight", &[1, 4]),
        ];
        let is = |names, wanted: &str| -> Vec<Vec<usize>> {
            let (ours, _) = translated(file(made), names, &|name: &str| name == wanted).unwrap();
            ours.values().map(|tensor| tensor.dims().to_vec()).collect()
        };
        let came: Vec<Vec<usize>> = made.iter().map(|(_, shape)| shape.to_vec()).collect();
        assert_eq!(is(Names::Any, "conv1_7x7_s2_bn.weight"), [vec![1, 4], vec![4], vec![2, 4], vec![4]]);
        assert_eq!(is(Names::Own, "conv1_7x7_s2_bn.weight"), came);
        assert_eq!(is(Names::Any, "conv1.weight"), came);
    }
}
