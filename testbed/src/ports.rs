//! Loopback ports for servers that are told their port (and keep it over a restart).

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

/// Below the ports that the kernel hands to outgoing connections: one of those could otherwise take a server's port
/// while the server is down between two of its runs.
const RANGE: Range<u16> = 12_000..32_000;

/// A TCP port on 127.0.0.1 that nobody listens on and that no other call got, in this process or another that runs.
///
/// # Panics
/// When none of the range is free.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let width = RANGE.end - RANGE.start;
    // Test binaries that run at the same time start far from each other.
    let home = (process::id().wrapping_mul(257) % u32::from(width)) as u16;
    for _ in 0..width {
        let step = TAKEN.fetch_add(1, Ordering::Relaxed) % width;
        let port = RANGE.start + (home + step) % width;
        if reserve(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 in {RANGE:?}");
}

/// Takes a name for the port that only one process can have, and has until it ends: others that look for a port must not
/// take this one while its server is down.
fn reserve(port: u16) -> bool {
    static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let name = SocketAddr::from_abstract_name(format!("streamseal-tests-port-{port}")).expect("a short name");
    let Ok(reserved) = UnixListener::bind_addr(&name) else { return false };
    RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(reserved);
    true
}
