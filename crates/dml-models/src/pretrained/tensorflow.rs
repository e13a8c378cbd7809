//! Networks as TensorFlow.js has them, under the names of their files: kernels `[h, w, in, out]`, norms as a scale and a shift.
//!
//! | layout | whose network | what is told apart |
//! |---|---|---|
//! | `Conv1/kernel` | Keras' MobileNetV2 | torchvision's names; its classifier is dropped |
//! | `conv32_down/conv/filters` | face-api's of dlib: `face_resnet` | a bias stands before the norm |
//! | `MobileFaceNet/…/Conv2d_0/Conv2D_weights` | human's: `mobile_face_net` | norms are within the kernels, `mul` is half the slope |
//!
//! A norm that has no statistics of its own gets those that leave its scale and shift as they are, and Keras' ε, which is larger than
//! ours, goes into the variance: the network is the same, to the digit.

use super::names::Names;
use crate::Result;
use candle_core::Tensor;
use std::collections::BTreeMap;

/// Of this crate's norms.
const EPSILON: f64 = 1e-5;
/// Of Keras' MobileNets'.
const KERAS: f64 = 1e-3;

/// What somebody's names mean.
type Layout = fn(&str) -> Option<Piece>;

/// What a tensor of a file becomes; the first is its name here.
enum Piece {
    /// A kernel whose last two sizes are in and out.
    Kernel(String),
    /// A kernel of one group a channel, whose last two sizes are channels and 1.
    Depthwise(String),
    /// `[in, out]`.
    Matrix(String),
    /// A number times what is there, and a number more.
    Moved(String, f64, f64),
    /// What stands before the scale of a norm that has no statistics.
    Bias(String),
    /// The shift of a norm of which there is nothing else.
    Shift(String),
    Dropped,
}

/// The tensors of a file as this crate lays them out, and the names of those that are of no use; as they came, if nothing says that
/// they are from TensorFlow. What is not understood keeps its name.
///
/// # Errors
/// When a tensor cannot be made.
pub(super) fn translated(
    tensors: BTreeMap<String, Tensor>,
    names: Names,
) -> Result<(BTreeMap<String, Tensor>, Vec<String>)> {
    let layouts: [(&str, Layout); 3] = [
        ("Conv1/kernel", keras),
        ("conv32_down/conv/filters", face_api),
        ("MobileFaceNet/MobileFaceNet/Conv2d_0/Conv2D_weights", mobile_face_net),
    ];
    let found = layouts.iter().find(|(marker, _)| tensors.contains_key(*marker));
    let Some((_, piece)) = found.filter(|_| matches!(names, Names::Any | Names::Tensorflow)) else {
        return Ok((tensors, Vec::new()));
    };
    let (mut ours, mut dropped) = (BTreeMap::new(), Vec::new());
    for (name, tensor) in tensors {
        match (piece(&name), tensor.rank()) {
            (Some(Piece::Dropped), _) => dropped.push(name),
            (Some(Piece::Kernel(to)), 4) => _ = ours.insert(to, tensor.permute((3, 2, 0, 1))?),
            (Some(Piece::Depthwise(to)), 4) => _ = ours.insert(to, tensor.permute((2, 3, 0, 1))?),
            (Some(Piece::Matrix(to)), 2) => _ = ours.insert(to, tensor.t()?),
            (Some(Piece::Moved(to, times, more)), _) => _ = ours.insert(to, tensor.affine(times, more)?),
            // scale · (x + bias) is scale · (x − mean).
            (Some(Piece::Bias(norm)), _) => {
                ours.insert(format!("{norm}.running_mean"), tensor.neg()?);
                ours.insert(format!("{norm}.running_var"), flat(&tensor)?);
            }
            (Some(Piece::Shift(norm)), _) => {
                ours.insert(format!("{norm}.running_mean"), tensor.zeros_like()?);
                ours.insert(format!("{norm}.running_var"), flat(&tensor)?);
                ours.insert(format!("{norm}.weight"), tensor.ones_like()?);
                ours.insert(format!("{norm}.bias"), tensor);
            }
            _ => _ = ours.insert(name, tensor),
        }
    }
    Ok((ours, dropped))
}

/// The variances under which a norm like `tensor` divides by 1.
fn flat(tensor: &Tensor) -> Result<Tensor> {
    Ok((tensor.ones_like()? * (1.0 - EPSILON))?)
}

fn same(name: String) -> Piece {
    Piece::Moved(name, 1.0, 0.0)
}

