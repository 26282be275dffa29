//! Tables in columns, for the terminal and for Markdown.

/// A table: a head, and rows of as many cells.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a head.
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Table {
        Table {
            rows: vec![head.into_iter().map(Into::into).collect()],
        }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell: &String| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }

    /// A column is aligned to the right if there are but numbers in it.
    fn right(&self, column: usize) -> bool {
        let mut cells = self.rows[1..].iter().filter_map(|row| row.get(column));
        cells.all(|cell| {
            cell.chars()
                .all(|c| c.is_ascii_digit() || " .,/–-".contains(c))
        })
    }

    fn cells(&self, row: &[String], between: &str) -> String {
        let widths = self.widths();
        let cell = |(column, width): (usize, &usize)| {
            let text = row.get(column).map_or("", String::as_str);
            if self.right(column) {
                format!("{text:>width$}")
            } else {
                format!("{text:<width$}")
            }
        };
        let cells: Vec<String> = widths.iter().enumerate().map(cell).collect();
        cells.join(between)
    }

    /// In columns.
    pub fn text(&self) -> String {
        let line = |row: &Vec<String>| self.cells(row, "  ").trim_end().to_string() + "\n";
        self.rows.iter().map(line).collect()
    }

    /// As Markdown has it.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            text += &format!("| {} |\n", self.cells(row, " | "));
            if number == 0 {
                let rule = |(column, width): (usize, &usize)| {
                    let end = if self.right(column) { ":" } else { "-" };
                    format!("{}{end}", "-".repeat(width.saturating_sub(1).max(1)))
                };
                let rules: Vec<String> = self.widths().iter().enumerate().map(rule).collect();
                text += &format!("| {} |\n", rules.join(" | "));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["scenario", "MiB", "holds"]);
        table.row(["all-freed", "7.5", "yes"]);
        table.row(["µ", "–", "no"]);
        table.row(["large", "123.0", "yes"]);
        table
    }

    #[test]
    fn numbers_end_and_words_begin_at_their_column() {
        let expected = "scenario     MiB  holds\n\
                        all-freed    7.5  yes\n\
                        µ              –  no\n\
                        large      123.0  yes\n";
        assert_eq!(table().text(), expected);
    }

    #[test]
    fn markdown_has_a_rule_with_the_alignment() {
        let markdown = table().markdown();
        let lines: Vec<&str> = markdown.lines().collect();
        assert_eq!(lines[1], "| --------- | ----: | ----- |");
        assert_eq!(lines[3], "| µ         |     – | no    |");
        assert_eq!(lines.len(), 5);
    }
}
