//! The kinds of events, their contexts and the answers of a rig, against what the reference says and sends.
//!
//! The vectors are in `tests/vectors/rpc`, or in `$ACQBUS_VECTORS/rpc` where that variable is set; a file may be
//! absent there, but not all of them.

mod common;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, Value, json};

use acqbus::rpc::context::application::{
    ApplicationLaunched, ApplicationModeChanged, ProjectChanged, ProjectTrialChanged,
    PropertyChanged,
};
use acqbus::rpc::context::counts::{CountChange, DayStarted};
use acqbus::rpc::context::device::{DeviceCommand, PelletDriftReset, PelletHomeReset};
use acqbus::rpc::context::emergency::{EmergencyResume, EmergencyStop};
use acqbus::rpc::context::head_fixation::{Baseline, Delay, Frequency, Intensity, ReleaseTone};
use acqbus::rpc::context::intertrial::{
    AnalysisTrial, IntertrialError, IntertrialResponse, IntertrialSave, PelletShift,
};
use acqbus::rpc::context::session::{
    BatchAnalysisEnded, BatchAnalysisStarted, SessionEnded, SessionStarted, TrialEnded,
    TrialReachEvents, TrialSeen, TrialStarted,
};
use acqbus::rpc::context::training::{Protocol, TrainingModeChanged, TrainingPhase, TrainingPlan};
use acqbus::rpc::context::{Enabled, Engaged, Reason, SessionTrial, WITHOUT_CONTEXT};
use acqbus::rpc::kind_0_9_7::EventKind097;
use acqbus::rpc::status::{AlarmStatus, AnimalStatus, Configuration, DetectorStatus, SystemStatus};
use acqbus::rpc::status_0_9_7::{AppStatus097, Configuration097, Status097};
use acqbus::rpc::{
    ApiCommand, CommandResult, Dialect, ErrorKind, EventContext, EventKind, Topic, case,
    json as wire, values,
};

const VERSIONS: [&str; 4] = ["0.9.7", "0.9.24", "0.10.3", "0.12.0"];

/// Where the shape of an older version is not the one our type is named for: (version, kind, why).
const OTHER_SHAPE: [(&str, &str, &str); 9] = [
    (
        "0.9.24",
        "emergencyResume",
        "only `reason`; read with the rest as unknown",
    ),
    (
        "0.10.3",
        "emergencyResume",
        "only `reason`; read with the rest as unknown",
    ),
    ("0.9.24", "trialAnimalSeen", "no `batchId`; read as none"),
    ("0.9.24", "trialRightHandSeen", "no `batchId`; read as none"),
    ("0.9.24", "trialPelletSeen", "no `batchId`; read as none"),
    (
        "0.9.24",
        "intertrialSegmentationBegin",
        "no `batchId`; read as none",
    ),
    (
        "0.9.24",
        "intertrialSegmentationEnd",
        "no `batchId`; read as none",
    ),
    (
        "0.9.24",
        "intertrialDetectionBegin",
        "no `batchId`; read as none",
    ),
    (
        "0.9.24",
        "intertrialDetectionEnd",
        "no `batchId`; read as none",
    ),
];

/// Calls a macro with every typed context and the name that the reference has for it.
macro_rules! contexts {
    ($then:ident) => {
        $then! {
            EmergencyStop "EmergencyStopContext", EmergencyResume "EmergencyResumeContext",
            ApplicationLaunched "VersionContext", ApplicationModeChanged "ApplicationModeContext",
            Reason "ReasonContext", PropertyChanged "PropertyChangedContext",
            SystemStatus "ApiSystemStatus", ProjectChanged "ProjectChangedContext",
            ProjectTrialChanged "ProjectTrialChangedContext", DeviceCommand "CommandContext",
            PelletHomeReset "PelletHomeResetContext", PelletDriftReset "PelletDriftResetContext",
            TrialStarted "TrialStartedContext", SessionTrial "SessionTrialContext",
            TrialEnded "TrialEndedContext", BatchAnalysisStarted "BatchAnalysisStartedContext",
            BatchAnalysisEnded "BatchAnalysisEndedContext", SessionStarted "SessionStartedContext",
            SessionEnded "SessionEndedContext", Enabled "IsEnabledContext",
            TrialSeen "TrialSeenContext", Baseline "BaselineContext", Intensity "IntensityContext",
            Frequency "FrequencyContext", Delay "DelayContext", ReleaseTone "ReleaseToneContext",
            AnalysisTrial "AnalysisTrialContext", IntertrialError "IntertrialErrorContext",
            IntertrialSave "IntertrialSaveContext", IntertrialResponse "IntertrialResponseContext",
            CountChange "CountChangeContext", DayStarted "DayStartedContext",
            TrialReachEvents "TrialReachEventsContext", PelletShift "PelletShiftContext",
            Engaged "IsEngagedContext", TrainingModeChanged "TrainingModeContext",
            TrainingPlan "TrainingPlanContext", TrainingPhase "TrainingPhaseContext",
            Protocol "optional object", DetectorStatus "ApiDetectorStatus",
            AlarmStatus "ApiAlarmStatus", AnimalStatus "ApiAnimalStatus"
        }
    };
}