/// Of face-api, e.g. `conv64_1/conv2/scale/weights`.
fn face_api(name: &str) -> Option<Piece> {
    if name == "fc" {
        return Some(Piece::Matrix("fc.weight".into()));
    }
    let (owner, kind) = ["conv/filters", "conv/bias", "scale/weights", "scale/biases"]
        .into_iter()
        .find_map(|kind| Some((name.strip_suffix(kind)?.replace('/', "."), kind)))?;
    Some(match kind {
        "conv/filters" => Piece::Kernel(format!("{owner}conv.weight")),
        "conv/bias" => Piece::Bias(format!("{owner}scale")),
        "scale/weights" => same(format!("{owner}scale.weight")),
        _ => same(format!("{owner}scale.bias")),
    })
}

/// Of human, e.g. `MobileFaceNet/MobileFaceNet/Conv2d_0/mul`.
fn mobile_face_net(name: &str) -> Option<Piece> {
    if name.starts_with("embeddings/") {
        return Some(Piece::Dropped);
    }
    let name = name.strip_prefix("MobileFaceNet/")?;
    let name = name.strip_prefix("MobileFaceNet/").unwrap_or(name);
    let (owner, kind) = name.rsplit_once('/')?;
    let owner = owner.replace('/', ".");
    Some(match kind {
        "Conv2D_weights" => Piece::Kernel(format!("{owner}.conv.weight")),
        "depthwise_weights" => Piece::Depthwise(format!("{owner}.conv.weight")),
        "Conv2D_bn_offset" | "depthwise_bn_offset" => Piece::Shift(format!("{owner}.norm")),
        // There it is slope / 2 · (x − |x|).
        "mul" => Piece::Moved(format!("{owner}.prelu.weight"), 2.0, 0.0),
        _ => return None,
    })
}

