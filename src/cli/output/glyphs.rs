//! The signs in tables: those of Unicode, or the ones that stand in for them where a terminal or a locale has no others.

/// Which signs can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glyphs {
    pub(crate) unicode: bool,
    pub(crate) emoji: bool,
}

/// What the environment says of signs; `None` is a variable that is not set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Words<'a> {
    /// `LC_ALL`, `LC_CTYPE` and `LANG`, in this order.
    pub(crate) locale: [Option<&'a str>; 3],
    /// `TERM`.
    pub(crate) terminal: Option<&'a str>,
    /// `SYSTEMD_UTF8`.
    pub(crate) unicode: Option<bool>,
    /// `SYSTEMD_EMOJI`.
    pub(crate) emoji: Option<bool>,
}

impl Glyphs {
    /// Judges as systemd's tools do: without any locale there is UTF-8, in that of C there is not, and emoji are for
    /// terminals that are more than plain.
    pub(crate) fn of(words: Words<'_>) -> Self {
        let unicode = words.unicode.unwrap_or_else(|| is_unicode(words.locale));
        let is_plain = words
            .terminal
            .is_none_or(|terminal| matches!(terminal, "dumb" | "linux"));
        Self {
            unicode,
            emoji: words.emoji.unwrap_or(unicode && !is_plain),
        }
    }

    /// A version that is here and not whole, or not installed.
    pub(crate) fn unfinished(self) -> &'static str {
        if self.emoji { "⤵️" } else { "\\" }
    }

    pub(crate) fn current(self) -> &'static str {
        if self.unicode { "●" } else { "*" }
    }

    pub(crate) fn protected(self) -> &'static str {
        if self.unicode { "○" } else { "*" }
    }

    pub(crate) fn obsolete(self) -> &'static str {
        if self.unicode { "×" } else { "x" }
    }

    pub(crate) fn candidate(self) -> &'static str {
        if self.unicode { "↻" } else { "*" }
    }

    pub(crate) fn yes(self) -> &'static str {
        if self.unicode { "✓" } else { "+" }
    }

    pub(crate) fn no(self) -> &'static str {
        if self.unicode { "✗" } else { "-" }
    }
}

fn is_unicode(locale: [Option<&str>; 3]) -> bool {
    if locale.iter().all(Option::is_none) {
        return true;
    }
    let name = locale.into_iter().flatten().find(|name| !name.is_empty());
    match name {
        None | Some("C" | "POSIX") => false,
        Some(name) => name.split_once('.').is_none_or(|(_, codeset)| {
            let codeset = codeset.split('@').next().unwrap_or_default();
            codeset.eq_ignore_ascii_case("utf-8") || codeset.eq_ignore_ascii_case("utf8")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_those_that_the_original_shows() {
        let none = Words::default();
        let lang = |lang| Words {
            locale: [None, None, Some(lang)],
            terminal: Some("xterm"),
            ..none
        };
        for (words, unicode, emoji) in [
            (none, true, false),
            (lang("C.UTF-8"), true, true),
            (lang("de_DE.utf8@euro"), true, true),
            (lang("de_DE.ISO-8859-1"), false, false),
            (lang("C"), false, false),
            (lang("POSIX"), false, false),
            (lang(""), false, false),
            (
                Words {
                    terminal: Some("dumb"),
                    ..lang("C.UTF-8")
                },
                true,
                false,
            ),
            (
                Words {
                    terminal: Some("linux"),
                    ..lang("C.UTF-8")
                },
                true,
                false,
            ),
            (
                Words {
                    terminal: Some(""),
                    ..lang("C.UTF-8")
                },
                true,
                true,
            ),
            (
                Words {
                    emoji: Some(false),
                    ..lang("C.UTF-8")
                },
                true,
                false,
            ),
            (
                Words {
                    emoji: Some(true),
                    ..lang("C")
                },
                false,
                true,
            ),
            (
                Words {
                    unicode: Some(false),
                    ..lang("C.UTF-8")
                },
                false,
                false,
            ),
            (
                Words {
                    locale: [Some("C"), None, Some("C.UTF-8")],
                    ..none
                },
                false,
                false,
            ),
            (
                Words {
                    locale: [Some(""), Some("C.UTF-8"), None],
                    ..none
                },
                true,
                false,
            ),
        ] {
            assert_eq!(Glyphs::of(words), Glyphs { unicode, emoji }, "{words:?}");
        }
    }
}
