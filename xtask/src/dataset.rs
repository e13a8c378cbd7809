//! `cargo xtask dataset`: lists, fetches, imports and verifies the data sets of `datasets/`.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use dml_data::download::{Fetcher, Source};
use dml_data::{Error, Manifest, unpack};
use indicatif::{ProgressBar, ProgressStyle};

use crate::workspace;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Folder of the data sets [default: DML_DATA_DIR, else the platform's data folder, ~/.local/share/dml on Linux]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Show all data sets, their licences, and which are there
    List,
    /// Bring the files of a data set that are missing or wrong; an interrupted fetch goes on where it stopped
    ///
    /// They come from --mirror or the mirror in the variable DML_MIRROR (a folder or an address that holds NAME/FILE), else
    /// from their owner. Each is checked before it gets its name; archives of many images are unpacked beside themselves.
    Fetch {
        /// The data set
        name: String,
        /// Import the files instead, as `import NAME DIR|FILE` does
        #[arg(long, value_name = "DIR|FILE")]
        from: Option<PathBuf>,
        /// Mirror that holds NAME/FILE [default: DML_MIRROR]
        #[arg(long, value_name = "DIR|URL", conflicts_with = "from")]
        mirror: Option<String>,
    },
    /// Bring a data set from files that are on this machine already, copied, checked and unpacked as by fetch
    ///
    /// For sets whose owners ask for an agreement or a browser. The files must have the names of the manifest in datasets/;
    /// a set of several may be imported one by one. What you give is read only.
    Import {
        /// The data set
        name: String,
        /// Folder that holds the files (or NAME/FILE, as a mirror does), or one of the files
        #[arg(value_name = "DIR|FILE")]
        from: PathBuf,
    },
    /// Check size and checksum of every file of a data set
    Verify {
        /// The data set
        name: String,
    },
    /// Print the folder of a data set
    Path {
        /// The data set
        name: String,
    },
}

/// Runs `cargo xtask dataset`.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let named = arguments.data_dir.is_some();
    let data = arguments.data_dir.map_or_else(dml_data::data_dir, Ok)?;
    match arguments.action {
        Action::List => list(&data, named),
        Action::Fetch { name, from, mirror } => {
            bring(&Manifest::find(&name)?, &data, source(from, mirror, env::var("DML_MIRROR").ok()))
        }
        Action::Import { name, from } => bring(&Manifest::find(&name)?, &data, Source::Local(from)),
        Action::Verify { name } => verify(&Manifest::find(&name)?, &data),
        Action::Path { name } => {
            let manifest = Manifest::find(&name)?;
            if manifest.embedded {
                bail!("data set {name} is embedded in dml-data: it has no folder");
            }
            println!("{}", manifest.folder(&data).display());
            Ok(())
        }
    }
}

/// Where files are fetched from: what the command names goes before the `variable` DML_MIRROR, and that before the owner.
fn source(from: Option<PathBuf>, mirror: Option<String>, variable: Option<String>) -> Source {
    match (from, mirror.or(variable.filter(|mirror| !mirror.is_empty()))) {
        (Some(path), _) => Source::Local(path),
        (None, Some(mirror)) => Source::Mirror(mirror),
        (None, None) => Source::Owner,
    }
}

/// How a data set stands below a folder.
pub(crate) enum State {
    /// All its files are those of the manifest.
    There,
    /// A file is missing; the command that brings it.
    Missing(String),
    /// A file has other bytes, or cannot be read: which, and the mend.
    Damaged(String),
}

impl State {
    /// Of a set below `data`, which commands name if it was `named`.
    fn of(manifest: &Manifest, data: &Path, named: bool) -> Self {
        let command = manifest.fetch_command();
        let told = match command.rsplit_once(" (") {
            Some((words, size)) if named => format!("{words} --data-dir {} ({size}", data.display()),
            _ => command.clone(),
        };
        match manifest.verify(data) {
            Ok(()) => Self::There,
            Err(Error::Missing { .. }) => Self::Missing(told),
            Err(error) => Self::Damaged(error.to_string().replace(&command, &told)),
        }
    }
}