#[derive(Deserialize)]
struct Reference {
    enums: BTreeMap<String, BTreeMap<String, Value>>,
    dataclass_fields: BTreeMap<String, Vec<String>>,
    event_payload_types: BTreeMap<String, Option<String>>,
}

/// A body as it stands on the wire; the numbers keep their text, whole seconds included.
#[derive(Serialize, Deserialize)]
struct Body<C> {
    kind: EventKind,
    when: Number,
    index: Number,
    context: Option<C>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<Number>,
}

#[test]
fn every_member_of_every_enumeration_has_its_number_and_its_name() {
    let mut members = 0;
    for (version, reference) in references() {
        let dialect = if version == "0.9.7" {
            Dialect::JsonString
        } else {
            Dialect::Plain
        };
        for (enumeration, table) in &reference.enums {
            for (name, value) in table {
                let ours = ours(enumeration, value, version, dialect);
                assert_eq!(
                    ours.as_deref(),
                    Some(name.as_str()),
                    "{version} {enumeration} {value}"
                );
                members += 1;
            }
        }
    }
    report(members, "members of enumerations");
}

#[test]
fn there_are_vectors() {
    let published: Option<Value> = vectors("publish-0.12.0.json");
    assert!(
        published.is_some() || !references().is_empty(),
        "nothing to compare with was found"
    );
}

#[test]
fn no_kind_of_ours_is_unknown_to_the_reference() {
    let references = references();
    let known = |versions: &[&str], name: &str| {
        let mut found = references
            .iter()
            .filter(|(version, _)| versions.contains(version));
        found.any(|(_, reference)| reference.enums["ApiEventKind"].contains_key(name))
    };
    if references.iter().any(|(version, _)| *version == "0.12.0") {
        for kind in EventKind::ALL {
            assert!(known(&["0.12.0"], kind.name().unwrap()), "{kind}");
        }
    }
    if references.iter().any(|(version, _)| *version == "0.9.7") {
        for kind in EventKind097::ALL {
            assert!(known(&["0.9.7"], kind.name().unwrap()), "{kind}");
        }
    }
}

#[test]
fn every_data_class_has_its_fields_in_order() {
    let mut classes = 0;
    for (version, reference) in references() {
        for (class, fields) in &reference.dataclass_fields {
            let Some(sample) = sample(class, version) else {
                continue;
            };
            let expected: Vec<_> = fields
                .iter()
                .map(|name| case::camelize(name).into_owned())
                .collect();
            let found: Vec<_> = sample.as_object().unwrap().keys().cloned().collect();
            assert_eq!(found, expected, "{version} {class}");
            classes += 1;
        }
    }
    report(classes, "data classes");
}

#[test]
fn every_kind_has_the_context_type_of_the_reference() {
    let mut kinds = 0;
    for (version, reference) in references() {
        for (name, expected) in &reference.event_payload_types {
            let kind: EventKind = name.parse().unwrap();
            let listed = OTHER_SHAPE
                .iter()
                .any(|(of, kind, _)| (*of, *kind) == (version, name.as_str()));
            let expected = expected.as_deref().map(|name| match name {
                "optional ApiAnimalStatus" => "ApiAnimalStatus",
                name => name,
            });
            kinds += 1;
            if listed {
                assert_ne!(
                    context_type(kind),
                    expected,
                    "{version} {name} needs no exception"
                );
                continue;
            }
            assert_eq!(context_type(kind), expected, "{version} {name}");
        }
    }
    report(kinds, "kinds");
}

#[test]
fn every_kind_has_a_context_or_is_listed_without() {
    for &kind in EventKind::ALL {
        assert_ne!(
            context_type(kind).is_some(),
            WITHOUT_CONTEXT.contains(&kind),
            "{kind}"
        );
    }
}

