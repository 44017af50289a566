//! CHIRP beacons, good and bad, and the names that they carry as hashes.

use acqbus::chirp::{Beacon, BeaconKind, ChirpId, ServiceId};
use serde_json::Value as Json;

use crate::common::{items, text, unhex};
use crate::{Difference, Report};

pub(crate) fn run_beacons(file: &Json, report: &mut Report) {
    for vector in items(file, "valid") {
        report.ran();
        let case = text(vector, "hex");
        let bytes = unhex(case);
        let beacon = match Beacon::decode(&bytes) {
            Ok(beacon) => beacon,
            Err(error) => {
                report.wrong(case, &format!("refused: {error}"));
                continue;
            }
        };
        let expected = Beacon {
            kind: kind_of(vector),
            group: ChirpId::of(text(vector, "group")),
            host: ChirpId::of(text(vector, "host")),
            service: service_of(vector),
            port: number(vector, "port"),
        };
        report.check(case, beacon, expected);
        report.check(case, beacon.encode().to_vec(), bytes);
        let uuids = (beacon.group.to_string(), beacon.host.to_string());
        let peers = (text(vector, "group_uuid"), text(vector, "host_uuid"));
        report.check(case, (uuids.0.as_str(), uuids.1.as_str()), peers);
    }
    for vector in items(file, "invalid") {
        report.ran();
        let case = text(vector, "name");
        let bytes = unhex(text(vector, "hex"));
        let decoded = Beacon::decode(&bytes);
        let cxx = vector["cxx"]["accepts"].as_bool();
        let python = &vector["python"];
        if python["accepts"] == true && cxx == Some(false) {
            let is_nothing = python["type"] == "NONE" || python["service"] == "NONE";
            report.check(case, (decoded.is_err(), is_nothing), (true, true));
            report.differs(case, Difference::BeaconForNothing);
            continue;
        }
        report.check(case, Some(decoded.is_ok()), python["accepts"].as_bool());
        if let Some(cxx) = cxx {
            report.check(case, decoded.is_ok(), cxx);
        }
        if let Ok(beacon) = decoded {
            report.check(case, beacon.encode().to_vec(), bytes);
            report.check(case, beacon.port, number(python, "port"));
        }
    }
}

pub(crate) fn run_names(file: &Json, report: &mut Report) {
    for vector in items(file, "names") {
        report.ran();
        let name = text(vector, "name");
        let case = format!("{name:?}");
        let id = ChirpId::of(name);
        report.check(&case, id.as_bytes().to_vec(), unhex(text(vector, "bytes")));
        report.check(&case, id.to_string().as_str(), text(vector, "uuid"));
        report.check(&case, id, ChirpId::of(text(vector, "hashed")));
        if vector["cxx_same"] == false {
            let folded_otherwise = name.to_lowercase() != name.to_ascii_lowercase();
            report.check(&case, folded_otherwise, true);
            report.differs(&case, Difference::CxxNames);
        } else if let Some(cxx) = vector["cxx_bytes"].as_str() {
            report.check(&case, id.as_bytes().to_vec(), unhex(cxx));
        }
    }
}

fn kind_of(vector: &Json) -> BeaconKind {
    match (text(vector, "type"), number(vector, "type_id")) {
        ("REQUEST", 1) => BeaconKind::Request,
        ("OFFER", 2) => BeaconKind::Offer,
        ("DEPART", 3) => BeaconKind::Depart,
        other => panic!("no kind {other:?}"),
    }
}

fn service_of(vector: &Json) -> ServiceId {
    let service: ServiceId = text(vector, "service").parse().expect("a service");
    assert_eq!(service as u16, number(vector, "service_id"));
    service
}

fn number(value: &Json, member: &str) -> u16 {
    let number = value[member].as_u64().and_then(|n| u16::try_from(n).ok());
    number.unwrap_or_else(|| panic!("no number {member} in {value}"))
}
