//! The application: clients of `pgbench` that write where they are let.

use std::cell::RefCell;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::stage::{Stage, shown};
use crate::live::process::until;

/// Where Debian keeps the programs of the server's package.
pub(super) const PATH: &str = "PATH=\"$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH\"";

pub(super) struct Load<'s> {
    stage: &'s Stage,
    child: RefCell<Option<Child>>,
}

impl<'s> Load<'s> {
    pub(super) fn start(stage: &'s Stage) -> Load<'s> {
        let load = Load {
            stage,
            child: RefCell::new(None),
        };
        load.resume();
        load
    }

    pub(super) fn resume(&self) {
        let Stage { plan, .. } = self.stage;
        let writes = |side: &str| {
            format!(
                "pgbench -n -c {} -R {} -T 5 -f {} '{}'",
                plan.clients,
                plan.rate,
                shown(&self.stage.script(side)),
                self.stage.url(side),
            )
        };
        // Whoever is refused at one end goes on at the other.
        let (old, new) = (writes("old"), writes("new"));
        let child = Command::new("bash")
            .args([
                "-c",
                &format!("{PATH}; while true; do {old} || {new} || sleep 0.05; done"),
            ])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is there");
        *self.child.borrow_mut() = Some(child);
    }

    /// Returns when no transaction of it is under way.
    pub(super) fn pause(&self) {
        self.end();
        let busy = "select count(*) from pg_stat_activity where application_name = 'pgbench'
                    and datname = current_database()";
        let rests = |side: &&str| self.stage.number(side, busy) == Some(0);
        until("the application stands still", || {
            ["old", "new"].iter().all(rests)
        });
    }

    fn end(&self) {
        if let Some(mut child) = self.child.borrow_mut().take() {
            let group = format!("-{}", child.id());
            drop(Command::new("kill").args(["-KILL", "--", &group]).status());
            drop(child.wait());
        }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
