//! Time and memory of a plan over a million images of a hundred thousand classes, and over ten times as many:
//!
//! `cargo test -p dml-data --release --test samplers_scale -- --ignored --nocapture`

use dml_data::sampler::{BatchSampler, CoveringPkSampler, PkSampler, Short};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
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

/// One test at a time: they would count each other's bytes.
static ALONE: Mutex<()> = Mutex::new(());

/// What `work` gives, its seconds, and the bytes of each of `images` that it holds at most, above what is held before.
fn measured<T>(images: usize, work: impl FnOnce() -> T) -> (T, f64, f64) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let result = work();
    let bytes = (PEAK.load(Ordering::Relaxed) - before) as f64 / images as f64;
    (result, start.elapsed().as_secs_f64(), bytes)
}

/// Seconds and bytes of a sampler and a plan, as a line of text.
fn report<S: BatchSampler>(name: &str, images: usize, make: impl FnOnce() -> S) -> String {
    let before = HELD.load(Ordering::Relaxed);
    let (sampler, making, most) = measured(images, make);
    let own = (HELD.load(Ordering::Relaxed) - before) as f64 / images as f64;
    let (plan, planning, bytes) = measured(images, || sampler.plan(0));
    assert!(most <= 24.0 && own + bytes <= 24.0, "{name}: {most} bytes an image to make, {own} + {bytes} to plan");
    format!(
        "{name}: sampler {making:.2} s, {most:.1} bytes an image at most, then {own:.1}; plan of {} batches {planning:.2} s, \
         {bytes:.1} bytes an image more at most",
        plan.len()
    )
}

/// Both ways to deal P×K batches of so many images, which take 24 bytes an image at most: lines of text.
fn reports(images: usize, classes: u32) -> String {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Scattered labels and classes of different sizes: 1 and up, 10 on average.
    let scatter = |image: usize| ((image as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24) as u32 % classes;
    let label = |image: usize| if image < classes as usize { image as u32 } else { scatter(image) };
    let labels: Vec<u32> = (0..images).map(label).collect();
    let every_class = report("every class", images, || PkSampler::new(&labels, 32, 4, 1).unwrap());
    let covering = || CoveringPkSampler::new(&labels, 32, 4, Short::Repeat, 1).unwrap();
    format!("{every_class}\n{}", report("every image", images, covering))
}

#[test]
fn a_million_images_of_a_hundred_thousand_classes() {
    println!("{}", reports(1_000_000, 100_000));
}

#[test]
#[ignore = "takes seconds and hundreds of megabytes"]
fn ten_million_images_of_a_million_classes() {
    println!("{}", reports(10_000_000, 1_000_000));
}
