//! Tables for people, as kubectl prints them.

/// The widths of the columns of a table.
pub(crate) struct Columns(Vec<usize>);

impl Columns {
    /// Columns as wide as the widest of their cells. The first line has a cell for each column, and no line has fewer.
    pub(crate) fn of(lines: &[Vec<String>]) -> Self {
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default();
        Self((0..lines.first().map_or(0, Vec::len)).map(width).collect())
    }

    /// One line with its line break. A cell that is too long moves the cells after it.
    pub(crate) fn line(&self, cells: &[String]) -> String {
        let cells: Vec<_> = cells.iter().zip(&self.0).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    }
}

/// A whole table; the first line is the head.
pub(crate) fn table(lines: &[Vec<String>]) -> String {
    let columns = Columns::of(lines);
    lines.iter().map(|line| columns.line(line)).collect()
}

/// An age in its largest unit, such as `5h`.
pub(crate) fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
