//! Commands, results and kinds of errors: the numbers of a request and of its reply.

use std::fmt;
use std::str::FromStr;

use crate::rpc::dialect::Dialect;

/// What a client asks of the service.
///
/// Section 4.2 of `docs/wire.md` lists the numbers.
/// The variants are those of auto-trainer-api 0.12.0; a number that is none of them arrives as
/// [`ApiCommand::UserDefined`], as there.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiCommand {
    /// Proof of life; the service answers it without asking its delegate.
    None,
    /// Obsolete, to be answered "unrecognized"; 100 in 0.9.7.
    StartAcquisition,
    /// Obsolete, to be answered "unrecognized"; 110 in 0.9.7.
    StopAcquisition,
    /// Changes the application mode, `{mode}`.
    SetApplicationMode,
    /// Changes the training mode, `{mode}`.
    SetTrainingMode,
    /// Stops the rig; may be repeated.
    EmergencyStop,
    /// Ends an emergency stop.
    EmergencyResume,
    /// Asks for the configuration.
    GetConfiguration,
    /// Asks for the status.
    GetStatus,
    /// Asks for the animals, an array.
    GetAnimals,
    /// Turns live analysis on or off, `{enabled}`.
    SetLiveAnalysisEnabled,
    /// Turns pellet delivery on or off, `{enabled}`.
    SetPelletDeliveryEnabled,
    /// Turns the pellet cover on or off, `{enabled}`.
    SetPelletCoverEnabled,
    /// Turns the pellet shift between trials on or off, `{enabled}`.
    SetIntertrialPelletShiftEnabled,
    /// Turns homing on excessive drift on or off, `{enabled}`.
    SetHomeOnExcessiveDriftEnabled,
    /// Turns the pellet distance from the triangle on or off, `{enabled}`.
    SetTrianglePelletDistanceDetectionEnabled,
    /// Turns closing of the gate between trials on or off, `{enabled}`.
    SetAutoCloseGateOnIntertrialEnabled,
    /// Turns the automatic clamp on or off, `{enabled}`.
    SetAutoClampEnabled,
    /// Turns the tunnel sweep on or off, `{enabled}`.
    SetTunnelSweepEnabled,
    /// Turns batches of trials on or off, `{enabled}`; for sessions that start later.
    SetBatchTrialsEnabled,
    /// A command of the application, told by its custom command.
    UserDefined,
}