/// How the data set `name` stands below `data`, which commands name if it was `named`.
pub(crate) fn state(name: &str, data: &Path, named: bool) -> Result<State> {
    Ok(State::of(&Manifest::find(name)?, data, named))
}

/// The command that brings the data set `name` if a file of it is missing below `data`. A damaged file is an error: to
/// skip over it would hide it.
pub(crate) fn missing(name: &str, data: &Path, named: bool) -> Result<Option<String>> {
    match state(name, data, named)? {
        State::There => Ok(None),
        State::Missing(command) => Ok(Some(command)),
        State::Damaged(what) => bail!("{what}"),
    }
}

fn list(data: &Path, named: bool) -> Result<()> {
    println!("data folder: {}\n", workspace::shown(data));
    for manifest in Manifest::all()? {
        let state = match State::of(&manifest, data, named) {
            State::There if manifest.embedded => "embedded".to_owned(),
            State::There => "there".to_owned(),
            State::Missing(command) => command,
            State::Damaged(what) => format!("damaged: {what}"),
        };
        println!("{}: {}", manifest.name, manifest.summary);
        println!("    licence   {}", manifest.licence);
        println!("    homepage  {}", manifest.homepage);
        println!("    state     {state}\n");
    }
    Ok(())
}

/// Fetches from a source elsewhere or imports from a local one, with a bar; then unpacks, if the set is complete.
fn bring(manifest: &Manifest, data: &Path, source: Source) -> Result<()> {
    let name = &manifest.name;
    let (begun, done) = match source {
        Source::Local(_) => ("import", "imported"),
        Source::Owner | Source::Mirror(_) => ("fetch", "fetched"),
    };
    if manifest.embedded {
        println!("{name} is embedded in dml-data: nothing to {begun}");
        return Ok(());
    }
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template(
        "{msg:32} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} ETA {eta}",
    )?);
    let outcome = Fetcher::new(source).fetch(manifest, data, &mut |progress| {
        if bar.message() != progress.file.name {
            bar.set_message(progress.file.name.clone());
            bar.set_position(progress.done);
            // What an earlier fetch left says nothing about the speed of this one.
            bar.reset_eta();
        }
        // That of a server's file is known only when it answers.
        match progress.size {
            Some(size) => bar.set_length(size),
            None => bar.unset_length(),
        }
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    for file in outcome.with_context(|| format!("cannot {begun} {name}"))? {
        println!("{done} {file}");
    }
    let absent: Vec<&str> = manifest
        .files
        .iter()
        .filter(|file| manifest.verify_file(data, file).is_err())
        .map(|file| file.name.as_str())
        .collect();
    let folder = manifest.folder(data);
    if absent.is_empty() {
        for folder in unpack::set(manifest, data, unpack::Limits::default())? {
            println!("unpacked {}", workspace::shown(&folder));
        }
        println!("{name} is complete in {} ({})", workspace::shown(&folder), manifest.licence);
        tell_trust(manifest);
    } else {
        println!("{name} still lacks {}", absent.join(", "));
    }
    Ok(())
}

fn verify(manifest: &Manifest, data: &Path) -> Result<()> {
    if manifest.embedded {
        println!("{} is embedded in dml-data: nothing to verify", manifest.name);
        return Ok(());
    }
    manifest.verify(data)?;
    println!("{}: {} files, {} bytes, all as the manifest says", manifest.name, manifest.files.len(), manifest.bytes());
    tell_trust(manifest);
    Ok(())
}

/// Says which files no owner's word could be checked for.
fn tell_trust(manifest: &Manifest) {
    for file in manifest.files.iter().filter(|file| !file.unchecked().is_empty()) {
        println!("{} is taken on trust: no {} is published", file.name, file.unchecked().join(" and no "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::fs;

    #[test]
    fn the_skip_reason_is_the_command() {
        let nowhere = tempfile::tempdir().unwrap();
        let reason = missing("omniglot", nowhere.path(), false).unwrap();
        assert_eq!(reason.as_deref(), Some("cargo xtask dataset fetch omniglot (3.3 MB)"));
        let folder = nowhere.path().display();
        for (name, command) in [("omniglot", "fetch omniglot"), ("cars-196", "import cars-196 DIR")] {
            let reason = missing(name, nowhere.path(), true).unwrap().unwrap();
            assert!(reason.starts_with(&format!("cargo xtask dataset {command} --data-dir {folder} (")), "{reason}");
        }
        assert_eq!(missing("emoji", nowhere.path(), false).unwrap(), None);
        let unknown = missing("emojis", nowhere.path(), false).unwrap_err().to_string();
        assert!(unknown.contains("no data set is called `emojis`"), "{unknown}");
    }

    #[test]
    fn a_damaged_set_is_not_skipped() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("omniglot")).unwrap();
        fs::write(data.path().join("omniglot/images_background_small1.zip"), b"PK").unwrap();
        let message = missing("omniglot", data.path(), true).unwrap_err().to_string();
        assert!(message.contains("has size 2 but the manifest says 1319022; bring it anew"), "{message}");
        assert!(message.contains("fetch omniglot --data-dir "), "{message}");
    }

    #[test]
    fn a_set_is_imported_file_by_file_and_then_unpacked() {
        let files = "[[files]]\nname = 'list.txt'\nbytes = 4\n[[files]]\nname = 'birds.zip'\nunpack = true";
        let head = "name = 'toy'\nsummary = ''\nlicence = 'CC0-1.0'\nhomepage = ''";
        let manifest = Manifest::parse(&format!("{head}\n{files}")).unwrap();
        let (data, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let list = mine.path().join("list.txt");
        fs::write(&list, b"wren").unwrap();
        // A zip archive of nothing.
        fs::write(mine.path().join("birds.zip"), [b"PK\x05\x06".as_slice(), &[0; 18]].concat()).unwrap();
        bring(&manifest, data.path(), Source::Local(list.clone())).unwrap();
        assert_eq!(fs::read(data.path().join("toy/list.txt")).unwrap(), b"wren");
        assert!(!data.path().join("toy/birds").exists());
        bring(&manifest, data.path(), Source::Local(mine.path().to_owned())).unwrap();
        assert!(data.path().join("toy/birds").is_dir());
        assert_eq!(fs::read(list).unwrap(), b"wren", "what was given stays");
    }

    #[test]
    fn what_the_command_names_goes_before_the_variable() {
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            arguments: Arguments,
        }
        let parsed = |flags: &[&str]| -> Result<Source, clap::Error> {
            let words = ["dataset", "fetch", "toy"].iter().chain(flags);
            let Action::Fetch { from, mirror, .. } = Command::try_parse_from(words)?.arguments.action else {
                unreachable!("it was told to fetch")
            };
            Ok(source(from, mirror, Some("http://variable".into())))
        };
        let mirror = |address: &str| Source::Mirror(address.into());
        assert_eq!(parsed(&["--mirror", "http://flag"]).unwrap(), mirror("http://flag"));
        assert_eq!(parsed(&["--from", "mine"]).unwrap(), Source::Local("mine".into()));
        assert_eq!(parsed(&[]).unwrap(), mirror("http://variable"));
        assert_eq!(source(None, None, Some(String::new())), Source::Owner, "set to nothing is not set");
        assert_eq!(source(None, None, None), Source::Owner);
        let both = parsed(&["--mirror", "http://flag", "--from", "mine"]).unwrap_err();
        assert_eq!(both.kind(), clap::error::ErrorKind::ArgumentConflict);
    }

    #[test]
    fn one_foreign_file_is_refused_before_anything_is_written() {
        let data = tempfile::tempdir().unwrap();
        let copy = data.path().join("all_runs.zip");
        fs::write(&copy, vec![0; 352_787]).unwrap();
        let error = bring(&Manifest::find("omniglot").unwrap(), data.path(), Source::Local(copy)).unwrap_err();
        assert!(format!("{error:#}").contains("cannot import omniglot: "), "{error:#}");
        assert!(format!("{error:#}").contains("has sha256 "), "{error:#}");
        assert_eq!(fs::read_dir(data.path().join("omniglot")).unwrap().count(), 0);
    }
}
