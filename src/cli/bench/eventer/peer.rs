//! A server in a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::bench::PATIENCE;
use crate::cli::bench::measure::Plan;
use crate::cli::bench::raw::{silent, spawn};
use crate::cli::bench::store::Scratch;
use crate::cli::exit::{Exit, Failure};
use crate::eventer::{ClientOptions, EventerClient};

/// A running server with an empty store; ended when dropped.
pub(super) struct Peer {
    child: Child,
    address: String,
    _dir: Scratch,
}

impl Peer {
    /// `acqbus store serve`.
    pub(super) fn ours(plan: &Plan) -> Result<Self, Failure> {
        let dir = Scratch::new(plan)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "store",
                "serve",
                "--json",
                "--bind",
                "127.0.0.1:0",
                "--store",
            ])
            .arg(dir.path().join("store"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(no_answer)?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let started: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = started["address"].as_str().map(str::to_owned);
        // What it says of its clients must be read, or it waits.
        spawn(move || {
            let _ = std::io::copy(&mut lines, &mut std::io::sink());
        })?;
        let peer = Self {
            child,
            address: address.clone().unwrap_or_default(),
            _dir: dir,
        };
        address.map(|_| peer).ok_or_else(no_answer)
    }

    /// hat-event's server with its durable backend; `None` where the plan names no interpreter.
    pub(super) fn reference(plan: &Plan) -> Result<Option<Self>, Failure> {
        let Some(python) = &plan.python else {
            return Ok(None);
        };
        let dir = Scratch::new(plan)?;
        // It cannot tell which port it took.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let settings = dir.path().join("server.json");
        std::fs::write(&settings, settings_of(dir.path(), port).to_string())?;
        let child = Command::new(python)
            .args(["-m", "hat.event.server", "--conf"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::from(error).while_doing(python.display()))?;
        let mut peer = Self {
            child,
            address: format!("127.0.0.1:{port}"),
            _dir: dir,
        };
        peer.await_port(port, python)?;
        Ok(Some(peer))
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn client(&self) -> Result<EventerClient, Failure> {
        let options = ClientOptions::new(&self.address)
            .timeout(PATIENCE)
            .reconnect(false);
        Ok(EventerClient::connect(options)?)
    }

    /// Nothing tells when it listens.
    fn await_port(&mut self, port: u16, python: &Path) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if self.child.try_wait()?.is_some() {
                let text = format!("{} has no usable hat-event", python.display());
                return Err(Failure::new(Exit::Usage, text)
                    .with_hint("pip install hat-event, or leave --python out"));
            }
            if Instant::now() > end {
                return Err(silent("the reference"));
            }
            thread::sleep(BETWEEN);
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Its store is thrown away: it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings_of(dir: &Path, port: u16) -> Value {
    json!({
        "type": "event",
        "name": "bench",
        "server_id": 1,
        "backend": {
            "module": "hat.event.backends.lmdb",
            "db_path": OsStr::to_string_lossy(dir.join("reference.db").as_os_str()),
            "identifier": null,
            "flush_period": 1,
            "cleanup_period": 3600,
            "conditions": [],
            "latest": {"subscriptions": [["*"]]},
            "timeseries": [{"order_by": "TIMESTAMP", "subscriptions": [["*"]]}],
        },
        "modules": [],
        "eventer_server": {"host": "127.0.0.1", "port": port},
    })
}

fn no_answer() -> Failure {
    Failure::new(Exit::Failed, "the server did not start")
}

const BETWEEN: Duration = Duration::from_millis(50);
