//! A connection of our own: start-up, sign-in, and what is asked of the server then.
//!
//! The released drivers have no replication mode, and read no rows in the spelling of their types.
//! This one blocks, belongs to one thread, and knows no more of the protocol than a feed and a
//! scan need.

use std::io::ErrorKind;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use tokio_postgres::Config;

use super::connection::{SESSION, SPELLING, Target, lost, of_state};

mod rows;
mod socket;

pub(super) use rows::{Found, fields, spelling};
use socket::Socket;

/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 196_608;
/// How long the server may take to answer during start-up and to accept what we send.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Bytes read from the socket at once.
const READ_BYTES: usize = 1 << 16;
/// The largest message we believe in: a row of PostgreSQL is smaller than 1 GiB.
const MESSAGE_MAX: usize = 1 << 31;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The log, as a walsender sends it.
    Feed,
    /// Rows.
    Scan,
}

/// A connection.
pub(super) struct Wire {
    target: Target,
    /// The process of the session at the server.
    process: i32,
    /// A commit is on its way.
    commits: bool,
    socket: Socket,
    buffer: Vec<u8>,
    /// What has been handed out of the buffer.
    from: usize,
    /// The last read took everything that lay in the socket.
    drained: bool,
    /// How long a read waits now, to spare the system call that says so.
    waits: Duration,
}

impl Wire {
    /// Connects and signs in to a database.
    pub(super) fn connect(target: &Target, purpose: Purpose) -> Result<Wire> {
        let config = target.config()?;
        let mut wire = Wire {
            target: target.clone(),
            process: 0,
            commits: false,
            socket: Socket::open(config, ANSWER_MAX)?,
            buffer: Vec::new(),
            from: 0,
            drained: true,
            waits: Duration::ZERO,
        };
        wire.wait_at_most(ANSWER_MAX)?;
        wire.start_up(config, purpose)?;
        wire.sign_in(config)?;
        loop {
            let (tag, body) = wire.answer()?;
            match (tag, body.first_chunk()) {
                (b'Z', _) => return Ok(wire),
                (b'E', _) => return Err(refusal(&body)),
                (b'K', Some(process)) => wire.process = i32::from_be_bytes(*process),
                _ => {}
            }
        }
    }

    /// Begins to stream what follows a place that the slot still has, values as texts or in the
    /// form of their types.
    pub(super) fn start(&mut self, slot: &str, lsn: &str, binary: bool) -> Result<()> {
        let query = format!(
            "START_REPLICATION SLOT {slot} LOGICAL {lsn} \
             (proto_version '1', publication_names '{slot}', messages 'true', binary '{binary}')"
        );
        let mut body = query.into_bytes();
        body.push(0);
        self.send(b'Q', &body)?;
        loop {
            let (tag, body) = self.answer()?;
            match tag {
                b'W' => return Ok(()),
                b'E' => return Err(refusal(&body)),
                _ => {}
            }
        }
    }

    /// The next message of the stream, waiting for it at most this long.
    pub(super) fn receive(&mut self, wait: Duration) -> Result<Option<&[u8]>> {
        loop {
            let Some((tag, start, end)) = self.frame()? else {
                if !self.fill(wait)? {
                    return Ok(None);
                }
                continue;
            };
            self.from = end;
            match tag {
                b'd' => return Ok(Some(&self.buffer[start..end])),
                b'E' => return Err(refusal(&self.buffer[start..end])),
                b'c' => return Err(lost("the server ended the stream")),
                _ => {}
            }
        }
    }

    /// Whether nothing whole is left of what has come.
    pub(super) fn is_drained(&self) -> Result<bool> {
        Ok(self.drained && self.frame()?.is_none())
    }

    /// Tells the server what was received and what it may forget.
    pub(super) fn report(&mut self, received: u64, flushed: u64, answer: bool) -> Result<()> {
        let mut body = vec![b'r'];
        for lsn in [received, flushed, flushed] {
            body.extend_from_slice(&lsn.to_be_bytes());
        }
        // The server shows our clock in a view and does nothing else with it.
        body.extend_from_slice(&0_i64.to_be_bytes());
        body.push(u8::from(answer));
        self.send(b'd', &body)
    }

