use std::collections::BTreeMap;

use super::*;
use crate::definition::transfer::{
    Activation, Authentication, BlobSource, BlobTarget, Check, DirectorySource, FileTarget,
    Overrides, Route, Verification,
};
use crate::metadata::{Metadata, Sha256};
use crate::pattern::{Pattern, Patterns};

/// A transfer that does nothing special.
pub(crate) fn transfer(id: &str) -> Transfer {
    let patterns = Patterns::from("x_@v".parse::<Pattern>().expect("a pattern"));
    Transfer {
        id: id.to_owned(),
        file: "/etc/sysupdate.d/x.transfer".into(),
        description: None,
        min_version: None,
        max_version: None,
        range: None,
        skip: Vec::new(),
        protected: Vec::new(),
        verification: Verification::Skip,
        authentication: Authentication::default(),
        changelog: Vec::new(),
        appstream: Vec::new(),
        features: Vec::new(),
        requisite_features: Vec::new(),
        enabled: true,
        route: Route::Blob {
            source: BlobSource::Directory(DirectorySource {
                path: "/source".into(),
                patterns: patterns.clone(),
            }),
            target: BlobTarget::File(FileTarget {
                directory: format!("/target-{id}").into(),
                patterns,
                current_symlink: Some("x".into()),
                overrides: Overrides::default(),
            }),
        },
        instances_max: 3,
        remove_temporary: true,
        activation: Activation::default(),
        check: Check::default(),
    }
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

/// A place in a definition file.
pub(crate) fn located<T>(value: T) -> Located<T> {
    Located {
        value,
        origin: Origin {
            file: "/etc/sysupdate.d/x.transfer".into(),
            line: 7,
        },
    }
}

/// An instance of a target; `changed` is when it was installed.
pub(crate) fn local(id: &str, text: &str, state: State, changed: i128) -> Instance {
    let path = format!("/target-{id}/{}x_{text}", state.prefix()).into();
    Instance {
        metadata: Metadata::new(version(text)),
        location: Location::File {
            path,
            arrival: Arrival {
                created: Some(changed),
                changed,
            },
        },
        state,
        provenance: None,
    }
}

fn remote(text: &str) -> Instance {
    let location = Location::Remote {
        name: format!("x_{text}"),
    };
    Instance {
        metadata: Metadata::new(version(text)),
        location,
        state: State::Complete,
        provenance: None,
    }
}

/// What is known when an explicit downgrade has chosen a version.
fn chosen(choice: Version) -> Knowledge {
    Knowledge {
        choice: Some(choice),
        ..Knowledge::default()
    }
}

/// A mark; `digest` is what its one part was.
fn mark(text: &str, kind: MarkKind, digest: &str) -> Mark {
    Mark {
        version: version(text),
        kind,
        digests: [("a".to_owned(), digest.to_owned())].into(),
        since: "2026-01-01T00:00:00Z".to_owned(),
        reason: "unit 'x.service' failed".to_owned(),
    }
}

/// An inventory: offered versions, complete versions (installed in this order), the version the link leads to.
pub(crate) fn inventory(
    id: &str,
    available: &[&str],
    complete: &[&str],
    link: Option<&str>,
) -> Inventory {
    let installed = (1..)
        .zip(complete)
        .map(|(time, text)| local(id, text, State::Complete, time));
    let mut inventory = Inventory {
        available: available.iter().map(|text| remote(text)).collect(),
        changed: BTreeMap::new(),
        installed: installed.collect(),
        free: Vec::new(),
        link: None,
    };
    inventory.link = Some(Link {
        path: format!("/target-{id}/x").into(),
        state: link.map_or(LinkState::Missing, |text| {
            LinkState::To(format!("/target-{id}/x_{text}").into())
        }),
    });
    crate::inventory::sort(&mut inventory.installed, |_, _| {});
    crate::inventory::sort(&mut inventory.available, |_, _| {});
    inventory
}

fn named<'a>(resolution: &Resolution<'a>, index: Option<usize>) -> Option<&'a str> {
    index.map(|index| resolution.sets[index].version.as_str())
}

