//! `docs/long-run.md`: what the long tests gave when they last ran.
//!
//! Law: one row for each long test, written by `cargo xtask test --long` only, good result or bad.

use crate::error::Error;
use crate::{places, program};
use std::collections::BTreeMap;

const FILE: &str = "docs/long-run.md";
const HEAD: &str = "# Long tests: their last results

Written by `cargo xtask test --long`, which runs all of them; `cargo xtask test --long NAME` runs one.

| test | date | of commit | command | passed | failed | seconds |
|---|---|---|---|---:|---:|---:|
";

/// Replaces the row of a test.
pub(crate) fn keep(name: &str, passed: usize, failed: usize, seconds: f64) -> Result<(), Error> {
    let path = places::root().join(FILE);
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let ask = |program: &str, words: &[&str]| {
        let mut command = program::clean(program);
        command.args(words).current_dir(places::root());
        program::output(&mut command, program).map(|text| text.trim().to_owned())
    };
    let date = ask("date", &["-u", "+%F %R"]).unwrap_or_default();
    let commit = ask("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let row = format!(
        "| {name} | {date} | {commit} | `cargo xtask test --long {name}` | {passed} | {failed} | {seconds:.0} |"
    );
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    std::fs::write(&path, with_row(&old, name, &row)).map_err(Error::file("write", &path))
}

fn with_row(old: &str, name: &str, row: &str) -> String {
    let mut rows: BTreeMap<&str, &str> = old
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| test "))
        .filter_map(|line| Some((line.split(" | ").next()?.trim_start_matches("| "), line)))
        .collect();
    rows.insert(name, row);
    let rows: Vec<&str> = rows.into_values().collect();
    format!("{HEAD}{}\n", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_replaces_its_old_one_and_keeps_the_others() {
        let one = with_row("", "b", "| b | 1 |");
        let two = with_row(&one, "a", "| a | 2 |");
        let three = with_row(&two, "b", "| b | 3 |");
        assert_eq!(three, format!("{HEAD}| a | 2 |\n| b | 3 |\n"));
    }
}
