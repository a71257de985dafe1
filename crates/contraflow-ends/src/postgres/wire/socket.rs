//! The bytes of a connection, over TCP or a socket of the machine.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use contraflow_core::error::{Error, Result};
use postgres::config::Host;
use socket2::{SockRef, TcpKeepalive};
use tokio_postgres::Config;

use crate::postgres::connection::{SILENCE_MAX, lost};

pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Connects to the first address that answers. What is sent must be taken within `patience`.
    pub(super) fn open(config: &Config, patience: Duration) -> Result<Socket> {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        match config.get_hosts().first() {
            #[cfg(unix)]
            Some(Host::Unix(folder)) => {
                let socket = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")));
                let socket = socket.map_err(failed)?;
                socket.set_write_timeout(Some(patience)).map_err(failed)?;
                Ok(Socket::Unix(socket))
            }
            host => {
                let name = match host {
                    Some(Host::Tcp(name)) => name.as_str(),
                    _ => "localhost",
                };
                let timeout = config.get_connect_timeout().copied().unwrap_or(patience);
                let mut last = None;
                for address in (name, port).to_socket_addrs().map_err(failed)? {
                    match TcpStream::connect_timeout(&address, timeout) {
                        Ok(socket) => {
                            tune(&socket, patience).map_err(failed)?;
                            return Ok(Socket::Tcp(socket));
                        }
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.map_or_else(|| lost("the host has no address"), failed))
            }
        }
    }

    pub(super) fn set_read_timeout(&self, wait: Duration) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_read_timeout(Some(wait)),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.set_read_timeout(Some(wait)),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.read(buffer),
        }
    }

    pub(super) fn write_all(&mut self, packet: &[u8]) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.write_all(packet),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.write_all(packet),
        }
    }
}

/// A server that is gone without a word is noticed while nothing is sent either.
fn tune(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(patience))?;
    let keepalive = TcpKeepalive::new()
        .with_time(SILENCE_MAX)
        .with_interval(SILENCE_MAX / 3);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn failed(error: io::Error) -> Error {
    lost(&error.to_string())
}
