//! A loss of one's own from one row of scores and its derivative: references, miners and reductions come with it.
//!
//! Here: `[margin − s_p]²` of positives and `[s_n]²` of negatives above 0, by cosine.

use candle_core::{Device, Var};
use dml_losses::own::{Metric, Real, Reduction, Row, RowObjective, Space, Terms, of_rows};

struct Squares {
    margin: f64,
}

impl<T: Real> RowObjective<T> for Squares {
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        for j in row.positives() {
            let gap = (T::of(self.margin) - row.scores[j]).max(T::zero());
            gradient[j] -= T::of(2.0) * gap * terms.add(0, gap * gap);
        }
        for j in row.negatives() {
            let gap = row.scores[j].max(T::zero());
            gradient[j] += T::of(2.0) * gap * terms.add(0, gap * gap);
        }
    }
}

#[allow(clippy::print_stdout, reason = "an example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut loss = of_rows(Squares { margin: 0.9 }, Space::new(Metric::Cosine, true), Reduction::Mean);

    let embeddings = Var::randn(0f32, 1.0, (8, 16), &Device::Cpu)?;
    let value = loss.loss(&embeddings, &[0, 0, 1, 1, 2, 2, 3, 3])?;
    let gradients = value.backward()?;
    println!("{value} with a gradient of {:?}", gradients.get(&embeddings).map(|g| g.dims()));
    Ok(())
}
