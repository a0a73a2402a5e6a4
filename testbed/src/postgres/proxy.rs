//! PostgreSQL's protocol, for a proxy that cuts connections inside a transaction or statement.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use crate::proxy::{Fate, Protocol, Proxy, Side, complete, length};

/// A proxy in front of a PostgreSQL server on this machine.
pub type PostgresProxy = Proxy<Connection>;

/// What a connection is cut inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A transaction. The client's message 0 is its `BEGIN`.
    Transaction,
    /// A statement outside of a transaction, by the beginning of its text. The client's message 0 binds its parameters.
    Statement(&'static str),
}

/// The place of a cut: message number `message` (from 0) of one side is not passed on. The server's message 0 is the
/// first answer to the client's message 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The transaction or statement to cut.
    pub of: Of,
    /// The side whose messages count.
    pub from: Side,
    /// The number of messages that pass before the cut.
    pub message: usize,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// The texts of prepared statements, by their names.
    prepared: HashMap<Vec<u8>, Vec<u8>>,
    under_way: Option<UnderWay>,
    from_client: usize,
    from_server: usize,
}

#[derive(Debug)]
enum UnderWay {
    Transaction,
    /// Its text.
    Statement(Vec<u8>),
}

impl PostgresProxy {
    /// A proxy on its own port, in front of the server at `url`.
    ///
    /// # Panics
    /// When no port is free.
    pub fn in_front_of(url: &str) -> Self {
        Self::to(port_of(url))
    }

    /// The URL of the same database through the proxy.
    pub fn through(&self, url: &str) -> String {
        url.replace(&format!(":{}/", port_of(url)), &format!(":{}/", self.port()))
    }

    /// Cuts all connections and sends clients to the server at `url` from now on.
    pub fn fail_over_to(&self, url: &str) {
        self.fail_over(port_of(url));
    }
}

impl Connection {
    fn begin(&mut self, under_way: UnderWay) {
        (self.under_way, self.from_client, self.from_server) = (Some(under_way), 0, 0);
    }

    /// Updates the state with a message of the client.
    fn note_client(&mut self, message: &[u8]) {
        match (message[0], &message[5..]) {
            (b'Q', text) if text.starts_with(b"BEGIN") => self.begin(UnderWay::Transaction),
            (b'P', rest) => {
                let (name, rest) = string(rest);
                self.prepared.insert(name.to_vec(), string(rest).0.to_vec());
            }
            (b'B', rest) if self.under_way.is_none() => {
                let (_portal, rest) = string(rest);
                let text = self.prepared.get(string(rest).0).cloned().unwrap_or_default();
                self.begin(UnderWay::Statement(text));
            }
            _ => {}
        }
    }

    fn is_of(&self, of: Of) -> bool {
        match (&self.under_way, of) {
            (Some(UnderWay::Transaction), Of::Transaction) => true,
            (Some(UnderWay::Statement(text)), Of::Statement(begins)) => text.starts_with(begins.as_bytes()),
            _ => false,
        }
    }
}

impl Protocol for Connection {
    type Cut = Cut;

    /// The request for encryption, answered by one byte, and the startup message.
    fn open(from: Side, reader: &mut impl Read, writer: &mut impl Write) -> io::Result<()> {
        if from == Side::Client {
            let first = untyped(reader)?;
            writer.write_all(&first)?;
            if first.len() == 8 {
                writer.write_all(&untyped(reader)?)?;
            }
        } else {
            let mut refusal = [0];
            reader.read_exact(&mut refusal)?;
            writer.write_all(&refusal)?;
            if refusal != *b"N" {
                // The client did not ask for encryption: this is the first byte of a message.
                writer.write_all(&untyped(reader)?)?;
            }
        }
        Ok(())
    }

    fn read(reader: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut message = vec![0; 5];
        reader.read_exact(&mut message)?;
        let length = 1 + length(&message[1..]);
        complete(reader, message, length)
    }

    fn note(&mut self, from: Side, message: &[u8], armed: &mut Option<Cut>) -> Fate {
        if from == Side::Client {
            self.note_client(message);
        }
        if self.under_way.is_none() {
            return Fate::Passed;
        }
        let count = match from {
            Side::Client => &mut self.from_client,
            Side::Server => &mut self.from_server,
        };
        let number = *count;
        *count += 1;
        let cut = armed.take_if(|cut| self.is_of(cut.of) && (cut.from, cut.message) == (from, number));
        // ReadyForQuery, outside of a transaction.
        if from == Side::Server && message == b"Z\0\0\0\x05I" {
            self.under_way = None;
        }
        if cut.is_some() { Fate::Cut } else { Fate::Passed }
    }
}

/// Reads a message: its length, which counts itself, and the rest.
fn untyped(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 4];
    reader.read_exact(&mut message)?;
    let length = length(&message);
    complete(reader, message, length)
}

/// Splits a zero-terminated string from the bytes after it.
fn string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).expect("a string ends");
    (&bytes[..end], &bytes[end + 1..])
}

/// The port in `postgres://user@127.0.0.1:PORT/name`.
fn port_of(url: &str) -> u16 {
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("{url} names no port"))
}
