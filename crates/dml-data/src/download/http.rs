//! One HTTP request for the rest of a file.

use super::{Part, Progress};
use crate::{ManifestFile, Result};
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Uri;

/// How a request ended.
pub(super) enum Outcome {
    /// Every byte is there.
    Complete,
    /// Worth another attempt.
    Interrupted(String),
    /// Another attempt would end the same.
    Refused(String),
}

/// A client that gives up when the server says nothing for `patience`. It honours `HTTPS_PROXY` and its kin, but not for
/// a `url` on this machine.
pub(super) fn agent(url: &str, patience: Duration) -> Agent {
    let config = Agent::config_builder();
    let config = if is_loopback(url) { config.proxy(None) } else { config };
    config
        .http_status_as_error(false)
        .accept_encoding("identity")
        .timeout_resolve(Some(patience))
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .build()
        .new_agent()
}

fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).map(|host| host.trim_matches(['[', ']']));
    host.is_some_and(|host| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

/// Asks for what `part` lacks of `file` and appends it. `version` is the server's name for the bytes there are, kept from one
/// attempt to the next. An error is one of this machine: the part cannot be written.
pub(super) fn attempt(
    agent: &Agent,
    url: &str,
    part: &mut Part,
    (file, version): (&ManifestFile, &mut Option<String>),
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome> {
    // Without a checksum nobody would notice the end of one version behind the beginning of another: only the server knows.
    if part.len() > 0 && !file.has_checksum() && version.is_none() {
        part.restart()?;
    }
    let mut request = agent.get(url);
    if part.len() > 0 {
        request = request.header("range", format!("bytes={}-", part.len()));
        if let Some(version) = version.as_deref() {
            request = request.header("if-range", version);
        }
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(ureq::Error::BadUri(problem)) => return Ok(Outcome::Refused(format!("not an address: {problem}"))),
        Err(error) => return Ok(Outcome::Interrupted(error.to_string())),
    };
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let range = header("content-range").unwrap_or_default();
    let offered = response.body().content_length();
    let size = file.bytes.or(if status == 206 { total(&range) } else { offered });
    let first = match status.as_u16() {
        // The server cannot resume: it sends everything.
        200 => 0,
        206 if size.is_some() && first_byte(&range) == Some(part.len()) => part.len(),
        // No byte is lacking, and only the server could know.
        416 if file.bytes.is_none() && total(&range) == Some(part.len()) => return Ok(Outcome::Complete),
        206 | 416 => {
            let problem = format!("the server cannot go on at byte {} (status {status}): starting over", part.len());
            part.restart()?;
            return Ok(Outcome::Interrupted(problem));
        }
        408 | 425 | 429 | 500.. => return Ok(Outcome::Interrupted(format!("the server answered {status}"))),
        _ => {
            let mend = "the file has moved or needs a login: use --from DIR or DML_MIRROR=DIR|URL";
            return Ok(Outcome::Refused(format!("the server answered {status}; {mend}")));
        }
    };
    if let (Some(size), Some(offered)) = (file.bytes, offered)
        && offered != size - first
    {
        let (expected, mend) = (size - first, "the file has changed or the address is wrong");
        return Ok(Outcome::Refused(format!(
            "the server offers {offered} bytes but the manifest leaves {expected}; {mend}: use --from DIR or DML_MIRROR=DIR|URL"
        )));
    }
    let ends_with_a_word = header("transfer-encoding").is_some_and(|encoding| encoding.contains("chunked"));
    if size.is_none() && !ends_with_a_word && !file.has_checksum() {
        return Ok(Outcome::Refused(
            "neither the server nor the manifest says how long the file is, and no checksum would tell it from the beginning \
             of one: use --from DIR"
                .into(),
        ));
    }
    // Only now: what there was must outlive the answer of a login page.
    if first < part.len() {
        part.restart()?;
    }
    if first == 0 {
        // A weak tag (`W/"…"`) may stand for other bytes.
        *version = header("etag").filter(|tag| tag.starts_with('"'));
    }
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        progress(Progress { file, done: part.len(), size });
        match body.read(&mut buffer) {
            Ok(0) if size.is_none_or(|size| part.len() == size) => return Ok(Outcome::Complete),
            Ok(0) => return Ok(Outcome::Interrupted("the connection ended early".into())),
            Ok(read) if size.is_some_and(|size| part.len() + read as u64 > size) => {
                part.restart()?;
                let (whose, size) = (if file.bytes.is_some() { "manifest's" } else { "announced" }, size.unwrap_or(0));
                return Ok(Outcome::Refused(format!("the server sends more than the {whose} {size} bytes")));
            }
            Ok(read) => part.append(&buffer[..read])?,
            Err(error) => return Ok(Outcome::Interrupted(error.to_string())),
        }
    }
}

/// The first position of `bytes 5-9/10`.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// The size of the whole file of `bytes 5-9/10` or `bytes */10`.
fn total(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.rsplit_once('/')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked_without_a_proxy() {
        for url in ["http://127.0.0.1:80/a", "http://localhost/a", "http://[::1]:8080/a"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["https://example.org/localhost", "http://127.0.0.1.example.org/a", "no address"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
