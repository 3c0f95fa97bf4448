//! The subcommands, and what they share in reading the command line.
//!
//! A subcommand is a module with a `HELP` text and a `run` function over its [`Arguments`], and a line in [`run`].

mod fuzz;
mod matrix;
mod ported;
mod scenarios;
mod skipped;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use trine_conformance::host::{self, Host};
use trine_conformance::scenario::model::ModelError;

/// Runs the command line without the program's name.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<ExitCode, CommandError> {
    let mut arguments = Arguments(arguments.collect());
    match arguments.next() {
        Some(Argument::Operand(name)) if name == "matrix" => matrix::run(arguments),
        Some(Argument::Operand(name)) if name == "ported" => ported::run(arguments),
        Some(Argument::Operand(name)) if name == "scenarios" => scenarios::run(arguments),
        Some(Argument::Operand(name)) if name == "fuzz" => fuzz::run(arguments),
        Some(Argument::Operand(name)) => Err(CommandError::UnknownCommand(name)),
        Some(Argument::Option(option)) if option != "help" => Err(CommandError::UnknownOption(option)),
        Some(Argument::Option(_)) | None => {
            let commands = [matrix::HELP, scenarios::HELP, fuzz::HELP, ported::HELP];
            println!("usage: trine-conformance COMMAND ...\n\n{}", commands.join("\n\n"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What is left of the command line.
struct Arguments(VecDeque<String>);

/// One argument: an option by name, its value comes next, or anything else.
enum Argument {
    Option(String),
    Operand(String),
}

impl Arguments {
    /// The value of the option just read.
    fn value<T: FromStr>(&mut self, option: &str) -> Result<T, CommandError> {
        let text = self.0.pop_front().ok_or_else(|| CommandError::MissingValue(option.to_owned()))?;
        text.parse().map_err(|_| CommandError::BadValue { option: option.to_owned(), value: text })
    }

    /// The value of the option just read, if the next argument is a value for it.
    fn optional_value<T: FromStr>(&mut self) -> Option<T> {
        let value = self.0.front()?.parse().ok()?;
        self.0.pop_front();
        Some(value)
    }
}

/// `--name=value` is read as `--name value`.
impl Iterator for Arguments {
    type Item = Argument;

    fn next(&mut self) -> Option<Argument> {
        let text = self.0.pop_front()?;
        let Some(option) = text.strip_prefix("--") else { return Some(Argument::Operand(text)) };
        let name = match option.split_once('=') {
            Some((name, value)) => {
                self.0.push_front(value.to_owned());
                name
            }
            None => option,
        };
        Some(Argument::Option(name.to_owned()))
    }
}

/// The hosts of that name: a row, a backend with all its rows, or all that were compiled in.
fn hosts(name: &str) -> Result<Vec<Arc<dyn Host>>, CommandError> {
    let found = host::named(name);
    if found.is_empty() {
        let available = host::all().iter().map(|host| host.name().to_owned()).collect();
        return Err(CommandError::UnknownBackend { name: name.to_owned(), available });
    }
    Ok(found)
}

/// A command that could not be carried out.
#[derive(Debug)]
pub(crate) enum CommandError {
    UnknownCommand(String),
    UnknownOption(String),
    UnknownOperand(String),
    UnknownBackend { name: String, available: Vec<String> },
    MissingValue(String),
    BadValue { option: String, value: String },
    TooFew { wanted: usize, there: usize },
    NoSuchScenario(String),
    Read(PathBuf, std::io::Error),
    Write(PathBuf, std::io::Error),
    Parse(PathBuf, ModelError),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand(name) => {
                write!(f, "unknown command `{name}`; there are matrix, scenarios, fuzz and ported")
            }
            Self::UnknownOption(option) => write!(f, "unknown option `--{option}`; see `--help`"),
            Self::UnknownOperand(text) => write!(f, "`{text}` means nothing here; see `--help`"),
            Self::UnknownBackend { name, available } => {
                write!(f, "unknown backend `{name}`; this build has {}, all", available.join(", "))
            }
            Self::MissingValue(option) => write!(f, "`--{option}` needs a value"),
            Self::BadValue { option, value } => write!(f, "`{value}` is no value for `--{option}`; see `--help`"),
            Self::TooFew { wanted, there } => write!(f, "a sample of {wanted} is more than the {there} there are"),
            Self::NoSuchScenario(id) => write!(f, "no scenario `{id}` in these files"),
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Parse(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for CommandError {}
