# Forty updates in a row of a running system, each merged, its unit restarted and watched: nothing of them is left but the versions
# that are kept. No loop device, mount, unit, open file of the manager's or file in the state grows with their number.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
transfer.verify = "none"
source.url = "http://127.0.0.1/hello"
target.instances_max = 2
activate.restart = ["hello.service"]
check.settle = "100ms"
END

# holds: what the system holds, a line each
holds() {
    printf 'loop devices: %s\n' "$(own_loop_devices /etc/sysupdate/transfer.d/hello.toml)"
    printf 'mounts: %s\n' "$(wc -l </proc/1/mountinfo)"
    printf 'units: %s\n' "$(systemctl list-units --all --plain --no-legend | wc -l)"
    printf 'failed units: %s\n' "$(systemctl list-units --failed --plain --no-legend | wc -l)"
    printf 'files that the manager has open: %s\n' "$(find /proc/1/fd -mindepth 1 | wc -l)"
    # What looks into images have shown has its own bound, of 1024 (README).
    printf 'files in the state: %s\n' "$(find /var/lib/sysupdate /var/lib/extensions /var/lib/extensions.d /var/cache/sysupdate/manifests /run/sysupdate \
        -type f -o -type l | wc -l)"
}

# update_to NUMBER
update_to() {
    extension hello "$1"
    publish hello
    run 0 update -C hello
    expect 'version of the running service' "$1" "$(version_running hello)"
    expect_no_trial
    rm -f "$www/hello/$(image_name hello "$1")"
}

start_server
for number in 1 2 3 4; do update_to "$number"; done
# A manifest of this very second is not kept; a look a while later keeps it.
sleep 1.1
run 1 check-new -C hello
before=$(holds)
say 'before:' "$before"
for number in {5..44}; do update_to "$number"; done
sleep 1.1
run 1 check-new -C hello
# The manager closes what the last reload has left when it has time.
eventually 20 'what is held after forty more updates' "$before" holds