impl ApiCommand {
    /// The commands of a dialect, in the order of their numbers.
    pub const fn all(dialect: Dialect) -> &'static [Self] {
        match dialect {
            Dialect::Plain => &PLAIN,
            Dialect::JsonString => &JSON_STRING,
        }
    }

    /// The command of a number, if the dialect has one.
    pub fn from_number(number: i64, dialect: Dialect) -> Option<Self> {
        Self::all(dialect)
            .iter()
            .copied()
            .find(|command| command.number_in(dialect) == number)
    }

    /// The number in the plain dialect.
    pub const fn number(self) -> i64 {
        self.number_in(Dialect::Plain)
    }

    /// The number in a dialect; only starting and stopping an acquisition differ.
    pub const fn number_in(self, dialect: Dialect) -> i64 {
        match (self, dialect) {
            (Self::StartAcquisition, Dialect::JsonString) => 100,
            (Self::StopAcquisition, Dialect::JsonString) => 110,
            (Self::None, _) => 0,
            (Self::StartAcquisition, Dialect::Plain) => 50,
            (Self::StopAcquisition, Dialect::Plain) => 55,
            (Self::SetApplicationMode, _) => 120,
            (Self::SetTrainingMode, _) => 130,
            (Self::EmergencyStop, _) => 200,
            (Self::EmergencyResume, _) => 210,
            (Self::GetConfiguration, _) => 300,
            (Self::GetStatus, _) => 400,
            (Self::GetAnimals, _) => 500,
            (Self::SetLiveAnalysisEnabled, _) => 1000,
            (Self::SetPelletDeliveryEnabled, _) => 1010,
            (Self::SetPelletCoverEnabled, _) => 1020,
            (Self::SetIntertrialPelletShiftEnabled, _) => 1030,
            (Self::SetHomeOnExcessiveDriftEnabled, _) => 1040,
            (Self::SetTrianglePelletDistanceDetectionEnabled, _) => 1050,
            (Self::SetAutoCloseGateOnIntertrialEnabled, _) => 1060,
            (Self::SetAutoClampEnabled, _) => 1070,
            (Self::SetTunnelSweepEnabled, _) => 1080,
            (Self::SetBatchTrialsEnabled, _) => 1090,
            (Self::UserDefined, _) => 99999,
        }
    }

    /// The name, as `GET_STATUS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::StartAcquisition => "START_ACQUISITION",
            Self::StopAcquisition => "STOP_ACQUISITION",
            Self::SetApplicationMode => "SET_APPLICATION_MODE",
            Self::SetTrainingMode => "SET_TRAINING_MODE",
            Self::EmergencyStop => "EMERGENCY_STOP",
            Self::EmergencyResume => "EMERGENCY_RESUME",
            Self::GetConfiguration => "GET_CONFIGURATION",
            Self::GetStatus => "GET_STATUS",
            Self::GetAnimals => "GET_ANIMALS",
            Self::SetLiveAnalysisEnabled => "SET_LIVE_ANALYSIS_ENABLED",
            Self::SetPelletDeliveryEnabled => "SET_PELLET_DELIVERY_ENABLED",
            Self::SetPelletCoverEnabled => "SET_PELLET_COVER_ENABLED",
            Self::SetIntertrialPelletShiftEnabled => "SET_INTERTRIAL_PELLET_SHIFT_ENABLED",
            Self::SetHomeOnExcessiveDriftEnabled => "SET_HOME_ON_EXCESSIVE_DRIFT_ENABLED",
            Self::SetTrianglePelletDistanceDetectionEnabled => {
                "SET_TRIANGLE_PELLET_DISTANCE_DETECTION_ENABLED"
            }
            Self::SetAutoCloseGateOnIntertrialEnabled => {
                "SET_AUTO_CLOSE_GATE_ON_INTERTRIAL_ENABLED"
            }
            Self::SetAutoClampEnabled => "SET_AUTO_CLAMP_ENABLED",
            Self::SetTunnelSweepEnabled => "SET_TUNNEL_SWEEP_ENABLED",
            Self::SetBatchTrialsEnabled => "SET_BATCH_TRIALS_ENABLED",
            Self::UserDefined => "USER_DEFINED",
        }
    }

    /// Whether the command only asks: NONE and the GET commands, which neither change nor publish.
    pub const fn is_query(self) -> bool {
        matches!(
            self,
            Self::None | Self::GetConfiguration | Self::GetStatus | Self::GetAnimals
        )
    }
}

impl fmt::Display for ApiCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a command")]
pub struct UnknownCommand(String);

impl FromStr for ApiCommand {
    type Err = UnknownCommand;

    /// Reads a whole name, in any case, with `-` or `_`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim().replace('-', "_");
        PLAIN
            .into_iter()
            .find(|command| command.name().eq_ignore_ascii_case(&wanted))
            .ok_or_else(|| UnknownCommand(text.to_owned()))
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandResult {
    /// 0: the service does not know the command.
    Unrecognized,
    /// 100: done.
    Success,
    /// 200: accepted; nothing more will be heard.
    Pending,
    /// 201: accepted; a message on topic COMMAND_RESULT follows.
    PendingWithNotification,
    /// 400: not done.
    Failed,
    /// 500: the delegate raised an error.
    Exception,
    /// 9999: known, but not possible now; or the service has no delegate.
    Unavailable,
    /// A number without a name, which passes unchanged.
    Other(i64),
}

impl CommandResult {
    /// The result of a number.
    pub const fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Unrecognized,
            100 => Self::Success,
            200 => Self::Pending,
            201 => Self::PendingWithNotification,
            400 => Self::Failed,
            500 => Self::Exception,
            9999 => Self::Unavailable,
            other => Self::Other(other),
        }
    }

    /// The number.
    pub const fn number(self) -> i64 {
        match self {
            Self::Unrecognized => 0,
            Self::Success => 100,
            Self::Pending => 200,
            Self::PendingWithNotification => 201,
            Self::Failed => 400,
            Self::Exception => 500,
            Self::Unavailable => 9999,
            Self::Other(number) => number,
        }
    }

    /// The name, as `PENDING_WITH_NOTIFICATION`, if the number has one.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Unrecognized => Some("UNRECOGNIZED"),
            Self::Success => Some("SUCCESS"),
            Self::Pending => Some("PENDING"),
            Self::PendingWithNotification => Some("PENDING_WITH_NOTIFICATION"),
            Self::Failed => Some("FAILED"),
            Self::Exception => Some("EXCEPTION"),
            Self::Unavailable => Some("UNAVAILABLE"),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for CommandResult {
    /// The name, or else the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.number(), f),
        }
    }
}

