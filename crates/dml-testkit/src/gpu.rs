//! The GPU that tests run on.

use candle_core::Device;
use candle_core::utils::{cuda_is_available, metal_is_available};

/// The first GPU of a build with the feature `cuda` or `metal`.
///
/// # Errors
/// Why there is none, for the test that skips.
pub fn gpu() -> Result<Device, String> {
    let device = match (cuda_is_available(), metal_is_available()) {
        (true, _) => Device::new_cuda(0),
        (_, true) => Device::new_metal(0),
        _ => return Err("built without the features cuda and metal".into()),
    };
    device.map_err(|error| format!("no GPU: {error}"))
}
