# A configuration extension is merged into /etc.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

# confext VERSION
confext() {
    local tree
    tree=$(mktemp -d)
    mkdir -p "$tree"/etc/extension-release.d
    printf 'ID=_any\nARCHITECTURE=%s\n' "$architecture" >"$tree/etc/extension-release.d/extension-release.greeting"
    printf 'version %s\n' "$1" >"$tree/etc/greeting"
    chmod -R go=u-w "$tree"
    image "$tree" greeting "$1"
}

define greeting <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/greeting"

[target]
path = "/var/lib/confexts.d/greeting"
current_symlink = "/var/lib/confexts/greeting.raw"
instances_max = 2
END
confext 1
publish greeting
start_server

run 0 update -C greeting
expect_link /var/lib/confexts/greeting.raw "/var/lib/confexts.d/greeting/$(image_name greeting 1)"
expect 'merged extensions' greeting "$(merged confext)"
expect 'the merged file' 'version 1' "$(</etc/greeting)"

say 'the next version takes its place, although the definition now lies below the merge'
confext 2
publish greeting
run 0 update -C greeting
expect 'merged extensions' greeting "$(merged confext)"
expect 'the merged file' 'version 2' "$(</etc/greeting)"
expect 'merged system extensions' '' "$(merged sysext)"
