//! Typed builders of the domains that a rig uses.
//!
//! Each makes the members of its domain; what it has no setter for is set with `member`, and validated like the rest.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::udm::date_time::time_text;
use crate::udm::domain::{Domain, Mode, SafetyState, State};
use crate::udm::envelope::SourceType;
use crate::udm::event::Object;

/// A builder of one domain with its setters.
macro_rules! domain {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $setter:ident -> $member:literal: $kind:ident $(<$type:ty>)?,)+ }) => {
        $(#[$meta])*
        #[must_use]
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name(Object);

        impl $name {
            /// The domain without members.
            pub fn new() -> Self {
                Self::default()
            }

            $(domain!(@setter $(#[$doc])* $setter, $member, $kind $(<$type>)?);)+

            /// Sets any member, also one that the schemas do not name.
            pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
                self.0.insert(name.into(), value.into());
                self
            }

            /// The members, in the order in which they were set.
            #[must_use]
            pub fn into_members(self) -> Object {
                self.0
            }
        }

        impl From<$name> for (Domain, Object) {
            fn from(domain: $name) -> Self {
                (Domain::$name, domain.0)
            }
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, text) => {
        $(#[$doc])*
        pub fn $setter(self, text: impl Into<String>) -> Self {
            self.member($member, text.into())
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, name<$type:ty>) => {
        $(#[$doc])*
        pub fn $setter(self, name: $type) -> Self {
            self.member($member, name.as_str())
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, texts) => {
        $(#[$doc])*
        pub fn $setter(self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
            let texts = texts.into_iter().map(|text| Value::String(text.into()));
            self.member($member, texts.collect::<Vec<_>>())
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, flag) => {
        $(#[$doc])*
        pub fn $setter(self, flag: bool) -> Self {
            self.member($member, flag)
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, count) => {
        $(#[$doc])*
        pub fn $setter(self, count: u64) -> Self {
            self.member($member, count)
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, number) => {
        $(#[$doc])*
        pub fn $setter(self, number: f64) -> Self {
            self.member($member, number)
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, seconds) => {
        $(#[$doc])*
        pub fn $setter(self, time: Duration) -> Self {
            self.member($member, time.as_secs_f64())
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, time) => {
        $(#[$doc])*
        pub fn $setter(self, time: Timestamp) -> Self {
            self.member($member, time_text(time))
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, object) => {
        $(#[$doc])*
        pub fn $setter(
            self,
            members: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>,
        ) -> Self {
            self.member($member, object(members))
        }
    };
    (@setter $(#[$doc:meta])* $setter:ident, $member:literal, item) => {
        $(#[$doc])*
        pub fn $setter(
            mut self,
            members: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>,
        ) -> Self {
            push(&mut self.0, $member, object(members));
            self
        }
    };
}

domain! {
    /// Who reports: names, versions and place in the organisation. Source: UDM 0.0.3, schema 01.
    ///
    /// ```
    /// use acqbus::udm::Identity;
    ///
    /// let identity = Identity::new().platform("treadmill").tags(["lab-2"]).metadata([("room", "1.07")]);
    /// assert_eq!(identity.into_members()["metadata"]["room"], "1.07");
    /// ```
    Identity {
        /// Sets `source_id`, the stable name of the source.
        source_id -> "source_id": text,
        /// Sets `source_type`.
        source_type -> "source_type": name<&SourceType>,
        /// Sets `platform`, the vendor's name of the product.
        platform -> "platform": text,
        /// Sets `model`.
        model -> "model": text,
        /// Sets `serial_number`.
        serial_number -> "serial_number": text,
        /// Sets `firmware_version`.
        firmware_version -> "firmware_version": text,
        /// Sets `hardware_version`.
        hardware_version -> "hardware_version": text,
        /// Sets `fleet_id`.
        fleet_id -> "fleet_id": text,
        /// Sets `site_id`.
        site_id -> "site_id": text,
        /// Sets `organization_id`.
        organization_id -> "organization_id": text,
        /// Sets `display_name`, for people.
        display_name -> "display_name": text,
        /// Sets `tags`.
        tags -> "tags": texts,
        /// Sets `metadata`; its values have to be text.
        metadata -> "metadata": object,
        /// Sets `mac_address`, as `00:11:22:aa:bb:cc`.
        mac_address -> "mac_address": text,
        /// Sets `ip_address`.
        ip_address -> "ip_address": text,
    }
}

domain! {
    /// What a source does: mode, state, task, errors. Source: UDM 0.0.3, schema 05.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use acqbus::udm::{Operational, State};
    ///
    /// let operational = Operational::new()
    ///     .state(State::Error)
    ///     .uptime(Duration::from_millis(1_500))
    ///     .error([("code", "E7")])
    ///     .error([("code", "E9")]);
    /// let members = operational.into_members();
    /// assert_eq!(members["uptime_sec"], 1.5);
    /// assert_eq!(members["errors"][1]["code"], "E9");
    /// ```
    Operational {
        /// Sets `mode`.
        mode -> "mode": name<Mode>,
        /// Sets `state`.
        state -> "state": name<State>,
        /// Sets `previous_state`.
        previous_state -> "previous_state": name<State>,
        /// Sets `time_in_state_sec`.
        time_in_state -> "time_in_state_sec": seconds,
        /// Sets `task`, the current one.
        task -> "task": object,
        /// Sets `queue`, what is to be done.
        queue -> "queue": object,
        /// Adds one to `errors`.
        error -> "errors": item,
        /// Sets `error_count`.
        error_count -> "error_count": count,
        /// Sets `is_available`.
        is_available -> "is_available": flag,
        /// Sets `unavailable_reason`.
        unavailable_reason -> "unavailable_reason": text,
        /// Sets `uptime_sec`.
        uptime -> "uptime_sec": seconds,
        /// Sets `last_boot`.
        last_boot -> "last_boot": time,
        /// Sets `mission_id`.
        mission_id -> "mission_id": text,
        /// Sets `session_id`.
        session_id -> "session_id": text,
    }
}

domain! {
    /// How safe a source is: stops, zones, violations. Source: UDM 0.0.3, schema 08.
    Safety {
        /// Sets `safety_state`.
        safety_state -> "safety_state": name<SafetyState>,
        /// Sets `is_safe`.
        is_safe -> "is_safe": flag,
        /// Sets `e_stop`, the emergency stop.
        e_stop -> "e_stop": object,
        /// Sets `protective_stop_active`.
        protective_stop_active -> "protective_stop_active": flag,
        /// Sets `protective_stop_reason`.
        protective_stop_reason -> "protective_stop_reason": text,
        /// Adds one to `zones`.
        zone -> "zones": item,
        /// Sets `current_zone_ids`.
        current_zone_ids -> "current_zone_ids": texts,
        /// Sets `proximity`.
        proximity -> "proximity": object,
        /// Adds one to `violations`.
        violation -> "violations": item,
        /// Sets `violation_count`.
        violation_count -> "violation_count": count,
        /// Sets `collaborative_operation`.
        collaborative_operation -> "collaborative_operation": object,
        /// Sets `speed_limit_mps`, in metres a second from 0 on; without a number it is `null`, which is not valid.
        speed_limit_mps -> "speed_limit_mps": number,
        /// Sets `speed_limit_reason`.
        speed_limit_reason -> "speed_limit_reason": text,
        /// Sets `safety_system_ok`.
        safety_system_ok -> "safety_system_ok": flag,
        /// Sets `safety_plc_status`.
        safety_plc_status -> "safety_plc_status": text,
        /// Sets `last_safety_check`.
        last_safety_check -> "last_safety_check": time,
    }
}

domain! {
    /// The computer of a source: processor, memory, storage. Source: UDM 0.0.3, schema 11.
    Compute {
        /// Sets `cpu`, as `usage_pct`.
        cpu -> "cpu": object,
        /// Sets `memory`, as `used_mb` and `total_mb`.
        memory -> "memory": object,
        /// Adds one to `gpu`.
        gpu -> "gpu": item,
        /// Adds one to `storage`.
        storage -> "storage": item,
        /// Sets `processes`.
        processes -> "processes": object,
        /// Sets `ros`, the state of the Robot Operating System.
        ros -> "ros": object,
        /// Sets `uptime_sec`.
        uptime -> "uptime_sec": seconds,
        /// Sets `kernel_version`.
        kernel_version -> "kernel_version": text,
        /// Sets `os_version`.
        os_version -> "os_version": text,
    }
}

impl Compute {
    /// Sets `load_average` of the last 1, 5 and 15 minutes.
    pub fn load_average(self, loads: [f64; 3]) -> Self {
        self.member("load_average", loads.map(Value::from).to_vec())
    }
}

domain! {
    /// What is around a source: time of day, facility, weather, traffic. Source: UDM 0.0.3, schema 14.
    Context {
        /// Sets `time`.
        time -> "time": object,
        /// Sets `facility`.
        facility -> "facility": object,
        /// Sets `weather`.
        weather -> "weather": object,
        /// Sets `traffic`.
        traffic -> "traffic": object,
    }
}

fn object(members: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>) -> Object {
    let members = members.into_iter();
    members
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// Adds an item to an array, which is made where there is none.
fn push(members: &mut Object, name: &str, item: Object) {
    match members.get_mut(name) {
        Some(Value::Array(items)) => items.push(item.into()),
        _ => {
            members.insert(name.to_owned(), vec![Value::from(item)].into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::udm::envelope::EventType;
    use crate::udm::event::UdmEvent;

    #[test]
    fn what_the_builders_make_is_valid() {
        let time = Timestamp::UNIX_EPOCH;
        let second = Duration::from_secs(1);
        let event = UdmEvent::builder(EventType::TelemetrySnapshot, "rig-7", SourceType::Custom)
            .domain(
                Identity::new()
                    .source_id("rig-7")
                    .source_type(&SourceType::Custom)
                    .tags(["a", "b"])
                    .metadata([("room", "7")])
                    .mac_address("00:11:22:33:44:55"),
            )
            .domain(
                Operational::new()
                    .mode(Mode::Autonomous)
                    .state(State::Ready)
                    .previous_state(State::Booting)
                    .time_in_state(second)
                    .task([("id", "t1")])
                    .queue([("len", 3)])
                    .error([("code", 7)])
                    .error_count(1)
                    .is_available(true)
                    .uptime(second)
                    .last_boot(time),
            )
            .domain(
                Safety::new()
                    .safety_state(SafetyState::Normal)
                    .is_safe(true)
                    .e_stop([("active", false)])
                    .zone([("id", "z")])
                    .current_zone_ids(["z"])
                    .violation([("id", "v")])
                    .violation_count(1)
                    .speed_limit_mps(0.5)
                    .last_safety_check(time),
            )
            .domain(
                Compute::new()
                    .cpu([("usage_pct", 32.4)])
                    .gpu([("id", 0)])
                    .storage([("path", "data")])
                    .uptime(second)
                    .load_average([0.1, 0.2, 0.3]),
            )
            .domain(
                Context::new()
                    .time([("zone", "UTC")])
                    .facility(Object::new()),
            )
            .build()
            .unwrap();
        assert_eq!(event.domains().count(), 5);
    }

    #[test]
    fn an_item_is_added_also_where_a_member_was_no_array() {
        let safety = Safety::new().member("zones", "none").zone([("id", "z")]);
        assert_eq!(
            Value::Object(safety.into_members()),
            json!({"zones": [{"id": "z"}]})
        );
    }

    #[test]
    fn a_float_that_is_no_number_is_not_valid() {
        let error = UdmEvent::builder(EventType::Custom, "rig-7", SourceType::Custom)
            .domain(Safety::new().speed_limit_mps(f64::NAN))
            .build()
            .unwrap_err();
        assert_eq!(error.problems()[0].path, "/safety/speed_limit_mps");
    }
}
