//! Validation against the public schemas of UDM 0.0.3 and their conformance suite.
//!
//! They are read from `$ACQBUS_VECTORS/udm`, or from `../shared/vectors/udm` beside this project; they belong to the authors of
//! UDM and are not copied here. Without them a line says that nothing was run.
//!
//! The second judge is the crate `jsonschema` with the same schemas: on every fixture and on events that were spoiled at random
//! it has to find fault with the same members for the same rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use acqbus::udm::{Domain, EventType, Rule, UdmError, UdmEvent, validate};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Resource, Validator};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

#[test]
fn every_fixture_is_judged_as_the_suite_says() {
    let Some(fixtures) = fixtures() else { return };
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        let name = text(fixture, "name");
        let read = UdmEvent::from_json(fixture["event"].to_string());
        let judged = read.as_ref().map_err(|_| ()).map(UdmEvent::validate);
        let is_valid = matches!(judged, Ok(Ok(())));
        if is_valid != (text(fixture, "expected") == "valid") {
            wrong.push(format!("{name}: {read:?}"));
        }
        if is_valid {
            let event = read.expect("it was read");
            let (ours, theirs) = (event.to_json(), fixture["event"].to_string());
            if ours != theirs {
                wrong.push(format!("{name}: written as {ours}"));
            }
            continue;
        }
        let problems = validate(&fixture["event"]).expect_err("it is not valid");
        let keywords: Vec<_> = problems
            .problems()
            .iter()
            .map(|problem| keyword_of_the_suite(problem.rule))
            .collect();
        if keywords != [text(fixture, "keyword")] {
            wrong.push(format!("{name}: {problems}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("conformance.json: {} cases", fixtures.len());
}

#[test]
fn schemas_and_validation_find_the_same_faults_in_every_fixture() {
    let (Some(fixtures), Some(schemas)) = (fixtures(), Schemas::load()) else {
        return;
    };
    for fixture in &fixtures {
        schemas.assert_same(&fixture["event"]);
    }
    println!("schemas: {} fixtures", fixtures.len());
}

/// Every member that a schema names, with values of every type in it.
#[test]
fn schemas_and_validation_agree_on_every_member_of_every_schema() {
    let Some(schemas) = Schemas::load() else {
        return;
    };
    let mut members = 0;
    for (domain, properties) in &schemas.properties {
        for (name, property) in properties {
            members += 1;
            for value in values(property) {
                let mut event = plain_event();
                match domain.as_str() {
                    "" => event[name] = value,
                    domain => event[domain] = json!({ name: value }),
                }
                schemas.assert_same(&event);
            }
        }
    }
    assert!(members > 200, "only {members} members");
    println!("schemas: {members} members");
}

#[test]
fn schemas_and_validation_agree_on_events_spoiled_at_random() {
    let (Some(fixtures), Some(schemas)) = (fixtures(), Schemas::load()) else {
        return;
    };
    let cases = std::env::var("ACQBUS_UDM_CASES").map_or(4_000, |cases| {
        cases.parse().expect("ACQBUS_UDM_CASES is a number")
    });
    let mut random = Pcg64Mcg::seed_from_u64(6);
    let mut refused = 0;
    for _ in 0..cases {
        let at = random.next_u64() as usize % fixtures.len();
        let mut event = fixtures[at]["event"].clone();
        for _ in 0..=random.next_u64() % 3 {
            schemas.spoil(&mut event, &mut random);
        }
        refused += usize::from(!schemas.assert_same(&event));
    }
    assert!(
        refused > cases / 10 && refused < cases,
        "{refused} of {cases} refused"
    );
    println!("schemas: {cases} spoiled events, {refused} refused by both");
}

/// The schemas as the judge, and what they name.
struct Schemas {
    validator: Validator,
    /// By domain, with `""` for the event itself: the members and their schemas.
    properties: Vec<(String, Map<String, Value>)>,
}

impl Schemas {
    fn load() -> Option<Self> {
        let folder = present("schemas")?;
        let event = read(&folder.join("event.schema.json"));
        let envelope = read(&folder.join("envelope.schema.json"));
        let mut properties = Vec::new();
        let mut resources = vec![resource(&envelope), resource(&event)];
        let mut own = object(&envelope, "properties").clone();
        for (name, property) in object(&event, "properties") {
            let Some(reference) = property["$ref"].as_str() else {
                own.insert(name.clone(), property.clone());
                if let Some(members) = property["properties"].as_object() {
                    properties.push((name.clone(), members.clone()));
                }
                continue;
            };
            let domain = read(&folder.join(reference));
            properties.push((name.clone(), object(&domain, "properties").clone()));
            own.insert(name.clone(), json!({ "type": "object" }));
            resources.push(resource(&domain));
        }
        assert_eq!(
            properties.len(),
            Domain::ALL.len() + 1,
            "23 domains and the provenance"
        );
        properties.push((String::new(), own));
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .with_resources(resources.into_iter())
            .build(&event)
            .expect("the schemas");
        Some(Self {
            validator,
            properties,
        })
    }

    /// Fails unless both find the same faults; tells whether there are none.
    #[track_caller]
    fn assert_same(&self, event: &Value) -> bool {
        let mut theirs: BTreeSet<(String, String)> = self
            .validator
            .iter_errors(event)
            .map(|error| {
                let mut path = error.instance_path.to_string();
                if let ValidationErrorKind::Required { property } = &error.kind {
                    path = format!("{path}/{}", property.as_str().expect("a name"));
                }
                let keyword = error.schema_path.to_string();
                let keyword = keyword.rsplit('/').next().expect("a keyword");
                (path, keyword.to_owned())
            })
            .collect();
        // What is of another type is in no enum and in no range either; we say it once.
        let of_wrong_type: Vec<_> = theirs
            .iter()
            .filter(|(_, keyword)| keyword == "type")
            .map(|(path, _)| path.clone())
            .collect();
        theirs.retain(|(path, keyword)| keyword == "type" || !of_wrong_type.contains(path));
        let ours: BTreeSet<(String, String)> = match validate(event) {
            Ok(()) => BTreeSet::new(),
            Err(UdmError::Invalid { problems, more }) => {
                assert_eq!(more, 0);
                let problems = problems.into_iter();
                problems
                    .map(|problem| (problem.path, problem.rule.keyword().to_owned()))
                    .collect()
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(ours, theirs, "ours, then theirs, in {event}");
        ours.is_empty()
    }

    /// Changes, adds or takes away a member, by preference one that a schema names.
    fn spoil(&self, event: &mut Value, random: &mut Pcg64Mcg) {
        let mut below = |len: usize| random.next_u64() as usize % len.max(1);
        let (domain, properties) = &self.properties[below(self.properties.len())];
        let Some((name, property)) = properties.iter().nth(below(properties.len())) else {
            return;
        };
        let members = match domain.as_str() {
            "" => event,
            domain if event[domain].is_object() => &mut event[domain],
            domain => {
                event[domain] = json!({});
                &mut event[domain]
            }
        };
        let members = members.as_object_mut().expect("an object");
        let mut values = values(property);
        match below(8) {
            0 => {
                members.shift_remove(name);
            }
            1 => {
                members.insert(format!("{name}_x"), values.swap_remove(below(values.len())));
            }
            _ => {
                members.insert(name.clone(), values.swap_remove(below(values.len())));
            }
        }
    }
}

/// Values of every type of JSON, at and beside the bounds of a property, and in and beside its enum and its pattern.
fn values(property: &Value) -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(""),
        json!("x"),
        json!("2026-06-07T19:00:00Z"),
        json!("2026-06-07T19:00:00.123+05:30"),
        json!("2026-06-07t19:00:00z"),
        json!("2026-02-29T19:00:00Z"),
        json!("2026-06-07 19:00:00Z"),
        json!("2026-06-07T19:00:00"),
        json!("2026-06-07"),
        json!("1990-12-31T23:59:60Z"),
        json!("1.2.3"),
        json!("1.2.3-rc.1+b"),
        json!("1.2"),
        json!("1.2.3\n"),
        json!("00:11:22:aa:BB:cc"),
        json!("00-11-22-33-44-55"),
        json!("00:11:22:33:44"),
        json!([]),
        json!([1]),
        json!([0.5, 1, 2]),
        json!([0, -1, "x"]),
        json!([1, 2, 3, 4]),
        json!(["a", "b"]),
        json!(["a", null]),
        json!([{}]),
        json!([{ "a": 1 }, []]),
        json!({}),
        json!({ "a": "b" }),
        json!({ "a": 1, "b": null }),
    ];
    let numbers = [
        "0",
        "-0.0",
        "-1",
        "1",
        "1.0",
        "0.5",
        "-0.5",
        "1e3",
        "89.9",
        "90",
        "90.5",
        "-90",
        "-91",
        "100",
        "100.1",
        "180",
        "180.1",
        "-180",
        "-181",
        "359.999",
        "360",
        "720",
        "9000000000",
    ];
    let numbers = numbers.map(|number| Value::Number(number.parse().expect("a number")));
    values.extend(numbers);
    if let Some(names) = property["enum"].as_array() {
        values.extend(names.iter().cloned());
        let upper = names
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_uppercase);
        values.extend(upper.map(Value::from));
    }
    values
}

fn plain_event() -> Value {
    json!({
        "udm_version": "0.0.3",
        "event_id": "01940000-0000-7000-8000-000000000001",
        "event_type": EventType::TelemetryPeriodic.as_str(),
        "source_id": "rig-7",
        "source_type": "custom",
        "captured_at": "2026-06-07T19:00:00Z",
    })
}

/// The suite calls every upper bound a maximum.
fn keyword_of_the_suite(rule: Rule) -> &'static str {
    match rule {
        Rule::Below(_) => "maximum",
        rule => rule.keyword(),
    }
}

fn fixtures() -> Option<Vec<Value>> {
    let fixtures = read(&present("conformance.json")?);
    let fixtures = fixtures.as_array().expect("a list").clone();
    assert!(!fixtures.is_empty(), "no fixtures");
    Some(fixtures)
}

/// A file or folder of the set; says so where there is none.
fn present(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("ACQBUS_VECTORS") {
        Some(folder) => PathBuf::from(folder).join("udm"),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/udm"),
    };
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: there is no {}", path.display());
    None
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn resource(schema: &Value) -> (String, Resource) {
    let resource = Resource::from_contents(schema.clone()).expect("a schema");
    (text(schema, "$id").to_owned(), resource)
}

fn object<'a>(value: &'a Value, member: &str) -> &'a Map<String, Value> {
    value[member].as_object().expect("an object")
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().expect("text")
}
