//! What a receiver makes of whole runs, good and bad.

use acqbus::cdtp::{
    FaultKind, PeerId, ReceiverOptions, ReceiverState, RunCondition, RunEvent, TransmitterState,
};
use acqbus::chirp::ChirpId;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::common::{items, text, unhex};
use crate::messages::hex;
use crate::typed::tags;
use crate::{Difference, Report};

pub(crate) fn run_receiver(file: &Json, report: &mut Report) {
    for scenario in items(file, "scenarios") {
        report.ran();
        run_scenario(text(scenario, "name"), scenario, report);
    }
}

fn run_scenario(case: &str, scenario: &Json, report: &mut Report) {
    let listed: Option<Vec<&str>> = scenario["accepted_senders"]
        .as_array()
        .map(|names| names.iter().filter_map(Json::as_str).collect());
    let mut options = ReceiverOptions::default();
    if let Some(names) = &listed {
        options = options.senders(names.iter().copied());
    }
    let mut state = ReceiverState::new(&options);
    let mut events = Vec::new();
    let mut last = 0;
    for step in items(scenario, "steps") {
        let from = ChirpId::of(text(step, "from"));
        let wanted = listed
            .iter()
            .flatten()
            .any(|name| ChirpId::of(name) == from);
        let delivered = wanted || listed.is_none();
        report.check(case, Some(delivered), step["delivered"].as_bool());
        if delivered {
            last = events.len();
            let peer = PeerId(from.as_bytes().iter().fold(0, |id, byte| {
                u64::wrapping_add(id.wrapping_mul(31), (*byte).into())
            }));
            events.extend(state.receive(peer, unhex(text(step, "hex")).into()));
        }
    }
    let dies = scenario.get("pull_exception");
    if dies.is_some() {
        goes_on(case, &events[last..], report);
        events.truncate(last);
    }
    let exact = is_counted_otherwise(scenario, &events);
    if exact {
        report.differs(case, Difference::CountsByNumber);
    }
    if state.states().len()
        < scenario["states_after_stop"]
            .as_object()
            .map_or(0, Map::len)
    {
        report.differs(case, Difference::CaseOfNames);
    }
    told(case, &events, &scenario["events"], exact, report);
    let bytes = scenario["bytes_received"].as_u64();
    report.check(case, Some(state.stats().bytes), bytes);
    if dies.is_none() {
        states(case, &state, &scenario["states_before_stop"], exact, report);
        stop(case, &mut state, scenario, report);
        states(case, &state, &scenario["states_after_stop"], exact, report);
    }
}

/// Where the peer ends, we tell what is wrong, or that a run begins anew.
fn goes_on(case: &str, events: &[RunEvent], report: &mut Report) {
    report.differs(case, Difference::GoesOn);
    let as_it_should = match events {
        [RunEvent::Fault(fault)] => match &fault.kind {
            FaultKind::Undecodable(_) | FaultKind::Empty => true,
            FaultKind::DataWithoutBor | FaultKind::EorWithoutBor => !fault.marked,
            _ => false,
        },
        [RunEvent::Substitute(_), RunEvent::Bor(bor)] => bor.restarted,
        [RunEvent::Bor(bor)] => !bor.restarted,
        _ => false,
    };
    report.check(&format!("{case}: {events:?}"), as_it_should, true);
}

/// Whether numbers came twice, or one that no run has, so that the peer's sum of steps is off.
fn is_counted_otherwise(scenario: &Json, events: &[RunEvent]) -> bool {
    let duplicates = events.iter().any(|event| match event {
        RunEvent::Record(record) => {
            record.sequence() == 0 || record.arrival() == acqbus::cdtp::Arrival::Duplicate
        }
        _ => false,
    });
    duplicates && scenario.get("pull_exception").is_none()
}

fn told(case: &str, events: &[RunEvent], peers: &Json, exact: bool, report: &mut Report) {
    let peers = peers.as_array().map_or(&[][..], Vec::as_slice);
    let is_of_the_peer = |event: &&RunEvent| !matches!(event, RunEvent::Lost(_));
    let ours: Vec<_> = events.iter().filter(is_of_the_peer).collect();
    report.check(case, ours.len(), peers.len());
    for (ours, peers) in ours.into_iter().zip(peers) {
        report.check(case, ours.sender(), Some(text(peers, "sender")));
        let map = |member: &str| format!("{:?}", tags(&peers[member]));
        match (ours, text(peers, "cb")) {
            (RunEvent::Bor(bor), "bor") => {
                report.check(case, format!("{:?}", bor.user_tags), map("user_tags"));
                report.check(
                    case,
                    format!("{:?}", bor.configuration),
                    map("configuration"),
                );
            }
            (RunEvent::Eor(eor) | RunEvent::Substitute(eor), "eor") => {
                report.check(case, format!("{:?}", eor.user_tags), map("user_tags"));
                if exact && eor.counts.missed > 0 {
                    let incomplete = eor.condition.contains(RunCondition::INCOMPLETE);
                    report.check(case, incomplete, true);
                } else {
                    report.check(case, format!("{:?}", eor.metadata), map("run_metadata"));
                }
            }
            (RunEvent::Record(record), "data") => {
                report.check(case, Ok(record.sequence()), text(peers, "seq").parse());
                report.check(case, format!("{:?}", record.tags()), map("tags"));
                let blocks = record.blocks().map(|block| hex(&Sha256::digest(block)));
                let peers = items(peers, "blocks").iter();
                let peers = peers.map(|block| text(block, "sha256").to_owned());
                report.check(case, blocks.collect::<Vec<_>>(), peers.collect::<Vec<_>>());
            }
            (ours, peers) => report.wrong(case, &format!("{peers} is told as {ours:?}")),
        }
    }
}

fn states(case: &str, state: &ReceiverState, peers: &Json, exact: bool, report: &mut Report) {
    let ours = state.states();
    let Some(peers) = peers.as_object() else {
        return;
    };
    for (name, peers) in peers {
        let Some(ours) = ours.get(name) else {
            // Only a listed name that is spelled otherwise by its sender.
            let other = ours
                .keys()
                .any(|own| own.to_lowercase() == name.to_lowercase());
            report.check(case, other, true);
            continue;
        };
        let number = match text(peers, "state") {
            "NOT_CONNECTED" => TransmitterState::NotConnected,
            "BOR_RECEIVED" => TransmitterState::BorReceived,
            _ => TransmitterState::EorReceived,
        };
        report.check(case, ours.state, number);
        report.check(case, Ok(ours.sequence), text(peers, "seq").parse());
        if !exact {
            report.check(case, Ok(ours.missed), text(peers, "missed").parse());
        }
    }
}

fn stop(case: &str, state: &mut ReceiverState, scenario: &Json, report: &mut Report) {
    let substitutes = state.substitute_open_runs();
    told(
        case,
        &substitutes,
        &scenario["events_on_stop"],
        false,
        report,
    );
    report.check(
        case,
        substitutes.is_empty(),
        scenario["stop"]["error"].is_null(),
    );
    let message = scenario["stop"]["message"].as_str().unwrap_or_default();
    for name in substitutes.iter().filter_map(RunEvent::sender) {
        report.check(case, message.contains(&format!("'{name}'")), true);
    }
    report.check(case, state.substitute_open_runs().len(), 0);
}
