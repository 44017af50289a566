//! Members of an event against the rules of the schemas.

use serde_json::{Map, Number, Value};

use crate::udm::date_time::is_date_time;
use crate::udm::domain::Domain;
use crate::udm::error::{Problem, Rule, UdmError, cut};
use crate::udm::rules::{self, Form, Members, Range};

/// Checks any JSON value against the schemas of UDM 0.0.3, without making an event of it.
///
/// Numbers are compared as 64-bit floats, and `2.0` is an integer, as every reader of JSON has it. Members that the schemas do
/// not name may be anything.
///
/// # Errors
/// [`UdmError::Invalid`] with every member that breaks a rule.
///
/// # Examples
/// ```
/// use acqbus::udm::{self, Rule};
///
/// let error = udm::validate(&serde_json::json!({"event_id": ""})).unwrap_err();
/// let empty = error.problems().iter().find(|problem| problem.path == "/event_id").unwrap();
/// assert_eq!(empty.rule, Rule::NotEmpty);
/// assert_eq!(error.problems().len(), 6, "five members are missing");
/// ```
pub fn validate(value: &Value) -> Result<(), UdmError> {
    let mut findings = Findings::default();
    match value {
        Value::Object(members) => event(members, &mut findings),
        _ => findings.push(&At::Root, Rule::Type("object")),
    }
    findings.into_result()
}

/// As [`validate`], for the members of an object.
pub(super) fn validate_members(members: &Map<String, Value>) -> Result<(), UdmError> {
    let mut findings = Findings::default();
    event(members, &mut findings);
    findings.into_result()
}

/// Checks only that the members that every event has are there, and are text.
pub(super) fn validate_readable(members: &Map<String, Value>) -> Result<(), UdmError> {
    let mut findings = Findings::default();
    for (name, _) in rules::REQUIRED {
        match members.get(*name) {
            Some(Value::String(_)) => {}
            Some(_) => findings.push(&At::Member(&At::Root, name), STRING),
            None => findings.push(&At::Member(&At::Root, name), Rule::Required),
        }
    }
    findings.into_result()
}

fn event(members: &Map<String, Value>, findings: &mut Findings) {
    for (name, form) in rules::REQUIRED {
        let at = At::Member(&At::Root, name);
        match members.get(*name) {
            Some(value) => check(value, *form, &at, findings),
            None => findings.push(&at, Rule::Required),
        }
    }
    for (name, value) in members {
        let at = At::Member(&At::Root, name);
        if let Some(domain) = Domain::from_name(name) {
            object(value, rules::of(domain), &at, findings);
        } else if name == "provenance" {
            object(value, rules::PROVENANCE, &at, findings);
        } else if let Some(form) = form_of(rules::OPTIONAL, name) {
            check(value, form, &at, findings);
        }
    }
}

fn object(value: &Value, rules: Members, at: &At<'_>, findings: &mut Findings) {
    let Value::Object(members) = value else {
        return findings.push(at, OBJECT);
    };
    for (name, value) in members {
        if let Some(form) = form_of(rules, name) {
            check(value, form, &At::Member(at, name), findings);
        }
    }
}

fn form_of(rules: Members, name: &str) -> Option<Form> {
    rules
        .iter()
        .find_map(|(known, form)| (*known == name).then_some(*form))
}

fn check(value: &Value, form: Form, at: &At<'_>, findings: &mut Findings) {
    match form {
        Form::Text => text(value, at, findings, |_| None),
        Form::SomeText => text(value, at, findings, |text| {
            text.is_empty().then_some(Rule::NotEmpty)
        }),
        Form::OneOf(names) => text(value, at, findings, |text| {
            (!names.contains(&text)).then_some(Rule::OneOf(names))
        }),
        Form::DateTime => text(value, at, findings, |text| {
            (!is_date_time(text)).then_some(Rule::DateTime)
        }),
        Form::Version => text(value, at, findings, |text| {
            (!is_version(text)).then_some(Rule::Pattern("1.2.3-pre+build"))
        }),
        Form::MacAddress => text(value, at, findings, |text| {
            (!is_mac_address(text)).then_some(Rule::Pattern("00:11:22:aa:bb:cc"))
        }),
        Form::Flag if !value.is_boolean() => findings.push(at, Rule::Type("boolean")),
        Form::Flag => {}
        Form::Integer => integer(value, Range::default(), at, findings),
        Form::Count => integer(value, COUNT, at, findings),
        Form::Number(range) => number(value, range, at, findings),
        Form::Object if !value.is_object() => findings.push(at, OBJECT),
        Form::Object => {}
        Form::Objects => array(value, at, findings, |item, at, findings| {
            if !item.is_object() {
                findings.push(at, OBJECT);
            }
        }),
        Form::Texts => array(value, at, findings, |item, at, findings| {
            text(item, at, findings, |_| None);
        }),
        Form::TextObject => match value {
            Value::Object(members) => {
                for (name, value) in members {
                    text(value, &At::Member(at, name), findings, |_| None);
                }
            }
            _ => findings.push(at, OBJECT),
        },
        Form::Triple(range) => {
            let len = value.as_array().map_or(3, Vec::len);
            if len < 3 {
                findings.push(at, Rule::MinItems(3));
            } else if len > 3 {
                findings.push(at, Rule::MaxItems(3));
            }
            array(value, at, findings, |item, at, findings| {
                number(item, range, at, findings);
            });
        }
    }
}

