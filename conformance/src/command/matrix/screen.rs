//! The table and the progress bar.
//!
//! The table goes to standard output, the bar to standard error, and only if that is a terminal. Colours are used on a
//! terminal, unless `NO_COLOR` is set.

use super::Row;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use trine_conformance::case::Case;
use trine_conformance::host::Host;
use trine_conformance::suite::{Report, Verdict};

const BAR: usize = 30;

pub(super) struct Screen {
    total: usize,
    done: usize,
    name_width: usize,
    cell_widths: Vec<usize>,
    colour: bool,
    bar: bool,
    area: String,
}

impl Screen {
    pub(super) fn new(total: usize) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            total,
            done: 0,
            name_width: 0,
            cell_widths: Vec::new(),
            colour: !plain && std::io::stdout().is_terminal(),
            bar: std::io::stderr().is_terminal(),
            area: String::new(),
        }
    }

    /// Prints the names of the hosts.
    pub(super) fn head(&mut self, hosts: &[Arc<dyn Host>], cases: &[&Case]) {
        self.name_width = cases.iter().map(|case| case.name().len()).max().unwrap_or(0);
        self.cell_widths = hosts.iter().map(|host| host.name().len().max(9)).collect();
        let names = hosts.iter().zip(&self.cell_widths).map(|(host, width)| format!("  {:>width$}", host.name()));
        println!("{:name$}{}", "", names.collect::<String>(), name = self.name_width);
    }

    /// Shows what is being run.
    pub(super) fn progress(&mut self, case: &str, host: &str) {
        if self.bar {
            let full = BAR * self.done / self.total.max(1);
            let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR - full));
            eprint!("\r\x1b[K[{bar}] {}/{} {case} on {host}", self.done, self.total);
            let _ = std::io::stderr().flush();
        }
        self.done += 1;
    }

    fn clear(&self) {
        if self.bar {
            eprint!("\r\x1b[K");
        }
    }

    /// Prints what became of a case.
    pub(super) fn row(&mut self, case: &Case, reports: &[Report]) {
        self.clear();
        if case.area() != self.area {
            case.area().clone_into(&mut self.area);
            println!();
        }
        let cells = reports.iter().zip(&self.cell_widths).map(|(report, &width)| self.cell(report, width));
        println!("{:width$}{}", case.name(), cells.collect::<String>(), width = self.name_width);
    }

    fn cell(&self, report: &Report, width: usize) -> String {
        let (text, colour) = match &report.verdict {
            Verdict::Passed => (format!("{:.1} ms", report.took.as_secs_f64() * 1e3), 32),
            Verdict::Failed(_) => ("FAILED".to_owned(), 31),
            Verdict::Skipped(_) => ("skipped".to_owned(), 33),
        };
        match self.colour {
            true => format!("  \x1b[{colour}m{text:>width$}\x1b[0m"),
            false => format!("  {text:>width$}"),
        }
    }

    pub(super) fn end(&self) {
        self.clear();
        println!();
    }

    /// Prints the reasons of skips, and the texts of failures.
    pub(super) fn details(&self, hosts: &[Arc<dyn Host>], rows: &[Row]) {
        let reports = || {
            let pairs = rows.iter().flat_map(|row| hosts.iter().zip(&row.reports).map(move |(h, r)| (row.case, h, r)));
            pairs.map(|(case, host, report)| (case, host.name(), &report.verdict))
        };
        let mut reasons = std::collections::BTreeMap::<_, Vec<_>>::new();
        for (case, host, verdict) in reports() {
            if let Verdict::Skipped(reason) = verdict {
                reasons.entry((host, reason)).or_default().push(case.name());
            }
        }
        for ((host, reason), names) in reasons {
            println!("skipped on {host} ({reason}): {}", names.join(" "));
        }
        for (case, host, verdict) in reports() {
            if let Verdict::Failed(text) = verdict {
                println!("\nFAILED {} on {host} ({}; {})\n{text}", case.name(), case.law(), case.origin());
            }
        }
    }
}
