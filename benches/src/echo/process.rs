//! A server in a process of its own, on a core of its own.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio, exit},
    sync::OnceLock,
    thread,
    time::Duration,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::servers::SERVERS;
use crate::alloc;

/// The cores that this process may use, as it was started: the first is the servers', the second the load's.
fn cores() -> &'static [usize] {
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    CORES.get_or_init(|| {
        let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect()
    })
}

/// Puts the load, which is this thread, on a core of its own.
///
/// # Errors
///
/// That there is none; what the system says.
pub(crate) fn pin_load() -> Result<(), String> {
    pin(*cores().get(1).ok_or("server and load need a core each")?)
}

/// Puts this thread, and the threads that it starts, on a core.
fn pin(core: usize) -> Result<(), String> {
    let mut wanted = CpuSet::new();
    wanted.set(core);
    sched_setaffinity(None, &wanted).map_err(|error| format!("cannot pin to core {core}: {error}"))
}

/// What `--echo-serve` does: serves on one core until the input ends. It prints its port, and at each line of the input how many
/// bytes of the heap live.
///
/// # Errors
///
/// What is wrong with the name; what stopped the server.
pub(crate) fn serve(name: &str, size: usize, core: usize) -> Result<(), String> {
    let server = SERVERS.iter().find(|server| server.name == name);
    let server = server.ok_or_else(|| format!("no server is called {name}"))?;
    pin(core)?;
    thread::spawn(|| {
        for line in io::stdin().lines() {
            if line.is_err() {
                break;
            }
            println!("{}", alloc::live());
        }
        exit(0);
    });
    (server.run)(size, |address| println!("{address}")).map_err(|error| format!("the server ended: {error}"))
}

/// A running server. It ends with its input, and so with this value or this program.
#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Starts this program as a server, by means of `launcher` with its arguments, if there is one.
    ///
    /// # Errors
    ///
    /// That it does not start, or says no address.
    pub(crate) fn start(launcher: &[&str], name: &str, size: usize, count: bool) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = match launcher {
            [] => Command::new(program),
            [tool, arguments @ ..] => {
                let mut command = Command::new(tool);
                command.args(arguments).arg(program);
                command
            }
        };
        let core = cores().first().ok_or(io::ErrorKind::Unsupported)?;
        command.args(["--echo-serve", name, &size.to_string(), &core.to_string()]);
        if count {
            command.arg("--count-allocations");
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            unreachable!("both are piped");
        };
        let mut answers = BufReader::new(answers);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let Ok(address) = line.trim_end().parse() else {
            process.wait()?;
            return Err(io::Error::other(format!("server {name} has not said where it listens")));
        };
        Ok(Self { process, requests: Some(requests), answers, address })
    }

    /// Nanoseconds of CPU that all of its threads have had.
    ///
    /// # Errors
    ///
    /// What the system says, as where the kernel keeps no `schedstat`.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let spent = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
            nanos += spent.ok_or_else(|| io::Error::other("schedstat is no number"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Bytes of its memory that are its own and resident.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn resident(&self) -> io::Result<isize> {
        crate::memory::resident(&self.process.id().to_string())
    }

    /// Bytes of its heap that live, if it was started to count them.
    ///
    /// # Errors
    ///
    /// That it answers no more.
    pub(crate) fn live(&mut self) -> io::Result<isize> {
        let requests = self.requests.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        requests.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim_end().parse().map_err(io::Error::other)
    }
}

impl Drop for Running {
    /// Ends it, and waits until it has.
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.process.wait();
    }
}
