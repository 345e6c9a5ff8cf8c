//! `heirloom exec-child` (hidden): places inherited descriptors and becomes the program that wants them (rule H23).

use super::Outcome;
use std::ffi::OsString;

/// The first moments of a child: descriptors are placed here, then the real program takes over
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let _ = &args.words;
    Err("children cannot be given descriptors yet".into())
}
