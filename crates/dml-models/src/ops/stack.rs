//! Three tensors, one under the other.

use super::slice;
use super::tape::apply3;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// The rows of three tensors that differ in nothing but their numbers of rows, one under the other. Their gradients are views of its.
///
/// # Errors
/// When shapes do not fit.
pub fn stack3(parts: [Tensor; 3]) -> Result<Tensor> {
    let [a, b, c] = &parts;
    let alike = parts.iter().all(|part| part.rank() > 0 && part.dims()[1..] == a.dims()[1..]);
    if !alike || !slice::fits(&[a, b, c]) {
        return Tensor::cat(&parts, 0);
    }
    apply3(Stack, [&a.contiguous()?, &b.contiguous()?, &c.contiguous()?])
}

struct Stack;

impl CustomOp3 for Stack {
    fn name(&self) -> &'static str {
        "stack3"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
        c: &CpuStorage,
        cl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = [slice::of_storage(a, al)?, slice::of_storage(b, bl)?, slice::of_storage(c, cl)?].concat();
        let mut shape = al.dims().to_vec();
        shape[0] += bl.dims()[0] + cl.dims()[0];
        Ok((CpuStorage::F32(rows), Shape::from(shape)))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (first, second, third) = (a.dim(0)?, b.dim(0)?, c.dim(0)?);
        let part = |from, rows| dy.narrow(0, from, rows).map(Some);
        Ok((part(0, first)?, part(first, second)?, part(first + second, third)?))
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
        let mut of_rows = |rows: usize| drawn.normal(&[rows, 4], 1.0, &Device::Cpu).unwrap();
        let vars = [2, 3, 1].map(&mut of_rows);
        let parts = vars.each_ref().map(|var| var.as_tensor().clone());
        let upstream = of_rows(6).as_detached_tensor();
        let (ours, plain) = (stack3(parts.clone()).unwrap(), Tensor::cat(&parts, 0).unwrap());
        assert_close("stack3", &ours, &plain, Tolerance::of_largest(0.0));
        let gradients = |y: Tensor| (y * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
        let (ours, plain) = (gradients(ours), gradients(plain));
        for var in &vars {
            assert_close("its gradient", ours.get(var).unwrap(), plain.get(var).unwrap(), Tolerance::of_largest(0.0));
        }
        let other = Tensor::zeros((1, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        let [a, b, _] = parts;
        assert!(stack3([a, b, other]).is_err());
    }
}
