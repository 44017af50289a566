//! Which event types somebody wants.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::error::EventError;
use crate::event::event_type::EventType;
use crate::event::trie::{ROOT, Trie};

/// Which event types somebody wants: all that one of its query types asks for; cloning is cheap.
///
/// A segment `?` asks for any one segment, `*` as the last one for all the rest, also none; any other for itself.
/// What a `*` asks for already is not kept. Two are equal if their query types are; there may be two different ones that want the
/// same events. Its form is a list of query types.
///
/// ```
/// use acqbus::event::{EventType, Subscription};
///
/// let types = |texts: &[&str]| texts.iter().map(|text| EventType::from(*text)).collect::<Vec<_>>();
/// let rig = Subscription::new(types(&["rig-1/*", "rig-1/status"]))?;
/// assert_eq!(rig.query_types(), types(&["rig-1/*"]));
/// assert!(rig.matches(&EventType::from("rig-1/event/error")));
///
/// let status = Subscription::new(types(&["?/status"]))?;
/// assert_eq!(rig.intersection(&status).query_types(), types(&["rig-1/status"]));
/// assert!(status.is_disjoint(&Subscription::new(types(&["rig-1"]))?));
/// # Ok::<(), acqbus::event::EventError>(())
/// ```
#[derive(Clone)]
pub struct Subscription {
    trie: Arc<Trie<Mark>>,
}

impl Subscription {
    /// Wants what the query types ask for.
    ///
    /// # Errors
    /// [`EventError::QueryType`] if `*` is not the last segment of one, unless an earlier one asks for all of it before that
    /// place, as in hat-event.
    pub fn new(query_types: impl IntoIterator<Item = EventType>) -> Result<Self, EventError> {
        let mut trie = Trie::default();
        for query_type in query_types {
            insert(&mut trie, &query_type)?;
        }
        Ok(Self {
            trie: Arc::new(trie),
        })
    }

    /// Wants every event.
    #[must_use]
    pub fn all() -> Self {
        let mut trie = Trie::default();
        mark_star(&mut trie, ROOT);
        Self {
            trie: Arc::new(trie),
        }
    }

    /// Wants no event.
    #[must_use]
    pub fn none() -> Self {
        Self {
            trie: Arc::default(),
        }
    }

    /// The query types that are left, in order.
    #[must_use]
    pub fn query_types(&self) -> Vec<EventType> {
        let mut found = Vec::new();
        let _ = self.each_common(&Self::all(), &mut |path, star| {
            let last = star.then_some("*");
            found.push(EventType::new(path.iter().copied().chain(last)));
            ControlFlow::Continue(())
        });
        found.sort();
        found
    }

    /// Whether an event type is wanted.
    ///
    /// Allocates nothing, and takes about as long for a thousand query types as for one.
    #[must_use]
    pub fn matches(&self, event_type: &EventType) -> bool {
        let mut found = false;
        self.trie.walk(event_type, |_, mark, whole| {
            found = mark.star || (whole && mark.leaf);
            if found {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        found
    }

    /// Wants what either wants.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::of_valid(self.query_types().into_iter().chain(other.query_types()))
    }

    /// Wants what both want, exactly; hat-event loses types that end where the other has `*`.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut trie = Trie::default();
        let _ = self.each_common(other, &mut |path, star| {
            insert_valid(&mut trie, path, star);
            ControlFlow::Continue(())
        });
        Self {
            trie: Arc::new(trie),
        }
    }

    /// Whether there is no event type that both want, exactly.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.each_common(other, &mut |_, _| ControlFlow::Break(()))
            .is_continue()
    }

    /// Whether hat-event 0.9.44 takes the two for disjoint.
    ///
    /// It says no for some that are: `a` and `a/b`, for example. A store asks this only where it is to choose partitions as
    /// hat-event does.
    #[must_use]
    pub fn is_disjoint_as_reference(&self, other: &Self) -> bool {
        let mut left = vec![(ROOT, ROOT)];
        while let Some((own, their)) = left.pop() {
            let (mark, their_mark) = (self.trie.value(own), other.trie.value(their));
            let wants = |trie: &Trie<Mark>, node, mark: &Mark| {
                mark.leaf || mark.star || trie.has_children(node)
            };
            if (mark.leaf && their_mark.leaf)
                || (mark.star && wants(&other.trie, their, their_mark))
                || (their_mark.star && wants(&self.trie, own, mark))
            {
                return false;
            }
            let children = self.trie.has_children(own);
            let their_children = other.trie.has_children(their);
            // The rule that is wrong.
            if (!children && mark.leaf && their_children)
                || (!their_children && their_mark.leaf && children)
            {
                return false;
            }
            for (own, their, _) in child_pairs(&self.trie, own, &other.trie, their) {
                left.push((own, their));
            }
        }
        true
    }

