//! The table of function names that makes a panic readable.
