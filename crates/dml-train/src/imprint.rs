//! Proxies that begin at the mean embedding of their class, instead of at a random place.
//!
//! Qi, Brown & Lowe, *Low-Shot Learning with Imprinted Weights*, 2018, eq. 3. With a random start the encoder must first
//! follow proxies that stand nowhere in particular; short runs end before that is undone.

use crate::examples::Streamed;
use crate::sets::Sets;
use crate::{Error, Recipe, Result};
use candle_core::{Device, Tensor, Var};
use dml_data::LoaderOptions;
use dml_models::{Encoder, Mode};

/// Turns each row of `proxies` (`[classes, d]`) towards the mean of its class's embeddings; its length stays.
///
/// The encoder sees one epoch of the recipe's batches, not augmented, with batch statistics as in training: batches of a
/// single class would have the class normalised away. Its running statistics move with them.
///
/// # Errors
/// When an image or the encoder refuses.
pub(crate) fn imprint(
    encoder: &dyn Encoder,
    proxies: &Var,
    sets: &Sets,
    recipe: &Recipe,
    device: &Device,
) -> Result<()> {
    let (classes, dim) = proxies.dims2()?;
    let mut means = vec![0f64; classes * dim];
    let sampler = sets.sampler(recipe)?;
    let batches = sampler.batches_per_epoch() as u64;
    let loader = LoaderOptions { until: Some(batches), unreadable: recipe.data.unreadable, ..LoaderOptions::default() };
    let how = Streamed { loader, bytes: !device.is_cpu() };
    for batch in sets.still.stream(sampler, (recipe.seed, 0), how) {
        let batch = batch?;
        let labels = batch.labels.clone();
        let embeddings = encoder.embed(&batch.into_views(device)?[0], Mode::Train)?.detach();
        let embeddings = dml_core::l2_normalize(&embeddings)?;
        for (row, &label) in embeddings.to_vec2::<f32>()?.iter().zip(&labels) {
            let mean = &mut means[label as usize * dim..][..dim];
            mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
    }
    let mut values: Vec<f32> = proxies.flatten_all()?.to_vec1()?;
    for (proxy, mean) in values.chunks_exact_mut(dim).zip(means.chunks_exact(dim)) {
        let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let (old, new) = (length(&mut proxy.iter().map(|&v| f64::from(v))), length(&mut mean.iter().copied()));
        // A class without examples keeps its random proxy.
        if new > 0.0 {
            proxy.iter_mut().zip(mean).for_each(|(p, m)| *p = (m * old / new) as f32);
        }
    }
    Ok(proxies.set(&Tensor::from_vec(values, (classes, dim), device)?)?)
}

/// The proxies among the parameters of a loss, one for each of the classes.
///
/// # Errors
/// When the loss has none, or several for a class.
pub(crate) fn proxies(loss: &str, classes: usize, parameters: Vec<(String, Var)>) -> Result<Var> {
    let problem = match parameters.into_iter().find(|(name, _)| name == "proxies") {
        Some((_, proxies)) if proxies.dim(0)? == classes => return Ok(proxies),
        Some((_, proxies)) => format!("{} proxies for {classes} classes", proxies.dim(0)?),
        None => "no proxies of its own".to_owned(),
    };
    Err(Error::Recipe(format!("loss.imprint is true but {loss} has {problem}: leave the key out")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_one_proxy_or_the_loss_is_refused() {
        let var = |rows: usize| Var::zeros((rows, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let of = |rows: usize| {
            proxies("soft_triple", 3, vec![("other".to_owned(), var(3)), ("proxies".to_owned(), var(rows))])
        };
        assert_eq!(of(3).unwrap().dims(), [3, 2]);
        let message = of(6).unwrap_err().to_string();
        assert!(
            message.contains("loss.imprint") && message.contains("soft_triple has 6 proxies for 3 classes"),
            "{message}"
        );
        assert!(proxies("triplet", 3, vec![]).unwrap_err().to_string().contains("no proxies of its own"));
    }
}
