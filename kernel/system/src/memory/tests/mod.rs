//! Tests of address spaces.
