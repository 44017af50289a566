//! The `acqbus` program: parses, calls the library, maps the error to an exit code.

fn main() {}
