//! `acqbus completions` and `acqbus man`: what a package installs beside the program.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::exit::Failure;

/// Arguments of `acqbus completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete in
    shell: Shell,
}

/// Arguments of `acqbus man`.
#[derive(Debug, Args)]
pub(crate) struct ManPage {
    /// The verb to describe, such as `send` or `keys add`; the whole program without one
    verb: Vec<String>,
}

impl Completions {
    /// Prints the completion script of a shell.
    pub(crate) fn run(&self, mut program: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "acqbus", &mut script);
        io::stdout().write_all(&script)?;
        Ok(())
    }
}

impl ManPage {
    /// Prints a manual page in the form that `man` reads.
    pub(crate) fn run(&self, mut program: Command) -> Result<(), Failure> {
        program.build();
        let mut page = program;
        // `man "run send"` is the same as `man run send`.
        let words = self.verb.iter().flat_map(|verb| verb.split_whitespace());
        let verbs: Vec<_> = words.collect();
        for (depth, verb) in verbs.iter().enumerate() {
            let Some(sub) = page.find_subcommand(verb) else {
                return Err(Failure::usage(format!("`{verb}` is no verb"))
                    .with_hint("acqbus --help, which lists them"));
            };
            let name = verbs[..=depth].join("-");
            page = sub.clone().display_name(format!("acqbus-{name}"));
        }
        let mut text = Vec::new();
        Man::new(page).render(&mut text)?;
        io::stdout().write_all(&text)?;
        Ok(())
    }
}
