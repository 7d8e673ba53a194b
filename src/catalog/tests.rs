use super::*;

fn read(names: &[&str]) -> Vec<(String, Vec<String>)> {
    let catalog = Catalog::of(names.iter().copied(), Some("x86-64"));
    catalog
        .extensions
        .iter()
        .map(|(name, offer)| {
            let versions = offer.versions.iter().map(ToString::to_string).collect();
            (name.clone(), versions)
        })
        .collect()
}

fn expect(names: &[&str], expected: &[(&str, &[&str])]) {
    let expected: Vec<(String, Vec<String>)> = expected
        .iter()
        .map(|(name, versions)| {
            let versions = versions
                .iter()
                .map(|version| (*version).to_owned())
                .collect();
            ((*name).to_owned(), versions)
        })
        .collect();
    assert_eq!(read(names), expected);
}

#[test]
fn names_with_dashes_and_versions_in_every_spelling_are_told_apart() {
    expect(
        &[
            "kubernetes-v1.32.2-x86-64.raw",
            "kubernetes-v1.32.10-x86-64.raw",
            "kubernetes-v1.32.2-arm64.raw",
            "docker-compose-2.24.5-x86-64.raw",
            "docker-24.0.9-x86-64.raw",
            "k3s-v1.32.2+k3s1-x86-64.raw",
            "rke2-v1.34.1+rke2r1-x86-64.raw",
            "wasmtime-24.0.0-x86-64.raw",
            "SHA256SUMS",
            "wasmtime.conf",
            "wasmtime-x86-64.raw",
            "../evil-1.0-x86-64.raw",
        ],
        &[
            ("docker", &["24.0.9"]),
            ("docker-compose", &["2.24.5"]),
            ("k3s", &["v1.32.2+k3s1"]),
            ("kubernetes", &["v1.32.10", "v1.32.2"]),
            ("rke2", &["v1.34.1+rke2r1"]),
            ("wasmtime", &["24.0.0"]),
        ],
    );
}

#[test]
fn what_the_listing_as_a_whole_admits_decides() {
    // A number in the name, and one behind a dash in the version.
    expect(
        &[
            "foo-2fa-1.0-x86-64.raw",
            "foo-2fa-1.1-x86-64.raw",
            "foo-1.0-x86-64.raw",
        ],
        &[("foo", &["1.0"]), ("foo-2fa", &["1.1", "1.0"])],
    );
    expect(
        &[
            "bar-1.2.3-4-x86-64.raw",
            "bar-1.2.3-5-x86-64.raw",
            "bar-1.3-x86-64.raw",
        ],
        &[("bar", &["1.3", "1.2.3-5", "1.2.3-4"])],
    );
    // Alone it is read as the shortest name.
    expect(&["baz-1.0-2-x86-64.raw"], &[("baz", &["1.0-2"])]);
}

#[test]
fn what_is_only_for_other_machines_is_known_as_such() {
    let catalog = Catalog::of(["a-1-arm64.raw", "a-2-arm64.raw"], Some("x86-64"));
    let offer = catalog.find("a").expect("known");
    assert_eq!(
        (offer.versions.len(), &offer.elsewhere[..]),
        (0, &["arm64".to_owned()][..])
    );
    assert_eq!(catalog.near("something"), None);
}

/// Names and spellings of the community bakery.
const BAKERY: [(&str, &str, &str); 12] = [
    ("kubernetes", "v1.", ""),
    ("k3s", "v1.", "+k3s1"),
    ("rke2", "v1.", "+rke2r1"),
    ("docker", "2", ""),
    ("docker-compose", "2.", ""),
    ("docker-buildx", "0.", ""),
    ("cloud-hypervisor", "4", ""),
    ("nvidia-runtime", "v1.", ""),
    ("kata-containers", "3.", ""),
    ("tailscale", "v1.", ""),
    ("wasmtime", "1", ""),
    ("llamaedge", "0.", ""),
];

#[test]
fn a_listing_of_three_thousand_lines_is_read_whole() {
    let mut names = Vec::new();
    for (name, start, end) in BAKERY {
        for number in 0..125 {
            for architecture in ["x86-64", "arm64"] {
                names.push(format!(
                    "{name}-{start}{}.{}{end}-{architecture}.raw",
                    number / 5,
                    number % 5
                ));
            }
        }
    }
    assert_eq!(names.len(), 3000);
    let catalog = Catalog::of(names.iter().map(String::as_str), Some("arm64"));
    let found: Vec<&str> = catalog.matching("").map(|(name, _)| name).collect();
    let mut expected = BAKERY.map(|(name, ..)| name);
    expected.sort_unstable();
    assert_eq!(found, expected);
    for (name, start, end) in BAKERY {
        let offer = catalog.find(name).expect("known");
        assert_eq!(offer.versions.len(), 125, "{name}");
        assert_eq!(offer.versions[0].to_string(), format!("{start}24.4{end}"));
    }
    assert_eq!(catalog.matching("DOCKER").count(), 3);
    assert_eq!(catalog.near("kubernets"), Some("kubernetes"));
}

#[test]
fn hostile_listings_cost_what_they_are_long() {
    let dashes = format!("{}-x86-64.raw", "1-".repeat(120));
    let long = format!("a-{}-x86-64.raw", "1".repeat(1000));
    let names = [
        dashes.as_str(),
        long.as_str(),
        "-1-x86-64.raw",
        "-x86-64.raw",
        ".raw",
        "",
    ];
    assert!(Catalog::of(names, None).matching("").count() <= 1);
}
