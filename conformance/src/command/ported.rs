//! `ported`: how much of Trio's own test suite has a case.

use super::{Argument, Arguments, CommandError};
use std::process::ExitCode;
use trine_conformance::ported;

pub(super) const HELP: &str = "\
ported                count the tests of Trio's own suite that have a case
    --missing                     print those that have none
    --list                        print those that have one";

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let (mut missing, mut list) = (false, false);
    for argument in arguments {
        match argument {
            Argument::Option(option) if option == "missing" => missing = true,
            Argument::Option(option) if option == "list" => list = true,
            Argument::Option(option) if option == "help" => {
                println!("usage: trine-conformance {HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            Argument::Option(option) => return Err(CommandError::UnknownOption(option)),
            Argument::Operand(operand) => return Err(CommandError::UnknownOperand(operand)),
        }
    }
    let (done, open) = ported::split();
    if list {
        done.iter().for_each(|test| println!("ported  {test}"));
    }
    if missing {
        open.iter().for_each(|test| println!("missing {test}"));
    }
    let unknown = ported::unknown();
    unknown.iter().for_each(|name| println!("UNKNOWN {name}: no such test in the list"));
    println!("{} of {} ported", done.len(), done.len() + open.len());
    Ok(if unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
