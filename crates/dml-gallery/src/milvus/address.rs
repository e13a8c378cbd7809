//! Where a Milvus is.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Where a Milvus is, and how it is reached; read from `milvus://USER:PASSWORD@HOST:PORT/DATABASE`, of which all but the host
/// may be left out. `?tls=true` encrypts the line, and the server's certificate must be one that this system trusts; `?shards=N`
/// is for a new gallery.
#[derive(Clone, PartialEq, Eq)]
pub struct MilvusServer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) tls: bool,
    /// Among how many a new gallery's rows are shared out.
    pub(super) shards: u16,
}

impl MilvusServer {
    /// The password, where the address has none.
    #[must_use]
    pub fn or_password(self, password: impl FnOnce() -> Option<String>) -> Self {
        let password = self.password.or_else(password);
        Self { password, ..self }
    }

    /// What the client connects to.
    pub(super) fn uri(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// Without the password.
impl fmt::Display for MilvusServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "milvus://{}:{}/{}", self.host, self.port, self.database.as_deref().unwrap_or(""))
    }
}

/// Without the password.
impl fmt::Debug for MilvusServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MilvusServer {
    type Err = Error;

    /// Errors say nothing of the address: it may hold a password.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            let want = "want milvus://USER:PASSWORD@HOST:PORT/DATABASE, with ?tls=true and ?shards=N if you like";
            Error::Input(format!("{what}: {want}"))
        };
        let rest = text.strip_prefix("milvus://").ok_or_else(|| wrong("this is no address of a Milvus"))?;
        let (rest, asked) = rest.split_once('?').unwrap_or((rest, ""));
        let (who, rest) = rest.rsplit_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        // An address of IPv6 has colons within its brackets.
        let (host, port) = match place.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong("the address has a port that is no number"))?),
            None => (place, 19530),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:%".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(wrong("the address has no host"));
        }
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            Some((user, password)) => (Some(user.to_owned()), Some(password).filter(|p| !p.is_empty())),
            None => (None, None),
        };
        let (mut tls, mut shards) = (false, 1);
        for option in asked.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("tls", value)) => tls = value.parse().map_err(|_| wrong("tls is neither true nor false"))?,
                Some(("shards", value)) => {
                    let number = value.parse().ok().filter(|n| (1..=64).contains(n));
                    shards = number.ok_or_else(|| wrong("shards is no number of 1 to 64"))?;
                }
                _ => return Err(wrong("the address has an option that is not known")),
            }
        }
        let database = Some(database.to_owned()).filter(|name| !name.is_empty());
        let password = password.map(str::to_owned);
        Ok(Self { host: host.to_owned(), port, database, user, password, tls, shards })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_keep_their_passwords() {
        let server: MilvusServer = "milvus://ada:se@cret@db.example:7000/people?tls=true&shards=4".parse().unwrap();
        assert_eq!((server.user.as_deref(), server.password.as_deref()), (Some("ada"), Some("se@cret")));
        assert_eq!((server.uri().as_str(), server.shards), ("https://db.example:7000", 4));
        assert_eq!(format!("{server} {server:?}"), "milvus://db.example:7000/people milvus://db.example:7000/people");
        let server: MilvusServer = "milvus://ada@[::1]".parse().unwrap();
        assert_eq!((server.uri().as_str(), server.password.as_deref()), ("http://[::1]:19530", None));
        assert_eq!(server.or_password(|| Some("secret".to_owned())).password.as_deref(), Some("secret"));
        for wrong in [
            "http://secret",
            "milvus://",
            "milvus://a:secret@",
            "milvus://a:secret@b:c",
            "milvus://a:secret@b?shards=0",
            "milvus://a:secret@b?c=d",
        ] {
            let error = wrong.parse::<MilvusServer>().unwrap_err().to_string();
            assert!(error.contains("want milvus://") && !error.contains("secret"), "{error}");
        }
    }
}