    fn start_up(&mut self, config: &Config, purpose: Purpose) -> Result<()> {
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        let own = config.get_options().unwrap_or_default();
        let (replication, name, session) = match purpose {
            Purpose::Feed => ("database", "contraflow feed", ""),
            Purpose::Scan => ("false", "contraflow scan", SESSION),
        };
        let parameters = [
            ("user", config.get_user().unwrap_or("postgres")),
            ("database", config.get_dbname().unwrap_or("postgres")),
            ("replication", replication),
            ("client_encoding", "UTF8"),
            ("application_name", name),
            ("options", &format!("{own} {SPELLING} {session}")),
        ];
        for (name, value) in parameters {
            for text in [name, value] {
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
        }
        body.push(0);
        let length = i32::try_from(body.len() + 4).expect("a start-up packet is short");
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend_from_slice(&body);
        self.write(&packet)
    }

    fn sign_in(&mut self, config: &Config) -> Result<()> {
        let password = config.get_password().unwrap_or_default();
        loop {
            let (tag, body) = self.answer()?;
            if tag == b'E' {
                return Err(refusal(&body));
            }
            if tag != b'R' || body.len() < 4 {
                return Err(malformed());
            }
            let (kind, rest) = body.split_at(4);
            match i32::from_be_bytes(kind.try_into().map_err(|_| malformed())?) {
                0 => return Ok(()),
                3 => self.password(password)?,
                5 => {
                    let salt: [u8; 4] = rest.try_into().map_err(|_| malformed())?;
                    let user = config.get_user().unwrap_or("postgres");
                    let hash = md5_hash(user.as_bytes(), password, salt);
                    self.password(hash.as_bytes())?;
                }
                10 => self.scram(password)?,
                _ => {
                    let message = "the server asks for a way to sign in that we do not know";
                    return Err(
                        Error::new(Kind::Precondition, Code::END_UNREACHABLE, message)
                            .hint("Allow `scram-sha-256` for this user in `pg_hba.conf`."),
                    );
                }
            }
        }
    }

    fn password(&mut self, password: &[u8]) -> Result<()> {
        let mut body = password.to_vec();
        body.push(0);
        self.send(b'p', &body)
    }

    fn scram(&mut self, password: &[u8]) -> Result<()> {
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        let first = scram.message().to_vec();
        let mut body = SCRAM_SHA_256.as_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&i32::try_from(first.len()).unwrap_or_default().to_be_bytes());
        body.extend_from_slice(&first);
        self.send(b'p', &body)?;
        let challenge = self.sasl(11)?;
        scram.update(&challenge).map_err(|_| malformed())?;
        let reply = scram.message().to_vec();
        self.send(b'p', &reply)?;
        let proof = self.sasl(12)?;
        scram.finish(&proof).map_err(|_| malformed())
    }

    fn sasl(&mut self, wanted: i32) -> Result<Vec<u8>> {
        let (tag, body) = self.answer()?;
        match tag {
            b'R' if body.len() >= 4 && body[..4] == wanted.to_be_bytes() => Ok(body[4..].to_vec()),
            b'E' => Err(refusal(&body)),
            _ => Err(malformed()),
        }
    }

    /// The next message of start-up, whatever it is.
    fn answer(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            if let Some((tag, start, end)) = self.frame()? {
                self.from = end;
                return Ok((tag, self.buffer[start..end].to_vec()));
            }
            if !self.fill(ANSWER_MAX)? {
                return Err(lost("the server does not answer"));
            }
        }
    }

    /// The next whole message in the buffer: its tag and where its body lies.
    fn frame(&self) -> Result<Option<(u8, usize, usize)>> {
        let rest = &self.buffer[self.from..];
        let Some(head) = rest.get(..5) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(4..=MESSAGE_MAX).contains(&length) {
            return Err(malformed());
        }
        let end = length + 1;
        Ok((rest.len() >= end).then(|| (head[0], self.from + 5, self.from + end)))
    }

    /// Reads more. False when nothing came in time.
    fn fill(&mut self, wait: Duration) -> Result<bool> {
        self.wait_at_most(wait)?;
        self.buffer.drain(..self.from);
        self.from = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > 16 * READ_BYTES {
            // One huge row must not be paid for ever after.
            self.buffer = Vec::new();
        }
        let old = self.buffer.len();
        self.buffer.resize(old + READ_BYTES, 0);
        let read = self.socket.read(&mut self.buffer[old..]);
        let count = match &read {
            Ok(count) => *count,
            Err(_) => 0,
        };
        self.buffer.truncate(old + count);
        self.drained = count < READ_BYTES;
        match read {
            Ok(0) => Err(lost("the server closed the connection")),
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(false),
                _ => Err(lost(&error.to_string())),
            },
        }
    }

    fn send(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len() + 4).map_err(|_| malformed())?;
        let mut packet = Vec::with_capacity(body.len() + 5);
        packet.push(tag);
        packet.extend_from_slice(&length.to_be_bytes());
        packet.extend_from_slice(body);
        self.write(&packet)
    }

    fn write(&mut self, packet: &[u8]) -> Result<()> {
        let written = self.socket.write_all(packet);
        written.map_err(|error| lost(&error.to_string()))
    }

    fn wait_at_most(&mut self, wait: Duration) -> Result<()> {
        // Zero would mean for ever.
        let wait = wait.max(Duration::from_micros(100));
        if self.waits == wait {
            return Ok(());
        }
        self.waits = wait;
        let set = self.socket.set_read_timeout(wait);
        set.map_err(|error| lost(&error.to_string()))
    }
}

/// The error in an error response: fields of one letter and a text each.
fn refusal(body: &[u8]) -> Error {
    let field = |wanted: u8| {
        body.split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&wanted))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
            .unwrap_or_default()
    };
    of_state(&field(b'C'), &field(b'M'))
}

pub(super) fn malformed() -> Error {
    lost("the server sent something that is no message of its protocol")
}
