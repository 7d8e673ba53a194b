//! Completions for shells. Each asks the program itself for the names and versions that there are.

use std::fmt::Write as _;

use super::{CommandOption, verbs_completing};
use crate::cli::verb::{ARGUMENTS, Completion};

/// For bash, without the package bash-completion.
pub(super) fn bash(options: &[CommandOption]) -> String {
    let verbs: Vec<&str> = ARGUMENTS.iter().map(|(name, ..)| *name).collect();
    let mut flags = Vec::new();
    for option in options {
        flags.extend(option.short.map(|short| format!("-{short}")));
        let equals = if option.value.is_some() { "=" } else { "" };
        flags.push(format!("--{}{equals}", option.long));
    }
    format!(
        r#"# bash completion for sysupdate, made by `sysupdate generate bash`
_sysupdate() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} verb='' word index
    local -a component=() found=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${{COMP_WORDS[index]}}
        case $word in
            -C | --component) component=(-C "${{COMP_WORDS[index + 1]}}") ;;
            -*) ;;
            *) [[ -n $verb || ${{COMP_WORDS[index - 1]}} == -C || ${{COMP_WORDS[index - 1]}} == --component ]] || verb=$word ;;
        esac
    done
    _sysupdate_words() {{ sysupdate "$@" 2>/dev/null; }}
    if [[ $previous == -C || $previous == --component ]]; then
        mapfile -t found < <(compgen -W "$(_sysupdate_words generate words components)" -- "$current")
    elif [[ $current == -* ]]; then
        mapfile -t found < <(compgen -W '{flags}' -- "$current")
        [[ ${{#found[@]}} -eq 1 && ${{found[0]}} == *= ]] && compopt -o nospace
    elif [[ -z $verb ]]; then
        mapfile -t found < <(compgen -W '{verbs}' -- "$current")
    else
        case $verb in
            {components}) mapfile -t found < <(compgen -W "$(_sysupdate_words generate words components)" -- "$current") ;;
            {features}) mapfile -t found < <(compgen -W "$(_sysupdate_words "${{component[@]}}" generate words features)" -- "$current") ;;
            {versions}) mapfile -t found < <(compgen -W "$(_sysupdate_words "${{component[@]}}" generate words versions)" -- "$current") ;;
            {files}) mapfile -t found < <(compgen -f -- "$current") ;;
            generate) mapfile -t found < <(compgen -W 'man bash zsh fish' -- "$current") ;;
        esac
    fi
    COMPREPLY=("${{found[@]}}")
}}
complete -F _sysupdate sysupdate
"#,
        flags = flags.join(" "),
        verbs = verbs.join(" "),
        components = verbs_completing(Completion::Components).join(" | "),
        features = verbs_completing(Completion::Features).join(" | "),
        versions = verbs_completing(Completion::Versions).join(" | "),
        files = verbs_completing(Completion::Files).join(" | "),
    )
}

/// For zsh.
pub(super) fn zsh(options: &[CommandOption]) -> String {
    let mut flags = String::new();
    for option in options {
        let help = option
            .help
            .replace(['[', ']', '\''], "")
            .replace(':', "\\:");
        let value =
            option
                .value
                .as_ref()
                .map_or_else(String::new, |value| match option.long.as_str() {
                    "component" => format!(":{value}:_sysupdate_components"),
                    "root" | "definitions" | "transfer-source" => format!(":{value}:_files -/"),
                    "for-os-release" | "key" => format!(":{value}:_files"),
                    _ => format!(":{value}:"),
                });
        let equals = if option.value.is_some() { "=" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            flags,
            "        '--{}{equals}[{help}]{value}' \\",
            option.long
        );
        if let Some(short) = option.short {
            let _ = writeln!(flags, "        '-{short}[{help}]{value}' \\");
        }
    }
    let mut verbs = String::new();
    for (name, _, _, help) in ARGUMENTS {
        let _ = writeln!(verbs, "        '{name}:{}'", help.replace(['\'', '`'], ""));
    }
    format!(
        r"#compdef sysupdate
# zsh completion for sysupdate, made by `sysupdate generate zsh`
_sysupdate_components() {{
    compadd -- ${{(f)$(_call_program components sysupdate generate words components 2>/dev/null)}}
}}
_sysupdate() {{
    local -a verbs component
    verbs=(
{verbs}    )
    _arguments -S \
{flags}        '1: :->verb' \
        '*: :->argument'
    [[ -n ${{opt_args[-C]:-${{opt_args[--component]}}}} ]] && component=(-C ${{opt_args[-C]:-${{opt_args[--component]}}}})
    case $state in
        verb) _describe verb verbs ;;
        argument)
            case $words[1] in
                {components}) _sysupdate_components ;;
                {features}) compadd -- ${{(f)$(sysupdate $component generate words features 2>/dev/null)}} ;;
                {versions}) compadd -- ${{(f)$(sysupdate $component generate words versions 2>/dev/null)}} ;;
                {files}) _files ;;
                generate) compadd man bash zsh fish ;;
            esac ;;
    esac
}}
_sysupdate
",
        components = verbs_completing(Completion::Components).join("|"),
        features = verbs_completing(Completion::Features).join("|"),
        versions = verbs_completing(Completion::Versions).join("|"),
        files = verbs_completing(Completion::Files).join("|"),
    )
}

/// For fish.
pub(super) fn fish(options: &[CommandOption]) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut text = String::from(
        "# fish completion for sysupdate, made by `sysupdate generate fish`\ncomplete -c sysupdate -f\n",
    );
    for (name, _, _, help) in ARGUMENTS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "complete -c sysupdate -n __fish_use_subcommand -a {name} -d '{}'",
            quoted(help)
        );
    }
    for option in options {
        let short = option
            .short
            .map_or_else(String::new, |short| format!(" -s {short}"));
        let value = match (&option.value, option.long.as_str()) {
            (None, _) => "",
            (Some(_), "component") => " -x -a '(sysupdate generate words components 2>/dev/null)'",
            (Some(_), "root" | "definitions" | "transfer-source" | "for-os-release" | "key") => {
                " -r -F"
            }
            (Some(_), _) => " -x",
        };
        let _ = writeln!(
            text,
            "complete -c sysupdate{short} -l {}{value} -d '{}'",
            option.long,
            quoted(&option.help)
        );
    }
    for (kind, word) in [
        (Completion::Components, "components"),
        (Completion::Features, "features"),
        (Completion::Versions, "versions"),
    ] {
        let _ = writeln!(
            text,
            "complete -c sysupdate -n '__fish_seen_subcommand_from {}' -a '(sysupdate generate words {word} 2>/dev/null)'",
            verbs_completing(kind).join(" ")
        );
    }
    let _ = writeln!(
        text,
        "complete -c sysupdate -n '__fish_seen_subcommand_from {}' -F\n\
         complete -c sysupdate -n '__fish_seen_subcommand_from generate' -a 'man bash zsh fish'",
        verbs_completing(Completion::Files).join(" ")
    );
    text
}
