//! Products against sums in `f64`: of every way that an operand lies, by one thread and by all.

use super::{Precision, Product, Threads, View, nearest_bf16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// A matrix, row by row or column by column, in rows that are longer than it.
struct Matrix {
    data: Vec<f32>,
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl Matrix {
    fn new(rows: usize, columns: usize, transposed: bool, seed: u64) -> Self {
        let (high, wide) = if transposed { (columns, rows) } else { (rows, columns) };
        Self { data: numbers(high * (wide + 3), seed), rows, columns, transposed }
    }

    fn view(&self) -> View<'_> {
        match self.transposed {
            true => View::rows(&self.data, self.rows + 3).transposed(),
            false => View::rows(&self.data, self.columns + 3),
        }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        let view = self.view();
        f64::from(self.data[row * view.row_stride + column * view.column_stride])
    }
}

/// The largest error of an element, of that which an `f32` sum in any order stays below.
fn error(product: Product, a: &Matrix, b: &Matrix, before: &[f32], after: &[f32]) -> f64 {
    let [m, n, k] = product.sides;
    let taken = |x: f64| if product.precision == Precision::Bf16 { f64::from(nearest_bf16(x as f32)) } else { x };
    let mut worst = 0f64;
    // Some of all, the last among them.
    for i in (0..m).filter(|i| i % 5 == 0 || i + 1 == m) {
        for j in 0..n {
            let at = i * product.stride + j;
            let first = if product.accumulate { f64::from(before[at]) } else { 0.0 };
            let (mut exact, mut size) = (first, first.abs());
            for l in 0..k {
                let term = f64::from(product.scale) * taken(a.at(i, l)) * taken(b.at(l, j));
                exact += term;
                size += term.abs();
            }
            worst = worst.max((f64::from(after[at]) - exact).abs() / (size * f64::from(f32::EPSILON)));
        }
    }
    worst
}

#[test]
fn a_product_is_as_near_to_the_exact_one_as_f32_can_tell() {
    // Whole tiles, parts of them, depths of one pass and of several, more columns than are packed at once, few rows.
    let shapes = [[128, 384, 384], [170, 400, 390], [33, 390, 1100], [16, 2100, 385], [70, 50, 100]];
    for [m, n, k] in shapes {
        let ways = (0..4).flat_map(|way| [(way, Threads::All), (way, Threads::One)]);
        for (way, threads) in ways {
            let (a, b) = (Matrix::new(m, k, way & 1 == 1, 1), Matrix::new(k, n, way & 2 == 2, 2));
            let whole = Precision::F32;
            let hows =
                [(false, 1.0, whole), (true, 0.3, whole), (false, 1.0, Precision::Bf16), (true, 1.0, Precision::Bf16)];
            for (accumulate, scale, precision) in hows {
                let product = Product { threads, accumulate, scale, precision, ..Product::new(m, n, k).strided(n + 5) };
                let before = numbers(m * (n + 5), 3);
                let mut after = before.clone();
                product.into(a.view(), b.view(), &mut after);
                let error = error(product, &a, &b, &before, &after);
                // Such sums err by the root of their length, in halves of the last place.
                assert!(
                    error < 2.0 + 0.1 * (k as f64).sqrt(),
                    "{m}x{n}x{k}, way {way}, {accumulate}, {precision:?}: {error} ulp"
                );
                for row in 0..m {
                    let rest = row * (n + 5) + n..(row + 1) * (n + 5);
                    assert_eq!(after[rest.clone()], before[rest], "beyond row {row} of {m}x{n}x{k}");
                }
            }
        }
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn an_element_does_not_depend_on_threads_or_on_other_rows() {
    let (a, b) = (Matrix::new(300, 700, false, 1), Matrix::new(700, 390, true, 2));
    let of = |rows: usize, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Product::new(rows, 390, 700).by_all().made(a.view(), b.view()))
    };
    // gemm, where there is no matrix unit, promises no such thing.
    let most = if super::amx::Unit::of_this_machine().is_some() { 0.0 } else { 1e-4 };
    let alike = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= most);
    let all = of(300, 3);
    assert!(alike(&all, &of(300, 1)), "other threads");
    assert!(alike(&all[..40 * 390], &of(40, 2)), "other rows");
}

#[test]
fn what_is_not_finite_stays_so() {
    for odd in [f32::NAN, f32::from_bits(0x7fff_ffff), f32::INFINITY, f32::NEG_INFINITY] {
        let (mut a, b) = (Matrix::new(128, 400, false, 1), Matrix::new(400, 400, false, 2));
        a.data[403 * 5 + 9] = odd;
        for precision in [Precision::F32, Precision::Bf16] {
            let y = Product::new(128, 400, 400).by_all().of(precision).made(a.view(), b.view());
            assert!(y[5 * 400..6 * 400].iter().all(|v| !v.is_finite()), "{odd}, {precision:?}");
            assert!(y[..5 * 400].iter().all(|v| v.is_finite()), "{odd}, {precision:?}");
        }
    }
}
