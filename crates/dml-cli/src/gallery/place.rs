//! Where a gallery is: a file, or a server's address.

#[cfg(any(feature = "milvus", feature = "pgvector"))]
use anyhow::Context as _;
use anyhow::{Result, bail};
use dml_gallery::{FileGallery, Gallery, Model, Templates};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Where a gallery is, as it was said. It is looked at when it is used: clap would repeat what it refuses, password and all.
#[derive(Clone)]
pub(crate) struct Place(OsString);

impl From<OsString> for Place {
    fn from(said: OsString) -> Self {
        Self(said)
    }
}

/// Where a gallery is.
pub(super) enum Storage {
    File(PathBuf),
    #[cfg(feature = "pgvector")]
    Postgres {
        server: Box<dml_gallery::PostgresConfig>,
        name: String,
    },
    #[cfg(feature = "milvus")]
    Milvus {
        server: Box<dml_gallery::MilvusServer>,
        name: String,
    },
}

/// An address without the gallery's name, and the name.
#[cfg(any(feature = "milvus", feature = "pgvector"))]
fn named(text: &str) -> Result<(String, String)> {
    let (server, asked) = text.split_once('?').unwrap_or((text, ""));
    let (own, others): (Vec<&str>, Vec<&str>) = asked.split('&').partition(|part| part.starts_with("gallery="));
    let [own] = own[..] else { bail!("want the gallery's name once: …://USER@HOST/DATABASE?gallery=NAME") };
    let others = others.join("&");
    let server = if others.is_empty() { server.to_owned() } else { format!("{server}?{others}") };
    Ok((server, own.trim_start_matches("gallery=").to_owned()))
}

/// `postgres://user:password@host:port/database?gallery=NAME`. Errors say nothing of the address: it may hold a password.
#[cfg(feature = "pgvector")]
fn postgres(text: &str) -> Result<Storage> {
    let (server, name) = named(text)?;
    let Ok(mut config) = server.parse::<dml_gallery::PostgresConfig>() else {
        bail!("this is no address of a server: want postgres://USER:PASSWORD@HOST:PORT/DATABASE?gallery=NAME");
    };
    // An argument is seen by every process of the machine; PostgreSQL's own programs look here, too.
    if let (None, Some(password)) = (config.get_password(), std::env::var_os("PGPASSWORD")) {
        config.password(password.to_str().context("PGPASSWORD is no UTF-8")?);
    }
    Ok(Storage::Postgres { server: Box::new(config), name })
}

#[cfg(not(feature = "pgvector"))]
fn postgres(_: &str) -> Result<Storage> {
    bail!("this dml was built without PostgreSQL: build it with --features pgvector");
}

/// `milvus://user:password@host:port/database?gallery=NAME`.
#[cfg(feature = "milvus")]
fn milvus(text: &str) -> Result<Storage> {
    let (server, name) = named(text)?;
    let server: dml_gallery::MilvusServer = server.parse()?;
    // An argument is seen by every process of the machine.
    let server = server.or_password(|| std::env::var("MILVUS_PASSWORD").ok());
    Ok(Storage::Milvus { server: Box::new(server), name })
}

#[cfg(not(feature = "milvus"))]
fn milvus(_: &str) -> Result<Storage> {
    bail!("this dml was built without Milvus: build it with --features milvus");
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.storage() {
            Ok(Storage::File(path)) => path.display().fmt(f),
            #[cfg(feature = "pgvector")]
            Ok(Storage::Postgres { name, .. }) => write!(f, "gallery {name} in PostgreSQL"),
            #[cfg(feature = "milvus")]
            Ok(Storage::Milvus { name, .. }) => write!(f, "gallery {name} in Milvus"),
            Err(_) => f.write_str("nowhere"),
        }
    }
}

impl Place {
    pub(super) fn storage(&self) -> Result<Storage> {
        let Some((text, (scheme, _))) = self.0.to_str().and_then(|text| Some((text, text.split_once("://")?))) else {
            return Ok(Storage::File(PathBuf::from(&self.0)));
        };
        match scheme {
            "postgres" | "postgresql" => postgres(text),
            "milvus" => milvus(text),
            other => bail!(
                "no gallery is at {other}://: name a file, or postgres:// or milvus:// with USER@HOST/DATABASE?gallery=NAME"
            ),
        }
    }

