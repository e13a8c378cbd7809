//! Encoders by name: a backbone, its head and their weights.

use crate::backbone::Backbone;
use crate::head::{Head, HeadConfig};
use crate::image::mobile::{Mobile, MobileNet};
use crate::image::resnet::{Depth, ResNet};
use crate::image::{BnInception, Conv4, Conv4Config, FaceResNet, IResNet, MobileFaceNet, Vit, VitConfig};
use crate::layer::{Builder, Padding, Scope};
use crate::pooling::Pooling;
use crate::text::{Bert, BertConfig, DistilBert, DistilBertConfig};
use crate::{Encoder, Error, Input, Mode, Result, Weights, weights};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Which network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Four blocks for small images (Vinyals et al. 2016).
    #[default]
    Conv4,
    /// He et al. 2016, 18 layers.
    Resnet18,
    /// He et al. 2016, 34 layers.
    Resnet34,
    /// He et al. 2016, 50 layers.
    Resnet50,
    /// Ioffe & Szegedy, *Batch Normalization*, 2015: the backbone of most papers before 2020.
    BnInception,
    /// IResNet-50 for faces, as insightface trains it with ArcFace.
    Iresnet50,
    /// dlib's network for faces.
    FaceResnet,
    /// Chen et al., *MobileFaceNets*, 2018, table 1.
    MobileFaceNet,
    /// Sandler et al., *MobileNetV2*, 2018.
    MobilenetV2,
    /// Howard et al., *Searching for MobileNetV3*, 2019, table 2.
    MobilenetV3Small,
    /// The same, table 1.
    MobilenetV3Large,
    /// Tan & Le, *EfficientNet*, 2019, table 1.
    EfficientnetB0,
    /// A vision transformer of the shape that `vit` says (Dosovitskiy et al. 2021; DINO, DINOv2, CLIP).
    Vit,
    /// A text encoder of the shape that `bert` says (Devlin et al. 2019; MiniLM, sentence encoders).
    Bert,
    /// A text encoder of the shape that `distil_bert` says (Sanh et al. 2019).
    DistilBert,
}

impl Architecture {
    /// Whether it embeds texts; all others embed images.
    pub fn embeds_texts(self) -> bool {
        matches!(self, Self::Bert | Self::DistilBert)
    }

    /// Which poolings its features can have: maps, tokens, or what its own last layers have made one vector already.
    fn takes(self, pooling: Pooling) -> bool {
        match self {
            Self::Conv4 | Self::Iresnet50 | Self::FaceResnet | Self::MobileFaceNet => pooling == Pooling::Default,
            Self::Vit | Self::Bert | Self::DistilBert => !matches!(pooling, Pooling::MeanMax | Pooling::Gem),
            _ => matches!(pooling, Pooling::Default | Pooling::Mean | Pooling::Max | Pooling::MeanMax | Pooling::Gem),
        }
    }

    /// Whether it is one of those that are published with zeros around the image in either way.
    fn is_mobile(self) -> bool {
        matches!(self, Self::MobilenetV2 | Self::MobilenetV3Small | Self::MobilenetV3Large | Self::EfficientnetB0)
    }
}

/// An encoder, completely described but for its weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderConfig {
    /// Which network. Default `conv4`.
    pub architecture: Architecture,
    /// Weights to begin with: a file, `hf://OWNER/NAME/FILE`, or of a sentence encoder the folder or the whole repository
    /// `hf://OWNER/NAME`. Default none. [`Network::new`] draws its own; who reads this loads them after it, as `dml-train` does.
    pub weights: Option<String>,
    /// Where a MobileNet or EfficientNet has zeros around the image: `even` (default), or `tensorflow` for weights from there.
    pub padding: Padding,
    /// Shape of a `conv4`.
    pub conv4: Conv4Config,
    /// Shape of a `vit`; ViT-S/16 by default.
    pub vit: VitConfig,
    /// Shape of a `bert`; that of all-MiniLM-L6-v2 by default.
    pub bert: BertConfig,
    /// Shape of a `distil_bert`.
    pub distil_bert: DistilBertConfig,
    /// What follows.
    pub head: HeadConfig,
    /// Parameters that stand still: names, or beginnings of names up to a dot, e.g. `"layer1"`. Default none.
    pub freeze: Vec<String>,
    /// Whether batch norms use their running statistics in training too, and stand still. Default false.
    pub freeze_norms: bool,
    /// A second tower, for texts, beside this one for images: both embed into one space (Radford et al. 2021). Its weights are named
    /// `text.…`. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Box<EncoderConfig>>,
}

