//! `trine-conformance`: the conformance suite at the command line.
//!
//! Exit status: 0 if all is well, 1 if something failed, 2 if the command line or a file cannot be read, 3 if a program
//! does not come to an end.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::run(std::env::args().skip(1)) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("trine-conformance: {error}");
            ExitCode::from(2)
        }
    }
}
