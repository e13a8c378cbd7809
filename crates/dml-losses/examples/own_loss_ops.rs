//! A loss of one's own from candle's operations on scores, differentiated by candle: it runs on every device.
//!
//! Here: `[margin − s_p]²` of positives and `[s_n]²` of negatives above 0, by cosine, behind a miner.

use candle_core::{Device, Tensor, Var};
use dml_losses::own::{ComposedTerms, Masks, Metric, Reduction, Space, of_scores};
use dml_losses::wrappers::Mined;
use dml_losses::{Context, MinerConfig, Objective, Result};

fn squares(scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
    let pull = (0.9 - scores)?.relu()?.sqr()?;
    let push = scores.relu()?.sqr()?;
    Ok(vec![ComposedTerms::new(pull, masks.positive.clone()), ComposedTerms::new(push, masks.negative.clone())])
}

#[allow(clippy::print_stdout, reason = "an example shows its result")]
fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let loss = of_scores(squares, Space::new(Metric::Cosine, true), Reduction::Mean);
    let miner: MinerConfig = serde_json::from_str(r#"{"name": "multi_similarity", "epsilon": 0.2}"#)?;
    let mut loss = Mined::new(loss, miner.build(&Context::new(16, 4))?)?;

    let embeddings = Var::randn(0f32, 1.0, (8, 16), &Device::Cpu)?;
    let value = loss.loss(&embeddings, &[0, 0, 1, 1, 2, 2, 3, 3])?;
    let gradients = value.backward()?;
    println!("{value} with a gradient of {:?}", gradients.get(&embeddings).map(|g| g.dims()));
    Ok(())
}
