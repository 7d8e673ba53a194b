use super::*;
use crate::definition::native_settings;

#[test]
fn the_settings_page_has_every_setting_of_a_definition() {
    let rows = man::setting_rows();
    for name in native_settings() {
        // Those of [check] are written in a table of their own.
        let name = name.rsplit('.').next().unwrap_or(name);
        let named = rows
            .iter()
            .any(|(names, ..)| names.split([',', ' ']).any(|word| word == name));
        assert!(named, "'{name}' is not in the README's table");
    }
    assert!(rows.len() > 20);
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