#[test]
fn candidate_is_the_newest_version_beyond_what_is_complete() {
    let one = transfer("a");
    for (available, complete, expected, why) in [
        (&["1", "2"][..], &[][..], Some("2"), "nothing is installed"),
        (&["1", "2"], &["1"], Some("2"), "a newer one is offered"),
        (&["1", "2"], &["2"], None, "the newest is installed"),
        (&["1"], &["2"], None, "only an older one is offered"),
        (&[], &["1"], None, "nothing is offered"),
        (
            &["1.00"],
            &["1.0"],
            None,
            "another spelling of the same version",
        ),
    ] {
        let inventory = inventory("a", available, complete, complete.last().copied());
        let resolution = Resolution::new(&[(&one, &inventory)], &Knowledge::default());
        assert_eq!(named(&resolution, resolution.candidate), expected, "{why}");
    }
}

#[test]
fn candidate_skips_versions_that_one_source_lacks() {
    let (one, two) = (transfer("a"), transfer("b"));
    let (first, second) = (
        inventory("a", &["1", "2", "3"], &[], None),
        inventory("b", &["1", "3~rc"], &[], None),
    );
    let resolution = Resolution::new(&[(&one, &first), (&two, &second)], &Knowledge::default());
    assert_eq!(named(&resolution, resolution.candidate), Some("1"));
    let newest = resolution.find(&version("3")).expect("known");
    assert!(!resolution.sets[newest].is_listed());
    assert_eq!(
        resolution.reason(newest),
        Reason::IncompleteAtSource {
            lacking: vec!["b".to_owned()]
        }
    );
}

#[test]
fn settings_exclude_versions_and_are_named_with_their_place() {
    let mut one = transfer("a");
    one.min_version = Some(located(version("2")));
    one.max_version = Some(located(version("6")));
    one.range = Some(located("<5".parse().expect("a range")));
    one.skip = vec![located(version("4.0.0"))];
    let inventory = inventory(
        "a",
        &["1.0.0", "2.0.0", "4.0.0", "5.0.0", "7.0.0"],
        &[],
        None,
    );
    let resolution = Resolution::new(&[(&one, &inventory)], &Knowledge::default());
    assert_eq!(named(&resolution, resolution.candidate), Some("2.0.0"));
    let reasons: Vec<String> = (0..resolution.sets.len())
        .map(|index| resolution.reason(index).to_string())
        .collect();
    assert_eq!(
        reasons,
        [
            "newer than the maximum version 6 (/etc/sysupdate.d/x.transfer:7)",
            "outside the version range <5 (/etc/sysupdate.d/x.transfer:7)",
            "on the list of versions to skip (/etc/sysupdate.d/x.transfer:7)",
            "newest version that fits",
            "older than the minimum version 2 (/etc/sysupdate.d/x.transfer:7)",
        ]
    );
}

#[test]
fn an_incomplete_newest_version_is_offered_again_if_the_rest_can_be_had() {
    let (one, two) = (transfer("a"), transfer("b"));
    let first = inventory("a", &["2"], &["1", "2"], Some("2"));
    for (available, expected) in [(&["2"][..], Some("2")), (&[], None)] {
        let second = inventory("b", available, &["1"], Some("1"));
        let resolution = Resolution::new(&[(&one, &first), (&two, &second)], &Knowledge::default());
        assert_eq!(named(&resolution, resolution.candidate), expected);
        assert_eq!(
            named(&resolution, resolution.current),
            Some("2"),
            "the newest that is installed in part"
        );
        assert_eq!(named(&resolution, resolution.newest_complete), Some("1"));
    }
}

#[test]
fn pending_versions_need_no_source_and_partial_ones_do() {
    let one = transfer("a");
    for (state, available, expected) in [
        (State::Pending, &[][..], Some("2")),
        (State::Partial, &[], None),
        (State::Partial, &["2"], Some("2")),
    ] {
        let mut inventory = inventory("a", available, &["1"], Some("1"));
        inventory.installed.insert(0, local("a", "2", state, 9));
        let resolution = Resolution::new(&[(&one, &inventory)], &Knowledge::default());
        assert_eq!(
            named(&resolution, resolution.candidate),
            expected,
            "{state:?} {available:?}"
        );
    }
}

