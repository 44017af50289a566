//! The data plane: run data between begin-of-run and end-of-run, on the wire of Constellation (CDTP2).
