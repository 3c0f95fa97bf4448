//! Describes the machine, as far as figures depend on it.

use std::{fs, thread};

/// CPU model and count, kernel, compiler.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    format!(
        "{} ({} CPUs), kernel {}, {}",
        cpu.as_deref().unwrap_or("unknown CPU"),
        thread::available_parallelism().map_or(1, usize::from),
        kernel.as_deref().map_or("unknown", str::trim),
        env!("BENCH_RUSTC"),
    )
}
