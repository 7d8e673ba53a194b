//! Trials on a [`machine`]: where the links lead, what runs, what is marked and what stays on record afterwards.

mod images;
mod machine;

use std::panic::AssertUnwindSafe;
use std::path::Path;

use super::record::{OnFailure, Part};
use super::*;
use crate::definition::ComponentName;
use crate::definition::transfer::Units;
use machine::{Machine, file, link, member};

const AUTO: ActivationMode = ActivationMode::Auto;
const STAGE: ActivationMode = ActivationMode::Stage;

/// What the machine does when a record is found.
#[derive(Debug, Clone, Copy)]
enum When {
    SameBoot,
    AfterABoot,
}

/// What version 2 holds, and whether the manager answers.
const CASES: [(&str, bool); 5] = [
    ("2", true),
    ("2 sick", true),
    ("2 spoils", true),
    ("2 skipped", true),
    ("2", false),
];

/// A machine with a record in this phase, as a crash leaves it there.
fn interrupted(phase: Phase, content: &str) -> Machine {
    let machine = Machine::new(&["a"]);
    let mode = if phase == Phase::Staged { STAGE } else { AUTO };
    let mut member = member("a", mode);
    match phase {
        Phase::Switching => machine.acquires("a", content),
        Phase::Activating | Phase::Staged => machine.switches("a", content),
        Phase::Checking => {
            machine.switches("a", content);
            machine.activates(&["a"]);
        }
        Phase::Reverting => {
            machine.switches("a", content);
            machine.activates(&["a"]);
            member.verdict = Some("seen".to_owned());
        }
    }
    machine.leaves(&[member], phase);
    machine
}

/// Every case of a phase, resumed: a line each.
fn resumed(phase: Phase, when: When) -> Vec<String> {
    let mut lines = Vec::new();
    for (content, reachable) in CASES {
        let machine = interrupted(phase, content);
        if let When::AfterABoot = when {
            machine.boots("boot-2");
        }
        machine.manager.reachable.set(reachable);
        let ended = machine.resume();
        let failures = ended.map_or(0, |ended| ended.failures.len());
        let case = if reachable { content } else { "unreachable" };
        let failed = if failures > 0 { ", failed" } else { "" };
        lines.push(format!("{case}: {}{failed}", machine.shows_all("a")));
    }
    lines
}

#[test]
fn a_switch_that_was_cut_off_is_finished_and_tried() {
    for when in [When::SameBoot, When::AfterABoot] {
        assert_eq!(
            resumed(Phase::Switching, when),
            [
                "2: 2 runs '2'",
                "2 sick: 1 pending bad runs '1'",
                "2 spoils: 1 pending bad runs '1'",
                "2 skipped: 1 pending bad runs '1'",
                "unreachable: 2 runs '1', activating a, failed",
            ],
            "{when:?}"
        );
    }
}

#[test]
fn an_activation_that_was_cut_off_is_done_again_in_the_same_boot() {
    assert_eq!(
        resumed(Phase::Activating, When::SameBoot),
        [
            "2: 2 runs '2'",
            "2 sick: 1 pending bad runs '1'",
            "2 spoils: 1 pending bad runs '1'",
            "2 skipped: 1 pending bad runs '1'",
            "unreachable: 2 runs '1', activating a, failed",
        ]
    );
}

#[test]
fn what_a_boot_has_activated_is_checked() {
    for phase in [Phase::Activating, Phase::Checking, Phase::Staged] {
        let lines = resumed(phase, When::AfterABoot);
        assert_eq!(
            lines[..4],
            [
                "2: 2 runs '2'",
                "2 sick: 1 pending bad runs '1'",
                "2 spoils: 1 pending bad runs '1'",
                "2 skipped: 1 pending bad runs '1'",
            ],
            "{phase:?}"
        );
        let name = format!("{phase:?}").to_lowercase();
        assert_eq!(
            lines[4],
            format!("unreachable: 2 runs '2', {name} a, failed")
        );
    }
}

#[test]
fn a_check_that_was_cut_off_is_repeated_in_the_same_boot() {
    let lines = resumed(Phase::Checking, When::SameBoot);
    assert_eq!(
        lines,
        [
            "2: 2 runs '2'",
            "2 sick: 1 pending bad runs '1'",
            "2 spoils: 1 pending bad runs '1'",
            "2 skipped: 1 pending bad runs '1'",
            "unreachable: 2 runs '2', checking a, failed",
        ]
    );
}

