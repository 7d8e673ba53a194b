//! What an image must, may or must not have (systemd.image-policy(7)).
//!
//! Pure: a text becomes a policy, a policy judges one kind of partition.

use std::str::FromStr;

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePolicy {
    own: Vec<(String, Flags)>,
    rest: Flags,
}

/// What may be with a kind of partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent, and a policy names each"
)]
struct Flags {
    /// It may be used as it is.
    unprotected: bool,
    /// It may be used if its data is authenticated or encrypted.
    protected: bool,
    /// It may be there, and is not used.
    unused: bool,
    /// It may be missing.
    absent: bool,
}

/// What becomes of a kind of partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is mounted.
    Use,
    /// It is left alone, or is not there.
    Skip,
    /// It is there and must not be.
    Forbidden,
    /// It must be there and is not.
    Required,
    /// It would have to be authenticated or encrypted.
    Unprotected,
}

/// No policy is written like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to parse image policy: {0}")]
pub struct PolicyError(String);

impl Flags {
    const ALL: Self = Self {
        unprotected: true,
        protected: true,
        unused: true,
        absent: true,
    };
    const IGNORED: Self = Self {
        unprotected: false,
        protected: false,
        unused: true,
        absent: true,
    };
    const NONE: Self = Self {
        unprotected: false,
        protected: false,
        unused: false,
        absent: true,
    };

    fn parse(text: &str) -> Option<Self> {
        let mut flags = Self::default();
        let mut is_said = false;
        for word in text.split('+').map(str::trim) {
            is_said = true;
            match word {
                "unprotected" => flags.unprotected = true,
                "verity" | "signed" | "encrypted" | "encryptedwithintegrity" => {
                    flags.protected = true;
                }
                "unused" => flags.unused = true,
                "absent" => flags.absent = true,
                "open" => flags = Self::ALL,
                "ignore" => {
                    flags.unused = true;
                    flags.absent = true;
                }
                // How it is mounted, not whether.
                "read-only-on" | "read-only-off" | "growfs-on" | "growfs-off" => is_said = false,
                _ => return None,
            }
        }
        // A policy that only says how leaves it open whether.
        Some(if is_said || flags != Self::default() {
            flags
        } else {
            Self::ALL
        })
    }
}

impl ImagePolicy {
    /// Everything that is recognised is used: what holds without a policy.
    pub const ALLOW: Self = Self {
        own: Vec::new(),
        rest: Flags::ALL,
    };

    /// Judges a kind of partition by its designator, as it is in an image: there, or not.
    #[must_use]
    pub fn judge(&self, designator: &str, is_there: bool) -> Judgement {
        let own = self.own.iter().find(|(name, _)| name == designator);
        let flags = own.map_or(self.rest, |(_, flags)| *flags);
        match is_there {
            false if flags.absent => Judgement::Skip,
            false => Judgement::Required,
            true if flags.unprotected => Judgement::Use,
            true if flags.unused => Judgement::Skip,
            true if flags.protected => Judgement::Unprotected,
            true => Judgement::Forbidden,
        }
    }
}

impl FromStr for ImagePolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let wrong = || PolicyError(text.to_owned());
        let rest = match text.trim() {
            "" | "*" => Some(Flags::ALL),
            "-" => Some(Flags::NONE),
            "~" => Some(Flags::IGNORED),
            _ => None,
        };
        if let Some(rest) = rest {
            let own = Vec::new();
            return Ok(Self { own, rest });
        }
        let mut own = Vec::new();
        let mut rest = None;
        for rule in text.trim().split(':') {
            let (designator, flags) = rule.split_once('=').ok_or_else(wrong)?;
            let flags = Flags::parse(flags).ok_or_else(wrong)?;
            let designator = designator.trim();
            let is_repeated = own.iter().any(|(known, _)| known == designator);
            if designator.is_empty() && rest.is_none() {
                rest = Some(flags);
            } else if DESIGNATORS.contains(&designator) && !is_repeated {
                own.push((designator.to_owned(), flags));
            } else {
                return Err(wrong());
            }
        }
        let rest = rest.unwrap_or(Flags::IGNORED);
        Ok(Self { own, rest })
    }
}

const DESIGNATORS: [&str; 14] = [
    "root",
    "usr",
    "home",
    "srv",
    "esp",
    "xbootldr",
    "swap",
    "root-verity",
    "root-verity-sig",
    "usr-verity",
    "usr-verity-sig",
    "tmp",
    "var",
    "user-home",
];

#[cfg(test)]
mod tests {
    use super::Judgement::{Forbidden, Required, Skip, Unprotected, Use};
    use super::*;

    #[test]
    fn policies_judge_what_is_there_and_what_is_not() {
        for (text, designator, there, missing) in [
            ("*", "root", Use, Skip),
            ("", "root", Use, Skip),
            ("-", "root", Forbidden, Skip),
            ("~", "root", Skip, Skip),
            ("root=unprotected", "root", Use, Required),
            ("root=unprotected+absent", "root", Use, Skip),
            ("root=unprotected", "home", Skip, Skip),
            ("root=verity", "root", Unprotected, Required),
            ("root=signed+encrypted+absent", "root", Unprotected, Skip),
            ("root=verity+unprotected:=absent", "root", Use, Required),
            ("root=verity+unprotected:=absent", "srv", Forbidden, Skip),
            ("usr=open:=ignore", "usr", Use, Skip),
            ("usr=open:=ignore", "root", Skip, Skip),
            ("root=read-only-on", "root", Use, Skip),
            ("root=unused", "root", Skip, Required),
        ] {
            let policy: ImagePolicy = text.parse().expect(text);
            assert_eq!(policy.judge(designator, true), there, "{text} {designator}");
            assert_eq!(
                policy.judge(designator, false),
                missing,
                "{text} {designator}"
            );
        }
        assert_eq!("*".parse(), Ok(ImagePolicy::ALLOW));
        for text in [
            "root",
            "root=",
            "root=maybe",
            "nope=open",
            "root=open:root=open",
            "=open:=open",
        ] {
            assert!(text.parse::<ImagePolicy>().is_err(), "{text}");
        }
    }
}
