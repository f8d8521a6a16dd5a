//! The tables, in Markdown.

use std::fmt::Write;

use serde::Serialize;

use crate::cold_start::ColdStart;
use crate::rounds::{Comparison, Measured};
use crate::statistics::Spread;

/// Everything that was found out.
#[derive(Serialize)]
pub struct Report {
    /// The processor's name and the number of cores.
    pub machine: String,
    /// How it was run.
    pub settings: String,
    /// What was measured.
    pub comparisons: Vec<Comparison>,
    /// Cold starts.
    pub cold_starts: Vec<ColdStart>,
    /// Contenders that never ran: name and reason.
    pub skipped: Vec<(String, String)>,
}

/// The processor's name and the number of cores, as the operating system gives them.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    format!("{}, {cores} cores", name.unwrap_or_else(|| std::env::consts::ARCH.to_owned()))
}

impl Report {
    /// The whole report.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n{}\n", self.machine, self.settings);
        self.summary(&mut text);
        self.details(&mut text);
        self.cold(&mut text);
        if !self.skipped.is_empty() {
            text.push_str("\nSkipped:\n\n");
            for (name, reason) in &self.skipped {
                let _ = writeln!(text, "* {name}: {reason}");
            }
        }
        text
    }

    /// One row a workload: each contender's median and how many times loquat's it is.
    fn summary(&self, text: &mut String) {
        let mut columns: Vec<(&str, String)> = Vec::new();
        for measured in self.comparisons.iter().flat_map(|comparison| &comparison.measured) {
            if !columns.iter().any(|(id, _)| *id == measured.id) {
                columns.push((measured.id, format!("{} {}", measured.name, measured.version)));
            }
        }
        text.push_str(
            "\nMilliseconds (and how many times loquat's, the median over the rounds of the ratio within a round):\n\n",
        );
        let _ = write!(text, "| workload | threads |");
        for (_, title) in &columns {
            let _ = write!(text, " {title} |");
        }
        let _ = writeln!(text, "\n| --- | --- |{}", " --- |".repeat(columns.len()));
        for comparison in &self.comparisons {
            let _ = write!(text, "| {} | {} |", comparison.workload, comparison.threads);
            for (id, _) in &columns {
                let cell = comparison.measured.iter().find(|measured| measured.id == *id).and_then(|measured| {
                    let median = measured.milliseconds()?.median;
                    Some(match comparison.times_of_ours(measured) {
                        Some(ratio) => format!("{} ({:.2}×)", number(median), ratio.median),
                        None => number(median),
                    })
                });
                let _ = write!(text, " {} |", cell.unwrap_or_else(|| "–".to_owned()));
            }
            text.push('\n');
        }
    }

    /// One table a workload with everything about each contender.
    fn details(&self, text: &mut String) {
        for comparison in &self.comparisons {
            let threads =
                if comparison.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", comparison.threads) };
            let _ = writeln!(
                text,
                "\n{}, {threads}: {} tokens, {:.2} GFLOP\n\n\
                 | contender | strategy | min ms | median ms | p10–p90 ms | GFLOP/s | × loquat (p10–p90) | cosine | max error |\n\
                 | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
                comparison.workload,
                comparison.tokens,
                comparison.flops as f64 / 1e9,
            );
            for measured in &comparison.measured {
                let Some(time) = measured.milliseconds() else { continue };
                let ratio = comparison.times_of_ours(measured).map_or("–".to_owned(), |ratio| {
                    format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.p10, ratio.p90)
                });
                let agreement = measured.calibrated.agreement;
                let _ = writeln!(
                    text,
                    "| {} {} | {} | {} | {} | {}–{} | {:.1} | {ratio} | {:.7} | {:.1e} |",
                    measured.name,
                    measured.version,
                    measured.calibrated.name,
                    number(time.min),
                    number(time.median),
                    number(time.p10),
                    number(time.p90),
                    comparison.flops as f64 / time.median / 1e6,
                    agreement.min_cosine,
                    agreement.max_abs_error,
                );
            }
            for (name, reason) in &comparison.skipped {
                let _ = writeln!(text, "\n{name} is left out: {reason}");
            }
            let _ = writeln!(text, "\nOutputs compared with those of {} in f32.", comparison.reference);
        }
    }

    fn cold(&self, text: &mut String) {
        if self.cold_starts.is_empty() {
            return;
        }
        text.push_str(
            "\nCold start of one process with one thread, warm page cache, to the first embedding of a 16-token sentence (peers get ids):\n\n\
             | contender | min ms | median ms | p10–p90 ms | peak MB |\n| --- | --- | --- | --- | --- |\n",
        );
        for cold in &self.cold_starts {
            let (Some(time), Some(peak)) = (cold.milliseconds(), cold.megabytes()) else { continue };
            let Spread { min, p10, median, p90 } = time;
            let _ = writeln!(text, "| {} | {min:.1} | {median:.1} | {p10:.1}–{p90:.1} | {peak:.0} |", cold.name);
        }
    }
}

impl Comparison {
    /// How many times as long `measured` takes as loquat; `None` for loquat itself or without it.
    fn times_of_ours(&self, measured: &Measured) -> Option<Spread> {
        let ours = self.measured.iter().find(|measured| measured.id == "loquat")?;
        if measured.id == ours.id { None } else { measured.times_of(ours) }
    }
}

/// Three significant digits or so: 0.512, 5.12, 51.2, 512.
fn number(value: f64) -> String {
    match value {
        ..1.0 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
