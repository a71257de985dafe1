//! A Kafka for the tests of one process, started by the project's own script.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use crate::script::{self, Script};

/// The ways to a guarded broker, with their distance from its first port.
#[derive(Clone, Copy, Debug)]
pub enum Door {
    /// For everybody, in clear.
    Open = 0,
    /// With TLS, for those with a certificate.
    Certificate = 2,
    /// With TLS, for those who log in.
    Login = 3,
    /// In clear, for those who log in.
    LoginInClear = 4,
}

/// A broker that ends with this process, whatever becomes of it.
pub struct Kafka {
    port: u16,
    script: Script,
}

impl Kafka {
    /// Starts a broker in a folder that is there for it alone.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn start(folder: &Path) -> Kafka {
        Kafka::with(folder, &[])
    }

    /// As [`Kafka::start`], with settings, `name=value` each. After `--guarded` it looks at who
    /// comes and at what they may: see the script.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn with(folder: &Path, settings: &[&str]) -> Kafka {
        let port = ports();
        let script = Script::start("kafka", &folder.join("server"), port, settings);
        Kafka { port, script }
    }

    /// As [`Kafka::with`], for brokers that are told to reach its controller elsewhere.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn reached_at(folder: &Path, controller: &str, settings: &[&str]) -> Kafka {
        let port = ports();
        let told =
            format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://{controller}");
        let settings = [settings, &[&told]].concat();
        let script = Script::start("kafka", &folder.join("server"), port, &settings);
        Kafka { port, script }
    }

    /// A second broker of the cluster of this one, which alone decides who leads a partition.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn second(&self, folder: &Path, settings: &[&str]) -> Kafka {
        let first = self.port.to_string();
        Kafka::with(folder, &[&["--beside", &first], settings].concat())
    }

    /// The port at which it listens itself, whatever it tells its clients.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the broker at once, as a loss of power does.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn kill(&mut self) {
        self.script.kill();
    }

    /// Starts the broker again that was killed.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    pub fn start_again(&mut self) {
        self.script.start_again();
    }

    /// Its `bootstrap.servers`.
    #[must_use]
    pub fn servers(&self) -> String {
        self.at(Door::Open)
    }

    /// Its `bootstrap.servers` for whoever comes another way.
    #[must_use]
    pub fn at(&self, door: Door) -> String {
        format!("127.0.0.1:{}", self.port + door as u16)
    }
}

/// Waits for what a client's own thread brings: admin clients answer in futures only.
pub fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// The first port of a broker: a guarded one needs as many.
fn ports() -> u16 {
    script::ports(Door::LoginInClear as u16 + 1)
}