#[test]
fn a_version_is_not_judged_while_nobody_can_be_asked() {
    for (content, end) in [("2", "2 runs '2'"), ("2 sick", "1 pending bad runs '1'")] {
        let machine = interrupted(Phase::Activating, content);
        machine.manager.mute.set(true);
        let ended = machine.resume().expect("a trial");
        assert_eq!(ended.failures.len(), 1);
        assert_eq!(
            chain(&ended.failures[0]),
            "cannot activate what was installed: cannot ask about 'a.service': cannot look up 'a.service': the connection to \
             the system bus was lost: broken pipe"
        );
        let on_record = machine.on_record().expect("a trial");
        assert_eq!(on_record.phase, Phase::Checking);

        machine.manager.mute.set(false);
        machine.resume().expect("a trial");
        assert_eq!(machine.shows_all("a"), end);
    }
}

#[test]
fn what_is_staged_waits_for_the_boot() {
    let lines = resumed(Phase::Staged, When::SameBoot);
    for line in lines {
        assert!(line.ends_with("2 runs '1', staged a"), "{line}");
    }
}

#[test]
fn a_way_back_that_was_cut_off_is_finished() {
    for when in [When::SameBoot, When::AfterABoot] {
        let lines = resumed(Phase::Reverting, when);
        for line in &lines[..4] {
            assert!(
                line.ends_with(": 1 pending bad runs '1'"),
                "{when:?}: {line}"
            );
        }
        assert_eq!(
            lines[4],
            "unreachable: 1 pending bad runs '2', reverting a, failed"
        );
    }
}

#[test]
fn a_whole_run_ends_with_the_new_version_or_the_old_one() {
    let lines: Vec<String> = CASES
        .into_iter()
        .map(|(content, reachable)| {
            let machine = Machine::new(&["a"]);
            machine.acquires("a", content);
            machine.manager.reachable.set(reachable);
            let ended = machine.run(&[member("a", AUTO)]).expect("conducted");
            let counts = [
                ended.healthy.len(),
                ended.reverted.len(),
                ended.failures.len(),
            ];
            format!("{} {counts:?}", machine.shows_all("a"))
        })
        .collect();
    assert_eq!(
        lines,
        [
            "2 runs '2' [1, 0, 0]",
            "1 pending bad runs '1' [0, 1, 0]",
            "1 pending bad runs '1' [0, 1, 0]",
            "1 pending bad runs '1' [0, 1, 0]",
            "2 runs '1', activating a [0, 0, 1]",
        ]
    );
}

#[test]
fn without_a_loop_device_nothing_moves_and_no_version_is_blamed() {
    let machine = Machine::new(&["a"]);
    machine.acquires("a", "2");
    machine.manager.without_loop_devices.set(true);
    let before = machine.shows_all("a");
    let error = machine
        .run(&[member("a", AUTO)])
        .expect_err("no image can be merged");
    assert!(matches!(error, TrialError::Preflight(_)), "{error:?}");
    assert_eq!(machine.shows_all("a"), before);
    // What waits for a boot needs none now.
    machine
        .run(&[member("a", ActivationMode::Stage)])
        .expect("staged");
}

#[test]
fn what_was_seen_stands_in_the_mark_with_the_digests() {
    let machine = Machine::new(&["a"]);
    machine.acquires("a", "2 sick");
    let ended = machine.run(&[member("a", AUTO)]).expect("conducted");
    let marks = machine.marks("a");
    let [mark] = &*marks.versions else {
        panic!("one mark: {marks:?}");
    };
    assert_eq!(mark.reason, "unit 'a.service' failed (result 'exit-code')");
    assert_eq!(ended.reverted[0].verdict.as_ref(), Some(&mark.reason));
    assert_eq!(mark.digests["a"], "00ff");
    assert_eq!(mark.since, "2026-01-01T00:00:00Z");
}

#[test]
fn only_the_guilty_one_of_two_goes_back() {
    for guilty in ["2 sick", "2 skipped"] {
        let machine = Machine::new(&["a", "b"]);
        machine.acquires("a", guilty);
        machine.acquires("b", "2");
        let members = [member("a", AUTO), member("b", AUTO)];
        let ended = machine.run(&members).expect("conducted");
        assert_eq!(machine.shows_all("a"), "1 pending bad runs '1'", "{guilty}");
        assert_eq!(machine.shows_all("b"), "2 runs '2'", "{guilty}");
        assert_eq!((ended.healthy.len(), ended.reverted.len()), (1, 1));
    }
}

