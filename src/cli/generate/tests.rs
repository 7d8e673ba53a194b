use std::collections::BTreeSet;

use super::*;
use crate::definition::settings;

#[test]
fn the_settings_page_has_every_setting_of_a_definition_and_no_other() {
    let rows = man::setting_rows();
    // Those of [check] are written in a table of their own.
    let native = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    let known: BTreeSet<&str> = settings()
        .flat_map(|(_, names)| names)
        .map(|name| native(name))
        .collect();
    let words = rows.iter().flat_map(|(names, ..)| names.split([',', ' ']));
    let told: BTreeSet<&str> = words
        .filter(|word| !word.starts_with('[') && !["", "or", "at", "the", "top"].contains(word))
        .collect();
    assert_eq!(told, known);
    let systemd: BTreeSet<&str> = settings().map(|(name, _)| name).collect();
    for (_, names, _) in &rows {
        for name in names
            .split([',', ' '])
            .filter_map(|word| word.strip_suffix('='))
        {
            assert!(systemd.contains(name), "there is no '{name}='");
        }
    }
    let page = man::settings();
    assert!(page.contains("X\\-VersionRange=") && page.contains("manifest_timeout"));
}

#[test]
fn the_command_page_has_every_verb_and_option() {
    let page = man::command(&options());
    for (name, ..) in ARGUMENTS {
        let title = format!("\n\\fB{}", name.replace('-', "\\-"));
        assert!(page.contains(&title), "{name}");
    }
    for option in options() {
        let long = option.long.replace('-', "\\-");
        assert!(page.contains(&format!("\\-\\-{long}")), "{long}");
    }
    for text in [
        "Go back",
        "SYSTEMD_OPENPGP_KEYRING",
        "/run/reboot\\-required",
        ".SH EXIT STATUS",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.lines().all(|line| !line.starts_with("..")));
}

#[test]
fn the_help_has_every_verb_under_its_heading_and_fits_a_terminal() {
    let help = Args::command().render_help().to_string();
    let mut rest = help.as_str();
    for (name, _, _, meaning) in ARGUMENTS {
        for (heading, first) in GROUPS {
            if first == name {
                rest = rest
                    .split_once(&format!("\n{heading}:\n"))
                    .expect(heading)
                    .1;
            }
        }
        let (line, after) = rest.split_once('\n').expect(name);
        assert!(
            line.starts_with(&format!("  {name} ")) && line.ends_with(&format!("  {meaning}")),
            "{line}"
        );
        rest = after;
    }
    assert!(
        help.lines().all(|line| line.chars().count() <= 100),
        "{help}"
    );
}

#[test]
fn completions_know_every_verb_and_option() {
    let options = options();
    for script in [
        shells::bash(&options),
        shells::zsh(&options),
        shells::fish(&options),
    ] {
        for (name, ..) in ARGUMENTS {
            assert!(script.contains(name), "{name}");
        }
        for option in &options {
            assert!(script.contains(&option.long), "{}", option.long);
        }
    }
}
