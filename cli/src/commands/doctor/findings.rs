//! The lines of a report.

use serde::Serialize;
use waxseal_shared::visible_text::escaped;

/// The result of one check.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Ok,
    Problem,
    /// The rights of the user are too few, or there is nothing to see.
    NotChecked,
    /// Good to know, and neither good nor bad.
    Info,
}

#[derive(Serialize)]
struct Line {
    verdict: Verdict,
    text: String,
    /// What to do about a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// The results of all checks so far.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(super) struct Findings(Vec<Line>);

impl Findings {
    pub(super) fn ok(&mut self, text: impl Into<String>) {
        self.add(Verdict::Ok, text, None);
    }

    pub(super) fn problem(&mut self, text: impl Into<String>, remedy: &'static str) {
        self.add(Verdict::Problem, text, Some(remedy));
    }

    pub(super) fn not_checked(&mut self, text: impl Into<String>) {
        self.add(Verdict::NotChecked, text, None);
    }

    pub(super) fn info(&mut self, text: impl Into<String>) {
        self.add(Verdict::Info, text, None);
    }

    fn add(&mut self, verdict: Verdict, text: impl Into<String>, remedy: Option<&'static str>) {
        self.0.push(Line { verdict, text: text.into(), remedy });
    }

    /// The number of problems.
    pub(super) fn problems(&self) -> usize {
        self.0.iter().filter(|line| line.verdict == Verdict::Problem).count()
    }

    pub(super) fn text(&self) -> String {
        self.0.iter().map(|line| escaped(&line.text()).into_owned() + "\n").collect()
    }
}

impl Line {
    fn text(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Problem => "PROBLEM",
            Verdict::NotChecked => "not checked",
            Verdict::Info => "info",
        };
        let remedy = self.remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default();
        format!("{verdict}: {}{remedy}", self.text)
    }
}