#[test]
fn one_that_spoils_the_merge_of_all_is_found_by_trying_each_alone() {
    for order in [["a", "b"], ["b", "a"]] {
        let machine = Machine::new(&["a", "b"]);
        machine.acquires("a", "2 spoils");
        machine.acquires("b", "2");
        let members = order.map(|name| member(name, AUTO));
        let ended = machine.run(&members).expect("conducted");
        assert_eq!(
            machine.shows_all("a"),
            "1 pending bad runs '1'",
            "{order:?}"
        );
        assert_eq!(machine.shows_all("b"), "2 runs '2'", "{order:?}");
        assert_eq!((ended.healthy.len(), ended.reverted.len()), (1, 1));
    }
}

#[test]
fn where_not_even_the_old_versions_merge_nothing_more_is_tried() {
    let machine = Machine::new(&["a", "b", "c"]);
    machine.acquires("a", "2");
    machine.acquires("b", "2");
    // Of another component, not on trial.
    machine.write(&file("c", "1"), "1 spoils");
    let members = [member("a", AUTO), member("b", AUTO)];
    let ended = machine.run(&members).expect("conducted");
    assert_eq!(ended.failures.len(), 1);
    assert!(ended.reverted.is_empty(), "nobody is to blame: {ended:?}");
    assert_eq!(machine.shows_all("a"), "1 pending runs '1', reverting a b");
    assert_eq!(machine.shows_all("b"), "1 pending runs '1', reverting a b");
    // Once somebody has mended that, the next run goes on.
    machine.write(&file("c", "1"), "1");
    let ended = machine.resume().expect("a trial");
    assert_eq!(ended.healthy.len(), 2);
    assert_eq!(machine.shows_all("a"), "2 runs '2'");
    assert_eq!(machine.shows_all("b"), "2 runs '2'");
}

#[test]
fn what_is_staged_stays_on_record_over_other_trials() {
    for content in ["2", "2 sick", "2 spoils", "2 skipped"] {
        let machine = Machine::new(&["a", "b", "s"]);
        machine.acquires("s", "2");
        let ended = machine.run(&[member("s", STAGE)]).expect("conducted");
        assert_eq!(ended.staged.len(), 1);
        assert_eq!(machine.shows_all("s"), "2 runs '1', staged s");
        machine.acquires("a", content);
        machine.acquires("b", "2");
        machine
            .run(&[member("a", AUTO), member("b", AUTO)])
            .expect("conducted");
        assert!(
            machine.shows_all("s").ends_with(", staged s"),
            "{content}: {}",
            machine.shows_all("s")
        );
        // On trial again: once is enough.
        machine.run(&[member("s", STAGE)]).expect("conducted");
        assert_eq!(machine.on_record().expect("a record").members.len(), 1);
    }
}

#[test]
fn what_an_earlier_run_could_not_end_stays_on_record_over_other_trials() {
    let machine = Machine::new(&["a", "b"]);
    machine.acquires("a", "2");
    machine.manager.reachable.set(false);
    machine.run(&[member("a", AUTO)]).expect("conducted");
    machine.acquires("b", "2");
    machine.run(&[member("b", AUTO)]).expect("conducted");
    machine.manager.reachable.set(true);
    machine.resume().expect("a trial");
    assert_eq!(machine.shows_all("a"), "2 runs '2'");
    assert_eq!(machine.shows_all("b"), "2 runs '2'");
}

#[test]
fn a_version_that_went_back_does_not_return_with_another_trial() {
    let machine = Machine::new(&["a", "b"]);
    machine.switches("a", "2 sick");
    let mut back = member("a", AUTO);
    back.verdict = Some("seen".to_owned());
    machine.leaves(&[back], Phase::Reverting);
    machine.manager.reachable.set(false);
    assert_eq!(machine.resume().expect("a trial").failures.len(), 1);
    machine.manager.reachable.set(true);
    machine.acquires("b", "2");
    machine.run(&[member("b", AUTO)]).expect("conducted");
    assert_eq!(machine.shows_all("a"), "1 pending bad runs '1'");
    assert_eq!(machine.shows_all("b"), "2 runs '2'");
}

