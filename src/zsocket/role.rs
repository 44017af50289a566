//! What the owner of a key may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::zsocket::error::KeyError;

/// What the owner of a key may do; each role may also do what the ones before it may.
///
/// ```
/// use acqbus::zsocket::Role;
///
/// assert!(Role::Admin > Role::Operator && Role::Operator > Role::Viewer);
/// assert_eq!("operator".parse::<Role>()?, Role::Operator);
/// # Ok::<(), acqbus::zsocket::KeyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks on.
    Viewer,
    /// Runs the rig.
    Operator,
    /// Runs the rig, and whatever else is kept from operators.
    Admin,
}

impl Role {
    /// The name, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| KeyError::InvalidRole {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