    /// Whether every event is wanted because of the query type `*`.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.trie.value(ROOT).star
    }

    /// Whether no event is wanted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let mark = self.trie.value(ROOT);
        !mark.leaf && !mark.star && !self.trie.has_children(ROOT)
    }

    /// Query types that a subscription had.
    fn of_valid(query_types: impl Iterator<Item = EventType>) -> Self {
        let mut trie = Trie::default();
        for query_type in query_types {
            let mut path: Vec<&str> = query_type.segments().collect();
            let star = path.last() == Some(&"*");
            if star {
                path.pop();
            }
            insert_valid(&mut trie, &path, star);
        }
        Self {
            trie: Arc::new(trie),
        }
    }

    /// Gives query types, by their path and whether `*` follows it, that together ask for what both want.
    fn each_common<'a>(
        &'a self,
        other: &'a Self,
        take: &mut dyn FnMut(&[&'a str], bool) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // `None` stands for all below a `*`.
        let mut left = vec![(Some(ROOT), Some(ROOT), 0, "")];
        let mut path = Vec::new();
        while let Some((own, their, depth, segment)) = left.pop() {
            if depth > 0 {
                path.truncate(depth - 1);
                path.push(segment);
            }
            let (own, leaf) = look(&self.trie, own);
            let (their, their_leaf) = look(&other.trie, their);
            if leaf && their_leaf {
                take(&path, own.is_none() && their.is_none())?;
            }
            let depth = depth + 1;
            match (own, their) {
                (None, None) => {}
                (Some(own), None) => {
                    let below = self.trie.children(own).chain(self.trie.any(own));
                    left.extend(
                        below.map(|child| (Some(child), None, depth, self.trie.segment(child))),
                    );
                }
                (None, Some(their)) => {
                    let below = other.trie.children(their).chain(other.trie.any(their));
                    left.extend(
                        below.map(|child| (None, Some(child), depth, other.trie.segment(child))),
                    );
                }
                (Some(own), Some(their)) => {
                    let pairs = child_pairs(&self.trie, own, &other.trie, their);
                    left.extend(
                        pairs.map(|(own, their, segment)| (Some(own), Some(their), depth, segment)),
                    );
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Default for Subscription {
    /// Wants no event.
    fn default() -> Self {
        Self::none()
    }
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.trie, &other.trie) || self.query_types() == other.query_types()
    }
}

impl Eq for Subscription {}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription")
            .field(&self.query_types())
            .finish()
    }
}

impl Serialize for Subscription {
    /// A list of query types.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.query_types().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Subscription {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let query_types = Vec::<EventType>::deserialize(deserializer)?;
        Self::new(query_types).map_err(D::Error::custom)
    }
}

/// What is wanted at a node.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// A query type ends here.
    leaf: bool,
    /// A query type has its `*` here.
    star: bool,
}

/// Goes by the rules of hat-event: below a `*` nothing is looked at.
fn insert(trie: &mut Trie<Mark>, query_type: &EventType) -> Result<(), EventError> {
    let mut node = ROOT;
    let mut segments = query_type.segments();
    while let Some(segment) = segments.next() {
        if trie.value(node).star {
            return Ok(());
        }
        if segment == "*" {
            if segments.len() > 0 {
                return Err(EventError::QueryType {
                    query_type: query_type.clone(),
                });
            }
            mark_star(trie, node);
            return Ok(());
        }
        node = trie.descend(node, segment);
    }
    trie.value_mut(node).leaf = true;
    Ok(())
}

fn insert_valid(trie: &mut Trie<Mark>, path: &[&str], star: bool) {
    let mut node = ROOT;
    for segment in path {
        if trie.value(node).star {
            return;
        }
        node = trie.descend(node, segment);
    }
    if star {
        mark_star(trie, node);
    } else {
        trie.value_mut(node).leaf = true;
    }
}

