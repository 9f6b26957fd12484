//! Tests of the shipped machines, message by message.
//!
//! Law: a trace names every action. What whole clusters of these machines do in every order is
//! explored by `tools/model`.

mod traces;
