//! What the tests of the workspace share, and nothing that ships.
//!
//! | module | question it answers |
//! |---|---|
//! | [`golden`] | what did the reference implementation compute? |
//! | [`close`] | are two sets of numbers the same, and if not: where, and by how much? |
//! | [`gradient`] | is this gradient the derivative of that value? |
//! | [`mod@gpu`] | is there a GPU to ask, too? |
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use dml_testkit::{Tolerance, check_gradient};
//!
//! let x = Tensor::new(&[[0.5f64, -1.0], [2.0, 0.1]], &Device::Cpu)?;
//! check_gradient("sum of squares", &x, Tolerance::of_largest(1e-6), |x| x.sqr()?.sum_all());
//! # Ok::<(), candle_core::Error>(())
//! ```

pub mod close;
pub mod golden;
pub mod gpu;
pub mod gradient;

pub use close::{Difference, Tolerance, assert_close, compare};
pub use golden::{Case, load_goldens};
pub use gpu::gpu;
pub use gradient::check_gradient;

/// Why a golden file or a tensor could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file is missing or unreadable.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A golden file is not what its generator writes.
    #[error("{path}: {what}; generate it again (tests/golden/README.md)")]
    Golden {
        /// The file, and the case inside it where there is one.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
