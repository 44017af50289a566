//! What an event of the history is, and who wants which.
