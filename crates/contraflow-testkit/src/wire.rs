//! A network before a Kafka that knows questions from answers, and holds back what a test says.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use contraflow_engine::tasks::{Stop, TaskSet};

/// Records, as Kafka numbers its questions.
pub const PRODUCE: i16 = 0;
/// The end of a transaction.
pub const END_TXN: i16 = 26;

/// What is known of topics.
pub const METADATA: i16 = 3;
/// Which kinds of questions a broker knows.
const API_VERSIONS: i16 = 18;

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut, and the broker never hears of it.
    CutBefore,
    /// The broker does what it is asked, and the connection is cut instead of its answer.
    CutAfter,
    /// It stays in the network until it is let go, whoever lives or dies meanwhile.
    Late,
    /// A bit of the records in it is turned over: the broker refuses it, and takes the next one.
    Garbled,
}

/// How far before its end a question has a record: behind it stands less than this.
const RECORD_BEFORE_END: usize = 8;

/// Listens on a port of this machine and carries every connection to a broker.
pub struct Wire {
    port: u16,
    shared: Arc<Shared>,
    /// Last: its threads end when their sockets do.
    tasks: TaskSet,
}

#[derive(Default)]
struct Shared {
    /// The broker's own port.
    broker: AtomicU16,
    faults: Mutex<Vec<Meets>>,
    /// The newest versions of kinds of questions that a broker owns up to.
    knows: Mutex<Vec<(i16, i16)>>,
    changed: Condvar,
    ended: AtomicBool,
    /// Nothing gets through.
    cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// A fault, and how far it has come.
struct Meets {
    api: i16,
    said: String,
    fault: Fault,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    /// The question has met it.
    Met,
    /// A late question may go.
    Released,
    /// The broker has answered a late question with this error, 0 for none.
    Answered(i16),
}

impl Wire {
    /// A network whose broker is named later: it must be told where it can be reached.
    ///
    /// # Panics
    /// When the system has no port or thread left.
    #[must_use]
    pub fn listen() -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let mut tasks = TaskSet::default();
        let accepting = Arc::clone(&shared);
        tasks
            .spawn("wire", move |_| accepting.accept(&listener))
            .expect("a thread");
        Wire {
            port,
            shared,
            tasks,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Names the port of the broker.
    pub fn leads_to(&self, port: u16) {
        self.shared.broker.store(port, Ordering::SeqCst);
    }

    /// The next question of this kind in which something is said meets a fault.
    pub fn meets(&self, api: i16, said: &str, fault: Fault) {
        self.shared.faults().push(Meets {
            api,
            said: said.to_owned(),
            fault,
            state: State::Waits,
        });
    }

    /// From now on a broker says of this kind of questions that it knows none newer than this.
    pub fn knows(&self, api: i16, newest: i16) {
        lock(&self.shared.knows).push((api, newest));
    }

    /// Cuts every connection, and lets none be made until it is mended.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.shut();
    }

    /// Lets connections be made again.
    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }

    /// Whether a question has met its fault.
    #[must_use]
    pub fn has_met(&self, said: &str) -> bool {
        let state = self.shared.state(said);
        state.is_some_and(|state| state != State::Waits)
    }

    /// Lets a late question go, and says with which error the broker answers it: 0 for none.
    ///
    /// # Panics
    /// When nothing met such a fault.
    #[must_use]
    pub fn release(&self, said: &str) -> i16 {
        assert!(self.has_met(said), "nothing is late");
        self.shared.set(said, State::Released);
        let mut faults = self.shared.faults();
        loop {
            let found = faults.iter().find(|meets| meets.said == said);
            match found.map(|meets| meets.state) {
                Some(State::Answered(error)) => return error,
                _ => faults = wait(&self.shared.changed, faults),
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let faults = self.shared.faults();
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        drop(faults);
        self.shared.shut();
        // The listener wakes up, sees that it is over and ends.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.tasks.join();
    }
}

/// One connection, as both of its threads see it.
struct Connection {
    client: TcpStream,
    broker: TcpStream,
    marked: Mutex<Option<Marked>>,
    /// The number of the question what the broker knows.
    versions: Mutex<Option<i32>>,
}

/// A question that met a fault.
#[derive(Clone)]
struct Marked {
    number: i32,
    /// Where an error stands in its answer.
    error_at: usize,
    said: String,
    fault: Fault,
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Vec<Meets>> {
        lock(&self.faults)
    }

    fn state(&self, said: &str) -> Option<State> {
        let faults = self.faults();
        let found = faults.iter().find(|meets| meets.said == said);
        found.map(|meets| meets.state)
    }

    fn set(&self, said: &str, state: State) {
        for meets in self.faults().iter_mut().filter(|meets| meets.said == said) {
            meets.state = state;
        }
        self.changed.notify_all();
    }

    fn accept(self: &Arc<Shared>, listener: &TcpListener) {
        let mut tasks = TaskSet::new(Stop::default());
        for client in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                break;
            }
            let Ok(connection) = client.and_then(|client| self.open(client)) else {
                continue;
            };
            if self.cut.load(Ordering::SeqCst) {
                connection.end();
            }
            let (asking, answering) = (Arc::clone(&connection), connection);
            let (questions, answers) = (Arc::clone(self), Arc::clone(self));
            tasks
                .spawn("questions", move |_| {
                    questions.questions(&asking);
                    asking.end();
                })
                .expect("a thread");
            tasks
                .spawn("answers", move |_| {
                    answers.answers(&answering);
                    answering.end();
                })
                .expect("a thread");
        }
        self.shut();
    }

