//! Draws lines on two logarithmic scales.

use std::fmt::Write as _;

use super::Drawn;
use crate::{harness::Side, svg::escape};

/// Edges of the plot.
const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 400.0;

const TRINE: [&str; 3] = ["#c0392b", "#e67e22", "#d4ac0d"];
const PEERS: [&str; 8] = ["#1f4e79", "#2e86c1", "#7fb3d5", "#117864", "#45b39d", "#6c3483", "#a569bd", "#5d6d7e"];

/// Whole powers of ten around values.
struct Scale {
    least: i32,
    most: i32,
    from: f64,
    length: f64,
}

impl Scale {
    fn around(values: impl Iterator<Item = f64> + Clone, from: f64, length: f64) -> Self {
        let logs = values.map(|value| value.max(0.1).log10());
        let least = logs.clone().fold(f64::INFINITY, f64::min).floor() as i32;
        let most = logs.fold(f64::NEG_INFINITY, f64::max).ceil() as i32;
        Self { least, most: most.max(least + 1), from, length }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.max(0.1).log10() - f64::from(self.least)) / f64::from(self.most - self.least);
        self.from + share * self.length
    }

    /// The powers of ten with their places.
    fn ticks(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        (self.least..=self.most).map(|power| 10f64.powi(power)).map(|value| (value, self.at(value)))
    }
}

/// The whole picture. Each line has its colour; from the eighth peer on, its dashes as well.
pub(super) fn draw(title: &str, axis: &str, machine: &str, lines: &[Drawn]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = Scale::around(points().map(|point| point.0 as f64), LEFT, WIDTH);
    let y = Scale::around(points().map(|point| point.1), TOP + HEIGHT, -HEIGHT);

    let (width, bottom) = (LEFT + WIDTH + 190.0, TOP + HEIGHT);
    let height = bottom + 50.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"14\" font-weight=\"bold\">{}</text>\n\
         <text x=\"8\" y=\"36\" fill=\"#777\">less is better, both scales logarithmic; {}</text>\n",
        escape(title),
        escape(machine)
    );
    for (value, at) in x.ticks() {
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#777\">{value}</text>",
            bottom + 16.0
        );
    }
    for (value, at) in y.ticks() {
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}h{WIDTH}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#777\">{value}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        LEFT + WIDTH / 2.0,
        bottom + 36.0,
        escape(axis)
    );

    let (mut trines, mut peers) = (0, 0);
    for (index, line) in lines.iter().enumerate() {
        let ours = line.side == Some(Side::Trine);
        let (colours, count): (&[&str], &mut usize) = if ours { (&TRINE, &mut trines) } else { (&PEERS, &mut peers) };
        let stroke = colours[*count % colours.len()];
        let dashes = if *count >= colours.len() { " stroke-dasharray=\"5 3\"" } else { "" };
        *count += 1;
        let thickness = if ours { 2.5 } else { 1.5 };
        let style = format!("fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{thickness}\"{dashes}");
        let path: Vec<String> =
            line.points.iter().map(|&(size, nanos)| format!("{:.1},{:.1}", x.at(size as f64), y.at(nanos))).collect();
        let legend = TOP + 10.0 + 18.0 * index as f64;
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" {style}/><path d=\"M{} {legend}h24\" {style}/><text x=\"{}\" y=\"{}\">{}</text>",
            path.join(" "),
            LEFT + WIDTH + 14.0,
            LEFT + WIDTH + 44.0,
            legend + 4.0,
            escape(&line.name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::Scale;

    #[test]
    fn a_scale_reaches_from_one_power_of_ten_to_another() {
        let scale = Scale::around([3.0, 250.0].into_iter(), 100.0, 300.0);
        let ticks: Vec<(f64, f64)> = scale.ticks().collect();
        assert_eq!(ticks, [(1.0, 100.0), (10.0, 200.0), (100.0, 300.0), (1_000.0, 400.0)]);
    }

    #[test]
    fn one_value_alone_has_a_scale() {
        assert!(Scale::around([1.0].into_iter(), 0.0, 1.0).at(1.0).is_finite());
    }
}
