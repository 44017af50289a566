//! Discovery: who offers which service where, on the wire of Constellation (CHIRP).
