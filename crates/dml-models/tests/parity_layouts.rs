//! Networks of images from files laid out as their makers publish them give the embeddings of timm, transformers and torchvision, which
//! read the same files; vision transformers also for pictures of another size than the weights were made with.

mod formula;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use dml_models::image::VitConfig;
use dml_models::pretrained::{self, Loading, Names, Report};
use dml_models::{Architecture, Encoder, EncoderConfig, Error, Input, Mode, Network};
use formula::Case;
use std::collections::HashMap;
use std::path::PathBuf;

/// PyTorch itself is off by 1e-6 in float32.
const ALLOWED: f64 = 1e-5;
/// Of the norm of a gradient: likewise.
const ALLOWED_OF_GRADIENT: f64 = 1e-4;

/// A file of the tensors of a case.
struct Published {
    folder: tempfile::TempDir,
    case: Case,
    tensors: HashMap<String, Tensor>,
}

impl Published {
    fn new(name: &str) -> Self {
        let case = Case::load(name);
        let spread = case.config()["spread"].as_f64().unwrap();
        let tensors = case.tensors().into_iter();
        let tensors =
            tensors.map(|(name, shape, kind)| (name.clone(), formula::tensor(&name, &shape, &kind, spread, 0.0)));
        Self { folder: tempfile::tempdir().unwrap(), tensors: tensors.collect(), case }
    }

    fn path(&self) -> PathBuf {
        let path = self.folder.path().join("model.safetensors");
        candle_core::safetensors::save(&self.tensors, &path).unwrap();
        path
    }

    fn network(&self, config: &EncoderConfig) -> Network {
        let shape = self.case.run("eval").input_shape();
        Network::new(config, [shape[1], shape[2], shape[3]], 0, &Device::Cpu).unwrap()
    }

    fn load(&self, network: &Network, names: Names) -> Result<Report, Error> {
        pretrained::load_with(network, &self.path(), Loading { names, ..Loading::default() })
    }

    fn images(&self) -> Tensor {
        formula::uniform_tensor("input", &self.case.run("eval").input_shape())
    }

    /// Loads it by its maker's names and by anyone's, and compares embeddings.
    fn check_embeddings(&self, config: &EncoderConfig, names: Names, modes: &[Mode]) -> (Network, Report) {
        let network = self.network(config);
        let images = Input::Images(self.images());
        let mut reports = Vec::new();
        for names in [names, Names::Any] {
            reports.push(self.load(&network, names).unwrap());
            for &mode in modes {
                let embedding = network.embed(&images, mode).unwrap();
                self.case.run("eval").check_embedding(&format!("{names:?} {mode:?}"), &embedding, ALLOWED);
            }
        }
        let report = reports.remove(0);
        assert_eq!(report, reports[0]);
        assert_eq!(report.loaded.len(), network.weights().named().len());
        (network, report)
    }

    /// Of a vision transformer, in evaluation and in training; gradients, too.
    fn check(&self, vit: VitConfig, names: Names) -> (Network, Report) {
        let (network, report) = self.check_embeddings(&of(vit), names, &[Mode::Eval, Mode::Train]);
        let (run, images) = (self.case.run("eval"), Var::from_tensor(&self.images()).unwrap());
        let embedding = network.embed(&Input::Images(images.as_tensor().clone()), Mode::Train).unwrap();
        let gradients = run.loss(&embedding).backward().unwrap();
        for (name, var) in network.weights().named() {
            assert!(gradients.get(&var).is_some(), "{name} is not trained");
        }
        let compared = run.check_gradients(ALLOWED_OF_GRADIENT, |name| match name {
            "input" => gradients.get(&images).unwrap().clone(),
            name => of_clip(&network, &gradients, name),
        });
        let is_clip_of_transformers = self.tensors.contains_key("visual_projection.weight");
        assert_eq!(compared, if is_clip_of_transformers { self.tensors.len() + 1 } else { 1 });
        (network, report)
    }
}

