use super::*;
use crate::init::Init;
use crate::ops::activation::ALL;
use candle_core::{Device, Var};
use dml_testkit::{Tolerance, assert_close};

#[test]
fn fused_equals_composed() {
    let mut drawn = Init::new(1);
    for (shape, of_batch) in
        [(vec![5, 3, 8, 7], true), (vec![6, 4, 1, 3], true), (vec![7, 5], true), (vec![3, 2, 5, 5], false)]
    {
        for activation in ALL {
            for with_residual in [false, true] {
                let c = shape[1];
                let mut normal = |shape: &[usize], std| drawn.normal(shape, std, &Device::Cpu).unwrap();
                let mut var =
                    |shape: &[usize]| Var::from_tensor(&normal(shape, 1.5).affine(1.0, 0.3).unwrap()).unwrap();
                let (x, gamma, beta, r) = (var(&shape), var(&[c]), var(&[c]), var(&shape));
                let residual = with_residual.then_some(r.as_tensor());
                let statistics = ChannelStatistics::of_batch(&x).unwrap();
                let how = Normalization { statistics, of_batch, epsilon: 1e-3, activation };
                let upstream = normal(&shape, 1.0).as_detached_tensor();
                let ours = batch_norm(&x, &gamma, &beta, residual, how.clone()).unwrap();
                let plain = composed(&x, &gamma, &beta, residual, &how).unwrap();
                let what = format!("{shape:?} {activation:?} {of_batch} {with_residual}");
                assert_close(&what, &ours, &plain, Tolerance::of_largest(1e-5));
                let still = residual.map(Tensor::detach);
                let within = batch_norm_within(
                    x.copy().unwrap().detach(),
                    &gamma.detach(),
                    &beta.detach(),
                    still.as_ref(),
                    how.clone(),
                );
                assert_close(&what, &within.unwrap(), &ours, Tolerance::of_largest(0.0));
                let gradients = |y: Tensor| (y * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
                let (a, b) = (gradients(ours), gradients(plain));
                for var in [&x, &gamma, &beta] {
                    assert_close(&what, a.get(var).unwrap(), b.get(var).unwrap(), Tolerance::of_largest(2e-4));
                }
                if with_residual {
                    assert_close(&what, a.get(&r).unwrap(), b.get(&r).unwrap(), Tolerance::of_largest(2e-4));
                }
            }
        }
    }
}
