//! The error of the event model: which member breaks which rule.

use std::fmt;

/// What is no UDM event, or one whose signature does not hold.
///
/// ```
/// use acqbus::udm::UdmEvent;
///
/// let text = r#"{
///     "udm_version": "0.0.3", "event_id": "1", "event_type": "error", "source_id": "", "source_type": "custom",
///     "captured_at": "2026-06-07T19:00:00Z", "operational": {"error_count": -1}
/// }"#;
/// let error = UdmEvent::from_json(text)?.validate().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the event is not valid: /source_id is empty; /operational/error_count is below 0",
/// );
/// # Ok::<(), acqbus::udm::UdmError>(())
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum UdmError {
    /// Text that is no JSON object.
    #[error("the event is no JSON object")]
    Json(#[source] serde_json::Error),
    /// Members that break rules of the schemas.
    #[error("the event is not valid: {}", Listed(problems, *more))]
    Invalid {
        /// What is wrong, in the order of the schema's required members, then of the event; 64 at most.
        problems: Vec<Problem>,
        /// How many more there are.
        more: usize,
    },
    /// A signing key that is too short to be one.
    #[error("a signing key has 16 bytes or more, and this one has {len}")]
    Key {
        /// Bytes of the key.
        len: usize,
    },
    /// An event without a signature, or with one of another algorithm than HMAC-SHA256.
    #[error("the event bears no signature of hmac-sha256")]
    NotSigned,
    /// A signed event with a member that its signature does not cover.
    #[error("the signature does not cover the member `{member}`")]
    NotCovered {
        /// The name of the member, cut where it is long.
        member: String,
    },
    /// A signature of another event, or by another key.
    #[error("the signature does not fit the event and the key")]
    Signature,
}

impl UdmError {
    /// Whether the text is no JSON object.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// Whether members break rules.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid { .. })
    }

    /// Whether a signature is missing, covers too little, or is wrong.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        matches!(
            self,
            Self::NotSigned | Self::NotCovered { .. } | Self::Signature
        )
    }

    /// The members that break rules; none for an error of another kind.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            _ => &[],
        }
    }
}

/// A member that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The member as a JSON pointer (RFC 6901), as `/operational/errors/0`, empty for the event itself; a long name in it is cut.
    pub path: String,
    /// The rule.
    pub rule: Rule,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "it"
        } else {
            &self.path
        };
        write!(f, "{path} {}", self.rule)
    }
}

/// A rule of the schemas.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The member has to be there.
    Required,
    /// It has to be of this type of JSON, as `string`.
    Type(&'static str),
    /// It has to be one of these texts.
    OneOf(&'static [&'static str]),
    /// It has to have a character at least.
    NotEmpty,
    /// It has to be a text of this form, as `1.2.3`.
    Pattern(&'static str),
    /// It has to be a date and time of RFC 3339.
    DateTime,
    /// It has to be this number or a larger one.
    AtLeast(i32),
    /// It has to be this number or a smaller one.
    AtMost(i32),
    /// It has to be a smaller number.
    Below(i32),
    /// It has to have this many items or more.
    MinItems(usize),
    /// It has to have this many items or fewer.
    MaxItems(usize),
}

impl Rule {
    /// The keyword of JSON Schema that states the rule.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Type(_) => "type",
            Self::OneOf(_) => "enum",
            Self::NotEmpty => "minLength",
            Self::Pattern(_) => "pattern",
            Self::DateTime => "format",
            Self::AtLeast(_) => "minimum",
            Self::AtMost(_) => "maximum",
            Self::Below(_) => "exclusiveMaximum",
            Self::MinItems(_) => "minItems",
            Self::MaxItems(_) => "maxItems",
        }
    }
}

impl fmt::Display for Rule {
    /// What is wrong with a member that breaks it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str("is missing"),
            Self::Type(name) => write!(f, "is not of type {name}"),
            Self::OneOf(names) => write!(f, "is none of {}", names.join(", ")),
            Self::NotEmpty => f.write_str("is empty"),
            Self::Pattern(form) => write!(f, "is not of the form {form}"),
            Self::DateTime => f.write_str("is no date and time of RFC 3339"),
            Self::AtLeast(bound) => write!(f, "is below {bound}"),
            Self::AtMost(bound) => write!(f, "is above {bound}"),
            Self::Below(bound) => write!(f, "is not below {bound}"),
            Self::MinItems(bound) => write!(f, "has fewer than {bound} items"),
            Self::MaxItems(bound) => write!(f, "has more than {bound} items"),
        }
    }
}

/// A text that an error shows, cut where it is long.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Some problems and how many more there are, as an error tells them.
struct Listed<'a>(&'a [Problem], usize);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(problems, more) = self;
        for (index, problem) in problems.iter().take(TOLD).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match problems.len().saturating_sub(TOLD) + more {
            0 => Ok(()),
            untold => write!(f, "; and {untold} more"),
        }
    }
}

/// Characters of a name that an error shows.
const SHOWN: usize = 80;

/// Problems that the text of an error tells.
const TOLD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_tells_the_first_and_counts_the_rest() {
        let problem = |path: &str| Problem {
            path: path.to_owned(),
            rule: Rule::Required,
        };
        let error = UdmError::Invalid {
            problems: ["/a", "/b", "/c", "/d", "/e"].map(problem).into(),
            more: 2,
        };
        assert_eq!(
            error.to_string(),
            "the event is not valid: /a is missing; /b is missing; /c is missing; /d is missing; and 3 more"
        );
        assert!(error.is_invalid() && !error.is_json() && !error.is_signature());
    }
}
