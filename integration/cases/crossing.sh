# suites: sid
# A host can switch between this program and systemd-sysupdate at any point, in the middle of an update too.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define_transfer hello <<'END'
[Transfer]
Verify=no

[Source]
Type=url-file
Path=http://127.0.0.1/hello
MatchPattern=hello-@v-%a.raw

[Target]
Type=regular-file
Path=/var/lib/extensions.d/hello
MatchPattern=hello-@v-%a.raw
CurrentSymlink=/var/lib/extensions/hello.raw
InstancesMax=2
END
directory=/var/lib/extensions.d/hello
theirs() { printf '$ systemd-sysupdate %s\n' "$*"; timeout 60 /usr/lib/systemd/systemd-sysupdate "$@"; }
# same_view ARGUMENT…: both print the same
same_view() {
    local expected
    expected=$(theirs "$@" 2>/dev/null | tail -n +2)
    run 0 "$@"
    expect "output of '$*'" "$expected" "$stdout"
}
installed() {
    expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello "$1")"
    expect 'leftovers' '' "$(find "$directory" -name '.*')"
    same_view list --json=short
    same_view list "$1" --json=short
}

extension hello 1
publish hello
start_server
same_view list --json=short
same_view check-new --json=short

say 'ours acquires, theirs installs'
run 0 acquire
expect_files 'the acquired version' "$directory" ".sysupdate.pending.$(image_name hello 1)"
same_view list 1 --json=short
theirs update
installed 1

say 'theirs acquires, ours installs'
extension hello 2
publish hello
theirs acquire
expect_files 'the acquired version' "$directory" "$(image_name hello 1)" ".sysupdate.pending.$(image_name hello 2)"
same_view list 2 --json=short
run 0 update
installed 2

say 'theirs acquires, ours installs without the network'
extension hello 3
publish hello
theirs acquire
stop_server
run 0 update --offline
start_server
installed 3
expect_files 'installed images' "$directory" "$(image_name hello 2)" "$(image_name hello 3)"

say 'ours installs, theirs sees nothing to do, and updates further'
if theirs check-new; then fail 'systemd-sysupdate wants to update'; fi
extension hello 4
publish hello
run 0 update
installed 4
extension hello 5
publish hello
theirs update
installed 5
expect_files 'installed images' "$directory" "$(image_name hello 4)" "$(image_name hello 5)"
run 0 vacuum -m 1
installed 5
expect_files 'installed images' "$directory" "$(image_name hello 5)"

say 'both know which patterns were installed'
expect 'entries of the installation database' 1 "$(find /var/lib/systemd/sysupdate/installdb -type l | wc -l)"
