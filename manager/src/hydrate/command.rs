//! What a command prints, as a source.

use super::HydrateError;
use crate::formats::FormatError;
use std::process::{ChildStdout, Command, Stdio};

/// Starts the command, gives its output to `read`, and requires that it ends well.
///
/// Its standard error goes to ours. It is killed where `read` fails.
pub(super) fn read(
    command: &[String],
    name: &str,
    read: impl FnOnce(ChildStdout) -> Result<(), HydrateError>,
) -> Result<(), HydrateError> {
    let source_name = name.to_owned();
    let (program, arguments) = command.split_first().expect("the configuration refuses an empty command");
    let mut child =
        match Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => return Err(HydrateError::NotStarted { source_name, error }),
        };
    let output = child.stdout.take().expect("it was started with a pipe");
    let done = read(output);
    if done.is_err() {
        // Its output is closed, so nothing it still does matters; that it may have ended already is fine.
        let _ = child.kill();
    }
    let status = child.wait();
    done?;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(HydrateError::Failed { source_name, status }),
        Err(error) => Err(FormatError::Unreadable { source_name, error }.into()),
    }
}
