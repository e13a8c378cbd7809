//! Embeddings to files. A file is there whole or not at all, whenever the writer is stopped.

use super::{io, refused};
use crate::Result;
use ::safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use dml_core::Matrix;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use tempfile::NamedTempFile;

/// Writes `[n, d]` as an `.npy` file, `<f4` in C order, in the place of a file of that name.
///
/// # Errors
/// When the file cannot be written.
pub fn write_npy(path: impl AsRef<Path>, matrix: Matrix<'_>) -> Result<()> {
    write(path.as_ref(), &npy_head(matrix.rows(), matrix.cols()), matrix.data())
}

/// What stands before the numbers of `<f4` in C order in an `.npy` file.
pub(super) fn npy_head(rows: usize, cols: usize) -> Vec<u8> {
    let mut dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    // Magic, version and length take 10 bytes, a line end closes; numbers begin at a multiple of 64.
    let padded = (10 + dict.len() + 1).next_multiple_of(64) - 10;
    dict = format!("{dict:<width$}\n", width = padded - 1);
    // The dict is short: two numbers of 20 digits at most.
    let length = dict.len() as u16;
    [b"\x93NUMPY\x01\x00".as_slice(), &length.to_le_bytes(), dict.as_bytes()].concat()
}

/// Writes `[n, d]` as the tensor `name` of a `.safetensors` file, F32, in the place of a file of that name.
///
/// # Errors
/// When the file cannot be written, or the name is one that the format keeps for itself.
pub fn write_safetensors(path: impl AsRef<Path>, name: &str, matrix: Matrix<'_>) -> Result<()> {
    let path = path.as_ref();
    if name == "__metadata__" {
        return Err(refused(path, "a tensor cannot be named __metadata__: choose another name"));
    }
    let head = safetensors_head(path, &[(name, Dtype::F32, vec![matrix.rows(), matrix.cols()])])?;
    write(path, &head, matrix.data())
}

/// What stands before the numbers of these tensors, which follow each other, in a `.safetensors` file.
pub(super) fn safetensors_head(path: &Path, tensors: &[(&str, Dtype, Vec<usize>)]) -> Result<Vec<u8>> {
    let mut end = 0;
    let info = |(name, dtype, shape): &(&str, Dtype, Vec<usize>)| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (name.to_string(), TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (start, end) })
    };
    let infos: Vec<(String, TensorInfo)> = tensors.iter().map(info).collect();
    let fail = |why: String| refused(path, format!("no header can be made for the tensors ({why}): rename them"));
    let metadata = Metadata::new(None, infos).map_err(|error| fail(error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| fail(error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes(), header.as_slice()].concat())
}

/// Head and numbers to `path`.
fn write(path: &Path, head: &[u8], values: &[f32]) -> Result<()> {
    write_whole(path, |temporary| {
        let mut out = BufWriter::new(temporary.as_file());
        out.write_all(head).map_err(io(path))?;
        write_numbers(&mut out, values).map_err(io(path))?;
        out.flush().map_err(io(path))
    })
}

/// Numbers as little-endian bytes.
pub(super) fn write_numbers(out: &mut impl Write, values: &[f32]) -> std::io::Result<()> {
    for chunk in values.chunks(1 << 12) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|v| v.to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// A new file beside `path`, which takes its name once `fill` has filled it and it is on the disk.
pub(crate) fn write_whole(path: &Path, fill: impl FnOnce(&NamedTempFile) -> Result<()>) -> Result<()> {
    let temporary = partial(path)?;
    fill(&temporary)?;
    keep(temporary, path)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file beside `path`, gone when it is dropped.
pub(super) fn partial(path: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // A temporary file is its writer's alone unless told; this one is to be like any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.prefix(".").suffix(".partial").tempfile_in(folder(path)).map_err(io(path))
}

/// Gives a file that is filled the name `path`.
pub(super) fn keep(temporary: NamedTempFile, path: &Path) -> Result<()> {
    temporary.as_file().sync_all().map_err(io(path))?;
    temporary.persist(path).map_err(|error| io(path)(error.error))?;
    // The name is on the disk only once its folder is.
    if cfg!(unix) {
        File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(io(path))?;
    }
    Ok(())
}
