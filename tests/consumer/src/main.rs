//! A loss and its gradient with dml-losses alone.

use candle_core::{Device, Var};
use dml_losses::{Context, build};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let embeddings = Var::from_vec((0..128).map(|i| (i as f32).sin()).collect(), (8, 16), &Device::Cpu)?;
    let context = Context::new(16, 4);
    let mut objective = build("multi_similarity", &serde_json::json!({"epsilon": 0.1}), &context)?;
    let loss = objective.loss(&embeddings, &[0, 0, 1, 1, 2, 2, 3, 3])?;
    let gradient = loss.backward()?.get(&embeddings).ok_or("no gradient")?.flatten_all()?.to_vec1::<f32>()?;
    println!("loss {loss}, gradient {gradient:?}");
    let norm = gradient.iter().map(|g| g * g).sum::<f32>();
    if norm.is_finite() && norm > 0.0 { Ok(()) } else { Err("the gradient is 0 or not finite".into()) }
}
