//! The lines of a report.

use serde::Serialize;
use waxseal_shared::visible_text::escaped;

use crate::streams::counted;

/// The result of one check.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Ok,
    Problem,
    /// The check could not be made.
    NotChecked,
    /// A fact that is neither good nor bad.
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
}

impl Findings {
    pub(super) fn ok(&mut self, text: impl Into<String>) {
        self.add(Verdict::Ok, text, None);
    }

    pub(super) fn problem(&mut self, text: impl Into<String>, remedy: &'static str) {
        self.add(Verdict::Problem, text, Some(remedy));
    }

    /// Adds a check that could not be made. The command fails because of it: the installation may be bad.
    pub(super) fn not_checked(&mut self, text: impl Into<String>) {
        self.add(Verdict::NotChecked, text, None);
    }

    pub(super) fn info(&mut self, text: impl Into<String>) {
        self.add(Verdict::Info, text, None);
    }

    fn add(&mut self, verdict: Verdict, text: impl Into<String>, remedy: Option<&'static str>) {
        self.lines.push(Line { verdict, text: text.into(), remedy });
    }

    /// The error at the end of the command: how many problems, and how many checks could not be made; `None` if there
    /// is neither.
    pub(super) fn failure(&self) -> Option<String> {
        let count = |verdict| self.lines.iter().filter(|line| line.verdict == verdict).count();
        let (problems, unmade) = (count(Verdict::Problem), count(Verdict::NotChecked));
        let found = (problems > 0).then(|| counted(problems, "problem"));
        let unmade = (unmade > 0).then(|| format!("{} could not be made", counted(unmade, "check")));
        let texts: Vec<_> = [found, unmade].into_iter().flatten().collect();
        (!texts.is_empty()).then(|| texts.join(", and "))
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
