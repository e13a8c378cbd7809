//! Image encoders give the embeddings and gradients of torchvision's, timm's and transformers', with the same weights.

mod formula;

use candle_core::{Device, Tensor};
use dml_models::image::VitConfig;
use dml_models::{Architecture, Encoder, EncoderConfig, HeadConfig, Input, Mode, Network, Padding, Pooling};
use formula::{Allowed, Case};

/// PyTorch itself is off by 4e-6 in float32, where no kink is crossed: see `ROUNDINGS`. We are off by 2e-6, gradients by 1e-5.
const EVAL: Allowed = Allowed { embedding: 1e-5, gradient: 5e-5 };
/// Batch statistics of three or four small images divide by small deviations here and there: PyTorch is off by 8e-5 and 1e-4, we by
/// 4e-5 and 5e-5.
const TRAIN: Allowed = Allowed { embedding: 1e-4, gradient: 2e-4 };
/// Rounding decides many ReLUs of a deep network: PyTorch is off by 1e-4 and 3e-2, we by up to 1.3e-4 and 5e-2 in ten roundings. With
/// raised biases, which leave few of them at their kink, these networks are held as close as the others.
const DEEP_TRAIN: Allowed = Allowed { embedding: 5e-4, gradient: 1e-1 };

fn embed(network: &Network, images: &Tensor, mode: Mode) -> Tensor {
    network.embed(&Input::Images(images.clone()), mode).unwrap()
}

/// All runs of a case whose names are ours.
fn check(name: &str, config: &EncoderConfig, train: Allowed) {
    check_each(name, |_| config.clone(), train);
}

/// As [`check`], with a configuration for the title of each run.
fn check_each(name: &str, config: impl Fn(&str) -> EncoderConfig, train: Allowed) {
    let case = Case::load(name);
    for (title, run) in case.runs() {
        let shape = run.input_shape();
        let network = Network::new(&config(title), [shape[1], shape[2], shape[3]], 0, &Device::Cpu).unwrap();
        let (mode, allowed) = match run.is_train() {
            true if run.raised() > 0.0 => (Mode::Train, TRAIN),
            true => (Mode::Train, train),
            false => (Mode::Eval, EVAL),
        };
        let embed = |images: &Tensor| embed(&network, images, mode);
        run.check_images(&format!("{name}/{title}"), &network.weights().named(), allowed, embed);
    }
}

#[test]
fn resnets_are_those_of_torchvision() {
    for (name, architecture, train) in [
        ("resnet18", Architecture::Resnet18, TRAIN),
        ("resnet34", Architecture::Resnet34, TRAIN),
        ("resnet50", Architecture::Resnet50, DEEP_TRAIN),
    ] {
        check(name, &EncoderConfig { architecture, ..EncoderConfig::default() }, train);
    }
}

#[test]
fn small_networks_are_those_of_torchvision() {
    for (name, architecture) in [
        ("mobilenet_v2", Architecture::MobilenetV2),
        ("mobilenet_v3_small", Architecture::MobilenetV3Small),
        ("mobilenet_v3_large", Architecture::MobilenetV3Large),
        ("efficientnet_b0", Architecture::EfficientnetB0),
    ] {
        check(name, &EncoderConfig { architecture, ..EncoderConfig::default() }, TRAIN);
    }
}

#[test]
fn bn_inception_and_iresnet_are_those_of_their_packages() {
    let config = |architecture| EncoderConfig { architecture, ..EncoderConfig::default() };
    check("bn_inception", &config(Architecture::BnInception), DEEP_TRAIN);
    check("iresnet50", &config(Architecture::Iresnet50), TRAIN);
}

#[test]
fn networks_for_faces_are_those_of_their_packages() {
    let config = |architecture| EncoderConfig { architecture, ..EncoderConfig::default() };
    check("face_resnet", &config(Architecture::FaceResnet), TRAIN);
    check("mobile_face_net", &config(Architecture::MobileFaceNet), DEEP_TRAIN);
}

