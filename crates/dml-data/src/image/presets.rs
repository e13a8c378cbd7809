//! The preprocessing of the papers, as their authors' code has it.

use super::{CenterCrop, Extent, Filter, HorizontalFlip, Normalize, Pipeline, RandomResizedCrop, Resize, Size, Step};
use crate::{Error, Result};

/// How a paper prepares images for training and for the test.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    /// Random.
    pub train: Pipeline,
    /// Not random.
    pub eval: Pipeline,
    /// For both.
    pub normalize: Normalize,
}

impl Preset {
    /// Names that [`Preset::named`] knows.
    pub const NAMES: [&'static str; 7] =
        ["imagenet", "mlrc", "proxy-anchor-bn-inception", "proxy-anchor-resnet50", "roadmap", "hyp-dino", "hyp-vit"];

    /// The preset of that name.
    ///
    /// | name | of | training | test | normalisation |
    /// |---|---|---|---|---|
    /// | `imagenet` | Roth et al., 2020, and most others | random crop of 8–100 % to 224, flip | 256, middle 224 | ImageNet |
    /// | `mlrc` | Musgrave et al., 2020, "A Metric Learning Reality Check" | 256, random crop of 16–100 % to 227, flip | 256, middle 227 | BGR, 0–255 |
    /// | `proxy-anchor-bn-inception` | Kim et al., 2020, "Proxy Anchor Loss" | as `imagenet` | as `imagenet` | BGR, 0–255 |
    /// | `proxy-anchor-resnet50` | the same | as `imagenet` | as `imagenet` | ImageNet |
    /// | `roadmap` | Ramzi et al., 2021 | random crop of 8–100 % to 256, flip | 288, middle 256 | ImageNet |
    /// | `hyp-dino` | Ermolov et al., 2022, "Hyperbolic Vision Transformers" | random crop of 20–100 % to 224, bicubic, flip | 224, bicubic, middle 224 (CUB: 256) | ImageNet |
    /// | `hyp-vit` | the same, ViT of ImageNet-21k | as `hyp-dino` | as `hyp-dino` | 0.5 |
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn named(name: &str) -> Result<Self> {
        let crop = |size: usize| RandomResizedCrop::from(Extent::Square(size));
        let imagenet =
            || Self { train: Pipeline::train_224(), eval: Pipeline::eval_224(), normalize: Normalize::imagenet() };
        let hyp = || Self {
            train: train([], RandomResizedCrop { scale: [0.2, 1.0], filter: Filter::Bicubic, ..crop(224) }),
            eval: eval(Resize { size: Size::Shorter(224), filter: Filter::Bicubic }, 224),
            normalize: Normalize::imagenet(),
        };
        Ok(match name {
            "imagenet" | "proxy-anchor-resnet50" => imagenet(),
            "proxy-anchor-bn-inception" => Self { normalize: Normalize::bgr_255(), ..imagenet() },
            "mlrc" => Self {
                train: train([shorter(256)], RandomResizedCrop { scale: [0.16, 1.0], ..crop(227) }),
                eval: eval(shorter(256), 227),
                normalize: Normalize::bgr_255(),
            },
            "roadmap" => {
                Self { train: train([], crop(256)), eval: eval(shorter(288), 256), normalize: Normalize::imagenet() }
            }
            "hyp-dino" => hyp(),
            "hyp-vit" => Self { normalize: Normalize::half(), ..hyp() },
            _ => {
                let known = Self::NAMES.join(", ");
                return Err(Error::Invalid(format!("preprocessing = \"{name}\": give one of {known}")));
            }
        })
    }
}

impl Pipeline {
    /// A random crop of 8–100 % of the image scaled to 224, flipped half of the time.
    pub fn train_224() -> Self {
        train([], Extent::Square(224).into())
    }

    /// The shorter side scaled to 256, and the middle 224 × 224 of it.
    pub fn eval_224() -> Self {
        eval(shorter(256), 224)
    }
}

fn shorter(side: usize) -> Resize {
    Size::Shorter(side).into()
}

fn train<const N: usize>(before: [Resize; N], crop: RandomResizedCrop) -> Pipeline {
    let mut steps: Vec<Step> = before.into_iter().map(Step::Resize).collect();
    steps.extend([Step::RandomResizedCrop(crop), Step::HorizontalFlip(HorizontalFlip { probability: 0.5 })]);
    Pipeline { steps }
}

fn eval(resize: Resize, crop: usize) -> Pipeline {
    Pipeline { steps: vec![Step::Resize(resize), Step::CenterCrop(CenterCrop::from(Extent::Square(crop)))] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_fits() {
        for name in Preset::NAMES {
            let Preset { train, eval, normalize } = Preset::named(name).unwrap();
            train.check().and(eval.check()).and(normalize.check(3)).unwrap();
            assert_eq!(train.output_sides().unwrap(), eval.output_sides().unwrap(), "{name}");
        }
        let error = Preset::named("mlcr").unwrap_err().to_string();
        assert!(error.contains("\"mlcr\"") && error.contains("mlrc"), "{error}");
    }
}
