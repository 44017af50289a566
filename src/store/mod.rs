//! Events kept durably, queried, and reacted to.
