//! Files from repositories of the Hugging Face hub, through the cache that its other clients share.

use super::file;
use crate::{Error, Result};
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use std::env;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// Where the hub is when `HF_ENDPOINT` does not say.
const ENDPOINT: &str = "https://huggingface.co";

/// A hub, and the folder of what came from it.
#[derive(Clone)]
pub struct Hub {
    /// Its address.
    pub endpoint: String,
    /// The folder of what came from it, laid out as all clients of the hub do.
    pub cache: PathBuf,
    /// Whether it is never asked: what is not in the cache is an error.
    pub offline: bool,
    /// What opens repositories that are not for everybody; `None`: what `hf auth login` has left beside the cache, if anything.
    pub token: Option<String>,
}

/// Without the token: what is printed may be read by others.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Hub");
        fields.field("endpoint", &self.endpoint).field("cache", &self.cache).field("offline", &self.offline);
        fields.finish_non_exhaustive()
    }
}

/// A file of a repository.
#[derive(Clone, Copy, Debug)]
pub struct HubFile<'a> {
    /// Owner and name, e.g. `sentence-transformers/all-MiniLM-L6-v2`.
    pub repo: &'a str,
    /// Branch, tag or commit. Only a commit is for ever the same.
    pub revision: &'a str,
    /// Its path in the repository.
    pub file: &'a str,
    /// The SHA-256 that it must have, as hexadecimal digits.
    pub sha256: Option<&'a str>,
}

