//! Arguments that several verbs share, and how their texts are read.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::zsocket::{Endpoint, ZsocketError};

/// What every verb has.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more on standard error: -v for the course of things, -vv for details (or set RUST_LOG)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Read settings from this file [default: acqbus.toml here, or else in the user's configuration folder]
    #[arg(
        long,
        global = true,
        env = "ACQBUS_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    pub(crate) config: Option<PathBuf>,
}

/// Where the bus is, and with which key to enter.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bus {
    /// Machine of the service
    #[arg(
        long,
        env = "ACQBUS_HOST",
        default_value = HOST,
        value_parser = host,
        help_heading = "Bus"
    )]
    pub(crate) host: String,
    /// Port of its events
    #[arg(
        long,
        env = "ACQBUS_SUBSCRIBER_PORT",
        default_value_t = SUBSCRIBER_PORT,
        value_name = "PORT",
        help_heading = "Bus"
    )]
    pub(crate) subscriber_port: u16,
    /// Port of its commands
    #[arg(
        long,
        env = "ACQBUS_COMMAND_PORT",
        default_value_t = COMMAND_PORT,
        value_name = "PORT",
        help_heading = "Bus"
    )]
    pub(crate) command_port: u16,
    /// Client key file, made by `acqbus keys add`; without one the connection is open
    #[arg(long, env = "ACQBUS_KEY", value_name = "FILE", help_heading = "Bus")]
    pub(crate) key: Option<PathBuf>,
}

/// The machine of the service, unless told otherwise.
pub(crate) const HOST: &str = "127.0.0.1";

/// The port of its events, unless told otherwise.
pub(crate) const SUBSCRIBER_PORT: u16 = 5556;

/// The port of its commands, unless told otherwise.
pub(crate) const COMMAND_PORT: u16 = 5557;

/// Reads the name or the address of a machine.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/:".contains(c);
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    // An IPv6 address may name its interface.
    let scoped = bracketed.unwrap_or(text).split('%').next().unwrap_or(text);
    if scoped.parse::<IpAddr>().is_ok() || (!text.is_empty() && !text.contains(odd)) {
        Ok(text.to_owned())
    } else {
        Err("only the host; the port is --command-port and --subscriber-port".to_owned())
    }
}

/// Reads where to bind a socket: `HOST:PORT`, or a host alone for any free port.
pub(crate) fn bind_endpoint(text: &str) -> Result<Endpoint, String> {
    let text = text.strip_prefix("tcp://").unwrap_or(text);
    // An IPv6 address has colons of its own.
    let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
        !port.ends_with(']') && (!host.contains(':') || host.ends_with(']'))
    });
    if has_port {
        endpoint(text)
    } else {
        Endpoint::tcp(text, 0).map_err(|error| error.to_string())
    }
}

/// Reads where a socket is to connect to: `HOST:PORT`.
pub(crate) fn connect_endpoint(text: &str) -> Result<Endpoint, String> {
    let endpoint = endpoint(text)?;
    if endpoint.port() == Some(0) {
        return Err("port 0 is for binding only; the other end says which port it took".to_owned());
    }
    Ok(endpoint)
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let bare = text.strip_prefix("tcp://").unwrap_or(text);
    format!("tcp://{bare}")
        .parse()
        .map_err(|error| match error {
            ZsocketError::InvalidEndpoint { reason, .. } => format!("not HOST:PORT: {reason}"),
            error => error.to_string(),
        })
}

/// Reads a number of bytes, such as `64`, `64KiB` or `1MiB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err("not a number of bytes, such as 64, 64KiB or 1MiB".to_owned()),
    };
    let number: usize = digits
        .parse()
        .map_err(|_| "not a number of bytes, such as 64, 64KiB or 1MiB".to_owned())?;
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes <= LARGEST)
        .ok_or_else(|| format!("more than {} MiB", LARGEST >> 20))
}

/// Reads a number of seconds, such as `2` or `0.5`, as a duration.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .trim()
        .parse()
        .map_err(|_| "not a number of seconds, such as 2 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("not between 0 and {} seconds", LONGEST.as_secs()))
}

/// Reads a number of seconds that is not 0.
pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    let duration = seconds(text)?;
    if duration.is_zero() {
        Err("0 seconds is too short".to_owned())
    } else {
        Ok(duration)
    }
}

/// Reads how many, or which number: from 1 on.
pub(crate) fn from_one(text: &str) -> Result<u64, String> {
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text} is not a number from 1 on"))
}

/// Ten years: far beyond any use, and safe to add to a clock.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A record of this size still fits a message that receivers take.
pub(crate) const LARGEST: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port() {
        for (text, endpoint) in [
            ("127.0.0.1:5", "tcp://127.0.0.1:5"),
            ("tcp://127.0.0.1:5", "tcp://127.0.0.1:5"),
            ("127.0.0.1", "tcp://127.0.0.1:0"),
            ("*:5", "tcp://*:5"),
            ("[::1]:5", "tcp://[::1]:5"),
            ("[::1]", "tcp://[::1]:0"),
            ("::1", "tcp://[::1]:0"),
        ] {
            let read = bind_endpoint(text);
            assert_eq!(
                read.map(|read| read.to_string()),
                Ok(endpoint.to_owned()),
                "{text}"
            );
        }
        for text in ["", "rig", "rig:", "rig:x", "rig:70000", "rig:0", "a b:5"] {
            assert!(connect_endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_in_powers_of_two() {
        for (text, bytes) in [("0", 0), ("64", 64), ("64KiB", 65_536), ("1 MiB", 1 << 20)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "-1", "1.5", "1kb", "2GiB", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_read_with_a_fraction() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds(" 0.25 "), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "x", "-1", "nan", "inf", "1e300", "2s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(some_seconds("0").is_err());
    }
}
