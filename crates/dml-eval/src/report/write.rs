//! A report on disk: three files, each whole or not there.

use std::io::Write;
use std::path::Path;

use super::document::Report;

impl Report {
    /// Writes `report.html`, `report.md` and `report.json` into `folder`, which is made if missing.
    /// Each file is written beside its place, synced and renamed, so a reader never meets half a file.
    ///
    /// # Errors
    /// [`crate::Error::Io`] with the file that could not be written.
    pub fn write(&self, folder: &Path) -> crate::Result<()> {
        std::fs::create_dir_all(folder).map_err(|source| crate::Error::Io { path: folder.to_owned(), source })?;
        place(folder, "report.json", &self.json()?)?;
        place(folder, "report.md", &self.markdown())?;
        place(folder, "report.html", &self.html()?)
    }
}

fn place(folder: &Path, name: &str, text: &str) -> crate::Result<()> {
    let path = folder.join(name);
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        readable(file.as_file())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|e| e.error)?;
        Ok(())
    };
    written().map_err(|source| crate::Error::Io { path: path.clone(), source })
}

/// Temporary files are for their owner alone; a report is for everyone who may enter the folder.
#[cfg(unix)]
fn readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}