#[test]
fn typed_events_are_written_as_the_reference_writes_them() {
    #[derive(Deserialize)]
    struct Published {
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        name: String,
        frames: Vec<[String; 2]>,
    }

    let published: Option<Published> = vectors("publish-0.12.0.json");
    let cases = published.map_or_else(Vec::new, |published| published.cases);
    let mut replayed = 0;
    for case in cases.iter().filter(|case| case.name.starts_with("event-")) {
        for [_, body] in &case.frames {
            let body = common::unhex(body);
            let written = replay(&body).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            let readable = String::from_utf8_lossy;
            assert_eq!(readable(&written), readable(&body), "{}", case.name);
            replayed += 1;
        }
    }
    report(replayed, "events");
}

#[test]
fn contexts_of_older_versions_are_read() {
    let stop: EmergencyStop = serde_json::from_str(r#"{"reason": "door"}"#).unwrap();
    assert_eq!(stop.reason_code, values::EmergencyStopReason::Unknown);
    let seen: TrialSeen = serde_json::from_str(r#"{"sessionId": "s", "trialId": 1}"#).unwrap();
    assert_eq!(seen.batch_id, None);
    let tunnel = r#"{"magnetIntensity":0.5,"gateOpen":true,"isGateOpen":true,"isFanOn":false}"#;
    let read: acqbus::rpc::status::TunnelDeviceStatus = serde_json::from_str(tunnel).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), tunnel);
}

/// The name that we have for a value of an enumeration of the reference; `None` when we have none.
fn ours(enumeration: &str, value: &Value, version: &str, dialect: Dialect) -> Option<String> {
    let number = value.as_i64();
    macro_rules! numbered {
        ($type:ty) => {
            <$type>::from(number?).name().map(str::to_owned)
        };
    }
    macro_rules! worded {
        ($type:ty) => {{
            let text = value.as_str()?;
            // The members of these enumerations are their values in capitals.
            <$type>::ALL
                .iter()
                .find(|member| member.as_str() == text)
                .map(|_| text.to_uppercase())
        }};
    }
    match enumeration {
        "ApiEventKind" if version == "0.9.7" => numbered!(EventKind097),
        "ApiEventKind" => numbered!(EventKind),
        "ApiAppStatus" => numbered!(AppStatus097),
        "ApiApplicationMode" => numbered!(values::ApplicationMode),
        "ApiTrainingMode" => numbered!(values::TrainingMode),
        "ApiAlarmKind" => numbered!(values::AlarmKind),
        "ApiDetectorKind" => numbered!(values::DetectorKind),
        "ApiPelletShiftSource" => numbered!(values::PelletShiftSource),
        "ApiEmergencyStopReason" => numbered!(values::EmergencyStopReason),
        "ApiEmergencyResumeReason" => numbered!(values::EmergencyResumeReason),
        "CaptureAnalysisResultLike" => worded!(values::TrialResult),
        "ReachEventMethodLike" => worded!(values::ReachMethod),
        "ReachEventOutcomeLike" => worded!(values::ReachOutcome),
        "ApiTopic" => Topic::new(u32::try_from(number?).ok()?)
            .name()
            .map(str::to_owned),
        "ApiCommand" => {
            ApiCommand::from_number(number?, dialect).map(|command| command.name().to_owned())
        }
        "ApiCommandRequestResult" | "ApiCommandReqeustResult" => {
            CommandResult::from_number(number?)
                .name()
                .map(str::to_owned)
        }
        "ApiCommandRequestErrorKind" => ErrorKind::from_number(number?).name().map(str::to_owned),
        _ => None,
    }
}

/// The reference's name for the context type of a kind; `None` for a kind without context.
fn context_type(kind: EventKind) -> Option<&'static str> {
    macro_rules! listed {
        ($($context:ident $name:literal),+) => {
            $(if <$context as EventContext>::KINDS.contains(&kind) { return Some($name); })+
        };
    }
    contexts!(listed);
    None
}

/// Reads a body with the type of its kind and writes it again.
fn replay(body: &[u8]) -> Result<Vec<u8>, String> {
    let untyped: Body<Box<RawValue>> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let kind = untyped.kind;
    macro_rules! typed {
        ($($context:ident $name:literal),+) => {
            $(if <$context as EventContext>::KINDS.contains(&kind) {
                return rewrite::<$context>(body);
            })+
        };
    }
    contexts!(typed);
    if WITHOUT_CONTEXT.contains(&kind) {
        return rewrite::<()>(body);
    }
    Err(format!("{kind} has no context type"))
}