/// How much of a text an encoder takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextSizes {
    /// Tokens that there are.
    pub vocabulary: usize,
    /// Most tokens of a text.
    pub places: usize,
}

impl EncoderConfig {
    /// What embeds texts: this, or its tower for them; `None`: nothing does.
    pub fn for_texts(&self) -> Option<&Self> {
        if self.architecture.embeds_texts() { Some(self) } else { self.text.as_deref() }
    }

    /// How much of a text it takes; `None`: it embeds images.
    pub fn text_sizes(&self) -> Option<TextSizes> {
        let (vocabulary, places) = match self.architecture {
            Architecture::Bert => (self.bert.vocab_size, self.bert.max_position_embeddings),
            Architecture::DistilBert => (self.distil_bert.vocab_size, self.distil_bert.max_position_embeddings),
            _ => return None,
        };
        Some(TextSizes { vocabulary, places })
    }

    /// Towers that are of images and of texts, and embed into one space.
    fn check_towers(&self, images: &Tower, texts: &Tower) -> Result<()> {
        let Some(text) = &self.text else { return Ok(()) };
        let wrong = |problem: String| Err(Error::Config(problem));
        if self.architecture.embeds_texts() {
            return wrong(format!("text is set but {:?} embeds texts itself: leave text out", self.architecture));
        }
        if !text.architecture.embeds_texts() {
            return wrong(format!("text.architecture {:?} embeds images: give bert or distil_bert", text.architecture));
        }
        if text.text.is_some() {
            return wrong("text.text is set but a tower for texts has none of its own: leave it out".to_owned());
        }
        let dims = [images, texts].map(|tower| tower.head.dim());
        if dims[0] != dims[1] {
            return wrong(format!(
                "images become {} numbers but texts {}: set head.dim and text.head.dim to the same",
                dims[0], dims[1]
            ));
        }
        Ok(())
    }
}

/// A backbone with a head; or two of them, one for images and one for texts.
pub struct Network {
    tower: Tower,
    text: Option<Tower>,
    weights: Weights,
}

/// A backbone with a head.
struct Tower {
    backbone: Box<dyn Backbone>,
    head: Head,
}

impl Network {
    /// Builds the network of `config` for inputs of the shape `input` (`[c, h, w]`; text encoders do not ask), with weights drawn
    /// from `seed`.
    ///
    /// # Errors
    /// When the configuration describes no network, freezes what there is not, or its towers do not fit together.
    pub fn new(config: &EncoderConfig, input: [usize; 3], seed: u64, device: &Device) -> Result<Self> {
        let builder = Builder::new(seed, device);
        let tower = Tower::new(&builder.root(), config, input, seed)?;
        let text = match &config.text {
            Some(text) => {
                let scope = builder.root().at(weights::TEXT.trim_end_matches('.'));
                // Its head drops other numbers than that of the images.
                let text_tower = Tower::new(&scope, text, input, seed.wrapping_add(1))?;
                config.check_towers(&tower, &text_tower)?;
                Some(text_tower)
            }
            None => None,
        };
        let weights = builder.finish();
        let of_text = config.text.iter().flat_map(|text| &text.freeze).map(|name| format!("{}{name}", weights::TEXT));
        freeze(&weights, &config.freeze.iter().cloned().chain(of_text).collect::<Vec<_>>())?;
        weights.freeze_norms(config.freeze_norms);
        Ok(Self { tower, text, weights })
    }
}

