//! How long a server may owe an answer.
//!
//! The driver waits for ever for a server that says nothing, and the limits of the system hold only
//! where packets are lost: behind a proxy, or before a server that was stopped, a connection stays
//! open. Many statements take long for good reasons, so time alone says nothing either. Whoever has
//! heard nothing for long asks, by another connection, whether the session is still at work.
//!
//! The driver leaves the stream below it to what makes TLS of it; this makes no TLS.

use std::future::{Future, Ready, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use postgres::NoTls;
use postgres::config::{Host, SslMode, SslNegotiation};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Connection, Error, Socket};

/// Answers that a session is not at work before it is given up: the first may have crossed with
/// what the session had to say.
pub(super) const IDLE_MAX: u32 = 2;

/// What the watch of a connection must know.
#[derive(Clone)]
pub(super) struct Patience {
    config: Config,
    limit: Duration,
    /// The process of the session at the server; 0 while it is being opened.
    process: Arc<AtomicI32>,
}

/// Opens a session whose silence is looked into.
pub(super) fn connect(config: &Config, limit: Duration) -> Result<postgres::Client, Error> {
    let hosts = config.get_hosts();
    let is_far = hosts.iter().all(|host| matches!(host, Host::Tcp(_)));
    if !is_far || config.get_ssl_mode() == SslMode::Require {
        return postgres::Config::from(config.clone()).connect(NoTls);
    }
    let patience = Patience {
        config: config.clone(),
        limit,
        process: Arc::default(),
    };
    let process = Arc::clone(&patience.process);
    let mut config = config.clone();
    config.ssl_mode(SslMode::Require);
    config.ssl_negotiation(SslNegotiation::Direct);
    let mut client = postgres::Config::from(config).connect(patience)?;
    let own = client.query_one("select pg_backend_pid()", &[])?;
    process.store(own.get(0), Ordering::SeqCst);
    Ok(client)
}

/// What another connection says of a session.
enum Found {
    AtWork,
    /// It waits for us, or is not there.
    Idle,
    Unreachable,
}

impl Patience {
    async fn look(self) -> Found {
        match timeout(self.limit, self.ask()).await {
            Ok(Ok(true)) => Found::AtWork,
            Ok(Ok(false)) => Found::Idle,
            // A server that refuses us is there: it may be full.
            Ok(Err(error)) if error.as_db_error().is_some() => Found::AtWork,
            Ok(Err(_)) | Err(_) => Found::Unreachable,
        }
    }

    async fn ask(&self) -> Result<bool, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        let process = self.process.load(Ordering::SeqCst);
        carried(connection, is_at_work(&client, process)).await
    }
}

/// Finds a session that works on what it was asked.
pub(super) const AT_WORK: &str = "select from pg_stat_activity where pid = $1 and state = 'active'
                 and wait_event_type is distinct from 'Client'";

async fn is_at_work(client: &Client, process: i32) -> Result<bool, Error> {
    let found = client.query_opt(AT_WORK, &[&process]).await?;
    Ok(found.is_some())
}

/// Waits for an answer and carries its connection meanwhile.
async fn carried<S, T, A>(connection: Connection<S, T>, answer: impl Future<Output = A>) -> A
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut connection, mut answer) = (pin!(connection), pin!(answer));
    let mut is_open = true;
    poll_fn(|cx| {
        // Where it ends, so does the answer.
        is_open = is_open && connection.as_mut().poll(cx).is_pending();
        answer.as_mut().poll(cx)
    })
    .await
}

impl MakeTlsConnect<Socket> for Patience {
    type Stream = Watched;
    type TlsConnect = Patience;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> io::Result<Patience> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for Patience {
    type Stream = Watched;
    type Error = io::Error;
    type Future = Ready<io::Result<Watched>>;

    fn connect(self, socket: Socket) -> Self::Future {
        ready(Ok(Watched {
            socket,
            heard: true,
            idle: 0,
            wait: Wait::Quiet(Box::pin(sleep(self.limit))),
            patience: self,
        }))
    }
}

/// The stream of a session.
pub(super) struct Watched {
    socket: Socket,
    patience: Patience,
    /// Something was said on it, by either side, since the watch was set.
    heard: bool,
    /// How often in a row the session was found idle.
    idle: u32,
    wait: Wait,
}

enum Wait {
    Quiet(Pin<Box<Sleep>>),
    Asking(Pin<Box<dyn Future<Output = Found> + Send>>),
    /// The session was given up.
    Over,
}

impl Watched {
    fn hear(&mut self) {
        (self.heard, self.idle) = (true, 0);
    }

    /// Nothing can be read now: ready when that has been so for too long.
    fn lose_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            self.wait = match &mut self.wait {
                Wait::Quiet(quiet) => {
                    ready!(quiet.as_mut().poll(cx));
                    if std::mem::take(&mut self.heard) {
                        Wait::Quiet(Box::pin(sleep(self.patience.limit)))
                    } else {
                        Wait::Asking(Box::pin(self.patience.clone().look()))
                    }
                }
                Wait::Asking(answer) => {
                    let found = ready!(answer.as_mut().poll(cx));
                    self.idle = match found {
                        Found::AtWork => 0,
                        Found::Idle => self.idle + 1,
                        Found::Unreachable => IDLE_MAX,
                    };
                    if self.idle < IDLE_MAX {
                        Wait::Quiet(Box::pin(sleep(self.patience.limit)))
                    } else {
                        Wait::Over
                    }
                }
                Wait::Over => {
                    let why = "the server owes an answer and does not say anything";
                    return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Pending => self.lose_patience(cx).map(Err),
            done => {
                self.hear();
                done
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if written.is_ready() {
            self.hear();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl TlsStream for Watched {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
