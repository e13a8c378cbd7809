//! The gradient of a batch: at once, or in chunks that need less memory.

use crate::Result;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use dml_losses::Objective;
use dml_models::{Encoder, Input, Mode, gradients, without_gradients};

/// Loss of a batch of images, and the gradient of encoder and objective.
///
/// With a `chunk` above 0 and below the batch, embeddings are computed so many at a time without their gradient, the loss gives the
/// gradient of all of them, and each chunk is embedded again to bring its part to the weights (Gao et al. 2021): the same gradient,
/// up to rounding, as long as an embedding does not depend on its neighbours.
pub(crate) fn of_batch(
    encoder: &dyn Encoder,
    objective: &mut dyn Objective,
    images: &Tensor,
    labels: &[u64],
    chunk: usize,
) -> Result<(f32, GradStore)> {
    let n = images.dim(0)?;
    if chunk == 0 || chunk >= n {
        let (loss, store) = gradients(|| -> Result<Tensor> {
            let embeddings = encoder.embed(&Input::Images(images.clone()), Mode::Train)?;
            Ok(objective.loss(&embeddings, labels)?)
        })?;
        return Ok((loss.to_scalar()?, store));
    }
    let parts: Vec<(usize, usize)> = (0..n).step_by(chunk).map(|start| (start, chunk.min(n - start))).collect();
    let embed = |&(start, length): &(usize, usize)| -> Result<Tensor> {
        Ok(encoder.embed(&Input::Images(images.narrow(0, start, length)?), Mode::Train)?)
    };
    let parts_embedded = without_gradients(|| parts.iter().map(embed).collect::<Result<Vec<_>>>())?;
    let embeddings = Var::from_tensor(&Tensor::cat(&parts_embedded, 0)?)?;
    let loss = objective.loss(embeddings.as_tensor(), labels)?;
    let value = loss.to_scalar()?;
    let mut store = loss.backward()?;
    // A loss of nothing has no gradient.
    let Some(of_embeddings) = store.remove(embeddings.as_tensor()) else { return Ok((value, store)) };
    let trainable = encoder.weights().trainable();
    for part in &parts {
        let upstream = of_embeddings.narrow(0, part.0, part.1)?;
        let (_, of_part) = gradients(|| -> Result<Tensor> { Ok((embed(part)? * upstream)?.sum_all()?) })?;
        for (_, var) in &trainable {
            let Some(new) = of_part.get(var) else { continue };
            let sum = match store.get(var) {
                Some(old) => (old + new)?.detach(),
                None => new.clone(),
            };
            store.insert(var, sum);
        }
    }
    Ok((value, store))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use dml_losses::{Context, ObjectiveConfig};
    use dml_models::{Architecture, EncoderConfig, HeadConfig, Network, image::VitConfig};

    #[test]
    fn chunks_give_the_gradient_of_the_whole_batch() {
        let vit = VitConfig { patch: 4, dim: 12, depth: 2, heads: 2, mlp: 24, ..VitConfig::default() };
        let head = HeadConfig { dim: 6, ..HeadConfig::default() };
        let shape = [3, 16, 16];
        let configs = [
            EncoderConfig { architecture: Architecture::Vit, vit, head: head.clone(), ..EncoderConfig::default() },
            EncoderConfig { head, freeze_norms: true, ..EncoderConfig::default() },
        ];
        for config in configs {
            let network = Network::new(&config, shape, 1, &Device::Cpu).unwrap();
            let images = Tensor::randn(0f32, 1.0, (10, 3, 16, 16), &Device::Cpu).unwrap();
            let labels: Vec<u64> = (0..10).map(|i| i / 2).collect();
            let gradients = |chunk| {
                let context = Context { seed: 3, ..Context::new(6, 5) };
                let mut loss = ObjectiveConfig::new("proxy_anchor".to_owned()).build(&context).unwrap();
                let (value, store) = of_batch(&network, loss.as_mut(), &images, &labels, chunk).unwrap();
                let of_network = network.weights().trainable().into_iter().map(|(_, var)| var);
                let vars: Vec<Var> = of_network.chain(loss.parameters().into_iter().map(|(_, var)| var)).collect();
                let values = vars
                    .iter()
                    .filter_map(|var| store.get(var))
                    .flat_map(|g| g.flatten_all().unwrap().to_vec1::<f32>().unwrap());
                (value, values.collect::<Vec<f32>>())
            };
            let (whole, chunked) = (gradients(0), gradients(4));
            assert!((whole.0 - chunked.0).abs() < 1e-5 * whole.0.abs());
            assert_eq!(whole.1.len(), chunked.1.len());
            let largest = whole.1.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(largest > 0.0);
            for (a, b) in whole.1.iter().zip(&chunked.1) {
                assert!((a - b).abs() <= 1e-4 * largest, "{a} {b}");
            }
        }
    }
}