impl Tower {
    fn new(scope: &Scope<'_>, config: &EncoderConfig, input: [usize; 3], seed: u64) -> Result<Self> {
        let resnet = |depth| -> Result<Box<dyn Backbone>> { Ok(Box::new(ResNet::new(scope, depth, input[0])?)) };
        let mobile = |which| -> Result<Box<dyn Backbone>> {
            Ok(Box::new(MobileNet::new(scope, which, config.padding, input[0])?))
        };
        if config.padding != Padding::Even && !config.architecture.is_mobile() {
            let problem = format!(
                "padding = {:?} is for MobileNets and EfficientNets, not for {:?}",
                config.padding, config.architecture
            );
            return Err(Error::Config(problem));
        }
        // Not at the first pass, which may be hours of loading later, and never in silence.
        if !config.architecture.takes(config.head.pooling) {
            let problem = format!(
                "head.pooling = {:?} is not for the features of {:?}: leave it out, or choose another",
                config.head.pooling, config.architecture
            );
            return Err(Error::Config(problem));
        }
        let (backbone, pooling): (Box<dyn Backbone>, _) = match config.architecture {
            Architecture::Conv4 => (Box::new(Conv4::new(scope, &config.conv4, input)?), Pooling::Mean),
            Architecture::Resnet18 => (resnet(Depth::RESNET18)?, Pooling::Mean),
            Architecture::Resnet34 => (resnet(Depth::RESNET34)?, Pooling::Mean),
            Architecture::Resnet50 => (resnet(Depth::RESNET50)?, Pooling::Mean),
            Architecture::BnInception => (Box::new(BnInception::new(scope, input[0])?), Pooling::Mean),
            Architecture::Iresnet50 => (Box::new(IResNet::new(scope, input)?), Pooling::Mean),
            Architecture::FaceResnet => (Box::new(FaceResNet::new(scope, input[0])?), Pooling::Mean),
            Architecture::MobileFaceNet => (Box::new(MobileFaceNet::new(scope, input)?), Pooling::Mean),
            Architecture::MobilenetV2 => (mobile(Mobile::V2)?, Pooling::Mean),
            Architecture::MobilenetV3Small => (mobile(Mobile::V3Small)?, Pooling::Mean),
            Architecture::MobilenetV3Large => (mobile(Mobile::V3Large)?, Pooling::Mean),
            Architecture::EfficientnetB0 => (mobile(Mobile::EfficientNetB0)?, Pooling::Mean),
            Architecture::Vit => (Box::new(Vit::new(scope, &config.vit, input)?), Pooling::Cls),
            Architecture::Bert => (Box::new(Bert::new(scope, &config.bert)?), Pooling::Mean),
            Architecture::DistilBert => (Box::new(DistilBert::new(scope, &config.distil_bert)?), Pooling::Mean),
        };
        let head = Head::new(&scope.at("head"), &config.head, backbone.channels(), pooling, seed)?;
        Ok(Self { backbone, head })
    }

    fn embed(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        self.head.forward(&self.backbone.features(input, mode)?, mode)
    }
}

/// Freezes what `names` name.
fn freeze(weights: &Weights, names: &[String]) -> Result<()> {
    let within = |name: &str, of: &String| {
        name.strip_prefix(of.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(unknown) = names.iter().find(|of| !weights.parameters().iter().any(|p| within(p.name(), of))) {
        let first: Vec<&str> = weights.parameters().iter().take(5).map(|p| p.name()).collect();
        return Err(Error::Config(format!(
            "freeze names {unknown:?}, which no parameter begins with: there are {first:?} …"
        )));
    }
    weights.freeze(|name| names.iter().any(|of| within(name, of)));
    Ok(())
}

impl Encoder for Network {
    fn embed(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        match (&self.text, input) {
            (Some(text), Input::Tokens(_)) => text.embed(input, mode),
            _ => self.tower.embed(input, mode),
        }
    }

    fn dim(&self) -> usize {
        self.tower.head.dim()
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooling_that_the_features_cannot_have_is_refused_at_once() {
        let small = |architecture, pooling| {
            let conv4 = Conv4Config { filters: 4 };
            let head = HeadConfig { pooling, ..HeadConfig::default() };
            let config = EncoderConfig { architecture, conv4, head, ..EncoderConfig::default() };
            Network::new(&config, [3, 16, 16], 0, &Device::Cpu)
        };
        small(Architecture::Conv4, Pooling::Default).unwrap();
        small(Architecture::Resnet18, Pooling::Gem).unwrap();
        for (architecture, pooling) in [
            (Architecture::Conv4, Pooling::Gem),
            (Architecture::Resnet18, Pooling::Cls),
            (Architecture::Vit, Pooling::MeanMax),
        ] {
            let message = small(architecture, pooling).err().unwrap().to_string();
            assert!(message.contains("head.pooling") && message.contains(&format!("{architecture:?}")), "{message}");
        }
    }
}