/// The gradient of what transformers' CLIP calls `name`: all of one of ours, or of queries, keys and values a third.
fn of_clip(network: &Network, gradients: &GradStore, name: &str) -> Tensor {
    let mut ours = name.strip_prefix("vision_model.").unwrap_or(name).to_owned();
    for (theirs, to) in [
        ("embeddings.class_embedding", "cls_token"),
        ("embeddings.position_embedding.weight", "pos_embed"),
        ("embeddings.patch_embedding", "patch_embed.proj"),
        ("pre_layrnorm", "norm_pre"),
        ("post_layernorm", "norm"),
        ("visual_projection", "projection"),
        ("encoder.layers", "blocks"),
        ("self_attn.out_proj", "attn.proj"),
        ("self_attn.q_proj", "attn.qkv"),
        ("self_attn.k_proj", "attn.qkv"),
        ("self_attn.v_proj", "attn.qkv"),
        ("layer_norm", "norm"),
    ] {
        ours = ours.replace(theirs, to);
    }
    let (_, var) =
        network.weights().named().into_iter().find(|(of, _)| *of == ours).unwrap_or_else(|| panic!("{ours}"));
    let gradient = gradients.get(&var).unwrap();
    match ["q_proj", "k_proj", "v_proj"].iter().position(|third| name.contains(third)) {
        Some(k) => {
            let d = gradient.dim(0).unwrap() / 3;
            gradient.narrow(0, k * d, d).unwrap()
        }
        None => gradient.clone(),
    }
}

