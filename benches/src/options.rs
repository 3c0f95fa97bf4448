//! What the command line asks for.

use std::path::PathBuf;

use crate::{harness::Workload, workloads};

pub(crate) const HELP: &str = "\
usage: trine-benches [--quick] [--workload NAME]... [--rounds N] [--seed N]
                     [--json FILE] [--svg FILE] [--write-readme]
       trine-benches --memory [--quick] [--json FILE] [--write-readme]
       trine-benches --echo [--server NAME]... [--quick] [--rounds N] [--seed N] [--json FILE] [--write-readme]
       trine-benches --curves DIR [--curve NAME]... [--quick] [--rounds N] [--seed N]
       trine-benches --list
       trine-benches --count NAME[@PEER] N

  --quick          fewer operations and 5 rounds instead of 9: below 50 s in all
  --workload NAME  only this one; may be given again
  --memory         what children and connections take, and what operations allocate
  --echo           CPU, latency and system calls of echo servers; takes two cores
  --server NAME    only this one; may be given again: compared with raw epoll, if that is among them, else with the last one
  --curves DIR     how cost grows: a picture and its figures per curve, into DIR
  --curve NAME     only this one; may be given again
  --write-readme   puts the tables into benches/README.md and the picture beside it
  --list           names all workloads, their targets and contenders
  --count          does N operations of one contender alone, for callgrind";

/// The options and the one command among them.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) workloads: Vec<&'static Workload>,
    pub(crate) curves: Vec<String>,
    pub(crate) servers: Vec<String>,
    pub(crate) rounds: Option<usize>,
    pub(crate) seed: Option<u64>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) write_readme: bool,
    pub(crate) count_allocations: bool,
    pub(crate) command: Command,
}

#[derive(Debug, Default)]
pub(crate) enum Command {
    #[default]
    Measure,
    Memory,
    Echo,
    Curves(PathBuf),
    List,
    Help,
    Count(String, usize),
    /// What this program runs as a process of its own: an echo server with its buffers and its core.
    EchoServe(String, usize, usize),
    /// The same: one contender that holds so many children.
    Footprint(String, usize),
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--workload" => {
                    let name = value()?;
                    let workload = workloads::find(&name).ok_or_else(|| format!("no workload is called {name}"))?;
                    options.workloads.push(workload);
                }
                "--rounds" => options.rounds = Some(number(&value()?)?.max(1)),
                "--seed" => options.seed = Some(number(&value()?)? as u64),
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                "--write-readme" => options.write_readme = true,
                "--count-allocations" => options.count_allocations = true,
                "--memory" => options.command = Command::Memory,
                "--echo" => options.command = Command::Echo,
                "--server" => options.servers.push(value()?),
                "--curve" => options.curves.push(value()?),
                "--curves" => options.command = Command::Curves(value()?.into()),
                "--list" => options.command = Command::List,
                "--help" => options.command = Command::Help,
                "--count" => options.command = Command::Count(value()?, number(&value()?)?),
                "--echo-serve" => {
                    options.command = Command::EchoServe(value()?, number(&value()?)?, number(&value()?)?);
                }
                "--footprint" => options.command = Command::Footprint(value()?, number(&value()?)?),
                _ => return Err(format!("{argument} is not an option\n{HELP}")),
            }
        }
        Ok(options)
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is not a number"))
}