/// Whose error a reply reports.
///
/// A failed command without an error code has [`ErrorKind::None`]: look at the result first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// 0: none is reported, also when the delegate raised an error.
    None,
    /// 1: the answer could not be written as JSON.
    SystemError,
    /// 2: the delegate gave an error code other than 0.
    CommandError,
    /// A number without a name.
    Other(i64),
}

impl ErrorKind {
    /// The kind of a number.
    pub const fn from_number(number: i64) -> Self {
        match number {
            0 => Self::None,
            1 => Self::SystemError,
            2 => Self::CommandError,
            other => Self::Other(other),
        }
    }

    /// The number.
    pub const fn number(self) -> i64 {
        match self {
            Self::None => 0,
            Self::SystemError => 1,
            Self::CommandError => 2,
            Self::Other(number) => number,
        }
    }

    /// The name, as `SYSTEM_ERROR`, if the number has one.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => Some("NONE"),
            Self::SystemError => Some("SYSTEM_ERROR"),
            Self::CommandError => Some("COMMAND_ERROR"),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for ErrorKind {
    /// The name, or else the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.number(), f),
        }
    }
}

const PLAIN: [ApiCommand; 21] = [
    ApiCommand::None,
    ApiCommand::StartAcquisition,
    ApiCommand::StopAcquisition,
    ApiCommand::SetApplicationMode,
    ApiCommand::SetTrainingMode,
    ApiCommand::EmergencyStop,
    ApiCommand::EmergencyResume,
    ApiCommand::GetConfiguration,
    ApiCommand::GetStatus,
    ApiCommand::GetAnimals,
    ApiCommand::SetLiveAnalysisEnabled,
    ApiCommand::SetPelletDeliveryEnabled,
    ApiCommand::SetPelletCoverEnabled,
    ApiCommand::SetIntertrialPelletShiftEnabled,
    ApiCommand::SetHomeOnExcessiveDriftEnabled,
    ApiCommand::SetTrianglePelletDistanceDetectionEnabled,
    ApiCommand::SetAutoCloseGateOnIntertrialEnabled,
    ApiCommand::SetAutoClampEnabled,
    ApiCommand::SetTunnelSweepEnabled,
    ApiCommand::SetBatchTrialsEnabled,
    ApiCommand::UserDefined,
];

const JSON_STRING: [ApiCommand; 8] = [
    ApiCommand::None,
    ApiCommand::StartAcquisition,
    ApiCommand::StopAcquisition,
    ApiCommand::EmergencyStop,
    ApiCommand::EmergencyResume,
    ApiCommand::GetConfiguration,
    ApiCommand::GetStatus,
    ApiCommand::UserDefined,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_number_and_its_name() {
        for dialect in [Dialect::Plain, Dialect::JsonString] {
            for &command in ApiCommand::all(dialect) {
                let number = command.number_in(dialect);
                assert_eq!(ApiCommand::from_number(number, dialect), Some(command));
                let typed = command.name().to_lowercase().replace('_', "-");
                assert_eq!(typed.parse(), Ok(command));
            }
        }
    }

    #[test]
    fn starting_an_acquisition_has_another_number_in_the_old_dialect() {
        let start = ApiCommand::StartAcquisition;
        assert_eq!(start.number(), 50);
        assert_eq!(start.number_in(Dialect::JsonString), 100);
        assert_eq!(ApiCommand::from_number(50, Dialect::JsonString), None);
        assert_eq!(ApiCommand::from_number(100, Dialect::Plain), None);
    }

    #[test]
    fn numbers_without_a_name_survive() {
        for number in [-1, 0, 1, 2, 3, 100, 200, 201, 202, 400, 500, 9999, i64::MAX] {
            assert_eq!(CommandResult::from_number(number).number(), number);
            assert_eq!(ErrorKind::from_number(number).number(), number);
        }
        assert_eq!(CommandResult::Other(7).to_string(), "7");
        assert_eq!(ErrorKind::CommandError.to_string(), "COMMAND_ERROR");
    }

    #[test]
    fn only_none_and_get_are_queries() {
        for &command in ApiCommand::all(Dialect::Plain) {
            let asks = command == ApiCommand::None || command.name().starts_with("GET_");
            assert_eq!(command.is_query(), asks, "{command}");
        }
    }
}
