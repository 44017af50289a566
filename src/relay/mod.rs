//! What carries one wing's output into another, or to disk.
