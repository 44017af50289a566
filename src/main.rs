//! The `acqbus` program: parses, calls the library, maps the error to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    acqbus::cli::main()
}
