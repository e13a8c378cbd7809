//! CPU cost of a Conv-4 training pass (forward and backward), ours and candle's own operations side by side.
#![allow(clippy::print_stdout)]

use candle_core::{Device, Result, Tensor, Var};
use std::time::Instant;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    use dml_models::image::{Conv4, Conv4Config};
    use dml_models::{Encoder, Mode};
    let n = 100;
    let x = Tensor::randn(0f32, 1.0, (n, 1, 28, 28), &Device::Cpu)?;
    let net = Conv4::new(&Conv4Config::default(), [1, 28, 28], 0, &Device::Cpu)?;
    let weights: Vec<Var> = net.parameters().into_iter().map(|(_, v)| v).filter(|v| v.rank() == 4).collect();
    let mut ours = Vec::new();
    let mut candle = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        net.embed(&x, Mode::Train)?.sqr()?.sum_all()?.backward()?;
        ours.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        plain(&x, &weights)?.sqr()?.sum_all()?.backward()?;
        candle.push(start.elapsed().as_secs_f64());
    }
    ours.sort_by(f64::total_cmp);
    candle.sort_by(f64::total_cmp);
    println!(
        "ms per image, median of 5: ours {:.2}, candle {:.2}, ratio {:.1}",
        1e3 * ours[2] / n as f64,
        1e3 * candle[2] / n as f64,
        candle[2] / ours[2]
    );
    Ok(())
}

fn plain(x: &Tensor, weights: &[Var]) -> Result<Tensor> {
    let mut x = x.clone();
    for weight in weights {
        x = x.conv2d(weight, 1, 1, 1, 1)?;
        let mean = x.mean_keepdim((0, 2, 3))?;
        let centred = x.broadcast_sub(&mean)?;
        let std = (centred.sqr()?.mean_keepdim((0, 2, 3))? + 1e-5)?.sqrt()?;
        x = centred.broadcast_div(&std)?.relu()?;
        let (h, w) = (x.dim(2)? / 2 * 2, x.dim(3)? / 2 * 2);
        x = x.narrow(2, 0, h)?.narrow(3, 0, w)?.max_pool2d(2)?;
    }
    Ok(x)
}