#[test]
fn what_is_staged_takes_effect_when_it_is_asked_for() {
    for (content, expected) in [("2", "2 runs '2'"), ("2 sick", "1 pending bad runs '1'")] {
        let machine = Machine::new(&["s"]);
        machine.acquires("s", content);
        machine.run(&[member("s", STAGE)]).expect("conducted");
        let ended = machine.activate_staged();
        assert!(ended.is_some());
        assert_eq!(machine.shows_all("s"), expected);
    }
    let machine = Machine::new(&["s"]);
    let ended = machine.activate_staged();
    assert!(ended.is_none(), "nothing is staged");
}

#[test]
fn a_way_back_that_fails_stays_where_it_is() {
    let machine = Machine::new(&["a"]);
    machine.acquires("a", "2 sick");
    let mut back = member("a", AUTO);
    back.on_failure = OnFailure::Stay;
    let ended = machine.run(&[back]).expect("conducted");
    assert_eq!(ended.reverted.len(), 1);
    assert_eq!(machine.shows_all("a"), "2 runs '2 sick'");
}

#[test]
fn a_first_version_that_fails_leaves_no_link() {
    let machine = Machine::new(&[]);
    machine.acquires("a", "2 sick");
    let mut first = member("a", AUTO);
    first.previous = None;
    first.parts[0].link.as_mut().expect("a link").before = None;
    machine.run(&[first]).expect("conducted");
    assert_eq!(machine.shows("a"), "none pending bad down");
    assert!(machine.on_record().is_none());
}

#[test]
fn a_version_that_proves_itself_is_not_bad_any_more() {
    let machine = Machine::new(&["a"]);
    machine.switches("a", "2");
    machine.activates(&["a"]);
    machine.leaves(&[member("a", AUTO)], Phase::Checking);
    let key = ComponentKey::new(&member("a", AUTO).name(), None);
    let mark = Mark {
        version: "2".parse().expect("a version"),
        kind: MarkKind::Bad,
        digests: std::collections::BTreeMap::new(),
        since: "2026-01-01T00:00:00Z".to_owned(),
        reason: "a run that was killed before the way back".to_owned(),
    };
    marks::change(&machine.root, &key, |marks| marks.set(mark)).expect("written");
    machine.resume().expect("a trial");
    assert_eq!(machine.shows_all("a"), "2 runs '2'");
}

#[test]
fn a_unit_that_the_merge_has_felled_is_started_again() {
    let machine = Machine::new(&["a"]);
    machine.switches("a", "2");
    machine.leaves(&[member("a", AUTO)], Phase::Activating);
    machine.manager.stop("a.service").expect("stopped");
    let ended = machine.resume().expect("a trial");
    assert_eq!(ended.healthy.len(), 1);
    assert_eq!(machine.shows_all("a"), "2 runs '2'");
}

#[test]
fn a_shutdown_says_nothing_against_a_version() {
    let machine = Machine::new(&["a"]);
    machine.acquires("a", "2");
    machine.cancel.cancel();
    machine.manager.going_down.set(true);
    let ended = machine.run(&[member("a", AUTO)]).expect("conducted");
    assert!(ended.reverted.is_empty() && ended.healthy.is_empty());
    assert!(matches!(ended.failures[..], [ActivateError::GoingDown]));
    let record = machine.on_record().expect("a record");
    assert_eq!(record.phase, Phase::Checking);
}

#[test]
fn who_wants_out_gets_the_old_version_back() {
    let machine = Machine::new(&["a"]);
    machine.acquires("a", "2");
    machine.cancel.cancel();
    let ended = machine.run(&[member("a", AUTO)]).expect("conducted");
    let verdict = ended.reverted[0].verdict.as_deref();
    assert_eq!(verdict, Some("interrupted before it had proved itself"));
    assert!(machine.shows_all("a").starts_with("1 pending"));
    assert!(machine.on_record().is_none());
}

#[test]
fn a_version_whose_file_is_gone_ends_its_trial() {
    let machine = Machine::new(&["a"]);
    machine.leaves(&[member("a", AUTO)], Phase::Switching);
    let ended = machine.resume().expect("a trial");
    assert!(ended.reverted.is_empty() && ended.failures.is_empty());
    assert_eq!(machine.shows_all("a"), "1 runs '1'");
}