#[test]
fn a_complete_instance_counts_before_an_unfinished_one_of_the_same_version() {
    let one = transfer("a");
    let mut inventory = inventory("a", &["1"], &["1"], Some("1"));
    inventory.installed.push(local("a", "1", State::Partial, 9));
    inventory.installed.push(local("a", "1", State::Pending, 9));
    let resolution = Resolution::new(&[(&one, &inventory)], &Knowledge::default());
    assert!(resolution.sets[0].is_complete());
    assert_eq!(resolution.candidate, None);
}

#[test]
fn a_link_that_was_left_behind_is_stale_and_one_that_was_set_back_is_chosen() {
    let one = transfer("a");
    for (complete, link, stale, current, why) in [
        (&["1", "2"][..], Some("2"), false, "2", "as it should be"),
        (
            &["1", "2"],
            Some("1"),
            true,
            "2",
            "2 was installed after 1: the run was cut off before the link",
        ),
        (
            &["2", "1"],
            Some("1"),
            false,
            "1",
            "1 was installed after 2: a downgrade",
        ),
        (&["1", "2"], None, true, "2", "no link"),
    ] {
        let inventory = inventory("a", &[], complete, link);
        let resolution = Resolution::new(&[(&one, &inventory)], &Knowledge::default());
        assert_eq!(!resolution.stale_links.is_empty(), stale, "{why}");
        assert_eq!(
            named(&resolution, resolution.current),
            Some(current),
            "{why}"
        );
        assert_eq!(resolution.offered().is_some(), stale, "{why}");
    }
}

#[test]
fn a_file_that_was_merely_touched_or_fetched_ahead_did_not_arrive_later() {
    let at = |created, changed| Arrival { created, changed };
    for (own, other, after, why) in [
        (
            at(Some(3), 4),
            at(Some(1), 2),
            true,
            "fetched and named later",
        ),
        (
            at(Some(1), 9),
            at(Some(3), 4),
            false,
            "an old file that was touched",
        ),
        (
            at(Some(5), 6),
            at(Some(3), 8),
            false,
            "the other was fetched before and named after",
        ),
        (
            at(None, 4),
            at(None, 2),
            true,
            "a file system without birth times",
        ),
        (at(None, 2), at(Some(1), 4), false, "named before"),
    ] {
        assert_eq!(own.is_after(other), after, "{why}");
    }
}

#[test]
fn a_choice_on_record_counts_whatever_the_files_look_like() {
    let one = transfer("a");
    for (link, stale) in [(Some("1"), false), (Some("2"), true), (None, true)] {
        let inventory = inventory("a", &[], &["1", "2"], link);
        let choice = version("1");
        let resolution = Resolution::new(&[(&one, &inventory)], &chosen(choice.clone()));
        assert_eq!(
            named(&resolution, resolution.settled),
            Some("1"),
            "link to {link:?}"
        );
        assert_eq!(
            !resolution.stale_links.is_empty(),
            stale,
            "link to {link:?}"
        );
        let aside = resolution.reason(0).to_string();
        assert_eq!(aside, "installed, but set aside for 1");
    }
    let inventory = inventory("a", &[], &["2"], Some("2"));
    let gone = version("1");
    assert!(
        Resolution::new(&[(&one, &inventory)], &chosen(gone))
            .stale_links
            .is_empty(),
        "the choice is gone"
    );
}

#[test]
fn an_installation_that_was_begun_is_finished_before_a_newer_version() {
    let (one, two) = (transfer("a"), transfer("b"));
    let first = inventory("a", &["3"], &["1", "2"], Some("2"));
    let mut second = inventory("b", &["3"], &["1"], Some("1"));
    second
        .installed
        .insert(0, local("b", "2", State::Pending, 9));
    let resolution = Resolution::new(&[(&one, &first), (&two, &second)], &Knowledge::default());
    assert_eq!(named(&resolution, resolution.candidate), Some("2"));
}

#[test]
fn nothing_older_than_a_version_that_is_here_in_part_comes_by_itself() {
    let (one, two) = (transfer("a"), transfer("b"));
    let (first, second) = (
        inventory("a", &["1"], &["3"], Some("3")),
        inventory("b", &["1"], &[], None),
    );
    let resolution = Resolution::new(&[(&one, &first), (&two, &second)], &Knowledge::default());
    assert_eq!(resolution.candidate, None);
    assert_eq!(
        resolution.reason(1),
        Reason::TooOld {
            installed: version("3")
        }
    );
}

