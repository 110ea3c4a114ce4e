//! The results as tables that read well in a terminal and in Markdown.

use crate::measurement::Measurement;

const NOTHING: &str = "–";

/// One target's results.
pub(crate) fn of_one(rows: &[Measurement]) -> String {
    let heading = [
        "scenario",
        "operations",
        "per s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "CPU ms each",
        "errors",
        "429",
        "further figures",
    ];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    for row in rows {
        let latency = |of: fn(&crate::measurement::Latency) -> f64| cell(row.latency_ms.as_ref().map(of));
        let figures =
            row.figures.iter().map(|figure| format!("{} {} {}", figure.name, number(figure.value), figure.unit));
        lines.push(vec![
            row.name.clone(),
            row.operations.to_string(),
            cell(row.rate_per_second),
            latency(|ms| ms.p50),
            latency(|ms| ms.p95),
            latency(|ms| ms.p99),
            cell(row.cpu_ms_per_operation),
            errors(row),
            row.rate_limited.to_string(),
            figures.collect::<Vec<_>>().join("; "),
        ]);
    }
    markdown(&lines)
}

/// Several targets side by side. Each but the first also gets the factor by which it needs less than the
/// first, of CPU time where both have it.
pub(crate) fn of_several(targets: &[(String, Vec<Measurement>)]) -> String {
    let Some(((first_name, first_rows), others)) = targets.split_first() else {
        return String::new();
    };
    let mut heading = vec!["scenario".to_owned(), first_name.clone()];
    for (name, _) in others {
        heading.push(name.clone());
        heading.push(format!("{name} needs less by"));
    }
    let mut lines = vec![heading];
    for name in row_names(targets) {
        let first = first_rows.iter().find(|row| row.name == name);
        let found: Vec<_> = others.iter().map(|(_, rows)| rows.iter().find(|row| row.name == name)).collect();
        lines.push(comparison(name.clone(), first, &found, summary, |row| row.cpu_ms_per_operation));
        for figure in figure_names(first.into_iter().chain(found.iter().copied().flatten())) {
            let value = |row: &Measurement| row.figures.iter().find(|each| each.name == figure).map(|each| each.value);
            let shown = |row: &Measurement| {
                let each = row.figures.iter().find(|each| each.name == figure);
                each.map(|each| format!("{} {}", number(each.value), each.unit)).unwrap_or_default()
            };
            lines.push(comparison(format!("{name}: {figure}"), first, &found, shown, value));
        }
    }
    markdown(&lines)
}

fn comparison(
    name: String,
    first: Option<&Measurement>,
    others: &[Option<&Measurement>],
    shown: impl Fn(&Measurement) -> String,
    compared: impl Fn(&Measurement) -> Option<f64>,
) -> Vec<String> {
    let show = |row: Option<&Measurement>| row.map_or_else(|| NOTHING.to_owned(), &shown);
    let base = first.and_then(&compared);
    let mut line = vec![name, show(first)];
    for other in others {
        line.push(show(*other));
        line.push(match (base, other.and_then(&compared)) {
            (Some(base), Some(value)) if value > 0.0 && base > 0.0 => format!("{} times", number(base / value)),
            _ => NOTHING.to_owned(),
        });
    }
    line
}

/// One cell: CPU time per operation first, then rate and latency.
fn summary(row: &Measurement) -> String {
    let mut parts = Vec::new();
    if let Some(cpu) = row.cpu_ms_per_operation {
        parts.push(format!("{} ms CPU", number(cpu)));
    }
    if let Some(rate) = row.rate_per_second {
        parts.push(format!("{}/s", number(rate)));
    }
    if let Some(latency) = &row.latency_ms {
        parts.push(format!("p50 {} ms, p99 {} ms", number(latency.p50), number(latency.p99)));
    }
    if !row.errors.is_empty() {
        parts.push(format!("errors: {}", errors(row)));
    }
    if row.rate_limited > 0 {
        parts.push(format!("{} times 429", row.rate_limited));
    }
    parts.join("; ")
}

fn errors(row: &Measurement) -> String {
    let kinds: Vec<_> = row.errors.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
    if kinds.is_empty() { "0".to_owned() } else { kinds.join(", ") }
}

/// The names of all rows of all targets, in the order in which they were measured.
fn row_names(targets: &[(String, Vec<Measurement>)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for row in targets.iter().flat_map(|(_, rows)| rows) {
        if !names.contains(&row.name) {
            names.push(row.name.clone());
        }
    }
    names
}

fn figure_names<'a>(rows: impl Iterator<Item = &'a Measurement>) -> Vec<&'static str> {
    let mut names = Vec::new();
    for figure in rows.flat_map(|row| &row.figures) {
        if !names.contains(&figure.name) {
            names.push(figure.name);
        }
    }
    names
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), number)
}

/// Three significant digits or so: more than that is noise.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Pads every column to its widest cell; the first line is the heading.
fn markdown(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        })
        .collect();
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            out.push_str(&format!("| {}{} ", cell.replace('|', "\\|"), " ".repeat(width - cell.chars().count())));
        }
        out.push_str("|\n");
        if index == 0 {
            widths.iter().for_each(|width| out.push_str(&format!("|{}", "-".repeat(width + 2))));
            out.push_str("|\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measurement::{Spent, Tally};

    fn row(name: &str, cpu_ms: u64) -> Measurement {
        let mut tally = Tally::default();
        tally.latency(Duration::from_millis(2));
        let cpu = Some(Duration::from_millis(cpu_ms));
        Measurement::new(name, tally, Spent { elapsed: Duration::from_secs(1), cpu })
    }

    #[test]
    fn one_target_is_one_line_per_measurement() {
        let table = of_one(&[row("send, 1 in 1", 3), row("login", 20).figure("memory", "MiB", 12.0)]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].starts_with("| send, 1 in 1 | 1 "));
        assert!(lines[3].contains("memory 12.0 MiB"));
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width), "{table}");
    }

    #[test]
    fn several_targets_are_compared_with_the_first() {
        let targets = [
            ("one".to_owned(), vec![row("send", 70).figure("memory", "KiB", 50.0)]),
            ("two".to_owned(), vec![row("send", 1).figure("memory", "KiB", 10.0)]),
        ];
        let table = of_several(&targets);
        assert!(table.contains("70.0 times"), "{table}");
        assert!(table.contains("| send: memory | 50.0 KiB"), "{table}");
        assert!(table.contains("5.00 times"), "{table}");
    }

    #[test]
    fn what_a_target_lacks_is_left_blank() {
        let targets = [("one".to_owned(), vec![row("send", 70)]), ("two".to_owned(), Vec::new())];
        assert!(of_several(&targets).lines().last().unwrap().trim_end().ends_with("|"));
        assert!(of_several(&targets).contains(NOTHING));
        assert_eq!(of_several(&[]), "");
    }

    #[test]
    fn numbers_show_about_three_digits() {
        assert_eq!([0.0, 0.0554, 1.234, 12.34, 1234.5].map(number), ["0", "0.055", "1.23", "12.3", "1234"]);
    }
}
