//! A network between an end and its PostgreSQL server that fails when a test says so.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contraflow_engine::tasks::{Stop, TaskSet};

/// Bytes carried at a time.
const BYTES: usize = 1 << 16;

/// What becomes of a connection when something is said on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is closed, and what was said never reaches the server.
    Question,
    /// It is closed when the server says the same in answer: `COMMIT` is answered by `COMMIT`.
    Answer,
    /// What was said reaches the server and nothing is carried any more; it stays open.
    Silence,
}

/// Listens on a port of this machine and carries every connection to the socket of a server.
pub struct Proxy {
    port: u16,
    network: Arc<Network>,
    /// Last: its threads end when their sockets do.
    tasks: TaskSet,
}

/// What all connections of a proxy share.
struct Network {
    server: PathBuf,
    /// The next connection that says this is cut.
    cut: Mutex<Option<Met>>,
    cuts: AtomicU64,
    /// Nothing gets through, and nobody is told.
    opened: AtomicU64,
    swallows: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<Connection>>,
}

/// The two sockets of a connection.
struct Connection {
    client: TcpStream,
    server: UnixStream,
    /// What was said on it, and what becomes of it.
    fate: Arc<Mutex<Option<Met>>>,
}

/// What is said, and what becomes of the connection then.
type Met = (Vec<u8>, Cut);

/// What becomes of a part of what is said.
enum Passage {
    Carried,
    Swallowed,
    /// The connection ends before it.
    End,
}

impl Proxy {
    /// A proxy before the server whose socket lies here.
    ///
    /// # Panics
    /// When the system has no port or thread left.
    #[must_use]
    pub fn before(server: &Path) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let network = Arc::new(Network {
            server: server.to_owned(),
            cut: Mutex::default(),
            cuts: AtomicU64::default(),
            opened: AtomicU64::default(),
            swallows: AtomicBool::default(),
            ended: AtomicBool::default(),
            open: Mutex::default(),
        });
        let mut tasks = TaskSet::default();
        let accepting = Arc::clone(&network);
        tasks
            .spawn("proxy", move |_| accepting.accept(&listener))
            .expect("a thread");
        Proxy {
            port,
            network,
            tasks,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the next connection on which a client says `said`.
    pub fn cut_at(&self, said: &[u8], cut: Cut) {
        *lock(&self.network.cut) = Some((said.to_owned(), cut));
    }

    /// How many connections were closed so far because of what was said.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.network.cuts.load(Ordering::SeqCst)
    }

    /// How many connections were opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.network.opened.load(Ordering::SeqCst)
    }

    /// Swallows everything from now on; every socket stays open.
    pub fn swallow(&self) {
        self.network.swallows.store(true, Ordering::SeqCst);
    }

    /// Carries what comes from now on. What was swallowed is lost, and who missed it is cut.
    pub fn heal(&self) {
        self.network.cut_all();
        self.network.swallows.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.ended.store(true, Ordering::SeqCst);
        self.network.cut_all();
        // The listener wakes up, sees that it is over and ends.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.tasks.join();
    }
}

impl Network {
    /// Carries connections until the proxy ends, and waits for the last of them.
    fn accept(self: &Arc<Network>, listener: &TcpListener) {
        let mut tasks = TaskSet::new(Stop::default());
        for client in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                break;
            }
            let open = |client| Connection::open(client, &self.server);
            let Ok(connection) = client.and_then(open) else {
                continue;
            };
            let (asking, answering) = (connection.again(), connection.again());
            let (network, other) = (Arc::clone(self), Arc::clone(self));
            tasks
                .spawn("questions", move |_| network.questions(&asking))
                .expect("a thread");
            tasks
                .spawn("answers", move |_| other.answers(&answering))
                .expect("a thread");
            lock(&self.open).push(connection);
            self.opened.fetch_add(1, Ordering::SeqCst);
        }
        self.cut_all();
    }

    fn cut_all(&self) {
        for connection in lock(&self.open).drain(..) {
            connection.end();
        }
    }

    fn questions(&self, connection: &Connection) {
        carry(&connection.client, &connection.server, |bytes| {
            let mut wanted = lock(&self.cut);
            match wanted.take_if(|(said, _)| holds(bytes, said)) {
                Some((_, Cut::Question)) => self.ended(),
                Some(met) => {
                    *lock(&connection.fate) = Some(met);
                    Passage::Carried
                }
                None => self.swallowed(connection),
            }
        });
        self.ends(connection);
    }

    fn answers(&self, connection: &Connection) {
        carry(&connection.server, &connection.client, |bytes| {
            let fate = lock(&connection.fate).clone();
            match fate {
                Some((said, Cut::Answer)) if holds(bytes, &said) => self.ended(),
                _ => self.swallowed(connection),
            }
        });
        self.ends(connection);
    }

    fn ended(&self) -> Passage {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        Passage::End
    }

    fn swallowed(&self, connection: &Connection) -> Passage {
        let silent = matches!(&*lock(&connection.fate), Some((_, Cut::Silence)));
        match silent || self.swallows.load(Ordering::SeqCst) {
            true => Passage::Swallowed,
            false => Passage::Carried,
        }
    }

    /// A socket was closed, or is to be; where nothing gets through, nobody hears of it.
    fn ends(&self, connection: &Connection) {
        if matches!(self.swallowed(connection), Passage::Carried) {
            connection.end();
        }
    }
}

/// Whether something is said, in whatever case.
fn holds(bytes: &[u8], said: &[u8]) -> bool {
    let mut parts = bytes.windows(said.len());
    parts.any(|part| part.eq_ignore_ascii_case(said))
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries bytes until one of the sockets ends.
fn carry(mut from: impl Read, mut to: impl Write, passage: impl Fn(&[u8]) -> Passage) {
    let mut buffer = vec![0; BYTES];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            _ => return,
        };
        match passage(&buffer[..count]) {
            Passage::Carried if to.write_all(&buffer[..count]).is_err() => return,
            Passage::Carried | Passage::Swallowed => {}
            Passage::End => return,
        }
    }
}

impl Connection {
    fn open(client: TcpStream, server: &Path) -> std::io::Result<Connection> {
        client.set_nodelay(true)?;
        Ok(Connection {
            client,
            server: UnixStream::connect(server)?,
            fate: Arc::default(),
        })
    }

    /// The same sockets for another thread.
    fn again(&self) -> Connection {
        Connection {
            client: self.client.try_clone().expect("a descriptor is left"),
            server: self.server.try_clone().expect("a descriptor is left"),
            fate: Arc::clone(&self.fate),
        }
    }

    fn end(&self) {
        // One that has ended already cannot end again.
        drop(self.client.shutdown(Shutdown::Both));
        drop(self.server.shutdown(Shutdown::Both));
    }
}
