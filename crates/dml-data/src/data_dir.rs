//! Where fetched data sets lie, the same for every program.

use crate::{Error, Result};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use std::env;
use std::path::PathBuf;

/// The folder of fetched data sets, which need not exist: what the variable `DML_DATA_DIR` names if it is set and not
/// empty, else `dml` in the platform's folder for a user's data. That is `$XDG_DATA_HOME`, by default `~/.local/share`;
/// on macOS `~/Library/Application Support`; on Windows `AppData\Local`.
///
/// # Errors
/// [`Error::NoDataDir`] when the variable names nothing and the user's home is not known or no absolute path.
pub fn data_dir() -> Result<PathBuf> {
    let chosen = env::var_os("DML_DATA_DIR").filter(|folder| !folder.is_empty());
    chosen.map(PathBuf::from).or_else(of_platform).ok_or(Error::NoDataDir)
}

fn of_platform() -> Option<PathBuf> {
    let folders = choose_native_strategy().ok()?;
    // On Windows the cache's folder is the local one: the data folder roams, which is not for gigabytes.
    let folder = if cfg!(windows) { folders.cache_dir() } else { folders.data_dir() };
    // A `HOME` that is no absolute path would mean another place in each working folder.
    folder.is_absolute().then(|| folder.join("dml"))
}
