//! The lines of a report.

use serde::Serialize;
use waxseal_shared::visible_text::escaped;

use crate::commands::seal::counted;

/// The result of one check.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Ok,
    Problem,
    /// The user's rights are too few, or there is nothing to see.
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

/// The results of all checks so far, as JSON a list of lines.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(super) struct Findings {
    lines: Vec<Line>,
    /// The number of checks that the user's rights did not allow.
    #[serde(skip)]
    without_right: usize,
}

impl Findings {
    pub(super) fn ok(&mut self, text: impl Into<String>) {
        self.add(Verdict::Ok, text, None);
    }

    pub(super) fn problem(&mut self, text: impl Into<String>, remedy: &'static str) {
        self.add(Verdict::Problem, text, Some(remedy));
    }

    /// Adds a check that was not made, with the reason.
    pub(super) fn not_checked(&mut self, text: impl Into<String>) {
        self.add(Verdict::NotChecked, text, None);
    }

    /// Adds a check that the user's rights do not allow.
    pub(super) fn no_right(&mut self, text: impl Into<String>) {
        self.without_right += 1;
        self.not_checked(text);
    }

    pub(super) fn info(&mut self, text: impl Into<String>) {
        self.add(Verdict::Info, text, None);
    }

    fn add(&mut self, verdict: Verdict, text: impl Into<String>, remedy: Option<&'static str>) {
        self.lines.push(Line { verdict, text: text.into(), remedy });
    }

    /// The error at the end of the command: how many problems, and how many checks without a right; `None` if there is
    /// neither.
    pub(super) fn failure(&self) -> Option<String> {
        let problems = self.lines.iter().filter(|line| line.verdict == Verdict::Problem).count();
        let unchecked = format!("your rights are too few for {}", counted(self.without_right, "check"));
        match (problems, self.without_right) {
            (0, 0) => None,
            (0, _) => Some(unchecked),
            (_, 0) => Some(counted(problems, "problem")),
            _ => Some(format!("{}, and {unchecked}", counted(problems, "problem"))),
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| escaped(&line.text()).into_owned() + "\n").collect()
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
