//! Published networks of TensorFlow.js embed as TensorFlow.js does, with their real weights.
//!
//! Needs the variable `DML_TFJS`, the folder that `tests/golden/generate/tfjs_models.mjs` writes them to; skips without.
#![allow(clippy::print_stdout, reason = "a test that skips says why")]

mod formula;

use candle_core::{DType, Device, Tensor};
use dml_models::pretrained::{Loading, Names, load_with};
use dml_models::{Architecture, Encoder, EncoderConfig, HeadConfig, Input, Mode, Network, Padding};
use std::path::PathBuf;

/// What a network takes of numbers in −1..1.
type Prepared = fn(&Tensor) -> candle_core::Result<Tensor>;

fn as_it_is(x: &Tensor) -> candle_core::Result<Tensor> {
    Ok(x.clone())
}

/// In 0..1.
fn shares(x: &Tensor) -> candle_core::Result<Tensor> {
    x.affine(0.5, 0.5)
}

/// Pixels less the mean, by 255.
fn of_dlib(x: &Tensor) -> candle_core::Result<Tensor> {
    let mean = Tensor::new(&[122.782f32, 117.001, 104.298], &Device::Cpu)?.reshape((1, 3, 1, 1))?;
    x.affine(127.5, 127.5)?.broadcast_sub(&mean)? / 255.0
}

#[test]
fn published_networks_of_tensorflow_embed_as_it_does() {
    let Some(folder) = std::env::var_os("DML_TFJS").filter(|folder| !folder.is_empty()).map(PathBuf::from) else {
        println!("skipped: DML_TFJS is not set");
        return;
    };
    let golden = formula::Case::load("tfjs").0;
    let networks: [(&str, Architecture, bool, Prepared); 3] = [
        ("mobilefacenet", Architecture::MobileFaceNet, true, as_it_is),
        ("face_recognition_resnet", Architecture::FaceResnet, false, of_dlib),
        ("nsfwjs_mobilenet_v2", Architecture::MobilenetV2, false, shares),
    ];
    for (name, architecture, normalize, prepared) in networks {
        let path = folder.join(format!("{name}.safetensors"));
        if !path.exists() {
            println!("skipped: {} is not there", path.display());
            continue;
        }
        let told = &golden["networks"][name];
        let shape: Vec<usize> = serde_json::from_value(told["input"].clone()).unwrap();
        let rows: Vec<Vec<f64>> = serde_json::from_value(told["embedding"].clone()).unwrap();
        let padding = if architecture == Architecture::MobilenetV2 { Padding::Tensorflow } else { Padding::Even };
        let head = HeadConfig { normalize, ..HeadConfig::default() };
        let config = EncoderConfig { architecture, padding, head, ..EncoderConfig::default() };
        let network = Network::new(&config, [shape[1], shape[2], shape[3]], 0, &Device::Cpu).unwrap();
        let loading = Loading { names: Names::Tensorflow, ..Loading::default() };
        let report = load_with(&network, &path, loading).unwrap();
        println!("{name}: {} loaded, {:?} dropped", report.loaded.len(), report.dropped);
        // The published graph has lost the slopes behind its depthwise convolutions, into which a ReLU was fused; its file has them.
        for (of, slopes) in network.weights().named() {
            if architecture == Architecture::MobileFaceNet && of.ends_with("SeparableConv2d.prelu.weight") {
                assert!(slopes.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.0, "{of}");
                slopes.set(&slopes.zeros_like().unwrap()).unwrap();
            }
        }

        let images = prepared(&formula::uniform_tensor("input", &shape)).unwrap();
        let found = network.embed(&Input::Images(images), Mode::Eval).unwrap().to_dtype(DType::F64).unwrap();
        let found: Vec<Vec<f64>> = found.to_vec2().unwrap();
        assert_eq!(found.len(), rows.len());
        let largest = rows.iter().flatten().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let off = found.iter().flatten().zip(rows.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert_eq!(found[0].len(), rows[0].len(), "{name}");
        println!("{name}: off by {:e} of the largest", off / largest);
        assert!(off <= 5e-5 * largest, "{name}: off by {off} of {largest}");
    }
}
