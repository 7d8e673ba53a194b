use super::*;
use crate::definition::transfer::{BlobTarget, Disk, FileTarget, Overrides, Route, SlotTarget};
use crate::inventory::Location;
use crate::inventory::link::{Link, LinkState};
use crate::inventory::slots::Slot;
use crate::resolve::Knowledge;
use crate::resolve::tests::{inventory, local, located, transfer, version};

fn request(goal: Goal) -> Request<'static> {
    Request {
        version: None,
        goal,
        reach: Reach::Online,
        instances_max: None,
    }
}

fn named(removals: &[Removal<'_>]) -> Vec<String> {
    removals
        .iter()
        .map(|removal| format!("{} {}", removal.kind.as_str(), removal.path.display()))
        .collect()
}

/// Plans the update of one transfer and gives the plan to a check.
fn planned(
    one: &Transfer,
    inventory: &Inventory,
    request: Request<'_>,
    check: impl FnOnce(Plan<'_>),
) {
    let transfers = [(one, inventory)];
    match decide(
        &Resolution::new(&transfers, &Knowledge::default()),
        &transfers,
        request,
    )
    .expect("a decision")
    {
        Decision::Do(plan) => check(plan),
        Decision::Nothing { idle, .. } => panic!("a plan is expected, not {idle:?}"),
    }
}

fn refused(one: &Transfer, inventory: &Inventory, request: Request<'_>) -> PlanError {
    let transfers = [(one, inventory)];
    decide(
        &Resolution::new(&transfers, &Knowledge::default()),
        &transfers,
        request,
    )
    .expect_err("a refusal")
}

fn idle(one: &Transfer, inventory: &Inventory, request: Request<'_>) -> String {
    let transfers = [(one, inventory)];
    match decide(
        &Resolution::new(&transfers, &Knowledge::default()),
        &transfers,
        request,
    )
    .expect("a decision")
    {
        Decision::Do(plan) => panic!("nothing is expected, not version {}", plan.version),
        Decision::Nothing { idle, .. } => format!("{idle:?}"),
    }
}

#[test]
fn update_removes_the_oldest_beyond_the_limit_and_acquire_removes_nothing_complete() {
    let one = transfer("a");
    let inventory = inventory("a", &["4"], &["1", "2", "3"], Some("3"));
    planned(&one, &inventory, request(Goal::Install), |plan| {
        assert_eq!(plan.version.as_str(), "4");
        assert_eq!(named(&plan.removals), ["old /target-a/x_1"]);
        assert_eq!(plan.steps[0].path, Path::new("/target-a/x_4"));
    });
    planned(&one, &inventory, request(Goal::Acquire), |plan| {
        assert!(plan.removals.is_empty());
    });
}

#[test]
fn protected_versions_stay_and_count() {
    let mut one = transfer("a");
    one.protected = vec![version("1")];
    let inventory = inventory("a", &["4"], &["1", "2", "3"], Some("3"));
    planned(&one, &inventory, request(Goal::Install), |plan| {
        assert_eq!(named(&plan.removals), ["old /target-a/x_2"]);
    });
}

#[test]
fn vacuum_keeps_what_the_link_leads_to_and_without_link_the_newest() {
    let mut one = transfer("a");
    one.protected = vec![version("3")];
    for (link, expected) in [
        (Some("4"), &["old /target-a/x_1"][..]),
        (Some("1"), &["old /target-a/x_4"]),
        (None, &["old /target-a/x_1"]),
    ] {
        let inventory = inventory("a", &[], &["1", "3", "4"], link);
        assert_eq!(
            named(&removals(&[(&one, &inventory)], None, Some(1))),
            expected,
            "link to {link:?}"
        );
    }
}

#[test]
fn leftovers_of_other_versions_go_and_those_of_the_planned_one_stay() {
    let one = transfer("a");
    let mut inventory = inventory("a", &["4"], &["1"], Some("1"));
    inventory
        .installed
        .insert(0, local("a", "4", State::Partial, 9));
    inventory.installed.push(local("a", "3", State::Pending, 9));
    inventory.installed.push(local("a", "2", State::Partial, 9));
    planned(&one, &inventory, request(Goal::Install), |plan| {
        assert!(plan.resumes);
        let expected = [
            "old pending /target-a/.sysupdate.pending.x_3",
            "old partial /target-a/.sysupdate.partial.x_2",
        ];
        assert_eq!(named(&plan.removals), expected);
    });
}

#[test]
fn what_is_protected_and_waits_stays_and_what_is_cut_off_goes() {
    let mut one = transfer("a");
    one.protected = vec![version("3"), version("2")];
    let mut inventory = inventory("a", &["4"], &["1"], Some("1"));
    inventory.installed.push(local("a", "3", State::Pending, 9));
    inventory.installed.push(local("a", "2", State::Partial, 9));
    let expected = ["old partial /target-a/.sysupdate.partial.x_2"];
    planned(&one, &inventory, request(Goal::Install), |plan| {
        assert_eq!(named(&plan.removals), expected);
    });
    assert_eq!(
        named(&removals(&[(&one, &inventory)], None, None)),
        expected
    );
}

#[test]
fn disabled_transfers_lose_everything_and_are_counted_apart() {
    let (one, mut two) = (transfer("a"), transfer("b"));
    two.enabled = false;
    let (first, second) = (
        inventory("a", &[], &["1", "2", "3", "4"], Some("4")),
        inventory("b", &[], &["1", "2"], None),
    );
    let removals = removals(&[(&one, &first), (&two, &second)], None, None);
    assert_eq!(
        named(&removals),
        [
            "old /target-a/x_1",
            "disabled /target-b/x_2",
            "disabled /target-b/x_1"
        ]
    );
    assert_eq!(count(&removals), (1, 1));
}

#[test]
fn explicit_versions_are_answered_like_the_original_does() {
    let mut one = transfer("a");
    one.min_version = Some(located(version("1")));
    let known = inventory("a", &["0.5", "1", "2", "3"], &["2"], Some("2"));
    let ask = |text| Request {
        version: Some(text),
        ..request(Goal::Install)
    };
    assert_eq!(
        refused(&one, &known, ask("9")).to_string(),
        "Update '9' not found."
    );
    assert_eq!(
        refused(&one, &known, ask("bad/version")).to_string(),
        "Update 'bad/version' not found."
    );
    assert_eq!(
        refused(&one, &known, ask("0.5")).to_string(),
        "Selected update '0.5' is obsolete, refusing."
    );
    assert_eq!(
        idle(&one, &known, ask("2")),
        format!("{:?}", Idle::AlreadyInstalled(&version("2")))
    );
    planned(&one, &known, ask("1"), |plan| {
        let expected = [
            "Selected update '1' is not the newest, proceeding anyway.",
            "Selected update '1' is older than newest installed version, proceeding anyway.",
        ];
        assert_eq!(plan.notices, expected);
    });
}

#[test]
fn a_version_outside_the_range_is_refused_with_the_setting_even_when_asked_for() {
    let mut one = transfer("a");
    one.range = Some(located("~1.32".parse().expect("a range")));
    let known = inventory("a", &["v1.32.1", "v1.33.0"], &[], None);
    let error = refused(
        &one,
        &known,
        Request {
            version: Some("v1.33.0"),
            ..request(Goal::Install)
        },
    );
    assert!(error.to_string().contains("x.transfer:7"), "{error}");
    planned(&one, &known, request(Goal::Install), |plan| {
        assert_eq!(plan.version.as_str(), "v1.32.1");
    });
}

#[test]
fn a_pending_version_is_installed_without_its_source_and_not_acquired_again() {
    let one = transfer("a");
    let mut inventory = inventory("a", &[], &["1"], Some("1"));
    inventory
        .installed
        .insert(0, local("a", "2", State::Pending, 9));
    assert!(idle(&one, &inventory, request(Goal::Acquire)).contains("AlreadyAcquired"));
    let offline = Request {
        reach: Reach::Offline,
        ..request(Goal::Install)
    };
    planned(&one, &inventory, offline, |plan| {
        assert!(matches!(plan.steps[0].action, Action::Install(_)));
        assert_eq!(plan.steps[0].path, Path::new("/target-a/x_2"));
    });
}

#[test]
fn what_is_acquired_gets_the_link_only_where_nothing_that_is_installed_can_be_used() {
    let one = transfer("a");
    let mut inventory = inventory("a", &[], &["1"], Some("1"));
    inventory
        .installed
        .insert(0, local("a", "2", State::Pending, 9));
    let relink = Request {
        reach: Reach::Offline,
        ..request(Goal::Relink)
    };
    assert_eq!(idle(&one, &inventory, relink), "UpToDate");
    let transfers = [(&one, &inventory)];
    let knowledge = Knowledge {
        misfits: vec![(version("1"), "it is for another system".to_owned())],
        ..Knowledge::default()
    };
    let resolution = Resolution::new(&transfers, &knowledge);
    let Ok(Decision::Do(plan)) = decide(&resolution, &transfers, relink) else {
        panic!("a plan is expected");
    };
    assert_eq!(plan.version.as_str(), "2");
    assert!(matches!(plan.steps[0].action, Action::Install(_)));
}

#[test]
fn a_partial_version_is_fetched_again_online_and_is_stuck_offline() {
    let one = transfer("a");
    let mut online = inventory("a", &["2"], &["1"], Some("1"));
    online
        .installed
        .insert(0, local("a", "2", State::Partial, 9));
    planned(&one, &online, request(Goal::Install), |plan| {
        assert!(matches!(plan.steps[0].action, Action::Acquire { .. }));
    });
    let offline = Inventory {
        available: Vec::new(),
        ..online
    };
    let asked = Request {
        reach: Reach::Offline,
        ..request(Goal::Install)
    };
    assert_eq!(
        refused(&one, &offline, asked),
        PlanError::Stuck(version("2"))
    );
}

#[test]
fn a_partial_version_that_vanished_from_its_source_is_cleared_away() {
    let one = transfer("a");
    let mut inventory = inventory("a", &["1"], &["1"], Some("1"));
    inventory
        .installed
        .insert(0, local("a", "2", State::Partial, 9));
    let transfers = [(&one, &inventory)];
    let decision = decide(
        &Resolution::new(&transfers, &Knowledge::default()),
        &transfers,
        request(Goal::Install),
    )
    .expect("a decision");
    let Decision::Nothing {
        idle: Idle::UpToDate,
        leftovers,
    } = decision
    else {
        panic!("not {decision:?}")
    };
    assert_eq!(
        named(&leftovers),
        ["old partial /target-a/.sysupdate.partial.x_2"]
    );
}

#[test]
fn a_stale_link_alone_is_work_for_update_and_not_for_acquire() {
    let one = transfer("a");
    let inventory = inventory("a", &["2"], &["1", "2"], Some("1"));
    planned(&one, &inventory, request(Goal::Install), |plan| {
        assert!(matches!(plan.steps[0].action, Action::Keep));
        assert_eq!(plan.version.as_str(), "2");
    });
    assert_eq!(idle(&one, &inventory, request(Goal::Acquire)), "UpToDate");
}

#[test]
fn a_version_goes_with_its_files_first_and_what_runs_stays_in_every_part() {
    let slots = |id: &str| {
        let mut transfer = transfer(id);
        let Route::Blob { target, .. } = &mut transfer.route else {
            panic!("no bytes")
        };
        *target = BlobTarget::Slot(SlotTarget {
            disk: Disk::OfRoot,
            kind: PartitionType(crate::metadata::Uuid([7; 16])),
            patterns: files(&mut self::transfer(id)).patterns.clone(),
            current_symlink: None,
            overrides: Overrides::default(),
            zero_fill: false,
        });
        transfer
    };
    let held = |id: &str, in_use: bool| {
        let mut inventory = inventory(id, &["3"], &["1", "2"], None);
        inventory.link = None;
        for (instance, (number, in_use)) in inventory
            .installed
            .iter_mut()
            .zip([(2, false), (1, in_use)])
        {
            instance.location = Location::Slot(Slot {
                path: format!("/dev/{id}{number}").into(),
                number,
                size: 1 << 20,
                in_use,
            });
        }
        inventory
    };
    let mut kernel = transfer("kernel");
    kernel.instances_max = 2;
    files(&mut kernel).current_symlink = None;
    let mut kernels = inventory("kernel", &["3"], &["1", "2"], None);
    kernels.link = None;
    let (root, hashes) = (slots("root"), slots("hashes"));
    let (running, beside) = (held("root", true), held("hashes", false));
    let transfers = [(&root, &running), (&hashes, &beside), (&kernel, &kernels)];
    for goal in [Goal::Install, Goal::Acquire] {
        let resolution = Resolution::new(&transfers, &Knowledge::default());
        let decision = decide(&resolution, &transfers, request(goal)).expect("a decision");
        let Decision::Do(plan) = decision else {
            panic!("a plan is expected")
        };
        assert_eq!(
            named(&plan.evictions),
            [
                "old /target-kernel/x_2",
                "old /dev/root2",
                "old /dev/hashes2"
            ]
        );
        assert_eq!(named(&plan.removals), [""; 0]);
    }
    let vacuumed = removals(&transfers, None, Some(1));
    assert_eq!(named(&vacuumed), [""; 0], "the newest, and what runs");
}

fn files(transfer: &mut Transfer) -> &mut FileTarget {
    let Route::Blob {
        target: BlobTarget::File(target),
        ..
    } = &mut transfer.route
    else {
        panic!("the transfers here have files")
    };
    target
}

#[test]
fn explicit_settings_win_over_what_the_source_says() {
    let mut one = transfer("a");
    let target = files(&mut one);
    target.overrides = Overrides {
        mode: Some(0o600),
        tries_left: Some(5),
        ..Overrides::default()
    };
    let mut known = inventory("a", &["1"], &[], None);
    known.available[0].metadata.mode = Some(0o644);
    known.available[0].metadata.tries_done = Some(2);
    planned(&one, &known, request(Goal::Install), |plan| {
        let Action::Acquire { metadata, .. } = &plan.steps[0].action else {
            panic!("nothing is there yet")
        };
        assert_eq!(
            (metadata.mode, metadata.tries_left, metadata.tries_done),
            (Some(0o600), Some(5), Some(2))
        );
    });
}

#[test]
fn two_transfers_into_one_file_or_one_link_are_refused() {
    for (same_file, expected) in [(true, "x_1"), (false, "/target-a/x")] {
        let (one, mut two) = (transfer("a"), transfer("b"));
        let target = files(&mut two);
        if same_file {
            target.directory = "/target-a".into();
            target.current_symlink = None;
        } else {
            target.current_symlink = Some("/target-a/x".into());
        }
        let (first, second) = (
            inventory("a", &["1"], &[], None),
            inventory("b", &["1"], &[], None),
        );
        let transfers = [(&one, &first), (&two, &second)];
        let error = decide(
            &Resolution::new(&transfers, &Knowledge::default()),
            &transfers,
            request(Goal::Install),
        )
        .expect_err("a refusal");
        assert!(matches!(error, PlanError::Conflict { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_occupied_link_is_no_reason_to_forget_the_current_version() {
    let one = transfer("a");
    let mut inventory = inventory("a", &["2"], &["1"], None);
    inventory.link = Some(Link {
        path: "/target-a/x".into(),
        state: LinkState::Occupied,
    });
    assert!(removals(&[(&one, &inventory)], None, Some(1)).is_empty());
}
