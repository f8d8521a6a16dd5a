//! A table of comparisons that fails at its end, so that all failing cases are seen and not only the first.

use std::fmt::Write;

/// Comparisons of one test.
#[derive(Debug, Default)]
pub struct Report {
    table: String,
    cases: usize,
    failures: usize,
}

impl Report {
    /// Notes a case that is right if `fits`; `detail` says how far off it is.
    pub fn case(&mut self, name: impl std::fmt::Display, fits: bool, detail: impl std::fmt::Display) {
        self.cases += 1;
        self.failures += usize::from(!fits);
        let mark = if fits { "" } else { "  FAILED" };
        // Writing to a string can't fail.
        let _ = writeln!(self.table, "{name:<44} {detail}{mark}");
    }

    /// Notes a case where `found` may differ from `expected` by `tolerance` in any element.
    pub fn close(&mut self, name: impl std::fmt::Display, found: &[f32], expected: &[f32], tolerance: f32) {
        if found.len() != expected.len() {
            return self.case(name, false, format_args!("{} values, expected {}", found.len(), expected.len()));
        }
        let errors = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
        // `f32::max` would lose a NaN.
        let worst = errors.fold(0.0f32, |worst, error| if error.is_nan() || error > worst { error } else { worst });
        self.case(name, worst <= tolerance, format_args!("max abs error {worst:.2e}, allowed {tolerance:.0e}"));
    }

    /// Prints the table; fails if a case did or if there were fewer than `at_least`.
    ///
    /// # Panics
    /// If a case failed.
    pub fn finish(self, at_least: usize) {
        println!("{}{} cases, {} failed\n", self.table, self.cases, self.failures);
        assert_eq!(self.failures, 0, "{} of {} cases failed:\n{}", self.failures, self.cases, self.table);
        assert!(self.cases >= at_least, "only {} cases, expected at least {at_least}:\n{}", self.cases, self.table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "1 of 2 cases failed")]
    fn a_failing_case_fails_the_report() {
        let mut report = Report::default();
        report.close("fits", &[1.0], &[1.0], 0.0);
        report.close("is off", &[f32::NAN, 1.0], &[1.0, 1.0], 1.0);
        report.finish(2);
    }

    #[test]
    #[should_panic(expected = "only 0 cases")]
    fn a_report_without_cases_fails() {
        Report::default().finish(1);
    }
}
