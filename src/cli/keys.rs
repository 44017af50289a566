//! `acqbus keys`: who may talk to a service, and with which right.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::config;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Output, date_and_time};
use crate::zsocket::{KeyError, KeyRing, Member, Role};

/// Arguments of `acqbus keys`.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
    /// Folder of the keys [default: acqbus/keys in the user's configuration folder]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ACQBUS_KEYS",
        hide_env = true
    )]
    keys: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the folder and the keys of the service
    New,
    /// Make a key file for a person or a program
    Add {
        /// 1 to 64 of A-Z a-z 0-9 . _ -
        name: String,
        /// viewer (asks and listens), operator (runs the rig) or admin
        #[arg(long, value_parser = ["viewer", "operator", "admin"])]
        role: String,
    },
    /// List who has or had access
    List,
    /// Take access away for good, also from who is connected now
    Revoke {
        /// Who
        name: String,
    },
    /// Show one of them, or the public key of the service
    Show {
        /// Who; the service itself without a name
        name: Option<String>,
    },
}

impl Keys {
    /// Does what is asked and prints what came of it.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let folder = folder(self.keys.as_ref())?;
        match &self.action {
            Action::New => {
                let ring = KeyRing::create(&folder)?;
                let public = ring.server().public().to_string();
                let shown = folder.display();
                // The user's own folder needs no flag here, but the rig is told of it.
                let again = match &self.keys {
                    Some(_) => format!(" --keys {shown}"),
                    None => String::new(),
                };
                let text = format!(
                    "keys are in {shown}\nnext: acqbus keys add NAME --role operator{again}; then acqbus simulate --keys {shown}"
                );
                told(out, &json!({"keys": folder, "server": public}), &text)?;
            }
            Action::Add { name, role } => {
                let file = open(&folder)?.add(name, role.parse::<Role>()?)?;
                let text = format!(
                    "{name} may connect as {role}; hand over {} and use it with --key",
                    file.display()
                );
                told(
                    out,
                    &json!({"name": name, "role": role, "file": file}),
                    &text,
                )?;
            }
            Action::List => {
                for member in open(&folder)?.list() {
                    told(out, &object(member), &line(member))?;
                }
            }
            Action::Revoke { name } => {
                let mut ring = open(&folder)?;
                let before = ring.show(name)?.revoked_at;
                if before.is_none() {
                    ring.revoke(name)?;
                }
                let text = match before {
                    Some(at) => format!("{name} was revoked already, {}", date_and_time(at)),
                    None => format!("{name} has no access any more"),
                };
                told(out, &json!({"name": name, "revoked": true}), &text)?;
            }
            Action::Show { name: Some(name) } => {
                let ring = open(&folder)?;
                let member = ring.show(name)?;
                told(
                    out,
                    &object(member),
                    &format!("{}\npublic key {}", line(member), member.public),
                )?;
            }
            Action::Show { name: None } => {
                let public = open(&folder)?.server().public().to_string();
                told(
                    out,
                    &json!({"keys": folder, "server": public}),
                    &format!("public key of the service {public}"),
                )?;
            }
        }
        Ok(Exit::Done)
    }
}

/// The folder that was given, or the user's own.
pub(crate) fn folder(given: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    given
        .cloned()
        .or_else(|| config::settings_folder().map(|folder| folder.join("keys")))
        .ok_or_else(|| {
            Failure::usage("there is no home folder to look for keys in").with_hint("--keys DIR")
        })
}

/// Reads the keys in a folder.
pub(crate) fn open(folder: &PathBuf) -> Result<KeyRing, Failure> {
    KeyRing::open(folder).map_err(|error| {
        let absent = matches!(&error, KeyError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        let failure = Failure::from(error);
        if absent {
            failure.with_hint(format!("acqbus keys new --keys {}", folder.display()))
        } else {
            failure
        }
    })
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let exit = match &error {
            KeyError::WideMode { .. } => Exit::Refused,
            KeyError::InvalidName { .. } | KeyError::InvalidRole { .. } => Exit::Usage,
            KeyError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Exit::Usage
            }
            KeyError::Format { .. } | KeyError::InvalidKey { .. } => Exit::BadData,
            _ => Exit::Failed,
        };
        Self::of(exit, &error)
    }
}

fn told(out: Output, object: &Value, text: &str) -> Result<(), Failure> {
    if out.is_json() {
        out.object(object)
    } else {
        out.line(text)
    }
}

fn object(member: &Member) -> Value {
    json!({
        "name": member.name,
        "role": member.role,
        "public": member.public.to_string(),
        "since": seconds(member.since),
        "revokedAt": member.revoked_at.map(seconds),
    })
}

fn line(member: &Member) -> String {
    let since = date_and_time(member.since);
    let revoked = match member.revoked_at {
        Some(at) => format!(", revoked {}", date_and_time(at)),
        None => String::new(),
    };
    format!(
        "{:<20} {:<8} since {since}{revoked}",
        member.name, member.role
    )
}

fn seconds(when: SystemTime) -> u64 {
    when.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus keys new
  acqbus keys add ada --role operator
  acqbus simulate --reachable --keys ~/.config/acqbus/keys
  acqbus console --host rig-7 --key ada.key
  acqbus keys revoke ada

A viewer may listen and ask, an operator may also run the rig. All files are 0600; wider ones are refused.";
