//! Vision transformers from files laid out as their makers publish them give the embeddings of timm and transformers, which read
//! the same files, also for pictures of another size than the weights were made with.

mod formula;

use candle_core::{Device, Tensor};
use dml_models::image::VitConfig;
use dml_models::pretrained::{self, Loading, Names, Report};
use dml_models::{Architecture, Encoder, EncoderConfig, Error, Input, Mode, Network};
use formula::Case;
use std::collections::HashMap;
use std::path::PathBuf;

/// PyTorch itself is off by 1e-6 in float32.
const ALLOWED: f64 = 1e-5;

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

    fn network(&self, vit: VitConfig) -> Network {
        let shape = self.case.run("eval").input_shape();
        let config = EncoderConfig { architecture: Architecture::Vit, vit, ..EncoderConfig::default() };
        Network::new(&config, [shape[1], shape[2], shape[3]], 0, &Device::Cpu).unwrap()
    }

    fn load(&self, network: &Network, names: Names) -> Result<Report, Error> {
        pretrained::load_with(network, &self.path(), Loading { names, ..Loading::default() })
    }

    /// Loads it by its maker's names and by anyone's, in evaluation and in training, and compares embeddings.
    fn check(&self, vit: VitConfig, names: Names) -> (Network, Report) {
        let network = self.network(vit);
        let run = self.case.run("eval");
        let images = Input::Images(formula::uniform_tensor("input", &run.input_shape()));
        let mut reports = Vec::new();
        for names in [names, Names::Any] {
            reports.push(self.load(&network, names).unwrap());
            for mode in [Mode::Eval, Mode::Train] {
                let embedding = network.embed(&images, mode).unwrap();
                run.check_embedding(&format!("{names:?} {mode:?}"), &embedding, ALLOWED);
            }
        }
        let report = reports.remove(0);
        assert_eq!(report, reports[0]);
        assert_eq!(report.loaded.len(), network.weights().named().len());
        let gradients = run.loss(&network.embed(&images, Mode::Train).unwrap()).backward().unwrap();
        for (name, var) in network.weights().named() {
            assert!(gradients.get(&var).is_some(), "{name} is not trained");
        }
        (network, report)
    }
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
    let bare = openai.network(VitConfig { projection: 0, ..clip() });
    assert!(openai.load(&bare, Names::Any).unwrap().dropped.contains(&"visual.proj".to_owned()));
    // open_clip's own have another activation.
    let images = Input::Images(formula::uniform_tensor("input", &openai.case.run("eval").input_shape()));
    let exact = openai.network(VitConfig { projection: 0, exact_gelu: true, ..clip() });
    openai.load(&exact, Names::Any).unwrap();
    let [a, b] = [bare, exact].map(|network| network.embed(&images, Mode::Eval).unwrap());
    let apart = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(apart > 1e-4, "{apart}");
}

#[test]
fn what_does_not_fit_is_named_as_in_the_file() {
    let mut file = Published::new("clip_vision");
    let network = file.network(clip());
    let layer = "vision_model.encoder.layers.1.";
    let key = file.tensors.remove(&format!("{layer}self_attn.k_proj.weight")).unwrap();
    file.tensors.insert(format!("{layer}self_attn.z_proj.weight"), key);
    let places = Tensor::zeros((12, 64), candle_core::DType::F32, &Device::Cpu).unwrap();
    file.tensors.insert("vision_model.embeddings.position_embedding.weight".to_owned(), places);
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
