//! Looks into an extension image and prints its facts as JSON: `look [--arch=ARCH] sysext|confext NAME IMAGE [FILE…]`.
//!
//! For each FILE a line with its digest follows. `look judge sysext|confext OS_RELEASE ARCH RELEASE…` prints `fits`, or what
//! does not, for each release file. Exit status 2 for what cannot be looked into, 3 for a damaged image,
//! 4 when reading fails. The integration tests `images` and `compat` drive this.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its user"
)]

use std::error::Error;
use std::fs::File;
use std::process::ExitCode;

use sysupdate::compat::{Os, Verdict, judge_fields};
use sysupdate::extension::ExtensionKind;
use sysupdate::host::parse_environment;
use sysupdate::image::{Facts, Image, ImageError};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match look(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("look: {error}");
            match error.downcast_ref::<ImageError>() {
                Some(ImageError::Opaque { .. }) => ExitCode::from(2),
                Some(ImageError::Damaged { .. }) => ExitCode::from(3),
                Some(_) => ExitCode::from(4),
                None => ExitCode::from(64),
            }
        }
    }
}

fn look(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    if let [first, kind, os_release, architecture, releases @ ..] = arguments
        && first == "judge"
    {
        return judge(kind, os_release, architecture, releases);
    }
    let (architecture, rest) = match arguments {
        [first, rest @ ..] if first.starts_with("--arch=") => (&first["--arch=".len()..], rest),
        rest => ("x86-64", rest),
    };
    let [kind, name, path, files @ ..] = rest else {
        return Err("usage: look [--arch=ARCH] sysext|confext NAME IMAGE [FILE…]".into());
    };
    let kind = extension_kind(kind)?;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut image = Image::open(Box::new(file), length, architecture)?;
    let facts = Facts::of(&mut image, kind, name)?;
    println!("{}", serde_json::to_string(&facts)?);
    for file in files {
        match image.digest(file)? {
            Some(digest) => println!("{digest}  {file}"),
            None => println!("missing  {file}"),
        }
    }
    Ok(())
}

fn judge(
    kind: &str,
    os_release: &str,
    architecture: &str,
    releases: &[String],
) -> Result<(), Box<dyn Error>> {
    let kind = extension_kind(kind)?;
    let os = Os::parse(
        &std::fs::read_to_string(os_release)?,
        Some(architecture.to_owned()),
    );
    for release in releases {
        let fields = parse_environment(&std::fs::read_to_string(release)?);
        match judge_fields(&os, kind, &fields) {
            Verdict::Fits => println!("fits"),
            Verdict::Misfit(misfit) => println!("{misfit}"),
        }
    }
    Ok(())
}

fn extension_kind(text: &str) -> Result<ExtensionKind, Box<dyn Error>> {
    match text {
        "sysext" => Ok(ExtensionKind::Sysext),
        "confext" => Ok(ExtensionKind::Confext),
        other => Err(format!("'{other}' is neither sysext nor confext").into()),
    }
}
