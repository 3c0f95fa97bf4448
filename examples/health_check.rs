//! Checks many web servers at once: which are up, and how fast do they answer?
//!
//! ```text
//! cargo run --release --example health_check
//! cargo run --release --example health_check -- --timeout 2 http://example.org http://localhost:8080/health
//! ```
//!
//! Without URLs it checks servers of its own, which fail in every way that a server can.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;
use std::{env, fmt};

use trine::backend::{self, Backend};
use trine::net::{self, TcpListener, TcpStream};
use trine::sync::CapacityLimiter;
use trine::{Builder, Error, Nursery, Result, fail_after, move_on_after, nursery, sleep_forever};

const USAGE: &str = "\
usage: health_check [--backend NAME] [--concurrency N] [--timeout SECONDS] [URL...]

  --backend NAME      the event loop to run on (default: TRINE_BACKEND, else native)
  --concurrency N     how many servers to ask at a time (default: 100)
  --timeout SECONDS   how long a server may take (default: 1)
  URL                 http://HOST[:PORT][/PATH]; none: servers of its own";

/// How many bytes of an answer to look through for the end of its head.
const MAX_HEAD: usize = 64 * 1024;

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("health_check: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let run = Builder::new().backend(options.backend.clone());
    match run.try_run(health_check(&options)) {
        Ok(Ok(reports)) => {
            print!("{}", Table(&reports));
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => failure(error),
        Err(error) => failure(error),
    }
}

fn failure(error: impl fmt::Display) -> ExitCode {
    eprintln!("health_check: {error}");
    ExitCode::FAILURE
}

/// Checks the URLs that were given, or servers that live as long as the checks do.
async fn health_check(options: &Options) -> Result<Vec<Report>> {
    nursery(async |n| {
        let urls = match &options.urls[..] {
            [] => start_servers(n).await?,
            urls => urls.to_vec(),
        };
        let reports = check_all(&urls, options).await?;
        n.cancel_children();
        Ok(reports)
    })
    .await
}

/// Checks all URLs concurrently, so many at a time, and all of them before one deadline.
async fn check_all(urls: &[Url], options: &Options) -> Result<Vec<Report>> {
    let timeout = options.timeout;
    let limiter = &CapacityLimiter::new(options.concurrency);
    let mut reports: Vec<_> = urls.iter().map(Report::unfinished).collect();
    let mut progress = Progress::new(urls.len());

    let checks = nursery(async |n| {
        let (sender, receiver) = trine::channel(urls.len());
        for (index, url) in urls.iter().enumerate() {
            let sender = sender.clone();
            n.start_soon(async move {
                let _token = limiter.acquire().await?;
                let report = check(url, timeout).await?;
                sender.send((index, report)).await?;
                Ok(())
            });
        }
        drop(sender);
        while let Some((index, report)) = receiver.try_next().await? {
            reports[index] = report;
            progress.step();
        }
        Ok(())
    });
    let rounds = urls.len().div_ceil(options.concurrency) as u32;
    move_on_after(timeout.saturating_mul(rounds + 1), checks).await?;

    drop(progress);
    Ok(reports)
}

/// Checks one URL. What is wrong with the server goes into the report, a cancellation goes on to whoever cancelled.
async fn check(url: &Url, timeout: Duration) -> Result<Report> {
    let start = trine::now();
    let outcome = match fail_after(timeout, ask(url)).await {
        Err(error) if error.has_cancelled() => return Err(error),
        outcome => outcome.map_err(|error| error.to_string()),
    };
    Ok(Report { url: url.clone(), outcome, latency: Some(trine::now() - start) })
}

/// Sends one request, and returns the status of the answer.
async fn ask(url: &Url) -> Result<u16> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    let Url { path, authority, .. } = url;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;

    let mut head = Vec::new();
    let mut buf = [0; 4096];
    loop {
        let read = stream.read(&mut buf).await?;
        if read == 0 {
            return Err(Error::msg("closed the connection before it had answered"));
        }
        head.extend_from_slice(&buf[..read]);
        if let Some(status) = parse_status(&head)? {
            return Ok(status);
        }
        if head.len() > MAX_HEAD {
            return Err(Error::msg("sent a head without end"));
        }
    }
}

/// Returns the status once the head of the response is complete.
fn parse_status(head: &[u8]) -> Result<Option<u16>> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut headers);
    let complete = response.parse(head)?.is_complete();
    Ok(response.code.filter(|_| complete))
}