fn of(vit: VitConfig) -> EncoderConfig {
    EncoderConfig { architecture: Architecture::Vit, vit, ..EncoderConfig::default() }
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

fn dinov2() -> VitConfig {
    VitConfig { patch: 14, depth: 2, layer_scale: true, ..VitConfig::default() }
}

fn small() -> VitConfig {
    VitConfig { dim: 64, heads: 4, mlp: 256, depth: 2, ..VitConfig::default() }
}

fn clip() -> VitConfig {
    VitConfig { patch: 8, clip: true, projection: 32, ..small() }
}

/// From 4 x 4 places to 5 x 7.
#[test]
fn dinov2s_own_files_at_a_larger_size() {
    let (_, report) = Published::new("laid_dinov2").check(dinov2(), Names::Dinov2);
    assert_eq!(report.dropped, ["mask_token"]);
    let of = &report.resampled[0];
    assert_eq!((of.name.as_str(), &of.file[..], &of.network[..]), ("pos_embed", &[1, 17, 384][..], &[1, 36, 384][..]));
    assert!(report.to_string().contains("pos_embed scaled from [1, 17, 384] to [1, 36, 384]"), "{report}");
}

/// From 6 x 6 places to 3 x 2.
#[test]
fn dinov2s_own_files_with_registers_at_a_smaller_size() {
    let vit = VitConfig { registers: 4, ..dinov2() };
    let (_, report) = Published::new("laid_dinov2_registers").check(vit, Names::Dinov2);
    assert_eq!((report.resampled[0].file[1], report.resampled[0].network[1]), (36, 6));
}

#[test]
fn dinov2_of_transformers() {
    let vit = VitConfig { patch: 14, layer_scale: true, ..small() };
    let (_, report) = Published::new("laid_dinov2_of_transformers").check(vit.clone(), Names::HuggingFace);
    assert_eq!(report.dropped, ["embeddings.mask_token"]);
    assert!(report.resampled.is_empty());
    let vit = VitConfig { registers: 3, ..vit };
    Published::new("laid_dinov2_registers_of_transformers").check(vit, Names::HuggingFace);
}

#[test]
fn clip_of_openai_and_of_transformers() {
    let openai = Published::new("laid_openai_clip");
    let (_, report) = openai.check(clip(), Names::OpenClip);
    for of in ["logit_scale", "positional_embedding", "text_projection", "transformer.resblocks.0.attn.in_proj_weight"]
    {
        assert!(report.dropped.iter().any(|name| name == of), "{of}: {report:?}");
    }
    Published::new("clip_vision").check(clip(), Names::HuggingFace);
    // Without a projection: its input.
    let bare = openai.network(&of(VitConfig { projection: 0, ..clip() }));
    assert!(openai.load(&bare, Names::Any).unwrap().dropped.contains(&"visual.proj".to_owned()));
    // open_clip's own have another activation.
    let images = Input::Images(openai.images());
    let exact = openai.network(&of(VitConfig { projection: 0, exact_gelu: true, ..clip() }));
    openai.load(&exact, Names::Any).unwrap();
    let [a, b] = [bare, exact].map(|network| network.embed(&images, Mode::Eval).unwrap());
    let apart = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(apart > 1e-4, "{apart}");
}

#[test]
fn vit_of_transformers_with_a_pooler_or_a_classifier() {
    let mut file = Published::new("laid_vit_of_transformers");
    let vit = VitConfig { patch: 8, ..small() };
    let (_, report) = file.check(vit.clone(), Names::HuggingFace);
    assert_eq!(report.dropped, ["pooler.dense.bias", "pooler.dense.weight"]);
    let backbone = file.tensors.drain().filter(|(name, _)| !name.starts_with("pooler."));
    file.tensors = backbone.map(|(name, tensor)| (format!("vit.{name}"), tensor)).collect();
    file.tensors.insert("classifier.bias".to_owned(), zeros(&[5]));
    let (_, report) = file.check(vit, Names::HuggingFace);
    assert_eq!(report.dropped, ["classifier.bias"]);
}

#[test]
fn vit_of_torchvision_of_either_age() {
    let mut file = Published::new("laid_vit_of_torchvision");
    let vit = VitConfig { patch: 8, ..small() };
    let heads = ["heads.head.bias", "heads.head.weight"];
    assert_eq!(file.check(vit.clone(), Names::Torchvision).1.dropped, heads);
    let old = |name: String| name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.");
    file.tensors = file.tensors.drain().map(|(name, tensor)| (old(name), tensor)).collect();
    assert!(file.tensors.contains_key("encoder.layers.encoder_layer_1.mlp.linear_2.weight"));
    assert_eq!(file.check(vit, Names::Torchvision).1.dropped, heads);
}

#[test]
fn small_networks_of_timm() {
    let head = ["conv_head.bias", "conv_head.weight"];
    for (name, architecture, dropped) in [
        ("laid_mobilenet_v2_of_timm", Architecture::MobilenetV2, &head[..0]),
        ("laid_mobilenet_v3_small_of_timm", Architecture::MobilenetV3Small, &head[..]),
        ("laid_mobilenet_v3_large_of_timm", Architecture::MobilenetV3Large, &head[..]),
        ("laid_efficientnet_b0_of_timm", Architecture::EfficientnetB0, &head[..0]),
    ] {
        let mut file = Published::new(name);
        let config = EncoderConfig { architecture, ..EncoderConfig::default() };
        let (network, report) = file.check_embeddings(&config, Names::Timm, &[Mode::Eval]);
        assert_eq!(report.dropped, dropped, "{name}");
        // What a file has besides.
        file.tensors.insert("classifier.weight".to_owned(), zeros(&[5, 1280]));
        file.tensors.insert("bn1.num_batches_tracked".to_owned(), zeros(&[]));
        let report = file.load(&network, Names::Any).unwrap();
        for besides in ["classifier.weight", "bn1.num_batches_tracked"] {
            assert!(report.dropped.iter().any(|name| name == besides), "{name}: {report}");
        }
        // By another's names it is another network's.
        let Err(Error::Mismatch { report, .. }) = file.load(&network, Names::Torchvision) else {
            panic!("it was taken")
        };
        assert!(report.loaded.is_empty() && report.unexpected.contains(&"conv_stem.weight".to_owned()), "{report}");
    }
}

#[test]
fn what_does_not_fit_is_named_as_in_the_file() {
    let mut file = Published::new("clip_vision");
    let network = file.network(&of(clip()));
    let layer = "vision_model.encoder.layers.1.";
    let key = file.tensors.remove(&format!("{layer}self_attn.k_proj.weight")).unwrap();
    file.tensors.insert(format!("{layer}self_attn.z_proj.weight"), key);
    file.tensors.insert("vision_model.embeddings.position_embedding.weight".to_owned(), zeros(&[12, 64]));
    file.tensors.insert("vision_model.embeddings.other".to_owned(), Tensor::new(1f32, &Device::Cpu).unwrap());
    let Err(Error::Mismatch { report, .. }) = file.load(&network, Names::Any) else { panic!("it was taken") };
    assert_eq!(report.missing, ["blocks.1.attn.qkv.weight"]);
    let thirds = ["q_proj", "v_proj", "z_proj"].map(|third| format!("{layer}self_attn.{third}.weight"));
    assert_eq!(report.unexpected[0], "vision_model.embeddings.other");
    assert_eq!(report.unexpected[1..], thirds);
    // Eleven places are no square.
    let of = &report.misshapen[0];
    assert_eq!((of.name.as_str(), &of.file[..], &of.network[..]), ("pos_embed", &[1, 12, 64][..], &[1, 17, 64][..]));
    assert!(report.resampled.is_empty());
    // By another maker's names nothing is renamed.
    let Err(Error::Mismatch { report, .. }) = file.load(&network, Names::Timm) else { panic!("it was taken") };
    assert!(report.loaded.is_empty() && report.unexpected.contains(&"visual_projection.weight".to_owned()));
}
