//! Draws the rows as horizontal bars on a logarithmic scale.

use std::fmt::Write as _;

use crate::{
    harness::Side,
    report::{Row, shown},
};

/// Left edge of the bars: room for the names.
const LEFT: f64 = 230.0;
/// Length of one power of ten.
const DECADE: f64 = 130.0;
/// Height of one bar with its gap.
const BAR: f64 = 15.0;
/// Height of a workload's heading.
const HEADING: f64 = 24.0;

/// The whole picture; a bar starts at 1 ns, since a logarithm has no zero.
pub(crate) fn draw(rows: &[Row], machine: &str) -> String {
    let longest = rows.iter().flat_map(|row| &row.entries).map(|entry| entry.nanos).fold(10.0, f64::max);
    let decades = longest.log10().ceil();
    let width = LEFT + decades * DECADE + 70.0;
    let height = rows.iter().map(|row| HEADING + BAR * row.entries.len() as f64).sum::<f64>() + 50.0;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"16\">ns per operation, less is better, logarithmic; {}</text>",
        escape(machine)
    );
    for decade in 0..=decades as u32 {
        let x = LEFT + f64::from(decade) * DECADE;
        let _ = writeln!(
            svg,
            "<path d=\"M{x} 36V{height:.0}\" stroke=\"#ddd\"/><text x=\"{x}\" y=\"32\" fill=\"#777\">{}</text>",
            10u64.pow(decade)
        );
    }

    let mut y = 40.0;
    for row in rows {
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{:.0}\" font-weight=\"bold\">{}</text>",
            y + HEADING - 8.0,
            escape(row.workload.name)
        );
        y += HEADING;
        for entry in &row.entries {
            let fill = match entry.contender.side {
                Side::Trine => "#c0392b",
                Side::Peer => "#7f9db9",
                Side::Reference | Side::Floor => "#c9d6e2",
            };
            let length = entry.nanos.max(1.0).log10() * DECADE;
            let base = y + BAR - 5.0;
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{:.0}\" fill=\"{fill}\"/>\
                 <text x=\"{:.1}\" y=\"{base:.0}\">{:.1}</text>",
                LEFT - 6.0,
                escape(&shown(entry.contender.side, entry.name)),
                BAR - 3.0,
                LEFT + length + 4.0,
                entry.nanos,
            );
            y += BAR;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Makes text safe between tags.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
