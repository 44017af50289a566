//! Query types as a tree of segments, each with a value.

use std::hash::BuildHasher;
use std::ops::ControlFlow;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::event::EventType;

/// A tree whose edges are the segments of query types but a last `*`, which is for the values to tell.
///
/// All nodes lie in one list and all edges in one hash table. Nothing here recurses: a query type from outside may be of any length.
#[derive(Debug, Clone)]
pub(super) struct Trie<V> {
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    edges: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Clone)]
struct Node<V> {
    value: V,
    segment: Box<str>,
    parent: u32,
    /// The child for `?`.
    any: u32,
    /// The first child for a segment that is to be equal; the others follow it.
    first: u32,
    next: u32,
    previous: u32,
    /// Whether this is its parent's child for `?`.
    is_any: bool,
}

/// The node of the query type without segments.
pub(super) const ROOT: u32 = 0;

/// No node.
const NONE: u32 = u32::MAX;

impl<V: Default> Default for Trie<V> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new("", NONE)],
            free: Vec::new(),
            edges: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<V: Default> Node<V> {
    fn new(segment: &str, parent: u32) -> Self {
        Self {
            value: V::default(),
            segment: segment.into(),
            parent,
            any: NONE,
            first: NONE,
            next: NONE,
            previous: NONE,
            is_any: false,
        }
    }
}

impl<V> Trie<V> {
    pub(super) fn value(&self, node: u32) -> &V {
        &self.node(node).value
    }

    pub(super) fn value_mut(&mut self, node: u32) -> &mut V {
        &mut self.nodes[node as usize].value
    }

    /// The segment that leads to a node.
    pub(super) fn segment(&self, node: u32) -> &str {
        &self.node(node).segment
    }

    /// The child for `?`.
    pub(super) fn any(&self, node: u32) -> Option<u32> {
        some(self.node(node).any)
    }

    /// The child for a segment other than `?`.
    pub(super) fn child(&self, node: u32, segment: &str) -> Option<u32> {
        if self.node(node).first == NONE {
            return None;
        }
        let hash = self.hasher.hash_one((node, segment));
        let found = self.edges.find(hash, |child| {
            let child = self.node(*child);
            child.parent == node && *child.segment == *segment
        });
        found.copied()
    }

    /// The children but that for `?`.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = u32> {
        let first = some(self.node(node).first);
        std::iter::successors(first, |child| some(self.node(*child).next))
    }

    pub(super) fn has_children(&self, node: u32) -> bool {
        let node = self.node(node);
        node.first != NONE || node.any != NONE
    }

    /// Visits every node whose path is a beginning of an event type, as `?` has it; the flag says whether it is all of it.
    ///
    /// Allocates nothing. Each node is visited once at most.
    pub(super) fn walk(
        &self,
        event_type: &EventType,
        mut visit: impl FnMut(u32, &V, bool) -> ControlFlow<()>,
    ) {
        let parts = event_type.parts();
        let count = parts.count();
        let mut at = ROOT;
        let mut depth = 0;
        'down: loop {
            let node = self.node(at);
            if visit(at, &node.value, depth == count).is_break() {
                return;
            }
            if depth < count {
                let child = self.child(at, parts.segment(depth)).or(some(node.any));
                if let Some(child) = child {
                    at = child;
                    depth += 1;
                    continue;
                }
            }
            // The way up is in the nodes: beside a child that had to be equal, `?` is still to be tried.
            while at != ROOT {
                let node = self.node(at);
                let beside = self.node(node.parent).any;
                if !node.is_any && beside != NONE {
                    at = beside;
                    continue 'down;
                }
                at = node.parent;
                depth -= 1;
            }
            return;
        }
    }

    /// Whether a node's path covers an event type, up to its end or all of it.
    pub(super) fn covers(&self, mut node: u32, event_type: &EventType, whole: bool) -> bool {
        let mut path = 0;
        let mut up = node;
        while up != ROOT {
            up = self.node(up).parent;
            path += 1;
        }
        let parts = event_type.parts();
        let count = parts.count();
        if path > count || (whole && path < count) {
            return false;
        }
        while node != ROOT {
            path -= 1;
            let own = self.node(node);
            if !own.is_any && *own.segment != *parts.segment(path) {
                return false;
            }
            node = own.parent;
        }
        true
    }

    /// Takes away all below a node.
    pub(super) fn remove_below(&mut self, node: u32) {
        let mut left: Vec<u32> = self.children(node).chain(self.any(node)).collect();
        let own = &mut self.nodes[node as usize];
        (own.first, own.any) = (NONE, NONE);
        while let Some(node) = left.pop() {
            left.extend(self.children(node).chain(self.any(node)));
            self.forget(node);
        }
    }

    /// Takes away a node and those above it while they have no children and `is_empty` holds of their values.
    pub(super) fn prune(&mut self, mut node: u32, is_empty: impl Fn(&V) -> bool) {
        while node != ROOT && !self.has_children(node) && is_empty(self.value(node)) {
            let own = self.node(node);
            let (parent, next, previous, is_any) = (own.parent, own.next, own.previous, own.is_any);
            if is_any {
                self.nodes[parent as usize].any = NONE;
            } else if previous == NONE {
                self.nodes[parent as usize].first = next;
            } else {
                self.nodes[previous as usize].next = next;
            }
            if next != NONE {
                self.nodes[next as usize].previous = previous;
            }
            self.forget(node);
            node = parent;
        }
    }

    /// Takes a node out of the edges, for use again; its neighbours still name it.
    fn forget(&mut self, node: u32) {
        let own = self.node(node);
        if !own.is_any {
            let hash = self.hasher.hash_one((own.parent, &*own.segment));
            if let Ok(edge) = self.edges.find_entry(hash, |other| *other == node) {
                edge.remove();
            }
        }
        self.free.push(node);
    }

    fn node(&self, node: u32) -> &Node<V> {
        &self.nodes[node as usize]
    }
}

impl<V: Default> Trie<V> {
    /// The child for a segment, made if there is none.
    pub(super) fn descend(&mut self, node: u32, segment: &str) -> u32 {
        let is_any = segment == "?";
        let found = if is_any {
            self.any(node)
        } else {
            self.child(node, segment)
        };
        if let Some(child) = found {
            return child;
        }
        let mut new = Node::new(segment, node);
        new.is_any = is_any;
        if !is_any {
            new.next = self.node(node).first;
        }
        let next = new.next;
        let child = match self.free.pop() {
            Some(child) => {
                self.nodes[child as usize] = new;
                child
            }
            None => {
                self.nodes.push(new);
                (self.nodes.len() - 1) as u32
            }
        };
        if is_any {
            self.nodes[node as usize].any = child;
            return child;
        }
        self.nodes[node as usize].first = child;
        if next != NONE {
            self.nodes[next as usize].previous = child;
        }
        let Self {
            nodes,
            edges,
            hasher,
            ..
        } = self;
        let hash = |child: &u32| {
            let node = &nodes[*child as usize];
            hasher.hash_one((node.parent, &*node.segment))
        };
        edges.insert_unique(hash(&child), child, hash);
        child
    }
}

fn some(node: u32) -> Option<u32> {
    (node != NONE).then_some(node)
}
