//! The test commands: USER_DEFINED, told apart by their custom command.

use std::time::Duration;

use crate::rpc::{CommandRequest, CommandResponse};
use crate::simulator::answer::{Action, Answer, BAD_DATA};

/// Answers a test command.
///
/// | custom command | answer |
/// |---|---|
/// | 1 | pending; SUCCESS after `data.seconds` (0.3) |
/// | 2 | raises "delegate raised on purpose" |
/// | 3 | blocks the delegate for `data.seconds` (1), then SUCCESS |
/// | 4 | FAILED, error code 42, "it is broken" |
/// | 7 | SUCCESS with the data of the request |
/// | 9 | PENDING, and nothing more |
/// | 10 | as 1, but FAILED with error code 17 |
/// | any other | UNRECOGNIZED |
pub(crate) fn answer(request: &CommandRequest) -> Answer {
    let seconds = |default| seconds(request, default);
    let action = match number(request) {
        Some(1) => seconds(DEFERRED_SECONDS).map(|after| Action::Defer {
            after,
            outcome: CommandResponse::success().with_data(request.data()),
        }),
        Some(2) => Ok(Action::Raise("delegate raised on purpose".to_owned())),
        Some(3) => seconds(BLOCKED_SECONDS).map(|during| Action::Block {
            during,
            outcome: CommandResponse::success(),
        }),
        Some(4) => Ok(Action::Reply(CommandResponse::failed(42, "it is broken"))),
        Some(7) => Ok(Action::Reply(
            CommandResponse::success().with_data(request.data()),
        )),
        Some(9) => Ok(Action::Reply(CommandResponse::pending())),
        Some(10) => seconds(DEFERRED_SECONDS).map(|after| Action::Defer {
            after,
            outcome: CommandResponse::failed(17, "it broke while it was pending"),
        }),
        _ => Ok(Action::Reply(CommandResponse::unrecognized())),
    };
    match action {
        Ok(action) => Answer {
            action,
            occurrences: Vec::new(),
        },
        Err(message) => Answer::reply(CommandResponse::failed(BAD_DATA, message)),
    }
}

/// The custom command; `1.0` is 1, as it is for the reference.
fn number(request: &CommandRequest) -> Option<i64> {
    request.custom_command().or_else(|| {
        let number = request.custom_command_value().as_f64()?;
        // The table ends at 10: anything that is not a small whole number is none of them.
        (number.fract() == 0.0 && number.abs() < 1e6).then_some(number as i64)
    })
}

/// How long a test command takes: `data.seconds`, or the default where the data have none.
fn seconds(request: &CommandRequest, default: f64) -> Result<Duration, String> {
    let Some(given) = request.data().get("seconds") else {
        return Ok(Duration::from_secs_f64(default));
    };
    given
        .as_f64()
        .filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("seconds is {given}, not a number from 0 to {MAX_SECONDS}"))
}

const DEFERRED_SECONDS: f64 = 0.3;
const BLOCKED_SECONDS: f64 = 1.0;

/// Long enough for every test of patience, short enough that a typing error does not hold a rig for a day.
const MAX_SECONDS: f64 = 600.0;
