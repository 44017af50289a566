//! The remote console: a line becomes an action, live messages stand above the prompt.

mod complete;
mod line;
