//! `heirloom exec-child` (hidden): places inherited descriptors and becomes the program that wants them (rule H23).

use super::Outcome;
use crate::supervisor::exec_child;
use std::ffi::OsString;

/// The first moments of a child: descriptors are placed here, then the real program takes over
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Become this user first; no descriptors are received then
    #[arg(long)]
    user: Option<String>,

    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

pub(super) fn run(args: &Args) -> Outcome {
    Err(exec_child(args.user.as_deref(), &args.words).into())
}