#[test]
fn boots_that_do_not_confirm_a_version_are_counted_and_take_it_back() {
    for (phase, mode) in [
        (Phase::Activating, AUTO),
        (Phase::Checking, AUTO),
        (Phase::Staged, STAGE),
    ] {
        let machine = Machine::new(&["a"]);
        machine.switches("a", "2");
        machine.leaves(&[member("a", mode)], phase);
        let at_boot = |id: &str| {
            machine.boots(id);
            let ended = machine.at_boot();
            // Run twice: a boot counts once.
            machine.at_boot();
            ended.reverted.len()
        };
        assert_eq!(at_boot("boot-2"), 0, "{phase:?}");
        assert_eq!(at_boot("boot-3"), 0, "{phase:?}");
        assert!(machine.shows_all("a").ends_with("checking a"), "{phase:?}");
        assert_eq!(at_boot("boot-4"), 1, "{phase:?}");
        assert!(
            machine.shows_all("a").starts_with("1 pending bad"),
            "{phase:?}"
        );
        assert!(machine.on_record().is_none());
        let reason = &machine.marks("a").versions[0].reason;
        assert_eq!(reason, "2 boots ended before it had proved itself");
    }
}

#[test]
fn a_version_that_is_to_stay_stays_however_many_boots_it_takes() {
    let machine = Machine::new(&["a"]);
    machine.switches("a", "2");
    let mut back = member("a", AUTO);
    back.on_failure = OnFailure::Stay;
    machine.leaves(&[back], Phase::Checking);
    for id in ["boot-2", "boot-3", "boot-4"] {
        machine.boots(id);
        machine.at_boot();
    }
    assert_eq!(machine.shows_all("a"), "2 runs '2'");
}

#[test]
fn a_confirmed_boot_ends_the_trial() {
    let machine = Machine::new(&["s"]);
    machine.acquires("s", "2");
    machine.run(&[member("s", STAGE)]).expect("conducted");
    machine.boots("boot-2");
    machine.at_boot();
    assert_eq!(machine.resume().expect("a trial").healthy.len(), 1);
    assert_eq!(machine.shows_all("s"), "2 runs '2'");
}

#[test]
fn early_at_a_boot_what_was_cut_off_is_moved_before_the_merge() {
    let machine = Machine::new(&["a"]);
    machine.acquires("a", "2");
    machine.leaves(&[member("a", AUTO)], Phase::Switching);
    machine.boots("boot-2");
    machine.at_boot();
    assert_eq!(machine.shows_all("a"), "2 runs '1', checking a");

    let machine = interrupted(Phase::Reverting, "2 sick");
    machine.switches("s", "2");
    let mut record = machine.on_record().expect("a record");
    record.members.push(member("s", STAGE));
    record::write(&machine.root, &record).expect("written");
    machine.boots("boot-2");
    let ended = machine.at_boot();
    let gone: Vec<_> = ended.reverted.iter().map(|one| &one.component).collect();
    assert_eq!(
        gone,
        [&Some("a".to_owned())],
        "what is staged is not on its way back"
    );
    assert!(machine.shows("a").starts_with("1 pending"));
    assert_eq!(machine.shows_all("s"), "2 runs '2', checking s");
}

/// An operating system on trial: a partition, and the kernel that starts what is in it.
fn system() -> Member {
    let mut os = member("os", AUTO);
    // No unit of this machine is its own.
    os.activation.restart = Units::Auto;
    os.check.units.clear();
    let target = Path::new("/efi/EFI/Linux/os_2+3-0.efi");
    os.parts = vec![
        Part {
            transfer: "10-root".to_owned(),
            target: "/dev/vda3".into(),
            pending: None,
            partition: true,
            counted: false,
            read_only: false,
            digest: None,
            link: None,
        },
        Part {
            transfer: "20-kernel".to_owned(),
            target: target.to_owned(),
            pending: Some(links::pending_path(target)),
            partition: false,
            counted: true,
            read_only: false,
            digest: None,
            link: None,
        },
    ];
    os
}

