//! What an event must satisfy to be kept.

use std::cell::LazyCell;

use serde_json::Value;

use crate::event::{Event, EventType, Payload, Subscription};

mod equal;

/// A question to the payload of an event.
///
/// Source: hat-event 0.9.44, LMDB backend.
///
/// # Examples
/// ```
/// use acqbus::event::{Event, EventId, EventType, Json, Payload, Subscription, Timestamp};
/// use acqbus::store::{Condition, ConditionRule, Conditions, DataType, PathSegment};
///
/// let hot = Condition::Json {
///     data_path: vec![PathSegment::Key("state".into()), PathSegment::Index(-1)],
///     data_type: Some(DataType::String),
///     data_value: Some("hot".into()),
/// };
/// let conditions = Conditions::new([ConditionRule::new(Subscription::all(), hot)]);
///
/// let id = EventId::new(1, 1, 1);
/// let event = Event::new(id, EventType::new(["oven"]), Timestamp::now());
/// assert!(!conditions.passes(&event));
/// let payload = Json::new(r#"{"state": ["cold", "hot"]}"#)?;
/// assert!(conditions.passes(&event.with_payload(Payload::Json(payload))));
/// # Ok::<(), acqbus::event::EventError>(())
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All of these hold; holds when there are none.
    All(Vec<Self>),
    /// One of these holds; does not hold when there are none.
    Any(Vec<Self>),
    /// The payload is JSON, and what is at a place in it is of a type and equal to a value.
    Json {
        /// The place, from the outside; the whole data when empty. A place that is not there holds null.
        data_path: Vec<PathSegment>,
        /// The type; `None`: any.
        data_type: Option<DataType>,
        /// The value; `None`: any. Integers, floats and booleans are equal when their numbers are, also within
        /// arrays and objects: `1`, `1.0` and `true`.
        data_value: Option<Value>,
    },
}

/// One step into JSON data.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// The member of an object.
    Key(String),
    /// The item of an array, from 0; a negative one counts from the end.
    Index(i64),
}

/// The type of a piece of JSON data.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// `null`, and what is not there.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A text.
    String,
    /// An integer or a float; no boolean.
    Number,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A condition, and the types of the events that must satisfy it.
#[derive(Debug, Clone)]
pub struct ConditionRule {
    /// The types; other events need not satisfy the condition.
    pub subscriptions: Subscription,
    /// What these events must satisfy.
    pub condition: Condition,
}

impl ConditionRule {
    /// A rule for events of some types.
    #[must_use]
    pub fn new(subscriptions: Subscription, condition: Condition) -> Self {
        Self {
            subscriptions,
            condition,
        }
    }
}

/// The rules of a store, asked together.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    rules: Vec<ConditionRule>,
}

impl Conditions {
    /// Rules that all have to be satisfied.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = ConditionRule>) -> Self {
        Self {
            rules: rules.into_iter().collect(),
        }
    }

    /// Whether an event satisfies every rule that is about its type; one that no rule is about passes.
    ///
    /// Its payload is read once at most, and only if a rule asks for it.
    #[must_use]
    pub fn passes(&self, event: &Event) -> bool {
        let data = LazyCell::new(|| match &event.payload {
            Some(Payload::Json(json)) => Some(json.to_value()),
            _ => None,
        });
        self.about(&event.event_type)
            .all(|rule| rule.condition.holds(&|| data.as_ref()))
    }

    /// Whether some rule is about events of a type.
    #[must_use]
    pub fn concern(&self, event_type: &EventType) -> bool {
        self.about(event_type).next().is_some()
    }

    fn about(&self, event_type: &EventType) -> impl Iterator<Item = &ConditionRule> {
        self.rules
            .iter()
            .filter(|rule| rule.subscriptions.matches(event_type))
    }
}

impl Condition {
    /// Asks for the data only where it is looked at.
    fn holds<'a>(&self, data: &dyn Fn() -> Option<&'a Value>) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|one| one.holds(data)),
            Self::Any(conditions) => conditions.iter().any(|one| one.holds(data)),
            Self::Json {
                data_path,
                data_type,
                data_value,
            } => {
                let Some(data) = data() else {
                    return false;
                };
                let found = at(data, data_path);
                data_type.is_none_or(|wanted| wanted.is_of(found))
                    && data_value
                        .as_ref()
                        .is_none_or(|wanted| equal::is_equal(found, wanted))
            }
        }
    }
}

impl DataType {
    fn is_of(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// What is at a place; null if nothing is.
fn at<'a>(data: &'a Value, path: &[PathSegment]) -> &'a Value {
    path.iter()
        .try_fold(data, |data, segment| match segment {
            PathSegment::Key(key) => data.as_object()?.get(key),
            PathSegment::Index(index) => {
                let items = data.as_array()?;
                let place = match usize::try_from(*index) {
                    Ok(place) => place,
                    Err(_) => {
                        let from_end = usize::try_from(index.unsigned_abs()).ok()?;
                        items.len().checked_sub(from_end)?
                    }
                };
                items.get(place)
            }
        })
        .unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{EventId, Json, Timestamp};

    #[test]
    fn place_that_is_not_there_holds_null() {
        let data = json!({"a": [1, {"b": 2}]});
        let key = |key: &str| PathSegment::Key(key.into());
        let index = PathSegment::Index;
        assert_eq!(at(&data, &[]), &data);
        assert_eq!(at(&data, &[key("a"), index(1), key("b")]), &json!(2));
        assert_eq!(at(&data, &[key("a"), index(-2)]), &json!(1));
        for path in [
            vec![key("b")],
            vec![index(0)],
            vec![key("a"), index(2)],
            vec![key("a"), index(-3)],
            vec![key("a"), index(i64::MIN)],
            vec![key("a"), index(i64::MAX)],
            vec![key("a"), index(0), key("x")],
        ] {
            assert_eq!(at(&data, &path), &Value::Null, "{path:?}");
        }
    }

    #[test]
    fn event_that_no_rule_is_about_passes() {
        let about_a = Subscription::new([EventType::new(["a"])]).unwrap();
        let never = ConditionRule::new(about_a, Condition::Any(Vec::new()));
        let conditions = Conditions::new([never]);
        assert!(conditions.passes(&event("b", None)));
        assert!(!conditions.passes(&event("a", None)));
        assert!(conditions.concern(&EventType::new(["a"])));
        assert!(!conditions.concern(&EventType::new(["b"])));
    }

    #[test]
    fn empty_all_holds_and_the_payload_is_not_asked_for() {
        let always = ConditionRule::new(Subscription::all(), Condition::All(Vec::new()));
        assert!(Conditions::new([always]).passes(&event("a", None)));
    }

    #[test]
    fn type_of_what_is_not_there_is_null() {
        let gone = Condition::Json {
            data_path: vec![PathSegment::Key("x".into())],
            data_type: Some(DataType::Null),
            data_value: None,
        };
        let conditions = Conditions::new([ConditionRule::new(Subscription::all(), gone)]);
        assert!(conditions.passes(&event("a", Some("{}"))));
        assert!(!conditions.passes(&event("a", Some(r#"{"x": false}"#))));
        assert!(!conditions.passes(&event("a", None)));
    }

    fn event(event_type: &str, json: Option<&str>) -> Event {
        let id = EventId::new(1, 1, 1);
        let event = Event::new(id, EventType::new([event_type]), Timestamp::new(0, 0));
        match json {
            Some(text) => event.with_payload(Payload::Json(Json::new(text).unwrap())),
            None => event,
        }
    }
}
