//! Something between a server and its clients that cuts connections, holds messages back, and sends clients to another
//! server.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Which of two sides a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client: a message that is cut off never reaches the server.
    Client,
    /// The server: it did what it was asked, and the client does not learn of it.
    Server,
}

/// What becomes of a message, and of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Passed,
    /// The connection is cut instead.
    Cut,
    /// It is held back, and all that follows on this side; the connection stays.
    Held,
}

/// What is known of one connection, by the messages on it.
pub trait Protocol: Debug + Default + Send + 'static {
    /// Which message is not passed on.
    type Cut: Debug + Send + 'static;

    /// Passes on what comes before the messages.
    ///
    /// # Errors
    /// When the connection ends.
    fn open(from: Side, reader: &mut impl Read, writer: &mut impl Write) -> io::Result<()>;

    /// Reads a message.
    ///
    /// # Errors
    /// When the connection ends.
    fn read(reader: &mut impl Read) -> io::Result<Vec<u8>>;

    /// Takes in a message, and what is armed if that is for it.
    fn note(&mut self, from: Side, message: &[u8], armed: &mut Option<Self::Cut>) -> Fate;
}

/// A proxy in front of a server on this machine.
#[derive(Debug)]
pub struct Proxy<P: Protocol> {
    port: u16,
    shared: Arc<Shared<P>>,
}

#[derive(Debug)]
struct Shared<P: Protocol> {
    target: AtomicU16,
    ended: AtomicBool,
    armed: Mutex<Option<P::Cut>>,
    /// Both ends of every connection that was ever made.
    connections: Mutex<Vec<[TcpStream; 2]>>,
}

impl<P: Protocol> Proxy<P> {
    /// A proxy on a port of its own in front of the server at a port.
    ///
    /// # Panics
    /// When no port can be had.
    pub(crate) fn to(target: u16) -> Self {
        let port = crate::free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        let shared = Arc::new(Shared {
            target: AtomicU16::new(target),
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

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sends clients to another server from now on, and cuts all connections to the one before.
    pub(crate) fn fail_over(&self, target: u16) {
        self.shared.target.store(target, Ordering::SeqCst);
        self.cut_all();
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        for ends in lock(&self.shared.connections).drain(..) {
            close(&ends);
        }
    }

    /// Lets the next message for which `cut` is have its fate.
    pub fn arm(&self, cut: P::Cut) {
        *lock(&self.shared.armed) = Some(cut);
    }

    /// Whether what was armed still waits.
    pub fn is_armed(&self) -> bool {
        lock(&self.shared.armed).is_some()
    }

    /// Takes back what was armed; whether it was still waiting.
    pub fn disarm(&self) -> bool {
        lock(&self.shared.armed).take().is_some()
    }
}

impl<P: Protocol> Drop for Proxy<P> {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn connect<P: Protocol>(shared: &Arc<Shared<P>>, client: TcpStream) -> io::Result<()> {
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, shared.target.load(Ordering::SeqCst)));
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    lock(&shared.connections).push([client.try_clone()?, server.try_clone()?]);
    let protocol = Arc::new(Mutex::new(P::default()));
    for from in [Side::Client, Side::Server] {
        let ends = match from {
            Side::Client => [client.try_clone()?, server.try_clone()?],
            Side::Server => [server.try_clone()?, client.try_clone()?],
        };
        let (shared, protocol) = (Arc::clone(shared), Arc::clone(&protocol));
        thread::spawn(move || {
            if !matches!(pass(&shared, &protocol, from, &ends), Ok(Fate::Held)) {
                close(&ends);
            }
        });
    }
    Ok(())
}

/// Passes the messages of one side on until the connection ends, is cut, or one is held back.
fn pass<P: Protocol>(shared: &Shared<P>, protocol: &Mutex<P>, from: Side, ends: &[TcpStream; 2]) -> io::Result<Fate> {
    let (mut reader, mut writer) = (&ends[0], &ends[1]);
    P::open(from, &mut reader, &mut writer)?;
    loop {
        let message = P::read(&mut reader)?;
        let fate = lock(protocol).note(from, &message, &mut lock(&shared.armed));
        if fate != Fate::Passed {
            return Ok(fate);
        }
        writer.write_all(&message)?;
    }
}

/// Reads what is missing of a message that is so long.
pub(crate) fn complete(reader: &mut impl Read, mut message: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    let begun = message.len();
    message.resize(length, 0);
    reader.read_exact(&mut message[begun..])?;
    Ok(message)
}

/// A length as protocols write it.
///
/// # Panics
/// When it is not of four bytes.
pub(crate) fn length(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes.try_into().expect("four bytes")) as usize
}

fn close(ends: &[TcpStream; 2]) {
    for end in ends {
        let _ = end.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
