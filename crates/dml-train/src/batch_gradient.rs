//! The gradient of a batch: at once, or in chunks that need less memory; of one view of each example, or of two.

use crate::Result;
use crate::examples::ExampleBatch;
use crate::recipe::Views;
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use dml_losses::{Batch, Objective, References, Supervision};
use dml_models::{Encoder, Input, Mode, gradients, without_gradients};
use std::sync::Arc;

/// What a batch is learned from.
pub(crate) struct Learned {
    /// One view of each example, or two, whose rows go together.
    views: Vec<Input>,
    /// What is known of the examples.
    supervision: Supervision,
    /// How two views are taken.
    how: Views,
}

impl Learned {
    /// `batch` on `device`, whose two views, if it has them, are taken as `how` says.
    pub(crate) fn new(batch: ExampleBatch, how: Views, device: &Device) -> Result<Self> {
        let supervision = match batch.grades.is_empty() {
            true => Supervision::from(batch.labels.as_slice()),
            false => Supervision::PairGrades(Arc::from(batch.grades.as_slice())),
        };
        Ok(Self { views: batch.into_views(device)?, supervision, how })
    }

    /// The loss of embeddings `[n, d]` of the views, one behind the other. The second view is what the first is compared with, or
    /// both are one batch; of graded pairs the two rows stand together.
    fn loss(&self, objective: &mut dyn Objective, embeddings: &Tensor) -> Result<Tensor> {
        let supervision = &self.supervision;
        if self.views.len() == 1 {
            return Ok(objective.evaluate(&Batch::new(embeddings, supervision))?.loss);
        }
        let n = self.views[0].len();
        let [first, second] = [embeddings.narrow(0, 0, n)?, embeddings.narrow(0, n, n)?];
        if matches!(supervision, Supervision::PairGrades(_)) {
            let together = Tensor::stack(&[first, second], 1)?.flatten(0, 1)?;
            return Ok(objective.evaluate(&Batch::new(&together, supervision))?.loss);
        }
        if let (Views::Pooled, Supervision::Labels(labels)) = (self.how, supervision) {
            let labels = Supervision::Labels(labels.repeat(self.views.len()));
            return Ok(objective.evaluate(&Batch::new(embeddings, &labels))?.loss);
        }
        let references = Some(References { embeddings: &second, supervision, self_offset: None });
        Ok(objective.evaluate(&Batch { embeddings: &first, supervision, references, tuples: None })?.loss)
    }
}

/// Losses and gradients of batches, one after the other.
#[derive(Default)]
pub(crate) struct Sum {
    batches: usize,
    indices: Vec<usize>,
    loss: f64,
    gradients: Option<GradStore>,
}

impl Sum {
    /// Adds those of the batch of the examples `indices`; `vars` are what is wanted of the gradient.
    pub(crate) fn add(&mut self, indices: Vec<usize>, loss: f32, gradients: GradStore, vars: &[Var]) -> Result<()> {
        self.batches += 1;
        self.indices.extend(indices);
        self.loss += f64::from(loss);
        match &mut self.gradients {
            None => self.gradients = Some(gradients),
            Some(sum) => add(sum, &gradients, vars)?,
        }
        Ok(())
    }

    /// Which examples there were, the mean of the losses and its gradient.
    pub(crate) fn mean(self, vars: &[Var]) -> Result<(Vec<usize>, f32, GradStore)> {
        let mut gradients = self.gradients.unwrap_or_default();
        if self.batches > 1 {
            for var in vars {
                if let Some(sum) = gradients.get(var) {
                    let mean = (sum / self.batches as f64)?;
                    gradients.insert(var, mean);
                }
            }
        }
        Ok((self.indices, (self.loss / self.batches.max(1) as f64) as f32, gradients))
    }
}

/// Adds what `more` has of `vars` to `sum`.
fn add(sum: &mut GradStore, more: &GradStore, vars: &[Var]) -> Result<()> {
    for var in vars {
        let Some(new) = more.get(var) else { continue };
        let both = match sum.get(var) {
            Some(old) => (old + new)?.detach(),
            None => new.clone(),
        };
        sum.insert(var, both);
    }
    Ok(())
}