    pub(crate) fn open(&self) -> Result<Box<dyn Gallery>> {
        Ok(match self.storage()? {
            Storage::File(path) => Box::new(FileGallery::open(path)?),
            #[cfg(feature = "pgvector")]
            Storage::Postgres { server, name } => Box::new(dml_gallery::PostgresGallery::open(*server, &name)?),
            #[cfg(feature = "milvus")]
            Storage::Milvus { server, name } => Box::new(dml_gallery::MilvusGallery::open(&server, &name)?),
        })
    }

    /// Deletes it. A file is its user's to delete.
    pub(super) fn destroy(&self) -> Result<()> {
        match self.storage()? {
            Storage::File(path) => bail!("{}: a gallery in a file goes with its file: delete that", path.display()),
            #[cfg(feature = "pgvector")]
            Storage::Postgres { server, name } => Ok(dml_gallery::PostgresGallery::destroy(*server, &name)?),
            #[cfg(feature = "milvus")]
            Storage::Milvus { server, name } => Ok(dml_gallery::MilvusGallery::destroy(&server, &name)?),
        }
    }

    /// A new gallery as `fill` leaves it, or none.
    pub(super) fn create(
        &self,
        model: Model,
        templates: Templates,
        fill: impl FnOnce(&dyn Gallery) -> dml_gallery::Result<()>,
    ) -> Result<()> {
        match self.storage()? {
            Storage::File(path) => drop(FileGallery::create_with(path, model, templates, |gallery| fill(gallery))?),
            #[cfg(feature = "pgvector")]
            Storage::Postgres { server, name } => {
                use dml_gallery::PostgresGallery;
                let gallery = PostgresGallery::create((*server).clone(), &name, model, templates)?;
                filled(&gallery, fill, || PostgresGallery::destroy(*server, &name))?;
            }
            #[cfg(feature = "milvus")]
            Storage::Milvus { server, name } => {
                use dml_gallery::MilvusGallery;
                let gallery = MilvusGallery::create(&server, &name, model, templates)?;
                filled(&gallery, fill, || MilvusGallery::destroy(&server, &name))?;
            }
        }
        Ok(())
    }
}

/// Fills a new gallery in a server, or deletes it.
#[cfg(any(feature = "milvus", feature = "pgvector"))]
fn filled(
    gallery: &dyn Gallery,
    fill: impl FnOnce(&dyn Gallery) -> dml_gallery::Result<()>,
    destroy: impl FnOnce() -> dml_gallery::Result<()>,
) -> Result<()> {
    if let Err(error) = fill(gallery) {
        destroy().with_context(|| format!("a gallery is left half filled ({error})"))?;
        return Err(error.into());
    }
    Ok(())
}

#[cfg(all(test, feature = "milvus", feature = "pgvector"))]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_files_and_keep_their_passwords() {
        let place = |text: &str| Place::from(OsString::from(text));
        assert!(matches!(place("staff.gallery").storage(), Ok(Storage::File(_))));
        let Ok(Storage::Postgres { server, name }) =
            place("postgres://ada:secret@db:6432/people?gallery=staff").storage()
        else {
            panic!("no server");
        };
        assert_eq!((server.get_dbname(), name.as_str()), (Some("people"), "staff"));
        assert_eq!((server.get_ports(), server.get_password()), (&[6432][..], Some(&b"secret"[..])));
        let more = place("postgresql://ada:secret@db/people?connect_timeout=3&gallery=staff");
        assert_eq!(more.to_string(), "gallery staff in PostgreSQL");
        let Ok(Storage::Milvus { server, name }) =
            place("milvus://ada:secret@db:7000/people?tls=true&gallery=staff").storage()
        else {
            panic!("no server");
        };
        assert_eq!((server.to_string().as_str(), name.as_str()), ("milvus://db:7000/people", "staff"));
        for wrong in [
            "postgres://ada:secret@db/people",
            "postgres://ada:secret@db/people?gallery=a&gallery=b",
            "postgres://ada:secret@db:port/people?gallery=a",
            "postgres://ada:secret@db/people?nothing=1&gallery=a",
            "mysql://ada:secret@db/people",
            "milvus://ada:secret@db/people",
            "milvus://ada:secret@db/people?gallery=a&nothing=1",
        ] {
            let error = format!("{:?} {}", place(wrong).storage().err().unwrap(), place(wrong));
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
