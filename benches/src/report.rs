//! Turns samples into rows: medians, ratios within a round, and their text, JSON and Markdown forms.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use crate::harness::{Absent, Contender, Entrant, Goal, Measurement, Metric, Samples, Side, Workload};

/// A median with its extremes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Summarises at least one value.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Self { median, least: values[0], most: values[values.len() - 1] }
    }
}

/// One contender's figures, in nanoseconds per operation.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) contender: &'static Contender,
    /// Its name, or that of trine's backend.
    pub(crate) name: &'static str,
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    /// By the workload's metric: one of the two above.
    pub(crate) nanos: f64,
    /// This contender over trine, of the same round.
    pub(crate) ratio: Spread,
}

/// One workload's figures.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: &'static Workload,
    pub(crate) entries: Vec<Entry>,
    /// Those that could not run here.
    pub(crate) absent: Vec<Absent>,
}

impl Row {
    /// Summarises the samples of a workload; the first contender is trine.
    pub(crate) fn new(samples: &Samples) -> Self {
        let workload = samples.workload;
        let metric = workload.metric;
        let base = &samples.samples[0];
        let entries = samples.entrants.iter().zip(&samples.samples).map(|(&Entrant { contender, name }, own)| {
            let median = |metric| Spread::of(own.iter().map(|sample| sample.nanos(metric))).median;
            let ratio = |(own, base): (&Measurement, &Measurement)| own.nanos(metric) / base.nanos(metric);
            Entry {
                contender,
                name,
                wall: median(Metric::Wall),
                cpu: median(Metric::Cpu),
                nanos: median(metric),
                ratio: Spread::of(own.iter().zip(base).map(ratio)),
            }
        });
        Self { workload, entries: entries.collect(), absent: samples.absent.clone() }
    }

    /// The fastest peer.
    pub(crate) fn best_peer(&self) -> Option<&Entry> {
        let peers = self.entries.iter().filter(|entry| entry.contender.side == Side::Peer);
        peers.min_by(|a, b| a.nanos.total_cmp(&b.nanos))
    }

    /// The goals, with the ratio to the peer that each names, if that could run here.
    fn goals(&self) -> impl Iterator<Item = (&'static Goal, Option<f64>)> {
        self.workload.goals.iter().map(|goal| {
            let named = self.entries.iter().find(|entry| entry.contender.name == goal.peer);
            (goal, named.map(|entry| entry.ratio.median))
        })
    }

    /// Whether the target factor is reached, if there is one.
    fn reached(&self) -> Option<bool> {
        Some(self.best_peer()?.ratio.median >= self.workload.target()?)
    }

    /// The row as it is printed.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.workload.name, self.workload.operation);
        for entry in &self.entries {
            let Entry { contender, wall, cpu, ratio, .. } = entry;
            let name = shown(contender.side, entry.name);
            let _ = write!(text, "  {name:<26}{wall:>9.1} ns {cpu:>9.1} ns cpu");
            if !std::ptr::eq(entry, &raw const self.entries[0]) {
                let _ = write!(text, " {:>7.2}x ({:.2}..{:.2})", ratio.median, ratio.least, ratio.most);
            }
            if !contender.note.is_empty() {
                let _ = write!(text, "  [{}]", contender.note);
            }
            text.push('\n');
        }
        for Absent { name, reason } in &self.absent {
            let _ = writeln!(text, "  {name:<26}left out: {reason}");
        }
        if let (Some(best), Some(target)) = (self.best_peer(), self.workload.target()) {
            let verdict = if self.reached() == Some(true) { "reached" } else { "missed" };
            let name = best.contender.name;
            let _ = writeln!(text, "  best peer {name}: {:.2}x, target {target}x {verdict}", best.ratio.median);
        }
        for (goal, ratio) in self.goals() {
            if let Some(ratio) = ratio {
                let _ = writeln!(text, "  goal {goal}: {ratio:.2}x");
            }
        }
        text
    }
}

/// A contender's name beside those of its peers.
pub(crate) fn shown(side: Side, name: &str) -> String {
    match side {
        Side::Trine => format!("trine, {name}"),
        Side::Peer | Side::Reference | Side::Floor => name.to_owned(),
    }
}