#[test]
fn a_kernel_gets_no_name_before_its_partition() {
    for when in [When::SameBoot, When::AfterABoot] {
        let machine = Machine::new(&["a"]);
        let os = system();
        let pending = os.parts[1].pending.clone().expect("it waits");
        machine.write(&pending, "kernel 2");
        machine.acquires("a", "2");
        machine.leaves(&[os, member("a", AUTO)], Phase::Switching);
        let ended = if let When::AfterABoot = when {
            machine.boots("boot-2");
            machine.at_boot();
            // The merge follows that.
            machine.boots("boot-2");
            machine.resume()
        } else {
            machine.resume()
        };
        assert!(machine.outer(&pending).exists(), "{when:?}");
        let healthy: Vec<_> = ended.expect("a trial").healthy;
        assert_eq!(healthy.len(), 1, "the other goes on, {when:?}");
        assert_eq!(machine.shows_all("a"), "2 runs '2'");
        let told = machine.talk.lines.lock().expect("no panic").join("\n");
        let left = "os 2 is not switched to yet; the next update goes on.";
        assert!(told.contains(left), "{told}");
    }
}

#[test]
fn a_kernel_is_found_whatever_its_boot_counter_has_become() {
    for (name, is_same) in [
        ("os_2+3-0.efi", true),
        ("os_2+2-1.efi", true),
        ("os_2+2.efi", true),
        ("os_2.efi", true),
        ("os_21.efi", false),
        ("os_2+2-.efi", false),
        ("os_2+2-1.conf", false),
    ] {
        let path = Path::new("/efi/EFI/Linux").join(name);
        let os = system();
        let pending = os.parts[1].pending.clone().expect("it waits");

        // Switched to, and nobody knows it yet: the trial goes on with it.
        let machine = Machine::new(&["a"]);
        machine.write(&path, "kernel 2");
        machine.leaves(std::slice::from_ref(&os), Phase::Switching);
        machine.boots("boot-2");
        machine.at_boot();
        assert_eq!(machine.on_record().is_some(), is_same, "{name}");

        // It has failed, and goes back.
        let machine = Machine::new(&["a"]);
        machine.write(&path, "kernel 2");
        let mut os = os;
        os.verdict = Some("seen".to_owned());
        machine.leaves(&[os], Phase::Reverting);
        machine.resume().expect("a trial");
        assert_eq!(machine.outer(&pending).exists(), is_same, "{name}");
        assert_eq!(machine.outer(&path).exists(), !is_same, "{name}");
    }
}

#[test]
fn a_plus_in_a_version_is_no_boot_counter() {
    let member = || {
        let mut member = member("a", AUTO);
        let place = |version: &str| file("a", version);
        member.parts[0].target = place("1.2+4");
        member.parts[0].pending = Some(links::pending_path(&place("1.2+4")));
        let link = member.parts[0].link.as_mut().expect("it has one");
        link.before = Some(place("1.2+3"));
        member
    };
    let machine = Machine::new(&[]);
    machine.write(&file("a", "1.2+3"), "old");
    machine.lead("a", "1.2+3");
    machine.write(&member().parts[0].pending.clone().expect("it waits"), "new");
    machine.leaves(&[member()], Phase::Switching);
    machine.resume().expect("a trial");
    assert_eq!(machine.shows_all("a"), "1.2+4 runs 'new'");

    // Twice: whoever was cut off does it again.
    for _ in 0..2 {
        let mut back = member();
        back.verdict = Some("seen".to_owned());
        machine.leaves(&[back], Phase::Reverting);
        machine.resume().expect("a trial");
    }
    assert_eq!(machine.shows("a"), "1.2+3 bad runs 'old'");
}

#[test]
fn nobody_says_what_is_gone_from_a_place_that_is_not_mounted() {
    for phase in [Phase::Switching, Phase::Reverting] {
        let machine = Machine::new(&["a"]);
        let mut os = system();
        os.verdict = (phase == Phase::Reverting).then(|| "seen".to_owned());
        machine.leaves(&[os], phase);
        let error = machine.try_resume().expect_err("nobody knows");
        let hint = error.hint().expect("a next step");
        assert!(hint.contains("mount the file system"), "{hint}");
        assert!(machine.on_record().is_some(), "{phase:?}");
    }
}