/// A file that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// The commit that it is of: with it the very same file is fetched again.
    pub commit: String,
    /// Its SHA-256, as hexadecimal digits.
    pub sha256: String,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT` (else huggingface.co), `HF_HOME` (else `.cache/huggingface` in the home folder),
    /// `HF_HUB_OFFLINE` (1, on, yes, true), `HF_TOKEN`.
    ///
    /// # Errors
    /// When there is neither `HF_HOME` nor a home folder.
    pub fn from_env() -> Result<Self> {
        let said = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let home = match (said("HF_HOME"), env::home_dir()) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(home)) => home.join(".cache").join("huggingface"),
            (None, None) => return Err(Error::Hub("there is no home folder for its cache: set HF_HOME".to_owned())),
        };
        let endpoint = said("HF_ENDPOINT").map_or(ENDPOINT.to_owned(), |value| value.to_string_lossy().into_owned());
        let offline = said("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_string_lossy().to_lowercase().as_str()));
        let token = said("HF_TOKEN").map(|value| value.to_string_lossy().trim().to_owned());
        Ok(Self { endpoint, cache: home.join("hub"), offline, token })
    }

    /// Finds `wanted` in the cache, or fetches it.
    ///
    /// # Errors
    /// When it is not in the cache and the hub does not give it ([`Error::NotToBeHad`]), it cannot be kept, or its SHA-256 is another
    /// than it must be.
    pub fn fetch(&self, wanted: HubFile<'_>) -> Result<Fetched> {
        let HubFile { repo, revision, file, sha256 } = wanted;
        let wrong = |problem: String| Error::Hub(format!("{repo}@{revision}/{file}: {problem}"));
        let lacking =
            |problem, absent| Error::NotToBeHad { file: format!("{repo}@{revision}/{file}"), problem, absent };
        for (what, path) in [("repository", repo), ("revision", revision), ("file", file)] {
            // They become paths in the cache.
            let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
            if path.is_empty() || !inside {
                return Err(wrong(format!("{what} {path:?} is no name: want one without .. and leading /")));
            }
        }
        let (path, commit) = match self.cached(wanted) {
            Some(found) => found,
            None if self.offline => {
                let cache = self.cache.display();
                let problem = format!("it is not in {cache}, and HF_HUB_OFFLINE forbids to ask: unset it once");
                return Err(lacking(problem, false));
            }
            None => {
                let mut builder = ApiBuilder::from_cache(Cache::new(self.cache.clone()));
                if self.token.is_some() {
                    builder = builder.with_token(self.token.clone());
                }
                let endpoint = self.endpoint.trim_end_matches('/').to_owned();
                let api = builder.with_endpoint(endpoint).with_progress(false).with_retries(2).build();
                let api = api.map_err(|error| wrong(error.to_string()))?;
                api.repo(repository(wanted)).download(file).map_err(|error| match mend(&error) {
                    None => {
                        let problem =
                            format!("{error}: is it there, is {} reached, does it want HF_TOKEN?", self.endpoint);
                        lacking(problem, is_absent(&error))
                    }
                    Some(mend) => wrong(format!("{error}: it cannot be kept in {}: {mend}", self.cache.display())),
                })?;
                self.cached(wanted).ok_or_else(|| wrong("it came, but is not in the cache".to_owned()))?
            }
        };
        let found = file::sha256(&path).map_err(|error| wrong(error.to_string()))?;
        if let Some(wanted) = sha256.filter(|wanted| !wanted.eq_ignore_ascii_case(&found)) {
            return Err(wrong(format!("its sha256 is {found}, not {wanted}: pin the revision that has that one")));
        }
        // The hub names large files by their SHA-256, and the cache keeps the name.
        let blob = path.canonicalize().ok().and_then(|blob| Some(blob.file_name()?.to_string_lossy().into_owned()));
        let named = blob.filter(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if named.is_some_and(|name| name != found) {
            return Err(wrong(format!("{} is damaged: remove the file it points to, and fetch anew", path.display())));
        }
        Ok(Fetched { path, commit, sha256: found })
    }

    /// Where `wanted` lies in the cache, and its commit.
    fn cached(&self, wanted: HubFile<'_>) -> Option<(PathBuf, String)> {
        let repo = repository(wanted);
        let cache = Cache::new(self.cache.clone());
        let snapshots = cache.repo(repo.clone()).pointer_path("");
        // Other clients note no reference of a commit to itself.
        let reference = self.cache.join(repo.folder_name()).join("refs").join(wanted.revision);
        let commit = std::fs::read_to_string(reference).unwrap_or_else(|_| wanted.revision.to_owned());
        let path = snapshots.join(commit.trim()).join(wanted.file);
        path.is_file().then(|| (path, commit.trim().to_owned()))
    }
}

/// What mends a failure of this machine; `None`: it is the hub that does not give the file, or the way there.
fn mend(error: &ApiError) -> Option<&'static str> {
    match error {
        ApiError::TooManyRetries(last) => mend(last),
        ApiError::IoError(error) if !is_of_the_way(error) => Some("make room there, or set HF_HOME to another folder"),
        ApiError::LockAcquisition(_) => Some("another process is fetching it, wait for its end"),
        ApiError::InvalidResume => Some("remove the files there that end in .part"),
        _ => None,
    }
}

/// Whether the hub answered that there is no such file.
fn is_absent(error: &ApiError) -> bool {
    match error {
        ApiError::TooManyRetries(last) => is_absent(last),
        // The whole of what is said of the answer, which names neither file nor hub.
        ApiError::RequestError(error) => error.to_string() == "http status: 404",
        _ => false,
    }
}

/// Whether an error of reading from the hub and writing to the disk, which come as one, is of the former.
fn is_of_the_way(error: &io::Error) -> bool {
    let of_network = matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::UnexpectedEof
    );
    // What the system did not say comes from the protocol, but for a disk that takes nothing more.
    of_network || error.raw_os_error().is_none() && error.kind() != ErrorKind::WriteZero
}

fn repository(wanted: HubFile<'_>) -> Repo {
    Repo::with_revision(wanted.repo.to_owned(), RepoType::Model, wanted.revision.to_owned())
}

/// Finds `wanted` in the cache, or fetches it from the hub that the environment names ([`Hub::from_env`]).
///
/// # Errors
/// As [`Hub::fetch`].
pub fn fetch(wanted: HubFile<'_>) -> Result<Fetched> {
    Hub::from_env()?.fetch(wanted)
}

/// The path of `file` of the repository `repo` at `revision`, fetched if the cache has it not.
///
/// # Errors
/// As [`Hub::fetch`].
pub fn from_hub(repo: &str, revision: &str, file: &str) -> Result<PathBuf> {
    Ok(fetch(HubFile { repo, revision, file, sha256: None })?.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_told_from_what_the_hub_does_not_give() {
        let system = |code: i32| ApiError::IoError(io::Error::from_raw_os_error(code));
        let said = |kind: ErrorKind| ApiError::IoError(io::Error::new(kind, "said by a library"));
        let again = |error: ApiError| ApiError::TooManyRetries(Box::new(error));
        // No such folder, not permitted, no space left: the same numbers on all Unix systems.
        for error in [system(2), system(13), again(system(28)), said(ErrorKind::WriteZero), ApiError::InvalidResume] {
            assert!(mend(&error).is_some(), "{error}");
        }
        let of_hub = [
            said(ErrorKind::UnexpectedEof),
            again(said(ErrorKind::Other)),
            ApiError::MissingHeader("etag"),
            again(said(ErrorKind::TimedOut)),
        ];
        for error in of_hub {
            assert_eq!(mend(&error), None, "{error}");
        }
    }
}
