# Which units a new version restarts: those whose program changed. One with other configuration is reloaded, one that is gone is
# stopped, all others keep running.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define suite <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/suite"
END
# A unit of the system's own, which only the image's release file can ask to be restarted.
cat >/etc/systemd/system/neighbour.service <<'END'
[Service]
ExecStart=/bin/sleep infinity
ExecReload=/bin/touch /run/neighbour.reloaded
END
systemctl daemon-reload
systemctl start neighbour.service

# unit TREE NAME PROGRAM CONFIGURATION LINE…: a service with a program and a configuration of these texts
unit() {
    local tree=$1 name=$2 program=$3 configuration=$4; shift 4
    printf '#!/bin/sh\n# %s\nexec sleep infinity\n' "$program" >"$tree/usr/bin/$name"
    chmod 0755 "$tree/usr/bin/$name"
    printf '%s\n' "$configuration" >"$tree/usr/share/suite/$name.conf"
    printf '%s\n' '[Service]' "ExecStart=/usr/bin/$name /usr/share/suite/$name.conf" "$@" >"$tree/usr/lib/systemd/system/$name.service"
    printf '[Unit]\nUpholds=%s.service\n' "$name" >"$tree/usr/lib/systemd/system/multi-user.target.d/10-$name.conf"
}

# suite VERSION: all the units of the version; $release are the fields of its release file
suite() {
    local version=$1 tree
    tree=$(mktemp -d)
    mkdir -p "$tree"/usr/{bin,share/suite,lib/extension-release.d,lib/systemd/system/multi-user.target.d}
    printf '%s\n' "${release[@]}" >"$tree/usr/lib/extension-release.d/extension-release.suite"
    unit "$tree" program "$version" same
    unit "$tree" untouched same same
    unit "$tree" reloads same "$version" "ExecReload=/bin/sh -c 'cp /usr/share/suite/reloads.conf /run/reloads.seen'"
    unit "$tree" rereads same "$version"
    unit "$tree" fragment same same "Environment=VERSION=$version"
    unit "$tree" worker@ "$version" same
    rm "$tree/usr/lib/systemd/system/multi-user.target.d/10-worker@.conf"
    [[ $version != 1 ]] || unit "$tree" leaves same same
    chmod -R go=u-w "$tree"
    image "$tree" suite "$version"
    publish suite
}

suite 1
start_server
run 0 update -A
for name in program untouched reloads rereads fragment leaves; do
    eventually 10 "state of $name.service" active systemctl is-active "$name.service"
done
systemctl start worker@a.service
declare -A before
remember() {
    local name
    for name in program untouched reloads rereads fragment worker@a neighbour; do before[$name]=$(main_pid "$name"); done
}
restarted() { [[ $(main_pid "$1") != "${before[$1]}" && $(main_pid "$1") != 0 ]] || fail "$1.service was not restarted"; }
kept() { expect "process of $1.service" "${before[$1]}" "$(main_pid "$1")"; }

say 'the second version'
remember
suite 2
run 0 acquire -A
run 0 plan -C suite --json=short
expect 'the forecast' 'reload reloads.service
restart fragment.service
restart program.service
restart rereads.service
stop leaves.service' "$(jq -r '.components[0].activation.units[] | select(.unit | contains("@") | not) | "\(.verb) \(.unit)"' <<<"$stdout" | sort)"
run 0 update -A
restarted program
restarted rereads
restarted fragment
restarted worker@a
kept untouched
kept reloads
kept neighbour
expect 'what the reload has seen' 2 "$(</run/reloads.seen)"
expect 'state of leaves.service' inactive "$(systemctl is-active leaves.service || true)"
expect_match 'the message' "Stopping 'leaves.service'" "$stderr"

say 'what was down stays down'
systemctl stop worker@a.service
suite 3
run 0 update -A
expect 'state of worker@a.service' inactive "$(systemctl is-active worker@a.service || true)"

say "the release file's wishes are granted, once"
remember
release=(ID=_any EXTENSION_RESTART_UNITS=neighbour.service)
suite 4
since=$(date '+%F %T.%6N')
run 0 update -A
eventually 10 'the restart' yes bash -c "[[ \$(systemctl show --value --property=MainPID neighbour.service) != ${before[neighbour]} ]] && echo yes"
kept untouched
journal '^Started ' --since="$since" --unit=neighbour.service --output=cat
expect 'starts of the neighbour' 1 "$(grep -c '^Started ' <<<"$journal")"
# systemd 262 grants the wishes of the image that leaves as well.
release=(ID=_any)
suite 5
run 0 update -A
remember
release=(ID=_any EXTENSION_RELOAD_OR_RESTART_UNITS=neighbour.service)
suite 6
run 0 update -A
eventually 10 'the reload' yes bash -c '[[ -e /run/neighbour.reloaded ]] && echo yes'
kept neighbour

say 'a definition that names its units has the last word'
cat >>/etc/sysupdate/transfer.d/suite.toml <<'END'

[activate]
restart = ["untouched.service"]
reload = []
END
remember
release=(ID=_any)
suite 7
run 0 update -A
restarted untouched
kept program
kept fragment
kept reloads

say 'the way back obeys the same rule'
sed -i '/^\[activate\]/,$d' /etc/sysupdate/transfer.d/suite.toml
remember
run 0 rollback -C suite
restarted program
kept untouched
