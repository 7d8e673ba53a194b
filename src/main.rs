//! The `sysupdate` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    sysupdate::cli::run(std::env::args_os())
}