/// Loss of a batch, and the gradient of encoder and objective.
///
/// With a `chunk` above 0 and below the batch, embeddings are computed so many at a time without their gradient, the loss gives the
/// gradient of all of them, and each chunk is embedded again to bring its part to the weights (Gao et al. 2021): the same gradient,
/// up to rounding, as long as an embedding does not depend on its neighbours.
pub(crate) fn of_batch(
    encoder: &dyn Encoder,
    objective: &mut dyn Objective,
    batch: &Learned,
    chunk: usize,
) -> Result<(f32, GradStore)> {
    let embed = |input: &Input| -> Result<Tensor> { Ok(encoder.embed(input, Mode::Train)?) };
    if batch.views.iter().all(|view| chunk == 0 || chunk >= view.len()) {
        let (loss, store) = gradients(|| -> Result<Tensor> {
            let embeddings = joined(batch.views.iter().map(embed).collect::<Result<Vec<_>>>()?)?;
            batch.loss(objective, &embeddings)
        })?;
        return Ok((loss.to_scalar()?, store));
    }
    let parts: Vec<Input> = batch.views.iter().map(|view| in_chunks(view, chunk)).collect::<Result<Vec<_>>>()?.concat();
    let embeddings = without_gradients(|| joined(parts.iter().map(embed).collect::<Result<Vec<_>>>()?))?;
    let embeddings = Var::from_tensor(&embeddings)?;
    let loss = batch.loss(objective, embeddings.as_tensor())?;
    let value = loss.to_scalar()?;
    let mut store = loss.backward()?;
    // A loss of nothing has no gradient.
    let Some(of_embeddings) = store.remove(embeddings.as_tensor()) else { return Ok((value, store)) };
    let trainable: Vec<Var> = encoder.weights().trainable().into_iter().map(|(_, var)| var).collect();
    let mut start = 0;
    for part in &parts {
        let upstream = of_embeddings.narrow(0, start, part.len())?;
        start += part.len();
        let (_, of_part) = gradients(|| -> Result<Tensor> { Ok((embed(part)? * upstream)?.sum_all()?) })?;
        add(&mut store, &of_part, &trainable)?;
    }
    Ok((value, store))
}

/// Tensors one behind the other; a single one as it is.
fn joined(mut parts: Vec<Tensor>) -> Result<Tensor> {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    Ok(Tensor::cat(&parts, 0)?)
}