/// Of Keras, e.g. `block_3_depthwise_BN/moving_variance`.
fn keras(name: &str) -> Option<Piece> {
    let (layer, kind) = name.rsplit_once('/')?;
    if ["dense", "predictions", "Logits"].iter().any(|classifier| layer.starts_with(classifier)) {
        return Some(Piece::Dropped);
    }
    let place = match layer {
        "Conv1" => "features.0.0".to_owned(),
        "bn_Conv1" => "features.0.1".to_owned(),
        "Conv_1" => "features.18.0".to_owned(),
        "Conv_1_bn" => "features.18.1".to_owned(),
        _ => {
            let (block, part, has_expansion) = match layer.strip_prefix("expanded_conv_") {
                Some(part) => (1, part, false),
                None => {
                    let (block, part) = layer.strip_prefix("block_")?.split_once('_')?;
                    (block.parse::<usize>().ok()? + 1, part, true)
                }
            };
            let at = usize::from(has_expansion);
            let place = match part {
                "expand" => "0.0".to_owned(),
                "expand_BN" => "0.1".to_owned(),
                "depthwise" => format!("{at}.0"),
                "depthwise_BN" => format!("{at}.1"),
                "project" => (at + 1).to_string(),
                "project_BN" => (at + 2).to_string(),
                _ => return None,
            };
            format!("features.{block}.conv.{place}")
        }
    };
    Some(match kind {
        "kernel" => Piece::Kernel(format!("{place}.weight")),
        "depthwise_kernel" => Piece::Depthwise(format!("{place}.weight")),
        "gamma" => same(format!("{place}.weight")),
        "beta" => same(format!("{place}.bias")),
        "moving_mean" => same(format!("{place}.running_mean")),
        "moving_variance" => Piece::Moved(format!("{place}.running_var"), 1.0, KERAS - EPSILON),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn counted(shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        Tensor::arange(0f32, count as f32, &Device::Cpu).unwrap().reshape(shape).unwrap()
    }

    fn file(tensors: &[(&str, &[usize])]) -> BTreeMap<String, Tensor> {
        tensors.iter().map(|(name, shape)| ((*name).to_owned(), counted(shape))).collect()
    }

    fn vector(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn layers_of_keras_are_where_torchvision_has_them() {
        for (theirs, ours) in [
            ("Conv1/kernel", "features.0.0.weight"),
            ("bn_Conv1/gamma", "features.0.1.weight"),
            ("expanded_conv_depthwise/depthwise_kernel", "features.1.conv.0.0.weight"),
            ("expanded_conv_depthwise_BN/beta", "features.1.conv.0.1.bias"),
            ("expanded_conv_project/kernel", "features.1.conv.1.weight"),
            ("expanded_conv_project_BN/moving_mean", "features.1.conv.2.running_mean"),
            ("block_1_expand/kernel", "features.2.conv.0.0.weight"),
            ("block_16_expand_BN/gamma", "features.17.conv.0.1.weight"),
            ("block_10_depthwise/depthwise_kernel", "features.11.conv.1.0.weight"),
            ("block_10_depthwise_BN/moving_variance", "features.11.conv.1.1.running_var"),
            ("block_2_project/kernel", "features.3.conv.2.weight"),
            ("block_2_project_BN/beta", "features.3.conv.3.bias"),
            ("Conv_1/kernel", "features.18.0.weight"),
            ("Conv_1_bn/beta", "features.18.1.bias"),
        ] {
            let found = match keras(theirs) {
                Some(Piece::Kernel(to) | Piece::Depthwise(to) | Piece::Moved(to, ..)) => Some(to),
                _ => None,
            };
            assert_eq!(found.as_deref(), Some(ours), "{theirs}");
        }
        assert!(matches!(keras("dense_3/bias"), Some(Piece::Dropped)));
        for unknown in ["block_x_expand/kernel", "block_3_swallow/kernel", "Conv1/colour", "Conv1"] {
            assert!(keras(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn kernels_are_turned_and_norms_are_made() {
        let tensors = file(&[
            ("MobileFaceNet/MobileFaceNet/Conv2d_0/Conv2D_weights", &[3, 2, 5, 4]),
            ("MobileFaceNet/MobileFaceNet/Conv2d_0/Conv2D_bn_offset", &[4]),
            ("MobileFaceNet/MobileFaceNet/Conv2d_0/mul", &[4]),
            ("MobileFaceNet/Logits/SeparableConv2d/depthwise_weights", &[3, 2, 5, 1]),
            ("embeddings/Maximum/y", &[1]),
            ("MobileFaceNet/what is this", &[1]),
        ]);
        let (ours, dropped) = translated(tensors.clone(), Names::Any).unwrap();
        assert_eq!(dropped, ["embeddings/Maximum/y"]);
        let names: Vec<&str> = ours.keys().map(String::as_str).collect();
        let norm = ["bias", "running_mean", "running_var", "weight"].map(|of| format!("Conv2d_0.norm.{of}"));
        assert_eq!(names[..1], ["Conv2d_0.conv.weight"]);
        assert_eq!(names[1..5], norm);
        let last = ["Conv2d_0.prelu.weight", "Logits.SeparableConv2d.conv.weight", "MobileFaceNet/what is this"];
        assert_eq!(names[5..], last);
        let kernel = &ours["Conv2d_0.conv.weight"];
        assert_eq!(kernel.dims(), [4, 5, 3, 2]);
        // Out 1, in 2, row 2, column 1 of [3, 2, 5, 4].
        let told = ((2 * 2 + 1) * 5 + 2) * 4 + 1;
        assert_eq!(kernel.get(1).unwrap().to_vec3::<f32>().unwrap()[2][2][1], told as f32);
        assert_eq!(ours["Logits.SeparableConv2d.conv.weight"].dims(), [5, 1, 3, 2]);
        assert_eq!(vector(&ours["Conv2d_0.prelu.weight"]), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(vector(&ours["Conv2d_0.norm.bias"]), [0.0, 1.0, 2.0, 3.0]);
        assert!(vector(&ours["Conv2d_0.norm.running_var"]).iter().all(|v| (v + 1e-5 - 1.0).abs() < 1e-7));
        // Who says that it is a file of somebody else gets it as it came.
        assert_eq!(translated(tensors, Names::Torchvision).unwrap().0.len(), 6);
    }

    #[test]
    fn what_stands_before_a_scale_is_a_mean() {
        let tensors = file(&[
            ("conv32_down/conv/filters", &[7, 7, 3, 2]),
            ("conv32_down/conv/bias", &[2]),
            ("conv32_down/scale/weights", &[2]),
            ("conv32_down/scale/biases", &[2]),
            ("fc", &[3, 2]),
        ]);
        let (ours, _) = translated(tensors, Names::Tensorflow).unwrap();
        assert_eq!(vector(&ours["conv32_down.scale.running_mean"]), [0.0, -1.0]);
        assert_eq!(ours["conv32_down.conv.weight"].dims(), [2, 3, 7, 7]);
        assert_eq!(vector(&ours["fc.weight"]), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        assert_eq!(ours.len(), 6);
    }
}
