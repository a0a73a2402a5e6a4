//! A minimal HTTP client for services on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Sends `GET path` to the server at `address`. Returns status and body, or `None` if it does not answer.
pub fn http_get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    exchange(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"))
}

/// Sends `POST path` with a JSON body, as [`http_get`].
pub fn http_post(address: SocketAddr, path: &str, json: &str) -> Option<(u16, String)> {
    let length = json.len();
    let head = format!("Host: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    exchange(address, &format!("POST {path} HTTP/1.0\r\n{head}{json}"))
}

fn exchange(address: SocketAddr, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    // In HTTP/1.0 the body ends with the connection.
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
