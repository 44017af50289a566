//! The Python service that acqbus replaces, as a child process; measured where an interpreter has it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Command, Stdio};

use crossbeam_channel::{Receiver, bounded};

use crate::cli::exit::{Exit, Failure};
use crate::zsocket::Endpoint;

use super::PATIENCE;
use super::measure::Plan;
use super::raw::{loopback, silent, spawn};

/// A running reference; ended when dropped.
pub(super) struct Reference {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    events: Endpoint,
    commands: Endpoint,
}

impl Reference {
    /// Starts the reference; `None` where the plan names no interpreter.
    pub(super) fn start(plan: &Plan) -> Result<Option<Self>, Failure> {
        let Some(python) = &plan.python else {
            return Ok(None);
        };
        let [events, commands] = free_ports()?;
        let mut child = Command::new(python)
            .arg("-c")
            .arg(SCRIPT)
            .args([events.to_string(), commands.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::from(error).while_doing(python.display()))?;
        let (sender, answers) = bounded(1);
        if let Some(stdout) = child.stdout.take() {
            spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            })?;
        }
        let mut reference = Self {
            orders: child.stdin.take(),
            child,
            answers,
            events: loopback(events)?,
            commands: loopback(commands)?,
        };
        if reference.answer().is_err() {
            let _ = reference.child.kill();
            let text = format!("{} has no usable auto-trainer-api", python.display());
            return Err(Failure::new(Exit::Usage, text)
                .with_hint("pip install auto-trainer-api, or leave --python out"));
        }
        Ok(Some(reference))
    }

    pub(super) fn events(&self) -> &Endpoint {
        &self.events
    }

    pub(super) fn commands(&self) -> &Endpoint {
        &self.commands
    }

    /// Has the reference do something; [`answer`](Self::answer) tells when it is done.
    pub(super) fn order(&mut self, order: &str) -> Result<(), Failure> {
        if let Some(orders) = &mut self.orders {
            writeln!(orders, "{order}")?;
        }
        Ok(())
    }

    pub(super) fn answer(&mut self) -> Result<String, Failure> {
        self.answers
            .recv_timeout(PATIENCE)
            .map_err(|_| silent("an answer of the reference"))
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.orders = None;
        // The script would end by itself, in its own time.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two ports that were free a moment ago: the reference cannot tell which it took.
fn free_ports() -> Result<[u16; 2], Failure> {
    let first = TcpListener::bind(("127.0.0.1", 0))?;
    let second = TcpListener::bind(("127.0.0.1", 0))?;
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

const SCRIPT: &str = include_str!("reference.py");
