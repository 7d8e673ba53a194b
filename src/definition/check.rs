//! The checks of a transfer that is read completely: a draft becomes a [`Transfer`] with a [`Route`], or is refused.
//!
//! The order and the words are those of compat 1 section 3.1; it reads no file.

use std::path::{Path, PathBuf};

use super::boot::{self, BootPaths};
use super::draft::{Draft, End, PathSetting, RelativeTo, ResourceType};
use super::error::DefinitionError;
use super::search::DIRECTORIES;
use super::transfer::{
    Authentication, BlobSource, BlobTarget, DirectorySource, Disk, FileTarget, Keys, Origin, Route,
    SlotTarget, SourceCredential, Transfer, TreeKind, TreeSource, UrlSource, Verification,
};
use super::value;
use crate::event::{Event, Reporter, Severity};
use crate::gpt::types::PartitionType;
use crate::pattern::Patterns;
use crate::root::Root;

/// What a draft is checked against.
pub(super) struct Check<'a> {
    pub(super) id: &'a str,
    /// The main file, as shown in messages.
    pub(super) file: &'a Path,
    /// What the usual files with public keys are called, without directory and suffix.
    pub(super) key_name: &'a str,
    pub(super) syntax: Syntax,
    /// `--transfer-source=`.
    pub(super) transfer_source: Option<&'a Path>,
    /// What `PathRelativeTo=esp` and its like are looked for in.
    pub(super) root: &'a Root,
    pub(super) boot: BootPaths<'a>,
    pub(super) reporter: &'a dyn Reporter,
}

/// Which line a refusal names: systemd's form always the first of the main file, the native form the setting's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Systemd,
    Native,
}

