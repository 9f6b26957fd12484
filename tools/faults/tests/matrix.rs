//! The fault matrix: every cell of the table, in few worlds; its document.
//!
//! Law: a cell that fails names itself and the command that repeats it.

use faults::cells::{Row, document, table};
use faults::run_cell;
use std::path::Path;

/// Worlds of each cell; the long run has 16.
const SEEDS: u64 = 2;

#[test]
fn every_cell_comes_out_as_the_table_says() {
    let rows = table().expect("the table can be read");
    let mut cells = 0;
    for row in rows {
        let Row::Cell(cell) = row else { continue };
        cells += 1;
        for seed in 0..SEEDS {
            if let Err(failure) = run_cell(cell, seed, None, &mut |_| {}) {
                panic!("{failure}\nrepeat: cargo xtask sim cells --cell {cell} --seed {seed}");
            }
        }
    }
    assert!(cells >= 400, "{cells} cells");
}

#[test]
fn the_document_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fault-matrix.md");
    let wanted = document().expect("the table can be read");
    if std::env::var_os("DUNLIN_RECORD").is_some() {
        std::fs::write(&path, &wanted).expect("it can be written");
    }
    let there = std::fs::read_to_string(&path).expect("the document is there");
    assert!(
        there == wanted,
        "docs/fault-matrix.md is not that of the table: DUNLIN_RECORD=1 cargo test -p faults --test matrix"
    );
}