#[derive(Debug, Serialize)]
struct JsonGoal {
    peer: &'static str,
    factor: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct JsonRow {
    workload: &'static str,
    trine: BTreeMap<&'static str, f64>,
    peers: BTreeMap<&'static str, f64>,
    /// The least that the work costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<f64>,
    ratio_best_peer: Option<f64>,
    target: Option<f64>,
    /// What the target was set for, and what was measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    goals: Vec<JsonGoal>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    absent: BTreeMap<&'static str, String>,
}

/// All rows as a JSON array.
pub(crate) fn json(rows: &[Row]) -> String {
    let rows = rows.iter().map(|row| {
        let side = |wanted: fn(Side) -> bool| {
            let entries = row.entries.iter().filter(move |entry| wanted(entry.contender.side));
            entries.map(|entry| (entry.name, entry.nanos)).collect()
        };
        JsonRow {
            workload: row.workload.name,
            trine: side(|side| side == Side::Trine),
            peers: side(|side| matches!(side, Side::Peer | Side::Reference)),
            floor: row.entries.iter().find(|entry| entry.contender.side == Side::Floor).map(|entry| entry.nanos),
            ratio_best_peer: row.best_peer().map(|best| best.ratio.median),
            target: row.workload.target(),
            goals: row.goals().map(|(goal, ratio)| JsonGoal { peer: goal.peer, factor: goal.factor, ratio }).collect(),
            absent: row.absent.iter().map(|absent| (absent.name, absent.reason.clone())).collect(),
        }
    });
    let rows: Vec<JsonRow> = rows.collect();
    serde_json::to_string_pretty(&rows).expect("names and numbers are always valid JSON") + "\n"
}

/// All rows as a Markdown table, followed by what the contenders leave out.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| workload | operation | trine ns | on other backends | best peer | peer / trine | target | others |\n|---|---|--:|---|---|---|---|---|\n",
    );
    let mut notes = BTreeMap::<&str, Vec<String>>::new();
    let mut missing = BTreeMap::<&str, &str>::new();
    for row in rows {
        let best = row.best_peer();
        let (peer, ratio) = best.map_or((String::new(), String::new()), |best| {
            let Spread { median, least, most } = best.ratio;
            (format!("{} {:.0}", best.contender.name, best.nanos), format!("{median:.2} ({least:.2}..{most:.2})"))
        });
        let is_best = |entry: &Entry| best.is_some_and(|best| best.contender.name == entry.contender.name);
        let hosted: Vec<String> = row.entries[1..]
            .iter()
            .filter(|entry| entry.contender.side == Side::Trine)
            .map(|entry| format!("{} {:.1}", entry.name, entry.nanos))
            .collect();
        let hosted = hosted.join(", ");
        let others: Vec<String> = row.entries[1..]
            .iter()
            .filter(|entry| entry.contender.side != Side::Trine && !is_best(entry))
            .map(|entry| format!("{} {:.0}", entry.contender.name, entry.nanos))
            .collect();
        let Workload { name, operation, also, metric, .. } = row.workload;
        let goals = row.goals().map(|(goal, ratio)| match ratio {
            Some(ratio) => format!("{goal}: {ratio:.2}"),
            None => goal.to_string(),
        });
        let also = Some((*also).to_owned()).filter(|also| !also.is_empty());
        let goal = goals.chain(also).collect::<Vec<_>>().join(", ");
        let unit = if *metric == Metric::Cpu { " cpu" } else { "" };
        let nanos = row.entries[0].nanos;
        let others = others.join(", ");
        let _ = writeln!(
            text,
            "| {name} | {operation} | {nanos:.1}{unit} | {hosted} | {peer} | {ratio} | {goal} | {others} |"
        );
        missing.extend(row.absent.iter().map(|absent| (absent.name, &*absent.reason)));
        for entry in &row.entries {
            if !entry.contender.note.is_empty() && entry.name == entry.contender.name {
                notes.entry(entry.contender.note).or_default().push(format!("{name}@{}", entry.contender.name));
            }
        }
    }
    text.push_str("\nWhere a peer does less than trine, or other:\n\n");
    for (note, rows) in notes {
        let _ = writeln!(text, "- {note}: {}", rows.join(", "));
    }
    if !missing.is_empty() {
        text.push_str("\nLeft out on this machine:\n\n");
    }
    for (name, reason) in missing {
        let _ = writeln!(text, "- {name}: {reason}");
    }
    text
}

/// One line on all targets.
pub(crate) fn verdict(rows: &[Row]) -> String {
    let judged: Vec<(&Row, bool)> = rows.iter().filter_map(|row| Some((row, row.reached()?))).collect();
    let reached = judged.iter().filter(|(_, reached)| *reached).count();
    let mut text = format!("{} workloads, {reached} of {} targets reached", rows.len(), judged.len());
    let missed: Vec<&str> = judged.iter().filter(|(_, reached)| !reached).map(|(row, _)| row.workload.name).collect();
    if !missed.is_empty() {
        let _ = write!(text, "; missed: {}", missed.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn median_of_an_even_count_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 9.0].into_iter());
        assert!((spread.median - 3.0).abs() < 1e-9);
        assert!((spread.least - 1.0).abs() < 1e-9);
        assert!((spread.most - 9.0).abs() < 1e-9);
    }
}
