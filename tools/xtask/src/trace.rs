//! `cargo xtask trace`: a script on a cluster, and what all nodes tell of its moves, for Perfetto.
//!
//! Law: what the nodes tell is shown as they told it; what cannot have been so makes the command fail.

use crate::compile::Kernel;
use crate::error::{Error, Outcome};
use crate::lab::QemuLab;
use crate::options::TraceOptions;
use crate::places::RunDirectory;
use crate::run::{say_logs, script_of, show, status};
use crate::say;
use qemu_tests::moves::{BEGIN, told, with_trace};
use timeline::Timeline;

/// Runs the script and writes the trace of its moves.
pub(crate) fn trace(options: &TraceOptions, kernel: &Kernel) -> Outcome {
    let mut spec = options.run.cluster.spec("trace")?;
    spec.script = Some(with_trace(&script_of(&options.run)?));
    spec.timeout_s = options.run.timeout;
    let lab = QemuLab::prepare(kernel)?;
    let directory = RunDirectory::create("trace")?;
    say_logs(&spec, &directory);
    let mut shown = Until::new(BEGIN);
    let outcome = lab.boot_shown(&spec, &directory, &mut |bytes| shown.show(bytes))?;
    let timeline = told(&outcome).map_err(Error::Unmet)?;
    write(options, &timeline)?;
    let wrong = timeline.violations();
    for one in &wrong {
        say::warning(one);
    }
    if !wrong.is_empty() {
        return Err(Error::Unmet(format!(
            "{} things in the trace cannot have been so",
            wrong.len()
        )));
    }
    Ok(status(&outcome.ended))
}

fn write(options: &TraceOptions, timeline: &Timeline) -> Result<(), Error> {
    let path = &options.out;
    let text = timeline.perfetto().to_string();
    std::fs::write(path, text + "\n").map_err(Error::file("write", path))?;
    say::step(format!(
        "{} moves, {} events, {} arrows in {}: open it in https://ui.perfetto.dev or chrome://tracing",
        timeline.moves().len(),
        timeline.steps.len(),
        timeline.flows.len(),
        path.display()
    ));
    if timeline.overwritten + timeline.pages_overwritten > 0 {
        say::warning(format!(
            "the nodes have forgotten {} older steps and {} older pages",
            timeline.overwritten, timeline.pages_overwritten
        ));
    }
    Ok(())
}

/// Shows the console as far as a line.
struct Until {
    end: &'static str,
    line: Vec<u8>,
    over: bool,
}

impl Until {
    fn new(end: &'static str) -> Until {
        Until {
            end,
            line: Vec::new(),
            over: false,
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.over {
                return;
            }
            self.line.push(byte);
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.over = line.trim_ascii() == self.end.as_bytes();
                if !self.over {
                    show(&line);
                }
            }
        }
    }
}
