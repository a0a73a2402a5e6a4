//! A TCP proxy that cuts connections, holds messages back, or sends clients to another server.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The side that a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client. If its message is cut, the server never sees it.
    Client,
    /// The server. If its message is cut, the server has done the work and the client does not know.
    Server,
}

/// What the proxy does with a message and its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Passes the message on.
    Passed,
    /// Cuts the connection instead.
    Cut,
    /// Holds back the message and all that follow from this side. The connection stays open.
    Held,
}

/// The state of one connection, learnt from its messages.
pub trait Protocol: Debug + Default + Send + 'static {
    /// Selects the message that is not passed on.
    type Cut: Debug + Send + 'static;

    /// Passes on the bytes before the first message.
    ///
    /// # Errors
    /// When the connection ends.
    fn open(from: Side, reader: &mut impl Read, writer: &mut impl Write) -> io::Result<()>;

    /// Reads a message.
    ///
    /// # Errors
    /// When the connection ends.
    fn read(reader: &mut impl Read) -> io::Result<Vec<u8>>;

    /// Updates the state with a message. Takes the armed cut if it selects this message.
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
    /// Both ends of every connection so far.
    connections: Mutex<Vec<[TcpStream; 2]>>,
}

impl<P: Protocol> Proxy<P> {
    /// A proxy on its own port, in front of the server at `port`.
    ///
    /// # Panics
    /// When no port is free.
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
                    // Without a server, the proxy closes the connection at once.
                    let _ = connect(&accepting, client);
                }
            }
        });
        Self { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections and sends clients to another server from now on.
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

    /// Arms `cut` for the next message that it selects.
    pub fn arm(&self, cut: P::Cut) {
        *lock(&self.shared.armed) = Some(cut);
    }

    /// Whether the armed cut is still waiting.
    pub fn is_armed(&self) -> bool {
        lock(&self.shared.armed).is_some()
    }

    /// Disarms the cut. Returns whether it was still waiting.
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

/// Passes on the messages of one side until the connection ends, is cut, or a message is held back.
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

/// Reads the rest of a message of a known length.
pub(crate) fn complete(reader: &mut impl Read, mut message: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    let begun = message.len();
    message.resize(length, 0);
    reader.read_exact(&mut message[begun..])?;
    Ok(message)
}

/// Decodes a big-endian length.
///
/// # Panics
/// When there are not four bytes.
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
