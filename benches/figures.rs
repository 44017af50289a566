//! Every figure of `acqbus bench rpc` in its quick form, with its target; the exit code is 1 when one is missed.
//!
//! `cargo bench --bench figures -- one-way sleeper` takes these only. The names are those of `acqbus bench rpc --help`.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let (flags, cases): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|arg| arg.starts_with('-'));
    // `cargo test --all-targets` starts benches, too, without this flag.
    if !flags.iter().any(|flag| flag == "--bench") {
        return ExitCode::SUCCESS;
    }
    let mut bench = Command::new(env!("CARGO_BIN_EXE_acqbus"));
    bench.args(["bench", "rpc", "--quick"]);
    for case in cases {
        bench.args(["--case", &case]);
    }
    match bench.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{} was not started: {error}", env!("CARGO_BIN_EXE_acqbus"));
            ExitCode::FAILURE
        }
    }
}
