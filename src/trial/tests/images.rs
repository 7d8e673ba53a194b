//! What a change does to units, by real images.

use std::io::Cursor;

use backhand::compression::Compressor;
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};

use super::super::changes::{Change, Direction, Look, forecast};
use super::machine::{Machine, file, member, pending};
use super::*;
use crate::extension::ExtensionKind;
use crate::image::Image;

/// An extension that ships these units.
fn image(name: &str, units: &[(&str, &str)]) -> Vec<u8> {
    let header = NodeHeader::new(0o755, 0, 0, 0);
    let mut image = FilesystemWriter::default();
    let compressor = FilesystemCompressor::new(Compressor::Gzip, None);
    image.set_compressor(compressor.expect("a known codec"));
    image.set_root_mode(0o755);
    let release = format!("usr/lib/extension-release.d/extension-release.{name}");
    let mut files = vec![(release, "ID=_any\n".to_owned())];
    files.extend(units.iter().map(|(unit, text)| {
        let path = format!("usr/lib/systemd/system/{unit}");
        (path, (*text).to_owned())
    }));
    for (path, text) in files {
        let (directory, _) = path.rsplit_once('/').expect("below a directory");
        image.push_dir_all(directory, header).expect("a directory");
        image
            .push_file(Cursor::new(text.into_bytes()), &path, header)
            .expect("a file");
    }
    let mut bytes = Cursor::new(Vec::new());
    image.write(&mut bytes).expect("an image");
    bytes.into_inner()
}

/// `a` changes one unit, keeps one, drops one and brings one.
fn machine() -> (Machine, Member) {
    let machine = Machine::new(&["a"]);
    let old = [
        ("changed.service", "1"),
        ("kept.service", "1"),
        ("gone.service", "1"),
    ];
    let new = [
        ("changed.service", "2"),
        ("kept.service", "1"),
        ("new.service", "1"),
    ];
    let write = |path: &std::path::Path, bytes: Vec<u8>| {
        std::fs::write(machine.outer(path), bytes).expect("written");
    };
    write(&file("a", "1"), image("a", &old));
    write(&pending("a"), image("a", &new));
    let mut member = member("a", AUTO);
    member.activation.restart = crate::definition::transfer::Units::Auto;
    member.check = crate::definition::transfer::Check::default();
    (machine, member)
}

fn look(machine: &Machine) -> Look<'_> {
    Look {
        root: &machine.root,
        architecture: "x86-64",
        system: Some(&machine.manager),
        expected: None,
    }
}

#[test]
fn a_change_is_the_same_wherever_its_file_is_at_the_moment() {
    let (machine, member) = machine();
    let members = [member.clone()];
    for moved in [false, true] {
        if moved {
            links::forward(&machine.root, &member, Durability::Unsynced).expect("moved");
        }
        let forward = Change::of(look(&machine), &members, Direction::Forward);
        assert_eq!(forward.plan.restart, ["changed.service"], "{moved}");
        assert_eq!(forward.gone_of(0), ["gone.service"], "{moved}");
        assert_eq!(forward.owners("new.service"), [0], "{moved}");
        let back = Change::of(look(&machine), &members, Direction::Back);
        assert_eq!(back.plan.restart, ["changed.service"], "{moved}");
        assert_eq!(back.gone_of(0), ["new.service"], "{moved}");
    }
}

#[test]
fn what_a_unit_is_called_by_the_definition_goes_before_what_the_images_say() {
    let (machine, mut member) = machine();
    member.activation.restart =
        crate::definition::transfer::Units::Named(vec!["mine.service".to_owned()]);
    let change = Change::of(look(&machine), &[member], Direction::Forward);
    assert_eq!(change.plan.restart, ["mine.service"]);
}

#[test]
fn a_unit_that_moves_from_one_component_to_another_is_not_stopped() {
    let (machine, member_a) = machine();
    std::fs::create_dir_all(machine.outer(&file("b", "1")).parent().expect("below"))
        .expect("created");
    for (path, units) in [
        (file("b", "1"), vec![]),
        (pending("b"), vec![("gone.service", "1")]),
    ] {
        std::fs::write(machine.outer(&path), image("b", &units)).expect("written");
    }
    machine.lead("b", "1");
    let mut member_b = member("b", AUTO);
    member_b.activation.restart = crate::definition::transfer::Units::Auto;
    let members = [member_a, member_b];
    let change = Change::of(look(&machine), &members, Direction::Forward);
    assert_eq!(change.gone_of(0), [""; 0]);
}

#[test]
fn a_forecast_names_the_units_and_why_each_is_touched() {
    let (machine, member) = machine();
    let forecast = forecast(look(&machine), &member);
    let units: Vec<String> = forecast
        .units
        .iter()
        .map(|unit| format!("{} {}: {}", unit.verb, unit.unit, unit.why))
        .collect();
    assert_eq!(
        units,
        [
            "restart changed.service: /usr/lib/systemd/system/changed.service changed",
            "stop gone.service: not part of the new version",
        ]
    );
    assert_eq!(forecast.merge, ["sysext"]);
}

#[test]
fn a_forecast_knows_what_a_look_at_the_source_has_shown() {
    let (machine, member) = machine();
    let new = std::fs::read(machine.outer(&pending("a"))).expect("an image");
    std::fs::remove_file(machine.outer(&pending("a"))).expect("removed");
    let length = new.len() as u64;
    let mut image = Image::open(Box::new(Cursor::new(new)), length, "x86-64").expect("opened");
    let facts = Facts::of(&mut image, ExtensionKind::Sysext, "a").expect("looked into");
    let expected = [(member.parts[0].transfer.clone(), facts)].into();
    let told = |expected| {
        let look = Look {
            expected,
            ..look(&machine)
        };
        let units = forecast(look, &member).units.into_iter();
        units
            .map(|unit| format!("{} {}", unit.verb, unit.unit))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(None), [""; 0]);
    assert_eq!(
        told(Some(&expected)),
        ["restart changed.service", "stop gone.service"]
    );
}