fn rewrite<C: Serialize + DeserializeOwned>(body: &[u8]) -> Result<Vec<u8>, String> {
    let event: Body<C> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    wire::to_camel_json(&event, &mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

/// A value of our type for a data class, as JSON; `None` for a class that is not an answer or a context.
fn sample(class: &str, version: &str) -> Option<Value> {
    let with_settings = version == "0.12.0";
    let reaches =
        json!({"pelletsPresented": 4, "pelletsConsumed": 3, "reaches": 2, "successfulReaches": 1});
    let alarm = json!({"alarmId": 101, "isActive": true, "isEnabled": true, "isAutoResumeEnabled": true, "isStopCondition": true});
    let detector = json!({"detectorId": 101, "isActive": true, "isEnabled": true});
    let animal = json!({"identifier": "a", "name": "b", "dcsSendX": 1.0, "dcsSendY": 2.0, "dcsSendZ": 3.0, "targetYLimit": null, "reachStatusTotal": reaches, "reachStatusDay": reaches});
    let mut pellet = json!({"dcsSendX": 0.0, "dcsSendY": 0.0, "dcsSendZ": 0.0, "dcsX": 0.0, "dcsY": 0.0, "dcsZ": 0.0, "loadArm": 0.0, "barrierArm": 0.0, "isBarrierArmActive": true});
    let mut tunnel = json!({"magnetIntensity": 0.0, "isGateOpen": true, "isFanOn": true});
    let mut behavior = json!({"baselineMagnetIntensity": 0.0, "reaches": reaches});
    if with_settings {
        for name in ["isHomeOnExcessiveDriftEnabled", "isTunnelSweepEnabled"] {
            pellet[name] = json!(true);
        }
        for name in [
            "isBatchTrialsEnabled",
            "isAutoClampEnabled",
            "isAutoCloseGateOnIntertrialEnabled",
            "isTrianglePelletDistanceDetectionEnabled",
            "isIntertrialPelletShiftEnabled",
            "isPelletCoverEnabled",
            "isPelletDeliveryEnabled",
            "isLiveAnalysisEnabled",
        ] {
            behavior[name] = json!(true);
        }
    } else {
        tunnel["gateOpen"] = json!(true);
    }
    let project = json!({"sessionId": "s", "trialId": 1, "dayPath": "d"});
    let configuration = json!({"inferenceModel": "m", "logLocation": "l", "animalLocation": "a", "dataLocation": "d", "configurationLocation": "c", "deviceId": "r", "applicationVersion": "v"});
    let status = json!({"behavior": behavior, "tunnelDevice": tunnel, "pelletDevice": pellet, "detectors": [detector], "alarms": [alarm], "project": project, "animal": animal, "trainingMode": 0, "applicationMode": 0});
    let status_097 = json!({"animalId": "a", "trainingMode": 0, "appStatus": 0});
    let of_status = |name: &str| Some(through::<SystemStatus>(&status)[name].clone());
    match class {
        "ApiAlarmStatus" => Some(through::<AlarmStatus>(&alarm)),
        "ApiDetectorStatus" => Some(through::<DetectorStatus>(&detector)),
        "ApiAnimalStatus" => Some(through::<AnimalStatus>(&animal)),
        "ApiSystemStatus" => Some(through::<SystemStatus>(&status)),
        "ApiPelletDeviceStatus" => of_status("pelletDevice"),
        "ApiTunnelDeviceStatus" => of_status("tunnelDevice"),
        "ApiBehaviorStatus" => of_status("behavior"),
        "ApiProjectStatus" => of_status("project"),
        "ApiReachStatus" => Some(through::<AnimalStatus>(&animal)["reachStatusDay"].clone()),
        "ApiSystemConfiguration" => Some(through::<Configuration>(&configuration)),
        "ConfigurationResponse" => Some(through::<Configuration097>(&configuration)),
        "StatusResponse" => Some(through::<Status097>(&status_097)),
        _ => None,
    }
}

/// Reads a value as our type and gives what the type writes, in its order.
fn through<T: Serialize + DeserializeOwned>(value: &Value) -> Value {
    let typed: T = T::deserialize(value).unwrap();
    serde_json::to_value(typed).unwrap()
}

fn references() -> Vec<(&'static str, Reference)> {
    let read = |version| Some((version, vectors(&format!("enums-{version}.json"))?));
    VERSIONS.into_iter().filter_map(read).collect()
}

/// Says how much was compared; only another set of vectors, which need not be complete, may have none of it.
fn report(count: usize, what: &str) {
    println!("{count} {what}");
    let is_other_set = std::env::var_os("ACQBUS_VECTORS").is_some();
    assert!(count > 0 || is_other_set, "no {what} were found");
}

/// Reads a file of vectors; `None` when it is absent.
fn vectors<T: DeserializeOwned>(file: &str) -> Option<T> {
    let value = common::vectors(file)?;
    Some(T::deserialize(value).unwrap_or_else(|error| panic!("{file}: {error}")))
}
