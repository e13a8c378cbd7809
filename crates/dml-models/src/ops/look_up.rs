//! Rows of a table by their numbers.

use super::slice;
use super::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// The row of `table` (`[rows, d]`) for each of `numbers` (`[n, t]` of `u32`): `[n, t, d]`. Rows that are looked up more than once
/// add their gradients, in order.
///
/// # Errors
/// When a number has no row.
pub fn look_up(table: &Tensor, numbers: &Tensor) -> Result<Tensor> {
    let (n, t) = numbers.dims2()?;
    let (rows, d) = table.dims2()?;
    if !slice::fits(&[table]) {
        return table.index_select(&numbers.flatten_all()?, 0)?.reshape((n, t, d));
    }
    let wanted = numbers.flatten_all()?.to_vec1::<u32>()?;
    if let Some(number) = wanted.iter().find(|&&number| number as usize >= rows) {
        bail!("look_up: row {number} of a table of {rows}");
    }
    apply1(LookUp { wanted, shape: [n, t, d] }, &table.contiguous()?)
}

struct LookUp {
    wanted: Vec<u32>,
    shape: [usize; 3],
}

impl CustomOp1 for LookUp {
    fn name(&self) -> &'static str {
        "look-up"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let table = slice::of_storage(table, layout)?;
        let [n, t, d] = self.shape;
        let mut y = Vec::with_capacity(n * t * d);
        self.wanted.iter().for_each(|&row| y.extend_from_slice(&table[row as usize * d..][..d]));
        Ok((CpuStorage::F32(y), Shape::from((n, t, d))))
    }

    fn bwd(&self, table: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let [.., d] = self.shape;
        let gradient = slice::with(&dy.contiguous()?, |dy| {
            let mut gradient = vec![0f32; table.elem_count()];
            for (dy, &row) in dy.chunks_exact(d.max(1)).zip(&self.wanted) {
                gradient[row as usize * d..][..d].iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
            }
            Ok(gradient)
        })?;
        Ok(Some(Tensor::from_vec(gradient, table.shape(), table.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::Device;
    use dml_testkit::{Tolerance, assert_close};

    #[test]
    fn ours_equals_candles() {
        let mut drawn = Init::new(1);
        let mut var = |shape: &[usize]| drawn.normal(shape, 1.0, &Device::Cpu).unwrap();
        let table = var(&[7, 5]);
        let numbers = Tensor::new(&[[0u32, 6, 6], [3, 0, 6]], &Device::Cpu).unwrap();
        let upstream = var(&[2, 3, 5]).as_detached_tensor();
        let plain = table.index_select(&numbers.flatten_all().unwrap(), 0).unwrap().reshape((2, 3, 5)).unwrap();
        let ours = look_up(&table, &numbers).unwrap();
        assert_close("look_up", &ours, &plain, Tolerance::of_largest(0.0));
        let gradient =
            |y: Tensor| (y * &upstream).unwrap().sum_all().unwrap().backward().unwrap().get(&table).unwrap().clone();
        assert_close("its gradient", &gradient(ours), &gradient(plain), Tolerance::of_largest(1e-6));
        let beyond = Tensor::new(&[[7u32]], &Device::Cpu).unwrap();
        assert!(look_up(&table, &beyond).unwrap_err().to_string().contains("row 7 of a table of 7"));
    }
}