#[test]
fn links_that_disagree_are_not_a_choice() {
    let (one, two) = (transfer("a"), transfer("b"));
    let (first, second) = (
        inventory("a", &[], &["2", "1"], Some("1")),
        inventory("b", &[], &["2", "1"], Some("2")),
    );
    let resolution = Resolution::new(&[(&one, &first), (&two, &second)], &Knowledge::default());
    assert_eq!(
        resolution.stale_links,
        [0],
        "a downgrade that was cut off between its two links is completed forward"
    );
}

#[test]
fn dangling_and_foreign_links_are_repaired() {
    let one = transfer("a");
    for state in [
        LinkState::Dangling,
        LinkState::To("/elsewhere".into()),
        LinkState::Occupied,
    ] {
        let mut inventory = inventory("a", &[], &["1"], None);
        inventory.link = Some(Link {
            path: "/target-a/x".into(),
            state,
        });
        assert_eq!(
            Resolution::new(&[(&one, &inventory)], &Knowledge::default()).stale_links,
            [0]
        );
    }
}

#[test]
fn resolving_many_versions_takes_one_pass() {
    let one = transfer("a");
    let names: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let inventory = inventory("a", &names, &["5"], Some("5"));
    let resolution = Resolution::new(&[(&one, &inventory)], &Knowledge::default());
    assert_eq!(resolution.sets.len(), 20_000);
    assert_eq!(named(&resolution, resolution.candidate), Some("19999"));
}

#[test]
fn marked_and_unfitting_versions_are_passed_over_for_the_next_best() {
    let one = transfer("a");
    let inventory = inventory("a", &["4", "3", "2"], &["1"], Some("1"));
    for (knowledge, reasons) in [
        (
            Knowledge {
                misfits: vec![(version("4"), "built for ID=other".to_owned())],
                ..Knowledge::default()
            },
            ["built for ID=other", "newest version that fits"],
        ),
        (
            Knowledge {
                marks: Marks {
                    hold: None,
                    versions: vec![mark("4", MarkKind::Bad, "00")],
                },
                ..Knowledge::default()
            },
            [
                "bad since 2026-01-01T00:00:00Z: unit 'x.service' failed",
                "newest version that fits",
            ],
        ),
    ] {
        let transfers = [(&one, &inventory)];
        let resolution = Resolution::new(&transfers, &knowledge);
        assert_eq!(resolution.candidate, Some(1));
        let found: Vec<String> = (0..2).map(|i| resolution.reason(i).to_string()).collect();
        assert_eq!(found, reasons);
    }
}

#[test]
fn what_is_installed_for_another_system_keeps_nothing_out_that_fits_this_one() {
    // The host went from OS 1 to OS 2 and back: 5 was installed for OS 2, and 4 is the newest for OS 1.
    let one = transfer("a");
    let knowledge = Knowledge {
        misfits: vec![(version("5"), "built for ID=other".to_owned())],
        ..Knowledge::default()
    };
    for (installed, link, candidate) in [
        (&["5"][..], "5", Some("4")),
        (&["5", "3"], "3", Some("4")),
        // Nothing older than what is used here comes by itself, as ever.
        (&["5", "4"], "4", None),
    ] {
        let inventory = inventory("a", &["4", "3"], installed, Some(link));
        let resolution = Resolution::new(&[(&one, &inventory)], &knowledge);
        assert_eq!(named(&resolution, resolution.candidate), candidate);
    }
}

