//! Gradients with a tape are those of candle alone, for every network.

mod formula;

use candle_core::{Device, Tensor};
use dml_models::image::VitConfig;
use dml_models::text::{BertConfig, DistilBertConfig};
use dml_models::{
    Architecture, Encoder, EncoderConfig, HeadConfig, Input, Mode, Network, Padding, Pooling, Result, Tokens, gradients,
};
use dml_testkit::{Tolerance, assert_close};

/// Others for each name, the same each time.
fn images(name: &str, n: usize, c: usize, side: usize) -> Input {
    Input::Images(formula::uniform_tensor(name, &[n, c, side, side]))
}

fn tokens() -> Input {
    let ids = Tensor::new(&[[3u32, 5, 5, 0], [1, 2, 0, 0], [9, 8, 7, 3]], &Device::Cpu).unwrap();
    let mask = Tensor::new(&[[1u32, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], &Device::Cpu).unwrap();
    Input::Tokens(Tokens { ids, mask, types: None })
}

fn shape(input: &Input) -> [usize; 3] {
    match input {
        Input::Images(images) => [images.dims()[1], images.dims()[2], images.dims()[3]],
        Input::Tokens(_) => [1, 1, 1],
    }
}

/// A network and what it embeds.
type Case = (EncoderConfig, Input);

fn cases() -> Vec<Case> {
    let of = |architecture| EncoderConfig {
        architecture,
        head: HeadConfig { dim: 6, ..HeadConfig::default() },
        ..EncoderConfig::default()
    };
    let vit = |vit: VitConfig| EncoderConfig { vit, ..of(Architecture::Vit) };
    let small = VitConfig { patch: 4, dim: 12, depth: 2, heads: 3, mlp: 20, ..VitConfig::default() };
    let mut gem = of(Architecture::Resnet18);
    gem.head.pooling = Pooling::Gem;
    let bert = BertConfig {
        vocab_size: 10,
        hidden_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        intermediate_size: 20,
        ..BertConfig::default()
    };
    let distil_bert = DistilBertConfig {
        vocab_size: 10,
        dim: 12,
        n_layers: 2,
        n_heads: 3,
        hidden_dim: 20,
        ..DistilBertConfig::default()
    };
    vec![
        (of(Architecture::Conv4), images("conv4", 4, 1, 28)),
        (of(Architecture::Resnet18), images("resnet18", 3, 3, 33)),
        (of(Architecture::Resnet50), images("resnet50", 3, 3, 33)),
        (gem, images("gem", 3, 3, 33)),
        (of(Architecture::BnInception), images("bn_inception", 2, 3, 64)),
        (of(Architecture::Iresnet50), images("iresnet50", 2, 3, 32)),
        (of(Architecture::MobileFaceNet), images("mobile_face_net", 2, 3, 32)),
        (of(Architecture::MobilenetV2), images("mobilenet_v2", 3, 3, 33)),
        (EncoderConfig { padding: Padding::Tensorflow, ..of(Architecture::MobilenetV2) }, images("padded", 3, 3, 32)),
        (of(Architecture::MobilenetV3Small), images("mobilenet_v3", 3, 3, 33)),
        (of(Architecture::EfficientnetB0), images("efficientnet", 3, 3, 33)),
        (vit(small.clone()), images("vit", 3, 3, 12)),
        (vit(VitConfig { registers: 2, layer_scale: true, ..small.clone() }), images("registers", 3, 3, 12)),
        (vit(VitConfig { clip: true, projection: 7, ..small }), images("clip", 3, 3, 12)),
        (EncoderConfig { bert, ..of(Architecture::Bert) }, tokens()),
        (EncoderConfig { distil_bert, ..of(Architecture::DistilBert) }, tokens()),
    ]
}

fn loss(network: &Network, input: &Input) -> Result<Tensor> {
    let embeddings = network.embed(input, Mode::Train)?;
    let (n, d) = embeddings.dims2()?;
    let direction = Tensor::arange(0f32, (n * d) as f32, &Device::Cpu)?.reshape((n, d))?.sin()?;
    Ok((embeddings * direction)?.sum_all()?)
}

#[test]
fn with_a_tape_and_without_they_are_the_same() {
    for (config, input) in cases() {
        let network = Network::new(&config, shape(&input), 1, &Device::Cpu).unwrap();
        let what = format!("{:?}", config.architecture);
        let (value, taped) = gradients(|| loss(&network, &input)).unwrap();
        let plain_value = loss(&network, &input).unwrap();
        assert_close(&what, &value, &plain_value, Tolerance::of_largest(0.0));
        let plain = plain_value.backward().unwrap();
        let mut compared = 0;
        for (name, var) in network.weights().trainable() {
            let (Some(ours), Some(theirs)) = (taped.get(&var), plain.get(&var)) else {
                assert_eq!(taped.get(&var).is_some(), plain.get(&var).is_some(), "{what}: {name}");
                continue;
            };
            assert_close(&format!("{what}: {name}"), ours, theirs, Tolerance::of_largest(1e-4));
            compared += 1;
        }
        assert!(compared > 3, "{what}: {compared} gradients");
    }
}

#[test]
fn what_is_frozen_has_none_and_what_is_before_it_still_has() {
    let input = images("frozen", 3, 1, 28);
    let config = EncoderConfig { freeze: vec!["block1".into()], ..EncoderConfig::default() };
    let network = Network::new(&config, shape(&input), 1, &Device::Cpu).unwrap();
    let (_, taped) = gradients(|| loss(&network, &input)).unwrap();
    for parameter in network.weights().parameters() {
        assert_eq!(taped.get(parameter.var()).is_none(), parameter.is_frozen(), "{}", parameter.name());
    }
}

#[test]
fn a_tape_ends_with_its_pass_whether_it_fails_or_not() {
    let input = images("whole", 3, 1, 28);
    let network = Network::new(&EncoderConfig::default(), shape(&input), 1, &Device::Cpu).unwrap();
    gradients(|| network.embed(&images("small", 1, 1, 5), Mode::Train)).unwrap_err();
    // On a tape that still ran, candle would find no way past the last operation.
    let plain = loss(&network, &input).unwrap().backward().unwrap();
    assert!(network.weights().trainable().iter().all(|(_, var)| plain.get(var).is_some()));
    // One within another: each has its own.
    let (_, outer) = gradients(|| -> Result<Tensor> {
        let (inner, _) = gradients(|| loss(&network, &input))?;
        Ok((loss(&network, &input)? + inner)?)
    })
    .unwrap();
    assert!(network.weights().trainable().iter().all(|(_, var)| outer.get(var).is_some()));
}
