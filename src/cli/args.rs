//! Arguments that several verbs share, and how their texts are read.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

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

/// Ten years: far beyond any use, and safe to add to a clock.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

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
