//! `cargo xtask`: the one entry to building, running, testing and measuring Dunlin.
//!
//! Law: a command sets up what it needs, says what it does on standard error, and ends with a status
//! that tells how it went: 0 well, 1 badly, 2 wrong usage, 124 ended by the watchdog, 125 node 1
//! crashed, else what the guest's script ended with.

mod alternatives;
mod archive;
mod bench;
mod bench_linux;
mod bench_syscall;
mod beside;
mod cluster;
mod compile;
mod demo;
mod disk;
mod dissector;
mod error;
mod faults;
mod fuzz;
mod golang;
mod image;
mod key;
mod lab;
mod libraries;
mod libuv;
mod measure;
mod model;
mod node;
mod options;
mod package;
mod pam;
mod places;
mod plot;
mod posix;
mod program;
mod programs;
mod record;
mod report;
mod root;
mod run;
mod say;
mod selftests;
mod setup;
mod shapes;
mod sim;
mod soak;
mod statistics;
mod suites;
mod syscalls;
mod table;
mod terminal;
mod test;
mod tidy;
mod trace;
mod tshark;
mod zdtm;

use clap::Parser;
use compile::Kernel;
use options::{Bench, Command, Options, Sim};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    let kernel = &Kernel {
        compiler: options.compiler,
        image: options.kernel.clone(),
    };
    let outcome = match &options.command {
        Command::Demo(hardware) => demo::demo(hardware, kernel),
        Command::Test(options) => test::test(options, kernel),
        Command::Run(options) => run::run(options, kernel),
        Command::Trace(options) => trace::trace(options, kernel),
        Command::Cluster(options) => run::cluster(options, kernel),
        Command::Bench {
            what: Bench::Migrate(options),
        } => measure::measure(&["migrate"], options, kernel),
        Command::Bench {
            what: Bench::Link(options),
        } => measure::measure(&["link"], options, kernel),
        Command::Bench {
            what: Bench::Forward(options),
        } => measure::measure(&["forward"], options, kernel),
        Command::Bench {
            what: Bench::Drain(options),
        } => measure::measure(&["drain"], options, kernel),
        Command::Bench {
            what: Bench::All(options),
        } => measure::measure(&measure::ALL, options, kernel),
        Command::Bench {
            what: Bench::Files(options),
        } => bench::files(options, kernel),
        Command::Bench {
            what: Bench::Syscall(options),
        } => bench_syscall::syscall(options, kernel),
        Command::Bench {
            what: Bench::Linux(options),
        } => bench_linux::linux(options, kernel),
        Command::Sim {
            what: Sim::Cluster(options),
        } => sim::cluster(options),
        Command::Sim {
            what: Sim::Faults(options),
        } => faults::faults(options),
        Command::Sim {
            what: Sim::Cells(options),
        } => faults::cells(options),
        Command::Dissector { check: false } => dissector::write(&places::root()),
        Command::Dissector { check: true } => {
            tshark::golden().and_then(|result| result.map(|()| 0).map_err(error::Error::Unmet))
        }
        Command::Fuzz(options) => fuzz::fuzz(options),
        Command::Soak(options) => soak::soak(options, kernel),
        Command::Model(options) => model::model(options),
        Command::Key(options) => key::key(options),
        Command::Syscalls => syscalls::write(&places::root()),
        Command::Build => lab::QemuLab::prepare(kernel).map(|_| 0),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(if matches!(error, error::Error::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}
