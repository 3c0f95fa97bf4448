//! Python Trio and AnyIO, for scale, where they are installed.
//!
//! One interpreter per library serves the whole program, so that its start is in no figure and it can take its turns
//! among the others. It does a hundredth of the operations: a figure is per operation all the same.

use std::{
    io::{BufRead, BufReader, Write},
    marker::PhantomData,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use crate::harness::Measurement;

const PROGRAM: &str = include_str!("python.py");

/// How many operations of a workload Python does one of.
const SCALE: usize = 100;

/// A library of Python, with the interpreter that has loaded it.
pub(super) trait Library {
    /// The module's name.
    const MODULE: &'static str;

    /// Its interpreter, or why there is none.
    fn interpreter() -> &'static OnceLock<Result<Mutex<Interpreter>, String>>;
}

/// Trio itself.
#[derive(Debug)]
pub(super) struct Trio(PhantomData<()>);

impl Library for Trio {
    const MODULE: &'static str = "trio";

    fn interpreter() -> &'static OnceLock<Result<Mutex<Interpreter>, String>> {
        static INTERPRETER: OnceLock<Result<Mutex<Interpreter>, String>> = OnceLock::new();
        &INTERPRETER
    }
}

/// AnyIO, on asyncio as is its default.
#[derive(Debug)]
pub(super) struct AnyIo(PhantomData<()>);

impl Library for AnyIo {
    const MODULE: &'static str = "anyio";

    fn interpreter() -> &'static OnceLock<Result<Mutex<Interpreter>, String>> {
        static INTERPRETER: OnceLock<Result<Mutex<Interpreter>, String>> = OnceLock::new();
        &INTERPRETER
    }
}

/// A running interpreter. It ends with its input, which ends with this program.
#[derive(Debug)]
pub(super) struct Interpreter {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Child,
}

impl Interpreter {
    fn start(module: &str) -> Result<Self, String> {
        let mut process = Command::new("python3")
            .args(["-c", PROGRAM, module])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("python3 does not start: {error}"))?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            unreachable!("both are piped");
        };
        let mut interpreter = Self { requests, answers: BufReader::new(answers), _process: process };
        match interpreter.answer().as_str() {
            "ready" => Ok(interpreter),
            _ => Err(format!("python3 has no module {module}")),
        }
    }

    /// The next line that it prints; an empty one if it has ended.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        let _ = self.answers.read_line(&mut line);
        line.trim_end().to_owned()
    }

    fn measure(&mut self, workload: &str, ops: usize, size: usize) -> Measurement {
        writeln!(self.requests, "{workload} {ops} {size}").expect("the interpreter reads");
        let answer = self.answer();
        let mut numbers = answer.split(' ').map(|number| number.parse::<u64>().expect("the program prints numbers"));
        let mut next = || numbers.next().expect("the program prints three numbers");
        let ops = next();
        let (wall, cpu) = (Duration::from_nanos(next()), Duration::from_nanos(next()));
        Measurement { ops: usize::try_from(ops).expect("no more than were asked for"), wall, cpu, allocations: 0 }
    }
}

fn interpreter<L: Library>() -> &'static Result<Mutex<Interpreter>, String> {
    L::interpreter().get_or_init(|| Interpreter::start(L::MODULE).map(Mutex::new))
}

/// Whether the library is there.
pub(super) fn available<L: Library>() -> Result<(), String> {
    interpreter::<L>().as_ref().map(drop).map_err(Clone::clone)
}

fn measure<L: Library>(workload: &str, ops: usize, size: usize) -> Measurement {
    let interpreter = interpreter::<L>().as_ref().expect("asked before whether it is there");
    let mut interpreter = interpreter.lock().unwrap_or_else(PoisonError::into_inner);
    interpreter.measure(workload, (ops / SCALE).max(1), size)
}

/// Children of a nursery.
pub(super) fn bulk<L: Library>(ops: usize, batch: usize) -> Measurement {
    measure::<L>("bulk", ops, batch)
}

/// Checkpoints among tasks.
pub(super) fn yields<L: Library>(ops: usize, tasks: usize) -> Measurement {
    measure::<L>("yields", ops, tasks)
}

/// Round trips over two memory channels.
pub(super) fn ping_pong<L: Library>(ops: usize) -> Measurement {
    measure::<L>("ping_pong", ops, 0)
}

/// Timeouts around a ready body.
pub(super) fn timeout<L: Library>(ops: usize) -> Measurement {
    measure::<L>("timeout", ops, 0)
}
