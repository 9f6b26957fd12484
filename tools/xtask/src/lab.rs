//! The laboratory made of QEMU: builds what is needed once, then boots clusters from it.

use crate::cluster::{Boot, Cluster};
use crate::compile::{self, Kernel, Userland};
use crate::error::Error;
use crate::places::RunDirectory;
use crate::{program, programs, root, setup, suites, zdtm};
use qemu_tests::{Conductor, Lab, LabError, Outcome, Set, Spec, Zdtm};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Everything a cluster needs, found, installed or built.
pub(crate) struct QemuLab {
    qemu: PathBuf,
    kernel: PathBuf,
    userland: Userland,
}

impl QemuLab {
    /// Prepares this machine and builds what has changed.
    pub(crate) fn prepare(kernel: &Kernel) -> Result<QemuLab, Error> {
        let qemu = setup::qemu()?;
        let userland = Userland::build()?;
        let kernel = compile::kernel(kernel)?;
        Ok(QemuLab {
            qemu,
            kernel,
            userland,
        })
    }

    /// A user program of this workspace.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.userland.program(name)
    }

    /// Starts a cluster whose logs lie in `run`, and lets `drive` bring it to its end.
    pub(crate) fn with_cluster<T>(
        &self,
        spec: &Spec,
        run: &RunDirectory,
        drive: impl FnOnce(Cluster<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let archive = run.file("root.tar");
        root::write(&self.userland, spec, &archive)?;
        let (qemu, kernel) = (self.qemu.clone(), self.kernel.clone());
        let boot = Boot {
            qemu,
            kernel,
            archive,
        };
        drive(Cluster::start(spec, &boot, run)?)
    }

    /// Boots a cluster and shows node 1's console with `show`.
    pub(crate) fn boot_shown(
        &self,
        spec: &Spec,
        run: &RunDirectory,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<Outcome, Error> {
        let deadline = Instant::now() + Duration::from_secs(spec.timeout_s);
        self.with_cluster(spec, run, |cluster| {
            cluster.run_to_end(Some(deadline), show)
        })
    }
}

fn lab_error(error: Error) -> LabError {
    match error {
        Error::Unavailable { .. } => LabError::Unavailable(error.to_string()),
        error => LabError::Failed(error.to_string()),
    }
}

impl Lab for QemuLab {
    fn boot(&self, spec: &Spec) -> Result<Outcome, LabError> {
        let run = RunDirectory::create(&spec.name).map_err(lab_error)?;
        self.boot_shown(spec, &run, &mut |_| {}).map_err(lab_error)
    }

    fn conduct(&self, spec: &Spec, conductor: &mut dyn Conductor) -> Result<Outcome, LabError> {
        let run = RunDirectory::create(&spec.name).map_err(lab_error)?;
        let deadline = Instant::now() + Duration::from_secs(spec.timeout_s);
        self.with_cluster(spec, &run, |cluster| cluster.conduct(deadline, conductor))
            .map_err(lab_error)
    }

    fn probes(&self) -> Result<Vec<String>, LabError> {
        self.userland.names("probes").map_err(lab_error)
    }

    fn probe_on_host(&self, arguments: &[&str]) -> Result<String, LabError> {
        // The program looks at its own name for which probe it is; as first argument it serves too.
        let mut command = program::clean(self.userland.program("probes"));
        program::output(command.args(arguments), "running the probe on the host").map_err(lab_error)
    }

    fn trials_on_host(&self, arguments: &[&str]) -> Result<String, LabError> {
        let mut command = program::clean(self.userland.program("trials"));
        program::output(command.args(arguments), "running trials on the host").map_err(lab_error)
    }

    fn busybox_suite(&self) -> Result<PathBuf, LabError> {
        suites::busybox().map_err(lab_error)
    }

    fn busybox_suite_on_host(
        &self,
        script: &str,
        limit_s: u32,
        patterns: &[&str],
    ) -> Result<String, LabError> {
        suites::busybox_on_host(script, limit_s, patterns).map_err(lab_error)
    }

    fn programs(&self, set: Set) -> Result<PathBuf, LabError> {
        programs::folder(set).map_err(lab_error)
    }

    fn programs_on_host(&self, set: Set, command: &str) -> Result<String, LabError> {
        programs::on_host(set, command).map_err(lab_error)
    }

    fn zdtm(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Zdtm>, LabError> {
        zdtm::tests(wanted).map_err(lab_error)
    }

    fn busybox_on_host(&self, arguments: &[&str]) -> Result<String, LabError> {
        let busybox = setup::busybox().map_err(lab_error)?;
        let mut command = program::clean(busybox);
        program::output(command.args(arguments), "running busybox on the host").map_err(lab_error)
    }

    fn large_file(&self, bytes: u64) -> Result<PathBuf, LabError> {
        let found = root::large_file(bytes);
        found.ok_or_else(|| LabError::Failed(format!("no program here has {bytes} bytes or more")))
    }
}
