//! Tables for people.

use std::fmt;

/// A table with a title. The first column is flush left, the others flush right; a row may be followed by notes.
pub(super) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(super) fn new<const COLUMNS: usize>(title: &str, columns: [&str; COLUMNS]) -> Self {
        Self {
            title: title.to_owned(),
            rows: vec![columns.map(str::to_owned).to_vec()],
            notes: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a line below the table.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        writeln!(formatter, "{}", self.title)?;
        for row in &self.rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(formatter, "  {cell:<width$}")?,
                    _ => write!(formatter, "  {cell:>width$}")?,
                }
            }
            writeln!(formatter)?;
        }
        for note in &self.notes {
            writeln!(formatter, "  {note}")?;
        }
        Ok(())
    }
}

/// Milliseconds with a precision that suits them.
pub(super) fn milliseconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2} ms")
    } else {
        format!("{value:.0} ms")
    }
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", to_megabytes(bytes))
}

pub(super) fn to_megabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1024.0 / 102.4).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new("Title", ["name", "p50"]);
        table.row(["a longer name".to_owned(), milliseconds(1.234)]);
        table.note("a note");
        let expected = "Title\n  name               p50\n  a longer name  1.23 ms\n  a note\n";
        assert_eq!(table.to_string(), expected);
    }
}