fn text(
    value: &Value,
    at: &At<'_>,
    findings: &mut Findings,
    broken: impl FnOnce(&str) -> Option<Rule>,
) {
    let rule = match value {
        Value::String(text) => broken(text),
        _ => Some(STRING),
    };
    if let Some(rule) = rule {
        findings.push(at, rule);
    }
}

fn array(
    value: &Value,
    at: &At<'_>,
    findings: &mut Findings,
    item: impl Fn(&Value, &At<'_>, &mut Findings),
) {
    let Value::Array(items) = value else {
        return findings.push(at, Rule::Type("array"));
    };
    for (index, value) in items.iter().enumerate() {
        item(value, &At::Item(at, index), findings);
    }
}

fn integer(value: &Value, range: Range, at: &At<'_>, findings: &mut Findings) {
    match value {
        Value::Number(number) if is_integer(number) => within(number, range, at, findings),
        _ => findings.push(at, Rule::Type("integer")),
    }
}

fn number(value: &Value, range: Range, at: &At<'_>, findings: &mut Findings) {
    match value {
        Value::Number(number) => within(number, range, at, findings),
        _ => findings.push(at, Rule::Type("number")),
    }
}

fn within(number: &Number, range: Range, at: &At<'_>, findings: &mut Findings) {
    let number = float(number);
    if let Some(bound) = range.at_least.filter(|bound| number < f64::from(*bound)) {
        findings.push(at, Rule::AtLeast(bound));
    }
    if let Some(bound) = range.at_most.filter(|bound| number > f64::from(*bound)) {
        findings.push(at, Rule::AtMost(bound));
    }
    if let Some(bound) = range.below.filter(|bound| number >= f64::from(*bound)) {
        findings.push(at, Rule::Below(bound));
    }
}

/// Whether a number is a whole one: digits only, or a finite float without a fraction.
fn is_integer(number: &Number) -> bool {
    let digits_only = !number.as_str().contains(['.', 'e', 'E']);
    digits_only || float(number).fract() == 0.0
}

/// The nearest float; infinite for a number beyond all floats.
fn float(number: &Number) -> f64 {
    // Every number of JSON is one for `f64`.
    number.as_str().parse().unwrap_or(f64::NAN)
}

/// `^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`
fn is_version(text: &str) -> bool {
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    let (numbers, pre) = match text.split_once('-') {
        Some((numbers, pre)) => (numbers, Some(pre)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        !label.is_empty() && label.bytes().all(is_allowed)
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && pre.is_none_or(is_label)
        && build.is_none_or(is_label)
}

/// Six pairs of hexadecimal digits with `:` or `-` between them.
fn is_mac_address(text: &str) -> bool {
    text.len() == 17
        && text
            .bytes()
            .enumerate()
            .all(|(place, byte)| match place % 3 {
                2 => matches!(byte, b':' | b'-'),
                _ => byte.is_ascii_hexdigit(),
            })
}

/// Where a value stands; a path is written only for what is wrong.
enum At<'a> {
    Root,
    Member(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl At<'_> {
    fn write(&self, path: &mut String) {
        match self {
            Self::Root => {}
            Self::Member(parent, name) => {
                parent.write(path);
                path.push('/');
                path.push_str(&cut(name).replace('~', "~0").replace('/', "~1"));
            }
            Self::Item(parent, index) => {
                parent.write(path);
                path.push('/');
                path.push_str(&index.to_string());
            }
        }
    }
}

/// The problems found so far.
#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    more: usize,
}

impl Findings {
    fn push(&mut self, at: &At<'_>, rule: Rule) {
        if self.problems.len() == MAX_PROBLEMS {
            self.more += 1;
            return;
        }
        let mut path = String::new();
        at.write(&mut path);
        self.problems.push(Problem { path, rule });
    }

    fn into_result(self) -> Result<(), UdmError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(UdmError::Invalid {
            problems: self.problems,
            more: self.more,
        })
    }
}

const STRING: Rule = Rule::Type("string");

const OBJECT: Rule = Rule::Type("object");

const COUNT: Range = Range {
    at_least: Some(0),
    at_most: None,
    below: None,
};

/// A hostile event must not make an error that is larger than itself.
const MAX_PROBLEMS: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_those_of_the_pattern() {
        for good in [
            "0.0.3",
            "1.2.3-rc.1",
            "10.20.30+a-b.c",
            "1.2.3--+-",
            "01.2.3",
            "1.2.3-a-b+c",
        ] {
            assert!(is_version(good), "{good}");
        }
        for bad in [
            "",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-a+b+c",
            "1.2.3\n",
            " 1.2.3",
            "1..3",
            "\u{0661}.2.3",
        ] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn mac_addresses_are_those_of_the_pattern() {
        for good in [
            "00:11:22:aa:BB:cc",
            "00-11-22-33-44-55",
            "00:11-22:33-44:55",
        ] {
            assert!(is_mac_address(good), "{good}");
        }
        for bad in [
            "",
            "00:11:22:33:44",
            "00:11:22:33:44:5g",
            "001122334455",
            "00:11:22:33:44:555",
            "00.11.22.33.44.55",
        ] {
            assert!(!is_mac_address(bad), "{bad}");
        }
    }

    #[test]
    fn an_integer_is_a_number_without_a_fraction() {
        for good in [
            "0",
            "-0",
            "2.0",
            "1e3",
            "1.5e1",
            "9000000000000000000000000000000000",
        ] {
            assert!(is_integer(&good.parse().unwrap()), "{good}");
        }
        for bad in ["0.5", "1e-3", "1e999"] {
            assert!(!is_integer(&bad.parse().unwrap()), "{bad}");
        }
    }

    #[test]
    fn bounds_hold_for_numbers_of_any_size() {
        let latitude = |number: &str| {
            let number: Number = number.parse().unwrap();
            let mut findings = Findings::default();
            within(
                &number,
                Range {
                    at_least: Some(-90),
                    at_most: Some(90),
                    below: None,
                },
                &At::Root,
                &mut findings,
            );
            findings
                .problems
                .into_iter()
                .map(|problem| problem.rule)
                .collect::<Vec<_>>()
        };
        assert_eq!(latitude("90.0"), []);
        assert_eq!(latitude("-90"), []);
        assert_eq!(latitude("1e999"), [Rule::AtMost(90)]);
        assert_eq!(latitude("-1e999"), [Rule::AtLeast(-90)]);
        assert_eq!(latitude("90.00001"), [Rule::AtMost(90)]);
    }

    #[test]
    fn a_path_is_a_json_pointer() {
        let mut event = json!({"identity": {"metadata": {"a/b~c": 1}, "tags": ["x", null]}});
        for (name, _) in rules::REQUIRED {
            event[*name] = json!("x");
        }
        let error = validate(&event).unwrap_err();
        let paths: Vec<_> = error
            .problems()
            .iter()
            .map(|problem| &*problem.path)
            .collect();
        assert!(paths.contains(&"/identity/metadata/a~1b~0c"), "{paths:?}");
        assert!(paths.contains(&"/identity/tags/1"), "{paths:?}");
    }

    #[test]
    fn an_error_holds_64_problems_and_counts_the_rest() {
        let tags: Vec<_> = (0..1_000).collect();
        let Err(UdmError::Invalid { problems, more }) =
            validate(&json!({"identity": {"tags": tags}}))
        else {
            panic!("it is not valid");
        };
        assert_eq!((problems.len(), more), (64, 1_000 + 6 - 64));
    }

    #[test]
    fn what_is_no_object_is_no_event() {
        for value in [json!(null), json!([]), json!("x"), json!(1)] {
            assert_eq!(
                validate(&value).unwrap_err().to_string(),
                "the event is not valid: it is not of type object"
            );
        }
    }
}