impl Check<'_> {
    /// Judges the draft; `enabled` is what its features say.
    ///
    /// # Errors
    /// The first check that fails.
    pub(super) fn transfer(
        &self,
        mut draft: Draft,
        enabled: bool,
    ) -> Result<Transfer, DefinitionError> {
        let (source, target) = self.types(&draft)?;
        self.source(&draft, source)?;
        self.target(&mut draft, target)?;
        let (verification, authentication) = self.authentication(&mut draft)?;
        let instances_max = draft
            .instances_max
            .unwrap_or(if target == ResourceType::Partition {
                u64::MAX
            } else {
                DEFAULT_INSTANCES
            });
        Ok(Transfer {
            id: self.id.to_owned(),
            file: self.file.to_path_buf(),
            enabled,
            route: self.route(&mut draft, source, target)?,
            instances_max,
            description: draft.description,
            min_version: draft.min_version,
            max_version: draft.max_version,
            range: draft.range,
            skip: draft.skip,
            protected: draft.protected,
            verification,
            authentication,
            changelog: draft.changelog,
            appstream: draft.appstream,
            features: draft.features,
            requisite_features: draft.requisite_features,
            remove_temporary: draft.remove_temporary,
            activation: draft.activation,
            check: draft.check,
        })
    }

    /// How the manifest is authenticated. Of our own keys, so that nothing of systemd's order applies.
    fn authentication(
        &self,
        draft: &mut Draft,
    ) -> Result<(Verification, Authentication), DefinitionError> {
        let verification = if draft.verified {
            draft.scheme
        } else {
            Verification::Skip
        };
        if let (Verification::Skip, Some(max_age)) = (verification, &draft.max_age) {
            return Err(DefinitionError::Refused {
                origin: max_age.origin.clone(),
                message:
                    "a manifest's age is that of its signature, but verification is turned off: \
                          remove one of the two settings"
                        .to_owned(),
            });
        }
        let listed = std::mem::take(&mut draft.keys);
        let keys = if listed.is_empty() {
            let file = format!("sysupdate/keys/{}.pub", self.key_name);
            Keys::Usual(
                DIRECTORIES
                    .iter()
                    .map(|directory| Path::new(directory).join(&file))
                    .collect(),
            )
        } else {
            Keys::Listed(listed)
        };
        let authentication = Authentication {
            scheme: draft.scheme,
            keys,
            threshold: draft.threshold,
            max_age: draft.max_age.take(),
        };
        Ok((verification, authentication))
    }

    /// Checks 1 to 5, but for check 4: which type partitions have without one is for [`Self::slots`] to say.
    fn types(&self, draft: &Draft) -> Result<(ResourceType, ResourceType), DefinitionError> {
        use ResourceType::{
            Directory, Github, Partition, RegularFile, Subvolume, Tar, UrlFile, UrlTar,
        };
        let source = match draft.source.kind {
            None | Some(Partition) => {
                return Err(self.refuse("Source Type= must be one of url-file, url-tar, tar, regular-file, directory, subvolume."));
            }
            Some(source) => source,
        };
        let target = match (draft.target.kind, source) {
            (Some(UrlFile | UrlTar | Tar | Github), _) => {
                return Err(self.refuse(
                    "Target Type= must be one of partition, regular-file, directory, subvolume.",
                ));
            }
            (Some(target), _) => target,
            (None, UrlFile | RegularFile | Partition | Github)
                if is_below_dev(&draft.target.path) =>
            {
                Partition
            }
            (None, UrlFile | RegularFile | Partition | Github) => RegularFile,
            (None, UrlTar | Tar | Directory) => Directory,
            (None, Subvolume) => Subvolume,
        };
        let whole_files = matches!(source, UrlFile | RegularFile);
        // An asset may be anything: where a directory is wanted it is an archive.
        if source != Github && whole_files != matches!(target, Partition | RegularFile) {
            return Err(self.refuse(&format!(
                "Target type '{}' is incompatible with source type '{}', refusing.",
                target.word(),
                source.word()
            )));
        }
        Ok((source, target))
    }

    /// Checks 6 to 12 (8 is about the target, but comes here).
    fn source(&self, draft: &Draft, kind: ResourceType) -> Result<(), DefinitionError> {
        let source = &draft.source;
        if is_missing(&source.path) {
            return Err(self.refuse("Source specification lacks Path=."));
        }
        if source.relative_to == RelativeTo::Explicit && self.transfer_source.is_none() {
            return Err(
                self.refuse("PathRelativeTo=explicit requires --transfer-source= to be specified.")
            );
        }
        if draft.target.relative_to == RelativeTo::Explicit {
            return Err(
                self.refuse("PathRelativeTo=explicit can only be used in source specifications.")
            );
        }
        if let PathSetting::At(path) = &source.path {
            let remote = is_remote(kind);
            if !remote && !value::is_normalized_absolute(&path.value) {
                return Err(self.refuse_at(
                    &path.origin,
                    format!(
                        "Source path is not a normalized, absolute path: {}",
                        path.value
                    ),
                ));
            }
            if remote && !value::is_source_url(&path.value) {
                return Err(self.refuse_at(
                    &path.origin,
                    format!(
                        "Source path is not a valid HTTP or HTTPS URL: {}",
                        path.value
                    ),
                ));
            }
        }
        if source.patterns.is_empty() {
            return Err(self.refuse("Source specification lacks MatchPattern=."));
        }
        if source.patterns.is_recursive()
            && matches!(kind, ResourceType::Directory | ResourceType::Subvolume)
        {
            return Err(self.refuse(
                "MatchPattern= with '**/' prefix is not supported for source Type=directory and Type=subvolume, refusing.",
            ));
        }
        Ok(())
    }

    /// Checks 13 to 16.
    fn target(&self, draft: &mut Draft, kind: ResourceType) -> Result<(), DefinitionError> {
        if is_missing(&draft.target.path) {
            return Err(self.refuse("Target specification lacks Path= field."));
        }
        if let PathSetting::At(path) = &draft.target.path
            && !value::is_normalized_absolute(&path.value)
        {
            return Err(self.refuse_at(
                &path.origin,
                format!(
                    "Target path is not a normalized, absolute path: {}",
                    path.value
                ),
            ));
        }
        if draft.target.patterns.is_empty() {
            if self.syntax == Syntax::Systemd {
                let text = "Target specification lacks MatchPattern= expression. Assuming same value as in source specification.";
                self.reporter.report(&Event::Message(
                    Severity::Info,
                    format!("{}: {text}", self.first_line()),
                ));
            }
            draft.target.patterns = draft.source.patterns.for_target();
        }
        match &draft.current_symlink {
            Some(link) if kind == ResourceType::Partition && link.is_relative() => Err(self
                .refuse(&format!(
                    "Current symlink must be absolute path if target is partition: {}",
                    link.display()
                ))),
            _ => Ok(()),
        }
    }

    /// Resolves the paths, and builds the pair.
    fn route(
        &self,
        draft: &mut Draft,
        source: ResourceType,
        target: ResourceType,
    ) -> Result<Route, DefinitionError> {
        self.github_only(draft, source)?;
        let patterns = std::mem::take(&mut draft.source.patterns);
        let tree = match target {
            ResourceType::Partition => {
                let source = self.blob(draft, source, patterns)?;
                let target = BlobTarget::Slot(self.slots(draft)?);
                return Ok(Route::Blob { source, target });
            }
            ResourceType::Subvolume => Some(TreeKind::Subvolume),
            ResourceType::Directory => Some(TreeKind::Directory),
            _ => None,
        };
        let Some(kind) = tree else {
            return Ok(Route::Blob {
                source: self.blob(draft, source, patterns)?,
                target: BlobTarget::File(self.files(draft)?),
            });
        };
        let of_directories = match source {
            ResourceType::Directory => Some(TreeKind::Directory),
            ResourceType::Subvolume => Some(TreeKind::Subvolume),
            _ => None,
        };
        let source = match of_directories {
            Some(kind) => {
                let path = self.directory(&draft.source)?;
                TreeSource::Directory(DirectorySource { path, patterns }, kind)
            }
            None => TreeSource::Archive(self.blob(draft, source, patterns)?),
        };
        Ok(Route::Tree {
            source,
            target: self.files(draft)?,
            kind,
        })
    }

    /// Where files come from.
    fn blob(
        &self,
        draft: &mut Draft,
        kind: ResourceType,
        patterns: Patterns,
    ) -> Result<BlobSource, DefinitionError> {
        let manifest = draft
            .manifest
            .take()
            .unwrap_or_else(|| DEFAULT_MANIFEST.to_owned());
        Ok(match &draft.source.path {
            PathSetting::At(url) if kind == ResourceType::Github => {
                let url = url.clone();
                BlobSource::Github(self.github(draft, &url, manifest, patterns)?)
            }
            PathSetting::At(url) if is_remote(kind) => {
                let mut access = std::mem::take(&mut draft.access);
                // Taken out at once, so that no message, no record and no file can show it.
                let base = match value::login(&url.value) {
                    None => url.value.clone(),
                    Some(_) if access.credential.is_some() => {
                        return Err(self.refuse_at(
                            &url.origin,
                            "the source's URL names a user, and a credential is set as well: remove one of the two"
                                .to_owned(),
                        ));
                    }
                    Some((user, password, bare)) => {
                        access.credential = Some(SourceCredential::Login(user, password));
                        bare
                    }
                };
                BlobSource::Url(UrlSource {
                    base,
                    manifest,
                    patterns,
                    access,
                })
            }
            _ => BlobSource::Directory(DirectorySource {
                path: self.directory(&draft.source)?,
                patterns,
            }),
        })
    }

    fn files(&self, draft: &mut Draft) -> Result<FileTarget, DefinitionError> {
        Ok(FileTarget {
            directory: self.directory(&draft.target)?,
            patterns: std::mem::take(&mut draft.target.patterns),
            current_symlink: draft.current_symlink.take(),
            overrides: std::mem::take(&mut draft.overrides),
        })
    }

    fn slots(&self, draft: &mut Draft) -> Result<SlotTarget, DefinitionError> {
        let kind = draft.partition_type.unwrap_or(PartitionType::LINUX_GENERIC);
        let disk = if let PathSetting::Automatic = draft.target.path {
            Disk::OfRoot
        } else {
            let path = self.directory(&draft.target)?;
            // compat: a disk that is not there is a broken definition, whatever is asked for.
            let stat = self.root.stat(&path);
            stat.map_err(|error| DefinitionError::Disk {
                path: self.root.outer(&path),
                cause: plain(&error),
            })?;
            Disk::At(path)
        };
        Ok(SlotTarget {
            disk,
            kind,
            patterns: std::mem::take(&mut draft.target.patterns),
            current_symlink: draft.current_symlink.take(),
            overrides: std::mem::take(&mut draft.overrides),
            zero_fill: draft.zero_fill.unwrap_or(kind.is_zero_filled()),
        })
    }

    /// The inner path that `Path=` and `PathRelativeTo=` mean together.
    fn directory(&self, end: &End) -> Result<PathBuf, DefinitionError> {
        let PathSetting::At(path) = &end.path else {
            return Err(DefinitionError::AutomaticPath {
                file: self.file.to_path_buf(),
            });
        };
        let path = Path::new(path.value.trim_end_matches('/'));
        let path = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        match (end.relative_to, self.transfer_source) {
            (RelativeTo::Root, _) => Ok(path.to_path_buf()),
            (RelativeTo::Explicit, Some(base)) => {
                Ok(base.join(path.strip_prefix("/").unwrap_or(path)))
            }
            (RelativeTo::Explicit, None) => {
                Err(self.refuse("PathRelativeTo=explicit needs --transfer-source="))
            }
            (RelativeTo::Esp, _) => self.below(boot::Place::Esp, path),
            // compat: the original treats both alike, and says $BOOT of all three.
            (RelativeTo::Xbootldr | RelativeTo::Boot, _) => self.below(boot::Place::Boot, path),
        }
    }

    fn below(&self, place: boot::Place, path: &Path) -> Result<PathBuf, DefinitionError> {
        match boot::find(self.root, self.boot, place) {
            Ok(base) => Ok(base.join(path.strip_prefix("/").unwrap_or(path))),
            Err(message) => Err(DefinitionError::Boot {
                file: self.file.to_path_buf(),
                message,
            }),
        }
    }

    fn first_line(&self) -> Origin {
        Origin {
            file: self.file.to_path_buf(),
            line: 1,
        }
    }

    fn refuse(&self, message: &str) -> DefinitionError {
        DefinitionError::Refused {
            origin: self.first_line(),
            message: message.to_owned(),
        }
    }

    pub(super) fn refuse_at(&self, origin: &Origin, message: String) -> DefinitionError {
        let origin = match self.syntax {
            // compat: systemd names the file as a whole by its first line.
            Syntax::Systemd => self.first_line(),
            Syntax::Native => origin.clone(),
        };
        DefinitionError::Refused { origin, message }
    }
}

/// The kernel's words without their number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn is_remote(kind: ResourceType) -> bool {
    matches!(
        kind,
        ResourceType::UrlFile | ResourceType::UrlTar | ResourceType::Github
    )
}

fn is_missing(path: &PathSetting) -> bool {
    match path {
        PathSetting::Unset => true,
        PathSetting::Automatic => false,
        PathSetting::At(path) => path.value.is_empty(),
    }
}

fn is_below_dev(path: &PathSetting) -> bool {
    matches!(path, PathSetting::At(path) if path.value.starts_with("/dev/"))
}

const DEFAULT_INSTANCES: u64 = 3;

const DEFAULT_MANIFEST: &str = "SHA256SUMS";
