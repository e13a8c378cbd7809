//! scratch
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary talks to its user")]
use dml_core::{
    Exclude, Matrix, Metric, RankQuestion, Ties, for_each_pair_tile, nearest, ranks, scores, self_scores, unwatched,
};
use std::hint::black_box;
use std::time::Instant;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn clustered(n: usize, d: usize, per: usize) -> Vec<f32> {
    let mut state = 88172645463325252u64;
    let mut next = move || {
        let mut s = 0f32;
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            s += (state >> 40) as f32 / (1u32 << 24) as f32;
        }
        (s - 2.0) * 1.7
    };
    let mut x = vec![0f32; n * d];
    let mut centre = vec![0f32; d];
    for i in 0..n {
        if i % per == 0 {
            centre.iter_mut().for_each(|v| *v = next());
        }
        let row = &mut x[i * d..(i + 1) * d];
        row.iter_mut().zip(&centre).for_each(|(v, c)| *v = c + 0.7 * next());
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    x
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: usize = args[1].parse().unwrap();
    let d: usize = args[2].parse().unwrap();
    let x = clustered(n, d, 5);
    let m = Matrix::new(&x, n, d).unwrap();
    let time = |name: &str, flops: f64, f: &dyn Fn()| {
        let c0 = cpu();
        let t = Instant::now();
        f();
        let s = t.elapsed().as_secs_f64();
        let c = cpu() - c0;
        println!("{name}: {s:.2} s wall, {c:.2} s cpu, {:.1} GFLOP/s per core", flops / c / 1e9);
    };
    let full = 2.0 * (n as f64) * (n as f64) * d as f64;
    {
        let s = 4096.min(n);
        let mut out = vec![0f32; s * s];
        let part = Matrix::new(&x[..s * d], s, d).unwrap();
        for _ in 0..3 {
            time("gemm 4096", 2.0 * (s * s * d) as f64, &|| {
                let mut o = vec![0f32; s * s];
                scores(Metric::Dot, part, part, &mut o).unwrap();
                black_box(&o);
            });
        }
        self_scores(Metric::Dot, part, &mut out).unwrap();
    }
    for k in [1usize, 10, 1000] {
        if args.len() > 3 && args[3] != "knn" {
            break;
        }
        time(&format!("self k={k}"), full, &|| {
            black_box(nearest(Metric::Dot, m, m, k.min(n - 1), Exclude::SelfIndex).unwrap());
        });
    }
    if args.len() <= 3 || args[3] == "ranks" {
        let wanted = |q: usize, list: &mut Vec<u32>| {
            list.extend((q / 5 * 5..(q / 5 * 5 + 5).min(n)).filter(|&j| j != q).map(|j| j as u32))
        };
        let out = |q: usize, list: &mut Vec<u32>| list.push(q as u32);
        time("ranks", full, &|| {
            black_box(
                ranks(
                    &RankQuestion {
                        metric: Metric::Dot,
                        queries: m,
                        gallery: m,
                        wanted: &wanted,
                        excluded: &out,
                        ties: Ties::ById,
                    },
                    &unwatched,
                )
                .unwrap(),
            );
        });
    }
    if args.len() <= 3 || args[3] == "pairs" {
        time("pairs", full, &|| {
            for_each_pair_tile(Metric::Dot, m, &unwatched, |t| {
                black_box(t.scores);
            })
            .unwrap();
        });
    }
    if args.len() > 3 && args[3] == "gallery" {
        let q = Matrix::new(&x[..1000 * d], 1000, d).unwrap();
        for _ in 0..3 {
            time("gallery k=100", 2.0 * 1000.0 * (n * d) as f64, &|| {
                black_box(nearest(Metric::Dot, q, m, 100, Exclude::Nothing).unwrap());
            });
        }
    }
}

fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
