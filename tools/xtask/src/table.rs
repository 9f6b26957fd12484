//! Tables that guests print: tab-separated lines with a header, shown aligned or as JSON.

use serde_json::{Map, Number, Value};

/// A table of text cells; every row is as long as the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads lines, the first of which is the header; lines with another number of cells are left
    /// out. `None` without a header.
    pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Table> {
        let mut lines = lines
            .into_iter()
            .map(|line| line.split('\t').map(str::to_owned).collect());
        let header: Vec<String> = lines.next()?;
        let rows = lines
            .filter(|row: &Vec<String>| row.len() == header.len())
            .collect();
        Some(Table { header, rows })
    }

    /// The table with every column as wide as its widest cell, numbers to the right.
    pub(crate) fn aligned(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let mut text = String::new();
        for line in lines() {
            for (column, cell) in line.iter().enumerate() {
                let width = lines()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0);
                if column > 0 {
                    text.push_str("  ");
                }
                text.push_str(&format!("{cell:>width$}"));
            }
            text.push('\n');
        }
        text
    }

    /// One object for each row.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let pairs = self.header.iter().zip(row);
            Value::Object(
                pairs
                    .map(|(name, cell)| (name.clone(), value(cell)))
                    .collect::<Map<_, _>>(),
            )
        });
        Value::Array(rows.collect())
    }
}

/// A number where the cell is one, else a text.
fn value(cell: &str) -> Value {
    if let Ok(number) = cell.parse::<u64>() {
        return Value::Number(number.into());
    }
    let number = cell.parse::<f64>().ok().and_then(Number::from_f64);
    number.map_or_else(|| Value::String(cell.to_owned()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_shown_aligned_and_as_json() {
        let table = Table::read(["mib\tp50\tname", "1\t37.5\ta", "short", "256\t4\tbcd"]);
        let table = table.expect("it has a header");
        assert_eq!(table.rows.len(), 2);
        assert_eq!(
            table.aligned(),
            "mib   p50  name\n  1  37.5     a\n256     4   bcd\n"
        );
        let json = table.json().to_string();
        let expected = r#"[{"mib":1,"name":"a","p50":37.5},{"mib":256,"name":"bcd","p50":4}]"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn no_lines_are_no_table() {
        assert_eq!(Table::read([]), None);
    }
}