    /// Ends every connection.
    fn shut(&self) {
        for socket in lock(&self.open).drain(..) {
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    fn open(&self, client: TcpStream) -> std::io::Result<Arc<Connection>> {
        let port = self.broker.load(Ordering::SeqCst);
        let broker = TcpStream::connect(("127.0.0.1", port))?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        lock(&self.open).extend([client.try_clone()?, broker.try_clone()?]);
        Ok(Arc::new(Connection {
            client,
            broker,
            marked: Mutex::default(),
            versions: Mutex::default(),
        }))
    }

    /// Carries questions: length, kind, version and number, then who asks and what.
    fn questions(&self, connection: &Connection) {
        let (mut from, mut to) = (&connection.client, &connection.broker);
        while let Some(mut frame) = frame(&mut from) {
            if short(&frame, 4) == Some(API_VERSIONS) {
                *lock(&connection.versions) = number(&frame, 8);
            }
            if let Some(marked) = self.met(&frame) {
                let answered = marked.fault == Fault::Garbled;
                *lock(&connection.marked) = (!answered).then(|| marked.clone());
                match marked.fault {
                    Fault::CutBefore => return,
                    Fault::CutAfter => {}
                    Fault::Late => self.until(&marked.said, |state| state != State::Met),
                    Fault::Garbled => {
                        let at = frame.len().saturating_sub(RECORD_BEFORE_END);
                        frame.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
                    }
                }
            }
            if to.write_all(&frame).is_err() {
                return;
            }
        }
        // Whoever asked is gone, and the broker answers what came late anyway.
        let marked = lock(&connection.marked).clone();
        if let Some(marked) = marked.filter(|marked| marked.fault == Fault::Late) {
            self.until(&marked.said, |state| matches!(state, State::Answered(_)));
        }
    }

    fn answers(&self, connection: &Connection) {
        let (mut from, mut to) = (&connection.broker, &connection.client);
        while let Some(mut frame) = frame(&mut from) {
            if *lock(&connection.versions) == number(&frame, 4) {
                self.make_older(&mut frame);
            }
            let marked = lock(&connection.marked).clone();
            let answered = marked.filter(|marked| number(&frame, 4) == Some(marked.number));
            match &answered {
                Some(marked) if marked.fault == Fault::Late => {
                    let error = short(&frame, marked.error_at).unwrap_or(-1);
                    self.set(&marked.said, State::Answered(error));
                }
                Some(_) => return,
                None => {}
            }
            if to.write_all(&frame).is_err() && lock(&connection.marked).is_none() {
                return;
            }
        }
    }

    fn met(&self, frame: &[u8]) -> Option<Marked> {
        let (api, version) = (short(frame, 4)?, short(frame, 6)?);
        let mut faults = self.faults();
        let meets = faults.iter_mut().find(|meets| {
            let mut parts = frame.windows(meets.said.len());
            let says = parts.any(|part| part == meets.said.as_bytes());
            meets.state == State::Waits && meets.api == api && says
        })?;
        meets.state = State::Met;
        Some(Marked {
            number: number(frame, 8)?,
            // Behind length, number and the time of a throttle; newer answers have a byte more.
            error_at: if version < 3 { 12 } else { 13 },
            said: meets.said.clone(),
            fault: meets.fault,
        })
    }

    /// Changes what a broker says that it knows: behind length, number, error and how many there
    /// are, each kind stands with its oldest and its newest version and a zero.
    fn make_older(&self, frame: &mut [u8]) {
        let known = frame.get_mut(11..).unwrap_or_default();
        for kind in known.chunks_exact_mut(7) {
            let of = |api: i16, newest: i16| (short(kind, 0) == Some(api)).then_some(newest);
            let knows = lock(&self.knows);
            let newest = knows.iter().find_map(|(api, newest)| of(*api, *newest));
            if let Some(newest) = newest {
                kind[4..6].copy_from_slice(&newest.to_be_bytes());
            }
        }
    }

    fn until(&self, said: &str, reached: impl Fn(State) -> bool) {
        let mut faults = self.faults();
        loop {
            let found = faults.iter().find(|meets| meets.said == said);
            let over = found.is_none_or(|meets| reached(meets.state));
            if over || self.ended.load(Ordering::SeqCst) {
                return;
            }
            faults = wait(&self.changed, faults);
        }
    }
}

impl Connection {
    fn end(&self) {
        drop(self.client.shutdown(Shutdown::Both));
        drop(self.broker.shutdown(Shutdown::Both));
    }
}

fn short(frame: &[u8], at: usize) -> Option<i16> {
    let bytes = frame.get(at..at + 2)?.try_into().ok()?;
    Some(i16::from_be_bytes(bytes))
}

fn number(frame: &[u8], at: usize) -> Option<i32> {
    let bytes = frame.get(at..at + 4)?.try_into().ok()?;
    Some(i32::from_be_bytes(bytes))
}

/// The next frame with its length; `None` at the end.
fn frame(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let count = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let mut frame = vec![0; 4 + count];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'g, T>(changed: &Condvar, held: MutexGuard<'g, T>) -> MutexGuard<'g, T> {
    changed.wait(held).unwrap_or_else(PoisonError::into_inner)
}