#[test]
fn a_hold_stops_newer_versions_and_lets_what_was_begun_be_finished() {
    let knowledge = Knowledge {
        marks: Marks {
            hold: Some(Hold {
                since: "2026-01-01T00:00:00Z".to_owned(),
            }),
            versions: Vec::new(),
        },
        ..Knowledge::default()
    };
    let (one, two) = (transfer("a"), transfer("b"));
    let first = inventory("a", &["3"], &["1"], Some("1"));
    let held = [(&one, &first)];
    let resolution = Resolution::new(&held, &knowledge);
    assert_eq!((resolution.candidate, resolution.settled), (None, Some(1)));
    assert_eq!(
        resolution.reason(0).to_string(),
        "the component is held since 2026-01-01T00:00:00Z"
    );
    let first = inventory("a", &[], &["1", "2"], Some("1"));
    let mut second = inventory("b", &[], &["1"], Some("1"));
    second
        .installed
        .insert(0, local("b", "2", State::Pending, 9));
    let begun = [(&one, &first), (&two, &second)];
    let resolution = Resolution::new(&begun, &knowledge);
    assert_eq!(resolution.candidate, Some(0));
}

#[test]
fn an_installed_version_that_must_not_be_used_gives_its_link_to_the_newest_that_may() {
    let one = transfer("a");
    // The link was left on the bad version, whose file is the newest on disk.
    let inventory = inventory("a", &[], &["1", "2", "3"], Some("3"));
    for kind in [MarkKind::Bad, MarkKind::Left] {
        let knowledge = Knowledge {
            marks: Marks {
                hold: None,
                versions: vec![mark("3", kind, "00")],
            },
            ..Knowledge::default()
        };
        let transfers = [(&one, &inventory)];
        let resolution = Resolution::new(&transfers, &knowledge);
        assert_eq!(resolution.candidate, None);
        assert_eq!(resolution.settled, Some(1));
        assert_eq!(resolution.current, Some(1));
        assert_eq!(resolution.stale_links, [0]);
        assert!(matches!(resolution.reason(0), Reason::Unfit(_)));
    }
}

#[test]
fn other_bytes_under_a_marked_version_are_another_version() {
    let one = transfer("a");
    let mut inventory = inventory("a", &["2"], &["1"], Some("1"));
    let offered = Sha256([7; 32]);
    inventory.available[0].metadata.sha256 = Some(offered);
    for (marked, candidate) in [(offered.to_string(), None), ("00".to_owned(), Some(0))] {
        let knowledge = Knowledge {
            marks: Marks {
                hold: None,
                versions: vec![mark("2", MarkKind::Bad, &marked)],
            },
            ..Knowledge::default()
        };
        let transfers = [(&one, &inventory)];
        assert_eq!(Resolution::new(&transfers, &knowledge).candidate, candidate);
    }
}

#[test]
fn a_version_that_its_source_has_changed_is_passed_over_unless_its_installation_was_begun() {
    let (one, two) = (transfer("a"), transfer("b"));
    let changed = Changed {
        name: "x_2".to_owned(),
        version: version("2"),
        offered: Sha256([1; 32]),
        known: "0".repeat(64),
        seen: jiff::Timestamp::UNIX_EPOCH,
    };
    // What is here of the parts, that of the first transfer is changed, and whether version 2 is what comes.
    for (state, others, comes) in [
        (None, None, false),
        (Some(State::Partial), None, false),
        (Some(State::Pending), None, false),
        (Some(State::Pending), Some(State::Pending), false),
        (None, Some(State::Complete), false),
        (Some(State::Pending), Some(State::Complete), true),
        (Some(State::Complete), None, true),
        (Some(State::Complete), Some(State::Pending), true),
    ] {
        let mut first = inventory("a", &["1", "2"], &["1"], Some("1"));
        let mut second = inventory("b", &["1", "2"], &["1"], Some("1"));
        for (id, inventory, state) in [("a", &mut first, state), ("b", &mut second, others)] {
            let part = state.map(|state| local(id, "2", state, 9));
            inventory.installed.extend(part);
        }
        first.changed.insert(version("2"), changed.clone());
        let transfers = [(&one, &first), (&two, &second)];
        let resolution = Resolution::new(&transfers, &Knowledge::default());
        let expected = comes.then_some("2");
        assert_eq!(
            named(&resolution, resolution.candidate),
            expected,
            "{state:?} {others:?}"
        );
        let index = resolution.find(&version("2")).expect("listed");
        let refused = Reason::Excluded(Exclusion::Changed(changed.clone()));
        assert_eq!(resolution.reason(index) == refused, !comes, "{state:?}");
        // What is installed stays what runs.
        assert_eq!(named(&resolution, resolution.settled), Some("1"));
    }
}