/// `chunk` inputs at a time.
fn in_chunks(input: &Input, chunk: usize) -> Result<Vec<Input>> {
    let n = input.len();
    (0..n).step_by(chunk).map(|start| Ok(input.narrow(start, chunk.min(n - start))?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dml_losses::{Context, ObjectiveConfig};
    use dml_models::text::BertConfig;
    use dml_models::{Architecture, EncoderConfig, HeadConfig, Network, Tokens, image::VitConfig};
    use rand_ten::rngs::ChaCha8Rng;
    use rand_ten::{RngExt, SeedableRng};

    /// Drawn, others for each seed and the same each time.
    fn images(seed: u64, shape: [usize; 4]) -> Input {
        let mut drawn = ChaCha8Rng::seed_from_u64(seed);
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| drawn.random_range(-1.5..1.5)).collect();
        Tensor::from_vec(values, &shape, &Device::Cpu).unwrap().into()
    }

    fn learned(views: Vec<Input>, supervision: Supervision) -> Learned {
        Learned { views, supervision, how: Views::Compared }
    }

    /// The loss, and all gradients one behind the other.
    fn taken(network: &Network, loss: &str, batch: &Learned, chunk: usize) -> (f32, Vec<f32>) {
        let context = Context { seed: 3, ..Context::new(network.dim(), 5) };
        let mut loss = ObjectiveConfig::new(loss.to_owned()).build(&context).unwrap();
        let (value, store) = of_batch(network, loss.as_mut(), batch, chunk).unwrap();
        let of_network = network.weights().trainable().into_iter().map(|(_, var)| var);
        let vars: Vec<Var> = of_network.chain(loss.parameters().into_iter().map(|(_, var)| var)).collect();
        let values = vars
            .iter()
            .filter_map(|var| store.get(var))
            .flat_map(|g| g.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        (value, values.collect())
    }

    fn check_chunks(network: &Network, loss: &str, batch: &Learned) {
        let (whole, chunked) = (taken(network, loss, batch, 0), taken(network, loss, batch, 4));
        assert!((whole.0 - chunked.0).abs() < 1e-5 * whole.0.abs());
        assert_eq!(whole.1.len(), chunked.1.len());
        let largest = whole.1.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(largest > 0.0);
        for (a, b) in whole.1.iter().zip(&chunked.1) {
            assert!((a - b).abs() <= 1e-4 * largest, "{loss}: {a} {b}");
        }
    }

    fn labels() -> Supervision {
        Supervision::Labels((0..10).map(|i| i / 2).collect())
    }

    #[test]
    fn chunks_give_the_gradient_of_the_whole_batch() {
        let vit = VitConfig { patch: 4, dim: 12, depth: 2, heads: 2, mlp: 24, ..VitConfig::default() };
        let head = HeadConfig { dim: 6, ..HeadConfig::default() };
        let shape = [3, 16, 16];
        let configs = [
            EncoderConfig { architecture: Architecture::Vit, vit, head: head.clone(), ..EncoderConfig::default() },
            EncoderConfig { head, freeze_norms: true, ..EncoderConfig::default() },
        ];
        for (seed, config) in (1..).zip(configs) {
            let network = Network::new(&config, shape, 1, &Device::Cpu).unwrap();
            let batch = learned(vec![images(seed, [10, 3, 16, 16])], labels());
            check_chunks(&network, "proxy_anchor", &batch);
        }
    }

    #[test]
    fn batches_one_after_the_other_give_the_mean_of_their_gradients() {
        let network = Network::new(&EncoderConfig::default(), [1, 16, 16], 1, &Device::Cpu).unwrap();
        let vars: Vec<Var> = network.weights().trainable().into_iter().map(|(_, var)| var).collect();
        let mut loss = ObjectiveConfig::new("triplet").build(&Context::new(network.dim(), 5)).unwrap();
        let mut of = |n: usize| {
            let supervision = Supervision::Labels((0..n as u64).map(|i| i / 2).collect());
            let batch = learned(vec![images(n as u64, [n, 1, 16, 16])], supervision);
            of_batch(&network, loss.as_mut(), &batch, 0).unwrap()
        };
        let (first, second) = (of(10), of(6));
        let flat = |store: &GradStore| -> Vec<Vec<f32>> {
            vars.iter().map(|var| store.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap()).collect()
        };
        let (a, b) = (flat(&first.1), flat(&second.1));
        let wanted = f64::from(first.0).midpoint(f64::from(second.0));
        let mut sum = Sum::default();
        sum.add((0..10).collect(), first.0, first.1, &vars).unwrap();
        sum.add((10..16).collect(), second.0, second.1, &vars).unwrap();
        let (examples, loss, mean) = sum.mean(&vars).unwrap();
        assert_eq!(examples, (0..16).collect::<Vec<_>>());
        assert!((f64::from(loss) - wanted).abs() < 1e-6);
        for (found, (a, b)) in flat(&mean).iter().flatten().zip(a.iter().flatten().zip(b.iter().flatten())) {
            assert!((found - (a + b) / 2.0).abs() <= 1e-6 * (a.abs() + b.abs()).max(1e-3), "{found} {a} {b}");
        }
    }

    fn bert_config() -> BertConfig {
        BertConfig {
            vocab_size: 20,
            hidden_size: 8,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 16,
            max_position_embeddings: 12,
            ..BertConfig::default()
        }
    }

    fn bert() -> Network {
        let config =
            EncoderConfig { architecture: Architecture::Bert, bert: bert_config(), ..EncoderConfig::default() };
        Network::new(&config, [1, 1, 1], 1, &Device::Cpu).unwrap()
    }

    /// Ten texts of 2 to 7 tokens.
    fn texts(factor: u32) -> Input {
        let ids: Vec<u32> = (0..70).map(|i| (i * factor + i / 7) % 20).collect();
        let mask: Vec<u32> = (0..70).map(|i| u32::from(i % 7 < 2 + (i / 7) % 6)).collect();
        let tensor = |values: Vec<u32>| Tensor::from_vec(values, (10, 7), &Device::Cpu).unwrap();
        Tokens { ids: tensor(ids), mask: tensor(mask), types: None }.into()
    }

    #[test]
    fn chunks_of_texts_and_of_their_pairs_do_so_too() {
        let network = bert();
        check_chunks(&network, "multi_similarity", &learned(vec![texts(7)], labels()));
        let each = Supervision::Labels((0..10).collect());
        for loss in ["nt_xent", "clip"] {
            let batch = learned(vec![texts(7), texts(3)], each.clone());
            check_chunks(&network, loss, &batch);
        }
        let grades: Vec<f32> = (0..10).map(|i| (i * 7 % 10) as f32).collect();
        let graded = Supervision::PairGrades(grades.into());
        check_chunks(&network, "cosent", &learned(vec![texts(7), texts(3)], graded));
    }

    #[test]
    fn images_and_texts_have_their_towers_in_chunks_and_as_one_batch() {
        let head = HeadConfig { dim: 6, ..HeadConfig::default() };
        let text = EncoderConfig {
            architecture: Architecture::Bert,
            bert: bert_config(),
            head: head.clone(),
            ..EncoderConfig::default()
        };
        let config = EncoderConfig { head, freeze_norms: true, text: Some(Box::new(text)), ..EncoderConfig::default() };
        let network = Network::new(&config, [1, 16, 16], 1, &Device::Cpu).unwrap();
        let images = images(1, [10, 1, 16, 16]);
        let each = Supervision::Labels((0..10).collect());
        check_chunks(&network, "clip", &learned(vec![images.clone(), texts(7)], each));
        let pooled = Learned { how: Views::Pooled, ..learned(vec![images.clone(), texts(7)], labels()) };
        check_chunks(&network, "multi_similarity", &pooled);
        // As the embeddings of both say, with the labels twice.
        let rows = [&images, &texts(7)].map(|view| network.embed(view, Mode::Eval).unwrap());
        let twice: Vec<u64> = [(); 2].iter().flat_map(|()| (0..10).map(|i| i / 2)).collect();
        let mut loss = ObjectiveConfig::new("multi_similarity").build(&Context::new(network.dim(), 5)).unwrap();
        let wanted = loss.loss(&Tensor::cat(&rows, 0).unwrap(), &twice).unwrap().to_scalar::<f32>().unwrap();
        let (found, _) = taken(&network, "multi_similarity", &pooled, 0);
        assert!((found - wanted).abs() < 1e-5 * wanted.abs(), "{found} {wanted}");
    }

    /// `mean_i −log softmax_j(cos(a_i, b_j) / τ)_i`, as sentence-transformers' `MultipleNegativesRankingLoss`.
    #[test]
    fn pairs_have_the_second_texts_of_the_others_as_negatives() {
        let network = bert();
        let unit = |input: &Input| dml_core::l2_normalize(&network.embed(input, Mode::Eval).unwrap()).unwrap();
        let cosines = unit(&texts(7)).matmul(&unit(&texts(3)).t().unwrap()).unwrap().to_vec2::<f32>().unwrap();
        let scale = 1.0 / 0.07;
        let row = |(i, row): (usize, &Vec<f32>)| {
            let sum: f64 = row.iter().map(|&c| (scale * f64::from(c)).exp()).sum();
            sum.ln() - scale * f64::from(row[i])
        };
        let wanted = cosines.iter().enumerate().map(row).sum::<f64>() / 10.0;
        let supervision = Supervision::Labels((0..10).collect());
        let batch = learned(vec![texts(7), texts(3)], supervision);
        let (found, _) = taken(&network, "nt_xent", &batch, 0);
        assert!((f64::from(found) - wanted).abs() < 1e-4, "{found} {wanted}");
    }
}
