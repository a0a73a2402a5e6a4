//! Loopback ports for servers that keep their port over a restart.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

/// Below the kernel's ephemeral ports. Otherwise an outgoing connection could take a server's port while the server is
/// down.
const RANGE: Range<u16> = 12_000..32_000;

/// A free TCP port on 127.0.0.1. No two calls return the same port, in all running test programs.
///
/// # Panics
/// When the whole range is in use.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let width = RANGE.end - RANGE.start;
    // Test programs that run at the same time begin far apart.
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

/// Reserves the port until this process ends, so that no other test program takes it while its server is down. Only one
/// process can bind the name.
fn reserve(port: u16) -> bool {
    static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let name = SocketAddr::from_abstract_name(format!("streamseal-tests-port-{port}")).expect("a short name");
    let Ok(reserved) = UnixListener::bind_addr(&name) else { return false };
    RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(reserved);
    true
}