#[test]
fn a_merge_that_fails_takes_no_kernel_its_name() {
    let machine = Machine::new(&["a"]);
    let os = system();
    let kernel = os.parts[1].target.clone();
    machine.write(&kernel, "kernel 2");
    machine.switches("a", "2 spoils");
    machine.leaves(&[os, member("a", AUTO)], Phase::Activating);
    machine.resume().expect("a trial");
    assert!(machine.outer(&kernel).exists());
    assert_eq!(
        machine.shows_all("a"),
        "1 pending bad runs '1'",
        "{:?}",
        machine.talk.lines.lock()
    );
}

#[test]
fn what_is_staged_over_goes_back_to_what_has_proved_itself() {
    let third = || {
        let mut third = member("s", STAGE);
        third.version = "3".parse().expect("a version");
        third.previous = Some("2".parse().expect("a version"));
        third.parts[0].target = file("s", "3");
        third.parts[0].pending = Some(links::pending_path(&file("s", "3")));
        let link = third.parts[0].link.as_mut().expect("it has one");
        link.before = Some(file("s", "2"));
        third
    };
    let machine = Machine::new(&["s"]);
    machine.acquires("s", "2");
    machine.run(&[member("s", STAGE)]).expect("conducted");
    machine.write(
        &third().parts[0].pending.clone().expect("it waits"),
        "3 sick",
    );
    machine.run(&[third()]).expect("conducted");
    let name = ComponentName::Named("s".to_owned());
    let trial = record::of(&machine.root, &name).expect("readable");
    let fallback = trial.expect("a trial").previous;
    assert_eq!(fallback, Some("1".parse().expect("a version")));
    machine.boots("boot-2");
    machine.at_boot();
    machine.resume().expect("a trial");
    assert_eq!(machine.shows("s"), "1 bad runs '1'");

    // One that cannot be switched to leaves the other on trial.
    let machine = Machine::new(&["s"]);
    machine.acquires("s", "2");
    machine.run(&[member("s", STAGE)]).expect("conducted");
    let mut begun = machine.begins(&[third()]);
    begun.drop_out(&third());
    assert_eq!(begun.record.members, [member("s", STAGE)]);
}

/// A crash at every call to the manager and at every word to the user, then a run that goes on in the same boot, after
/// a boot, and after a boot with the early unit.
#[test]
fn after_a_crash_at_any_point_the_new_version_stands_or_the_old_one_is_back() {
    let mut crashes = 0;
    for content in ["2", "2 sick", "2 spoils", "2 skipped"] {
        for after in 0..3 {
            for lit in 0..2 {
                for number in 0.. {
                    let machine = Machine::new(&["a", "b"]);
                    machine.acquires("a", content);
                    machine.acquires("b", "2");
                    let (calls, lines) = if lit == 0 {
                        (number, usize::MAX)
                    } else {
                        (usize::MAX, number)
                    };
                    machine.light(calls, lines);
                    let members = [member("a", AUTO), member("b", AUTO)];
                    let run = std::panic::catch_unwind(AssertUnwindSafe(|| machine.run(&members)));
                    machine.put_out();
                    let case = format!("'{content}', crash at {lit}/{number}, then {after}");
                    if let Ok(ended) = run {
                        ended.expect("conducted");
                        break;
                    }
                    crashes += 1;
                    for name in ["a", "b"] {
                        let there = machine.outer(&link(name)).exists();
                        assert!(there, "{case}: the link of {name} leads to nothing");
                    }
                    if after > 0 {
                        machine.boots("boot-2");
                    }
                    if after > 1 {
                        machine.at_boot();
                        machine.boots("boot-2");
                    }
                    if machine.resume().is_none() {
                        // Before the record, nothing had moved: a run begins anew.
                        machine.run(&members).expect("conducted");
                    }
                    assert!(machine.on_record().is_none(), "{case}");
                    let (a, b) = (machine.shows("a"), machine.shows("b"));
                    if content == "2" {
                        assert_eq!((&*a, &*b), ("2 runs '2'", "2 runs '2'"), "{case}");
                    } else {
                        assert_eq!(a, "1 pending bad runs '1'", "{case}");
                        // Whole in either version: a merge that was spoiled sends both back first. What a boot could
                        // not start, since it merged nothing, is not on record once it is back.
                        let down = (content == "2 spoils" && after > 0).then_some("1 pending down");
                        let whole = [Some("2 runs '2'"), Some("1 pending runs '1'"), down];
                        assert!(whole.contains(&Some(&*b)), "{case}: {b}");
                    }
                }
            }
        }
    }
    assert!(crashes > 100, "{crashes}");
}