#[test]
fn what_a_network_cannot_be_is_refused_with_the_mend() {
    let refusal =
        |config: EncoderConfig, input| Network::new(&config, input, 0, &Device::Cpu).err().unwrap().to_string();
    let zeros = EncoderConfig { padding: Padding::Tensorflow, ..EncoderConfig::default() };
    assert!(refusal(zeros, [3, 32, 32]).contains("is for MobileNets and EfficientNets, not for Conv4"));
    let faces = EncoderConfig { architecture: Architecture::MobileFaceNet, ..EncoderConfig::default() };
    assert!(refusal(faces, [3, 112, 96]).contains("square images, not 112×96"));
}

fn vit(vit: VitConfig) -> EncoderConfig {
    EncoderConfig { architecture: Architecture::Vit, vit, ..EncoderConfig::default() }
}

#[test]
fn vision_transformers_are_those_of_timm() {
    let tiny = VitConfig { dim: 192, heads: 3, mlp: 768, depth: 3, ..VitConfig::default() };
    check("vit_tiny", &vit(tiny), EVAL);
    check("vit_small", &vit(VitConfig { depth: 3, ..VitConfig::default() }), EVAL);
    let dinov2 = VitConfig { patch: 14, depth: 2, layer_scale: true, ..VitConfig::default() };
    check("vit_dinov2", &vit(dinov2.clone()), EVAL);
    check("vit_dinov2_registers", &vit(VitConfig { registers: 4, ..dinov2 }), EVAL);
}

/// timm's `global_pool` of `avg` and `max`: class and registers are in neither.
#[test]
fn vision_transformers_are_pooled_over_their_patches() {
    let small =
        VitConfig { patch: 14, dim: 48, heads: 3, mlp: 192, depth: 2, layer_scale: true, ..VitConfig::default() };
    let config = vit(VitConfig { registers: 4, ..small });
    let pooled = |title: &str| {
        let pooling = match title {
            "mean" => Pooling::Mean,
            "max" => Pooling::Max,
            other => panic!("run {other}"),
        };
        EncoderConfig { head: HeadConfig { pooling, ..HeadConfig::default() }, ..config.clone() }
    };
    check_each("vit_pooled", pooled, EVAL);
}

#[test]
fn frozen_norms_stand_still_and_have_no_gradient_in_training_too() {
    let config = EncoderConfig { architecture: Architecture::Resnet18, freeze_norms: true, ..EncoderConfig::default() };
    let config = EncoderConfig { freeze: vec!["conv1".into(), "layer1.0".into()], ..config };
    let network = Network::new(&config, [3, 64, 64], 0, &Device::Cpu).unwrap();
    let case = Case::load("resnet18");
    case.fill(&network.weights().named(), str::to_owned);
    let before: Vec<Tensor> =
        network.weights().buffers().iter().map(|(_, var)| var.as_tensor().copy().unwrap()).collect();
    let run = case.run("eval");
    let images = formula::uniform_tensor("input", &run.input_shape());
    let embedding = network.embed(&Input::Images(images), Mode::Train).unwrap();
    run.check_embedding("frozen norms in training", &embedding, EVAL.embedding);
    let gradients = run.loss(&embedding).backward().unwrap();
    for ((name, var), before) in network.weights().buffers().iter().zip(&before) {
        let moved = (var.as_tensor() - before).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(moved, 0.0, "{name}");
    }
    for parameter in network.weights().parameters() {
        let name = parameter.name();
        let still = name.starts_with("conv1.") || name.starts_with("layer1.0.");
        assert_eq!(parameter.is_frozen(), still, "{name}");
        let is_norm = name.contains("bn") || name.contains("downsample.1");
        assert_eq!(gradients.get(parameter.var()).is_some(), !still && !is_norm, "{name}");
    }
    let unknown = EncoderConfig { freeze: vec!["layer9".into()], ..config };
    let error = Network::new(&unknown, [3, 64, 64], 0, &Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("layer9") && error.contains("conv1.weight"), "{error}");
}
