//! Something between a PostgreSQL server and its clients that cuts connections, and sends clients to another server.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Which of two sides a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The client: a message that is cut off never reaches the server.
    Client,
    /// The server: it did what it was asked, and the client does not learn of it.
    Server,
}

/// What a connection is cut in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A transaction: the client's message 0 is its `BEGIN`.
    Transaction,
    /// A statement outside of a transaction whose text begins so: the client's message 0 binds its parameters.
    Statement(&'static str),
}

/// Where a connection is cut: instead of passing message number `message` (from 0) of one side on. The server's message 0 is
/// the first answer to the client's message 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// What is cut.
    pub of: Of,
    /// The side whose messages count.
    pub from: From,
    /// How many of them pass.
    pub message: usize,
}

/// A proxy in front of a PostgreSQL server on this machine.
#[derive(Debug)]
pub struct PostgresProxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: AtomicU16,
    ended: AtomicBool,
    armed: Mutex<Option<Cut>>,
    /// Both ends of every connection that was ever made.
    connections: Mutex<Vec<[TcpStream; 2]>>,
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct Progress {
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

impl Progress {
    fn begin(&mut self, under_way: UnderWay) {
        (self.under_way, self.from_client, self.from_server) = (Some(under_way), 0, 0);
    }

    /// Takes in what the client says.
    fn note(&mut self, message: &[u8]) {
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

/// A string of the protocol, which ends with a zero, and what follows.
fn string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).expect("a string ends");
    (&bytes[..end], &bytes[end + 1..])
}

impl PostgresProxy {
    /// A proxy on a port of its own in front of the server at `url`.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn in_front_of(url: &str) -> Self {
        let port = crate::free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        let shared = Arc::new(Shared {
            target: AtomicU16::new(port_of(url)),
            ended: AtomicBool::new(false),
            armed: Mutex::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    // A server that is away is a connection that is closed at once.
                    let _ = connect(&accepting, client);
                }
            }
        });
        Self { port, shared }
    }

    /// The address of the same database through the proxy.
    pub fn through(&self, url: &str) -> String {
        url.replace(&format!(":{}/", port_of(url)), &format!(":{}/", self.port))
    }

    /// Sends clients to the server at `url` from now on, and cuts all connections to the one before.
    pub fn fail_over_to(&self, url: &str) {
        self.shared.target.store(port_of(url), Ordering::SeqCst);
        self.cut_all();
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        for ends in lock(&self.shared.connections).drain(..) {
            close(&ends);
        }
    }

    /// Cuts the next connection that gets so far.
    pub fn arm(&self, cut: Cut) {
        *lock(&self.shared.armed) = Some(cut);
    }

    /// Takes back what was armed; whether it was still waiting.
    pub fn disarm(&self) -> bool {
        lock(&self.shared.armed).take().is_some()
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, shared.target.load(Ordering::SeqCst)));
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    lock(&shared.connections).push([client.try_clone()?, server.try_clone()?]);
    let progress = Arc::new(Mutex::new(Progress::default()));
    for from in [From::Client, From::Server] {
        let ends = match from {
            From::Client => [client.try_clone()?, server.try_clone()?],
            From::Server => [server.try_clone()?, client.try_clone()?],
        };
        let (shared, progress) = (Arc::clone(shared), Arc::clone(&progress));
        thread::spawn(move || {
            let _ = pass(&shared, &progress, from, &ends);
            close(&ends);
        });
    }
    Ok(())
}

/// Passes the messages of one side on until the connection ends or is cut.
fn pass(shared: &Shared, progress: &Mutex<Progress>, from: From, ends: &[TcpStream; 2]) -> io::Result<()> {
    let (mut reader, mut writer) = (&ends[0], &ends[1]);
    // What comes before messages with a type: whether to encrypt, answered by one byte, and the start.
    if from == From::Client {
        let first = untyped(&mut reader)?;
        writer.write_all(&first)?;
        if first.len() == 8 {
            writer.write_all(&untyped(&mut reader)?)?;
        }
    } else {
        let mut refusal = [0];
        reader.read_exact(&mut refusal)?;
        writer.write_all(&refusal)?;
        if refusal != *b"N" {
            // The client did not ask: it was the first byte of a message.
            let rest = untyped(&mut reader)?;
            writer.write_all(&rest)?;
        }
    }
    loop {
        let message = typed(&mut reader)?;
        if shared.is_cut(&mut lock(progress), from, &message) {
            return Ok(());
        }
        writer.write_all(&message)?;
    }
}

impl Shared {
    /// Counts a message; whether the connection is to be cut instead of passing it on.
    fn is_cut(&self, progress: &mut Progress, from: From, message: &[u8]) -> bool {
        if from == From::Client {
            progress.note(message);
        }
        if progress.under_way.is_none() {
            return false;
        }
        let count = match from {
            From::Client => &mut progress.from_client,
            From::Server => &mut progress.from_server,
        };
        let number = *count;
        *count += 1;
        let mut armed = lock(&self.armed);
        let now = armed.take_if(|cut| progress.is_of(cut.of) && (cut.from, cut.message) == (from, number)).is_some();
        // Ready for a query, and in no transaction.
        if from == From::Server && message == b"Z\0\0\0\x05I" {
            progress.under_way = None;
        }
        now
    }
}

/// A message that is its length and what follows.
fn untyped(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 4];
    reader.read_exact(&mut message)?;
    rest(reader, message, 0)
}

/// A message that is its type, its length and what follows.
fn typed(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    reader.read_exact(&mut message)?;
    rest(reader, message, 1)
}

/// Reads what is missing of a message whose length, itself included, is at `at`.
fn rest(reader: &mut impl Read, mut message: Vec<u8>, at: usize) -> io::Result<Vec<u8>> {
    let length = u32::from_be_bytes(message[at..at + 4].try_into().expect("four bytes")) as usize;
    let begun = message.len();
    message.resize(length + at, 0);
    reader.read_exact(&mut message[begun..])?;
    Ok(message)
}

fn close(ends: &[TcpStream; 2]) {
    for end in ends {
        let _ = end.shutdown(Shutdown::Both);
    }
}

/// The port in `postgres://user@127.0.0.1:PORT/name`.
fn port_of(url: &str) -> u16 {
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("{url} names no port"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