fn mark_star(trie: &mut Trie<Mark>, node: u32) {
    trie.remove_below(node);
    trie.value_mut(node).star = true;
}

/// The node if there are several things to tell below it, and whether the type that ends at it is wanted.
fn look(trie: &Trie<Mark>, node: Option<u32>) -> (Option<u32>, bool) {
    let Some(node) = node else {
        return (None, true);
    };
    let mark = trie.value(node);
    if mark.star {
        return (None, true);
    }
    (Some(node), mark.leaf)
}

/// The children of two nodes that can stand for one segment, and that segment or `?`.
fn child_pairs<'a>(
    own: &'a Trie<Mark>,
    at: u32,
    other: &'a Trie<Mark>,
    their_at: u32,
) -> impl Iterator<Item = (u32, u32, &'a str)> {
    let any = own.any(at);
    let their_any = other.any(their_at);
    let mine = own.children(at).flat_map(move |child| {
        let segment = own.segment(child);
        let equal = other.child(their_at, segment);
        let theirs = equal.into_iter().chain(their_any);
        theirs.map(move |their| (child, their, segment))
    });
    let theirs = any.into_iter().flat_map(move |any| {
        let children = other.children(their_at).chain(their_any);
        children.map(move |their| (any, their, other.segment(their)))
    });
    mine.chain(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(texts: &[&str]) -> Subscription {
        Subscription::new(texts.iter().map(|text| EventType::from(*text))).unwrap()
    }

    #[test]
    fn below_a_star_nothing_is_kept_or_looked_at() {
        let all = subscription(&["a/b", "*", "*/x"]);
        assert_eq!(all.query_types(), [EventType::from("*")]);
        assert!(all.is_all() && Subscription::all().is_all());
        assert!(Subscription::new(["*/x", "*"].map(EventType::from)).is_err());
        let below = subscription(&["a/b", "a/c/d", "a/*"]);
        assert_eq!(below.query_types(), [EventType::from("a/*")]);
        assert!(below.matches(&EventType::from("a")) && !below.matches(&EventType::from("b")));
    }

    #[test]
    fn nothing_is_wanted_by_none_and_the_empty_type_by_itself() {
        assert!(Subscription::none().is_none() && subscription(&[]).is_none());
        assert!(!Subscription::none().matches(&EventType::empty()));
        let empty = Subscription::new([EventType::empty()]).unwrap();
        assert!(!empty.is_none() && empty.matches(&EventType::empty()));
        assert!(Subscription::none().is_disjoint(&Subscription::all()));
        assert!(!Subscription::all().is_disjoint(&Subscription::all()));
    }

    #[test]
    fn a_type_that_ends_at_the_star_of_the_other_is_in_the_intersection() {
        let common = subscription(&["a/*"]).intersection(&subscription(&["a"]));
        assert_eq!(common, subscription(&["a"]));
    }

    #[test]
    fn the_reference_takes_some_for_not_disjoint() {
        let (short, long) = (subscription(&["a"]), subscription(&["a/b"]));
        assert!(short.is_disjoint(&long));
        assert!(!short.is_disjoint_as_reference(&long));
        assert!(!long.is_disjoint_as_reference(&short));
        assert!(short.is_disjoint_as_reference(&subscription(&["b"])));
    }

    #[test]
    fn query_types_of_any_length_use_no_stack() {
        let long = EventType::new(vec!["?"; 200_000]);
        let one = Subscription::new([long.clone(), long.child("*")]).unwrap();
        assert!(one.matches(&EventType::new(vec!["x"; 200_000])));
        assert!(!one.matches(&EventType::new(vec!["x"; 199_999])));
        assert_eq!(one.intersection(&one.union(&one)), one);
        assert!(!one.is_disjoint(&one) && !one.is_disjoint_as_reference(&one));
    }

    #[test]
    fn the_form_is_a_list_of_query_types() {
        let wanted = subscription(&["b/?", "a/*"]);
        let text = serde_json::to_string(&wanted).unwrap();
        assert_eq!(text, r#"[["a","*"],["b","?"]]"#);
        assert_eq!(serde_json::from_str::<Subscription>(&text).unwrap(), wanted);
        assert!(serde_json::from_str::<Subscription>(r#"[["*","a"]]"#).is_err());
    }
}
