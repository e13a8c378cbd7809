//! The server's end of a download: a connection, what it asks for, and the head of the answer.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A listener on a free port of this machine, and its address.
pub(crate) fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// The next connection, within seconds: a client that does not come must fail the test, not hang it.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let deadline = Instant::now() + Duration::from_secs(10);
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                return stream;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(Instant::now() < deadline, "nobody asked the server");
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads a request for `path`: its lines in lower case.
pub(crate) fn request(stream: &TcpStream, path: &str) -> Vec<String> {
    let lines: Vec<String> = BufReader::new(stream)
        .lines()
        .map(|line| line.unwrap().to_lowercase())
        .take_while(|line| !line.is_empty())
        .collect();
    assert!(lines[0].starts_with(&format!("get {path} ")), "{}", lines[0]);
    lines
}

/// The first byte that a request asks for, none if it asks for all.
pub(crate) fn first_byte(request: &[String]) -> Option<usize> {
    request.iter().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok())
}

/// Reads a request for `path`: the first byte that it asks for, none if it asks for all.
pub(crate) fn asked(stream: &TcpStream, path: &str) -> Option<usize> {
    first_byte(&request(stream, path))
}

/// The status of the answer that gives what was `asked` for of `size` bytes, and the head's line that says which.
pub(crate) fn ranged(asked: Option<usize>, size: usize) -> (&'static str, String) {
    match asked {
        Some(first) => ("206 Partial Content", format!("content-range: bytes {first}-{}/{size}\r\n", size - 1)),
        None => ("200 OK", String::new()),
    }
}

/// Writes the head of an answer; `announced` bytes are said to follow.
pub(crate) fn head(stream: &mut TcpStream, (status, range): &(&str, String), announced: Option<usize>) {
    let length = announced.map_or(String::new(), |bytes| format!("content-length: {bytes}\r\n"));
    write!(stream, "HTTP/1.1 {status}\r\n{length}{range}connection: close\r\n\r\n").unwrap();
}