/// What a server of our own does with a request.
#[derive(Clone, Copy)]
enum Server {
    Answers(&'static str),
    Sleeps,
    HangsUp,
}

const SERVERS: [(&str, Server); 5] = [
    ("ok", Server::Answers("HTTP/1.1 200 OK\r\n\r\n")),
    ("missing", Server::Answers("HTTP/1.1 404 Not Found\r\n\r\n")),
    ("garbage", Server::Answers("What do you want?\r\n\r\n")),
    ("slow", Server::Sleeps),
    ("closes", Server::HangsUp),
];

/// Starts one server of each kind, and returns where they are, and where nobody is.
async fn start_servers<'s>(n: &'s Nursery<'s, '_>) -> Result<Vec<Url>> {
    let mut urls = Vec::new();
    for (path, server) in SERVERS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        urls.push(Url::new(listener.local_addr()?, path));
        n.start_soon(net::serve(listener, move |stream| serve_one(stream, server)));
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    urls.push(Url::new(nobody, "refuses"));
    Ok(urls)
}

/// Serves one connection. A client that goes away early is no reason to stop the server.
async fn serve_one(stream: TcpStream, server: Server) -> Result<()> {
    match reply(stream, server).await {
        Err(error) if error.has_cancelled() => Err(error),
        _ => Ok(()),
    }
}

async fn reply(stream: TcpStream, server: Server) -> Result<()> {
    stream.read(&mut [0; 4096]).await?;
    match server {
        Server::Answers(answer) => Ok(stream.write_all(answer.as_bytes()).await?),
        Server::Sleeps => match sleep_forever().await? {},
        Server::HangsUp => Ok(()),
    }
}

/// What became of one URL.
struct Report {
    url: Url,
    /// The status, or what went wrong.
    outcome: Result<u16, String>,
    latency: Option<Duration>,
}

impl Report {
    fn unfinished(url: &Url) -> Self {
        let outcome = Err("not finished before the deadline of all".into());
        Self { url: url.clone(), outcome, latency: None }
    }
}

struct Table<'a>(&'a [Report]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.0.iter().map(|report| report.url.text.len());
        let width = widths.max().unwrap_or(0);
        writeln!(f, "{:width$}  STATUS  OK      LATENCY  ERROR", "URL")?;
        for Report { url, outcome, latency } in self.0 {
            let (status, error) = match outcome {
                Ok(status) => (status.to_string(), ""),
                Err(error) => ("-".into(), error.as_str()),
            };
            let ok = if let Ok(200..400) = outcome { "yes" } else { "no" };
            let latency = latency.map_or("-".into(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3));
            let row = format!("{:width$}  {status:6}  {ok:3}  {latency:>10}  {error}", url.text);
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

/// A line that says how far we are, if somebody is looking.
struct Progress {
    done: usize,
    total: usize,
    live: bool,
}

impl Progress {
    fn new(total: usize) -> Self {
        Self { done: 0, total, live: io::stderr().is_terminal() }
    }

    fn step(&mut self) {
        self.done += 1;
        self.show(&format!("{} of {} checked", self.done, self.total));
    }

    fn show(&self, line: &str) {
        if self.live {
            eprint!("\r\x1b[K{line}");
            let _ = io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}

struct Options {
    backend: Backend,
    concurrency: usize,
    timeout: Duration,
    urls: Vec<Url>,
}

impl Options {
    /// `None`: help is wanted.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut backend, mut urls) = (None, Vec::new());
        let (mut concurrency, mut timeout) = (100, Duration::from_secs(1));
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--backend" => backend = Some(value()?.parse().map_err(|e| format!("{e}"))?),
                "--concurrency" => concurrency = at_least_one(&value()?).ok_or("--concurrency needs a number")?,
                "--timeout" => timeout = seconds(&value()?).ok_or("--timeout needs seconds")?,
                _ if arg.starts_with('-') => return Err(format!("unknown option {arg}")),
                _ => urls.push(arg.parse()?),
            }
        }
        let backend = match backend {
            Some(backend) => backend,
            None => backend::from_env().map_err(|e| e.to_string())?,
        };
        Ok(Some(Self { backend, concurrency, timeout, urls }))
    }
}

fn at_least_one(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number > 0)
}

fn seconds(text: &str) -> Option<Duration> {
    let time = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    (!time.is_zero()).then_some(time)
}

#[derive(Clone)]
struct Url {
    text: String,
    /// Host and port as they were given.
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    fn new(address: SocketAddr, path: &str) -> Self {
        let url = format!("http://{address}/{path}");
        url.parse().expect("an address is host and port")
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or(format!("not a URL with http://: {text}"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, Some(80)),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match port {
            Some(port) if !host.is_empty() => Ok(Self {
                text: text.into(),
                authority: authority.into(),
                host: host.into(),
                port,
                path: if path.is_empty() { "/" } else { path }.into(),
            }),
            _ => Err(format!("no host and port in {text}")),
        }
    }
}
