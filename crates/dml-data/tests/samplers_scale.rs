//! Time and memory of a plan over ten million images of a million classes.
//!
//! `cargo test -p dml-data --release --test samplers_scale -- --ignored --nocapture`

use dml_data::sampler::{BatchSampler, CoveringPkSampler, PkSampler, Short};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The system's allocator, with a count of the bytes held and their peak.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counters do not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `dealloc`'s contract, and `pointer` is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const IMAGES: usize = 10_000_000;
const CLASSES: u32 = 1_000_000;

/// What `work` gives, its seconds, and the bytes an image that it holds at most, above what is held before.
fn measured<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let result = work();
    let bytes = (PEAK.load(Ordering::Relaxed) - before) as f64 / IMAGES as f64;
    (result, start.elapsed().as_secs_f64(), bytes)
}

/// Seconds and bytes of a sampler and a plan, as a line of text.
fn report<S: BatchSampler>(name: &str, make: impl FnOnce() -> S) -> String {
    let before = HELD.load(Ordering::Relaxed);
    let (sampler, making, most) = measured(make);
    let own = (HELD.load(Ordering::Relaxed) - before) as f64 / IMAGES as f64;
    let (plan, planning, bytes) = measured(|| sampler.plan(0));
    assert!(most <= 24.0 && own + bytes <= 24.0, "{name}: {most} bytes an image to make, {own} + {bytes} to plan");
    format!(
        "{name}: sampler {making:.2} s, {most:.1} bytes an image at most, then {own:.1}; plan of {} batches {planning:.2} s, \
         {bytes:.1} bytes an image more at most",
        plan.len()
    )
}

#[test]
#[ignore = "takes seconds and hundreds of megabytes"]
fn ten_million_images_of_a_million_classes() {
    // Scattered labels and classes of different sizes: 1 and up, 10 on average.
    let scatter = |image: usize| ((image as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24) as u32 % CLASSES;
    let label = |image: usize| if image < CLASSES as usize { image as u32 } else { scatter(image) };
    let labels: Vec<u32> = (0..IMAGES).map(label).collect();
    println!("{}", report("every class", || PkSampler::new(&labels, 32, 4, 1).unwrap()));
    println!("{}", report("every image", || CoveringPkSampler::new(&labels, 32, 4, Short::Repeat, 1).unwrap()));
}
